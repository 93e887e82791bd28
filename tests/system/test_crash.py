"""SIGKILL at random moments of the loop, each time followed by a restart: what was answered is there, and nothing else.

Several clients work at once: three applications record usage, an administrator edits the configuration, a collector
closes, pulls, has reports acknowledged by a real authority, and installs what it returned. Each notes when it asked
and what it was answered; a request under way when the agent dies may have taken place or not, all others have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
import http.client
from pathlib import Path
import random
import threading
import time
from typing import Any, NamedTuple

import pytest

from agent import usage
from tests.system.kit import (
    CSL,
    NC,
    SLPA,
    STATE_URI,
    Authority,
    Device,
    TransportError,
    documents,
    invoke,
    payload,
    script,
)

LICENCES = ("network-advantage", "dna-advantage", "voice-session")
GONE = (OSError, EOFError, TransportError, http.client.HTTPException, usage.UsageUnavailable)
"""What a client meets when the agent dies."""

EDIT = (
    f"""<config xmlns="{NC}"><licensing xmlns="{CSL}"><config><custom-id>%s</custom-id></config></licensing></config>"""
)


class Write(NamedTuple):
    """A value that a client asked for: between which moments, and whether it was answered."""

    begun: float
    ended: float
    value: Any
    answered: bool


@dataclass
class Outage:
    start: int
    end: int


@dataclass
class Book:
    """What the clients know. Each list belongs to one thread while the agent runs."""

    counts: dict[str, list[Write]] = field(default_factory=lambda: {name: [] for name in LICENCES})
    custom_ids: list[Write] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    documents: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    """Keys in acknowledgements whose installation was answered."""
    installing: set[str] = field(default_factory=set)
    """Keys in the acknowledgement that is being installed."""
    outages: list[Outage] = field(default_factory=list)
    deaths: list[Outage] = field(default_factory=list)
    """From the last answer before each kill to the agent's serving again: what lies within may be an outage."""

    def note(self, pulled: dict[str, str]) -> None:
        """No report has other bytes than it had before."""
        for key, document in pulled.items():
            assert self.documents.setdefault(key, document) == document, f"{key} has changed"


class Loop:
    """The agent, the authority and the clients, from one kill to the next."""

    def __init__(self, device: Device, authority: Authority, seed: int, work: Path) -> None:
        self.device, self.authority, self.work = device, authority, work
        self.random = random.Random(seed)
        self.book = Book()
        self.tags: dict[str, str] = {}
        self.udi = ""

    # One life of the agent

    def life(self, seconds: float) -> None:
        """Work until the agent is killed, `seconds` after all clients have logged in."""
        choose = self.random.randrange
        work = [threading.Thread(target=self.record, args=(name, choose(2**32))) for name in LICENCES]
        with (
            suppress(TransportError),
            self.device.ncclient("admin") as editor,
            self.device.ncclient("collector") as collector,
        ):
            # logged in before: ncclient waits out its time when the peer dies while it says hello
            work += [
                threading.Thread(target=self.edit, args=(editor,)),
                threading.Timer(seconds, self.device.kill),
            ]
            for thread in work:
                thread.start()
            try:
                self.collect(collector)
            finally:
                for thread in work:
                    thread.join(20)
        assert not any(thread.is_alive() for thread in work)

    def record(self, name: str, seed: int) -> None:
        choose = random.Random(seed)
        recorder = self.device.recorder()
        with recorder:
            while True:
                count = choose.choice((0, 1, 2, 3, 50, 700))
                begun = time.time()
                try:
                    recorder.record(name, count)
                except GONE:
                    self.book.counts[name].append(Write(begun, time.time(), count, False))
                    return
                self.book.counts[name].append(Write(begun, time.time(), count, True))
                time.sleep(choose.uniform(0.0, 0.15))

    def edit(self, session: Any) -> None:
        number = len(self.book.custom_ids)
        while True:
            number += 1
            begun = time.time()
            try:
                session.edit_config(target="running", config=EDIT % f"n{number}")
            except GONE:
                self.book.custom_ids.append(Write(begun, time.time(), f"n{number}", False))
                return
            self.book.custom_ids.append(Write(begun, time.time(), f"n{number}", True))
            time.sleep(0.05)

    def collect(self, session: Any) -> None:
        """What a collector does, in a random order, until the agent is gone."""
        with suppress(*GONE):
            while True:
                match self.random.randrange(4):
                    case 0:
                        reply = invoke(session, f'<close-reports xmlns="{SLPA}"/>')
                        self.book.closed |= {each.text for each in reply.iter(f"{{{SLPA}}}rum-report-key")}
                    case 1 | 2:
                        self.book.note(documents(session))
                    case 3:
                        self.acknowledge(session)

    def acknowledge(self, session: Any) -> None:
        """Pull, submit, install; what is named is gone from the device as a whole or not at all."""
        pulled = documents(session)
        self.book.note(pulled)
        if not pulled:
            return
        status, answer = self.authority.submit(list(pulled.values()))
        assert status == 200, answer
        self.book.installing = set(pulled)
        content = answer.decode().replace("&", "&amp;").replace("<", "&lt;")
        reply = invoke(session, f'<import-code xmlns="{SLPA}"><content>{content}</content></import-code>')
        assert reply.findtext(f"{{{SLPA}}}return-code") == "success"
        self.book.acknowledged |= self.book.installing
        self.book.installing = set()

    # After the restart

    def check(self, killed: float) -> None:
        """What was answered is there."""
        book = self.book
        # before `counts` takes what holds now
        book.deaths.append(Outage(int(self.latest(killed)), int(time.time()) + 1))
        with self.device.http("admin") as caller:
            counts = {entry["short-name"]: entry["count"] for entry in caller.get(f"{STATE_URI}/usage")}
            keys = {entry["rum-report-key"] for entry in caller.get(f"{STATE_URI}/rum-reports-closed-keys") or ()}
            outage = caller.get(f"{STATE_URI}/slp-agent:last-outage")
            purged = int(caller.get(f"{STATE_URI}/slp-agent:report-counts")["purged"])
            custom_id = caller.get("/data/cisco-smart-license:licensing/config/custom-id")
        for name in LICENCES:
            assert counts[name] in possible(book.counts[name], 0), name
            # from here on it is known what holds
            book.counts[name].append(Write(killed, killed, counts[name], True))
        if book.custom_ids:
            assert custom_id in possible(book.custom_ids, None)
            book.custom_ids.append(Write(killed, killed, custom_id, True))
        gone = book.acknowledged
        if book.installing and not book.installing & keys:
            gone |= book.installing
        assert not book.installing & keys or book.installing <= keys, "an acknowledgement took place by halves"
        book.installing = set()
        assert book.closed | book.documents.keys() <= keys | gone
        assert not keys & gone
        assert purged == len(gone)
        with self.device.ncclient("admin") as session:
            pulled = documents(session)
        assert pulled.keys() == keys
        book.note(pulled)
        self.check_outage(outage, killed)

    def check_outage(self, told: dict[str, str] | None, killed: float) -> None:
        """It begins at the last durable moment: not before what was answered, not after the kill."""
        if told is None:
            return
        outage = Outage(*(int(datetime.fromisoformat(told[name]).timestamp()) for name in ("start-time", "end-time")))
        if self.book.outages and self.book.outages[-1] == outage:
            return
        assert told["reason"] == "crash"
        assert int(self.latest(killed)) <= outage.start < outage.end <= time.time()
        assert killed - 1 < outage.end
        self.book.outages.append(outage)

    def latest(self, killed: float) -> float:
        """When the last change was asked for that was answered before this."""
        answered = [one.begun for writes in self.book.counts.values() for one in changes(writes) if one.answered]
        return max((moment for moment in answered if moment < killed), default=0)


def changes(writes: list[Write]) -> Iterator[Write]:
    """Those that stated another count than the one before: the others need not be made durable."""
    before: Any = 0
    for one in writes:
        if one.value != before:
            yield one
        before = one.value


def possible(writes: list[Write], first: Any) -> set[Any]:
    """What may hold after these, `first` before them: the last that was answered, or what was asked for since."""
    held = {first}
    for one in writes:
        held = {one.value} if one.answered else held | {one.value}
    return held


def allowed(writes: list[Write], second: int) -> set[int]:
    """The counts that may be true of the time from `second` to the next, which the last change up to it decides."""
    held = {0}
    for one in writes:
        if int(one.begun) > second:
            break
        certain = one.answered and int(one.ended) <= second
        held = {one.value} if certain else held | {one.value}
    return held


def verify_seconds(book: Book, reports: list[Any], tags: dict[str, str], until: int) -> tuple[int, float]:
    """Every second of every licence is stated once and rightly, or lies in a recorded outage.

    Returns the licence-seconds, and the part of the seconds of which the clients know exactly what holds.
    """
    outside = {second for outage in book.outages for second in range(outage.start, outage.end)}
    total, known = 0, []
    for name, writes in book.counts.items():
        stated: dict[int, int] = {}
        for report in reports:
            if report["meta"]["entitlement_tag"] == tags[name]:
                for row in report["measurements"]:
                    for second in range(row["start_time"], row["end_time"]):
                        assert second not in stated, f"{name}: {second} is counted twice"
                        stated[second] = int(row["value"]["value"])
        assert not stated.keys() & outside, f"{name}: counted while the agent was dead"
        for second in range(int(writes[0].begun), until):
            if second not in outside:
                possible_counts = allowed(writes, second)
                assert stated.get(second, 0) in possible_counts, f"{name}: {second}"
                known.append(len(possible_counts) == 1)
        assert min(stated) >= int(writes[0].begun)
        assert max(stated) <= until
        total += sum(stated.values())
    return total, sum(known) / len(known)


def run(folder: Path, seed: int, kills: int) -> None:
    print(f"SLP_SEED={seed}, {kills} kills")
    authority = Authority.make(folder / "a")
    device = Device.make(folder / "d", "--trust-anchor", authority.anchor)
    loop = Loop(device, authority, seed, folder)
    book = loop.book
    with ExitStack() as stack:
        stack.enter_context(authority.running())
        device.start()
        try:
            shown = device.show("usage")["usage"]
            loop.tags = {each["short-name"]: each["entitlement-tag"] for each in shown}
            udi = device.show("udi")["udi"]
            begun = time.time()
            device.closed(network_advantage=1)
            book.counts["network-advantage"].append(Write(begun, time.time(), 1, True))
            first_contact(loop, f"PID:{udi['pid']},SN:{udi['sn']}")
            for _ in range(kills):
                loop.life(loop.random.uniform(0.05, 1.3))
                killed = time.time()
                if loop.random.random() < 0.3:
                    device.start_and_kill(loop.random.uniform(0, 1.2))
                device.start()
                loop.check(killed)
            finish(loop)
        finally:
            device.kill()
    assert "Traceback" not in device.log.read_text(), device.log.read_text()


def first_contact(loop: Loop, udi: str) -> None:
    """The operator approves the device by its first report."""
    with loop.device.ncclient("collector") as session:
        pulled = documents(session)
    loop.book.note(pulled)
    assert loop.authority.submit(list(pulled.values()))[0] == 202
    loop.authority.approve(udi)


def finish(loop: Loop) -> None:
    """All use ends; then the documents of the whole time are one unbroken, rightly signed chain that adds up."""
    device, book = loop.device, loop.book
    with device.recorder() as recorder:
        # an outage is stated by the next report that lasts a second, so each licence makes one
        for count in (4, 0):
            for name in LICENCES:
                begun = time.time()
                recorder.record(name, count)
                book.counts[name].append(Write(begun, time.time(), count, True))
            second = int(time.time())
            if count:
                certain = second
            while time.time() < second + 1:
                time.sleep(0.05)
    until = int(time.time())
    with device.ncclient("collector") as session:
        last = documents(session)
        book.note(last)
        if last:
            loop.acknowledge(session)
            assert documents(session) == {}
    reports = sorted(
        (payload(each) for each in book.documents.values()), key=lambda one: one["meta"]["chain"]["sequence"]
    )
    assert [one["meta"]["chain"]["sequence"] for one in reports] == list(range(1, len(reports) + 1))
    ids = [one["asset_identification"]["report_id"] for one in reports]
    assert len(set(ids)) == len(ids)
    assert [one["meta"]["chain"]["previous_report_id"] for one in reports] == [0, *ids[:-1]]
    for one in reports:
        for each in one["meta"].get("outages", ()):
            outage = Outage(each["start_time"], each["end_time"])
            if outage not in book.outages:
                # one that ended by a start which did not live long enough to be asked
                assert any(death.start <= outage.start and outage.end <= death.end for death in book.deaths)
                book.outages.append(outage)
    files = []
    for number, document in enumerate(book.documents.values()):
        files.append(loop.work / f"{number}.json")
        files[-1].write_text(document, newline="")
    done = script("verify_report.py", *files)
    assert (done.code, done.out.count("OK ")) == (0, len(files))
    seconds, exact = verify_seconds(book, reports, loop.tags, until)
    print(f"{len(reports)} reports, {len(book.outages)} outages, {seconds} licence-seconds")
    print(f"{exact:.1%} of the seconds are known exactly, the others began or ended a count")
    assert seconds > 0
    # the check is checked: it fails when a report is missing of the second that had four of each, whatever came before
    missed = [
        one for one in reports if any(row["start_time"] <= certain < row["end_time"] for row in one["measurements"])
    ]
    assert len(missed) == len(LICENCES)
    for gone in missed:
        with pytest.raises(AssertionError):
            verify_seconds(book, [one for one in reports if one is not gone], loop.tags, until)


def test_some_kills(tmp_path: Path, seed: int) -> None:
    run(tmp_path, seed, 5)


@pytest.mark.slow
def test_fifty_kills(tmp_path: Path, seed: int) -> None:
    run(tmp_path, seed, 50)
