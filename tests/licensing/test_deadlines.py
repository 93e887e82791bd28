"""The next ACK's deadline for every vector of table A (slp-facts section 3), and the push interval and date."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.formats.documents import Ack, PolicyClass, PolicyTerms, Refused
from agent.licensing.deadlines import in_policy_days, next_ack_deadline, next_push, push_interval_days
from agent.licensing.events import ReportOpened, UsageRecorded
from agent.licensing.evolve import evolve
from agent.licensing.policy import CLASSES, DEFAULT, Days, in_force
from agent.licensing.profile import Licence, Profile
from agent.licensing.settings import Settings
from agent.licensing.state import InstalledPolicy
from agent.licensing.usage import NO_PERIPHERALS
from tests.licensing.kit import DAY, T0, Authority, Device, profile, running

SLE = PolicyTerms(
    "SLE Policy",
    perpetual=PolicyClass(30, 60, 60),
    subscription=PolicyClass(120, 111, 111),
    enforced=PolicyClass(30, 90, 60),
    export=PolicyClass(30, 30, 30),
    ack_required=True,
)
CUSTOM = PolicyTerms(
    "Custom Policy",
    perpetual=PolicyClass(365, 0, 90),
    subscription=PolicyClass(90, 90, 90),
    enforced=PolicyClass(365, 90, 90),
    export=PolicyClass(365, 90, 90),
)
P, S = "network-advantage", "dna-advantage"


def test_an_ack_of_no_report_counts_and_one_of_refused_reports_does_not() -> None:
    """docs/licensing.md, What the authority sends."""
    authority = Authority()
    device = running().trusting(authority)
    device.use("network-advantage", 1)
    device.close(after=DAY)
    (row,) = device.store.reports.rows.values()
    device.deliver(row.report_id)
    before = next_ack_deadline(device.state, device.profile)
    refused = Ack(authority.heading(device), (), (Refused(row.report_id, row.digest, "conflict"),))
    assert device.install(authority.file(refused), after=DAY).reply.code == "success"
    assert device.state.last_ack_at is None
    assert next_ack_deadline(device.state, device.profile) == before
    assert device.install(authority.ack(device), after=DAY).reply.code == "success"
    assert device.state.last_ack_at == device.state.report_ack_at == device.now


def acknowledged(terms: PolicyTerms, *licences: str) -> Device:
    """A device with this policy and these licences in use whose reports were acknowledged 10 days ago."""
    authority = Authority()
    device = running().trusting(authority)
    device.install(authority.file(authority.policy(device, terms)))
    for name in licences:
        device.use(name, 1, after=5)
    device.close(after=DAY)
    device.install(authority.ack(device))
    device.now += 10 * DAY
    return device


def answer(device: Device) -> tuple[int | None, int, int]:
    """Deadline in days after the last ACK, days in policy, and days between pushes."""
    deadline = next_ack_deadline(device.state, device.profile)
    last = device.state.last_ack_at
    days = None if deadline is None or last is None else (deadline - last) // DAY
    assert deadline is None or last is None or (deadline - last) % DAY == 0
    return (
        days,
        in_policy_days(device.state, device.profile, in_force(device.state.policies)),
        push_interval_days(device.state, device.profile),
    )


@pytest.mark.parametrize("licences", [(P,), (P, S)])
def test_a_sle_policy_after_an_ack(licences: tuple[str, ...]) -> None:
    """Tech 2, 5, 9, 12, 13_4M, 14, 8_proxy and All 2, 3_4M: push 30 days, in policy 60, deadline 60 days after."""
    assert answer(acknowledged(SLE, *licences)) == (60, 60, 30)


def test_a_custom_policy_after_an_ack() -> None:
    """Tech (plain) and Status 1: perpetual and subscription, in policy 90, deadline 90 days after."""
    assert answer(acknowledged(CUSTOM, P, S)) == (90, 90, 30)


def test_a_custom_policy_with_perpetual_only_needs_no_report() -> None:
    """All 4: reporting frequency 0, push 0 (no reporting), no deadline, no next push."""
    device = acknowledged(CUSTOM, P)
    assert answer(device) == (None, 0, 0)
    assert next_push(device.state, device.profile, device.now) is None


def test_the_default_policy_before_the_first_ack() -> None:
    """Tech 4, 6, 7, 11, 15, 16, 17 and All (plain): no ACK, in policy 90, deadline start plus 90 days."""
    device = running()
    device.use(P, 1)
    device.use(S, 1)
    assert next_ack_deadline(device.state, device.profile) == T0 + 90 * DAY
    assert in_policy_days(device.state, device.profile, in_force(device.state.policies)) == 90
    assert push_interval_days(device.state, device.profile) == 30


def test_a_sle_policy_before_the_first_ack() -> None:
    """Tech 18: in policy 30; the policy's installation counts as the last ACK, the deadline is 30 days after it."""
    authority = Authority()
    device = running().trusting(authority)
    device.use(P, 1)
    device.use(S, 1)
    device.install(authority.file(authority.policy(device, SLE)), after=40 * DAY)
    assert device.state.last_ack_at == T0 + 40 * DAY
    assert answer(device) == (30, 30, 30)


def test_a_device_that_never_used_a_licence_never_has_to_report() -> None:
    device = running()
    device.tick(after=900 * DAY)
    assert next_ack_deadline(device.state, device.profile) is None
    assert next_push(device.state, device.profile, device.now) is None


def test_an_unreported_change_brings_the_deadline_forward() -> None:
    device = acknowledged(CUSTOM, P)
    device.use(S, 1)
    assert next_ack_deadline(device.state, device.profile) == device.now + 80 * DAY  # ongoing 90, from the last ACK
    device.use(S, 0, after=DAY)
    assert next_ack_deadline(device.state, device.profile) == device.now - DAY + 90 * DAY
    assert push_interval_days(device.state, device.profile) == 30


def test_a_change_of_count_is_no_change() -> None:
    device = acknowledged(CUSTOM, P)
    device.use(P, 7)
    assert next_ack_deadline(device.state, device.profile) is None


def test_an_ack_covers_the_changes_up_to_its_reports_only() -> None:
    authority = Authority()
    device = running().trusting(authority)
    device.use(P, 1)
    closed = device.close(after=DAY)
    device.use(S, 1, after=DAY)
    row = device.store.reports.rows[closed.reply.report_ids[0]]
    device.install(authority.ack(device, (row.report_id, row.digest)))
    assert list(device.state.changes.values()) == [T0 + 2 * DAY]
    device.close(after=DAY)
    device.install(authority.ack(device))
    assert device.state.changes == {}


def test_no_deadline_where_no_ack_is_required() -> None:
    device = acknowledged(PolicyTerms("Quiet", ack_required=False), P, S)
    assert next_ack_deadline(device.state, device.profile) is None


@pytest.mark.parametrize(("configured", "expected"), [(None, 30), (1, 1), (30, 30), (45, 45), (60, 60), (365, 60)])
def test_the_configured_interval_never_exceeds_the_policy(configured: int | None, expected: int) -> None:
    device = acknowledged(SLE, P)
    device.apply(Settings(interval_days=configured))
    assert push_interval_days(device.state, device.profile) == expected


def test_the_next_push_is_a_date_even_with_the_transport_off() -> None:
    device = running()
    device.apply(Settings(transport_type="off"))
    device.use(P, 1)
    assert next_push(device.state, device.profile, T0) == T0 + 120
    assert next_push(device.state, device.profile, T0 + 119) == T0 + 120
    assert next_push(device.state, device.profile, T0 + 120) == T0 + 120 + 30 * DAY
    assert next_push(device.state, device.profile, T0 + 120 + 75 * DAY) == T0 + 120 + 90 * DAY
    device.stop(after=1)
    assert next_push(device.state, device.profile, T0 + 200) is None


def test_the_default_policy() -> None:
    policy = in_force({})
    assert (policy.kind, policy.name, policy.ack_required) == ("cisco-default", None, True)
    assert policy.days == {
        "perpetual": Days(365, 0, 90),
        "subscription": Days(90, 90, 90),
        "enforced": Days(0, 0, 0),
        "export": Days(0, 0, 0),
    }


def test_a_policy_merges_attribute_by_attribute() -> None:
    terms = PolicyTerms("Part", enforced=PolicyClass(first=None, ongoing=90, change=None))
    policy = in_force({"custom": InstalledPolicy(terms, T0)})
    assert policy.kind == "merged"
    assert policy.days["enforced"] == Days(0, 90, 0)
    assert policy.sources["enforced"] == ("default", "custom", "default")
    assert policy.days["perpetual"] == DEFAULT["perpetual"]
    whole = in_force({"custom": InstalledPolicy(SLE, T0)})
    assert (whole.kind, whole.installed_at) == ("custom", T0)
    assert set(whole.days) == set(CLASSES)


@pytest.mark.parametrize(
    ("enforcement", "term", "expected"),
    [
        ("unenforced", "perpetual", "perpetual"),
        ("unenforced", "subscription", "subscription"),
        ("unenforced", "term", "subscription"),
        ("enforced", "perpetual", "enforced"),
        ("enforced", "subscription", "enforced"),
        ("export", "subscription", "export"),
    ],
)
def test_the_class_of_a_licence(enforcement: str, term: str, expected: str) -> None:
    licence = Licence("n", "f", "d", "t", "1", enforcement, term)  # type: ignore[arg-type]
    assert licence.policy_class == expected


def test_the_deadline_uses_every_class() -> None:
    """Enforced and export terms count when such licences are in use (as a code permits)."""
    products: Profile = profile(
        Licence("fast", "Fast", "d", "tag-fast", enforcement="enforced"),
        Licence("crypto", "Crypto", "d", "tag-crypto", enforcement="export"),
    )
    device = Device(products)
    device.start()
    used = evolve(
        device.state,
        [UsageRecorded(T0, "tag-crypto", 1, "", NO_PERIPHERALS), ReportOpened(T0, T0, "tag-crypto", 1)],
    )
    assert next_ack_deadline(used, products) is None
    ruled = replace(used, policies={"custom": InstalledPolicy(SLE, T0)}, last_ack_at=T0)
    assert next_ack_deadline(ruled, products) == T0 + 30 * DAY
