"""The subtree `/netconf-server` as the NETCONF server's settings. Only translation: the listeners do what they say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from agent.core.providers import Prepared, UnitOfWork
from agent.core.schema import Node
from agent.core.tree import Tree
from agent.errors import Path, Step, refuse
from agent.netconf.settings import (
    CallHome,
    CertMap,
    Endpoint,
    Limits,
    Listen,
    ServerSettings,
    SettingsError,
    SshAccess,
    TlsAccess,
)
from agent.northbound.bound import Bindings

SERVER = "/slp-agent:netconf-server"
CALL_HOME_PORTS = {"ssh": 4334, "tls": 4335}
"""Where clients listen for devices (RFC 8071)."""

_MEMBER = "slp-agent:netconf-server"
_MODULE = "slp-agent"
_PATH = (Step(_MODULE, "netconf-server"),)


class Listeners(Protocol):
    """What carries the settings out."""

    def prepare(self, settings: ServerSettings, *, missing: bool = False) -> Prepared:
        """Make ready for other settings. Raises SettingsError where they cannot work.

        `missing`: an address that cannot be taken is logged, and done without.
        """
        ...


class ServerProvider:
    """agent.core.providers.ConfigProvider, and Returning, of `/netconf-server`."""

    def __init__(self, bindings: Bindings) -> None:
        self._bindings = bindings
        self._node = bindings.node(SERVER)
        self._listeners: Listeners | None = None
        self.settings = ServerSettings()

    def load(self, running: Tree) -> None:
        """Take the configuration that a start found."""
        self.settings = self._settings(running)

    def attach(self, listeners: Listeners) -> None:
        """Have these carry out every later change."""
        self._listeners = listeners

    def prepare(self, old: Tree, new: Tree, unit: UnitOfWork) -> Prepared:  # noqa: ARG002 - the port's shape
        return self._prepare(new, missing=False)

    def prepare_return(self, old: Tree, new: Tree, unit: UnitOfWork) -> Prepared:  # noqa: ARG002 - the port's shape
        return self._prepare(new, missing=True)

    def _prepare(self, new: Tree, *, missing: bool) -> Prepared:
        try:
            settings = self._settings(new)
            prepared = None if self._listeners is None else self._listeners.prepare(settings, missing=missing)
        except SettingsError as error:
            path = _place(self._node, new.get(_MEMBER, {}), error.where)
            raise refuse("invalid-value", str(error), path=path) from None
        return _Applied(self, settings, prepared)

    def _settings(self, tree: Tree) -> ServerSettings:
        return to_settings(self._bindings.checked(self._node, tree.get(_MEMBER, {})))


def _place(node: Node, value: Any, where: Sequence[str | int]) -> Path:
    """The instance path of what a SettingsError is about; `node` and `value` are those of /netconf-server."""
    path = list(_PATH)
    for part in where:
        if isinstance(part, int):
            value = value[part]
            keys = tuple((key.name, str(value[key.member])) for key in node.key_nodes)
            path[-1] = path[-1]._replace(keys=keys)
        else:
            (node,) = (child for child in node.named(part) if child.module == _MODULE)
            value = value.get(node.member, {})
            path.append(Step(node.module, node.name))
    return tuple(path)


class _Applied:
    """The settings together with what the listeners have made ready."""

    def __init__(self, provider: ServerProvider, settings: ServerSettings, prepared: Prepared | None) -> None:
        self._provider = provider
        self._settings = settings
        self._prepared = prepared

    def apply(self) -> None:
        self._provider.settings = self._settings
        if self._prepared is not None:
            self._prepared.apply()

    def abort(self) -> None:
        if self._prepared is not None:
            self._prepared.abort()


def to_settings(config: Tree) -> ServerSettings:
    """The settings from the members of `/netconf-server`; what is not there has the model's default.

    Raises SettingsError.
    """
    endpoints = config.get("listen", {}).get("endpoint", ())
    return ServerSettings(
        listen=tuple(Listen(one["name"], one["transport"], one["address"], one["port"]) for one in endpoints),
        ssh=_ssh(config.get("ssh", {})),
        tls=_tls(config.get("tls", {})),
        limits=Limits(**{name.replace("-", "_"): value for name, value in config.get("limits", {}).items()}),
        call_home=tuple(
            _call_home(one, place) for place, one in enumerate(config.get("call-home", {}).get("netconf-client", ()))
        ),
    )


def _call_home(config: Tree, place: int) -> CallHome:
    port = CALL_HOME_PORTS[config["transport"]]
    strategy = config.get("reconnect-strategy", {})
    periodic = config.get("periodic", {}) if config.get("connection-type") == "periodic" else None
    return CallHome(
        name=config["name"],
        transport=config["transport"],
        endpoints=tuple(Endpoint(one["name"], one["address"], one.get("port", port)) for one in config["endpoint"]),
        period=None if periodic is None else 60 * periodic.get("period", 60),
        anchor=None if periodic is None else _moment(periodic.get("anchor-time"), place),
        idle_time=None if periodic is None else periodic.get("idle-timeout", 180),
        start_with=strategy.get("start-with", "first-listed"),
        max_wait=strategy.get("max-wait", 5),
        attempts=strategy.get("max-attempts", 3),
        longest_delay=strategy.get("longest-delay", 60),
    )


def _moment(text: str | None, client: int) -> float | None:
    """A date-and-time in epoch seconds. Raises SettingsError for one that no calendar has."""
    try:
        return None if text is None else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        where = ("call-home", "netconf-client", client, "periodic", "anchor-time")
        raise SettingsError(f"anchor-time {text}: there is no such moment", *where) from None


def _tls(config: Tree) -> TlsAccess:
    return TlsAccess(
        trust_anchors=tuple(one["certificate"] for one in config.get("trust-anchor", ())),
        maps=tuple(
            CertMap(one["id"], one["fingerprint"], one["map-type"].rpartition(":")[2], one.get("name"))
            for one in config.get("cert-maps", {}).get("cert-to-name", ())
        ),
    )


def _ssh(config: Tree) -> SshAccess:
    return SshAccess(
        trusted_keys=tuple(one["public-key"] for one in config.get("trusted-user-key", ())),
        principals={one["name"]: frozenset(one.get("principal", ())) for one in config.get("user", ())},
        passwords=config.get("password-authentication", True),
    )
