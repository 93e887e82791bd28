"""edit-config content, decoded and applied: operations, keys, choices, types, namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest

from agent.codec import json, xml
from agent.core.path import to_instance_identifier
from agent.core.requests import Edit
from agent.errors import Error, RequestError
from tests.toy.build import Toy, toy_schema

T = 'xmlns="urn:example:toy"'
M = 'xmlns="urn:example:toy-more"'
NC = 'xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0"'
Default = Literal["merge", "replace", "none"]


@pytest.fixture
def toy() -> Iterator[Toy]:
    with Toy.open() as toy:
        yield toy


def edit(toy: Toy, content: str, default: Default = "merge") -> None:
    element = xml.parse(f"<config {NC}>{content}</config>".encode())
    request = Edit(xml.decode_config(element, toy.schema), default_operation=default)
    toy.dispatch.submit(request, toy.session()).result(5)


def box(toy: Toy, content: str, default: Default = "merge") -> dict[str, Any]:
    """The box after an edit of its content."""
    edit(toy, f"<box {T}>{content}</box>", default)
    result: dict[str, Any] = toy.dispatch.running.tree.get("toy:box", {})
    return result


def refused(toy: Toy, content: str, default: Default = "merge") -> Error:
    """The one error of an edit of the box, which must have changed nothing."""
    before, stored = toy.dispatch.running.tree, toy.store.config
    with pytest.raises(RequestError) as caught:
        edit(toy, content if content.startswith("<box") else f"<box {T}>{content}</box>", default)
    assert toy.dispatch.running.tree is before
    assert toy.store.config == stored
    return caught.value.errors[0]


def info(error: Error) -> dict[str, str]:
    return dict(error.info)


def test_merge(toy: Toy) -> None:
    """Checklist 71: merge creates and updates, and leaves siblings alone."""
    box(toy, "<name>a</name><plain><x>1</x></plain><entry><id>e</id><port>1</port></entry>")
    after = box(toy, "<size>5</size><plain><deep><y>2</y></deep></plain><entry><id>e</id><address>q</address></entry>")
    assert after == {
        "name": "a",
        "size": 5,
        "plain": {"x": "1", "deep": {"y": "2"}},
        "entry": [{"id": "e", "port": 1, "address": "q"}],
    }


def test_replace(toy: Toy) -> None:
    """Checklist 72: replace drops what is not listed, on a container, an entry and on the whole datastore."""
    box(toy, "<name>a</name><plain><x>1</x><deep><y>2</y></deep></plain><entry><id>e</id><port>1</port></entry>")
    assert box(toy, '<plain nc:operation="replace"><x>3</x></plain>')["plain"] == {"x": "3"}
    assert box(toy, '<entry nc:operation="replace"><id>e</id><address>q</address></entry>')["entry"] == [
        {"id": "e", "address": "q"}
    ]
    edit(toy, f"<store {T}><limit>3</limit></store>")
    assert box(toy, "<size>1</size>", "replace") == {"size": 1}
    assert set(toy.dispatch.running.tree) == {"toy:box"}


def test_create_on_what_exists(toy: Toy) -> None:
    """Checklist 73: create on an existing node is data-exists with its path, and nothing changes."""
    box(toy, "<name>a</name><tag>t</tag><entry><id>e</id></entry>")
    for content, path in (
        ('<size>1</size><name nc:operation="create">b</name>', "/toy:box/name"),
        ('<entry nc:operation="create"><id>e</id></entry>', "/toy:box/entry[id='e']"),
        ('<tag nc:operation="create">t</tag>', "/toy:box/tag[.='t']"),
    ):
        error = refused(toy, content)
        assert (error.tag, to_instance_identifier(error.path)) == ("data-exists", path)
    assert box(toy, '<size nc:operation="create">4</size>')["size"] == 4


def test_delete_and_remove(toy: Toy) -> None:
    """Checklist 74, 76: delete of what is missing is data-missing, remove is fine; an entry needs its keys only."""
    box(toy, "<name>a</name><tag>t</tag><tag>u</tag><entry><id>e</id><port>1</port><address>q</address></entry>")
    for content in (
        '<size nc:operation="delete"/>',
        '<entry nc:operation="delete"><id>x</id></entry>',
        '<tag nc:operation="delete">x</tag>',
        '<plain nc:operation="delete"/>',
    ):
        assert refused(toy, content).tag == "data-missing"
        box(toy, content.replace('"delete"', '"remove"'))
    after = box(toy, '<entry><id>e</id><port nc:operation="delete"/></entry><tag nc:operation="delete">t</tag>')
    assert after == {"name": "a", "tag": ["u"], "entry": [{"id": "e", "address": "q"}]}
    assert box(toy, '<entry nc:operation="delete"><id>e</id></entry><name nc:operation="delete"/>') == {"tag": ["u"]}
    edit(toy, f'<box {T} nc:operation="delete"/>')
    assert toy.dispatch.running.tree == {}


def test_operation_none(toy: Toy) -> None:
    """Checklist 75: with default-operation none a path must exist, and is created only below an operation."""
    assert refused(toy, "<name>a</name>", "none").tag == "data-missing"
    assert refused(toy, '<entry><id>e</id><port nc:operation="create">1</port></entry>', "none").tag == "data-missing"
    assert box(toy, '<plain><x nc:operation="create">1</x></plain>', "none") == {"plain": {"x": "1"}}
    error = refused(toy, '<present><x nc:operation="merge">1</x></present>', "none")
    assert (error.tag, to_instance_identifier(error.path)) == ("data-missing", "/toy:box/present")
    assert box(toy, "<plain><x>9</x></plain>", "none") == {"plain": {"x": "1"}}


@pytest.mark.parametrize("attribute", ["operation", "nc:operation"])
def test_operation_with_and_without_namespace(toy: Toy, attribute: str) -> None:
    """Checklist 77: the operation attribute counts in the NETCONF namespace and in none."""
    box(toy, "<name>a</name>")
    assert box(toy, f'<name {attribute}="delete"/><size>1</size>') == {"size": 1}


def test_merge_below_delete(toy: Toy) -> None:
    """Checklist 78: an operation that adds below one that deletes is refused."""
    box(toy, "<plain><x>1</x></plain>")
    error = refused(toy, '<plain nc:operation="delete"><x nc:operation="merge">2</x></plain>')
    assert (error.tag, info(error)["bad-element"]) == ("bad-attribute", "x")


def test_second_of_several_fails(toy: Toy) -> None:
    """Checklist 79, 80: one failure undoes all of the edit."""
    box(toy, "<name>a</name>")
    assert refused(toy, '<name>b</name><size nc:operation="delete"/><wide>1</wide>').tag == "data-missing"
    assert toy.dispatch.running.tree["toy:box"] == {"name": "a"}


@pytest.mark.parametrize(
    ("content", "tag", "bad"),
    [
        ("<nothing/>", "unknown-element", {"bad-element": "nothing"}),
        ("<plain><nothing>1</nothing></plain>", "unknown-element", {"bad-element": "nothing"}),
        (f"<size {M}>1</size>", "unknown-element", {"bad-element": "size"}),
        ('<x xmlns="urn:evil"/>', "unknown-namespace", {"bad-element": "x", "bad-namespace": "urn:evil"}),
        ('<name xmlns="">x</name>', "unknown-namespace", {"bad-element": "name", "bad-namespace": ""}),
        ("<name><b/></name>", "unknown-element", {"bad-element": "b"}),
        ("<plain>text</plain>", "bad-element", {"bad-element": "plain"}),
        ("<plain><x>1</x>text</plain>", "bad-element", {"bad-element": "plain"}),
        ("<name>a</name><name>b</name>", "bad-element", {"bad-element": "name"}),
        ("<plain/><plain/>", "bad-element", {"bad-element": "plain"}),
        ('<name operation="frob">a</name>', "bad-attribute", {"bad-attribute": "operation", "bad-element": "name"}),
        ('<name operation="none">a</name>', "bad-attribute", {"bad-attribute": "operation", "bad-element": "name"}),
        (
            '<name operation="merge" nc:operation="create">a</name>',
            "bad-attribute",
            {"bad-attribute": "operation", "bad-element": "name"},
        ),
        ('<name color="red">a</name>', "unknown-attribute", {"bad-attribute": "color", "bad-element": "name"}),
        ("<entry><port>1</port></entry>", "missing-element", {"bad-element": "id"}),
        ("<pair><a>x</a><value>v</value></pair>", "missing-element", {"bad-element": "b"}),
        ("<entry><id>a</id><id>b</id></entry>", "bad-element", {"bad-element": "id"}),
        ('<entry><id operation="delete">a</id></entry>', "bad-attribute", {"bad-element": "id"}),
        ("<entry><id>a</id></entry><entry><id>a</id></entry>", "data-exists", {}),
        ("<pair><a>x</a><b>1</b></pair><pair><b>01</b><a>x</a></pair>", "data-exists", {}),
        ("<tag>a</tag><tag>a</tag>", "data-exists", {}),
        ("<plane>p</plane><ship>s</ship>", "bad-element", {"bad-element": "ship"}),
        ("<train>p</train><car>s</car>", "bad-element", {"bad-element": "car"}),
        ("<crew><captain>c</captain></crew><height>1</height>", "bad-element", {"bad-element": "height"}),
        ("<size>many</size>", "invalid-value", {"bad-element": "size"}),
        ("<wide>-1</wide>", "invalid-value", {"bad-element": "wide"}),
        ("<flag>x</flag>", "invalid-value", {"bad-element": "flag"}),
        ("<pet>unknown</pet>", "invalid-value", {"bad-element": "pet"}),
        ("<color>pink</color>", "invalid-value", {"bad-element": "color"}),
        ("<pair><a>x</a><b>many</b></pair>", "invalid-value", {"bad-element": "b"}),
        (
            '<turn xmlns:y="urn:ietf:params:xml:ns:yang:1" y:insert="middle">t</turn>',
            "bad-attribute",
            {"bad-attribute": "insert", "bad-element": "turn"},
        ),
    ],
)
def test_bad_content(toy: Toy, content: str, tag: str, bad: dict[str, str]) -> None:
    """Checklist 38, 83, 84, 86, 87: the tag, the element and its path; nothing changes."""
    error = refused(toy, content)
    assert error.tag == tag
    assert bad.items() <= info(error).items()
    assert error.path[0] == ("toy", "box", ())
    assert error.type == "application"


def test_unknown_top_node(toy: Toy) -> None:
    """Checklist 33: a namespace that no module here has is named, at the top too."""
    for content, tag in (('<box xmlns="urn:evil"/>', "unknown-namespace"), (f"<nobox {T}/>", "unknown-element")):
        with pytest.raises(RequestError) as caught:
            edit(toy, content)
        assert caught.value.errors[0].tag == tag


def test_state_is_refused(toy: Toy) -> None:
    """Checklist 82: a config false node in an edit is refused."""
    for content in (f"<status {T}><uptime>1</uptime></status>", f"<store {T}><usage><used>1</used></usage></store>"):
        with pytest.raises(RequestError) as caught:
            edit(toy, content)
        assert caught.value.errors[0].tag == "unknown-element"
    assert toy.dispatch.running.tree == {}


def test_empty_key_is_a_value(toy: Toy) -> None:
    """Checklist 85: an empty string is a lawful key."""
    assert box(toy, "<entry><id/><port>1</port></entry>")["entry"] == [{"id": "", "port": 1}]
    assert box(toy, "<entry><id></id><address>x</address></entry>")["entry"] == [{"id": "", "port": 1, "address": "x"}]


def test_app_tag_and_message_of_the_model(toy: Toy) -> None:
    """Checklist 86: error-app-tag and error-message come from the range or pattern where given."""
    error = refused(toy, "<size>101</size>")
    assert (error.tag, error.app_tag) == ("invalid-value", "not-a-percentage")
    assert "between 0 and 100" in error.message
    error = refused(toy, "<code>x</code>")
    assert (error.tag, error.app_tag) == ("invalid-value", "bad-code")
    assert to_instance_identifier(error.path) == "/toy:box/code"


def test_choice(toy: Toy) -> None:
    """Checklist 87: a node of another case deletes what the first case had."""
    assert box(toy, "<plane>p</plane><height>3</height>") == {"plane": "p", "height": 3}
    assert box(toy, "<crew><captain>c</captain></crew>") == {"crew": {"captain": "c"}}
    assert box(toy, "<ship>s</ship>") == {"crew": {"captain": "c"}, "ship": "s"}
    assert box(toy, "<train>t</train>") == {"train": "t"}
    assert box(toy, "<car>c</car>") == {"car": "c"}
    assert box(toy, '<car nc:operation="delete"/><plane>p</plane>') == {"plane": "p"}


def test_presence(toy: Toy) -> None:
    """RFC 7950 section 7.5.1: an empty container is kept only where its presence means something."""
    assert box(toy, "<plain/><present/>") == {"present": {}}
    assert box(toy, "<present><x>1</x></present>") == {"present": {"x": "1"}}
    assert box(toy, '<present><x nc:operation="delete"/></present>') == {"present": {}}
    box(toy, "<plain><deep><y>1</y></deep></plain>")
    assert box(toy, '<plain><deep><y nc:operation="delete"/></deep></plain>') == {"present": {}}
    error = refused(toy, '<present nc:operation="create"/>')
    assert error.tag == "data-exists"


def test_order_is_kept(toy: Toy) -> None:
    """Checklist 94: entries stay where they are, new ones go last, also for replaced ones."""
    box(toy, "<turn>c</turn><turn>a</turn><entry><id>z</id></entry><entry><id>y</id></entry>")
    after = box(toy, '<turn>b</turn><turn>c</turn><entry operation="replace"><id>z</id><port>1</port></entry>')
    assert after["turn"] == ["c", "a", "b"]
    assert after["entry"] == [{"id": "z", "port": 1}, {"id": "y"}]


def test_text_round_trip(toy: Toy) -> None:
    """Checklist 96: CDATA, references, line ends and tabs in a string come back as they were."""
    box(toy, "<name><![CDATA[<&>]]>&amp;\n\t &#13; ü</name>")
    assert toy.dispatch.running.tree["toy:box"]["name"] == "<&>&\n\t \r ü"
    written = b"".join(xml.encode(toy.dispatch.running.tree, toy.schema.root))
    again = xml.decode_config(xml.parse(b"<config>" + written + b"</config>"), toy.schema)
    assert again[0].children[0].value == "<&>&\n\t \r ü"


def test_padding_is_dropped_where_no_string_can_hold_it(toy: Toy) -> None:
    """Numbers, enumerations and references arrive padded (slp-facts section 11); strings are taken exactly."""
    after = box(
        toy,
        """<size>\n  5 </size><color>\tred\n</color><on> true </on><flag> </flag><rights> read  run </rights>
        <pet xmlns:z="urn:example:toy"> z:cat </pet><name> a </name><entry><id> e </id><port>\n7</port></entry>""",
    )
    assert after == {
        "size": 5,
        "color": "red",
        "on": True,
        "flag": [None],
        "rights": "read run",
        "pet": "toy:cat",
        "name": " a ",
        "entry": [{"id": " e ", "port": 7}],
    }


def test_json_content_is_read_the_same() -> None:
    """Checklist 166, 167: the JSON form of a configuration decodes to the same edits as the XML form."""
    schema = toy_schema()
    both = (
        f"""<box {T}><name>a</name><wide>18446744073709551615</wide><ratio>1.50</ratio><flag/><on>false</on>
        <pet xmlns:m="urn:example:toy-more">m:parrot</pet><mixed>auto</mixed><tag>x</tag><tag>y</tag>
        <plain><x>1</x><x {M}>2</x></plain><pair><a>k</a><b>2</b><value>v</value></pair></box>""",
        b"""{"toy:box":{"name":"a","wide":"18446744073709551615","ratio":"1.5","flag":[null],"on":false,
        "pet":"toy-more:parrot","mixed":"auto","tag":["x","y"],"plain":{"x":"1","toy-more:x":2},
        "pair":[{"value":"v","b":2,"toy:a":"k"}]}}""",
    )
    from_xml = xml.decode_config(xml.parse(f"<config>{both[0]}</config>".encode()), schema)
    assert json.decode_config(json.parse(both[1]), schema.root) == from_xml


@pytest.mark.parametrize(
    ("document", "tag"),
    [
        ('{"box":{}}', "unknown-element"),
        ('{"nope:box":{}}', "unknown-namespace"),
        ('{"toy:box":[]}', "invalid-value"),
        ('{"toy:box":{"size":"5"}}', "invalid-value"),
        ('{"toy:box":{"wide":5}}', "invalid-value"),
        ('{"toy:box":{"tag":"a"}}', "invalid-value"),
        ('{"toy:box":{"entry":{"id":"a"}}}', "invalid-value"),
        ('{"toy:box":{"entry":[{"port":1}]}}', "missing-element"),
        ('{"toy:box":{"entry":[7]}}', "invalid-value"),
        ('{"toy:box":{"name":"a","toy:name":"b"}}', "bad-element"),
        ('{"toy:box":{"name":null}}', "invalid-value"),
        ('{"toy:box":{"flag":null}}', "invalid-value"),
        ('{"toy:box":{"toy-more:size":1}}', "unknown-element"),
        ('{"toy:status":{"uptime":"1"}}', "unknown-element"),
        ('{"toy:box":{"@name":{}}}', "unknown-element"),
        ('{"toy:box":{"name":"\\ud800"}}', "invalid-value"),
        ('{"toy:box":{"name":"\\u0000"}}', "invalid-value"),
        ("7", "invalid-value"),
    ],
)
def test_bad_json_content(document: str, tag: str) -> None:
    """Checklist 167, 168: wrong JSON types and names are refused by what is wrong with them."""
    with pytest.raises(RequestError) as caught:
        json.decode_config(json.parse(document.encode()), toy_schema().root)
    assert caught.value.errors[0].tag == tag
