"""Reports from every side: payload versions, peripherals, saving, synchronising, acknowledged, refused, unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.formats.documents import Ack, Acknowledged, Refused
from agent.formats.udi import Udi
from agent.licensing import notices
from agent.licensing.commands import CloseReports, NoteSaved, Sync
from agent.licensing.events import DocumentAccepted, ReportClosed
from agent.licensing.reports import figures
from agent.licensing.settings import Settings
from tests.licensing.kit import DAY, T0, Authority, Device, profile, running

VOICE = "voice-session"
AP = tuple(Udi("AP-1", f"SN{number}") for number in range(600))


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def device(authority: Authority) -> Device:
    return running().trusting(authority)


def rows(device: Device) -> list[tuple[int, int, int, tuple[str, ...], tuple[str, ...]]]:
    """The last report's rows: start and end after T0, count, serials that came and went."""
    return [
        (row.start - T0, row.end - T0, row.count, tuple(u.sn for u in row.added), tuple(u.sn for u in row.removed))
        for row in device.documents[-1].report.measurements
    ]


@pytest.mark.parametrize(("release", "version"), [("17.6.4", "1.0"), ("17.9.1", "2.0"), ("7.0", "2.0")])
def test_the_release_decides_the_payload_version(release: str, version: str) -> None:
    device = running(profile=replace(profile(), software_version=release))
    device.use(VOICE, 1)
    closed = device.close(after=60)
    assert device.documents[-1].report.version == version
    assert [event.version for event in closed.events if isinstance(event, ReportClosed)] == [version]


def test_peripherals_begin_a_row_with_or_without_another_count(device: Device) -> None:
    device.use(VOICE, 2, added=AP[:2])
    device.use(VOICE, 3, after=100, added=(AP[2],))
    device.use(VOICE, 3, after=100, removed=(AP[0],), added=(AP[3],))
    device.use(VOICE, 3, after=100)
    device.close(after=100)
    assert rows(device) == [
        (0, 100, 2, ("SN0", "SN1"), ()),
        (100, 200, 3, ("SN2",), ()),
        (200, 400, 3, ("SN3",), ("SN0",)),
    ]
    device.close(after=100)
    assert rows(device) == [(400, 500, 3, (), ())], "they are told once"


def test_peripherals_at_the_end_of_a_report_stand_in_its_last_row(device: Device) -> None:
    device.use(VOICE, 2)
    device.use(VOICE, 0, after=100, removed=AP[:2])
    assert rows(device) == [(0, 100, 2, (), ("SN0", "SN1"))]


def test_peripherals_wait_while_nothing_is_measured(device: Device) -> None:
    device.use(VOICE, 0, added=(AP[0],))
    device.use(VOICE, 1, after=50, added=(AP[1],))
    device.use(VOICE, 0)
    device.use(VOICE, 1, after=50, added=(AP[2],))
    device.close(after=50)
    assert rows(device) == [(100, 150, 1, ("SN0", "SN1", "SN2"), ())]


def test_peripherals_outlive_a_restart(device: Device) -> None:
    device.use(VOICE, 0, added=(AP[0],))
    device.stop(after=10)
    assert device.replayed() == device.state
    device.start(after=10)
    device.use(VOICE, 1)
    device.close(after=10)
    assert rows(device) == [(20, 30, 1, ("SN0",), ())]


def test_too_many_peripherals_are_refused(device: Device) -> None:
    refused = device.use(VOICE, 1, added=AP[:501])
    assert (refused.reply.code, refused.reply.reason, refused.events) == (
        "listinsertfailed",
        "too-many-peripherals",
        (),
    )
    long = tuple(Udi("P" * 250, f"{number}" + '"' * 240) for number in range(300))
    assert device.use(VOICE, 1, added=long).reply.reason == "too-many-peripherals"


def test_a_report_without_room_for_peripherals_is_closed_for_them(device: Device) -> None:
    """However they are named, the document stays within what its reader takes."""
    long = tuple(Udi('"' * 100, f"{number}" + '"' * 97) for number in range(500))
    device.use(VOICE, 1, added=long)
    assert device.use(VOICE, 1, added=long[:250]).reply.reason == "too-many-peripherals", "nothing was measured yet"
    device.use(VOICE, 2, after=10, added=long)
    assert device.documents[-1].report.close_reason == "full"
    device.use(VOICE, 3, after=10, added=AP[:1])
    device.close(after=10)
    assert all(len(each.document) < 1 << 20 for each in device.documents)
    assert len([udi for each in device.documents for row in each.report.measurements for udi in row.added]) == 1001


@pytest.mark.parametrize("count", [0, 1])
def test_many_short_peripherals_never_stop_the_device(device: Device, count: int) -> None:
    """While the licence is not in use, or within one second of its use: refused in time, reported, started anew."""
    answers = {
        device.use(VOICE, count, added=tuple(Udi("A", f"{call}.{number}") for number in range(500))).reply.reason
        for call in range(15)
    }
    assert answers == {None, "too-many-peripherals"}
    device.use(VOICE, 1)
    device.close(after=10)
    device.start(after=10)
    device.use(VOICE, 0, after=10)
    assert len(device.documents) == 2


def test_in_controller_mode_peripherals_are_not_collected(device: Device) -> None:
    device.apply(Settings(mode="controller"))
    for call in range(20):
        many = tuple(Udi("A", f"{call}.{number}") for number in range(500))
        assert device.use(VOICE, 1, added=many).reply.code == "success"
    assert not device.state.licences[device.profile.find(VOICE).entitlement_tag].peripherals  # type: ignore[union-attr]


def test_saving_is_noted_and_delivers_for_a_collector(device: Device) -> None:
    device.use(VOICE, 1)
    device.close(after=60)
    device.do(NoteSaved((T0,), delivered=False), after=5)
    assert device.state.last_saved_at == device.now
    assert figures(device.state).waiting == 0
    device.do(NoteSaved((T0, 999), delivered=True), after=5)
    assert (device.state.last_saved_at, figures(device.state).waiting) == (device.now, 1)


def test_a_sync_closes_and_ends_as_failed_without_a_transport(device: Device) -> None:
    device.use(VOICE, 1)
    decision = device.do(Sync(), after=60)
    assert decision.reply.report_ids == (T0,)
    failed = [each for each in decision.notices if isinstance(each, notices.SyncFailed)]
    assert [(each.code, each.reason) for each in failed] == [("transportnotavailable", "no-transport")]
    device.online = True
    assert not any(isinstance(each, notices.SyncFailed) for each in device.do(Sync(), after=60).notices)


def test_the_state_machine_from_every_side(device: Device, authority: Authority) -> None:
    """closed, delivered, refused, delivered again, acknowledged; duplicates and unknown ids beside it."""
    device.use(VOICE, 1)
    device.close(after=60)
    row = device.store.reports.rows[T0]

    def answer(*refused: Refused, acknowledged: tuple[Acknowledged, ...] = ()) -> Any:
        return device.install(authority.file(Ack(authority.heading(device), acknowledged, refused)), after=1)

    no = Refused(T0, row.digest, "broken-chain")
    told = answer(no)
    assert told.reply.code == "success"
    assert [type(each) for each in told.events] == [DocumentAccepted], "it was never delivered: nothing is taken back"
    device.deliver(T0)
    assert figures(device.state)[1:6] == (0, 0, 1, 0, 1)
    told = answer(Refused(T0, "0" * 64, "conflict"), Refused(7, "0" * 64, "conflict"))
    assert [type(each) for each in told.events] == [DocumentAccepted]
    refused = answer(no)
    assert refused.notices == (notices.ReportsWereRefused(((T0, "broken-chain"),)),)
    assert "not taken by the authority" in refused.reply.message
    assert device.store.reports.rows[T0].state == "closed"
    assert figures(device.state)[1:6] == (0, 0, 0, 1, 1)
    assert device.state.last_ack_at is None, "a refusal is no acknowledgement"
    device.deliver(T0)
    done = answer(Refused(8, "0" * 64, "conflict"), acknowledged=(Acknowledged(T0, row.digest),))
    assert done.reply.code == "success"
    assert device.store.reports.rows == {}
    again = answer(acknowledged=(Acknowledged(T0, row.digest),))
    assert "1 were acknowledged before" in again.reply.message
    unknown = answer(acknowledged=(Acknowledged(5, row.digest),))
    assert unknown.reply.reason == "unknown-report"
    assert figures(device.state)[1:6] == (1, 1, 0, 0, 1)


def test_a_year_of_reports_waits_without_loss() -> None:
    device = Device(check=False)
    device.start()
    device.use(VOICE, 1)
    for _ in range(365):
        device.tick(after=DAY)
    device.do(CloseReports())
    assert figures(device.state).available == len(device.store.reports.rows) == 365
