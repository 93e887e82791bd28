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


def prepare(draft: Draft) -> Reply:
    """Close all reports and measure nothing more; a start takes it back."""
    if draft.state.resetting:
        return Reply(message="a factory reset is prepared already")
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
            f"{unreported} reports never left this device; prepare the reset and save them, or discard them",
        )
    if state.authorization.codes and not discard:
        return refusal("authorization-installed", "return the authorization code first, or discard it")
    # A clock that was set back closes nothing here: there is nothing left to go on with.
    stored = tuple(_stored(draft.context.reads))
    if stored:
        draft.emit(ReportsPurged(draft.at, stored))
    draft.emit(InstanceReset(draft.at, unreported))
    waiting = state.counts.waiting
    message = f"reset; {unreported} unreported reports were discarded"
    if waiting:
        message += f", and {waiting} that were collected but not acknowledged"
    return Reply(message=f"{message}. Start the agent anew, with a new key")


def _stored(reads: ReportReads) -> Iterator[int]:
    after, last = 0, reads.max_id()
    while rows := reads.pages(after, last, _PAGE, "summary"):
        yield from (row.report_id for row in rows)
        after = rows[-1].report_id
