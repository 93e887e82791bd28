"""What SQLite adds to the contract: durability, reads whose cost the count does not change, failing disks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
import json
from pathlib import Path
import stat
import subprocess
import sys
import threading
import tracemalloc
from typing import Any

import apsw
import pytest

from agent.licensing.events import ReportsDelivered, ReportsPurged
from agent.store import reads
from agent.store.errors import StoreError, StoreFullError
from agent.store.sqlite import SqliteStore

from .samples import JOURNAL_KEY, closed, fill, keep, key_of, sampled

Reopen = Callable[[], SqliteStore]


def test_commits_outlive_the_process(store: SqliteStore, reopen: Reopen) -> None:
    keep(store, closed(1), sampled(3))
    loaded, report = store.load(), store.reports.by_id(1)
    again = reopen()
    assert again.load() == loaded
    assert again.reports.by_id(1) == report
    assert again.journal_length() == 2


def test_the_files_are_private_and_the_settings_are_the_durable_ones(store: SqliteStore, path: Path) -> None:
    keep(store, sampled(1))
    for name in ("agent.db", "agent.db-wal", "agent.db-shm"):
        assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600
    connection = store._connection
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2  # FULL


def test_create_refuses_a_file_that_is_there(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(StoreError, match="exists already"):
        SqliteStore.create(path, JOURNAL_KEY)
    assert path.read_bytes() == before


def test_a_second_writer_is_noticed(store: SqliteStore, path: Path) -> None:
    """The folder's lock keeps others out; should one get in, the chain is not forked."""
    other = SqliteStore(path, JOURNAL_KEY)
    keep(other, sampled(1))
    other.close()
    with pytest.raises(StoreError, match="changed by another program"):
        keep(store, sampled(2))
    assert store.load().events == (sampled(1),)


def test_every_query_uses_an_index_and_costs_the_same_with_10_as_with_10000(store: SqliteStore) -> None:
    """Steps of SQLite's machine, not seconds: exactly equal."""
    fill(store, 10)
    few = steps(store, 10)
    fill_from(store, 11, 10_000)
    many = steps(store, 10_000)
    assert few == many
    assert store.check.run() == 10_000
    assert steps(store, 10_000) < many, "reads are cheaper when the rows have been checked"
    connection = store._connection
    for query in (
        reads.FIND,
        reads.BY_ID,
        reads.HEADS.format("?, ?"),
        *reads.FIND_ROW.values(),
        *reads.PAGE.values(),
        reads.WHOLE_PAGE,
        reads.MAX_ID,
    ):
        bindings = (0,) * query.count("?")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", bindings)]
        assert plan
        assert all(line.startswith("SEARCH") for line in plan), plan


def steps(store: SqliteStore, last: int) -> list[int]:
    """What five reads near the end of the list cost."""
    counted: list[int] = []

    def count(event: dict[str, Any]) -> None:
        counted.append(event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"])

    connection = store.reports._readers.connection()
    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, count)
    assert store.reports.find(key_of(last)) is not None
    assert store.reports.by_id(last) is not None
    assert store.reports.find_row(key_of(last), "detail") is not None
    assert len(store.reports.pages(last - 5, last, 100, "summary")) == 5
    assert store.reports.max_id() == last
    connection.trace_v2(0, None)
    assert len(counted) == 5
    return counted


def fill_from(store: SqliteStore, first: int, last: int) -> None:
    for begin in range(first, last + 1, 1000):
        keep(store, *(closed(n) for n in range(begin, min(begin + 1000, last + 1))))


@pytest.mark.parametrize("checked", [True, False])
def test_ten_thousand_reports_are_walked_in_little_memory(store: SqliteStore, checked: bool) -> None:
    """40 MB of bodies pass by; a page of 100 is all that is held, in Python and in SQLite."""
    fill(store, 10_000, size=1000)
    if checked:
        store.check.run()
    store.reports.max_id()
    apsw.memory_high_water(True)
    before = apsw.memory_used()
    tracemalloc.start()
    try:
        count, after, upto = 0, 0, store.reports.max_id()
        while page := store.reports.pages(after, upto, 100, "detail"):
            count, after = count + len(page), page[-1].report_id
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 10_000
    assert peak < 2 * 1024 * 1024
    assert apsw.memory_high_water() - before < 2 * 1024 * 1024


def test_a_reader_between_pages_does_not_keep_the_log_from_being_folded_in(store: SqliteStore) -> None:
    fill(store, 20)
    assert len(store.reports.pages(0, 20, 5, "detail")) == 5
    keep(store, closed(21))
    busy, _, _ = store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
    assert busy == 0


def test_readers_and_the_writer_do_not_wait_for_each_other(store: SqliteStore, path: Path) -> None:
    """While another connection holds the write lock, reads go on; while a read is under way, commits go on."""
    fill(store, 3)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    assert store.reports.find(key_of(3)) is not None
    other.execute("ROLLBACK")
    cursor = other.execute("SELECT report_id FROM reports")
    next(cursor)
    keep(store, closed(4))
    assert store.reports.max_id() == 4
    assert len(list(cursor)) == 2
    other.close()


def test_many_threads_read_while_one_writes(store: SqliteStore) -> None:
    """Every read sees whole reports, and never fewer than were committed when it began."""
    fill(store, 1)
    done, wrong = threading.Event(), []

    def read() -> None:
        seen = 0
        while not done.is_set():
            last = store.reports.max_id()
            report = store.reports.by_id(last)
            if last < seen or report is None or report.document != closed(last).document:
                wrong.append((seen, last, report))
            seen = last

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for number in range(2, 60):
            keep(store, closed(number), ReportsDelivered(1, (number - 1,)))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert store.load().events[-1] == ReportsDelivered(1, (58,))


def test_readers_of_ended_threads_are_let_go(store: SqliteStore) -> None:
    for _ in range(20):
        thread = threading.Thread(target=store.reports.max_id)
        thread.start()
        thread.join()
    assert len(store.reports._readers._all) <= 1


def test_a_closed_store_says_so(store: SqliteStore) -> None:
    store.reports.max_id()
    store.close()
    for act in (store.reports.max_id, lambda: keep(store, sampled(1)), store.load):
        with pytest.raises(StoreError, match="the store is closed"):
            act()
    with ThreadPoolExecutor(1) as other, pytest.raises(StoreError, match="the store is closed"):
        other.submit(store.reports.max_id).result()


def test_a_full_database_refuses_clearly_changes_nothing_and_serves_on(store: SqliteStore, reopen: Reopen) -> None:
    fill(store, 3)
    connection = store._connection
    connection.pragma("max_page_count", connection.pragma("page_count") + 2)
    before = store.load()
    with pytest.raises(StoreFullError, match="the disk is full; free some space"):
        fill_from(store, 4, 40)
    assert store.load() == before
    assert store.reports.find(key_of(3)) is not None
    keep(store, ReportsPurged(9, (1, 2)))
    connection.pragma("max_page_count", 2**30)
    keep(store, closed(4))
    assert [row.report_id for row in reopen().reports.pages(0, 9, 9, "summary")] == [3, 4]


LIMITED = """
import json, resource, sys
from pathlib import Path
from agent.store.errors import StoreError
from agent.store.sqlite import SqliteStore
from tests.store.samples import JOURNAL_KEY, closed, keep
store = SqliteStore(Path(sys.argv[1]), JOURNAL_KEY)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
said, kept = [], 0
for number in range(1, 400):
    try:
        keep(store, closed(number, size=2000), size=2000)
        kept = number
    except StoreError as error:
        said.append(str(error))
        if len(said) == 3:
            break
readable = store.reports.max_id()
same = len(store.load().events)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
keep(store, closed(1000))
store.close()
print(json.dumps([said, kept, readable, same]))
"""


def test_when_the_system_refuses_to_write_the_commit_fails_and_reads_go_on(path: Path, reopen: Reopen) -> None:
    """A file size limit makes real write errors in a real process; lifted, the same process writes again."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, cwd=root, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    said, kept, readable, same = json.loads(done.stdout)
    assert len(said) == 3
    assert all("cannot save" in message for message in said)
    assert 0 < kept == readable == same
    store = reopen()
    assert len(store.load().events) == kept + 1
    assert store.reports.max_id() == 1000


def test_a_long_history_is_folded_into_a_snapshot(store: SqliteStore, reopen: Reopen) -> None:
    for first in range(0, 5000, 1000):
        keep(store, *(sampled(n) for n in range(first, first + 1000)))
    unit = store.begin()
    unit.append([sampled(5000)], {})
    unit.put_state(b"state")
    unit.commit()
    assert store._connection.execute("SELECT count(*) FROM journal").fetchone() == (0,)
    keep(store, sampled(5001))
    again = reopen()
    assert again.load()[:2] == (b"state", (sampled(5001),))
    assert again.journal_length() == 1
