"""Who is connected and as whom: users, their groups, open management sessions. No credentials are kept here.

Sessions are opened on any thread; they end through `Dispatch.closed`, so that locks are released on the core thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
import threading
from typing import Protocol

from agent.clock import Clock

HIGHEST_ID = 4294967295
"""session-id is 1..4294967295 (RFC 6241 appendix C, session-id-type)."""

BURST = 10
"""Denials of one session that are logged one by one within `SPAN` seconds."""

SPAN = 60.0


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated name with the groups that its transport reports (admin, collector, reader, recorder).

    `recovery` marks who no access rule applies to (RFC 8341 section 2.1): who could change the agent's files anyway.
    """

    name: str
    groups: frozenset[str]
    recovery: bool = False


class Authenticator(Protocol):
    """Knows credentials. Its calls may take long (a password check costs tens of milliseconds): use an executor."""

    def password(self, user: str, password: str) -> User | None:
        """The user if name and password fit, else None (an unknown name takes as long as a wrong password)."""
        ...

    def public_keys(self, user: str) -> Sequence[str]:
        """The user's keys as lines of an authorized_keys file; empty for an unknown user."""
        ...

    def user(self, name: str) -> User | None:
        """The user of that name, for transports that have authenticated it in another way."""
        ...


Lookup = Callable[[], User | None]
"""The user of a session as it is now; None where there is none any more. May take long."""


@dataclass(slots=True)
class Denials:
    """How many denials of one session are logged one by one: `BURST` in `SPAN` seconds; the rest is only counted."""

    begun: float = 0.0
    told: int = 0
    silent: int = 0

    def take(self, now: float) -> bool:
        """Whether the denial of now (epoch seconds) is to be logged."""
        if not self.begun <= now < self.begun + SPAN:
            self.begun, self.told = now, 0
        if self.told >= BURST:
            self.silent += 1
            return False
        self.told += 1
        return True

    def suffix(self) -> str:
        """What the next line says of those that were not logged."""
        silent, self.silent = self.silent, 0
        return f"; {silent} more were not logged" if silent else ""


@dataclass(eq=False, slots=True)
class Session:
    """One management session. Counters are those of RFC 6022 section 2.1.4; the front end counts them.

    `lookup` asks for the user anew; None where each request is authenticated by itself.
    """

    id: int
    user: User
    transport: str
    source_host: str
    login_time: float
    end: Callable[[str], None] = field(repr=False)
    lookup: Lookup | None = field(default=None, repr=False)
    _looking: threading.Lock = field(default_factory=threading.Lock, repr=False)
    denials: Denials = field(default_factory=Denials, repr=False)
    in_rpcs: int = 0
    in_bad_rpcs: int = 0
    out_rpc_errors: int = 0
    out_notifications: int = 0

    def look_again(self) -> bool:
        """Take the user as it is now; False where there is no such user. Any thread; raises what the lookup raises."""
        if self.lookup is None:
            return True
        with self._looking:  # an answer that is older never comes after one that is newer
            user = self.lookup()
            if user is not None:
                self.user = user
        return user is not None


_UNUSUAL = frozenset({"dropped", "timeout", "other"})
"""Ends that nobody asked for: neither close-session nor kill-session (RFC 6022, dropped-sessions)."""


@dataclass(slots=True)
class Statistics:
    """What sessions have done since the start, those that have ended among them (RFC 6022 section 2.1.5)."""

    in_sessions: int = 0
    in_bad_hellos: int = 0
    dropped_sessions: int = 0
    in_rpcs: int = 0
    in_bad_rpcs: int = 0
    out_rpc_errors: int = 0
    out_notifications: int = 0

    def add(self, other: Session | Statistics) -> None:
        """Take in the messages of one session, or all that others have done."""
        self.in_rpcs += other.in_rpcs
        self.in_bad_rpcs += other.in_bad_rpcs
        self.out_rpc_errors += other.out_rpc_errors
        self.out_notifications += other.out_notifications
        if isinstance(other, Statistics):
            self.in_sessions += other.in_sessions
            self.in_bad_hellos += other.in_bad_hellos
            self.dropped_sessions += other.dropped_sessions


class Sessions:
    """All open sessions, by id. `started` is when the first could be opened (epoch seconds)."""

    def __init__(self, clock: Clock) -> None:
        self.started = clock.now()
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[int, Session] = {}
        self._ended: defaultdict[str, Statistics] = defaultdict(Statistics)
        self._last = 0

    def open(
        self,
        user: User,
        transport: str,
        source_host: str,
        *,
        end: Callable[[str], None],
        lookup: Lookup | None = None,
    ) -> Session:
        """Register a session under the next free id.

        `end(reason)` is called, on any thread, when the session is to end: it must only schedule the end.
        """
        with self._lock:
            number = self._last % HIGHEST_ID + 1
            while number in self._open:
                number = number % HIGHEST_ID + 1
            self._last = number
            session = Session(number, user, transport, source_host, self._clock.now(), end, lookup)
            self._open[number] = session
            self._ended[transport].in_sessions += 1
            return session

    def close(self, session: Session, reason: str) -> bool:
        """Forget a session; False if it was not open any more. Front ends call `Dispatch.closed` instead."""
        with self._lock:
            if self._open.pop(session.id, None) is None:
                return False
            ended = self._ended[session.transport]
            ended.add(session)
            ended.in_bad_hellos += reason == "bad-hello"
            ended.dropped_sessions += reason in _UNUSUAL
            return True

    def statistics(self, transports: Collection[str]) -> Statistics:
        """The sum over these transports. A session is counted once, open or ended."""
        found = Statistics()
        with self._lock:
            for transport in transports:
                if transport in self._ended:
                    found.add(self._ended[transport])
            for session in self._open.values():
                if session.transport in transports:
                    found.add(session)
        return found

    def find(self, session_id: int) -> Session | None:
        with self._lock:
            return self._open.get(session_id)

    def all(self) -> tuple[Session, ...]:
        """A snapshot, in order of opening."""
        with self._lock:
            return tuple(self._open.values())
