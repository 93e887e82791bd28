"""The parts of `/licensing/state/state-info` as trees: one function a member, values in, no cache and no bindings."""

from __future__ import annotations

from agent.core.tree import Tree
from agent.formats.documents import Account
from agent.licensing.policy import Policy, Source
from agent.licensing.profile import Licence
from agent.licensing.reports import Figures
from agent.licensing.state import Outage
from agent.northbound.settings import MODEL_NAMES
from agent.northbound.times import date_and_time

SMART_URL = "https://smartreceiver.cisco.com/licservice/license"
"""What `url-default` stands for (slp-facts section 2.1)."""

LEFT_OUT = {
    "utility": frozenset({"reporting-times"}),
    "usage": frozenset({"subscription-id"}),
    "slp-agent:report-times": frozenset({"last-report-push"}),
}
"""Members below a part that its function never gives; all others it gives whenever there is something to say."""

_SOURCES: dict[Source, str] = {
    "default": "cisco-default",
    "factory": "customer-policy",
    "custom": "customer-policy",
    "controller": "customer-policy",
}
_ATTRIBUTES = ("reporting-first-time", "reporting-ongoing", "reporting-macd")


def utility(enabled: bool, customer_info: tuple[tuple[str, str], ...]) -> Tree:
    tree: Tree = {"enabled": enabled, "reporting": "utility-reporting-type-none"}
    if customer_info:
        tree["customer-info"] = {MODEL_NAMES[name]: value for name, value in customer_info}
    return tree


def transport(kind: str, registration: str | None, utility: str | None, cslu: str | None) -> Tree:
    tree: Tree = {"transport-type": f"transport-type-{kind}"}
    if kind == "smart":
        urls = {"url-registration": registration or SMART_URL}
        if utility is not None:
            urls["url-utility"] = utility
        tree["url-settings"] = urls
    if cslu is not None:
        tree["slp-agent:url-cslu"] = cslu
    return tree


def privacy(hostname: bool, version: bool) -> Tree:
    return {"hostname": hostname, "version": version}


def policy(terms: Policy) -> Tree:
    tree: Tree = {"policy-type": f"policy-type-{terms.kind}", "ack-required": terms.ack_required}
    if terms.name is not None and terms.installed_at is not None:
        tree["policy-name"] = terms.name
        tree["install-time"] = date_and_time(terms.installed_at)
    tree["slp-agent:ack-required-source"] = _SOURCES[terms.ack_source]
    sources: list[Tree] = []
    for name, days in terms.days.items():
        tree[f"policy-{name}"] = dict(zip(_ATTRIBUTES, days, strict=True))
        sources += [
            {"class": name, "attribute": attribute, "source": _SOURCES[source]}
            for attribute, source in zip(_ATTRIBUTES, terms.sources[name], strict=True)
        ]
    tree["slp-agent:attribute-source"] = sources
    return tree


def rum_ack(received: int | None, deadline: int | None) -> Tree | None:
    return _times({"last-received-time": received, "next-report-deadline": deadline}) or None


def account(booked: Account | None, as_of: int | None) -> Tree | None:
    if booked is None or as_of is None:
        return None
    return {
        "smart-account": booked.smart_account,
        "virtual-account": booked.virtual_account,
        "as-of": date_and_time(as_of),
    }


def report_counts(counts: Figures) -> Tree:
    return {name: str(value) for name, value in counts._asdict().items()}


def report_times(closed: int | None, ack: int | None, deadline: int | None, push: int | None, days: int) -> Tree:
    moments = {
        "last-closed-time": closed,
        "last-ack-time": ack,
        "next-ack-deadline": deadline,
        "next-report-push": push,
    }
    return {**_times(moments), "push-interval-days": days}


def last_outage(outage: Outage | None) -> Tree | None:
    if outage is None:
        return None
    return {**_times({"start-time": outage.start, "end-time": outage.end}), "reason": outage.reason}


def _times(moments: dict[str, int | None]) -> Tree:
    return {name: date_and_time(value) for name, value in moments.items() if value is not None}


def usage(licence: Licence, count: int, post_paid: bool) -> Tree:
    """One entry of the list `usage`."""
    restricted = licence.enforcement == "export"
    return {
        "entitlement-tag": licence.entitlement_tag,
        "short-name": licence.name,
        "license-name": licence.feature_name,
        "description": licence.description,
        "count": count,
        "enforcement-mode": "enforcement-in-compliance" if count else "enforcement-waiting",
        "post-paid": post_paid,
        "slp-agent:feature-name": licence.name,
        "slp-agent:feature-description": licence.description,
        "slp-agent:version": licence.version,
        "slp-agent:status": "in-use" if count else "not-in-use",
        "slp-agent:license-enforcement-type": f"license-enforcement-type-{licence.enforcement}",
        "slp-agent:license-term-type": f"license-term-type-{licence.term}",
        # no authorization code can be installed yet, so what is restricted is never allowed
        "slp-agent:export-status": "restricted-not-allowed" if restricted else "not-restricted",
    }
