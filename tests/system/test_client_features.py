"""ncclient, unmodified, through its whole feature set against a running agent; each call is judged by what came back.

What it gets wrong by itself is worked around in the call, and a comment says so.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
import os
from pathlib import Path
import socket
import ssl
import time
from typing import Any
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ncclient import manager
    from ncclient.operations import OperationError, RaiseMode, RPCError, TimeoutExpiredError
    from ncclient.transport.errors import AuthenticationError, SSHUnknownHostError
    from ncclient.xml_ import to_ele

from tests.system.driven import (
    CONFIG,
    CUSTOM_ID,
    KEYS,
    ONLY_CONFIG,
    PATH,
    PHRASE,
    RECORD,
    SPACES,
    Driven,
    custom_id,
)
from tests.system.kit import CSL, NC, PASSWORD, SLPA, STATE, TransportError, invoke

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
DATASTORES = "urn:ietf:params:xml:ns:yang:ietf-datastores"
MODES = {"report-all": (True, False), "report-all-tagged": (True, True), "trim": (False, False)}
"""Whether a leaf shows that has its default, and whether it is marked."""
ENTRIES = f"{{{SLPA}}}max-entries"


@pytest.fixture
def session(driven: Driven) -> Iterator[Any]:
    """An administrator's, whose running has no custom-id and whose candidate is running."""
    with driven.ncclient() as opened:
        opened.discard_changes()
        gone = (CONFIG % "").replace("<custom-id>", f'<custom-id xmlns:nc="{NC}" nc:operation="remove">')
        opened.edit_config(target="running", config=gone, default_operation="none")
        yield opened


def shown(session: Any, datastore: str = "running") -> str | None:
    return custom_id(session.get_config(datastore).data_ele)


def test_filters(session: Any) -> None:
    """Checklist 46, 63: each form in which it takes a filter, for get and get-config."""
    session.edit_config(target="running", config=CONFIG % "filtered")
    rest = f'<event-log xmlns="{SLPA}"/>'
    for filter_ in (
        ("subtree", ONLY_CONFIG),
        ("subtree", to_ele(ONLY_CONFIG)),
        [ONLY_CONFIG, rest],
        f'<filter type="subtree">{ONLY_CONFIG}</filter>',
        to_ele(f'<filter xmlns="{NC}">{ONLY_CONFIG}</filter>'),
        ("xpath", (SPACES, PATH)),
        ("xpath", "/licensing/config"),
    ):
        for reply in (session.get(filter_), session.get_config("running", filter_)):
            assert reply.ok
            assert custom_id(reply.data_ele) == "filtered"
            assert {each.tag for each in reply.data_ele} == {f"{{{CSL}}}licensing"}
    with pytest.raises(RPCError) as caught:
        session.get(("xpath", "/licensing["))
    assert (caught.value.tag, "select" in caught.value.info) == ("bad-attribute", True)


def test_with_defaults(session: Any) -> None:
    """Checklist 67, 69: the modes that it reads from the capability; explicit is the server's basic mode."""
    for read in (session.get, lambda **given: session.get_config("running", **given)):
        for mode, (shows, marked) in {**MODES, "explicit": (False, False)}.items():
            reply = read(filter=("subtree", ONLY_CONFIG), with_defaults=mode)
            assert (ENTRIES in {each.tag for each in reply.data_ele.iter()}) == shows, mode
            assert ('default="true"' in reply.data_xml) == marked, mode
        with pytest.raises(OperationError, match="report-most"):
            read(with_defaults="report-most")


def test_datastores(session: Any) -> None:
    """Checklist 97, 98: each datastore is read, edited, copied and deleted by its name."""
    session.edit_config(target="running", config=CONFIG % "runs")
    session.copy_config(source="running", target="startup")
    session.edit_config(target="candidate", config=CONFIG % "waits")
    assert [shown(session, each) for each in ("running", "candidate", "startup")] == ["runs", "waits", "runs"]
    session.copy_config(source="candidate", target="startup")
    assert shown(session, "startup") == "waits"
    session.delete_config("startup")
    assert shown(session, "startup") is None
    # a string is a datastore or, with "://" in a namespace, a URL to it: configuration goes as an element
    session.copy_config(source=to_ele(f'<source xmlns="{NC}">{CONFIG % "inline"}</source>'), target="candidate")
    assert [shown(session, each) for each in ("running", "candidate")] == ["runs", "inline"]
    for target in ("running", "candidate"):
        with pytest.raises(RPCError) as caught:
            session.delete_config(target)
        assert caught.value.tag == "invalid-value"
    with pytest.raises(RPCError) as caught:
        session.get_config("nonsense")
    assert caught.value.tag == "unknown-element"
    session.discard_changes()


def test_files(session: Any, driven: Driven) -> None:
    """Checklist 98: copies to and from a file, its edit, validation and end; get-config takes no url (RFC 6241)."""
    session.edit_config(target="running", config=CONFIG % "filed")
    session.copy_config(source="running", target="file:///kept.xml")
    assert b"<custom-id>filed</custom-id>" in driven.file.read_bytes()
    session.edit_config(target="running", config=CONFIG % "other")
    session.validate("file:///kept.xml")
    # it takes a URL with a host only
    session.edit_config("file://localhost/kept.xml", format="url", target="candidate")
    assert [shown(session, each) for each in ("running", "candidate")] == ["other", "filed"]
    session.discard_changes()
    session.copy_config(source="file:///kept.xml", target="candidate")
    assert shown(session, "candidate") == "filed"
    session.discard_changes()
    with pytest.raises(RPCError) as caught:
        session.get_config("file:///kept.xml")
    assert caught.value.tag == "invalid-value"
    session.delete_config("file:///kept.xml")
    assert not driven.file.exists()
    with pytest.raises(RPCError) as caught:
        session.copy_config(source="https://example.com/kept.xml", target="candidate")
    assert caught.value.tag == "invalid-value"


def test_edits(session: Any) -> None:
    """Checklist 71, 90, 102: default-operation, test-option and error-option; configuration as text and as element."""
    session.edit_config(target="running", config=to_ele(CONFIG % "element"), default_operation="merge")
    assert shown(session) == "element"
    session.edit_config(target="running", config=CONFIG % "none", default_operation="none")
    assert shown(session) == "element"
    removed = (CONFIG % "element").replace("<custom-id>", f'<custom-id xmlns:nc="{NC}" nc:operation="delete">')
    session.edit_config(target="running", config=removed, default_operation="none")
    assert shown(session) is None
    with pytest.raises(RPCError) as caught:
        session.edit_config(target="running", config=removed)
    assert caught.value.tag == "data-missing"
    for option, now in (("test-only", None), ("set", "set"), ("test-then-set", "test-then-set")):
        session.edit_config(target="candidate", config=CONFIG % option, test_option=option)
        assert shown(session, "candidate") == now
    session.edit_config(target="candidate", config=f'<config xmlns="{NC}"/>', default_operation="replace")
    assert session.get_config("candidate").data_ele.find("*") is None
    session.discard_changes()
    bad = (CONFIG % "half").replace("</config></licensing>", "<nonsense/></config></licensing>")
    for option in ("stop-on-error", "rollback-on-error"):
        session.edit_config(target="running", config=CONFIG % option, error_option=option)
        with pytest.raises(RPCError) as caught:
            session.edit_config(target="running", config=bad, error_option=option)
        assert caught.value.tag == "unknown-element"
        assert shown(session) == option
    with pytest.raises(RPCError) as caught:
        session.edit_config(target="running", config=CONFIG % "on", error_option="continue-on-error")
    assert caught.value.tag == "operation-not-supported"
    with pytest.raises(RPCError) as caught:
        session.edit_config("hostname x", format="text", target="candidate")
    assert (caught.value.tag, "config-text" in caught.value.info) == ("unknown-element", True)


def test_locks(session: Any, driven: Driven) -> None:
    """Checklist 102-104: lock, unlock and `with locked` for each datastore; the refusal names the holder."""
    with driven.ncclient() as other:
        for datastore in ("running", "candidate", "startup"):
            with session.locked(datastore):
                with pytest.raises(RPCError) as caught:
                    other.lock(datastore)
                assert caught.value.tag == "lock-denied"
                assert f"<session-id>{session.session_id}</session-id>" in caught.value.info
            assert other.lock(datastore).ok
            with pytest.raises(RPCError) as caught, session.locked(datastore):
                pass
            assert caught.value.tag == "lock-denied"
            assert other.unlock(datastore).ok
            with pytest.raises(RPCError) as caught:
                other.unlock(datastore)
            assert caught.value.tag == "operation-failed"


def test_validate(session: Any) -> None:
    """Checklist 101: datastores and configuration in the request."""
    for source in ("running", "candidate", to_ele(CONFIG % "good")):
        assert session.validate(source).ok
    with pytest.raises(RPCError) as caught:
        session.validate(to_ele((CONFIG % "x").replace("custom-id", "nonsense")))
    assert (caught.value.tag, "nonsense" in caught.value.info) == ("unknown-element", True)


def test_commits(session: Any, driven: Driven) -> None:
    """Checklist 99, 100, 109, 110: plain, discarded, confirmed by a second one, cancelled, persisting, timed out."""

    def write(value: str) -> None:
        session.edit_config(target="candidate", config=CONFIG % value)

    write("plain")
    session.commit()
    write("thrown away")
    session.discard_changes()
    assert [shown(session, each) for each in ("running", "candidate")] == ["plain", "plain"]
    write("confirmed")
    session.commit(confirmed=True)
    session.commit()
    write("cancelled")
    session.commit(confirmed=True, timeout="60")
    assert shown(session) == "cancelled"
    session.cancel_commit()
    assert shown(session) == "confirmed"
    session.discard_changes()
    write("persists")
    session.commit(confirmed=True, timeout="60", persist="token")
    with driven.ncclient() as other:
        with pytest.raises(RPCError) as caught:
            other.commit(persist_id="another")
        assert caught.value.tag == "invalid-value"
        other.commit(persist_id="token")
    assert shown(session) == "persists"
    write("for a second")
    session.commit(confirmed=True, timeout="1")
    assert shown(session) == "for a second"
    end = time.monotonic() + 10
    while shown(session) == "for a second" and time.monotonic() < end:
        time.sleep(0.1)
    assert shown(session) == "persists"
    session.discard_changes()


def test_schemas(session: Any) -> None:
    """RFC 6022: every module of the hello is there as YANG; as YIN; what is not there is refused."""
    for module in (cap.parameters for cap in map(session.server_capabilities.__getitem__, offered(session))):
        text = session.get_schema(module["module"], version=module.get("revision")).data
        assert f"module {module['module']} " in text
    assert "module slp-agent " in session.get_schema("slp-agent", format="yang").data
    # the reply has an element, and it reads text: the raw reply has it
    assert session.get_schema("slp-agent", format="yin").xml.count('<notification name="report-closed">') == 1
    for words in ({"identifier": "nonsense"}, {"identifier": "slp-agent", "version": "1999-01-01"}):
        with pytest.raises(RPCError) as caught:
            session.get_schema(**words)
        assert caught.value.tag == "invalid-value"


def offered(session: Any) -> list[str]:
    found = [uri for uri in session.server_capabilities if "?module=" in uri]
    assert len(found) > 1
    return found


def test_notifications(session: Any, driven: Driven) -> None:
    """RFC 5277: filters by subtree and XPath, replay to its end, and requests between (:interleave)."""
    begun = datetime.now(UTC).isoformat()
    changed = f'<usage-changed xmlns="{SLPA}"/>'
    assert session.create_subscription(filter=("subtree", changed), stream_name="licensing").ok
    assert session.take_notification(block=False) is None
    assert invoke(session, RECORD % 4).findtext(f"{{{SLPA}}}return-code") == "success"
    event = session.take_notification(timeout=10)
    assert event.notification_ele.findtext(f".//{{{SLPA}}}count") == "4"
    assert "<eventTime>" in event.notification_xml
    assert session.take_notification(timeout=0.1) is None
    with driven.ncclient() as other:
        invoke(other, RECORD % 5)
        assert "<count>5</count>" in session.take_notification(timeout=10).notification_xml
        xpath = ("xpath", ({"s": SLPA}, "/s:usage-changed[s:count = 5]"))
        stop = (datetime.now(UTC) + timedelta(seconds=0.2)).isoformat()
        assert other.create_subscription(filter=xpath, start_time=begun, stop_time=stop).ok
        told = [other.take_notification(timeout=10).notification_xml for _ in range(3)]
        assert ["<count>5</count>" in told[0], "replayComplete" in told[1], "notificationComplete" in told[2]] == [
            True
        ] * 3
        assert shown(other) == shown(session)


def test_other_rpcs(session: Any) -> None:
    """Our own, those of standard modules that it has no method for, and its generic ones; get-data and edit-data."""
    assert invoke(session, RECORD % 6).findtext(f"{{{SLPA}}}return-code") == "success"
    assert "<return-code" in session.rpc(to_ele(RECORD % 7)).xml
    state = f'<datastore xmlns:ds="{DATASTORES}">%s</datastore>'
    edit = f'<edit-data xmlns="{NMDA}">{state % "ds:candidate"}<config>{CUSTOM_ID % "data"}</config></edit-data>'
    assert session.dispatch(to_ele(edit)).ok
    get = f'<get-data xmlns="{NMDA}">{state}<subtree-filter>{ONLY_CONFIG}</subtree-filter></get-data>'
    assert custom_id(to_ele(session.rpc(to_ele(get % "ds:candidate")).xml)) == "data"
    used = get.replace(ONLY_CONFIG, STATE % "<usage/>") % "ds:operational"
    assert "<count>7</count>" in session.dispatch(to_ele(used)).xml
    session.discard_changes()
    for reply in (
        session.dispatch("get", filter=("subtree", ONLY_CONFIG)),
        session.dispatch("get-config", source="running"),
        session.rpc("get-config", source="startup", filter=("subtree", ONLY_CONFIG)),
        session.rpc("edit-config", target="candidate", config=CONFIG % "generic"),
    ):
        assert reply.ok
    assert shown(session, "candidate") == "generic"
    session.discard_changes()
    # a method of any name is an operation of the base namespace
    with pytest.raises(RPCError) as caught:
        session.close_reports()
    assert (caught.value.tag, "close-reports" in caught.value.info) == ("unknown-element", True)


def test_ends_of_sessions(session: Any, driven: Driven) -> None:
    """Checklist 105-107: kill-session ends another, never itself; close-session ends its own."""
    # its own `with` closes what is closed already
    with suppress(TransportError), driven.ncclient() as victim:
        assert session.kill_session(victim.session_id).ok
        end = time.monotonic() + 10
        while victim.connected and time.monotonic() < end:
            time.sleep(0.02)
        assert not victim.connected
    for number, tag in ((session.session_id, "invalid-value"), ("4294967295", "invalid-value"), ("x", "invalid-value")):
        with pytest.raises(RPCError) as caught:
            session.kill_session(number)
        assert caught.value.tag == tag
    with suppress(TransportError), driven.ncclient() as other:
        assert other.close_session().ok
        assert not other.connected


def test_its_modes(session: Any) -> None:
    """async_mode, raise_mode, timeout and huge_tree, on one session."""
    session.edit_config(target="running", config=CONFIG % "modes")
    session.async_mode = True
    waiting = [session.get_config("running", filter=("subtree", ONLY_CONFIG)) for _ in range(50)]
    for each in waiting:
        assert each.event.wait(10)
        assert (each.error, custom_id(each.reply.data_ele)) == (None, "modes")
    session.async_mode = False
    session.raise_mode = RaiseMode.NONE
    reply = session.get_config("nonsense")
    assert (reply.ok, [each.tag for each in reply.errors], reply.error.severity) == (
        False, ["unknown-element"], "error",
    )  # fmt: skip
    for mode in (RaiseMode.ERRORS, RaiseMode.ALL):
        session.raise_mode = mode
        with pytest.raises(RPCError):
            session.get_config("nonsense")
    timeout, session.timeout = session.timeout, 1e-9
    with pytest.raises(TimeoutExpiredError):
        session.get()
    session.timeout, session.huge_tree = timeout, True
    assert custom_id(session.get().data_ele) == "modes"


@contextmanager
def connected(driven: Driven, **words: Any) -> Iterator[Any]:
    """As its users connect: with what is given, and nothing else but the address."""
    host, port = driven.address
    given = {"host": host, "port": port, "timeout": 20, "allow_agent": False, "look_for_keys": False, **words}
    with manager.connect(**given) as opened:
        listens = ("subtree", f'<netconf-server xmlns="{SLPA}"><listen/></netconf-server>')
        assert "<name>tls</name>" in str(opened.get_config("running", filter=listens))
        yield opened


@pytest.mark.parametrize("kind", ["default", "iosxe", "csr", "iosxr", "nexus", "huaweiyang", "sros"])
def test_device_handlers(driven: Driven, kind: str) -> None:
    """Checklist 10, 27: what each handler makes of hello, prefixes and replies."""
    params = {"device_params": {"name": kind}, "hostkey_verify": False}
    with connected(driven, username="admin", password=PASSWORD, **params) as session:
        session.discard_changes()
        config = CONFIG if kind not in ("iosxe", "default") else CONFIG.replace(f' xmlns="{NC}"', "")
        with session.locked("candidate"):
            session.edit_config(target="candidate", config=config % kind)
            session.commit()
        reply = session.get(("subtree", ONLY_CONFIG))
        assert f"<custom-id>{kind}</custom-id>" in str(reply)
        if kind == "iosxe":
            assert "Save running-config successful" in str(session.save_config())
        if kind == "nexus":
            with pytest.raises(RPCError) as caught:
                session.exec_command(["show version"])
            assert caught.value.tag == "unknown-namespace"


@pytest.mark.parametrize("kind", [*KEYS, "locked"])
def test_keys(driven: Driven, kind: str) -> None:
    """Checklist 118: a key of each kind that users have, one of them under a phrase."""
    given = {"key_filename": str(driven.key(kind)), "password": PHRASE if kind == "locked" else None}
    with connected(driven, username="admin", hostkey_verify=False, **given) as session:
        assert session.connected
    with pytest.raises(AuthenticationError), connected(driven, username="reader", hostkey_verify=False, **given):
        pass


def test_ssh_config_and_host_keys(driven: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alias in ssh_config with user, key and known hosts; a pinned key; a stranger's; the key of the home folder."""
    host, _ = driven.address
    known = driven.known_hosts(tmp_path)
    lines = ("Host device", f"HostName {host}", "User admin", f"IdentityFile {driven.key('rsa')}")
    file = tmp_path / "config"
    file.write_text("\n  ".join((*lines, f"UserKnownHostsFile {known}", "ConnectTimeout 10")))
    with connected(driven, host="device", ssh_config=str(file)) as session:
        assert session.session_id
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    pins = [line.split()[2] for line in known.read_text().splitlines() if not line.startswith("#")]
    assert pins
    for pin in pins:
        with connected(driven, username="admin", password=PASSWORD, hostkey_b64=pin):
            pass
    stranger = base64.b64encode(base64.b64decode(pins[0])[:-4] + b"\0\1\2\3").decode()
    for words in ({}, {"hostkey_b64": stranger}):
        with (
            pytest.raises(SSHUnknownHostError),
            connected(driven, username="admin", password=PASSWORD, unknown_host_cb=lambda *_: False, **words),
        ):
            pass
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh" / "id_ecdsa").write_bytes(driven.key("ecdsa").read_bytes())
    with connected(driven, username="admin", hostkey_verify=False, look_for_keys=True, allow_agent=True):
        pass


def test_sockets_and_options(driven: Driven) -> None:
    """An open socket, its number, a local address, keepalives, capabilities and environment of the client's own."""
    by = {"username": "admin", "password": PASSWORD, "hostkey_verify": False}
    own = "http://example.com/capability"
    options: tuple[dict[str, Any], ...] = (
        {"bind_addr": "127.0.0.1"},
        {"keepalive": 1},
        {"nc_params": {"capabilities": [own]}},
        {"environment": {"LANG": "C"}},
        {"manager_params": {"timeout": 7}},
        {"errors_params": {"ignore_errors": ["*is not known*"]}},
    )
    for given in options:
        with connected(driven, **by, **given) as session:
            assert (own in session.client_capabilities) == ("nc_params" in given)
            if "manager_params" in given:
                assert session.timeout == 7
            if "errors_params" in given:
                assert not session.get_config("nonsense").ok
    with socket.create_connection(driven.address) as opened, connected(driven, sock=opened, **by):
        pass
    with (
        socket.create_connection(driven.address) as opened,
        connected(driven, sock_fd=os.dup(opened.fileno()), host=None, **by),
    ):
        pass


def test_tls(driven: Driven) -> None:
    """RFC 7589: the client's certificate is the administrator; the device's is proved by its CA file."""
    words = {"host": "127.0.0.1", "port": driven.tls_port, "ca_certs": str(driven.ca), "timeout": 20}
    with manager.connect_tls(**words, certfile=str(driven.certificate), protocol=ssl.PROTOCOL_TLS_CLIENT) as session:
        session.edit_config(target="running", config=CONFIG % "by TLS")
        assert shown(session) == "by TLS"
        sessions = (
            '<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>'
        )
        assert ":netconf-tls</transport><username>admin</username>" in session.get(("subtree", sessions)).data_xml


def test_unix_socket(driven: Driven) -> None:
    """The socket for netconf-subsystem, which speaks NETCONF to whom the system says it is."""
    with manager.connect_uds(path=str(driven.local), timeout=20) as session:
        session.edit_config(target="running", config=CONFIG % "by socket")
        assert shown(session) == "by socket"
