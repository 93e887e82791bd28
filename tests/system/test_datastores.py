"""ncclient, unmodified, through candidate, startup, confirmed commits and files of a real agent; SIGKILL between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ncclient.operations import RPCError
import pytest

from tests.system.kit import CSL, NC, Device, TransportError

CONFIG = (
    f'<config xmlns="{NC}"><licensing xmlns="{CSL}"><config><custom-id>%s</custom-id></config></licensing></config>'
)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    made = Device.make(tmp_path_factory.mktemp("d") / "d", run=("--startup",))
    with made.running():
        yield made


def shown(session: Any, datastore: str = "running") -> str | None:
    found = session.get_config(datastore).data_ele.findtext(f".//{{{CSL}}}custom-id")
    return None if found is None else str(found)


def test_what_is_announced(device: Device) -> None:
    """Checklist 2: what works is announced, by the names that ncclient looks for before it sends."""
    with device.ncclient() as session:
        offered = set(session.server_capabilities)
        for name in (":candidate", ":confirmed-commit:1.1", ":validate:1.1", ":startup", ":url", ":rollback-on-error"):
            assert name in session.server_capabilities, name
    assert "urn:ietf:params:netconf:capability:partial-lock:1.0" in offered
    assert "urn:ietf:params:netconf:capability:url:1.0?scheme=file" in offered


def test_candidate_by_ncclient(device: Device) -> None:
    """Checklist 90, 99-101, 103: edit, validate, discard, commit, under locks, as its users write it."""
    with device.ncclient() as session, device.ncclient() as other:
        session.discard_changes()
        before = shown(session)
        with session.locked("candidate"), session.locked("running"):
            session.edit_config(target="candidate", config=CONFIG % "one", test_option="test-then-set")
            session.validate("candidate")
            with pytest.raises(RPCError, match="lock"):
                other.commit()
            session.discard_changes()
            assert shown(session, "candidate") == before
            session.edit_config(target="candidate", config=CONFIG % "two", error_option="rollback-on-error")
            session.commit()
        assert shown(other) == "two"
        other.edit_config(target="candidate", config=CONFIG % "three")
        with pytest.raises(RPCError) as caught, session.locked("candidate"):
            pass
        assert caught.value.tag == "lock-denied"
        other.discard_changes()


def test_confirmed_commits_by_ncclient(device: Device) -> None:
    """Checklist 109, 110: confirmed, persist, persist-id, cancel-commit."""
    with device.ncclient() as session, device.ncclient() as other:
        session.edit_config(target="running", config=CONFIG % "old")
        session.edit_config(target="candidate", config=CONFIG % "new")
        session.commit(confirmed=True, timeout="60")
        session.commit()
        assert shown(session) == "new"
        session.edit_config(target="candidate", config=CONFIG % "newer")
        session.commit(confirmed=True, timeout="60", persist="token")
        with pytest.raises(RPCError) as caught:
            other.commit(persist_id="other")
        assert caught.value.tag == "invalid-value"
        other.cancel_commit(persist_id="token")
        assert shown(session) == "new"


def test_copies_and_files_by_ncclient(device: Device) -> None:
    """Checklist 97, 98: between datastores and files; delete-config of startup and of a file."""
    file = device.folder / "flash" / "backup.xml"
    with device.ncclient() as session:
        session.edit_config(target="running", config=CONFIG % "kept")
        session.copy_config(source="running", target="file:///backup.xml")
        assert b"<custom-id>kept</custom-id>" in file.read_bytes()
        session.edit_config(target="running", config=CONFIG % "other")
        session.copy_config(source="file:///backup.xml", target="candidate")
        session.commit()
        session.copy_config(source="running", target="startup")
        assert shown(session) == shown(session, "startup") == "kept"
        session.delete_config(target="file:///backup.xml")
        assert not file.exists()
        with pytest.raises(RPCError) as caught:
            session.delete_config(target="running")
        assert caught.value.tag == "invalid-value"


def test_a_session_that_is_lost(device: Device) -> None:
    """Checklist 110: by kill-session; the confirmed commit of that session only is taken back."""
    with device.ncclient() as killer:
        killer.edit_config(target="running", config=CONFIG % "before")
        with suppress(TransportError), device.ncclient() as victim:
            victim.edit_config(target="candidate", config=CONFIG % "trial")
            victim.commit(confirmed=True)
            assert shown(killer) == "trial"
            killer.kill_session(victim.session_id)
            assert shown(killer) == "before"


def test_killed_during_a_confirmed_commit(tmp_path: Path) -> None:
    """Checklist 111: SIGKILL; the next run serves what was before, persist or not, and the run after it too."""
    device = Device.make(tmp_path / "d")
    for persist in (None, "token"):
        device.start()
        with suppress(TransportError), device.ncclient() as session:
            session.edit_config(target="running", config=CONFIG % "before")
            session.edit_config(target="candidate", config=CONFIG % "trial")
            session.commit(confirmed=True, persist=persist)
            assert shown(session) == "trial"
            device.kill()
        for _ in range(2):
            with device.running(), device.ncclient() as session:
                assert shown(session) == shown(session, "candidate") == "before"
                with pytest.raises(RPCError):
                    session.commit(persist_id="token")


def test_killed_with_startup(tmp_path: Path) -> None:
    """RFC 6241 section 8.7: what is not copied to startup is gone after a restart; the rest is as it was."""
    device = Device.make(tmp_path / "d", run=("--startup",))
    device.start()
    with suppress(TransportError), device.ncclient() as session:
        session.edit_config(target="running", config=CONFIG % "saved")
        session.copy_config(source="running", target="startup")
        session.edit_config(target="running", config=CONFIG % "lost")
        device.kill()
    with device.running(), device.ncclient() as session:
        assert shown(session) == shown(session, "startup") == "saved"
