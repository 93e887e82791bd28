"""Agents that are ended when their test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.transport.rig import Rig

Make = Callable[..., Rig]


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
