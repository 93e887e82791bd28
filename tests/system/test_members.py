"""What `slp-agent user` changes holds in open NETCONF sessions, and the log says who changed what: on a real agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
import re
import signal
import time
from typing import Any

from ncclient.operations import RPCError
import paramiko
import pytest

from tests.ports import free_port
from tests.system.kit import CSL, NC, PASSWORD, SLPA, Device, TransportError, to_ele

EDIT = f'<config xmlns="{NC}"><licensing xmlns="{CSL}"><config><custom-id>%s</custom-id></config></licensing></config>'
SUBSCRIBE = '<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"/>'
SESSIONS = '<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>'
WAIT = 15.0


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    device = Device.make(tmp_path_factory.mktemp("m") / "d")
    with device.running():
        yield device


def edit(session: Any, value: str) -> None:
    session.edit_config(target="running", config=EDIT % value)


def becomes(condition: Callable[[], bool]) -> None:
    """Wait for what the agent takes up within a second or so."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def denied(session: Any) -> bool:
    try:
        edit(session, "again")
    except RPCError as error:
        return bool(error.tag == "access-denied")
    return False


@contextmanager
def that_ends(device: Device, user: str) -> Iterator[Any]:
    """A session that the agent ends, so that close-session finds nobody at the exit."""
    with suppress(TransportError), device.ncclient(user) as session:
        yield session


def changed(device: Device, *words: str) -> None:
    assert device.tool("user", *words) == (0, "", "")


def test_a_demoted_user_loses_its_rights_in_an_open_session(device: Device) -> None:
    """Checklist 122: the groups are those of now, whenever the session began."""
    device.add_user("tmp", "admin")
    with device.ncclient("tmp") as session:
        edit(session, "one")
        changed(device, "group", "tmp", "reader")
        becomes(partial(denied, session))
        session.get_config("running")
        changed(device, "group", "tmp", "admin")
        becomes(lambda: not denied(session))
    log = device.log.read_text()
    assert "users were changed" in log
    assert "groups of user tmp were admin, and are reader now" in log


def test_the_sessions_of_a_removed_user_end(device: Device) -> None:
    """Also those that only wait for notifications; other users' go on."""
    device.add_user("gone", "admin")
    with device.ncclient() as other:
        with that_ends(device, "gone") as session, that_ends(device, "gone") as listener:
            listener.dispatch(to_ele(SUBSCRIBE))
            edit(session, "two")
            changed(device, "remove", "gone")
            becomes(lambda: not session.connected and not listener.connected)
        told = str(other.get(("subtree", SESSIONS)))
    assert "<username>gone<" not in told
    assert "<username>admin<" in told
    assert "there is no user gone any more" in device.log.read_text()


def test_a_session_that_begins_after_the_change(device: Device) -> None:
    """On an SSH connection that had logged in before: the user is asked for anew with each session."""
    device.add_user("late", "admin")
    transport = paramiko.Transport(device.address)
    try:
        transport.connect(username="late", password=PASSWORD)
        changed(device, "remove", "late")
        channel = transport.open_session(timeout=WAIT)
        channel.settimeout(WAIT)
        channel.invoke_subsystem("netconf")
        assert channel.recv(1) == b""
    finally:
        transport.close()


def logged(device: Device, line: str) -> bool:
    """Whether a line of the log, which is at INFO, has this (a pattern)."""
    return re.search(f"(?m) INFO agent.*{line}", device.log.read_text()) is not None


def test_the_log_says_who_changed_the_configuration(device: Device) -> None:
    """User, session, source, datastore, and how many edits; what is only in candidate is not in effect."""
    with device.ncclient() as session:
        who = rf"by user admin \(session {session.session_id}, netconf-ssh from 127.0.0.1\)"
        edit(session, "five")
        assert logged(device, f"configuration: running changed {who}: 1 edit$")
        session.edit_config(target="candidate", config=EDIT % "six")
        session.commit(confirmed=True, timeout="60")
        assert logged(device, f"confirmed commit: start {who}, to be confirmed within 60 s$")
        session.commit()
        assert logged(device, f"confirmed commit: complete {who}$")
    assert len(re.findall(f"configuration: running changed {who}", device.log.read_text())) == 2


def test_the_log_says_what_is_listened_on(device: Device) -> None:
    port = free_port()
    entry = f"<name>second</name><transport>ssh</transport><address>127.0.0.1</address><port>{port}</port>"
    server = f'<netconf-server xmlns="{SLPA}"><listen%s><endpoint>{entry}</endpoint></listen></netconf-server>'
    with device.ncclient() as session:
        session.edit_config(target="running", config=f'<config xmlns="{NC}">{server % ""}</config>')
        becomes(lambda: logged(device, f"NETCONF over ssh is served on 127.0.0.1:{port} .endpoint second.$"))
        gone = server % f' xmlns:nc="{NC}" nc:operation="remove"'
        session.edit_config(target="running", config=f'<config xmlns="{NC}">{gone}</config>')
        becomes(lambda: logged(device, f"NETCONF over ssh is no longer served on 127.0.0.1:{port}$"))


def test_the_log_says_which_users_and_keys_were_changed(device: Device) -> None:
    device.add_user("new", "reader")
    becomes(lambda: logged(device, "users were changed: .*new added"))
    changed(device, "group", "new", "collector")
    becomes(lambda: logged(device, "users were changed: .*new changed"))
    assert device.tool("user", "passwd", "new", "--password-stdin", given="another").code == 0
    becomes(lambda: logged(device, "users were changed: a password$"))
    (key,) = re.findall(r"SHA256:[^ ]+", device.tool("host-key").out)
    device.up.popen.send_signal(signal.SIGHUP)
    becomes(lambda: logged(device, f"new SSH connections are shown the host key {re.escape(key)}$"))
    assert logged(device, "SIGHUP")


def test_the_last_administrator_is_kept(tmp_path: Path) -> None:
    device = Device.make(tmp_path / "d")
    for words in (("remove", "admin"), ("group", "admin", "reader")):
        code, out, told = device.tool("user", *words)
        assert (code, out) == (1, "")
        assert told.startswith("slp-agent: admin is the last administrator: give another user")
    changed(device, "group", "admin", "reader", "--force")
    changed(device, "remove", "admin")


def test_a_new_password_leaves_sessions_open(device: Device) -> None:
    device.add_user("same", "admin")
    with device.ncclient("same") as session:
        assert device.tool("user", "passwd", "same", "--password-stdin", given="another").code == 0
        device.add_user("mark", "admin")
        with that_ends(device, "mark") as mark:
            changed(device, "remove", "mark")
            becomes(lambda: not mark.connected)
        edit(session, "four")
