"""Rigs that are ended when their test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent import app
from agent.northbound.bound import Bindings
from tests.northbound.kit import Rig

Make = Callable[..., Rig]


@pytest.fixture(scope="session", autouse=True)
def shared_models() -> Iterator[None]:
    """One schema and its bindings for all rigs of these tests: they never change, and reading them is the slow part."""
    with pytest.MonkeyPatch.context() as patch:
        schema = app.load_schema()
        bindings = Bindings(schema)
        patch.setattr(app, "load_schema", lambda: schema)
        patch.setattr(app, "Bindings", lambda _, strange=(): bindings)
        yield


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes further rigs in memory: `make(lab=True)`; a `path` puts the store into a file, `store` takes that one."""
    made: list[Rig] = []

    def one(path: Path | None = None, store: object = None, **changes: object) -> Rig:
        if path is not None:
            rig = Rig.sqlite(path, **changes)
        elif store is not None:
            rig = Rig.over(store, **changes)  # type: ignore[arg-type]
        else:
            rig = Rig.memory(**changes)
        made.append(rig)
        return rig

    yield one
    for rig in made:
        rig.end(crash=True)


@pytest.fixture
def rig(make: Make) -> Rig:
    """An agent that was just set up, over a store in memory."""
    return make()


@pytest.fixture(params=["memory", "sqlite"])
def either(request: pytest.FixtureRequest, make: Make, tmp_path: Path) -> Rig:
    """Over each of the two stores."""
    return make(tmp_path / "agent.db") if request.param == "sqlite" else make()


@pytest.fixture
def durable(make: Make, tmp_path: Path) -> Rig:
    """Over a real file."""
    return make(tmp_path / "agent.db")
