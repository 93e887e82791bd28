"""The kernel's notices as log lines and as notifications of both modules, through their bindings. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import logging

from agent.core.hub import Hub
from agent.core.tree import Tree
from agent.licensing import notices
from agent.licensing.notices import Notice
from agent.licensing.profile import Profile
from agent.licensing.state import State
from agent.northbound import legacy_notifications
from agent.northbound.bound import Bindings
from agent.northbound.times import date_and_time
from agent.northbound.translation import translate

log = logging.getLogger(__name__)

MODULE = "slp-agent"
LEGACY = "cisco-smart-license"


class Notifier:
    """Publishes what a decision gives to tell. Called after the decision is durable."""

    def __init__(self, bindings: Bindings, hub: Hub, state: Callable[[], State], profile: Profile) -> None:
        """`state` gives the state after the decision."""
        self._bindings = bindings
        self._hub = hub
        self._state = state
        self._profile = profile
        self._before = state()

    def __call__(self, told: Sequence[Notice], at: int) -> None:
        """Called after every decision, also after one with nothing to tell."""
        before, after = self._before, self._state()
        self._before = after
        for notice in told:
            name, tree = translate(notice)
            log.info("%s: %s", name, " ".join(f"{member}={value}" for member, value in tree.items()))
            self._publish(MODULE, name, tree, at)
            for further, members in self._outcome(notice):
                self._publish(MODULE, further, members, at)
            for further, members in legacy_notifications.of_notice(notice, before, after, self._profile, at):
                self._publish(LEGACY, further, members, at)

    def _outcome(self, notice: Notice) -> Iterator[tuple[str, Tree]]:
        """How a request for a trust code ended, told beside what was done."""
        udi_key = self._profile.udi.key
        match notice:
            case notices.TrustCodeWasInstalled(factory=False):
                yield "trust-success", {"udi-key": udi_key, "time-installed": date_and_time(notice.installed_at)}
            case notices.ContentWasRefused(kind="trust-code"):
                yield "trust-fail", {"udi-key": udi_key, "return-code": notice.code, "message": notice.message}

    def refused(self, name: str, members: Tree, at: float) -> None:
        """Tell, in a notification of the public module, that a call was refused."""
        self._publish(LEGACY, name, members, at)

    def started(self, at: int) -> None:
        """The agent serves. Smart licensing is always on, so both are told."""
        for name in ("ready", "enabled"):
            self._publish(LEGACY, name, {}, at)

    def _publish(self, module: str, name: str, tree: Tree, at: float) -> None:
        if not self._hub.watched:  # a binding costs a millisecond
            return
        node = self._bindings.node(f"/{module}:{name}")
        self._hub.publish(module, name, self._bindings.checked(node, tree), at)
