"""Factory reset, in two steps so that nothing unreported is lost unsaid: close and hold, then end this life.

What outlives it: settings, trust anchors, serial floors, the highest returned code, a factory policy, and the next
report id. Source: slp-facts sections 2.2 and 12; docs/licensing.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.licensing import reports
from agent.licensing.draft import Draft
from agent.licensing.events import InstanceReset, ReportClosed, ReportsPurged, ResetPrepared
from agent.licensing.ports import ReportReads
from agent.licensing.reply import Reply, refusal

_PAGE = 1000


def prepare(draft: Draft, discard: bool) -> Reply:
    """Close all reports and measure nothing more; a start takes it back. Without `discard` refused while a code is
    installed: the reset would be, and what was saved for it would be in vain."""
    if draft.state.resetting:
        return Reply(message="a factory reset is prepared already")
    if draft.state.authorization.codes and not discard:
        return _authorized()
    draft.settle_clock()
    draft.close(draft.in_report(), "factory-reset")
    draft.emit(ResetPrepared(draft.at))
    closed = [event for event in draft.events if isinstance(event, ReportClosed)]
    return Reply(
        message="nothing is measured any more; save the reports, then reset",
        report_ids=tuple(event.report_id for event in closed),
        report_keys=tuple(event.key for event in closed),
    )


def run(draft: Draft, discard: bool) -> Reply:
    """End this life. Without `discard` refused while reports never left this device or a code is installed."""
    state = draft.state
    now = max(draft.at, state.at)
    measuring = sum(reports.measured(state, tag, now) for tag in draft.in_report())
    unreported = state.counts.available + measuring
    if unreported and not discard:
        return refusal(
            "unreported-usage",
            f"{_told(unreported)} never left this device: name a file to save them in first, or give them up (discard)",
        )
    if state.authorization.codes and not discard:
        return _authorized()
    # A clock that was set back closes nothing here: there is nothing left to go on with.
    stored = tuple(_stored(draft.context.reads))
    if stored:
        draft.emit(ReportsPurged(draft.at, stored))
    draft.emit(InstanceReset(draft.at, unreported))
    waiting = state.counts.waiting
    message = "licensing was reset"
    if unreported:
        message += f"; {_told(unreported)} that never left this device went with it"
    if waiting:
        message += f"; {_told(waiting)} had left it and waited for an acknowledgement"
    return Reply(message=message)


def _authorized() -> Reply:
    return refusal(
        "authorization-installed",
        "an authorization code is installed: return it first, or give it up (discard)",
    )


def _told(number: int) -> str:
    return f"{number} report{'' if number == 1 else 's'}"


def _stored(reads: ReportReads) -> Iterator[int]:
    after, last = 0, reads.max_id()
    while rows := reads.pages(after, last, _PAGE, "summary"):
        yield from (row.report_id for row in rows)
        after = rows[-1].report_id
