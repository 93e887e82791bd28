"""When an operator is told that an acknowledgement is required, or overdue: the cadence, and its one decision.

Source: slp-facts section 9 (REPORTING_REQUIRED; the overdue message's cadence is ours), docs/licensing.md.
"""

from __future__ import annotations

from agent.licensing.deadlines import next_ack_deadline
from agent.licensing.draft import Draft
from agent.licensing.events import AckReminded
from agent.licensing.usage import DAY

AHEAD_DAYS = (1, 2, 3, 7, 14, 30)
"""An operator is told when so many days are left, or fewer."""
OVERDUE_DAYS = 7
"""Once the deadline has passed, an operator is told then and every so many days."""


def milestone(left: int) -> int | None:
    """The last milestone passed when so many seconds are left: days ahead, or 0, -7, -14 … days; None: not yet one."""
    if left <= 0:
        return -(-left // (OVERDUE_DAYS * DAY)) * OVERDUE_DAYS
    return next((days for days in AHEAD_DAYS if left <= days * DAY), None)


def remind(draft: Draft) -> None:
    """Record that the operator is told, once for each deadline and milestone."""
    deadline = next_ack_deadline(draft.state, draft.context.profile)
    if deadline is None:
        return
    days = milestone(deadline - draft.at)
    if days is not None and draft.state.reminder != (deadline, days):
        draft.emit(AckReminded(draft.at, deadline, days))
