"""Events, rows and keys that the store's tests keep and look for; nothing that a test checks is computed here twice."""

from __future__ import annotations

from agent.licensing.events import Event, ReportClosed, Sampled
from agent.licensing.ports import EncodedRow, Endings, Store

JOURNAL_KEY = bytes(range(32))

ENDINGS: Endings = {
    "closed": b"\x00\xff closed",
    "pending": b"\x00\xff pending",
    "unacknowledged": b"",
    "acknowledged": b"\xc3\x00 acknowledged",
}
"""Bytes of all kinds, which text would not be."""


def key_of(report_id: int) -> str:
    return f"PID:AGENT-1,SN:9ABCDE,REPORT:{report_id}"


def closed(report_id: int, size: int = 40) -> ReportClosed:
    """A closed report whose bytes all tell of its id."""
    return ReportClosed(
        at=1_700_000_000 + report_id,
        report_id=report_id,
        key=key_of(report_id),
        entitlement_tag="regid.2026-01.example.ADVANTAGE,1.0_5a3f",
        license_name="network-advantage",
        start=1_699_990_000,
        end=1_700_000_000,
        reason="requested",
        previous_report_id=report_id - 1,
        digest=f"{report_id:064x}",
        document=(b'{"payload":"%d \xc3\xa9"}' % report_id).ljust(size, b" "),
        version="2.0",
    )


def row(report_id: int, size: int = 40) -> EncodedRow:
    """Bytes of all kinds: the store must keep them exactly as they are."""
    return EncodedRow(
        *(bytes((n, 0, 255)) + b"<%d>" % report_id + b"." * size for n in (1, 2, 3, 4)),
    )


def keep(store: Store, *events: Event, size: int = 40) -> None:
    """One unit of work with these events, and the rows that they need."""
    unit = store.begin()
    ids = [event.report_id for event in events if isinstance(event, ReportClosed)]
    unit.append(events, {report_id: row(report_id, size) for report_id in ids})
    unit.commit()


def fill(store: Store, count: int, size: int = 40) -> None:
    """Reports 1..count, in units of a thousand."""
    for first in range(1, count + 1, 1000):
        keep(store, *(closed(n, size) for n in range(first, min(first + 1000, count + 1))), size=size)


def sampled(at: int) -> Sampled:
    return Sampled(at)
