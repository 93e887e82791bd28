"""Reading closed reports from SQLite: by key, by id, in pages; never a write, never a snapshot kept between calls.

Each call is one statement, read to its end before it returns, on a connection of the calling thread: under WAL it
neither waits for the writer nor holds it up. A row that the check of this start has not passed yet is read whole and
verified before any of it is handed out (docs/decisions/0034).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from agent.licensing.ports import (
    SEPARATORS,
    EncodedRow,
    Endings,
    Form,
    Part,
    ReportHead,
    ReportRow,
    ReportState,
    StoredReport,
    head_of,
    joined_rows,
)
from agent.store.authentication import Authentication, report_seal
from agent.store.database import Readers, translated
from agent.store.errors import JournalDamaged
from agent.store.progress import Progress

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

_AT_ONCE = 250
"""Ids that one statement names."""

FIND = f"{_WHOLE} WHERE key = ?"
BY_ID = f"{_WHOLE} WHERE report_id = ?"
HEADS = "SELECT report_id, state, entitlement_tag, end, digest FROM reports WHERE report_id IN ({})"
FIND_ROW = {part: f"{query} WHERE key = ?" for part, query in _ROW.items()}
_SPAN = "WHERE report_id > ? AND report_id <= ? ORDER BY report_id LIMIT ?"
PAGE = {part: f"{query} {_SPAN}" for part, query in _ROW.items()}
WHOLE_PAGE = f"{_WHOLE} {_SPAN}"
_JOINED = """
    SELECT max(report_id), count(*) = count(ending), CAST(group_concat(entry || ending, ?4) AS BLOB)
    FROM (SELECT report_id, summary_{form} AS entry, CASE state {endings} END AS ending FROM reports
          WHERE report_id > ?1 AND report_id <= ?2 ORDER BY report_id LIMIT ?3)
"""
_ENDINGS = " ".join(f"WHEN {code} THEN ?{number}" for number, code in enumerate(STATE_CODES.values(), 5))
JOINED: dict[Form, str] = {form: _JOINED.format(form=form, endings=_ENDINGS) for form in SEPARATORS}
"""Rows are joined in the order in which the inner query, which its LIMIT keeps apart, gives them."""
MAX_ID = "SELECT max(report_id) FROM reports"


class SqliteReports:
    """agent.licensing.ports.ReportReads over one database. Every method raises StoreError when it cannot read."""

    def __init__(self, readers: Readers, authentication: Authentication, progress: Progress) -> None:
        self._readers = readers
        self._authentication = authentication
        self._progress = progress

    def find(self, key: str) -> StoredReport | None:
        """The report with this key."""
        # SQLite takes the key from the index here: one that leads to another row breaks that row's seal
        return self._one(FIND, key)

    def by_id(self, report_id: int) -> StoredReport | None:
        """The report with this id."""
        return self._one(BY_ID, report_id)

    def heads(self, report_ids: Sequence[int]) -> Mapping[int, ReportHead]:
        """What an acknowledgement needs of the stored ones among these, by id."""
        found: dict[int, ReportHead] = {}
        for some in parts(report_ids):
            if not self._progress.has_passed(max(some)):
                found |= {each.report_id: head_of(each) for each in map(self.by_id, some) if each is not None}
                continue
            rows = self._all(HEADS.format(marks(some)), some)
            found |= {row[0]: ReportHead(row[0], _state(row[0], row[1]), *row[2:]) for row in rows}
        return found

    def find_row(self, key: str, part: Part) -> ReportRow | None:
        """One encoded form of the report with this key."""
        if not self._progress.finished:
            found = self.find(key)
            return None if found is None else _row_of(found, part)
        with self._progress.noticing():
            rows = self._all(FIND_ROW[part], (key,))
            return _row(rows[0]) if rows else None

    def pages(self, after_id: int, upto_id: int, limit: int, part: Part) -> Sequence[ReportRow]:
        """At most `limit` rows with after_id < report_id <= upto_id, ascending."""
        bindings = after_id, upto_id, max(limit, 0)
        if self._progress.has_passed(upto_id):
            with self._progress.noticing():
                return [_row(row) for row in self._all(PAGE[part], bindings)]
        with (
            self._progress.noticing(),
            translated("read reports"),
            closing(self._readers.connection().execute(WHOLE_PAGE, bindings)) as rows,
        ):
            return [_row_of(verified(self._authentication, row)[0], part) for row in rows]

    def joined(self, after_id: int, upto_id: int, limit: int, form: Form, endings: Endings) -> tuple[int, bytes] | None:
        """The summaries of `pages` in one encoding, each with its ending, joined by SQLite; and the last id."""
        if self._progress.has_passed(upto_id):
            ends = (endings[state] for state in STATE_CODES)
            with self._progress.noticing():
                ((last, complete, data),) = self._all(
                    JOINED[form], (after_id, upto_id, max(limit, 0), SEPARATORS[form], *ends)
                )
            if complete:
                return None if last is None else (last, data)
        # read one by one, rows are verified, or tell what is wrong with them
        return joined_rows(self.pages(after_id, upto_id, limit, "summary"), form, endings)

    def max_id(self) -> int:
        """The highest stored id, 0 when there is none."""
        with self._progress.noticing():
            return self._all(MAX_ID, ())[0][0] or 0

    def _one(self, query: str, wanted: int | str) -> StoredReport | None:
        with self._progress.noticing():
            rows = self._all(query, (wanted,))
            if not rows:
                return None
            if self._progress.has_passed(rows[0][0]):
                return _stored(rows[0])[0]
            return verified(self._authentication, rows[0])[0]

    def _all(self, query: str, bindings: tuple[int | str | bytes, ...]) -> list[tuple[Any, ...]]:
        with translated("read reports"):
            return self._readers.connection().execute(query, bindings).fetchall()


def parts(report_ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The ids, as many at a time as one statement names."""
    for at in range(0, len(report_ids), _AT_ONCE):
        yield tuple(report_ids[at : at + _AT_ONCE])


def marks(values: Sequence[object]) -> str:
    """A placeholder for each, as a list in SQL."""
    return ",".join("?" * len(values))


def verified(authentication: Authentication, row: tuple[Any, ...]) -> tuple[StoredReport, bytes]:
    """The report of a row of WHOLE_PAGE, FIND or BY_ID, and the row's code. Raises JournalDamaged."""
    report, seal, mac = _stored(row)
    if seal != report_seal(report):
        raise JournalDamaged("reports", report.report_id, "it was changed")
    if mac != authentication.report_code(report.report_id, STATE_CODES[report.state], seal):
        raise JournalDamaged("reports", report.report_id, "its state was changed")
    return report, mac


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


def _row_of(report: StoredReport, part: Part) -> ReportRow:
    encoded = report.encoded
    xml, json = (
        (encoded.summary_xml, encoded.summary_json) if part == "summary" else (encoded.detail_xml, encoded.detail_json)
    )
    return ReportRow(report.report_id, report.key, report.state, xml, json)


def _state(report_id: int, code: int) -> ReportState:
    state = _STATES.get(code)
    if state is None:
        raise JournalDamaged("reports", report_id, f"{code} is not a state")
    return state
