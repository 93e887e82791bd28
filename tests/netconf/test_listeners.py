"""Listening on several addresses, changed while sessions are open: sockets and transports joined by agent.listeners."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
import errno
import ipaddress
from pathlib import Path
import socket
from typing import Any

import paramiko
import pytest

from agent.clock import SystemClock
from agent.listeners import Listeners
from agent.netconf.callhome import _addresses as call_addresses
from agent.netconf.callhome import dial
from agent.netconf.serving import Serving
from agent.netconf.settings import CallHome, Endpoint, Limits, Listen, ServerSettings, SettingsError, SshAccess
from agent.restconf.listen import _addresses as listen_addresses
from agent.restconf.listen import bind_tcp
from agent.ssh.server import SshServer
from agent.tls.server import TlsServer
from tests.netconf.support import HELLO_11, HOST_KEY, WAIT, Client, until
from tests.netconf.tls import BY_COMMON_NAME, PEOPLE, SERVER, Connection, client_context
from tests.ports import free_port
from tests.toy.build import Toy, Users


@pytest.fixture
def listeners(toy: Toy) -> Iterator[Listeners]:
    serving = Serving(toy.dispatch)
    made = Listeners(SshServer(serving, Users(), [HOST_KEY]), TlsServer(serving, Users(), SERVER.load), SystemClock())
    yield made
    made.stop()


def ssh_on(*ports: int, address: str = "127.0.0.1") -> ServerSettings:
    return ServerSettings(listen=tuple(Listen(f"on {port}", "ssh", address, port) for port in ports))


def login(port: int) -> Client:
    transport = paramiko.Transport(socket.create_connection(("127.0.0.1", port), WAIT))
    transport.connect(username="ada", password="ada-secret")
    client = Client(transport)
    client.greet(HELLO_11)
    return client


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), WAIT).close()
    except ConnectionRefusedError:
        return True
    return False


def alive(client: Client) -> bool:
    return bool(client.rpc("<get><filter/></get>")[0].tag.endswith("}data"))


def test_addresses_come_and_go(listeners: Listeners, toy: Toy) -> None:
    """Each in effect when the change is; sessions of an address that goes live on; the first one stays for good."""
    one, two = free_port(), free_port()
    first = listeners.start(bind_tcp("127.0.0.1", 0), ssh_on(one))
    clients = [login(first[1]), login(one)]
    try:
        listeners.prepare(ssh_on(one, two)).apply()
        clients.append(login(two))
        assert len(toy.dispatch.sessions.all()) == 3
        listeners.prepare(ssh_on(two)).apply()
        assert refused(one)
        clients += [login(two), login(first[1])]
        assert all(alive(client) for client in clients)
        listeners.prepare(ServerSettings()).apply()
        assert refused(two)
        assert all(alive(client) for client in clients)
        listeners.prepare(ssh_on(one, two)).apply()
        clients += [login(one), login(two)]
    finally:
        for client in clients:
            client.connection.close()


def test_an_address_passes_to_another_transport(listeners: Listeners) -> None:
    """The socket stays open all the while, so nobody else can take the port between."""
    port = free_port()
    listeners.start(bind_tcp("127.0.0.1", 0), ssh_on(port))
    before = login(port)
    listeners.prepare(ServerSettings(listen=(Listen("x", "tls", "127.0.0.1", port),), tls=BY_COMMON_NAME)).apply()
    raw = socket.create_connection(("127.0.0.1", port), WAIT)
    connection = Connection(raw, client_context(PEOPLE["ada"]))
    client = Client(connection)  # type: ignore[arg-type]
    client.greet(HELLO_11)
    assert alive(client)
    assert alive(before)
    listeners.prepare(ssh_on(port)).apply()
    assert alive(client)
    login(port).connection.close()
    connection.close()
    before.connection.close()


def test_a_change_that_is_taken_back_leaves_nothing(listeners: Listeners) -> None:
    port = free_port()
    listeners.start(bind_tcp("127.0.0.1", 0), ServerSettings())
    listeners.prepare(ssh_on(port)).abort()
    assert refused(port)
    bind_tcp("127.0.0.1", port).close()


def test_what_cannot_work_is_refused_before_it_changes_anything(listeners: Listeners) -> None:
    """A port in use, an address of another machine, a key that is none: the other addresses are as before."""
    port = free_port()
    listeners.start(bind_tcp("127.0.0.1", 0), ServerSettings())
    with bind_tcp("127.0.0.1", 0) as other:
        taken = other.getsockname()[1]
        with pytest.raises(SettingsError, match=r"endpoint on .*another program holds the port"):
            listeners.prepare(ssh_on(port, taken))
        assert refused(port)
    with pytest.raises(SettingsError, match="does not have that address"):
        listeners.prepare(ssh_on(port, address="192.0.2.1"))
    with pytest.raises(SettingsError, match="trusted-user-key"):
        listeners.prepare(ServerSettings(ssh=SshAccess(("nonsense",))))


class _WithoutVersion6(socket.socket):
    """On a kernel that has no IPv6."""

    def __init__(self, family: int = -1, *words: Any, **more: Any) -> None:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        super().__init__(family, *words, **more)


def test_a_kernel_without_ipv6(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A start does without such an address, and a client that has both kinds is called by the other."""
    monkeypatch.setattr(socket, "socket", _WithoutVersion6)
    listeners.start(bind_tcp("127.0.0.1", 0), ServerSettings(listen=(Listen("six", "ssh", "::1", 4830),)))
    assert "not supported" in caplog.text

    async def called() -> str:
        async def both(*words: Any, **more: Any) -> list[Any]:
            address = server.getsockname()
            return [(socket.AF_INET6, 1, 6, "", ("::1", address[1], 0, 0)), (socket.AF_INET, 1, 6, "", address)]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
        with await dial("both", 1) as opened:
            return str(opened.getpeername()[0])

    with bind_tcp("127.0.0.1", 0) as server:
        assert asyncio.run(called()) == "127.0.0.1"


def _link_local() -> list[str]:
    """The link-local addresses of this machine, with their zones."""
    table = Path("/proc/net/if_inet6")
    rows = [line.split() for line in table.read_text().splitlines()] if table.exists() else []
    # scope 20: of the link; flag 40: not ready yet
    ready = [row for row in rows if row[3] == "20" and not int(row[4], 16) & 0x40]
    return [f"{ipaddress.IPv6Address(int(row[0], 16))}%{row[5]}" for row in ready]


def test_the_zone_of_an_address_is_kept() -> None:
    """inet:ip-address may have one: fe80::1%lo is another address than fe80::1 (RFC 4007 section 11)."""
    wanted = ("fe80::1234", 830, 0, socket.if_nametoindex("lo"))
    ((_, bound),) = listen_addresses("fe80::1234%lo", 830, "")
    (called,) = asyncio.run(call_addresses("fe80::1234%lo", 830))
    assert (bound, called[4]) == (wanted, wanted)


@pytest.mark.skipif(not _link_local(), reason="this machine has no link-local address")
def test_link_local_addresses(listeners: Listeners, toy: Toy) -> None:
    """With their zone they are listened on, for SSH and for TLS, and called."""
    address = _link_local()[0]
    ssh, tls = free_port(), free_port()
    listen = (Listen("s", "ssh", address, ssh), Listen("t", "tls", address, tls))
    with bind_tcp(address, 0) as calls:
        client_end = Endpoint("e", address, calls.getsockname()[1])
        settings = ServerSettings(listen=listen, tls=BY_COMMON_NAME, call_home=(CallHome("ops", "ssh", (client_end,)),))
        calls.settimeout(WAIT)
        listeners.start(bind_tcp("127.0.0.1", 0), settings)
        accepted = calls.accept()[0]
        for raw in (socket.create_connection((address, ssh), WAIT), accepted):
            transport = paramiko.Transport(raw)
            transport.connect(username="ada", password="ada-secret")
            client = Client(transport)
            client.greet(HELLO_11)
            assert alive(client)
            (session,) = toy.dispatch.sessions.all()
            assert ipaddress.ip_address(session.source_host).is_link_local
            client.connection.close()
            assert until(lambda: not toy.dispatch.sessions.all(), WAIT)
        connection = Connection(socket.create_connection((address, tls), WAIT), client_context(PEOPLE["ada"]))
        client = Client(connection)  # type: ignore[arg-type]
        client.greet(HELLO_11)
        assert alive(client)
        connection.close()


def test_to_all_addresses_and_back_on_one_port(listeners: Listeners) -> None:
    """The agent's own socket, which goes with the same change, is not in the way; nor is the port open to others then.

    A change that is taken back in between leaves the first address as it was.
    """
    port = free_port()
    listeners.start(bind_tcp("127.0.0.1", 0), ssh_on(port))
    listeners.prepare(ssh_on(port, address="0.0.0.0")).abort()
    first = login(port)
    assert alive(first)
    for address in ("0.0.0.0", "127.0.0.1"):
        listeners.prepare(ssh_on(port, address=address)).apply()
        client = login(port)
        assert alive(client)
        client.connection.close()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
    assert alive(first)
    first.connection.close()


def test_who_of_the_agent_has_a_port_is_told(toy: Toy) -> None:
    """The address of the start, another service, an endpoint that stays, and one of the same change: by their names."""
    serving = Serving(toy.dispatch)
    ssh = SshServer(serving, Users(), [HOST_KEY])
    tls = TlsServer(serving, Users(), SERVER.load)
    with bind_tcp("127.0.0.1", 0) as other:
        elsewhere = other.getsockname()[:2]
        listeners = Listeners(ssh, tls, SystemClock(), held={"RESTCONF": elsewhere})
        port, second = free_port(), free_port()
        try:
            _, main = listeners.start(bind_tcp("127.0.0.1", 0), ssh_on(port))
            stays = ssh_on(port).listen
            for more, holder in (
                ((Listen("b", "ssh", "127.0.0.1", main),), "the NETCONF address that the agent was started with"),
                ((Listen("b", "tls", "0.0.0.0", elsewhere[1]),), "RESTCONF"),
                ((Listen("b", "ssh", "0.0.0.0", port),), f"NETCONF endpoint on {port}"),
                (
                    (Listen("a", "ssh", "127.0.0.1", second), Listen("b", "tls", "0.0.0.0", second)),
                    "NETCONF endpoint a",
                ),
            ):
                settings = ServerSettings(listen=(*stays, *more))
                with pytest.raises(SettingsError, match="endpoint b cannot listen") as caught:
                    listeners.prepare(settings)
                assert f": {holder} has the port already" in str(caught.value)
                assert caught.value.where == ("listen", "endpoint", len(settings.listen) - 1, "port")
                assert refused(second)
        finally:
            listeners.stop()


def test_settings_are_in_effect_before_the_first_client(listeners: Listeners, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit of a client that has waited for the start does not come into the middle of it."""
    taken: list[int] = []
    listen = SshServer.listen

    async def told(server: SshServer, bound: socket.socket) -> Any:
        taken.append(bound.getsockname()[1])
        return await listen(server, bound)

    monkeypatch.setattr(SshServer, "listen", told)
    port = free_port()
    _, first = listeners.start(bind_tcp("127.0.0.1", 0), ssh_on(port))
    assert taken == [port, first]


def test_a_start_does_without_an_address_that_is_taken(listeners: Listeners, caplog: pytest.LogCaptureFixture) -> None:
    """It is told in the log, and tried again with the next change."""
    with bind_tcp("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        first = listeners.start(bind_tcp("127.0.0.1", 0), ssh_on(port))
    assert "another program holds the port" in caplog.text
    login(first[1]).connection.close()
    listeners.prepare(ssh_on(port)).apply()
    login(port).connection.close()


def test_an_endpoint_that_is_gone_blames_no_other_edit(listeners: Listeners, caplog: pytest.LogCaptureFixture) -> None:
    """What an edit keeps need not stand: it is tried again, and logged; what an edit adds or changes must stand."""
    gone = Listen("gone", "ssh", "203.0.113.9", free_port())
    port = free_port()
    with bind_tcp("127.0.0.1", free_port()) as other:
        held = Listen("held", "ssh", "127.0.0.1", other.getsockname()[1])
        listeners.start(bind_tcp("127.0.0.1", 0), ServerSettings(listen=(gone, held)))
        caplog.clear()
        new = ssh_on(port).listen
        listeners.prepare(ServerSettings(listen=(gone, held, *new), limits=Limits(sessions=7))).apply()
        assert "endpoint gone cannot listen on 203.0.113.9" in caplog.text
        assert "endpoint held cannot listen" in caplog.text
        login(port).connection.close()
        for changed in (
            replace(gone, transport="tls"),
            replace(gone, address="198.51.100.9"),
            replace(gone, port=free_port()),
            Listen("more", "ssh", "203.0.113.9", port),
        ):
            with pytest.raises(SettingsError, match=f"endpoint {changed.name} .*does not have that address"):
                listeners.prepare(ServerSettings(listen=(held, *new, changed)))
    # an edit that was refused or taken back has made nothing an old one
    listeners.prepare(ServerSettings(listen=(held, *new))).abort()
    assert refused(held.port)
    listeners.prepare(ServerSettings(listen=(held, *new))).apply()
    login(held.port).connection.close()
    with pytest.raises(SettingsError, match="endpoint gone"):
        listeners.prepare(ServerSettings(listen=(gone, held, *new)))


def test_all_end_together_and_none_keeps_another(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each transport has its time at once; one that fails, or takes longer than all may, is logged, and that is all."""
    monkeypatch.setattr("agent.listeners.STOP_LIMIT", 2.0)
    serving = Serving(toy.dispatch)
    ssh, tls = SshServer(serving, Users(), [HOST_KEY]), TlsServer(serving, Users(), SERVER.load)
    made = Listeners(ssh, tls, SystemClock())
    address = made.start(bind_tcp("127.0.0.1", 0), ServerSettings())
    client = login(address[1])
    begun = asyncio.Event()

    async def fail() -> None:
        begun.set()
        raise RuntimeError("the end of TLS")

    async def wait(stop: Callable[[], Awaitable[None]] = ssh.stop) -> None:
        await begun.wait()
        await stop()

    monkeypatch.setattr(tls, "stop", fail)
    monkeypatch.setattr(ssh, "stop", wait)
    made.stop()
    assert not made._thread.running
    assert client.closed()
    assert "the end of TLS" in caplog.text
    assert "could not end all" not in caplog.text
    client.connection.close()


def test_an_end_that_takes_too_long_is_not_waited_for(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agent.listeners.STOP_LIMIT", 0.1)
    listeners.start(bind_tcp("127.0.0.1", 0), ServerSettings())

    async def never(stop: Callable[[], Awaitable[None]] = listeners._ssh.stop) -> None:
        await stop()
        await asyncio.Event().wait()

    monkeypatch.setattr(listeners._ssh, "stop", never)
    listeners.stop()
    assert not listeners._thread.running
    assert "could not end all of its sessions" in caplog.text
