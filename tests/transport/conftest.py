"""Agents that are ended when their test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent import app
from tests.transport.rig import Rig

Make = Callable[..., Rig]
SCHEMA = app.load_schema()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One schema for all agents: reading it takes longer than most tests."""
    monkeypatch.setattr(app, "load_schema", lambda: SCHEMA)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Rig] = []

    def one(**changes: object) -> Rig:
        rig = Rig(tmp_path, **changes)  # type: ignore[arg-type]
        made.append(rig)
        return rig

    yield one
    for rig in made:
        rig.dispatch.stop()
        rig.store.close()


@pytest.fixture
def rig(make: Make) -> Rig:
    """An agent that was just set up."""
    return make()
