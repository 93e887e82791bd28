"""get and get-config with subtree filters, over real SSH (RFC 6241 section 6)."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree
import pytest

from tests.netconf.support import MORE, NC, TOY, Client, Server, is_ok
from tests.toy.build import Toy

CONFIG = """
<box xmlns="urn:example:toy">
  <name>b &amp; &lt;c&gt;</name><wide>18446744073709551615</wide><ratio>1.50</ratio><flag/><blob>AAEC</blob>
  <rights>read run</rights><pet xmlns:x="urn:example:toy-more">x:parrot</pet><mixed>auto</mixed>
  <tag>one</tag><tag>two</tag>
  <plain><x>1</x><deep><y>2</y></deep>
    <x xmlns="urn:example:toy-more">3</x><z xmlns="urn:example:toy-more">4</z></plain>
  <entry><id>a</id><address>h1</address><port>1</port><alias>p</alias><alias>q</alias><detail><note>n1</note></detail>
    <sub><n>1</n><text>t1</text></sub><sub><n>2</n><text>t2</text></sub></entry>
  <entry><id>b</id><address>h1</address><port>2</port><alias>q</alias></entry>
  <entry><id>c</id><address>h2</address><port>2</port></entry>
</box>
"""


@pytest.fixture(scope="module")
def reader() -> Iterator[Client]:
    """One client for all tests here: they only read."""
    with Toy.open(netconf=True) as toy:
        toy.status.value = {
            "uptime": "12345678901",
            "seen": ["a", "b"],
            "extra": {"toy:note": {"word": "w", "more": ["1", "2"]}},
            "plainlist": [{"a": "1", "b": 1}, {"a": "1", "b": 2}, {"a": "2", "b": 1}],
        }
        for name in ("r1", "r2", "r3"):
            toy.reports.add(name, group="g1" if name == "r1" else "g2")
        server = Server(toy)
        with server.client() as client:
            edit = f"<edit-config><target><running/></target><config>{CONFIG}</config></edit-config>"
            reply = client.rpc(edit)
            assert is_ok(reply), etree.tostring(reply)
            yield client
        server.stop()


def data(reply: etree._Element) -> etree._Element:
    (only,) = reply
    assert only.tag == f"{{{NC}}}data"
    return only


def shape(element: etree._Element) -> object:
    """An element's children as (local name with t: or m: for its module, text or shape); no list of streams."""
    prefixes = {TOY: "t:", MORE: "m:", NC: "nc:"}
    result = []
    for one in element:
        name = etree.QName(one)
        if name.namespace == "urn:ietf:params:xml:ns:netmod:notification":
            continue
        result.append((prefixes[name.namespace or ""] + name.localname, shape(one) if len(one) else one.text))
    return result


def ask(client: Client, content: str, operation: str = "get", attributes: str = "") -> object:
    source = "<source><running/></source>" if operation == "get-config" else ""
    return shape(data(client.rpc(f"<{operation}>{source}<filter{attributes}>{content}</filter></{operation}>")))


def box(content: str) -> str:
    return f'<box xmlns="urn:example:toy">{content}</box>'


def names(found: object) -> list[str]:
    assert isinstance(found, list)
    return [name for name, _ in found]


def test_no_filter(reader: Client) -> None:
    """Checklist 44: get gives configuration and state, get-config gives configuration only."""
    everything = shape(data(reader.rpc("<get/>")))
    assert sorted(names(everything)) == ["t:box", "t:status", "t:store"]
    assert names(shape(data(reader.rpc("<get-config><source><running/></source></get-config>")))) == ["t:box"]


def test_empty_filter(reader: Client) -> None:
    """Checklist 45."""
    for filtered in ("<filter/>", "<filter> </filter>", '<filter type="subtree"/>', "<filter><!-- x --></filter>"):
        assert shape(data(reader.rpc(f"<get>{filtered}</get>"))) == []


@pytest.mark.parametrize("attributes", ["", ' type="subtree"', f' xmlns:nc="{NC}" nc:type="subtree"'])
def test_filter_types(reader: Client, attributes: str) -> None:
    """Checklist 46, 47: no type means subtree; the type may be qualified."""
    assert ask(reader, box("<wide/>"), attributes=attributes) == [("t:box", [("t:wide", "18446744073709551615")])]


def test_namespaces(reader: Client) -> None:
    """Checklist 48: a namespace selects its module's node, no namespace selects any."""
    assert ask(reader, box("<plain><x/></plain>")) == [("t:box", [("t:plain", [("t:x", "1")])])]
    more = '<plain><x xmlns="urn:example:toy-more"/></plain>'
    assert ask(reader, box(more)) == [("t:box", [("t:plain", [("m:x", "3")])])]
    both = [("t:box", [("t:plain", [("t:x", "1"), ("m:x", "3")])])]
    assert ask(reader, '<box xmlns=""><plain><x/></plain></box>') == both
    assert ask(reader, '<box xmlns="urn:example:toy-more"/>') == []


def test_attributes_match_nothing(reader: Client) -> None:
    """Checklist 49: all attributes must match, and this data has none."""
    assert ask(reader, '<t:box xmlns:t="urn:example:toy" t:name="x"/>') == []
    assert ask(reader, box('<wide unit="s"/><ratio/>')) == [("t:box", [("t:ratio", "1.5")])]


def test_containment_and_selection(reader: Client) -> None:
    """Checklist 50, 51: only the descendants that are selected; an empty element selects all of it."""
    assert ask(reader, box("<plain><deep/></plain>")) == [("t:box", [("t:plain", [("t:deep", [("t:y", "2")])])])]
    whole = [("t:x", "1"), ("t:deep", [("t:y", "2")]), ("m:x", "3"), ("m:z", "4")]
    assert ask(reader, box("<plain/>")) == [("t:box", [("t:plain", whole)])]
    assert ask(reader, box("<plain>\n  </plain>")) == ask(reader, box("<plain/>"))
    assert len(names(ask(reader, box(""))[0][1])) > 10  # type: ignore[index]


ENTRY_B = [("t:id", "b"), ("t:address", "h1"), ("t:port", "2"), ("t:alias", "q")]


def test_content_match(reader: Client) -> None:
    """Checklist 52, 53, 55, 59: the whole entry; several are joined by and; padding is ignored; empty parents go."""
    assert ask(reader, box("<entry><id>b</id></entry>")) == [("t:box", [("t:entry", ENTRY_B)])]
    assert ask(reader, box("<entry><id> \n b </id></entry>")) == [("t:box", [("t:entry", ENTRY_B)])]
    assert ask(reader, box("<entry><address>h1</address><port>2</port></entry>")) == [("t:box", [("t:entry", ENTRY_B)])]
    assert ask(reader, box("<entry><address>h2</address><port>1</port></entry>")) == []
    assert ask(reader, box("<name>other</name><wide/>")) == []
    assert ask(reader, box("<wide>18446744073709551615</wide><ratio/>")) == [
        ("t:box", [("t:wide", "18446744073709551615"), ("t:ratio", "1.5")])
    ]


def test_content_match_with_selection(reader: Client) -> None:
    """Checklist 54: the matched leaf and the keys, and what is selected."""
    assert ask(reader, box("<entry><id>b</id><port/></entry>")) == [
        ("t:box", [("t:entry", [("t:id", "b"), ("t:port", "2")])])
    ]
    found = ask(reader, box("<entry><port>2</port><address/></entry>"))
    assert found == [
        (
            "t:box",
            [
                ("t:entry", [("t:id", "b"), ("t:address", "h1"), ("t:port", "2")]),
                ("t:entry", [("t:id", "c"), ("t:address", "h2"), ("t:port", "2")]),
            ],
        )
    ]
    nested = box("<entry><id>a</id><sub><n>2</n><text/></sub></entry>")
    assert ask(reader, nested) == [
        ("t:box", [("t:entry", [("t:id", "a"), ("t:sub", [("t:n", "2"), ("t:text", "t2")])])])
    ]


def test_union(reader: Client) -> None:
    """Checklist 56, 57: one data element, every entry once, whether asked for with one key or another or twice."""
    found = ask(reader, box("<wide/>") + '<store xmlns="urn:example:toy"/>')
    assert sorted(names(found)) == ["t:box", "t:store"]
    found = ask(
        reader, box("<entry><id>b</id><port/></entry><entry><id>a</id><port/></entry><entry><id>b</id></entry>")
    )
    assert found == [
        ("t:box", [("t:entry", [("t:id", "a"), ("t:port", "1")]), ("t:entry", ENTRY_B)]),
    ]
    found = ask(reader, box("<wide/>") + box("<ratio/>"))
    assert found == [("t:box", [("t:wide", "18446744073709551615"), ("t:ratio", "1.5")])]


def test_leaf_list_match(reader: Client) -> None:
    """Checklist 58: one of the values has to be equal."""
    found = ask(reader, box("<entry><alias>p</alias><id/></entry>"))
    assert found == [("t:box", [("t:entry", [("t:id", "a"), ("t:alias", "p")])])]
    assert len(ask(reader, box("<entry><alias>q</alias></entry>"))[0][1]) == 2  # type: ignore[index]


def test_what_does_not_exist(reader: Client) -> None:
    """Checklist 60, 61: empty data, not an error."""
    assert ask(reader, box("<nothing/>")) == []
    assert ask(reader, '<nothing xmlns="urn:example:toy"/>') == []
    assert ask(reader, '<nothing xmlns="urn:unknown"/>') == []
    assert ask(reader, box("<color/>")) == []
    assert ask(reader, '<greet xmlns="urn:example:toy"/>') == []


def test_lists_without_keys(reader: Client) -> None:
    """Checklist 62, 70: entries are filtered as containers are."""
    status = '<status xmlns="urn:example:toy"><plainlist>{}</plainlist></status>'
    assert ask(reader, status.format("<a>1</a><b/>")) == [
        ("t:status", [("t:plainlist", [("t:a", "1"), ("t:b", "1")]), ("t:plainlist", [("t:a", "1"), ("t:b", "2")])])
    ]


def test_lists_in_a_store(reader: Client) -> None:
    """Checklist 52-57: entries that are found by key, walked and cut down, each once."""
    status = '<status xmlns="urn:example:toy">{}</status>'
    one = ("t:report", [("t:id", "r2"), ("t:length", "4"), ("t:document", "body"), ("t:group", "g2")])
    assert ask(reader, status.format("<report><id>r2</id></report>")) == [("t:status", [one])]
    found = ask(reader, status.format("<report><group>g2</group><length/></report>"))
    assert found == [
        (
            "t:status",
            [
                ("t:report", [("t:id", "r2"), ("t:length", "4"), ("t:group", "g2")]),
                ("t:report", [("t:id", "r3"), ("t:length", "4"), ("t:group", "g2")]),
            ],
        )
    ]
    assert ask(reader, status.format("<report><id>r9</id></report>")) == []
    assert ask(reader, status.format("<report><id/></report>")) == [
        ("t:status", [("t:report", [("t:id", name)]) for name in ("r1", "r2", "r3")])
    ]


def test_white_space_in_a_leaf_selects(reader: Client) -> None:
    """A leaf selector that holds only white space is a selection, as widely used clients send it."""
    assert ask(reader, box("<wide>\n</wide>")) == [("t:box", [("t:wide", "18446744073709551615")])]


def test_values(reader: Client) -> None:
    """Checklist 70, 96: canonical forms, an identity of another module with its prefix declared, escaped text."""
    found = data(reader.rpc(f"<get-config><source><running/></source><filter>{box('')}</filter></get-config>"))
    get = {etree.QName(one).localname: one for one in found[0] if len(one) == 0}
    assert get["name"].text == "b & <c>"
    assert get["ratio"].text == "1.5"
    assert get["flag"].text is None
    assert get["blob"].text == "AAEC"
    assert get["rights"].text == "read run"
    prefix, _, name = (get["pet"].text or "").partition(":")
    assert (get["pet"].nsmap[prefix], name) == (MORE, "parrot")


def test_anydata(reader: Client) -> None:
    """Checklist 70: it survives as it was given, and is selected as a whole."""
    extra = [("t:note", [("t:word", "w"), ("t:more", "1"), ("t:more", "2")])]
    for content in ("<extra/>", "<extra><note/></extra>"):
        assert ask(reader, f'<status xmlns="urn:example:toy">{content}</status>') == [
            ("t:status", [("t:extra", extra)])
        ]


def test_entries_stand_in_their_order(reader: Client) -> None:
    """Checklist 57, 94: the order is that of the data, not of the filter."""
    wanted = box("".join(f"<entry><id>{name}</id><port/></entry>" for name in ("c", "a", "b", "a")))
    found = [name for _, ((_, name), _) in ask(reader, wanted)[0][1]]  # type: ignore[index]
    assert found == ["a", "b", "c"]
    tags = box("<tag>two</tag><tag>one</tag><wide/>")
    assert ask(reader, tags) == [("t:box", [("t:wide", "18446744073709551615"), ("t:tag", "one"), ("t:tag", "two")])]


def test_keys_come_first(reader: Client) -> None:
    """Checklist 95."""
    found = data(reader.rpc("<get-config><source><running/></source></get-config>"))
    for entry in found.iter("{urn:example:toy}entry"):
        assert entry[0].tag == "{urn:example:toy}id"
    for entry in found.iter("{urn:example:toy}sub"):
        assert entry[0].tag == "{urn:example:toy}n"
