"""The check of the stored reports: finds what was altered while others write, holds nobody up, ends when told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import logging
from pathlib import Path
import tempfile
import threading
import tracemalloc

import apsw
from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.licensing.events import Event, ReportsAcknowledged, ReportsDelivered, ReportsPurged, ReportsRefused
from agent.store import check as checking
from agent.store.errors import JournalDamaged, StoreError
from agent.store.sqlite import SqliteStore

from .samples import JOURNAL_KEY, closed, fill, keep, key_of

LAST = 12


@pytest.fixture(scope="module", autouse=True)
def small_pages() -> Iterator[None]:
    """Two rows a page and three before it serves: a dozen reports are many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "PAGE", 2)
        patch.setattr(checking, "FIRST", 3)
        yield


def change(word: str, numbers: list[int]) -> Event:
    ids = tuple(numbers)
    match word:
        case "delivered":
            return ReportsDelivered(1, ids)
        case "acknowledged":
            return ReportsAcknowledged(1, ids, ())
        case "refused":
            return ReportsRefused(1, ids, "why")
        case "purged":
            return ReportsPurged(1, ids)
        case _:
            return closed(ids[0])


changes = st.builds(
    change,
    st.sampled_from(["delivered", "acknowledged", "refused", "purged", "closed"]),
    st.lists(st.integers(1, LAST + 6), min_size=1, max_size=4, unique=True),
)
between = st.lists(st.lists(changes, max_size=3), min_size=8, max_size=8)


def step(store: SqliteStore) -> bool:
    """One page more; whether that was the end."""
    store.check._go(0.0, store.check._found.rows + 1)
    return store._progress.finished


@settings(max_examples=60)
@given(between)
def test_whatever_the_agent_writes_meanwhile_is_no_damage(work: list[list[Event]]) -> None:
    """Closed, delivered, acknowledged, refused and purged before, in and after what the check has seen."""
    with tempfile.TemporaryDirectory() as folder:
        store = filled(Path(folder) / "agent.db", LAST)
        store.check.begin()
        check_while_writing(store, work)
        keep(store, ReportsDelivered(2, tuple(range(1, LAST))))
        store.close()
        again = SqliteStore(Path(folder) / "agent.db", JOURNAL_KEY)
        again.check.run()
        again.close()


EDITS = [
    "UPDATE reports SET state = 5 WHERE report_id = {0}",
    "UPDATE report_bodies SET document = X'7B7D' WHERE report_id = {0}",
    "DELETE FROM reports WHERE report_id = {0}",
    "DELETE FROM report_bodies WHERE report_id = {0}",
    "UPDATE reports SET (state, mac) = (SELECT state, mac FROM old WHERE report_id = {0}) WHERE report_id = {0}",
]


@settings(max_examples=40)
@given(between, st.sampled_from(EDITS), st.integers(7, LAST))
def test_an_edit_is_found_whatever_the_agent_writes_meanwhile(work: list[list[Event]], edit: str, number: int) -> None:
    """All but changes of the edited row itself: the agent refuses to build on these, as another test shows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.db"
        store = filled(path, LAST)
        connection = apsw.Connection(str(path))
        connection.execute("CREATE TEMP TABLE old AS SELECT report_id, state, mac FROM reports")
        keep(store, ReportsDelivered(1, tuple(range(1, LAST + 1))))
        connection.execute(edit.format(number))
        connection.close()
        store.check.begin()
        with pytest.raises(JournalDamaged):
            check_while_writing(store, [[each for each in events if not touches(each, number)] for events in work])
        store.close()


def touches(event: Event, number: int) -> bool:
    """Whether the writer would come upon the edited row."""
    return number in getattr(event, "report_ids", ()) or getattr(event, "report_id", 0) == number


def write(store: SqliteStore, event: Event) -> None:
    """Damage is not expected here; a report may be closed only once."""
    try:
        keep(store, event)
    except JournalDamaged:
        raise AssertionError("the writer found what the check was to find") from None
    except StoreError as error:
        if "is stored already" not in str(error):
            raise


def check_while_writing(store: SqliteStore, work: list[list[Event]]) -> None:
    for events in work:
        for event in events:
            write(store, event)
        if step(store):
            return
    while not step(store):
        pass


def filled(path: Path, count: int, on_damage: Callable[[JournalDamaged], None] | None = None) -> SqliteStore:
    if not path.exists():
        SqliteStore.create(path, JOURNAL_KEY)
    store = SqliteStore(path, JOURNAL_KEY, on_damage)
    fill(store, count)
    return store


def altered(path: Path, number: int) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE report_bodies SET document = X'7B7D' WHERE report_id = ?", (number,))
    connection.close()


def test_a_start_checks_the_first_rows_before_it_serves(store: SqliteStore, path: Path) -> None:
    fill(store, LAST)
    store.check.begin()
    assert not store._progress.finished
    altered(path, 2)
    with pytest.raises(JournalDamaged, match="table reports, row 2: it was changed"):
        store.check.begin()


def test_with_few_reports_the_check_is_done_before_it_serves(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    fill(store, 2)
    with caplog.at_level(logging.INFO):
        store.check.begin()
        assert store._progress.finished
        store.check.start()
    assert store.check._thread is None
    assert [each.message.partition(" in ")[0] for each in caplog.records] == ["2 stored reports were checked"]


def test_the_thread_tells_of_damage_and_ends(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[JournalDamaged] = []
    told = threading.Event()

    def on_damage(error: JournalDamaged) -> None:
        heard.append(error)
        told.set()

    store = filled(path, LAST, on_damage)
    altered(path, 9)
    store.check.begin()
    store.check.start()
    assert told.wait(20)
    store.close()
    (error,) = heard
    assert (error.table, error.row) == ("reports", "9")
    assert [(each.levelname, each.message) for each in caplog.records] == [("CRITICAL", str(error))]
    assert not store._progress.finished


def test_commits_go_on_while_the_thread_checks(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half of the reports are purged under its eyes, others close and are delivered."""
    store = filled(path, 1000)
    with caplog.at_level(logging.INFO):
        store.check.begin()
        store.check.start()
        for number in range(1, 500):
            keep(store, ReportsPurged(1, (2 * number,)), closed(1000 + number), ReportsDelivered(1, (2 * number + 1,)))
        assert store.check._thread is not None
        store.check._thread.join(60)
    assert store._progress.finished
    assert [each.levelname for each in caplog.records] == ["INFO"]
    assert "stored reports were checked in" in caplog.text
    assert store.check.run() == 1000
    store.close()


@pytest.fixture
def resting(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteStore]:
    """A store whose check rests for a minute after the first page of its thread."""
    store = filled(path, LAST)
    monkeypatch.setattr(checking, "REST", 1e9)
    monkeypatch.setattr(checking, "LONGEST_REST", 60.0)
    store.check.begin()
    before = store._progress.covered
    store.check.start()
    thread = store.check._thread
    while not store._progress.has_passed(before + 1):
        assert thread is not None
        assert thread.is_alive()
    yield store
    store.close()


def test_a_check_that_rests_holds_nothing(resting: SqliteStore) -> None:
    """The log can be folded in, commits and reads go on; what it has passed is handed out, the rest verified."""
    keep(resting, closed(LAST + 1))
    busy, _, _ = resting._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
    assert busy == 0
    assert len(resting.reports.pages(0, LAST + 1, 100, "summary")) == LAST + 1
    assert resting.reports.find(key_of(LAST)) is not None


def test_it_stops_when_told_to(resting: SqliteStore, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        resting.close()
    thread = resting.check._thread
    assert thread is not None
    assert not thread.is_alive()
    assert "was stopped; the next start begins it again" in caplog.text
    again = SqliteStore(path, JOURNAL_KEY)
    assert again.check.run() == LAST
    again.check.stop()
    with pytest.raises(checking.CheckStopped):
        again.check.run()
    again.close()


def test_a_check_that_cannot_read_says_so_and_reads_go_on_verifying(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[JournalDamaged] = []
    store = filled(path, LAST, heard.append)
    store.check.begin()

    def refused(path: Path) -> apsw.Connection:
        raise apsw.IOError("disk I/O error")

    monkeypatch.setattr(checking, "read_only", refused)
    store.check.start()
    assert store.check._thread is not None
    store.check._thread.join(20)
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    assert "until the next start each stored report is checked when it is read" in caplog.text
    assert heard == []
    altered(path, LAST)
    with pytest.raises(JournalDamaged):
        store.reports.by_id(LAST)
    assert len(heard) == 1
    store.close()


def test_nothing_grows_with_what_is_checked(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    fill(store, 3_000, size=1000)
    store.check.begin()
    apsw.memory_high_water(True)
    before = apsw.memory_used()
    tracemalloc.start()
    try:
        store.check.run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 512 * 1024
    assert apsw.memory_high_water() - before < 1024 * 1024
