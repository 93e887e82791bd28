"""NETCONF over TLS (RFC 7589): certificates and versions, start and stop. Clients must show a certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
import logging
import re
import socket
import ssl
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.core.sessions import Authenticator
from agent.netconf.limits import WaitingLimit
from agent.netconf.serving import Serving
from agent.netconf.settings import Listener, ServerSettings, SettingsError, TlsAccess
from agent.tls.connection import Shared, TlsConnection
from agent.tls.names import check

log = logging.getLogger(__name__)

STOP_TIMEOUT = 2.0
"""Seconds that sessions, then connections, have for an orderly end before they are cut."""


class TlsServer:
    """NETCONF over TLS, on any number of addresses. All methods but `check` belong to one event loop.

    `load` gives a context the server's certificate and key; it is called for each connection, so that a new certificate
    is shown without a restart.
    """

    def __init__(
        self,
        serving: Serving,
        authenticator: Authenticator,
        load: Callable[[ssl.SSLContext], None],
        *,
        waiting: WaitingLimit | None = None,
    ) -> None:
        self._load = load
        self._anchors = b""
        self._servers: set[asyncio.AbstractServer] = set()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="tls-login")
        self._shared = Shared(
            serving=serving,
            authenticator=authenticator,
            executor=self._executor,
            waiting=waiting or WaitingLimit(),
            connections=set(),
            context=self._context,
        )

    def check(self, settings: ServerSettings) -> None:
        """Whether it can work with them. Any thread. Raises SettingsError."""
        _certificates(settings.tls)
        check(settings.tls.maps)

    def configure(self, settings: ServerSettings) -> None:
        """Take other settings; whoever connects from now on meets them."""
        self._anchors = b"".join(one.public_bytes(Encoding.DER) for one in _certificates(settings.tls))
        self._shared.serving.limits = settings.limits
        self._shared.maps = settings.tls.maps
        self._shared.trusted = frozenset(one.public_bytes(Encoding.DER) for one in _certificates(settings.tls))

    async def listen(self, bound: socket.socket) -> Listener:
        """Listen on a socket too; it belongs to the listener from now on."""
        server = await asyncio.get_running_loop().create_server(lambda: TlsConnection(self._shared), sock=bound)
        self._servers.add(server)
        return server

    async def call(self, connected: socket.socket, idle_time: float | None) -> bool:
        """Serve a connection that the device has opened, to its end; whether the client logged in."""
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: TlsConnection(self._shared, called=True, idle_time=idle_time), sock=connected
            )
        except OSError as error:
            log.info("a called client is gone: %s", error)
            return False
        await connection.lost
        return connection.logged_in

    def unlisten(self, listener: Listener) -> None:
        """Take no more connections there; those that stand go on."""
        server = cast(asyncio.AbstractServer, listener)
        self._servers.discard(server)
        server.close()

    async def stop(self) -> None:
        """Stop listening, end all sessions, close all connections: within twice STOP_TIMEOUT."""
        for server in tuple(self._servers):
            self.unlisten(server)
        connections = tuple(self._shared.connections)
        for one in connections:
            one.end("other")
        if connections:
            await asyncio.wait([one.lost for one in connections], timeout=STOP_TIMEOUT)
        for one in tuple(self._shared.connections):
            one.abort()
        await asyncio.sleep(0)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_REQUIRED
        # a trust anchor need not be a root: an issuer below it, or one client's own certificate, can be trusted alone
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self._anchors:
            # not the text that was given: OpenSSL reads fewer forms of it
            context.load_verify_locations(cadata=self._anchors)
        self._load(context)
        return context


_ONE_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def _certificates(access: TlsAccess) -> list[x509.Certificate]:
    found = []
    for text in access.trust_anchors:
        try:
            (one,) = x509.load_pem_x509_certificates(text.encode("ascii"))
            # what stands beside it would be stored and shown too: a private key, say
            if not _ONE_PEM.fullmatch(text.strip()):
                raise ValueError("more than a certificate")
        except ValueError:
            raise SettingsError(
                "tls trust-anchor: expected one PEM certificate alone, from -----BEGIN CERTIFICATE----- to its end"
            ) from None
        found.append(one)
    return found
