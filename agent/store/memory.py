"""The store's ports in memory, for tests of what stands on them: same rules, nothing durable, no files.

Events and values go through the same encoding as on disk, so that what could not be kept fails here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
import threading

from agent.licensing import events as kernel
from agent.licensing.events import Event
from agent.licensing.ports import (
    EncodedRow,
    Endings,
    Form,
    Loaded,
    LogBounds,
    LogEntry,
    LogLimits,
    Part,
    ReportHead,
    ReportRow,
    StoredReport,
    head_of,
    joined_rows,
)
from agent.store.errors import StoreError
from agent.store.projection import Change, Delete, Insert, SetState, changes


class MemoryReports:
    """agent.licensing.ports.ReportReads over an immutable mapping that each commit replaces."""

    def __init__(self) -> None:
        self.rows: Mapping[int, StoredReport] = {}

    def find(self, key: str) -> StoredReport | None:
        return next((report for report in self.rows.values() if report.key == key), None)

    def by_id(self, report_id: int) -> StoredReport | None:
        return self.rows.get(report_id)

    def heads(self, report_ids: Sequence[int]) -> Mapping[int, ReportHead]:
        rows = self.rows
        return {number: head_of(rows[number]) for number in report_ids if number in rows}

    def find_row(self, key: str, part: Part) -> ReportRow | None:
        report = self.find(key)
        return None if report is None else _row(report, part)

    def pages(self, after_id: int, upto_id: int, limit: int, part: Part) -> Sequence[ReportRow]:
        rows = self.rows
        wanted = sorted(report_id for report_id in rows if after_id < report_id <= upto_id)
        return [_row(rows[report_id], part) for report_id in wanted[: max(limit, 0)]]

    def joined(self, after_id: int, upto_id: int, limit: int, form: Form, endings: Endings) -> tuple[int, bytes] | None:
        return joined_rows(self.pages(after_id, upto_id, limit, "summary"), form, endings)

    def max_id(self) -> int:
        return max(self.rows, default=0)


class MemoryEvents:
    """agent.licensing.ports.EventReads over an immutable sequence that each commit replaces."""

    def __init__(self) -> None:
        self.entries: tuple[LogEntry, ...] = ()
        self.created: float | None = None
        self.aged: float | None = None

    def after(self, number: int, limit: int) -> Sequence[LogEntry]:
        return [entry for entry in self.entries if entry[0] > number][: max(limit, 0)]

    def since(self, time: float) -> int | None:
        return next((entry[0] for entry in self.entries if entry[1] >= time), None)

    def bounds(self) -> LogBounds | None:
        entries = self.entries
        return None if self.created is None else (self.created, self.aged, entries[-1][0])


class MemoryStore:
    """agent.licensing.ports.Store for as long as the object lives."""

    def __init__(self) -> None:
        self.reports = MemoryReports()
        self.events = MemoryEvents()
        self._snapshot: bytes | None = None
        self._events: tuple[bytes, ...] = ()
        self._config: bytes | None = None
        self._documents: Mapping[str, bytes] = {}
        self._open_unit: MemoryUnit | None = None
        self._lock = threading.Lock()

    def begin(self) -> MemoryUnit:
        if self._open_unit is not None:
            raise StoreError("a unit of work is open already: commit it or roll it back first")
        self._open_unit = MemoryUnit(self)
        return self._open_unit

    def load(self) -> Loaded:
        events = tuple(kernel.decode(body) for body in self._events)
        return Loaded(self._snapshot, events, self._config, dict(self._documents))

    def journal_length(self) -> int:
        return len(self._events)

    def close(self) -> None:
        """Nothing to release: what is kept stays readable, as a file would."""

    def _perform(self, work: Sequence[Callable[[_Draft], None]]) -> None:
        draft = _Draft(dict(self.reports.rows), self._snapshot, self._events, self._config, dict(self._documents))
        draft.log, draft.aged = list(self.events.entries), self.events.aged
        for step in work:
            step(draft)
        with self._lock:
            self.reports.rows = draft.rows
            self._snapshot, self._events, self._config = draft.snapshot, draft.events, draft.config
            self._documents = draft.documents
            if draft.log and self.events.created is None:
                self.events.created = draft.log[0][1]
            self.events.entries, self.events.aged = tuple(draft.log), draft.aged

    def _ended(self, unit: MemoryUnit) -> None:
        if self._open_unit is unit:
            self._open_unit = None


class _Draft:
    """A copy of everything that a commit works on, so that one that fails leaves no trace."""

    def __init__(
        self,
        rows: dict[int, StoredReport],
        snapshot: bytes | None,
        events: tuple[bytes, ...],
        config: bytes | None,
        documents: dict[str, bytes],
    ) -> None:
        self.rows, self.snapshot, self.events, self.config = rows, snapshot, events, config
        self.documents = documents
        self.log: list[LogEntry] = []
        self.aged: float | None = None

    def append(self, bodies: Sequence[bytes], made: Sequence[Change]) -> None:
        self.events += tuple(bodies)
        for change in made:
            match change:
                case Insert(report):
                    if report.report_id in self.rows or any(row.key == report.key for row in self.rows.values()):
                        raise StoreError(f"report {report.report_id} ({report.key}) is stored already")
                    self.rows[report.report_id] = report
                case SetState(report_ids, state):
                    for report_id in report_ids:
                        if report_id in self.rows:
                            self.rows[report_id] = replace(self.rows[report_id], state=state)
                case Delete(report_ids):
                    for report_id in report_ids:
                        self.rows.pop(report_id, None)

    def put_state(self, snapshot: bytes) -> None:
        self.snapshot, self.events = snapshot, ()

    def put_config(self, document: bytes) -> None:
        self.config = document

    def put_events(self, entries: Sequence[LogEntry], limits: LogLimits) -> None:
        self.log.extend(entries)
        octets = sum(len(entry[4]) + len(entry[5]) for entry in self.log)
        while len(self.log) > 1 and (
            len(self.log) > limits.entries or octets > limits.octets or self.log[0][1] < self.log[-1][1] - limits.age
        ):
            octets -= len(self.log[0][4]) + len(self.log[0][5])
            self.aged = self.log.pop(0)[1]

    def put_document(self, name: str, document: bytes | None) -> None:
        self.documents.pop(name, None)
        if document is not None:
            self.documents[name] = document


class MemoryUnit:
    """agent.licensing.ports.UnitOfWork on a MemoryStore."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._work: list[Callable[[_Draft], None]] = []
        self._done = False

    def append(self, events: Sequence[Event], rows: Mapping[int, EncodedRow]) -> None:
        self._check_open()
        bodies, made = [kernel.encode(event) for event in events], changes(events, rows)
        self._work.append(lambda draft: draft.append(bodies, made))

    def put_state(self, snapshot: bytes) -> None:
        self._check_open()
        self._work.append(lambda draft: draft.put_state(snapshot))

    def put_config(self, document: bytes) -> None:
        self._check_open()
        self._work.append(lambda draft: draft.put_config(document))

    def put_document(self, name: str, document: bytes | None) -> None:
        self._check_open()
        self._work.append(lambda draft: draft.put_document(name, document))

    def put_events(self, entries: Sequence[LogEntry], limits: LogLimits) -> None:
        self._check_open()
        self._work.append(lambda draft: draft.put_events(entries, limits))

    def commit(self) -> None:
        self._check_open()
        self.rollback()
        self._store._perform(self._work)

    def rollback(self) -> None:
        self._done = True
        self._store._ended(self)

    def _check_open(self) -> None:
        if self._done:
            raise StoreError("this unit of work has ended: begin another one")


def _row(report: StoredReport, part: Part) -> ReportRow:
    encoded = report.encoded
    xml, json = (
        (encoded.summary_xml, encoded.summary_json) if part == "summary" else (encoded.detail_xml, encoded.detail_json)
    )
    return ReportRow(report.report_id, report.key, report.state, xml, json)
