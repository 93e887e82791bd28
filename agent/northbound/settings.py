"""The subtree `/licensing/config` as the kernel's settings. Only translation: the kernel says what they mean.

A commit and what it decides are one transaction (design: Durable before visible).
"""

from __future__ import annotations

from typing import Any, cast

from agent.core.providers import Prepared, UnitOfWork
from agent.core.replay import DAY, EventLog, Limits
from agent.core.tree import Tree
from agent.errors import Step, refuse
from agent.licensing.commands import ApplySettings
from agent.licensing.refusals import SUCCESS
from agent.licensing.settings import Settings, TransportType
from agent.northbound.bound import Bindings
from agent.northbound.commit import Committer

CONFIG = "/cisco-smart-license:licensing/config"
CONFIG_PATH = (Step("cisco-smart-license", "licensing"), Step("cisco-smart-license", "config"))
_CUSTOMER_INFO = (
    ("id", "id"),
    ("name", "name"),
    ("street", "street"),
    ("city", "city"),
    ("state", "state"),
    ("country", "country"),
    ("postal-code", "postalcode"),
)
"""(name in the model, name in reports)."""
MODEL_NAMES = {ours: name for name, ours in _CUSTOMER_INFO}
_CUSTOMER_TAGS = tuple((name, name) for name in ("tag1", "tag2", "tag3", "tag4"))


MEBIBYTE = 1024 * 1024


class SettingsProvider:
    """agent.core.providers.ConfigProvider, and Following, of `/cisco-smart-license:licensing/config`."""

    def __init__(self, bindings: Bindings, committer: Committer) -> None:
        self._bindings = bindings
        self._node = bindings.node(CONFIG)
        self._committer = committer
        self.recorders = Recorders({})
        self.event_log: EventLog | None = None

    def follows(self, old: Tree, new: Tree) -> bool:
        """What the event log keeps is told by its bounds, which are set once a change is durable."""
        return to_limits(self._config(old)) == to_limits(self._config(new))

    def prepare(self, old: Tree, new: Tree, unit: UnitOfWork) -> Prepared:  # noqa: ARG002 - the port's shape
        config = self._config(new)
        try:
            settings = to_settings(config)
        except ValueError as error:
            raise refuse("invalid-value", f"reports cannot carry this: {error}", path=CONFIG_PATH) from None
        prepared = self._committer.prepare(ApplySettings(settings), unit)
        refused = prepared.reply
        if refused.code != SUCCESS:
            raise refuse("invalid-value", refused.message, path=CONFIG_PATH)
        return _Applied(self, prepared, config)

    def of(self, tree: Tree) -> Settings:
        """The kernel's settings in a valid configuration."""
        return to_settings(self._config(tree))

    def load(self, running: Tree) -> None:
        """Take what is not licensing state from the configuration that a start found."""
        self.show(self._config(running))

    def show(self, config: Tree) -> None:
        """Let what is not licensing state be as the configuration says."""
        self.recorders = Recorders(config)
        if self.event_log is not None:
            self.event_log.limits = to_limits(config)

    def _config(self, tree: Tree) -> Tree:
        config = tree.get("cisco-smart-license:licensing", {}).get("config", {})
        return self._bindings.checked(self._node, config)


class _Applied:
    """Shows recorders and the log's bounds together with the kernel's decision."""

    def __init__(self, provider: SettingsProvider, prepared: Prepared, config: Tree) -> None:
        self._provider = provider
        self._prepared = prepared
        self._config = config

    def apply(self) -> None:
        self._prepared.apply()
        self._provider.show(self._config)

    def abort(self) -> None:
        self._prepared.abort()


class Recorders:
    """Which local user may record which licence (slp-agent:recorder); administrators need no entry."""

    def __init__(self, config: Tree) -> None:
        self._licences = {
            entry["user"]: frozenset(entry.get("license", ())) for entry in config.get("slp-agent:recorder", ())
        }

    def permits(self, user: str, *names: str) -> bool:
        """Whether the user may record a licence that goes by these names."""
        return not self._licences.get(user, frozenset()).isdisjoint({"*", *names})


def to_limits(config: Tree) -> Limits:
    """The bounds of the event log (slp-agent:event-log); what is not set has the defaults of the model."""
    log, usual = config.get("slp-agent:event-log", {}), Limits()
    return Limits(
        entries=log.get("max-entries", usual.entries),
        octets=log["max-size"] * MEBIBYTE if "max-size" in log else usual.octets,
        age=log["max-age"] * DAY if "max-age" in log else usual.age,
        omit=frozenset(log.get("omit", ())),
    )


def to_settings(config: Tree) -> Settings:
    """The kernel's settings from the members of `/licensing/config`."""
    transport = config.get("transport", {})
    smart = transport.get("transport-smart", {})
    kind = transport.get("transport-type", "transport-type-cslu").removeprefix("transport-type-")
    utility = config.get("utility", {})
    usage = config.get("usage", {})
    privacy = config.get("privacy", {})
    return Settings(
        transport_type=cast(TransportType, kind),
        interval_days=usage.get("interval"),
        privacy_hostname=privacy.get("hostname", False),
        privacy_version=privacy.get("version", False),
        custom_id=config.get("custom-id"),
        customer_tags=_pairs(usage.get("customer-tags", {}), _CUSTOMER_TAGS),
        utility_enabled=utility.get("utility-enable", False),
        customer_info=_pairs(utility.get("customer-info", {}), _CUSTOMER_INFO),
        url_cslu=transport.get("transport-cslu", {}).get("url-cslu"),
        url_registration=smart.get("urls", {}).get("url-registration"),
        url_utility=smart.get("urls", {}).get("url-utility"),
        url_default=smart.get("url-default", False),
        boot_levels=tuple(config.get("slp-agent:boot-level", {}).get("license", ())),
        trust_requests=config.get("slp-agent:automatic-trust-request", True),
        mode=config.get("slp-agent:operating-mode", "autonomous"),
    )


def _pairs(tree: dict[str, Any], names: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((ours, tree[name]) for name, ours in names if name in tree)
