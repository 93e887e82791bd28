"""The store on SQLite: journal, snapshot, configuration and report rows in one file, one transaction a unit of work.

Everything is authenticated (authentication.py): `load` checks all but the report rows, `check` those, which `reports`
verifies as it reads them until that is done; each transaction checks what it builds on.
Implements agent/licensing/ports.py; users have their own module, keys are never in here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from agent.licensing import events as kernel
from agent.licensing.events import Event
from agent.licensing.ports import EncodedRow, Loaded, LogEntry, LogLimits, ReportState, StoredReport
from agent.store import authentication as codes
from agent.store.authentication import Authentication, Move, RowSum
from agent.store.check import ReportsCheck
from agent.store.database import Readers, create_file, open_writer, translated
from agent.store.errors import JournalDamaged, StoreError, StoreNewerError
from agent.store.events import LogWriter, SqliteEvents
from agent.store.head import Head, read_head
from agent.store.progress import OnDamage, Progress
from agent.store.projection import Change, Delete, Insert, SetState, changes
from agent.store.reads import STATE_CODES, SqliteReports, marks, parts

CODES = "SELECT report_id, state, seal, mac FROM reports WHERE report_id IN ({})"
DELETE = ("DELETE FROM reports WHERE report_id IN ({})", "DELETE FROM report_bodies WHERE report_id IN ({})")


class _Record(NamedTuple):
    """An event as it goes into the journal."""

    at: int
    kind: str
    body: bytes


class _Append(NamedTuple):
    records: tuple[_Record, ...]
    changes: Sequence[Change]


class _State(NamedTuple):
    snapshot: bytes


class _Config(NamedTuple):
    document: bytes


class _Document(NamedTuple):
    name: str
    document: bytes | None


class _Events(NamedTuple):
    entries: tuple[LogEntry, ...]
    limits: LogLimits


_Work = _Append | _State | _Config | _Document | _Events


class _Codes(NamedTuple):
    """The codes of all configuration documents: of running, and of the others by name."""

    running: bytes | None = None
    others: tuple[tuple[str, bytes], ...] = ()


class SqliteStore:
    """agent.licensing.ports.Store over one database file. `begin`, `load` and the units belong to one thread."""

    def __init__(self, path: Path, journal_key: bytes, on_damage: OnDamage | None = None) -> None:
        """Open an existing database, bringing it up to this version. Raises StoreError.

        `on_damage` hears, on any thread, of damage that is found later than by `load`.
        """
        self._authentication = Authentication(journal_key)
        self._path = path
        self._connection = open_writer(path, self._authentication)
        self._readers = Readers(path)
        self._open_unit: SqliteUnit | None = None
        self._progress = Progress(on_damage)
        self._behind = RowSum()
        self.check = ReportsCheck(path, self._authentication, self._progress)
        self.reports = SqliteReports(self._readers, self._authentication, self._progress)
        self.events = SqliteEvents(self._readers, self._authentication, self._progress)
        try:
            with translated(f"read {path}"):
                self._head = read_head(self._connection, self._authentication)
                self._snapshot_seq = self._read_snapshot_seq()
                self._log = LogWriter(self._connection, self._authentication)
                self._codes = _Codes()
                self._read_configurations()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def create(path: Path, journal_key: bytes) -> None:
        """Make a new, empty database at `path` (init does it once). Raises StoreError."""
        create_file(path, Authentication(journal_key))

    def begin(self) -> SqliteUnit:
        """Start a unit of work. Raises StoreError while another one is open."""
        if self._open_unit is not None:
            raise StoreError("a unit of work is open already: commit it or roll it back first")
        self._open_unit = SqliteUnit(self)
        return self._open_unit

    def journal_length(self) -> int:
        """How many events stand after the last snapshot."""
        return self._head.seq - self._snapshot_seq

    def close(self) -> None:
        """Close all connections; the last one to close folds the write-ahead log into the file."""
        self.check.stop()
        self._readers.close()
        self._connection.close()

    # Starting

    def load(self) -> Loaded:
        """Read and check all that is kept but the reports. Raises JournalDamaged, StoreNewerError or StoreError."""
        with translated(f"read {self._path}"):
            self._connection.execute("BEGIN")
            try:
                self._head = read_head(self._connection, self._authentication)
                seq, chain, snapshot = self._read_snapshot()
                self._snapshot_seq = seq
                events = tuple(self._read_events(seq, chain))
                config, documents = self._read_configurations()
            finally:
                self._connection.execute("COMMIT")
        return Loaded(snapshot, events, config, documents)

    def _read_snapshot_seq(self) -> int:
        row = self._one("SELECT seq FROM snapshot WHERE id = 1")
        return 0 if row is None else int(row[0])

    def _read_snapshot(self) -> tuple[int, bytes, bytes | None]:
        row = self._one("SELECT seq, chain, body, mac FROM snapshot WHERE id = 1")
        if row is None:
            return 0, codes.START, None
        seq, chain, body, mac = row
        if mac != self._authentication.code("snapshot", seq, chain, body):
            raise JournalDamaged("snapshot", 1, "it was changed")
        return seq, chain, body

    def _read_events(self, seq: int, chain: bytes) -> Iterator[Event]:
        rows = self._connection.execute(
            "SELECT seq, at, type, body, mac FROM journal WHERE seq > ? ORDER BY seq", (seq,)
        )
        for number, at, kind, body, mac in rows:
            seq += 1
            if number != seq:
                raise JournalDamaged("journal", seq, "the row is missing")
            chain = self._authentication.code("journal", chain, number, at, kind, body)
            if mac != chain:
                raise JournalDamaged("journal", number, "it, or the row before it, was changed")
            try:
                yield kernel.decode(body)
            except ValueError as error:
                # Authentic, so it was an agent that wrote it: one that knows more.
                raise StoreNewerError(f"journal row {number}: {error}; run the newer agent that wrote it") from error
        if (seq, chain) != (self._head.seq, self._head.chain):
            raise JournalDamaged("journal", seq + 1, f"rows up to {self._head.seq} are missing or were changed")

    def _read_configurations(self) -> tuple[bytes | None, dict[str, bytes]]:
        """The running configuration and the other documents by name. Raises JournalDamaged."""
        body, mac = self._one("SELECT body, mac FROM config WHERE id = 1") or (None, None)
        rows: list[Any] = self._connection.execute("SELECT name, body, mac FROM documents ORDER BY name").fetchall()
        kept = _Codes(mac, tuple((name, code) for name, _, code in rows))
        if self._configurations_code(kept) != self._head.config:
            table, key = ("documents", "") if rows else ("config", 1)
            raise JournalDamaged(table, key, "it is not the configuration that was committed last")
        if body is not None and mac != self._authentication.code("config", body):
            raise JournalDamaged("config", 1, "it was changed")
        for name, document, code in rows:
            if code != self._authentication.code("document", name, document):
                raise JournalDamaged("documents", name, "it was changed")
        self._codes = kept
        return body, {name: document for name, document, _ in rows}

    def _configurations_code(self, kept: _Codes) -> bytes | None:
        """What the head says of all configuration documents; of running alone, its own code."""
        if not kept.others:
            return kept.running
        return self._authentication.code("documents", kept.running, *(part for pair in kept.others for part in pair))

    # Writing; called by SqliteUnit.commit only

    def _perform(self, work: Sequence[_Work]) -> None:
        """All of `work` in one durable transaction, or nothing. Raises StoreError."""
        connection, progress = self._connection, self._progress
        with progress.noticing(), progress.writing, translated("save"):
            self._behind = progress.behind
            connection.execute("BEGIN IMMEDIATE")
            try:
                if read_head(self._connection, self._authentication) != self._head:
                    raise StoreError("the database was changed by another program: end it, then restart the agent")
                head, snapshot_seq, kept = self._head, self._snapshot_seq, self._codes
                for piece in work:
                    match piece:
                        case _Append():
                            head = self._append(head, piece)
                        case _State():
                            self._put_snapshot(head, piece.snapshot)
                            snapshot_seq = head.seq
                        case _Config():
                            kept = kept._replace(running=self._put_config(piece.document))
                        case _Document():
                            kept = self._put_document(kept, piece)
                        case _Events():
                            self._log.put(piece.entries, piece.limits)
                if kept is not self._codes:
                    head = head._replace(config=self._configurations_code(kept))
                connection.execute(
                    "UPDATE head SET seq = ?, chain = ?, report_count = ?, report_sum = ?, config = ?, mac = ?",
                    (*head, self._authentication.code("head", *head)),
                )
                connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back on its own; a second time is an error that would hide the first.
                if connection.in_transaction:
                    with contextlib.suppress(apsw.Error):
                        connection.execute("ROLLBACK")
                with contextlib.suppress(apsw.Error):
                    self._log.undo()
                raise
            progress.behind = self._behind
        self._head, self._snapshot_seq, self._codes = head, snapshot_seq, kept

    def _append(self, head: Head, piece: _Append) -> Head:
        seq, chain = head.seq, head.chain
        for record in piece.records:
            seq += 1
            chain = self._authentication.code("journal", chain, seq, *record)
            self._connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", (seq, *record, chain))
        head = head._replace(seq=seq, chain=chain)
        for change in piece.changes:
            match change:
                case Insert(report):
                    head = self._insert(head, report)
                case SetState(report_ids, state):
                    head = self._set_state(head, report_ids, state)
                case Delete(report_ids):
                    head = self._delete(head, report_ids)
        return head

    def _insert(self, head: Head, report: StoredReport) -> Head:
        state, seal, encoded = STATE_CODES[report.state], codes.report_seal(report), report.encoded
        mac = self._authentication.report_code(report.report_id, state, seal)
        try:
            self._connection.execute(
                "INSERT INTO reports VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    report.report_id, report.key, state, seal, mac, report.entitlement_tag, report.license_name,
                    report.start, report.end, report.closed_at, report.close_reason, report.digest,
                    encoded.summary_xml, encoded.summary_json,
                ),
            )  # fmt: skip
            self._connection.execute(
                "INSERT INTO report_bodies VALUES (?, ?, ?, ?)",
                (report.report_id, report.document, encoded.detail_xml, encoded.detail_json),
            )
        except apsw.ConstraintError as error:
            raise StoreError(f"report {report.report_id} ({report.key}) is stored already") from error
        return self._moved(head, {report.report_id: (None, mac)})

    def _set_state(self, head: Head, report_ids: Sequence[int], state: ReportState) -> Head:
        code = STATE_CODES[state]
        for some in parts(report_ids):
            moves = {
                report_id: (mac, self._authentication.report_code(report_id, code, seal))
                for report_id, seal, mac in self._checked_rows(some)
            }
            self._connection.executemany(
                "UPDATE reports SET state = ?, mac = ? WHERE report_id = ?",
                [(code, mac, report_id) for report_id, (_, mac) in moves.items()],
            )
            head = self._moved(head, moves)
        return head

    def _delete(self, head: Head, report_ids: Sequence[int]) -> Head:
        for some in parts(report_ids):
            head = self._moved(head, {report_id: (mac, None) for report_id, _, mac in self._checked_rows(some)})
            for statement in DELETE:
                self._connection.execute(statement.format(marks(some)), some)
        return head

    def _moved(self, head: Head, moves: Mapping[int, Move]) -> Head:
        """The head with the codes of rows, by id, moved; the check hears of those where it has been already."""
        covered = self._progress.covered
        self._behind = self._behind.moved(*(move for report_id, move in moves.items() if report_id <= covered))
        reports = head.reports.moved(*moves.values())
        return head._replace(report_count=reports.rows, report_sum=reports.total)

    def _checked_rows(self, report_ids: tuple[int, ...]) -> Iterator[tuple[int, bytes, bytes]]:
        """Id, seal and code of those that are stored. Raises JournalDamaged: nothing is built on an edited row."""
        rows: list[Any] = self._connection.execute(CODES.format(marks(report_ids)), report_ids).fetchall()
        for report_id, state, seal, mac in rows:
            if mac != self._authentication.report_code(report_id, state, seal):
                raise JournalDamaged("reports", report_id, "its state was changed")
            yield report_id, seal, mac

    def _put_snapshot(self, head: Head, snapshot: bytes) -> None:
        mac = self._authentication.code("snapshot", head.seq, head.chain, snapshot)
        self._connection.execute(
            "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?, ?)", (head.seq, head.chain, snapshot, mac)
        )
        self._connection.execute("DELETE FROM journal WHERE seq <= ?", (head.seq,))

    def _put_config(self, document: bytes) -> bytes:
        mac = self._authentication.code("config", document)
        self._connection.execute("INSERT OR REPLACE INTO config VALUES (1, ?, ?)", (document, mac))
        return mac

    def _put_document(self, kept: _Codes, piece: _Document) -> _Codes:
        others = {name: code for name, code in kept.others if name != piece.name}
        if piece.document is None:
            self._connection.execute("DELETE FROM documents WHERE name = ?", (piece.name,))
        else:
            mac = others[piece.name] = self._authentication.code("document", piece.name, piece.document)
            row = (piece.name, piece.document, mac)
            self._connection.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", row)
        return kept._replace(others=tuple(sorted(others.items())))

    def _one(self, query: str, bindings: tuple[int, ...] = ()) -> tuple[Any, ...] | None:
        return self._connection.execute(query, bindings).fetchone()

    def _ended(self, unit: SqliteUnit) -> None:
        if self._open_unit is unit:
            self._open_unit = None


class SqliteUnit:
    """agent.licensing.ports.UnitOfWork: gathers in memory and writes at `commit`, so the file is locked only then."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._work: list[_Work] = []
        self._done = False

    def append(self, events: Sequence[Event], rows: Mapping[int, EncodedRow]) -> None:
        """Add events and what they do to report rows. Raises ValueError for a closed report without encoded row."""
        self._check_open()
        records = tuple(_Record(event.at, kernel.kind(event), kernel.encode(event)) for event in events)
        self._work.append(_Append(records, changes(events, rows)))

    def put_state(self, snapshot: bytes) -> None:
        """Keep a snapshot as of the events appended so far, and drop those from the journal."""
        self._check_open()
        self._work.append(_State(snapshot))

    def put_config(self, document: bytes) -> None:
        """Keep the running configuration."""
        self._check_open()
        self._work.append(_Config(document))

    def put_document(self, name: str, document: bytes | None) -> None:
        """Keep another configuration document, or drop it."""
        self._check_open()
        self._work.append(_Document(name, document))

    def put_events(self, entries: Sequence[LogEntry], limits: LogLimits) -> None:
        """Keep events in the log, and drop the oldest."""
        self._check_open()
        self._work.append(_Events(tuple(entries), limits))

    def commit(self) -> None:
        """Make it durable. Raises StoreError (StoreFullError when there is no space); then nothing has happened."""
        self._check_open()
        self.rollback()
        if self._work:
            self._store._perform(self._work)

    def rollback(self) -> None:
        """Forget it, and let the next unit begin; harmless after `commit`."""
        self._done = True
        self._store._ended(self)

    def _check_open(self) -> None:
        if self._done:
            raise StoreError("this unit of work has ended: begin another one")
