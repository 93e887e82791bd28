"""`scripts/bench licensing`: what many stored reports cost, and what licensing itself does in a second.

Two real `slp-agent run` processes, one with a single report (so that there is one to pull) and one with many, are asked
in turn, a few requests each, so that whatever else the machine does meets both. Times are medians.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
import re
from statistics import median
import time
from typing import Any

from bench_clients import SLPA, Netconf, timed
from bench_pull import BODY, KEYS, Figures, Running, agent, content, machine, make_folder

from agent import usage
from agent.formats.signing import LocalSigner
from agent.licensing import deadlines
from agent.licensing.commands import Command, RecordUsage, Start, Tick
from agent.licensing.engine import Context, decide, evolve
from agent.licensing.events import ReportClosed
from agent.licensing.ports import UnitOfWork
from agent.licensing.profile import Licence, Profile, built_in
from agent.licensing.state import State
from agent.store.memory import MemoryStore
from agent.store.sqlite import SqliteStore

LICENCE = "voice-session"
OURS = "".join(f'<{name} xmlns="{SLPA}"/>' for name in ("account", "report-counts", "report-times", "product"))
STATUS = f"<utility/><transport/><privacy/><custom-id/><policy/><trust-code/><rum-ack/>{OURS}"
"""What `show license status` asks for."""

CHECKED = re.compile(r"(\d+) stored reports were checked in ([\d.]+) s")
PRODUCT = """
[product]
pid = "MANY"
vid = "V01"
hostname = "many"
software-tag = "regid.2026-11.example.MANY,1.0_1"
software-version = "17.9.1"
"""
ENTRY = """
[[license]]
name = "l-{0}"
feature-name = "L {0}"
description = "Licence {0}"
entitlement-tag = "regid.2026-11.example.L{0},1.0_{0}"
"""
DAY = 86_400
BLOCK = 10
"""Requests to one agent before it is the other's turn."""


@dataclass(frozen=True)
class Options:
    """How many reports are stored, licences closed at once, days lived in the kernel; and how often each is done."""

    reports: int = 100_000
    licences: int = 1000
    days: int = 365
    starts: int = 7
    calls: int = 300


class Side:
    """One of the two agents, with a session of each kind."""

    def __init__(self, running: Running, undo: ExitStack) -> None:
        self.running = running
        self.netconf: Netconf = undo.enter_context(running.netconf("collector"))
        self.recorder = undo.enter_context(usage.connect(running.folder / "agent.sock"))
        keys = re.findall(rb"<rum-report-key>([^<]*)<", content(self.netconf.get(f"<{KEYS}><report-id/></{KEYS}>")))
        self.body = BODY % (keys[len(keys) // 2].decode(), "<report-id/><document/>")
        self._count = 0

    def change(self) -> None:
        self._count += 1
        self.recorder.record(LICENCE, 1 + self._count % 7)

    def status(self) -> None:
        self.netconf.get(STATUS)

    def pull(self) -> None:
        if b"<document>" not in b"".join(self.netconf.get(self.body)):
            raise SystemExit("the report came without its document")

    def checked(self) -> float:
        """Wait for the end of the check of the stored reports; how long it took, in seconds."""
        log = self.running.folder.with_suffix(".log")
        while (found := CHECKED.search(log.read_text())) is None:
            time.sleep(0.05)
        return float(found[2])


def in_turn(few: Any, many: Any, call: Callable[[Any], Any], number: int, block: int = BLOCK) -> Figures:
    """`number` calls for each of the two, and the ratio of the medians."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(-(-number // block)):
        order = ((few, times[0]), (many, times[1]))
        for side, found in order if turn % 2 else reversed(order):
            found += [timed(lambda side=side: call(side))[0] for _ in range(block)]
    return compared(*(1000 * median(each) for each in times))


def compared(few: float, many: float) -> Figures:
    return {"few": few, "many": many, "ratio": many / few}


def measure_starts(folders: Sequence[Path], options: Options) -> Figures:
    """From the command to the ready line, in milliseconds."""
    found: dict[Path, list[float]] = {folder: [] for folder in folders}
    for turn in range(options.starts + 1):
        for folder in folders if turn % 2 else reversed(folders):
            with agent(folder) as running:
                found[folder].append(1000 * running.ready_seconds)
    # the first start of each compiles modules and reads files that no later one has to
    return compared(*(median(each[1:]) for each in found.values()))


def measure_requests(folders: Sequence[Path], options: Options) -> dict[str, Figures]:
    """Memory, and three requests: while the many are being checked, and afterwards."""
    found: dict[str, Figures] = {}
    with ExitStack() as undo:
        few, many = (Side(undo.enter_context(agent(folder, "info")), undo) for folder in folders)
        requests = {"usage change": Side.change, "get of status": Side.status, "pull of one": Side.pull}
        for name, call in requests.items():
            number = min(options.calls, 100)
            found[f"{name} while checking"] = in_turn(few, many, call, number)
        few.checked()
        took = many.checked()
        for name, call in requests.items():
            found[name] = in_turn(few, many, call, options.calls)
        sides = (few.running.process, many.running.process)
        found["RSS"] = compared(*(each.memory()["rss"] for each in sides))
        found["peak RSS"] = compared(*(each.peak() for each in sides))
    found["check"] = {"seconds": took}
    return found


def measure_rates(folder: Path, options: Options) -> Figures:
    """Durable changes a second: by one application, one after the other; and a thousand in one transaction."""
    with agent(folder) as running, usage.connect(running.folder / "agent.sock") as recorder:
        recorder.record(LICENCE, 1)
        seconds, _, _ = timed(lambda: [recorder.record(LICENCE, 2 + n % 7) for n in range(options.calls)])
    database = folder.with_name("batch.db")
    SqliteStore.create(database, bytes(32))
    store = SqliteStore(database, bytes(32))
    device = Device(built_in().with_serial("9BENCH"))
    device.do(Start("1"))

    def batch() -> None:
        unit = store.begin()
        for number in range(1000):
            device.do(RecordUsage(LICENCE, 1 + number % 7), unit)
        unit.commit()

    times = [timed(batch)[0] for _ in range(max(options.calls // 30, 1))]
    store.close()
    return {"one_by_one": options.calls / seconds, "batched": 1000 / median(times)}


def measure_close(work: Path, options: Options) -> Figures:
    """One close-reports while so many licences are in use: seconds until it is durable and answered."""
    profile = work / "many.toml"
    profile.write_text(PRODUCT + "".join(ENTRY.format(number) for number in range(options.licences)))
    (work / "close").mkdir()
    folder = make_folder(work / "close", 0, "--profile", profile)
    times = []
    with agent(folder), usage.Client.local(folder / "agent.sock") as client:
        recorder = usage.Recorder(client)
        for number in range(options.licences):
            recorder.record(f"l-{number}", 1)
        for _ in range(3):
            time.sleep(1.1)  # a report that has not measured a whole second stays open
            seconds, _, answer = timed(lambda: client.request("POST", "/restconf/operations/slp-agent:close-reports"))
            closed = int(answer.json["slp-agent:output"]["closed-count"])
            if closed != options.licences:
                raise SystemExit(f"{closed} reports were closed, and {options.licences} licences are in use")
            times.append(seconds)
    return {"licences": options.licences, "ms": 1000 * median(times)}


class Device:
    """The kernel alone: decisions and states, no store but where a unit of work is given."""

    def __init__(self, profile: Profile) -> None:
        self.context = Context(profile, LocalSigner.generate(), MemoryStore().reports, lab=False)
        self.state = State()
        self.now = 1_800_000_000
        self.events = 0
        self.reports = 0

    def do(self, command: Command, unit: UnitOfWork | None = None) -> None:
        made = decide(self.state, command, self.now, self.context).events
        self.state = evolve(self.state, made)
        self.events += len(made)
        self.reports += sum(isinstance(event, ReportClosed) for event in made)
        if unit is not None:
            unit.append(made, {})


def measure_year(options: Options) -> Figures:
    """Twenty licences in use, each changing once a day; samples and reports come by the kernel's own deadlines."""
    some = Licence("l", "L", "A licence", "")
    licences = [
        replace(some, name=f"l-{number}", entitlement_tag=f"regid.2026-11.example.L{number},1.0_{number}")
        for number in range(20)
    ]
    profile = replace(built_in().with_serial("9BENCH"), licences={each.entitlement_tag: each for each in licences})
    device = Device(profile)

    def live() -> None:
        device.do(Start("1"))
        end = device.now + options.days * DAY
        changes = _changes(device.now, end, [each.name for each in licences])
        at, change = next(changes)
        while True:
            due = deadlines.next_deadline(device.state)
            device.now = int(min(due if due is not None else end, at))
            if device.now >= end:
                return
            if device.now == at:
                device.do(change)
                at, change = next(changes, (end, change))
            else:
                device.do(Tick())

    seconds, processor, _ = timed(live)
    return {"days": options.days, "seconds": seconds, "cpu_seconds": processor, "events": device.events,
            "reports": device.reports}  # fmt: skip


def _changes(start: int, end: int, names: Sequence[str]) -> Iterable[tuple[int, RecordUsage]]:
    gap = DAY // len(names)
    return iter(
        [
            (at, RecordUsage(names[number % len(names)], 1 + number // len(names) % 3))
            for number, at in enumerate(range(start + 60, end, gap))
        ]
    )


def run(options: Options, work: Path, tell: Callable[[str], None]) -> Figures:
    """Everything. `tell` hears what is being done."""
    tell(f"closing and signing {options.reports} reports")
    folders = [make_folder(work, count) for count in (1, options.reports)]
    tell("starting")
    ratios = {"start": measure_starts(folders, options)}
    tell("asking")
    ratios |= measure_requests(folders, options)
    check = ratios.pop("check")
    tell("recording usage")
    rates = measure_rates(folders[0], options)
    tell(f"closing the reports of {options.licences} licences")
    close = measure_close(work, options)
    tell(f"{options.days} days in the kernel")
    year = measure_year(options)
    return {"machine": machine(), "reports": options.reports, "ratios": ratios, "check": check, "rates": rates,
            "close": close, "year": year}  # fmt: skip
