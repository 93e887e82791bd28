"""The kernel's notices as log lines and as notifications of both modules, through their bindings. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import logging

from agent.core.hub import Hub
from agent.core.streams import Stream
from agent.core.tree import Tree
from agent.licensing import notices
from agent.licensing.notices import Notice
from agent.licensing.ports import UnitOfWork
from agent.licensing.profile import Profile
from agent.licensing.state import State
from agent.northbound import legacy_notifications
from agent.northbound.bound import Bindings
from agent.northbound.times import date_and_time
from agent.northbound.translation import translate

log = logging.getLogger(__name__)

MODULE = "slp-agent"
LEGACY = "cisco-smart-license"

LICENSING = Stream("licensing", "Events of licensing, of both modules.", frozenset({MODULE, LEGACY}))
"""The stream for collectors."""

BEGINNINGS = frozenset({f"{MODULE}:factory-reset-done"})
"""With these the log of events begins anew: what is told of an earlier life of the instance is gone with it."""


class Notifier:
    """Publishes what a decision gives to tell, once that is durable."""

    def __init__(self, bindings: Bindings, hub: Hub, profile: Profile) -> None:
        self._bindings = bindings
        self._hub = hub
        self._profile = profile

    def stage(
        self, told: Sequence[Notice], before: State, after: State, at: float, unit: UnitOfWork | None
    ) -> Callable[[], None]:
        """Put what a decision at `at` gives to tell into its unit of work; call what is returned after the commit.

        Without a unit it is told and not logged.
        """
        lines: list[str] = []
        staged: list[Callable[[], None]] = []
        for notice in told:
            name, tree = translate(notice)
            lines.append(f"{name}: " + " ".join(f"{member}={value}" for member, value in tree.items()))
            events = [(MODULE, name, tree)]
            events += [(MODULE, *further) for further in self._outcome(notice)]
            legacy = legacy_notifications.of_notice(notice, before, after, self._profile, int(at))
            events += [(LEGACY, *further) for further in legacy]
            staged += [self._staged(*event, at, unit) for event in events if self._wants(*event[:2], unit)]

        def publish() -> None:
            for line in lines:
                log.info("%s", line)
            for one in staged:
                one()

        return publish

    def _outcome(self, notice: Notice) -> Iterator[tuple[str, Tree]]:
        """How a request for a trust code ended, told beside what was done."""
        udi_key = self._profile.udi.key
        match notice:
            case notices.TrustCodeWasInstalled(factory=False):
                yield "trust-success", {"udi-key": udi_key, "time-installed": date_and_time(notice.installed_at)}
            case notices.ContentWasRefused(kind="trust-code"):
                yield "trust-fail", {"udi-key": udi_key, "return-code": notice.code, "message": notice.message}

    def refused(self, name: str, members: Tree, at: float) -> None:
        """Tell, in a notification of the public module, that a call was refused; a refusal writes nothing."""
        if self._wants(LEGACY, name, None):
            self._staged(LEGACY, name, members, at, None)()

    def started(self, at: float) -> None:
        """The agent serves from this moment on. Smart licensing is always on, so both are told."""
        for name in ("ready", "enabled"):
            self._publish(LEGACY, name, {}, at)

    def _publish(self, module: str, name: str, tree: Tree, at: float) -> None:
        if self._hub.wants(module, name):  # a binding costs a millisecond
            self._hub.publish(module, name, self._checked(module, name, tree), at)

    def _wants(self, module: str, name: str, unit: UnitOfWork | None) -> bool:
        return self._hub.watched if unit is None else self._hub.wants(module, name)

    def _staged(self, module: str, name: str, tree: Tree, at: float, unit: UnitOfWork | None) -> Callable[[], None]:
        return self._hub.stage(module, name, self._checked(module, name, tree), at, unit)

    def _checked(self, module: str, name: str, tree: Tree) -> Tree:
        return self._bindings.checked(self._bindings.node(f"/{module}:{name}"), tree)
