"""`scripts/bench netconf`: the agent, two peers and the bare transport, the same requests one after the other.

All over SSH and loopback, with the client of bench_link. The agent's writes are durable when they are answered, the
peers' are not. A commit is counted with the edit of candidate before it. Then what a well-behaved client of the agent
feels while others misbehave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
import json
from pathlib import Path
from statistics import median
import subprocess
import sys
import time
from typing import Any

from bench_attack import LIST, SMALL
from bench_clients import SLPA
from bench_link import Link, rpc
from bench_link import run as wait
from bench_pull import SCRIPTS, Figures, machine, make_folder
from bench_servers import Target, agent, ceiling, edit, let_in, make_keys, missing_yuma, pypi, save_replies, yuma

COMMIT = rpc("<commit/>")
EDITS = tuple(edit("running", number) for number in range(2))
CHANGES = tuple(edit("candidate", number) for number in range(2))
ROOM = rpc(f'<edit-config><target><running/></target><config><netconf-server xmlns="{SLPA}"><limits>'
           "<sessions-per-user>1024</sessions-per-user></limits></netconf-server></config></edit-config>")  # fmt: skip
PIPELINED, AT_ONCE = 50, 20
PAUSE = 0.005
"""Seconds between two requests of a client that is watched during an attack: it is not to be a load itself."""

ATTACKS = {
    "nobody else": "",
    "a flood of sessions": "sessions",
    "a flood of RPCs": "requests",
    "slow readers of the list": "reader",
    "entity bombs, 10,000 deep": "xml",
    "messages of 100 MB": "huge",
    "XPath bombs": "xpath",
}
ROWS = {
    "small": "small gets, one session",
    "pipelined": f"small gets, {PIPELINED} pipelined",
    "sessions": "sessions, set-up to close",
    "at once": f"small gets, {AT_ONCE} sessions",
    "edit": "edits of a leaf, running",
    "commit": "edits, candidate + commit",
    "list": "lists of all reports",
}
"""Rates: each a second."""


@dataclass(frozen=True)
class Options:
    """What is stored, for how long each rate is taken, how many sessions idle, how long each attack lasts."""

    few: int = 10
    many: int = 10_000
    seconds: float = 3.0
    idle: int = 500
    attack_seconds: float = 5.0
    interop: str | None = None


async def repeated(once: Callable[[int], Awaitable[Any]], seconds: float, each: int = 1, spare: float = 0) -> Figures:
    """One after the other for so long, at least three times; `each` is how many requests one call makes, `spare` how
    many seconds of each the client has waited by itself. The rate is that of the median."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begun < seconds:
        at = time.perf_counter()
        await once(len(times))
        times.append(time.perf_counter() - at - spare)
    middle = median(times)
    return {"per_s": each / middle, "ms": 1000 * middle / each, "times": len(times)}


async def together(links: Sequence[Link], seconds: float) -> Figures:
    """All sessions ask at the same time, each one request after the other."""
    times: list[float] = []
    begun = time.perf_counter()

    async def one(link: Link) -> None:
        while (at := time.perf_counter()) - begun < seconds:
            await link.ask(SMALL)
            times.append(time.perf_counter() - at)

    await asyncio.gather(*map(one, links))
    return {"per_s": len(times) / (time.perf_counter() - begun), "ms": 1000 * median(times), "times": len(times),
            "p99_ms": 1000 * quantile(times, 0.99)}  # fmt: skip


def quantile(times: Sequence[float], share: float) -> float:
    return sorted(times)[min(int(share * len(times)), len(times) - 1)]


async def measure(target: Target, seconds: float) -> Figures:
    """The rows of one server."""

    async def session(number: int) -> None:  # noqa: ARG001 - each is like the others
        await (await Link.open(target.login)).close()

    async def change(number: int) -> None:
        await link.ask(CHANGES[number % 2])
        await link.ask(COMMIT)

    link = await Link.open(target.login)
    await link.ask(SMALL)
    client, server = time.process_time(), target.process.cpu() if target.process else 0.0
    found = {"small": await repeated(lambda _: link.ask(SMALL), seconds)}
    number = found["small"]["times"]
    found["small"]["client_cpu_ms"] = 1000 * (time.process_time() - client) / number
    if target.process is not None:
        found["small"]["cpu_ms"] = 1000 * (target.process.cpu() - server) / number
    found["pipelined"] = await repeated(lambda _: link.ask(SMALL * PIPELINED, PIPELINED), seconds, PIPELINED)
    found["list"] = await repeated(lambda _: link.ask(LIST), seconds / 2)
    if target.edits:
        await link.ask(EDITS[1])
        found["edit"] = await repeated(lambda number: link.ask(EDITS[number % 2]), seconds)
    if target.commits:
        await change(1)
        found["commit"] = await repeated(change, seconds)
    await link.close()
    found["sessions"] = await repeated(session, seconds, spare=target.login.settle)
    links = [await Link.open(target.login) for _ in range(AT_ONCE)]
    found["at once"] = await together(links, seconds)
    for one in links:
        await one.close()
    return found


async def measure_commit(target: Target, seconds: float) -> Figures:
    """Only edits by candidate and commit: of a server that has either candidate or a writable running."""
    link = await Link.open(target.login)

    async def change(number: int) -> None:
        await link.ask(CHANGES[number % 2])
        await link.ask(COMMIT)

    await change(1)
    found = await repeated(change, seconds)
    await link.close()
    return found


async def ask(target: Target, request: bytes) -> None:
    """One request in a session of its own."""
    link = await Link.open(target.login)
    await link.ask(request)
    await link.close()


async def measure_idle(target: Target, number: int) -> Figures:
    """Sessions that do nothing: what each costs, and how long it takes to open them, ten at a time."""
    before, begun = target.memory(), time.perf_counter()
    gate = asyncio.Semaphore(10)

    async def one() -> Link:
        async with gate:
            return await Link.open(target.login)

    links = await asyncio.gather(*(one() for _ in range(number)))
    seconds = time.perf_counter() - begun
    await asyncio.sleep(min(1.0, number / 50))
    each = 1024 * (target.memory() - before) / number
    for link in links:
        link.drop()
    return {"sessions": number, "kib_each": each, "seconds": seconds, "before_mib": before}


async def measure_attack(target: Target, kind: str, seconds: float) -> Figures:
    """What two sessions feel, one that reads and one that writes, while somebody does that to the agent."""
    reads, writes = [await Link.open(target.login) for _ in range(2)]
    times: dict[str, list[float]] = {"get": [], "edit": []}
    login = target.login
    attacker = None
    if kind:
        attacker = await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPTS / "bench_attack.py"), kind, login.address, login.user, str(login.key),
            str(seconds), stdout=subprocess.PIPE,
        )  # fmt: skip
        # until it has started and logged in
        await asyncio.sleep(min(0.8, seconds))
    end = time.perf_counter() + seconds - min(0.8, seconds / 2)

    async def client(link: Link, name: str, requests: Sequence[bytes]) -> None:
        number = 0
        while (at := time.perf_counter()) < end or number < 3:
            await link.ask(requests[number % len(requests)])
            times[name].append(time.perf_counter() - at)
            number += 1
            await asyncio.sleep(PAUSE)

    def both() -> Awaitable[Any]:
        return asyncio.gather(client(reads, "get", (SMALL,)), client(writes, "edit", EDITS))

    assert target.process is not None
    before = target.process.rss_before()
    await both()
    done = 0
    if attacker is not None:
        told, _ = await attacker.communicate()
        done = json.loads(told)["done"]
    for link in (reads, writes):
        await link.close()
    return {
        **{f"{name}_{key}": 1000 * quantile(found, share) for name, found in times.items()
           for key, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0))},
        "growth_mib": target.process.peak() - before, "done": done, "times": sum(map(len, times.values())),
    }  # fmt: skip


def run(options: Options, work: Path, tell: Callable[[str], None]) -> Figures:
    """Everything; `tell` hears what is being done."""
    key = make_keys(work)
    absent = missing_yuma()
    report: Figures = {"machine": machine(), "stored": {}, "idle": {}, "absent": {}, "options": vars(options)}
    if absent:
        report["absent"]["yuma"] = absent
    if options.interop is None:
        report["absent"]["pypi"] = "SLP_INTEROP_PYTHON names no Python with netconf==2.1.0 and paramiko<4"
    for count in sorted({options.few, options.many}):
        tell(f"{count} reports: closing and signing them")
        folder, replies = make_folder(work, count), work / f"replies-{count}"
        let_in(folder, key)
        with agent(folder, key) as target:
            if (number := save_replies(target, replies)) != count:
                raise SystemExit(f"{number} reports came back, and {count} are stored")
        report["stored"][count] = found = {}
        for name, server in servers(options, work, key, folder, replies, absent is None).items():
            tell(f"{count} reports: {name}")
            with server as target:
                if name == "yuma, candidate":
                    found["yuma"]["commit"] = wait(measure_commit(target, options.seconds))
                    continue
                found[name] = wait(measure(target, options.seconds))
    tell("idle sessions")
    few = (work / f"device-{options.few}", work / f"replies-{options.few}")
    for name, server in servers(options, work, key, *few, absent is None, candidate=False).items():
        with server as target:
            if name == "agent":
                # all of them are one user's, who has fewer unless configured otherwise
                wait(ask(target, ROOM))
            report["idle"][name] = wait(measure_idle(target, min(options.idle, target.idle)))
    report["attacks"] = {}
    with agent(work / f"device-{options.many}", key) as target:
        for name, kind in ATTACKS.items():
            tell(f"under attack: {name}")
            report["attacks"][name] = wait(measure_attack(target, kind, options.attack_seconds))
    return report


def servers(
    options: Options, work: Path, key: Path, folder: Path, replies: Path, with_yuma: bool, *, candidate: bool = True
) -> dict[str, AbstractContextManager[Target]]:
    """All that are measured; none has started yet."""
    found: dict[str, AbstractContextManager[Target]] = {"agent": agent(folder, key)}
    found["ceiling"] = ceiling(work, key, replies)
    if options.interop is not None:
        found["pypi"] = pypi(options.interop, work, replies)
    if with_yuma:
        found["yuma"] = yuma(work, key, replies, candidate=False)
    if with_yuma and candidate:
        found["yuma, candidate"] = yuma(work, key, replies, candidate=True)
    return found
