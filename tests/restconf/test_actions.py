"""Actions over RESTCONF: POST to the action below its data resource (RFC 8040 section 3.6; checklist 147)."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path

from lxml import etree
import pytest

from tests.restconf.build import XML, Served, serve
from tests.toy.build import READER

FARM = "/restconf/data/toy-acts:farm"
BARN = f"{FARM}/barn=18446744073709551615,big%20one"
ACTS = "urn:example:toy-acts"


def body(**members: object) -> bytes:
    return json.dumps({"toy-acts:input": members}).encode()


@pytest.fixture
def served(tmp_path: Path, pem: tuple[Path, Path]) -> Iterator[Served]:
    with serve(tmp_path, pem, acts=True) as running:
        yield running


@pytest.fixture(autouse=True)
def _barn(served: Served) -> None:
    barn = {"row": "18446744073709551615", "name": "big one", "cow": [{"id": "a/b"}]}
    served.toy.dispatch.running.tree = {
        "toy-acts:farm": {"wind": {"blades": 3}, "barn": [barn]},
        "toy:box": {"entry": [{"id": "a", "address": "1"}]},
    }


def test_call(served: Served) -> None:
    """Checklist 147: 200 with the output in either format, 204 where there is none; the instance as in NETCONF."""
    with served.tls() as wire:
        reply = wire.ask("POST", f"{FARM}/open", body=body(gate="east"))
        assert (reply.status, reply.json) == (200, {"toy-acts:output": {"said": "east 3"}})
        sent = f'<input xmlns="{ACTS}"><with>broom</with></input>'.encode()
        reply = wire.ask("POST", f"{BARN}/clean", {"Content-Type": XML, "Accept": XML}, sent)
        root = etree.fromstring(reply.body)
        assert (reply.status, root.tag) == (200, f"{{{ACTS}}}output")
        assert [one.text for one in root.iterdescendants()] == [None, "1.5", "egg", "broom"]
        assert wire.ask("POST", f"{BARN}/cow=a%2Fb/toy-acts:milk").json == {"toy-acts:output": {"litres": 7}}
        assert served.toy.acts.keys() == [("row", "18446744073709551615"), ("name", "big one"), ("id", "a/b")]
        for path in (f"{FARM}/seen/bird=a1/feed", "/restconf/data/toy:box/entry=a/toy-acts:touch"):
            reply = wire.ask("POST", path)
            assert (reply.status, reply.body) == (204, b"")
    assert served.toy.acts.names == ["open", "clean", "milk", "feed", "touch"]


@pytest.mark.parametrize("path", [f"{FARM}/barn=2,x/clean", f"{FARM}/seen/bird=b2/feed", f"{FARM}/sun/tilt"])
def test_the_instance_must_exist(served: Served, path: str) -> None:
    """Checklist 147: 404 where the instance is not there."""
    with served.tls() as wire:
        reply = wire.ask("POST", path, body=body(**{"with": "water"}) if path.endswith("clean") else None)
    assert (reply.status, reply.error["error-tag"]) == (404, "invalid-value")
    assert served.toy.acts.done == []


@pytest.mark.parametrize(
    ("path", "sent", "status", "tag"),
    [
        (f"{FARM}/open", None, 400, "missing-element"),
        (f"{FARM}/open", body(gate=1), 400, "invalid-value"),
        (f"{FARM}/open", b'{"input":{"gate":"a"}}', 400, "missing-element"),
        (f"{FARM}/wind/spin", body(x=1), 400, "unknown-element"),
        (f"{FARM}/barn/clean", body(), 400, "invalid-value"),
        (f"{FARM}/open=1", None, 400, "invalid-value"),
        (f"{FARM}/open/gate", None, 400, "invalid-value"),
        (f"{FARM}/toy:open", None, 400, "unknown-element"),
        ("/restconf/data/toy:box/entry=a/touch", None, 400, "unknown-element"),
        (f"{FARM}/unheard", None, 501, "operation-not-supported"),
        (f"{FARM}/open?depth=1", body(gate="a"), 400, "invalid-value"),
    ],
)
def test_bad_calls(served: Served, path: str, sent: bytes | None, status: int, tag: str) -> None:
    """Each with its status and tag; nothing is called."""
    with served.tls() as wire:
        reply = wire.ask("POST", path, body=sent)
    assert (reply.status, reply.error["error-tag"]) == (status, tag)
    assert served.toy.acts.done == []


def test_path_of_bad_input(served: Served) -> None:
    with served.tls() as wire:
        told = wire.ask("POST", f"{BARN}/clean", body=body()).error
    assert told["error-path"] == "/toy-acts:farm/barn[row='18446744073709551615'][name='big one']/clean/with"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_other_methods(served: Served, method: str) -> None:
    """405 with Allow; OPTIONS says the same."""
    with served.tls() as wire:
        reply = wire.ask(method, f"{FARM}/open")
        assert (reply.status, reply.headers["allow"]) == (405, "OPTIONS, POST")
        assert wire.ask("OPTIONS", f"{FARM}/open").headers["allow"] == "OPTIONS, POST"


def test_access(served: Served) -> None:
    """Checklist 122: 403, also for an instance that is not there."""
    served.local_user["user"] = READER
    with served.unix() as wire:
        for path in (f"{FARM}/wind/spin", f"{FARM}/barn=5,none/door/lift"):
            reply = wire.ask("POST", path)
            assert (reply.status, reply.error["error-tag"]) == (403, "access-denied")
    assert served.toy.acts.done == []
