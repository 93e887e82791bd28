"""`slp-agent show license …`: what the agent serves, in the layouts that operators and parsers know."""

from __future__ import annotations

import json
from typing import Any

import typer

from agent.cli import render
from agent.cli.target import STATE_INFO, AsJson, CaFile, Socket, StateDir, Url, UserName, connect, fail, get
from agent.usage import Client

cli = typer.Typer(help="What the agent knows.", no_args_is_help=True)
license_cli = typer.Typer(help="Licences, reporting and identity.", no_args_is_help=True)
cli.add_typer(license_cli, name="license")

_STATUS = (
    "utility",
    "transport",
    "privacy",
    "custom-id",
    "policy",
    "trust-code",
    "rum-ack",
    "slp-agent:account",
    "slp-agent:report-counts",
    "slp-agent:report-times",
    "slp-agent:product",
)


@license_cli.command()
def status(
    state_dir: StateDir = None,
    socket: Socket = None,
    url: Url = None,
    user: UserName = None,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Policy, usage reporting and trust."""
    state = _gather(connect(state_dir, socket, url, user, ca), _STATUS)
    typer.echo(_json(state) if as_json else render.status(state), nl=as_json)


@license_cli.command()
def usage(
    state_dir: StateDir = None,
    socket: Socket = None,
    url: Url = None,
    user: UserName = None,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Every licence with its count."""
    licences = get(connect(state_dir, socket, url, user, ca), f"{STATE_INFO}/usage") or []
    typer.echo(_json({"usage": licences}) if as_json else render.usage(licences), nl=as_json)


@license_cli.command()
def udi(
    state_dir: StateDir = None,
    socket: Socket = None,
    url: Url = None,
    user: UserName = None,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """The unique device identifier."""
    state = _gather(connect(state_dir, socket, url, user, ca), ("udi",))
    if "udi" not in state:
        fail("the agent gave no UDI: it may be starting or stopping; try again")
    typer.echo(_json(state) if as_json else render.udi(state), nl=as_json)


def _gather(client: Client, members: tuple[str, ...]) -> dict[str, Any]:
    found = {member: get(client, f"{STATE_INFO}/{member}") for member in members}
    return {member: value for member, value in found.items() if value is not None}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
