"""One SQLite store in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.store.sqlite import SqliteStore

from .samples import JOURNAL_KEY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A new, empty database."""
    path = tmp_path / "agent.db"
    SqliteStore.create(path, JOURNAL_KEY)
    return path


@pytest.fixture
def reopen(path: Path) -> Iterator[Callable[[], SqliteStore]]:
    """Closes the store that it gave before, and gives a fresh one over the same file."""
    given: list[SqliteStore] = []

    def fresh() -> SqliteStore:
        for store in given:
            store.close()
        given[:] = [SqliteStore(path, JOURNAL_KEY)]
        return given[0]

    yield fresh
    for store in given:
        store.close()


@pytest.fixture
def store(reopen: Callable[[], SqliteStore]) -> SqliteStore:
    return reopen()
