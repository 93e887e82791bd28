"""Event streams and those who follow them (RFC 5277): recent events are kept once, each subscriber has a position.

So a slow subscriber costs the publisher nothing, and a hundred subscribers share one event and its encoded form.
No protocol in here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
import logging
import threading
from typing import Final

from agent.clock import Clock, date_and_time
from agent.core.access import Access
from agent.core.event_filter import EVENT_LIMIT
from agent.core.hub import Event, Hub
from agent.core.replay import EventLog
from agent.core.requests import Subscribe
from agent.core.schema import Schema
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.core.xpath_items import Cost, TooCostlyError
from agent.core.xpath_parse import XPathError
from agent.errors import refuse

log = logging.getLogger(__name__)

RECENT: Final = 4096
"""Events that are kept in memory for subscribers who have not taken them yet; older ones are read from the log."""

OCTETS: Final = 8 * 1024 * 1024
"""About what these may take; the latest is kept however long it is."""

LONGEST_WAIT: Final = 60.0
"""Real seconds after which a stopTime is looked at again: the clock may have been set."""

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
    """The streams of one server, and its recent events since the first of the present subscribers came.

    Events arrive and subscriptions are made on the core thread; these are read, and closed, on any.
    """

    def __init__(
        self,
        schema: Schema,
        hub: Hub,
        access: Callable[[], Access],
        clock: Clock,
        more: Sequence[Stream] = (),
        kept: EventLog | None = None,
        settle: Callable[[Callable[[], None]], object] = lambda call: call(),
    ) -> None:
        """`more` are the streams beside NETCONF; without a log (`kept`) there is no replay.

        `settle` makes a call on the core thread, after all that has begun there.
        """
        self.schema = schema
        self.clock = clock
        self.streams = {stream.name: stream for stream in (NETCONF, *more)}
        self._hub = hub
        self._access = access
        self._log = kept
        self._settle = settle
        self._lock = threading.Lock()
        self._recent: dict[int, Event] = {}
        self._octets = 0
        self._wakers: tuple[Callable[[], None], ...] = ()
        self._open = 0
        self._leave: Callable[[], None] | None = None
        self.last = hub.last
        """The number of the latest event that was published."""
        self.oldest = hub.last + 1
        """From this number on events are in memory."""

    # For front ends

    def subscribe(self, request: Subscribe, session: Session) -> Subscription:
        """A subscription from now on; its owner closes it. Core thread. Raises RequestError."""
        stream = self.streams.get(request.stream)
        if stream is None:
            known = ", ".join(self.streams)
            message = f"there is no stream {request.stream[:80]!r}: the streams are {known}"
            raise refuse("invalid-value", message, type="protocol", bad_element="stream")
        # what has happened is in the log then, or told before
        self._hub.flush()
        position = self._before(request.start)
        with self._lock:
            self._open += 1
            if self._leave is None:
                # what happens from here on is kept; what happened before is in the log
                self._forget()
                self.last = self._hub.last
                self.oldest = self.last + 1
                self._leave = self._hub.subscribe(self._take)
            upto = self.last
        return Subscription(self, stream, request, session, upto if position is None else position, upto)

    def _before(self, start: float | None) -> int | None:
        """The number before the first event of a replay, None where none is asked for. Raises RequestError."""
        if start is None:
            return None
        if start > self.clock.now():
            message = "startTime lies in the future: leave it out to have events from now on"
            raise refuse("bad-element", message, type="protocol", bad_element="startTime")
        if self._log is None or not self._log.limits.entries:
            message = "no stream has a replay here: leave startTime out"
            raise refuse("operation-failed", message, type="protocol")
        first = self._log.since(start)
        return None if first is None else first - 1

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

    def logged(self, number: int, limit: int) -> list[Event]:
        """At most `limit` events of the log with a higher number."""
        return [] if self._log is None else self._log.after(number, limit)

    def ending(self, name: str) -> Event:
        """replayComplete or notificationComplete, for one subscriber."""
        return Event(MODULE, name, {}, self.clock.now())

    def permits(self, session: Session, event: Event) -> bool:
        """Whether the user of the session may be told (RFC 8341 section 3.4.6)."""
        node = self.schema.notifications.get((event.module, event.name))
        return node is not None and self._access().permits_notification(session.user, node)

    def settle(self, done: Callable[[], None]) -> None:
        """Have `done` called, and all subscribers woken, once what has happened until now is published."""

        def settled() -> None:
            self._hub.flush()
            done()
            self._ring()

        self._settle(settled)

    def closed(self) -> None:
        """A subscription has ended."""
        with self._lock:
            self._open -= 1
            if self._open == 0 and self._leave is not None:
                self._leave()
                self._leave = None
                self._forget()

    def _forget(self) -> None:
        self._recent.clear()
        self._octets = 0

    def _take(self, event: Event) -> None:
        self._recent[event.number] = event
        self._octets += _length(event.tree)
        while len(self._recent) > 1 and (len(self._recent) > RECENT or self._octets > OCTETS):
            dropped = next(iter(self._recent))
            # said before it is gone: who does not find an event looks here whether the log has it
            self.oldest = dropped + 1
            self._octets -= _length(self._recent.pop(dropped).tree)
        self.last = event.number
        self._ring()

    def _ring(self) -> None:
        for waker in self._wakers:
            waker()

    # The state of the streams: agent.core.providers.StateProvider of `STATE`

    def read(self) -> Tree:
        replay: Tree = {"replaySupport": False}
        if self._log is not None and self._log.limits.entries:
            bounds = self._log.bounds()
            replay = {"replaySupport": True, "replayLogCreationTime": date_and_time(bounds.created)}
            if bounds.aged is not None:
                replay["replayLogAgedTime"] = date_and_time(bounds.aged)
        entries = [{"name": one.name, "description": one.description, **replay} for one in self.streams.values()]
        return {"streams": {"stream": entries}}

    def delivered(self, marks: Sequence[Hashable], session: Session) -> None:
        """Nothing here is marked."""


class Subscription:
    """One subscriber's place in a stream. Belongs to one thread at a time."""

    def __init__(
        self, streams: Streams, stream: Stream, request: Subscribe, session: Session, position: int, upto: int
    ) -> None:
        """Events after `position` are wanted; those up to `upto` are a replay."""
        self._streams = streams
        self._stream = stream
        self._request = request
        self._session = session
        self._position = position
        self._upto = upto
        self._replaying = request.start is not None
        self._waiting: deque[Event] = deque()
        self._failed = self._too_costly = False
        self._settling = self._settled = False
        self._closed = False
        self.complete = False
        """Whether it has come to its end, and all has been given."""

    def take(self, limit: int) -> list[Event]:
        """The next events for this subscriber, in order; at most `limit` are looked at, and none is given twice.

        Fewer are where the filter is costly: then it is `behind`. The ends of a replay and of the subscription are
        events too.
        """
        if self.complete:
            return []
        found = self._wanted(limit)
        if self._replaying and not self._waiting and self._position >= self._upto and not self._too_costly:
            self._replaying = False
            found.append(self._streams.ending("replayComplete"))
        if self._too_costly or self._over():
            self.complete = True
            found.append(self._streams.ending("notificationComplete"))
        return found

    def _over(self) -> bool:
        """Whether its stopTime is over, and all that happened before has been looked at."""
        stop = self._request.stop
        if stop is None or self._replaying or self.behind:
            return False
        if self._streams.clock.now() < stop:
            self._settling = self._settled = False
            return False
        if not self._settling:
            # what happened just before may be on its way to the disk: it is told when it is there
            self._settling = True
            self._streams.settle(self._settle)
        return self._settled and not self.behind

    def _settle(self) -> None:
        self._settled = True

    def _wanted(self, limit: int) -> list[Event]:
        """What the subscriber is to have of the next events, until the filter has cost as much as it may at a time."""
        if not self._waiting:
            self._waiting.extend(self._next(limit))
        found, left = [], EVENT_LIMIT
        while self._waiting and left > 0 and not self._too_costly:
            event, cost = self._waiting.popleft(), Cost(EVENT_LIMIT)
            if self._wants(event, cost):
                found.append(event)
            left -= EVENT_LIMIT - cost.left
        return found

    def _next(self, limit: int) -> list[Event]:
        """The next events whatever they are: from the log in a replay and where they are not recent any more."""
        streams = self._streams
        last = self._upto if self._replaying else streams.oldest - 1
        if self._position < last:
            events = [event for event in streams.logged(self._position, limit) if event.number <= last]
            reached = events[-1].number if len(events) == limit else last
            if not events and not self._replaying:
                log.warning("session %d is too slow: it has missed notifications", self._session.id)
            self._position = reached
            return events
        found = []
        for number in range(self._position + 1, min(streams.last, self._position + limit) + 1):
            event = streams.event(number)
            if event is None and number < streams.oldest:
                # dropped in this moment: the log has it
                break
            if event is not None:
                found.append(event)
            self._position = number
        return found

    @property
    def behind(self) -> bool:
        """Whether there are events that were not looked at yet."""
        return not self.complete and (bool(self._waiting) or self._replaying or self._position < self._streams.last)

    @property
    def takes_long(self) -> bool:
        """Whether `take` holds up whoever waits for it."""
        return self._request.filter is not None and self._request.filter.takes_long

    def seconds_left(self) -> float | None:
        """Real seconds until `take` has to be called though nothing has happened; None: never."""
        stop, clock = self._request.stop, self._streams.clock
        if stop is None or (self._settling and not self._settled):
            return None
        return min(max(clock.wall_seconds(stop - clock.now()), 0.0), LONGEST_WAIT)

    def _wants(self, event: Event, cost: Cost) -> bool:
        start, stop = self._request.start, self._request.stop
        # what happens from now on is never too early, even if the clock is set back
        if start is not None and event.number <= self._upto and event.time < start:
            return False
        if stop is not None and event.time > stop:
            return False
        return self._stream.carries(event) and self._streams.permits(self._session, event) and self._passes(event, cost)

    def _passes(self, event: Event, cost: Cost) -> bool:
        """Whether the filter lets it pass; one that is too costly ends the subscription (decision 0059)."""
        wanted = self._request.filter
        if wanted is None:
            return True
        session = self._session
        try:
            return wanted.passes(event, self._streams.schema, cost)
        except TooCostlyError:
            self._too_costly = True
            told = "session %d of user %s: its subscription ends, for its filter takes too long on %s"
            log.warning(told, session.id, session.user.name, event.member)
        except XPathError as error:
            if not self._failed:
                self._failed = True
                told = "session %d of user %s: %s is not sent, as others may be, for its XPath filter fails on it: %s"
                log.warning(told, session.id, session.user.name, event.member, error)
        return False

    def close(self) -> None:
        """End it; harmless a second time."""
        if not self._closed:
            self._closed = True
            self._streams.closed()


def _length(value: object) -> int:
    """About how many octets a tree takes: names twice as in XML, text as it is, 8 for all else."""
    if isinstance(value, dict):
        return sum(2 * len(member) + _length(below) for member, below in value.items())
    if isinstance(value, list):
        return sum(map(_length, value))
    return len(value) if isinstance(value, str) else 8
