"""Where NETCONF is served: the listening sockets, and which transport has which. No protocol in here.

Sockets are bound when a change is prepared, on the core thread, so that an address that cannot be taken is refused
before anything has changed; everything else happens on the thread of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import errno
import logging
import socket
from typing import Protocol

from agent.clock import Clock
from agent.core.providers import Prepared
from agent.netconf.callhome import Caller
from agent.netconf.local import LocalServer
from agent.netconf.settings import Listen, Listener, ServerSettings, SettingsError
from agent.netconf.thread import LoopThread
from agent.restconf.listen import ListenError, bind_tcp
from agent.ssh.server import SshServer
from agent.tls.server import TlsServer

log = logging.getLogger(__name__)

APPLY_LIMIT = 5.0
STOP_LIMIT = 6.0
"""Seconds that other settings, and the end, may take before they are no longer waited for."""

Address = tuple[str, int]


class TransportServer(Protocol):
    """One transport's server. All calls but `check` come from the event loop's thread."""

    def check(self, settings: ServerSettings) -> None:
        """Raises SettingsError where it cannot work with them. Any thread."""
        ...

    def configure(self, settings: ServerSettings) -> None:
        """Take other settings, which `check` has passed, for whoever connects from now on."""
        ...

    async def listen(self, bound: socket.socket) -> Listener:
        """Take connections from this listening socket, which belongs to the transport from now on."""
        ...

    def unlisten(self, listener: Listener) -> None:
        """Take no more from there; connections that stand go on."""
        ...

    async def call(self, connected: socket.socket, idle_time: float | None) -> bool:
        """Serve a connection that the device has opened, to its end; whether the client logged in."""
        ...

    async def stop(self) -> None:
        """End all sessions and connections."""
        ...


@dataclass(frozen=True, slots=True)
class _Open:
    """One listening socket; the transport works on a copy, so that it can pass to another without a gap."""

    socket: socket.socket
    transport: str
    listener: Listener


class Listeners:
    """Joins sockets and transports, from `start` to `stop`."""

    def __init__(
        self,
        ssh: SshServer,
        tls: TlsServer,
        clock: Clock,
        local: LocalServer | None = None,
        held: Mapping[str, Address] | None = None,
    ) -> None:
        """`held` are addresses that the agent has besides, by what messages call them."""
        self._held = dict(held or {})
        self._local = local
        self._clock = clock
        self._callers: dict[str, Caller] = {}
        # stopped, with a connection that stood when their client was taken out
        self._leaving: dict[str, Caller] = {}
        self._thread = LoopThread()
        self._ssh = ssh
        self._servers: Mapping[str, TransportServer] = {"ssh": ssh, "tls": tls}
        self._open: dict[Address, _Open] = {}
        # those of the settings in effect, open or not
        self._listed: frozenset[Listen] = frozenset()

    def start(self, first: socket.socket, settings: ServerSettings, local: socket.socket | None = None) -> Address:
        """Serve SSH on `first` and local users on `local`, for good, and what the settings name.

        Returns the first one's address.

        An address of the settings that cannot be taken is logged. Raises OSError, SettingsError.
        """
        for server in self._servers.values():
            server.check(settings)
        address = first.getsockname()[:2]
        self._held["the NETCONF address that the agent was started with"] = address
        bound = self._bind(settings, missing=True)
        self._listed = frozenset(settings.listen)
        self._thread.start()
        try:
            # before the first client gets in, so that no edit of the settings comes into the middle of it
            self._thread.call(self._take(settings, bound))
            self._thread.call(self._ssh.listen(first))
            log.info("NETCONF over ssh is served on %s:%d", *address)
            if self._local is not None and local is not None:
                self._thread.call(self._local.listen(local))
        except BaseException:
            self._thread.end()
            raise
        return str(address[0]), int(address[1])

    def prepare(self, settings: ServerSettings, *, missing: bool = False) -> Prepared:
        """Bind what is not open. Raises SettingsError; nothing has changed then.

        An address that cannot be taken is logged and done without where the settings in effect have the endpoint too:
        an edit of something else is not to blame for it. `missing`: so is any other.
        """
        for server in self._servers.values():
            server.check(settings)
        return _Change(self, settings, self._bind(settings, missing=missing))

    def _bind(self, settings: ServerSettings, *, missing: bool) -> dict[Address, socket.socket]:
        """Sockets for the addresses that are not open. Raises SettingsError for a new one that may not be `missing`."""
        bound: dict[Address, socket.socket] = {}
        wanted = {(one.address, one.port) for one in settings.listen}
        for place, one in enumerate(settings.listen):
            if (one.address, one.port) in self._open:
                continue
            leaving = [old.socket for at, old in self._open.items() if at not in wanted and at[1] == one.port]
            try:
                bound[one.address, one.port] = bind_tcp(one.address, one.port, f"NETCONF endpoint {one.name}", leaving)
            except ListenError as error:
                told, leaf = self._reason(error, one, settings, bound)
                if not missing and one not in self._listed:
                    _close(tuple(bound.values()))
                    raise SettingsError(told, "listen", "endpoint", place, leaf) from None
                log.error("%s; the agent runs without it", told)
        return bound

    def _reason(
        self, error: ListenError, one: Listen, settings: ServerSettings, bound: Mapping[Address, socket.socket]
    ) -> tuple[str, str]:
        """What to say where an address cannot be taken, and which leaf of the endpoint it is about."""
        number = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
        if number != errno.EADDRINUSE:
            return str(error), "port" if number == errno.EACCES else "address"
        known = {**self._held}
        for other in settings.listen:
            if (at := (other.address, other.port)) in self._open or at in bound:
                known[f"NETCONF endpoint {other.name}"] = at
        holder = next((name for name, at in known.items() if _overlap(at, (one.address, one.port))), None)
        if holder is None:
            return str(error), "port"
        where = f"{one.address}:{one.port}"
        told = f"NETCONF endpoint {one.name} cannot listen on {where}: {holder} has the port already; choose another"
        return told, "port"

    def apply(self, settings: ServerSettings, bound: dict[Address, socket.socket]) -> None:
        """Put prepared settings into effect; what goes wrong is logged."""
        self._listed = frozenset(settings.listen)
        try:
            self._thread.call(self._take(settings, bound), APPLY_LIMIT)
        except Exception:
            log.exception("the NETCONF server could not take all of its settings")

    def use_host_keys(self, host_keys: Sequence[bytes]) -> None:
        """Have SSH show other host keys to new connections. Raises ValueError where one cannot be read."""
        self._thread.call(self._show(host_keys), APPLY_LIMIT)

    async def _show(self, host_keys: Sequence[bytes]) -> None:
        self._ssh.use_host_keys(host_keys)

    def stop(self) -> None:
        """End all sessions, and the thread; what goes wrong is logged."""
        if not self._thread.running:
            return
        try:
            self._thread.call(self._stop(), STOP_LIMIT)
        except Exception:
            log.exception("the NETCONF server could not end all of its sessions in order")
        finally:
            self._thread.end()

    async def _take(self, settings: ServerSettings, bound: dict[Address, socket.socket]) -> None:
        for server in self._servers.values():
            server.configure(settings)
        wanted = {(one.address, one.port): one.transport for one in settings.listen}
        named = {(one.address, one.port): one.name for one in settings.listen}
        for address, opened in tuple(self._open.items()):
            if wanted.get(address) != opened.transport:
                self._servers[opened.transport].unlisten(opened.listener)
                del self._open[address]
                log.info("NETCONF over %s is no longer served on %s:%d", opened.transport, *address)
                if address in wanted:
                    bound[address] = opened.socket
                else:
                    opened.socket.close()
        for address, taken in bound.items():
            transport = wanted[address]
            listener = await self._servers[transport].listen(taken.dup())
            self._open[address] = _Open(taken, transport, listener)
            log.info("NETCONF over %s is served on %s:%d (endpoint %s)", transport, *address, named[address])
        self._call(settings)

    def _call(self, settings: ServerSettings) -> None:
        """Call whom the settings name; what has not changed is left alone."""
        before, self._callers = self._callers, {}
        for client in settings.call_home:
            caller = before.pop(client.name, None)
            if caller is None or caller.client != client:
                replaced = caller or self._leaving.pop(client.name, None)
                if replaced is not None:
                    replaced.stop()
                caller = Caller(client, self._servers[client.transport].call, self._clock)
                caller.start(after=replaced)
            self._callers[client.name] = caller
        for caller in before.values():
            caller.stop()
        leaving = {**self._leaving, **before}
        self._leaving = {name: one.standing for name, one in leaving.items() if one.standing is not None}

    async def _stop(self) -> None:
        for caller in self._callers.values():
            caller.stop()
        _close([one.socket for one in self._open.values()])
        self._open.clear()
        stopping = [server.stop() for server in self._servers.values()]
        if self._local is not None:
            stopping.append(self._local.stop())
        # together: each may take as long as the whole has time for
        for outcome in await asyncio.gather(*stopping, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("a part of the NETCONF server did not end in order", exc_info=outcome)


class _Change:
    """Sockets that wait for the commit (agent.core.providers.Prepared)."""

    def __init__(self, listeners: Listeners, settings: ServerSettings, bound: dict[Address, socket.socket]) -> None:
        self._listeners = listeners
        self._settings = settings
        self._bound = bound

    def apply(self) -> None:
        self._listeners.apply(self._settings, self._bound)

    def abort(self) -> None:
        _close(tuple(self._bound.values()))


def _overlap(one: Address, other: Address) -> bool:
    """Whether two addresses of which one is in the way of the other can be these."""
    every = ("", "::", "0.0.0.0")  # noqa: S104 - compared, not listened on
    return one[1] == other[1] and (one[0] == other[0] or one[0] in every or other[0] in every)


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()
