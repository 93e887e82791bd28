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
DAY = 86_400
CLOCK_TOLERANCE = 60
"""A clock that goes back by no more than this is waited for; one that goes back further starts new reports."""
MAX_COUNT = 2**32 - 1
MAX_ROWS = rum.MAX_MEASUREMENTS
"""Rows after which a report is closed, so that a count that changes every second cannot make it grow for ever."""


PERIPHERALS_SIZE = 600_000
"""Size of the peripherals that one report lists at most: with 1000 rows it stays within its greatest size, and no list
has more entries than a reader takes (the shortest identity has a size of 120)."""


class Peripherals(NamedTuple):
    """Devices (`PID:…,SN:…`) that are counted by a licence, and came or went."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def then(self, later: Peripherals) -> Peripherals:
        """Both, each device once in each list."""
        return Peripherals(
            tuple(dict.fromkeys((*self.added, *later.added))), tuple(dict.fromkeys((*self.removed, *later.removed)))
        )

    @property
    def size(self) -> int:
        """Bytes that they take at most in a signed document, in which every character may be escaped twice."""
        return sum(80 + 4 * len(key) for key in (*self.added, *self.removed))


NO_PERIPHERALS = Peripherals()


class Span(NamedTuple):
    """`used` licences were in use from `start` to `end` (epoch seconds, start < end).

    `peripherals` came or went at its start or, in the last span of a report, at its end.
    """

    start: int
    end: int
    used: int
    peripherals: Peripherals = NO_PERIPHERALS


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
    """What is being measured for one licence: finished rows, and the row that is running since `row_start`.

    `peripherals` are those of the running row, `preface` what the report has to state about the time before it.
    """

    report_id: int
    start: int
    row_start: int
    count: int
    rows: tuple[Span, ...] = ()
    peripherals: Peripherals = NO_PERIPHERALS
    preface: Preface = NOTHING_BEFORE

    def changed(self, at: int, count: int, peripherals: Peripherals = NO_PERIPHERALS) -> OpenReport:
        """The same report with `count` from `at` on; a row that had no length is forgotten, its peripherals are not."""
        if count == self.count and not peripherals:
            return self
        if at <= self.row_start:
            return replace(self, count=count, peripherals=self.peripherals.then(peripherals))
        return replace(self, rows=self._rows(at), row_start=at, count=count, peripherals=peripherals)

    def spans(self, end: int) -> tuple[Span, ...]:
        """All rows up to `end`. Neighbours of equal count are one row, unless peripherals part them.

        A last row of no length is left out; its peripherals then stand in the row before it.
        """
        rows = self._rows(end)
        if end <= self.row_start and rows and self.peripherals:
            last = rows[-1]
            return (*rows[:-1], last._replace(peripherals=last.peripherals.then(self.peripherals)))
        return rows

    def _rows(self, end: int) -> tuple[Span, ...]:
        if end <= self.row_start:
            return self.rows
        last = self.rows[-1] if self.rows else None
        if last is not None and last.used == self.count and last.end == self.row_start and not self.peripherals:
            return (*self.rows[:-1], last._replace(end=end))
        return (*self.rows, Span(self.row_start, end, self.count, self.peripherals))

    @property
    def is_full(self) -> bool:
        """Whether it must be closed before it takes another row."""
        return len(self.rows) >= MAX_ROWS

    @property
    def listed(self) -> int:
        """Size of the peripherals in all rows."""
        return self.peripherals.size + sum(row.peripherals.size for row in self.rows)
