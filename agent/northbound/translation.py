"""The kernel's notices in the words of slp-agent: names and members of notifications. Only translation."""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.tree import Tree
from agent.formats.documents import AuthType
from agent.licensing import notices
from agent.licensing.notices import Notice
from agent.northbound.times import date_and_time
from agent.northbound.words import INSTALL_TYPES, POLICY_SOURCES

Measured = (
    notices.ReportWasClosed
    | notices.UsageWasRefused
    | notices.UsageChanged
    | notices.OutageWasRecorded
    | notices.ClockWasChanged
)
Requested = (
    notices.TrustRequestFailed
    | notices.TrustAnchorsWereChanged
    | notices.TrustCodeEnds
    | notices.AuthorizationWasInstalled
    | notices.AuthorizationWasRemoved
    | notices.AuthorizationRequestFailed
    | notices.AuthorizationHasExpired
)
Operated = (
    notices.SyncFailed
    | notices.ReportsWereRefused
    | notices.UtilityReportingChanged
    | notices.UtilityIntervalIsLong
    | notices.InstanceWasReset
)


def translate(notice: Notice) -> tuple[str, Tree]:
    """The notification's name and members."""
    match notice:
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
        case (
            notices.ReportWasClosed()
            | notices.UsageWasRefused()
            | notices.UsageChanged()
            | notices.OutageWasRecorded()
            | notices.ClockWasChanged()
        ):
            return _measured(notice)
        case (
            notices.SyncFailed()
            | notices.ReportsWereRefused()
            | notices.UtilityReportingChanged()
            | notices.UtilityIntervalIsLong()
            | notices.InstanceWasReset()
        ):
            return _operated(notice)
        case _:
            return _requested(notice)


def _measured(notice: Measured) -> tuple[str, Tree]:
    match notice:
        case notices.ReportWasClosed():
            return "report-closed", {
                "rum-report-key": notice.key,
                "report-id": str(notice.report_id),
                "entitlement-tag": notice.entitlement_tag,
                "close-reason": notice.reason,
            }
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


def _operated(notice: Operated) -> tuple[str, Tree]:
    match notice:
        case notices.SyncFailed():
            return "sync-failed", {"return-code": notice.code, "message": notice.message}
        case notices.ReportsWereRefused():
            refused = [{"report-id": str(number), "reason": reason} for number, reason in notice.reports]
            return "reports-refused", {"report": refused}
        case notices.UtilityReportingChanged():
            return "utility-reporting-changed", {"started": notice.started}
        case notices.UtilityIntervalIsLong():
            return "utility-interval-long", {"days": notice.days}
        case notices.InstanceWasReset():
            return "factory-reset-done", {"discarded-count": notice.discarded}


def _requested(notice: Requested) -> tuple[str, Tree]:
    match notice:
        case notices.TrustCodeEnds():
            moment = date_and_time(notice.valid_until)
            return "trust-code-ends", {"udi-key": notice.udi_key, "valid-until": moment, "ended": notice.ended}
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
