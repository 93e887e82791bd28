"""A sample of a million calls a minute: batched, answered or refused each, in bounded memory, and nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
import json
from pathlib import Path
import threading
import tracemalloc
from typing import Any

import pytest

from agent.codec import json as json_codec
from agent.core import aside
from agent.core.loop import LoopStoppedError
from agent.core.requests import Invoke
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.errors import RequestError
from agent.formats.rum import read_payload
from agent.licensing.commands import RecordUsage
from agent.licensing.ports import StorageFullError
from agent.licensing.refusals import CODES
from tests.transport.rig import ADMIN, SECONDS, Rig

SESSIONS = "regid.2026-11.test.SES,1.0_02"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.end()


class Held:
    """The core thread, held while a test fills its inbox."""

    def __init__(self, rig: Rig) -> None:
        self._gate = threading.Event()
        rig.dispatch.loop.submit(lambda: self._gate.wait(SECONDS))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._gate.set()


def call(rig: Rig, licence: str, count: int, session: Session | None = None) -> Future[Tree | None]:
    node = rig.dispatch.schema.rpcs["slp-agent", "record-usage"]
    given = json_codec.decode_input({"license": licence, "count": count}, node)
    return rig.dispatch.submit(Invoke(node, given), session or rig.session(ADMIN))


def commits(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each transaction that is made durable."""
    found: list[int] = []
    begin = rig.store.begin

    def counted() -> Any:
        unit = begin()
        commit = unit.commit

        def committed() -> None:
            commit()
            found.append(1)

        unit.commit = committed  # type: ignore[method-assign]
        return unit

    monkeypatch.setattr(rig.store, "begin", counted)
    return found


def test_calls_that_wait_share_a_transaction(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand calls at once, good and bad: each its answer, few transactions, the last good one stands."""
    found = commits(rig, monkeypatch)
    with Held(rig):
        answers = [call(rig, "sessions" if number % 5 else "no-such", number + 1) for number in range(1000)]
    codes = [(answer.result(SECONDS) or {})["return-code"] for answer in answers]
    assert codes == ["success" if number % 5 else CODES["unknown-licence"] for number in range(1000)]
    assert len(found) <= 1000 / aside.MOST + 1
    assert rig.state.licences[SESSIONS].recorded == 1000
    told = [event for event in rig.told if event.name in ("usage-changed", "usage-refused")]
    assert len(told) == 1000
    rig.restart()
    assert rig.state.licences[SESSIONS].recorded == 1000


def test_each_call_is_durable_before_it_is_answered(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of every answer, a store that is opened anew has the count that was answered."""
    seen: list[tuple[int, int]] = []

    def look(number: int) -> None:
        events = rig.store.load().events
        counts = [event.count for event in events if type(event).__name__ == "UsageRecorded"]
        seen.append((number, max(counts, default=0)))

    with Held(rig):
        answers = [call(rig, "sessions", number) for number in range(1, 31)]
        for number, answer in enumerate(answers, 1):
            answer.add_done_callback(lambda _, number=number: look(number))  # type: ignore[misc]
    for answer in answers:
        answer.result(SECONDS)
    rig.dispatch.loop.submit(lambda: None).result(SECONDS)
    assert len(seen) == 30
    assert all(kept >= number for number, kept in seen)


def test_usage_is_conserved_through_a_flood(rig: Rig) -> None:
    """Counts that change within a second, over an hour: the reports hold what stood between the seconds."""
    expected, count = 0, 0
    for second in range(60):
        expected += count * 60
        rig.advance(60)
        with Held(rig):
            answers = [call(rig, "sessions", (second * 7 + number * 3) % 50) for number in range(20)]
        for answer in answers:
            assert answer.result(SECONDS)
        count = rig.state.licences[SESSIONS].recorded
        assert count == (second * 7 + 19 * 3) % 50
    rig.invoke("close-reports")
    rows = [row for one in rig.documents() for row in read_payload(json.loads(one)["payload"]).measurements]
    assert sum((row.end - row.start) * row.count for row in rows) == expected


def test_memory_goes_back_after_a_flood(rig: Rig) -> None:
    """What waits costs memory while it waits, and none afterwards."""

    session = rig.session(ADMIN)

    def flood() -> None:
        with Held(rig):
            answers = [call(rig, "sessions", number % 9, session) for number in range(400)]
        for answer in answers:
            answer.result(SECONDS)
        rig.told.clear()

    flood()
    tracemalloc.start()
    try:
        flood()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            flood()
        assert tracemalloc.get_traced_memory()[0] < before + 2_000_000
    finally:
        tracemalloc.stop()


def test_a_full_disk_refuses_all_of_a_batch_and_changes_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.use("sessions", 5)
    before = rig.state
    begin = rig.store.begin

    def full() -> Any:
        unit = begin()

        def commit() -> None:
            unit.rollback()
            raise StorageFullError("there is no space left: free some, then try again")

        unit.commit = commit  # type: ignore[method-assign]
        return unit

    with monkeypatch.context() as patch:
        patch.setattr(rig.store, "begin", full)
        with Held(rig):
            answers = [call(rig, "sessions", number) for number in range(6, 40)]
        for answer in answers:
            with pytest.raises(RequestError) as caught:
                answer.result(SECONDS)
            assert caught.value.errors[0].tag == "resource-denied"
    assert rig.state is before
    assert rig.use("sessions", 6) == {"return-code": "success"}


def test_one_that_breaks_off_takes_nobody_along(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in one decision: that caller hears of an internal error, the others are done."""
    put = rig.agent.committer._put

    def faulty(command: Any, *rest: Any, **more: Any) -> Any:
        if isinstance(command, RecordUsage) and command.count == 13:
            raise KeyError("a fault")
        return put(command, *rest, **more)

    monkeypatch.setattr(rig.agent.committer, "_put", faulty)
    with Held(rig):
        answers = {number: call(rig, "sessions", number) for number in range(10, 16)}
    for number, answer in answers.items():
        if number == 13:
            with pytest.raises(RequestError, match="internal error"):
                answer.result(SECONDS)
        else:
            assert answer.result(SECONDS) == {"return-code": "success"}
    assert rig.state.licences[SESSIONS].recorded == 15
    assert rig.state == rig.agent.committer.state


def test_a_stop_answers_all_that_wait(rig: Rig) -> None:
    """What was submitted before the end is done; what comes after it is told."""
    with Held(rig):
        answers = [call(rig, "sessions", number + 1) for number in range(50)]
        ending = threading.Thread(target=rig.dispatch.stop)
        ending.start()
    ending.join(SECONDS)
    assert not ending.is_alive()
    for answer in answers:
        assert answer.result(SECONDS) == {"return-code": "success"}
    assert rig.state.licences[SESSIONS].recorded == 50
    with pytest.raises(LoopStoppedError):
        call(rig, "sessions", 1).result(SECONDS)
