"""The bad client of `scripts/bench netconf`. Arguments: what it does, address, user, key file, seconds.

Prints one JSON object: how often it got through with it. It never stops to think: the point is what others feel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
import json
from pathlib import Path
import sys
import time

import asyncssh
from bench_clients import CSL, END
from bench_link import NC, Link, Login, rpc, run


def get(name: str) -> bytes:
    """A get of one node in the state."""
    return rpc(f'<get><filter><licensing xmlns="{CSL}"><state><state-info><{name}/></state-info></state></licensing>'
               "</filter></get>")  # fmt: skip


LIST, SMALL = get("rum-reports-closed-keys"), get("rum-ack")
XPATH = rpc('<get><filter type="xpath" select="//*[count(//*) &gt; 0]"/></get>')
LAYERS = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<!DOCTYPE rpc [<!ENTITY e0 "ha">{LAYERS}]><rpc xmlns="{NC}" message-id="1"><x>&e9;</x></rpc>'.encode()
BOMB = b"\n#%d\n%b%b" % (len(BOMB), BOMB, END)
DEEP = rpc("<get>" + "<a>" * 10_000 + "</a>" * 10_000 + "</get>")
CHUNK = b"\n#1048576\n" + b"x" * 1048576
CHUNKS = 100


class Attack:
    """One way to be a nuisance, counted."""

    def __init__(self, login: Login, seconds: float) -> None:
        self.login = login
        self.until = time.monotonic() + seconds
        self.done = 0

    @property
    def on(self) -> bool:
        return time.monotonic() < self.until

    async def several(self, number: int, one: Callable[[], Awaitable[None]]) -> None:
        """Do it in so many tasks; one that is thrown out comes back."""

        async def again() -> None:
            while self.on:
                try:
                    async with asyncio.timeout(max(self.until - time.monotonic(), 0.001)):
                        await one()
                except (OSError, asyncssh.Error, TimeoutError):
                    await asyncio.sleep(0.005)

        await asyncio.gather(*(again() for _ in range(number)))

    async def sessions(self) -> None:
        """Set-up to close, 16 at a time."""

        async def one() -> None:
            link = await Link.open(self.login)
            await link.close()
            self.done += 1

        await self.several(16, one)

    async def requests(self) -> None:
        """8 sessions, each with 50 requests under way."""
        await self.several(8, lambda: self._repeat(SMALL * 50, 50))

    async def xml(self) -> None:
        """4 sessions: entities in layers, elements 10,000 deep."""
        await self.several(4, lambda: self._repeat(BOMB + DEEP, 2))

    async def xpath(self) -> None:
        """8 sessions: an expression whose cost grows with the square of the data."""
        await self.several(8, lambda: self._repeat(XPATH, 1))

    async def _repeat(self, message: bytes, replies: int) -> None:
        link = await Link.open(self.login)
        try:
            while self.on:
                await link.ask(message, replies)
                self.done += replies
        finally:
            link.drop()

    async def reader(self) -> None:
        """8 sessions that ask for long replies and take nothing of them."""

        async def one() -> None:
            link = await Link.open(self.login)
            try:
                link.channel.pause_reading()
                link.channel.write(LIST * 8)
                self.done += 8
                await asyncio.sleep(self.until - time.monotonic())
            finally:
                link.drop()

        await self.several(8, one)

    async def huge(self) -> None:
        """2 sessions: a message of 100 MB, as fast as it is taken, until they are thrown out."""

        async def one() -> None:
            link = await Link.open(self.login)
            try:
                for _ in range(CHUNKS):
                    if link.session.gone.done():
                        break
                    link.channel.write(CHUNK)
                    while link.channel.get_write_buffer_size() > len(CHUNK) and not link.session.gone.done():
                        await asyncio.sleep(0.001)
                self.done += 1
            finally:
                link.drop()

        await self.several(2, one)


async def main(kind: str, address: str, user: str, key: str, seconds: str) -> None:
    attack = Attack(Login(address, user, key=Path(key)), float(seconds))
    await getattr(attack, kind)()
    print(json.dumps({"done": attack.done}))


if __name__ == "__main__":
    run(main(*sys.argv[1:]))
