"""`scripts/bench notifications`: what subscribers cost, and what the log of events costs those who cause them.

Real `slp-agent run` processes. Subscribers share ten SSH connections in this process and only count what comes, so the
agent's processor time is the figure to look at: both share the machine. The log is measured by two agents, one without
it, that are asked in turn. Times are medians.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
import threading
import time
from typing import Any

import asyncssh
from bench_clients import CSL, HELLO, SLPA, TIMEOUT
from bench_licensing import LICENCE, in_turn
from bench_pull import PASSWORD, Figures, Running, agent, machine, make_folder

from agent import usage

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
SUBSCRIBE = (
    '<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"><stream>licensing</stream>'
    "</create-subscription>"
)
NO_LOG = (
    f'<edit-config><target><running/></target><config><licensing xmlns="{CSL}"><config><event-log xmlns="{SLPA}">'
    "<max-entries>0</max-entries></event-log></config></licensing></config></edit-config>"
)
TOLD = b"</usage-changed>"
ANSWERED = b"</rpc-reply>"
CONNECTIONS = 10


@dataclass(frozen=True)
class Options:
    """How many subscribers, changes they are told of, seconds of silence, and changes with and without the log."""

    subscribers: int = 100
    changes: int = 200
    seconds: float = 10.0
    calls: int = 1000


class Listener(asyncssh.SSHClientSession[bytes]):
    """Counts the ends of answers and of one event in what comes; nothing else is looked at."""

    def __init__(self) -> None:
        self.told = self.answered = 0
        self._tail = b""
        self._came = asyncio.Event()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:  # noqa: ARG002 - asyncssh's signature
        seen = self._tail + data
        self.told += seen.count(TOLD)
        self.answered += seen.count(ANSWERED)
        # of an end that is cut in two, too short for either to be counted again
        keep = max(seen.rfind(b"<"), 0)
        self._tail = b"" if b">" in seen[keep:] else seen[keep:]
        self._came.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until it is so."""
        while not reached():
            self._came.clear()
            await asyncio.wait_for(self._came.wait(), TIMEOUT)


class Listeners:
    """So many sessions, on an event loop in a thread of its own."""

    def __init__(self, address: str, number: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._sessions: list[tuple[asyncssh.SSHClientChannel[bytes], Listener]] = []
        self._connections: list[asyncssh.SSHClientConnection] = []
        self._do(self._open(address, number))

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT)

    async def _open(self, address: str, number: int) -> None:
        host, _, port = address.rpartition(":")
        for place in range(number):
            if place < CONNECTIONS:
                self._connections.append(
                    await asyncssh.connect(
                        host.strip("[]"), int(port), username="admin", password=PASSWORD, known_hosts=None,
                        client_keys=None, agent_path=None, config=None, preferred_auth="password",
                        encryption_algs=["aes128-gcm@openssh.com", "aes128-ctr"], compression_algs=["none"],
                    )
                )  # fmt: skip
            connection = self._connections[place % CONNECTIONS]
            channel, session = await connection.create_session(Listener, subsystem="netconf", encoding=None)
            channel.write(HELLO)
            self._sessions.append((channel, session))

    def call(self, operation: str) -> None:
        """Ask the same of each session, and wait for all answers."""
        message = f'<rpc xmlns="{NC}" message-id="1">{operation}</rpc>'.encode()

        async def ask() -> None:
            for channel, session in self._sessions:
                session.answered = 0
                channel.write(b"\n#%d\n%b\n##\n" % (len(message), message))
            for _, session in self._sessions:
                await session.until(lambda session=session: session.answered == 1)  # type: ignore[misc]

        self._do(ask())

    def wait(self, told: int) -> None:
        """Until each has been told so often, since the last call of this."""

        async def come() -> None:
            for _, session in self._sessions:
                await session.until(lambda session=session: session.told >= told)  # type: ignore[misc]
                if session.told > told:
                    raise SystemExit(f"{session.told} notifications came to one, and {told} changes were made")
                session.told = 0

        self._do(come())

    def close(self) -> None:
        async def end() -> None:
            for connection in self._connections:
                connection.close()
            for connection in self._connections:
                await connection.wait_closed()

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def listeners(running: Running, number: int) -> Iterator[Listeners]:
    opened = Listeners(running.netconf_address, number)
    try:
        yield opened
    finally:
        opened.close()


def measure_events(folder: Path, subscribers: int, options: Options) -> Figures:
    """Durable changes one after the other while so many follow the licensing stream."""
    with agent(folder) as running, usage.connect(folder / "agent.sock") as recorder, ExitStack() as undo:
        following = undo.enter_context(listeners(running, subscribers))
        following.call(SUBSCRIBE)
        # logins cost memory and time for a moment, and the first change sets up what later ones find
        recorder.record(LICENCE, 9)
        following.wait(1)
        before, begun = running.process.cpu(), time.perf_counter()
        for number in range(options.changes):
            recorder.record(LICENCE, 1 + number % 7)
        answered = time.perf_counter()
        following.wait(options.changes)
        ended = time.perf_counter()
        spent = running.process.cpu() - before
    return {
        "changes_per_s": options.changes / (answered - begun),
        "told_per_s": subscribers * options.changes / (ended - begun),
        "behind_ms": 1000 * (ended - answered),
        "cpu_ms": 1000 * spent / options.changes,
    }


def measure_silence(folder: Path, options: Options) -> Figures:
    """Sessions that do nothing, with a subscription and without one: processor time and memory."""
    found: Figures = {}
    for name, operation in (("without", "<get><filter/></get>"), ("with", SUBSCRIBE)):
        with agent(folder) as running, ExitStack() as undo:
            # logging in takes memory once (scrypt): that is not to count
            undo.enter_context(listeners(running, 1)).call(operation)
            before = running.process.memory()["uss"]
            undo.enter_context(listeners(running, options.subscribers)).call(operation)
            time.sleep(1)
            cpu, begun = running.process.cpu(), time.perf_counter()
            time.sleep(options.seconds)
            share = (running.process.cpu() - cpu) / (time.perf_counter() - begun)
            grown = running.process.memory()["uss"] - before
            found[name] = {"cpu_percent": 100 * share, "kib_each": 1024 * grown / options.subscribers}
    return found


def measure_log(folders: tuple[Path, Path], options: Options) -> Figures:
    """One durable usage change of an agent with a log of events, and of one that keeps none."""
    with ExitStack() as undo:
        sides = []
        for folder, operation in zip(folders, ("<get><filter/></get>", NO_LOG), strict=True):
            running = undo.enter_context(agent(folder))
            undo.enter_context(listeners(running, 1)).call(operation)
            sides.append((running.process, undo.enter_context(usage.connect(folder / "agent.sock"))))
        numbers = iter(range(1, 1 << 62))
        before = [process.cpu() for process, _ in sides]
        times = in_turn(*sides, lambda side: side[1].record(LICENCE, 1 + next(numbers) % 7), options.calls)
        spent = [process.cpu() - earlier for (process, _), earlier in zip(sides, before, strict=True)]
        calls = -(-options.calls // 10) * 10
    return {
        "with_ms": times["few"],
        "without_ms": times["many"],
        "with_cpu_ms": 1000 * spent[0] / calls,
        "without_cpu_ms": 1000 * spent[1] / calls,
    }


def run(options: Options, work: Path, tell: Callable[[str], None]) -> Figures:
    """Everything. `tell` hears what is being done."""
    folders = []
    for name in ("log", "no-log"):
        (work / name).mkdir()
        folders.append(make_folder(work / name, 0))
    report: Figures = {"machine": machine(), "changes": options.changes, "events": {}}
    for number in sorted({0, 1, min(10, options.subscribers), options.subscribers}):
        tell(f"{number} subscribers")
        report["events"][number] = measure_events(folders[0], number, options)
    tell("silence")
    report["silence"] = measure_silence(folders[0], options)
    tell("the log")
    report["log"] = measure_log((folders[0], folders[1]), options)
    return report
