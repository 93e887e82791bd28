"""SIGKILL at random moments: every unit that was answered is there, whole; of the last one all or nothing."""

from __future__ import annotations

from pathlib import Path
import random
import subprocess
import sys
import time

from agent.licensing.events import ReportsDelivered, ReportsPurged
from agent.store.sqlite import SqliteStore

from .samples import JOURNAL_KEY, closed, row, sampled

ROOT = Path(__file__).parents[2]


def test_killed_twenty_times_no_answered_commit_is_lost_and_none_is_half_there(path: Path) -> None:
    kept = 0
    for _ in range(20):
        answered = run_and_kill(path, lines=random.randrange(1, 40), pause=random.random() * 0.004)
        now = check(path)
        # One more than was answered may be there: it was durable, and its answer was lost with the process.
        assert now in (answered, answered + 1)
        assert now > kept
        kept = now


def run_and_kill(path: Path, lines: int, pause: float) -> int:
    """The last unit that the child said was committed."""
    command = [sys.executable, "-m", "tests.store.writer", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        time.sleep(pause)
        child.kill()
        said += child.stdout.readlines()
    return int([line for line in said if line.endswith(b"\n")][-1])


def check(path: Path) -> int:
    """How many units are kept; fails unless all that each of them did is there."""
    store = SqliteStore(path, JOURNAL_KEY)
    loaded = store.load()
    count = int(loaded.config or b"0")
    folded = count - count % 7
    assert loaded.snapshot == (b"%d" % folded if folded else None)
    assert list(loaded.events) == [
        event
        for n in range(folded + 1, count + 1)
        for event in (sampled(n), closed(n, 3000), ReportsDelivered(1, (n - 1,)), ReportsPurged(1, (n - 20,)))
    ]
    waiting = list(range(max(count - 19, 1), count + 1))
    assert [each.report_id for each in store.reports.pages(0, count + 1, 100, "summary")] == waiting
    for n in waiting:
        report = store.reports.by_id(n)
        assert report is not None
        assert (report.document, report.encoded) == (closed(n, 3000).document, row(n, 1000))
        assert report.state == ("closed" if n == count else "unacknowledged")
    store.close()
    return count
