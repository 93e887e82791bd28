"""Call home (RFC 8071): whom the device dials, when, and what it does where nobody answers; over real SSH and TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
import contextlib
import logging
import socket
import time
from typing import Any

import paramiko
import pytest

from agent.clock import LabClock, SystemClock
from agent.listeners import Listeners
from agent.netconf import callhome
from agent.netconf.callhome import Caller, next_start
from agent.netconf.limits import WaitingLimit
from agent.netconf.serving import Serving
from agent.netconf.settings import CallHome, Endpoint, Limits, ServerSettings
from agent.restconf.listen import bind_tcp
from agent.ssh.server import SshServer
from agent.tls.server import TlsServer
from tests.netconf.support import HELLO_11, HOST_KEY, WAIT, Client, is_ok, until
from tests.netconf.tls import BY_COMMON_NAME, PEOPLE, SERVER, Connection, client_context
from tests.toy.build import Toy, Users

RESET = '<reset xmlns="urn:example:toy"/>'


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


class Listener:
    """A client that waits to be called, and can be away for a while on the same port."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        # bound to the end, so that while this one is away nobody else's connection has its port
        self._kept = _bound(0)
        self.port = self._kept.getsockname()[1]
        self.back()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"at {self.port}", "127.0.0.1", self.port)

    def back(self) -> None:
        self._socket = _bound(self.port)
        self._socket.listen()

    def away(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def end(self) -> None:
        self.away()
        self._kept.close()

    def accept(self, seconds: float = WAIT) -> socket.socket:
        assert self._socket is not None
        self._socket.settimeout(seconds)
        return self._socket.accept()[0]

    def ssh(self) -> Client:
        transport = paramiko.Transport(self.accept())
        transport.connect(username="ada", password="ada-secret")
        client = Client(transport)
        client.greet(HELLO_11)
        return client

    def tls(self) -> Client:
        connection = Connection(self.accept(), client_context(PEOPLE["ada"]))
        client = Client(connection)  # type: ignore[arg-type]
        client.greet(HELLO_11)
        return client

    def called(self, seconds: float) -> bool:
        """Whether there is a call within that time; it is dropped."""
        try:
            self.accept(seconds).close()
        except TimeoutError:
            return False
        return True


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.end()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses begin with 50 ms."""
    monkeypatch.setattr(callhome, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(callhome, "PAUSE", 0.01)


@pytest.fixture
def device(toy: Toy, quick: None, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Listeners]]:
    """Starts or changes a device that calls these clients; minutes of its clock last 50 ms.

    It lets nobody in who comes by himself.
    """
    # a failure shows whom it called, and what came of it
    caplog.set_level(logging.INFO, "agent")
    serving = Serving(toy.dispatch)
    users = Users()
    clock = LabClock(start=0, wall_start=time.time(), rate=1200)
    closed = WaitingLimit(total=0)
    made = Listeners(
        SshServer(serving, users, [HOST_KEY], waiting=closed),
        TlsServer(serving, users, SERVER.load, waiting=closed),
        clock,
    )
    begun = False

    def call(*clients: CallHome, limits: Limits = Limits()) -> Listeners:  # noqa: B008 - frozen
        nonlocal begun
        settings = ServerSettings(call_home=clients, tls=BY_COMMON_NAME, limits=limits)
        if begun:
            made.prepare(settings).apply()
        else:
            made.start(bind_tcp("127.0.0.1", 0), settings)
        begun = True
        return made

    yield call
    made.stop()


def persistent(*listeners: Listener, transport: Any = "ssh", **more: Any) -> CallHome:
    return CallHome("ops", transport, tuple(one.endpoint for one in listeners), longest_delay=0.1, **more)


@pytest.mark.parametrize("transport", ["ssh", "tls"])
def test_a_client_that_was_away(device: Callable[..., Listeners], listener: Listener, toy: Toy, transport: str) -> None:
    """Called from the start, called again when it has gone, and after it was away for a while."""
    listener.away()
    device(persistent(listener, transport=transport))
    time.sleep(0.15)
    listener.back()
    for away in (0, 0.15):
        client = getattr(listener, transport)()
        assert is_ok(client.rpc(RESET))
        (session,) = toy.dispatch.sessions.all()
        assert (session.user.name, session.transport) == ("ada", f"netconf-{transport}")
        if away:
            listener.away()
        client.connection.close()
        assert until(lambda: toy.dispatch.sessions.all() == ())
        if away:
            time.sleep(away)
            listener.back()
    client = getattr(listener, transport)()
    assert is_ok(client.rpc("<close-session/>"))
    client.connection.close()


@pytest.mark.parametrize("transport", ["ssh", "tls"])
def test_the_connection_ends_with_its_session(
    device: Callable[..., Listeners], listener: Listener, transport: str
) -> None:
    device(persistent(listener, transport=transport))
    client = getattr(listener, transport)()
    assert is_ok(client.rpc("<close-session/>"))
    assert client.closed()
    assert listener.called(WAIT)
    client.connection.close()


@pytest.mark.parametrize("channel", [False, True])
def test_a_login_without_a_session_is_not_kept(
    device: Callable[..., Listeners], listener: Listener, caplog: pytest.LogCaptureFixture, channel: bool
) -> None:
    """A connection that is logged in and asks for nothing, or for a channel and nothing on it, would hold the call."""
    device(persistent(listener), limits=Limits(hello_time=1))
    transport = paramiko.Transport(listener.accept())
    transport.connect(username="ada", password="ada-secret")
    # paramiko closes a channel that nobody holds
    kept = transport.open_session(timeout=WAIT) if channel else None
    assert until(lambda: not transport.is_active())
    assert "no session on it for 1 s" in caplog.text
    del kept
    client = listener.ssh()
    time.sleep(1.1)
    assert is_ok(client.rpc(RESET))
    client.connection.close()


@pytest.mark.parametrize("transport", ["ssh", "tls"])
def test_periodic(device: Callable[..., Listeners], listener: Listener, toy: Toy, transport: str) -> None:
    """Opened, ended when it is idle, opened again after its period and no sooner."""
    device(persistent(listener, transport=transport, period=20 * 60, idle_time=1))
    client = getattr(listener, transport)()
    asked = time.monotonic()
    assert is_ok(client.rpc(RESET))
    assert client.closed()
    assert until(lambda: toy.dispatch.sessions.all() == ())
    assert listener.called(WAIT)
    # a second without a request, and the period of another
    assert time.monotonic() - asked > 1.9
    client.connection.close()


@pytest.mark.parametrize(
    ("now", "period", "anchor", "due"),
    [(0, 60, 0, 60), (59, 60, 0, 60), (60, 60, 0, 120), (100, 60, 1000, 160), (1000, 60, 10, 1030), (5, 60, 65, 65)],
)
def test_periods_count_from_the_anchor(now: float, period: float, anchor: float, due: float) -> None:
    """Whole multiples, before the anchor as after it."""
    assert next_start(now, period, anchor) == due


def test_an_anchor_is_waited_for(device: Callable[..., Listeners], listener: Listener) -> None:
    device(persistent(listener, period=60 * 60, anchor=40 * 60))
    assert not listener.called(0.3)
    assert listener.called(WAIT)


def test_somebody_who_does_not_log_in_counts_as_nobody(
    device: Callable[..., Listeners], listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    """The next endpoint is tried after its attempts, and the log says so."""
    second = Listener()
    try:
        device(persistent(listener, second, attempts=2))
        assert listener.called(WAIT)
        assert listener.called(WAIT)
        client = second.ssh()
        assert is_ok(client.rpc(RESET))
        client.connection.close()
    finally:
        second.end()
    told = [one.getMessage() for one in caplog.records if "nobody logged in" in one.getMessage()]
    assert told == [f"call home to ops at 127.0.0.1:{listener.port} failed: nobody logged in (attempts: 2)"]


def test_where_a_client_was_last(device: Callable[..., Listeners], listener: Listener) -> None:
    """Of two endpoints the second is tried first, once a client has logged in there."""
    second = Listener()
    try:
        listener.away()
        device(persistent(listener, second, start_with="last-connected", attempts=1))
        client = second.ssh()
        listener.back()
        client.connection.close()
        client = second.ssh()
        assert not listener.called(0.1)
        client.connection.close()
    finally:
        second.end()


def test_changes_leave_what_stands(device: Callable[..., Listeners], listener: Listener) -> None:
    """Another period, another address, no client at all: the session goes on, and what comes next is as configured."""
    second = Listener()
    try:
        device(persistent(listener))
        client = listener.ssh()
        device(persistent(second))
        assert is_ok(client.rpc(RESET))
        assert not second.called(0.2)
        client.connection.close()
        client = second.ssh()
        device()
        assert is_ok(client.rpc(RESET))
        client.connection.close()
        assert not second.called(0.3)
        assert not listener.called(0.1)
    finally:
        second.end()


def test_one_connection_through_any_number_of_changes(device: Callable[..., Listeners], listener: Listener) -> None:
    """Edited twice, taken out and put back: the next call waits for the end of the connection that stands."""
    device(persistent(listener))
    client = listener.ssh()
    for number in (2, 3):
        device(persistent(listener, attempts=number))
    assert not listener.called(0.2)
    device()
    device()
    device(persistent(listener))
    device()
    device(persistent(listener, attempts=2))
    assert not listener.called(0.2)
    assert is_ok(client.rpc(RESET))
    client.connection.close()
    client = listener.ssh()
    assert is_ok(client.rpc(RESET))
    client.connection.close()


def delays_of(client: CallHome, serve: Any, dial: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The first pauses that a caller makes."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:
            delays.append(seconds)
        if len(delays) == count:
            raise asyncio.CancelledError

    async def go() -> None:
        caller = Caller(client, serve, SystemClock(), dial=dial)
        caller.start()
        assert caller._task is not None
        with contextlib.suppress(asyncio.CancelledError):
            await caller._task

    with monkeypatch.context() as patched:
        patched.setattr(callhome.asyncio, "sleep", sleep)
        patched.setattr(callhome.random, "uniform", lambda low, high: 1.0)
        asyncio.run(go())
    return delays


def test_pauses_grow_to_their_limit(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One second, two, four …; each round tries every endpoint its number of times, with a breath between, and tells of
    each in one line."""
    caplog.set_level(logging.INFO)
    dialled: list[int] = []

    async def dial(host: str, port: int) -> socket.socket:
        dialled.append(port)
        raise OSError("nobody there")

    client = CallHome("ops", "ssh", (Endpoint("a", "a", 1), Endpoint("b", "b", 2)), attempts=2, longest_delay=5)
    breath = [callhome.PAUSE] * 3
    assert callhome.PAUSE * 0.75 >= 0.2
    assert delays_of(client, None, dial, 20, monkeypatch) == [
        *(*breath, 1),
        *(*breath, 2),
        *(*breath, 4),
        *(*breath, 5),
        *(*breath, 5),
    ]
    assert dialled == [1, 1, 2, 2] * 5
    told = [f"call home to ops at {at} failed: no connection (nobody there) (attempts: 2)" for at in ("a:1", "b:2")]
    assert [one.getMessage() for one in caplog.records] == told * 5


def test_a_client_that_comes_and_goes_is_not_called_in_a_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float | None] = []

    async def dial(host: str, port: int) -> socket.socket:
        return socket.socket()

    async def serve(connected: socket.socket, idle_time: float | None) -> bool:
        connected.close()
        calls.append(idle_time)
        return True

    client = CallHome("ops", "ssh", (Endpoint("a", "a", 1),))
    assert delays_of(client, serve, dial, 4, monkeypatch) == [1, 1, 1, 1]
    assert calls == [None] * 4


def test_one_attempt_takes_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that never answers is given up after max-wait."""
    begun = time.monotonic()

    async def dial(host: str, port: int) -> socket.socket:
        await asyncio.Event().wait()
        raise AssertionError

    client = CallHome("ops", "ssh", (Endpoint("a", "a", 1),), attempts=2, max_wait=0.05)
    assert delays_of(client, None, dial, 2, monkeypatch) == [callhome.PAUSE, 1]
    assert time.monotonic() - begun >= 0.1


def test_a_called_client_is_sent_the_device_s_own_certificate(
    device: Callable[..., Listeners], listener: Listener
) -> None:
    """RFC 8071 section 3: roles above TCP stay; the one that was called is the TLS client."""
    device(persistent(listener, transport="tls"))
    context = client_context(PEOPLE["ada"])
    context.check_hostname = False
    with context.wrap_socket(listener.accept()) as met:
        assert met.getpeercert(binary_form=True) == SERVER.der
