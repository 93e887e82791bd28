"""The subtree `/netconf-server` as the NETCONF server's settings. Only translation: the listeners do what they say."""

from __future__ import annotations

from typing import Protocol

from agent.core.providers import Prepared, UnitOfWork
from agent.core.tree import Tree
from agent.errors import Step, refuse
from agent.netconf.settings import CertMap, Listen, ServerSettings, SettingsError, SshAccess, TlsAccess
from agent.northbound.bound import Bindings

SERVER = "/slp-agent:netconf-server"
_MEMBER = "slp-agent:netconf-server"
_PATH = (Step("slp-agent", "netconf-server"),)


class Listeners(Protocol):
    """What carries the settings out."""

    def prepare(self, settings: ServerSettings) -> Prepared:
        """Make ready for other settings. Raises SettingsError where they cannot work."""
        ...


class ServerProvider:
    """agent.core.providers.ConfigProvider of `/netconf-server`."""

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
        settings = self._settings(new)
        try:
            prepared = None if self._listeners is None else self._listeners.prepare(settings)
        except SettingsError as error:
            raise refuse("invalid-value", str(error), path=_PATH) from None
        return _Applied(self, settings, prepared)

    def _settings(self, tree: Tree) -> ServerSettings:
        return to_settings(self._bindings.checked(self._node, tree.get(_MEMBER, {})))


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
    """The settings from the members of `/netconf-server`; what is not there has the model's default."""
    endpoints = config.get("listen", {}).get("endpoint", ())
    return ServerSettings(
        listen=tuple(Listen(one["name"], one["transport"], one["address"], one["port"]) for one in endpoints),
        ssh=_ssh(config.get("ssh", {})),
        tls=_tls(config.get("tls", {})),
    )


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
