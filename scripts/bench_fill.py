"""Put really closed and signed reports into a state folder, by the agent's own parts and a clock that is stepped.

Run as a process of its own, so that what it needs does not count for whoever measures afterwards.
"""

from __future__ import annotations

from pathlib import Path
import secrets
import sys
import time

from agent import app
from agent.licensing.commands import CloseReports, RecordUsage, Start, Stop
from agent.licensing.reports import figures
from agent.setup import load_profile
from agent.store.folder import StateFolder
from agent.store.keystore import JOURNAL, Keystore, open_key_file
from agent.store.sqlite import SqliteStore

STEP = 900
"""Seconds that each report covers."""


class StepClock:
    """Stands still until it is moved."""

    rate = 1.0

    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def wall_seconds(self, span: float) -> float:
        return span


def fill(state_dir: Path, count: int) -> int:
    """Close `count` reports in a folder that has none yet, the last one a moment ago; returns how many there are."""
    folder = StateFolder.open(state_dir)
    with folder.hold():
        keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
        profile = load_profile(folder)
        store = SqliteStore(folder.database, keys.get(JOURNAL))
        names = [licence.name for licence in profile.licences.values() if not licence.needs_authorization]
        # what is not kept when the power goes is made again, so no commit waits for the disk
        store._connection.pragma("synchronous", "off")
        steps = -(-count // len(names))
        clock = StepClock(int(time.time()) - (steps + 1) * STEP)
        agent = app.build(profile=profile, clock=clock, store=store, signer=keys.signer(), lab=folder.info.lab)
        committer = agent.committer
        committer.run(Start(secrets.token_hex(8)))
        left = count
        for place, name in enumerate(names):
            committer.run(RecordUsage(name, 1 + place % 3))
        while left > 0:
            for name in names[left:]:
                # the last close takes what is missing; the others stay out of use from then on
                committer.run(RecordUsage(name, 0))
            clock.at += STEP
            left -= len(committer.run(CloseReports()).report_ids)
        for name in names:
            # what was in use would be closed by the next start, as one report more
            committer.run(RecordUsage(name, 0))
        committer.run(Stop())
        made = figures(committer.state)
        store.close()
    return made.available


if __name__ == "__main__":
    print(fill(Path(sys.argv[1]), int(sys.argv[2])))
