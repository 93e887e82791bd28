"""Edits of running that wait at the same time share a unit of work, and come out as if each had its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
import json
from pathlib import Path
import threading
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.core import shared_edits
from agent.core.requests import Datastore, Edit, EndSession, Lock
from agent.core.sessions import User
from agent.core.tree import Tree
from agent.errors import RequestError
from agent.store.memory import MemoryUnit
from tests.northbound.conftest import Make
from tests.northbound.kit import ADMIN, COLLECTOR, LICENSING, SECONDS, Rig
from tests.northbound.stores import FailingStore

Asked = tuple[Tree | str, User]
NACM = "ietf-netconf-acm:nacm"
SERVER = "slp-agent:netconf-server"
CSL = "http://cisco.com/ns/yang/cisco-smart-license"
NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
CALL_HOME = "transport-type-callhome"


def settings_of(**config: Any) -> Tree:
    return {LICENSING: {"config": {name.replace("_", "-"): value for name, value in config.items()}}}


def levels(*licences: str) -> Tree:
    return settings_of(**{"slp-agent:boot-level": {"license": list(licences)}})


def rule(action: str) -> Tree:
    """Whether collectors may write all they can read."""
    rules = [{"name": "all", "action": action}]
    return {NACM: {"rule-list": [{"name": "trial", "group": ["collector"], "rule": rules}]}}


def custom_id(operation: str) -> str:
    return (
        f'<config><licensing xmlns="{CSL}"><config><custom-id xmlns:c="{NC}" c:operation="{operation}">c</custom-id>'
        "</config></licensing></config>"
    )


MODES = [settings_of(utility={"utility-enable": True}), settings_of(transport={"transport-type": CALL_HOME})]
"""The kernel refuses whichever is the second."""
EDITS = (
    settings_of(custom_id="a"),
    settings_of(custom_id="b"),
    custom_id("create"),
    custom_id("delete"),
    settings_of(usage={"interval": 30}),
    settings_of(utility={"utility-enable": False}),
    *MODES,
    levels("advantage"),
    levels("sessions"),
    rule("permit"),
    rule("deny"),
    {SERVER: {"limits": {"sessions": 7}}},
)
ASKED = st.lists(st.tuples(st.sampled_from(EDITS), st.sampled_from([ADMIN, COLLECTOR])), max_size=8)


def ask(rig: Rig, config: Tree | str, user: User = ADMIN) -> Future[Tree | None]:
    if isinstance(config, str):
        edits = xml_codec.decode_config(xml_codec.parse(config.encode()), rig.schema)
    else:
        edits = json_codec.decode_config(config, rig.schema.root)
    return rig.dispatch.submit(Edit(edits), rig.session(user))


@contextmanager
def held(rig: Rig) -> Iterator[None]:
    """The core thread does nothing meanwhile: what is submitted waits."""
    go_on = threading.Event()
    rig.dispatch.loop.submit(lambda: go_on.wait(SECONDS))
    try:
        yield
    finally:
        go_on.set()


def together(rig: Rig, asked: Sequence[Asked]) -> list[Any]:
    """What comes of edits that wait at the same time: None, or the errors."""
    with held(rig):
        answers = [ask(rig, *one) for one in asked]
    return [outcome(answer) for answer in answers]


def outcome(answer: Future[Tree | None]) -> Any:
    error = answer.exception(SECONDS)
    if error is None:
        return answer.result()
    assert isinstance(error, RequestError)
    return [(one.tag, one.path, one.message) for one in error.errors]


@settings(max_examples=25, deadline=None)
@given(st.lists(ASKED, max_size=4))
def test_they_come_out_as_one_by_one(batches: list[list[Asked]]) -> None:
    """Answers, configuration, licensing and what is told, with rights that change between two of them."""
    rigs = Rig.memory(), Rig.memory()
    try:
        for asked in batches:
            shared = together(rigs[0], asked)
            assert shared == [outcome(ask(rigs[1], *one)) for one in asked]
            trees, kept, told, states = zip(*map(seen, rigs), strict=True)
            assert trees[0] == trees[1] == kept[0] == kept[1]
            assert told[0] == told[1]
            assert states[0] == states[1]
        for rig in rigs:
            assert rig.replayed() == rig.state
    finally:
        for rig in rigs:
            rig.end()


def seen(rig: Rig) -> tuple[Any, ...]:
    """Running as it is and as it is kept, what was told, what the kernel made of it."""
    told = [(event.member, event.tree) for event in rig.told]
    logged = [entry[3] for entry in rig.store.events.after(0, 10_000)]
    assert logged == [event.name for event in rig.told]
    state = rig.state
    return rig.dispatch.running.tree, json.loads(rig.kept().config or b"{}"), told, (state.settings, state.licences)


def test_one_unit_of_work_carries_them(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight edits that wait are one transaction; the change of a listener's settings is one by itself."""
    rig = make()
    commits: list[MemoryUnit] = []
    commit = MemoryUnit.commit

    def counted(unit: MemoryUnit) -> None:
        commits.append(unit)
        commit(unit)

    monkeypatch.setattr(MemoryUnit, "commit", counted)
    monkeypatch.setattr(shared_edits, "GO", 60.0)
    asked = [(settings_of(custom_id=f"n{number}"), ADMIN) for number in range(8)]
    assert together(rig, asked) == [None] * 8
    assert len(commits) == 1
    assert [event.name for event in rig.told].count("netconf-config-change") == 8
    assert rig.state.settings.custom_id == "n7"
    limits: Asked = ({SERVER: {"limits": {"sessions": 7}}}, ADMIN)
    assert together(rig, [*asked[:3], limits, *asked[3:6]]) == [None] * 7
    assert len(commits) == 1 + 3


def test_one_that_is_refused_takes_no_other_with_it(make: Make) -> None:
    """By the models, by the rights of its user, by the kernel once others stand in the same unit of work."""
    rig = make()
    asked: list[Asked] = [
        (settings_of(custom_id="a"), ADMIN),
        (custom_id("create"), ADMIN),
        (settings_of(custom_id="c"), COLLECTOR),
        (MODES[0], ADMIN),
        (MODES[1], ADMIN),
        (settings_of(usage={"interval": 30}), ADMIN),
    ]
    tags = [answer and answer[0][0] for answer in together(rig, asked)]
    assert tags == [None, "data-exists", "access-denied", None, "invalid-value", None]
    kept = rig.state.settings
    assert (kept.custom_id, kept.utility_enabled, kept.transport_type, kept.interval_days) == ("a", True, "cslu", 30)
    assert rig.replayed() == rig.state


def test_a_store_that_fails_refuses_all(make: Make) -> None:
    """Nothing of any has happened, and nothing is told."""
    store = FailingStore()
    rig = make(store=store)
    before, told = rig.dispatch.running.tree, len(rig.told)
    store.full = True
    answers = together(rig, [(settings_of(custom_id="a"), ADMIN), (settings_of(custom_id="b"), ADMIN)])
    assert [answer[0][0] for answer in answers] == ["resource-denied"] * 2
    store.full = False
    assert (rig.dispatch.running.tree, len(rig.told)) == (before, told)
    assert together(rig, [(settings_of(custom_id="b"), ADMIN)]) == [None]


def test_they_outlive_a_crash(make: Make, tmp_path: Path) -> None:
    """What shared a unit of work is there after a restart, the last of it as configuration, each as an event."""
    rig = make(path=tmp_path / "agent.db")
    asked = [(settings_of(custom_id=f"n{number}"), ADMIN) for number in range(5)]
    assert together(rig, [*asked, (levels("advantage"), ADMIN), (levels("sessions"), ADMIN)]) == [None] * 7
    state, tree = rig.replayed(), rig.dispatch.running.tree
    assert state == rig.state
    rig.restart(crash=True)
    assert rig.dispatch.running.tree == tree
    assert rig.state.settings == state.settings
    assert [entry[3] for entry in rig.store.events.after(0, 1000)].count("netconf-config-change") == 7


def test_what_waits_of_a_killed_session_is_not_done(make: Make) -> None:
    """RFC 6241 section 7.9: a kill aborts what is under way; nothing of that session is applied once it is answered."""
    rig = make()
    victim, killer = rig.session(), rig.session()
    edits = json_codec.decode_config(settings_of(custom_id="late"), rig.schema.root)
    with held(rig):
        late = rig.dispatch.submit(Edit(edits), victim)
        killed = rig.dispatch.submit(EndSession(victim.id), killer)
    assert killed.result(SECONDS) is None
    with pytest.raises(RequestError, match="the session has ended"):
        late.result(SECONDS)
    assert rig.state.settings.custom_id is None


def test_others_are_served_between_two_units(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit of work takes in no more edits once it has taken its time; the next one waits behind what is queued."""
    rig = make()
    monkeypatch.setattr(shared_edits, "GO", -1.0)
    done: list[str] = []
    with held(rig):
        answers = [ask(rig, settings_of(custom_id=f"n{number}")) for number in range(3)]
        for number, answer in enumerate(answers):
            answer.add_done_callback(lambda _, name=f"n{number}": done.append(name))
        rig.dispatch.loop.submit(lambda: rig.dispatch.loop.submit(lambda: done.append("other")))
    assert [outcome(answer) for answer in answers] == [None] * 3
    assert done == ["n0", "other", "n1", "n2"]


def test_a_stop_does_all_that_waits(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many units it takes; each is answered."""
    rig = make()
    monkeypatch.setattr(shared_edits, "GO", -1.0)
    with held(rig):
        answers = [ask(rig, settings_of(custom_id=f"n{number}")) for number in range(600)]
        stopping = threading.Thread(target=rig.dispatch.stop)
        stopping.start()
    stopping.join(SECONDS)
    assert not stopping.is_alive()
    assert all(answer.done() for answer in answers)


def test_a_candidate_that_running_came_to_equal_follows_it(make: Make) -> None:
    """As if each edit had a unit of its own: what was equal in between is no change that waits to be committed."""
    rig = make()
    session = rig.session()
    edits = json_codec.decode_config(settings_of(custom_id="a"), rig.schema.root)
    rig.dispatch.submit(Edit(edits, Datastore.CANDIDATE), session).result(SECONDS)
    assert together(rig, [(settings_of(custom_id=name), ADMIN) for name in ("a", "b")]) == [None] * 2
    assert rig.dispatch.submit(Lock(Datastore.CANDIDATE), session).result(SECONDS) is None


def test_bounds_of_the_event_log_hold_for_the_next_edit(make: Make) -> None:
    """Switched on by one of those that wait, the log has what comes after it."""
    rig = make()
    off, on = (settings_of(**{"slp-agent:event-log": {"max-entries": number}}) for number in (0, 100))
    assert together(rig, [(off, ADMIN)]) == [None]
    before = len(rig.store.events.after(0, 10_000))
    asked = [(on, ADMIN), (settings_of(custom_id="a"), ADMIN), (settings_of(custom_id="b"), ADMIN)]
    assert together(rig, asked) == [None] * 3
    logged = [entry[3] for entry in rig.store.events.after(0, 10_000)][before:]
    assert logged.count("netconf-config-change") == 2
