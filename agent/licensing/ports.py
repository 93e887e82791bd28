"""What the kernel and the seam ask of a store: protocols and plain values only, no SQL, no files, no YANG.

A unit of work is one durable transaction: the events of a decision, the encoded forms of the reports that it closed,
and, when a configuration commit caused it, the new running configuration (design: Durable before visible).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from agent.licensing.events import Event

ReportState = Literal["closed", "pending", "unacknowledged", "acknowledged"]
"""The states that a stored report can be in; an open report is never stored, a purged one is gone.

`pending` (sent, not yet answered) is the push side's; no event of this release leads to it.
"""

Part = Literal["summary", "detail"]
"""Which encoded form of a report is wanted: its entry in the key list, or the one with the signed document."""


Form = Literal["xml", "json"]
"""Which encoding of it."""

SEPARATORS: Mapping[Form, bytes] = MappingProxyType({"xml": b"", "json": b","})
"""What stands between two entries of a list."""

Endings = Mapping[ReportState, bytes]
"""What completes an encoded beginning, by the report's state."""


class StorageError(Exception):
    """A store could not keep or read something, and nothing of it has happened; the message says what to do next."""


class StorageFullError(StorageError):
    """There is no space left for it."""


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """The four encoded forms of one report, opaque to kernel and store.

    Each is the beginning of a list entry up to, but without, the report-state leaf, which is the entry's last; the
    seam that made them adds the state and the end on reading. So they never change while the state does.
    """

    summary_xml: bytes
    summary_json: bytes
    detail_xml: bytes
    detail_json: bytes


@dataclass(frozen=True, slots=True)
class StoredReport:
    """One closed report with all that is kept of it. Times are epoch seconds, `digest` is sha-256 in hex."""

    report_id: int
    key: str
    entitlement_tag: str
    license_name: str
    start: int
    end: int
    closed_at: int
    close_reason: str
    state: ReportState
    digest: str
    document: bytes
    encoded: EncodedRow


class ReportRow(NamedTuple):
    """What a list read needs of one report: identity, state and one pair of encoded prefixes."""

    report_id: int
    key: str
    state: ReportState
    xml: bytes
    json: bytes


class ReportHead(NamedTuple):
    """What an acknowledgement needs of one report; `end` in epoch seconds."""

    report_id: int
    state: ReportState
    entitlement_tag: str
    end: int
    digest: str


def head_of(report: StoredReport) -> ReportHead:
    """The head of a report that was read whole."""
    return ReportHead(report.report_id, report.state, report.entitlement_tag, report.end, report.digest)


def joined_rows(rows: Sequence[ReportRow], form: Form, endings: Endings) -> tuple[int, bytes] | None:
    """What `ReportReads.joined` returns for these rows."""
    if not rows:
        return None
    pieces = [(row.xml if form == "xml" else row.json) + endings[row.state] for row in rows]
    return rows[-1].report_id, SEPARATORS[form].join(pieces)


class ReportReads(Protocol):
    """Closed reports, read on any thread; never blocks the writer, holds no database snapshot between calls."""

    def find(self, key: str) -> StoredReport | None:
        """The report with this rum-report-key (`PID:…,SN:…,REPORT:<id>`); cost independent of how many wait."""
        ...

    def by_id(self, report_id: int) -> StoredReport | None:
        """The report with this id; cost independent of how many wait."""
        ...

    def heads(self, report_ids: Sequence[int]) -> Mapping[int, ReportHead]:
        """Of the reports with these ids those that are stored, by id; no document is read for them."""
        ...

    def find_row(self, key: str, part: Part) -> ReportRow | None:
        """Like `find`, with one encoded form only."""
        ...

    def pages(self, after_id: int, upto_id: int, limit: int, part: Part) -> Sequence[ReportRow]:
        """At most `limit` rows with after_id < report_id <= upto_id, in ascending order of id."""
        ...

    def joined(self, after_id: int, upto_id: int, limit: int, form: Form, endings: Endings) -> tuple[int, bytes] | None:
        """The summaries of `pages` in one encoding, each with its ending, joined; and the last id. None: no row."""
        ...

    def max_id(self) -> int:
        """The highest stored report id, 0 when there is none."""
        ...


LogEntry = tuple[int, float, str, str, bytes, bytes]
"""One event of the log: number, epoch seconds, module, name, its tree as JSON, its content as XML; opaque here."""

LogBounds = tuple[float, float | None, int]
"""When the log was begun, the time of the last event that was dropped from it, the number of the latest in it."""


class LogLimits(Protocol):
    """How much of the log is kept; where one of them is exceeded the oldest go."""

    @property
    def entries(self) -> int: ...

    @property
    def octets(self) -> int: ...

    @property
    def age(self) -> float:
        """Seconds."""
        ...


class EventReads(Protocol):
    """The log of events, read on any thread; never blocks the writer."""

    def after(self, number: int, limit: int) -> Sequence[LogEntry]:
        """At most `limit` events with a higher number, in order."""
        ...

    def since(self, time: float) -> int | None:
        """The lowest number of an event that happened at `time` or later."""
        ...

    def bounds(self) -> LogBounds | None:
        """None where nothing was ever kept."""
        ...


class UnitOfWork(Protocol):
    """One transaction. Nothing put in is visible or durable before `commit`, and never after `rollback`."""

    def append(self, events: Sequence[Event], rows: Mapping[int, EncodedRow]) -> None:
        """Add events to the journal, in order, and apply those that touch report rows.

        ReportClosed inserts a row in state `closed` with `rows[report_id]`; ReportsDelivered sets `unacknowledged`;
        ReportsAcknowledged sets `acknowledged`; ReportsPurged deletes. Ids that are not stored are passed over.
        """
        ...

    def put_state(self, snapshot: bytes) -> None:
        """Keep a snapshot of the kernel's state as of the events appended so far; older events may be dropped."""
        ...

    def put_config(self, document: bytes) -> None:
        """Keep the whole running configuration as opaque bytes."""
        ...

    def put_document(self, name: str, document: bytes | None) -> None:
        """Keep another configuration document under this name, as opaque bytes; None drops it."""
        ...

    def put_events(self, entries: Sequence[LogEntry], limits: LogLimits) -> None:
        """Keep events in the log, in order of their numbers; drop the oldest as the limits say, never the latest."""
        ...

    def commit(self) -> None:
        """Make it all durable (synchronous). Raises when that failed; then nothing of it has happened."""
        ...

    def rollback(self) -> None:
        """Forget all of it."""
        ...


class Loaded(NamedTuple):
    """What a start begins with: the last snapshot, the events after it in order, the running configuration, and the
    other configuration documents by name."""

    snapshot: bytes | None
    events: Sequence[Event]
    config: bytes | None
    documents: Mapping[str, bytes] = MappingProxyType({})


class Store(Protocol):
    """The durable home of one agent. Writes come from one thread, reads from any."""

    @property
    def reports(self) -> ReportReads:
        """The closed reports."""
        ...

    @property
    def events(self) -> EventReads:
        """The log of events."""
        ...

    def begin(self) -> UnitOfWork:
        """Start a unit of work; one at a time."""
        ...

    def load(self) -> Loaded:
        """Read and authenticate what is kept. Raises when the journal was altered or is from a newer version.

        Reports may be authenticated later, but always before they are handed out.
        """
        ...

    def journal_length(self) -> int:
        """How many events stand after the last snapshot (the seam decides when to make the next one)."""
        ...

    def close(self) -> None:
        """Release files and locks."""
        ...
