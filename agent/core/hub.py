"""Where notifications meet those who listen. Delivery never blocks the publisher; no protocol is known here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import logging
import threading

from agent.core.tree import Tree

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One notification: its schema name, the tree below it, and when it happened (epoch seconds).

    `kept` is for encoded forms, each made once by whoever needs it first.
    """

    module: str
    name: str
    tree: Tree
    time: float
    kept: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def member(self) -> str:
        """Its name as a member of a tree, "module:name"."""
        return f"{self.module}:{self.name}"


Subscriber = Callable[[Event], None]


class Hub:
    """Hands each event to all subscribers, in order of publication.

    A subscriber must return at once (put it on a queue of its own); one that raises is logged and stays subscribed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: tuple[Subscriber, ...] = ()

    @property
    def watched(self) -> bool:
        """Whether anyone listens: costly events need not be computed otherwise."""
        return bool(self._subscribers)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Add a subscriber; the call that is returned removes it (once or more often, on any thread)."""
        with self._lock:
            self._subscribers = (*self._subscribers, subscriber)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(one for one in self._subscribers if one is not subscriber)

        return unsubscribe

    def publish(self, module: str, name: str, tree: Tree, time: float) -> None:
        event = Event(module, name, tree, time)
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:
                log.exception("a subscriber failed on %s:%s", module, name)
