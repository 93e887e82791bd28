"""What each event does to the state: pure, quick and total; decisions are engine.py's, and nothing here can fail.

One event copies at most one dictionary (a licence's change: the licences' dictionary, once).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from agent.formats.documents import Account
from agent.licensing.events import (
    AckReceived,
    AnchorsInstalled,
    ClockChanged,
    DocumentAccepted,
    Event,
    OutageRecorded,
    PolicyInstalled,
    ReportClosed,
    ReportDiscarded,
    ReportOpened,
    ReportsAcknowledged,
    ReportsDelivered,
    ReportsPurged,
    Sampled,
    SettingsApplied,
    Started,
    Stopped,
    TrustCodeInstalled,
    UsageRecorded,
)
from agent.licensing.state import (
    ChainHead,
    InstalledPolicy,
    InstalledTrust,
    LicenceUse,
    Outage,
    SerialFloor,
    State,
)
from agent.licensing.usage import NOTHING_BEFORE, OpenReport, Preface


def evolve(state: State, events: Iterable[Event]) -> State:
    """The state after these events, in order."""
    for event in events:
        state = _after(state, event)
        # While nothing runs nothing is measured, so what happens then does not move the durable moment.
        if state.running or isinstance(event, Stopped):
            state = replace(state, at=event.at)
    return state


def _after(state: State, event: Event) -> State:
    match event:
        case Sampled():
            return replace(state, sampled_at=event.at)
        case UsageRecorded() | ReportOpened() | ReportDiscarded() | ReportClosed():
            return _usage(state, event)
        case ReportsDelivered() | ReportsAcknowledged() | ReportsPurged():
            return _stored(state, event)
        case Started():
            return _started(state, event)
        case Stopped():
            return replace(state, running=False)
        case ClockChanged():
            return replace(state, sampled_at=event.at, clock_change=(event.at, event.delta))
        case OutageRecorded():
            return replace(state, last_outage=Outage(event.start, event.end, event.reason))
        case SettingsApplied():
            return replace(state, settings=event.settings)
        case _:
            return _authority(state, event)


def _usage(state: State, event: UsageRecorded | ReportOpened | ReportDiscarded | ReportClosed) -> State:
    tag = event.entitlement_tag
    old = state.licences.get(tag, LicenceUse())
    match event:
        case UsageRecorded():
            new = replace(old, recorded=event.count)
            if old.report is not None:
                new = replace(new, report=old.report.changed(event.at, new.count))
            return _changed(state, tag, old, new, event.at)
        case ReportOpened():
            new = replace(old, report=_opened(state, event, old.unstated), unstated=NOTHING_BEFORE)
            return replace(
                state,
                licences=state.licences | {tag: new},
                next_report_id=max(state.next_report_id, event.report_id + 1),
            )
        case ReportDiscarded():
            unstated = old.unstated if old.report is None else old.report.preface
            return replace(state, licences=state.licences | {tag: replace(old, report=None, unstated=unstated)})
        case ReportClosed():
            new = replace(old, report=None, last_report_id=event.report_id)
            chain = ChainHead(state.chain.sequence + 1 if state.chain else 1, event.report_id, event.digest)
            counts = state.counts
            counts = replace(counts, closed=counts.closed + 1, available=counts.available + 1)
            return replace(
                state,
                licences=state.licences | {tag: new},
                chain=chain,
                counts=counts,
                last_closed_at=event.at,
            )


def _opened(state: State, event: ReportOpened, preface: Preface) -> OpenReport:
    """A new report states the outage or clock change that it begins after, and what is still to be stated."""
    # one that a discarded report left in this very second has it all already
    if preface.at != event.at:
        outage, clock = state.last_outage, state.clock_change
        preface = preface.extended(
            event.at,
            (outage.start, outage.end) if outage is not None and outage.end == event.at else None,
            clock[1] if clock is not None and clock[0] == event.at else None,
        )
    return OpenReport(event.report_id, start=event.at, row_start=event.at, count=event.count, preface=preface)


def _changed(state: State, tag: str, old: LicenceUse, new: LicenceUse, at: int) -> State:
    """Put `new` in; a licence that comes into use or goes out of it is a change (slp-facts section 3)."""
    state = replace(state, licences=state.licences | {tag: new})
    if (old.count > 0) == (new.count > 0):
        return state
    changes = state.changes if tag in state.changes else state.changes | {tag: at}
    first = at if state.first_used_at is None and new.count > 0 else state.first_used_at
    return replace(state, changes=changes, first_used_at=first)


def _started(state: State, event: Started) -> State:
    first = not state.epoch
    state = replace(
        state,
        running=True,
        epoch=event.epoch,
        started_at=event.at,
        first_started_at=event.at if first else state.first_started_at,
        first_report_id=event.first_report_id if first else state.first_report_id,
        next_report_id=event.first_report_id if first else state.next_report_id,
        sampled_at=event.at,
        software_version=event.software_version,
    )
    for tag in dict.fromkeys((*state.licences, *event.levels)):
        old = state.licences.get(tag, LicenceUse())
        level = tag in event.levels
        if level != old.level:
            state = _changed(state, tag, old, replace(old, level=level), event.at)
    return state


def _stored(state: State, event: ReportsDelivered | ReportsAcknowledged | ReportsPurged) -> State:
    counts, number = state.counts, len(event.report_ids)
    match event:
        case ReportsDelivered():
            counts = replace(counts, available=counts.available - number, waiting=counts.waiting + number)
        case ReportsAcknowledged():
            were = dict(event.by_state)
            counts = replace(
                counts,
                available=counts.available - were.get("closed", 0),
                waiting=counts.waiting - were.get("unacknowledged", 0),
                acknowledged=counts.acknowledged + number,
            )
        case ReportsPurged():
            counts = replace(counts, purged=counts.purged + number)
    return replace(state, counts=counts)


def _authority(
    state: State, event: AnchorsInstalled | DocumentAccepted | AckReceived | PolicyInstalled | TrustCodeInstalled
) -> State:
    match event:
        case AnchorsInstalled():
            return replace(state, anchors=event.anchors)
        case DocumentAccepted():
            return replace(state, floors=state.floors | {event.kind: SerialFloor(event.serial, event.digest)})
        case AckReceived():
            account = state.account
            if event.smart_account:
                account = Account(event.smart_account, event.virtual_account)
            changes = {tag: at for tag, at in state.changes.items() if at > event.reported_upto}
            return replace(state, report_ack_at=event.at, last_ack_at=event.at, account=account, changes=changes)
        case PolicyInstalled():
            return replace(state, policy=InstalledPolicy(event.terms, event.at), last_ack_at=event.at)
        case TrustCodeInstalled():
            trust = InstalledTrust(
                event.certificate, event.key_id, event.valid_from, event.valid_until, installed_at=event.at
            )
            return replace(state, trust=trust, last_ack_at=event.at)
