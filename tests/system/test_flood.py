"""Many applications at once on a real agent: all answered, others served meanwhile, memory bounded."""

from __future__ import annotations

from collections.abc import Iterator
import threading

import pytest

from agent import usage
from tests.system.kit import STATE_URI, Device

CALLERS, CALLS = 12, 60


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    made = Device.make(tmp_path_factory.mktemp("flood") / "d")
    with made.running():
        yield made


def test_a_flood_of_usage(device: Device) -> None:
    """A sample of a million calls a minute: an answer to each call, good or bad, and to a reader in between."""
    wrong: list[str] = []

    def flood(number: int) -> None:
        with device.recorder() as recorder:
            for turn in range(CALLS):
                try:
                    recorder.record("no-such" if turn % 10 == 9 else "voice-session", number * CALLS + turn)
                    if turn % 10 == 9:
                        wrong.append("a licence that is unknown was taken")
                except usage.UsageRefused as refused:
                    if (turn % 10, refused.return_code) != (9, "taginvalid"):
                        wrong.append(str(refused))

    with device.http("reader") as reader:
        reader.get(f"{STATE_URI}/usage")
        before = device.up.resident()
        callers = [threading.Thread(target=flood, args=(number,)) for number in range(CALLERS)]
        for each in callers:
            each.start()
        reads = 0
        while any(each.is_alive() for each in callers):
            assert reader.get(f"{STATE_URI}/usage") is not None
            reads += 1
        for each in callers:
            each.join()
        shown = {one["short-name"]: one["count"] for one in reader.get(f"{STATE_URI}/usage")}
    assert wrong == []
    assert reads > 0
    # the last of some caller: the one before its refused last call
    assert shown["voice-session"] in {number * CALLS + CALLS - 2 for number in range(CALLERS)}
    assert device.up.resident() < before + 20 * 1024 * 1024
