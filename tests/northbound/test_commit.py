"""Durable before visible: snapshots, restarts, and the order in which things happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.licensing.commands import RecordUsage
from agent.licensing.engine import NotRunningError
from agent.northbound.commit import SNAPSHOT_EVERY
from tests.northbound.conftest import Make
from tests.northbound.kit import SECONDS, SESSIONS, Rig
from tests.northbound.stores import FailingStore


def on_core(rig: Rig, act: Any) -> Any:
    return rig.dispatch.loop.submit(act).result(SECONDS)


def test_a_start_never_replays_more_than_a_snapshot_leaves(either: Rig) -> None:
    """The journal stays short, and what a restart reads is the live state."""
    committer = either.agent.committer

    def many() -> None:
        for number in range(SNAPSHOT_EVERY + 50):
            committer.run(RecordUsage("sessions", number + 1, "tester"))

    on_core(either, many)
    assert 0 < either.store.journal_length() <= SNAPSHOT_EVERY
    loaded = either.kept()
    assert loaded.snapshot is not None
    assert len(loaded.events) == either.store.journal_length()
    assert either.replayed() == either.state
    either.restart(5, crash=True)
    assert either.usage(SESSIONS)["count"] == SNAPSHOT_EVERY + 50


def test_durable_before_visible_before_told(make: Make) -> None:
    """While the commit runs nothing is visible; when notices go out, everything is."""
    store = FailingStore()
    rig = make(store=store)
    committer = rig.agent.committer
    seen: list[tuple[str, int, int]] = []
    perform, tell = store._perform, committer._tell

    def recorded() -> int:
        use = committer.state.licences.get(SESSIONS)
        return use.count if use else 0

    def watched_perform(work: Any) -> None:
        seen.append(("before", recorded(), len(store.load().events)))
        perform(work)
        seen.append(("durable", recorded(), len(store.load().events)))

    def watched_tell(*given: Any) -> Callable[[], None]:
        publish = tell(*given)

        def told() -> None:
            seen.append(("told", recorded(), len(store.load().events)))
            publish()

        return told

    store._perform, committer._tell = watched_perform, watched_tell  # type: ignore[method-assign]
    events = len(store.load().events)
    rig.use("sessions", 4)
    made = len(store.load().events)
    assert seen == [("before", 0, events), ("durable", 0, made), ("told", 4, made)]
    assert made > events


def test_nothing_is_written_where_nothing_was_decided(make: Make) -> None:
    """A command without events opens no transaction that could fail."""
    store = FailingStore()
    rig = make(store=store)
    rig.use("sessions", 4)
    store.full = True
    assert rig.use("sessions", 4) == {"return-code": "success"}
    assert rig.use("no-such", 4)["return-code"] == "taginvalid"


def test_commands_before_the_start_are_a_fault_of_ours(make: Make) -> None:
    rig = make()
    rig.end()
    before = rig.kept()
    with pytest.raises(NotRunningError):
        rig.agent.committer.run(RecordUsage("sessions", 1, "x"))
    assert rig.kept() == before
    rig.begin()


def test_the_first_command_of_a_life_states_the_outage(durable: Rig) -> None:
    """Nothing is counted for the time between two lives, and the first reply of the new one says so."""
    durable.use("sessions", 3)
    durable.restart(777)
    assert durable.state.last_outage is not None
    assert durable.state.last_outage.end - durable.state.last_outage.start == 777
    told = [event.name for event in durable.told]
    assert told.count("outage-recorded") == 1
