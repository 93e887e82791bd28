"""Measuring: how counts over time become measurement rows; no reports' life, no signing.

A row is a span of constant count (slp-facts section 4.2). Rows of one open report follow each other without a gap; a
span of no length leaves no row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from agent.formats import rum

SAMPLE_SECONDS = rum.SAMPLE_SECONDS
"""How often usage is confirmed as still holding; what a crash can lose at most."""
DAILY_SECONDS = 86_400
MAX_COUNT = 2**32 - 1
MAX_ROWS = rum.MAX_MEASUREMENTS
"""Rows after which a report is closed, so that a count that changes every second cannot make it grow for ever."""


class Span(NamedTuple):
    """`used` licences were in use from `start` to `end` (epoch seconds, start < end)."""

    start: int
    end: int
    used: int


@dataclass(frozen=True, slots=True)
class Preface:
    """What a report that begins at `at` has to state about the time before it: outages (start, end), and by how many
    seconds the clock was set."""

    at: int = 0
    outages: tuple[tuple[int, int], ...] = ()
    clock_change: int | None = None

    def extended(self, at: int, outage: tuple[int, int] | None, clock_change: int | None) -> Preface:
        """The preface of the next report, with what happened since. A report can state only so many outages: of more,
        the oldest two are stated as one."""
        outages = self.outages if outage is None else (*self.outages, outage)
        if len(outages) > rum.MAX_OUTAGES:
            outages = ((outages[0][0], outages[1][1]), *outages[2:])
        if clock_change is None or self.clock_change is None:
            total = self.clock_change if clock_change is None else clock_change
        else:
            total = self.clock_change + clock_change
        return Preface(at, outages, total)


NOTHING_BEFORE = Preface()


@dataclass(frozen=True, slots=True)
class OpenReport:
    """What is being measured for one licence: finished rows, and the row that is running since `row_start`."""

    report_id: int
    start: int
    row_start: int
    count: int
    rows: tuple[Span, ...] = ()
    preface: Preface = NOTHING_BEFORE

    def changed(self, at: int, count: int) -> OpenReport:
        """The same report with `count` from `at` on; a row that had no length is forgotten."""
        if count == self.count:
            return self
        return replace(self, rows=self.spans(at), row_start=at, count=count)

    def spans(self, end: int) -> tuple[Span, ...]:
        """All rows up to `end`. Neighbours of equal count are one row; a last row of no length is left out."""
        if end <= self.row_start:
            return self.rows
        last = self.rows[-1] if self.rows else None
        if last is not None and last.used == self.count and last.end == self.row_start:
            return (*self.rows[:-1], Span(last.start, end, self.count))
        return (*self.rows, Span(self.row_start, end, self.count))


def licence_seconds(spans: tuple[Span, ...]) -> int:
    """Count times seconds over all spans: what must be conserved from recording to the last report."""
    return sum((span.end - span.start) * span.used for span in spans)
