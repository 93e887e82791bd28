"""Full sweeps of the collector are put off, and made up for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
import gc
import threading
from typing import Any

import pytest

from agent.core.sweeps import quiet


@pytest.fixture
def sweeps() -> Iterator[list[int]]:
    """The generations that are swept meanwhile; what the tests have made before is out of the collector's sight."""
    found: list[int] = []

    def seen(phase: str, about: dict[str, Any]) -> None:
        if phase == "stop":
            found.append(about["generation"])

    gc.freeze()
    gc.collect()
    gc.callbacks.append(seen)
    yield found
    gc.callbacks.remove(seen)
    gc.unfreeze()


def many() -> None:
    """Objects enough for several full sweeps."""
    kept: list[list[int]] = []
    kept.extend([] for _ in range(200_000))


@pytest.mark.parametrize("put_off", [False, True])
def test_no_full_sweep_within(sweeps: list[int], put_off: bool) -> None:
    with quiet(lambda: False) if put_off else nullcontext():
        many()
        within = list(sweeps)
    assert 1 in within
    assert (2 in within) is not put_off


@pytest.mark.parametrize("asked", [False, True])
def test_one_at_the_end(sweeps: list[int], asked: bool) -> None:
    """Asked for when the work is done, also where that fails."""
    done: list[bool] = []

    def work() -> None:
        with quiet(lambda: asked and bool(done)):
            done.append(True)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert (2 in sweeps) is asked


def test_other_threads_and_several_at_once(sweeps: list[int]) -> None:
    """The thresholds come back when the last one ends, whichever began first."""
    before = gc.get_threshold()
    first, second = quiet(lambda: False), quiet(lambda: False)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    thread = threading.Thread(target=many)
    thread.start()
    thread.join()
    assert 2 not in sweeps
    assert gc.get_threshold() != before
    second.__exit__(None, None, None)
    assert gc.get_threshold() == before
