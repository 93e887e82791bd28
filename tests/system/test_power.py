"""The power plug and SIGKILL over the whole command set: what was answered is there, whole, and the agent goes on.

Random lives (lives.py) are ended by a disk whose power is cut at a random step (tests/store/power.py), or by SIGKILL at a
random moment. After each, the database opens, and its state, configuration, reports and users are what they were after
the last answer or after the request that was under way (ledger.py): nothing else, and nothing by halves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
import logging
from pathlib import Path
import random

import pytest

from agent import setup
from agent.licensing import commands
from tests.store.power import Disk, plugged, put
from tests.system import lives
from tests.system.ledger import Archive, Ledger, Moment, examine
from tests.system.lives import Life, make_folder, quick_agents, served_rpcs, usable


@pytest.fixture(autouse=True)
def decided() -> Iterator[set[type]]:
    logging.disable(logging.CRITICAL)  # of a disk that fails, each life tells at length
    with quick_agents() as seen:
        yield seen
    logging.disable(logging.NOTSET)


class Deaths:
    """A state folder below `root`, from one death of its agent to the next."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root / "disk"
        self.root.mkdir()
        self.path = make_folder(self.root)
        self.choose = random.Random(seed)
        self.moment = examine(self.path)
        self.archive = Archive()
        self.files: dict[str, bytes] = {}
        self.number = 0
        self.answered: Counter[str] = Counter()
        self.in_flight = 0

    def cut(self) -> None:
        """One life, until the power is cut."""
        self.number += 1
        ledger = Ledger(self.moment)
        disk = Disk(self.root, self.choose)
        disk.limit = self.choose.randrange(self.choose.choice((60, 300, 1000)))
        found: list[tuple[int, list[Moment]]] = []
        disk.at_cut = lambda: found.append((ledger.answered, list(ledger.moments)))
        life = None
        with plugged(disk):
            try:
                life = Life(self.path, ledger, self.choose, self.number)
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
            self.check_files(life)
        # the next life finds what the cut has left, not what looking at it has made of that
        put(disk.image, self.root)

    def accept(self, moment: Moment, moments: list[Moment], answered: int) -> None:
        """The database holds what was answered last, or what was tried after it."""
        possible = [one.digest for one in moments]
        assert moment.digest in possible[answered:], difference(moment, moments[answered:])
        index = len(possible) - 1 - possible[::-1].index(moment.digest)
        self.in_flight += index > answered
        self.archive.take(moments[: index + 1])
        self.moment = moment

    def check_files(self, life: Life) -> None:
        """Each file that was answered is there to the last byte, one under way is the old or the new one, whole."""
        self.files |= life.files
        folder = self.path / setup.FILES_FOLDER
        for name in lives.NAMES:
            content = (folder / name).read_bytes() if (folder / name).exists() else None
            if name == life.writing and content is not None:
                assert content == self.files.get(name) or usable(content)
                self.files[name] = content
            else:
                assert content == self.files.get(name), name


def difference(moment: Moment, others: list[Moment]) -> str:
    """In which parts a moment differs from each of the others."""
    names = ("state", "config", "reports", "users")
    told = [[name for name in names if getattr(moment, name) != getattr(other, name)] for other in others]
    return f"what is kept differs from what was answered, and from what was tried, in {told}"


def cuts(root: Path, seed: int, count: int) -> Deaths:
    print(f"SLP_SEED={seed}, {count} cuts")
    deaths = Deaths(root, seed)
    for _ in range(count):
        deaths.cut()
    print(f"{deaths.answered.total()} requests answered, {deaths.in_flight} times what was under way was kept")
    print(dict(deaths.answered))
    return deaths


def test_every_rpc_of_both_models_is_among_the_requests() -> None:
    assert set(lives.REQUESTS) == served_rpcs()


def test_some_cuts(tmp_path: Path, seed: int) -> None:
    assert cuts(tmp_path, seed, 20).answered.total() > 20


@pytest.mark.slow
def test_many_cuts(tmp_path: Path, seed: int, decided: set[type]) -> None:
    """With those below they are the 500; every command and every request was among them."""
    deaths = cuts(tmp_path, seed, 250)
    assert decided == set(commands.Command.__args__)
    assert set(deaths.answered) == lives.REQUESTS.keys() | lives.OTHERS.keys()
    assert deaths.in_flight
