"""get-data over real SSH (RFC 8526 section 3.1.1, checklist 121)."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree
import pytest

from tests.netconf.support import NC, TOY, Client, Server, error, is_ok
from tests.netconf.test_filters import ENTRY_B, shape
from tests.toy.build import Toy

NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
DS = "urn:ietf:params:xml:ns:yang:ietf-datastores"
OR = "urn:ietf:params:xml:ns:yang:ietf-origin"
TD = "urn:example:toy-defaults"
ORIGIN = f"{{{OR}}}origin"
TAG = "{urn:ietf:params:xml:ns:netconf:default:1.0}default"
CONFIG = f"""
<box xmlns="{TOY}"><wide>5</wide>
  <plain><x>1</x><deep><y>2</y></deep></plain>
  <entry><id>a</id><port>1</port><sub><n>1</n><text>t1</text></sub></entry>
  <entry><id>b</id><address>h1</address><port>2</port><alias>q</alias></entry>
</box>
<store xmlns="{TOY}"><limit>9</limit></store>
<lab xmlns="{TD}"><number>8</number><item><name>i</name></item></lab>
"""


@pytest.fixture(scope="module")
def reader() -> Iterator[Client]:
    with Toy.open(netconf=True) as toy:
        toy.found.value = {"counters": {"errors": 1}}
        toy.reports.add("r1")
        toy.reports.add("r2")
        server = Server(toy)
        with server.client() as client:
            reply = client.rpc(f"<edit-config><target><running/></target><config>{CONFIG}</config></edit-config>")
            assert is_ok(reply), etree.tostring(reply)
            yield client
        server.stop()


def request(parameters: str = "", store: str = "ds:operational") -> str:
    where = f'<datastore xmlns:ds="{DS}">{store}</datastore>'
    return f'<get-data xmlns="{NMDA}">{where}{parameters}</get-data>'


def ask(client: Client, parameters: str = "", store: str = "ds:operational") -> etree._Element:
    reply = client.rpc(request(parameters, store))
    assert [one.tag for one in reply] == [f"{{{NMDA}}}data"], etree.tostring(reply)
    return reply[0]


def told(element: etree._Element) -> object:
    for one in element.iter():
        one.tag = str(one.tag).replace(f"{{{TD}}}", f"{{{TOY}}}")
    return shape(element)


def subtree(content: str) -> str:
    return f"<subtree-filter>{content}</subtree-filter>"


def xpath(select: str) -> str:
    return f'<xpath-filter xmlns:t="{TOY}" xmlns:d="{TD}"> {select}\n</xpath-filter>'


def names(found: object) -> list[str]:
    assert isinstance(found, list)
    return [name for name, _ in found]


LAB = subtree(f'<lab xmlns="{TD}"><plain/><number/><item/></lab>')


def test_conventional_datastores(reader: Client) -> None:
    """Running and intended: configuration as it was set, no state."""
    for store in ("ds:running", "ds:intended"):
        found = told(ask(reader, "", store))
        assert sorted(names(found)) == ["t:box", "t:lab", "t:store"]
        assert dict(found)["t:store"] == [("t:limit", "9")]  # type: ignore[call-overload]
        assert told(ask(reader, LAB, store)) == [("t:lab", [("t:number", "8"), ("t:item", [("t:name", "i")])])]


def test_operational(reader: Client) -> None:
    """Configuration, state, and the defaults in use (RFC 8342 section 5.3)."""
    found = told(ask(reader))
    assert sorted(names(found)) == ["t:box", "t:found", "t:lab", "t:status", "t:store"]
    assert dict(found)["t:store"] == [("t:limit", "9"), ("t:usage", [("t:used", "7")])]  # type: ignore[call-overload]
    assert ("t:size", "10") in dict(found)["t:box"]  # type: ignore[call-overload]
    assert ("t:state", "idle") in dict(found)["t:found"]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("mode", "plain", "tagged"),
    [
        ("report-all", "as delivered", False),
        ("report-all-tagged", "as delivered", True),
        ("explicit", None, False),
        ("trim", None, False),
    ],
)
def test_with_defaults(reader: Client, mode: str, plain: str | None, tagged: bool) -> None:
    """RFC 8526 section 3.1.1.2, in the operational datastore and in running."""
    for space in (NMDA, "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"):
        wanted = f'<with-defaults xmlns="{space}">{mode}</with-defaults>'
        for store in ("ds:operational", "ds:running"):
            lab = ask(reader, LAB + wanted, store)[0]
            assert lab.findtext(f"{{{TD}}}plain") == plain
            assert lab.findtext(f"{{{TD}}}number") == "8"
            tags = [one.get(TAG) for one in lab.iter(f"{{{TD}}}plain")]
            assert tags == ([] if plain is None else ["true" if tagged else None])


def test_filters(reader: Client) -> None:
    """Subtree and XPath filters; no result is an empty data element."""
    entry = [("t:box", [("t:entry", ENTRY_B)])]
    assert told(ask(reader, subtree(f'<box xmlns="{TOY}"><entry><id>b</id></entry></box>'))) == entry
    assert told(ask(reader, xpath("/t:box/t:entry[t:id='b']"))) == entry
    assert told(ask(reader, xpath("/t:box/t:entry[last()]"), "ds:running")) == entry
    assert told(ask(reader, xpath("//t:report[t:id='r9']"))) == []
    assert told(ask(reader, subtree(""))) == []
    assert told(ask(reader, xpath("/d:lab[d:plain='as delivered']/d:number"))) == [("t:lab", [("t:number", "8")])]
    assert told(ask(reader, xpath("/d:lab[d:plain='as delivered']/d:number"), "ds:running")) == []


def test_config_filter(reader: Client) -> None:
    """Only configuration, or only state with its ancestors and their keys."""
    store = subtree(f'<store xmlns="{TOY}"/>')
    config, state = "<config-filter>true</config-filter>", "<config-filter> false </config-filter>"
    assert told(ask(reader, store + config)) == [("t:store", [("t:limit", "9")])]
    assert told(ask(reader, store + state)) == [("t:store", [("t:usage", [("t:used", "7")])])]
    assert sorted(names(told(ask(reader, state)))) == ["t:found", "t:status", "t:store"]
    assert sorted(names(told(ask(reader, config)))) == ["t:box", "t:lab", "t:store"]
    assert told(ask(reader, state, "ds:running")) == []


@pytest.mark.parametrize("spelled", [subtree, xpath])
def test_max_depth(reader: Client, spelled: object) -> None:
    """Levels count from what a filter selects, keys of cut entries stay; unbounded is all."""
    paths = {
        "plain": (subtree(f'<box xmlns="{TOY}"><plain/></box>'), xpath("/t:box/t:plain")),
        "box": (subtree(f'<box xmlns="{TOY}"/>'), xpath("/t:box")),
        "entries": (subtree(f'<box xmlns="{TOY}"><entry/></box>'), xpath("//t:entry[position() > 0]")),
        "reports": (subtree(f'<status xmlns="{TOY}"><report/></status>'), xpath("/t:status/t:report[t:length > 0]")),
    }

    def at(path: str, depth: object) -> object:
        wanted = paths[path][spelled is xpath]
        config = f"<config-filter>{'false' if path == 'reports' else 'true'}</config-filter>"
        return told(ask(reader, f"{wanted}{config}<max-depth>{depth}</max-depth>"))

    assert at("plain", 1) == [("t:box", [("t:plain", None)])]
    assert at("plain", 2) == [("t:box", [("t:plain", [("t:x", "1"), ("t:deep", None)])])]
    assert at("plain", 3) == at("plain", "unbounded")
    assert at("box", 1) == [("t:box", None)]
    entries = dict(at("box", 2))["t:box"]  # type: ignore[call-overload]
    assert [one for one in entries if one[0] == "t:entry"] == [
        ("t:entry", [("t:id", "a")]),
        ("t:entry", [("t:id", "b")]),
    ]
    assert at("entries", 1) == [("t:box", [("t:entry", [("t:id", "a")]), ("t:entry", [("t:id", "b")])])]
    (first, second) = dict(at("entries", 2))["t:box"]  # type: ignore[call-overload]
    assert first == ("t:entry", [("t:id", "a"), ("t:port", "1"), ("t:sub", [("t:n", "1")])])
    assert second == ("t:entry", ENTRY_B)
    assert at("reports", 1) == [("t:status", [("t:report", [("t:id", "r1")]), ("t:report", [("t:id", "r2")])])]
    assert at("reports", 2) == at("reports", "unbounded")


def test_max_depth_of_everything(reader: Client) -> None:
    """Without a filter the nodes at the top are the ones that are selected."""
    assert told(ask(reader, "<max-depth>1</max-depth>", "ds:running")) == [
        ("t:box", None),
        ("t:store", None),
        ("t:lab", None),
    ]


def test_with_origin(reader: Client) -> None:
    """Configured nodes are intended, defaults in use are default, state has none (RFC 8342 section 5.3.4)."""
    data = ask(reader, "<with-origin/>")
    origins = {etree.QName(one).localname: one.get(ORIGIN) for one in data}
    assert origins == {
        "box": "or:intended",
        "store": "or:intended",
        "lab": "or:intended",
        "found": None,
        "status": None,
        "netconf": None,
    }
    lab = data.find(f"{{{TD}}}lab")
    assert lab is not None
    own = {etree.QName(one).localname: one.get(ORIGIN) for one in lab}
    assert (own["plain"], own["number"], own["item"]) == ("or:default", None, None)
    assert lab.find(f"{{{TD}}}plain").nsmap["or"] == OR  # type: ignore[union-attr]
    assert [one.get(ORIGIN) for one in lab.iter(f"{{{TD}}}size", f"{{{TD}}}fast")] == ["or:default"] * 2
    assert not list(ask(reader).iterfind(f".//*[@{ORIGIN}]"))


@pytest.mark.parametrize(
    ("wanted", "number", "plain"),
    [
        ("<origin-filter>or:intended</origin-filter>", True, False),
        ("<origin-filter>or:default</origin-filter>", False, True),
        ("<origin-filter>or:default</origin-filter><origin-filter>or:intended</origin-filter>", True, True),
        ("<origin-filter>or:system</origin-filter>", False, False),
        ("<negated-origin-filter>or:default</negated-origin-filter>", True, False),
        ("<negated-origin-filter>or:intended</negated-origin-filter>", False, True),
        ("<negated-origin-filter>or:system</negated-origin-filter>", True, True),
    ],
)
def test_origin_filters(reader: Client, wanted: str, number: bool, plain: bool) -> None:
    """Configuration of other origins goes, state stays; keys of what has something stay."""
    wanted = wanted.replace("origin-filter>or", f'origin-filter xmlns:or="{OR}">or')
    data = ask(reader, wanted)
    assert (data.find(f".//{{{TD}}}number") is not None, data.find(f".//{{{TD}}}plain") is not None) == (number, plain)
    assert data.findtext(f"{{{TOY}}}store/{{{TOY}}}usage/{{{TOY}}}used") == "7"
    assert [one.text for one in data.iter(f"{{{TOY}}}id")][-2:] == ["r1", "r2"]
    items = list(data.iter(f"{{{TD}}}item"))
    assert len(items) == (1 if number or plain else 0)
    assert all(one[0].tag == f"{{{TD}}}name" for one in items)


@pytest.mark.parametrize(
    ("parameters", "store", "tag", "bad"),
    [
        ("", "ds:dynamic", "invalid-value", "datastore"),
        ("", "operational", "invalid-value", "datastore"),
        ("", "un:operational", "invalid-value", "datastore"),
        ("<with-origin/>", "ds:running", "invalid-value", "with-origin"),
        ('<origin-filter xmlns:or="OR">or:intended</origin-filter>', "ds:running", "invalid-value", "origin-filter"),
        ('<origin-filter xmlns:or="OR">or:frob</origin-filter>', "ds:operational", "invalid-value", "origin-filter"),
        ("<config-filter>maybe</config-filter>", "ds:operational", "invalid-value", "config-filter"),
        ("<max-depth>0</max-depth>", "ds:operational", "invalid-value", "max-depth"),
        ("<max-depth>65536</max-depth>", "ds:operational", "invalid-value", "max-depth"),
        ("<max-depth>two</max-depth>", "ds:operational", "invalid-value", "max-depth"),
        ("<max-depth>1</max-depth><max-depth>2</max-depth>", "ds:operational", "bad-element", "max-depth"),
        ("<subtree-filter/><xpath-filter>/</xpath-filter>", "ds:operational", "bad-element", "xpath-filter"),
        ("<xpath-filter>/x:y</xpath-filter>", "ds:operational", "invalid-value", "xpath-filter"),
        ("<xpath-filter>count(/)</xpath-filter>", "ds:operational", "invalid-value", None),
        ("<with-defaults>frob</with-defaults>", "ds:operational", "invalid-value", "with-defaults"),
        ("<filter/>", "ds:operational", "unknown-element", "filter"),
    ],
)
def test_refusals(reader: Client, parameters: str, store: str, tag: str, bad: str | None) -> None:
    """Checklist 121: an unknown datastore, and every parameter with a value that it does not take."""
    found = error(reader.rpc(request(parameters.replace("OR", OR), store)))
    assert (found["tag"], found["info"].get("bad-element")) == (tag, bad)


def test_the_datastore_is_needed(reader: Client) -> None:
    found = error(reader.rpc(f'<get-data xmlns="{NMDA}"/>'))
    assert (found["tag"], found["info"]["bad-element"]) == ("missing-element", "datastore")


def test_the_capability(reader: Client) -> None:
    start = "urn:ietf:params:netconf:capability:with-operational-defaults:1.0?"
    (found,) = [one.removeprefix(start) for one in reader.capabilities if one.startswith(start)]
    assert found == "basic-mode=report-all&also-supported=explicit,report-all-tagged,trim"
    assert any(
        f"{NMDA}?module=ietf-netconf-nmda" in one and "origin,with-defaults" in one for one in reader.capabilities
    )


def test_the_namespace_of_the_operation(reader: Client) -> None:
    """The old operations are in the NETCONF namespace, the new one is in its own."""
    found = error(reader.rpc(f'<get-data xmlns="{NC}"/>'))
    assert found["tag"] == "unknown-element"
