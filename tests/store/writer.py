"""A child process of test_crash.py: keeps one unit of work after the other and says so, until it is killed.

Unit n appends Sampled(n) and ReportClosed(n), delivers n-1, purges n-20, sets the configuration to "n", and every
seventh time folds the journal into a snapshot "n". Each line on standard output names a unit that was committed.
"""

from __future__ import annotations

from pathlib import Path
import sys

from agent.licensing.events import ReportsDelivered, ReportsPurged
from agent.store.sqlite import SqliteStore
from tests.store.samples import JOURNAL_KEY, closed, row, sampled


def main(path: str) -> None:
    store = SqliteStore(Path(path), JOURNAL_KEY)
    number = int(store.load().config or b"0")
    while True:
        number += 1
        unit = store.begin()
        unit.append(
            [
                sampled(number),
                closed(number, 3000),
                ReportsDelivered(1, (number - 1,)),
                ReportsPurged(1, (number - 20,)),
            ],
            {number: row(number, 1000)},
        )
        unit.put_config(b"%d" % number)
        if number % 7 == 0:
            unit.put_state(b"%d" % number)
        unit.commit()
        print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
