"""What the outside may want to be told after a decision: small frozen values; YANG notifications are the seam's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.licensing.deadlines import next_ack_deadline
from agent.licensing.events import (
    AckReceived,
    ClockChanged,
    CloseReason,
    Event,
    OutageReason,
    OutageRecorded,
    PolicyInstalled,
    ReportClosed,
    ReportsAcknowledged,
    TrustCodeInstalled,
    UsageRecorded,
)
from agent.licensing.profile import Profile
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


@dataclass(frozen=True, slots=True)
class TrustCodeWasInstalled:
    """Reports are signed under the authority's certificate from now on."""

    udi_key: str
    installed_at: int


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


Notice = (
    ReportWasClosed
    | ReportsWereAcknowledged
    | PolicyWasInstalled
    | TrustCodeWasInstalled
    | ContentWasRefused
    | UsageWasRefused
    | UsageChanged
    | OutageWasRecorded
    | ClockWasChanged
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
                yield PolicyWasInstalled(event.terms.name, event.at)
            case TrustCodeInstalled():
                yield TrustCodeWasInstalled(profile.udi.key, event.at)
            case UsageRecorded():
                tag = event.entitlement_tag
                yield UsageChanged(tag, profile.by_tag(tag).name, after.licences[tag].count)
            case OutageRecorded():
                yield OutageWasRecorded(event.start, event.end, event.reason)
            case ClockChanged():
                yield ClockWasChanged(event.delta)
            case _:
                pass
