"""What the outside may want to be told after a decision: small frozen values; YANG notifications are the seam's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.formats.documents import AuthType, PolicyOrigin
from agent.licensing.deadlines import next_ack_deadline
from agent.licensing.events import (
    AckReceived,
    AckReminded,
    AnchorsInstalled,
    AuthorizationInstalled,
    AuthorizationRemoved,
    AuthorizationRequestEnded,
    ClockChanged,
    CloseReason,
    EntitlementsExpired,
    Event,
    InstanceReset,
    OutageReason,
    OutageRecorded,
    PolicyInstalled,
    PolicyRemoved,
    ReportClosed,
    ReportsAcknowledged,
    ReportsRefused,
    TrustCodeInstalled,
    TrustCodeNoticed,
    TrustRequestEnded,
    UsageRecorded,
)
from agent.licensing.profile import Profile
from agent.licensing.refusals import code
from agent.licensing.state import State


@dataclass(frozen=True, slots=True)
class ReportWasClosed:
    """A report can be pulled."""

    key: str
    report_id: int
    entitlement_tag: str
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class ReportsWereAcknowledged:
    """An ACK came in; `next_deadline` is None when no further one is required."""

    number: int
    received_at: int
    next_deadline: int | None


@dataclass(frozen=True, slots=True)
class PolicyWasInstalled:
    """Reporting terms changed."""

    name: str
    installed_at: int
    origin: PolicyOrigin = "custom"


@dataclass(frozen=True, slots=True)
class PolicyWasRemoved:
    """A policy is no longer in force; those below it are."""

    name: str
    origin: PolicyOrigin


@dataclass(frozen=True, slots=True)
class TrustCodeWasInstalled:
    """Reports are signed under the authority's certificate from now on, unless it is a factory-installed one."""

    udi_key: str
    installed_at: int
    factory: bool


@dataclass(frozen=True, slots=True)
class TrustRequestFailed:
    """A trust code that was asked for will not come."""

    udi_key: str
    code: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TrustAnchorsWereChanged:
    """Documents are checked against so many other roots from now on."""

    number: int


@dataclass(frozen=True, slots=True)
class AckIsRequired:
    """An acknowledgement must have come within so many days, at `deadline`."""

    days: int
    deadline: int


@dataclass(frozen=True, slots=True)
class AckIsOverdue:
    """An acknowledgement should have come so many days ago, at `deadline`."""

    days: int
    deadline: int


@dataclass(frozen=True, slots=True)
class ReportsWereRefused:
    """The authority did not take these reports: pairs of report id and its reason."""

    reports: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class TrustCodeEnds:
    """The trust code ends soon (`ended` False), or has ended, at `valid_until`."""

    udi_key: str
    valid_until: int
    ended: bool


@dataclass(frozen=True, slots=True)
class SyncFailed:
    """An immediate exchange that was asked for could not be made."""

    code: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class UtilityReportingChanged:
    """Usage is reported as post-paid from now on, or no longer."""

    started: bool


@dataclass(frozen=True, slots=True)
class UtilityIntervalIsLong:
    """Utility mode with a reporting interval of more than 7 days."""

    days: int


@dataclass(frozen=True, slots=True)
class InstanceWasReset:
    """A factory reset ended this life of the instance; so many reports that never left were given up."""

    discarded: int


@dataclass(frozen=True, slots=True)
class ContentWasRefused:
    """A document was not installed. `kind` is its kind, or `file` when the whole file was refused."""

    kind: str
    code: str
    reason: str
    message: str
    who: str


@dataclass(frozen=True, slots=True)
class UsageWasRefused:
    """An application may not use a licence, or boot-level names one that cannot be turned on."""

    licence: str
    code: str
    reason: str
    message: str
    who: str


@dataclass(frozen=True, slots=True)
class UsageChanged:
    """A licence is in use with another count than before."""

    entitlement_tag: str
    license_name: str
    count: int


@dataclass(frozen=True, slots=True)
class OutageWasRecorded:
    """No usage was recorded for a while."""

    start: int
    end: int
    reason: OutageReason


@dataclass(frozen=True, slots=True)
class ClockWasChanged:
    """The clock was set back by `delta` seconds (negative)."""

    delta: int


@dataclass(frozen=True, slots=True)
class AuthorizationWasInstalled:
    """A code is installed; `tags` is empty for one that authorizes every licence."""

    udi_key: str
    auth_type: AuthType
    tags: tuple[str, ...]
    installed_at: int
    confirmation_code: str | None


@dataclass(frozen=True, slots=True)
class AuthorizationWasRemoved:
    """All codes are gone from this device."""

    udi_key: str
    auth_types: tuple[AuthType, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuthorizationRequestFailed:
    """A code that was asked for will not come."""

    udi_key: str
    code: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class AuthorizationHasExpired:
    """The end of these entitlements has passed; what is in use goes on, and cannot be turned on anew."""

    udi_key: str
    auth_type: AuthType
    tags: tuple[str, ...]


Notice = (
    ReportWasClosed
    | ReportsWereAcknowledged
    | PolicyWasInstalled
    | PolicyWasRemoved
    | AckIsRequired
    | AckIsOverdue
    | ReportsWereRefused
    | TrustCodeEnds
    | SyncFailed
    | UtilityReportingChanged
    | UtilityIntervalIsLong
    | InstanceWasReset
    | TrustCodeWasInstalled
    | TrustRequestFailed
    | TrustAnchorsWereChanged
    | ContentWasRefused
    | UsageWasRefused
    | UsageChanged
    | OutageWasRecorded
    | ClockWasChanged
    | AuthorizationWasInstalled
    | AuthorizationWasRemoved
    | AuthorizationRequestFailed
    | AuthorizationHasExpired
)


def of_events(events: Sequence[Event], after: State, profile: Profile) -> Iterator[Notice]:
    """The notices of what has happened, in order; `after` is the state that the events led to."""
    acknowledged = 0
    for event in events:
        match event:
            case ReportClosed():
                yield ReportWasClosed(event.key, event.report_id, event.entitlement_tag, event.reason)
            case ReportsAcknowledged():
                acknowledged = len(event.report_ids)
            case AckReceived():
                yield ReportsWereAcknowledged(acknowledged, event.at, next_ack_deadline(after, profile))
                acknowledged = 0
            case PolicyInstalled():
                yield PolicyWasInstalled(event.terms.name, event.at, event.origin)
            case PolicyRemoved():
                yield PolicyWasRemoved(event.name, event.origin)
            case ReportsRefused():
                yield ReportsWereRefused(tuple(zip(event.report_ids, event.reasons, strict=True)))
            case InstanceReset():
                yield InstanceWasReset(event.discarded)
            case AckReminded():
                told = AckIsRequired if event.days > 0 else AckIsOverdue
                yield told(abs(event.days), event.deadline)
            case TrustCodeInstalled():
                yield TrustCodeWasInstalled(profile.udi.key, event.at, event.factory)
            case UsageRecorded():
                tag = event.entitlement_tag
                yield UsageChanged(tag, profile.by_tag(tag).name, after.licences[tag].count)
            case OutageRecorded():
                yield OutageWasRecorded(event.start, event.end, event.reason)
            case ClockChanged():
                yield ClockWasChanged(event.delta)
            case TrustCodeNoticed() if after.trust is not None:
                yield TrustCodeEnds(profile.udi.key, after.trust.valid_until, event.ended)
            case _:
                yield from _of_requests(event, profile.udi.key)


def _of_requests(event: Event, udi_key: str) -> Iterator[Notice]:
    match event:
        case AuthorizationInstalled():
            tags = tuple(entry.tag for entry in event.entitlements)
            yield AuthorizationWasInstalled(udi_key, event.auth_type, tags, event.at, event.confirmation or None)
        case AuthorizationRemoved():
            yield AuthorizationWasRemoved(udi_key, event.auth_types, event.tags)
        case AuthorizationRequestEnded():
            yield AuthorizationRequestFailed(udi_key, code(event.reason), event.reason, event.message)
        case TrustRequestEnded():
            yield TrustRequestFailed(udi_key, code(event.reason), event.reason, event.message)
        case AnchorsInstalled():
            yield TrustAnchorsWereChanged(len(event.anchors))
        case EntitlementsExpired():
            yield AuthorizationHasExpired(udi_key, event.auth_type, event.tags)
        case _:
            pass
