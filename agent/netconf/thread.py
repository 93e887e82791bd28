"""The thread that NETCONF lives on: one event loop, whatever the transports in it. Nothing else may run here."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
import threading
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")
END_LIMIT = 5.0
"""Seconds after which `end` no longer waits."""


class LoopThread:
    """An event loop in a daemon thread, from `start` to `end`."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="netconf", daemon=True)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run it there and give back its result. Raises what it raises; TimeoutError after `timeout` seconds."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def end(self) -> None:
        """Cancel what still runs there, and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(END_LIMIT)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        finally:
            self._loop.close()
