"""One SSH channel: the netconf subsystem on an Endpoint; shell and exec are refused. No protocol in here."""

from __future__ import annotations

import asyncio
from functools import partial
import logging
from typing import TYPE_CHECKING

import asyncssh

from agent.core.sessions import User
from agent.netconf.endpoint import Endpoint

if TYPE_CHECKING:
    from agent.ssh.connection import Connection, Shared

log = logging.getLogger(__name__)

TOGETHER = 16 * 1024
"""Octets of replies that leave in one SSH packet; a packet costs as much as reading a small request."""

REFUSAL = b"This port speaks NETCONF only: ask for the subsystem, e.g. ssh -s -p PORT USER@HOST netconf\r\n"


class NetconfChannel(asyncssh.SSHServerSession[bytes]):
    """asyncssh's callbacks for one channel, and the port that its endpoint writes to."""

    def __init__(self, connection: Connection, shared: Shared, user: User) -> None:
        self.connection = connection
        self._shared = shared
        self._user = user
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._endpoint: Endpoint | None = None
        self._netconf = False
        self._held: list[bytes] = []
        self._held_size = 0
        self._empty = asyncio.Event()
        self._lost = False
        self.task: asyncio.Task[str] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan
        # pause_writing and resume_writing then tell of every change between empty and not empty
        chan.set_write_buffer_limits(high=0)
        self.connection.channels.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's signature
        self.connection.channel_gone(self)
        self._channel = None
        if self._endpoint is not None:
            self._endpoint.connection_lost()
        self._empty.set()

    def pty_requested(self, term_type: object, term_size: object, term_modes: object) -> bool:  # noqa: ARG002 - asyncssh's
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        self._netconf = subsystem == "netconf"
        if not self._netconf:
            log.info("subsystem %.64r asked for by %s: only netconf is served", subsystem, self._user.name)
        return self._netconf

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:  # noqa: ARG002 - asyncssh's signature
        return True

    def session_started(self) -> None:
        channel = self._channel
        if channel is None:
            return
        if not self._netconf:
            channel.write_stderr(REFUSAL)
            channel.exit(1)
            return
        shared = self._shared
        # asked again: several channels may have been opened before the first of them became a session
        full = shared.serving.full(self._user)
        if full is not None:
            log.warning("session of %s from %s refused: %s", self._user.name, self.connection.source, full)
            channel.write_stderr(full.encode() + b"\r\n")
            channel.exit(1)
            return
        self._endpoint = shared.serving.endpoint(
            self,
            self._user,
            source_host=self.connection.source,
            transport="netconf-ssh",
            lookup=partial(shared.authenticator.user, self._user.name),
            idle_time=self.connection.idle_time,
        )
        self.task = asyncio.get_running_loop().create_task(self._endpoint.run())
        shared.channels.add(self)
        self.connection.session_begins()
        self.task.add_done_callback(self._over)

    def _over(self, _: asyncio.Task[str]) -> None:
        self._shared.channels.discard(self)
        self.connection.session_over()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:  # noqa: ARG002 - asyncssh's
        if self._endpoint is not None:
            self._endpoint.data_received(data)

    def eof_received(self) -> bool:
        if self._endpoint is not None:
            self._endpoint.eof_received()
        return True

    def resume_writing(self) -> None:
        self.emptied()

    def emptied(self) -> None:
        """Something below has been written out: whoever waits for `drained` looks again."""
        self._empty.set()

    def end(self, reason: str) -> None:
        """End the session on this channel, if there is one."""
        if self._endpoint is not None:
            self._endpoint.end(reason)

    @property
    def over(self) -> bool:
        """Whether there is no session on it that the loss of the connection cuts off."""
        return self._endpoint is None or self._endpoint.over

    @property
    def buffered(self) -> int:
        channel = self._channel
        if channel is None:
            return 0
        return self._held_size + channel.get_write_buffer_size() + self.connection.buffered

    def write(self, data: bytes) -> None:
        """Small replies of one turn of the event loop leave together."""
        if not self._held:
            self.connection.before_flush(self._pass_on)
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > TOGETHER:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give asyncssh what is held."""
        data = b"".join(self._held)
        self._held.clear()
        self._held_size = 0
        if not data or self._channel is None or self._lost:
            return
        try:
            self._channel.write(data)
        except BrokenPipeError:
            # the client closed its channel a moment ago, and asyncssh tells of it only in the loop's next turn
            self._lost = True
            if self._endpoint is not None:
                self._endpoint.connection_lost()

    async def drained(self) -> None:
        while self.buffered:
            self._empty.clear()
            await self._empty.wait()
        if self._channel is None or self._lost:
            # the end of the session is on its way; nothing that was lost may count as delivered
            await asyncio.get_running_loop().create_future()

    def pause_reading(self) -> None:
        if self._channel is not None:
            self._channel.pause_reading()

    def resume_reading(self) -> None:
        if self._channel is not None:
            self._channel.resume_reading()

    def close(self) -> None:
        if self._channel is None:
            return
        if self.buffered or self._lost:
            self._channel.abort()
        else:
            # without an exit status OpenSSH's client reports a failure, 255
            self._channel.exit(0)
