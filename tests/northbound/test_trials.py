"""Confirmed commits, startup and the factory default of a whole agent: what they decide is licensing's too."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any

import pytest

from agent import app
from agent.codec import json as json_codec
from agent.codec import xml
from agent.core.datastore import Running, StoredConfigurationError
from agent.core.datastores import STARTUP
from agent.core.nacm import NACM
from agent.core.requests import Commit, Copy, Datastore, Delete, Discard, Edit, Get, Invoke
from agent.core.sessions import Session, User
from agent.northbound.access import initial
from tests.northbound.kit import ADMIN, SECONDS, Rig

CONFIG = "cisco-smart-license:licensing"
GUEST = User("gus", frozenset({"guest"}))


def edit(rig: Rig, session: Session, target: Datastore, custom_id: str, *levels: str) -> None:
    """Put a custom id and boot levels into a datastore."""
    listed = "".join(f"<license>{name}</license>" for name in levels)
    own = rig.schema.modules["slp-agent"].namespace
    level = f'<boot-level xmlns="{own}">{listed}</boot-level>' if levels else ""
    content = f"<custom-id>{custom_id}</custom-id>{level}"
    public = rig.schema.modules["cisco-smart-license"].namespace
    text = f'<config><licensing xmlns="{public}"><config>{content}</config></licensing></config>'
    request = Edit(xml.decode_config(xml.parse(text.encode()), rig.schema), target)
    rig.dispatch.submit(request, session).result(SECONDS)


def shown(rig: Rig) -> Any:
    return rig.dispatch.running.tree.get(CONFIG, {}).get("config", {}).get("custom-id")


@pytest.mark.parametrize("crash", [True, False])
@pytest.mark.parametrize("persist", [None, "p"])
def test_a_restart_during_a_confirmed_commit(tmp_path: Path, crash: bool, persist: str | None) -> None:
    """Checklist 111: configuration and licensing settings are as before, in one life that never saw the trial's level.

    A boot level counts from the next start on: the one of the trial must not be turned on by the start that reverts.
    """
    rig = Rig.sqlite(tmp_path / "agent.db")
    session = rig.session()
    edit(rig, session, Datastore.RUNNING, "old")
    edit(rig, session, Datastore.CANDIDATE, "new", "advantage")
    rig.dispatch.submit(Commit(confirmed=True, persist=persist), session).result(SECONDS)
    assert (shown(rig), rig.state.settings.custom_id) == ("new", "new")
    assert rig.state.settings.boot_levels == ("advantage",)
    rig.restart(after=100, crash=crash)
    assert (shown(rig), rig.state.settings.custom_id) == ("old", "old")
    assert rig.state.settings.boot_levels == ()
    assert not any(use.count for use in rig.state.licences.values())
    assert rig.state.last_outage is not None
    assert rig.state.last_outage.end - rig.state.last_outage.start == 100
    assert rig.replayed() == rig.state
    assert rig.kept().documents == {}
    rig.restart(after=100)
    assert (shown(rig), rig.state.settings.custom_id) == ("old", "old")
    rig.end()


def test_a_confirmed_one_holds(tmp_path: Path) -> None:
    """The level of a configuration that was confirmed is on from the next start."""
    rig = Rig.sqlite(tmp_path / "agent.db")
    session = rig.session()
    edit(rig, session, Datastore.CANDIDATE, "new", "advantage")
    for request in (Commit(confirmed=True), Commit()):
        rig.dispatch.submit(request, session).result(SECONDS)
    rig.restart(crash=True)
    assert shown(rig) == "new"
    assert [use.count for use in rig.state.licences.values()] == [1]
    rig.end()


def test_taken_back_in_time(tmp_path: Path) -> None:
    """Checklist 108: by the timer of the core thread; the kernel is told like of any change."""
    rig = Rig.sqlite(tmp_path / "agent.db")
    session = rig.session()
    edit(rig, session, Datastore.CANDIDATE, "new")
    rig.dispatch.submit(Commit(confirmed=True, timeout=30), session).result(SECONDS)
    rig.clock.at += 30
    for _ in range(2):
        rig.dispatch.loop.submit(lambda: None).result(SECONDS)
    assert (shown(rig), rig.state.settings.custom_id) == (None, None)
    rig.dispatch.submit(Discard(), session).result(SECONDS)
    rig.end()


def test_startup_decides_at_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run --startup`: each start takes running, and what licensing makes of it, from startup."""
    build = app.build
    monkeypatch.setattr(app, "build", lambda **parts: build(**parts, startup=True))
    rig = Rig.sqlite(tmp_path / "agent.db")
    assert any(":startup:" in one for one in rig.agent.announced)
    session = rig.session()
    edit(rig, session, Datastore.RUNNING, "kept")
    rig.dispatch.submit(Copy(Datastore.RUNNING, Datastore.STARTUP), session).result(SECONDS)
    edit(rig, session, Datastore.RUNNING, "lost", "advantage")
    rig.restart(crash=True)
    assert (shown(rig), rig.state.settings.custom_id) == ("kept", "kept")
    assert not any(use.count for use in rig.state.licences.values())
    rig.end()


def test_without_the_option_there_is_none(tmp_path: Path) -> None:
    """Neither startup nor urls are announced where they are not offered, in the hello and in the models."""
    rig = Rig.sqlite(tmp_path / "agent.db")
    assert not any(":startup:" in one or ":url:" in one for one in rig.agent.announced)
    assert any(":confirmed-commit:1.1" in one for one in rig.agent.announced)
    assert not {"startup", "url"} & set(rig.schema.modules["ietf-netconf"].features)
    rig.end()


def test_factory_reset_of_the_configuration(tmp_path: Path) -> None:
    """RFC 8808: settings and access rules are those of a new agent; nothing else of it is reset."""
    rig = Rig.sqlite(tmp_path / "agent.db")
    rig.use("advantage", 3)
    edit(rig, rig.session(), Datastore.RUNNING, "a")
    node = rig.schema.rpcs["ietf-factory-default", "factory-reset"]
    rig.dispatch.submit(Invoke(node, {}), rig.session(ADMIN)).result(SECONDS)
    assert rig.dispatch.running.tree == initial()
    assert rig.state.settings.custom_id is None
    assert sum(use.count for use in rig.state.licences.values()) == 3
    rig.end()


def ruled(rig: Rig, target: Datastore, user: User, default: str) -> None:
    """Set what may be read where no rule decides."""
    namespace = rig.schema.modules["ietf-netconf-acm"].namespace
    text = f'<config><nacm xmlns="{namespace}"><read-default>{default}</read-default></nacm></config>'
    request = Edit(xml.decode_config(xml.parse(text.encode()), rig.schema), target)
    rig.dispatch.submit(request, rig.session(user)).result(SECONDS)


def reads(rig: Rig) -> bool:
    """Whether somebody for whom there is a right to call get, but no rule about data, sees the licences."""
    return CONFIG in rig.dispatch.read(Get(), rig.session(GUEST)).tree


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Rig]:
    """An agent on which guests may call get."""
    rig = Rig.sqlite(tmp_path / "agent.db")
    node = {"name": "get", "rpc-name": "get", "access-operations": "exec", "action": "permit"}
    rules = {NACM: {"rule-list": [{"name": "guests", "group": ["guest"], "rule": [node]}]}}
    rig.dispatch.submit(Edit(json_codec.decode_config(rules, rig.schema.root)), rig.session()).result(SECONDS)
    yield rig
    rig.end()


@pytest.mark.parametrize("end", ["crash", "time", "session", "confirmed"])
def test_access_rules_on_trial(guarded: Rig, end: str) -> None:
    """Checklist 108, 111, 122: rules hold from the confirmed commit on, and go with it; confirmed ones stay."""
    rig, session = guarded, guarded.session()
    ruled(rig, Datastore.CANDIDATE, ADMIN, "permit")
    assert not reads(rig)
    rig.dispatch.submit(Commit(confirmed=True, timeout=30), session).result(SECONDS)
    assert reads(rig)
    match end:
        case "crash":
            rig.restart(crash=True)
        case "time":
            rig.clock.at += 30
            for _ in range(2):
                rig.dispatch.loop.submit(lambda: None).result(SECONDS)
        case "session":
            rig.dispatch.closed(session, "dropped").result(SECONDS)
        case "confirmed":
            rig.dispatch.submit(Commit(), session).result(SECONDS)
            rig.restart(crash=True)
    assert reads(rig) is (end == "confirmed")
    assert rig.dispatch.running.tree[NACM]["read-default"] == ("permit" if end == "confirmed" else "deny")


def test_access_rules_at_a_start_from_startup(guarded: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run --startup`: the rules are those of startup from the first request on; deleted, those of a new agent."""
    build = app.build
    monkeypatch.setattr(app, "build", lambda **parts: build(**parts, startup=True))
    rig = guarded
    rig.restart()
    ruled(rig, Datastore.RUNNING, ADMIN, "permit")
    assert reads(rig)
    rig.restart(crash=True)
    assert not reads(rig)
    ruled(rig, Datastore.RUNNING, ADMIN, "permit")
    rig.dispatch.submit(Copy(Datastore.RUNNING, Datastore.STARTUP), rig.session()).result(SECONDS)
    rig.restart(crash=True)
    assert reads(rig)
    rig.dispatch.submit(Delete(Datastore.STARTUP), rig.session()).result(SECONDS)
    rig.restart()
    assert rig.dispatch.running.tree == initial()


def test_rules_in_startup_that_fit_no_model_stop_the_start(guarded: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever validates, the start ends with a line that says so, and not with rules that are half understood."""
    build = app.build
    monkeypatch.setattr(app, "build", lambda **parts: build(**parts, startup=True))
    rule = {"name": "r", "path": "/slp-agent:gone", "action": "deny"}
    unit = guarded.store.begin()
    unit.put_document(
        STARTUP, json.dumps({NACM: {"rule-list": [{"name": "l", "group": ["*"], "rule": [rule]}]}}).encode()
    )
    unit.commit()
    monkeypatch.setattr(Running, "valid", lambda running, tree: tree)
    with pytest.raises(StoredConfigurationError, match="slp-agent:gone"):
        guarded.restart()
    # so that the fixture finds something to stop
    guarded.dispatch.loop.start()
