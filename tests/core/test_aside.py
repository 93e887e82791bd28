"""Operations in steps: slow parts beside the core thread, the rest on it; failures, cancelling, the loop's end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import threading
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.core.aside import MOST, Aside, Steps, Together
from agent.core.loop import Loop, LoopStoppedError
from agent.errors import RequestError, refuse

SECONDS = 10


class Rig:
    def __init__(self) -> None:
        self.loop = Loop(SystemClock())
        self.failures: list[str] = []
        self.aside = Aside(self.loop, self.failed)
        self.loop.start()

    def failed(self, what: str) -> RequestError:
        self.failures.append(what)
        return refuse("operation-failed", "it failed")

    def stop(self) -> None:
        self.aside.stop()
        self.loop.stop()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.stop()


def here() -> str:
    return threading.current_thread().name


def test_slow_parts_run_beside_the_rest_on_the_core_thread(rig: Rig) -> None:
    seen: list[str] = []

    def steps() -> Steps:
        seen.append(here())
        first = yield here
        seen.append(here())
        second = yield here
        seen.append(here())
        return {"beside": [first, second]}

    answer = rig.aside.run(steps).result(SECONDS)
    assert seen == ["core"] * 3
    assert answer is not None
    assert all(name.startswith("aside") for name in answer["beside"])


def test_others_are_served_while_a_part_runs(rig: Rig) -> None:
    """By the order of events: the slow part ends only after another request has had its answer."""
    begun, gate = threading.Event(), threading.Event()

    def slow() -> bool:
        begun.set()
        return gate.wait(SECONDS)

    def steps() -> Steps:
        return {"waited": (yield slow)}

    answer = rig.aside.run(steps)
    assert begun.wait(SECONDS)
    assert rig.aside.run(lambda: {"quick": True}).result(SECONDS) == {"quick": True}
    assert not answer.done()
    gate.set()
    assert answer.result(SECONDS) == {"waited": True}


def test_a_part_that_fails_is_raised_where_it_was_yielded(rig: Rig) -> None:
    def bad() -> None:
        raise OSError("full")

    def steps() -> Steps:
        try:
            yield bad
        except OSError as error:
            return {"caught": str(error)}
        return None

    assert rig.aside.run(steps).result(SECONDS) == {"caught": "full"}

    def uncaught() -> Steps:
        yield bad
        return None

    with pytest.raises(RequestError, match="it failed"):
        rig.aside.run(uncaught).result(SECONDS)
    assert rig.failures == ["an operation"]


@pytest.mark.parametrize("at", ["first", "part", "last"])
def test_a_refusal_reaches_the_caller_as_it_is(rig: Rig, at: str) -> None:
    def no(where: str) -> None:
        if where == at:
            raise refuse("in-use", where)

    def steps() -> Steps:
        no("first")
        yield lambda: no("part")
        no("last")
        return None

    with pytest.raises(RequestError, match=at):
        rig.aside.run(steps).result(SECONDS)
    assert rig.failures == []


def test_what_is_no_generator_is_answered_at_once(rig: Rig) -> None:
    assert rig.aside.run(lambda: None).result(SECONDS) is None

    def wrong() -> None:
        raise refuse("in-use", "no")

    with pytest.raises(RequestError, match="no"):
        rig.aside.run(wrong).result(SECONDS)


def test_a_cancelled_request_is_not_begun(rig: Rig) -> None:
    gate = threading.Event()
    rig.loop.submit(lambda: gate.wait(SECONDS))
    ran: list[int] = []
    answer = rig.aside.run(lambda: ran.append(1))
    assert answer.cancel()
    gate.set()
    rig.loop.submit(lambda: None).result(SECONDS)
    assert ran == []


def test_one_go_takes_no_more_than_its_most_and_others_come_between(rig: Rig) -> None:
    """Of what waits behind a held loop, each go takes its share in order; a call that came later is served between."""
    seen: list[Any] = []

    def act(items: Sequence[Any]) -> Sequence[Any]:
        if not seen:
            rig.loop.submit(lambda: seen.append("other"))
        seen.append(list(items))
        return items

    def steps(item: int) -> Steps:
        return {"item": (yield Together(item, act))}

    gate = threading.Event()
    rig.loop.submit(lambda: gate.wait(SECONDS))
    answers = [rig.aside.run(lambda item=number: steps(item)) for number in range(MOST + 3)]  # type: ignore[misc]
    gate.set()
    assert [(answer.result(SECONDS) or {})["item"] for answer in answers] == list(range(MOST + 3))
    assert seen == [list(range(MOST)), "other", list(range(MOST, MOST + 3))]


def test_the_end_waits_for_the_part_that_runs_and_begins_no_other() -> None:
    """The part that runs is finished, and what follows it; one that waits is told; later requests are, too."""
    rig = Rig()
    begun, gate, done = threading.Event(), threading.Event(), []

    def slow() -> Any:
        begun.set()
        gate.wait(SECONDS)
        return "written"

    def steps() -> Steps:
        done.append((yield slow))
        return {"answer": True}

    def two() -> Steps:
        yield slow
        yield slow
        return None

    first, waiting = rig.aside.run(steps), rig.aside.run(two)
    assert begun.wait(SECONDS)
    rig.loop.submit(lambda: None).result(SECONDS)
    ending = threading.Thread(target=rig.stop)
    ending.start()
    gate.set()
    ending.join(SECONDS)
    assert not ending.is_alive()
    assert first.result(SECONDS) == {"answer": True}
    assert done == ["written"]
    for answer in (waiting, rig.aside.run(lambda: None)):
        with pytest.raises(LoopStoppedError):
            answer.result(SECONDS)
