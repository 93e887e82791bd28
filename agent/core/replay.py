"""The durable log of events, for replay (RFC 5277 section 3.3): what is kept, and what is read of it.

Storage is elsewhere, behind the protocols here; so are the encoded forms. An event is in the log before anybody is
told: in the unit of work of what it tells of, in the next one, or in one of its own (decisions 0060, 0073).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import json
import logging
from typing import Final, NamedTuple, Protocol

from agent.core.hub import Event

log = logging.getLogger(__name__)

DAY: Final = 86_400.0

FREQUENT: Final = frozenset(f"ietf-netconf-notifications:netconf-session-{what}" for what in ("start", "end"))
"""Events, as "module:name", that every user may cause as often as he likes, by opening sessions."""

SHARE: Final = 10
"""They are at most one in so many that the log holds."""


class Entry(NamedTuple):
    """One event as it is stored: its tree as JSON, its content as one XML element."""

    number: int
    time: float
    module: str
    name: str
    tree: bytes
    xml: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept; where one of them is exceeded the oldest go. `entries` 0: nothing is kept. `age` in seconds."""

    entries: int = 10_000
    octets: int = 16 * 1024 * 1024
    age: float = 30 * DAY
    omit: frozenset[str] = frozenset()
    """Events, as "module:name", that are not kept."""

    @property
    def frequent(self) -> frozenset[str]:
        """Events, as "module:name", of which `frequent_entries` are kept at most: the oldest of them go first."""
        return FREQUENT

    @property
    def frequent_entries(self) -> int:
        return max(self.entries // SHARE, 1)


class Bounds(NamedTuple):
    """When the log was begun, the time of the last event that was dropped from it, the number of the latest in it."""

    created: float
    aged: float | None
    last: int


class Unit(Protocol):
    """The part of a unit of work that is needed here."""

    def put_events(self, entries: Sequence[Entry], limits: Limits) -> None:
        """Keep events, in order, and drop the oldest as the limits say."""
        ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


class Kept(Protocol):
    """What is in the log, read on any thread."""

    def after(self, number: int, limit: int) -> Sequence[tuple[int, float, str, str, bytes, bytes]]:
        """At most `limit` events (as `Entry`) with a higher number, in order."""
        ...

    def since(self, time: float) -> int | None:
        """The lowest number of an event that happened at `time` or later."""
        ...

    def bounds(self) -> tuple[float, float | None, int] | None:
        """As `Bounds`; None where nothing was ever kept."""
        ...


class EventLog:
    """Decides what is kept. Writes on the core thread only; `limits` may be replaced there."""

    def __init__(
        self,
        kept: Kept,
        begin: Callable[[], Unit],
        encode: Callable[[Event], bytes],
        begun: float,
        beginnings: frozenset[str] = frozenset(),
    ) -> None:
        """`begin` opens a unit of work, `encode` gives the content as one XML element; `begun` is the time of now.

        `beginnings` are events, as "module:name", with which the log begins anew, whatever is left out of it.
        """
        self.limits = Limits()
        self._beginnings = beginnings
        self._kept = kept
        self._begin = begin
        self._encode = encode
        self._begun = begun

    def keeps(self, module: str, name: str) -> bool:
        """Whether such events are kept."""
        whole = f"{module}:{name}"
        return whole in self._beginnings or (self.limits.entries > 0 and whole not in self.limits.omit)

    def encode(self, event: Event) -> None:
        """Make the form that is stored, and kept with the event. Raises what the encoder raises."""
        if "xml" not in event.kept:
            event.kept["xml"] = self._encode(event)

    def put(self, events: Sequence[Event], unit: Unit) -> None:
        """Keep events, in order, in a unit of work that is open."""
        entries = []
        for event in events:
            self.encode(event)
            tree = json.dumps(event.tree, ensure_ascii=False, separators=(",", ":")).encode()
            entries.append(Entry(event.number, event.time, event.module, event.name, tree, event.kept["xml"]))
        anew = any(event.member in self._beginnings for event in events)
        unit.put_events(entries, replace(self.limits, entries=1) if anew else self.limits)

    def put_alone(self, events: Sequence[Event]) -> None:
        """Keep events in a unit of work of their own. Raises what the store raises."""
        unit = self._begin()
        try:
            self.put(events, unit)
            unit.commit()
        finally:
            unit.rollback()

    def bounds(self) -> Bounds:
        found = self._kept.bounds()
        return Bounds(self._begun, None, 0) if found is None else Bounds(*found)

    def since(self, time: float) -> int | None:
        """The lowest number of an event that happened at `time` or later."""
        return self._kept.since(time)

    def after(self, number: int, limit: int) -> list[Event]:
        """At most `limit` events with a higher number, in order."""
        return [
            Event(entry.module, entry.name, json.loads(entry.tree), entry.time, entry.number, {"xml": entry.xml})
            for entry in (Entry(*row) for row in self._kept.after(number, limit))
        ]
