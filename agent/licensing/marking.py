"""What a delivery to a collector does to reports: which of them it moves, asked of the read port; no state change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.licensing.events import ReportsDelivered
from agent.licensing.ports import ReportReads, ReportState
from agent.licensing.reports import moves


def newly_delivered(report_ids: Iterable[int], reads: ReportReads) -> tuple[int, ...]:
    """The ids, ascending and each once, of stored reports that a delivery moves on; the others are passed over."""
    wanted = sorted(set(report_ids))
    return tuple(number for number, state in _states(wanted, reads) if moves(state, "delivered"))


def delivered(at: int, report_ids: tuple[int, ...]) -> ReportsDelivered:
    """The event for them."""
    return ReportsDelivered(at, report_ids)


def _states(wanted: list[int], reads: ReportReads) -> Iterator[tuple[int, ReportState]]:
    """States of the wanted reports that are stored."""
    heads = reads.heads(wanted)
    for number in wanted:
        if number in heads:
            yield number, heads[number].state
