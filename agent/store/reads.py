"""Reading closed reports from SQLite: by key, by id, in pages; never a write, never a snapshot kept between calls.

Each call is one statement, read to its end before it returns, on a connection of the calling thread: under WAL it
neither waits for the writer nor holds it up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from agent.licensing.ports import EncodedRow, Part, ReportRow, ReportState, StoredReport
from agent.store.database import Readers, translated
from agent.store.errors import JournalDamaged

STATE_CODES: dict[ReportState, int] = {"closed": 2, "pending": 3, "unacknowledged": 4, "acknowledged": 5}
"""States as they stand in the rows. All take one byte (SQLite writes 0 and 1 in none), so a change is in place."""

_STATES = {code: state for state, code in STATE_CODES.items()}

_WHOLE = """
    SELECT report_id, key, state, entitlement_tag, license_name, start, end, closed_at, close_reason, digest,
           document, summary_xml, summary_json, detail_xml, detail_json, seal, mac
    FROM reports LEFT JOIN report_bodies USING (report_id)
"""
_ROW: dict[Part, str] = {
    "summary": "SELECT report_id, key, state, summary_xml, summary_json FROM reports",
    "detail": "SELECT report_id, key, state, detail_xml, detail_json FROM reports JOIN report_bodies USING (report_id)",
}

FIND = f"{_WHOLE} WHERE key = ?"
BY_ID = f"{_WHOLE} WHERE report_id = ?"
FIND_ROW = {part: f"{query} WHERE key = ?" for part, query in _ROW.items()}
PAGE = {
    part: f"{query} WHERE report_id > ? AND report_id <= ? ORDER BY report_id LIMIT ?" for part, query in _ROW.items()
}
MAX_ID = "SELECT max(report_id) FROM reports"
EVERY = f"{_WHOLE} ORDER BY report_id"


class SqliteReports:
    """agent.licensing.ports.ReportReads over one database. Every method raises StoreError when it cannot read."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def find(self, key: str) -> StoredReport | None:
        """The report with this key."""
        rows = self._all(FIND, (key,))
        return _stored(rows[0])[0] if rows else None

    def by_id(self, report_id: int) -> StoredReport | None:
        """The report with this id."""
        rows = self._all(BY_ID, (report_id,))
        return _stored(rows[0])[0] if rows else None

    def find_row(self, key: str, part: Part) -> ReportRow | None:
        """One encoded form of the report with this key."""
        rows = self._all(FIND_ROW[part], (key,))
        return _row(rows[0]) if rows else None

    def pages(self, after_id: int, upto_id: int, limit: int, part: Part) -> Sequence[ReportRow]:
        """At most `limit` rows with after_id < report_id <= upto_id, ascending."""
        return [_row(row) for row in self._all(PAGE[part], (after_id, upto_id, max(limit, 0)))]

    def max_id(self) -> int:
        """The highest stored id, 0 when there is none."""
        return self._all(MAX_ID, ())[0][0] or 0

    def _all(self, query: str, bindings: tuple[int | str, ...]) -> list[tuple[Any, ...]]:
        with translated("read reports"):
            return self._readers.connection().execute(query, bindings).fetchall()


def stored_reports(connection: apsw.Connection) -> Iterator[tuple[StoredReport, bytes, bytes]]:
    """Every report with its seal and code, ascending, one in memory at a time. Raises JournalDamaged, apsw.Error."""
    return map(_stored, connection.execute(EVERY))


def _stored(row: tuple[Any, ...]) -> tuple[StoredReport, bytes, bytes]:
    report_id, key, state, tag, name, start, end, closed_at, reason, digest, document, *encoded, seal, mac = row
    if document is None:
        raise JournalDamaged("report_bodies", report_id, "the row is missing")
    report = StoredReport(
        report_id, key, tag, name, start, end, closed_at, reason, _state(report_id, state), digest, document,
        EncodedRow(*encoded),
    )  # fmt: skip
    return report, seal, mac


def _row(row: tuple[Any, ...]) -> ReportRow:
    report_id, key, state, xml, json = row
    return ReportRow(report_id, key, _state(report_id, state), xml, json)


def _state(report_id: int, code: int) -> ReportState:
    state = _STATES.get(code)
    if state is None:
        raise JournalDamaged("reports", report_id, f"{code} is not a state")
    return state
