"""The core thread, the hub and the sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import logging
import threading
import time

import pytest

from agent.clock import LabClock, SystemClock
from agent.core import sessions as sessions_module
from agent.core.hub import Event, Hub
from agent.core.loop import Loop, LoopStoppedError
from agent.core.sessions import Sessions
from tests.toy.build import ADMIN


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop(SystemClock())
    loop.start()
    yield loop
    loop.stop()


def test_results_and_exceptions(loop: Loop) -> None:
    """A future carries the result or the exception, and the thread goes on after one."""

    def broken() -> None:
        raise ValueError("broken")

    assert loop.submit(lambda: 7).result(5) == 7
    with pytest.raises(ValueError, match="broken"):
        loop.submit(broken).result(5)
    assert loop.submit(lambda: loop.here).result(5)
    assert not loop.here


def test_order_and_draining(loop: Loop) -> None:
    """Work runs in the order of submission, and all of it before the end."""
    done: list[int] = []
    for number in range(100):
        loop.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    loop.stop()
    assert done == list(range(100))
    loop.stop()
    with pytest.raises(LoopStoppedError):
        loop.submit(lambda: 1).result(5)


def test_cancelled_work_is_not_done(loop: Loop) -> None:
    held, go = threading.Event(), threading.Event()
    first = loop.submit(lambda: (held.set(), go.wait(5)))
    assert held.wait(5)
    second = loop.submit(lambda: 1)
    assert second.cancel()
    go.set()
    first.result(5)
    assert loop.submit(lambda: 2).result(5) == 2


class Deadlines:
    """A list of due moments; `times` says when each was run."""

    def __init__(self, clock: SystemClock | LabClock, spans: list[float]) -> None:
        self.clock = clock
        self.due = [clock.now() + span for span in spans]
        self.times: list[float] = []
        self.done = threading.Event()
        self.broken = 0

    def next(self) -> float | None:
        return self.due[0] if self.due else None

    def run(self) -> None:
        if self.broken:
            self.broken -= 1
            raise OSError("broken")
        self.times.append(self.clock.now() - self.due.pop(0))
        if not self.due:
            self.done.set()


def run_deadlines(deadlines: Deadlines, meanwhile: Callable[[Loop], None] = lambda loop: None) -> None:
    loop = Loop(deadlines.clock, deadline=deadlines.next, on_deadline=deadlines.run)
    loop.start()
    meanwhile(loop)
    assert deadlines.done.wait(30)
    loop.stop()
    assert all(late >= 0 for late in deadlines.times)


def test_deadlines_in_real_time() -> None:
    run_deadlines(Deadlines(SystemClock(), [0.0, 0.05, 0.1]))


def test_deadlines_in_lab_time() -> None:
    """A month of daily deadlines passes in a fraction of a second, each run once and in its order."""
    now = time.time()
    clock = LabClock(start=1_800_000_000, wall_start=now, rate=30 * 86400 / 0.2)
    run_deadlines(Deadlines(clock, [day * 86400.0 for day in range(30)]))


def test_a_deadline_is_met_while_work_comes_in() -> None:
    """A busy inbox does not hold up what is due."""
    deadlines = Deadlines(SystemClock(), [0.05])
    done: list[bool] = []

    def busy(loop: Loop) -> None:
        for _ in range(200):
            loop.submit(lambda: (time.sleep(0.001), done.append(bool(deadlines.times))))

    run_deadlines(deadlines, busy)
    assert len(done) == 200
    assert done[-1], "all the work came first"


def test_a_new_deadline_is_seen_at_once() -> None:
    deadlines = Deadlines(SystemClock(), [3600.0])

    def sooner(loop: Loop) -> None:
        def change() -> None:
            deadlines.due = [deadlines.clock.now()]

        loop.submit(change)

    run_deadlines(deadlines, sooner)


def test_a_failing_deadline_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """The handler's exception is logged, the thread lives, and the work is tried again after a pause."""
    deadlines = Deadlines(LabClock(start=0, wall_start=time.time(), rate=1), [0.0])
    deadlines.broken = 1
    started = time.monotonic()
    with caplog.at_level(logging.ERROR):
        run_deadlines(deadlines, lambda loop: [loop.submit(lambda: None) for _ in range(50)] and None)
    assert time.monotonic() - started > 0.9
    assert caplog.text.count("tried again") == 1


def test_several_sources_of_deadlines(caplog: pytest.LogCaptureFixture) -> None:
    """The earliest counts; one that fails is held back alone."""
    clock = SystemClock()
    first, second = Deadlines(clock, [0.15]), Deadlines(clock, [0.05, 0.1])
    loop = Loop(clock, deadline=lambda: 1.0, on_deadline=lambda: [].pop())
    loop.add_timer(first.next, first.run)
    loop.add_timer(second.next, second.run)
    loop.start()
    assert first.done.wait(30)
    assert second.done.wait(30)
    loop.stop()
    assert (len(first.times), len(second.times)) == (1, 2)
    assert "the work of a deadline failed" in caplog.text


def test_a_deadline_that_is_not_worked_off_does_not_spin() -> None:
    runs: list[int] = []
    clock = SystemClock()
    loop = Loop(clock, deadline=lambda: 1.0, on_deadline=lambda: runs.append(1))
    begun = time.monotonic()
    loop.start()
    time.sleep(0.1)
    loop.submit(lambda: None).result(30)
    loop.stop()
    # once, and again after each pause of a second
    assert 1 <= len(runs) <= 1 + time.monotonic() - begun


def test_a_deadline_that_cannot_be_computed(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> float:
        raise KeyError("x")

    loop = Loop(SystemClock(), deadline=broken, on_deadline=lambda: None)
    with caplog.at_level(logging.ERROR):
        loop.start()
        assert loop.submit(lambda: 1).result(5) == 1
        loop.stop()
    assert "could not be computed" in caplog.text


def test_hub(caplog: pytest.LogCaptureFixture) -> None:
    """All subscribers get each event in order; one that fails harms nobody; who has left gets nothing."""
    hub = Hub()
    assert not hub.watched
    first: list[Event] = []
    second: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("broken")

    leave = hub.subscribe(first.append)
    hub.subscribe(broken)
    hub.subscribe(second.append)
    assert hub.watched
    with caplog.at_level(logging.ERROR):
        hub.publish("toy", "greeted", {"who": "a"}, 1.0)
    leave()
    leave()
    hub.publish("toy", "greeted", {"who": "b"}, 2.0)
    assert [event.tree["who"] for event in first] == ["a"]
    assert second == [Event("toy", "greeted", {"who": "a"}, 1.0), Event("toy", "greeted", {"who": "b"}, 2.0)]
    assert "toy:greeted" in caplog.text


def test_session_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 2: ids are 1..4294967295, never one that is open, and start again after the highest."""
    monkeypatch.setattr(sessions_module, "HIGHEST_ID", 3)
    sessions = Sessions(SystemClock())
    opened = [sessions.open(ADMIN, "local", "", end=lambda reason: None) for _ in range(3)]
    assert [session.id for session in opened] == [1, 2, 3]
    assert sessions.close(opened[1], "closed")
    assert not sessions.close(opened[1], "closed")
    again = sessions.open(ADMIN, "local", "", end=lambda reason: None)
    assert again.id == 2
    assert sessions.find(2) is again
    assert sessions.find(9) is None
    assert sessions.all() == (opened[0], opened[2], again)
