"""The core thread: runs what is submitted one by one, and keeps the timers. Nothing else may own state here."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
import logging
import queue
import threading
from typing import Any, TypeVar

from agent.clock import Clock

log = logging.getLogger(__name__)
T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Real seconds after which the deadline is looked at again: a wall clock that was set must not be slept through."""

AFTER_FAILURE = 1.0
"""Real seconds before a deadline whose handler failed, or left the deadline in the past, is tried again."""


class LoopStoppedError(Exception):
    """Work was submitted to a core thread that is not running (any more)."""


class _Timer:
    """One source of deadlines and the work that is then due. Core thread."""

    def __init__(self, clock: Clock, deadline: Callable[[], float | None], work: Callable[[], None]) -> None:
        self._clock = clock
        self._deadline = deadline
        self._work = work
        self._hold = 0.0

    def next(self) -> float | None:
        """When the work is to be done, in clock seconds; one that failed is held back for a while."""
        try:
            moment = self._deadline()
        except Exception:
            log.exception("the next deadline could not be computed")
            return None
        return None if moment is None else max(moment, self._hold)

    def tick(self) -> None:
        """Do the work if it is due."""
        now = self._clock.now()
        pause = AFTER_FAILURE * self._clock.rate
        if self._hold > now + pause:  # the clock was set back
            self._hold = 0.0
        moment = self.next()
        if moment is None or moment > now:
            return
        self._hold = 0.0
        try:
            self._work()
        except Exception:
            log.exception("the work of a deadline failed; it is tried again")
            self._hold = now + pause
            return
        if self.next() == moment:  # nothing was done about it: do not spin
            self._hold = now + pause


class Loop:
    """An inbox, futures, and the earliest of several deadlines."""

    def __init__(
        self,
        clock: Clock,
        *,
        deadline: Callable[[], float | None] | None = None,
        on_deadline: Callable[[], None] | None = None,
    ) -> None:
        """`deadline` and `on_deadline` are the first source (see `add_timer`)."""
        self._clock = clock
        self._timers: list[_Timer] = []
        if deadline is not None and on_deadline is not None:
            self.add_timer(deadline, on_deadline)
        self._inbox: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._running = False
        self._thread = threading.Thread(target=self._run, name="core", daemon=True)

    def add_timer(self, deadline: Callable[[], float | None], on_deadline: Callable[[], None]) -> None:
        """Before `start`: one more source of deadlines.

        `deadline()` gives the next moment (clock seconds) at which `on_deadline()` is due, or None; it is asked again
        after each piece of work. Both run on the core thread.
        """
        self._timers.append(_Timer(self._clock, deadline, on_deadline))

    def start(self) -> None:
        with self._gate:
            self._running = True
        self._thread.start()

    def stop(self) -> None:
        """Finish all that was submitted, then end the thread. Later submissions fail with LoopStoppedError."""
        with self._gate:
            if not self._running:
                return
            self._running = False
            self._inbox.put(None)
        self._thread.join()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run `call` on the core thread; its result or exception is the future's."""
        future: Future[T] = Future()
        with self._gate:
            if self._running:
                self._inbox.put((call, future))
                return future
        future.set_exception(LoopStoppedError("the agent is shutting down: try again after its restart"))
        return future

    def wake(self) -> None:
        """Look at the deadline again (it may have changed elsewhere, or the clock was set)."""
        self.submit(lambda: None)

    @property
    def has_more(self) -> bool:
        """Whether something waits for the work of now to end."""
        return not self._inbox.empty()

    @property
    def here(self) -> bool:
        """Whether the caller is the core thread itself."""
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        while True:
            try:
                item = self._inbox.get(timeout=self._wait())
            except queue.Empty:
                self._tick()
                continue
            if item is None:
                return
            call, future = item
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
            item = call = future = result = None  # type: ignore[assignment]  # a waiting loop keeps no reply alive
            self._tick()

    def _wait(self) -> float:
        moments = [moment for timer in self._timers if (moment := timer.next()) is not None]
        if not moments:
            return LONGEST_WAIT
        return min(max(self._clock.wall_seconds(min(moments) - self._clock.now()), 0.0), LONGEST_WAIT)

    def _tick(self) -> None:
        for timer in self._timers:
            timer.tick()
