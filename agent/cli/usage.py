"""`slp-agent usage …`: record how many of a licence are in use, and list what is recorded."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from agent.cli.target import STATE_INFO, AsJson, ask, fail, get, on_agent
from agent.usage import Client, Recorder

_PIPED = 10_000
"""Columns where there is no screen: more than any entry needs."""

cli = typer.Typer(help="Usage by licence.", no_args_is_help=True)


@cli.command("set")
@on_agent
def set_(
    client: Client,
    name: Annotated[str, typer.Argument(help="Licence name, feature name or entitlement tag.")],
    count: Annotated[int, typer.Argument(min=0, max=4_294_967_295, help="How many are in use from now on; 0 stops.")],
    added: Annotated[
        list[str] | None, typer.Option("--added", metavar="PID:…,SN:…", help="A peripheral that it takes in now.")
    ] = None,
    removed: Annotated[
        list[str] | None, typer.Option("--removed", metavar="PID:…,SN:…", help="One that it no longer takes in.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set the count of a licence, and say what was set."""
    for key in (*(added or ()), *(removed or ())):
        if not key.startswith("PID:") or ",SN:" not in key:
            fail(f"--added and --removed take PID:…,SN:…, not {key!r:.80}")
    ask(lambda: Recorder(client).record(name, count, added=added or (), removed=removed or ()))
    typer.echo(json.dumps({"license": name, "count": count}) if as_json else f"{name}: {count} recorded")


@cli.command("list")
@on_agent
def list_(client: Client, as_json: AsJson = False) -> None:
    """All licences with their counts."""
    licences = get(client, f"{STATE_INFO}/usage") or []
    rows = [
        {"name": one["short-name"], "count": one["count"], "entitlement-tag": one["entitlement-tag"]}
        for one in licences
    ]
    if as_json:
        typer.echo(json.dumps({"usage": rows}, indent=2))
        return
    # every command would wait for this import, run included
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("License", no_wrap=True)
    table.add_column("Count", justify="right")
    table.add_column("Entitlement tag", overflow="fold")
    for row in rows:
        table.add_row(row["name"], str(row["count"]), row["entitlement-tag"])
    # a pipe has no width: whoever reads it wants each entry on its line
    Console(width=None if sys.stdout.isatty() else _PIPED).print(table)
