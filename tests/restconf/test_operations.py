"""Calling operations, and what a bad body is answered with."""

from __future__ import annotations

import json
from typing import Any

from lxml import etree
import pytest

from tests.restconf.build import JSON, XML, Served
from tests.toy.build import COLLECTOR, READER

GREET = "/restconf/operations/toy:greet"
OUTPUT = {"toy:output": {"greeting": "hello hello Bo", "word": ["hello", "hello", "Bo"]}}


def body(**members: Any) -> bytes:
    return json.dumps({"toy:input": members}).encode()


@pytest.mark.parametrize("path", [GREET, "/restconf/data/toy:greet"])
def test_call(served: Served, path: str) -> None:
    """Checklist 146: 200 with the output, in the format asked for; old scripts call below data."""
    with served.tls() as wire:
        reply = wire.ask("POST", path, body=body(who="Bo", times=2))
        assert (reply.status, reply.json) == (200, OUTPUT)
        sent = b'<i:input xmlns:i="urn:example:toy"><i:who> Bo </i:who><i:times>2</i:times></i:input>'
        reply = wire.ask("POST", path, {"Content-Type": XML, "Accept": XML}, sent)
        assert reply.status == 200
        root = etree.fromstring(reply.body)
        assert etree.QName(root).text == "{urn:example:toy}output"
        assert [child.text for child in root] == ["hello hello Bo", "hello", "hello", "Bo"]
        reply = wire.ask("POST", path, {"Content-Type": XML}, sent)
        assert reply.json == OUTPUT
    assert [name for name, _ in served.toy.calls] == ["greet"] * 3
    assert served.toy.calls[0][1]["mode"] == "soft"


@pytest.mark.parametrize("sent", [None, b"", b" \n", b'{"toy:input":{}}'])
def test_no_input_no_output(served: Served, sent: bytes | None) -> None:
    """Checklist 146: empty input needs no body and no Content-Type; without output the reply is 204."""
    with served.tls() as wire:
        headers = {"Content-Type": "application/yang-data+json"} if sent and sent.strip() else {"Content-Type": ""}
        reply = wire.ask("POST", "/restconf/operations/toy:reset", headers, sent)
        assert (reply.status, reply.body) == (204, b"")
        assert "content-type" not in reply.headers
        assert wire.ask("GET", "/restconf").status == 200
    assert served.toy.calls == [("reset", {})]


@pytest.mark.parametrize(
    ("sent", "tag", "named"),
    [
        (body(), "missing-element", "who"),
        (b"", "missing-element", "who"),
        (b'{"input":{"who":"x"}}', "missing-element", "toy:input"),
        (b'{"toy:input":{"who":"x"},"toy:more":1}', "missing-element", "toy:input"),
        (b'{"who":"x"}', "missing-element", "toy:input"),
        (b"[]", "missing-element", "toy:input"),
        (b'{"toy:input":[]}', "invalid-value", "object"),
        (body(who="x", nothing=1), "unknown-element", "nothing"),
        (body(who=5), "invalid-value", "who"),
        (body(who=""), "invalid-value", "who"),
        (body(who="x", times="2"), "invalid-value", "times"),
        (body(who="x", times=10), "invalid-value", "times"),
        (body(who="x", one="a", all=[None]), "bad-element", "one"),
        (b'{"toy:input":{"who":"x","who":"y"}}', "malformed-message", "twice"),
        (b'{"toy:input":{"who":NaN}}', "malformed-message", "NaN"),
        (b'{"toy:input":{"who":"\xff"}}', "malformed-message", "UTF-8"),
        (b'{"toy:input":{"who":"x"}', "malformed-message", ""),
        (b"<input/>", "malformed-message", ""),
        (b'{"toy:input":' + b"[" * 100_000, "malformed-message", "deep"),
        (b'{"toy:input":' + b"[" * 1000 + b"]" * 1000 + b"}", "malformed-message", "deep"),
    ],
)
def test_bad_json(served: Served, sent: bytes, tag: str, named: str) -> None:
    """Checklist 133, 146, 168: each a 400 that says what is wrong; nothing is called, the server goes on."""
    with served.tls() as wire:
        reply = wire.ask("POST", GREET, body=sent)
        assert (reply.status, reply.error["error-tag"]) == (400, tag)
        assert named in reply.error["error-message"]
        assert wire.ask("GET", "/restconf").status == 200
    assert served.toy.calls == []


@pytest.mark.parametrize(
    ("sent", "tag"),
    [
        (b'<input xmlns="urn:example:toy"/>', "missing-element"),
        (b"<input><who>x</who></input>", "missing-element"),
        (b'<output xmlns="urn:example:toy"><who>x</who></output>', "missing-element"),
        (b'<input xmlns="urn:example:toy"><who>x</who><nothing/></input>', "unknown-element"),
        (b'<input xmlns="urn:example:toy"><who xmlns="urn:evil">x</who></input>', "unknown-namespace"),
        (b'<input xmlns="urn:example:toy"><who>x</who>', "malformed-message"),
        (b"{}", "malformed-message"),
        (b'<!DOCTYPE i [<!ENTITY e SYSTEM "file:///etc/passwd">]><input xmlns="urn:example:toy">&e;</input>', None),
        (b'<input xmlns="urn:example:toy"><who>\x00</who></input>', "malformed-message"),
    ],
)
def test_bad_xml(served: Served, sent: bytes, tag: str | None) -> None:
    """Checklist 29, 133, 146: the same in XML, and the reply is XML too, since the body was."""
    with served.tls() as wire:
        reply = wire.ask("POST", GREET, {"Content-Type": XML}, sent)
        assert (reply.status, reply.headers["content-type"]) == (400, XML)
        root = etree.fromstring(reply.body)
        assert etree.QName(root).text == "{urn:ietf:params:xml:ns:yang:ietf-restconf}errors"
        found = root.findtext(".//{*}error-tag")
        assert found == (tag or "malformed-message")
        assert b"root:" not in reply.body
    assert served.toy.calls == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_unsupported_media_type(served: Served, kind: str) -> None:
    """Checklist 133: unknown or missing with a body: 415."""
    with served.tls() as wire:
        assert wire.ask("POST", GREET, {"Content-Type": kind}, body(who="x")).status == 415
    assert served.toy.calls == []


def test_nothing_is_called_whose_reply_could_not_be_read(served: Served) -> None:
    """Checklist 132: 406 comes before the call."""
    with served.tls() as wire:
        assert wire.ask("POST", GREET, {"Accept": "image/png"}, body(who="x")).status == 406
    assert served.toy.calls == []


def test_unknown_absent_and_broken(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """Checklist 43, 148, 149: no traceback and no local path in any reply."""
    with served.tls() as wire:
        assert wire.ask("POST", "/restconf/operations/toy:nothing", body=b"{}").status == 404
        reply = wire.ask("POST", "/restconf/operations/toy:absent")
        assert (reply.status, reply.error["error-tag"]) == (501, "operation-not-supported")
        reply = wire.ask("POST", "/restconf/operations/toy:fail", body=body(how="x"))
        assert (reply.status, reply.error["error-tag"]) == (500, "operation-failed")
        assert b"secret" not in reply.body
        assert b"Traceback" not in reply.body
    assert "/secret/path" in caplog.text


def test_only_what_is_granted(served: Served) -> None:
    """Checklist 126, 164: the list holds what may be called; the rest is 403."""
    served.local_user["user"] = COLLECTOR
    with served.unix() as wire:
        assert wire.ask("GET", "/restconf/operations").json == {"ietf-restconf:operations": {"toy:greet": [None]}}
        root = etree.fromstring(wire.ask("GET", "/restconf/operations", {"Accept": XML}).body)
        assert [etree.QName(child).text for child in root] == ["{urn:example:toy}greet"]
        assert wire.ask("POST", GREET, body=body(who="x")).status == 200
        reply = wire.ask("POST", "/restconf/operations/toy:reset")
        assert (reply.status, reply.error["error-tag"]) == (403, "access-denied")
    served.local_user["user"] = READER
    with served.unix() as wire:
        assert wire.ask("POST", GREET, body=body(who="x")).status == 403
    assert [name for name, _ in served.toy.calls] == ["greet"]


def test_calls_while_the_core_stops(served: Served) -> None:
    served.toy.dispatch.stop()
    with served.tls() as wire:
        reply = wire.ask("POST", GREET, body=body(who="x"))
        assert (reply.status, reply.error["error-tag"]) == (503, "operation-failed")
        assert reply.headers["content-type"] == JSON
