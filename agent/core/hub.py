"""Where notifications meet those who listen. Delivery never blocks the publisher; no protocol is known here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import logging
from math import floor
import threading
from typing import Any, Final, Protocol

from agent.clock import Clock
from agent.core.tree import Tree

log = logging.getLogger(__name__)

DELAY: Final = 0.1
"""Real seconds that an event waits at most for others to be logged with (decision 0073)."""
MOST: Final = 256
"""Events that wait at most."""


@dataclass(frozen=True, slots=True)
class Event:
    """One notification: its schema name, the tree below it, and when it happened (epoch seconds, whole milliseconds).

    `number` counts the events of this agent over its restarts, with gaps. `kept` is for encoded forms, each made once
    by whoever needs it first.
    """

    module: str
    name: str
    tree: Tree
    time: float
    number: int = field(default=0, compare=False)
    kept: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def member(self) -> str:
        """Its name as a member of a tree, "module:name"."""
        return f"{self.module}:{self.name}"


class Keeper(Protocol):
    """The log of events (agent.core.replay.EventLog)."""

    def keeps(self, module: str, name: str) -> bool: ...

    def encode(self, event: Event) -> None: ...

    def put(self, events: Sequence[Event], unit: Any) -> None: ...

    def put_alone(self, events: Sequence[Event]) -> None: ...


Subscriber = Callable[[Event], None]


class Hub:
    """Hands each event to all subscribers, in the order of their numbers. Events come on one thread.

    A subscriber must return at once (put it on a queue of its own); one that raises is logged and stays subscribed.
    No event is told before it is in the log, if it is to be there: what waits for that holds up what came after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: tuple[Subscriber, ...] = ()
        self._log: Keeper | None = None
        self._clock: Clock | None = None
        self._waiting: list[tuple[Event, bool]] = []
        """Events that nobody was told yet, and whether each is to be logged."""
        self._since = 0.0
        self._carrier: Any = None
        """The unit of work that the first `_carried` of them were put into."""
        self._carried = 0
        self.last = 0
        """The number of the latest event."""

    def keep(self, log: Keeper, last: int, clock: Clock) -> None:
        """Keep events in a log from now on; `last` is the highest number in it, by `clock` none waits too long."""
        self._log = log
        self._clock = clock
        self.last = max(self.last, last)

    @property
    def watched(self) -> bool:
        """Whether anyone listens."""
        return bool(self._subscribers)

    def wants(self, module: str, name: str) -> bool:
        """Whether anyone listens or the log keeps such events: costly ones need not be computed otherwise."""
        return self.watched or (self._log is not None and self._log.keeps(module, name))

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Add a subscriber; the call that is returned removes it (once or more often, on any thread)."""
        with self._lock:
            self._subscribers = (*self._subscribers, subscriber)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(one for one in self._subscribers if one is not subscriber)

        return unsubscribe

    def stage(self, module: str, name: str, tree: Tree, time: float, unit: Any) -> Callable[[], None]:
        """Put an event into the unit of work of what it tells of; the call that is returned publishes it.

        `unit` None: it is not logged. What waits to be logged comes into the unit too.
        Call that after the commit, in the order of staging, and before anything else is staged; after a rollback never.
        """
        event = self._numbered(module, name, tree, time)
        if unit is None:
            return lambda: self._tell(event)
        kept = self._log is not None and self._log.keeps(module, name)
        if kept and self._log is not None:
            # before anything is in the unit: what cannot be encoded is told of by nobody, and the others wait on
            self._log.encode(event)
        self._carry(unit)
        if kept and self._log is not None:
            self._log.put([event], unit)

        def publish() -> None:
            if self._carrier is unit:
                self._release(self._carried)
            self._tell(event)

        return publish

    def publish(self, module: str, name: str, tree: Tree, time: float) -> None:
        """Tell now of what needs no unit of work of its own; none may be open."""
        event = self._numbered(module, name, tree, time)
        if self._await(event):
            self.flush()

    def defer(self, module: str, name: str, tree: Tree, time: float) -> None:
        """Tell of what nothing is answered on: `DELAY` later at most, and logged together with others until then.

        A crash before that loses it, and nobody was told of it. No unit of work may be open.
        """
        event = self._numbered(module, name, tree, time)
        if self._await(event) and len(self._waiting) >= MOST:
            self.flush()

    def deadline(self) -> float | None:
        """When `flush` is due, in clock seconds."""
        if not self._waiting or self._clock is None:
            return None
        now = self._clock.now()
        if now < self._since:
            # the clock was set back: nothing is to wait longer for that
            self._since = now
        return self._since + DELAY * self._clock.rate

    def flush(self) -> None:
        """Log and tell what waits; no unit of work may be open."""
        kept = [event for event, logged in self._waiting if logged]
        if kept and self._log is not None:
            try:
                self._log.put_alone(kept)
            except Exception:
                # it has happened all the same: those who listen now are to know
                log.exception("told and not logged: %s", ", ".join(event.member for event in kept))
        self._release(len(self._waiting))

    def _await(self, event: Event) -> bool:
        """Have it wait, if the log is to keep it; else it is told, after all that wait."""
        logged = self._log is not None and self._log.keeps(event.module, event.name)
        if logged and self._log is not None:
            try:
                # what cannot be encoded must not keep others from the log later
                self._log.encode(event)
            except Exception:
                log.exception("%s is told and not logged", event.member)
                logged = False
        if not logged:
            self._tell(event)
            return False
        self._wait(event, logged=True)
        return True

    def _wait(self, event: Event, *, logged: bool) -> None:
        if not self._waiting and self._clock is not None:
            self._since = self._clock.now()
        self._waiting.append((event, logged))

    def _tell(self, event: Event) -> None:
        """Tell an event that is logged, or never will be, when all before it have been told."""
        if self._waiting:
            self._wait(event, logged=False)
        else:
            self._hand_out(event)

    def _carry(self, unit: Any) -> None:
        """Put what waits into a unit of work; again into another one, where this one is never committed."""
        if self._carrier is unit or not self._waiting or self._log is None:
            return
        self._log.put([event for event, logged in self._waiting if logged], unit)
        self._carrier, self._carried = unit, len(self._waiting)

    def _release(self, number: int) -> None:
        """Tell the first so many of those that wait."""
        told, self._waiting = self._waiting[:number], self._waiting[number:]
        self._carrier, self._carried = None, 0
        for event, _ in told:
            self._hand_out(event)

    def _numbered(self, module: str, name: str, tree: Tree, time: float) -> Event:
        self.last += 1
        return Event(module, name, tree, _milliseconds(time), self.last)

    def _hand_out(self, event: Event) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:
                log.exception("a subscriber failed on %s:%s", event.module, event.name)


def _milliseconds(time: float) -> float:
    """A moment as eventTime has it, so that an event lies within bounds that were taken from eventTime."""
    # a whole number of milliseconds stays what it is, though a float may be a little less
    return floor(time * 1000 + 0.001) / 1000
