"""The with-defaults parameter over real SSH (RFC 6243, checklist 67-69)."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree
import pytest

from tests.netconf.support import NC, Client, Server, error, is_ok
from tests.toy.build import Toy

WITH = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"
TAG = "{urn:ietf:params:xml:ns:netconf:default:1.0}default"
TD = "urn:example:toy-defaults"
# as in RFC 6243 appendix A: one other value, one that was set to the default, one that was not set
CONFIG = f"""<interfaces xmlns="{TD}">
  <interface><name>eth0</name><mtu>8192</mtu></interface>
  <interface><name>eth1</name><mtu>1500</mtu></interface>
  <interface><name>eth2</name></interface>
</interfaces>"""

Shown = dict[str, tuple[str | None, bool]]


@pytest.fixture(scope="module")
def reader() -> Iterator[Client]:
    with Toy.open(netconf=True) as toy:
        toy.found.value = {"counters": {"errors": 0}, "link": [{"id": "a"}]}
        server = Server(toy)
        with server.client() as client:
            edit = f"<edit-config><target><running/></target><config>{CONFIG}</config></edit-config>"
            assert is_ok(client.rpc(edit))
            yield client
        server.stop()


def ask(
    client: Client, operation: str, mode: str | None, content: str = f'<interfaces xmlns="{TD}"/>'
) -> etree._Element:
    source = "<source><running/></source>" if operation == "get-config" else ""
    wanted = "" if mode is None else f'<with-defaults xmlns="{WITH}"> {mode}\n</with-defaults>'
    reply = client.rpc(f"<{operation}>{source}<filter>{content}</filter>{wanted}</{operation}>")
    assert reply[0].tag == f"{{{NC}}}data", etree.tostring(reply)
    return reply[0]


def mtus(data: etree._Element) -> Shown:
    """By interface: its mtu (None where it is not shown) and whether it is tagged."""
    found: Shown = {}
    for one in data.iter(f"{{{TD}}}interface"):
        mtu = one.find(f"{{{TD}}}mtu")
        name = one.findtext(f"{{{TD}}}name") or ""
        found[name] = (None, False) if mtu is None else (mtu.text, mtu.get(TAG) == "true")
    return found


SHOWN: dict[str | None, Shown] = {
    "report-all": {"eth0": ("8192", False), "eth1": ("1500", False), "eth2": ("1500", False)},
    "report-all-tagged": {"eth0": ("8192", False), "eth1": ("1500", False), "eth2": ("1500", True)},
    "trim": {"eth0": ("8192", False), "eth1": (None, False), "eth2": (None, False)},
    "explicit": {"eth0": ("8192", False), "eth1": ("1500", False), "eth2": (None, False)},
    None: {"eth0": ("8192", False), "eth1": ("1500", False), "eth2": (None, False)},
}


@pytest.mark.parametrize("operation", ["get", "get-config"])
@pytest.mark.parametrize("mode", list(SHOWN))
def test_modes(reader: Client, operation: str, mode: str | None) -> None:
    """Checklist 67, 69: each mode by a leaf that is unset, set to the default, set to another value."""
    assert mtus(ask(reader, operation, mode)) == SHOWN[mode]


def test_the_capability(reader: Client) -> None:
    """Checklist 69: the basic mode that is announced is what is done without the parameter."""
    start = "urn:ietf:params:netconf:capability:with-defaults:1.0?"
    (found,) = [one.removeprefix(start) for one in reader.capabilities if one.startswith(start)]
    assert found == "basic-mode=explicit&also-supported=report-all,report-all-tagged,trim"
    assert SHOWN[None] == SHOWN["explicit"]


@pytest.mark.parametrize("mode", ["frob", "", "Report-All", "report-all report-all"])
def test_other_modes(reader: Client, mode: str) -> None:
    """Checklist 68."""
    told = error(reader.rpc(f'<get><with-defaults xmlns="{WITH}">{mode}</with-defaults></get>'))
    assert told["tag"] == "invalid-value"


def test_the_parameter_has_a_namespace(reader: Client) -> None:
    """The parameter of the NETCONF namespace is another one, and unknown."""
    told = error(reader.rpc("<get><with-defaults>trim</with-defaults></get>"))
    assert (told["tag"], told["info"]["bad-element"]) == ("unknown-element", "with-defaults")


def test_filters_see_what_the_mode_shows(reader: Client) -> None:
    """A filter finds a default with report-all only."""
    match = f'<interfaces xmlns="{TD}"><interface><mtu>1500</mtu><name/></interface></interfaces>'
    assert list(mtus(ask(reader, "get", None, match))) == ["eth1"]
    assert list(mtus(ask(reader, "get", "report-all", match))) == ["eth1", "eth2"]


def test_state(reader: Client) -> None:
    """Checklist 67: state has modes too; explicit shows what the server reports."""
    content = f'<found xmlns="{TD}"/>'

    def speeds(mode: str | None) -> list[str | None]:
        data = ask(reader, "get", mode, content)
        return [one.text for tag in ("speed", "errors", "state") for one in data.iter(f"{{{TD}}}{tag}")]

    assert speeds(None) == speeds("explicit") == ["0"]
    assert speeds("report-all") == ["100", "0", "idle"]
    assert speeds("trim") == []


@pytest.mark.parametrize("value", ["true", "1"])
def test_tagged_values_come_back(reader: Client, value: str) -> None:
    """RFC 6243 section 4.5.2: what was read with tags can be written back, and a default stays one."""

    def edit(mtu: str, rest: str = "", tag: str = value) -> etree._Element:
        space = "urn:ietf:params:xml:ns:netconf:default:1.0"
        leaf = f'<mtu xmlns:wd="{space}" wd:default="{tag}" {rest}>{mtu}</mtu>'
        entry = f'<interfaces xmlns="{TD}"><interface><name>back</name>{leaf}</interface></interfaces>'
        return reader.rpc(f"<edit-config><target><running/></target><config>{entry}</config></edit-config>")

    def now() -> tuple[str | None, bool]:
        return mtus(ask(reader, "get", "report-all-tagged"))["back"]

    try:
        assert is_ok(edit("1500", tag="false"))
        assert now() == ("1500", False)
        assert is_ok(edit("1500"))
        assert now() == ("1500", True)
        assert is_ok(edit("1500", 'operation="replace"'))
        assert now() == ("1500", True)
        assert is_ok(edit("1500", 'operation="create"'))
        assert error(edit("1500", 'operation="create"'))["tag"] == "data-exists"
        assert error(edit("9000"))["tag"] == "invalid-value"
        assert error(edit("1500", tag="maybe"))["tag"] == "bad-attribute"
    finally:
        gone = '<interface operation="remove"><name>back</name></interface>'
        config = f'<config><interfaces xmlns="{TD}">{gone}</interfaces></config>'
        assert is_ok(reader.rpc(f"<edit-config><target><running/></target>{config}</edit-config>"))


def test_no_interfaces_at_all(reader: Client) -> None:
    """Containers without presence are there for their defaults."""
    data = ask(reader, "get-config", "report-all", f'<lab xmlns="{TD}"><inner/></lab>')
    assert data.findtext(f"{{{TD}}}lab/{{{TD}}}inner/{{{TD}}}deep/{{{TD}}}level") == "3"
    assert len(ask(reader, "get-config", None, f'<lab xmlns="{TD}"><inner/></lab>')) == 0
