"""A clock that is set back a year or ahead ten: nothing lost, nothing negative, told where it can be told."""

from __future__ import annotations

import pytest

from agent.formats.documents import PolicyClass, PolicyTerms
from agent.licensing import notices
from agent.licensing.deadlines import next_ack_deadline, next_deadline, next_push
from agent.licensing.settings import Settings
from tests.licensing.kit import DAY, T0, Authority, Device, running

ADVANTAGE, SESSIONS = "network-advantage", "voice-session"
YEAR = 365 * DAY


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def device(authority: Authority) -> Device:
    """In use since ten days, reported, acknowledged, under a trust code."""
    made = running().trusting(authority)
    made.use(ADVANTAGE, 2)
    made.run_until(made.now + 10 * DAY)
    made.close()
    terms = PolicyTerms("P", perpetual=PolicyClass(30, 60, 60))
    made.install(authority.file(authority.trust_code(made), authority.policy(made, terms)))
    made.install(authority.ack(made))
    return made


def used(device: Device) -> int:
    """Licence-seconds in all reports."""
    return sum((row.end - row.start) * row.count for signed in device.documents for row in signed.report.measurements)


def spans(device: Device) -> list[tuple[int, int]]:
    return [(row.start, row.end) for signed in device.documents for row in signed.report.measurements]


def test_back_a_year(device: Device) -> None:
    """What was measured ends on the old clock and goes on on the new one; an operator is told; all dates move on."""
    device.tick(after=5000)
    before, closed = device.state, len(device.documents)
    jumped = device.tick(after=-YEAR)
    assert notices.ClockWasChanged(-YEAR) in jumped.notices
    assert [signed.report.close_reason for signed in device.documents[closed:]] == ["clock-changed"]
    device.close(after=100)
    assert spans(device)[-2:] == [(before.at - 5000, before.at), (before.at - YEAR, before.at - YEAR + 100)]
    assert device.documents[-1].report.measurements[0].clock_change_delta == -YEAR
    assert used(device) == 2 * (10 * DAY + 5000 + 100)
    assert all(start <= end for start, end in spans(device))
    deadline, push = (
        next_ack_deadline(device.state, device.profile),
        next_push(device.state, device.profile, device.now),
    )
    assert (deadline, push is not None and device.now < push <= device.now + 31 * DAY) == (
        next_ack_deadline(before, device.profile),
        True,
    )
    wake = next_deadline(device.state)
    assert wake is not None
    assert device.now < wake <= device.now + 900


def test_back_a_year_what_the_authority_sends_is_refused_until_the_clock_is_right(
    device: Device, authority: Authority
) -> None:
    """Issued in the future: refused, told, nothing changed; reports stay; with the clock set right it is taken."""
    device.close(after=100)
    right = device.now
    device.tick(after=-YEAR)
    ack = authority.ack(device, now=right)
    before = device.state
    refused = device.install(ack)
    assert refused.reply.reason == "issued-in-future"
    assert "clock" in refused.reply.message
    assert [type(each) for each in refused.notices] == [notices.ContentWasRefused]
    assert device.state == before
    device.now = right
    device.tick(after=10)
    waiting = len(device.store.reports.rows)
    assert device.install(ack).reply.code == "success"
    assert len(device.store.reports.rows) < waiting


def test_ahead_ten_years(device: Device) -> None:
    """It cannot be told from time that passed: it counts, in one report, and what ended by it is told."""
    device.apply(Settings(interval_days=30))
    jumped = device.tick(after=10 * YEAR)
    assert {type(each) for each in jumped.notices} >= {
        notices.TrustCodeEnds,
        notices.ReportWasClosed,
    }
    assert used(device) == 2 * (10 * DAY + 10 * YEAR)
    closed = device.documents[-1].report
    assert (len(closed.measurements), closed.close_reason) == (1, "daily")
    assert closed.measurements[0].end == device.now
    assert device.documents[-1].signing_type == "builtin", "the trust code has ended on this clock"
    wake = next_deadline(device.state)
    assert wake is not None
    assert wake > device.now


def test_ahead_ten_years_and_back(device: Device) -> None:
    """The mistake is stated, nothing overlaps on either clock, and the trust code counts again."""
    device.tick(after=10 * YEAR)
    back = device.tick(after=-10 * YEAR)
    assert notices.ClockWasChanged(-10 * YEAR) in back.notices
    device.close(after=60)
    assert device.documents[-1].signing_type == "trust-code"
    assert device.documents[-1].report.measurements[0].clock_change_delta == -10 * YEAR
    ids = [signed.report.report_id for signed in device.documents]
    assert ids == sorted(set(ids))
    assert device.replayed() == device.state


def test_before_the_epoch_and_at_its_end() -> None:
    """A clock without a battery says 1970, or less; the largest that a date can show is taken as well."""
    device = Device(now=-5)
    device.start()
    device.use(ADVANTAGE, 1)
    device.close(after=100)
    assert all(start >= 0 for start, _ in spans(device))
    device.now = T0
    device.tick()
    device.now = 253_402_300_000
    device.tick()
    device.close(after=100)
    assert all(start <= end for start, end in spans(device))
    device.now = T0
    device.tick()
    device.close(after=100)
    assert spans(device)[-1] == (T0, T0 + 100)
