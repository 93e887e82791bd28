"""`/netconf-server` as settings: every leaf arrives, and defaults are the model's."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
import socket
from typing import Any

import pytest

from agent import app
from agent.codec import xml
from agent.core.requests import Commit, Datastore, Discard, Edit
from agent.core.schema import Schema
from agent.core.tree import Tree
from agent.core.types import InvalidValue
from agent.errors import RequestError
from agent.listeners import Listeners
from agent.netconf.serving import Serving
from agent.netconf.settings import CallHome, CertMap, Endpoint, Limits, Listen, ServerSettings, SettingsError, SshAccess
from agent.northbound.bound import Bindings
from agent.northbound.servers import SERVER, ServerProvider, to_settings
from agent.restconf.listen import bind_tcp
from agent.ssh.keys import new_host_key
from agent.ssh.server import SshServer
from agent.tls.server import TlsServer
from tests.netconf.support import NC
from tests.northbound.kit import SECONDS, Rig
from tests.ports import free_port
from tests.toy.build import Users

EVERYTHING: Tree = {
    "listen": {"endpoint": [{"name": "a", "transport": "ssh", "address": "192.0.2.1", "port": 8300}]},
    "limits": {
        "login-time": 1,
        "hello-time": 2,
        "idle-time": 3,
        "sessions": 4,
        "sessions-per-user": 5,
        "message-size": 65536,
    },
    "ssh": {
        "password-authentication": False,
        "trusted-user-key": [{"name": "ca", "public-key": "ssh-ed25519 AAAA"}],
        "user": [{"name": "ada", "principal": ["ops", "oncall"]}],
    },
    "tls": {
        "trust-anchor": [{"name": "ca", "certificate": "PEM"}],
        "cert-maps": {
            "cert-to-name": [
                {
                    "id": 1,
                    "fingerprint": "04:aa",
                    "map-type": "ietf-x509-cert-to-name:specified",
                    "name": "ada",
                }
            ]
        },
    },
    "call-home": {
        "netconf-client": [
            {
                "name": "nms",
                "transport": "tls",
                "endpoint": [{"name": "b", "address": "nms.example", "port": 9}, {"name": "a", "address": "::1"}],
                "connection-type": "periodic",
                "periodic": {"period": 7, "anchor-time": "2026-11-24T00:00:00Z", "idle-timeout": 8},
                "reconnect-strategy": {
                    "start-with": "last-connected",
                    "max-wait": 10,
                    "max-attempts": 11,
                    "longest-delay": 12,
                },
            }
        ]
    },
}


@pytest.fixture(scope="module")
def schema() -> Schema:
    return app.load_schema()


def test_every_leaf_arrives(schema: Schema) -> None:
    bindings = Bindings(schema)
    settings = to_settings(bindings.checked(bindings.node(SERVER), EVERYTHING))
    assert settings.listen == (Listen("a", "ssh", "192.0.2.1", 8300),)
    assert settings.limits == Limits(1, 2, 3, 4, 5, 65536)
    assert settings.ssh == SshAccess(("ssh-ed25519 AAAA",), {"ada": frozenset({"ops", "oncall"})}, False)
    assert settings.tls.trust_anchors == ("PEM",)
    assert settings.tls.maps == (CertMap(1, "04:aa", "specified", "ada"),)
    (client,) = settings.call_home
    endpoints = (Endpoint("b", "nms.example", 9), Endpoint("a", "::1", 4335))
    assert client == CallHome("nms", "tls", endpoints, 420, 1795478400.0, 8, "last-connected", 10, 11, 12)
    node = schema.find(SERVER)
    assert node is not None
    leaves = {one.path for one in node.walk() if one.kind in ("leaf", "leaf-list")}
    assert leaves == _paths(EVERYTHING, SERVER)


def _paths(tree: Tree, above: str) -> set[str]:
    found: set[str] = set()
    for name, value in tree.items():
        path = f"{above}/{name}"
        entries: list[Any] = value if isinstance(value, list) else [value]
        if isinstance(entries[0], dict):
            for entry in entries:
                found |= _paths(entry, path)
        else:
            found.add(path)
    return found


def test_defaults_are_the_models(schema: Schema) -> None:
    """What is not configured is what the model says that it is."""
    for name, value in asdict(Limits()).items():
        node = schema.find(f"{SERVER}/limits/{name.replace('_', '-')}")
        assert node is not None
        assert node.default == (str(value),), name
    assert {one.name for one in fields(Limits)} == {name.replace("-", "_") for name in EVERYTHING["limits"]}
    base: Tree = {"name": "x", "transport": "ssh", "endpoint": [{"name": "a", "address": "h"}]}
    (client,) = to_settings({"call-home": {"netconf-client": [base]}}).call_home
    (periodic,) = to_settings({"call-home": {"netconf-client": [{**base, "connection-type": "periodic"}]}}).call_home
    there = f"{SERVER}/call-home/netconf-client"
    for path, value in (
        ("reconnect-strategy/start-with", client.start_with),
        ("reconnect-strategy/max-wait", client.max_wait),
        ("reconnect-strategy/max-attempts", client.attempts),
        ("reconnect-strategy/longest-delay", client.longest_delay),
        ("periodic/period", int(periodic.period or 0) // 60),
        ("periodic/idle-timeout", periodic.idle_time),
    ):
        node = schema.find(f"{there}/{path}")
        assert node is not None
        assert node.default == (str(value),), path
    assert (client.period, client.endpoints[0].port, client.anchor) == (None, 4334, None)
    assert to_settings({}) == ServerSettings()


class Refusing:
    def prepare(self, settings: ServerSettings, *, missing: bool = False) -> Any:
        raise SettingsError("that port is in use")


def test_what_the_listeners_refuse_refuses_the_edit(schema: Schema) -> None:
    provider = ServerProvider(Bindings(schema))
    provider.attach(Refusing())
    with pytest.raises(RequestError) as caught:
        provider.prepare({}, {"slp-agent:netconf-server": EVERYTHING}, None)  # type: ignore[arg-type]
    (told,) = caught.value.errors
    assert (told.tag, told.message, told.path[0].name) == ("invalid-value", "that port is in use", "netconf-server")
    assert provider.settings == ServerSettings()


def test_a_moment_that_no_calendar_has(schema: Schema) -> None:
    """The pattern of date-and-time lets a thirteenth month pass."""
    client: Tree = {"name": "x", "transport": "ssh", "endpoint": [{"name": "a", "address": "h"}]}
    client |= {"connection-type": "periodic", "periodic": {"anchor-time": "2026-13-24T00:00:00Z"}}
    new = {"slp-agent:netconf-server": {"call-home": {"netconf-client": [client]}}}
    with pytest.raises(RequestError, match="there is no such moment") as caught:
        ServerProvider(Bindings(schema)).prepare({}, new, None)  # type: ignore[arg-type]
    assert caught.value.errors[0].tag == "invalid-value"


FINGERPRINT = "04:" + ":".join(["aa"] * 32)
CERT_MAPS = "tls/cert-maps/cert-to-name[id=2]/"
ENDPOINT: Tree = {"name": "b", "transport": "ssh", "address": "127.0.0.1"}
CALLED: Tree = {"name": "x", "transport": "ssh", "endpoint": [{"name": "a", "address": "h"}]}


@pytest.mark.parametrize(
    ("config", "path"),
    [
        (
            {"ssh": {"trusted-user-key": [{"name": "ca", "public-key": "nonsense"}]}},
            "ssh/trusted-user-key[name=ca]/public-key",
        ),
        (
            {"tls": {"trust-anchor": [{"name": "ca", "certificate": "nonsense"}]}},
            "tls/trust-anchor[name=ca]/certificate",
        ),
        ({"map": {"fingerprint": "01:aa"}}, CERT_MAPS + "fingerprint"),
        ({"map": {"fingerprint": "04:aa"}}, CERT_MAPS + "fingerprint"),
        ({"listen": {"endpoint": [{**ENDPOINT, "address": "192.0.2.1"}]}}, "listen/endpoint[name=b]/address"),
        ({"listen": {"endpoint": [{**ENDPOINT}]}}, "listen/endpoint[name=b]/port"),
        (
            {
                "call-home": {
                    "netconf-client": [
                        CALLED,
                        {
                            **CALLED,
                            "name": "y",
                            "connection-type": "periodic",
                            "periodic": {"anchor-time": "2026-13-24T00:00:00Z"},
                        },
                    ]
                }
            },
            "call-home/netconf-client[name=y]/periodic/anchor-time",
        ),
    ],
)
def test_what_is_refused_is_named_to_the_leaf(tmp_path: Path, config: Tree, path: str) -> None:
    """With the keys of the lists on the way, by the real servers."""
    rig = Rig.sqlite(tmp_path / "agent.db")
    serving = Serving(rig.dispatch)
    tls = TlsServer(serving, Users(), lambda _: None)
    listeners = Listeners(SshServer(serving, Users(), [new_host_key()]), tls, rig.clock)
    if "map" in config:
        entry = {"map-type": "ietf-x509-cert-to-name:common-name"}
        maps = [{"id": 1, "fingerprint": FINGERPRINT, **entry}, {"id": 2, **config["map"], **entry}]
        config = {"tls": {"cert-maps": {"cert-to-name": maps}}}
    provider = ServerProvider(Bindings(rig.schema))
    provider.attach(listeners)
    try:
        with bind_tcp("127.0.0.1", 0) as other:
            for endpoint in config.get("listen", {}).get("endpoint", ()):
                endpoint.setdefault("port", other.getsockname()[1])
            with pytest.raises(RequestError) as caught:
                provider.prepare({}, {"slp-agent:netconf-server": config}, None)  # type: ignore[arg-type]
    finally:
        rig.end()
    (told,) = caught.value.errors
    steps = [step.name + "".join(f"[{name}={value}]" for name, value in step.keys) for step in told.path]
    assert (told.tag, "/".join(steps)) == ("invalid-value", f"netconf-server/{path}")


def test_the_range_of_a_port_is_told_in_numbers(schema: Schema) -> None:
    """Its own range, for a number below it and for one above that no port has."""
    node = schema.find(f"{SERVER}/listen/endpoint/port")
    assert node is not None
    assert node.type is not None
    for text in ("0", "65536", "70000", "-1"):
        with pytest.raises(InvalidValue, match=f"'{text}': the value must be 1..65535"):
            node.type.from_text(text)
    with pytest.raises(InvalidValue, match="a whole number from 1 to 65535"):
        node.type.from_text("x")
    assert node.type.from_text("65535") == 65535


def test_going_back_does_without_an_address_that_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A confirmed commit is taken back whatever has become of the addresses before it; an edit for one is refused."""
    rig = Rig.sqlite(tmp_path / "agent.db")
    serving = Serving(rig.dispatch)
    key = new_host_key()
    listeners = Listeners(SshServer(serving, Users(), [key]), TlsServer(serving, Users(), lambda _: None), rig.clock)
    session = rig.session()
    space = rig.schema.modules["slp-agent"].namespace

    def listen(target: Datastore, *ports: int) -> None:
        rest = "<transport>ssh</transport><address>127.0.0.1</address><port>{0}</port></endpoint>"
        ours = "".join(f"<endpoint><name>p{port}</name>{rest.format(port)}" for port in ports)
        replace = f'xmlns="{space}" xmlns:nc="{NC}" nc:operation="replace"'
        text = f"<config><netconf-server {replace}><listen>{ours}</listen></netconf-server></config>"
        change = Edit(xml.decode_config(xml.parse(text.encode()), rig.schema), target)
        rig.dispatch.submit(change, session).result(SECONDS)

    try:
        listeners.start(bind_tcp("127.0.0.1", 0), rig.agent.server.settings)
        rig.agent.server.attach(listeners)
        port = free_port()
        listen(Datastore.RUNNING, port)
        socket.create_connection(("127.0.0.1", port), SECONDS).close()
        listen(Datastore.CANDIDATE)
        rig.dispatch.submit(Commit(confirmed=True), session).result(SECONDS)
        with bind_tcp("127.0.0.1", port):
            with pytest.raises(RequestError, match="another program holds the port"):
                listen(Datastore.RUNNING, port)
            rig.dispatch.submit(Discard(trial=True), session).result(SECONDS)
        assert [one.port for one in rig.agent.server.settings.listen] == [port]
        assert f"NETCONF endpoint p{port}" in caplog.text
        listen(Datastore.RUNNING, port, port + 1)
        socket.create_connection(("127.0.0.1", port), SECONDS).close()
    finally:
        listeners.stop()
        rig.end()
