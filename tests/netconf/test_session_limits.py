"""What one client, or all together, may take: each limit as it is configured, over SSH and over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
import gc
import logging
import socket
import time
from typing import Any

from lxml import etree
import paramiko
import pytest

from agent.core.requests import Datastore
from agent.netconf.framing import Framer
from agent.netconf.limits import LARGE
from agent.netconf.settings import Limits, ServerSettings
from tests.netconf.support import HELLO_11, NC, WAIT, Client, Server, error, is_ok, until
from tests.netconf.test_subscriptions import subscribe, told
from tests.netconf.tls import BY_COMMON_NAME, TlsToy
from tests.toy.build import Toy

RESET = '<reset xmlns="urn:example:toy"/>'


class Both:
    """One server of either kind, whose limits change while it runs."""

    def __init__(self, toy: Toy, kind: str) -> None:
        self.toy = toy
        self.running: Any = Server(toy) if kind == "ssh" else TlsToy(toy)
        self.client = self.running.client
        self.server = self.running.ssh if kind == "ssh" else self.running.tls

    def limit(self, **changes: float) -> None:
        settings = ServerSettings(limits=replace(Limits(), **changes), tls=BY_COMMON_NAME)

        async def take() -> None:
            self.server.configure(settings)

        self.running.thread.call(take())

    def open(self, user: str = "ada") -> Any:
        """A connection with a session on it; raises where there is none."""
        connection = self.running.connect(user)
        try:
            Client(connection).read_hello()
        except BaseException:
            connection.close()
            raise
        return connection

    def refuses(self, user: str = "ada") -> bool:
        try:
            self.open(user).close()
        except (EOFError, paramiko.ChannelException, ConnectionError):
            return True
        return False


@pytest.fixture(params=["ssh", "tls"])
def both(request: pytest.FixtureRequest, toy: Toy) -> Iterator[Both]:
    made = Both(toy, request.param)
    yield made
    made.running.stop()


def test_login_time(both: Both) -> None:
    both.limit(login_time=0.3)
    with socket.create_connection((both.running.host, both.running.port), WAIT) as silent:
        while silent.recv(1000):
            pass
    both.limit()
    both.open().close()


def test_hello_time(both: Both, toy: Toy) -> None:
    both.limit(hello_time=1.5)
    with both.client(hello=None) as client:
        client.read_hello()
        assert client.closed()
    assert until(lambda: toy.dispatch.sessions.all() == ())


def test_idle_time(both: Both, toy: Toy) -> None:
    """Counted from the last request; its locks are released. Sessions from before the change are not touched."""
    with both.client() as old:
        both.limit(idle_time=1)
        with both.client() as client:
            for _ in range(8):
                time.sleep(0.15)
                assert is_ok(client.rpc(RESET))
            assert is_ok(client.rpc("<lock><target><running/></target></lock>"))
            assert client.closed()
        assert until(lambda: toy.dispatch.datastores.locks.holder(Datastore.RUNNING) is None)
        assert is_ok(old.rpc(RESET))


@pytest.fixture(params=["ssh", "tls"])
def replaying(request: pytest.FixtureRequest) -> Iterator[Both]:
    """A server with a log of events, which a subscription with an end needs."""
    with Toy.open(netconf=True, replay=True) as toy:
        made = Both(toy, request.param)
        yield made
        made.running.stop()


def test_a_subscriber_is_not_idle(replaying: Both) -> None:
    """Who waits for events asks nothing; only when the subscription has ended is the session idle, from then on."""
    replaying.limit(idle_time=1)
    with ExitStack() as stack:
        forever = stack.enter_context(replaying.client())
        assert is_ok(forever.rpc(subscribe("<filter/>")))
        once = stack.enter_context(replaying.client())
        asked, now = time.monotonic(), datetime.now(UTC)
        bounds = (
            f"<startTime>{now.isoformat()}</startTime><stopTime>{(now + timedelta(seconds=1)).isoformat()}</stopTime>"
        )
        assert is_ok(once.rpc(subscribe(f"<filter/>{bounds}")))
        assert [etree.QName(told(once)).localname for _ in range(2)] == ["replayComplete", "notificationComplete"]
        assert once.closed()
        # a second to the end of the subscription, another without a request
        assert time.monotonic() - asked > 1.9
        assert is_ok(forever.rpc(RESET))


def test_a_long_reply_is_no_idleness(both: Both, toy: Toy) -> None:
    """A reader that is slow is not idle: what it asked for is still on its way."""
    for number in range(2000):
        toy.reports.add(f"r{number}", "0123456789" * 400)
    both.limit(idle_time=0.5)
    with both.client() as client:
        wanted = '<get><filter><status xmlns="urn:example:toy"><report/></status></filter></get>'
        client.send_message(f'<rpc xmlns="{NC}" message-id="1">{wanted}</rpc>'.encode())
        for _ in range(4):
            time.sleep(0.2)
        assert client.read_message().endswith(b"</rpc-reply>")


def test_sessions_in_all(both: Both, toy: Toy, caplog: pytest.LogCaptureFixture) -> None:
    """One more is refused, told in the log, and taken when another has gone; those that stand notice nothing."""
    both.limit(sessions=3)
    with both.client() as client:
        second, third = both.open("rita"), both.open("cole")
        assert both.refuses()
        assert both.refuses("rita")
        assert "3 NETCONF sessions already" in caplog.text
        assert is_ok(client.rpc(RESET))
        second.close()
        assert until(lambda: len(toy.dispatch.sessions.all()) == 2)
        both.open().close()
        third.close()


def test_sessions_of_one_user(both: Both, caplog: pytest.LogCaptureFixture) -> None:
    both.limit(sessions_per_user=2)
    opened = [both.open(), both.open()]
    assert both.refuses()
    assert "user ada has 2 NETCONF sessions already" in caplog.text
    opened.append(both.open("rita"))
    for one in opened:
        one.close()


def test_other_protocols_do_not_count(both: Both, toy: Toy) -> None:
    """Sessions of RESTCONF and of the local socket are not NETCONF's."""
    both.limit(sessions=1)
    for _ in range(3):
        toy.session(transport="restconf")
    both.open().close()


def test_message_size(both: Both) -> None:
    """A longer request is answered with too-big and ends its session; the limit itself is met."""
    both.limit(message_size=70_000)
    with both.client() as client:
        request = f'<rpc xmlns="{NC}" message-id="1">{RESET}</rpc>'
        fits = request.replace("<reset", " " * (70_000 - len(request)) + "<reset")
        client.send_message(fits.encode())
        assert is_ok(client.reply())
        # told by the first chunk's size: no need to send what is too long
        client.send(b"\n#70001\n")
        assert error(client.reply())["tag"] == "too-big"
        assert client.closed()


def padded(octets: int) -> bytes:
    """A request of that length."""
    request = f'<rpc xmlns="{NC}" message-id="1">{RESET}</rpc>'
    return request.replace("<reset", " " * (octets - len(request)) + "<reset").encode()


def test_long_messages_of_all_sessions(both: Both) -> None:
    """There is room for four of the greatest size; for a fifth the one that was begun first is given up, and told so.
    The others get to their end, and there is room again."""
    size = 4 * LARGE
    both.limit(message_size=size)
    arriving = both.server._shared.serving.arriving
    request = padded(size)
    with ExitStack() as stack:
        clients = [stack.enter_context(both.client()) for _ in range(5)]
        for number, client in enumerate(clients, 1):
            client.send(b"\n#%d\n%b" % (size, request[:-100]))
            held = min(number, 4) * (size - 100)
            assert until(lambda held=held: arriving.octets == held)
        assert error(clients[0].reply())["tag"] == "resource-denied"
        assert clients[0].closed()
        for client in clients[1:]:
            client.send(request[-100:] + b"\n##\n")
            assert is_ok(client.reply())
        assert until(lambda: arriving.octets == 0)
        # one after the other on one session: nothing is counted twice, nothing left behind
        for _ in range(6):
            clients[1].send_message(request)
            assert is_ok(clients[1].reply())
        assert until(lambda: arriving.octets == 0)


@pytest.mark.parametrize("end", ["too big", "left", "broken"])
def test_what_was_received_goes_with_the_session(both: Both, toy: Toy, end: str) -> None:
    """At once, not when the collector finds the session."""
    size = 2 * LARGE
    both.limit(message_size=size)
    arriving = both.server._shared.serving.arriving
    gc.collect()
    gc.disable()
    try:
        with both.client() as client:
            client.send(b"\n#%d\n%b" % (size - 10, b" " * (size - 10)))
            assert until(lambda: arriving.octets == size - 10)
            if end == "too big":
                client.send(b"\n#11\n")
                assert error(client.reply())["tag"] == "too-big"
            elif end == "broken":
                client.send(b"\n#x\n")
            assert end == "left" or client.closed()
        assert until(lambda: toy.dispatch.sessions.all() == ())
        assert arriving.octets == 0
        assert [one.held for one in gc.get_objects() if type(one) is Framer and one.held > LARGE] == []
    finally:
        gc.enable()


def test_a_flood_of_sessions(both: Both, toy: Toy) -> None:
    """Many at once: as many as are allowed get in, the others are refused, and the one that was there is served."""
    both.limit(sessions=5)
    with both.client() as client:
        kept, refused = [], 0
        for _ in range(20):
            try:
                kept.append(both.open())
            except (EOFError, paramiko.ChannelException, ConnectionError):
                refused += 1
            assert is_ok(client.rpc(RESET))
        assert (len(kept), refused) == (4, 16)
        for one in kept:
            one.close()
    assert until(lambda: toy.dispatch.sessions.all() == ())
    both.open().close()


def test_ssh_says_why(toy: Toy) -> None:
    """The channel is refused for want of resources (RFC 4254 section 5.1); the connection stands and may try again."""
    both = Both(toy, "ssh")
    try:
        both.limit(sessions=1)
        connection = both.open()
        with pytest.raises(paramiko.ChannelException) as caught:
            connection.open_session(timeout=WAIT)
        assert caught.value.code == 4
        assert connection.is_active()
        connection.close()
    finally:
        both.running.stop()


def test_channels_that_were_opened_before_the_first_session(toy: Toy) -> None:
    """Each is asked again when it becomes a session; what is over the limit is told why and closed."""
    both = Both(toy, "ssh")
    try:
        both.limit(sessions=1)
        connection = both.running.connect()
        channels = [connection.open_session(timeout=WAIT) for _ in range(3)]
        for one in channels:
            one.settimeout(WAIT)
            one.invoke_subsystem("netconf")
        assert channels[0].recv(6) == b"<hello"
        for one in channels[1:]:
            assert b"1 NETCONF sessions already" in one.makefile_stderr("rb").read()
            assert one.recv_exit_status() == 1
        connection.close()
    finally:
        both.running.stop()


def _open(transport: paramiko.Transport, what: str) -> paramiko.Channel | None:
    """A channel and what is asked for on it; None where the connection has ended before it was there."""
    try:
        channel = transport.open_session(timeout=WAIT)
        channel.settimeout(WAIT)
        match what:
            case "shell":
                channel.invoke_shell()
            case "exec":
                channel.exec_command("show version")
            case "sftp":
                channel.invoke_subsystem("sftp")
    except (paramiko.SSHException, EOFError, OSError):
        return None
    return channel


@pytest.mark.parametrize("what", ["nothing", "channel", "shell", "exec", "sftp", "exec again and again"])
def test_a_login_without_a_session_ends(toy: Toy, caplog: pytest.LogCaptureFixture, what: str) -> None:
    """Whoever is logged in and opens no NETCONF session has hello-time for it, whatever other channels it opens."""
    caplog.set_level(logging.INFO, "agent")
    server = Server(toy, limits=Limits(hello_time=0.5))
    try:
        transport = server.connect()
        # paramiko closes a channel that nobody holds
        kept = [] if what == "nothing" else [_open(transport, what.split()[0])]
        if what == "exec again and again":
            until(lambda: _open(transport, "exec") is None, WAIT)
        assert until(lambda: not transport.is_active(), WAIT)
        assert until(lambda: "connection of ada from 127.0.0.1 closed: no session on it for 0.5 s" in caplog.text)
        assert not server.ssh._shared.connections
        del kept
    finally:
        server.stop()


def test_a_connection_ends_some_time_after_its_last_session(toy: Toy) -> None:
    """As long as one session is open it stands; a client that has ended its sessions may open others for a while."""
    server = Server(toy)
    try:
        transport = server.connect()
        one, two = Client(transport), Client(transport)
        for client in (one, two):
            client.greet(HELLO_11)
        server.configure(ServerSettings(limits=Limits(hello_time=0.2)))
        assert is_ok(one.rpc("<close-session/>"))
        assert one.closed()
        time.sleep(0.5)
        assert is_ok(two.rpc(RESET))
        server.configure(ServerSettings(limits=Limits(hello_time=60)))
        assert is_ok(two.rpc("<close-session/>"))
        assert two.closed()
        server.configure(ServerSettings(limits=Limits(hello_time=0.2)))
        three = Client(transport)
        three.greet(HELLO_11)
        assert is_ok(three.rpc(RESET))
        assert is_ok(three.rpc("<close-session/>"))
        assert until(lambda: not transport.is_active(), WAIT)
    finally:
        server.stop()
