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
from typing import Any, cast

from agent.core.sessions import User
from agent.netconf.endpoint import Endpoint
from agent.netconf.serving import Serving

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


class LocalConnection(asyncio.Protocol):
    """asyncio's callbacks for one connection, and the port that its endpoint writes to."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._endpoint: Endpoint | None = None
        # what comes before it is known who calls
        self._early = bytearray()
        self._ended = False
        self._empty = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)
        self._server.connections.add(self)
        uid = _peer(transport.get_extra_info("socket"))
        self._task = asyncio.get_running_loop().create_task(self._run(uid))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._server.connections.discard(self)
        if self._endpoint is not None:
            self._endpoint.connection_lost()
        self._empty.set()
        if not self.lost.done():
            self.lost.set_result(None)

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

    def resume_writing(self) -> None:
        self._empty.set()

    def end(self, reason: str) -> None:
        """End the session, or the connection where there is none yet."""
        if self._endpoint is not None:
            self._endpoint.end(reason)
        else:
            self.close()

    # agent.netconf.endpoint.Channel

    @property
    def buffered(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drained(self) -> None:
        while self.buffered:
            self._empty.clear()
            await self._empty.wait()
        if self._transport is None or self._transport.is_closing():
            # the end of the session is on its way; nothing that was lost may count as delivered
            await asyncio.get_running_loop().create_future()

    def pause_reading(self) -> None:
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


_CREDENTIALS = struct.Struct("3i")


def _peer(opened: Any) -> int:
    """The user id at the other end (SO_PEERCRED: process, user, group)."""
    found = opened.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])
