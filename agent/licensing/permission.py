"""Whether a licence may be turned on, and why not: pure questions to state and catalogue; nothing is changed here.

Source: slp-facts section 5 (what needs a code, the throughput ceiling).
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.licensing.profile import Licence, Profile
from agent.licensing.state import State
from agent.licensing.usage import MAX_COUNT

CEILING_MBPS = 250
"""Throughput in each direction that needs no export-controlled licence."""


@dataclass(frozen=True, slots=True)
class Permission:
    """The answer. `reason` is a slug of refusals.CODES when it is no; `message` says why, and what to do.

    `authorized` is the count that codes authorize: None when no code is needed, or any count is authorized.
    `throughput_limit_mbps` is what this device may forward in each direction now; None: no limit of licensing's.
    """

    allowed: bool
    message: str
    reason: str | None = None
    authorized: int | None = None
    throughput_limit_mbps: int | None = None


def permission(
    state: State, profile: Profile, name: str, count: int, now: int, throughput_mbps: int | None = None
) -> Permission:
    """May `count` of the licence with this name, feature name or tag be in use at `now`, forwarding so much?

    Going down, or staying, is always allowed: a code that ended stops nothing that runs.
    """
    limit = throughput_limit(state, profile, now)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_COUNT:
        message = f"a count of 0 to {MAX_COUNT} is expected, found {count!r:.80}"
        return Permission(False, message, "count-out-of-range", throughput_limit_mbps=limit)
    licence = profile.find(name)
    if licence is None:
        message = f"no licence {name!r:.80} is in this product's catalogue"
        return Permission(False, message, "unknown-licence", throughput_limit_mbps=limit)
    authorized = _authorized(state, licence, now)
    refused = _count(state, licence, count, authorized) or _throughput(limit, throughput_mbps)
    if refused is not None:
        return Permission(False, refused[1], refused[0], authorized, limit)
    return Permission(True, f"{count} of {licence.name} may be used", None, authorized, limit)


def throughput_limit(state: State, profile: Profile, now: int) -> int | None:
    """Megabits a second in each direction that may be forwarded; None once an export-controlled licence is authorized.

    A product without any export-controlled licence has no such ceiling.
    """
    controlled = [licence for licence in profile.licences.values() if licence.enforcement == "export"]
    if not controlled or any(state.authorization.authorized(each.entitlement_tag, now) != 0 for each in controlled):
        return None
    return CEILING_MBPS


def _authorized(state: State, licence: Licence, now: int) -> int | None:
    if not licence.needs_authorization:
        return None
    return state.authorization.authorized(licence.entitlement_tag, now)


def _count(state: State, licence: Licence, count: int, authorized: int | None) -> tuple[str, str] | None:
    use = state.licences.get(licence.entitlement_tag)
    if authorized is None or count <= max(authorized, use.count if use else 0):
        return None
    kind = f"{licence.name} ({licence.enforcement})"
    if authorized == 0:
        return (
            "not-authorized",
            f"{kind} may be used with an authorization code only, and none is installed for it; request one",
        )
    return "count-not-authorized", f"{authorized} of {kind} are authorized, not {count}; request a code for more"


def _throughput(limit: int | None, wanted: int | None) -> tuple[str, str] | None:
    if wanted is None or limit is None or wanted <= limit:
        return None
    return (
        "throughput-ceiling",
        f"{wanted} Mbps is above the {limit} Mbps that are allowed without an export-controlled licence; "
        "install an authorization code for one first",
    )
