"""The RESTCONF server: one event loop in a thread of its own, serving one application on TLS and on the local socket.

No request is looked into here. Design: Threads, and the RESTCONF row of Dependencies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
import logging
from pathlib import Path
import socket
import ssl
import threading
from typing import Any

import uvicorn
from uvicorn.server import ServerState
import uvloop
from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]

from agent.core.dispatch import Dispatch
from agent.restconf.auth import Accounts, BasicAuth
from agent.restconf.bridge import Bridge
from agent.restconf.connection import Connection
from agent.restconf.listen import Local, Tcp, bind_local, bind_tcp, tls_context
from agent.restconf.views import create_app

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
"""Open at a time on each listener; more are closed at once."""

IDLE_SECONDS = 75
"""How long a connection may wait for its next request."""

HANDSHAKE_SECONDS = 10.0
SHUTDOWN_SECONDS = 5.0
"""For the peer to end TLS too, once we have."""

DRAIN_SECONDS = 2.0
"""What requests under way get when the server stops."""

WORKERS = 4
CHECKS = 2
"""Threads for operations, and for password checks."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where it serves: host and port of the TLS listener, path of the local socket."""

    tcp: tuple[str, int] | None
    local: Path | None


class Server:
    """`bind` takes the addresses, `start` serves, `stop` ends it in under 5 s. Each may be called once, from any
    thread; `bind` may be left out."""

    def __init__(
        self, dispatch: Dispatch, accounts: Accounts, *, tcp: Tcp | None = None, local: Local | None = None
    ) -> None:
        if tcp is None and local is None:
            raise ValueError("a server needs at least one listener")
        self._dispatch = dispatch
        self._tcp = tcp
        self._local = local
        self._workers = ThreadPoolExecutor(WORKERS, "restconf")
        self._checks = ThreadPoolExecutor(CHECKS, "restconf-auth")
        app = create_app(dispatch)
        self.app = app
        self._bridge = Bridge(
            app.wsgi_app, dispatch, auth=BasicAuth(accounts), workers=self._workers, checks=self._checks
        )
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="restconf", daemon=True)
        self._config = _config()
        self._listeners: list[asyncio.Server] = []
        self._gates: list[_Listener] = []
        self._inode: tuple[int, int] | None = None
        self._bound: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._addresses: Addresses | None = None
        self.tls: ssl.SSLContext | None = None

    def bind(self) -> Addresses:
        """Take the addresses: who connects from now on waits for `start`. Raises ListenError; nothing is left open
        then."""
        address = None
        try:
            if self._tcp is not None:
                self.tls = tls_context(self._tcp)
                tcp = bind_tcp(self._tcp.host, self._tcp.port)
                self._bound.append((tcp, self.tls))
                address = tcp.getsockname()[:2]
            if self._local is not None:
                self._bound.append((bind_local(self._local), None))
                found = self._local.path.stat()
                self._inode = (found.st_dev, found.st_ino)
        except BaseException:
            self._unbind()
            raise
        self._addresses = Addresses(address, self._local.path if self._local is not None else None)
        return self._addresses

    def start(self) -> Addresses:
        """Serve. Raises ListenError where `bind` was left out and fails."""
        addresses = self._addresses or self.bind()
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return addresses

    def _unbind(self) -> None:
        for opened, _ in self._bound:
            opened.close()
        self._bound.clear()
        self._remove_local()
        self._loop.close()

    def stop(self) -> None:
        """Finish requests under way (for a short while), close everything, remove the local socket."""
        if not self._thread.is_alive():
            if self._bound:
                self._unbind()
            return
        self._bound.clear()
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._checks.shutdown(wait=False, cancel_futures=True)
        self._remove_local()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        for opened, tls in self._bound:
            gate = _Listener()
            self._gates.append(gate)
            make = partial(self._connection, gate) if tls is None else partial(self._secured, gate, tls)
            self._listeners.append(await self._loop.create_server(make, sock=opened))

    def _secured(self, gate: _Listener, tls: ssl.SSLContext) -> asyncio.BaseProtocol:
        made: asyncio.BaseProtocol = _Tls(self._http(gate), tls, gate)
        return made

    def _connection(self, gate: _Listener) -> asyncio.BaseProtocol:
        return self._http(gate, local=self._local)

    def _http(self, gate: _Listener, local: Local | None = None) -> Connection:
        return Connection(
            self._config,
            gate.state,
            self._loop,
            handler=self._bridge,
            refusal=self._bridge.refusal,
            on_lost=self._bridge.lost,
            gate=None if local is None else gate,
            local_user=None if local is None else local.user,
        )

    async def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        for gate in self._gates:
            gate.shutdown()
        await self._until(DRAIN_SECONDS, lambda gate: not gate.busy())
        for gate in self._gates:
            gate.abort()
        await self._until(0.5, lambda gate: len(gate) == 0 and not gate.state.tasks)
        left = [task for gate in self._gates for task in tuple(gate.state.tasks)]
        for task in left:
            task.cancel()
        if left:
            log.warning("%d requests had not ended when the server stopped", len(left))
            await asyncio.wait(left, timeout=0.5)

    async def _until(self, seconds: float, done: Callable[[_Listener], bool]) -> None:
        """Until it is so of every listener, or the time is over."""
        end = self._loop.time() + seconds
        while self._loop.time() < end and not all(done(gate) for gate in self._gates):
            await asyncio.sleep(0.01)

    def _remove_local(self) -> None:
        if self._local is None:
            return
        try:
            found = self._local.path.lstat()
            if (found.st_dev, found.st_ino) == self._inode:
                self._local.path.unlink()
        except OSError as error:
            log.debug("the local socket was not removed: %s", error)


class _Listener:
    """One listening socket's connections: how many are open, and those of them that speak HTTP already (`state`)."""

    def __init__(self) -> None:
        self.state = ServerState()
        self._open: set[asyncio.Transport] = set()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, transport: asyncio.Transport) -> bool:
        """Count a connection; False where there are too many."""
        if len(self._open) >= MAX_CONNECTIONS:
            log.warning("a connection was refused: %d are open", MAX_CONNECTIONS)
            return False
        self._open.add(transport)
        return True

    def leave(self, transport: asyncio.Transport) -> None:
        self._open.discard(transport)

    def busy(self) -> bool:
        """Whether a request runs, or bytes of a reply still wait to be taken."""
        return bool(self.state.tasks) or any(open_.buffered() for open_ in self._speaking())

    def shutdown(self) -> None:
        """Close what is idle, and the rest after its reply."""
        for connection in self._speaking():
            connection.shutdown()

    def _speaking(self) -> tuple[Connection, ...]:
        return tuple(found for found in self.state.connections if isinstance(found, Connection))

    def abort(self) -> None:
        for transport in tuple(self._open):
            transport.abort()


class _Tls(SSLProtocol):  # type: ignore[misc]
    """TLS on one accepted stream. uvloop's own, made here and not by create_server: only so the transport below it is
    known, whose write buffer says whether the last byte has left."""

    def __init__(self, connection: Connection, context: ssl.SSLContext, gate: _Listener) -> None:
        loop = asyncio.get_running_loop()
        shaken: asyncio.Future[None] = loop.create_future()
        shaken.add_done_callback(self._shaken)
        super().__init__(loop, connection, context, shaken, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS)
        self._connection = connection
        self._gate = gate

    def connection_made(self, transport: asyncio.Transport) -> None:
        if not self._gate.enter(transport):
            transport.abort()
            return
        self._connection.raw = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        raw = self._connection.raw
        if raw is not None:
            self._gate.leave(raw)
            super().connection_lost(exc)

    @staticmethod
    def _shaken(done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is not None:
            log.debug("a TLS handshake failed: %s", done.exception())


def _config() -> uvicorn.Config:
    """What uvicorn's protocol looks up; its own server, logging and headers are not used."""
    config = uvicorn.Config(
        app=_no_app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        interface="asgi3",
        timeout_keep_alive=IDLE_SECONDS,
    )
    config.load()
    # it would warn once for each junk request: connections log what matters themselves
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    return config


async def _no_app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - ASGI's signature
    """Never called: each connection is its own application."""
    raise RuntimeError("uvicorn's own server is not used")
