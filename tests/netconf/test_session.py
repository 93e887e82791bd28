"""The session's state machine and the reading of messages, without sockets or tasks."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
import pytest

from agent.core.requests import Content, Datastore, EndSession, Get, Invoke, Lock, Unlock
from agent.core.schema import Schema
from agent.errors import RequestError
from agent.netconf.framing import ProtocolError
from agent.netconf.messages import CloseSession, Rpc, ok_reply, read_rpc
from agent.netconf.session import BASE_1_0, BASE_1_1, HelloReceived, NetconfSession, capabilities
from tests.netconf.support import HELLO_10, HELLO_11, NC
from tests.toy.build import toy_schema

HELLO = HELLO_11.removesuffix(b"]]>]]>")


def session(schema: Schema, limit: int = 1 << 20) -> NetconfSession:
    return NetconfSession(schema, 7, capabilities(schema), limit=limit)


def bare(schema: Schema) -> Schema:
    """The same modules in a server that offers running only."""
    made = copy(schema)
    netconf = replace(schema.modules["ietf-netconf"], features=("writable-running",))
    made.modules = {**schema.modules, "ietf-netconf": netconf}
    for name in ("ietf-netconf-partial-lock", "ietf-netconf-with-defaults", "ietf-netconf-nmda", "notifications"):
        del made.modules[name]
    return made


def events(target: NetconfSession, stream: bytes, step: int = 1 << 20) -> list[HelloReceived | Rpc]:
    found = []
    for start in range(0, len(stream), step):
        target.receive(stream[start : start + step])
        while (event := target.next_event()) is not None:
            found.append(event)
    return found


def test_the_servers_hello(schema: Schema) -> None:
    """Checklist 1, 2: both bases, one session-id, the modules, end-of-message framing."""
    sent = session(schema).hello()
    assert sent.endswith(b"]]>]]>")
    root = etree.fromstring(sent.removesuffix(b"]]>]]>"))
    assert root.tag == f"{{{NC}}}hello"
    assert [one.text for one in root.iter(f"{{{NC}}}session-id")] == ["7"]
    announced = [one.text for one in root.iter(f"{{{NC}}}capability")]
    assert announced[:2] == [BASE_1_0, BASE_1_1]
    assert "urn:ietf:params:netconf:capability:rollback-on-error:1.0" in announced
    assert "urn:example:toy?module=toy&revision=2026-01-01" in announced
    assert "urn:ietf:params:netconf:capability:confirmed-commit:1.1" in announced
    assert "urn:ietf:params:netconf:capability:xpath:1.0" in announced
    offered = [one for one in capabilities(bare(schema)) if ":capability:" in one]
    assert offered == ["urn:ietf:params:netconf:capability:writable-running:1.0"]


@pytest.mark.parametrize(
    ("hello", "chunked"),
    [
        (HELLO_11, True),
        (HELLO_10, False),
        (HELLO_11.replace(b"<capability>", b"<capability>" + BASE_1_0.encode() + b"</capability><capability>"), True),
        (HELLO_11.replace(b"base:1.1<", b"base:1.1?arg=val<"), True),
        (HELLO_11.replace(b"<capability>", b"<capability>\n  ").replace(b"</capability>", b"\n</capability>"), True),
        (b"\n  " + HELLO_11, True),
        (b'\n<?xml version="1.0" encoding="UTF-8"?>\n' + HELLO_11, True),
        (
            f'<nc:hello xmlns:nc="{NC}"><nc:capabilities><nc:capability>{BASE_1_1}</nc:capability></nc:capabilities>'
            "</nc:hello>]]>]]>".encode(),
            True,
        ),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_good_hellos(schema: Schema, hello: bytes, chunked: bool, step: int) -> None:
    """Checklist 3, 4, 5, 9, 10: the higher base is used; parameters, prefixes, declarations and padding are fine."""
    target = session(schema)
    (event,) = events(target, hello, step)
    assert isinstance(event, HelloReceived)
    assert target.greeted
    assert target.chunked is chunked


@pytest.mark.parametrize(
    "hello",
    [
        HELLO_11.replace(b"base:1.1", b"base:1.2"),
        HELLO_11.replace(b"base:1.1", b"base:1.10"),
        HELLO_11.replace(BASE_1_1.encode(), b""),
        f'<hello xmlns="{NC}"/>]]>]]>'.encode(),
        f'<hello xmlns="{NC}"><capabilities/></hello>]]>]]>'.encode(),
        HELLO_11.replace(b"</hello>", b"<session-id>4</session-id></hello>"),
        HELLO_11.replace(NC.encode(), b"urn:evil"),
        HELLO_11.replace(f' xmlns="{NC}"'.encode(), b""),
        HELLO_11.replace(b"hello", b"hallo"),
        f'<rpc xmlns="{NC}" message-id="1"><get/></rpc>]]>]]>'.encode(),
        b"<hello]]>]]>",
        b"]]>]]>",
        b'<!DOCTYPE hello [<!ENTITY a "b">]>' + HELLO_11,
        HELLO_11.replace(b"base", b"ba\xffse"),
        b"\n#4\n<a/>\n##\n]]>]]>",
    ],
)
def test_bad_hellos_end_the_session(schema: Schema, hello: bytes) -> None:
    """Checklist 6, 7, 8, 11: no reply, nothing is run."""
    target = session(schema)
    with pytest.raises(ProtocolError) as caught:
        events(target, hello)
    assert caught.value.reason == "bad-hello"
    assert not target.greeted


def test_a_hello_has_a_limit_of_its_own(schema: Schema) -> None:
    target = session(schema, limit=1 << 24)
    with pytest.raises(ProtocolError) as caught:
        events(target, b"<hello>" + b" " * 300_000)
    assert caught.value.reason == "too-big"


def rpc(operation: str, attributes: str = 'message-id="1"') -> bytes:
    return f'<rpc xmlns="{NC}" {attributes}>{operation}</rpc>'.encode()


def test_hello_and_requests_in_one_segment(schema: Schema) -> None:
    """Checklist 13, 22: a client that pipelines from its first octet on."""
    one, two = rpc("<get/>"), rpc("<close-session/>")
    stream = HELLO_11 + b"\n#%d\n%s\n##\n" % (len(one), one) + b"\n#%d\n%s\n##\n" % (len(two), two)
    for step in (1, 13, 1 << 20):
        _, first, second = events(session(schema), stream, step)
        assert isinstance(first, Rpc)
        assert first.operation == Get()
        assert isinstance(second, Rpc)
        assert second.operation == CloseSession()


def test_malformed_xml_ends_a_session_of_base_1_0_only(schema: Schema) -> None:
    """Checklist 28."""
    with pytest.raises(ProtocolError) as caught:
        events(session(schema), HELLO_10 + b"<rpc]]>]]>")
    assert caught.value.reason == "malformed"
    target = session(schema)
    _, bad, good = events(
        target, HELLO_11 + b"\n#4\n<rpc\n##\n" + b"\n#%d\n%s\n##\n" % (len(rpc("<get/>")), rpc("<get/>"))
    )
    assert isinstance(bad, Rpc)
    assert isinstance(bad.operation, RequestError)
    assert [(one.type, one.tag) for one in bad.operation.errors] == [("rpc", "malformed-message")]
    assert isinstance(good, Rpc)
    assert good.operation == Get()


def test_operations(schema: Schema) -> None:
    """What each operation is read as."""
    more = schema.rpcs["toy-more", "more"]
    running = "<running/>"
    table = {
        "<get/>": Get(),
        "<get><filter/></get>": Get(()),
        f"<get-config><source>{running}</source></get-config>": Get(
            None, Content.CONFIG, Datastore.RUNNING, rpc=("ietf-netconf", "get-config")
        ),
        f"<lock><target>{running}</target></lock>": Lock(),
        f"<unlock><target>{running}</target></unlock>": Unlock(),
        "<kill-session><session-id> 12\n</session-id></kill-session>": EndSession(12),
        "<close-session/>": CloseSession(),
        '<more xmlns="urn:example:toy-more"/>': Invoke(more, {}),
    }
    for text, operation in table.items():
        assert read_rpc(rpc(text), schema).operation == operation


REFUSED = {
    # operation: (tag, error-info)
    "": ("missing-element", {"bad-element": "rpc"}),
    "<get/><get/>": ("unknown-element", {"bad-element": "get"}),
    "<frob/>": ("unknown-element", {"bad-element": "frob"}),
    '<frob xmlns=""/>': ("unknown-element", {"bad-element": "frob"}),
    '<get xmlns="urn:evil"/>': ("unknown-namespace", {"bad-element": "get", "bad-namespace": "urn:evil"}),
    '<get xmlns="urn:example:toy"/>': ("unknown-element", {"bad-element": "get"}),
    "<commit/>": ("operation-not-supported", {}),
    "<cancel-commit/>": ("operation-not-supported", {}),
    "<discard-changes/>": ("operation-not-supported", {}),
    "<validate/>": ("operation-not-supported", {}),
    "<copy-config/>": ("missing-element", {"bad-element": "target"}),
    "<get><frob/></get>": ("unknown-element", {"bad-element": "frob"}),
    '<get><x:filter xmlns:x="urn:evil"/></get>': (
        "unknown-namespace",
        {"bad-element": "filter", "bad-namespace": "urn:evil"},
    ),
    "<get><filter/><filter/></get>": ("bad-element", {"bad-element": "filter"}),
    '<get><filter type="frob"/></get>': ("bad-attribute", {"bad-attribute": "type", "bad-element": "filter"}),
    '<get><filter type="xpath"/></get>': ("missing-attribute", {"bad-attribute": "select", "bad-element": "filter"}),
    '<get><filter type="xpath" select="/"/></get>': (
        "bad-attribute",
        {"bad-attribute": "type", "bad-element": "filter"},
    ),
    "<get-config/>": ("missing-element", {"bad-element": "source"}),
    "<get-config><source/></get-config>": ("missing-element", {"bad-element": "source"}),
    "<get-config><source>running</source></get-config>": ("missing-element", {"bad-element": "source"}),
    "<get-config><source><candidate/></source></get-config>": ("invalid-value", {}),
    "<get-config><source><frob/></source></get-config>": ("unknown-element", {"bad-element": "frob"}),
    "<get-config><source><running/><running/></source></get-config>": ("bad-element", {"bad-element": "running"}),
    '<get-config><source><running xmlns="urn:evil"/></source></get-config>': (
        "unknown-namespace",
        {"bad-element": "running", "bad-namespace": "urn:evil"},
    ),
    "<get-config><source><running/></source><target/></get-config>": ("unknown-element", {"bad-element": "target"}),
    "<lock/>": ("missing-element", {"bad-element": "target"}),
    "<lock><target><startup/></target></lock>": ("invalid-value", {}),
    "<unlock/>": ("missing-element", {"bad-element": "target"}),
    "<kill-session/>": ("missing-element", {"bad-element": "session-id"}),
    "<kill-session><session-id>0</session-id></kill-session>": ("invalid-value", {}),
    "<kill-session><session-id>4294967296</session-id></kill-session>": ("invalid-value", {}),
    "<kill-session><session-id>-1</session-id></kill-session>": ("invalid-value", {}),
    "<kill-session><session-id>\u0663</session-id></kill-session>": ("invalid-value", {}),
    f"<kill-session><session-id>{'9' * 5000}</session-id></kill-session>": ("invalid-value", {}),
    "<close-session><now/></close-session>": ("unknown-element", {"bad-element": "now"}),
    "<edit-config><config/></edit-config>": ("missing-element", {"bad-element": "target"}),
    "<edit-config><target><running/></target></edit-config>": ("missing-element", {"bad-element": "config"}),
    "<edit-config><target><url>file:///etc/passwd</url></target><config/></edit-config>": ("invalid-value", {}),
    "<edit-config><target><running/></target><url>file:///etc/passwd</url></edit-config>": (
        "operation-not-supported",
        {},
    ),
    "<edit-config><target><running/></target><test-option>test-only</test-option><config/></edit-config>": (
        "operation-not-supported",
        {},
    ),
    "<edit-config><target><running/></target><error-option>continue-on-error</error-option><config/></edit-config>": (
        "operation-not-supported",
        {},
    ),
    "<edit-config><target><running/></target><error-option>frob</error-option><config/></edit-config>": (
        "invalid-value",
        {},
    ),
    "<edit-config><target><running/></target><default-operation>create</default-operation><config/></edit-config>": (
        "invalid-value",
        {},
    ),
    '<greet xmlns="urn:example:toy"/>': ("missing-element", {"bad-element": "who"}),
    '<greet xmlns="urn:example:toy"><frob/></greet>': ("unknown-element", {"bad-element": "frob"}),
}


@pytest.mark.parametrize("operation", REFUSED)
def test_refused_operations(schema: Schema, operation: str) -> None:
    """Checklist 30, 32-37, 47, 80, 81: the tag and the error-info of each."""
    tag, info = REFUSED[operation]
    outcome = read_rpc(rpc(operation), bare(schema)).operation
    assert isinstance(outcome, RequestError)
    (error,) = outcome.errors
    assert (error.tag, dict(error.info)) == (tag, info)
    assert error.type in ("protocol", "application")


@pytest.mark.parametrize(
    ("message", "tag", "info"),
    [
        (rpc("<get/>", ""), "missing-attribute", {"bad-attribute": "message-id", "bad-element": "rpc"}),
        (f'<foo xmlns="{NC}" message-id="1"/>'.encode(), "unknown-element", {"bad-element": "foo"}),
        (HELLO, "unknown-element", {"bad-element": "hello"}),
        (b'<rpc message-id="1"><get/></rpc>', "unknown-element", {"bad-element": "rpc"}),
        (b"", "malformed-message", {}),
        (b"<", "malformed-message", {}),
        (b"\xff\xfe", "malformed-message", {}),
        (b"<a>" * 500 + b"</a>" * 500, "malformed-message", {}),
        (rpc("<get/>") + b"<x/>", "malformed-message", {}),
        (rpc("<get/>\0"), "malformed-message", {}),
        (rpc("<get>&#0;</get>"), "malformed-message", {}),
        (rpc("<get>&nosuch;</get>"), "malformed-message", {}),
        (b'<!DOCTYPE rpc SYSTEM "file:///etc/passwd">' + rpc("<get/>"), "malformed-message", {}),
        (b'<!DOCTYPE rpc [<!ENTITY a "b">]>' + rpc("<get>&a;</get>"), "malformed-message", {}),
    ],
)
def test_refused_messages(schema: Schema, message: bytes, tag: str, info: dict[str, str]) -> None:
    """Checklist 24, 28, 29, 31."""
    outcome = read_rpc(message, schema).operation
    assert isinstance(outcome, RequestError)
    assert (outcome.errors[0].tag, dict(outcome.errors[0].info)) == (tag, info)


def reply_of(message: bytes, schema: Schema) -> etree._Element:
    return etree.fromstring(b"".join(ok_reply(read_rpc(message, schema))))


def test_attributes_are_echoed(schema: Schema) -> None:
    """Checklist 25, 27: also namespaced ones and prefix declarations; reply elements are in NETCONF's namespace."""
    message = (
        f'<nc:rpc xmlns:nc="{NC}" xmlns="urn:other" xmlns:ex="http://example.net/a?b&amp;c" message-id="1" '
        'ex:user="fred" plain="x" xml:lang="de"><nc:get/></nc:rpc>'
    ).encode()
    reply = reply_of(message, schema)
    assert dict(reply.attrib) == {
        "message-id": "1",
        "{http://example.net/a?b&c}user": "fred",
        "plain": "x",
        "{http://www.w3.org/XML/1998/namespace}lang": "de",
    }
    assert reply.nsmap["ex"] == "http://example.net/a?b&c"
    assert reply.tag == f"{{{NC}}}rpc-reply"
    assert reply[0].tag == f"{{{NC}}}ok"


def test_a_message_id_in_the_netconf_namespace_counts(schema: Schema) -> None:
    """Checklist 24."""
    message = f'<nc:rpc xmlns:nc="{NC}" nc:message-id="5"><nc:get/></nc:rpc>'.encode()
    assert read_rpc(message, schema).operation == Get()
    assert dict(reply_of(message, schema).attrib) == {f"{{{NC}}}message-id": "5"}


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")))
def test_any_message_id_is_echoed(text: str) -> None:
    """Checklist 26: quotes, angle brackets, white space by reference, any length, any script."""
    schema = toy_schema(netconf=True)
    text = f"{text}\"'<>&\t\n\r"
    escaped = "".join(f"&#{ord(char)};" for char in text)
    reply = reply_of(f'<rpc xmlns="{NC}" message-id="{escaped}"><get/></rpc>'.encode(), schema)
    assert reply.get("message-id") == text


def test_a_long_message_id_is_echoed(schema: Schema) -> None:
    """Checklist 26."""
    text = "ä" * 4095
    reply = reply_of(f'<rpc xmlns="{NC}" message-id="{text}"><get/></rpc>'.encode(), schema)
    assert reply.get("message-id") == text


def test_filter_and_config_count_in_no_namespace(schema: Schema) -> None:
    """Widely used clients send a user's own <filter> and <config> as they are."""
    wrapped = f'<nc:rpc xmlns:nc="{NC}" message-id="1">%s</nc:rpc>'
    get = wrapped % "<nc:get><filter/></nc:get>"
    edit = wrapped % "<nc:edit-config><nc:target><nc:running/></nc:target><config/></nc:edit-config>"
    for text in (get, edit):
        assert not isinstance(read_rpc(text.encode(), schema).operation, RequestError)


PIECES = st.one_of(
    st.sampled_from(
        [
            HELLO_11,
            HELLO_10,
            b"]]>]]>",
            b"\n##\n",
            b"\n#5\n",
            b"\n#",
            b"<rpc ",
            b"<a/>",
            b'message-id="1"',
            rpc("<get/>"),
            b"\n#%d\n%s\n##\n" % (len(rpc("<get/>")), rpc("<get/>")),
            rpc("<get><filter><x/></filter></get>"),
            rpc('<greet xmlns="urn:example:toy"><who>&#xe4;</who></greet>'),
            rpc("<edit-config><target><running/></target><config><x xmlns='urn:example:toy'/></config></edit-config>"),
            b"<!DOCTYPE a>",
            b"\0",
            b"\xff",
        ]
    ),
    st.binary(max_size=12),
)


@given(st.lists(PIECES, max_size=12), st.booleans(), st.integers(1, 50))
@settings(max_examples=300)
def test_any_stream(pieces: list[bytes], greeted: bool, step: int) -> None:
    """Either events, or this one error, never another; and cutting the stream differently changes nothing."""
    schema = toy_schema(netconf=True)
    stream = (HELLO_11 if greeted else b"") + b"".join(pieces)

    def outcome(size: int) -> tuple[list[str], str | None]:
        target = session(schema, 1000)
        found: list[str] = []
        try:
            for start in range(0, len(stream), size):
                target.receive(stream[start : start + size])
                while (event := target.next_event()) is not None:
                    found.append(repr(event))
        except ProtocolError as error:
            return found, error.reason
        return found, None

    assert outcome(step) == outcome(len(stream) or 1)
