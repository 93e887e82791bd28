"""The clients of scripts/bench: as little work as a client can do, so that what is measured is the server.

NETCONF on asyncssh (which the agent needs anyway), RESTCONF on the standard library. A reply is collected as it comes
and only looked into when the time has been taken.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
import http.client
from pathlib import Path
import ssl
import time
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import asyncssh

END = b"\n##\n"
HELLO = (
    b'<hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities>'
    b"<capability>urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>]]>]]>"
)
TIMEOUT = 120.0

CSL = "http://cisco.com/ns/yang/cisco-smart-license"
SLPA = "urn:slp-agent:yang:slp-agent"
STATE = f'<licensing xmlns="{CSL}"><state><state-info>%s</state-info></state></licensing>'
STATE_PATH = "/restconf/data/cisco-smart-license:licensing/state/state-info"


class Session(asyncssh.SSHClientSession[bytes]):
    """Collects one message at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._done: asyncio.Future[list[bytes]] = self._loop.create_future()
        self._end = b"]]>]]>"

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:  # noqa: ARG002 - asyncssh's signature
        self._parts.append(data)
        tail = data if len(data) >= len(self._end) else b"".join(self._parts[-6:])
        if tail.endswith(self._end) and not self._done.done():
            parts, self._parts = self._parts, []
            self._done.set_result(parts)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the session"))
            # nobody may be waiting any more, which is no fault
            self._done.exception()

    async def message(self) -> list[bytes]:
        """The next whole message, as it came, framing included."""
        parts = await self._done
        self._done = self._loop.create_future()
        return parts

    def chunked(self) -> None:
        self._end = END


class Netconf:
    """One NETCONF session, for a caller without an event loop."""

    def __init__(self, address: str, user: str, password: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self._loop.run_until_complete(self._open(address, user, password))

    async def _open(self, address: str, user: str, password: str) -> None:
        host, _, port = address.rpartition(":")
        self._ssh = await asyncssh.connect(
            host.strip("[]"), int(port), username=user, password=password, known_hosts=None, client_keys=None,
            agent_path=None, config=None, preferred_auth="password",
            encryption_algs=["aes128-gcm@openssh.com", "aes128-ctr"], compression_algs=["none"],
        )  # fmt: skip
        self._channel, self._session = await self._ssh.create_session(Session, subsystem="netconf", encoding=None)
        await asyncio.wait_for(self._session.message(), TIMEOUT)
        self._channel.write(HELLO)
        self._session.chunked()

    def get(self, inner: str) -> list[bytes]:
        """A get with a subtree filter of what lies in state-info: the reply as it came."""
        return self._loop.run_until_complete(asyncio.wait_for(self._exchange(inner), TIMEOUT))

    async def _exchange(self, inner: str) -> list[bytes]:
        self._channel.write(self._message(inner))
        return await self._session.message()

    def rate(self, inner: str, seconds: float) -> float:
        """The same request again and again, one at a time: requests a second."""

        async def run() -> float:
            number, begun = 0, time.perf_counter()
            while (spent := time.perf_counter() - begun) < seconds:
                await self._exchange(inner)
                number += 1
            return number / spent

        return self._loop.run_until_complete(run())

    def _message(self, inner: str) -> bytes:
        self._number += 1
        data = (
            f'<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="{self._number}">'
            f'<get><filter type="subtree">{STATE % inner}</filter></get></rpc>'
        ).encode()
        return b"\n#%d\n%b%b" % (len(data), data, END)

    def __enter__(self) -> Netconf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ssh.close()
        self._loop.run_until_complete(self._ssh.wait_closed())
        self._loop.close()


def content(parts: list[bytes]) -> bytes:
    """The message without its chunk framing (RFC 6242 section 4.2)."""
    data = b"".join(parts)
    found = []
    at = 0
    while not data.startswith(END, at):
        end = data.index(b"\n", at + 2)
        size = int(data[at + 2 : end])
        found.append(data[end + 1 : end + 1 + size])
        at = end + 1 + size
    return b"".join(found)


class Restconf:
    """One RESTCONF connection that is kept open."""

    def __init__(self, url: str, user: str, password: str, ca: Path) -> None:
        parts = urlsplit(url)
        context = ssl.create_default_context(cafile=str(ca))
        self._connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=TIMEOUT, context=context
        )
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}", "Accept": "application/yang-data+json"}

    def get(self, path: str) -> list[bytes]:
        """The body of what lies at `path` below state-info."""
        self._connection.request("GET", STATE_PATH + path, headers=self._headers)
        reply = self._connection.getresponse()
        # read1 of a reply whose length is known never says that it has ended
        parts = [reply.read()] if reply.length is not None else list(iter(lambda: reply.read1(262_144), b""))
        if reply.status != 200:
            raise RuntimeError(f"GET {path}: {reply.status} {b''.join(parts)[:500]!r}")
        return parts

    def rate(self, path: str, seconds: float) -> float:
        """The same request again and again, one at a time: requests a second."""
        number, begun = 0, time.perf_counter()
        while (spent := time.perf_counter() - begun) < seconds:
            self.get(path)
            number += 1
        return number / spent

    def __enter__(self) -> Restconf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


def key_path(key: str) -> str:
    """Where one report's body lies."""
    return f"/slp-agent:rum-reports-closed={quote(key, safe='')}"


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, seconds of this process's processor time, and the result."""
    begun, spent = time.perf_counter(), time.process_time()
    result = call()
    return time.perf_counter() - begun, time.process_time() - spent, result
