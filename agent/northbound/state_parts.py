"""The parts of `/licensing/state/state-info` as trees: one function a member, values in, no cache and no bindings."""

from __future__ import annotations

from agent.core.tree import Tree
from agent.formats.documents import Account, Entitlement
from agent.licensing.codes import Authorization, AuthorizedBy, LicenceAuthorization
from agent.licensing.policy import Policy
from agent.licensing.profile import Licence, Profile, Purchase
from agent.licensing.reports import Figures
from agent.licensing.state import InstalledTrust, Outage
from agent.northbound import legacy
from agent.northbound.settings import MODEL_NAMES
from agent.northbound.times import date_and_time
from agent.northbound.words import INSTALL_TYPES, POLICY_SOURCES

SMART_URL = "https://smartreceiver.cisco.com/licservice/license"
"""What `url-default` stands for (slp-facts section 2.1)."""

_ATTRIBUTES = ("reporting-first-time", "reporting-ongoing", "reporting-macd")


def utility(enabled: bool, customer_info: tuple[tuple[str, str], ...], reporting: legacy.Reporting | None) -> Tree:
    """`reporting` is None while utility mode is off."""
    kind = "subscription" if enabled else "none"
    tree: Tree = {"enabled": enabled, "reporting": f"utility-reporting-type-{kind}"}
    if reporting is not None and (times := legacy.reporting_times(reporting)):
        tree["reporting-times"] = times
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
    tree["slp-agent:ack-required-source"] = POLICY_SOURCES[terms.ack_source]
    sources: list[Tree] = []
    for name, days in terms.days.items():
        tree[f"policy-{name}"] = dict(zip(_ATTRIBUTES, days, strict=True))
        sources += [
            {"class": name, "attribute": attribute, "source": POLICY_SOURCES[source]}
            for attribute, source in zip(_ATTRIBUTES, terms.sources[name], strict=True)
        ]
    tree["slp-agent:attribute-source"] = sources
    return tree


def trust_code(key_udi: str, udi: Tree, trust: InstalledTrust | None, counts: bool) -> Tree:
    """The entry of this product instance, with or without a code."""
    entry: Tree = {"key_udi": key_udi, "is-installed": trust is not None, "udi": udi}
    if trust is not None:
        entry["time-installed"] = date_and_time(trust.installed_at)
        entry["slp-agent:valid-from"] = date_and_time(trust.valid_from)
        entry["slp-agent:valid-until"] = date_and_time(trust.valid_until)
        entry["slp-agent:factory-installed"] = trust.factory
        entry["slp-agent:counts"] = counts
        entry["slp-agent:renewal-time"] = date_and_time(legacy.renewal(trust))
    return entry


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


def report_times(
    closed: int | None, ack: int | None, deadline: int | None, push: int | None, saved: int | None, days: int
) -> Tree:
    moments = {
        "last-closed-time": closed,
        "last-ack-time": ack,
        "next-ack-deadline": deadline,
        "next-report-push": push,
        "last-report-file-write": saved,
    }
    return {**_times(moments), "push-interval-days": days}


def last_outage(outage: Outage | None) -> Tree | None:
    if outage is None:
        return None
    return {**_times({"start-time": outage.start, "end-time": outage.end}), "reason": outage.reason}


def _times(moments: dict[str, int | None]) -> Tree:
    return {name: date_and_time(value) for name, value in moments.items() if value is not None}


def usage(licence: Licence, count: int, post_paid: bool, authorized: int | None, reserved: bool) -> Tree:
    """One entry of the list `usage`. `authorized` is what codes allow: None any count; `reserved`: by a reservation."""
    controlled = licence.enforcement == "export"
    allowed = authorized is None or authorized > 0
    entry: Tree = {
        "entitlement-tag": licence.entitlement_tag,
        "short-name": licence.name,
        "license-name": licence.feature_name,
        "description": licence.description,
        "count": count,
        "enforcement-mode": f"enforcement-{_mode(licence, count, authorized, reserved)}",
        "post-paid": post_paid and licence.can_be_post_paid,
    }
    if licence.subscription_id is not None:
        entry["subscription-id"] = licence.subscription_id
    return entry | {
        "slp-agent:feature-name": licence.name,
        "slp-agent:feature-description": licence.description,
        "slp-agent:version": licence.version,
        "slp-agent:status": "in-use" if count else "not-in-use",
        "slp-agent:license-enforcement-type": f"license-enforcement-type-{licence.enforcement}",
        "slp-agent:license-term-type": f"license-term-type-{licence.term}",
        "slp-agent:export-status": f"restricted-{'' if allowed else 'not-'}allowed" if controlled else "not-restricted",
    }


def _mode(licence: Licence, count: int, authorized: int | None, reserved: bool) -> str:
    if count == 0:
        return "waiting"
    if licence.needs_authorization and authorized is not None and authorized < count:
        return "authorization-expired"
    return "reservation-in-compliance" if licence.needs_authorization and reserved else "in-compliance"


def factory_purchase(key: str, udi: Tree, profile: Profile, purchased: tuple[Entitlement, ...]) -> Tree | None:
    """What was bought with the product, as the profile and the factory's authorization code say; None for nothing.

    Of a licence that both name, the code's word counts: it is signed.
    """
    coded = {one.tag: Purchase(one.tag, one.count, None, one.ends) for one in purchased}
    bought = {one.entitlement_tag: one for one in profile.purchases} | coded
    if not bought:
        return None
    return {"key_udi": key, "udi": udi, "basic-license-info": [_bought(profile, one) for one in bought.values()]}


def _bought(profile: Profile, purchase: Purchase) -> Tree:
    licence = profile.by_tag(purchase.entitlement_tag)
    entry = _names(licence) | {
        "count": purchase.count,
        "license-enforcement-type": f"license-enforcement-type-{licence.enforcement}",
        "license-term-type": f"license-term-type-{licence.term}",
        **_times({"start-time": purchase.start, "end-time": purchase.end}),
    }
    subscription = purchase.subscription_id or licence.subscription_id
    return entry if subscription is None else entry | {"subscription-id": subscription}


def _names(licence: Licence) -> Tree:
    return {
        "entitlement-tag": licence.entitlement_tag,
        "short-name": licence.name,
        "license-name": licence.feature_name,
        "description": licence.description,
    }


def imported_authorizations(
    key_udi: str, udi: Tree, held: Authorization, authorized: tuple[LicenceAuthorization, ...], limit: int | None
) -> Tree:
    """Authorization codes: by kind, by licence, the request that waits, and what the authority is to be told."""
    status: Tree = {"key_udi": key_udi, "udi": udi}
    if held.codes:
        status["installed-list"] = [
            {"install-type": INSTALL_TYPES[code.auth_type], "install-time": date_and_time(code.installed_at)}
            for code in held.codes
        ]
    tree: Tree = {"overall-status": [status], "authorization-list": [_authorized(each) for each in authorized]}
    told = {
        "last-confirmation-code": held.confirmation,
        "last-return-string": held.return_string,
        "last-return-time": None if held.returned_at is None else date_and_time(held.returned_at),
        "throughput-limit": limit,
    }
    tree |= {f"slp-agent:{name}": value for name, value in told.items() if value is not None}
    if held.request is not None:
        tree["slp-agent:request"] = {
            "request-time": date_and_time(held.request.requested_at),
            "online": held.request.online,
            "entitlement": [{"entitlement-tag": key.tag, "count": key.count} for key in held.request.keys],
        }
    return tree


def _authorized(view: LicenceAuthorization) -> Tree:
    entry = _names(view.licence)
    if view.total is not None:
        entry["total-count"] = view.total
    return entry | {
        "license-enforcement-type": f"license-enforcement-type-{view.licence.enforcement}",
        "slp-agent:unlimited": view.total is None,
        "slp-agent:authorized-by": [_by(each) for each in view.by],
    }


def _by(one: AuthorizedBy) -> Tree:
    entry: Tree = {"install-type": INSTALL_TYPES[one.auth_type]}
    if one.count is not None:
        entry["count"] = one.count
    entry["license-term-type"] = f"license-term-type-{one.term}"
    return entry | _times({"end-time": one.ends, "install-time": one.installed_at})
