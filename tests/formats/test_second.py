"""Two implementations of one specification: agent.formats and tests/formats/second.py must judge alike."""

from __future__ import annotations

import ast
import json
from pathlib import Path
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.formats import errors, rum
from agent.formats.envelope import open_report, open_request
from agent.formats.requests import (
    AuthorizationRequest,
    AuthorizationReturn,
    Key,
    RequestHeading,
    ReturnedCode,
    TrustRequest,
    seal_request,
)
from tests.formats import second
from tests.formats.authority import DEVICE, NOW, TRUST_CODE, UDI, report
from tests.formats.test_rum import reports

FOLDER = Path(__file__).parent.parent / "vectors"
SHARED = json.loads((FOLDER / "shared.json").read_text())
VECTORS = [
    pytest.param(kind, entry, id=f"{kind}-{entry['name']}")
    for kind, name in (("rum", "reports.json"), ("request", "requests.json"))
    for entries in json.loads((FOLDER / name).read_text()).values()
    for entry in entries
]


def ours(document: bytes, kind: str, now: int) -> str | None:
    try:
        if kind == "rum":
            open_report(document, pinned=lambda _: None, now=now, skew=3600, lab=False)
        else:
            open_request(document, now=now, skew=3600, lab=False)
    except errors.DocumentError as error:
        return error.reason
    return None


def theirs(document: bytes, kind: str, now: int) -> str | None:
    return second.judge(document, now=now, skew=3600, lab=False, kind=kind)


def test_it_was_written_without_our_code() -> None:
    tree = ast.parse(Path(second.__file__).read_text())
    modules = {(n.module or "") if isinstance(n, ast.ImportFrom) else n.names[0].name for n in ast.walk(tree)
               if isinstance(n, ast.Import | ast.ImportFrom)}  # fmt: skip
    assert {name.split(".")[0] for name in modules} <= {"cryptography", *sys.stdlib_module_names}


@pytest.mark.parametrize(("kind", "entry"), VECTORS)
def test_the_vectors(kind: str, entry: dict[str, Any]) -> None:
    assert theirs(entry["document"].encode(), kind, SHARED["now"]) == entry.get("reason")


@settings(max_examples=100)
@given(reports(), st.sampled_from([None, TRUST_CODE]))
def test_it_believes_what_we_write(wanted: rum.Report, trust_code: bytes | None) -> None:
    assert theirs(rum.seal(wanted, DEVICE, trust_code), "rum", NOW + 2 * 10**9) is None


HEADING = RequestHeading(UDI, "e1", 3, NOW, "tag", "17.9.1a")
WHOLE = {
    "rum": rum.seal(report(trust_request=DEVICE.public_key, hostname="h"), DEVICE),
    "request": seal_request(AuthorizationRequest(HEADING, (Key("t", 1),), "1fc54c75"), DEVICE),
}


@settings(max_examples=300)
@given(st.sampled_from(["rum", "request"]), st.data())
def test_both_judge_altered_bytes_alike(kind: str, data: st.DataObject) -> None:
    whole = WHOLE[kind]
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + data.draw(st.integers(0, 2)) :]
    assert ours(changed, kind, NOW) == theirs(changed, kind, NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.text(max_size=4), inner, max_size=2), max_leaves=4,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            found += places(value[key], (*path, key))
    return found


@settings(max_examples=400)
@given(st.sampled_from(["rum", "request"]), st.data())
def test_both_judge_any_signed_member_alike(kind: str, data: st.DataObject) -> None:
    """Any JSON value in any place of a payload, or the member gone, signed by the device: the same reason from both."""
    envelope = json.loads(WHOLE[kind])
    payload = json.loads(envelope["payload"])
    path = data.draw(st.sampled_from(places(payload)))
    inside = payload
    for key in path[:-1]:
        inside = inside[key]
    if data.draw(st.booleans()):
        del inside[path[-1]]
    else:
        inside[path[-1]] = data.draw(JSON)
    text = json.dumps(payload)
    envelope["payload"] = text
    if kind == "request":
        envelope["header"] = payload.get("header", envelope["header"])
    envelope["signature"]["value"] = second.base64.b64encode(DEVICE.sign(text.encode())).decode()
    document = json.dumps(envelope).encode()
    assert ours(document, kind, NOW) == theirs(document, kind, NOW)


GONE = object()
WRONG: list[Any] = [
    GONE, None, True, False, 0, -1, 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, "", "x", "1", "-1", "\t", "é" * 255,
    "x" * 256, "x" * 20_000, [], [1], ["x"], [{}], {}, {"x": 1}, [[]] * 70, [{}] * 1001,
]  # fmt: skip
KINDS = {
    "report": ("rum", report(trust_request=DEVICE.public_key, hostname="h", utility_enabled=True, post_paid=True,
                             subscription_id="S", customer_tags=(("tag1", "a"),), customer_info=(("city", "b"),),
                             outages=(rum.Outage(1, 2),), ha_udi=(rum.HaUdi("Active", UDI),))),
    "trust-request": ("request", TrustRequest(HEADING, DEVICE.public_key, "T", True)),
    "authorization-request": ("request", AuthorizationRequest(HEADING, (Key("t", 1),), "1fc54c75")),
    "authorization-return": ("request", AuthorizationReturn(HEADING, (ReturnedCode("slac", 4, "a1" * 32),), None)),
}  # fmt: skip


def sealed(made: Any) -> dict[str, Any]:
    document = rum.seal(made, DEVICE) if isinstance(made, rum.Report) else seal_request(made, DEVICE)
    found: dict[str, Any] = json.loads(document)
    return found


def signed(envelope: dict[str, Any], text: str) -> bytes:
    signature = {**envelope["signature"], "value": second.base64.b64encode(DEVICE.sign(text.encode())).decode()}
    return json.dumps({**envelope, "payload": text, "signature": signature}).encode()


@pytest.mark.parametrize("name", KINDS)
def test_every_member_with_every_wrong_value(name: str) -> None:
    """Missing, of each wrong type, out of range, oversize, in what a device sends: one verdict, and never a crash."""
    kind, made = KINDS[name]
    envelope = sealed(made)
    whole = json.loads(envelope["payload"])
    assert ours(signed(envelope, json.dumps(whole)), kind, NOW) is None
    for path in places(whole):
        for value in WRONG:
            payload = json.loads(envelope["payload"])
            inside = payload
            for step in path[:-1]:
                inside = inside[step]
            if value is GONE:
                del inside[path[-1]]
            else:
                inside[path[-1]] = value
            outer = envelope
            if kind == "request" and isinstance(payload.get("header"), dict):
                outer = {**envelope, "header": payload["header"]}
            document = signed(outer, json.dumps(payload))
            assert ours(document, kind, NOW) == theirs(document, kind, NOW), (path, value)


@pytest.mark.parametrize("name", KINDS)
def test_every_member_twice(name: str) -> None:
    kind, made = KINDS[name]
    envelope = sealed(made)
    whole = json.loads(envelope["payload"])
    for path in places(whole):
        if not isinstance(path[-1], str):
            continue
        marked = json.loads(envelope["payload"])
        inside = marked
        for step in path[:-1]:
            inside = inside[step]
        value = json.dumps(inside[path[-1]])
        inside[path[-1]] = "MARK"
        member = f'{json.dumps(path[-1])}: "MARK"'
        text = json.dumps(marked)
        assert text.count(member) == 1
        twice = text.replace(member, f"{json.dumps(path[-1])}: {value}, {json.dumps(path[-1])}: {value}")
        document = signed(envelope, twice)
        assert ours(document, kind, NOW) == theirs(document, kind, NOW) == "malformed", path
