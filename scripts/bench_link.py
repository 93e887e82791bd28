"""The NETCONF client of `scripts/bench netconf`: asyncssh on uvloop, prepared octets out, replies counted and not read.

What a request costs is thus the server, one SSH library on the client's side, and loopback: the same for every server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
from bench_clients import END, HELLO, TIMEOUT
import uvloop

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
T = TypeVar("T")


def rpc(operation: str) -> bytes:
    """One operation as a chunked message (RFC 6242 section 4.2)."""
    text = f'<rpc xmlns="{NC}" message-id="1">{operation}</rpc>'.encode()
    return b"\n#%d\n%b%b" % (len(text), text, END)


CLOSE = rpc("<close-session/>")


@dataclass(frozen=True)
class Login:
    """Where a server listens, and who comes: with the private key in a file, or with a password.

    `settle`: seconds between hello and first request. yuma123's netconf-subsystem loses a request that comes with the
    hello; what is waited for here is taken off its times.
    """

    address: str
    user: str
    key: Path | None = None
    password: str | None = None
    settle: float = 0.0


class _Session(asyncssh.SSHClientSession[bytes]):
    """Counts the ends of messages in what arrives."""

    def __init__(self) -> None:
        self.end = b"]]>]]>"
        self.parts: list[bytes] = []
        self._seen = self._wanted = 0
        self._tail = b""
        self._waiter: asyncio.Future[None] | None = None
        self.gone = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:  # noqa: ARG002 - asyncssh's signature
        self.parts.append(data)
        look = self._tail + data
        self._seen += look.count(self.end)
        self._tail = look[1 - len(self.end) :]
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionError("the server closed the session"))

    def _look(self) -> None:
        if self._waiter is not None and self._seen >= self._wanted and not self._waiter.done():
            self._waiter.set_result(None)

    async def messages(self, number: int) -> list[bytes]:
        """The next so many messages, as they came. Raises ConnectionError, TimeoutError, asyncssh.Error."""
        if self.gone.done():
            raise ConnectionError("the session has ended")
        self._wanted = number
        self._waiter = asyncio.get_running_loop().create_future()
        self._look()
        async with asyncio.timeout(TIMEOUT):
            await self._waiter
        parts, self.parts = self.parts, []
        self._seen -= number
        return parts


class Link:
    """One connection with one session."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, channel: Any, session: _Session) -> None:
        self.ssh = ssh
        self.channel = channel
        self.session = session

    @classmethod
    async def open(cls, login: Login) -> Link:
        """From the TCP connection to the exchanged hellos. Raises OSError and asyncssh.Error."""
        host, _, port = login.address.rpartition(":")
        ssh = await asyncssh.connect(
            host.strip("[]"), int(port), username=login.user, password=login.password, known_hosts=None,
            client_keys=None if login.key is None else [str(login.key)], agent_path=None, config=None,
            preferred_auth="password" if login.key is None else "publickey",
            kex_algs=["curve25519-sha256", "curve25519-sha256@libssh.org"],
            encryption_algs=["aes128-gcm@openssh.com", "aes128-ctr"], compression_algs=["none"],
        )  # fmt: skip
        try:
            channel, session = await ssh.create_session(_Session, subsystem="netconf", encoding=None)
            await asyncio.wait_for(session.messages(1), TIMEOUT)
        except BaseException:
            ssh.abort()
            raise
        channel.write(HELLO)
        session.end = END
        if login.settle:
            await asyncio.sleep(login.settle)
        return cls(ssh, channel, session)

    async def ask(self, message: bytes, replies: int = 1) -> list[bytes]:
        """Send octets that hold so many requests, and wait for as many replies."""
        self.channel.write(message)
        return await self.session.messages(replies)

    async def close(self) -> None:
        """By close-session, until the server has closed the channel."""
        await asyncio.wait_for(self.ask(CLOSE), TIMEOUT)
        await asyncio.wait_for(self.session.gone, TIMEOUT)
        self.drop()
        await self.ssh.wait_closed()

    def drop(self) -> None:
        """Without a word."""
        self.ssh.abort()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to its end on the client's event loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
