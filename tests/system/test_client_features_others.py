"""netconf-client and scrapli-netconf, unmodified, through their whole feature sets against a running agent.

What they get wrong by themselves is worked around in the call, and a comment says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
import logging
from pathlib import Path
from typing import Any
import warnings

from lxml import etree
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from netconf_client.connect import CallhomeManager, connect_ssh, connect_tls
    from netconf_client.error import RpcError, SessionClosedException
    from netconf_client.ncclient import Manager
    from scrapli.exceptions import ScrapliAuthenticationFailed, ScrapliValueError
    from scrapli_netconf.driver import AsyncNetconfDriver, NetconfDriver
    from scrapli_netconf.exceptions import CapabilityNotSupported

from tests.ports import free_port
from tests.system.driven import (
    CONFIG,
    KEYS,
    ONLY_CONFIG,
    PATH,
    PHRASE,
    RECORD,
    Driven,
    custom_id,
)
from tests.system.kit import CSL, NC, PASSWORD, SLPA, STATE

# what the clients leave open when they end is theirs
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

FILTER = f"<filter>{ONLY_CONFIG}</filter>"
SUBTREE = f'<subtree-filter xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-nmda">{ONLY_CONFIG}</subtree-filter>'
MODES = {"report-all": (True, False), "report-all-tagged": (True, True), "trim": (False, False)}
"""Whether a leaf shows that has its default, and whether it is marked."""
MONITORING = '<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>'


def by_ssh(driven: Driven, **words: Any) -> Any:
    host, port = driven.address
    login = words or {"password": PASSWORD}
    return connect_ssh(host=host, port=port, username="admin", initial_timeout=20, **login)


def by_tls(driven: Driven) -> Any:
    files = {"keyfile": str(driven.certificate), "certfile": str(driven.certificate), "ca_certs": str(driven.ca)}
    return connect_tls(host="127.0.0.1", port=driven.tls_port, initial_timeout=20, **files)


@pytest.fixture(params=[by_ssh, by_tls])
def client(driven: Driven, request: pytest.FixtureRequest) -> Iterator[Manager]:
    """netconf-client's Manager, over either transport."""
    with Manager(request.param(driven), timeout=20) as opened:
        opened.discard_changes()
        yield opened
        end(opened)


def end(client: Manager) -> None:
    """Let the server close it: over TLS the client's own end leaves a reader, which takes octets of the next socket."""
    if client.session.thread.is_alive():
        with suppress(SessionClosedException, OSError):
            client.close_session()
        client.session.thread.join(20)


@pytest.fixture
def other(driven: Driven) -> Iterator[Manager]:
    with Manager(by_ssh(driven), timeout=20) as opened:
        yield opened


def shown(client: Manager, datastore: str = "running") -> str | None:
    return custom_id(client.get_config(datastore, FILTER).data_ele)


def refused(call: Callable[..., Any], *args: Any, **words: Any) -> str:
    """The tag with which a call is refused."""
    with pytest.raises(RpcError) as caught:
        call(*args, **words)
    return str(caught.value.tag)


def test_netconf_client_reads(client: Manager) -> None:
    """Checklist 63, 67, 69: get and get-config with each filter form and mode."""
    client.edit_config(CONFIG % "read")
    for filter_ in (
        ("subtree", ONLY_CONFIG),
        FILTER,
        f'<filter type="xpath" xmlns:c="{CSL}" select="{PATH.replace("csl:", "c:")}"/>',
    ):
        for reply in (client.get(filter_), client.get_config("running", filter_)):
            assert custom_id(reply.data_ele) == "read"
            assert [each.tag for each in reply.data_ele] == [f"{{{CSL}}}licensing"]
            assert reply.raw_reply.startswith(b"<rpc-reply ")
    for mode, (shows, marked) in {**MODES, "explicit": (False, False)}.items():
        for reply in (client.get(FILTER, with_defaults=mode), client.get_config(filter=FILTER, with_defaults=mode)):
            assert (b"<max-entries" in reply.data_xml, b'default="true"' in reply.data_xml) == (shows, marked), mode
    assert refused(client.get_config, "nonsense") == "unknown-element"


def test_netconf_client_get_data(client: Manager) -> None:
    """RFC 8526: each parameter of get-data."""
    client.edit_config(CONFIG % "data")
    client.edit_config(CONFIG % "waits", target="candidate")
    assert custom_id(client.get_data("ds:candidate", SUBTREE).data_ele) == "waits"
    assert custom_id(client.get_data("ds:running", SUBTREE, with_defaults="report-all").data_ele) == "data"
    reply = client.get_data(filter=SUBTREE, with_origin=True, config_filter=True)
    assert (custom_id(reply.data_ele), b":origin=" in reply.data_xml) == ("data", True)
    assert custom_id(client.get_data(filter=SUBTREE, config_filter=False).data_ele) is None
    for origins, negated, found in (
        (["or:intended"], False, "data"),
        (["or:intended"], True, None),
        (["or:default", "or:system"], False, None),
    ):
        reply = client.get_data(filter=SUBTREE, origin_filters=origins, negate_origin_filters=negated)
        assert custom_id(reply.data_ele) == found
    (licensing,) = client.get_data(filter=SUBTREE, max_depth=1).data_ele
    assert [(each.tag, len(each)) for each in licensing] == [(f"{{{CSL}}}config", 0)]
    assert refused(client.get_data, "ds:nonsense") == "invalid-value"


def test_netconf_client_edits(client: Manager) -> None:
    """Checklist 71, 90, 102: default-operation, test-option and error-option."""
    client.edit_config(CONFIG % "merged", default_operation="merge")
    client.edit_config(CONFIG % "none", default_operation="none")
    assert shown(client) == "merged"
    for option, now in (("test-only", "merged"), ("set", "set"), ("test-then-set", "test-then-set")):
        client.edit_config(CONFIG % option, "candidate", test_option=option)
        assert shown(client, "candidate") == now
    client.edit_config(f'<config xmlns="{NC}"/>', "candidate", default_operation="replace")
    assert shown(client, "candidate") is None
    bad = (CONFIG % "half").replace("</config></licensing>", "<nonsense/></config></licensing>")
    for option in ("stop-on-error", "rollback-on-error"):
        client.edit_config(CONFIG % option, error_option=option)
        assert refused(client.edit_config, bad, error_option=option) == "unknown-element"
        assert shown(client) == option
    assert refused(client.edit_config, CONFIG % "on", error_option="continue-on-error") == "operation-not-supported"


def test_netconf_client_copies(client: Manager, driven: Driven) -> None:
    """Checklist 97, 98, 101: copies, deletions and validation of datastores and of what the request holds."""
    client.edit_config(CONFIG % "kept")
    client.copy_config(target="startup", source="running")
    client.copy_config(target="candidate", source=CONFIG % "inline", with_defaults="trim")
    assert [shown(client, each) for each in ("running", "candidate", "startup")] == ["kept", "inline", "kept"]
    for source in ("running", "candidate", etree.fromstring(CONFIG % "element")):
        client.validate(source)
    assert refused(client.validate, etree.fromstring((CONFIG % "x").replace("custom-id", "bad"))) == "unknown-element"
    client.delete_config("startup")
    assert shown(client, "startup") is None
    assert refused(client.delete_config, "running") == "invalid-value"
    # it has no way to name a URL but in an RPC of one's own
    client.dispatch(
        "<copy-config><target><url>file:///kept.xml</url></target><source><running/></source></copy-config>"
    )
    assert b"<custom-id>kept</custom-id>" in driven.file.read_bytes()


def test_netconf_client_commits(client: Manager, other: Manager) -> None:
    """Checklist 99, 100, 109, 110: plain, discarded, confirmed, cancelled, persisting."""

    def write(value: str) -> None:
        client.edit_config(CONFIG % value, "candidate")

    write("plain")
    client.commit()
    write("thrown away")
    client.discard_changes()
    assert [shown(client, each) for each in ("running", "candidate")] == ["plain", "plain"]
    write("cancelled")
    client.commit(confirmed=True, confirm_timeout=60)
    assert shown(other) == "cancelled"
    client.cancel_commit()
    assert shown(other) == "plain"
    client.discard_changes()
    for value, last in (("persists", "commit"), ("taken back", "cancel_commit")):
        write(value)
        client.commit(confirmed=True, confirm_timeout=60, persist="token")
        assert shown(other) == value
        assert refused(getattr(other, last), persist_id="another") == "invalid-value"
        getattr(other, last)(persist_id="token")
        assert shown(client) == "persists"
    client.discard_changes()


def test_netconf_client_locks_and_ends(client: Manager, other: Manager) -> None:
    """Checklist 102-107: locks of each datastore, kill-session and close-session."""
    for datastore in ("running", "candidate", "startup"):
        client.lock(datastore)
        with pytest.raises(RpcError) as caught:
            other.lock(datastore)
        assert caught.value.tag == "lock-denied"
        assert f"<session-id>{client.session_id}</session-id>" in caught.value.info.decode()
        client.unlock(datastore)
        assert refused(other.unlock, datastore) == "operation-failed"
    assert refused(client.kill_session, client.session_id) == "invalid-value"
    other.lock("running")
    client.kill_session(other.session_id)
    client.lock("running")
    client.unlock("running")
    client.close_session()
    client.set_rpc_timeout(1)
    assert client.get_rpc_timeout() == 1
    with pytest.raises((SessionClosedException, OSError, TimeoutError)):
        client.get_config()


def test_netconf_client_notifications(client: Manager, other: Manager) -> None:
    """RFC 5277: its filter, replay to its end, and requests between (:interleave)."""
    begun = datetime.now(UTC).isoformat()
    client.create_subscription("licensing", f'<filter type="subtree"><usage-changed xmlns="{SLPA}"/></filter>')
    assert client.take_notification(block=False) is None
    for count in (11, 12):
        assert b">success</return-code>" in client.dispatch(RECORD % count).xml
        event = client.take_notification(timeout=10)
        assert event.notification_ele.findtext(f".//{{{SLPA}}}count") == str(count)
        assert event.notification_xml.startswith(b"<notification ")
    stop = (datetime.now(UTC) + timedelta(seconds=0.2)).isoformat()
    xpath = f'<filter type="xpath" xmlns:s="{SLPA}" select="/s:usage-changed[s:count = 11]"/>'
    other.create_subscription("licensing", xpath, begun, stop)
    told = [other.take_notification(timeout=10).notification_xml for _ in range(3)]
    for part, event in zip((b"<count>11<", b"replayComplete", b"notificationComplete"), told, strict=True):
        assert part in event


def test_netconf_client_pipelines_and_logs(client: Manager, caplog: pytest.LogCaptureFixture) -> None:
    """Fifty requests on one session before the first answer; large answers; what it writes into its log."""
    client.edit_config(CONFIG % "many")
    rpc = f'<rpc xmlns="{NC}" message-id="{{}}"><get-config><source><running/></source></get-config></rpc>'
    waiting = [client.session.send_rpc(rpc.format(number).encode()) for number in range(50)]
    for number, each in enumerate(waiting):
        raw, element = each.result(20)
        assert (element.get("message-id"), custom_id(element)) == (str(number), "many")
        assert raw.startswith(b"<rpc-reply ")
    assert len(client.get().raw_reply) > 32_768
    client.log_id = "device"
    with caplog.at_level(logging.DEBUG, logger=client.logger().name):
        client.get_config(filter=FILTER, timeout=10)
    assert "NC Request" in caplog.text
    assert "many</custom-id>" in caplog.text


def test_netconf_client_transports(driven: Driven, client: Manager) -> None:
    """Checklist 118: each kind of key; what the device shows of the session."""
    for kind in KEYS:
        with Manager(by_ssh(driven, key_filename=str(driven.key(kind))), timeout=20) as keyed:
            seen = etree.tostring(keyed.get(f"<filter>{MONITORING}</filter>").data_ele).decode()
            assert f"<session-id>{keyed.session_id}</session-id>" in seen
            for mine in (f"<session-id>{client.session_id}</session-id>", "<username>admin</username>"):
                assert mine in seen
    assert "urn:ietf:params:netconf:base:1.1" in client.session.server_capabilities
    assert client.session.mode == "1.1"


@pytest.mark.parametrize("transport", ["ssh", "tls"])
def test_netconf_client_call_home(driven: Driven, transport: str) -> None:
    """Checklist 119: its own listener, which the device comes to."""
    port = free_port()
    with CallhomeManager(bind_to="127.0.0.1", port=port) as listener:
        driven.call(transport, port)
        if transport == "ssh":
            session = listener.accept_one_ssh(username="admin", password=PASSWORD)
        else:
            files = {"keyfile": str(driven.certificate), "certfile": str(driven.certificate)}
            session = listener.accept_one_tls(ca_certs=str(driven.ca), **files)
        with Manager(session, timeout=20) as called:
            called.edit_config(CONFIG % f"called {transport}")
            assert shown(called) == f"called {transport}"
            end(called)
    driven.call_nobody()


# scrapli-netconf


def scrapli(driven: Driven, transport: str = "paramiko", driver: Any = NetconfDriver, **words: Any) -> Any:
    """A driver that is not open yet."""
    host, port = driven.address
    given = {"auth_username": "admin", "auth_password": PASSWORD, "auth_strict_key": False, **words}
    return driver(host=host, port=port, transport=transport, timeout_ops=20, **given)


@contextmanager
def opened(driven: Driven, *args: Any, **words: Any) -> Iterator[Any]:
    driver = scrapli(driven, *args, **words)
    driver.open()
    try:
        yield driver
    finally:
        driver.close()


def result(response: Any) -> Any:
    """The reply of a request that was not refused."""
    assert not response.failed, response.result
    return response.xml_result


def tag_of(response: Any) -> str:
    """The tag of a refusal."""
    assert response.failed
    return str(response.xml_result.findtext(f".//{{{NC}}}error-tag"))


def held(driver: Any, datastore: str = "running") -> str | None:
    return custom_id(result(driver.get_config(datastore, ONLY_CONFIG)))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("transport", ["system", "ssh2", "paramiko"])
def test_scrapli(driven: Driven, transport: str, version: str) -> None:
    """Checklist 3-5, 90, 97-104, 109, 110: every operation over each of its transports, in either framing."""
    with opened(driven, transport, preferred_netconf_version=version) as driver:
        assert driver.netconf_version.value == version
        assert driver.readable_datastores == driver.writeable_datastores == ["running", "candidate", "startup"]
        # another test's changes would keep candidate from being locked
        result(driver.discard())
        for datastore in ("running", "candidate", "startup"):
            result(driver.lock(datastore))
        result(driver.edit_config(CONFIG % "one", target="running"))
        result(driver.copy_config("running", "startup"))
        result(driver.edit_config(CONFIG % "two", target="candidate"))
        assert [held(driver, each) for each in ("running", "candidate", "startup")] == ["one", "two", "one"]
        result(driver.validate("candidate"))
        result(driver.commit(confirmed=True, timeout=60))
        result(driver.commit())
        result(driver.edit_config(CONFIG % "three", target="candidate"))
        result(driver.commit(confirmed=True, timeout=60, persist="token"))
        assert tag_of(driver.commit(persist_id="another")) == "invalid-value"
        result(driver.commit(persist_id="token"))
        assert held(driver) == "three"
        result(driver.delete_config("startup"))
        assert held(driver, "startup") is None
        for datastore in ("running", "candidate", "startup"):
            result(driver.unlock(datastore))
        assert tag_of(driver.unlock("running")) == "operation-failed"
        _scrapli_reads(driver)


def _scrapli_reads(driver: Any) -> None:
    for filter_ in (ONLY_CONFIG, f'<filter xmlns="">{ONLY_CONFIG}</filter>'.replace(' xmlns=""', "")):
        assert custom_id(result(driver.get(filter_))) == "three"
    for read in (driver.get, lambda filter_, filter_type: driver.get_config("running", filter_, filter_type)):
        assert custom_id(result(read("/licensing/config/custom-id", filter_type="xpath"))) == "three"
    two = f"{ONLY_CONFIG}{MONITORING}"
    assert set(driver.get(two).get_xml_elements()) == {"licensing", "netconf-state"}
    for mode, (shows, marked) in {**MODES, "explicit": (False, False)}.items():
        text = etree.tostring(result(driver.get_config(filter_=ONLY_CONFIG, default_type=mode)))
        assert (b"<max-entries" in text, b'default="true"' in text) == (shows, marked), mode
    assert len(driver.get(STATE % "").result) > 1000
    for rpc in (RECORD % 21, etree.fromstring(RECORD % 22)):
        assert result(driver.rpc(rpc)).findtext(f"{{{SLPA}}}return-code") == "success"


def test_scrapli_by_asyncio(driven: Driven) -> None:
    """Its asynchronous driver over asyncssh: the same operations, two sessions at once."""

    async def go() -> None:
        by = {"transport": "asyncssh", "driver": AsyncNetconfDriver}
        key = {"auth_password": "", "auth_private_key": str(driven.key("ed25519"))}
        async with scrapli(driven, **by) as first, scrapli(driven, **by, **key) as second:
            result(await first.discard())
            result(await first.lock("candidate"))
            assert tag_of(await second.lock("candidate")) == "lock-denied"
            result(await first.edit_config(CONFIG % "async", target="candidate"))
            result(await first.validate("candidate"))
            result(await first.commit())
            result(await first.unlock("candidate"))
            replies = await asyncio.gather(first.get(ONLY_CONFIG), second.get_config(filter_=ONLY_CONFIG))
            assert [custom_id(result(each)) for each in replies] == ["async", "async"]
            result(await second.copy_config("running", "startup"))
            result(await second.delete_config("startup"))
            result(await second.discard())
            assert result(await second.rpc(RECORD % 23)).findtext(f"{{{SLPA}}}return-code") == "success"

    asyncio.run(go())


def test_scrapli_options(driven: Driven) -> None:
    """Namespaces stripped (only then it finds errors' messages), parsers, strict datastores, its own checks."""
    with opened(driven, strip_namespaces=True, strict_datastores=True, use_compressed_parser=False) as driver:
        assert driver.edit_config(f"\n{CONFIG % 'stripped'}\n").failed is False
        reply = driver.get_config(filter_=ONLY_CONFIG)
        assert reply.xml_result.findtext("data/licensing/config/custom-id") == "stripped"
        assert "xmlns" not in reply.result
        refused_ = driver.edit_config((CONFIG % "x").replace("custom-id", "nonsense"))
        assert (refused_.failed, len(refused_.error_messages)) == (True, 1)
        assert "nonsense" in refused_.error_messages[0]
        with pytest.raises(ScrapliValueError):
            driver.get_config("nonsense")
        with pytest.raises(ScrapliValueError):
            driver.delete_config("running")
        with pytest.raises(ScrapliValueError):
            driver.commit(persist="a", persist_id="b")
        assert driver.get("/licensing/config", filter_type="xpath").failed is False
        driver.server_capabilities.remove("urn:ietf:params:netconf:capability:xpath:1.0")
        with pytest.raises(CapabilityNotSupported):
            driver.get("/licensing", filter_type="xpath")


@pytest.mark.parametrize("transport", ["system", "ssh2", "paramiko"])
def test_scrapli_keys(driven: Driven, transport: str, tmp_path: Path) -> None:
    """Checklist 118: keys, one under a phrase; known hosts; an ssh_config; a wrong password."""
    known = str(driven.known_hosts(tmp_path))
    # over paramiko it reads keys as RSA's alone, and signs with SHA-2 by an option only; a phrase it knows in system
    for kind in {"paramiko": ("rsa",), "system": (*KEYS, "locked")}.get(transport, KEYS):
        key = {
            "auth_password": "",
            "auth_private_key": str(driven.key(kind)),
            "transport_options": {"enable_rsa2": True},
        }
        if kind == "locked":
            key["auth_private_key_passphrase"] = PHRASE
        with opened(driven, transport, **key) as driver:
            assert driver.get_config(filter_=ONLY_CONFIG).failed is False
    with opened(driven, transport, auth_strict_key=True, ssh_known_hosts_file=known) as driver:
        assert driver.server_capabilities
    with pytest.raises(ScrapliAuthenticationFailed), opened(driven, transport, auth_password="wrong"):
        pass
