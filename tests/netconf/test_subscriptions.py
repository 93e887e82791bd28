"""Event notifications as a client on the wire sees them (RFC 5277; checklist 112-114)."""

from __future__ import annotations

from collections.abc import Callable
import threading

from lxml import etree
import pytest

from agent.codec import xml
from agent.core.access import Access
from agent.core.event_filter import XPathEventFilter
from agent.core.hub import Event
from agent.core.schema import Schema
from agent.core.xpath_items import Cost
from agent.netconf.subscriptions import READERS
from tests.netconf.operations import box, edit
from tests.netconf.support import HELLO_10, NC, TOY, Client, Server, error, is_ok, until
from tests.toy.build import ADMIN, RULES, Toy, permit

NOTIFICATION = "urn:ietf:params:xml:ns:netconf:notification:1.0"
MANAGE = "urn:ietf:params:xml:ns:netmod:notification"
T = f'xmlns="{TOY}" xmlns:t="{TOY}"'


def subscribe(content: str = "") -> str:
    return f'<create-subscription xmlns="{NOTIFICATION}">{content}</create-subscription>'


def told(client: Client) -> etree._Element:
    """The content of the next message, which must be a notification."""
    message = client.reply()
    assert message.tag == f"{{{NOTIFICATION}}}notification"
    time, content = message
    assert time.tag == f"{{{NOTIFICATION}}}eventTime"
    assert time.text is not None
    assert time.text.endswith("+00:00")
    return content


def who(client: Client) -> str | None:
    content = told(client)
    assert content.tag == f"{{{TOY}}}greeted"
    return content.findtext(f"{{{TOY}}}who")


@pytest.fixture
def greet(toy: Toy) -> Callable[[str], None]:
    """Publishes an event, as the core does: on its thread."""

    def publish(name: str, at: float = 1_700_000_000.25) -> None:
        toy.dispatch.loop.submit(lambda: toy.dispatch.hub.publish("toy", "greeted", {"who": name}, at)).result()

    return publish


@pytest.mark.parametrize("hello", [None, HELLO_10])
def test_a_subscription_brings_events(server: Server, greet: Callable[[str], None], hello: bytes | None) -> None:
    """Checklist 112: ok, then notifications with eventTime first, under both framings."""
    with server.client() if hello is None else server.client(hello) as client:
        greet("before")
        assert is_ok(client.rpc(subscribe()))
        greet("a")
        message = client.read_message()
        assert message.startswith(
            f'<notification xmlns="{NOTIFICATION}"><eventTime>2023-11-14T22:13:20.250+00:00<'.encode()
        )
        assert etree.fromstring(message)[1].findtext(f"{{{TOY}}}who") == "a"


def test_the_hello_announces_them(client: Client) -> None:
    """Checklist 112: :notification and :interleave (RFC 5277 sections 2 and 6)."""
    for name in ("notification", "interleave"):
        assert f"urn:ietf:params:netconf:capability:{name}:1.0" in client.capabilities


def test_requests_are_served_between_notifications(client: Client, greet: Callable[[str], None]) -> None:
    """Checklist 112, :interleave: replies and notifications come whole, in the order in which they were made."""
    assert is_ok(client.rpc(subscribe()))
    for number in range(20):
        greet(str(number))
        assert who(client) == str(number)
        assert client.rpc("<get/>").find(f"{{{NC}}}data") is not None


def test_one_subscription_a_session(client: Client, greet: Callable[[str], None]) -> None:
    """Checklist 112: a second create-subscription is refused, and the first goes on."""
    assert is_ok(client.rpc(subscribe()))
    assert error(client.rpc(subscribe()))["tag"] == "operation-failed"
    greet("still")
    assert who(client) == "still"


@pytest.mark.parametrize(
    ("content", "tag", "element"),
    [
        ("<stopTime>2026-11-24T10:00:00Z</stopTime>", "missing-element", "startTime"),
        (
            "<startTime>2020-11-24T10:00:00Z</startTime><stopTime>2020-11-24T09:00:00Z</stopTime>",
            "bad-element",
            "stopTime",
        ),
        ("<startTime>2020-11-24</startTime>", "invalid-value", "startTime"),
        ("<startTime>2020-11-24T10:00:00</startTime>", "invalid-value", "startTime"),
        ("<stream>none-of-ours</stream>", "invalid-value", "stream"),
        ("<strem>NETCONF</strem>", "unknown-element", "strem"),
        ("<stream>NETCONF</stream><stream>NETCONF</stream>", "bad-element", "stream"),
    ],
)
def test_refused_subscriptions(client: Client, content: str, tag: str, element: str) -> None:
    """Checklist 112: errors with tag and element; afterwards the session can still subscribe."""
    refusal = error(client.rpc(subscribe(content)))
    assert (refusal["type"], refusal["tag"], refusal["info"].get("bad-element")) == ("protocol", tag, element)
    assert is_ok(client.rpc(subscribe()))


@pytest.mark.parametrize(
    "filtered",
    [
        f'<filter type="subtree"><greeted {T}><who>b</who></greeted></filter>',
        f'<filter xmlns="{NC}"><greeted {T}><who>b</who></greeted></filter>',
        f'<filter xmlns="" {T.split()[1]} type="xpath" select="/t:greeted[t:who=\'b\']"/>',
        f'<filter {T.split()[1]} type="xpath" select="count(//t:who[. = \'b\']) = 1"/>',
    ],
)
def test_filters(client: Client, greet: Callable[[str], None], filtered: str) -> None:
    """Checklist 114: subtree and XPath filters, event by event; what passes comes whole."""
    assert is_ok(client.rpc(subscribe(filtered)))
    for name in ("a", "b", "c", "b"):
        greet(name)
    assert [who(client), who(client)] == ["b", "b"]
    greet("b")
    assert who(client) == "b"


def test_a_filter_by_name(client: Client, greet: Callable[[str], None]) -> None:
    """Checklist 114: a selection node takes all events of that name, an empty filter none."""
    assert is_ok(client.rpc(subscribe(f"<filter><greeted {T}/></filter>")))
    assert is_ok(client.rpc(edit("running", box("<name>n</name>"))))
    greet("x")
    assert who(client) == "x"


@pytest.mark.parametrize(
    ("filtered", "tag"),
    [
        ('<filter type="xpath" select="/t:greeted["/>', "bad-attribute"),
        ('<filter type="xpath"/>', "missing-attribute"),
        ('<filter type="regex"/>', "bad-attribute"),
    ],
)
def test_bad_filters(client: Client, filtered: str, tag: str) -> None:
    """Checklist 112, 114."""
    assert error(client.rpc(subscribe(filtered)))["tag"] == tag


def test_an_expensive_filter_stops_nobody(
    client: Client, greet: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Checklist 114: an evaluation has its bound; beyond it the subscription ends, and the log says why, once."""
    select = "//*"
    for _ in range(14):
        select = f"//*[count({select}) &gt; 0]"
    assert is_ok(client.rpc(subscribe(f'<filter type="xpath" select="{select}"/>')))
    for name in "abc":
        greet(name)
    assert etree.QName(told(client)).localname == "notificationComplete"
    assert client.rpc("<get/>").find(f"{{{NC}}}data") is not None
    assert caplog.text.count("its subscription ends, for its filter takes too long on toy:greeted") == 1
    assert is_ok(client.rpc(subscribe()))


def test_a_filter_that_fails_is_logged_once(
    client: Client, greet: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Checklist 114: an event on which the expression has no value is left out; the next ones are looked at."""
    select = f"<filter {T.split()[1]} type=\"xpath\" select=\"//t:who = 'b' or (//t:who = 'a' and deref(1))\"/>"
    assert is_ok(client.rpc(subscribe(select)))
    for name in "aab":
        greet(name)
    assert who(client) == "b"
    assert caplog.text.count("its XPath filter fails on it") == 1


COSTLY = "//node()[count(//node()[count(//node()[count(//node()) &gt; 0]) &gt; 0]) &gt; 0]"
WIDE = "".join(f"<greeted {T}><who>w{number}</who></greeted>" for number in range(6000))


@pytest.mark.parametrize(
    "filtered",
    [
        f'<filter type="xpath" select="{" | ".join([COSTLY] * 6)}"/>',
        f"<filter>{WIDE}<greeted {T}/></filter>",
    ],
)
def test_costly_filters_are_looked_at_a_part_at_a_time(toy: Toy, filtered: str) -> None:
    """Checklist 114: 64 events are not taken in one go where that takes long; none is lost by that."""
    operation = xml.parse(subscribe(filtered).encode())
    request = READERS[NOTIFICATION, "create-subscription"](operation, toy.schema)
    session = toy.dispatch.sessions.open(ADMIN, "netconf-ssh", "h", end=lambda _: None)
    subscription = toy.dispatch.subscribe(request, session).result()
    names = [str(number) for number in range(64)]
    for name in names:
        toy.dispatch.loop.submit(lambda name=name: toy.dispatch.hub.publish("toy", "greeted", {"who": name}, 1.0))
    toy.dispatch.loop.submit(lambda: None).result()
    taken = []
    while subscription.behind:
        taken.append([event.tree["who"] for event in subscription.take(64)])
    subscription.close()
    assert max(map(len, taken)) < 32
    assert [name for part in taken for name in part] == names


def test_costly_filters_hold_up_no_other_session(
    client: Client, greet: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checklist 114: they are evaluated beside the thread that serves all sessions."""
    threads: list[str] = []
    passes = XPathEventFilter.passes

    def noting(self: XPathEventFilter, event: Event, schema: Schema, cost: Cost) -> bool:
        threads.append(threading.current_thread().name)
        return passes(self, event, schema, cost)

    monkeypatch.setattr(XPathEventFilter, "passes", noting)
    assert is_ok(client.rpc(subscribe(f'<filter type="xpath" select="{COSTLY}"/>')))
    greet("a")
    assert who(client) == "a"
    assert threads
    assert all(name.startswith("netconf-apart") for name in threads)


def test_events_are_subject_to_access_control(server: Server, toy: Toy, greet: Callable[[str], None]) -> None:
    """Checklist 114: NACM decides event by event, and counts what it keeps back."""
    rules = [
        permit("subscribe", "reader", rpc_name="create-subscription", access_operations="exec"),
        permit("base", "reader", module_name="ietf-netconf-notifications", notification_name="*"),
        *RULES["rule-list"],
    ]
    toy.dispatch.access = Access(toy.schema, {**RULES, "rule-list": rules})
    with server.client(user="rita") as reader, server.client() as admin:
        assert is_ok(reader.rpc(subscribe()))
        greet("secret")
        assert is_ok(admin.rpc(edit("running", box("<name>n</name>"))))
        name = etree.QName(told(reader)).localname
        if name == "netconf-session-start":  # of the administrator, whose login may be told a little later
            name = etree.QName(told(reader)).localname
        assert name == "netconf-config-change"
    assert toy.dispatch.access.counters.notifications.value == 1


def test_subscribing_needs_its_right(server: Server) -> None:
    """Checklist 114, 122: without the right to create-subscription there is none."""
    with server.client(user="rita") as reader:
        assert error(reader.rpc(subscribe()))["tag"] == "access-denied"


def test_streams_are_listed(client: Client) -> None:
    """RFC 5277 section 3.2.5."""
    reply = client.rpc(f'<get><filter><netconf xmlns="{MANAGE}"/></filter></get>')
    assert [one.text for one in reply.iter(f"{{{MANAGE}}}name")] == ["NETCONF"]


def test_events_are_encoded_once(server: Server, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 subscribers to one stream: one encoding, and one message each."""
    made: list[str] = []
    encode = xml.encode_wrapped

    def counting(tree, node, *rest):  # type: ignore[no-untyped-def]
        made.append(node.name)
        return encode(tree, node, *rest)

    connections = [server.connect() for _ in range(10)]
    clients = [Client(connection) for connection in connections for _ in range(10)]
    for client in clients:
        client.greet(HELLO_10.replace(b"base:1.0</c", b"base:1.1</c"))
        assert is_ok(client.rpc(subscribe(f"<filter><greeted {T}/></filter>")))
    monkeypatch.setattr(xml, "encode_wrapped", counting)
    toy.dispatch.loop.submit(lambda: toy.dispatch.hub.publish("toy", "greeted", {"who": "all"}, 1.0)).result()
    assert [who(client) for client in clients] == ["all"] * 100
    assert made == ["greeted"]
    assert [one.out_notifications for one in toy.dispatch.sessions.all()] == [1] * 100
    for connection in connections:
        connection.close()


def test_nothing_is_computed_where_nobody_listens() -> None:
    """Without a subscriber the hub is not watched, and no event is kept."""
    with Toy.open(netconf=True, quiet=True) as toy:
        server = Server(toy)
        try:
            assert not toy.dispatch.hub.watched
            with server.client() as client:
                assert is_ok(client.rpc(subscribe()))
                assert toy.dispatch.hub.watched
                assert is_ok(client.rpc("<close-session/>"))
            assert until(lambda: not toy.dispatch.hub.watched)
        finally:
            server.stop()
