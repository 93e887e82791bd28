"""When things are due, worked out from state and profile: the next ACK, the next push, and the kernel's own next timer.

Nothing is stored and nothing is done here; times are epoch seconds. Source: slp-facts sections 3 (deadline arithmetic,
table A) and 4.6; docs/decisions/0009.
"""

from __future__ import annotations

from agent.licensing.policy import Policy, in_force
from agent.licensing.profile import PolicyClass, Profile
from agent.licensing.state import State
from agent.licensing.usage import CLOCK_TOLERANCE, DAY, SAMPLE_SECONDS

DEFAULT_INTERVAL_DAYS = 30
UTILITY_DAYS = 30
"""In utility mode an acknowledgement must be installed this often (slp-facts section 8)."""


def classes_in_use(state: State, profile: Profile) -> frozenset[PolicyClass]:
    """The policy classes of the licences that are in use now."""
    return frozenset(profile.by_tag(tag).policy_class for tag, use in state.licences.items() if use.count > 0)


def in_policy_days(state: State, profile: Profile, policy: Policy) -> int:
    """Days that the policy gives for the next report: the smallest non-zero value of the classes in use; 0: none.

    Before the first acknowledged report that is the first-report requirement, afterwards the reporting frequency.
    """
    values = (
        policy.days[name].first if state.report_ack_at is None else policy.days[name].ongoing
        for name in classes_in_use(state, profile)
    )
    return min((days for days in values if days > 0), default=0)


def next_ack_deadline(state: State, profile: Profile) -> int | None:
    """The second by which the next acknowledgement must have come; None when none is required.

    The earlier of: last ACK (before the first one: the first use, or the later installation of a policy or trust
    code) plus the policy's days, and each unreported licence change plus the days of its class for changes. In utility
    mode also, whatever the policy says, 30 days after the last ACK. A controller's device has none.
    """
    if state.first_used_at is None or state.settings.mode == "controller":
        return None
    if state.report_ack_at is not None and state.last_ack_at is not None:
        since = state.last_ack_at
    else:
        since = max(state.first_used_at, state.last_ack_at or 0)
    since = max(since, state.autonomous_since or 0)
    due = [since + UTILITY_DAYS * DAY] if state.settings.utility_enabled else []
    policy = in_force(state.policies)
    if policy.ack_required:
        due += [at + days * DAY for at, days in _changes(state, profile, policy)]
        if days := in_policy_days(state, profile, policy):
            due.append(since + days * DAY)
    return min(due, default=None)


def _changes(state: State, profile: Profile, policy: Policy) -> list[tuple[int, int]]:
    """For each unreported change that needs a report: when it counts from, and how many days there are."""
    installed = [each.installed_at for each in state.policies.values()]
    if state.trust is not None and not state.trust.factory:
        installed.append(state.trust.installed_at)
    earliest = max([*installed, state.autonomous_since or 0])
    given = {name: days.change for name, days in policy.days.items()}
    found = []
    for tag, at in state.changes.items():
        days = given[profile.by_tag(tag).policy_class]
        if days > 0:
            found.append((max(at, earliest), days))
    return found


def push_interval_days(state: State, profile: Profile) -> int:
    """Days between two pushes: the configured interval (30 when not configured), never more than the policy gives.

    0 means no reporting: licences are in use, or were changed, and the policy requires no report for any of them.
    """
    configured = state.settings.interval_days or DEFAULT_INTERVAL_DAYS
    policy = in_force(state.policies)
    limits = [days for _, days in _changes(state, profile, policy)]
    if days := in_policy_days(state, profile, policy):
        limits.append(days)
    if state.settings.utility_enabled:
        limits.append(UTILITY_DAYS)
    if not limits and (state.changes or classes_in_use(state, profile)):
        return 0
    return min([configured, *limits])


def next_push(state: State, profile: Profile, now: int) -> int | None:
    """When the next push is planned, even while the transport is off; None when nothing has to be reported.

    Two minutes after a start, a licence change, or a policy that was installed or removed; then every interval.
    """
    interval = push_interval_days(state, profile) * DAY
    if not state.running or interval == 0 or state.first_used_at is None or state.settings.mode == "controller":
        return None
    first = state.push_from
    if now < first:
        return first
    return first + ((now - first) // interval + 1) * interval


def next_deadline(state: State, now: int | None = None) -> int | None:
    """When the kernel wants its next Tick: the next sample or the daily close; None while it does not run.

    At once (`now`) when the clock was set back: on the old clock's dates nothing would be measured until then.
    """
    if not state.running:
        return None
    if now is not None and max(now, 1) < state.at - CLOCK_TOLERANCE:
        return now
    return min(state.sampled_at + SAMPLE_SECONDS, _daily_after(state, state.sampled_at))


def sample_due(state: State, at: int) -> bool:
    """Whether a sample or the daily close is due at `at`."""
    deadline = next_deadline(state)
    return deadline is not None and at >= deadline


def daily_due(state: State, at: int) -> bool:
    """Whether a day boundary, counted from the start, lies between the last sample and `at`."""
    return state.running and at >= _daily_after(state, state.sampled_at)


def _daily_after(state: State, moment: int) -> int:
    return state.started_at + ((moment - state.started_at) // DAY + 1) * DAY
