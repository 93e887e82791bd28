"""Writing trees: qualified names, value forms, kept encodings, rows with their marks, chunks, errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import json as plain_json
from pathlib import Path
import tracemalloc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
import pytest

from agent.codec import json, xml
from agent.codec.pieces import CHUNK
from agent.core.data import Data
from agent.core.edit import apply_edit
from agent.core.requests import Get
from agent.core.schema import Node
from agent.core.select import Pick, target
from agent.core.tree import Kept, Row, Rows, Tree
from agent.errors import Error, Step
from tests.toy.build import Toy, toy_schema

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"


def node(path: str) -> Node:
    found = toy_schema().find(path)
    assert found is not None
    return found


def as_xml(tree: Tree | Data, at: str = "/") -> str:
    return b"".join(xml.encode(tree, node(at))).decode()


def as_json(tree: Tree | Data, at: str = "/") -> Any:
    return plain_json.loads(b"".join(json.encode(tree, node(at))))


EVERY_TYPE: Tree = {
    "name": 'a<b>&"c" ü\n\t\r',
    "size": 5,
    "wide": "18446744073709551615",
    "ratio": "-1.5",
    "flag": [None],
    "on": False,
    "color": "dark-blue",
    "rights": "read run",
    "blob": "AAECAw==",
    "pet": "toy-more:parrot",
    "mixed": "auto",
    "where": "/toy:box/entry[id='x']/toy-more:weight",
    "tag": ["x", ""],
    "plain": {"x": "1", "toy-more:x": 2},
    "toy-more:name": "more",
    "entry": [{"id": "i", "toy-more:weight": "1.0", "sub": [{"n": 1, "text": "t"}, {"n": 2}]}],
}


def test_every_type_in_both_encodings() -> None:
    """Checklist 70, 167: every value form is written as its type demands, and read back the same."""
    tree = {"toy:box": EVERY_TYPE}
    assert as_json(tree) == tree
    text = as_xml(tree)
    edits = xml.decode_config(xml.parse(f"<config>{text}</config>".encode()), toy_schema())
    assert apply_edit({}, edits) == tree
    assert '<pet xmlns:tm="urn:example:toy-more">tm:parrot</pet>' in text
    assert "<flag/>" in text
    assert '<x>1</x><x xmlns="urn:example:toy-more">2</x>' in text
    assert "&#13;" in text
    assert "\r" not in text


def test_names_are_qualified_where_the_module_changes() -> None:
    """RFC 7951 section 4: xmlns and module names stand at the top and wherever the module changes, only there."""
    assert as_xml({"toy:box": {"size": 1, "toy-more:name": "n"}}) == (
        '<box xmlns="urn:example:toy"><size>1</size><name xmlns="urn:example:toy-more">n</name></box>'
    )
    assert as_xml({"size": 1, "toy-more:name": "n"}, "/toy:box") == (
        '<size xmlns="urn:example:toy">1</size><name xmlns="urn:example:toy-more">n</name>'
    )
    assert as_json({"size": 1, "toy-more:name": "n"}, "/toy:box") == {"toy:size": 1, "toy-more:name": "n"}


def test_keys_stand_first() -> None:
    """Checklist 95: list keys first, in the order of the key statement, whatever the tree's order."""
    tree = {"toy:box": {"pair": [{"value": "v", "b": 1, "a": "x"}]}}
    assert "<pair><a>x</a><b>1</b><value>v</value></pair>" in as_xml(tree)


def test_anydata() -> None:
    """Checklist 70: anydata is written with the namespaces of the modules that it names."""
    tree = {"toy:status": {"extra": {"toy:box": {"size": 1, "tag": ["a", "b"], "flag": [None], "on": True}}}}
    assert as_xml(tree) == (
        '<status xmlns="urn:example:toy"><extra><box xmlns="urn:example:toy"><size>1</size><tag>a</tag><tag>b</tag>'
        "<flag></flag><on>true</on></box></extra></status>"
    )
    assert as_json(tree) == tree


def test_what_xml_cannot_carry_is_replaced() -> None:
    """A value with a control character or half a surrogate pair never makes a reply that cannot be parsed."""
    tree = {"toy:status": {"seen": ["a\x00b\x1b\ud800c"]}}
    assert xml.parse(as_xml(tree).encode())[0].text == "a\ufffdb\ufffd\ufffdc"
    assert as_json(tree)["toy:status"]["seen"] == ["a\x00b\x1b?c"]


def test_unknown_member_is_a_providers_fault() -> None:
    for encode in (xml.encode, json.encode):
        with pytest.raises(ValueError, match="nothing is not a child of /toy:box"):
            list(encode({"toy:box": {"nothing": 1}}, node("/")))


def test_wrapped() -> None:
    """Checklist 146: an output has its own wrapper, below which the names belong to its module."""
    output = toy_schema().rpcs["toy", "greet"].named("output")[0]
    tree = {"greeting": "hi", "word": ["a"]}
    assert b"".join(xml.encode_wrapped(tree, output)) == (
        b'<output xmlns="urn:example:toy"><greeting>hi</greeting><word>a</word></output>'
    )
    assert b"".join(json.encode_wrapped(tree, output)) == b'{"toy:output":{"greeting":"hi","word":["a"]}}'
    root = toy_schema().root
    assert b"".join(json.encode_wrapped({}, root, "ietf-restconf:data")) == b'{"ietf-restconf:data":{}}'
    assert b"".join(xml.encode_wrapped({"toy:box": {"size": 1}}, root, "data", "urn:r")) == (
        b'<data xmlns="urn:r"><box xmlns="urn:example:toy"><size>1</size></box></data>'
    )


def test_kept_is_encoded_once() -> None:
    """A finished subtree keeps its bytes, and a second read joins them without looking into it again."""
    kept = Kept({"uptime": "5", "seen": ["a"]})
    tree = {"toy:status": kept}
    first = as_xml(tree), as_json(tree)
    assert kept.xml == b"<uptime>5</uptime><seen>a</seen>"
    assert kept.json == b'{"uptime":"5","seen":["a"]}'
    dict.__setitem__(kept, "uptime", "6")
    assert (as_xml(tree), as_json(tree)) == first
    assert as_xml({"toy:status": Kept({})}) == '<status xmlns="urn:example:toy"/>'
    assert as_json({"toy:box": {"entry": [Kept({"id": "x"})]}}) == {"toy:box": {"entry": [{"id": "x"}]}}


def test_kept_may_not_hold_stored_rows() -> None:
    """What lives in the store would be frozen, and its marks lost: that is an error in the provider."""
    with Toy.open() as toy:
        toy.reports.add("r")
        for encode in (xml.encode, json.encode):
            with pytest.raises(TypeError, match="lives in a store"):
                list(encode({"toy:status": Kept({"report": toy.reports})}, toy.schema.root))


@pytest.fixture(scope="module")
def toy() -> Iterator[Toy]:
    with Toy.open() as toy:
        for number in range(3):
            toy.reports.add(f"r{number}", f"<{number}>", group="g")
        yield toy


@pytest.mark.parametrize("codec", [xml, json])
def test_marks_of_whole_rows(toy: Toy, codec: Any) -> None:
    """A row that is written whole is marked; what was not written is not."""
    report = node("/toy:status/report")
    data = toy.dispatch.read(Get((Pick(node("/toy:status"), below=(Pick(report),)),)), toy.session())
    assert data.marks == []
    list(codec.encode(data, toy.schema.root))
    assert data.marks == [(report, ("row", f"r{number}")) for number in range(3)]


@pytest.mark.parametrize("codec", [xml, json])
def test_marks_of_parts(toy: Toy, codec: Any) -> None:
    """Of a row that was cut down, only the marked leaf counts."""
    report, status = node("/toy:status/report"), node("/toy:status")
    for leaf, marked in (("id", 0), ("length", 0), ("document", 3)):
        below = (Pick(report, below=(Pick(node(f"/toy:status/report/{leaf}")),)),)
        data = toy.dispatch.read(Get((Pick(status, below=below),)), toy.session())
        list(codec.encode(data, toy.schema.root))
        assert len(data.marks) == marked


def test_marks_are_noted_as_rows_are_written(toy: Toy) -> None:
    """A reply that breaks off has marked no row that was not handed to the transport."""
    report = node("/toy:status/report")
    data = toy.dispatch.read(Get((Pick(node("/toy:status"), below=(Pick(report),)),)), toy.session())
    chunks = xml.encode(data, toy.schema.root)
    assert data.marks == []
    next(chunks)
    assert len(data.marks) == 3


def test_one_row_alone_says_its_namespace(toy: Toy) -> None:
    """Checklist 127, 128: a stored entry that is the top of a reply carries the xmlns that its parent gave it."""
    report = node("/toy:status/report")
    path = ((node("/toy:status"), None), (report, ("r1",)))
    data = toy.dispatch.read(Get(target(path)), toy.session()).narrow(path)
    assert data is not None
    assert data.node is node("/toy:status")
    text = b"".join(xml.encode(data, data.node)).decode()
    assert text == (
        '<report xmlns="urn:example:toy"><id>r1</id><length>3</length><document>&lt;1&gt;</document>'
        "<group>g</group></report>"
    )
    assert as_json(data, "/toy:status") == {"toy:report": [{"id": "r1", "length": 3, "document": "<1>", "group": "g"}]}
    assert len(data.marks) == 2  # once for each of the two encodings


def test_one_leaf_of_a_row(toy: Toy) -> None:
    """The marked leaf of one row is the target: it is marked; another leaf is not."""
    report = node("/toy:status/report")
    for leaf, marks in (("document", [(report, ("row", "r2"))]), ("length", [])):
        path = ((node("/toy:status"), None), (report, ("r2",)), (node(f"/toy:status/report/{leaf}"), None))
        data = toy.dispatch.read(Get(target(path)), toy.session()).narrow(path)
        assert data is not None
        assert list(as_json(data, "/toy:status/report")) == [f"toy:{leaf}"]
        assert data.marks == marks


class Many:
    """Stored rows that are made as they are walked, so that only what is kept of them counts as memory."""

    marked = "document"

    def __init__(self, count: int) -> None:
        self._count = count
        self._node = node("/toy:status/report")

    def row(self, number: int) -> Row:
        entry: Tree = {"id": f"PID:C8000V,SN:9ABCDEF,REPORT:{number}", "document": "x" * 240}
        return Row((entry["id"],), xml.encode_entry(entry, self._node), json.encode_entry(entry, self._node))

    def find(self, keys: tuple[str, ...]) -> Row | None:
        return self.row(int(keys[0].rpartition(":")[2]))

    def pages(self) -> Iterator[Sequence[Row]]:
        for start in range(0, self._count, 100):
            yield [self.row(number) for number in range(start, min(start + 100, self._count))]


@pytest.mark.parametrize("codec", [xml, json])
@pytest.mark.parametrize("whole", [True, False])
def test_many_rows_do_not_pile_up(codec: Any, whole: bool) -> None:
    """10,000 entries leave in chunks; the memory that the reply takes does not grow with them."""
    with Toy.open() as toy:
        many: Rows = Many(10_000)
        toy.report_list.value = many
        below = None if whole else (Pick(node("/toy:status/report/id")),)
        pick = Pick(node("/toy:status"), below=(Pick(node("/toy:status/report"), below=below),))
        session = toy.session()
        tracemalloc.start()
        try:
            sizes = [len(chunk) for chunk in codec.encode(toy.dispatch.read(Get((pick,)), session), toy.schema.root)]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert sum(sizes) > 400_000
        assert all(CHUNK <= size < 2 * CHUNK for size in sizes[:-1])
        assert peak < 1_500_000


def test_empty_stored_list() -> None:
    """A stored list without entries is left out in both encodings."""
    with Toy.open() as toy:
        status = Get((Pick(node("/toy:status"), below=(Pick(node("/toy:status/report")),)),))
        assert as_json(toy.dispatch.read(status, toy.session())) == {"toy:status": {}}
        assert as_xml(toy.dispatch.read(status, toy.session())) == ('<status xmlns="urn:example:toy"></status>')


LEAVES = tuple((Step("toy", "box"), Step("toy", name)) for name in ("low", "high"))
ERROR = Error(
    "application",
    "data-missing",
    "a <message> & more",
    (Step("toy", "box"), Step("toy", "entry", (("id", "it's"),)), Step("toy-more", "weight")),
    "instance-required",
    (
        ("bad-element", "a<b"),
        ("missing-choice", "way"),
        ("session-id", "7"),
        *(("non-unique", leaf) for leaf in LEAVES),
    ),
)


def test_rpc_error() -> None:
    """Checklist 39, 40: names in the NETCONF namespace, an absolute path with declared prefixes, local names."""
    root = etree.fromstring(xml.encode_error(ERROR, toy_schema()))
    assert [child.tag for child in root] == [
        f"{{{NC}}}{name}"
        for name in (
            "error-type",
            "error-tag",
            "error-severity",
            "error-app-tag",
            "error-path",
            "error-message",
            "error-info",
        )
    ]
    path = root.find(f"{{{NC}}}error-path")
    assert path is not None
    assert path.text == """/t:box/t:entry[t:id="it's"]/tm:weight"""
    assert {prefix: uri for prefix, uri in path.nsmap.items() if prefix} == {
        "t": "urn:example:toy",
        "tm": "urn:example:toy-more",
    }
    info = root.find(f"{{{NC}}}error-info")
    assert info is not None
    assert [(child.tag, child.text) for child in info] == [
        (f"{{{NC}}}bad-element", "a<b"),
        ("{urn:ietf:params:xml:ns:yang:1}missing-choice", "way"),
        (f"{{{NC}}}session-id", "7"),
        ("{urn:ietf:params:xml:ns:yang:1}non-unique", "/t:box/t:low"),
        ("{urn:ietf:params:xml:ns:yang:1}non-unique", "/t:box/t:high"),
    ]


def test_error_path_finds_its_node() -> None:
    """Checklist 40: the path, evaluated on the data that it speaks of, gives that node."""
    tree = {"toy:box": {"entry": [{"id": "x"}, {"id": "it's", "toy-more:weight": "1.0"}]}}
    path = etree.fromstring(xml.encode_error(ERROR, toy_schema())).find(f"{{{NC}}}error-path")
    assert path is not None
    prefixes = {prefix: uri for prefix, uri in path.nsmap.items() if prefix}
    found = etree.fromstring(as_xml(tree)).getroottree().xpath(path.text or "", namespaces=prefixes)
    assert isinstance(found, list)
    assert [one.text for one in found if isinstance(one, etree._Element)] == ["1.0"]


def test_restconf_errors() -> None:
    """Checklist 148: the errors document in both encodings."""
    bare = Error("protocol", "in-use", "locked")
    document = plain_json.loads(json.encode_errors((ERROR, bare), toy_schema()))
    assert document["ietf-restconf:errors"]["error"] == [
        {
            "error-type": "application",
            "error-tag": "data-missing",
            "error-app-tag": "instance-required",
            "error-path": """/toy:box/entry[id="it's"]/toy-more:weight""",
            "error-message": "a <message> & more",
            "error-info": {
                "bad-element": "a<b",
                "missing-choice": "way",
                "session-id": "7",
                "non-unique": ["/toy:box/low", "/toy:box/high"],
            },
        },
        {"error-type": "protocol", "error-tag": "in-use", "error-message": "locked"},
    ]
    root = etree.fromstring(xml.encode_errors((ERROR, bare), toy_schema()))
    space = "{urn:ietf:params:xml:ns:yang:ietf-restconf}"
    assert root.tag == f"{space}errors"
    assert [child.tag for child in root[1]] == [
        f"{space}{name}" for name in ("error-type", "error-tag", "error-message")
    ]
    assert root[0].find(f"{space}error-path") is not None


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn"]), max_size=12)
BOX = st.fixed_dictionaries(
    {},
    optional={
        "name": TEXT,
        "size": st.integers(0, 100),
        "wide": st.integers(0, 2**64 - 1).map(str),
        "on": st.booleans(),
        "flag": st.just([None]),
        "pet": st.sampled_from(["toy:cat", "toy:dog", "toy-more:parrot"]),
        "tag": st.lists(TEXT, min_size=1, max_size=4, unique=True),
        "toy-more:name": TEXT,
        "plain": st.fixed_dictionaries({"x": TEXT}, optional={"toy-more:x": st.integers(-(2**31), 2**31 - 1)}),
        "entry": st.lists(
            st.fixed_dictionaries(
                {"id": TEXT}, optional={"address": TEXT, "alias": st.lists(TEXT, min_size=1, unique=True)}
            ),
            min_size=1,
            max_size=4,
            unique_by=lambda entry: entry["id"],
        ),
    },
)


@settings(max_examples=100)
@given(BOX.filter(bool))
def test_round_trip(box: Tree) -> None:
    """What is written in either encoding decodes to the same tree."""
    tree = {"toy:box": box}
    schema = toy_schema()
    config = b"<config>" + b"".join(xml.encode(tree, schema.root)) + b"</config>"
    assert apply_edit({}, xml.decode_config(xml.parse(config), schema)) == tree
    document = json.parse(b"".join(json.encode(tree, schema.root)))
    assert apply_edit({}, json.decode_config(document, schema.root)) == tree


def test_the_toy_modules_are_where_the_schema_says() -> None:
    assert toy_schema().modules["toy"].file.resolve() == Path(__file__).parents[1].resolve() / "toy" / "toy.yang"
