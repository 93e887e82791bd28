"""Events of licensing in the durable log: with what they tell of, over crash and restart (checklist 113)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from agent.clock import date_and_time
from agent.core.requests import Subscribe
from agent.core.sessions import Session
from agent.errors import RequestError
from agent.northbound.notifications import LICENSING
from tests.northbound.conftest import Make
from tests.northbound.kit import ADMIN, SECONDS, SESSIONS, T0, Rig
from tests.northbound.stores import FailingStore


def names(rig: Rig) -> list[str]:
    return [name for _, _, _, name, _, _ in rig.store.events.after(0, 1000)]


def session(rig: Rig) -> Session:
    return rig.dispatch.sessions.open(ADMIN, "netconf-ssh", "127.0.0.1", end=lambda _: None)


def visit(rig: Rig) -> None:
    """A session that begins and ends."""
    one = session(rig)
    rig.dispatch.opened(one)
    rig.dispatch.closed(one, "closed").result(SECONDS)


def test_events_are_durable_with_what_they_tell_of(make: Make, tmp_path: Path) -> None:
    """A crash right after the answer loses neither; numbers go on, and no event is there twice."""
    rig = make(path=tmp_path / "agent.db")
    rig.use("sessions", 4)
    before = names(rig)
    assert before.count("usage-changed") == 1
    rig.restart(crash=True)
    assert rig.usage(SESSIONS)["count"] == 4
    assert names(rig)[: len(before)] == before
    rig.use("sessions", 5)
    numbers = [entry[0] for entry in rig.store.events.after(0, 1000)]
    assert numbers == sorted(set(numbers))
    assert names(rig).count("usage-changed") == 2


def test_what_is_not_kept_is_not_logged(make: Make) -> None:
    """Where the unit of work fails, neither the change nor its event is there."""
    store = FailingStore()
    rig = make(store=store)
    before, told = names(rig), len(rig.told)
    store.broken = True
    with pytest.raises(RequestError):
        rig.use("sessions", 4)
    store.broken = False
    assert names(rig) == before
    assert len(rig.told) == told


def test_the_licensing_stream_replays_over_a_restart(make: Make, tmp_path: Path) -> None:
    """Checklist 113: its replay has the events of both models and no others, each as it was told."""
    rig = make(path=tmp_path / "agent.db")
    rig.use("sessions", 4)
    told = [event for event in rig.told if LICENSING.carries(event)]
    rig.restart(after=10)
    subscription = rig.dispatch.subscribe(Subscribe("licensing", start=T0), session(rig)).result(SECONDS)
    replayed = subscription.take(1000)
    assert replayed[-1].name == "replayComplete"
    assert replayed[: len(told)] == told
    assert {event.module for event in replayed[:-1]} == {"slp-agent", "cisco-smart-license"}
    subscription.close()


def test_the_log_is_configured(make: Make, tmp_path: Path) -> None:
    """Bounds and what is left out are configuration: from the commit on, and after a restart."""
    rig = make(path=tmp_path / "agent.db")
    rig.edit({"slp-agent:event-log": {"max-entries": 3, "omit": ["slp-agent:usage-changed"]}})
    rig.use("sessions", 4)
    assert "usage-changed" in [event.name for event in rig.told]
    assert "usage-changed" not in names(rig)
    rig.restart()
    rig.use("sessions", 5)
    assert "usage-changed" not in names(rig)
    assert len(names(rig)) == 3
    rig.edit({"slp-agent:event-log": {"max-entries": 0}})
    before = names(rig)
    rig.restart()
    assert names(rig) == before
    assert rig.dispatch.streams.read()["streams"]["stream"][0]["replaySupport"] is False


def test_sessions_displace_no_other_event(make: Make, tmp_path: Path) -> None:
    """Checklist 113: who opens sessions again and again pushes nothing out of the log but sessions."""
    rig = make(path=tmp_path / "agent.db")
    rig.edit({"slp-agent:event-log": {"max-entries": 40}})
    rig.use("sessions", 4)
    before = [name for name in names(rig) if not name.startswith("netconf-session")]
    for _ in range(30):
        visit(rig)
    rig.advance(1)
    assert [name for name in names(rig) if not name.startswith("netconf-session")] == before
    assert names(rig)[-4:] == ["netconf-session-start", "netconf-session-end"] * 2


def test_sessions_are_logged_in_one_go(make: Make, tmp_path: Path) -> None:
    """Checklist 113, 115: nobody is told of a session before it is logged, and all of a moment are logged at once."""
    rig = make(path=tmp_path / "agent.db")
    before, told = names(rig), len(rig.told)
    for _ in range(3):
        visit(rig)
    assert (names(rig), len(rig.told)) == (before, told)
    rig.advance(1)
    visits = ["netconf-session-start", "netconf-session-end"] * 3
    assert names(rig) == [*before, *visits]
    assert [event.name for event in rig.told[told:]] == visits


def test_sessions_are_logged_with_the_next_change(make: Make, tmp_path: Path) -> None:
    """Checklist 113: what happened before a change stands before it; a change that fails takes nothing with it."""
    store = FailingStore()
    rig = make(store=store)
    before, told = names(rig), len(rig.told)
    visit(rig)
    store.broken = True
    with pytest.raises(RequestError):
        rig.edit({"custom-id": "a"})
    store.broken = False
    assert (names(rig), len(rig.told)) == (before, told)
    rig.use("sessions", 4)
    logged = names(rig)[len(before) :]
    assert logged[:3] == ["netconf-session-start", "netconf-session-end", "usage-changed"]
    assert [event.name for event in rig.told[told:]][: len(logged)] == logged
    numbers = [entry[0] for entry in rig.store.events.after(0, 1000)]
    assert numbers == sorted(set(numbers))


def test_a_stop_logs_what_waits(make: Make, tmp_path: Path) -> None:
    """Checklist 113: sessions that end with the agent are in the log of the next one, before its start."""
    rig = make(path=tmp_path / "agent.db")
    before = names(rig)
    visit(rig)
    rig.restart()
    logged = names(rig)[len(before) :]
    assert logged[:2] == ["netconf-session-start", "netconf-session-end"]
    assert "ready" in logged[2:]


def test_a_replay_has_what_waited(make: Make) -> None:
    """Checklist 113: who asks for a replay right after a session has it, once."""
    rig = make()
    visit(rig)
    subscription = rig.dispatch.subscribe(Subscribe("NETCONF", start=rig.clock.at), session(rig)).result(SECONDS)
    visit(rig)
    rig.advance(1)
    found = [event.name for event in subscription.take(1000)] + [event.name for event in subscription.take(1000)]
    visits = ["netconf-session-start", "netconf-session-end"]
    assert [name for name in found if name in visits] == visits * 2
    assert found.index("replayComplete") == len(found) - 3
    subscription.close()


def test_events_are_told_by_the_moment(make: Make) -> None:
    """Checklist 113: a replay from or to a moment within a second splits what happened in that second.

    What eventTime shows is what startTime and stopTime are compared with: both take the event of that moment in.
    """
    rig = make()
    whole = rig.clock.at
    times = []
    for count, part in ((4, 0.2504), (5, 0.5), (6, 0.75)):
        rig.clock.at = whole + part
        rig.use("sessions", count)
        times.append(date_and_time(rig.told[-1].time))
    assert [time[-10:] for time in times] == [".250+00:00", ".500+00:00", ".750+00:00"]
    for start, stop, expected in ((0, 0, [4]), (0, 1, [4, 5]), (1, 1, [5]), (1, 2, [5, 6])):
        bounds = (datetime.fromisoformat(times[place]).timestamp() for place in (start, stop))
        subscription = rig.dispatch.subscribe(Subscribe("licensing", None, *bounds), session(rig)).result(SECONDS)
        counts = [event.tree["count"] for event in subscription.take(1000) if event.name == "usage-changed"]
        assert counts == expected
        subscription.close()
    rig.restart()
    begun = [entry[1] for entry in rig.store.events.after(0, 1000) if entry[3] in ("ready", "enabled")]
    assert begun[-2:] == [whole + 0.75] * 2
