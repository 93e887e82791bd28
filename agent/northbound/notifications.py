"""The kernel's notices as log lines and as notifications of slp-agent, through their bindings. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
import logging

from agent.core.hub import Hub
from agent.core.tree import Tree
from agent.licensing import notices
from agent.licensing.notices import Notice
from agent.northbound.bound import Bindings
from agent.northbound.times import date_and_time

log = logging.getLogger(__name__)

MODULE = "slp-agent"


class Notifier:
    """Publishes what a decision gives to tell. Called after the decision is durable."""

    def __init__(self, bindings: Bindings, hub: Hub) -> None:
        self._bindings = bindings
        self._hub = hub

    def __call__(self, told: Sequence[Notice], at: int) -> None:
        for notice in told:
            name, tree = translate(notice)
            log.info("%s: %s", name, " ".join(f"{member}={value}" for member, value in tree.items()))
            if not self._hub.watched:  # a binding costs a millisecond
                continue
            node = self._bindings.node(f"/{MODULE}:{name}")
            self._hub.publish(MODULE, name, self._bindings.checked(node, tree), at)


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
            }
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
