"""XPath filters over real SSH (RFC 6241 section 8.9, checklist 47, 63-66)."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import quoteattr

from lxml import etree
import pytest

from tests.netconf.support import MORE, NC, TOY, Client, Server, error, is_ok
from tests.netconf.test_filters import CONFIG, ENTRY_B, data, shape
from tests.toy.build import Toy

SPACES = f'xmlns:t="{TOY}" xmlns:m="{MORE}"'


@pytest.fixture(scope="module")
def toy() -> Iterator[Toy]:
    with Toy.open(netconf=True) as opened:
        opened.status.value = {"uptime": "5", "seen": ["a", "b"], "plainlist": [{"a": "1", "b": 1}, {"a": "2", "b": 2}]}
        for name in ("r1", "r2", "r3"):
            opened.reports.add(name, "d" * (int(name[1]) * 3), group="g1" if name == "r1" else "g2")
        yield opened


@pytest.fixture(scope="module")
def reader(toy: Toy) -> Iterator[Client]:
    server = Server(toy)
    with server.client() as client:
        reply = client.rpc(f"<edit-config><target><running/></target><config>{CONFIG}</config></edit-config>")
        assert is_ok(reply), etree.tostring(reply)
        yield client
    server.stop()


def request(select: str, operation: str = "get", spaces: str = SPACES) -> str:
    source = "<source><running/></source>" if operation == "get-config" else ""
    return f'<{operation}>{source}<filter {spaces} type="xpath" select={quoteattr(select)}/></{operation}>'


def ask(client: Client, select: str, operation: str = "get") -> object:
    reply = client.rpc(request(select, operation))
    assert reply[0].tag == f"{{{NC}}}data", etree.tostring(reply)
    return shape(data(reply))


def entry(name: str, *rest: object) -> tuple[str, list[object]]:
    return ("t:entry", [("t:id", name), *rest])


def box(*inner: object) -> list[object]:
    return [("t:box", list(inner))]


ONE_LEAF = box(("t:wide", "18446744073709551615"))
BOTH = [entry("a", ("t:port", "1")), entry("b", ("t:port", "2"))]
CASES: dict[str, object] = {
    "/t:box/t:wide": ONE_LEAF,
    "/t:box/t:wide/text()": ONE_LEAF,
    "//t:wide": ONE_LEAF,
    "/t:nothing": [],
    "/t:box/t:entry[t:id='b']": box(("t:entry", ENTRY_B)),
    "/t:box/t:entry[t:id='b']/t:port": box(entry("b", ("t:port", "2"))),
    "/t:box/t:entry[t:port=2][t:address='h1']/t:alias": box(entry("b", ("t:alias", "q"))),
    "/t:box/t:entry[t:id='a' or t:id='b']/t:port": box(*BOTH),
    "/t:box/t:entry[t:id='a']/t:port | /t:box/t:entry[t:id='b']/t:port": box(*BOTH),
    "/t:box/t:entry[position() < 3]/t:port": box(*BOTH),
    "/t:box/t:entry[2]/t:port": box(BOTH[1]),
    "/t:box/t:entry[last()]/t:port": box(entry("c", ("t:port", "2"))),
    "/t:box/t:entry[count(t:sub) > 1]/t:sub[last()]/t:text": box(
        entry("a", ("t:sub", [("t:n", "2"), ("t:text", "t2")]))
    ),
    "/t:box/t:entry[t:alias='p']/t:alias[.='q']": box(entry("a", ("t:alias", "q"))),
    "/t:box/t:entry[not(t:alias)]/t:id": box(entry("c")),
    "/t:box/t:entry/t:sub[t:text='t2']/../t:port": box(BOTH[0]),
    "/t:box[t:name='b & <c>']/t:ratio": box(("t:ratio", "1.5")),
    "/t:box/t:plain/*[local-name() = 'x']": box(("t:plain", [("t:x", "1"), ("m:x", "3")])),
    "/t:box/t:plain/m:*": box(("t:plain", [("m:x", "3"), ("m:z", "4")])),
    "/t:box/t:pet[derived-from(., 't:animal')]": box(("t:pet", "tm:parrot")),
    "/t:box/t:pet[derived-from-or-self(., 'm:parrot')]": box(("t:pet", "tm:parrot")),
    "/t:box/t:pet[derived-from(., 'm:parrot')]": [],
    "/t:box[t:pet='m:parrot']/t:ratio": box(("t:ratio", "1.5")),
    "/t:box[re-match(t:ratio, '[0-9]+\\.[0-9]*')]/t:ratio": box(("t:ratio", "1.5")),
    "/t:box/t:rights[bit-is-set(., 'run')]": box(("t:rights", "read run")),
    "/t:box/t:rights[bit-is-set(., 'write')]": [],
    "/t:box/t:entry[t:id = current()/t:box/t:entry[2]/t:id]/t:port": box(BOTH[1]),
    "/t:status/t:plainlist[t:b > 1]": [("t:status", [("t:plainlist", [("t:a", "2"), ("t:b", "2")])])],
    "/t:status/t:report[t:length > 6]/t:length": [
        ("t:status", [("t:report", [("t:id", "r3"), ("t:length", "9")])]),
    ],
    "//t:report/t:group[. = 'g1']": [("t:status", [("t:report", [("t:id", "r1"), ("t:group", "g1")])])],
    "/box/wide": ONE_LEAF,
}


@pytest.mark.parametrize("select", list(CASES))
def test_what_is_selected(reader: Client, select: str) -> None:
    """Checklist 63, 66: the nodes with their ancestors and the keys of these; prefixes are those of the filter."""
    assert ask(reader, select) == CASES[select]


def test_everything(reader: Client) -> None:
    """The root stands for all data; get-config sees configuration only."""
    assert ask(reader, "/") == shape(data(reader.rpc("<get/>")))
    assert ask(reader, "/", "get-config") == shape(
        data(reader.rpc("<get-config><source><running/></source></get-config>"))
    )
    assert ask(reader, "/t:status | /t:box/t:wide", "get-config") == ONE_LEAF
    assert ask(reader, "//t:entry[count(*) > 4]/t:port", "get-config") == box(BOTH[0])


def test_prefixes_of_the_elements_around(reader: Client) -> None:
    """Checklist 47, 66: a prefix may be declared anywhere above; nc:type works."""
    text = f'<get xmlns:far="{TOY}"><filter xmlns:nc="{NC}" nc:type="xpath" nc:select="/far:box/far:wide"/></get>'
    assert shape(data(reader.rpc(text))) == ONE_LEAF
    text = f'<get xmlns:t="urn:other"><filter xmlns:t="{TOY}" type="xpath" select="/t:box/t:wide"/></get>'
    assert shape(data(reader.rpc(text))) == ONE_LEAF
    assert shape(data(reader.rpc(request("/t:box", spaces='xmlns:t="urn:unknown"')))) == []


@pytest.mark.parametrize("value", ["count(/t:box)", "'text'", "1 + 1", "true()", "/t:box = 1", "string(/t:box)"])
def test_values_are_no_selection(reader: Client, value: str) -> None:
    """Checklist 64."""
    assert error(reader.rpc(request(value)))["tag"] == "invalid-value"


@pytest.mark.parametrize(
    "wrong",
    [
        "/t:box[",
        "/un:declared",
        "frob(/t:box)",
        "count()",
        "$x",
        "/t:box/",
        "t:box t:entry",
        "",
        "'open",
        "/t:box/axis::x",
    ],
)
def test_what_cannot_be_read(reader: Client, wrong: str) -> None:
    """Checklist 47, 65: bad-attribute with what is bad; select that is not there at all: missing-attribute."""
    told = error(reader.rpc(request(wrong)))
    assert (told["tag"], told["info"]) == ("bad-attribute", {"bad-attribute": "select", "bad-element": "filter"})


def test_select_has_to_be_there(reader: Client) -> None:
    """Checklist 47."""
    told = error(reader.rpc('<get><filter type="xpath"/></get>'))
    assert (told["tag"], told["info"]["bad-attribute"]) == ("missing-attribute", "select")


@pytest.mark.parametrize("wrong", ["/t:box/t:pet[derived-from(., 'un:animal')]", "count(/t:box)/t:entry", "(1)[1]"])
def test_what_cannot_be_evaluated(reader: Client, wrong: str) -> None:
    """Faults that only show with the data."""
    assert error(reader.rpc(request(wrong)))["tag"] == "invalid-value"


def test_the_capability(reader: Client) -> None:
    assert "urn:ietf:params:netconf:capability:xpath:1.0" in reader.capabilities


def test_marks_of_what_is_delivered(reader: Client, toy: Toy) -> None:
    """A document that was selected is marked, however it was selected; other leaves mark nothing."""
    toy.status.marks.clear()
    toy.report_list.marks.clear()

    def marks(select: str) -> list[object]:
        toy.report_list.marks.clear()
        ask(reader, select)
        ask(reader, "/t:box/t:wide")
        return list(toy.report_list.marks)

    assert marks("/t:status/t:report[t:id='r2']/t:document") == [("row", "r2")]
    assert marks("//t:report[t:length > 6]") == [("row", "r3")]
    assert marks("//t:document[string-length(.) < 5]") == [("row", "r1")]
    assert marks("/t:status/t:report/t:length") == []
    assert marks("//t:report[t:length > 6]/t:id") == []
