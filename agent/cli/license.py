"""`slp-agent license …`: files, trust, authorization, sync and reset, as operators know them from `license smart …`.

FILE is a file in the agent's folder (`flash:NAME`, `bootflash:NAME`, `NAME`); with --here it is one on this machine.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
import sys
from typing import Annotated, Any

import typer

from agent.cli.target import STATE_INFO, accepted, call, fail, get, on_agent
from agent.usage import Client

CSL = "cisco-smart-license"
OWN = "slp-agent"

cli = typer.Typer(help="Files, trust and authorization.", no_args_is_help=True)
save_cli = typer.Typer(help="Save what is carried to the licence authority.", no_args_is_help=True)
usage_cli = typer.Typer(help="Save usage reports; open ones are closed first.", no_args_is_help=True)
trust_cli = typer.Typer(help="Trust codes.", no_args_is_help=True)
authorization_cli = typer.Typer(help="Authorization codes.", no_args_is_help=True)
request_cli = typer.Typer(help="Ask for an authorization code.", no_args_is_help=True)
cli.add_typer(save_cli, name="save")
save_cli.add_typer(usage_cli, name="usage")
cli.add_typer(trust_cli, name="trust")
cli.add_typer(authorization_cli, name="authorization")
authorization_cli.add_typer(request_cli, name="request")


class Scope(StrEnum):
    """Which members of a high-availability set."""

    local = "local"
    all = "all"


class Way(StrEnum):
    """How the authority hears of it."""

    online = "online"
    offline = "offline"


File = Annotated[str, typer.Argument(help="File in the agent's folder: flash:NAME, bootflash:NAME or NAME.")]
Here = Annotated[bool, typer.Option("--here", help="FILE is a file on this machine.")]
Which = Annotated[Scope, typer.Argument(help="This product instance, or all of its high-availability set.")]
Feature = Annotated[str, typer.Argument(help="Licence name, feature name or entitlement tag.")]
Count = Annotated[int, typer.Option(min=1, max=4_294_967_295, help="How many of it.")]
RequestFile = Annotated[str | None, typer.Option("--file", help="Also save the request to this file of the agent's.")]
Online = Annotated[bool, typer.Option("--online", help="Send the request over the network.")]


@usage_cli.command("all")
@on_agent
def save_all(client: Client, file: File, here: Here = False) -> None:
    """All reports that are kept."""
    _save(client, file, here, "rum-save-usage-all", all=[None])


@usage_cli.command("unreported")
@on_agent
def save_unreported(client: Client, file: File, here: Here = False) -> None:
    """Those that are not acknowledged."""
    _save(client, file, here, "rum-save-usage-unreported", unreported=[None])


@usage_cli.command("days")
@on_agent
def save_days(
    client: Client,
    days: Annotated[int, typer.Argument(min=1, max=4_294_967_295, help="How many days back.")],
    file: File,
    here: Here = False,
) -> None:
    """Those whose usage ended in the last days."""
    _save(client, file, here, "rum-save-usage-days", days=days)


@usage_cli.command("rum-id")
@on_agent
def save_one(
    client: Client,
    report: Annotated[int, typer.Argument(min=1, help="Number of the report.")],
    file: File,
    here: Here = False,
) -> None:
    """One report."""
    udi = get(client, f"{STATE_INFO}/udi") or fail("the agent gave no UDI: it may be starting; try again")
    key = f"PID:{udi['pid']},SN:{udi['sn']},REPORT:{report}"
    if here:
        _write(file, accepted(call(client, OWN, "export-usage", rum_report_key=key)))
    else:
        accepted(call(client, OWN, "rum-save-usage-report", file_path=file, rum_report_key=key))


@save_cli.command("trust-request")
@on_agent
def save_trust_request(client: Client, file: File, here: Here = False) -> None:
    """A request for a trust code."""
    if here:
        _write(file, accepted(call(client, OWN, "export-trust-request")))
    else:
        accepted(call(client, CSL, "trust-request-save", file_path=file))


@cli.command("import")
@on_agent
def import_(client: Client, file: File, here: Here = False) -> None:
    """Install what the licence authority issued: codes, policies, trust codes, acknowledgements."""
    if here:
        try:
            content = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            fail(f"cannot read {file}: {error.strerror if isinstance(error, OSError) else error}")
        output = call(client, OWN, "import-code", content=content)
    else:
        output = call(client, CSL, "import-file", file_path=file)
    documents = output.get("document", ())
    for document in documents:
        # the answer of a single document is that of the whole
        if document["return-code"] != "success" and len(documents) > 1:
            typer.echo(f"{document['type']}: {document['return-code']}: {document.get('message', '')}", err=True)
    accepted(output)
    typer.echo("Import Data Successful")
    if "confirmation-codes" in output:
        typer.echo(f"Confirmation code: {output['confirmation-codes']}")


@trust_cli.command("idtoken")
@on_agent
def trust_idtoken(
    client: Client,
    token: Annotated[str, typer.Argument(help="ID token of the account; - reads it from standard input.")],
    scope: Which = Scope.local,
    force: Annotated[bool, typer.Option("--force", help="Replace the installed trust code.")] = False,
) -> None:
    """Ask for a trust code with an ID token."""
    if token == "-":  # noqa: S105 - the usual sign for standard input
        token = sys.stdin.readline().strip()
    output = call(client, CSL, "id-token-trust", id_token=token, all_ha=scope is Scope.all, force=force)
    typer.echo(accepted(output).get("message", "requested"))


@request_cli.command("add")
@on_agent
def request_add(
    client: Client,
    feature: Feature,
    scope: Which = Scope.local,
    count: Count = 1,
    file: RequestFile = None,
    online: Online = False,
) -> None:
    """Beside what the installed code authorizes."""
    _request(client, feature, scope, count, file, online, add=True)


@request_cli.command("replace")
@on_agent
def request_replace(
    client: Client,
    feature: Feature,
    scope: Which = Scope.local,
    count: Count = 1,
    file: RequestFile = None,
    online: Online = False,
) -> None:
    """In place of the installed code."""
    _request(client, feature, scope, count, file, online, add=False)


@request_cli.command("save")
@on_agent
def request_save(client: Client, file: File, here: Here = False) -> None:
    """Save the request that was made."""
    if here:
        _write(file, accepted(call(client, OWN, "authorization-request-offline")))
    else:
        accepted(call(client, OWN, "authorization-request-offline", file_path=file))


@authorization_cli.command("return")
@on_agent
def authorization_return(
    client: Client,
    scope: Which,
    way: Annotated[Way, typer.Argument(help="Tell the authority over the network, or by the return string.")],
    file: Annotated[
        str | None, typer.Argument(help="Offline: also save the proof to this file of the agent's.")
    ] = None,
) -> None:
    """Remove the authorization code; prints the return string."""
    local = scope is Scope.local
    if way is Way.online and file is not None:
        fail("a file is written by return … offline only")
    if file is not None:
        output = call(client, CSL, "authorization-code-return-offline", local=local, file_path=file)
    else:
        output = call(client, CSL, "authorization-code-return-online", local=local)
    if "authorization-return-string" in output:
        typer.echo(f"Return code: {output['authorization-return-string']}")
    accepted(output)


@cli.command("permission")
@on_agent
def permission(
    client: Client,
    feature: Feature,
    count: Count = 1,
    throughput: Annotated[
        int | None, typer.Option(min=0, max=4_294_967_295, help="Megabits a second in each direction.")
    ] = None,
) -> None:
    """May it be used? Exit code 0: yes; 1: no, and why."""
    output = accepted(call(client, OWN, "ask-permission", license=feature, count=count, throughput=throughput))
    typer.echo(output.get("message", "yes"))


@cli.command("sync")
@on_agent
def sync(client: Client) -> None:
    """Report at once: close open reports, send what waits, fetch what the authority has."""
    output = accepted(call(client, OWN, "sync"))
    closed = len(output.get("rum-report-key", ()))
    typer.echo(output.get("message") or f"{closed} report{'' if closed == 1 else 's'} closed; being sent")


@cli.command("factory-reset")
@on_agent
def factory_reset(
    client: Client,
    file: Annotated[
        str | None, typer.Option("--file", help="First save all reports to this file of the agent's.")
    ] = None,
    discard: Annotated[
        bool, typer.Option("--discard", help="Give up what was not reported, and installed codes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """End this life of the product instance: usage, reports, codes, policies and trust go, a new key begins."""
    if not yes and not typer.confirm("This removes licences' usage, reports, codes, policies and trust. Go on?"):
        fail("nothing was reset")
    output = accepted(call(client, OWN, "factory-reset", file_path=file, discard=discard))
    typer.echo(output.get("message", "licensing was reset"))


def _save(client: Client, file: str, here: bool, rpc: str, **which: Any) -> None:
    if here:
        _write(file, accepted(call(client, OWN, "export-usage", **which)))
        return
    days = {name: value for name, value in which.items() if name == "days"}
    accepted(call(client, CSL, rpc, file_path=file, **days))


def _request(
    client: Client, feature: str, scope: Scope, count: int, file: str | None, online: bool, *, add: bool
) -> None:
    if online and (count != 1 or file is not None):
        fail("--online asks for one licence and writes no file: leave --count and --file out")
    if online:
        local = scope is Scope.local
        output = call(client, CSL, "authorization-request-online", feature_name=feature, local=local, add=add)
    else:
        output = call(
            client, OWN, "authorization-request-offline", feature_name=feature, count=count, add=add, file_path=file
        )
    accepted(output)


def _write(file: str, output: dict[str, Any]) -> None:
    try:
        Path(file).write_bytes(output["content"].encode())
    except OSError as error:
        fail(f"cannot write {file}: {error.strerror}")
