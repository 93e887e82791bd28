"""What every store does, whatever it is made of: one suite over SQLite and memory, and each against the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import tempfile
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.licensing.events import ReportsAcknowledged, ReportsDelivered, ReportsPurged, Sampled, Stopped
from agent.licensing.ports import SEPARATORS, Loaded, ReportRow, Store, StoredReport, head_of
from agent.store.errors import StoreError
from agent.store.memory import MemoryStore
from agent.store.sqlite import SqliteStore

from .samples import ENDINGS, JOURNAL_KEY, closed, fill, keep, key_of, row, sampled


def sqlite_store(folder: Path) -> SqliteStore:
    path = folder / "agent.db"
    SqliteStore.create(path, JOURNAL_KEY)
    return SqliteStore(path, JOURNAL_KEY)


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    makers: dict[str, Callable[[], Store]] = {"sqlite": lambda: sqlite_store(tmp_path), "memory": MemoryStore}
    made = makers[request.param]()
    yield made
    made.close()


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.load() == Loaded(None, (), None)
    assert store.journal_length() == 0
    assert store.reports.max_id() == 0
    assert store.reports.find(key_of(1)) is None
    assert store.reports.by_id(1) is None
    assert store.reports.find_row(key_of(1), "summary") is None
    assert list(store.reports.pages(0, 10, 10, "detail")) == []


def test_what_is_committed_is_there_exactly_as_given(store: Store) -> None:
    keep(store, sampled(5), closed(7))
    unit = store.begin()
    unit.put_config(b"\x00config\xff")
    unit.commit()
    assert store.load() == Loaded(None, (sampled(5), closed(7)), b"\x00config\xff")
    expected = StoredReport(
        report_id=7,
        key=key_of(7),
        entitlement_tag="regid.2026-01.example.ADVANTAGE,1.0_5a3f",
        license_name="network-advantage",
        start=1_699_990_000,
        end=1_700_000_000,
        closed_at=1_700_000_007,
        close_reason="requested",
        state="closed",
        digest=f"{7:064x}",
        document=closed(7).document,
        encoded=row(7),
    )
    assert store.reports.find(key_of(7)) == expected
    assert store.reports.by_id(7) == expected
    assert store.reports.heads([6, 7]) == {7: head_of(expected)}
    kept = row(7)
    assert store.reports.find_row(key_of(7), "summary") == ReportRow(
        7, key_of(7), "closed", kept.summary_xml, kept.summary_json
    )
    assert store.reports.find_row(key_of(7), "detail") == ReportRow(
        7, key_of(7), "closed", kept.detail_xml, kept.detail_json
    )


def test_nothing_shows_before_commit_or_after_rollback(store: Store) -> None:
    unit = store.begin()
    unit.append([closed(1)], {1: row(1)})
    unit.put_config(b"new")
    unit.put_state(b"state")
    assert store.reports.by_id(1) is None
    assert store.load() == Loaded(None, (), None)
    unit.rollback()
    assert store.reports.by_id(1) is None
    assert store.load() == Loaded(None, (), None)
    keep(store, sampled(1))
    assert store.load().events == (sampled(1),)


def test_states_follow_the_events(store: Store) -> None:
    fill(store, 4)
    keep(store, ReportsDelivered(1, (1, 2, 99)))
    keep(store, ReportsAcknowledged(2, (2, 3), (("closed", 1), ("unacknowledged", 1))), ReportsPurged(2, (3, 98)))
    pages = store.reports.pages(0, 10, 10, "summary")
    assert [(each.report_id, each.state) for each in pages] == [
        (1, "unacknowledged"),
        (2, "acknowledged"),
        (4, "closed"),
    ]
    assert store.reports.by_id(3) is None
    assert store.reports.find(key_of(3)) is None
    assert store.reports.max_id() == 4


@pytest.mark.parametrize("checked", [False, True])
def test_joined_pages_are_what_pages_are(store: Store, checked: bool) -> None:
    """Every state with its own ending, in order, to the last row and no further; before and after the check."""
    fill(store, 25)
    keep(store, ReportsDelivered(1, (1, 12, 20)), ReportsAcknowledged(2, (2, 12), ()), ReportsPurged(2, (7,)))
    if isinstance(store, SqliteStore) and checked:
        store.load()
        store.check.run()
        assert store._progress.finished
    for form, between in SEPARATORS.items():
        after, seen = 0, []
        while page := store.reports.joined(after, 24, 10, form, ENDINGS):
            rows = store.reports.pages(after, 24, 10, "summary")
            expected = [(each.xml if form == "xml" else each.json) + ENDINGS[each.state] for each in rows]
            assert page == (rows[-1].report_id, between.join(expected))
            after = page[0]
            seen.append(after)
        assert seen == [11, 21, 24]
        assert store.reports.joined(0, 24, 0, form, ENDINGS) is None


def test_states_of_one_unit_are_those_at_its_end(store: Store) -> None:
    """A report that a unit purges needs no state; one that is stored again under its id has its own."""
    fill(store, 2)
    acknowledged = ReportsAcknowledged(1, (1, 2), (("closed", 2),))
    keep(store, acknowledged, ReportsPurged(1, (1,)), closed(1), ReportsDelivered(2, (1,)))
    pages = store.reports.pages(0, 10, 10, "summary")
    assert [(each.report_id, each.state) for each in pages] == [(1, "unacknowledged"), (2, "acknowledged")]


def test_more_reports_in_one_unit_than_one_statement_names(store: Store) -> None:
    fill(store, 700)
    keep(store, ReportsDelivered(1, tuple(range(1, 601))))
    keep(store, ReportsAcknowledged(2, gone := tuple(range(50, 650)), (("closed", 600),)), ReportsPurged(2, gone))
    states = {number: head.state for number, head in store.reports.heads(range(1, 701)).items()}
    assert states == dict.fromkeys(range(1, 50), "unacknowledged") | dict.fromkeys(range(650, 701), "closed")


def test_a_purged_report_may_not_hide_that_its_key_was_used(store: Store) -> None:
    """An id that is free again can be stored again; that none comes twice is the kernel's promise."""
    keep(store, closed(1), ReportsPurged(2, (1,)), closed(1))
    assert store.reports.by_id(1) is not None


def test_a_report_is_stored_once(store: Store) -> None:
    keep(store, closed(1))
    before = store.load()
    unit = store.begin()
    unit.append([sampled(9), closed(2), closed(1)], {1: row(1), 2: row(2)})
    with pytest.raises(StoreError, match=r"report 1 \(PID:AGENT-1,SN:9ABCDE,REPORT:1\) is stored already"):
        unit.commit()
    assert store.load() == before
    assert store.reports.by_id(2) is None
    keep(store, closed(2))
    assert store.reports.max_id() == 2


def test_a_closed_report_needs_its_row(store: Store) -> None:
    unit = store.begin()
    with pytest.raises(ValueError, match="report 3 was closed without its encoded row"):
        unit.append([closed(3)], {2: row(2)})
    unit.rollback()
    assert store.load().events == ()


def test_units_come_one_at_a_time_and_end_once(store: Store) -> None:
    unit = store.begin()
    with pytest.raises(StoreError, match="open already"):
        store.begin()
    unit.commit()
    for again in (unit.commit, lambda: unit.put_config(b""), lambda: unit.append([], {}), lambda: unit.put_state(b"")):
        with pytest.raises(StoreError, match="has ended"):
            again()
    unit.rollback()
    second = store.begin()
    unit.rollback()
    with pytest.raises(StoreError, match="open already"):
        store.begin()
    second.rollback()


def test_a_snapshot_takes_the_place_of_the_events_before_it(store: Store) -> None:
    keep(store, sampled(1), sampled(2))
    assert store.journal_length() == 2
    unit = store.begin()
    unit.append([sampled(3)], {})
    unit.put_state(b"after three")
    unit.append([sampled(4)], {})
    unit.commit()
    assert store.journal_length() == 1
    assert store.load() == Loaded(b"after three", (sampled(4),), None)
    unit = store.begin()
    unit.put_state(b"after four")
    unit.commit()
    assert store.journal_length() == 0
    assert store.load() == Loaded(b"after four", (), None)
    keep(store, sampled(5))
    assert store.load() == Loaded(b"after four", (sampled(5),), None)


def test_pages_walk_all_reports_that_were_there_at_the_start(store: Store) -> None:
    fill(store, 25)
    upto = store.reports.max_id()
    seen: list[int] = []
    after = 0
    while page := store.reports.pages(after, upto, 10, "detail"):
        assert len(page) <= 10
        seen += [each.report_id for each in page]
        after = page[-1].report_id
        # Meanwhile others close and purge: what is new stays out, what is gone is passed over.
        keep(store, closed(upto + len(seen)), ReportsPurged(1, (after + 1,)))
    assert seen == [n for n in range(1, 26) if n not in (11, 22)]
    assert list(store.reports.pages(0, upto, 0, "summary")) == []


ids = st.lists(st.integers(1, 8), max_size=4, unique=True).map(tuple)
event = st.one_of(
    st.integers(1, 8).map(closed),
    st.builds(ReportsDelivered, st.integers(0, 99), ids),
    st.builds(ReportsAcknowledged, st.integers(0, 99), ids, st.just(())),
    st.builds(ReportsPurged, st.integers(0, 99), ids),
    st.builds(Sampled, st.integers(0, 99)),
    st.builds(Stopped, st.integers(0, 99)),
)
step = st.one_of(
    st.tuples(st.just("events"), st.lists(event, max_size=5)),
    st.tuples(st.sampled_from(["config", "state"]), st.binary(max_size=20)),
)
unit_of_work = st.tuples(st.lists(step, max_size=4), st.booleans())


@settings(max_examples=60)
@given(st.lists(unit_of_work, max_size=6))
def test_sqlite_and_memory_agree_and_sqlite_agrees_with_itself_after_reopening(
    work: list[tuple[list[tuple[str, Any]], bool]],
) -> None:
    """Any units, some of them rolled back or refused, read the same from both; then again from the file alone."""
    with tempfile.TemporaryDirectory() as folder:
        disk, memory = sqlite_store(Path(folder)), MemoryStore()
        for steps, commit in work:
            assert perform(disk, steps, commit) == perform(memory, steps, commit)
            assert everything(disk) == everything(memory)
        disk.close()
        again = SqliteStore(Path(folder) / "agent.db", JOURNAL_KEY)
        assert everything(again) == everything(memory)
        again.close()


def perform(store: Store, steps: list[tuple[str, Any]], commit: bool) -> str:
    unit = store.begin()
    for word, value in steps:
        match word:
            case "events":
                unit.append(value, {n: row(n) for n in range(9)})
            case "config":
                unit.put_config(value)
            case _:
                unit.put_state(value)
    try:
        if commit:
            unit.commit()
        else:
            unit.rollback()
    except StoreError as error:
        return str(error)
    return ""


def everything(store: Store) -> tuple[object, ...]:
    return (
        store.load(),
        store.journal_length(),
        store.reports.max_id(),
        [store.reports.by_id(n) for n in range(9)],
        list(store.reports.pages(0, 9, 9, "summary")),
        list(store.reports.pages(0, 9, 9, "detail")),
    )


def test_documents_are_kept_by_name_and_dropped(store: Store) -> None:
    """Configuration documents beside running: in the unit of work, replaced and dropped by name, never by rollback."""
    unit = store.begin()
    unit.put_document("startup", b"\x00one\xff")
    unit.put_document("trial", b"two")
    unit.put_config(b"running")
    unit.commit()
    assert store.load() == Loaded(None, (), b"running", {"startup": b"\x00one\xff", "trial": b"two"})
    unit = store.begin()
    unit.put_document("startup", None)
    unit.rollback()
    unit = store.begin()
    unit.put_document("trial", None)
    unit.put_document("startup", b"three")
    unit.put_document("never", None)
    unit.commit()
    assert store.load() == Loaded(None, (), b"running", {"startup": b"three"})
    unit = store.begin()
    unit.put_document("startup", None)
    unit.commit()
    assert store.load() == Loaded(None, (), b"running", {})


class Limits(NamedTuple):
    entries: int = 100
    octets: int = 100_000
    age: float = 1000.0


AMPLE = Limits()


def logged(number: int, at: float = 0.0, size: int = 10) -> tuple[int, float, str, str, bytes, bytes]:
    return number, at or float(number), "module", "name", b"{}", b"x" * (size - 2)


def log(store: Store, *entries: tuple[int, float, str, str, bytes, bytes], limits: Limits = AMPLE) -> None:
    unit = store.begin()
    unit.put_events(entries, limits)
    unit.commit()


def test_events_are_kept_in_order(store: Store) -> None:
    """The log of events: within its unit of work or not at all; read by number and by time."""
    assert store.events.bounds() is None
    log(store, logged(3), logged(5, 5.25))
    unit = store.begin()
    unit.put_events([logged(6)], Limits())
    unit.rollback()
    assert list(store.events.after(0, 10)) == [logged(3), logged(5, 5.25)]
    assert list(store.events.after(3, 10)) == [logged(5, 5.25)]
    assert list(store.events.after(0, 1)) == [logged(3)]
    assert [store.events.since(at) for at in (1.0, 3.0, 3.5, 5.25, 6.0)] == [3, 3, 5, 5, None]
    assert store.events.bounds() == (3.0, None, 5)


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (Limits(entries=4), [97, 98, 99, 100]),
        (Limits(entries=1), [100]),
        (Limits(octets=30), [98, 99, 100]),
        (Limits(octets=5), [100]),
        (Limits(age=2.0), [98, 99, 100]),
        (Limits(entries=1000), list(range(1, 101))),
    ],
)
def test_the_oldest_events_are_dropped(store: Store, limits: Limits, left: list[int]) -> None:
    """Bounds in entries, octets and age, whether events come one by one or the bounds were lowered at once."""
    log(store, *(logged(number) for number in range(1, 100)))
    log(store, logged(100), limits=limits)
    assert [entry[0] for entry in store.events.after(0, 1000)] == left
    aged = None if left[0] == 1 else float(left[0] - 1)
    assert store.events.bounds() == (1.0, aged, 100)
    log(store, logged(101), limits=limits)
    assert [entry[0] for entry in store.events.after(0, 1000)][-2:] == [100, 101][-len(left) :]
