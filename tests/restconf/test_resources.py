"""Resources over real sockets: the same answers over TLS and the local socket, in JSON and XML."""

from __future__ import annotations

import json
from typing import Any

from lxml import etree
import pytest

from agent.codec import json as json_codec
from agent.core.access import Access
from agent.core.requests import Edit
from agent.core.tree import Tree
from tests.restconf.build import JSON, XML, Served
from tests.toy.build import READER, RULES

BOX: Tree = {
    "toy:box": {
        "name": 'a <b> & "c"',
        "toy-more:name": "other",
        "size": 7,
        "wide": "18446744073709551615",
        "ratio": "1.5",
        "flag": [None],
        "on": True,
        "rights": "read run",
        "blob": "aGk=",
        "pet": "toy-more:parrot",
        "mixed": "auto",
        "where": "/toy:box/toy-more:name",
        "tag": ["x", "y, z"],
        "turn": ["only"],
        "plain": {"x": "1", "toy-more:x": 2},
        "entry": [{"id": "a/b", "address": "::1", "port": 80, "toy-more:weight": "0.125"}, {"id": ""}],
        "pair": [{"a": "", "b": 2, "value": "v"}],
    }
}
T = "urn:example:toy"


@pytest.fixture(autouse=True)
def _filled(served: Served) -> None:
    toy = served.toy
    edits = json_codec.decode_config(BOX, toy.schema.root)
    toy.dispatch.submit(Edit(edits), toy.session()).result()
    toy.report_list.value.add("r1", "body 1")
    toy.report_list.value.add("r2", "body 2")
    toy.status.value = {"uptime": "5", "seen": ["a", "b"], "plainlist": [{"a": "1"}, {"a": "2", "b": -3}]}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("toy:box", BOX),
        ("toy:box/name", {"toy:name": 'a <b> & "c"'}),
        ("toy:box/toy-more:name", {"toy-more:name": "other"}),
        ("toy:box/size", {"toy:size": 7}),
        ("toy:box/wide", {"toy:wide": "18446744073709551615"}),
        ("toy:box/ratio", {"toy:ratio": "1.5"}),
        ("toy:box/flag", {"toy:flag": [None]}),
        ("toy:box/on", {"toy:on": True}),
        ("toy:box/rights", {"toy:rights": "read run"}),
        ("toy:box/pet", {"toy:pet": "toy-more:parrot"}),
        ("toy:box/tag=x", {"toy:tag": ["x"]}),
        ("toy:box/tag=y%2C%20z", {"toy:tag": ["y, z"]}),
        ("toy:box/tag", {"toy:tag": ["x", "y, z"]}),
        ("toy:box/turn", {"toy:turn": ["only"]}),
        ("toy:box/plain", {"toy:plain": {"x": "1", "toy-more:x": 2}}),
        ("toy:box/entry=a%2Fb", {"toy:entry": [BOX["toy:box"]["entry"][0]]}),
        ("toy:box/entry=", {"toy:entry": [{"id": ""}]}),
        ("toy:box/entry=a%2Fb/port", {"toy:port": 80}),
        ("toy:box/entry=a%2Fb/toy-more:weight", {"toy-more:weight": "0.125"}),
        ("toy:box/entry", {"toy:entry": BOX["toy:box"]["entry"]}),
        ("toy:box/pair=,2/value", {"toy:value": "v"}),
        ("toy:box/pair=,2", {"toy:pair": [{"a": "", "b": 2, "value": "v"}]}),
        ("toy:status/uptime", {"toy:uptime": "5"}),
        ("toy:status/plainlist", {"toy:plainlist": [{"a": "1"}, {"a": "2", "b": -3}]}),
        ("toy:status/report=r2", {"toy:report": [{"id": "r2", "length": 6, "document": "body 2"}]}),
        ("toy:status/report=r2/document", {"toy:document": "body 2"}),
        ("toy:status/report", {"toy:report": [{"id": f"r{n}", "length": 6, "document": f"body {n}"} for n in (1, 2)]}),
        ("toy:store/usage/used", {"toy:used": 7}),
    ],
)
def test_json(served: Served, path: str, expected: Any) -> None:
    """Checklist 127, 128, 167: the target is the top member; values have their RFC 7951 form; both listeners agree."""
    answers = []
    for open_wire in (served.tls, served.unix):
        with open_wire() as wire:
            reply = wire.ask("GET", f"/restconf/data/{path}")
            assert reply.status == 200
            assert reply.headers["content-type"] == JSON
            assert reply.headers["cache-control"] == "no-cache"
            assert reply.json == expected
            answers.append(reply.body)
            head = wire.ask("HEAD", f"/restconf/data/{path}")
            assert (head.status, head.body) == (200, b"")
            same = {name: value for name, value in reply.headers.items() if name != "date"}
            assert {name: value for name, value in head.headers.items() if name != "date"} == same
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("toy:box/name", f'<name xmlns="{T}">a &lt;b&gt; &amp; "c"</name>'),
        ("toy:box/toy-more:name", '<name xmlns="urn:example:toy-more">other</name>'),
        ("toy:box/flag", f'<flag xmlns="{T}"/>'),
        ("toy:box/pet", f'<pet xmlns="{T}" xmlns:tm="urn:example:toy-more">tm:parrot</pet>'),
        ("toy:box/tag=x", f'<tag xmlns="{T}">x</tag>'),
        ("toy:box/turn", f'<turn xmlns="{T}">only</turn>'),
        ("toy:box/plain", f'<plain xmlns="{T}"><x>1</x><x xmlns="urn:example:toy-more">2</x></plain>'),
        ("toy:box/entry=", f'<entry xmlns="{T}"><id/></entry>'),
        ("toy:box/pair", f'<pair xmlns="{T}"><a/><b>2</b><value>v</value></pair>'),
        (
            "toy:status/report=r1",
            f'<report xmlns="{T}"><id>r1</id><length>6</length><document>body 1</document></report>',
        ),
        ("toy:status/report=r1/document", f'<document xmlns="{T}">body 1</document>'),
    ],
)
def test_xml(served: Served, path: str, expected: str) -> None:
    """Checklist 127, 128: the target is the root element."""
    with served.tls() as wire:
        reply = wire.ask("GET", f"/restconf/data/{path}", {"Accept": XML})
        assert (reply.status, reply.headers["content-type"]) == (200, XML)
        assert canonical(reply.body) == canonical(expected.encode())


def canonical(document: bytes) -> bytes:
    return etree.tostring(etree.fromstring(document), method="c14n")


@pytest.mark.parametrize("path", ["toy:box/tag", "toy:box/entry", "toy:status/plainlist", "toy:status/report"])
def test_several_instances_in_xml(served: Served, path: str) -> None:
    """Checklist 128; RFC 8040 section 4.3: several instances have no XML form of their own: 400."""
    with served.tls() as wire:
        reply = wire.ask("GET", f"/restconf/data/{path}", {"Accept": f"{XML}, {JSON};q=0.1"})
        assert reply.status == 400
        assert b"<error-tag>invalid-value</error-tag>" in reply.body
        assert wire.ask("HEAD", f"/restconf/data/{path}", {"Accept": XML}).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "toy:need",
        "toy:box/low",
        "toy:box/present",
        "toy:box/tag=nope",
        "toy:box/number",
        "toy:box/entry=nope",
        "toy:box/entry=nope/port",
        "toy:box/entry=/port",
        "toy:box/pair=x,2",
        "toy:status/report=r3",
        "toy:status/report=r3/document",
        "toy:status/toy-more:part",
        "toy:status/extra",
    ],
)
def test_missing_instances(served: Served, path: str) -> None:
    """Checklist 131, 148: 404 invalid-value with the path, over both encodings, also for HEAD."""
    with served.unix() as wire:
        reply = wire.ask("GET", f"/restconf/data/{path}")
        assert reply.status == 404
        assert reply.error["error-tag"] == "invalid-value"
        assert reply.error["error-path"].startswith("/toy:")
        assert wire.ask("GET", f"/restconf/data/{path}", {"Accept": XML}).status == 404
        assert wire.ask("HEAD", f"/restconf/data/{path}").status == 404


def test_an_empty_stored_list_is_missing(served: Served) -> None:
    served.toy.report_list.value = type(served.toy.reports)(served.toy.schema)
    with served.unix() as wire:
        assert wire.ask("GET", "/restconf/data/toy:status/report").status == 404


def test_datastore(served: Served) -> None:
    """Checklist 127, 167: {+restconf}/data holds configuration and state, in both encodings."""
    with served.tls() as wire:
        reply = wire.ask("GET", "/restconf/data")
        data = reply.json["ietf-restconf:data"]
        assert set(data) == {"toy:box", "toy:status", "toy:store"}
        assert data["toy:box"] == BOX["toy:box"]
        root = etree.fromstring(wire.ask("GET", "/restconf/data", {"Accept": XML}).body)
        assert etree.QName(root).text == "{urn:ietf:params:xml:ns:yang:ietf-restconf}data"
        assert [etree.QName(child).text for child in root] == [f"{{{T}}}{name}" for name in ("box", "status", "store")]


def test_api_resource(served: Served) -> None:
    """Checklist 123, 124, 125: host-meta, the API resource, and the library version."""
    with served.tls() as wire:
        reply = wire.ask("GET", "/.well-known/host-meta")
        assert (reply.status, reply.headers["content-type"]) == (200, "application/xrd+xml")
        link = etree.fromstring(reply.body)[0]
        assert dict(link.attrib) == {"rel": "restconf", "href": "/restconf"}
        assert wire.ask("GET", "/restconf").json == {
            "ietf-restconf:restconf": {"data": {}, "operations": {}, "yang-library-version": "2019-01-04"}
        }
        assert wire.ask("GET", "/restconf/yang-library-version").json == {
            "ietf-restconf:yang-library-version": "2019-01-04"
        }
        root = etree.fromstring(wire.ask("GET", "/restconf", {"Accept": XML}).body)
        assert [etree.QName(child).localname for child in root] == ["data", "operations", "yang-library-version"]
        version = etree.fromstring(wire.ask("GET", "/restconf/yang-library-version", {"Accept": XML}).body)
        assert version.text == "2019-01-04"


def test_options(served: Served) -> None:
    """Checklist 135: Allow for each kind of resource."""
    with served.tls() as wire:
        for path, allow in (
            ("/restconf", "GET, HEAD, OPTIONS"),
            ("/restconf/data/toy:status", "GET, HEAD, OPTIONS"),
            ("/restconf/data/toy:box/name", "GET, HEAD, OPTIONS"),
            ("/restconf/operations/toy:greet", "OPTIONS, POST"),
        ):
            reply = wire.ask("OPTIONS", path)
            assert (reply.status, reply.headers["allow"], reply.body) == (200, allow, b"")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/restconf/operations/toy:greet", "OPTIONS, POST"),
        ("GET", "/restconf/operations/toy:greet", "OPTIONS, POST"),
        ("POST", "/restconf/yang-library-version", "GET, HEAD, OPTIONS"),
        ("DELETE", "/restconf/data", "GET, HEAD, OPTIONS"),
        ("PATCH", "/restconf/data/toy:box", "GET, HEAD, OPTIONS"),
        ("POST", "/restconf/data/toy:box", "GET, HEAD, OPTIONS"),
        ("PROPFIND", "/restconf/data", "GET, HEAD, OPTIONS"),
    ],
)
def test_wrong_methods(served: Served, method: str, path: str, allow: str) -> None:
    """Checklist 136: 405 with Allow, and nothing is changed."""
    before = served.toy.store.commits
    with served.tls() as wire:
        reply = wire.ask(method, path, body=b"{}")
        assert (reply.status, reply.headers["allow"]) == (405, allow)
        assert reply.error["error-tag"] == "operation-not-supported"
    assert served.toy.store.commits == before


def test_ansible_sends_a_content_type_without_a_body(served: Served) -> None:
    """Checklist 133: a Content-Type on a bodiless GET does not matter."""
    with served.tls() as wire:
        assert wire.ask("GET", "/restconf/data/toy:box/size", {"Content-Type": "text/plain"}).status == 200


@pytest.mark.parametrize(
    ("accept", "status", "kind"),
    [
        ("*/*", 200, JSON),
        ("application/*", 200, JSON),
        ("APPLICATION/YANG-DATA+XML", 200, XML),
        (f"{JSON};q=0.3, {XML};q=0.8", 200, XML),
        ("text/html", 406, JSON),
    ],
)
def test_accept(served: Served, accept: str, status: int, kind: str) -> None:
    """Checklist 132: negotiation on the wire."""
    with served.tls() as wire:
        reply = wire.ask("GET", "/restconf/data/toy:box/size", {"Accept": accept})
        assert (reply.status, reply.headers["content-type"]) == (status, kind)


def test_query_parameters_on_the_wire(served: Served) -> None:
    """Checklist 154: unknown and duplicated parameters: 400."""
    with served.tls() as wire:
        for query in ("depth=1", "x=1&x=1", "%64epth=1"):
            reply = wire.ask("GET", f"/restconf/data/toy:box?{query}")
            assert (reply.status, reply.error["error-tag"]) == (400, "invalid-value")


def test_readers_may_read_and_strangers_not(served: Served) -> None:
    """Checklist 164: 403 access-denied where the table grants nothing."""
    served.local_user["user"] = READER
    with served.unix() as wire:
        assert wire.ask("GET", "/restconf/data/toy:box/size").status == 200
        assert wire.ask("GET", "/restconf/operations").json == {"ietf-restconf:operations": {}}
    served.local_user["user"] = type(READER)("nemo", frozenset())
    with served.unix() as wire:
        reply = wire.ask("GET", "/restconf/data/toy:box/size")
        assert (reply.status, reply.error["error-tag"]) == (403, "access-denied")


def test_what_may_not_be_read_is_not_there(served: Served) -> None:
    """Checklist 164: reads are pruned; a denied node answers as a missing one, in its list too."""
    hidden = [
        {"name": "size", "path": "/toy:box/size", "action": "deny"},
        {"name": "empty", "path": "/toy:box/entry[id='']", "action": "deny"},
        {"name": "r1", "path": "/toy:status/report[id='r1']", "action": "deny"},
        {"name": "document", "path": "/toy:status/report/document", "action": "deny"},
    ]
    rules = [{"name": "hidden", "group": ["reader"], "rule": hidden}, *RULES["rule-list"]]
    served.toy.dispatch.access = Access(served.toy.schema, {**RULES, "rule-list": rules})
    served.local_user["user"] = READER
    with served.unix() as wire:
        box = wire.ask("GET", "/restconf/data/toy:box").json["toy:box"]
        assert "size" not in box
        assert [entry["id"] for entry in box["entry"]] == ["a/b"]
        denied = ("toy:box/size", "toy:box/entry=", "toy:status/report=r1", "toy:status/report=r2/document")
        for path in denied:
            reply = wire.ask("GET", f"/restconf/data/{path}")
            assert (reply.status, reply.error["error-tag"]) == (404, "invalid-value")
            assert wire.ask("HEAD", f"/restconf/data/{path}").status == 404
        assert wire.ask("GET", "/restconf/data/toy:status/report").json == {"toy:report": [{"id": "r2", "length": 6}]}
        assert wire.ask("GET", "/restconf/data/toy:status/report=r2").json == {
            "toy:report": [{"id": "r2", "length": 6}]
        }


def test_one_database(served: Served) -> None:
    """Checklist 166, 167: JSON and XML tell the same, value by value, after canonicalisation."""
    with served.tls() as wire:
        whole = wire.ask("GET", "/restconf/data/toy:box").json["toy:box"]
        root = etree.fromstring(wire.ask("GET", "/restconf/data/toy:box", {"Accept": XML}).body)
        from_xml = {(etree.QName(e).namespace, etree.QName(e).localname, e.text or "") for e in root if len(e) == 0}
    simple = {
        ("toy-more:name", "other"): ("urn:example:toy-more", "name", "other"),
        ("wide", "18446744073709551615"): (T, "wide", "18446744073709551615"),
        ("ratio", "1.5"): (T, "ratio", "1.5"),
        ("blob", "aGk="): (T, "blob", "aGk="),
        ("rights", "read run"): (T, "rights", "read run"),
    }
    for (member, value), element in simple.items():
        assert whole[member] == value
        assert element in from_xml
    assert json.loads(json.dumps(whole)) == BOX["toy:box"]
