"""Reports, authorizations and the whole of `show license all` as text (slp-facts 1.2 and 1.5). Pure, as render.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.cli import render

Tree = Mapping[str, Any]

_STATES = {
    "closed": "CLOSED",
    "pending": "PENDING",
    "unacknowledged": "UNACK",
    "acknowledged": "ACK",
}
_INSTALLED = {
    "authorization-type-auth-code": "SMART AUTHORIZATION INSTALLED",
    "authorization-type-slr": "SPECIFIC INSTALLED",
    "authorization-type-plr": "PERMANENT INSTALLED",
    "authorization-type-fla": "FLA INSTALLED",
    "authorization-type-pak": "PAK INSTALLED",
}


def reports(entries: Sequence[Tree]) -> str:
    """`show license rum id all`, from the entries of rum-reports-closed-keys."""
    lines = ["Smart Licensing Usage Report:", "=" * 36, "Report Id,          State,    Flag, Feature Name"]
    if not entries:
        lines.append("No reports: none was closed that is not acknowledged; open ones are closed once a day.")
    lines += [f"{one['report-id']:<20}{_state(one):<10}N     {one['slp-agent:license-name']}" for one in entries]
    return "\n".join(lines) + "\n"


def report(one: Tree) -> str:
    """`show license rum id ID detail`, from the leaves of an entry of rum-reports-closed."""
    lines = [
        "Smart Licensing Usage Report Detail:",
        "=" * 36,
        f"Report Id: {one['report-id']}",
        "  Metric Name: ENTITLEMENT",
        f"  Feature Name: {one['license-name']}",
        f"  Metric Value: {one['entitlement-tag']}",
        f"  UDI: PID:{one['udi']['pid']},SN:{one['udi']['sn']}",
        f"  State: {_state(one)},      Close Reason: {one['close-reason'].upper()}",
        f"  Start Time: {render.when(one['report-start-time'])},      End Time: {render.when(one['report-end-time'])}",
        "  Storage State: EXIST",
        f"  Digest: {one['digest']}",
    ]
    return "\n".join(lines) + "\n"


def authorization(state: Tree) -> str:
    """`show license authorization`, from state-info with imported-authorizations and factory-purchase."""
    return "\n".join([*_authorizations(state), *_purchases(state)]) + "\n"


def summary(licences: Sequence[Tree]) -> str:
    """`show license summary`: what is in use."""
    lines = ["License Usage:", f"  {'License':<24}{'Entitlement Tag':<30}{'Count':>5} Status", "  " + "-" * 77]
    for one in licences:
        if one["count"]:
            tag = f"({one['license-name']})"
            shown = tag if len(tag) <= 28 else f"{tag[:25]}..."
            lines.append(f"  {one['short-name']:<24}{shown:<30}{one['count']:>5} IN USE")
    return "\n".join(lines) + "\n"


def everything(state: Tree) -> str:
    """`show license all`, from state-info with its containers and the usage list."""
    product = state["slp-agent:product"]
    parts = [
        *_title("Smart Licensing Status"),
        "Smart Licensing is ENABLED",
        "",
        *_conversion(state),
        "Export Authorization Key:",
        "  Features Authorized:",
        *(_exported(state) or ["    <none>"]),
        "",
        render.status(state),
        *_title("License Usage"),
        render.usage(list(state.get("usage", ()))),
        *_title("Product Information"),
        render.udi(state),
        *_title("Agent Version"),
        f"Smart Agent for Licensing: {product['agent-version']}",
        "",
        *_title("License Authorizations"),
        authorization(state),
        *_title("Usage Report Summary:"),
        *_counts(state["slp-agent:report-counts"]),
    ]
    return "\n".join(parts) + "\n"


def _title(text: str) -> list[str]:
    return [text, "=" * len(text)]


def _conversion(state: Tree) -> Iterator[str]:
    yield from ("License Conversion:", "  Automatic Conversion Enabled: False")
    for one in state.get("conversion", ()):
        done = one["status"] == "conversion-status-already-converted"
        yield f"  Status: {'Already converted' if done else 'Not supported'} on {render.when(one['status-time'])}"
    yield ""


def _exported(state: Tree) -> list[str]:
    listed = state.get("imported-authorizations", {}).get("authorization-list", ())
    return [
        f"    {one['short-name']}"
        for one in listed
        if one["license-enforcement-type"] == "license-enforcement-type-export"
        and (one["slp-agent:unlimited"] or one["total-count"])
    ]


def _authorizations(state: Tree) -> Iterator[str]:
    held = state.get("imported-authorizations", {})
    yield "Overall status:"
    for one in held.get("overall-status", ()):
        yield f"  Active: {one['key_udi']}"
        installed = one.get("installed-list", ())
        if not installed:
            yield "      Status: NOT INSTALLED"
        for each in installed:
            yield f"      Status: {_INSTALLED[each['install-type']]} on {render.when(each['install-time'])}"
        for leaf, label in (
            ("last-confirmation-code", "Last Confirmation code"),
            ("last-return-string", "Last return code"),
        ):
            if f"slp-agent:{leaf}" in held:
                yield f"      {label}: {held[f'slp-agent:{leaf}']}"
    waiting = held.get("slp-agent:request")
    if waiting:
        yield f"      Requested on {render.when(waiting['request-time'])}, no code came yet:"
        for one in waiting["entitlement"]:
            yield f"        {one['entitlement-tag']}, count {one['count']}"
    yield ""
    if held.get("authorization-list"):
        yield "Authorizations:"
        for one in held["authorization-list"]:
            yield from _licence(one)
        yield ""


def _licence(one: Tree) -> Iterator[str]:
    yield f"  {one['short-name']} ({one['license-name']}):"
    yield f"    Description: {one['description']}"
    total = "unlimited" if one["slp-agent:unlimited"] else one["total-count"]
    yield f"    Total available count: {total}"
    yield f"    Enforcement type: {render.ENFORCEMENT[one['license-enforcement-type']]}"
    yield "    Term information:"
    for by in one["slp-agent:authorized-by"]:
        yield f"      Authorization type: {_INSTALLED[by['install-type']]} on {render.when(by['install-time'])}"
        term = by["license-term-type"].removeprefix("license-term-type-").upper()
        yield f"      License type: {term}"
        if "end-time" in by:
            yield f"        End Date: {render.when(by['end-time'])}"
        if "count" in by:
            yield f"        Term Count: {by['count']}"


def _purchases(state: Tree) -> Iterator[str]:
    yield "Purchased Licenses:"
    bought = [one for each in state.get("factory-purchase", ()) for one in each["basic-license-info"]]
    if not bought:
        yield "  No Purchase Information Available"
    for one in bought:
        yield f"  {one['short-name']} ({one['license-name']}):"
        yield f"    Count: {one['count']}"
        yield f"    License type: {one['license-term-type'].removeprefix('license-term-type-').capitalize()}"
        for leaf, label in (("start-time", "Start Date"), ("end-time", "End Date")):
            if leaf in one:
                yield f"    {label}: {render.when(one[leaf])}"
        if "subscription-id" in one:
            yield f"    Subscription ID: {one['subscription-id']}"


def _counts(counts: Tree) -> list[str]:
    return [
        f"Total: {counts['total']},  Purged: {counts['purged']}",
        f"Total Acknowledged Received: {counts['acknowledged']},  Waiting for Ack: {counts['waiting']}",
        f"Available to Report: {counts['available']}  Collecting Data: {counts['collecting']}",
    ]


def _state(one: Tree) -> str:
    return _STATES[one["report-state"].removeprefix("rum-report-state-")]
