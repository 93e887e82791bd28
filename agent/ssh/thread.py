"""The thread that NETCONF lives on: one event loop with the SSH listener in it. Nothing else may run here."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
import socket
import threading
from typing import Any, TypeVar

import uvloop

from agent.ssh.server import SshServer

T = TypeVar("T")
STOP_LIMIT = 5.0
"""Seconds after which `stop` no longer waits."""


class SshThread:
    """Starts and stops an `SshServer` from any other thread."""

    def __init__(self, server: SshServer) -> None:
        self._server = server
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="netconf", daemon=True)

    def start(self, host: str, port: int, bound: socket.socket | None = None) -> tuple[str, int]:
        """Listen, and return the address; `bound` is a listening socket that is used instead of host and port.

        Raises OSError; the thread has then ended.
        """
        self._thread.start()
        try:
            return self._call(self._server.start(host, port, bound)).result()
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        """End all sessions and the thread."""
        if not self._thread.is_alive():
            return
        try:
            self._call(self._server.stop()).result(STOP_LIMIT)
        finally:
            self._end()

    def _call(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_LIMIT)

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
