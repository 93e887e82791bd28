"""The kernel's notices in the notifications of the public module, which are older than policies. Decides nothing.

docs/models.md has the table; decisions 0031 and 0036 say why each means what it means, and which can never occur.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.tree import Tree
from agent.licensing import notices
from agent.licensing.deadlines import next_ack_deadline
from agent.licensing.notices import Notice
from agent.licensing.profile import Profile
from agent.licensing.state import State
from agent.licensing.trusting import counts
from agent.northbound import legacy
from agent.northbound.times import date_and_time

MESSAGE_LENGTH = 255
"""Characters of the public fail-message-type."""


def of_notice(notice: Notice, before: State, after: State, profile: Profile, at: int) -> Iterator[tuple[str, Tree]]:
    """Names and members of what a decision at `at` led to, which took the state from `before` to `after`."""
    match notice:
        case notices.UtilityReportingChanged():
            yield f"utility-reporting-{'started' if notice.started else 'stopped'}", {}
        case (
            notices.AuthorizationWasInstalled() | notices.AuthorizationWasRemoved() | notices.AuthorizationHasExpired()
        ):
            yield "enforcement-mode", {"mode": legacy.mode(after, profile, at)}
        case notices.ReportsWereAcknowledged():
            if notice.number > 0:
                yield "authorization-renew-success", {}
            if _told_overdue(before, profile) and not _overdue(after, profile, at):
                yield "communications-restored", {}
        case notices.AckIsOverdue() if not _told_overdue(before, profile):
            yield "communications-fail", failure(f"no acknowledgement came by {date_and_time(notice.deadline)}")
        case notices.SyncFailed():
            yield from _exchange_failed(notice.message, after)
        case notices.ReportsWereRefused():
            reasons = ", ".join(sorted({reason for _, reason in notice.reports}))
            number = len(notice.reports)
            refused = f"{number} report{'' if number == 1 else 's'}"
            yield from _exchange_failed(f"the authority refused {refused}: {reasons}", after)
        case _:
            yield from _of_registration(notice, before, at)


def _of_registration(notice: Notice, before: State, at: int) -> Iterator[tuple[str, Tree]]:
    """A trust code of the authority is what a registration was."""
    renewal = "-renew" if counts(before.trust, at) else ""
    match notice:
        case notices.TrustCodeWasInstalled(factory=False):
            yield f"registration{renewal}-success", {}
        case notices.TrustRequestFailed() | notices.ContentWasRefused(kind="trust-code"):
            yield f"registration{renewal}-fail", failure(notice.message)
        case notices.TrustCodeEnds(ended=True):
            message = f"the trust code was valid until {date_and_time(notice.valid_until)}"
            yield "registration-expired", failure(message)
        case notices.TrustCodeEnds():
            yield "registration-expiration-warning", {"expire-time": date_and_time(notice.valid_until)}
        case notices.ClockWasChanged() if counts(before.trust, at - notice.delta) and not counts(before.trust, at):
            yield "registration-out-of-range", {}
        case notices.InstanceWasReset() if before.trust is not None and not before.trust.factory:
            yield "de-register-success", {}


def failure(message: str, reason: str = "general-failure") -> Tree:
    """The members of all notifications of failures; `reason` is a name of notif-register-failure-enum."""
    return {"reason": reason, "message": message[:MESSAGE_LENGTH]}


def _exchange_failed(message: str, state: State) -> Iterator[tuple[str, Tree]]:
    yield "authorization-renew-fail", failure(message)
    if state.settings.utility_enabled:
        yield "utility-RUM-fail", failure(message)


def _told_overdue(state: State, profile: Profile) -> bool:
    """Whether it was told that the present deadline has passed."""
    return (
        state.reminder is not None and state.reminder[1] <= 0 and next_ack_deadline(state, profile) == state.reminder[0]
    )


def _overdue(state: State, profile: Profile, at: int) -> bool:
    deadline = next_ack_deadline(state, profile)
    return deadline is not None and deadline <= at
