"""Full sweeps of the garbage collector, put off while somebody makes many objects that he frees himself.

A full sweep goes over every object that is alive and stops all threads meanwhile: half a second for a million. It
comes again each time that their number has grown by a quarter. The short sweeps over what is new go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import gc
from threading import Lock
from typing import Final

_NEVER: Final = 2**31 - 1
_lock = Lock()
_before: list[tuple[int, int, int]] = []
"""The thresholds that were in force, once for each `quiet` that has not ended."""


@contextmanager
def quiet(sweep: Callable[[], bool]) -> Iterator[None]:
    """No full sweep within, on any thread; at the end one at once, where `sweep` says so.

    Those who follow close upon each other leave the collector no time between, so that long ones ask for it.
    """
    with _lock:
        _before.append(_before[-1] if _before else gc.get_threshold())
        gc.set_threshold(*_before[-1][:2], _NEVER)
    try:
        yield
    finally:
        with _lock:
            thresholds = _before.pop()
            if not _before:
                gc.set_threshold(*thresholds)
        if sweep():
            gc.collect()
