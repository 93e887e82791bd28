"""`scripts/bench pull`: how fast an agent answers, and what it costs to run, with few and with many reports stored.

Each figure is taken against a real `slp-agent run` over loopback, on a state folder whose reports were really closed
and signed. Times are medians; the processor time of agent and client is told apart, for both share the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import json
import os
from pathlib import Path
import re
import secrets
import signal
from statistics import median
import subprocess
import sys
import time
from typing import Any

from bench_clients import SLPA, Netconf, Restconf, content, key_path, timed

from agent import usage

SCRIPTS = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
PASSWORD = secrets.token_urlsafe(12)
KEYS = "rum-reports-closed-keys"
BODY = f'<rum-reports-closed xmlns="{SLPA}"><rum-report-key>%s</rum-report-key>%s</rum-reports-closed>'
SMALL = "<rum-ack/>"
SMALL_PATH = "/privacy/hostname"
BATCH = 200
"""Bodies that a collector asks for in one request, as scripts/pull_rum.py does."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What is measured, and for how long."""

    entries: tuple[int, ...]
    repeats: int = 7
    idle_seconds: float = 20.0
    rate_seconds: float = 2.0
    interop: str | None = None


class Process:
    """A running server, looked at from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self._proc = Path(f"/proc/{process.pid}")

    def memory(self) -> dict[str, float]:
        """Resident, proportional and unique set size in MiB."""
        text = (self._proc / "smaps_rollup").read_text()
        size = {name: int(value) / 1024 for name, value in re.findall(r"^(\w+): +(\d+) kB", text, re.M)}
        return {"rss": size["Rss"], "pss": size["Pss"], "uss": size["Private_Clean"] + size["Private_Dirty"]}

    def _status(self, name: str) -> float:
        found = re.search(rf"^{name}:\s+(\d+) kB", (self._proc / "status").read_text(), re.M)
        return int(found[1]) / 1024 if found else 0.0

    def peak(self) -> float:
        """The highest resident memory so far, in MiB."""
        return self._status("VmHWM")

    def growth(self, call: Callable[[], Any]) -> float:
        """By how many MiB resident memory exceeded what it was before, at its highest during the call."""
        before = self.rss_before()
        call()
        return self.peak() - before

    def rss_before(self) -> float:
        """Resident memory in MiB; `peak` counts from now on."""
        before = self._status("VmRSS")
        (self._proc / "clear_refs").write_text("5")
        return before

    def cpu(self) -> float:
        """Seconds of processor time of all its threads that live."""
        tasks = (self._proc / "task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> None:
        self._process.wait(30)


def tool(*words: str | Path, given: str | None = None) -> str:
    """Run a command to its end, and return what it printed."""
    done = subprocess.run([str(word) for word in words], input=given, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{words[0]} ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


def make_folder(work: Path, count: int, *options: str | Path) -> Path:
    """A state folder with this many closed reports; `options` are further ones of `slp-agent init`."""
    folder = work / f"device-{count}"
    tool(BIN / "slp-agent", "init", "--state-dir", folder, "--user", "admin", "--password-stdin", *options,
         given=PASSWORD + "\n")  # fmt: skip
    tool(BIN / "slp-agent", "user", "add", "collector", "--group", "collector", "--password-stdin", "--state-dir",
         folder, given=PASSWORD + "\n")  # fmt: skip
    if count:
        made = int(tool(sys.executable, SCRIPTS / "bench_fill.py", folder, str(count)))
        if made != count:
            raise SystemExit(f"{made} reports were closed, and {count} were wanted")
    return folder


@dataclass(frozen=True)
class Running:
    """An agent that serves."""

    process: Process
    folder: Path
    netconf_address: str
    url: str
    ready_seconds: float

    def netconf(self, user: str = "admin") -> Netconf:
        return Netconf(self.netconf_address, user, PASSWORD)

    def restconf(self, user: str = "admin") -> Restconf:
        return Restconf(self.url, user, PASSWORD, self.folder / "ca.crt")


@contextmanager
def agent(folder: Path, level: str = "warning") -> Iterator[Running]:
    """A real agent process on a state folder; its log of this level lies beside it."""
    command = [BIN / "slp-agent", "run", "--state-dir", folder, "--netconf", "127.0.0.1:0", "--restconf",
               "127.0.0.1:0", "--log-level", level]  # fmt: skip
    # compiled modules are kept, as an installation has them, and none is left in the source tree
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder.parent / "pycache")
    begun = time.perf_counter()
    with (errors := folder.with_suffix(".log")).open("w") as log, subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
    ) as started:  # fmt: skip
        assert started.stdout is not None
        line = started.stdout.readline()
        took = time.perf_counter() - begun
        if not line:
            raise SystemExit(f"the agent did not start: {errors.read_text()[-800:]}")
        ready = json.loads(line)
        process = Process(started)
        try:
            yield Running(process, folder, ready["netconf"], ready["restconf"], took)
        finally:
            process.signal(signal.SIGTERM)
            process.wait()


def measure_idle(folder: Path, options: Options) -> Figures:
    """Start, and do nothing."""
    starts = []
    for _ in range(min(options.repeats, 4) - 1):
        with agent(folder) as running:
            starts.append(running.ready_seconds)
    with agent(folder) as running:
        starts.append(running.ready_seconds)
        time.sleep(1)
        memory, before, begun = running.process.memory(), running.process.cpu(), time.perf_counter()
        time.sleep(options.idle_seconds)
        share = (running.process.cpu() - before) / (time.perf_counter() - begun)
    return {"ready_s": median(starts), "cpu_percent": 100 * share, **memory}


def repeated(process: Process, call: Callable[[], list[bytes]], repeats: int) -> tuple[Figures, list[bytes]]:
    """The same large reply again and again: time, processor time of both sides, memory; and the last reply."""
    times, agents, clients = [], [], []
    reply: list[bytes] = []

    def once() -> None:
        nonlocal reply
        before = process.cpu()
        seconds, spent, reply = timed(call)
        times.append(seconds)
        clients.append(spent)
        agents.append(process.cpu() - before)

    growths = [process.growth(once) for _ in range(repeats)]
    return {
        "ms": 1000 * median(times),
        "agent_cpu_ms": 1000 * median(agents),
        "client_cpu_ms": 1000 * median(clients),
        "bytes": sum(map(len, reply)),
        "growth_mib": max(growths),
    }, reply


def per_call(process: Process, call: Callable[[], Any], number: int) -> Figures:
    """A small request, one at a time: milliseconds, and the agent's processor time."""
    call()
    before = process.cpu()
    times = [timed(call)[0] for _ in range(number)]
    return {"ms": 1000 * median(times), "agent_cpu_ms": 1000 * (process.cpu() - before) / number}


def measure_reads(folder: Path, count: int, options: Options) -> tuple[Figures, bytes]:
    """The list, one body, small gets, over both protocols; and the list as NETCONF gave it."""
    found: Figures = {}
    with agent(folder) as running, running.netconf() as netconf, running.restconf() as restconf:
        # logging in costs memory for a moment (scrypt): it is not to count for the first reply
        netconf.get(SMALL)
        restconf.get(SMALL_PATH)
        process = running.process
        found["list netconf"], reply = repeated(process, lambda: netconf.get(f"<{KEYS}/>"), options.repeats)
        document = content(reply)
        keys = re.findall(r"<rum-report-key>([^<]*)</rum-report-key>", document.decode())
        found["list restconf"], reply = repeated(process, lambda: restconf.get(f"/{KEYS}"), options.repeats)
        entries = json.loads(b"".join(reply))[f"cisco-smart-license:{KEYS}"]
        if len(keys) != count or len(entries) != count:
            raise SystemExit(f"{len(keys)} and {len(entries)} entries came back, and {count} are stored")
        key = keys[count // 2]
        found["body netconf"] = per_call(process, lambda: netconf.get(BODY % (key, "")), 300)
        found["body restconf"] = per_call(process, lambda: restconf.get(key_path(key)), 300)
        found["small netconf"] = {"per_s": netconf.rate(SMALL, options.rate_seconds)}
        found["small restconf"] = {"per_s": restconf.rate(SMALL_PATH, options.rate_seconds)}
    return found, document


def measure_pull(folder: Path, count: int) -> Figures:
    """What a collector does: all keys, then all documents, 200 a request; the first pull marks each as delivered."""

    def pull() -> int:
        reply = content(netconf.get(f"<{KEYS}><rum-report-key/></{KEYS}>")).decode()
        keys = re.findall(r"<rum-report-key>([^<]*)</rum-report-key>", reply)
        number = 0
        for at in range(0, len(keys), BATCH):
            wanted = "".join(BODY % (key, "<report-id/><document/>") for key in keys[at : at + BATCH])
            number += content(netconf.get(wanted)).count(b"<document>")
        return number

    figures = {}
    with agent(folder) as running, running.netconf("collector") as netconf:
        netconf.get(SMALL)
        for name in ("first", "again"):
            seconds, _, number = timed(pull)
            if number != count:
                raise SystemExit(f"{number} documents came back, and {count} are stored")
            figures[f"{name}_per_s"] = number / seconds
    return figures


def measure_usage(folder: Path, options: Options) -> Figures:
    """Durable changes of a licence's count by one application."""
    with agent(folder), usage.connect(folder / "agent.sock") as recorder:
        recorder.record("voice-session", 1)
        number, begun = 0, time.perf_counter()
        while (spent := time.perf_counter() - begun) < options.rate_seconds:
            number += 1
            recorder.record("voice-session", 1 + number % 7)
    return {"per_s": number / spent}


def measure_peer(python: str, work: Path, count: int, document: bytes, options: Options) -> Figures:
    """PyPI netconf with the same list in memory, asked in the same way."""
    reply, host_key = work / "reply.xml", work / "peer_rsa"
    reply.write_bytes(document)
    if not host_key.exists():
        import asyncssh

        asyncssh.generate_private_key("ssh-rsa").write_private_key(str(host_key))
    command = [python, str(SCRIPTS / "bench_peer_netconf.py"), str(reply), str(host_key)]
    environment = os.environ | {"BENCH_USER": "admin", "BENCH_PASSWORD": PASSWORD}
    found: Figures = {}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as started:
        assert started.stdout is not None
        assert started.stdin is not None
        line = started.stdout.readline()
        if not line:
            raise SystemExit(f"the peer did not start: {started.communicate()[1][-800:]}")
        process = Process(started)
        with Netconf(f"127.0.0.1:{line.strip()}", "admin", PASSWORD) as netconf:
            netconf.get("<nothing/>")
            found["list netconf"], parts = repeated(process, lambda: netconf.get(f"<{KEYS}/>"), options.repeats)
            if (entries := content(parts).count(b"rum-report-key>") // 2) != count:
                raise SystemExit(f"the peer sent {entries} entries of {count}")
            found["small netconf"] = {"per_s": netconf.rate("<nothing/>", options.rate_seconds)}
            found["rss"] = process.memory()["rss"]
        started.stdin.close()
        process.wait()
    return found


def run(options: Options, work: Path, tell: Callable[[str], None]) -> Figures:
    """Everything, smallest first. `tell` hears what is being done."""
    report: Figures = {"machine": machine(), "entries": {}}
    for count in options.entries:
        tell(f"{count} reports: closing and signing them")
        folder = make_folder(work, count)
        tell(f"{count} reports: reading")
        figures, document = measure_reads(folder, count, options)
        if options.interop is not None:
            tell(f"{count} reports: PyPI netconf")
            figures["peer"] = measure_peer(options.interop, work, count, document, options)
        tell(f"{count} reports: pulling all documents")
        figures["pull netconf"] = measure_pull(folder, count)
        report["entries"][count] = figures
    tell("idle")
    report["idle"] = {}
    for count in (0, options.entries[-1]):
        folder = work / f"device-{count}" if count else make_folder(work, 0)
        report["idle"][count] = measure_idle(folder, options)
    tell("recording usage")
    report["usage"] = measure_usage(work / "device-0", options)
    return report


def machine() -> dict[str, Any]:
    """What it was run on."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return {
        "processor": model[1] if model else os.uname().machine,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "kernel": os.uname().release,
        "load": os.getloadavg()[0],
    }
