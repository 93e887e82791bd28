"""Which events touch report rows, and how: the one rule that every store follows. No storage here.

Source: agent/licensing/ports.py, UnitOfWork.append.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.licensing.events import (
    Event,
    ReportClosed,
    ReportsAcknowledged,
    ReportsDelivered,
    ReportsPurged,
    ReportsRefused,
)
from agent.licensing.ports import EncodedRow, ReportState, StoredReport


@dataclass(frozen=True, slots=True)
class Insert:
    """A report was closed."""

    report: StoredReport


@dataclass(frozen=True, slots=True)
class SetState:
    """These reports, as far as they are stored, are now in `state`."""

    report_ids: tuple[int, ...]
    state: ReportState


@dataclass(frozen=True, slots=True)
class Delete:
    """These reports, as far as they are stored, are gone."""

    report_ids: tuple[int, ...]


Change = Insert | SetState | Delete


def changes(events: Sequence[Event], rows: Mapping[int, EncodedRow]) -> Iterator[Change]:
    """What `events` do to the report rows, in order. Raises ValueError for a closed report without encoded row.

    The rows of one transaction are seen only as it leaves them: what is purged by its end takes no other state before.
    """
    gone = {number for event in events if isinstance(event, ReportsPurged) for number in event.report_ids}

    def stay(report_ids: Sequence[int]) -> tuple[int, ...]:
        return tuple(number for number in report_ids if number not in gone)

    for event in events:
        match event:
            case ReportClosed():
                encoded = rows.get(event.report_id)
                if encoded is None:
                    raise ValueError(f"report {event.report_id} was closed without its encoded row")
                yield Insert(_stored(event, encoded))
            case ReportsDelivered():
                yield SetState(stay(event.report_ids), "unacknowledged")
            case ReportsAcknowledged():
                yield SetState(stay(event.report_ids), "acknowledged")
            case ReportsRefused():
                yield SetState(stay(event.report_ids), "closed")
            case ReportsPurged():
                yield Delete(event.report_ids)
            case _:
                pass


def _stored(event: ReportClosed, encoded: EncodedRow) -> StoredReport:
    return StoredReport(
        report_id=event.report_id,
        key=event.key,
        entitlement_tag=event.entitlement_tag,
        license_name=event.license_name,
        start=event.start,
        end=event.end,
        closed_at=event.at,
        close_reason=event.reason,
        state="closed",
        digest=event.digest,
        document=event.document,
        encoded=encoded,
    )
