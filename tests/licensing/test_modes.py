"""Utility mode, controller-managed mode, and factory reset."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.formats.documents import Ack, Acknowledged, PolicyClass, PolicyTerms
from agent.licensing import notices
from agent.licensing.commands import (
    ApplySettings,
    FactoryReset,
    PrepareReset,
    RequestAuthorization,
    ReturnAuthorization,
)
from agent.licensing.deadlines import next_ack_deadline, next_push, push_interval_days
from agent.licensing.engine import NotRunningError
from agent.licensing.profile import Licence
from agent.licensing.reports import figures
from agent.licensing.settings import Settings
from agent.licensing.state import State
from tests.licensing.kit import DAY, T0, Authority, Device, profile, running

ADVANTAGE, HSEC = "network-advantage", "hseck9"
UTILITY = Settings(utility_enabled=True, interval_days=7, customer_info=(("id", "42"),))


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def device(authority: Authority) -> Device:
    return running().trusting(authority)


def tag(device: Device, name: str) -> str:
    licence = device.profile.find(name)
    assert licence is not None
    return licence.entitlement_tag


def test_a_utility_month(device: Device, authority: Authority) -> None:
    """Reports of each mode by themselves, flagged both ways, due every 30 days whatever the policy says."""
    device.use(ADVANTAGE, 2)
    changed = device.do(ApplySettings(UTILITY), after=DAY)
    assert notices.UtilityReportingChanged(True) in changed.notices
    device.install(authority.file(authority.policy(device, PolicyTerms("Lax", ack_required=False))))
    deadline = next_ack_deadline(device.state, device.profile)
    assert deadline == device.now + 30 * DAY, "a policy counts as the last ACK"
    device.close(after=DAY)
    before, after = [signed.report for signed in device.documents]
    assert (before.utility_enabled, before.close_reason, before.customer_info) == (False, "utility-mode", ())
    assert (after.utility_enabled, after.customer_info) == (True, (("id", "42"),))
    rows = tuple(Acknowledged(row.report_id, row.digest) for row in device.store.reports.rows.values())
    unflagged = Ack(authority.heading(device, utility=False), rows)
    refused = device.install(authority.file(unflagged))
    assert (refused.reply.code, refused.reply.reason) == ("utilityenabled", "utility-flag-missing")
    assert device.install(authority.file(Ack(authority.heading(device), rows))).reply.code == "success"
    assert next_ack_deadline(device.state, device.profile) == device.now + 30 * DAY
    overdue = device.tick(after=30 * DAY)
    assert notices.AckIsOverdue(0, device.now) in overdue.notices


def test_without_utility_mode_flagged_documents_are_refused(device: Device, authority: Authority) -> None:
    flagged = authority.policy(device, PolicyTerms("P"), utility=True)
    decision = device.install(authority.file(flagged))
    assert (decision.reply.code, decision.reply.reason) == ("utilitynotenabled", "utility-not-enabled")


def test_a_long_interval_is_warned_of_once(device: Device) -> None:
    told = device.do(ApplySettings(Settings(utility_enabled=True)))
    assert notices.UtilityIntervalIsLong(30) in told.notices
    again = device.do(ApplySettings(Settings(utility_enabled=True, privacy_hostname=True)))
    assert again.notices == ()
    longer = device.do(ApplySettings(Settings(utility_enabled=True, interval_days=8)))
    assert longer.notices == (notices.UtilityIntervalIsLong(8),)
    week = device.do(ApplySettings(Settings(utility_enabled=True, interval_days=7)))
    assert week.notices == ()
    assert device.do(ApplySettings(Settings())).notices == (notices.UtilityReportingChanged(False),)


def test_deadlines_count_from_leaving_the_controller() -> None:
    """Nothing is overdue at once, whether a report was acknowledged before or not."""
    for acknowledged in (False, True):
        authority = Authority()
        device = running().trusting(authority)
        device.use("network-advantage", 1)
        if acknowledged:
            device.close(after=DAY)
            device.install(
                authority.ack(device, *((r.report_id, r.digest) for r in device.store.reports.rows.values()))
            )
        device.apply(Settings(mode="controller"))
        device.now += 400 * DAY
        device.use("dna-advantage", 1)
        device.now += 400 * DAY
        device.apply(Settings())
        assert device.replayed() == device.state
        assert next_ack_deadline(device.state, device.profile) == device.now + 90 * DAY
        device.apply(Settings(customer_info=device.state.settings.customer_info, custom_id="x"))
        assert next_ack_deadline(device.state, device.profile) == device.now + 90 * DAY


def test_what_is_older_than_every_release_is_not_refused() -> None:
    """docs/licensing.md, Releases: a return in a file, and the controller-managed mode."""
    authority = Authority()
    device = running(profile=replace(profile(), software_version="17.3.2")).trusting(authority)
    device.install(authority.file(authority.code(device, ("hseck9", 1))))
    assert device.apply(Settings(mode="controller")).reply.code == "success"
    given = device.do(ReturnAuthorization())
    assert (given.reply.code, given.reply.return_string is not None) == ("success", True)


@pytest.mark.parametrize("utility", [True, False])
def test_no_export_controlled_licence_is_post_paid(authority: Authority, utility: bool) -> None:
    """Flagged for the mode, paid ahead all the same; it needs its code as ever (the guide's utility mode; facts 8)."""
    licences = [
        Licence(name, name, name, f"tag-{name}", enforcement=enforcement, subscription_id=f"SUB-{name}")
        for name, enforcement in (("free", "unenforced"), ("tier", "enforced"), ("hsec", "export"))
    ]
    device = running(profile=profile(*licences)).trusting(authority)
    device.apply(Settings(utility_enabled=utility, customer_info=(("name", "Example"),)))
    assert device.use("hsec", 1).reply.reason == "not-authorized"
    device.install(authority.file(authority.code(device, ("tier", 1), ("hsec", 1))))
    for licence in licences:
        device.use(licence.name, 1)
    device.close(after=100)
    found = {signed.report.entitlement_tag: signed.report for signed in device.documents}
    assert {report.utility_enabled for report in found.values()} == {utility}
    assert {tag: report.post_paid for tag, report in found.items()} == {
        "tag-free": utility,
        "tag-tier": utility,
        "tag-hsec": False,
    }
    assert found["tag-free"].subscription_id == ("SUB-free" if utility else None)
    assert found["tag-free"].customer_info == ((("name", "Example"),) if utility else ())
    assert (found["tag-hsec"].subscription_id, found["tag-hsec"].customer_info) == (None, ())


def test_utility_mode_limits_the_push_interval(device: Device, authority: Authority) -> None:
    device.apply(Settings(utility_enabled=True, interval_days=90))
    device.use(ADVANTAGE, 1)
    device.install(authority.file(authority.policy(device, PolicyTerms("Lax", perpetual=PolicyClass(0, 0, 0)))))
    assert push_interval_days(device.state, device.profile) == 30


@pytest.mark.parametrize(
    ("release", "settings", "reason"),
    [
        ("17.8.1", Settings(utility_enabled=True), "not-in-this-release"),
        ("17.3.9", Settings(utility_enabled=True, mode="controller"), "not-in-this-release"),
        ("17.9.1a", Settings(utility_enabled=True, transport_type="callhome"), "utility-callhome"),
        ("17.9.1a", Settings(utility_enabled=True), None),
        ("17.4.1", Settings(utility_enabled=True, mode="controller"), None),
        ("17.3.2", Settings(transport_type="callhome"), None),
    ],
)
def test_settings_that_a_release_refuses(release: str, settings: Settings, reason: str | None) -> None:
    device = running(profile=replace(profile(), software_version=release))
    decision = device.do(ApplySettings(settings))
    assert decision.reply.reason == reason
    assert (device.state.settings == settings) == (reason is None)


def test_a_controller_managed_device_makes_no_reports_and_counts_all_the_same(
    device: Device, authority: Authority
) -> None:
    device.use(ADVANTAGE, 2)
    device.do(ApplySettings(Settings(mode="controller")), after=60)
    assert [signed.report.close_reason for signed in device.documents] == ["controller-managed"]
    device.use(ADVANTAGE, 3, after=60)
    device.use("voice-session", 7)
    device.run_until(device.now + 2 * DAY)
    device.close()
    device.stop()
    device.start(after=60)
    assert len(device.documents) == 1
    assert figures(device.state)[::5] == (1, 0)
    assert {use.count for use in device.state.licences.values()} == {3, 7}
    assert next_ack_deadline(device.state, device.profile) is None
    assert next_push(device.state, device.profile, device.now) is None
    assert device.do(RequestAuthorization(HSEC)).reply.content is not None
    device.install(authority.file(authority.code(device, (HSEC, 1))))
    assert device.use(HSEC, 1).reply.code == "success"
    assert device.install(authority.ack(device)).reply.code == "success", "what was reported before is acknowledged"
    device.do(ApplySettings(Settings()), after=60)
    device.close(after=60)
    assert [(s.report.measurements[0].count, s.report.measurements[-1].end) for s in device.documents[1:]] == [
        (3, device.now),
        (7, device.now),
        (1, device.now),
    ]


def test_a_mode_that_changes_while_the_agent_is_stopped_closes_what_was_open(device: Device) -> None:
    device.use(ADVANTAGE, 1)
    device.stop(after=60)
    device.do(ApplySettings(Settings(mode="controller")), after=60)
    (signed,) = device.documents
    assert (signed.report.close_reason, signed.report.measurements[-1].end) == ("controller-managed", T0 + 60)
    device.start(after=60)
    assert device.state.last_outage is not None
    assert all(use.report is None for use in device.state.licences.values())


def test_a_reset_that_would_lose_usage_is_refused(device: Device) -> None:
    device.use(ADVANTAGE, 1)
    before = device.state.to_json()
    refused = device.do(FactoryReset(), after=60)
    assert (refused.reply.code, refused.reply.reason) == ("msgexecinprogress", "unreported-usage")
    assert refused.events == ()
    assert device.state.to_json() == before
    assert "1 report never left" in refused.reply.message


def test_prepare_save_reset_and_a_new_life(device: Device, authority: Authority) -> None:
    device.install(authority.file(authority.policy(device, PolicyTerms("Custom"))))
    device.install(authority.file(authority.policy(device, PolicyTerms("Factory"), "factory")))
    device.install(authority.file(authority.trust_code(device)))
    code = authority.file(authority.code(device, (HSEC, 1)))
    device.install(code)
    device.use(ADVANTAGE, 2)
    prepared = device.do(PrepareReset(discard=True), after=60)
    assert prepared.reply.report_ids == (T0,)
    assert device.documents[-1].report.close_reason == "factory-reset"
    device.tick(after=900)
    device.close()
    assert len(device.documents) == 1, "nothing is measured any more"
    assert device.do(FactoryReset()).reply.reason == "unreported-usage"
    device.deliver(T0)
    assert device.do(FactoryReset()).reply.reason == "authorization-installed"
    floors, number = device.state.floors, device.state.next_report_id
    done = device.do(FactoryReset(discard=True), after=5)
    assert done.notices == (notices.InstanceWasReset(0),)
    assert "1 report had left it and waited for an acknowledgement" in done.reply.message
    assert device.store.reports.rows == {}
    state = device.state
    assert (state.epoch, state.running, state.licences, state.trust) == ("", False, {}, None)
    assert (state.floors, state.anchors, list(state.policies)) == (floors, (authority.anchor,), ["factory"])
    assert figures(state) == (0, 0, 0, 0, 0, 0)
    assert device.replayed() == state == State.from_json(state.to_json())
    with pytest.raises(NotRunningError):
        device.tick()
    device.epoch = "epoch-2"
    started = device.start(after=60)
    assert not any(isinstance(each, notices.OutageWasRecorded) for each in started.notices)
    assert device.install(code).reply.reason == "authorization-returned", "a code of the last life is worthless"
    device.use(ADVANTAGE, 1)
    device.close(after=60)
    report = device.documents[-1].report
    assert (report.epoch, report.sequence, report.previous_digest) == ("epoch-2", 1, None)
    assert report.report_id >= number


def test_a_reset_after_the_clock_was_set_back_leaves_nothing(device: Device) -> None:
    device.use(ADVANTAGE, 1)
    device.close(after=60)
    told = device.do(FactoryReset(discard=True), after=-3600)
    assert told.notices == (notices.InstanceWasReset(1),)
    assert device.store.reports.rows == {}
    device.start()
    assert figures(device.state) == (0, 0, 0, 0, 0, 0)
    assert device.replayed() == device.state


def test_ids_do_not_repeat_though_the_clock_was_set_back_between_lives(device: Device) -> None:
    device.use(ADVANTAGE, 1)
    device.close(after=60)
    device.do(FactoryReset(discard=True))
    device.epoch = "epoch-2"
    device.start(after=-DAY)
    device.use(ADVANTAGE, 1)
    device.close(after=60)
    ids = [signed.report.report_id for signed in device.documents]
    assert len(set(ids)) == 2
    assert ids == sorted(ids)


def test_a_prepared_reset_is_taken_back_by_a_start(device: Device) -> None:
    device.use(ADVANTAGE, 1)
    device.do(PrepareReset(discard=True), after=60)
    assert device.do(PrepareReset(discard=True), after=60).events == ()
    device.start(after=60)
    device.close(after=60)
    assert [s.report.measurements[0].start - T0 for s in device.documents] == [0, 180]


def test_a_discarding_reset_says_what_it_gives_up(device: Device) -> None:
    device.use(ADVANTAGE, 1)
    device.close(after=60)
    told = device.do(FactoryReset(discard=True), after=60)
    assert told.notices == (notices.InstanceWasReset(2),)
    assert "2 reports that never left this device went with it" in told.reply.message


def test_a_reset_that_is_taken_back_states_what_was_not_measured() -> None:
    """Whatever was decided meanwhile: from its preparation to the start there is an outage."""
    device = running()
    device.use(ADVANTAGE, 1)
    device.do(PrepareReset(discard=True), after=600)
    device.tick(after=150)
    device.tick(after=150)
    device.start()
    assert device.state.last_outage == (T0 + 600, T0 + 900, "stopped")
    device.close(after=100)
    assert device.documents[-1].report.outages == ((T0 + 600, T0 + 900),)
