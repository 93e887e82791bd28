"""Everything that is kept is authenticated: whatever is edited, removed or brought back is found at start and named."""

from __future__ import annotations

from pathlib import Path
import random

import apsw
import pytest

from agent.core.replay import Limits
from agent.licensing.events import ReportsDelivered, ReportsPurged
from agent.licensing.ports import SEPARATORS, Part
from agent.store.authentication import Authentication, join
from agent.store.errors import JournalDamaged, StoreError, StoreNewerError
from agent.store.progress import LOWEST
from agent.store.sqlite import SqliteStore
from agent.store.users import Cost, Users

from .samples import ENDINGS, JOURNAL_KEY, fill, keep, key_of, sampled


@pytest.fixture
def filled(path: Path) -> Path:
    """A closed database with a row in every table."""
    store = SqliteStore(path, JOURNAL_KEY)
    fill(store, 3)
    keep(store, ReportsDelivered(1, (2,)))
    unit = store.begin()
    unit.put_state(b"state as of four")
    unit.put_config(b"configuration")
    unit.put_document("startup", b"another")
    unit.put_document("trial", b"a third")
    unit.append([sampled(5), sampled(6), sampled(7)], {})
    unit.commit()
    store.close()
    users = Users(path, JOURNAL_KEY, Cost(n=2, r=8, p=1))
    users.add("ada", "admin", "secret")
    users.add("bob", "reader", "secret")
    users.close()
    return path


def load(path: Path) -> object:
    """As a start does: the whole store, then the users."""
    store = SqliteStore(path, JOURNAL_KEY)
    try:
        loaded = store.load(), store.check.run(), whole(store)
    finally:
        store.close()
    users = Users(path, JOURNAL_KEY)
    try:
        return loaded, users.all()
    finally:
        users.close()


def whole(store: SqliteStore) -> object:
    """All reports, read in every way."""
    parts: tuple[Part, ...] = ("summary", "detail")
    return (
        [store.reports.by_id(n) for n in (1, 2, 3)],
        store.reports.heads([1, 2, 3]),
        [store.reports.find(key_of(n)) for n in (1, 2, 3)],
        [store.reports.find_row(key_of(n), part) for n in (1, 2, 3) for part in parts],
        [store.reports.pages(0, 3, 3, part) for part in parts],
        [store.reports.joined(0, 3, 3, form, ENDINGS) for form in SEPARATORS],
    )


def test_nothing_is_purged_with_an_edited_row_among_them(path: Path) -> None:
    store = SqliteStore(path, JOURNAL_KEY)
    fill(store, 600)
    store.close()
    apsw.Connection(str(path)).execute("UPDATE reports SET state = 5 WHERE report_id = 555")
    store = SqliteStore(path, JOURNAL_KEY)
    before = store.load()
    with pytest.raises(JournalDamaged, match="555"):
        keep(store, ReportsPurged(1, tuple(range(1, 601))))
    assert store.load() == before
    assert store.reports.by_id(1) is not None
    store.close()


COPY = """INSERT INTO reports SELECT {id}, 'x', state, seal, mac, entitlement_tag, license_name, start, end, closed_at,
    close_reason, digest, summary_xml, summary_json FROM reports WHERE report_id = 1;
    INSERT INTO report_bodies SELECT {id}, document, detail_xml, detail_json FROM report_bodies WHERE report_id = 1"""
EDITS = [
    ("UPDATE journal SET at = at + 1 WHERE seq = 6", "journal", "6"),
    ("UPDATE journal SET type = 'stopped' WHERE seq = 6", "journal", "6"),
    ("UPDATE journal SET body = X'7B7D' WHERE seq = 6", "journal", "6"),
    ("UPDATE journal SET mac = zeroblob(32) WHERE seq = 5", "journal", "5"),
    ("DELETE FROM journal WHERE seq = 5", "journal", "5"),
    ("DELETE FROM journal WHERE seq = 6", "journal", "6"),
    ("DELETE FROM journal WHERE seq = 7", "journal", "7"),
    ("DELETE FROM journal", "journal", "5"),
    ("INSERT INTO journal SELECT 8, at, type, body, mac FROM journal WHERE seq = 7", "journal", "8"),
    ("UPDATE snapshot SET body = X'78'", "snapshot", "1"),
    ("UPDATE snapshot SET seq = 5", "snapshot", "1"),
    ("DELETE FROM snapshot", "journal", "1"),
    ("UPDATE config SET body = X'78'", "config", "1"),
    ("UPDATE config SET mac = zeroblob(32)", "documents", ""),
    ("DELETE FROM config", "documents", ""),
    ("UPDATE documents SET body = X'78' WHERE name = 'trial'", "documents", "trial"),
    ("UPDATE documents SET name = 'other' WHERE name = 'trial'", "documents", ""),
    ("UPDATE documents SET mac = zeroblob(32) WHERE name = 'trial'", "documents", ""),
    ("DELETE FROM documents WHERE name = 'trial'", "documents", ""),
    ("DELETE FROM documents", "config", "1"),
    ("UPDATE head SET seq = 6", "head", "1"),
    ("UPDATE head SET report_count = 2", "head", "1"),
    ("UPDATE head SET config = NULL", "head", "1"),
    ("DELETE FROM head", "head", "1"),
    ("UPDATE reports SET state = 5 WHERE report_id = 2", "reports", "2"),
    ("UPDATE reports SET state = 9 WHERE report_id = 2", "reports", "2"),
    ("UPDATE reports SET digest = 'x' WHERE report_id = 3", "reports", "3"),
    ("UPDATE reports SET key = 'x' WHERE report_id = 1", "reports", "1"),
    ("UPDATE reports SET end = end - 1 WHERE report_id = 1", "reports", "1"),
    ("UPDATE reports SET summary_xml = X'' WHERE report_id = 1", "reports", "1"),
    ("UPDATE reports SET seal = zeroblob(32) WHERE report_id = 1", "reports", "1"),
    ("UPDATE report_bodies SET document = X'7B7D' WHERE report_id = 2", "reports", "2"),
    ("UPDATE report_bodies SET detail_json = X'78' WHERE report_id = 2", "reports", "2"),
    ("DELETE FROM report_bodies WHERE report_id = 2", "report_bodies", "2"),
    ("DELETE FROM reports WHERE report_id = 2", "reports", ""),
    (COPY.format(id=9), "reports", "9"),
    (COPY.format(id=-1), "reports", "-1"),
    (COPY.format(id=LOWEST), "reports", ""),
    (COPY.format(id=-LOWEST - 1), "reports", str(-LOWEST - 1)),
    ("UPDATE users SET role = 'admin' WHERE name = 'bob'", "users", "bob"),
    ("UPDATE users SET hash = (SELECT hash FROM users WHERE name = 'ada') WHERE name = 'bob'", "users", "bob"),
    ("UPDATE users SET ssh_keys = 'ssh-ed25519 AAAA' WHERE name = 'ada'", "users", "ada"),
    ("DELETE FROM users WHERE name = 'bob'", "users", ""),
    ("UPDATE users_head SET epoch = 0", "users_head", "1"),
    ("DELETE FROM users_head", "users_head", "1"),
]


@pytest.mark.parametrize(("edit", "table", "row"), EDITS, ids=[edit for edit, _, _ in EDITS])
def test_an_edit_is_found_and_named(filled: Path, edit: str, table: str, row: str) -> None:
    connection = apsw.Connection(str(filled))
    connection.execute(edit)
    assert connection.changes() > 0
    connection.close()
    with pytest.raises(JournalDamaged) as caught:
        load(filled)
    assert (caught.value.table, caught.value.row) == (table, row)
    assert "from a backup" in str(caught.value)


def test_an_untouched_database_is_found_whole(filled: Path) -> None:
    assert load(filled) == load(filled)


@pytest.mark.parametrize(
    ("edit", "table", "row"),
    [each for each in EDITS if each[1] in ("reports", "report_bodies") and each[2]],
)
def test_nothing_of_an_edited_row_is_handed_out_before_the_check_comes_to_it(
    filled: Path, edit: str, table: str, row: str
) -> None:
    """Every way to read it finds the damage, and tells whoever listens; the other rows are there."""
    connection = apsw.Connection(str(filled))
    connection.execute(edit)
    number = int(row)
    key = connection.execute("SELECT key FROM reports WHERE report_id = ?", (number,)).get
    connection.close()
    heard: list[JournalDamaged] = []
    store = SqliteStore(filled, JOURNAL_KEY, heard.append)
    store.load()
    reads = store.reports
    for read in (
        lambda: reads.by_id(number),
        lambda: reads.find(key),
        lambda: reads.find_row(key, "summary"),
        lambda: reads.find_row(key, "detail"),
        lambda: reads.pages(number - 1, number, 5, "summary"),
        lambda: reads.joined(number - 1, number, 5, "xml", ENDINGS),
        lambda: reads.joined(-9, 2**62 if number < 2**62 else number, 500, "json", ENDINGS),
        lambda: reads.pages(-9, 2**62 if number < 2**62 else number, 500, "detail"),
    ):
        with pytest.raises(JournalDamaged) as caught:
            read()
        assert (caught.value.table, caught.value.row) == (table, row)
        assert heard.pop() is caught.value
    assert [reads.by_id(n) is not None for n in (1, 2, 3) if n != number].count(False) == 0
    assert heard == []
    store.close()


def test_a_row_that_was_purged_cannot_be_brought_back(path: Path) -> None:
    store = SqliteStore(path, JOURNAL_KEY)
    fill(store, 2)
    connection = apsw.Connection(str(path))
    old = connection.execute("SELECT * FROM reports WHERE report_id = 1").fetchall()
    bodies = connection.execute("SELECT * FROM report_bodies WHERE report_id = 1").fetchall()
    keep(store, ReportsPurged(1, (1,)))
    store.close()
    connection.execute(f"INSERT INTO reports VALUES ({','.join('?' * 14)})", old[0])
    connection.execute("INSERT INTO report_bodies VALUES (?, ?, ?, ?)", bodies[0])
    connection.close()
    with pytest.raises(JournalDamaged, match="1 rows were kept, 2 are there"):
        load(path)


def test_an_old_state_cannot_be_put_back(path: Path) -> None:
    """Code and state of the same row as it once was: the row is authentic, the sum is not."""
    store = SqliteStore(path, JOURNAL_KEY)
    fill(store, 1)
    connection = apsw.Connection(str(path))
    state, mac = connection.execute("SELECT state, mac FROM reports").fetchall()[0]
    keep(store, ReportsDelivered(1, (1,)))
    store.close()
    connection.execute("UPDATE reports SET state = ?, mac = ?", (state, mac))
    connection.close()
    with pytest.raises(JournalDamaged, match="table reports: 1 rows were kept, 1 are there, or not the same ones"):
        load(path)


def test_nothing_is_built_on_a_row_that_was_edited_while_the_agent_ran(store: SqliteStore, path: Path) -> None:
    fill(store, 2)
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE reports SET state = 5 WHERE report_id = 2")
    connection.close()
    for event in (ReportsDelivered(1, (1, 2)), ReportsPurged(1, (1, 2))):
        with pytest.raises(JournalDamaged, match="table reports, row 2: its state was changed"):
            keep(store, event)
    row = store.reports.find_row(key_of(1), "summary")
    assert row is not None
    assert row.state == "closed"


def test_a_state_that_is_none_is_noticed_in_a_joined_page(store: SqliteStore, path: Path) -> None:
    """Also where the check has passed the row already: a page is whole, or says which row is not."""
    fill(store, 3)
    store.load()
    store.check.run()
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE reports SET state = 9 WHERE report_id = 2")
    connection.close()
    assert store.reports.joined(2, 3, 5, "xml", ENDINGS) is not None
    with pytest.raises(JournalDamaged, match="9 is not a state") as caught:
        store.reports.joined(0, 3, 5, "xml", ENDINGS)
    assert (caught.value.table, caught.value.row) == ("reports", "2")


def test_a_damaged_index_is_found(filled: Path) -> None:
    """One key is another in the index only: every row is authentic, but report 3 would not be found by its key."""
    connection = apsw.Connection(str(filled))
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_reports_1'").get
    size = connection.pragma("page_size")
    connection.close()
    data = filled.read_bytes()
    place = data.index(key_of(3).encode(), (root - 1) * size, root * size)
    filled.write_bytes(data[:place] + key_of(9).encode() + data[place + len(key_of(3)) :])
    heard: list[JournalDamaged] = []
    store = SqliteStore(filled, JOURNAL_KEY, heard.append)
    store.load()
    for read in (lambda: store.reports.find(key_of(9)), lambda: store.reports.find_row(key_of(9), "detail")):
        with pytest.raises(JournalDamaged, match="table reports, row 3: it was changed"):
            read()
    assert len(heard) == 2
    with pytest.raises(JournalDamaged, match=r"table reports: .*index"):
        store.check.run()
    store.close()


def test_another_journal_key_is_named_as_the_cause(filled: Path) -> None:
    with pytest.raises(JournalDamaged, match="authenticated under another journal key"):
        SqliteStore(filled, bytes(32))
    with pytest.raises(JournalDamaged, match="authenticated under another journal key"):
        Users(filled, bytes(32))


def test_any_changed_byte_is_found_or_changes_nothing(filled: Path) -> None:
    """Random bytes of the file: what loads afterwards is exactly what was written, everything else is a StoreError."""
    data, expected, found = filled.read_bytes(), load(filled), 0
    source = random.Random(20261101)
    for _ in range(150):
        place = source.randrange(len(data))
        changed = bytearray(data)
        changed[place] ^= source.randrange(1, 256)
        filled.write_bytes(changed)
        try:
            assert load(filled) == expected
        except StoreError:
            found += 1
    assert found > 10


@pytest.mark.parametrize("kept", [0, 1, 15, 16, 99, 100, 4095, 4096, 4097, 20_000])
def test_a_file_cut_short_is_refused(filled: Path, kept: int) -> None:
    data = filled.read_bytes()
    assert len(data) > 20_000
    filled.write_bytes(data[:kept])
    with pytest.raises(StoreError, match="from a backup"):
        load(filled)


def test_what_is_no_database_of_ours_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("not a database\n" * 100)
    with pytest.raises(StoreError, match="not a database"):
        SqliteStore(text, JOURNAL_KEY)
    foreign = tmp_path / "foreign.db"
    connection = apsw.Connection(str(foreign))
    connection.execute("CREATE TABLE notes (body TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="is not a database of slp-agent"):
        SqliteStore(foreign, JOURNAL_KEY)
    with pytest.raises(StoreError, match="there is no database"):
        SqliteStore(tmp_path / "none.db", JOURNAL_KEY)
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(StoreError, match="there is no database"):
        SqliteStore(tmp_path, JOURNAL_KEY)


def test_an_event_that_a_newer_agent_wrote_is_named_so(path: Path) -> None:
    """Authentic, but of a kind that this version does not know."""
    authentication = Authentication(JOURNAL_KEY)
    store = SqliteStore(path, JOURNAL_KEY)
    head = store._head
    body = b'{"v":2,"type":"teleported","at":5}'
    mac = authentication.code("journal", head.chain, 1, 5, "teleported", body)
    new = head._replace(seq=1, chain=mac)
    store._connection.execute("INSERT INTO journal VALUES (1, 5, 'teleported', ?, ?)", (body, mac))
    store._connection.execute("UPDATE head SET seq = 1, chain = ?, mac = ?", (mac, authentication.code("head", *new)))
    with pytest.raises(StoreNewerError, match=r"journal row 1: .*teleported.*; run the newer agent"):
        store.load()
    store.close()


def test_codes_cover_where_one_value_ends_and_the_next_begins() -> None:
    values: list[tuple[bytes | int | str | None, ...]] = [
        (b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), ("abc",), ("ab", "c"), (12, 3), (1, 23), (123,),
        (b"123",), (None, b"abc"), (b"abc", None), (b"", b"abc"), (), (None,), (b"",), ("",), (0,), (-1,),
    ]  # fmt: skip
    joined = [join(*each) for each in values]
    assert len(set(joined)) == len(joined)
    with pytest.raises(ValueError, match="32 bytes"):
        Authentication(b"short")


def test_an_edited_event_is_found_where_it_is_read(path: Path) -> None:
    """A row of the event log is authenticated by itself."""
    store = SqliteStore(path, JOURNAL_KEY)
    unit = store.begin()
    unit.put_events([(1, 5.0, "m", "n", b"{}", b"<n/>"), (2, 6.0, "m", "n", b"{}", b"<n/>")], Limits())
    unit.commit()
    store.close()
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE events SET xml = ? WHERE number = 2", (b"<other/>",))
    connection.close()
    store = SqliteStore(path, JOURNAL_KEY)
    try:
        assert len(store.events.after(0, 1)) == 1
        with pytest.raises(JournalDamaged, match=r"events.*2"):
            store.events.after(0, 2)
    finally:
        store.close()
