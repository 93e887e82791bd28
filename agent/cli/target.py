"""Which agent a command speaks to, and how its answers fail: shared options and one way to end with an error."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
import os
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from agent.usage import Client, UsageRefused, UsageUnavailable

SOCKET = "agent.sock"
STATE_INFO = "/restconf/data/cisco-smart-license:licensing/state/state-info"

StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", envvar="SLP_AGENT_STATE_DIR", help="State folder of an agent on this machine."),
]
Socket = Annotated[
    Path | None, typer.Option("--socket", help="Local socket of an agent on this machine, where it has one of its own.")
]
Url = Annotated[str | None, typer.Option("--url", help="An agent elsewhere: https://HOST:PORT/restconf.")]
UserName = Annotated[str | None, typer.Option("--user", help="With --url; the password is read from SLP_PASSWORD.")]
CaFile = Annotated[Path | None, typer.Option("--ca", help="With --url: the agent's CA file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON (RFC 7951) instead of text.")]


def connect(state_dir: Path | None, socket: Path | None, url: str | None, user: str | None, ca: Path | None) -> Client:
    """The client that the options describe; ends the program when they describe none."""
    if socket is not None:
        return Client.local(socket)
    if url is None and state_dir is not None:
        return Client.local(state_dir / SOCKET)
    if url is None:
        fail("name the agent: --state-dir or --socket for one on this machine, or --url https://HOST:PORT/restconf")
    password = os.environ.get("SLP_PASSWORD")
    if url is None or user is None or password is None:
        fail("--url needs --user, and the password in the environment variable SLP_PASSWORD")
    try:
        return Client.remote(url, user, password, ca)
    except ValueError:
        fail(f"--url {url}: expected https://HOST:PORT/restconf")
    except UsageUnavailable as error:
        fail(error)


def get(client: Client, path: str) -> Any:
    """The value of one data resource; None when there is none."""
    try:
        body = client.request("GET", path).json
    except UsageUnavailable as error:
        fail(error)
    except UsageRefused as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        fail(error)
    if not isinstance(body, dict) or len(body) != 1:
        fail("the answer is not RESTCONF: is this an slp-agent?")
    return next(iter(body.values()))


def ask(action: Callable[[], None]) -> None:
    """Do it; a refusal ends the program with its return-code and message."""
    try:
        action()
    except UsageRefused as error:
        fail(f"refused: {error}")
    except UsageUnavailable as error:
        fail(error)


def fail(message: object) -> NoReturn:
    """One line on standard error, exit code 1."""
    typer.echo(f"slp-agent: {message}", err=True)
    raise typer.Exit(1)
