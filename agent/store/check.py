"""The check of the stored reports: every row's seal and code, its place in the index, and that none is missing.

A start does the first rows before it serves and the rest in a thread of its own meanwhile; `run` is all of it at once.
It reads in pages, keeps no view of the database for longer than one, and rests between them, so that requests do not
wait. docs/decisions/0034 has the reasons and the figures.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
import threading
import time
from typing import Any

import apsw

from agent.store.authentication import Authentication, RowSum
from agent.store.database import read_only, translated
from agent.store.errors import JournalDamaged, StoreError
from agent.store.head import read_head
from agent.store.progress import Progress
from agent.store.reads import WHOLE_PAGE, verified

log = logging.getLogger(__name__)

PAGE = 16
"""Rows that are read and verified at a time, which takes about half a millisecond."""

FIRST = 512
"""Rows that a start checks before it serves (15 ms): on most devices these are all, and damage is found at once."""

REST = 4.0
"""How many times as long as it worked the thread rests after each page: the rest of a core is for requests."""

LONGEST_REST = 0.1
"""Seconds. A page that took long waited for others, who are not helped by waiting as long again."""

_HIGHEST = 2**63 - 1
_FIRST = "SELECT min(report_id) FROM reports WHERE report_id > ?"
_COUNT = "SELECT count(*) FROM reports"


class CheckStopped(Exception):  # noqa: N818 - an end, not a fault
    """The check was stopped before its end."""


class ReportsCheck:
    """One pass over the stored reports of a database. `begin`, then `start`, or `run` instead; `stop` from any thread.

    All but `stop` raise JournalDamaged for what they find and StoreError when they cannot read.
    """

    def __init__(self, path: Path, authentication: Authentication, progress: Progress) -> None:
        self._path = path
        self._authentication = authentication
        self._progress = progress
        self._found = RowSum()
        self._begun = 0.0
        self._connection: apsw.Connection | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Check the first rows in the caller's thread; with no more than these the check is done."""
        with self._progress.writing:
            self._progress.begin()
        self._found = RowSum()
        self._begun = time.monotonic()
        self._go(0.0, FIRST)

    def start(self) -> None:
        """Check the others in a thread. Its end is logged; damage goes to who was named to the store."""
        if self._progress.finished:
            self._done()
            return
        self._thread = threading.Thread(target=self._background, name="reports-check", daemon=True)
        self._thread.start()

    def run(self) -> int:
        """Check all rows in the caller's thread; returns how many there are. Raises CheckStopped after `stop`."""
        self.begin()
        if not self._progress.finished:
            self._go(0.0)
        return self._found.rows

    def stop(self) -> None:
        """End it, whatever it is doing; harmless when it has ended, or was never begun."""
        self._stopping.set()
        if (connection := self._connection) is not None:
            # the check of the index is one long statement
            with contextlib.suppress(apsw.Error):
                connection.interrupt()
        if self._thread is not None:
            self._thread.join()

    def _go(self, rest: float, rows: int | None = None) -> None:
        """Check on until the end, or until so many rows have been seen; rests `rest` times as long as it works."""
        try:
            with translated("check the stored reports"), contextlib.closing(read_only(self._path)) as connection:
                self._connection = connection
                while rows is None or self._found.rows < rows:
                    begun = time.perf_counter()
                    if self._stopping.is_set():
                        raise CheckStopped
                    page = self._next_page(connection)
                    if page is None:
                        return
                    seen = [(None, verified(self._authentication, row)[1]) for row in page]
                    self._found = self._found.moved(*seen)
                    self._progress.advance(self._progress.covered)
                    if rest:
                        self._stopping.wait(min(rest * (time.perf_counter() - begun), LONGEST_REST))
        except JournalDamaged:
            raise
        except StoreError:
            if self._stopping.is_set():
                raise CheckStopped from None
            raise
        finally:
            self._connection = None

    def _next_page(self, connection: apsw.Connection) -> list[tuple[Any, ...]] | None:
        """The next rows; None after the last one, when all that were found are all that have to be there."""
        progress = self._progress
        connection.execute("BEGIN")
        try:
            with progress.writing:
                # The first statement fixes what this transaction sees: from here on the writer says what it changes
                # in the rows up to `covered`, and what it changed before is seen in those that follow.
                after, behind = progress.covered, progress.behind
                first: Any = connection.execute(_FIRST, (after,)).fetchall()[0][0]
                if first is not None:
                    progress.covered = min(first + PAGE - 1, _HIGHEST)
            if first is not None:
                return connection.execute(WHOLE_PAGE, (after, progress.covered, PAGE)).fetchall()
            # a damaged index would hide a report from whoever asks for it by key
            trouble = connection.execute("PRAGMA integrity_check(reports)").fetchone()
            if self._stopping.is_set():
                raise CheckStopped
            if trouble != ("ok",):
                raise JournalDamaged("reports", "", str(trouble and trouble[0]))
            head = read_head(connection, self._authentication)
            (rows,) = connection.execute(_COUNT).fetchall()[0]
        finally:
            if connection.in_transaction:
                connection.execute("COMMIT")
        if (rows, self._found.plus(behind)) != (head.report_count, head.reports):
            raise JournalDamaged(
                "reports", "", f"{head.report_count} rows were kept, {rows} are there, or not the same ones"
            )
        progress.finish()
        return None

    def _background(self) -> None:
        try:
            with self._progress.noticing():
                self._go(REST)
        except CheckStopped:
            log.info("the check of the stored reports was stopped; the next start begins it again")
        except JournalDamaged as error:
            log.critical("%s", error)
        except StoreError as error:
            log.error("%s; until the next start each stored report is checked when it is read", error)
        else:
            self._done()

    def _done(self) -> None:
        log.info("%d stored reports were checked in %.1f s", self._found.rows, time.monotonic() - self._begun)
