"""Child processes of test_power.py: agents that live until they are killed.

`serve` is the whole agent with its listeners. `main` makes agents without them: it reads a line `FOLDER NUMBER SEED
FAVOURITE` for each life, forks a process for it, and says `life PID`. That process lives (lives.py) and says what it
tries to make durable, before and after, each by the digest of all that the database holds then; `about NAME` before
each request and `answered NAME` after it. When it is gone, `over STATUS` follows. Forked, a life begins in a tenth of a
second: what is forked has no thread yet, and has imported everything.
"""

from __future__ import annotations

from functools import partial
import logging
import os
from pathlib import Path
import random
import sys
import traceback
from unittest import mock

from agent import app, process
from tests.system.ledger import Ledger, Moment, WitnessedStore, examine
from tests.system.lives import Life, fingerprint, quick_agents


def say(*words: object) -> None:
    """One line, past every buffer: what was said before a kill was said."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Mortal(Life):
    """Says which file may be written, and what it holds once that was answered."""

    def writes(self, name: str) -> None:
        super().writes(name)
        say("writing", name)

    def note_file(self) -> None:
        name = self.writing
        super().note_file()
        if name is not None:
            say("file", name, fingerprint(self.files.get(name)))


def live(path: Path, number: int, seed: int, favourite: str, decided: set[type]) -> None:
    logging.disable(logging.CRITICAL)
    ledger = Ledger(examine(path), lambda word, moment: say(word, moment.digest))
    say("done", ledger.now.digest)
    life = Mortal(path, ledger, random.Random(seed), number)
    life.favourite, life.about = favourite, lambda name: say("about", name)
    while True:
        life.note_file()
        name = life.step()
        say("decided", *sorted(command.__name__ for command in decided))
        say("answered", name)


def serve() -> None:
    """`slp-agent run` on the folder that is named first, with notes in the file that is named second, not of users."""
    path, notes = map(Path, sys.argv[1:])
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)

    def note(word: str, moment: Moment) -> None:
        os.write(descriptor, f"{word} {moment.digest}\n".encode())

    ledger = Ledger(examine(path).without_users(), note)
    note("done", ledger.now)
    store = partial(WitnessedStore, ledger=ledger)
    with quick_agents(), mock.patch.object(app, "SqliteStore", store):
        address = "127.0.0.1:0"
        process.run(
            path, address, address, socket=None, socket_group=None, lab_clock_rate=None, lab_clock_start=None,
            log_level="error",
        )  # fmt: skip


def main() -> None:
    with quick_agents() as decided:
        for line in sys.stdin:
            path, number, seed, favourite = line.split()
            child = os.fork()
            if not child:
                try:
                    live(Path(path), int(number), int(seed), favourite, decided)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(1)
            say("life", child)
            _, status = os.waitpid(child, 0)
            say("over", status)


if __name__ == "__main__":
    main()
