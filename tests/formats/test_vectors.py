"""The vectors in tests/vectors, made by a writer that does not use agent.formats, opened and made again by ours."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from agent.formats import documents, errors, jsontext, requests, rum
from agent.formats.envelope import Floor, Opened, open_documents, open_report, open_request
from agent.formats.issue import issue
from agent.formats.rum import seal
from agent.formats.signing import LocalSigner
from agent.formats.udi import Udi

FOLDER = Path(__file__).parent.parent / "vectors"
SHARED = json.loads((FOLDER / "shared.json").read_text())
DOCUMENTS = json.loads((FOLDER / "documents.json").read_text())
REPORTS = json.loads((FOLDER / "reports.json").read_text())
REQUESTS = json.loads((FOLDER / "requests.json").read_text())
DEVICE = LocalSigner.from_pem(SHARED["device_key"].encode())
UDI = Udi.from_sudi(SHARED["udi"])
FLOORS = {kind: Floor(**floor) for kind, floor in SHARED["floor"].items()}
REASONS = {refusal.reason for refusal in errors.DocumentError.__subclasses__()}


def named(entries: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(entry, id=entry["name"]) for entry in entries]


def open_vector(data: bytes, utility: bool = False) -> list[Opened]:
    opening = open_documents(
        data,
        addressee=UDI,
        device_key=DEVICE.public_key,
        anchors=[base64.b64decode(SHARED["anchor"])],
        now=SHARED["now"],
        skew=SHARED["skew"],
        lab=False,
        floor=FLOORS.get,
        utility=utility,
    )
    for rejected in opening.rejected:
        raise rejected.error
    return opening.opened


@pytest.mark.parametrize("entry", named(DOCUMENTS["good"]))
def test_good_document_opens_to_its_value(entry: dict[str, Any]) -> None:
    opened = open_vector(entry["file"].encode(), entry.get("utility", False))
    found = [
        {"kind": o.document.kind, "serial": o.document.heading.serial, "body": documents.body(o.document)}
        | ({} if o.document.heading.expires is None else {"expires": o.document.heading.expires})
        for o in opened
    ]
    assert found == entry["expect"]
    assert not any(o.replay for o in opened)
    assert {o.document.heading.account for o in opened} == {documents.Account("Vector Corp", "Default")}


@pytest.mark.parametrize("entry", named(DOCUMENTS["bad"]))
def test_bad_document_is_refused_for_its_reason(entry: dict[str, Any]) -> None:
    with pytest.raises(errors.DocumentError) as caught:
        open_vector(entry["file"].encode(), entry.get("utility", False))
    assert caught.value.reason == entry["reason"]
    assert caught.value.message


def test_every_reason_has_a_vector() -> None:
    assert {entry["reason"] for entry in DOCUMENTS["bad"]} == REASONS


@pytest.mark.parametrize("entry", named(DOCUMENTS["good"]))
def test_ours_writes_what_the_vector_says(entry: dict[str, Any]) -> None:
    """Other direction: the value, issued by our writer, holds the members that the other writer made."""
    signer = LocalSigner.from_pem(SHARED["signer_key"].encode())
    certificate = base64.b64decode(SHARED["signer_certificate"])
    utility = entry.get("utility", False)
    for opened, expected in zip(open_vector(entry["file"].encode(), utility), entry["expect"], strict=True):
        made = json.loads(issue(opened.document, signer, certificate))
        payload = json.loads(made["payload"])
        assert payload["body"] == expected["body"]
        assert payload["addressee"] == SHARED["udi"]
        assert made["header"] == payload["header"] == {"type": expected["kind"], "version": "1.0"}
        assert [again.document for again in open_vector(json.dumps(made).encode(), utility)] == [opened.document]


def open_report_vector(document: str, pinned: bytes | None = None) -> rum.Report:
    signed = open_report(document.encode(), pinned=lambda _: pinned, now=SHARED["now"], skew=SHARED["skew"], lab=False)
    assert signed.public_key == DEVICE.public_key
    return signed.report


@pytest.mark.parametrize("entry", named(REPORTS["good"]))
def test_good_report_opens_and_is_written_the_same(entry: dict[str, Any]) -> None:
    report = open_report_vector(entry["document"], DEVICE.public_key)
    assert json.loads(rum.payload(report)) == entry["payload"]
    again = json.loads(seal(report, DEVICE))
    assert json.loads(again["payload"]) == entry["payload"]
    assert open_report_vector(json.dumps(again)) == report


@pytest.mark.parametrize("entry", named(REPORTS["bad"]))
def test_bad_report_is_refused_for_its_reason(entry: dict[str, Any]) -> None:
    with pytest.raises(errors.DocumentError) as caught:
        open_report_vector(entry["document"])
    assert caught.value.reason == entry["reason"]


def open_request_vector(document: str) -> requests.Request:
    signed = open_request(document.encode(), now=SHARED["now"], skew=SHARED["skew"], lab=False)
    assert signed.public_key == DEVICE.public_key
    return signed.request


@pytest.mark.parametrize("entry", named(REQUESTS["good"]))
def test_good_request_opens_and_is_written_the_same(entry: dict[str, Any]) -> None:
    request = open_request_vector(entry["document"])
    assert json.loads(requests.payload(request)) == entry["payload"]
    again = json.loads(requests.seal_request(request, DEVICE))
    assert json.loads(again["payload"]) == entry["payload"]
    assert open_request_vector(json.dumps(again)) == request


@pytest.mark.parametrize("entry", named(REQUESTS["bad"]))
def test_bad_request_is_refused_for_its_reason(entry: dict[str, Any]) -> None:
    with pytest.raises(errors.DocumentError) as caught:
        open_request_vector(entry["document"])
    assert caught.value.reason == entry["reason"]


def test_rewrapping_keeps_the_digest() -> None:
    good = {entry["name"]: entry["document"].encode() for entry in REPORTS["good"]}
    assert good["builtin"] != good["rewrapped"]
    assert rum.digest_of(good["builtin"]) == rum.digest_of(good["rewrapped"])


def test_payload_of_a_vector_is_byte_for_byte_ours() -> None:
    """Our member order is fixed: the exact string is part of the vectors."""
    entry = REPORTS["good"][0]
    exact = json.loads(entry["document"])["payload"]
    assert rum.payload(open_report_vector(entry["document"])) == exact == jsontext.dump(entry["payload"])


def test_every_class_is_in_the_specification() -> None:
    page = (FOLDER.parent.parent / "docs" / "formats.md").read_text()
    for refusal in errors.DocumentError.__subclasses__():
        assert f"| `{refusal.reason}` | {refusal.__name__} |" in page
