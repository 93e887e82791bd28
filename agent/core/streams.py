"""Event streams and those who follow them (RFC 5277): recent events are kept once, each subscriber has a position.

So a slow subscriber costs the publisher nothing, and a hundred subscribers share one event and its encoded form.
No protocol in here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
import logging
import threading
from typing import Final

from agent.clock import Clock
from agent.core.access import Access
from agent.core.event_filter import EventFilter
from agent.core.hub import Event, Hub
from agent.core.requests import Subscribe
from agent.core.schema import Schema
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.errors import refuse

log = logging.getLogger(__name__)

RECENT: Final = 4096
"""Events that are kept for subscribers who have not taken them yet."""

MODULE = "nc-notifications"
STATE = f"/{MODULE}:netconf"
"""Schema path of the list of streams."""
ENDINGS = frozenset({f"/{MODULE}:replayComplete", f"/{MODULE}:notificationComplete"})
"""The notifications that are sent to one subscriber, of that subscriber's own replay and end."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One event stream: the events of `modules`, None for all."""

    name: str
    description: str
    modules: frozenset[str] | None = None

    def carries(self, event: Event) -> bool:
        return self.modules is None or event.module in self.modules


NETCONF = Stream("NETCONF", "All events of this server.")
"""The stream that every server has (RFC 5277 section 3.2.3)."""


class Streams:
    """The streams of one server, and the events that happened since the first of the present subscribers came.

    Events arrive on one thread; subscriptions are read on any.
    """

    def __init__(
        self, schema: Schema, hub: Hub, access: Callable[[], Access], clock: Clock, more: Sequence[Stream] = ()
    ) -> None:
        """`more` are the streams beside NETCONF."""
        self.schema = schema
        self.clock = clock
        self.streams = {stream.name: stream for stream in (NETCONF, *more)}
        self._hub = hub
        self._access = access
        self._lock = threading.Lock()
        self._recent: dict[int, Event] = {}
        self._wakers: tuple[Callable[[], None], ...] = ()
        self._open = 0
        self._leave: Callable[[], None] | None = None
        self.last = 0
        """The number of the latest event."""

    # For front ends

    def subscribe(self, request: Subscribe, session: Session) -> Subscription:
        """A subscription from now on; its owner closes it. Raises RequestError."""
        stream = self.streams.get(request.stream)
        if stream is None:
            known = ", ".join(self.streams)
            message = f"there is no stream {request.stream[:80]!r}: the streams are {known}"
            raise refuse("invalid-value", message, type="protocol", bad_element="stream")
        if request.start is not None:
            message = f"the stream {stream.name} has no replay: leave startTime out"
            raise refuse("operation-failed", message, type="protocol")
        with self._lock:
            self._open += 1
            if self._leave is None:
                self._leave = self._hub.subscribe(self._take)
            return Subscription(self, stream, request, session, self.last)

    def wake(self, waker: Callable[[], None]) -> Callable[[], None]:
        """Have `waker` called after each event, on the publisher's thread; the call that is returned ends that."""
        with self._lock:
            self._wakers = (*self._wakers, waker)

        def leave() -> None:
            with self._lock:
                self._wakers = tuple(one for one in self._wakers if one is not waker)

        return leave

    # For subscriptions

    def event(self, number: int) -> Event | None:
        """The event of that number while it is kept."""
        return self._recent.get(number)

    def permits(self, session: Session, event: Event) -> bool:
        """Whether the user of the session may be told (RFC 8341 section 3.4.6)."""
        node = self.schema.notifications.get((event.module, event.name))
        return node is not None and self._access().permits_notification(session.user, node)

    def closed(self) -> None:
        """A subscription has ended."""
        with self._lock:
            self._open -= 1
            if self._open == 0 and self._leave is not None:
                self._leave()
                self._leave = None
                self._recent.clear()

    def _take(self, event: Event) -> None:
        number = self.last + 1
        self._recent[number] = event
        self._recent.pop(number - RECENT, None)
        self.last = number
        for waker in self._wakers:
            waker()

    # The state of the streams: agent.core.providers.StateProvider of `STATE`

    def read(self) -> Tree:
        return {"streams": {"stream": [_entry(stream) for stream in self.streams.values()]}}

    def delivered(self, marks: Sequence[Hashable], session: Session) -> None:
        """Nothing here is marked."""


class Subscription:
    """One subscriber's place in a stream. Belongs to one thread."""

    def __init__(self, streams: Streams, stream: Stream, request: Subscribe, session: Session, position: int) -> None:
        self._streams = streams
        self._stream = stream
        self._filter: EventFilter | None = request.filter
        self._session = session
        self._position = position
        self._closed = False

    def take(self, limit: int) -> list[Event]:
        """The next events for this subscriber, in order; at most `limit` are looked at, and none is given twice."""
        streams, found = self._streams, []
        last = min(streams.last, self._position + limit)
        missed = 0
        for number in range(self._position + 1, last + 1):
            event = streams.event(number)
            if event is None:
                missed += 1
            elif self._wants(event):
                found.append(event)
        self._position = last
        if missed:
            log.warning("session %d is too slow: it has missed up to %d notifications", self._session.id, missed)
        return found

    @property
    def behind(self) -> bool:
        """Whether there are events that were not looked at yet."""
        return self._position < self._streams.last

    def _wants(self, event: Event) -> bool:
        if not self._stream.carries(event):
            return False
        if self._filter is not None and not self._filter.passes(event, self._streams.schema):
            return False
        return self._streams.permits(self._session, event)

    def close(self) -> None:
        """End it; harmless a second time."""
        if not self._closed:
            self._closed = True
            self._streams.closed()


def _entry(stream: Stream) -> Tree:
    return {"name": stream.name, "description": stream.description, "replaySupport": False}
