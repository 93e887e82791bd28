"""The authority's decisions, on values alone: first contact, chains, gaps, contradictions, what is acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.formats import rum
from agent.formats.documents import Account, PolicyTerms
from agent.formats.envelope import SignedReport, open_report
from agent.formats.signing import LocalSigner
from peers.authority import core
from peers.authority.core import Decision, Filed, Head, Instance, OperatorError, Pin, Settings
from tests.formats.authority import DEVICE, NOW, UDI, chain, report

SETTINGS = Settings(Account("Corp", "Default"), lab=False)
PINNED = Instance(UDI, NOW, NOW, pin=Pin(DEVICE.public_key, "e1"))


def signed(documents: Iterable[bytes]) -> list[SignedReport]:
    return [open_report(d, pinned=lambda _: None, now=NOW, skew=3600, lab=False) for d in documents]


CHAIN = signed(chain(6))


class Books:
    """Keeps what decisions say, as the store does."""

    def __init__(self, instance: Instance | None = PINNED) -> None:
        self.instance = instance
        self.filed: dict[int, Filed] = {}
        self.acknowledged: list[int] = []

    def receive(self, reports: Sequence[SignedReport], settings: Settings = SETTINGS) -> Decision:
        decision = core.receive(settings, self.instance, self.filed.values(), reports, NOW)
        self.instance = decision.instance
        for sequence in decision.dropped:
            self.filed.pop(sequence, None)
        for entry in decision.file:
            r = entry.report
            assert r.sequence not in self.filed
            self.filed[r.sequence] = Filed("e1", r.sequence, r.report_id, entry.digest, r.previous_digest, "pending")
        for sequence in decision.accepted:
            self.filed[sequence] = self.filed[sequence]._replace(state="accepted")
        if decision.fresh_ack:
            self.instance = replace(self.instance, ack=b"ack", acknowledged=decision.acknowledge)
        self.acknowledged += [entry.report_id for entry in decision.acknowledge]
        return decision


def results(decision: Decision) -> dict[int, tuple[str, str | None]]:
    return {outcome.report_id: (outcome.result, outcome.reason) for outcome in decision.outcomes}


def test_first_contact_waits_and_keeps_nothing() -> None:
    books = Books(None)
    decision = books.receive(CHAIN[:2])
    assert set(results(decision).values()) == {("pending", "first-contact")}
    assert not decision.file
    assert not decision.acknowledge
    books.instance = core.approve(decision.instance, force=False)
    assert set(results(books.receive(CHAIN[:2])).values()) == {("accepted", None)}
    assert books.instance is not None
    assert books.instance.head == Head(2, CHAIN[1].digest)


def test_approval_can_insist_on_a_key() -> None:
    instance = Books(None).receive(CHAIN[:1]).instance
    with pytest.raises(OperatorError, match="not another"):
        core.approve(instance, force=False, expected_key="another")
    assert core.approve(instance, force=False, expected_key=DEVICE.key_id).pin == PINNED.pin


def test_nothing_to_approve() -> None:
    with pytest.raises(OperatorError, match="nothing to approve"):
        core.approve(PINNED, force=True)


def test_new_key_waits_until_it_is_forced_and_starts_a_new_chain() -> None:
    books = Books()
    books.receive(CHAIN[:3])
    other = signed(chain(2, LocalSigner.generate(), epoch="e2"))
    decision = books.receive(other)
    assert set(results(decision).values()) == {("pending", "new-key")}
    assert decision.instance.pin == PINNED.pin
    with pytest.raises(OperatorError, match="--force"):
        core.approve(decision.instance, force=False)
    forced = core.approve(decision.instance, force=True)
    assert forced.pin == Pin(other[0].public_key, "e2")
    assert forced.head == Head()
    assert forced.serial == decision.instance.serial


def test_new_epoch_under_the_old_key_waits_too() -> None:
    assert set(results(Books().receive(signed(chain(1, epoch="e2")))).values()) == {("pending", "new-epoch")}


def test_gap_waits_and_is_closed_by_the_missing_report() -> None:
    books = Books()
    assert results(books.receive(CHAIN[2:4])) == {1003: ("pending", "gap"), 1004: ("pending", "gap")}
    assert books.acknowledged == []
    assert results(books.receive(CHAIN[:2])) == dict.fromkeys((1001, 1002, 1003, 1004), ("accepted", None))
    assert books.acknowledged == [1001, 1002, 1003, 1004]


def test_waiting_report_sent_again_still_waits() -> None:
    books = Books()
    books.receive(CHAIN[2:3])
    assert results(books.receive(CHAIN[2:3])) == {1003: ("pending", "gap")}


def test_duplicates_get_the_same_acknowledgement() -> None:
    books = Books()
    assert books.receive(CHAIN[:3]).fresh_ack
    again = books.receive(CHAIN[:2])
    assert set(results(again).values()) == {("duplicate", None)}
    assert again.acknowledge
    assert not again.fresh_ack


def test_duplicates_that_the_last_acknowledgement_lacks_get_a_fresh_one() -> None:
    """A device that never got the older acknowledgement is not left behind a newer serial."""
    books = Books()
    books.receive(CHAIN[:2])
    books.receive(CHAIN[2:3])
    again = books.receive(CHAIN[:2])
    assert again.fresh_ack
    assert not again.accepted
    assert [entry.report_id for entry in again.acknowledge] == [1001, 1002]


def test_only_a_newer_report_changes_the_mode() -> None:
    documents = [rum.seal(report(), DEVICE)]
    documents.append(rum.seal(replace(report(2, rum.digest_of(documents[0])), utility_enabled=True), DEVICE))
    old, new = signed(documents)
    books = Books()
    books.receive([old])
    assert books.instance is not None
    assert not books.instance.utility
    books.receive([new])
    assert books.instance.utility
    again = books.receive([old])
    assert results(again) == {1001: ("duplicate", None)}
    assert books.instance.utility
    assert books.instance.ack is not None, "what was issued for the mode can be sent again"


def test_a_report_that_waits_tells_the_mode_and_its_predecessor_that_comes_late_does_not() -> None:
    documents = [rum.seal(report(), DEVICE)]
    documents.append(rum.seal(replace(report(2, rum.digest_of(documents[0])), utility_enabled=True), DEVICE))
    old, new = signed(documents)
    books = Books()
    books.receive([new])
    books.receive([old])
    assert books.instance is not None
    assert books.instance.utility


def test_altered_history_is_refused() -> None:
    """A restored snapshot writes other reports under numbers that were filed."""
    books = Books()
    books.receive(CHAIN[:3])
    fork = rum.seal(report(3, CHAIN[1].digest, software_version="restored"), DEVICE)
    assert results(books.receive(signed([fork]))) == {1003: ("refused", "conflict")}
    below = rum.seal(report(4, "00" * 32), DEVICE)
    assert results(books.receive(signed([below]))) == {1004: ("refused", "broken-chain")}
    assert results(books.receive(CHAIN[3:4])) == {1004: ("accepted", None)}


def test_waiting_report_that_contradicts_is_dropped() -> None:
    books = Books()
    books.receive(signed([rum.seal(report(3, "00" * 32), DEVICE)]))
    found = results(books.receive(CHAIN[:2]))
    assert found == {1001: ("accepted", None), 1002: ("accepted", None), 1003: ("refused", "broken-chain")}
    assert 3 not in books.filed
    assert results(books.receive(CHAIN[2:3])) == {1003: ("accepted", None)}


def test_two_reports_of_one_number_in_one_submission() -> None:
    twin = signed([rum.seal(report(1, software_version="other"), DEVICE)])
    outcomes = Books().receive([CHAIN[0], *twin, CHAIN[0]]).outcomes
    assert sorted((o.result, o.reason) for o in outcomes) == [("accepted", None), ("refused", "conflict")]


def test_accepted_gap_lets_the_chain_go_on_and_late_reports_still_count() -> None:
    books = Books()
    books.receive(CHAIN[3:4])
    assert books.instance is not None
    books.instance = core.accept_gap(books.instance, books.filed.values())
    assert set(results(books.receive(CHAIN[3:5])).values()) == {("accepted", None)}
    assert results(books.receive(CHAIN[1:2])) == {1002: ("accepted", None)}
    assert books.instance.head.sequence == 5


def test_no_gap_to_accept() -> None:
    for waiting in ([], [Filed("e1", 1, 1001, "", None, "pending")]):
        with pytest.raises(OperatorError, match="no report that waits"):
            core.accept_gap(PINNED, waiting)


def test_trust_code_is_asked_for_again_and_renewed() -> None:
    asking = signed([rum.seal(report(trust_request=DEVICE.public_key), DEVICE)])
    assert Books().receive(CHAIN[:1]).trust == "none"
    assert Books().receive(asking).trust == "fresh"
    held = replace(PINNED, trust_code=b"x", trust_from=NOW - 10, trust_until=NOW + 12)
    assert Books(held).receive(asking).trust == "again"
    assert Books(replace(held, trust_from=NOW - 13)).receive(asking).trust == "fresh"


def test_policy_is_fresh_only_when_its_terms_change() -> None:
    with_policy = replace(SETTINGS, policy=PolicyTerms("A"))
    books = Books()
    assert books.receive(CHAIN[:1], with_policy).fresh_policy
    assert books.instance is not None
    books.instance = replace(books.instance, policy=b"x", policy_terms=PolicyTerms("A"))
    assert not books.receive(CHAIN[:2], with_policy).fresh_policy
    assert books.receive(CHAIN[:2], replace(SETTINGS, policy=PolicyTerms("B"))).fresh_policy


def test_serials_rise_above_time_and_predecessor() -> None:
    assert core.next_serial(PINNED, NOW) == NOW
    assert core.next_serial(replace(PINNED, serial=NOW + 5), NOW) == NOW + 6


@settings(max_examples=100)
@given(st.lists(st.lists(st.sampled_from(range(6)), min_size=1, max_size=4), max_size=8))
def test_any_order_and_repetition_accepts_each_report_once(submissions: list[list[int]]) -> None:
    """However reports are cut into submissions: all that came without a gap is accepted once, in the end wholly."""
    books = Books()
    accepted: list[int] = []
    sent: set[int] = set()
    for submission in [*submissions, list(range(6))]:
        decision = books.receive([CHAIN[index] for index in submission])
        accepted += decision.accepted
        sent |= set(submission)
        unbroken = next((index for index in range(6) if index not in sent), 6)
        assert decision.instance.head.sequence == unbroken
        assert {entry.sequence for entry in books.filed.values() if entry.state == "accepted"} == set(
            range(1, unbroken + 1)
        )
    assert sorted(accepted) == [1, 2, 3, 4, 5, 6]
    assert set(books.acknowledged) == {1001 + index for index in range(6)}
