"""Events that wait for the log: kept before they are told, in one order, none waits too long (checklist 113)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import logging
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from agent.core.hub import DELAY, MOST, Event, Hub

WAITS, NOW, WITH, UNLOGGED, SECRET = "session", "greeted", "changed", "refused", "secret"
STEPS = st.one_of(
    st.sampled_from(["defer", "publish", "secret", "refusal", "commit twice", "roll back", "set back", "subscribe"]),
    st.floats(0, 3 * DELAY),
)


@dataclass
class HandClock:
    at: float = 1000.0
    rate: float = 1.0

    def now(self) -> float:
        return self.at

    def wall_seconds(self, span: float) -> float:
        return span / self.rate


@dataclass
class Log:
    """Keeps all but SECRET. A unit of work is a list, which is kept when it is committed."""

    kept: list[Event] = field(default_factory=list)
    units: int = 0
    broken: bool = False

    def keeps(self, module: str, name: str) -> bool:
        return name != SECRET

    def encode(self, event: Event) -> None:
        if event.tree.get("who") == "unspeakable":
            raise ValueError("it has no words")

    def put(self, events: Sequence[Event], unit: Any) -> None:
        unit.extend(events)

    def put_alone(self, events: Sequence[Event]) -> None:
        self.commit(list(events))

    def commit(self, unit: list[Event]) -> None:
        if self.broken:
            raise OSError("no space left on device")
        self.units += 1
        self.kept += unit


class Desk:
    """A hub with its log and clock, and one who listens and looks into the log with each event."""

    def __init__(self, rate: float = 1.0) -> None:
        self.hub, self.log, self.clock = Hub(), Log(), HandClock(rate=rate)
        self.hub.keep(self.log, 0, self.clock)
        self.told: list[Event] = []
        self.unkept: set[str] = {UNLOGGED, SECRET}
        self.hub.subscribe(self.hear)

    def hear(self, event: Event) -> None:
        assert event.name in self.unkept or event in self.log.kept
        self.told.append(event)

    def defer(self, who: str = "a") -> None:
        self.hub.defer("toy", WAITS, {"who": who}, self.clock.at)

    def publish(self, name: str = NOW) -> None:
        self.hub.publish("toy", name, {}, self.clock.at)

    def stage(self, unit: list[Event] | None, name: str = WITH) -> Callable[[], None]:
        return self.hub.stage("toy", name, {}, self.clock.at, unit)

    def pass_time(self, seconds: float) -> None:
        """As the loop does: what is due is done on time."""
        end = self.clock.at + seconds
        while (due := self.hub.deadline()) is not None and due <= end:
            self.clock.at = max(self.clock.at, due)
            self.hub.flush()
        self.clock.at = end

    def names(self) -> list[str]:
        return [event.name for event in self.told]


@given(st.lists(STEPS, max_size=40))
def test_nothing_is_lost_told_early_or_out_of_order(steps: list[str | float]) -> None:
    """Whatever happens meanwhile: told is in the order of happening, and what is to be logged is logged first."""
    desk, expected = Desk(), list[str]()
    for step in steps:
        match step:
            case "defer":
                desk.defer()
                expected.append(WAITS)
            case "publish":
                desk.publish()
                expected.append(NOW)
                assert desk.names() == expected
            case "secret":
                desk.publish(SECRET)
                expected.append(SECRET)
            case "refusal":
                desk.stage(None, UNLOGGED)()
                expected.append(UNLOGGED)
            case "commit twice":
                unit: list[Event] = []
                publish = [desk.stage(unit), desk.stage(unit)]
                desk.log.commit(unit)
                for one in publish:
                    one()
                expected += [WITH, WITH]
                assert desk.names() == expected
            case "roll back":
                desk.stage([])
            case "set back":
                desk.clock.at -= 3600
            case "subscribe":
                desk.hub.flush()
                assert desk.names() == expected
            case float():
                desk.pass_time(step)
                assert step < DELAY or desk.names() == expected
        assert desk.names() == expected[: len(desk.told)]
    desk.hub.flush()
    assert desk.names() == expected
    assert desk.log.kept == [event for event in desk.told if event.name not in desk.unkept]
    numbers = [event.number for event in desk.told]
    assert numbers == sorted(set(numbers))
    assert desk.hub.deadline() is None


def test_what_waits_is_logged_together() -> None:
    """One transaction for all that happens within the bound; many of them do not wait for it."""
    desk = Desk()
    for _ in range(MOST - 1):
        desk.defer()
    assert (desk.log.units, desk.told) == (0, [])
    desk.defer()
    assert (desk.log.units, len(desk.told)) == (1, MOST)
    desk.defer()
    desk.pass_time(DELAY)
    assert (desk.log.units, len(desk.told)) == (2, MOST + 1)


def test_the_bound_is_of_real_time() -> None:
    """A lab clock goes faster; what waits does not wait for less."""
    desk = Desk(rate=3600)
    desk.defer()
    assert desk.hub.deadline() == desk.clock.at + DELAY * 3600


def test_a_log_that_fails_keeps_nothing_from_those_who_listen(caplog: pytest.LogCaptureFixture) -> None:
    """A full disk, or an event that cannot be encoded: told all the same, and the log file says so."""
    desk = Desk()
    desk.unkept.add(WAITS)
    desk.defer("unspeakable")
    desk.defer()
    assert desk.names() == [WAITS]
    desk.log.broken = True
    with caplog.at_level(logging.ERROR):
        desk.pass_time(DELAY)
    assert desk.names() == [WAITS, WAITS]
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2
    assert all(f"toy:{WAITS}" in record.message for record in caplog.records)
    desk.log.broken = False
    desk.publish()
    assert [event.name for event in desk.log.kept] == [NOW]


def test_without_a_log_nothing_waits() -> None:
    hub, told = Hub(), list[Event]()
    hub.subscribe(told.append)
    hub.defer("toy", WAITS, {}, 1.0)
    assert [event.name for event in told] == [WAITS]
    assert hub.deadline() is None


def test_an_event_without_words_takes_no_other_into_its_unit() -> None:
    """What cannot be encoded is in no unit of work, and what waits is logged once, by whoever comes next."""
    desk = Desk()
    desk.defer()
    unit: list[Event] = []
    with pytest.raises(ValueError, match="no words"):
        desk.hub.stage("toy", WITH, {"who": "unspeakable"}, desk.clock.at, unit)
    desk.log.commit(unit)
    assert desk.log.kept == []
    desk.pass_time(DELAY)
    assert [event.name for event in desk.log.kept] == desk.names() == [WAITS]
