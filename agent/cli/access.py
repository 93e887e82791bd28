"""`slp-agent access …`: which access rule decides (RFC 8341)."""

from __future__ import annotations

from enum import StrEnum
import json
from typing import Annotated

import typer

from agent.cli.target import AsJson, accepted, call, on_agent
from agent.usage import Client

cli = typer.Typer(help="Access rules.", no_args_is_help=True)


class Operation(StrEnum):
    """The access operations of RFC 8341."""

    create = "create"
    read = "read"
    update = "update"
    delete = "delete"
    exec = "exec"


@cli.command("explain")
@on_agent
def explain(
    client: Client,
    name: Annotated[str, typer.Argument(metavar="USER", help="Name of the user.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="PATH|RPC",
            help="/MODULE:NAME/... of a data node; MODULE:NAME of an RPC (exec) or a notification (read).",
        ),
    ],
    operation: Annotated[Operation, typer.Argument(help="What is to be done with it.")],
    group: Annotated[
        list[str] | None, typer.Option(help="Group that the user is in, in place of its account's; can be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell which rule permits or denies it. Only administrators may ask."""
    output = accepted(
        call(client, "slp-agent", "explain-access", user=name, group=group, operation=operation.value, target=target)
    )
    if as_json:
        del output["return-code"]
        typer.echo(json.dumps(output, indent=2, ensure_ascii=False))
        return
    groups = ", ".join(output.get("group", ())) or "none"
    typer.echo(f"{'permitted' if output['permitted'] else 'denied'} by {output['reason']}")
    if "at" in output:
        typer.echo(f"at:     {output['at']}")
    if "message" in output:
        typer.echo(f"user:   {output['message']}")
    typer.echo(f"groups: {groups}")
