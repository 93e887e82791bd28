"""Client libraries in use, as scripts use them: hello, get, get-config, edit, lock, an RPC, close."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import warnings

import paramiko
import pytest

with warnings.catch_warnings():
    # the libraries' own imports are none of our warnings
    warnings.simplefilter("ignore")
    from ncclient import manager
    from ncclient.operations import RPCError
    from ncclient.xml_ import to_ele
    import netconf_client.connect
    import netconf_client.error
    import netconf_client.ncclient

from agent.core.sessions import User
from tests.netconf.support import NC, TOY, Server, until
from tests.toy.build import Toy, Users

FILTER = '<status xmlns="urn:example:toy"><uptime/></status>'
CONFIG = f'<config xmlns="{NC}"><box xmlns="urn:example:toy"><name>{{}}</name></box></config>'
SEVERAL = f'<config xmlns="{NC}"><need xmlns="urn:example:toy"/></config>'
PLAIN_CONFIG = '<config><box xmlns="urn:example:toy"><name>{}</name></box></config>'


@pytest.mark.parametrize("device", ["default", "iosxe"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ncclient(server: Server, toy: Toy, device: str) -> None:
    """Checklist 10, 27, 46, 71, 102, 107: ncclient with its default and its iosxe handler."""
    with manager.connect(
        host=server.host,
        port=server.port,
        username="ada",
        password="ada-secret",
        hostkey_verify=False,
        allow_agent=False,
        look_for_keys=False,
        device_params={"name": device},
        timeout=10,
    ) as session:
        assert f"{TOY}?module=toy&revision=2026-01-01" in session.server_capabilities
        assert "12345678901" in session.get(filter=("subtree", FILTER)).xml
        assert "12345678901" in session.get(filter=f"<filter>{FILTER}</filter>").xml
        with session.locked("running"):
            for number, template in enumerate((CONFIG, PLAIN_CONFIG)):
                assert session.edit_config(target="running", config=template.format(f"n{number}")).ok
                assert toy.dispatch.running.tree == {"toy:box": {"name": f"n{number}"}}
            session.edit_config(
                target="running", config=CONFIG.format("x"), default_operation="merge", error_option="rollback-on-error"
            )
        assert "<name>x</name>" in session.get_config(source="running").data_xml
        reply = session.dispatch(to_ele('<greet xmlns="urn:example:toy"><who>\n you\n</who></greet>'))
        assert "hello you" in reply.xml
        with pytest.raises(RPCError) as caught:
            session.edit_config(target="running", config=CONFIG.format("forbidden"))
        assert (caught.value.tag, caught.value.app_tag) == ("operation-failed", "toy-forbidden")
        with pytest.raises(RPCError) as caught:
            session.edit_config(target="running", config=SEVERAL)
        # of several rpc-errors it would make one error without tag or path
        assert (caught.value.tag, caught.value.app_tag) == ("data-missing", "mandatory-choice")
        assert caught.value.path == "/t:need"
        assert "also at /toy:need/few" in caught.value.message
        with pytest.raises(RPCError) as caught:
            session.kill_session("4294967295")
        assert caught.value.tag == "invalid-value"
    assert until(lambda: toy.dispatch.sessions.all() == ())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ncclient_reads(server: Server, toy: Toy) -> None:
    """Checklist 63, 66, 67, 69: XPath with the client's own namespaces, the modes it finds in the capability."""
    for name in ("r1", "r2"):
        toy.reports.add(name)
    with manager.connect(
        host=server.host,
        port=server.port,
        username="ada",
        password="ada-secret",
        hostkey_verify=False,
        allow_agent=False,
        look_for_keys=False,
        timeout=10,
    ) as session:
        session.edit_config(target="running", config=CONFIG.format("x"))
        spaces = {"any": TOY}
        found = session.get(filter=("xpath", (spaces, "/any:status/any:report[any:id='r2']/any:length"))).data_xml
        assert ("r2" in found, "r1" in found) == (True, False)
        found = session.get(filter=("xpath", "/status/report[last()]")).data_xml
        assert ("r2" in found, "r1" in found) == (True, False)
        for mode, size in {"report-all": True, "report-all-tagged": True, "trim": False, "explicit": False}.items():
            found = session.get_config(source="running", with_defaults=mode).data_xml
            assert ("size" in found, 'default="true"' in found) == (size, mode == "report-all-tagged")


class Asked(Users):
    """Notes which logins were tried."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[str] = []

    def password(self, user: str, password: str) -> User | None:
        self.tried.append("password")
        return super().password(user, password)

    def public_keys(self, user: str) -> Sequence[str]:
        self.tried.append("key")
        return super().public_keys(user)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ncclient_tries_a_key_first(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its defaults it offers the user's keys and then the password, each with a service request of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    key_file = tmp_path / ".ssh" / "id_ecdsa"
    key_file.parent.mkdir()
    stranger, known = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    users = Asked()
    users.keys["ada"] = [f"{known.get_name()} {known.get_base64()}"]
    server = Server(toy, users)
    try:
        for key, tried in ((stranger, ["key", "password"]), (known, ["key"])):
            key.write_private_key_file(str(key_file), password="ada-secret")
            with manager.connect(
                host=server.host,
                port=server.port,
                username="ada",
                password="ada-secret",
                hostkey_verify=False,
                allow_agent=False,
                look_for_keys=True,
                timeout=10,
            ) as session:
                assert session.connected
            assert users.tried == tried
            users.tried.clear()
    finally:
        server.stop()


def test_netconf_client(server: Server, toy: Toy) -> None:
    """Checklist 5, 102: netconf-client, which speaks chunks."""
    session = netconf_client.connect.connect_ssh(
        host=server.host, port=server.port, username="ada", password="ada-secret"
    )
    with netconf_client.ncclient.Manager(session, timeout=10) as client:
        assert f"{TOY}?module=toy&revision=2026-01-01" in session.server_capabilities
        assert b"12345678901" in client.get(filter=f"<filter>{FILTER}</filter>").data_xml
        client.lock("running")
        client.edit_config(config=CONFIG.format("a"), target="running")
        client.unlock("running")
        assert toy.dispatch.running.tree == {"toy:box": {"name": "a"}}
        assert b"<name>a</name>" in client.get_config(source="running").data_xml
        with pytest.raises(netconf_client.error.RpcError) as caught:
            client.edit_config(config=CONFIG.format("forbidden"), target="running")
        assert caught.value.tag == "operation-failed"
        with pytest.raises(netconf_client.error.RpcError) as caught:
            client.edit_config(config=SEVERAL, target="running")
        assert (caught.value.tag, "also at /toy:need/few" in caught.value.message) == ("data-missing", True)
        client.dispatch('<reset xmlns="urn:example:toy"/>')
        client.close_session()
    assert [name for name, _ in toy.calls] == ["reset"]
