"""One HTTP connection: uvicorn's protocol with the limits, deadlines and facts about the peer that it lacks.

No request is interpreted here. Limits: checklist 165, 168 and design (RESTCONF row); each is a constant below.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
import os
import socket
import struct
import time
from typing import Any, Literal, Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from agent.core.sessions import User

HEAD_BYTES = 16 * 1024
"""Request line and headers together; more is answered with 431."""

HEAD_SECONDS = 10.0
"""From the first byte of a request (or the start of the connection) to the end of its headers."""

STALL_SECONDS = 60.0
"""A peer that takes no byte of its reply for so long is cut off."""

LINGER_SECONDS = 5.0
LINGER_BYTES = 32 * 1024 * 1024
"""A body that nobody wants is read and dropped up to here, so that its sender gets to read the refusal."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Refusal = Literal["head-too-large", "head-too-slow", "malformed"]
Handler = Callable[["Connection", MutableMapping[str, Any], Receive, Send], Awaitable[None]]
"""An ASGI application that is told its connection."""


_CONTINUE = b"HTTP/1.1 100 "


class Gate(Protocol):
    """Counts connections."""

    def enter(self, transport: asyncio.Transport) -> bool:
        """False where it must be cut off."""
        ...

    def leave(self, transport: asyncio.Transport) -> None: ...


LOCAL = "local"
"""What stands for the peer's address on the local socket."""


class Connection(HttpToolsProtocol):
    """Serves one accepted stream. `handler` gets each request whose headers are within the limits."""

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        loop: asyncio.AbstractEventLoop,
        *,
        handler: Handler,
        refusal: Callable[[Refusal], tuple[int, bytes]],
        on_lost: Callable[[Connection], None],
        gate: Gate | None = None,
        local_user: Callable[[int], User | None] | None = None,
    ) -> None:
        """`refusal` gives status and JSON error document; `gate` is asked first where nobody below has asked it;
        `local_user` is set on the local socket."""
        super().__init__(config=config, server_state=state, app_state={}, _loop=loop)
        self._handler = handler
        self._refusal = refusal
        self._on_lost = on_lost
        self._local_user = local_user
        self._gate = gate
        self._in_head = True
        self._head = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._unwanted = 0
        self.held = b""
        """The head of a reply that waits for the first bytes of its body."""
        self._date = 0
        self.app = self._serve
        self.raw: asyncio.Transport | None = None
        """The transport below TLS, once it is known."""
        self.lost = False
        self.broken = False
        self.user: User | None = None
        self.uid: int | None = None
        self.attachment: Any = None
        """Whatever the handler keeps with the connection (its session)."""

    @property
    def source(self) -> str:
        """The peer's address, or `LOCAL`."""
        return LOCAL if self._local_user is not None else self.client[0] if self.client else "unknown"

    @property
    def local(self) -> bool:
        """Whether the peer has come through the local socket, with `uid` (and `user`, if it may do anything)."""
        return self._local_user is not None

    # --- asyncio protocol -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if self._gate is not None and not self._gate.enter(transport):
            transport.abort()
            return
        super().connection_made(transport)
        if self._local_user is not None:
            self.uid = _peer_uid(transport)
            self.user = self._local_user(self.uid)
        self._arm()

    def data_received(self, data: bytes) -> None:
        if self.parser is None or self.transport is None or self.transport.is_closing():
            return
        if self._in_head:
            if self._head == 0:
                self._arm()
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > HEAD_BYTES:
            self._refuse("head-too-large")

    def connection_lost(self, exc: Exception | None) -> None:
        self.broken = self.broken or exc is not None
        self.lost = True
        self._disarm()
        self._stop_lingering()
        self._unset_keepalive_if_required()
        if self.transport is not None:
            if self._gate is not None:
                self._gate.leave(self.transport)
            super().connection_lost(exc)
        self._on_lost(self)

    # --- parser callbacks -------------------------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        self._disarm()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        self._in_head, self._head = False, 0
        second = int(time.time())
        if second != self._date:
            self._date = second
            self.server_state.default_headers = [(b"date", formatdate(second, usegmt=True).encode())]
        if size > HEAD_BYTES:
            self._refuse("head-too-large")
            return
        super().on_headers_complete()
        self.cycle.transport = _Joined(self)  # type: ignore[assignment]

    def on_response_complete(self) -> None:
        self.flush()
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        if self._linger is not None:
            self._unwanted += len(body)
            if self._unwanted > LINGER_BYTES:
                self.abort()
        elif not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._stop_lingering()
        if not self.transport.is_closing():
            super().on_message_complete()

    # --- refusals that come before any request ----------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text goes to nobody
        self._refuse("malformed")

    def _refuse(self, reason: Refusal) -> None:
        """Answer and close; a reply that is under way is cut off instead, since nothing may be mixed into it."""
        self._disarm()
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            if self.pipeline or self.cycle.response_started:
                self.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        status, body = self._refusal(reason)
        head = (
            f"HTTP/1.1 {status} \r\ncontent-type: application/yang-data+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    # --- deadlines --------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_late(self) -> None:
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._arm()
        elif self._head:
            self._refuse("head-too-slow")
        else:
            self.transport.close()

    # --- for the handler --------------------------------------------------------------------------------------

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        await self._handler(self, scope, receive, send)

    def discard(self) -> None:
        """The rest of the request's body is not wanted: drop it as it comes, for a while, and go on afterwards."""
        if not self._in_head and not self.lost and not self.transport.is_closing():
            self._unwanted = 0
            self._linger = self.loop.call_later(LINGER_SECONDS, self.abort)

    def _stop_lingering(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def flush(self) -> None:
        """Send what is held."""
        held, self.held = self.held, b""
        if held:
            self.transport.write(held)

    def buffered(self) -> int:
        """Bytes written but not yet taken by the kernel, in TLS and below it."""
        if self.lost:
            return 0
        below = self.raw.get_write_buffer_size() if self.raw is not None else 0
        return len(self.held) + self.transport.get_write_buffer_size() + below

    async def writable(self) -> bool:
        """Wait until there is room to write more. False where the connection is gone (or was cut off as stalled)."""
        if self.flow.write_paused and not self.lost:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self.flow.drain()
            except TimeoutError:
                self.abort()
        return not self.lost and not self.broken

    async def drained(self) -> bool:
        """Wait until the kernel has taken every byte written so far.

        False where the connection broke before. One that we have closed counts as drained when it ended without an
        error, since closing writes what is buffered first.
        """
        pause, waited, before = 0.0, 0.0, self.buffered()
        while True:
            await asyncio.sleep(pause)
            left = self.buffered()
            if self.broken or self.lost:
                return not self.broken
            if left == 0:
                return True
            waited = waited + pause if left == before else 0.0
            before = left
            if waited > STALL_SECONDS:
                self.abort()
            pause = min(max(pause * 2, 0.001), 0.05)

    def abort(self) -> None:
        """End the connection at once; what is buffered is lost, and so is the reply that is under way."""
        self.broken = True
        transport = self.raw if self.raw is not None else self.transport
        if transport is not None:
            transport.abort()


class _Joined:
    """The transport as one reply's cycle sees it: its head goes out together with the first piece of its body, in one
    system call and one TLS record."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._started = False

    def write(self, data: bytes) -> None:
        connection = self._connection
        if not self._started and not data.startswith(_CONTINUE):
            self._started = True
            connection.held = data
            return
        held, connection.held = connection.held, b""
        if held or data:
            connection.transport.write(held + data if held else data)

    def close(self) -> None:
        self._connection.flush()
        self._connection.transport.close()

    def is_closing(self) -> bool:
        return self._connection.transport.is_closing()


def _peer_uid(transport: asyncio.Transport) -> int:
    """The peer's user id when it connected (SO_PEERCRED); -1 where the kernel does not tell."""
    fileno = transport.get_extra_info("socket").fileno()
    # uvloop's socket object refuses getsockopt: ask through a duplicate
    with socket.socket(fileno=os.dup(fileno)) as peer:
        _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)
