"""`/netconf-server` as settings: every leaf arrives, and defaults are the model's."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pytest

from agent import app
from agent.core.schema import Schema
from agent.core.tree import Tree
from agent.errors import RequestError
from agent.netconf.settings import CallHome, CertMap, Endpoint, Limits, Listen, ServerSettings, SettingsError, SshAccess
from agent.northbound.bound import Bindings
from agent.northbound.servers import SERVER, ServerProvider, to_settings

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
    def prepare(self, settings: ServerSettings) -> Any:
        raise SettingsError("that port is in use")


def test_what_the_listeners_refuse_refuses_the_edit(schema: Schema) -> None:
    provider = ServerProvider(Bindings(schema))
    provider.attach(Refusing())
    with pytest.raises(RequestError) as caught:
        provider.prepare({}, {"slp-agent:netconf-server": EVERYTHING}, None)  # type: ignore[arg-type]
    (told,) = caught.value.errors
    assert (told.tag, told.message, told.path[0].name) == ("invalid-value", "that port is in use", "netconf-server")
    assert provider.settings == ServerSettings()
