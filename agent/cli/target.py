"""Which agent a command speaks to, and how its answers fail: shared options and one way to end with an error."""

from __future__ import annotations

from collections.abc import Callable
import functools
from http import HTTPStatus
import inspect
import os
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

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
        if not state_dir.is_dir():
            fail(f"there is no state folder {state_dir}: make one with slp-agent init, or name it with --state-dir")
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


def on_agent(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is the client of the agent that the usual options name."""
    hints = get_type_hints(command, include_extras=True)
    _, *own = inspect.signature(command).parameters.values()
    ways = inspect.signature(connect).parameters
    options = {"state_dir": StateDir, "socket": Socket, "url": Url, "user": UserName, "ca": CaFile}

    @functools.wraps(command)
    def run(**given: Any) -> None:
        with connect(**{name: given.pop(name) for name in ways}) as client:
            command(client, **given)

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in options.items()
    ]
    taken = [each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    run.__signature__ = inspect.Signature([*taken, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: hints[each.name] for each in own} | options
    # typer would follow this to the command's own signature
    del run.__wrapped__
    return run


def call(client: Client, module: str, rpc: str, **given: Any) -> dict[str, Any]:
    """The output of an RPC, by local names. A refusal ends the program with its return-code and message.

    Python names of what is given use `_` for `-`; None leaves it out.
    """
    tree = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
    body = {f"{module}:input": tree} if tree else None
    try:
        answer = client.request("POST", f"/restconf/operations/{module}:{rpc}", body).json
    except UsageUnavailable as error:
        fail(error)
    except UsageRefused as error:
        fail(f"refused: {error}")
    output = answer.get(f"{module}:output") if isinstance(answer, dict) else None
    if not isinstance(output, dict) or "return-code" not in output:
        fail("the answer has no return-code: is this an slp-agent?")
    return {name.rpartition(":")[2]: value for name, value in output.items()}


def accepted(output: dict[str, Any]) -> dict[str, Any]:
    """The output, where it was not refused; else the end of the program."""
    if output["return-code"] not in ("success", "registrationinprogress"):
        fail(f"refused: {output['return-code']}: {output.get('message', 'the agent gave no reason')}")
    return output


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
