"""NETCONF for users of this machine: one session for each connection to a Unix socket, as the kernel says who it is.

What `netconf-subsystem` connects to, for sites where another SSH server stands in front. No SSH and no TLS in here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
import logging
import socket
import struct
from typing import Any

from agent.core.sessions import User
from agent.netconf.serving import Serving
from agent.netconf.stream import StreamConnection

log = logging.getLogger(__name__)

STOP_TIMEOUT = 2.0
"""Seconds that sessions have for an orderly end before they are cut."""

PeerUser = Callable[[int], User | None]
"""Local user id to user; None refuses the connection. May take long: it is asked in another thread."""


class LocalServer:
    """Sessions over Unix sockets. All methods belong to one event loop."""

    def __init__(self, serving: Serving, user: PeerUser) -> None:
        self.serving = serving
        self.user = user
        self.connections: set[LocalConnection] = set()
        self._servers: list[asyncio.AbstractServer] = []

    async def listen(self, bound: socket.socket) -> None:
        """Take connections from a listening socket, which belongs to the server from now on."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_unix_server(lambda: LocalConnection(self), sock=bound))

    async def stop(self) -> None:
        """Stop listening, end all sessions."""
        for server in self._servers:
            server.close()
        connections = tuple(self.connections)
        for one in connections:
            one.end("other")
        if connections:
            await asyncio.wait([one.lost for one in connections], timeout=STOP_TIMEOUT)
        for one in tuple(self.connections):
            one.close()


class LocalConnection(StreamConnection):
    """One connection, and the port that its endpoint writes to."""

    def __init__(self, server: LocalServer) -> None:
        super().__init__()
        self._server = server
        # what comes before it is known who calls
        self._early = bytearray()
        self._ended = False
        self._task: asyncio.Task[Any] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.connections.add(self)
        uid = _peer(transport.get_extra_info("socket"))
        self._task = asyncio.get_running_loop().create_task(self._run(uid))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        super().connection_lost(exc)

    async def _run(self, uid: int) -> None:
        """Who it is; then the session, to the end."""
        serving = self._server.serving
        try:
            user = await asyncio.get_running_loop().run_in_executor(None, self._server.user, uid)
        except Exception:
            log.exception("local connection of user id %d ended by a fault of the agent", uid)
            user = None
        full = "it is no user" if user is None else serving.full(user)
        if user is None or full is not None:
            log.warning("local connection of user id %d refused: %s", uid, full)
            self.close()
            return
        if self._transport is None:
            return
        lookup = partial(self._server.user, uid)
        self._endpoint = serving.endpoint(self, user, source_host="localhost", transport="netconf-ssh", lookup=lookup)
        if self._early:
            self._endpoint.data_received(bytes(self._early))
            self._early.clear()
        if self._ended:
            self._endpoint.eof_received()
        else:
            self.resume_reading()
        await self._endpoint.run()

    def data_received(self, data: bytes) -> None:
        if self._endpoint is None:
            self._early += data
            self.pause_reading()
        else:
            self._endpoint.data_received(data)

    def eof_received(self) -> bool:
        if self._endpoint is None:
            self._ended = True
        else:
            self._endpoint.eof_received()
        return True

    # agent.netconf.endpoint.Channel

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self.abort()


_CREDENTIALS = struct.Struct("3i")


def _peer(opened: Any) -> int:
    """The user id at the other end (SO_PEERCRED: process, user, group)."""
    found = opened.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])
