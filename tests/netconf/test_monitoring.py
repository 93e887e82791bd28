"""netconf-state of an agent whose clients come and go over real SSH (RFC 6022; checklist 118, 119)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lxml import etree
import pytest

from agent.core.schema import Schema
from agent.netconf.settings import Limits
from agent.northbound.system import GET_SCHEMA, MONITORING, Monitoring
from tests.netconf.support import NC, TOY, Client, Server, error, is_ok, until
from tests.netconf.test_subscriptions import subscribe, told
from tests.netconf.tls import TlsToy
from tests.toy.build import Toy

SPACE = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
YIN = "urn:ietf:params:xml:ns:yang:yin:1"
COUNTERS = ("in-rpcs", "in-bad-rpcs", "out-rpc-errors", "out-notifications")


@pytest.fixture
def toy(schema: Schema) -> Iterator[Toy]:
    monitoring = Monitoring(schema, ["urn:example:announced"])
    with Toy.open(
        netconf=True, state={MONITORING: monitoring}, operations={GET_SCHEMA: monitoring.get_schema}
    ) as opened:
        monitoring.watch(opened.dispatch.sessions, opened.dispatch.datastores)
        yield opened


def state(client: Client) -> etree._Element:
    reply = client.rpc(f'<get><filter><netconf-state xmlns="{SPACE}"/></filter></get>')
    found = reply.find(f"{{{NC}}}data/{{{SPACE}}}netconf-state")
    assert found is not None, etree.tostring(reply)
    return found


def numbers(element: etree._Element | None) -> dict[str, str]:
    assert element is not None
    return {etree.QName(one).localname: one.text or "" for one in element}


def test_own_session_and_its_counters(client: Client) -> None:
    """Checklist 119: this session is listed with transport, user, host and login time, and its counters rise."""
    first = numbers(state(client).find(f".//{{{SPACE}}}session"))
    assert first["transport"].partition(":")[2] == "netconf-ssh"
    assert (first["username"], first["source-host"]) == ("ada", "127.0.0.1")
    assert first["login-time"].endswith(("Z", "+00:00"))
    assert [first[name] for name in COUNTERS] == ["1", "0", "0", "0"]
    client.rpc("<frob/>")
    client.send_message(b"<rpc")
    client.reply()
    second = numbers(state(client).find(f".//{{{SPACE}}}session"))
    assert [second[name] for name in COUNTERS] == ["3", "1", "2", "0"]


def test_statistics_over_sessions_that_end_in_every_way(server: Server) -> None:
    """Checklist 119: closed, lost, killed and one that never greeted; what they did is counted when they are gone."""
    sessions = server.toy.dispatch.sessions
    with server.client() as watcher:
        with server.client() as closing:
            closing.rpc("<get><filter/></get>")
            closing.rpc("<frob/>")
            closing.rpc("<close-session/>")
        with server.client() as lost:
            lost.rpc("<get><filter/></get>")
        assert until(lambda: len(sessions.all()) == 1)
        with server.client() as killed:
            (victim,) = [one.id for one in sessions.all()][1:]
            watcher.rpc(f"<kill-session><session-id>{victim}</session-id></kill-session>")
            assert killed.closed()
        with server.client(b'<hello xmlns="urn:example:other"/>]]>]]>') as stranger:
            assert stranger.closed()
        assert until(lambda: len(sessions.all()) == 1)
        shown = numbers(state(watcher).find(f"{{{SPACE}}}statistics"))
    assert shown.pop("netconf-start-time")
    assert shown == {
        "in-bad-hellos": "1",
        "in-sessions": "5",
        "dropped-sessions": "1",
        "in-rpcs": "6",
        "in-bad-rpcs": "0",
        "out-rpc-errors": "1",
        "out-notifications": "0",
    }


def test_notifications_are_counted(server: Server, toy: Toy) -> None:
    """Checklist 119: out-notifications of a session and of all, those of ended ones too; who gets none counts none."""
    with server.client() as watcher:
        with server.client() as subscriber:
            assert is_ok(subscriber.rpc(subscribe(f'<filter><greeted xmlns="{TOY}"/></filter>')))
            for name in "abc":
                toy.dispatch.loop.submit(partial(toy.dispatch.hub.publish, "toy", "greeted", {"who": name}, 1.0))
                told(subscriber)

            def counted() -> list[str | None]:
                return [one.text for one in state(watcher).iter(f"{{{SPACE}}}out-notifications")]

            # of the watcher, of the subscriber, of all; the last one is counted right after it was sent
            assert until(lambda: counted() == ["0", "3", "3"])
        assert until(lambda: counted() == ["0", "3"])


def test_sessions_over_tls_count_too(toy: Toy) -> None:
    """Checklist 119: listed with their transport; one whose hello does not come in time is dropped, not bad."""
    over_ssh, over_tls = Server(toy), TlsToy(toy, limits=Limits(hello_time=0.1))
    try:
        with over_ssh.client() as watcher, over_tls.client(user="cole") as other:
            listed = [numbers(one) for one in state(other).iter(f"{{{SPACE}}}session")]
            assert [one["transport"].partition(":")[2] for one in listed] == ["netconf-ssh", "netconf-tls"]
            assert (listed[1]["username"], listed[1]["source-host"]) == ("cole", "127.0.0.1")
            with over_tls.client(hello=None) as silent:
                silent.read_hello()
                assert silent.closed()
            with over_tls.client(b'<hello xmlns="urn:example:other"/>]]>]]>') as stranger:
                assert stranger.closed()
            assert until(lambda: len(toy.dispatch.sessions.all()) == 2)
            shown = numbers(state(watcher).find(f"{{{SPACE}}}statistics"))
            assert [shown[name] for name in ("in-sessions", "dropped-sessions", "in-bad-hellos")] == ["4", "1", "1"]
    finally:
        over_ssh.stop()
        over_tls.stop()


def test_get_schema_in_both_formats(client: Client, schema: Schema) -> None:
    """Checklist 118: YANG as text equal to the file, YIN as one element; no other format."""
    file = schema.modules["toy"].file

    def ask(form: str) -> etree._Element:
        inner = f'<identifier>toy</identifier><format xmlns:m="{SPACE}">{form}</format>'
        return client.rpc(f'<get-schema xmlns="{SPACE}">{inner}</get-schema>')

    text = ask("m:yang").findtext(f"{{{SPACE}}}data")
    assert text is not None
    assert text.encode() == file.read_bytes()
    data = ask("m:yin").find(f"{{{SPACE}}}data")
    assert data is not None
    (module,) = data
    assert (module.tag, module.get("name")) == (f"{{{YIN}}}module", "toy")
    assert error(ask("m:rng"))["tag"] == "invalid-value"
