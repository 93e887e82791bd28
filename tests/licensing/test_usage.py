"""From recorded counts to measurement rows and closed reports."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
import json

import pytest

from agent.formats import rum
from agent.licensing.commands import Start, Tick
from agent.licensing.deadlines import next_deadline
from agent.licensing.engine import NotRunningError, decide
from agent.licensing.events import ReportClosed, ReportDiscarded, UsageRecorded
from agent.licensing.notices import OutageWasRecorded, ReportWasClosed, UsageChanged, UsageWasRefused
from agent.licensing.settings import Settings
from agent.licensing.state import State
from agent.licensing.usage import MAX_COUNT, MAX_ROWS, NO_PERIPHERALS
from tests.licensing.kit import DAY, T0, Device, running

ADVANTAGE = "network-advantage"


def rows(device: Device) -> list[tuple[int, int, int]]:
    """(start, end, count) relative to T0, of all reports in the order of closing."""
    return [(m.start - T0, m.end - T0, m.count) for signed in device.documents for m in signed.report.measurements]


def test_a_count_becomes_one_row_of_one_report() -> None:
    device = running()
    device.use(ADVANTAGE, 3)
    closed = device.close(after=5000)
    assert rows(device) == [(0, 5000, 3)]
    assert closed.reply.report_keys == (f"PID:SLPA-VROUTER,SN:9TESTSERIAL,REPORT:{T0}",)
    report = device.documents[0].report
    assert report.close_reason == "requested"
    assert report.measurements[0].termination_reason == "CurrentUsageRequested"
    assert report.measurements[0].log_time == report.measurements[0].start


def test_a_change_of_count_starts_a_new_row() -> None:
    device = running()
    device.use(ADVANTAGE, 2)
    device.use(ADVANTAGE, 3, after=100)
    device.use(ADVANTAGE, 3, after=50)
    device.close(after=50)
    assert rows(device) == [(0, 100, 2), (100, 200, 3)]


def test_a_change_and_back_in_one_second_leaves_no_trace() -> None:
    device = running()
    device.use(ADVANTAGE, 2)
    device.use(ADVANTAGE, 9, after=100)
    device.use(ADVANTAGE, 2)
    device.close(after=100)
    assert rows(device) == [(0, 200, 2)]


@pytest.mark.parametrize(("interval", "samples"), [(0, 1), (900, 2), (86399, 97), (374401, 417), (40500, 46)])
def test_samples_of_an_interval(interval: int, samples: int) -> None:
    """One sample at the start and one every 15 minutes, as the document states it."""
    device = running()
    device.use(ADVANTAGE, 1)
    device.close(after=max(interval, 1))
    stated = json.loads(json.loads(device.store.reports.rows[T0].document)["payload"])["measurements"][0]
    assert stated["num_samples"] == samples


def test_stopping_a_licence_closes_its_report_only() -> None:
    device = running()
    device.use(ADVANTAGE, 2)
    device.use("dna-advantage", 1)
    stopped = device.use(ADVANTAGE, 0, after=60)
    (closed,) = [event for event in stopped.events if isinstance(event, ReportClosed)]
    assert (closed.reason, closed.license_name) == ("license-stopped", ADVANTAGE)
    assert rows(device) == [(0, 60, 2)]
    assert sum(use.report is not None for use in device.state.licences.values()) == 1


def test_a_use_of_no_length_is_discarded_and_its_id_never_used() -> None:
    device = running()
    device.use(ADVANTAGE, 2)
    assert any(isinstance(event, ReportDiscarded) for event in device.use(ADVANTAGE, 0).events)
    device.use(ADVANTAGE, 1)
    assert device.close(after=1).reply.report_ids == (T0 + 1,)


def test_closing_in_the_second_of_opening_leaves_the_report_open() -> None:
    device = running()
    device.use(ADVANTAGE, 2)
    assert device.close().events == ()
    device.close(after=10)
    assert device.close().events == ()
    device.close(after=10)
    assert rows(device) == [(0, 10, 2), (10, 20, 2)]


def test_ids_rise_over_all_licences_and_the_chain_links_all_reports() -> None:
    device = running()
    for name in (ADVANTAGE, "dna-advantage", "voice-session"):
        device.use(name, 1)
    device.close(after=10)
    device.use(ADVANTAGE, 0, after=10)
    device.close(after=10)
    ids = [signed.report.report_id for signed in device.documents]
    assert ids == [T0, T0 + 1, T0 + 2, T0 + 3, T0 + 4, T0 + 5]
    previous = None
    for sequence, signed in enumerate(device.documents, start=1):
        assert signed.report.sequence == sequence
        assert signed.report.previous_digest == (previous.digest if previous else None)
        assert signed.report.previous_report_id == (previous.report.report_id if previous else 0)
        previous = signed


def test_the_licences_own_report_before_is_named() -> None:
    device = running()
    device.use(ADVANTAGE, 1)
    device.use("dna-advantage", 1)
    device.close(after=10)
    second = [event for event in device.close(after=10).events if isinstance(event, ReportClosed)]
    assert [event.previous_report_id for event in second] == [T0, T0 + 1]


def test_a_day_is_closed_when_it_is_over() -> None:
    device = running()
    device.use(ADVANTAGE, 1)
    device.run_until(T0 + 2 * DAY + 100)
    device.close()
    assert rows(device) == [(0, DAY, 1), (DAY, 2 * DAY, 1), (2 * DAY, 2 * DAY + 100, 1)]
    assert [signed.report.close_reason for signed in device.documents] == ["daily", "daily", "requested"]


def test_a_late_tick_closes_all_days_in_one_report() -> None:
    device = running()
    device.use(ADVANTAGE, 1)
    device.tick(after=3 * DAY + 5)
    assert rows(device) == [(0, 3 * DAY + 5, 1)]
    assert next_deadline(device.state) == device.now + 900


def test_a_tick_before_its_time_does_nothing() -> None:
    device = running()
    assert next_deadline(device.state) == T0 + 900
    assert device.tick(after=899).events == ()
    assert len(device.tick(after=1).events) == 1


def test_boot_levels_count_one_from_the_next_start() -> None:
    device = running()
    device.apply(Settings(boot_levels=(ADVANTAGE, "dna-advantage", ADVANTAGE)))
    assert device.state.licences == {}
    device.stop(after=100)
    device.start(after=10)
    assert sorted(use.count for use in device.state.licences.values()) == [1, 1]
    device.use(ADVANTAGE, 5, after=10)
    device.use(ADVANTAGE, 0, after=10)
    tag = device.profile.find(ADVANTAGE)
    assert tag is not None
    assert device.state.licences[tag.entitlement_tag].count == 1
    device.apply(Settings())
    device.stop(after=10)
    device.start(after=10)
    assert all(use.count == 0 and use.report is None for use in device.state.licences.values())


def test_boot_levels_that_cannot_be_on_are_told_of() -> None:
    device = Device()
    device.apply(Settings(boot_levels=("hseck9", "no-such", ADVANTAGE)))
    refused = [notice for notice in device.start().notices if isinstance(notice, UsageWasRefused)]
    assert [(notice.licence, notice.code) for notice in refused] == [
        ("hseck9", "noauthorizationinstalled"),
        ("no-such", "taginvalid"),
    ]
    assert len(device.state.licences) == 1


def test_counts_hold_over_a_restart_and_the_outage_is_stated() -> None:
    device = running()
    device.use(ADVANTAGE, 4)
    device.tick(after=900)
    device.now += 300  # the agent dies here: 300 seconds were not durable
    restarted = device.start(after=700)
    assert OutageWasRecorded(T0 + 900, T0 + 1900, "crash") in restarted.notices
    assert rows(device) == [(0, 900, 4)]
    assert device.documents[0].report.close_reason == "reload"
    device.close(after=100)
    assert rows(device)[1:] == [(1900, 2000, 4)]
    assert device.documents[1].report.outages == (rum.Outage(T0 + 900, T0 + 1900),)
    device.close(after=100)
    assert device.documents[2].report.outages == ()


def test_a_report_that_measured_nothing_leaves_its_outages_to_the_next() -> None:
    """The agent dies in the second of its start, twice, once after the use had ended and begun again."""
    device = running()
    device.use(ADVANTAGE, 4)
    device.tick(after=900)
    device.start(after=100)
    device.start(after=50)
    device.use(ADVANTAGE, 0)
    device.use(ADVANTAGE, 3)
    device.start()
    device.start(after=7)
    device.close(after=10)
    assert rows(device) == [(0, 900, 4), (1057, 1067, 3)]
    outages = [(T0 + 900, T0 + 1000), (T0 + 1000, T0 + 1050), (T0 + 1050, T0 + 1057)]
    assert device.documents[1].report.outages == tuple(rum.Outage(*outage) for outage in outages)
    device.close(after=10)
    assert device.documents[2].report.outages == ()


def test_no_more_outages_than_a_report_can_state() -> None:
    device = Device(check=False)
    device.start()
    device.use(ADVANTAGE, 1, after=10)
    for _ in range(rum.MAX_OUTAGES + 20):
        device.start(after=5)
    device.close(after=5)
    outages = device.documents[-1].report.outages
    assert len(outages) == rum.MAX_OUTAGES
    assert outages[0].start == T0 + 10
    assert all(before.end == after.start for before, after in pairwise(outages))


def test_a_stop_keeps_usage_up_to_its_second() -> None:
    device = running()
    device.use(ADVANTAGE, 4)
    device.stop(after=777)
    restarted = device.start(after=23)
    assert rows(device) == [(0, 777, 4)]
    assert OutageWasRecorded(T0 + 777, T0 + 800, "stopped") in restarted.notices


def test_a_restart_within_the_second_is_no_outage() -> None:
    device = running()
    device.use(ADVANTAGE, 1)
    device.stop(after=5)
    assert not any(isinstance(notice, OutageWasRecorded) for notice in device.start().notices)


def test_what_happens_while_stopped_does_not_hide_the_outage() -> None:
    device = running()
    device.use(ADVANTAGE, 1)
    device.stop(after=100)
    device.now += 500
    device.apply(Settings(interval_days=7))
    device.start(after=500)
    assert device.state.last_outage is not None
    assert device.state.last_outage[:2] == (T0 + 100, T0 + 1100)
    assert rows(device) == [(0, 100, 1)]


def test_reports_of_the_last_run_state_its_software_version() -> None:
    device = running()
    device.use(ADVANTAGE, 1)
    device.stop(after=10)
    device.profile = replace(device.profile, software_version="17.12.1")
    device.start(after=10)
    device.close(after=10)
    assert [signed.report.software_version for signed in device.documents] == ["17.9.1", "17.12.1"]


def test_the_clock_set_back_starts_new_reports() -> None:
    device = running()
    device.use(ADVANTAGE, 2)
    device.tick(after=1000)
    jumped = device.tick(after=-3433)
    assert [n.reason for n in jumped.notices if isinstance(n, ReportWasClosed)] == ["clock-changed"]
    device.close(after=50)
    assert rows(device) == [(0, 1000, 2), (-2433, -2383, 2)]
    assert device.documents[1].report.measurements[0].clock_change_delta == -3433
    device.close(after=50)
    assert device.documents[2].report.measurements[0].clock_change_delta is None


def test_a_small_step_back_is_waited_for() -> None:
    device = running()
    device.use(ADVANTAGE, 2)
    device.tick(after=1000)
    device.use(ADVANTAGE, 3, after=-60)
    device.close(after=60)
    device.close(after=100)
    assert rows(device) == [(0, 1000, 2), (1000, 1100, 3)]


def test_the_clock_set_back_while_the_agent_was_off() -> None:
    device = running()
    device.use(ADVANTAGE, 2)
    device.stop(after=1000)
    device.start(after=-500)
    device.close(after=10)
    assert rows(device) == [(0, 1000, 2), (500, 510, 2)]
    assert device.documents[1].report.measurements[0].clock_change_delta == -500
    assert device.state.last_outage is None


def test_changes_of_the_clock_are_not_lost_with_a_report_that_measured_nothing() -> None:
    device = running()
    device.use(ADVANTAGE, 2)
    device.tick(after=10_000)
    device.tick(after=-3433)
    device.use(ADVANTAGE, 0)
    device.use(ADVANTAGE, 2)
    device.tick(after=-100)
    device.close(after=10)
    assert rows(device) == [(0, 10_000, 2), (6467, 6477, 2)]
    assert device.documents[1].report.measurements[0].clock_change_delta == -3533


def test_a_count_that_never_rests_cannot_grow_a_report_for_ever() -> None:
    device = Device(check=False)
    device.start()
    for second in range(2 * MAX_ROWS + 10):
        device.use(ADVANTAGE, second % 2 + 1, after=1)
    device.close(after=1)
    assert [signed.report.close_reason for signed in device.documents] == ["full", "full", "requested"]
    assert [len(signed.report.measurements) for signed in device.documents] == [MAX_ROWS, MAX_ROWS, 10]
    spans = rows(device)
    assert all(before[1] == after[0] for before, after in pairwise(spans))


@pytest.mark.parametrize(
    ("licence", "count", "code"),
    [
        ("no-such", 1, "taginvalid"),
        ("no-such", 0, "taginvalid"),
        ("", 1, "taginvalid"),
        (ADVANTAGE, -1, "BadInputParams"),
        (ADVANTAGE, MAX_COUNT + 1, "BadInputParams"),
        (ADVANTAGE, True, "BadInputParams"),
        ("hseck9", 1, "noauthorizationinstalled"),
        ("throughput-tier-2", 1, "noauthorizationinstalled"),
    ],
)
def test_refused_usage_changes_nothing_and_is_told_of(licence: str, count: int, code: str) -> None:
    device = running()
    device.use(ADVANTAGE, 1)
    before = device.state.to_json()
    refused = device.use(licence, count, after=10)
    assert refused.reply.code == code
    assert refused.reply.message
    assert refused.events == ()
    assert [type(notice) for notice in refused.notices] == [UsageWasRefused]
    assert device.state.to_json() == before


def test_an_equal_count_is_success_without_events() -> None:
    device = running()
    device.use(ADVANTAGE, 1)
    again = device.use(ADVANTAGE, 1, after=10)
    assert (again.reply.code, again.events, again.notices) == ("success", (), ())
    assert device.use("hseck9", 0).reply.code == "success"


def test_a_licence_answers_to_name_feature_name_and_tag() -> None:
    device = running()
    licence = device.profile.find(ADVANTAGE)
    assert licence is not None
    for name in (licence.name, licence.feature_name, licence.entitlement_tag):
        device.use(name, 2)
    assert [use.recorded for use in device.state.licences.values()] == [2]
    told = device.use(ADVANTAGE, MAX_COUNT, after=1)
    assert UsageChanged(licence.entitlement_tag, ADVANTAGE, MAX_COUNT) in told.notices
    assert UsageRecorded(device.now, licence.entitlement_tag, MAX_COUNT, "tester", NO_PERIPHERALS) in told.events


def test_privacy_and_customer_data_in_reports() -> None:
    device = running()
    device.apply(Settings(customer_tags=(("tag1", "blue"),), customer_info=(("city", "Bern"),)))
    device.use(ADVANTAGE, 1)
    device.close(after=10)
    device.apply(
        Settings(
            privacy_hostname=True,
            privacy_version=True,
            utility_enabled=True,
            customer_info=(("city", "Bern"), ("postalcode", "3000")),
        )
    )
    device.close(after=10)
    first, second = (signed.report for signed in device.documents)
    assert (first.hostname, first.software_version, first.customer_info) == ("vrouter", "17.9.1", ())
    assert first.customer_tags == (("tag1", "blue"),)
    assert (second.hostname, second.software_version, second.utility_enabled) == (None, "withheld", True)
    assert second.customer_info == (("city", "Bern"), ("postalcode", "3000"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_days": 0},
        {"interval_days": 366},
        {"customer_tags": (("tag5", "x"),)},
        {"customer_tags": (("tag1", "x"), ("tag1", "y"))},
        {"customer_tags": (("tag1", "x" * 128),)},
        {"customer_info": (("city", ""),)},
        {"customer_info": (("planet", "Earth"),)},
    ],
)
def test_settings_that_no_report_could_carry_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Settings(**wrong)  # type: ignore[arg-type]


def test_commands_out_of_order_are_refused() -> None:
    device = Device()
    with pytest.raises(NotRunningError, match="Start"):
        decide(State(), Tick(), T0, device.context)
    with pytest.raises(ValueError, match="epoch"):
        decide(State(), Start(""), T0, device.context)


def test_a_licence_that_left_the_catalogue_is_still_reported() -> None:
    device = running()
    device.use(ADVANTAGE, 2)
    device.stop(after=10)
    device.profile = replace(device.profile, licences={})
    device.start(after=10)
    device.close(after=10)
    assert rows(device) == [(0, 10, 2), (20, 30, 2)]
