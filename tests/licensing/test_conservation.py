"""Random lives of a product instance: usage is conserved, each second of it in exactly one report, without overlap."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
import pytest

from agent.formats.documents import Ack, PolicyClass, PolicyTerms, Refused
from agent.formats.envelope import SignedReport
from agent.formats.udi import Udi
from agent.licensing.commands import Command, FactoryReset, PrepareReset, ReturnAuthorization
from agent.licensing.draft import CLOCK_TOLERANCE
from agent.licensing.engine import Decision
from agent.licensing.events import ClockChanged, InstanceReset, OutageRecorded, ReportClosed, ReportsPurged
from agent.licensing.reports import figures
from agent.licensing.settings import Mode
from agent.licensing.usage import Span
from tests.licensing.kit import DAY, T0, Authority, Device

LEVELS = ("network-advantage", "dna-advantage", "voice-session")
NAMES = (*LEVELS, "hseck9")
STEPS = st.sampled_from([0, 0, 1, 7, 60, 899, 900, 901, 3600, DAY, 40 * DAY]) | st.integers(0, 2 * DAY)
BACK = st.sampled_from([-1, -60, -61, -3433, -DAY, -400 * DAY])
ACTIONS = st.one_of(
    st.tuples(st.just("use"), st.sampled_from(NAMES), st.sampled_from([0, 0, 1, 2, 5, 2**32 - 1])),
    st.tuples(st.just("use"), st.sampled_from(["throughput-tier-2", "nothing"]), st.integers(0, 3)),
    st.sampled_from([("close",), ("tick",), ("crash",), ("stop",), ("nonsense",)]),
    st.tuples(st.sampled_from(["deliver", "ack"]), st.integers(0, 7)),
    st.tuples(st.just("levels"), st.lists(st.sampled_from([*LEVELS, "throughput-tier-2"]), max_size=2).map(tuple)),
    st.tuples(st.just("policy"), st.integers(0, 90)),
    st.tuples(st.just("code"), st.integers(1, 5)),
    st.sampled_from([("utility",), ("controller",), ("reset", True), ("reset", False), ("prepare",), ("return",)]),
    st.tuples(st.just("refuse"), st.integers(0, 7)),
    st.tuples(st.just("peripherals"), st.sampled_from(NAMES), st.integers(0, 9), st.booleans()),
)
LIVES = st.lists(st.tuples(ACTIONS, STEPS | BACK), max_size=40)


class Observed(Device):
    """A device whose usage a second, simple bookkeeper adds up from outside: counts times seconds between decisions."""

    def __init__(self) -> None:
        super().__init__()
        self.authority = Authority()
        self.recorded: dict[str, int] = {}
        self.levels: set[str] = set()
        self.last = 0
        self.truth = dict.fromkeys(NAMES, 0)
        self.all_events: list[Any] = []
        self.controller = False
        self.held = False
        self.archive: list[SignedReport] = []
        self.told: list[tuple[str, str]] = []

    def do(self, command: Command, after: int = 0) -> Decision:
        was_running = self.state.running
        decision = super().do(command, after)
        self.all_events += decision.events
        if decision.events:
            if was_running and self.last and self.now >= self.last - CLOCK_TOLERANCE:
                elapsed = max(self.now - self.last, 0)
                for name in NAMES:
                    self.truth[name] += elapsed * self.count(name)
                self.last += elapsed
            else:
                self.last = self.now
        return decision

    def count(self, name: str) -> int:
        if self.controller or self.held:
            return 0
        return max(self.recorded.get(name, 0), name in self.levels)

    def restarted(self, after: int) -> None:
        """The time before a start was not measured, whether the agent died or was stopped."""
        self.now += after
        if self.now < self.last - CLOCK_TOLERANCE or not self.last:
            self.last = self.now
        self.last = max(self.last, self.now)
        truth = dict(self.truth)
        self.start()
        self.truth = truth
        self.last = self.state.at
        self.held = False
        self.levels = set(self.state.settings.boot_levels) & set(NAMES)

    def reset(self, discard: bool, after: int) -> None:
        """A life that ends takes its usage with it; what was reported stays in the archive."""
        if self.do(FactoryReset(discard), after).reply.code != "success":
            return
        self.archive += self.documents
        self.documents, self.recorded, self.told = [], {}, []
        self.truth = dict.fromkeys(NAMES, 0)
        self.epoch = f"epoch-{self.now}-{len(self.all_events)}"
        self.last = 0
        self.restarted(1)
        self.truth = dict.fromkeys(NAMES, 0)

    def act(self, action: tuple[Any, ...], after: int) -> None:
        match action:
            case ("use", name, count):
                if self.use(name, count, after).reply.code == "success" and name in NAMES:
                    self.recorded[name] = count
            case ("close",):
                self.close(after)
            case ("tick",):
                self.tick(after)
            case ("crash",):
                self.restarted(after)
            case ("stop",):
                self.stop(after)
                self.restarted(after)
            case ("nonsense",):
                self.install(b"<smartLicense>", after)
            case ("deliver", some):
                self.now += after
                self.deliver(*[number for number in self.store.reports.rows if number % 8 <= some])
            case ("ack", some):
                self.now += after
                rows = [row for row in self.store.reports.rows.values() if row.report_id % 8 <= some]
                if rows:
                    self.install(self.authority.ack(self, *[(row.report_id, row.digest) for row in rows]))
            case ("levels", names):
                self.now += after
                self.apply(replace(self.state.settings, boot_levels=names))
            case ("utility",):
                self.now += after
                self.apply(replace(self.state.settings, utility_enabled=not self.state.settings.utility_enabled))
            case ("controller",):
                self.now += after
                mode: Mode = "autonomous" if self.controller else "controller"
                self.apply(replace(self.state.settings, mode=mode))
                self.controller = not self.controller
            case ("prepare",):
                self.do(PrepareReset(discard=True), after)
                self.held = True
            case ("reset", discard):
                self.reset(discard, after)
            case ("return",):
                self.do(ReturnAuthorization(), after)
            case ("code", count):
                self.now += after
                self.install(self.authority.file(self.authority.code(self, ("hseck9", count))))
            case ("peripherals", name, number, came):
                udi = Udi("AP", str(number))
                count = self.recorded.get(name, 0)
                lists = {"added": (udi,)} if came else {"removed": (udi,)}
                kept = self.state.settings.mode != "controller"  # there, nothing is reported
                if self.use(name, count, after, **lists).reply.code == "success" and kept:
                    self.told.append((name, f"{'+' if came else '-'}{udi.key}"))
            case ("refuse", some):
                self.now += after
                rows = [row for row in self.store.reports.rows.values() if row.report_id % 8 <= some]
                refused = tuple(Refused(row.report_id, row.digest, "conflict") for row in rows)
                self.install(self.authority.file(Ack(self.authority.heading(self), (), refused)))
            case ("policy", days):
                terms = PolicyTerms("Random", perpetual=PolicyClass(days, days, None))
                self.install(self.authority.file(self.authority.policy(self, terms)), after)


def live(life: list[tuple[tuple[Any, ...], int]]) -> Observed:
    device = Observed()
    device.trusting(device.authority)
    device.start()
    device.last = device.now
    for action, after in life:
        # Certificates of the tests are valid for years, not for ever; no life goes back before its first second.
        device.act(action, after if T0 - 3000 * DAY < device.now + after < T0 + 3000 * DAY else 0)
    return device


def check(device: Observed) -> None:
    reported = dict.fromkeys(NAMES, 0)
    for signed in device.documents:
        name = device.profile.by_tag(signed.report.entitlement_tag).name
        reported[name] += sum((row.end - row.start) * row.count for row in signed.report.measurements)
    for tag, use in device.state.licences.items():
        if use.report is not None:
            reported[device.profile.by_tag(tag).name] += licence_seconds(use.report.spans(device.state.at))
    assert reported == device.truth
    check_peripherals(device)
    check_spans(device)
    check_reports(device)
    assert device.replayed().to_json() == device.state.to_json()


def check_peripherals(device: Observed) -> None:
    """What was told of peripherals stands, licence by licence, in reports, open rows, or waits for the next report.

    In one second the same device is listed once; over time it may come and go.
    """
    listed: set[tuple[str, str]] = set()
    for signed in device.documents:
        name = device.profile.by_tag(signed.report.entitlement_tag).name
        for row in signed.report.measurements:
            listed |= {(name, f"+{udi.key}") for udi in row.added} | {(name, f"-{udi.key}") for udi in row.removed}
    for tag, use in device.state.licences.items():
        name = device.profile.by_tag(tag).name
        open_rows = [use.peripherals]
        if use.report is not None:
            open_rows += [use.report.peripherals, *(row.peripherals for row in use.report.rows)]
        for each in open_rows:
            listed |= {(name, f"+{key}") for key in each.added} | {(name, f"-{key}") for key in each.removed}
    assert listed == set(device.told)


def check_spans(device: Observed) -> None:
    """On each clock: rows of a report follow each other, reports never overlap, and what they say of outages is so."""
    spans: dict[str, list[tuple[int, int]]] = {}
    outages = {(event.start, event.end) for event in device.all_events if isinstance(event, OutageRecorded)}
    by_id = {signed.report.report_id: signed.report for signed in (*device.archive, *device.documents)}
    for event in device.all_events:
        if isinstance(event, ClockChanged):
            spans = {}
        elif isinstance(event, ReportClosed):
            report = by_id[event.report_id]
            rows = [(row.start, row.end) for row in report.measurements]
            assert all(before[1] == after[0] for before, after in pairwise(rows))
            assert all(start < end for start, end in rows)
            known = spans.setdefault(event.entitlement_tag, [])
            assert not known or known[-1][1] <= rows[0][0]
            for outage in report.outages:
                assert (outage.start, outage.end) in outages
                # it ended on another clock, where the report states that the clock was set
                assert outage.end <= rows[0][0] or report.measurements[0].clock_change_delta is not None
            known += rows


def check_reports(device: Observed) -> None:
    ids = [signed.report.report_id for signed in device.documents]
    ever = [signed.report.report_id for signed in device.archive] + ids
    assert len(set(ever)) == len(ever)
    assert [signed.report.sequence for signed in device.documents] == list(range(1, len(ids) + 1))
    for before, after in pairwise(device.documents):
        assert after.report.previous_digest == before.digest
        assert after.report.previous_report_id == before.report.report_id
    resets = [index for index, event in enumerate(device.all_events) if isinstance(event, InstanceReset)]
    life = device.all_events[resets[-1] + 1 :] if resets else device.all_events
    purged = {number for event in life if isinstance(event, ReportsPurged) for number in event.report_ids}
    rows = device.store.reports.rows
    assert set(rows) == set(ids) - purged
    counted = figures(device.state)
    assert counted.purged == counted.acknowledged == len(purged)
    assert counted.waiting == sum(row.state == "unacknowledged" for row in rows.values())
    assert counted.available == sum(row.state == "closed" for row in rows.values())
    assert counted.total == counted.collecting + counted.available + counted.waiting + counted.acknowledged
    signed = {report.report.report_id: report.document for report in device.documents}
    assert all(row.document == signed[row.report_id] for row in rows.values())


@given(LIVES)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_usage_is_conserved(life: list[tuple[tuple[Any, ...], int]]) -> None:
    check(live(life))


@pytest.mark.slow
@given(LIVES)
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
def test_usage_is_conserved_in_many_lives(life: list[tuple[tuple[Any, ...], int]]) -> None:
    check(live(life))


def test_the_bookkeeper_sees_a_loss() -> None:
    """The check itself can fail: a second that no report holds is noticed."""
    device = live([(("use", NAMES[0], 2), 0), (("close",), 100)])
    check(device)
    device.truth[NAMES[0]] += 2
    with pytest.raises(AssertionError):
        check(device)


def test_two_months_of_six_licences_pass_whole() -> None:
    """Ticks every 8 hours, closing daily: every second of 60 days is in exactly one of 360 reports."""
    device = Device(check=False)
    names = [*LEVELS, "network-essentials", "network-premier", "dna-essentials"]
    device.start()
    for name in names:
        device.use(name, 3)
    for _ in range(60 * 3):
        device.tick(after=DAY // 3)
    assert len(device.documents) == 60 * len(names)
    total = sum((row.end - row.start) * row.count for signed in device.documents for row in signed.report.measurements)
    assert total == 60 * DAY * 3 * len(names)


def licence_seconds(spans: tuple[Span, ...]) -> int:
    """Count times seconds over all spans: what must be conserved from recording to the last report."""
    return sum((span.end - span.start) * span.used for span in spans)
