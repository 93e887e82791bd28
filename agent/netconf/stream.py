"""What connections of one byte stream have in common, under whatever carries it: TLS over TCP, or a Unix socket.

The asyncio transport, what of it waits to be sent, and the end of it. No NETCONF and no TLS in here.
"""

from __future__ import annotations

import asyncio
from typing import cast

from agent.netconf.endpoint import Endpoint


class StreamConnection(asyncio.Protocol):
    """asyncio's callbacks for one connection, and the flow control of agent.netconf.endpoint.Channel."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._endpoint: Endpoint | None = None
        self._empty = asyncio.Event()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses
        self._transport = cast(asyncio.Transport, transport)
        # resume_writing then tells of every change between empty and not empty
        self._transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        if self._endpoint is not None:
            self._endpoint.connection_lost()
        self._empty.set()
        if not self.lost.done():
            self.lost.set_result(None)

    def resume_writing(self) -> None:
        self._empty.set()

    @property
    def buffered(self) -> int:
        """Octets that have been written and not been accepted by the kernel."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def drained(self) -> None:
        """Returns when all has been accepted; never where the connection ended before."""
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

    def end(self, reason: str) -> None:
        """End the session, or the connection where there is none yet."""
        if self._endpoint is not None:
            self._endpoint.end(reason)
        else:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()
