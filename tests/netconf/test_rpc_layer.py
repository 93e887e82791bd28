"""The rpc layer over real SSH: what a client is told, and that the session goes on."""

from __future__ import annotations

from pathlib import Path

from lxml import etree
import pytest

from tests.netconf.support import HELLO_10, NC, Client, Server, error, errors, is_ok
from tests.toy.build import Toy

RESET = '<reset xmlns="urn:example:toy"/>'


def alive(client: Client) -> bool:
    return is_ok(client.rpc(RESET))


def test_missing_message_id(client: Client) -> None:
    """Checklist 24."""
    client.send_message(f'<rpc xmlns="{NC}"><get/></rpc>'.encode())
    told = error(client.reply())
    assert (told["type"], told["tag"]) == ("rpc", "missing-attribute")
    assert told["info"] == {"bad-attribute": "message-id", "bad-element": "rpc"}
    assert alive(client)


def test_message_id_in_the_netconf_namespace(client: Client) -> None:
    """Checklist 24."""
    client.send_message(f'<nc:rpc xmlns:nc="{NC}" nc:message-id="x1">{RESET}</nc:rpc>'.encode())
    reply = client.reply()
    assert is_ok(reply)
    assert dict(reply.attrib) == {f"{{{NC}}}message-id": "x1"}


@pytest.mark.parametrize("operation", [RESET, "<frob/>", "<get/>"])
def test_attributes_come_back(client: Client, operation: str) -> None:
    """Checklist 25, 26: on every kind of reply."""
    extra = ' xmlns:ex="urn:x" ex:user="&lt;fr&quot;ed&gt;" trace="\u00e4&#10;b"'
    reply = client.rpc(operation, extra)
    assert reply.get("{urn:x}user") == '<fr"ed>'
    assert reply.get("trace") == "ä\nb"


def test_prefixed_rpc(client: Client) -> None:
    """Checklist 27."""
    client.send_message(f'<nc:rpc xmlns:nc="{NC}" xmlns="urn:example:toy" message-id="1"><reset/></nc:rpc>'.encode())
    assert is_ok(client.reply())


def test_malformed_xml_in_1_1(client: Client) -> None:
    """Checklist 28."""
    for message in (b"<rpc", b"no xml", b"<a></b>", b"<rpc>&undefined;</rpc>"):
        client.send_message(message)
        told = error(client.reply())
        assert (told["type"], told["tag"]) == ("rpc", "malformed-message")
    assert alive(client)


def test_malformed_xml_in_1_0(server: Server) -> None:
    """Checklist 28: the session ends, without a word."""
    with server.client(HELLO_10) as client:
        assert alive(client)
        client.send_message(b"<rpc")
        assert client.closed()


def test_entities_are_not_expanded(client: Client, tmp_path: Path) -> None:
    """Checklist 29: neither files nor nested entities."""
    secret = tmp_path / "secret"
    secret.write_text("do-not-tell")
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    for subset in (f'<!ENTITY e9 SYSTEM "file://{secret}">', f'<!ENTITY e0 "ha">{bomb}', "<!ENTITY e9 'x'>"):
        greet = '<greet xmlns="urn:example:toy"><who>&e9;</who></greet>'
        client.send_message(f'<!DOCTYPE rpc [{subset}]><rpc xmlns="{NC}" message-id="1">{greet}</rpc>'.encode())
        reply = client.reply()
        assert error(reply)["tag"] == "malformed-message"
        assert b"do-not-tell" not in etree.tostring(reply)
    assert alive(client)


def test_no_operation_or_two(client: Client, toy: Toy) -> None:
    """Checklist 30."""
    assert error(client.rpc(""))["tag"] == "missing-element"
    assert error(client.rpc(RESET + RESET))["tag"] == "unknown-element"
    assert toy.calls == []
    assert alive(client)


def test_another_top_element(client: Client) -> None:
    """Checklist 31."""
    client.send_message(f'<foo xmlns="{NC}" message-id="4"/>'.encode())
    reply = client.reply()
    assert reply.get("message-id") == "4"
    assert (error(reply)["tag"], error(reply)["info"]) == ("unknown-element", {"bad-element": "foo"})
    assert alive(client)


@pytest.mark.parametrize(
    ("operation", "tag", "info"),
    [
        ("<frob/>", "unknown-element", {"bad-element": "frob"}),
        ('<absent xmlns="urn:example:toy"/>', "operation-not-supported", {}),
        ('<frob xmlns="urn:evil"/>', "unknown-namespace", {"bad-element": "frob", "bad-namespace": "urn:evil"}),
        ('<get xmlns="urn:evil"/>', "unknown-namespace", {"bad-element": "get", "bad-namespace": "urn:evil"}),
        ('<get xmlns="urn:example:toy"/>', "unknown-element", {"bad-element": "get"}),
        ("<get-config><source><running/></source><frob/></get-config>", "unknown-element", {"bad-element": "frob"}),
        ("<get-config/>", "missing-element", {"bad-element": "source"}),
        ("<lock/>", "missing-element", {"bad-element": "target"}),
        ("<get-config><source><frob/></source></get-config>", "unknown-element", {"bad-element": "frob"}),
        ('<greet xmlns="urn:example:toy"/>', "missing-element", {"bad-element": "who"}),
        ('<greet xmlns="urn:example:toy"><who>x</who><x/></greet>', "unknown-element", {"bad-element": "x"}),
    ],
)
def test_refusals(client: Client, toy: Toy, operation: str, tag: str, info: dict[str, str]) -> None:
    """Checklist 32-37, 39: the tag, and error-info whose elements are in NETCONF's namespace and hold local names."""
    told = error(client.rpc(operation))
    assert (told["tag"], told["info"]) == (tag, info)
    assert told["type"] in ("rpc", "protocol", "application")
    assert toy.calls == []
    assert alive(client)


def test_a_bad_operation_attribute(client: Client) -> None:
    """Checklist 38, 39, 40: bad-attribute, both names, and a path whose prefixes are declared on it."""
    told = error(
        client.rpc(
            "<edit-config><target><running/></target><config>"
            f'<box xmlns="urn:example:toy"><plain xmlns:nc="{NC}" nc:operation="frob"/></box></config></edit-config>'
        )
    )
    assert told["tag"] == "bad-attribute"
    assert told["info"] == {"bad-attribute": "operation", "bad-element": "plain"}
    path = told["path"]
    assert path.text.startswith("/")
    prefixes = {step.partition(":")[0] for step in path.text.strip("/").split("/")}
    assert {path.nsmap[prefix] for prefix in prefixes} == {"urn:example:toy"}


def test_several_errors_are_one_reply(client: Client) -> None:
    """Checklist 41: never <ok/> beside an error."""
    reply = client.rpc(
        "<edit-config><target><running/></target><config><box xmlns='urn:example:toy'>"
        "<low>5</low><high>1</high><favourite>nobody</favourite></box></config></edit-config>"
    )
    assert len(errors(reply)) >= 1
    assert reply.find(f"{{{NC}}}ok") is None


def test_a_fault_in_a_handler(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Checklist 43: operation-failed, nothing of the inside on the wire, all of it in the log, the session goes on."""
    reply = client.rpc('<fail xmlns="urn:example:toy"/>')
    assert error(reply)["tag"] == "operation-failed"
    for word in (b"secret", b"RuntimeError", b"Traceback", b".py"):
        assert word not in etree.tostring(reply)
    assert "/secret/path/of/the/handler" in caplog.text
    assert alive(client)


def test_output_stands_in_its_own_namespace(client: Client) -> None:
    reply = client.rpc('<greet xmlns="urn:example:toy"><who>\n  you\n </who><times> 2 </times></greet>')
    assert [(one.tag, one.text) for one in reply] == [
        ("{urn:example:toy}greeting", "hello hello you"),
        ("{urn:example:toy}word", "hello"),
        ("{urn:example:toy}word", "hello"),
        ("{urn:example:toy}word", "you"),
    ]
    assert client.rpc('<more xmlns="urn:example:toy-more"/>').findtext("{urn:example:toy-more}name") == "ada"


def test_get_schema(client: Client, toy: Toy) -> None:
    """Checklist 118: a module's text arrives identical to its file."""
    monitoring = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
    reply = client.rpc(f'<get-schema xmlns="{monitoring}"><identifier>toy</identifier></get-schema>')
    assert reply.findtext(f"{{{monitoring}}}data") == Path(toy.schema.modules["toy"].file).read_text()
    reply = client.rpc(f'<get-schema xmlns="{monitoring}"><identifier>frob</identifier></get-schema>')
    assert error(reply)["tag"] == "invalid-value"


@pytest.mark.parametrize(
    "operation",
    [
        "<edit-config><target><running/></target><config><box xmlns='urn:example:toy'/></config></edit-config>",
        "<lock><target><running/></target></lock>",
        "<kill-session><session-id>1</session-id></kill-session>",
        RESET,
    ],
)
def test_readers_may_only_read(server: Server, toy: Toy, operation: str) -> None:
    """Access is denied by default: access-denied, and nothing happens."""
    with server.client(user="rita") as client:
        assert error(client.rpc(operation))["tag"] == "access-denied"
        assert client.rpc("<get/>")[0].tag == f"{{{NC}}}data"
        assert toy.calls == []
        assert is_ok(client.rpc("<close-session/>"))
