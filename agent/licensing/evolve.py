"""What each event does to the state: pure, quick and total; decisions are engine.py's, and nothing here can fail.

One event copies at most one dictionary (a licence's change: the licences' dictionary, once).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from agent.formats.documents import Account
from agent.licensing.codes import Authorization, InstalledCode, PendingRequest
from agent.licensing.events import (
    AckReceived,
    AckReminded,
    AnchorsInstalled,
    AuthorizationInstalled,
    AuthorizationRemoved,
    AuthorizationRequested,
    AuthorizationRequestEnded,
    ClockChanged,
    DocumentAccepted,
    EntitlementsExpired,
    Event,
    InstanceReset,
    OutageRecorded,
    PolicyInstalled,
    PolicyRemoved,
    ReportClosed,
    ReportDiscarded,
    ReportOpened,
    ReportsAcknowledged,
    ReportsDelivered,
    ReportsPurged,
    ReportsRefused,
    RequestMade,
    ResetPrepared,
    Sampled,
    SettingsApplied,
    Started,
    Stopped,
    SyncAsked,
    TrustCodeInstalled,
    TrustCodeNoticed,
    TrustRequested,
    TrustRequestEnded,
    UsageRecorded,
    UsageSaved,
)
from agent.licensing.state import (
    ChainHead,
    InstalledPolicy,
    InstalledTrust,
    LicenceUse,
    Outage,
    SerialFloor,
    State,
    TrustFailure,
)
from agent.licensing.usage import NOTHING_BEFORE, OpenReport, Peripherals, Preface

PUSH_DELAY = 120
"""A push is planned this long after what makes it due (slp-facts section 4.6: the first one after a start)."""


def evolve(state: State, events: Iterable[Event]) -> State:
    """The state after these events, in order."""
    for event in events:
        if isinstance(event, Sampled) and state.running:
            # By far the most frequent one: copied once.
            state = _with(state, sampled_at=event.at, at=event.at)
            continue
        state = _after(state, event)
        # While nothing runs nothing is measured, so what happens then does not move the durable moment.
        if state.at != event.at and (state.running or isinstance(event, Stopped)):
            state = _with(state, at=event.at)
    return state


def _with(state: State, **changes: Any) -> State:
    """`dataclasses.replace` for the state: seven times as quick, which is felt over a simulated year."""
    new = object.__new__(State)
    fields = new.__dict__
    fields.update(state.__dict__)
    known = len(fields)
    fields.update(changes)
    if len(fields) != known:
        raise TypeError(f"the state has no field {(fields.keys() - state.__dict__.keys()).pop()}")
    return new


def _after(state: State, event: Event) -> State:
    match event:
        case Sampled():
            return _with(state, sampled_at=event.at)
        case UsageRecorded() | ReportOpened() | ReportDiscarded() | ReportClosed():
            return _usage(state, event)
        case ReportsDelivered() | ReportsAcknowledged() | ReportsRefused() | ReportsPurged():
            return _stored(state, event)
        case Started():
            return _started(state, event)
        case Stopped():
            return _with(state, running=False)
        case ClockChanged():
            return _set_back(state, event)
        case OutageRecorded():
            return _with(state, last_outage=Outage(event.start, event.end, event.reason))
        case SettingsApplied():
            left = state.settings.mode == "controller" and event.settings.mode != "controller"
            since = event.at if left else state.autonomous_since
            return _with(state, settings=event.settings, autonomous_since=since)
        case SyncAsked():
            return _with(state, push_from=event.at)
        case AckReminded():
            return _with(state, reminder=(event.deadline, event.days))
        case TrustRequested():
            return _with(state, trust_requested_at=event.at)
        case TrustRequestEnded():
            failure = TrustFailure(event.at, event.reason, event.message)
            return _with(state, trust_requested_at=None, trust_failure=failure)
        case TrustCodeNoticed():
            trust = state.trust
            if trust is not None:
                trust = replace(trust, noticed="ended" if event.ended else "ends-soon")
            return _with(state, trust=trust)
        case UsageSaved():
            return _with(state, last_saved_at=event.at)
        case ResetPrepared():
            return _with(state, resetting=True, held_since=event.at)
        case InstanceReset():
            return _reset(state)
        case RequestMade():
            return _with(state, requests_made=event.number)
        case (
            AuthorizationRequested()
            | AuthorizationRequestEnded()
            | AuthorizationInstalled()
            | AuthorizationRemoved()
            | EntitlementsExpired()
        ):
            return _authorization(state, event)
        case _:
            return _authority(state, event)


def _set_back(state: State, event: ClockChanged) -> State:
    """What dates count from lies no later than now on the new clock (docs/decisions/0009); the push goes along."""

    def past(moment: int | None) -> int | None:
        return None if moment is None else min(moment, event.at)

    trust = state.trust
    return _with(
        state,
        sampled_at=event.at,
        clock_change=(event.at, event.delta),
        push_from=state.push_from + event.delta,
        first_used_at=past(state.first_used_at),
        report_ack_at=past(state.report_ack_at),
        last_ack_at=past(state.last_ack_at),
        held_since=past(state.held_since),
        autonomous_since=past(state.autonomous_since),
        changes={tag: min(at, event.at) for tag, at in state.changes.items()},
        policies={
            origin: replace(policy, installed_at=min(policy.installed_at, event.at))
            for origin, policy in state.policies.items()
        },
        trust=None if trust is None else replace(trust, installed_at=min(trust.installed_at, event.at)),
    )


def _usage(state: State, event: UsageRecorded | ReportOpened | ReportDiscarded | ReportClosed) -> State:
    tag = event.entitlement_tag
    old = state.licences.get(tag, LicenceUse())
    match event:
        case UsageRecorded():
            new = replace(old, recorded=event.count)
            if old.report is not None:
                new = replace(new, report=old.report.changed(event.at, new.count, event.peripherals))
            else:
                new = replace(new, peripherals=old.peripherals.then(event.peripherals))
            return _changed(state, tag, old, new, event.at)
        case ReportOpened():
            report = _opened(state, event, old.unstated, old.peripherals)
            new = replace(old, report=report, unstated=NOTHING_BEFORE, peripherals=Peripherals())
            return _with(
                state,
                licences=state.licences | {tag: new},
                next_report_id=max(state.next_report_id, event.report_id + 1),
            )
        case ReportDiscarded():
            left = Peripherals() if old.report is None else old.report.peripherals
            unstated = old.unstated if old.report is None else old.report.preface
            new = replace(old, report=None, unstated=unstated, peripherals=old.peripherals.then(left))
            return _with(state, licences=state.licences | {tag: new})
        case ReportClosed():
            new = replace(old, report=None, last_report_id=event.report_id)
            chain = ChainHead(state.chain.sequence + 1 if state.chain else 1, event.report_id, event.digest)
            counts = state.counts
            counts = replace(counts, closed=counts.closed + 1, available=counts.available + 1)
            return _with(
                state,
                licences=state.licences | {tag: new},
                chain=chain,
                counts=counts,
                last_closed_at=event.at,
            )


def _opened(state: State, event: ReportOpened, preface: Preface, peripherals: Peripherals) -> OpenReport:
    """A new report states the outage or clock change that it begins after, and what is still to be stated."""
    # one that a discarded report left in this very second has it all already
    if preface.at != event.at:
        outage, clock = state.last_outage, state.clock_change
        preface = preface.extended(
            event.at,
            (outage.start, outage.end) if outage is not None and outage.end == event.at else None,
            clock[1] if clock is not None and clock[0] == event.at else None,
        )
    return OpenReport(
        event.report_id,
        start=event.at,
        row_start=event.at,
        count=event.count,
        peripherals=peripherals,
        preface=preface,
    )


def _changed(state: State, tag: str, old: LicenceUse, new: LicenceUse, at: int) -> State:
    """Put `new` in; a licence that comes into use or goes out of it is a change (slp-facts section 3)."""
    state = _with(state, licences=state.licences | {tag: new})
    if (old.count > 0) == (new.count > 0):
        return state
    state = _pull_in(state, at)
    changes = state.changes if tag in state.changes else state.changes | {tag: at}
    first = at if state.first_used_at is None and new.count > 0 else state.first_used_at
    return _with(state, changes=changes, first_used_at=first)


def _pull_in(state: State, at: int) -> State:
    """Plan the next push soon after `at`, unless an earlier one is planned still: a busy device must not put it off."""
    soon = at + PUSH_DELAY
    return _with(state, push_from=min(soon, state.push_from) if at < state.push_from else soon)


def _started(state: State, event: Started) -> State:
    first = not state.epoch
    state = _with(
        state,
        running=True,
        resetting=False,
        held_since=None,
        epoch=event.epoch,
        started_at=event.at,
        first_started_at=event.at if first else state.first_started_at,
        first_report_id=event.first_report_id if first else state.first_report_id,
        next_report_id=event.first_report_id if first else state.next_report_id,
        sampled_at=event.at,
        software_version=event.software_version,
        push_from=event.at + PUSH_DELAY,
    )
    for tag in dict.fromkeys((*state.licences, *event.levels)):
        old = state.licences.get(tag, LicenceUse())
        level = tag in event.levels
        if level != old.level:
            state = _changed(state, tag, old, replace(old, level=level), event.at)
    return state


def _reset(state: State) -> State:
    """A new life: only what protects against the old one, and what the outside gave, is kept."""
    returned = max([state.authorization.returned_serial, *(code.serial for code in state.authorization.codes)])
    return State(
        at=state.at,
        next_report_id=state.next_report_id,
        settings=state.settings,
        anchors=state.anchors,
        floors=state.floors,
        policies={origin: policy for origin, policy in state.policies.items() if origin == "factory"},
        authorization=Authorization(returned_serial=returned),
        purchased=state.purchased,
    )


def _stored(state: State, event: ReportsDelivered | ReportsAcknowledged | ReportsRefused | ReportsPurged) -> State:
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
        case ReportsRefused():
            counts = replace(counts, available=counts.available + number, waiting=counts.waiting - number)
        case ReportsPurged():
            counts = replace(counts, purged=counts.purged + number)
    return _with(state, counts=counts)


def _authority(
    state: State,
    event: AnchorsInstalled | DocumentAccepted | AckReceived | PolicyInstalled | PolicyRemoved | TrustCodeInstalled,
) -> State:
    match event:
        case AnchorsInstalled():
            trust = state.trust
            if trust is not None:
                trust = replace(trust, anchored=event.trust_holds)
            return _with(state, anchors=event.anchors, trust=trust)
        case DocumentAccepted():
            return _with(state, floors=state.floors | {event.kind: SerialFloor(event.serial, event.digest)})
        case AckReceived():
            account = state.account
            if event.smart_account:
                account = Account(event.smart_account, event.virtual_account)
            upto = dict(event.reported)
            changes = {tag: at for tag, at in state.changes.items() if tag not in upto or at > upto[tag]}
            return _with(state, report_ack_at=event.at, last_ack_at=event.at, account=account, changes=changes)
        case PolicyInstalled():
            policies = state.policies | {event.origin: InstalledPolicy(event.terms, event.at)}
            return _pull_in(_with(state, policies=policies, last_ack_at=event.at), event.at)
        case PolicyRemoved():
            policies = {origin: policy for origin, policy in state.policies.items() if origin != event.origin}
            return _pull_in(_with(state, policies=policies), event.at)
        case TrustCodeInstalled():
            trust = InstalledTrust(
                event.certificate,
                event.key_id,
                event.valid_from,
                event.valid_until,
                installed_at=event.at,
                factory=event.factory,
                anchored=True,
            )
            # What the factory installed is no answer of the authority.
            acknowledged = state.last_ack_at if event.factory else event.at
            return _with(state, trust=trust, trust_requested_at=None, trust_failure=None, last_ack_at=acknowledged)


def _authorization(
    state: State,
    event: AuthorizationRequested
    | AuthorizationRequestEnded
    | AuthorizationInstalled
    | AuthorizationRemoved
    | EntitlementsExpired,
) -> State:
    old = state.authorization
    match event:
        case AuthorizationRequested():
            new = replace(old, request=PendingRequest(event.keys, event.at, event.online))
        case AuthorizationRequestEnded():
            new = replace(old, request=None)
        case AuthorizationInstalled():
            code = InstalledCode(event.auth_type, event.serial, event.digest, event.at, event.entitlements)
            new = replace(
                old,
                codes=(*(each for each in old.codes if each.auth_type != event.auth_type), code),
                request=None if event.auth_type == "slac" else old.request,
                confirmation=event.confirmation or old.confirmation,
            )
            if event.factory:
                state = _with(state, purchased=event.entitlements)
        case AuthorizationRemoved():
            new = replace(
                old,
                codes=(),
                request=None,
                return_string=event.return_string,
                returned_at=event.at,
                returned_serial=max(old.returned_serial, *(code.serial for code in old.codes)),
            )
        case EntitlementsExpired():
            new = replace(old, codes=tuple(_expired(code, event) for code in old.codes))
    return _with(state, authorization=new)


def _expired(code: InstalledCode, event: EntitlementsExpired) -> InstalledCode:
    return replace(code, expired=(*code.expired, *event.tags)) if code.auth_type == event.auth_type else code
