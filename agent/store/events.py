"""The log of events in SQLite: kept in the transaction of what they tell of, the oldest dropped; read in pages.

Each row is authenticated by itself: one that was edited is damage where it is read. That rows are missing does not
show, for the log drops rows by itself, and nothing is decided by it (docs/decisions/0060).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
import json
from typing import Any

import apsw

from agent.licensing.ports import LogBounds, LogEntry, LogLimits
from agent.store.authentication import Authentication
from agent.store.database import Readers, translated
from agent.store.errors import JournalDamaged
from agent.store.progress import Progress

_OLDEST = "SELECT number, at, length(tree) + length(xml) FROM events ORDER BY number LIMIT 64"

_FREQUENT = """
    SELECT number FROM events WHERE module || ':' || name IN (SELECT value FROM json_each(?)) ORDER BY number
"""


class LogWriter:
    """Writes within a transaction that is open; `undo` after one that was rolled back. One thread."""

    def __init__(self, connection: apsw.Connection, authentication: Authentication) -> None:
        """Raises apsw.Error."""
        self._connection = connection
        self._authentication = authentication
        self._count, self._octets = self._counted()
        self._frequent: deque[int] | None = None

    def _counted(self) -> tuple[int, int]:
        query = "SELECT count(*), total(length(tree) + length(xml)) FROM events"
        row: Any = self._connection.execute(query).fetchone()
        return int(row[0]), int(row[1])

    def undo(self) -> None:
        """Count again what is there. Raises apsw.Error."""
        self._count, self._octets = self._counted()
        self._frequent = None

    def put(self, entries: Sequence[LogEntry], limits: LogLimits) -> None:
        """Raises apsw.Error."""
        frequent = self._frequent_ones(limits)
        for entry in entries:
            number, at, module, name, tree, xml = entry
            row = (number, at, module, name, tree, xml, _code(self._authentication, entry))
            self._connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._count += 1
            self._octets += len(tree) + len(xml)
            self._connection.execute("INSERT OR IGNORE INTO events_log VALUES (1, ?, NULL)", (at,))
            if f"{module}:{name}" in limits.frequent:
                frequent.append(number)
        while len(frequent) > limits.frequent_entries:
            self._drop_one(frequent.popleft())
        if entries:
            self._drop(limits, entries[-1][1])
            while frequent and frequent[0] < self._first():
                frequent.popleft()

    def _frequent_ones(self, limits: LogLimits) -> deque[int]:
        """The numbers of those that have a bound of their own, in order; looked up once, then kept up."""
        if self._frequent is None:
            found: Any = self._connection.execute(_FREQUENT, (json.dumps(sorted(limits.frequent)),))
            self._frequent = deque(number for (number,) in found)
        return self._frequent

    def _first(self) -> int:
        row: Any = self._connection.execute("SELECT min(number) FROM events").fetchone()
        return int(row[0])

    def _drop_one(self, number: int) -> None:
        query = "DELETE FROM events WHERE number = ? RETURNING at, length(tree) + length(xml)"
        row: Any = self._connection.execute(query, (number,)).fetchone()
        self._count -= 1
        self._octets -= row[1]
        self._dropped(row[0])

    def _dropped(self, at: float) -> None:
        """From `at` on, and not before, nothing is missing (RFC 5277 section 3.2.5.1, replayLogAgedTime)."""
        self._connection.execute("UPDATE events_log SET aged = max(ifnull(aged, ?1), ?1)", (at,))

    def _drop(self, limits: LogLimits, now: float) -> None:
        """The oldest, as far as a limit is exceeded; never the latest, whose number goes on counting."""
        while self._count > 1:
            dropped: tuple[int, float] | None = None
            rows: list[Any] = self._connection.execute(_OLDEST).fetchall()
            for number, at, octets in rows:
                over = self._count > limits.entries or self._octets > limits.octets or at < now - limits.age
                if not over or self._count == 1:
                    break
                dropped = number, at
                self._count -= 1
                self._octets -= octets
            if dropped is None:
                return
            self._connection.execute("DELETE FROM events WHERE number <= ?", (dropped[0],))
            self._dropped(dropped[1])
            if dropped[0] != rows[-1][0]:
                return


class SqliteEvents:
    """agent.licensing.ports.EventReads over one database. Every method raises StoreError when it cannot read."""

    def __init__(self, readers: Readers, authentication: Authentication, progress: Progress) -> None:
        self._readers = readers
        self._authentication = authentication
        self._progress = progress

    def after(self, number: int, limit: int) -> Sequence[LogEntry]:
        """At most `limit` events with a higher number, in order."""
        query = "SELECT number, at, module, name, tree, xml, mac FROM events WHERE number > ? ORDER BY number LIMIT ?"
        with self._progress.noticing(), translated("read events"):
            found = []
            for *entry, mac in self._readers.connection().execute(query, (number, max(limit, 0))).fetchall():
                one: LogEntry = tuple(entry)  # type: ignore[assignment]
                if mac != _code(self._authentication, one):
                    raise JournalDamaged("events", one[0], "it was changed")
                found.append(one)
            return found

    def since(self, time: float) -> int | None:
        """The lowest number of an event that happened at `time` or later."""
        with translated("read events"):
            query = "SELECT min(number) FROM events WHERE at >= ?"
            row: Any = self._readers.connection().execute(query, (time,)).fetchone()
            return None if row[0] is None else int(row[0])

    def bounds(self) -> LogBounds | None:
        """When it was begun, the time of the last event that was dropped, the latest number; None if never used."""
        with translated("read events"):
            query = "SELECT created, aged, (SELECT max(number) FROM events) FROM events_log"
            row: Any = self._readers.connection().execute(query).fetchone()
            return None if row is None else (row[0], row[1], row[2] or 0)


def _code(authentication: Authentication, entry: LogEntry) -> bytes:
    number, at, module, name, tree, xml = entry
    return authentication.code("event", number, repr(float(at)), module, name, tree, xml)
