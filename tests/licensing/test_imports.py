"""Installing what the authority sends: ACK, policy, trust code; every refusal with its code and an unchanged state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import hashlib

import pytest

from agent.formats import errors
from agent.formats.documents import Ack, Acknowledged, PolicyClass, PolicyTerms
from agent.formats.envelope import Checked
from agent.formats.smartlicense import write_documents
from agent.licensing import refusals
from agent.licensing.commands import ImportContent, InstallAnchors
from agent.licensing.engine import check, decide
from agent.licensing.notices import (
    ContentWasRefused,
    PolicyWasInstalled,
    ReportsWereAcknowledged,
    TrustCodeWasInstalled,
)
from agent.licensing.reports import figures
from tests.licensing.kit import DAY, T0, Authority, Device, key, running

ADVANTAGE = "network-advantage"
TERMS = PolicyTerms("Terms", perpetual=PolicyClass(30, 60, 60))


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def device(authority: Authority) -> Device:
    """Three licences in use, three reports closed, one of them delivered."""
    made = running().trusting(authority)
    for name in (ADVANTAGE, "dna-advantage", "voice-session"):
        made.use(name, 2)
    made.close(after=DAY // 2)
    made.deliver(T0)
    return made


def refused(device: Device, content: bytes, code: str, reason: str) -> ContentWasRefused:
    """The content is refused like this, is told of once, and nothing changes."""
    before, rows = device.state.to_json(), dict(device.store.reports.rows)
    decision = device.install(content, after=5)
    assert (decision.reply.code, decision.reply.reason) == (code, reason)
    assert decision.events == ()
    assert device.state.to_json() == before
    assert device.store.reports.rows == rows
    (notice,) = decision.notices
    assert isinstance(notice, ContentWasRefused)
    assert (notice.code, notice.reason, notice.who) == (code, reason, "collector")
    assert notice.message == decision.reply.message != ""
    return notice


def test_an_ack_with_policy_and_trust_code(device: Device, authority: Authority) -> None:
    rows = device.store.reports.rows.values()
    ack = Ack(authority.heading(device), tuple(Acknowledged(row.report_id, row.digest) for row in rows))
    file = authority.file(ack, authority.policy(device, TERMS), authority.trust_code(device))
    decision = device.install(file, after=60)
    assert decision.reply.code == "success"
    assert [result.kind for result in decision.reply.documents] == ["trust-code", "policy", "acknowledgement"]
    assert [result.code for result in decision.reply.documents] == ["success"] * 3
    assert device.store.reports.rows == {}
    assert figures(device.state)._asdict() == {
        "total": 6,
        "purged": 3,
        "acknowledged": 3,
        "waiting": 0,
        "available": 0,
        "collecting": 3,
    }
    assert device.state.last_ack_at == device.now
    assert device.state.account == ("Example Networks", "Default")
    assert [type(notice) for notice in decision.notices] == [
        TrustCodeWasInstalled,
        PolicyWasInstalled,
        ReportsWereAcknowledged,
    ]
    assert ReportsWereAcknowledged(3, device.now, device.now + 60 * DAY) in decision.notices


def test_reports_are_signed_under_the_trust_code_and_ask_for_none(device: Device, authority: Authority) -> None:
    assert {signed.report.trust_request for signed in device.documents} == {device.signer.public_key}
    device.install(authority.file(authority.trust_code(device, years=1)))
    device.close(after=10)
    assert {(signed.signing_type, signed.report.trust_request) for signed in device.documents[3:]} == {
        ("trust-code", None)
    }
    device.close(after=400 * DAY)
    assert {signed.signing_type for signed in device.documents[6:]} == {"builtin"}
    assert {signed.report.trust_request for signed in device.documents[6:]} == {device.signer.public_key}


def test_an_exact_replay_is_success_and_changes_nothing(device: Device, authority: Authority) -> None:
    rows = device.store.reports.rows.values()
    ack = Ack(authority.heading(device), tuple(Acknowledged(row.report_id, row.digest) for row in rows))
    file = authority.file(ack, authority.policy(device, TERMS), authority.trust_code(device))
    device.install(file)
    before = device.state.to_json()
    again = device.install(file, after=DAY)
    assert again.reply.code == "success"
    assert "before" in again.reply.message
    assert (again.events, again.notices) == ((), ())
    assert device.state.to_json() == before


def test_an_ack_for_a_part_acknowledges_that_part(device: Device, authority: Authority) -> None:
    row = device.store.reports.rows[T0 + 1]
    open_id = next(use.report.report_id for use in device.state.licences.values() if use.report)
    content = authority.ack(device, (row.report_id, row.digest), (open_id, "0" * 64), (7, "0" * 64), (T0 + 2, "f" * 64))
    decision = device.install(content)
    assert decision.reply.code == "success"
    assert "1 report acknowledged" in decision.reply.message
    assert f"no closed report has this id: {open_id}, 7" in decision.reply.message
    assert f"another digest: {T0 + 2}" in decision.reply.message
    assert sorted(device.store.reports.rows) == [T0, T0 + 2]
    assert figures(device.state)[1:5] == (1, 1, 1, 1)


def test_a_later_ack_may_name_purged_reports_again(device: Device, authority: Authority) -> None:
    named = [(row.report_id, row.digest) for row in device.store.reports.rows.values()]
    device.install(authority.ack(device, *named[:2]))
    decision = device.install(authority.ack(device, *named))
    assert "1 report acknowledged; 2 were acknowledged before" in decision.reply.message
    assert figures(device.state).acknowledged == 3


def test_a_bare_document_that_fails_is_told_of_as_what_it_says_it_is(device: Device, authority: Authority) -> None:
    bare = authority.sign(authority.trust_code(device, signer=key("somebody")))
    decision = device.install(bare)
    (notice,) = decision.notices
    assert isinstance(notice, ContentWasRefused)
    assert (notice.kind, notice.reason) == ("trust-code", "wrong-key")


def test_an_older_document_that_rides_along_is_not_said_to_have_been_installed(
    device: Device, authority: Authority
) -> None:
    """It may have been refused then."""
    numbers = [row.report_id for row in device.store.reports.rows.values()]
    wrong = Ack(authority.heading(device), (Acknowledged(7, "0" * 64),))
    row = device.store.reports.rows[numbers[0]]
    file = authority.file(wrong, Ack(authority.heading(device), (Acknowledged(row.report_id, row.digest),)))
    assert [each.code == "success" for each in device.install(file).reply.documents] == [False, True]
    older, newest = device.install(file).reply.documents
    assert "passed over" in older.message
    assert newest.message == "this acknowledgement was installed before"


def test_an_ack_reads_no_document(device: Device, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many reports it names, none is read whole; nor does marking them as delivered."""
    named = [(row.report_id, row.digest) for row in device.store.reports.rows.values()]
    for whole in ("by_id", "find", "pages"):
        monkeypatch.setattr(device.store.reports, whole, lambda *_: pytest.fail("a report was read"))
    device.deliver(*(number for number, _ in named))
    device.install(authority.ack(device, *named))
    assert figures(device.state).acknowledged == 3


def test_two_acks_in_one_file_count_no_report_twice(device: Device, authority: Authority) -> None:
    entries = tuple(Acknowledged(row.report_id, row.digest) for row in device.store.reports.rows.values())
    device.install(
        authority.file(Ack(authority.heading(device), entries[:2]), Ack(authority.heading(device), entries[1:]))
    )
    assert figures(device.state)[1:5] == (3, 3, 0, 0)
    assert device.store.reports.rows == {}


def test_an_ack_of_unknown_reports_only_is_refused(device: Device, authority: Authority) -> None:
    refused(device, authority.ack(device, (7, "0" * 64)), "requesteditemnotfound", "unknown-report")
    refused(device, authority.ack(device, (T0, "0" * 64)), "codevalidationfailed", "other-digest")
    many = [(number, "0" * 64) for number in range(1, 200)]
    assert (
        "and 189 more"
        in refused(device, authority.ack(device, *many), "requesteditemnotfound", "unknown-report").message
    )


def test_a_policy_is_installed_though_the_ack_beside_it_is_refused(device: Device, authority: Authority) -> None:
    ack = Ack(authority.heading(device), (Acknowledged(7, "0" * 64),))
    decision = device.install(authority.file(ack, authority.policy(device, TERMS)))
    assert decision.reply.code == "requesteditemnotfound"
    assert [result.code for result in decision.reply.documents] == ["success", "requesteditemnotfound"]
    assert "custom" in device.state.policies
    assert set(device.state.floors) == {"policy"}


Make = Callable[[Device, Authority], bytes]


def _altered(device: Device, authority: Authority) -> bytes:
    return authority.ack(device).replace(b"Example Networks", b"Example Networkz")


def _truncated(device: Device, authority: Authority) -> bytes:
    return authority.ack(device)[:-40]


def _stale(device: Device, authority: Authority) -> bytes:
    older = authority.policy(device, TERMS)
    device.install(authority.file(authority.policy(device, TERMS)))
    return authority.file(older)


def _other_device(device: Device, authority: Authority) -> bytes:
    other = Device(device.profile.with_serial("OTHER"), now=device.now)
    return authority.file(authority.policy(other, TERMS))


REFUSALS: list[tuple[str, str, Make]] = [
    ("verifysignaturefailed", "bad-signature", _altered),
    ("msgparse", "malformed", _truncated),
    ("msgparse", "malformed", lambda d, a: b""),
    ("msgparse", "malformed", lambda d, a: b"\xff\xfe\x00"),
    ("msgparse", "malformed", lambda d, a: b'{"payload": NaN'),
    ("msgparse", "malformed", lambda d, a: b'<!DOCTYPE x [<!ENTITY e "e">]><smartLicense>&e;</smartLicense>'),
    ("missingentry", "no-document", lambda d, a: b"<smartLicense/>"),
    ("messageeventexceedspeer", "too-large", lambda d, a: b" " * (5 << 20)),
    ("matchidentifier", "wrong-addressee", _other_device),
    ("matchnonce", "stale-serial", _stale),
    ("couldnotvalidatetrustchain", "untrusted-signer", lambda d, a: Authority("another").ack(d)),
    ("matchvendor", "lab-mismatch", lambda d, a: Authority(lab=True).ack(d)),
    ("invalidresponse", "issued-in-future", lambda d, a: a.file(a.policy(d, TERMS, issued=d.now + DAY))),
    ("certexpired", "expired", lambda d, a: a.file(a.policy(d, TERMS, expires=d.now - DAY))),
    ("certificatemismatch", "wrong-key", lambda d, a: a.file(a.trust_code(d, key("someone else")))),
]


@pytest.mark.parametrize(("code", "reason", "make"), REFUSALS, ids=[f"{n}-{r[1]}" for n, r in enumerate(REFUSALS)])
def test_refused_documents_change_nothing(
    device: Device, authority: Authority, code: str, reason: str, make: Make
) -> None:
    refused(device, make(device, authority), code, reason)


def test_a_report_of_the_device_is_no_document_for_it(device: Device) -> None:
    document = device.store.reports.rows[T0].document
    refused(device, document, "notsupported", "unknown-type")


def test_a_trust_code_cannot_sign_documents(device: Device, authority: Authority) -> None:
    """A device's own certificate is issued by the same root, but is not for signing documents."""
    authority.signer = authority.trust_code(device, key("authority signer")).certificate
    refused(device, authority.ack(device), "signcertverificationfailed", "not-a-signer")


def test_without_anchors_nothing_is_believed(authority: Authority) -> None:
    device = running()
    refused(device, authority.file(authority.policy(device, TERMS)), "couldnotvalidatetrustchain", "untrusted-signer")


def test_a_bare_json_document_is_taken_too(device: Device, authority: Authority) -> None:
    assert device.install(authority.sign(authority.policy(device, TERMS))).reply.code == "success"
    assert write_documents([]) == b"<smartLicense></smartLicense>\n"


def test_refusal_after_the_clock_was_set_back_changes_nothing_either(device: Device) -> None:
    device.now -= 5000
    refused(device, b"<smartLicense/>", "missingentry", "no-document")


def test_anchors_are_replaced_and_an_equal_set_is_no_event(device: Device, authority: Authority) -> None:
    assert device.do(InstallAnchors((authority.anchor,))).events == ()
    other = Authority("another")
    device.do(InstallAnchors((other.anchor,)))
    refused(device, authority.file(authority.policy(device, TERMS)), "couldnotvalidatetrustchain", "untrusted-signer")


def test_delivery_moves_each_report_once(device: Device) -> None:
    before = figures(device.state)
    assert (before.available, before.waiting) == (2, 1)
    assert device.deliver(T0, T0 + 1, T0 + 1, 12345).events[0].report_ids == (T0 + 1,)  # type: ignore[union-attr]
    assert device.deliver(T0, T0 + 1).events == ()
    after = figures(device.state)
    assert (after.available, after.waiting) == (1, 2)


def test_delivery_of_many_reports_walks_in_pages() -> None:
    device = Device(check=False)
    device.start()
    device.use(ADVANTAGE, 1)
    for _ in range(1200):
        device.close(after=10)
    moved = device.deliver(*range(T0, T0 + 5000, 2))
    assert len(moved.events[0].report_ids) == 600  # type: ignore[union-attr]
    assert figures(device.state).waiting == 600


def test_purged_documents_were_the_signed_ones(device: Device, authority: Authority) -> None:
    """What waits is byte for byte what was signed; nothing else is purged than what an ACK named."""
    for row in device.store.reports.rows.values():
        signed = device.verified(row.document)
        assert signed.digest == row.digest
        assert hashlib.sha256(signed.document).digest() == hashlib.sha256(row.document).digest()
    row = device.store.reports.rows[T0 + 2]
    device.install(authority.ack(device, (row.report_id, row.digest)))
    assert sorted(device.store.reports.rows) == [T0, T0 + 1]


def test_every_way_to_fail_has_a_line_in_the_table(error_enum: frozenset[str]) -> None:
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.DocumentError)
    ]
    assert {each.reason for each in classes} <= set(refusals.CODES)
    assert set(refusals.CODES.values()) <= error_enum
    assert refusals.code("of a later release") == "codevalidationfailed"


def test_an_ack_covers_the_changes_of_its_own_licences_only(device: Device, authority: Authority) -> None:
    """docs/licensing.md: each change that no acknowledged report covers; another licence's report covers nothing."""
    tags = {name: device.profile.find(name).entitlement_tag for name in (ADVANTAGE, "voice-session")}  # type: ignore[union-attr]
    row = next(row for row in device.store.reports.rows.values() if row.entitlement_tag == tags["voice-session"])
    assert device.install(authority.ack(device, (row.report_id, row.digest))).reply.code == "success"
    assert tags[ADVANTAGE] in device.state.changes
    assert tags["voice-session"] not in device.state.changes


def test_what_changed_nothing_keeps_older_ones_out_all_the_same(device: Device, authority: Authority) -> None:
    old = authority.file(authority.policy(device, TERMS))
    assert device.install(authority.file(authority.policy(device, None))).reply.code == "success"
    assert device.install(old).reply.reason == "stale-serial"
    assert device.state.policies == {}


def checked(device: Device, content: bytes) -> Checked:
    found = check(device.state, content, device.now, device.context)
    assert found is not None
    return found


def test_a_check_made_beforehand_gives_the_same_decision(device: Device, authority: Authority) -> None:
    """Good, bad and stale documents in one file; what was checked is taken as it is and not asked again."""
    ack = Ack(authority.heading(device), tuple(Acknowledged(n, "a" * 64) for n in (T0, T0 + 1)))
    parts = [("policy", authority.sign(authority.policy(device, TERMS))), ("acknowledgement", authority.sign(ack))]
    file = write_documents([*parts, ("policy", b"{}")])
    before = checked(device, file)
    with_it, without = (
        decide(device.state, ImportContent(file, "collector", given), device.now + 1, device.context)
        for given in (before, None)
    )
    assert with_it == without
    assert {result.code for result in with_it.reply.documents} >= {"success", "codevalidationfailed", "msgparse"}
    forged = before._replace(verified=())
    decision = decide(device.state, ImportContent(file, "collector", forged), device.now, device.context)
    assert len(decision.reply.documents) == 1, "it was not asked again"


def test_a_check_made_before_the_anchors_changed_counts_for_nothing(device: Device, authority: Authority) -> None:
    file = authority.ack(device)
    before = checked(device, file)
    device.do(InstallAnchors((Authority("other").anchor,)))
    decision = decide(device.state, ImportContent(file, "collector", before), device.now, device.context)
    assert (decision.reply.code, decision.events) == ("couldnotvalidatetrustchain", ())


@pytest.mark.parametrize("later", [-1, 61])
def test_a_check_of_another_time_counts_for_nothing(device: Device, authority: Authority, later: int) -> None:
    file = authority.ack(device)
    emptied = checked(device, file)._replace(verified=())
    emptied = emptied._replace(door=replace(emptied.door, now=device.now - later))
    decision = decide(device.state, ImportContent(file, "collector", emptied), device.now, device.context)
    assert "3 reports acknowledged" in decision.reply.message


def test_a_check_of_another_file_counts_for_nothing(device: Device, authority: Authority) -> None:
    """Of another mode neither: what it was made under is compared as a whole."""
    good, altered = authority.ack(device), authority.ack(device).replace(b"report_id", b"report_iD")
    decision = decide(
        device.state, ImportContent(altered, "collector", checked(device, good)), device.now, device.context
    )
    assert (decision.reply.code, decision.events) == ("verifysignaturefailed", ())
    lab = check(device.state, good, device.now, replace(device.context, lab=True))
    decision = decide(device.state, ImportContent(good, "collector", lab), device.now, device.context)
    assert decision.reply.code == "success", "the refusal was the lab's"


def test_a_file_that_cannot_be_read_is_left_to_the_decision(device: Device) -> None:
    assert check(device.state, b"<smartLicense", device.now, device.context) is None
