"""The authority's documents, judged by agent.formats and by tests/formats/second_documents.py: always alike.

Every member of every kind of document: missing, standing twice, of each wrong type, out of range, oversize; signed by a
genuine authority, so that nothing but the member can be the reason.
"""

from __future__ import annotations

import ast
import base64
import json
from pathlib import Path
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.formats import errors
from agent.formats.documents import (
    Ack,
    Acknowledged,
    Authorization,
    Document,
    Entitlement,
    Policy,
    PolicyClass,
    PolicyTerms,
    Refused,
    TrustAnchors,
    TrustCode,
)
from agent.formats.envelope import Floor, open_documents
from agent.formats.smartlicense import write_documents
from agent.formats.udi import Udi
from tests.formats import second_documents
from tests.formats.authority import ANCHOR, CERTIFICATE, DEVICE, NOW, SIGNER, TRUST_CODE, UDI, YEAR, heading, issued
from tests.formats.second_documents import Device
from tests.formats.test_second import places
from tests.formats.test_vectors import DOCUMENTS, SHARED

FLOOR = Floor(6, "2a" * 32)
WHO = Device((UDI.pid, UDI.sn), DEVICE.public_key, [ANCHOR], NOW, 3600)
TERMS = PolicyTerms("P", PolicyClass(1, 2, 3), PolicyClass(), PolicyClass(0), PolicyClass(365, 0, 90), True)
WHOLE: dict[str, Document] = {
    "acknowledgement": Ack(
        heading(expires=NOW + 9), (Acknowledged(1, "a1" * 32),), (Refused(2, "b2" * 32, "conflict"),)
    ),
    "policy": Policy(heading(), TERMS, "controller"),
    "trust-code": TrustCode(heading(), TRUST_CODE, "", NOW, NOW + 8 * YEAR, True),
    "authorization": Authorization(heading(), "slac", (Entitlement("t", 3, "term", NOW + 5),), 4, True),
    "trust-anchors": TrustAnchors(heading(), (ANCHOR,)),
}


def ours(data: bytes, device: Device = WHO) -> str | list[str | None]:
    floors = {kind: Floor(*floor) for kind, floor in (device.floors or {}).items()}
    try:
        opening = open_documents(
            data, addressee=UDI if device is WHO else SHARED_UDI, device_key=device.key, anchors=device.anchors,
            now=device.now, skew=device.skew, lab=device.lab, floor=floors.get, utility=device.utility,
        )  # fmt: skip
    except errors.DocumentError as error:
        return error.reason
    return [rejected.error.reason for rejected in opening.rejected] + [None] * len(opening.opened)


def alike(data: bytes, device: Device = WHO) -> str | list[str | None]:
    mine, theirs = ours(data, device), second_documents.judge(data, device)
    if isinstance(mine, str) or isinstance(theirs, str):
        assert mine == theirs
    else:
        assert sorted(map(str, mine)) == sorted(map(str, theirs))
    return mine


def signed(payload: Any, text: str | None = None) -> bytes:
    """The payload under a genuine signature; its header stands outside too, as far as there is one."""
    header = payload.get("header") if isinstance(payload, dict) else None
    outer = header if isinstance(header, dict) else {"type": "policy", "version": "1.0"}
    certificate = base64.b64encode(CERTIFICATE).decode()
    return second_documents.sign(text or json.dumps(payload), outer, SIGNER.to_pem(), certificate)


def payload_of(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.loads(issued(WHOLE[kind]))["payload"])
    return found


def changed(payload: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at this place; `GONE`: without the member."""
    copy = json.loads(json.dumps(payload))
    inside = copy
    for step in path[:-1]:
        inside = inside[step]
    if value is GONE:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return copy


GONE = object()
WRONG: list[Any] = [
    GONE, None, True, False, 0, -1, 1, 2**31, 2**32, 2**53, 2**63 - 1, "", "x", "1", "\t", "é" * 255, "x" * 256,
    "x" * 20_000, [], [1], ["x"], [{}], {}, {"x": 1}, [[]] * 70, [{}] * 1001,
]  # fmt: skip


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@pytest.mark.parametrize("kind", WHOLE)
def test_every_member_with_every_wrong_value(kind: str) -> None:
    """Missing, of each wrong type, out of range, oversize: one verdict from both, and never a crash."""
    whole = payload_of(kind)
    assert alike(signed(whole)) == [None]
    refused = set()
    for path in places(whole):
        for value in WRONG:
            if value is GONE and isinstance(path[-1], int):
                continue
            verdict = alike(signed(changed(whole, path, value)))
            if verdict != [None]:
                refused.add(path)
    # all but those of which any value is right, or which no reader looks at
    names = {path[-1] for path in set(places(whole)) - refused if isinstance(path[-1], str)}
    assert names == set()


@pytest.mark.parametrize("kind", WHOLE)
def test_every_member_twice(kind: str) -> None:
    """In the payload at any depth, and in the envelope: malformed, whichever of the two a reader would take."""
    whole = payload_of(kind)
    for path in places(whole):
        if not isinstance(path[-1], str):
            continue
        value = at(whole, path)
        marked = changed(whole, path, {"MARK": value})
        text = json.dumps(marked)
        name, twice = json.dumps(path[-1]), json.dumps({"MARK": value})
        assert text.count(f"{name}: {twice}") == 1
        text = text.replace(f"{name}: {twice}", f"{name}: {json.dumps(value)}, {name}: {json.dumps(value)}")
        assert alike(signed(whole, text)) == ["malformed"], path
    document = issued(WHOLE[kind])
    for name in (b'"payload"', b'"header"', b'"signature"', b'"value"', b'"certificates"', b'"signing_type"'):
        head, _, rest = document.partition(name)
        assert alike(head + name + b":1," + name + rest) == ["malformed"], name


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("number", ["1.0", "1e3", "9223372036854775808", "-9223372036854775809", "1" * 5000, "NaN"])
def test_numbers_that_are_none_of_ours(kind: str, number: str) -> None:
    whole = payload_of(kind)
    text = json.dumps(changed(whole, ("serial",), "MARK")).replace('"MARK"', number)
    assert alike(signed(whole, text)) == ["malformed"]


BOMBS = {
    "entities": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><smartLicense>&b;</smartLicense>',
    "external entity": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><smartLicense>&a;</smartLicense>',
    "deep XML": b"<smartLicense>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</smartLicense>",
    "long XML": b"<smartLicense>" + b"<a/>" * 1_100_000 + b"</smartLicense>",
    "deep JSON": b'{"payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "wide JSON": b'{"payload":[' + b"[]," * 500_000 + b"[]]}",
    "long JSON": b'{"payload":"' + b"x" * 5_000_000 + b'"}',
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_refused_before_they_grow(data: bytes) -> None:
    verdict = ours(data)
    assert verdict in ("malformed", "too-large", ["too-large"], ["malformed"])


FILES = [pytest.param(entry, id=entry["name"]) for part in ("good", "bad") for entry in DOCUMENTS[part]]
SHARED_UDI = Udi.from_sudi(SHARED["udi"])


@pytest.mark.parametrize("entry", FILES)
def test_the_vectors(entry: dict[str, Any]) -> None:
    device = Device(
        (SHARED_UDI.pid, SHARED_UDI.sn),
        second_documents.spki(_public(SHARED["device_key"])),
        [base64.b64decode(SHARED["anchor"])],
        SHARED["now"],
        SHARED["skew"],
        utility=entry.get("utility", False),
        floors={kind: (floor["serial"], floor["digest"]) for kind, floor in SHARED["floor"].items()},
    )
    verdict = alike(entry["file"].encode(), device)
    reasons = [verdict] if isinstance(verdict, str) else [each for each in verdict if each]
    assert reasons == ([entry["reason"]] if "reason" in entry else [])


def _public(pem: str) -> Any:
    key = second_documents.serialization.load_pem_private_key(pem.encode(), None)
    return key.public_key()


@settings(max_examples=200)
@given(st.sampled_from(list(WHOLE)), st.lists(st.sampled_from(list(WHOLE)), max_size=4), st.data())
def test_serials_of_files_with_several_documents(kind: str, others: list[str], data: st.DataObject) -> None:
    """Replays, older and newer ones beside each other, and floors: the same verdicts from both."""
    numbers = st.integers(4, 9)
    parts = []
    for each in [kind, *others]:
        document = WHOLE[each]
        serial = data.draw(numbers)
        heading_ = heading(serial)
        made = issued(type(document)(heading_, *_fields(document)))
        parts.append((document.kind, made))
    floors: dict[str, tuple[int, str]] = {}
    if data.draw(st.booleans()):
        payload = json.loads(parts[0][1])["payload"]
        digest = second_documents.hashlib.sha256(payload.encode()).hexdigest()
        floors[parts[0][0]] = (json.loads(payload)["serial"], digest if data.draw(st.booleans()) else "0" * 64)
    device = Device(WHO.addressee, WHO.key, WHO.anchors, WHO.now, WHO.skew, floors=floors)
    mine = open_documents(
        write_documents(parts), addressee=UDI, device_key=DEVICE.public_key, anchors=[ANCHOR], now=NOW, skew=3600,
        lab=False, floor={kind: Floor(*floor) for kind, floor in floors.items()}.get,
    )  # fmt: skip
    verdicts = [each.error.reason for each in mine.rejected] + [None] * len(mine.opened)
    theirs = second_documents.judge(write_documents(parts), device)
    assert sorted(map(str, theirs)) == sorted(map(str, verdicts))


def _fields(document: Document) -> list[Any]:
    names = [name for name in document.__dataclass_fields__ if name not in ("heading", "kind")]
    return [getattr(document, name) for name in names]


@settings(max_examples=300)
@given(st.sampled_from(list(WHOLE)), st.data())
def test_altered_bytes_are_judged_alike(kind: str, data: st.DataObject) -> None:
    """A byte anywhere outside the certificate, where two libraries may differ in what they call unreadable."""
    whole = issued(WHOLE[kind])
    certificate = whole.index(b'"certificates"')
    place = data.draw(st.integers(0, certificate - 1))
    altered = whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + data.draw(st.integers(0, 2)) :]
    mine, theirs = ours(altered), second_documents.judge(altered, WHO)
    assert mine == theirs


def test_it_was_written_without_our_code() -> None:
    tree = ast.parse(Path(second_documents.__file__).read_text())
    modules = {(n.module or "") if isinstance(n, ast.ImportFrom) else n.names[0].name for n in ast.walk(tree)
               if isinstance(n, ast.Import | ast.ImportFrom)}  # fmt: skip
    assert {name.split(".")[0] for name in modules} - {"tests"} <= {"cryptography", *sys.stdlib_module_names}
    assert {name for name in modules if name.startswith("tests")} == {"tests.formats.second"}
