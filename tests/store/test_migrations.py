"""From every older version to this one with nothing lost; from a newer one not at all; a step is whole or not taken."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import apsw
import pytest

from agent.store import migrations
from agent.store.authentication import Authentication
from agent.store.errors import StoreError, StoreNewerError
from agent.store.migrations import APPLICATION_ID, VERSION, migrate, version_of
from agent.store.sqlite import SqliteStore
from agent.store.users import Cost, Users

from .samples import JOURNAL_KEY, closed, fill, keep, key_of, sampled

AUTHENTICATION = Authentication(JOURNAL_KEY)


def tables(path: Path) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(path))
    rows = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    connection.close()
    return rows


def test_a_database_of_version_1_is_brought_up_with_all_that_it_holds(tmp_path: Path, path: Path) -> None:
    """Version 1 had no users; its tables are made by its own step, and filled with rows that an agent wrote."""
    old = tmp_path / "old.db"
    connection = apsw.Connection(str(old))
    migrate(connection, AUTHENTICATION, upto=1)
    assert version_of(connection) == 1
    connection.close()
    upgraded = SqliteStore(path, JOURNAL_KEY)
    fill(upgraded, 2)
    unit = upgraded.begin()
    unit.put_state(b"state")
    unit.put_config(b"configuration")
    unit.commit()
    keep(upgraded, sampled(3))
    expected = upgraded.load()
    upgraded.close()
    connection = apsw.Connection(str(old))
    connection.execute("ATTACH ? AS source", (str(path),))
    for table in ("head", "journal", "snapshot", "config", "reports", "report_bodies"):
        connection.execute(f"DELETE FROM main.{table}")
        connection.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table}")
    connection.close()

    store = SqliteStore(old, JOURNAL_KEY)
    assert store.load() == expected
    report = store.reports.find(key_of(2))
    assert report is not None
    assert report.document == closed(2).document
    keep(store, closed(3))
    store.close()
    users = Users(old, JOURNAL_KEY, Cost(n=2))
    users.add("ada", "admin", "secret")
    assert users.password("ada", "secret") is not None
    users.close()
    assert tables(old) == tables(path)


def test_released_steps_stay_as_they_are() -> None:
    """A step that a database in the field has taken must not change: mend it by a further step."""
    prints = {}
    for number in range(1, VERSION + 1):
        connection = apsw.Connection(":memory:")
        migrate(connection, AUTHENTICATION, upto=number)
        sql = "\n".join(row[0] or "" for row in connection.execute("SELECT sql FROM sqlite_master ORDER BY name"))
        prints[number] = hashlib.sha256(sql.encode()).hexdigest()[:16]
        connection.close()
    assert prints == {1: "b2eee97cde9d89e7", 2: "112b02889a0b1f0a", 3: "11f60b179af7c3c9", 4: "344b36be8e12552c"}


def test_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", VERSION + 1)
    connection.close()
    before = path.read_bytes()
    for opened in (SqliteStore, Users):
        with pytest.raises(StoreNewerError, match=f"has version {VERSION + 1}, this agent knows up to {VERSION}: run"):
            opened(path, JOURNAL_KEY)
    assert path.read_bytes() == before


def test_a_step_that_fails_leaves_the_version_before_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: apsw.Connection, authentication: Authentication) -> None:
        connection.execute("CREATE TABLE half (x)")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    before = tables(path)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", (*migrations.STEPS, broken))
        connection = apsw.Connection(str(path))
        with pytest.raises(apsw.SQLError, match="nowhere"):
            migrate(connection, AUTHENTICATION, upto=VERSION + 1)
        assert version_of(connection) == VERSION
        connection.close()
    assert tables(path) == before
    store = SqliteStore(path, JOURNAL_KEY)
    keep(store, sampled(1))
    store.close()


def test_a_database_of_ours_without_version_is_refused(tmp_path: Path) -> None:
    """An init that was interrupted before its first step leaves an empty file."""
    empty = tmp_path / "agent.db"
    empty.touch()
    with pytest.raises(StoreError, match=r"is not a database of slp-agent: restore agent\.db"):
        SqliteStore(empty, JOURNAL_KEY)
    connection = apsw.Connection(str(empty))
    connection.pragma("application_id", APPLICATION_ID)
    connection.close()
    with pytest.raises(StoreError, match="is not a database of slp-agent"):
        SqliteStore(empty, JOURNAL_KEY)
