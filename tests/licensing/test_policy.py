"""Policies from several origins, what they do to dates, and how operators are told of acknowledgements that are due."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from agent.formats.documents import PolicyClass, PolicyOrigin, PolicyTerms
from agent.licensing import notices
from agent.licensing.deadlines import next_ack_deadline, next_push
from agent.licensing.engine import Decision
from agent.licensing.policy import CLASSES, DEFAULT, PRECEDENCE, in_force
from agent.licensing.reminders import milestone
from agent.licensing.settings import Settings
from agent.licensing.state import InstalledPolicy
from tests.licensing.kit import DAY, T0, Authority, Device, running

ADVANTAGE, VOICE = "network-advantage", "voice-session"
NUMBERS = st.none() | st.integers(0, 400)
TERMS = st.builds(
    PolicyTerms, st.just("P"), *[st.builds(PolicyClass, NUMBERS, NUMBERS, NUMBERS)] * 4, st.none() | st.booleans()
)


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def device(authority: Authority) -> Device:
    return running().trusting(authority)


def policy(
    device: Device, authority: Authority, terms: PolicyTerms | None, origin: PolicyOrigin = "custom"
) -> Decision:
    return device.install(authority.file(authority.policy(device, terms, origin)))


def push(device: Device) -> int | None:
    return next_push(device.state, device.profile, device.now)


def ack_deadline(device: Device) -> int | None:
    return next_ack_deadline(device.state, device.profile)


@given(st.dictionaries(st.sampled_from(PRECEDENCE), TERMS))
def test_every_value_is_that_of_the_first_policy_that_says_something(policies: dict[PolicyOrigin, PolicyTerms]) -> None:
    merged = in_force({origin: InstalledPolicy(terms, T0) for origin, terms in policies.items()})
    for name in CLASSES:
        for index, field in enumerate(("first", "ongoing", "change")):
            said = [(getattr(policies[o].of(name), field), o) for o in PRECEDENCE if o in policies]
            expected = next((each for each in said if each[0] is not None), (DEFAULT[name][index], "default"))
            assert (merged.days[name][index], merged.sources[name][index]) == expected
    asked = [(policies[o].ack_required, o) for o in PRECEDENCE if o in policies]
    assert (merged.ack_required, merged.ack_source) == next((a for a in asked if a[0] is not None), (True, "default"))
    first = next((o for o in PRECEDENCE if o in policies), None)
    assert merged.name == (None if first is None else "P")
    used = {source for three in merged.sources.values() for source in three} | ({merged.ack_source} - {"default"})
    assert (merged.kind == "merged") == (len(used) > 1)


def test_precedence_install_replace_and_remove(device: Device, authority: Authority) -> None:
    days = PolicyClass(10, 20, 30)
    policy(device, authority, PolicyTerms("Factory", perpetual=days, ack_required=False), "factory")
    policy(device, authority, PolicyTerms("Custom", perpetual=PolicyClass(first=11)))
    merged = in_force(device.state.policies)
    assert (merged.kind, merged.name, merged.days["perpetual"]) == ("merged", "Custom", (11, 20, 30))
    assert merged.sources["perpetual"] == ("custom", "factory", "factory")
    assert (merged.ack_required, merged.ack_source) == (False, "factory")
    policy(device, authority, PolicyTerms("Controller", perpetual=PolicyClass(ongoing=1)), "controller")
    assert in_force(device.state.policies).days["perpetual"] == (11, 1, 30)
    policy(device, authority, PolicyTerms("Custom 2"))
    assert in_force(device.state.policies).days["perpetual"] == (10, 1, 30)
    removed = policy(device, authority, None, "controller")
    assert removed.notices == (notices.PolicyWasRemoved("Controller", "controller"),)
    again = policy(device, authority, None, "controller")
    assert (again.reply.code, again.notices) == ("success", ())
    policy(device, authority, None)
    policy(device, authority, None, "factory")
    assert in_force(device.state.policies).kind == "cisco-default"
    assert device.replayed() == device.state


def test_a_failed_install_leaves_the_policy_and_is_told(device: Device, authority: Authority) -> None:
    policy(device, authority, PolicyTerms("Good"))
    other = Device(device.profile.with_serial("OTHER"), now=device.now)
    decision = device.install(authority.file(authority.policy(other, PolicyTerms("Bad"))))
    (notice,) = decision.notices
    assert isinstance(notice, notices.ContentWasRefused)
    assert notice.kind == "policy"
    assert in_force(device.state.policies).name == "Good"


def test_what_moves_the_next_push(device: Device, authority: Authority) -> None:
    """Start, licence change and policy: two minutes later; then every interval; a count is no change."""
    device.use(ADVANTAGE, 1)
    assert push(device) == T0 + 120
    device.tick(after=10 * DAY)
    assert push(device) == T0 + 120 + 30 * DAY
    device.use(ADVANTAGE, 5)
    assert push(device) == T0 + 120 + 30 * DAY, "another count is no change"
    device.use(VOICE, 1)
    assert push(device) == device.now + 120
    planned = push(device)
    device.use(VOICE, 0, after=60)
    assert push(device) == planned, "a change does not put off what is planned"
    device.tick(after=5 * DAY)
    policy(device, authority, PolicyTerms("P", perpetual=PolicyClass(7, 7, 7)))
    assert push(device) == device.now + 120
    device.tick(after=DAY)
    assert push(device) == device.now - DAY + 120 + 7 * DAY
    policy(device, authority, None)
    assert push(device) == device.now + 120
    device.tick(after=DAY)
    device.stop()
    device.start(after=60)
    assert push(device) == device.now + 120


def test_the_next_push_is_a_date_while_the_transport_is_off(device: Device) -> None:
    device.apply(Settings(transport_type="off", interval_days=5))
    device.use(ADVANTAGE, 1)
    device.tick(after=DAY)
    assert push(device) == T0 + 120 + 5 * DAY


def test_a_clock_set_back_takes_the_next_push_along(device: Device) -> None:
    device.use(ADVANTAGE, 1)
    device.tick(after=300 * DAY)
    device.tick(after=-200 * DAY)
    assert device.now < (push(device) or 0) <= device.now + 30 * DAY


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (31 * DAY, None),
        (30 * DAY + 1, None),
        (30 * DAY, 30),
        (14 * DAY + 1, 30),
        (14 * DAY, 14),
        (7 * DAY, 7),
        (3 * DAY, 3),
        (DAY + 1, 2),
        (DAY, 1),
        (1, 1),
        (0, 0),
        (-7 * DAY + 1, 0),
        (-7 * DAY, -7),
        (-100 * DAY, -98),
    ],
)
def test_milestones(left: int, expected: int | None) -> None:
    assert milestone(left) == expected


def test_overdue_to_resolved(device: Device, authority: Authority) -> None:
    """Every step is told once, over restarts too, and the ACK ends it."""
    device.use(ADVANTAGE, 1)
    told: list[Any] = []
    for day in range(110):
        if day == 95:
            device.stop()
            told += device.start(after=900).notices
        told += device.tick(after=DAY).notices
    reminders = [each for each in told if isinstance(each, notices.AckIsRequired | notices.AckIsOverdue)]
    assert [(type(each).__name__, each.days) for each in reminders] == [
        *[("AckIsRequired", days) for days in (30, 14, 7, 3, 2, 1)],
        *[("AckIsOverdue", days) for days in (0, 7, 14)],
    ]
    assert {each.deadline for each in reminders} == {T0 + 90 * DAY}
    device.close()
    resolved = device.install(authority.ack(device))
    (notice,) = resolved.notices
    assert isinstance(notice, notices.ReportsWereAcknowledged)
    assert notice.next_deadline is None
    assert ack_deadline(device) is None
    assert {type(each) for each in device.tick(after=DAY).notices} == {notices.ReportWasClosed}


def test_a_policy_that_makes_a_report_due_at_once(device: Device, authority: Authority) -> None:
    device.use(ADVANTAGE, 1)
    device.close(after=DAY)
    device.install(authority.ack(device))
    device.tick(after=40 * DAY)
    assert ack_deadline(device) is None
    decision = policy(device, authority, PolicyTerms("Strict", perpetual=PolicyClass(1, 1, 1)))
    assert decision.reply.code == "success"
    assert push(device) == device.now + 120
    assert ack_deadline(device) == device.now + DAY
    assert notices.AckIsRequired(1, device.now + DAY) in decision.notices


def test_no_deadline_without_required_acknowledgements(device: Device, authority: Authority) -> None:
    device.use(ADVANTAGE, 1)
    policy(device, authority, PolicyTerms("Lax", ack_required=False))
    assert ack_deadline(device) is None
    assert not any(isinstance(each, notices.AckIsOverdue) for each in device.tick(after=400 * DAY).notices)
