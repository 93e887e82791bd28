"""Readers, writers and the timer at once: no error, no mixture of two states, and nothing that goes back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
import sys
from typing import Any

import pytest

from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.errors import RequestError
from tests.northbound import scenes
from tests.northbound.kit import ADVANTAGE, LICENSING, STATE_INFO, Rig, bindings_of

THREADS = 6
ROUNDS = 60


@pytest.fixture(autouse=True)
def quick_switches() -> Any:
    """Threads change places as often as they can, so that a race has its chance."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def all_at_once(act: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(act, range(THREADS)))


def test_bindings_serve_every_thread(rig: Rig) -> None:
    """Each thread gets back what it gave, whoever uses the same class at the same time; refusals included."""
    bindings = bindings_of(rig)
    node = rig.node(f"{STATE_INFO}/usage")

    def act(number: int) -> None:
        for turn in range(ROUNDS):
            entry = {
                "entitlement-tag": f"tag-{number}-{turn}",
                "count": number * 1000 + turn,
                "post-paid": turn % 2 == 0,
            }
            assert bindings.checked(node, entry) == entry
            with pytest.raises(RequestError):
                bindings.checked(node, {"count": -turn - 1})

    all_at_once(act)


def test_readers_while_usage_is_recorded(durable: Rig) -> None:
    """Counts and reports that belong together are read together: the counters add up in every reply."""
    rig = durable
    scenes.in_use(rig)
    selection = rig.select(f"{STATE_INFO}/slp-agent:report-counts")

    def read(number: int) -> None:
        last = 0
        for turn in range(ROUNDS):
            counts = {
                name: int(value)
                for name, value in rig.json(selection)[LICENSING]["state"]["state-info"][
                    "slp-agent:report-counts"
                ].items()
            }
            assert (
                counts["total"]
                == counts["acknowledged"] + counts["waiting"] + counts["available"] + counts["collecting"]
            )
            assert counts["total"] >= last
            last = counts["total"]
            data = rig.get()
            encode = xml_codec.encode if (number + turn) % 2 else json_codec.encode
            assert b"".join(encode(data, rig.schema.root))

    def act(number: int) -> None:
        if number:
            read(number)
            return
        for turn in range(ROUNDS):
            rig.clock.at += 1
            assert rig.use("advantage", turn + 1)["return-code"] == "success"
            rig.invoke("close-reports")

    all_at_once(act)
    assert rig.usage(ADVANTAGE)["count"] == ROUNDS
    assert rig.replayed() == rig.state


def test_clients_record_at_once(durable: Rig) -> None:
    """Every answered setting was in effect, one after the other, and all of them are in the journal."""
    rig = durable

    def act(number: int) -> None:
        for turn in range(20):
            assert rig.use("advantage", number * 100 + turn + 1) == {"return-code": "success"}

    all_at_once(act)
    recorded = [event.count for event in rig.kept().events if type(event).__name__ == "UsageRecorded"]  # type: ignore[union-attr]
    assert sorted(recorded) == sorted(number * 100 + turn + 1 for number in range(THREADS) for turn in range(20))
    assert rig.usage(ADVANTAGE)["count"] == recorded[-1]
