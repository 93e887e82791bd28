"""`slp-agent show license …`: what the agent serves, in the layouts that operators and parsers know."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from agent.cli import render, render_reports
from agent.cli.target import STATE_INFO, AsJson, fail, get, on_agent
from agent.usage import Client

cli = typer.Typer(help="What the agent knows.", no_args_is_help=True)
license_cli = typer.Typer(help="Licences, reporting and identity.", no_args_is_help=True)
rum_cli = typer.Typer(help="Usage reports.", no_args_is_help=True)
cli.add_typer(license_cli, name="license")
license_cli.add_typer(rum_cli, name="rum")

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

_AUTHORIZATION = ("imported-authorizations", "factory-purchase")
_REPORT = (
    "report-id",
    "license-name",
    "entitlement-tag",
    "udi",
    "report-state",
    "close-reason",
    "report-start-time",
    "report-end-time",
    "payload-version",
    "digest",
)


@license_cli.command()
@on_agent
def status(client: Client, as_json: AsJson = False) -> None:
    """Policy, usage reporting and trust."""
    state = _gather(client, _STATUS)
    typer.echo(_json(state) if as_json else render.status(state), nl=as_json)


@license_cli.command()
@on_agent
def usage(client: Client, as_json: AsJson = False) -> None:
    """Every licence with its count."""
    licences = get(client, f"{STATE_INFO}/usage") or []
    typer.echo(_json({"usage": licences}) if as_json else render.usage(licences), nl=as_json)


@license_cli.command()
@on_agent
def udi(client: Client, as_json: AsJson = False) -> None:
    """The unique device identifier."""
    state = _gather(client, ("udi",))
    if "udi" not in state:
        fail("the agent gave no UDI: it may be starting or stopping; try again")
    typer.echo(_json(state) if as_json else render.udi(state), nl=as_json)


@license_cli.command()
@on_agent
def summary(client: Client, as_json: AsJson = False) -> None:
    """What is in use."""
    licences = [one for one in get(client, f"{STATE_INFO}/usage") or [] if one["count"]]
    typer.echo(_json({"usage": licences}) if as_json else render_reports.summary(licences), nl=as_json)


@license_cli.command()
@on_agent
def authorization(client: Client, as_json: AsJson = False) -> None:
    """Authorization codes, what they authorize, and what was bought with the product."""
    state = _gather(client, _AUTHORIZATION)
    typer.echo(_json(state) if as_json else render_reports.authorization(state), nl=as_json)


@license_cli.command("all")
@on_agent
def all_(client: Client, as_json: AsJson = False) -> None:
    """Everything but the reports."""
    state = _gather(client, (*_STATUS, *_AUTHORIZATION, "udi", "conversion", "usage"))
    if not {"udi", "policy", "transport"} <= set(state):
        fail("the agent gave only a part: it may be starting or stopping; try again")
    typer.echo(_json(state) if as_json else render_reports.everything(state), nl=as_json)


@rum_cli.command("id")
@on_agent
def rum_id(
    client: Client,
    report: Annotated[str, typer.Argument(metavar="all|REPORT-ID", help="All closed reports, or one in detail.")],
    detail: Annotated[str, typer.Argument(metavar="detail", help="May stand behind a report's number.")] = "detail",
    as_json: AsJson = False,
) -> None:
    """Closed usage reports that are not purged."""
    if report == "all":
        entries = get(client, f"{STATE_INFO}/rum-reports-closed-keys") or []
        typer.echo(
            _json({"rum-reports-closed-keys": entries}) if as_json else render_reports.reports(entries), nl=as_json
        )
        return
    if detail != "detail" or not report.isascii() or not report.isdigit():
        fail("expected: show license rum id all, or show license rum id REPORT-ID detail")
    udi = get(client, f"{STATE_INFO}/udi") or fail("the agent gave no UDI: it may be starting; try again")
    key = quote(f"PID:{udi['pid']},SN:{udi['sn']},REPORT:{report}", safe="")
    # leaf by leaf: a reply with the document would count as its delivery, and showing is none
    values = {leaf: get(client, f"{STATE_INFO}/slp-agent:rum-reports-closed={key}/{leaf}") for leaf in _REPORT}
    if None in values.values():
        fail(f"there is no closed report {report}: it may be open, or acknowledged and purged")
    typer.echo(_json(values) if as_json else render_reports.report(values), nl=as_json)


def _gather(client: Client, members: tuple[str, ...]) -> dict[str, Any]:
    found = {member: get(client, f"{STATE_INFO}/{member}") for member in members}
    return {member: value for member, value in found.items() if value is not None}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
