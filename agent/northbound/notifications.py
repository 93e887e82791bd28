"""The kernel's notices as notifications of both modules, through their binding classes. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from agent.core.hub import Hub
from agent.core.tree import Tree
from agent.formats.documents import AuthType
from agent.licensing import notices
from agent.licensing.notices import Notice
from agent.licensing.profile import Profile
from agent.licensing.state import State
from agent.northbound import legacy
from agent.northbound.bound import Bindings
from agent.northbound.times import date_and_time
from agent.northbound.words import INSTALL_TYPES, POLICY_SOURCES

MODULE = "slp-agent"
LEGACY = "cisco-smart-license"

Requested = (
    notices.TrustRequestFailed
    | notices.TrustAnchorsWereChanged
    | notices.AuthorizationWasInstalled
    | notices.AuthorizationWasRemoved
    | notices.AuthorizationRequestFailed
    | notices.AuthorizationHasExpired
)


class Notifier:
    """Publishes what a decision gives to tell. Called after the decision is durable."""

    def __init__(self, bindings: Bindings, hub: Hub, state: Callable[[], State], profile: Profile) -> None:
        """`state` gives the state after the decision."""
        self._bindings = bindings
        self._hub = hub
        self._state = state
        self._profile = profile

    def __call__(self, told: Sequence[Notice], at: int) -> None:
        if not self._hub.watched:  # building one costs a millisecond
            return
        for notice in told:
            self._publish(MODULE, *translate(notice), at)
            for module, name, tree in self._further(notice, at):
                self._publish(module, name, tree, at)

    def _further(self, notice: Notice, at: int) -> Iterator[tuple[str, str, Tree]]:
        """What is told beside it: outcomes of requests, and the same in the words of the time before."""
        udi_key = self._profile.udi.key
        match notice:
            case notices.TrustCodeWasInstalled(factory=False):
                installed = {"udi-key": udi_key, "time-installed": date_and_time(notice.installed_at)}
                yield MODULE, "trust-success", installed
                yield LEGACY, "registration-success", {}
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
        node = self._bindings.node(f"/{module}:{name}")
        self._hub.publish(module, name, self._bindings.checked(node, tree), at)


def translate(notice: Notice) -> tuple[str, Tree]:
    """The notification's name and members."""
    match notice:
        case notices.ReportWasClosed():
            return "report-closed", {
                "rum-report-key": notice.key,
                "report-id": str(notice.report_id),
                "entitlement-tag": notice.entitlement_tag,
                "close-reason": notice.reason,
            }
        case notices.ReportsWereAcknowledged():
            tree: Tree = {"count": notice.number, "last-received-time": date_and_time(notice.received_at)}
            if notice.next_deadline is not None:
                tree["next-report-deadline"] = date_and_time(notice.next_deadline)
            return "reports-acknowledged", tree
        case notices.PolicyWasInstalled():
            return "policy-installed", {
                "policy-name": notice.name,
                "install-time": date_and_time(notice.installed_at),
                "origin": POLICY_SOURCES[notice.origin],
            }
        case notices.AckIsRequired():
            return "reporting-required", _deadline(notice.days, notice.deadline)
        case notices.AckIsOverdue():
            return "ack-overdue", _deadline(notice.days, notice.deadline)
        case notices.PolicyWasRemoved():
            return "policy-removed", {"policy-name": notice.name, "origin": POLICY_SOURCES[notice.origin]}
        case notices.TrustCodeWasInstalled():
            return "trust-code-installed", {
                "udi-key": notice.udi_key,
                "time-installed": date_and_time(notice.installed_at),
            }
        case notices.ContentWasRefused():
            return "import-refused", {"type": notice.kind, "return-code": notice.code, "message": notice.message}
        case notices.UsageWasRefused():
            return "usage-refused", {
                "license": notice.licence[:255],
                "return-code": notice.code,
                "message": notice.message,
                "user": notice.who,
            }
        case notices.UsageChanged():
            return "usage-changed", {
                "entitlement-tag": notice.entitlement_tag,
                "license-name": notice.license_name,
                "count": notice.count,
            }
        case notices.OutageWasRecorded():
            return "outage-recorded", {
                "start-time": date_and_time(notice.start),
                "end-time": date_and_time(notice.end),
                "reason": notice.reason,
            }
        case notices.ClockWasChanged():
            return "clock-changed", {"delta": str(notice.delta)}
        case _:
            return _requested(notice)


def _requested(notice: Requested) -> tuple[str, Tree]:
    match notice:
        case notices.TrustRequestFailed():
            return "trust-fail", {"udi-key": notice.udi_key, "return-code": notice.code, "message": notice.message}
        case notices.TrustAnchorsWereChanged():
            return "trust-anchors-changed", {"count": notice.number}
        case notices.AuthorizationWasInstalled():
            tree = _authorized(notice.udi_key, (notice.auth_type,), notice.tags)
            tree["install-time"] = date_and_time(notice.installed_at)
            if notice.confirmation_code is not None:
                tree["confirmation-code"] = notice.confirmation_code
            return "authorization-code-installed", tree
        case notices.AuthorizationWasRemoved():
            return "authorization-code-removed", _authorized(notice.udi_key, notice.auth_types, notice.tags)
        case notices.AuthorizationRequestFailed():
            return "authorization-code-request-failed", {
                "udi-key": notice.udi_key,
                "return-code": notice.code,
                "message": notice.message,
            }
        case notices.AuthorizationHasExpired():
            return "authorization-expired", _authorized(notice.udi_key, (notice.auth_type,), notice.tags)


def _authorized(udi_key: str, kinds: Sequence[AuthType], tags: Sequence[str]) -> Tree:
    lists = {"install-type": [INSTALL_TYPES[kind] for kind in kinds], "entitlement-tag": list(tags)}
    return {"udi-key": udi_key, **{name: values for name, values in lists.items() if values}}


def _deadline(days: int, deadline: int) -> Tree:
    return {"days": days, "next-report-deadline": date_and_time(deadline)}
