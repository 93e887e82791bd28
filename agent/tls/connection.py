"""One TLS connection: handshake, who the client is, then octets in both directions of one session. No NETCONF in here.

TLS is done in memory (ssl.MemoryBIO), so that what has left and what waits is known to the octet, and the certificates
that the client's was verified by can be asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
import logging
import socket
import ssl
from typing import Any

from agent.core.sessions import Authenticator, User
from agent.core.sources import plain
from agent.netconf.endpoint import Endpoint
from agent.netconf.limits import WaitingLimit
from agent.netconf.serving import Serving
from agent.netconf.settings import CertMap
from agent.netconf.stream import StreamConnection
from agent.tls.names import user_names

log = logging.getLogger(__name__)

PIECE = 64 * 1024
"""Octets that are decrypted at a time."""

RECORD = 4096
"""Octets in a TLS record. ncclient reads so many at a time and then waits for the socket, where the rest of a longer
record is no more."""

KEEPALIVE = 30
"""Seconds of silence after which the kernel asks whether the peer is still there; three unanswered questions end it."""


@dataclass(eq=False, slots=True)
class Shared:
    """What all connections of the server have in common. `context` makes the settings of a new connection."""

    serving: Serving
    authenticator: Authenticator
    executor: Executor
    waiting: WaitingLimit
    connections: set[TlsConnection]
    context: Callable[[], ssl.SSLContext]
    trusted: frozenset[bytes] = frozenset()
    maps: tuple[CertMap, ...] = ()


class TlsConnection(StreamConnection):
    """One connection, and the port that its endpoint writes to."""

    def __init__(self, shared: Shared, *, called: bool = False, idle_time: float | None = None) -> None:
        """`called`: the device has dialled. `idle_time` is in seconds; None means that of the limits."""
        super().__init__()
        self._shared = shared
        self._called = called
        self._idle_time = idle_time
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._greeted = False
        # the stream has ended, and TLS has ended before it
        self._cut = self._ended = False
        self._waiting = False
        self._timer: asyncio.TimerHandle | None = None
        self.source = ""
        self.task: asyncio.Task[Any] | None = None

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        shared = self._shared
        shared.connections.add(self)
        self.source = plain(str((transport.get_extra_info("peername") or ("local",))[0]))
        _keep_alive(transport.get_extra_info("socket"))
        # whom the device has called itself takes no place from those that come
        self._waiting = not self._called and shared.waiting.enter(self.source)
        if not self._called and not self._waiting:
            log.warning("connection from %s refused: too many that have not logged in", self.source)
            self.abort()
            return
        try:
            # a context of its own: no session of an earlier one can be resumed, past what is trusted by now
            self._tls = shared.context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        except Exception:
            log.exception("connection from %s refused: TLS has no certificate to show", self.source)
            self.abort()
            return
        limit = shared.serving.limits.login_time
        self._timer = asyncio.get_running_loop().call_later(limit, self._fail, f"not logged in after {limit:g} s")

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.connections.discard(self)
        self._logged_in()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._advance()

    def eof_received(self) -> bool:
        """After TLS's own end it means nothing; without, the stream was cut off, by whomever (RFC 8446 section 6.1)."""
        self._cut = True
        if self._endpoint is None:
            # what came before, TLS's own end maybe, is read after the login
            return self._greeted
        self._advance()
        return not self._cut_off(self._endpoint)

    def _cut_off(self, endpoint: Endpoint) -> bool:
        """Whether more than TLS's own end is missing; then the session ends now."""
        if not self._cut or self._ended:
            return False
        endpoint.connection_lost()
        return True

    # TLS

    def _advance(self) -> None:
        if self._tls is None:
            return
        try:
            if not self._greeted:
                self._tls.do_handshake()
                self._greeted = True
                self.task = asyncio.get_running_loop().create_task(self._run(self._tls))
            elif self._endpoint is not None:
                self._read(self._tls, self._endpoint)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._flush()  # the alert, where there is one
            self._fail(str(getattr(error, "verify_message", "") or error.reason or error))
            return
        self._flush()

    def _read(self, tls: ssl.SSLObject, endpoint: Endpoint) -> None:
        while True:
            try:
                data = tls.read(PIECE)
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                self._ended = True
                endpoint.eof_received()
                return
            endpoint.data_received(data)

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _fail(self, reason: str) -> None:
        log.warning("TLS connection from %s refused: %s", self.source, reason)
        if self._endpoint is not None:
            self._endpoint.connection_lost()
        if self._transport is not None:
            self._transport.close()

    async def _run(self, tls: ssl.SSLObject) -> None:
        try:
            await self._log_in(tls)
        except Exception:
            log.exception("connection from %s ended by a fault of the agent", self.source)
            self.abort()

    async def _log_in(self, tls: ssl.SSLObject) -> None:
        """Who the client is; then its session, to the end."""
        shared = self._shared
        self.pause_reading()
        names = user_names(shared.maps, _verified(tls), shared.trusted)
        user = await asyncio.get_running_loop().run_in_executor(shared.executor, self._user, names)
        if user is None:
            self._fail(f"its certificate leads to {f'{names[0]!r:.80}, who is no user' if names else 'no user name'}")
            return
        full = shared.serving.full(user)
        if full is not None:
            log.warning("session of %s from %s refused: %s", user.name, self.source, full)
            self.close()
            return
        if self._transport is None:
            return
        self._logged_in()
        self._endpoint = shared.serving.endpoint(
            self,
            user,
            source_host=self.source,
            transport="netconf-tls",
            lookup=partial(shared.authenticator.user, user.name),
            idle_time=self._idle_time,
        )
        self.resume_reading()
        # what came together with the end of the handshake
        asyncio.get_running_loop().call_soon(self._catch_up, self._endpoint)
        await self._endpoint.run()

    def _catch_up(self, endpoint: Endpoint) -> None:
        self._advance()
        if self._cut_off(endpoint) and self._transport is not None:
            self._transport.close()

    def _user(self, names: list[str]) -> User | None:
        return self._shared.authenticator.user(names[0]) if names else None

    def _logged_in(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting:
            self._waiting = False
            self._shared.waiting.leave(self.source)

    # agent.netconf.endpoint.Channel

    def write(self, data: bytes) -> None:
        if self._tls is None or self._transport is None:
            return
        try:
            view = memoryview(data)
            while view:
                view = view[self._tls.write(view[:RECORD]) :]
        except ssl.SSLError as error:
            self._fail(str(error.reason))
            return
        self._flush()

    def close(self) -> None:
        if self._transport is None:
            return
        if self.buffered:
            self._transport.abort()
            return
        try:
            if self._tls is not None and self._greeted:
                self._tls.unwrap()
        except ssl.SSLError:
            pass  # the peer's own end is not waited for (RFC 8446 section 6.1)
        self._flush()
        self._transport.close()

    # for the server

    @property
    def logged_in(self) -> bool:
        return self._endpoint is not None


def _verified(tls: ssl.SSLObject) -> list[bytes]:
    """The chain, in DER, by which the client's certificate was verified; its own comes first."""
    # public from Python 3.13 on, and there in octets
    ask = getattr(tls, "get_verified_chain", None) or tls._sslobj.get_verified_chain  # type: ignore[attr-defined]
    return [one if isinstance(one, bytes) else one.public_bytes(_DER) for one in ask() or ()]


_DER = 2
"""The ssl module's own number for the encoding."""


def _keep_alive(opened: socket.socket | None) -> None:
    if opened is None or opened.family == socket.AF_UNIX:
        return
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
