"""What the views of the time before licensing under a policy say now: registration, authorization and so on.

One function a view, values in, a tree out; docs/models.md and decision 0031 say why each says what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from agent.core.tree import Tree
from agent.formats.documents import Account, AuthType
from agent.licensing.codes import Authorization, views
from agent.licensing.profile import Profile
from agent.licensing.state import InstalledTrust, State, TrustFailure
from agent.licensing.trusting import RENEWAL_PART
from agent.licensing.usage import DAY
from agent.northbound.times import date_and_time

RESERVATIONS: frozenset[AuthType] = frozenset({"slr", "plr", "fla", "pak"})
"""Codes of the time before: they reserve licences, and nothing has to be asked again."""
UNUSED_EVALUATION = 90 * DAY
"""Seconds of an evaluation period that never begins."""


class Reporting(NamedTuple):
    """What is known of reports and their acknowledgements, in epoch seconds; `overdue` when the deadline has passed."""

    last: int | None
    next_push: int | None
    deadline: int | None
    overdue: bool


class Trusting(NamedTuple):
    """All about the trust code: whether the one that is installed `counts` now, since when one is asked for over the
    network (None: not now), and the last request that came to nothing since the installation."""

    trust: InstalledTrust | None
    counts: bool
    requested: int | None
    failure: TrustFailure | None


def registration(trusting: Trusting, account: Account | None, export_allowed: bool) -> Tree:
    """Registered means: the authority certified the device's key, and the certificate counts now."""
    failure = trusting.failure
    failed = None if failure is None else {"fail-message": failure.message[:255]}
    if trusting.trust is not None and trusting.counts:
        state, detail = "complete", _complete(trusting.trust, account)
        if failure is not None and failed is not None:
            detail |= {"last-renew-time": date_and_time(failure.at), "last-renew-success": False} | failed
    elif trusting.requested is not None:
        state, detail = "in-progress", {"start-time": date_and_time(trusting.requested)}
    elif failure is not None and failed is not None:
        state, detail = "failed", {"fail-time": date_and_time(failure.at)} | failed
    else:
        state, detail = "not-registered", {}
    tree: Tree = {"registration-state": f"reg-state-{state}"}
    if detail:
        tree[f"registration-{state}"] = detail
    return tree | {"export-control-allowed": export_allowed}


def _complete(trust: InstalledTrust, account: Account | None) -> Tree:
    tree: Tree = {
        "complete-time": date_and_time(trust.installed_at),
        "next-renew-time": date_and_time(renewal(trust)),
        "expire-time": date_and_time(trust.valid_until),
    }
    if account is not None:
        tree["smart-account"] = account.smart_account
        tree["virtual-account"] = account.virtual_account
    return tree


def renewal(trust: InstalledTrust) -> int:
    """From when the next trust code is asked for."""
    return trust.valid_until - (trust.valid_until - trust.valid_from) // RENEWAL_PART


def exceeds(state: State, profile: Profile, totals: Mapping[str, int | None]) -> bool:
    """Whether more of a licence is in use than codes authorize (`totals` by tag, None: any count).

    Only the end of an authorization can bring that about: without one a licence is not turned on.
    """
    for tag, use in state.licences.items():
        authorized = totals.get(tag, 0)
        if authorized is not None and authorized < use.count and profile.by_tag(tag).needs_authorization:
            return True
    return False


def mode(state: State, profile: Profile, now: int) -> str:
    """The authorization state of this moment, for the notification enforcement-mode."""
    totals = {each.licence.entitlement_tag: each.total for each in views(state.authorization, profile, now)}
    return authorization_state(state.authorization, exceeds(state, profile, totals))


def authorization_state(authorization: Authorization, expired: bool) -> str:
    """The one word for all licences together (authorization-state-enum)."""
    if not authorization.codes:
        return "auth-state-none"
    if expired:
        return "auth-state-authorization-expired"
    if any(code.auth_type in RESERVATIONS for code in authorization.codes):
        return "auth-state-authorized-reservation"
    return "auth-state-authorized"


def authorization(codes: Authorization, expired: bool, reporting: Reporting | None) -> Tree:
    """Nothing needs a code: none; a reservation: since when; a code: how its reports go, or that it has ended.

    `reporting` is None while no code is installed.
    """
    state = authorization_state(codes, expired)
    tree: Tree = {"authorization-state": state}
    if state == "auth-state-authorized-reservation":
        first = min(code.installed_at for code in codes.codes if code.auth_type in RESERVATIONS)
        tree["authorization-authorized-reservation"] = {"reservation-time": date_and_time(first)}
    elif reporting is not None:
        tree[f"authorization-{state.removeprefix('auth-state-')}"] = _communication(reporting)
    return tree


def _communication(reporting: Reporting) -> Tree:
    moments: Mapping[str, int | None] = {
        "last-comm-time": reporting.last,
        "next-comm-time": reporting.next_push,
        "comm-deadline-time": reporting.deadline,
    }
    return _success("last-comm-status-success", reporting) | _times(moments)


def _success(name: str, reporting: Reporting) -> Tree:
    if reporting.overdue and reporting.deadline is not None:
        return {name: False, "fail-message": f"no acknowledgement came by {date_and_time(reporting.deadline)}"}
    return {} if reporting.last is None else {name: True}


def evaluation() -> Tree:
    """There is no evaluation under a policy: it is not used, so nothing of it is used up."""
    return {"eval-in-use": False, "eval-expired": False, "eval-period-left": {"time-left": UNUSED_EVALUATION}}


def conversion(key: str, udi: Tree, authorization: Authorization, since: int) -> Tree:
    """An imported code of an older system means that its licences are converted; else there is nothing to convert."""
    converted = [code.installed_at for code in authorization.codes if code.auth_type == "pak"]
    return {
        "key_udi": key,
        "status": "conversion-status-already-converted" if converted else "conversion-status-not-supported",
        "status-time": date_and_time(min(converted, default=since)),
        "udi": udi,
    }


def reporting_times(reporting: Reporting) -> Tree:
    """Reports for billing go the way of all reports; one counts as arrived when it is acknowledged."""
    moments = {"last-report-time": reporting.last, "next-report-time": reporting.next_push}
    return _success("last-report-success", reporting) | _times(moments)


def _times(moments: Mapping[str, int | None]) -> Tree:
    return {name: date_and_time(value) for name, value in moments.items() if value is not None}
