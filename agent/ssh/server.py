"""The SSH listener: addresses, algorithms, timeouts, start and stop. agent/ssh is the only importer of asyncssh.

RFC 6242, RFC 4253; the algorithms are those of current OpenSSH without its legacy ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
import logging
import socket

import asyncssh

from agent.core.dispatch import Dispatch
from agent.core.sessions import Authenticator
from agent.netconf.endpoint import HELLO_TIMEOUT
from agent.netconf.session import capabilities
from agent.ssh.connection import Connection, Shared
from agent.ssh.keys import load_host_key
from agent.ssh.limits import FailureLimit, WaitingLimit

log = logging.getLogger(__name__)

LOGIN_TIMEOUT = 30.0
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
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
STOP_TIMEOUT = 2.0
"""Seconds that sessions, then connections, have for an orderly end before they are cut."""


class SshServer:
    """NETCONF over SSH on one address. All methods belong to one event loop.

    `host_keys` are private keys as text (`keys.new_host_key`). `announce` defaults to `session.capabilities`.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        authenticator: Authenticator,
        host_keys: Sequence[bytes],
        *,
        announce: Sequence[str] | None = None,
        hello_timeout: float = HELLO_TIMEOUT,
        login_timeout: float = LOGIN_TIMEOUT,
        failures: FailureLimit | None = None,
        waiting: WaitingLimit | None = None,
    ) -> None:
        self._host_keys = [load_host_key(text) for text in host_keys]
        self._login_timeout = login_timeout
        # two at a time: guessing passwords must not take the machine's cores from what it is for
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="ssh-login")
        self._shared = Shared(
            dispatch=dispatch,
            authenticator=authenticator,
            executor=self._executor,
            capabilities=capabilities(dispatch.schema) if announce is None else tuple(announce),
            hello_timeout=hello_timeout,
            failures=failures or FailureLimit(),
            waiting=waiting or WaitingLimit(),
            connections=set(),
            channels=set(),
        )
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self, host: str, port: int, bound: socket.socket | None = None) -> tuple[str, int]:
        """Listen; returns the address, with the port that the kernel chose for 0. `bound` is a listening socket that
        is used instead of host and port. Raises OSError."""
        # its own log has a dozen lines a connection; what matters is logged here, in our words
        asyncssh.set_log_level(logging.WARNING)
        self._acceptor = await asyncssh.listen(
            host if bound is None else "",
            port if bound is None else 0,
            sock=bound,
            server_factory=lambda: Connection(self._shared),
            server_host_keys=self._host_keys,
            server_version="netconf",
            kex_algs=KEX,
            encryption_algs=CIPHERS,
            mac_algs=MACS,
            compression_algs=("none",),
            signature_algs=SIGNATURES,
            login_timeout=self._login_timeout,
            keepalive_interval=KEEPALIVE,
            keepalive_count_max=3,
            host_based_auth=False,
            gss_host=None,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_pty=False,
            line_editor=False,
            allow_scp=False,
            encoding=None,
            reuse_address=True,
            # a file of the administrator's own SSH client or server has no say here
            config=None,
        )
        address = self._acceptor.get_addresses()[0]
        return str(address[0]), int(address[1])

    async def stop(self) -> None:
        """Stop listening, end all sessions, close all connections: within twice STOP_TIMEOUT."""
        if self._acceptor is None:
            return
        acceptor, self._acceptor = self._acceptor, None
        acceptor.close()
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
        self._executor.shutdown(wait=False, cancel_futures=True)
