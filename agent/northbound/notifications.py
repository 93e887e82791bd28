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
from agent.northbound import legacy
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

    def __call__(self, told: Sequence[Notice], at: int) -> None:
        for notice in told:
            name, tree = translate(notice)
            log.info("%s: %s", name, " ".join(f"{member}={value}" for member, value in tree.items()))
            self._publish(MODULE, name, tree, at)
            for module, further, members in self._further(notice, at):
                self._publish(module, further, members, at)

    def _further(self, notice: Notice, at: int) -> Iterator[tuple[str, str, Tree]]:
        """What is told beside it: outcomes of requests, and the same in the words of the time before."""
        udi_key = self._profile.udi.key
        match notice:
            case notices.TrustCodeWasInstalled(factory=False):
                installed = {"udi-key": udi_key, "time-installed": date_and_time(notice.installed_at)}
                yield MODULE, "trust-success", installed
                yield LEGACY, "registration-success", {}
            case notices.UtilityReportingChanged():
                yield LEGACY, f"utility-reporting-{'started' if notice.started else 'stopped'}", {}
            case notices.TrustCodeEnds(ended=True):
                message = f"the trust code was valid until {date_and_time(notice.valid_until)}"
                yield LEGACY, "registration-expired", {"reason": "general-failure", "message": message}
            case notices.TrustCodeEnds():
                expires = {"expire-time": date_and_time(notice.valid_until)}
                yield LEGACY, "registration-expiration-warning", expires
            case notices.TrustRequestFailed():
                yield LEGACY, "registration-fail", {"reason": "general-failure", "message": notice.message[:255]}
            case notices.ContentWasRefused(kind="trust-code"):
                failed = {"udi-key": udi_key, "return-code": notice.code, "message": notice.message}
                yield MODULE, "trust-fail", failed
                yield LEGACY, "registration-fail", {"reason": "general-failure", "message": notice.message[:255]}
            case (
                notices.AuthorizationWasInstalled()
                | notices.AuthorizationWasRemoved()
                | notices.AuthorizationHasExpired()
            ):
                yield LEGACY, "enforcement-mode", {"mode": legacy.mode(self._state(), self._profile, at)}

    def started(self, at: int) -> None:
        """The agent serves. Smart licensing is always on, so both are told."""
        for name in ("ready", "enabled"):
            self._publish(LEGACY, name, {}, at)

    def _publish(self, module: str, name: str, tree: Tree, at: int) -> None:
        if not self._hub.watched:  # a binding costs a millisecond
            return
        node = self._bindings.node(f"/{module}:{name}")
        self._hub.publish(module, name, self._bindings.checked(node, tree), at)
