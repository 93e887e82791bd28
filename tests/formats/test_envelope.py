"""The door: serial floors, order of checks, mutated and cut bytes, and that nothing but DocumentError comes out."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.formats import certificates, errors, jsontext, rum, smartlicense
from agent.formats.documents import Ack, Acknowledged
from agent.formats.envelope import Floor, open_report
from agent.formats.signing import LocalSigner
from agent.formats.udi import Udi
from tests.formats.authority import (
    ANCHOR,
    CERTIFICATE,
    DEVICE,
    NOW,
    ROOT,
    SIGNER,
    TRUST_CODE,
    UDI,
    YEAR,
    ack,
    chain,
    heading,
    issued,
    opened,
    opening_of,
    policy,
    report,
    trust_code,
)


def test_order_of_effect_is_fixed_whatever_the_order_in_the_file() -> None:
    file = smartlicense.write_documents([("acknowledgement", issued(ack(9))), ("acknowledgement", issued(ack(8)))])
    text = file.decode().replace("</smartLicense>", "")
    more = smartlicense.write_documents([("policy", issued(policy())), ("trust-code", issued(trust_code()))])
    both = (text + more.decode().replace("<smartLicense>", "")).encode()
    found = [(o.document.kind, o.document.heading.serial) for o in opened(both)]
    assert found == [("trust-code", 7), ("policy", 7), ("acknowledgement", 8), ("acknowledgement", 9)]


def test_exact_replay_is_told_and_other_content_is_stale() -> None:
    document = issued(ack(7))
    (first,) = opened(document)
    floors = {"acknowledgement": first.floor}
    assert not first.replay
    assert [o.replay for o in opened(document, floors)] == [True]
    for stale in (ack(7, report_id=2), ack(6)):
        with pytest.raises(errors.StaleSerial):
            opened(issued(stale), floors)
    assert not opened(issued(ack(8)), floors)[0].replay


def test_signing_again_is_still_the_same_document() -> None:
    """Two signatures over one payload are one document: its digest is what the floor remembers."""
    one, two = issued(ack(7)), issued(ack(7))
    assert one != two
    assert [o.replay for o in opened(two, {"acknowledgement": opened(one)[0].floor})] == [True]


def test_a_file_imported_before_is_a_replay_as_a_whole() -> None:
    documents = [issued(ack(serial, serial)) for serial in (5, 6)]
    file = smartlicense.write_documents([("acknowledgement", document) for document in documents])
    fresh = opened(file)
    assert [o.replay for o in fresh] == [False, False]
    floors = {"acknowledgement": fresh[-1].floor}
    assert [o.replay for o in opened(file, floors)] == [True, True]
    with pytest.raises(errors.StaleSerial):
        opened(documents[0], floors)


def test_older_document_beside_a_newer_one_is_stale() -> None:
    file = smartlicense.write_documents([("acknowledgement", issued(ack(serial, serial))) for serial in (5, 9)])
    with pytest.raises(errors.StaleSerial):
        opened(file, {"acknowledgement": Floor(6, "00" * 32)})


def test_equal_serials_with_other_content_in_one_file_are_stale() -> None:
    file = smartlicense.write_documents([("acknowledgement", issued(ack(5, number))) for number in (1, 2)])
    with pytest.raises(errors.StaleSerial):
        opened(file)


def test_floors_are_kept_by_kind() -> None:
    floors = {"acknowledgement": Floor(100, "00" * 32)}
    assert opened(issued(policy(7)), floors)[0].document == policy(7)


def test_a_bad_document_leaves_the_others_of_its_file_alone() -> None:
    file = smartlicense.write_documents(
        [("policy", issued(policy())), ("acknowledgement", issued(ack(udi=Udi("VR-1000", "OTHER"))))]
    )
    found = opening_of(file)
    assert [o.document for o in found.opened] == [policy()]
    assert [(r.kind, r.error.reason) for r in found.rejected] == [("acknowledgement", "wrong-addressee")]


def test_signature_is_checked_before_anything_inside_is_read() -> None:
    """A forged document that is also expired, misaddressed and of another version says only bad-signature."""
    wrong = ack(7, udi=Udi("OTHER", "1"), expires=1, lab=True)
    forged = json.loads(issued(wrong))
    forged["payload"] = forged["payload"].replace('"version":"1.0"', '"version":"9.0"')
    with pytest.raises(errors.BadSignature):
        opened(json.dumps(forged).encode())


def test_anchor_itself_expires() -> None:
    short = certificates.make_anchor(ROOT, "Test root", NOW - YEAR, NOW - 3601)
    with pytest.raises(errors.CertificateExpired):
        opened(issued(ack()), anchors=[short])


def test_second_anchor_serves_and_none_refuses() -> None:
    other = certificates.make_anchor(LocalSigner.generate(), "Other", NOW - YEAR, NOW + YEAR)
    assert opened(issued(ack()), anchors=[other, ANCHOR])
    with pytest.raises(errors.UntrustedSigner):
        opened(issued(ack()), anchors=[])


def test_an_end_entity_as_anchor_issues_nothing() -> None:
    lower = LocalSigner.generate()
    below = certificates.make_signer(CERTIFICATE, SIGNER, "Below", lower.public_key, NOW - YEAR, NOW + YEAR)
    document = json.loads(issued(ack()))
    document["signature"]["certificates"] = [certificates_text(below)]
    with pytest.raises(errors.NotASigner):
        opened(json.dumps(document).encode(), anchors=[CERTIFICATE])


def certificates_text(der: bytes) -> str:
    import base64

    return base64.b64encode(der).decode()


def test_lab_device_takes_lab_documents_only() -> None:
    lab = issued(ack(7, lab=True))
    assert opened(lab, lab=True)
    with pytest.raises(errors.LabMismatch):
        opened(lab)
    with pytest.raises(errors.LabMismatch):
        opened(issued(ack()), lab=True)


def test_oversize_file_and_too_many_documents() -> None:
    with pytest.raises(errors.TooLarge):
        opened(b"{" + b" " * jsontext.MAX_BYTES)
    file = smartlicense.write_documents([("acknowledgement", issued(ack()))] * 65)
    with pytest.raises(errors.TooLarge):
        opened(file)


def test_acknowledgement_of_the_greatest_size_fits() -> None:
    many = Ack(heading(), tuple(Acknowledged(number, f"{number:064x}") for number in range(1, 20_001)))
    assert opened(issued(many))[0].document == many


FILE = smartlicense.write_documents(
    [("trust-code", issued(trust_code())), ("policy", issued(policy())), ("acknowledgement", issued(ack()))]
)


@settings(max_examples=150)
@given(st.integers(0, len(FILE) - 1))
def test_cut_anywhere_is_refused(length: int) -> None:
    if FILE[:length].rstrip() == FILE.rstrip():
        return
    with pytest.raises(errors.DocumentError):
        opened(FILE[:length])


@settings(max_examples=300)
@given(st.integers(0, len(FILE) - 1), st.integers(0, 255))
def test_one_changed_byte_changes_nothing_or_is_refused(position: int, value: int) -> None:
    changed = FILE[:position] + bytes([value]) + FILE[position + 1 :]
    expected = [o.document for o in opened(FILE)]
    try:
        found = [o.document for o in opened(changed)]
    except errors.DocumentError:
        return
    # An element whose name was hit is passed over; what is left must be genuine.
    assert all(document in expected for document in found)


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=400), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
def test_noise_gives_a_document_error_and_nothing_else(data: bytes) -> None:
    for attempt in (data, b"{" + data, b"<smartLicense><smartLicenseRumAck><data>" + data, FILE + data + b"<"):
        with pytest.raises(errors.DocumentError):
            opened(attempt)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = ("header", "addressee", "serial", "issued", "expires", "lab", "account", "body")


@settings(max_examples=200)
@given(st.sampled_from(MEMBERS), JSON)
def test_genuine_document_with_any_member_never_crashes(name: str, value: object) -> None:
    """Even the authority itself cannot crash a device: any JSON in place of any signed member."""
    envelope = json.loads(issued(ack()))
    payload = json.loads(envelope["payload"])
    payload[name] = value
    text = json.dumps(payload)
    envelope["payload"] = text
    envelope["header"] = value if name == "header" else envelope["header"]
    envelope["signature"]["value"] = certificates_text(SIGNER.sign(text.encode("utf-8", "surrogatepass")))
    try:
        found = opened(json.dumps(envelope).encode())
    except errors.DocumentError:
        return
    assert found[0].document.kind == "acknowledgement"


REPORT = rum.seal(report(trust_request=DEVICE.public_key), DEVICE, TRUST_CODE)


@settings(max_examples=300)
@given(st.integers(0, len(REPORT) - 1), st.integers(0, 255))
def test_report_with_one_changed_byte(position: int, value: int) -> None:
    changed = REPORT[:position] + bytes([value]) + REPORT[position + 1 :]
    try:
        found = open_report(changed, pinned=lambda _: DEVICE.public_key, now=NOW, skew=3600, lab=False)
    except errors.DocumentError:
        return
    assert found.report == report(trust_request=DEVICE.public_key)


def test_report_of_another_key_is_refused_when_pinned() -> None:
    (document,) = chain(1, LocalSigner.generate())
    with pytest.raises(errors.WrongKey):
        open_report(document, pinned=lambda _: DEVICE.public_key, now=NOW, skew=3600, lab=False)
    signed = open_report(document, pinned=lambda _: None, now=NOW, skew=3600, lab=False)
    assert signed.public_key != DEVICE.public_key
    assert signed.report.udi == UDI
