"""The SSH listener: addresses, algorithms, timeouts, start and stop. agent/ssh is the only importer of asyncssh.

RFC 6242, RFC 4253; the algorithms are those of current OpenSSH without its legacy ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
import logging
import socket
from typing import Any, cast

import asyncssh

from agent.core.sessions import Authenticator
from agent.netconf.limits import FailureLimit, WaitingLimit
from agent.netconf.serving import Serving
from agent.netconf.settings import Listener, ServerSettings, SettingsError
from agent.ssh.access import SIGNATURES, Access, check_authority
from agent.ssh.connection import Connection, Shared
from agent.ssh.keys import KeyTextError, load_authorized, load_host_key

log = logging.getLogger(__name__)

KEEPALIVE = 30.0
"""Seconds of silence after which a peer is asked whether it is still there; three unanswered questions end it."""

KEX = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
)
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
"""No CBC cipher may come in here: connection.py sends no empty packets, which those need (RFC 4251 section 9.3.1)."""

MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
STOP_TIMEOUT = 2.0
"""Seconds that sessions, then connections, have for an orderly end before they are cut."""


class SshServer:
    """NETCONF over SSH, on any number of addresses. All methods belong to one event loop.

    `host_keys` are private keys as text (`keys.new_host_key`).
    """

    def __init__(
        self,
        serving: Serving,
        authenticator: Authenticator,
        host_keys: Sequence[bytes],
        *,
        failures: FailureLimit | None = None,
        waiting: WaitingLimit | None = None,
    ) -> None:
        self._host_keys = [load_host_key(text) for text in host_keys]
        # two at a time: guessing passwords must not take the machine's cores from what it is for
        self._passwords = ThreadPoolExecutor(2, thread_name_prefix="ssh-login")
        self._lookups = ThreadPoolExecutor(2, thread_name_prefix="ssh-lookup")
        self._shared = Shared(
            serving=serving,
            authenticator=authenticator,
            lookups=self._lookups,
            passwords=self._passwords,
            failures=failures or FailureLimit(),
            waiting=waiting or WaitingLimit(),
            connections=set(),
            channels=set(),
            access=Access(),
            refusals=FailureLimit(),
        )
        self._acceptors: set[asyncssh.SSHAcceptor] = set()
        self._stopped = False

    async def listen(self, bound: socket.socket) -> Listener:
        """Listen on a socket too; it belongs to the listener from now on."""
        # its own log has a dozen lines a connection; what matters is logged here, in our words
        asyncssh.set_log_level(logging.WARNING)
        acceptor = await asyncssh.listen(sock=bound, **self._options(), reuse_address=True)
        self._acceptors.add(acceptor)
        return acceptor

    def check(self, settings: ServerSettings) -> None:
        """Whether it can work with them. Any thread. Raises SettingsError."""
        for place, line in enumerate(settings.ssh.trusted_keys):
            try:
                check_authority(load_authorized(line))
            except KeyTextError as error:
                where = ("ssh", "trusted-user-key", place, "public-key")
                raise SettingsError(f"ssh trusted-user-key: {error}", *where) from None

    def configure(self, settings: ServerSettings) -> None:
        """Take other settings; whoever begins to log in from now on meets them."""
        self._shared.access = Access.of(settings.ssh)
        self._shared.serving.limits = settings.limits
        for acceptor in self._acceptors:
            acceptor.update(login_timeout=settings.limits.login_time)

    def use_host_keys(self, host_keys: Sequence[bytes]) -> None:
        """Show other host keys to connections from now on; those that stand are not touched. Raises KeyTextError."""
        self._host_keys = [load_host_key(text) for text in host_keys]
        for acceptor in self._acceptors:
            acceptor.update(server_host_keys=self._host_keys)

    def _options(self) -> dict[str, Any]:
        return {
            "server_factory": lambda: Connection(self._shared),
            "server_host_keys": self._host_keys,
            "server_version": "netconf",
            "kex_algs": KEX,
            "encryption_algs": CIPHERS,
            "mac_algs": MACS,
            "compression_algs": ("none",),
            "signature_algs": SIGNATURES,
            "login_timeout": self._shared.serving.limits.login_time,
            "keepalive_interval": KEEPALIVE,
            "keepalive_count_max": 3,
            "host_based_auth": False,
            "gss_host": None,
            "agent_forwarding": False,
            "x11_forwarding": False,
            # granted, and nothing comes of it: `ssh -tt`, which scrapli runs, ends where it is refused
            "allow_pty": True,
            "line_editor": False,
            "allow_scp": False,
            "encoding": None,
            # a file of the administrator's own SSH client or server has no say here
            "config": None,
        }

    async def call(self, connected: socket.socket, idle_time: float | None) -> bool:
        """Serve a connection that the device has opened, to its end; whether the client logged in."""
        options = self._options()
        options["server_factory"] = lambda: Connection(self._shared, called=True, idle_time=idle_time)
        try:
            connection = await asyncssh.run_server(connected, **options)
        except (asyncssh.Error, OSError) as error:
            log.info("a called client is gone: %s", error)
            return False
        await connection.wait_closed()
        return True

    def unlisten(self, listener: Listener) -> None:
        """Take no more connections there; those that stand go on."""
        acceptor = cast(asyncssh.SSHAcceptor, listener)
        self._acceptors.discard(acceptor)
        acceptor.close()

    async def stop(self) -> None:
        """Stop listening, end all sessions, close all connections: within twice STOP_TIMEOUT."""
        if self._stopped:
            return
        self._stopped = True
        for acceptor in tuple(self._acceptors):
            self.unlisten(acceptor)
        channels = tuple(self._shared.channels)
        for channel in channels:
            channel.end("other")
        tasks = [channel.task for channel in channels if channel.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_TIMEOUT)
        for connection in tuple(self._shared.connections):
            connection.close()
        deadline = asyncio.get_running_loop().time() + STOP_TIMEOUT
        while self._shared.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        for connection in tuple(self._shared.connections):
            connection.abort()
        await asyncio.sleep(0)
        for executor in (self._passwords, self._lookups):
            executor.shutdown(wait=False, cancel_futures=True)
