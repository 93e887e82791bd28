"""The kernel's door: decide(state, command, now, context) gives events, reply and notices, and changes nothing itself.

Whoever calls makes the events durable first and then puts `evolve(state, events)` in the state's place. Nothing here
reads a clock, a file or a socket; the only reads are those of `Context.reads`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.formats.envelope import Checked
from agent.licensing import authorization, deadlines, imports, marking, modes, notices, reminders, reports, reset, trust
from agent.licensing.commands import (
    ApplySettings,
    AskPermission,
    CloseReports,
    Command,
    FactoryReset,
    ImportContent,
    InstallAnchors,
    InstallFactory,
    MarkDelivered,
    NoteSaved,
    PrepareReset,
    RecordUsage,
    RequestAuthorization,
    RequestTrust,
    ReturnAuthorization,
    SaveAuthorizationRequest,
    Start,
    Stop,
    Sync,
    Tick,
)
from agent.licensing.draft import Context, Draft
from agent.licensing.events import (
    ClockChanged,
    Event,
    OutageRecorded,
    ReportClosed,
    Sampled,
    Started,
    Stopped,
    SyncAsked,
    UsageRecorded,
    UsageSaved,
)
from agent.licensing.evolve import evolve
from agent.licensing.notices import Notice, UsageWasRefused
from agent.licensing.permission import permission
from agent.licensing.profile import Licence
from agent.licensing.refusals import SUCCESS, code
from agent.licensing.reply import Reply, refusal
from agent.licensing.state import LicenceUse, State
from agent.licensing.usage import NO_PERIPHERALS, PERIPHERALS_SIZE, Peripherals

__all__ = ["Context", "Decision", "NotRunningError", "Reply", "check", "decide", "evolve"]


MAX_PERIPHERALS = 500
"""Peripherals that one command may name."""


NOTICE_SECONDS = 3600
"""How often it is asked what has come with time: ends and deadlines are dates, and asking costs more than a sample."""


class NotRunningError(ValueError):
    """A command came before Start or after Stop; the caller's order is wrong."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done: make `events` durable, then answer `reply` and publish `notices`."""

    events: tuple[Event, ...]
    reply: Reply
    notices: tuple[Notice, ...]


def decide(state: State, command: Command, now: int, context: Context) -> Decision:
    """Decide on one command at `now` (epoch seconds).

    A refusal gives no events. Raises NotRunningError when the command needs a running agent, and ValueError for a
    command that no seam may send (a first Start without an epoch, a factory's file after it).
    """
    draft = Draft(state, now, context)
    if not state.running and not isinstance(command, Start | InstallAnchors | InstallFactory | ApplySettings):
        raise NotRunningError(f"{type(command).__name__} needs a running agent: send Start first")
    reply = _run(draft, command)
    notes = (*draft.notices, *notices.of_events(draft.events, draft.state, context.profile))
    return Decision(tuple(draft.events), reply, notes)


def check(state: State, content: bytes, now: int, context: Context) -> Checked | None:
    """What `ImportContent` can be given with a long content, so that the decision itself is short: its documents'
    own checks, made on any thread. The decision makes them again where the state has others to make since."""
    return imports.check(Draft(state, now, context), content)


def _run(draft: Draft, command: Command) -> Reply:
    match command:
        case RecordUsage():
            return _record(draft, command)
        case Tick():
            return _tick(draft)
        case CloseReports():
            return _close(draft)
        case MarkDelivered():
            return _mark(draft, command)
        case ImportContent():
            return _import(draft, command)
        case InstallFactory():
            return _factory(draft, command)
        case RequestTrust():
            return trust.request(draft, command.token, command.force, command.online)
        case AskPermission() | RequestAuthorization() | SaveAuthorizationRequest() | ReturnAuthorization():
            return _authorization(draft, command)
        case ApplySettings():
            return modes.apply(draft, command.settings)
        case NoteSaved():
            return _saved(draft, command)
        case Sync():
            return _sync(draft)
        case PrepareReset():
            return reset.prepare(draft, command.discard)
        case FactoryReset():
            return reset.run(draft, command.discard)
        case Start():
            return _start(draft, command)
        case Stop():
            draft.settle_clock()
            draft.emit(Stopped(draft.at))
            return Reply()
        case InstallAnchors():
            if command.anchors != draft.state.anchors:
                draft.settle_clock()
                draft.emit(trust.anchors_installed(draft, command.anchors))
            return Reply()


def _authorization(
    draft: Draft, command: AskPermission | RequestAuthorization | SaveAuthorizationRequest | ReturnAuthorization
) -> Reply:
    match command:
        case AskPermission():
            answer = permission(
                draft.state,
                draft.context.profile,
                command.licence,
                command.count,
                draft.at,
                command.throughput_mbps,
            )
            return replace(
                Reply(message=answer.message) if answer.reason is None else refusal(answer.reason, answer.message),
                permission=answer,
            )
        case RequestAuthorization():
            return authorization.request(draft, command.licence, command.count, command.add, command.online)
        case SaveAuthorizationRequest():
            return authorization.save_request(draft)
        case ReturnAuthorization():
            return authorization.give_back(draft)


def _start(draft: Draft, command: Start) -> Reply:
    """Close what the last run left open, state the outage, take boot levels, and go on measuring."""
    before = draft.state
    if not before.epoch and not 1 <= len(command.epoch) <= 64:
        raise ValueError("the first Start needs an instance epoch of 1 to 64 characters")
    # On a clock that was set back meanwhile, what was open still ends at its own time.
    draft.close(draft.in_report(), "reload", at=before.at if draft.clock_delta else draft.at, end=before.at)
    if command.settings is not None:
        modes.take_at_start(draft, command.settings)
    levels = _levels(draft)
    clock_delta = draft.clock_delta
    if clock_delta:
        draft.clock_delta = 0
        draft.emit(ClockChanged(draft.at, clock_delta))
    draft.emit(
        Started(
            at=draft.at,
            epoch=before.epoch or command.epoch,
            first_report_id=max(draft.at, before.next_report_id),
            software_version=draft.context.profile.software_version,
            levels=levels,
        )
    )
    # a reset that was prepared and is taken back: nothing was measured since
    since = before.at if before.held_since is None else min(before.held_since, before.at)
    if before.epoch and since < draft.at and not clock_delta:
        crashed = before.running and before.held_since is None
        draft.emit(OutageRecorded(draft.at, since, draft.at, "crash" if crashed else "stopped"))
    draft.open_all()
    _notice(draft)
    return Reply(report_ids=_closed_ids(draft), report_keys=_closed_keys(draft))


def _notice(draft: Draft) -> None:
    """Record what has come with time."""
    authorization.notice_ends(draft)
    trust.notice_end(draft)
    reminders.remind(draft)


def _levels(draft: Draft) -> tuple[str, ...]:
    """The tags of the configured boot levels that may be on; the others are told of."""
    tags: dict[str, None] = {}
    for name in draft.state.settings.boot_levels:
        found = _permitted(draft, name, 1)
        if isinstance(found, Licence):
            tags[found.entitlement_tag] = None
        else:
            draft.notices.append(UsageWasRefused(name, found.code, found.reason or "", found.message, "boot-level"))
    return tuple(tags)


def _permitted(draft: Draft, name: str, count: int) -> Licence | Reply:
    """The licence of which so many may be used, or the refusal."""
    answer = permission(draft.state, draft.context.profile, name, count, draft.at)
    licence = draft.context.profile.find(name)
    if licence is None or answer.reason is not None:
        return refusal(answer.reason or "unknown-licence", answer.message)
    return licence


def _record(draft: Draft, command: RecordUsage) -> Reply:
    licence = _permitted(draft, command.licence, command.count)
    if isinstance(licence, Reply):
        draft.notices.append(
            UsageWasRefused(command.licence, licence.code, licence.reason or "", licence.message, command.who)
        )
        return licence
    tag = licence.entitlement_tag
    use = draft.state.licences.get(tag)
    peripherals = _peripherals(draft, command)
    if isinstance(peripherals, Reply):
        return peripherals
    if command.count == (use.recorded if use else 0) and not peripherals:
        return Reply()
    draft.settle_clock()
    if peripherals and not _make_room(draft, tag, peripherals.size):
        return refusal("too-many-peripherals", "too many peripherals came or went since the last report: wait for it")
    draft.emit(UsageRecorded(draft.at, tag, command.count, command.who, peripherals))
    count = draft.state.licences[tag].count
    if count == 0:
        draft.close([tag], "license-stopped")
    elif reports.is_full(draft.state, tag):
        draft.close([tag], "full")
    draft.open_all([tag])
    return Reply(report_ids=_closed_ids(draft), report_keys=_closed_keys(draft))


def _peripherals(draft: Draft, command: RecordUsage) -> Peripherals | Reply:
    """Those of the command, or the refusal. In controller mode nothing is reported, so none are kept."""
    if draft.state.settings.mode == "controller":
        return NO_PERIPHERALS
    found = Peripherals(
        tuple(dict.fromkeys(udi.key for udi in command.added)), tuple(dict.fromkeys(udi.key for udi in command.removed))
    )
    number = len(found.added) + len(found.removed)
    if number > MAX_PERIPHERALS or found.size > PERIPHERALS_SIZE:
        message = f"at most {MAX_PERIPHERALS} peripherals are taken at once, fewer of long names"
        return refusal("too-many-peripherals", message)
    return found


def _make_room(draft: Draft, tag: str, size: int) -> bool:
    """Whether further peripherals of this size have room; a report that has none left is closed for it."""
    use = draft.state.licences.get(tag, LicenceUse())
    if use.report is None:
        return use.peripherals.size + size <= PERIPHERALS_SIZE
    if use.report.listed + size <= PERIPHERALS_SIZE:
        return True
    if not reports.measured(draft.state, tag, draft.at):
        return False
    draft.close([tag], "full")
    draft.open_all([tag])
    return True


def _tick(draft: Draft) -> Reply:
    draft.settle_clock()
    before = draft.state.sampled_at
    daily = deadlines.daily_due(draft.state, draft.at)
    if deadlines.sample_due(draft.state, draft.at):
        draft.emit(Sampled(draft.at))
        if draft.at // NOTICE_SECONDS != before // NOTICE_SECONDS:
            _notice(draft)
    if daily:
        draft.roll("daily")
    return Reply(report_ids=_closed_ids(draft), report_keys=_closed_keys(draft))


def _close(draft: Draft) -> Reply:
    draft.settle_clock()
    draft.roll("requested")
    return Reply(report_ids=_closed_ids(draft), report_keys=_closed_keys(draft))


def _sync(draft: Draft) -> Reply:
    reply = _close(draft)
    draft.emit(SyncAsked(draft.at))
    if not draft.context.online:
        message = "no transport can carry the reports; let a collector pull them, or save them to a file"
        draft.notices.append(notices.SyncFailed(code("no-transport"), "no-transport", message))
        return replace(reply, message=f"nothing was sent: {message}")
    return reply


def _saved(draft: Draft, command: NoteSaved) -> Reply:
    draft.settle_clock()
    draft.emit(UsageSaved(draft.at))
    return _mark(draft, MarkDelivered(command.report_ids, command.who)) if command.delivered else Reply()


def _mark(draft: Draft, command: MarkDelivered) -> Reply:
    moved = marking.newly_delivered(command.report_ids, draft.context.reads)
    if moved:
        draft.settle_clock()
        draft.emit(marking.delivered(draft.at, moved))
    return Reply()


def _import(draft: Draft, command: ImportContent) -> Reply:
    results = imports.install(draft, command.content, command.who, checked=command.checked)
    if draft.events:
        reminders.remind(draft)
    failed = next((result for result in results if result.code != SUCCESS), None)
    if failed is None:
        return Reply(message="; ".join(result.message for result in results), documents=results)
    return Reply(failed.code, failed.message, failed.reason, documents=results)


def _factory(draft: Draft, command: InstallFactory) -> Reply:
    """Install a factory's file: whole, and before the first start, when there is nothing that it could take away."""
    if draft.state.epoch:
        raise ValueError("a factory's documents are installed before the first Start")
    before = draft.state
    results = imports.install(draft, command.content, "factory", factory=True)
    failed = next((result for result in results if result.code != SUCCESS), None)
    if failed is None:
        return Reply(message="; ".join(result.message for result in results), documents=results)
    draft.events.clear()
    draft.state = before
    return Reply(failed.code, failed.message, failed.reason, documents=results)


def _closed_ids(draft: Draft) -> tuple[int, ...]:
    return tuple(event.report_id for event in draft.events if isinstance(event, ReportClosed))


def _closed_keys(draft: Draft) -> tuple[str, ...]:
    return tuple(event.key for event in draft.events if isinstance(event, ReportClosed))
