"""Time as a dependency: everything that needs "now" takes a `Clock`; only this module reads the system's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
import time
from typing import Protocol


def date_and_time(seconds: float) -> str:
    """UTC as yang:date-and-time, to the millisecond where it is not a whole second; never later than the time itself.

    With the offset that existing clients parse, as northbound's times have it.
    """
    moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")


class Clock(Protocol):
    """Wall time in epoch seconds, and how long a span of it really lasts."""

    rate: float

    def now(self) -> float:
        """Epoch seconds (UTC), as documents and reports state them."""
        ...

    def wall_seconds(self, span: float) -> float:
        """How many real seconds pass while this clock advances by `span` seconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    rate = 1.0

    def now(self) -> float:
        return time.time()

    def wall_seconds(self, span: float) -> float:
        return span


class LabClock:
    """Lab time: `start + rate * (wall - wall_start)`, for state folders marked as a lab (design: Time)."""

    def __init__(self, *, start: float, wall_start: float, rate: float) -> None:
        if rate <= 0:
            raise ValueError("a lab clock's rate must be above 0")
        self._start = start
        self._wall_start = wall_start
        self.rate = rate

    def now(self) -> float:
        return self._start + self.rate * (time.time() - self._wall_start)

    def wall_seconds(self, span: float) -> float:
        return span / self.rate
