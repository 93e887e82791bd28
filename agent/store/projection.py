"""Which events touch report rows, and how: the one rule that every store follows. No storage here.

Source: agent/licensing/ports.py, UnitOfWork.append.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

_STATES: Mapping[type[Event], ReportState] = {
    ReportsDelivered: "unacknowledged",
    ReportsAcknowledged: "acknowledged",
    ReportsRefused: "closed",
}


def changes(events: Sequence[Event], rows: Mapping[int, EncodedRow]) -> list[Change]:
    """What `events` do to the report rows, in order. Raises ValueError for a closed report without encoded row.

    They are of one transaction, which shows rows only as it leaves them: a report that it purges takes no other state
    before.
    """
    found: list[Change] = []
    gone: set[int] = set()
    for event in reversed(events):
        match event:
            case ReportClosed():
                encoded = rows.get(event.report_id)
                if encoded is None:
                    raise ValueError(f"report {event.report_id} was closed without its encoded row")
                found.append(Insert(_stored(event, encoded)))
                gone.discard(event.report_id)
            case ReportsDelivered() | ReportsAcknowledged() | ReportsRefused():
                stay = tuple(number for number in event.report_ids if number not in gone)
                found.append(SetState(stay, _STATES[type(event)]))
            case ReportsPurged():
                found.append(Delete(event.report_ids))
                gone.update(event.report_ids)
            case _:
                pass
    return found[::-1]


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
