"""What the settings mean for measuring: utility mode, controller-managed mode, and what no release allows together.

Source: slp-facts section 8 (utility mode), the guide's controller topology; docs/licensing.md.
"""

from __future__ import annotations

from agent.licensing.deadlines import DEFAULT_INTERVAL_DAYS
from agent.licensing.draft import Draft
from agent.licensing.events import CloseReason, SettingsApplied
from agent.licensing.notices import UtilityIntervalIsLong, UtilityReportingChanged
from agent.licensing.releases import Feature, supports
from agent.licensing.reply import Reply, refusal
from agent.licensing.settings import Settings

UTILITY_INTERVAL_DAYS = 7
"""In utility mode a longer reporting interval is warned of."""


def apply(draft: Draft, settings: Settings) -> Reply:
    """Take new settings, unless they cannot be; what is measured is closed when the mode that it counts in changes."""
    before = draft.state.settings
    if settings == before:
        return Reply()
    refused = _refused(settings, draft.context.profile.software_version)
    if refused is not None:
        return refused
    draft.settle_clock()
    reason = _closes(before, settings)
    if reason is not None:
        # What a stopped agent left open was measured up to its last moment only.
        draft.close(draft.in_report(), reason, end=draft.at if draft.state.running else draft.state.at)
    draft.emit(SettingsApplied(draft.at, settings))
    if draft.state.running:
        draft.open_all()
    _tell(draft, before, settings)
    return Reply()


def take_at_start(draft: Draft, settings: Settings) -> None:
    """Take the settings that a start goes back to: they held before, and nothing is being measured."""
    before = draft.state.settings
    if settings != before:
        draft.emit(SettingsApplied(draft.at, settings))
        _tell(draft, before, settings)


def _refused(settings: Settings, version: str) -> Reply | None:
    if not settings.utility_enabled:
        return None
    feature: Feature = "utility-mode-controller" if settings.mode == "controller" else "utility-mode"
    if not supports(version, feature):
        return refusal(
            "not-in-this-release", f"release {version} has no utility mode for a device that is {settings.mode}"
        )
    if settings.transport_type == "callhome":
        return refusal("utility-callhome", "utility mode does not go over Call Home; use transport smart, cslu or off")
    return None


def _closes(before: Settings, after: Settings) -> CloseReason | None:
    """Why open reports end with this change: every report is of one mode."""
    if before.mode != after.mode:
        return "controller-managed"
    return "utility-mode" if before.utility_enabled != after.utility_enabled else None


def _tell(draft: Draft, before: Settings, after: Settings) -> None:
    if before.utility_enabled != after.utility_enabled:
        draft.notices.append(UtilityReportingChanged(after.utility_enabled))
    days = after.interval_days or DEFAULT_INTERVAL_DAYS
    told = before.utility_enabled and (before.interval_days or DEFAULT_INTERVAL_DAYS) == days
    if after.utility_enabled and days > UTILITY_INTERVAL_DAYS and not told:
        draft.notices.append(UtilityIntervalIsLong(days))
