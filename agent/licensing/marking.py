"""What a delivery to a collector does to reports: which of them it moves, asked of the read port; no state change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.licensing.events import ReportsDelivered
from agent.licensing.ports import ReportReads, ReportState
from agent.licensing.reports import moves

_PAGE = 500
_FEW = 16


def newly_delivered(report_ids: Iterable[int], reads: ReportReads) -> tuple[int, ...]:
    """The ids, ascending and each once, of stored reports that a delivery moves on; the others are passed over."""
    wanted = sorted(set(report_ids))
    return tuple(number for number, state in _states(wanted, reads) if moves(state, "delivered"))


def delivered(at: int, report_ids: tuple[int, ...]) -> ReportsDelivered:
    """The event for them."""
    return ReportsDelivered(at, report_ids)


def _states(wanted: list[int], reads: ReportReads) -> Iterator[tuple[int, ReportState]]:
    """States of the wanted reports: one by one when they are few, in pages of the list when they are many."""
    if len(wanted) <= _FEW:
        for number in wanted:
            stored = reads.by_id(number)
            if stored is not None:
                yield number, stored.state
        return
    among, after, last = set(wanted), wanted[0] - 1, wanted[-1]
    while rows := reads.pages(after, last, _PAGE, "summary"):
        for row in rows:
            if row.report_id in among:
                yield row.report_id, row.state
        after = rows[-1].report_id
