"""Limits over all sessions: failed logins and connections without a login by source, octets of messages that are on
their way. No socket, no clock in here.

A source is given by its address; addresses of one IPv6 /64 are one source.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Protocol

from agent.core.sources import network

FAILURES = 10
"""Failed logins of one source within WINDOW seconds, after which its passwords are refused unread."""

WINDOW = 60.0
SOURCES = 4096
"""Sources remembered; beyond that the one that failed longest ago is forgotten."""

WAITING = 512
"""Connections that may be in the course of logging in, over all sources."""

WAITING_PER_SOURCE = 256

AT_ONCE = 4
"""Messages of the greatest size that there is room for, over all sessions."""

LARGE = 512 * 1024
"""Octets up to which what a session holds is not counted: what is read ahead, and all usual messages."""


def room(message_size: int) -> int:
    """Octets that all long messages may have together; what is read ahead of short ones never takes it up."""
    return max(AT_ONCE * message_size, 16 * LARGE)


class Holder(Protocol):
    """Who receives a message."""

    def crowd_out(self) -> None:
        """Let go of it at once."""
        ...


class Arriving:
    """Counts the octets of long messages: of each, from LARGE on, until its request is answered.

    What goes beyond `total` octets costs that holder its message that has sent nothing for longest; whoever has sent
    all of it keeps it.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.octets = 0
        # the longest silent comes first
        self._coming: dict[Holder, int] = {}
        self._whole: dict[Holder, int] = {}

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._coming

    def came(self, holder: Holder, octets: int) -> None:
        """More has come: so much is now held of messages that are not whole."""
        self.octets -= self._coming.pop(holder, 0)
        if octets <= LARGE:
            return
        self._coming[holder] = octets
        self.octets += octets
        while self._coming and self.octets > self.total:
            silent = next(iter(self._coming))
            self.octets -= self._coming.pop(silent)
            silent.crowd_out()

    def answering(self, holder: Holder, octets: int) -> None:
        """A long message is whole: it is held until it is answered."""
        if octets > LARGE:
            self._whole[holder] = octets
            self.octets += octets

    def answered(self, holder: Holder) -> None:
        self.octets -= self._whole.pop(holder, 0)

    def gone(self, holder: Holder) -> None:
        """It holds nothing any more."""
        self.octets -= self._coming.pop(holder, 0) + self._whole.pop(holder, 0)


class FailureLimit:
    """Counts failed logins by source in a sliding window; times are seconds of any steady clock.

    Only the source that fails is slowed down: others, and the local socket, log in as before. Of one source as many
    logins are under way at a time as may still fail: guesses that come together are no more than those that come one
    by one.
    """

    def __init__(self, *, failures: int = FAILURES, window: float = WINDOW, sources: int = SOURCES) -> None:
        self._failures = failures
        self._window = window
        self._sources = sources
        self._failed: OrderedDict[str, list[float]] = OrderedDict()
        self._under_way: Counter[str] = Counter()
        self._turns: dict[str, list[asyncio.Future[None]]] = {}

    async def take(self, source: str, now: Callable[[], float]) -> float:
        """Seconds until `source` may try again; 0 if it may now, and then `leave` must follow.

        Waits while enough logins are under way to reach the limit, should they fail.
        """
        key = network(source)
        while not (wait := self.blocked(source, now())):
            if len(self._failed.get(key, ())) + self._under_way[key] < self._failures:
                self._under_way[key] += 1
                break
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._turns.setdefault(key, []).append(turn)
            await turn
        return wait

    def leave(self, source: str) -> None:
        """A login for which `take` gave 0 is over; tell `failed` or `succeeded` before."""
        key = network(source)
        self._under_way[key] -= 1
        if self._under_way[key] <= 0:
            del self._under_way[key]
        for turn in self._turns.pop(key, ()):
            if not turn.done():
                turn.set_result(None)

    def blocked(self, source: str, now: float) -> float:
        """Seconds until `source` may try again; 0 if it may now."""
        source = network(source)
        times = self._recent(source, now)
        return times[-self._failures] + self._window - now if len(times) >= self._failures else 0.0

    def failed(self, source: str, now: float) -> None:
        source = network(source)
        times = self._recent(source, now)
        times.append(now)
        self._failed[source] = times[-self._failures :]
        self._failed.move_to_end(source)
        while len(self._failed) > self._sources:
            self._failed.popitem(last=False)

    def succeeded(self, source: str) -> None:
        """A login that worked makes its source's earlier failures forgotten."""
        self._failed.pop(network(source), None)

    def _recent(self, source: str, now: float) -> list[float]:
        times = [moment for moment in self._failed.get(source, ()) if moment > now - self._window]
        if times:
            self._failed[source] = times
        else:
            self._failed.pop(source, None)
        return times


class WaitingLimit:
    """Counts connections that have not logged in, so that silent peers of one source cannot use up what all share."""

    def __init__(self, *, total: int = WAITING, per_source: int = WAITING_PER_SOURCE) -> None:
        self._total = total
        self._per_source = per_source
        self._waiting: Counter[str] = Counter()

    def enter(self, source: str) -> bool:
        """Whether one more of that source may come in; if so, `leave` must follow."""
        source = network(source)
        if self._waiting[source] >= self._per_source or self._waiting.total() >= self._total:
            return False
        self._waiting[source] += 1
        return True

    def leave(self, source: str) -> None:
        source = network(source)
        self._waiting[source] -= 1
        if self._waiting[source] <= 0:
            del self._waiting[source]
