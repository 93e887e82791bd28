"""RFC 7951 trees to the text layouts of `show license …` (slp-facts 1.2 to 1.5). Pure: no requests, no printing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

Tree = Mapping[str, Any]

_CLASSES = (
    ("perpetual", "Unenforced/Non-Export Perpetual Attributes"),
    ("subscription", "Unenforced/Non-Export Subscription Attributes"),
    ("enforced", "Enforced (Perpetual/Subscription) License Attributes"),
    ("export", "Export (Perpetual/Subscription) License Attributes"),
)
_ATTRIBUTES = (
    ("reporting-first-time", "First report requirement (days)"),
    ("reporting-ongoing", "Reporting frequency (days)"),
    ("reporting-macd", "Report on change (days)"),
)
_SOURCES = {
    "cisco-default": "CISCO default",
    "customer-policy": "Customer Policy",
    "factory-policy": "Factory Policy",
    "controller-policy": "Controller Policy",
}
ENFORCEMENT = {
    "license-enforcement-type-unenforced": "NOT ENFORCED",
    "license-enforcement-type-enforced": "ENFORCED",
    "license-enforcement-type-export": "EXPORT RESTRICTED",
}
_TERMS = {
    "license-term-type-perpetual": "Perpetual",
    "license-term-type-subscription": "Subscription",
    "license-term-type-term": "Term",
}
_EXPORT = {
    "not-restricted": "NOT RESTRICTED",
    "restricted-allowed": "RESTRICTED - ALLOWED",
    "restricted-not-allowed": "RESTRICTED - NOT ALLOWED",
}
_TRANSPORTS = {
    "callhome": "Callhome",
    "smart": "Smart",
    "cslu": "cslu",
    "off": "Transport Off",
    "automatic": "Automatic",
}


def when(moment: str | None) -> str:
    """`2021-10-14T12:10:32+00:00` as `Oct 14 12:10:32 2021 UTC`; `<none>` for nothing."""
    if moment is None:
        return "<none>"
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%b %d %H:%M:%S %Y UTC")


def udi(state: Tree) -> str:
    """`show license udi`, from state-info with `udi`."""
    here = state["udi"]
    return f"UDI: PID:{here['pid']},SN:{here['sn']}\n"


def usage(licences: list[Tree]) -> str:
    """`show license usage`, from the entries of the usage list."""
    lines = ["License Authorization:", "  Status: Not Applicable", ""]
    for one in licences:
        own = {name.removeprefix("slp-agent:"): value for name, value in one.items()}
        in_use = own.get("status") == "in-use"
        lines += [
            f"{own['short-name']} ({own['license-name']}):",
            f"  Description: {own.get('description', '')}",
            f"  Count: {own['count']}",
            f"  Version: {own.get('version', '1.0')}",
            f"  Status: {'IN USE' if in_use else 'NOT IN USE'}",
            f"  Export status: {_EXPORT[own['export-status']]}",
            f"  Feature Name: {own['feature-name']}",
            f"  Feature Description: {own.get('feature-description', '')}",
            f"  Enforcement type: {ENFORCEMENT[own['license-enforcement-type']]}",
            f"  License type: {_TERMS[own['license-term-type']]}",
            "",
        ]
    return "\n".join(lines)


def status(state: Tree) -> str:
    """`show license status`, from state-info with its containers (not its lists of reports)."""
    return (
        "\n".join([*_head(state), *_policy(state), *_miscellaneous(state), *_reporting(state), *_trust(state)]) + "\n"
    )


def _head(state: Tree) -> Iterator[str]:
    privacy = state.get("privacy", {})
    account = state.get("slp-agent:account", {})
    yield from ("Utility:", f"  Status: {_enabled(state.get('utility', {}).get('enabled', False))}", "")
    yield from ("Smart Licensing Using Policy:", "  Status: ENABLED", "")
    yield "Account Information:"
    as_of = f" As of {when(account['as-of'])}" if "as-of" in account else ""
    yield f"  Smart Account: {account.get('smart-account', '<none>')}{as_of}"
    yield from (f"  Virtual Account: {account.get('virtual-account', '<none>')}", "")
    hidden = privacy.get("hostname", False)
    yield from ("Data Privacy:", f"  Sending Hostname: {'no' if hidden else 'yes'}")
    yield "    Callhome hostname privacy: DISABLED"
    yield f"    Smart Licensing hostname privacy: {_enabled(hidden)}"
    yield from (f"  Version privacy: {_enabled(privacy.get('version', False))}", "")
    kind = state["transport"]["transport-type"].removeprefix("transport-type-")
    yield from ("Transport:", f"  Type: {_TRANSPORTS[kind]}")
    if kind == "cslu":
        yield f"  Cslu address: {state['transport'].get('slp-agent:url-cslu', '<empty>')}"
    if kind == "smart":
        yield f"  URL: {state['transport'].get('url-settings', {}).get('url-registration', '<empty>')}"
    if kind in ("cslu", "smart"):
        yield from ("  Proxy:", "    Not Configured", "  VRF:", "    Not Configured")
    yield ""


def _policy(state: Tree) -> Iterator[str]:
    policy = state["policy"]
    sources = {
        (each["class"], each["attribute"]): _SOURCES[each["source"]] for each in policy["slp-agent:attribute-source"]
    }
    yield "Policy:"
    if "install-time" in policy:
        yield f"  Policy in use: Installed On {when(policy['install-time'])}"
        yield f"  Policy name: {policy['policy-name']}"
    else:
        yield "  Policy in use: Merged from multiple sources."
    required = "yes" if policy["ack-required"] else "no"
    yield f"  Reporting ACK required: {required} ({_SOURCES[policy['slp-agent:ack-required-source']]})"
    for kind, title in _CLASSES:
        yield f"  {title}:"
        for leaf, label in _ATTRIBUTES:
            yield f"    {label}: {policy[f'policy-{kind}'][leaf]} ({sources[kind, leaf]})"
    yield ""


def _miscellaneous(state: Tree) -> Iterator[str]:
    yield from ("Miscellaneous:", f"  Custom Id: {state.get('custom-id', '<empty>')}", "")


def _reporting(state: Tree) -> Iterator[str]:
    ack, times = state.get("rum-ack", {}), state["slp-agent:report-times"]
    days = times["push-interval-days"]
    yield "Usage Reporting:"
    yield f"  Last ACK received: {when(ack.get('last-received-time'))}"
    yield f"  Next ACK deadline: {when(ack.get('next-report-deadline'))}"
    yield f"  Reporting push interval: {f'{days}  days' if days else '0 (no reporting)'}"
    yield "  Next ACK push check: <none>"
    yield f"  Next report push: {when(times.get('next-report-push'))}"
    yield f"  Last report push: {when(times.get('last-report-push'))}"
    yield f"  Last report file write: {when(times.get('last-report-file-write'))}"
    yield ""


def _trust(state: Tree) -> Iterator[str]:
    installed = [each for each in state.get("trust-code", ()) if each.get("is-installed")]
    if not installed:
        yield "Trust Code Installed: <none>"
    elif len(installed) == 1:
        yield f"Trust Code Installed: {when(installed[0]['time-installed'])}"
    else:
        yield "Trust Code Installed:"
        for each in installed:
            yield from (f"  {each['key_udi']}", f"    INSTALLED on {when(each['time-installed'])}")


def _enabled(value: bool) -> str:
    return "ENABLED" if value else "DISABLED"
