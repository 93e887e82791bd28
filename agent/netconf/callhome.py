"""Call home (RFC 8071): the device opens the TCP connection and is the server on it. When to dial, whom, and how often.

No SSH or TLS in here: `serve` is a transport's way to use a connection that stands. One `Caller` for each client that
is called, all on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
import errno
import logging
import math
import os
import random
import socket
from typing import Any

from agent.clock import Clock
from agent.netconf.settings import CallHome, Endpoint

log = logging.getLogger(__name__)

FIRST_DELAY = 1.0
"""Seconds before the second round of attempts; each further round waits twice as long, up to the configured limit."""

PAUSE = 0.3
"""Seconds between two attempts of one round: a client that drops connections at once is not dialled in a circle."""

NOBODY = "nobody logged in"

Serve = Callable[[socket.socket, float | None], Awaitable[bool]]
"""Serves a connection to its end; tells whether the client logged in. The second value: seconds that it may be idle."""

Dial = Callable[[str, int], Awaitable[socket.socket]]
"""A TCP connection to a host and port. Raises OSError."""


async def dial(host: str, port: int) -> socket.socket:
    """Connect to the first address of the host that answers. Raises OSError."""
    problem: OSError | None = None
    for family, kind, protocol, _, address in await _addresses(host, port):
        try:
            # named as TCP: the event loop sets TCP_NODELAY only then
            opened = socket.socket(family, kind, protocol)
        except OSError as error:  # a kernel without that family
            problem = error
            continue
        opened.setblocking(False)
        try:
            await _connect(opened, address)
        except OSError as error:
            opened.close()
            problem = error
        except BaseException:
            opened.close()
            raise
        else:
            return opened
    raise problem or OSError(f"{host} has no address")


async def _addresses(host: str, port: int) -> Sequence[Any]:
    """As the socket module has them. Raises OSError."""
    if "%" in host:
        # a link-local address, whose zone uvloop forgets; nobody is asked for it
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _connect(opened: socket.socket, address: Any) -> None:
    """What sock_connect does, which in uvloop forgets the zone too. Raises OSError."""
    problem = opened.connect_ex(address)
    if problem == errno.EINPROGRESS:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(opened, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(opened)
        problem = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if problem:
        raise OSError(problem, os.strerror(problem))


class Caller:
    """Keeps one client called, from `start` to `stop`."""

    def __init__(self, client: CallHome, serve: Serve, clock: Clock, *, dial: Dial = dial) -> None:
        self.client = client
        self._serve = serve
        self._clock = clock
        self._dial = dial
        self._last: Endpoint | None = None
        self._task: asyncio.Task[None] | None = None
        self._serving = False
        self._stopped = False
        self._after: Caller | None = None

    @property
    def standing(self) -> Caller | None:
        """Who has the connection to this client that stands: this one, or one that it waits for."""
        if self._serving:
            return self
        return None if self._after is None else self._after.standing

    def start(self, after: Caller | None = None) -> None:
        """Begin; if `after`, or whom that waits for, has a connection that still stands, when that has ended."""
        self._after = None if after is None else after.standing
        self._task = asyncio.get_running_loop().create_task(self._run(self._after))

    def stop(self) -> None:
        """Dial no more; a connection that stands goes on."""
        self._stopped = True
        if self._task is not None and not self._serving:
            self._task.cancel()

    async def _run(self, before: Caller | None) -> None:
        if before is not None and before._task is not None:
            await asyncio.wait([before._task])
            self._after = None
        try:
            while not self._stopped:
                await self._until_due()
                await self._call()
        except Exception:
            log.exception("call home to %s ended by a fault of the agent", self.client.name)

    async def _until_due(self) -> None:
        """Persistent connections are always due, periodic ones at the next whole multiple of their period."""
        client = self.client
        if client.period is None:
            # a client that logs in and goes again is not called a thousand times a second
            await asyncio.sleep(0 if self._last is None else FIRST_DELAY)
            return
        if self._last is None and client.anchor is None:
            return
        now = self._clock.now()
        due = next_start(now, client.period, now if client.anchor is None else client.anchor)
        await asyncio.sleep(self._clock.wall_seconds(due - now))

    async def _call(self) -> None:
        """Try until a client has logged in and gone again."""
        delay = FIRST_DELAY
        while not self._stopped:
            for number, endpoint in enumerate(self._order()):
                if number:
                    await _about(PAUSE)
                if await self._round(endpoint):
                    return
            await _about(delay)
            delay = min(2 * delay, self.client.longest_delay)

    def _order(self) -> Sequence[Endpoint]:
        endpoints = list(self.client.endpoints)
        if self.client.start_with == "random-selection":
            random.shuffle(endpoints)
        elif self.client.start_with == "last-connected" and self._last in endpoints:
            at = endpoints.index(self._last)
            endpoints = endpoints[at:] + endpoints[:at]
        return endpoints

    async def _round(self, endpoint: Endpoint) -> bool:
        """As many attempts at one endpoint as are configured. Whether it was used, or all is to stop."""
        where = f"{self.client.name} at {endpoint.address}:{endpoint.port}"
        problem: str | None = None
        for number in range(self.client.attempts):
            if number:
                await _about(PAUSE)
            problem = await self._attempt(endpoint, where)
            if problem is None or self._stopped:
                return True
        # one line for all of them, and again in the next round
        level = logging.WARNING if problem == NOBODY else logging.INFO
        log.log(level, "call home to %s failed: %s (attempts: %d)", where, problem, self.client.attempts)
        return False

    async def _attempt(self, endpoint: Endpoint, where: str) -> str | None:
        """One connection, to its end. Why no client logged in on it; None where one did."""
        client = self.client
        try:
            async with asyncio.timeout(client.max_wait):
                connected = await self._dial(endpoint.address, endpoint.port)
        except (OSError, TimeoutError, UnicodeError) as error:
            return f"no connection ({error or 'no answer'})"
        log.debug("call home to %s: connected", where)
        self._serving = True
        try:
            known = await self._serve(connected, client.idle_time)
        finally:
            self._serving = False
            # a transport that took it has closed it already
            connected.close()
        if not known:
            return NOBODY
        self._last = endpoint
        log.info("call home to %s: ended", where)
        return None


async def _about(seconds: float) -> None:
    """Sleep, not all equally long where many devices lost the same client."""
    await asyncio.sleep(seconds * random.uniform(0.75, 1.25))  # noqa: S311 - nothing to guess


def next_start(now: float, period: float, anchor: float) -> float:
    """The next moment after `now` that lies a whole number of periods before or after the anchor."""
    return anchor + (math.floor((now - anchor) / period) + 1) * period
