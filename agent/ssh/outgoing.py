"""What leaves an SSH connection: gathers small packets into one write, and knows when all has been accepted.

Stands between asyncssh and the asyncio transport. Two reasons: asyncssh writes each packet by itself,
which would be a segment and a system call each; and it ignores the transport's flow control, so that neither its
buffers nor "the last octet was accepted by the transport" could be known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Outgoing:
    """The part of `asyncio.Transport` that asyncssh uses, with writes of one turn of the event loop joined."""

    def __init__(self, transport: asyncio.Transport, on_empty: Callable[[], None]) -> None:
        self._transport = transport
        self._on_empty = on_empty
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []
        self._latecomers: list[Callable[[], None]] = []
        self._held_size = 0
        # the transport reports every change between empty and not empty to its protocol
        transport.set_write_buffer_limits(high=0)

    @property
    def buffered(self) -> int:
        """Octets that the kernel has not accepted yet."""
        return self._held_size + self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        self._flush_soon()
        self._held.append(data)
        self._held_size += len(data)

    def before_flush(self, add: Callable[[], None]) -> None:
        """Have `add` called at the end of this turn of the event loop: what it writes leaves with the rest."""
        self._flush_soon()
        self._latecomers.append(add)

    def _flush_soon(self) -> None:
        if not self._held and not self._latecomers:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        # while they are called they stand in the list, so that what they write asks for no further flush
        for add in self._latecomers:
            add()
        self._latecomers.clear()
        self._pass_on()

    def _pass_on(self) -> None:
        data = b"".join(self._held)
        self._held.clear()
        self._held_size = 0
        if data and not self._transport.is_closing():
            self._transport.write(data)
        if not self._transport.get_write_buffer_size():
            self._on_empty()

    def close(self) -> None:
        self._end()
        self._transport.close()

    def abort(self) -> None:
        # what was said last (a disconnect with its reason) goes out if the kernel takes it at once
        self._end()
        self._transport.abort()

    def _end(self) -> None:
        # after the disconnect, which is written already, nothing may follow
        self._latecomers.clear()
        self._pass_on()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
