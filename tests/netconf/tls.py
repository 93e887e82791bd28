"""The toy behind TLS, and the standard library's TLS client in the shape that `support.Client` drives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
import select
import socket
import ssl
import threading
import time
from typing import Any

from agent.netconf.limits import WaitingLimit
from agent.netconf.serving import Serving
from agent.netconf.settings import CertMap, Limits, ServerSettings, TlsAccess
from agent.netconf.thread import LoopThread
from agent.restconf.listen import bind_tcp
from agent.tls.server import TlsServer
from tests.netconf.pki import Identity, root
from tests.netconf.support import HELLO_11, WAIT, Client
from tests.toy.build import Toy, Users

CA = root()
SERVER = CA.issue("device")
PEOPLE = {name: CA.issue(name) for name in ("ada", "cole", "rita", "nobody")}
BY_COMMON_NAME = TlsAccess((CA.pem,), (CertMap(1, CA.fingerprint, "common-name"),))


class Connection:
    """One TLS connection with the methods of a paramiko transport and channel that the tests use."""

    def __init__(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = context.wrap_socket(raw, server_hostname="device")
        self.tls = self.sock
        self._lock = threading.Lock()
        self._seconds: float = WAIT

    def open_session(self, timeout: float) -> Connection:
        return self

    def settimeout(self, seconds: float) -> None:
        self._seconds = seconds

    def invoke_subsystem(self, name: str) -> None:
        """A connection is a session here."""

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            sent: int = self._tried(partial(self.tls.send, view), select.POLLOUT)
            view = view[sent:]

    def recv(self, size: int) -> bytes:
        try:
            received: bytes = self._tried(partial(self.tls.recv, size), select.POLLIN)
        except ssl.SSLZeroReturnError:
            return b""
        return received

    def _tried(self, call: Callable[[], Any], ready: int) -> Any:
        """One thread at a time is in OpenSSL: what one connection remembers of a call is not meant for two."""
        end = time.monotonic() + self._seconds
        while True:
            with self._lock:
                self.tls.setblocking(False)
                try:
                    return call()
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
            if time.monotonic() > end:
                raise TimeoutError
            poll = select.poll()
            poll.register(self.tls, ready)
            poll.poll(100)

    def shutdown_write(self) -> None:
        """TLS's own end, in this direction; the other goes on (RFC 8446 section 6.1)."""
        with self._lock, suppress(ssl.SSLError):
            self.tls.setblocking(False)
            self.tls.unwrap()

    def close(self) -> None:
        self.tls.close()


def client_context(who: Identity | None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=CA.pem)
    if who is not None:
        who.load(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class TlsToy:
    """As `support.Server`, over TLS."""

    def __init__(
        self,
        toy: Toy,
        access: TlsAccess = BY_COMMON_NAME,
        limits: Limits | None = None,
        waiting: WaitingLimit | None = None,
    ) -> None:
        self.toy = toy
        self.users = Users()
        self.limits = limits or Limits()
        self.tls = TlsServer(Serving(toy.dispatch, limits=limits), self.users, SERVER.load, waiting=waiting)
        self.thread = LoopThread()
        self.thread.start()
        bound = bind_tcp("127.0.0.1", 0)
        self.host, self.port = bound.getsockname()
        self.thread.call(self.tls.listen(bound))
        self.configure(access)

    def configure(self, access: TlsAccess) -> None:
        async def take() -> None:
            self.tls.configure(ServerSettings(tls=access, limits=self.limits))

        self.thread.call(take())

    def stop(self) -> None:
        if self.thread.running:
            self.thread.call(self.tls.stop())
            self.thread.end()

    def connect(self, user: str | Identity | None = "ada", **options: Any) -> Connection:
        who = PEOPLE[user] if isinstance(user, str) else user
        raw = socket.create_connection((self.host, self.port), WAIT)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return Connection(raw, client_context(who, **options))
        except BaseException:
            raw.close()
            raise

    @contextmanager
    def client(self, hello: bytes | None = HELLO_11, user: str | Identity = "ada") -> Iterator[Client]:
        connection = self.connect(user)
        try:
            client = Client(connection)  # type: ignore[arg-type]
            if hello is not None:
                client.greet(hello)
            yield client
        finally:
            connection.close()
