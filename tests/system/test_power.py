"""The power plug and SIGKILL over the whole command set: what was answered is there, whole, and the agent goes on.

Random lives (lives.py) are ended by a disk whose power is cut at a random step (tests/store/power.py), or by SIGKILL at
a random moment. After each, the database opens, and its state, configuration, reports and users are what they were
after the last answer or after what was under way (ledger.py): nothing else, and nothing by halves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
import logging
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from agent import setup
from agent.licensing import commands
from agent.store.keystore import JOURNAL
from agent.store.users import Users
from tests.store.power import Disk, plugged, put
from tests.system.calls import NAMES, REQUESTS, served_rpcs
from tests.system.kit import ROOT
from tests.system.ledger import CHEAP, Archive, Ledger, Moment, device_key, examine
from tests.system.lives import OTHERS, Life, fingerprint, make_folder, quick_agents, usable
from tests.system.remote import Remote, WitnessedDevice


@pytest.fixture(autouse=True)
def decided() -> Iterator[set[type]]:
    logging.disable(logging.CRITICAL)  # of a disk that fails, each life tells at length
    with quick_agents() as seen:
        yield seen
    logging.disable(logging.NOTSET)


EVERYTHING = (*REQUESTS, *OTHERS)
NEAR = 40
"""Steps of the disk that a request takes, or fewer: within so many of its beginning the favourite request is cut."""


class Deaths:
    """A state folder below `root`, from one death of its agent to the next."""

    def __init__(self, root: Path, seed: int, live: type[Life] = Life) -> None:
        self.live = live
        self.root = root / "disk"
        self.root.mkdir()
        self.path = make_folder(self.root)
        self.choose = random.Random(seed)
        self.moment = examine(self.path)
        self.archive = Archive()
        self.files = dict.fromkeys(NAMES, fingerprint(None))
        self.number = 0
        self.answered: Counter[str] = Counter()
        self.in_flight = 0

    def cuts(self, count: int, longest: int = 2000) -> None:
        """So many lives, until the power is cut after at most `longest` steps of the disk."""
        for _ in range(count):
            self.cut(self.choose.choice((60, 300, longest)))

    def cut(self, longest: int) -> None:
        self.number += 1
        ledger = Ledger(self.moment)
        disk = Disk(self.root, self.choose)
        disk.limit = self.choose.randrange(longest)
        favourite = self.choose.choice(EVERYTHING)

        def about(name: str) -> None:
            if name == favourite:
                disk.limit = min(disk.limit, disk.steps + self.choose.randrange(NEAR))

        found: list[tuple[int, list[Moment]]] = []
        disk.at_cut = lambda: found.append((ledger.answered, list(ledger.moments)))
        life = None
        with plugged(disk):
            try:
                life = self.live(self.path, ledger, self.choose, self.number)
                life.favourite, life.about = favourite, about
                while not disk.off:
                    life.note_file()
                    life.step()
            except Exception:
                if not disk.off:
                    raise
            finally:
                if life is not None:
                    life.leave()
        assert disk.image is not None
        put(disk.image, self.root)
        ((answered, moments),) = found
        self.accept(examine(self.path), moments, answered)
        if life is not None:
            self.answered.update(life.answered)
            self.files.update({name: fingerprint(content) for name, content in life.files.items()})
            self.check_files(life.writing)
        # the next life finds what the cut has left, not what looking at it has made of that
        put(disk.image, self.root)

    def kill(self, mortals: subprocess.Popen[bytes], decided: set[str], lines: int) -> None:
        """One life, until SIGKILL: a moment after it began its favourite request, or has said so many lines."""
        self.number += 1
        assert mortals.stdin is not None
        assert mortals.stdout is not None
        favourite = self.choose.choice(EVERYTHING)
        mortals.stdin.write(f"{self.path} {self.number} {self.choose.randrange(2**32)} {favourite}\n".encode())
        mortals.stdin.flush()
        word, pid = mortals.stdout.readline().split()
        assert word == b"life"
        said: list[list[str]] = []
        alive = True
        for line in mortals.stdout:
            said.append(line.decode().split())
            if alive and (len(said) == lines or said[-1] == ["about", favourite]):
                time.sleep(self.choose.random() * self.choose.choice((0.001, 0.01)))
                os.kill(int(pid), signal.SIGKILL)
                alive = False
            if said[-1][0] == "over":
                break
        assert said[-1] == ["over", str(int(signal.SIGKILL))], "it ended by itself"
        self.judge(said)
        writing = None
        for word, *names in said:
            match word:
                case "answered":
                    self.answered.update(names)
                case "decided":
                    decided.update(names)
                case "writing":
                    (writing,) = names
                case "file":
                    self.files[names[0]], writing = names[1], None
        self.check_files(writing)

    def kill_server(self, device: WitnessedDevice) -> None:
        """One life of the whole agent, until SIGKILL, while this process adds users."""
        self.number += 1
        device.start()
        remote = Remote(device, self.moment, self.choose, self.number)
        users = Users(self.path / "agent.db", remote.keys.get(JOURNAL), CHEAP)
        before = {account.name for account in users.all()}
        over = threading.Timer(self.choose.uniform(0.05, 2.5), device.kill)
        with ThreadPoolExecutor(1) as others:
            over.start()
            added = others.submit(self.add_users, users, over.finished)
            remote.run()
            over.join()
            names = added.result()
        users.close()
        moment = self.judge([line.split() for line in device.notes.read_text().splitlines()], Moment.without_users)
        remote.check(moment)
        assert {account.name for account in moment.users[1]} == before | names
        self.answered.update(remote.answered)

    def add_users(self, users: Users, over: threading.Event) -> set[str]:
        """As `slp-agent user add` does, again and again; the names that were answered."""
        names = set()
        while not over.wait(0.05):
            name = f"u{self.number}-{len(names)}"
            users.add(name, "reader", "secret")
            names.add(name)
        return names

    def judge(self, said: list[list[str]], seen: Callable[[Moment], Moment] = lambda moment: moment) -> Moment:
        """The database holds what was answered last, or what was tried after it, by what its agent said.

        `seen` gives the part of what it holds that the agent speaks of.
        """
        self.moment = examine(self.path)
        done = max(index for index, words in enumerate(said) if words[0] == "done")
        possible = [words[1] for words in said[done:] if words[0] in ("done", "try")]
        digest = seen(self.moment).digest
        assert digest in possible, "what is kept is neither what was answered nor what was tried"
        self.in_flight += digest != possible[0]
        self.archive.take([self.moment])
        self.archive.take_key(self.moment.state.epoch, device_key(self.path))
        return self.moment

    def accept(self, moment: Moment, moments: list[Moment], answered: int) -> None:
        """The database holds what was answered last, or what was tried after it."""
        possible = [one.digest for one in moments]
        assert moment.digest in possible[answered:], difference(moment, moments[answered:])
        index = len(possible) - 1 - possible[::-1].index(moment.digest)
        self.in_flight += index > answered
        self.archive.take(moments[: index + 1])
        self.archive.take_key(moment.state.epoch, device_key(self.path))
        self.moment = moment

    def check_files(self, writing: str | None) -> None:
        """Each file that was answered is there to the last byte, one under way is the old or the new one, whole."""
        for name, known in self.files.items():
            file = self.path / setup.FILES_FOLDER / name
            content = file.read_bytes() if file.exists() else None
            if fingerprint(content) != known:
                assert name == writing, f"file {name} is not the one that was answered"
                assert content is not None
                assert usable(content)
                self.files[name] = fingerprint(content)


def difference(moment: Moment, others: list[Moment]) -> str:
    """In which parts a moment differs from each of the others."""
    names = ("state", "config", "reports", "users")
    told = [[name for name in names if getattr(moment, name) != getattr(other, name)] for other in others]
    return f"what is kept differs from what was answered, and from what was tried, in {told}"


def cuts(root: Path, seed: int, count: int, longest: int) -> Deaths:
    print(f"SLP_SEED={seed}, {count} cuts")
    deaths = Deaths(root, seed)
    deaths.cuts(count, longest)
    print(f"{deaths.answered.total()} requests answered, {deaths.in_flight} times what was under way was kept")
    print(dict(deaths.answered))
    return deaths


@pytest.fixture
def mortals() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.system.mortal"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as child:
        yield child
        # a life that goes on because a test has failed ends when nobody hears it
        child.kill()


LINES = (100, 1, 400, 1000)
"""What a life says before it is killed: each in turn."""


def kills(root: Path, mortals: subprocess.Popen[bytes], seed: int, count: int) -> tuple[Deaths, set[str]]:
    print(f"SLP_SEED={seed}, {count} kills")
    deaths = Deaths(root, seed)
    decided: set[str] = set()
    for number in range(count):
        deaths.kill(mortals, decided, LINES[number % len(LINES)])
    print(f"{deaths.answered.total()} requests answered, {deaths.in_flight} times what was under way was kept")
    print(dict(deaths.answered))
    return deaths, decided


def test_every_rpc_of_both_models_is_among_the_requests() -> None:
    assert set(REQUESTS) == {name for _, name in served_rpcs()}


def test_some_cuts(tmp_path: Path, seed: int) -> None:
    assert cuts(tmp_path, seed, 20, 300).answered.total() > 20


class Careless(Life):
    """Its commits are answered before they are on the disk."""

    def _begin(self) -> None:
        super()._begin()
        self.store._connection.pragma("synchronous", "normal")


def test_a_loss_is_noticed(tmp_path: Path, seed: int) -> None:
    deaths = Deaths(tmp_path, seed, Careless)
    with pytest.raises(AssertionError, match="what is kept differs from what was answered"):
        deaths.cuts(200)


@pytest.mark.slow
def test_many_cuts(tmp_path: Path, seed: int, decided: set[type]) -> None:
    """With those below they are the 500; every command and every request was among them."""
    deaths = cuts(tmp_path, seed, 250, 2000)
    assert decided == set(commands.Command.__args__)
    assert set(deaths.answered) == set(EVERYTHING)
    assert deaths.in_flight


def test_some_kills(tmp_path: Path, seed: int, mortals: subprocess.Popen[bytes]) -> None:
    kills(tmp_path, mortals, seed, 3)


@pytest.mark.slow
def test_many_kills(tmp_path: Path, seed: int, mortals: subprocess.Popen[bytes]) -> None:
    deaths, decided = kills(tmp_path, mortals, seed, 240)
    assert decided == {command.__name__ for command in commands.Command.__args__}
    assert set(deaths.answered) == set(EVERYTHING)


@pytest.mark.slow
def test_kills_of_the_whole_agent(tmp_path: Path, seed: int) -> None:
    """With its listeners, and a client that goes by NETCONF."""
    print(f"SLP_SEED={seed}, 10 kills")
    deaths = Deaths(tmp_path, seed)
    device = WitnessedDevice(deaths.path)
    device.add_user("collector", "collector")
    for _ in range(10):
        deaths.kill_server(device)
    print(f"{deaths.answered.total()} requests answered, {deaths.in_flight} times what was under way was kept")
    print(dict(deaths.answered))
    assert deaths.answered.total() > 10
