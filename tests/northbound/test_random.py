"""Random lives of an agent over a real file: whatever happens to it, nothing is lost or counted twice."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
import tempfile
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from lxml import etree
import pytest

from agent.formats.documents import PolicyClass, PolicyTerms
from agent.formats.envelope import SignedReport, open_report
from tests.licensing.kit import DAY, YEARS
from tests.northbound.kit import ADMIN, COLLECTOR, LICENSING, READER, STATE_INFO, Rig, tree_of

LICENCES = ["advantage", "sessions", "tier-2", "nonsense"]
SPANS = [0, 1, 59, 300, 899, 900, 3600, DAY - 1, DAY, 40 * DAY]
CONFIGS: list[dict[str, Any]] = [
    {"usage": {"interval": 3, "customer-tags": {"tag1": "a & b"}}},
    {"utility": {"utility-enable": True, "customer-info": {"city": "Bern"}}},
    {"privacy": {"hostname": True, "version": True}},
    {"slp-agent:boot-level": {"license": ["advantage", "tier-2"]}},
    {"transport": {"transport-type": "transport-type-smart"}},
    {},
]
TERMS = [
    PolicyTerms("short", PolicyClass(), PolicyClass(), PolicyClass(1, 2, 3), PolicyClass(4, 5, 6)),
    PolicyTerms("none", ack_required=False),
]


class Life(RuleBasedStateMachine):
    """Rules are what can happen; `expected` is the licence-seconds that the kernel is known to have measured."""

    @initialize()
    def set_up(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.rig = Rig.sqlite(Path(self.folder.name) / "agent.db")
        self.archive: dict[str, bytes] = {}
        self.reports: dict[int, SignedReport] = {}
        self.expected = 0
        self.files: list[bytes] = []

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.end()
            self.folder.cleanup()

    def measured(self, act: Any) -> Any:
        result = self.counted(act)
        self.look()
        return result

    def counted(self, act: Any) -> Any:
        """Do something, and count what was in use for as long as the kernel's durable time went on."""
        before, counts = self.rig.state, sum(use.count for use in self.rig.state.licences.values())
        result = act()
        after = self.rig.state
        if after.clock_change == before.clock_change:
            self.expected += counts * (after.at - before.at)
        return result

    def look(self) -> None:
        """Take every document that is there, as a collector who reads all the time would; seen again it is the same."""
        for entry in self.entries("slp-agent:rum-reports-closed"):
            key, document = entry["rum-report-key"], entry["document"].encode()
            assert self.archive.setdefault(key, document) == document
            if int(entry["report-id"]) not in self.reports:
                signed = open_report(
                    document,
                    pinned=lambda _: self.rig.signer.public_key,
                    now=self.rig.now,
                    skew=YEARS,
                    lab=False,
                )
                self.reports[signed.report.report_id] = signed

    def entries(self, member: str) -> list[dict[str, Any]]:
        tree = self.rig.json(self.rig.select(f"{STATE_INFO}/{member}"))
        found: list[dict[str, Any]] = tree.get(LICENSING, {}).get("state", {}).get("state-info", {}).get(member, [])
        return found

    # What can happen

    @rule(licence=st.sampled_from(LICENCES), count=st.integers(0, 4), after=st.sampled_from(SPANS))
    def record(self, licence: str, count: int, after: int) -> None:
        self.measured(lambda: self.rig.advance(after))
        self.measured(lambda: self.rig.use(licence, count))

    @rule(after=st.sampled_from(SPANS))
    def close(self, after: int) -> None:
        self.measured(lambda: self.rig.advance(after))
        keys = self.measured(self.rig.close)
        assert set(keys) <= set(self.archive)

    @rule(after=st.sampled_from(SPANS))
    def time_passes(self, after: int) -> None:
        self.measured(lambda: self.rig.advance(after))

    @rule(back=st.sampled_from([1, 60, 61, 5000, 2 * DAY]))
    def the_clock_goes_back(self, back: int) -> None:
        self.measured(lambda: self.rig.advance(-back))

    @rule(config=st.sampled_from(CONFIGS), replace=st.booleans())
    def configure(self, config: dict[str, Any], replace: bool) -> None:
        self.measured(lambda: self.rig.edit(config, operation="replace" if replace else None))

    @rule(whole=st.booleans(), user=st.sampled_from([ADMIN, COLLECTOR, READER]))
    def read_documents(self, whole: bool, user: Any) -> None:
        path = f"{STATE_INFO}/slp-agent:rum-reports-closed"
        there = self.entries("rum-reports-closed-keys")
        key = there[len(there) // 2]["rum-report-key"] if there else "x"
        selection = self.rig.select(path) if whole else self.rig.select(path, rum_report_key=key)
        self.measured(lambda: self.rig.collect(selection, user))
        states = {entry["rum-report-key"]: entry["report-state"] for entry in self.entries("rum-reports-closed-keys")}
        if there and user is COLLECTOR:
            assert states[key] == "rum-report-state-unacknowledged"
            assert not whole or set(states.values()) == {"rum-report-state-unacknowledged"}

    @rule(part=st.integers(1, 3), wrong=st.booleans())
    def acknowledge(self, part: int, wrong: bool) -> None:
        """Some of all reports that the authority ever saw, perhaps with one that it made up."""
        known = [(number, signed.digest) for number, signed in self.reports.items()][::part]
        if wrong:
            known.append((self.rig.state.next_report_id + 5, "0" * 64))
        if known:
            self.install(self.rig.ack(*known))

    @rule(terms=st.sampled_from(TERMS))
    def new_policy(self, terms: PolicyTerms) -> None:
        self.install(self.rig.authority.file(self.rig.policy(terms)))

    @rule()
    def new_trust_code(self) -> None:
        self.install(self.rig.authority.file(self.rig.trust_code()))

    def install(self, content: bytes) -> None:
        self.files.append(content)
        self.measured(lambda: self.rig.install(content))

    @rule(cut=st.integers(0, 2000))
    def install_something_broken_or_old(self, cut: int) -> None:
        content = self.files[cut % len(self.files)] if self.files else b"<smartLicense/>"
        before = self.rig.state, self.rig.kept()
        if cut % 2:
            self.measured(lambda: self.rig.install(content[: 1 + cut % (len(content) - 1)]))
            assert (self.rig.state, self.rig.kept()) == before
        else:
            self.measured(lambda: self.rig.install(content))

    @rule(after=st.sampled_from(SPANS), crash=st.booleans())
    def restart(self, after: int, crash: bool) -> None:
        self.counted(lambda: self.rig.end(crash=crash))
        self.rig.clock.at += after
        before = self.rig.state
        self.rig.begin()
        assert self.rig.state.counts.closed >= before.counts.closed
        self.look()

    # What always holds

    @invariant()
    def a_restart_would_find_what_is_shown(self) -> None:
        if hasattr(self, "rig"):
            assert self.rig.replayed() == self.rig.state

    @invariant()
    def counts_are_those_of_the_rows(self) -> None:
        if not hasattr(self, "rig"):
            return
        counts = {name: int(value) for name, value in self.rig.part("slp-agent:report-counts").items()}
        states = [entry["report-state"] for entry in self.entries("rum-reports-closed-keys")]
        assert counts["available"] == states.count("rum-report-state-closed")
        assert counts["waiting"] == states.count("rum-report-state-unacknowledged")
        assert counts["acknowledged"] == counts["purged"] == len(self.archive) - len(states)
        assert counts["total"] == len(self.archive) + counts["collecting"]
        in_use = sum(entry["count"] > 0 for entry in self.rig.part("usage"))
        assert counts["collecting"] == in_use

    @invariant()
    def both_encodings_say_the_same(self) -> None:
        if not hasattr(self, "rig"):
            return
        element = etree.fromstring(b"<data>" + self.rig.xml() + b"</data>")
        assert tree_of(element, self.rig.schema.root) == self.rig.json()

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        if not hasattr(self, "rig"):
            return
        closed = sum(
            (row.end - row.start) * row.count for signed in self.reports.values() for row in signed.report.measurements
        )
        at = self.rig.state.at
        running = sum(
            (span.end - span.start) * span.used
            for use in self.rig.state.licences.values()
            if use.report is not None
            for span in use.report.spans(at)
        )
        assert closed + running == self.expected

    @invariant()
    def the_reports_are_one_chain(self) -> None:
        if not hasattr(self, "rig"):
            return
        chain = sorted((signed.report for signed in self.reports.values()), key=lambda report: report.sequence)
        assert [report.sequence for report in chain] == list(range(1, len(chain) + 1))
        for report, following in itertools.pairwise(chain):
            assert following.previous_report_id == report.report_id
            assert following.previous_digest == self.reports[report.report_id].digest
        assert len(self.archive) == len(self.reports)
        assert all(json.loads(document)["signature"]["sudi"] for document in self.archive.values())


COMMON = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    database=None,
    report_multiple_bugs=False,
)


def test_random_lives() -> None:
    """A few short ones in every run."""
    few = settings(COMMON, max_examples=16, stateful_step_count=12, phases=[Phase.generate])
    run_state_machine_as_test(Life, settings=few)


@pytest.mark.slow
def test_many_random_lives(seed: int) -> None:
    """SLP_SEED=N repeats them."""
    many = settings(COMMON, max_examples=80, stateful_step_count=40)
    run_state_machine_as_test(hypothesis.seed(seed)(Life), settings=many)
