"""Where notifications meet those who listen. Delivery never blocks the publisher; no protocol is known here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import logging
from math import floor
import threading
from typing import Any, Protocol

from agent.core.tree import Tree

log = logging.getLogger(__name__)


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

    def put(self, event: Event, unit: Any) -> None: ...

    def put_alone(self, event: Event) -> None: ...


Subscriber = Callable[[Event], None]


class Hub:
    """Hands each event to all subscribers, in order of publication. Events come on one thread.

    A subscriber must return at once (put it on a queue of its own); one that raises is logged and stays subscribed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: tuple[Subscriber, ...] = ()
        self._log: Keeper | None = None
        self.last = 0
        """The number of the latest event."""

    def keep(self, log: Keeper, last: int) -> None:
        """Keep events in a log from now on; `last` is the highest number in it."""
        self._log = log
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

        `unit` None: it is not logged.
        Call that after the commit, in the order of staging, and before anything else is staged; after a rollback never.
        """
        event = self._numbered(module, name, tree, time)
        if unit is not None and self._log is not None and self._log.keeps(module, name):
            self._log.put(event, unit)
        return lambda: self._hand_out(event)

    def publish(self, module: str, name: str, tree: Tree, time: float) -> None:
        """Tell of what needs no unit of work of its own; none may be open."""
        event = self._numbered(module, name, tree, time)
        if self._log is not None and self._log.keeps(module, name):
            try:
                self._log.put_alone(event)
            except Exception:
                # it has happened all the same: those who listen now are to know
                log.exception("%s:%s is told and not logged", module, name)
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
