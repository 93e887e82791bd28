"""save-config and is-syncing, as clients written for IOS XE call them (decision 0074)."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import app
from agent.core.requests import Datastore, Invoke, Lock, Unlock
from agent.core.sessions import User
from agent.core.tree import Tree
from tests.northbound.kit import ADMIN, COLLECTOR, SECONDS, Rig, error_of

SAVED = {"result": "Save running-config successful"}


def call(rig: Rig, name: str, user: User = ADMIN) -> Tree:
    answer = rig.dispatch.submit(Invoke(rig.schema.rpcs["cisco-ia", name], {}), rig.session(user)).result(SECONDS)
    assert answer is not None
    return answer


def custom_id(rig: Rig) -> object:
    return rig.dispatch.running.tree["cisco-smart-license:licensing"]["config"]["custom-id"]


def test_without_startup_all_was_saved_before(tmp_path: Path) -> None:
    rig = Rig.sqlite(tmp_path / "agent.db")
    rig.edit({"custom-id": "kept"})
    assert call(rig, "save-config") == SAVED
    rig.restart(crash=True)
    assert custom_id(rig) == "kept"
    rig.end()


def test_startup_becomes_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not saved is gone after the next start; a lock of another session is kept."""
    build = app.build
    monkeypatch.setattr(app, "build", lambda **parts: build(**parts, startup=True))
    rig = Rig.sqlite(tmp_path / "agent.db")
    rig.edit({"custom-id": "kept"})
    holder = rig.session()
    rig.dispatch.submit(Lock(Datastore.STARTUP), holder).result(SECONDS)
    refused = error_of(lambda: call(rig, "save-config"))
    assert refused.tag == "in-use"
    rig.dispatch.submit(Unlock(Datastore.STARTUP), holder).result(SECONDS)
    assert call(rig, "save-config") == SAVED
    rig.edit({"custom-id": "lost"})
    rig.restart(crash=True)
    assert custom_id(rig) == "kept"
    rig.end()


def test_nothing_is_ever_syncing() -> None:
    rig = Rig.memory()
    assert call(rig, "is-syncing") == {"result": "No sync in progress"}
    rig.end()


@pytest.mark.parametrize("name", ["save-config", "is-syncing"])
def test_who_may(name: str) -> None:
    """The rules of a new agent leave both to administrators."""
    rig = Rig.memory()
    assert error_of(lambda: call(rig, name, COLLECTOR)).tag == "access-denied"
    rig.end()
