"""What is served and what is declared absent, in one place: the check at start compares it with the models."""

from __future__ import annotations

from collections.abc import Collection

from agent.core.access import PATH as NACM
from agent.core.coverage import missing
from agent.core.dispatch import IncompleteError
from agent.core.schema import Schema
from agent.core.streams import STATE as STREAMS
from agent.northbound import library
from agent.northbound.rows import STATE_INFO
from agent.northbound.servers import SERVER
from agent.northbound.settings import CONFIG
from agent.northbound.site import SiteModules
from agent.northbound.system import SERVES

_CSL = "/cisco-smart-license:"
_NETCONF = "/ietf-netconf:"

LEGACY = frozenset(
    f"{_CSL}{name}"
    for name in (
        "ready",
        "enabled",
        "authorization-renew-fail",
        "authorization-renew-success",
        "communications-fail",
        "communications-restored",
        "de-register-fail",
        "de-register-success",
        "enforcement-mode",
        "registration-expiration-warning",
        "registration-expired",
        "registration-fail",
        "registration-out-of-range",
        "registration-renew-fail",
        "registration-renew-success",
        "registration-success",
        "utility-RUM-fail",
        "utility-reporting-started",
        "utility-reporting-stopped",
    )
)
"""Notifications of the public module that are published."""

PUBLISHED = LEGACY | frozenset(
    f"/slp-agent:{name}"
    for name in (
        "ack-overdue",
        "authorization-code-installed",
        "authorization-code-removed",
        "authorization-code-request-failed",
        "authorization-expired",
        "clock-changed",
        "factory-reset-done",
        "import-refused",
        "outage-recorded",
        "policy-installed",
        "policy-removed",
        "report-closed",
        "reporting-required",
        "reports-acknowledged",
        "reports-refused",
        "sync-failed",
        "trust-anchors-changed",
        "trust-code-ends",
        "trust-code-installed",
        "trust-fail",
        "trust-success",
        "usage-changed",
        "usage-refused",
        "utility-interval-long",
        "utility-reporting-changed",
    )
)
"""Notifications that northbound/notifications.py publishes."""

FRONT_END = frozenset(
    f"{_NETCONF}{name}"
    for name in (
        "get",
        "get-config",
        "edit-config",
        "copy-config",
        "delete-config",
        "lock",
        "unlock",
        "close-session",
        "kill-session",
        "commit",
        "discard-changes",
        "cancel-commit",
        "validate",
    )
) | {
    "/ietf-netconf-nmda:edit-data",
    "/ietf-netconf-nmda:get-data",
    "/ietf-netconf-partial-lock:partial-lock",
    "/ietf-netconf-partial-lock:partial-unlock",
    "/notifications:create-subscription",
}
"""RPCs that agent/netconf translates into the vocabulary of the core."""

_ABSENT_NOTIFICATIONS = (
    # capabilities change over a restart only, and then nobody is there to be told (decision 0059)
    "/ietf-netconf-notifications:netconf-capability-change",
)

_STATE = STATE_INFO.removesuffix("/state-info")
_NO_EVALUATION = "there is no evaluation under a policy (decision 0031)"
_NO_BILLING_CERTIFICATE = "reports are signed with the device's own key, so billing has no certificate (decision 0036)"
_NO_TRANSPORT = "without a transport every such request ends in the same moment, for the same reason"
_NO_KEY_FOR_IT = "the product profile has no key for it yet"

NEVER: dict[str, str] = {
    f"{_CSL}evaluation-expiration-warning": _NO_EVALUATION,
    f"{_CSL}evaluation-expired": _NO_EVALUATION,
    f"{_CSL}utility-expired": _NO_BILLING_CERTIFICATE,
    f"{_CSL}utility-renewal-fail": _NO_BILLING_CERTIFICATE,
    f"{_CSL}utility-renewal-success": _NO_BILLING_CERTIFICATE,
}
"""Notifications of the public module whose event cannot occur, with the reason; clients may subscribe to them."""

CONSTANT: dict[str, str] = NEVER | {
    f"{_STATE}/always-enabled": "licensing under a policy cannot be switched off",
    f"{_STATE}/smart-enabled": "licensing under a policy cannot be switched off",
    f"{_STATE}/version": "the version of this agent",
    f"{STATE_INFO}/registration/registration-in-progress": _NO_TRANSPORT,
    f"{STATE_INFO}/registration/registration-failed/fail-message": _NO_TRANSPORT,
    f"{STATE_INFO}/registration/registration-complete/fail-message": _NO_TRANSPORT,
    f"{STATE_INFO}/registration/registration-complete/last-renew-success": _NO_TRANSPORT,
    f"{STATE_INFO}/imported-authorizations/slp-agent:request/online": _NO_TRANSPORT,
    f"{STATE_INFO}/imported-authorizations/slp-agent:throughput-limit": "one number, or no limit",
    f"{STATE_INFO}/registration/registration-retry": "a request is not repeated by itself: reports ask anyway",
    f"{STATE_INFO}/authorization/authorization-none": "an empty container",
    f"{STATE_INFO}/authorization/authorization-eval": _NO_EVALUATION,
    f"{STATE_INFO}/authorization/authorization-eval-expired": _NO_EVALUATION,
    f"{STATE_INFO}/authorization/authorization-out-of-compliance": "only the authority knows what an account owns",
    f"{STATE_INFO}/evaluation": _NO_EVALUATION,
    **{
        f"{STATE_INFO}/{place}/{leaf}": _NO_KEY_FOR_IT
        for place in (
            "udi",
            "trust-code/udi",
            "conversion/udi",
            "rum-reports-closed-keys/udi",
            "slp-agent:rum-reports-closed/udi",
            "factory-purchase/udi",
            "imported-authorizations/overall-status/udi",
        )
        for leaf in ("uuid", "suvi", "host-identifier", "mac-address")
    },
    f"{STATE_INFO}/slp-agent:report-times/last-report-push": "nothing pushes reports yet",
    f"{STATE_INFO}/slp-agent:product/agent-version": "the version of this agent",
    **{
        f"{_CSL}{name}/reason": "no other word of the public enumeration fits"
        for name in (
            "authorization-renew-fail",
            "communications-fail",
            "de-register-fail",
            "registration-expired",
            "registration-renew-fail",
            "utility-RUM-fail",
        )
    },
    "/slp-agent:sync-failed/return-code": _NO_TRANSPORT,
    "/slp-agent:sync-failed/message": _NO_TRANSPORT,
    "/slp-agent:authorization-code-request-failed/return-code": _NO_TRANSPORT,
    "/slp-agent:authorization-code-request-failed/message": _NO_TRANSPORT,
}
"""What is served and always the same or never shown, by the path of its root, with the reason."""


CONFIGURED = (CONFIG, SERVER, NACM)
"""Roots of the configuration that means something here."""


def absent(schema: Schema) -> frozenset[str]:  # noqa: ARG001 - the list is that schema's
    """The one list of what the models have and this agent does not serve; such RPCs answer operation-not-supported."""
    return frozenset(_ABSENT_NOTIFICATIONS)


def check(schema: Schema, state: Collection[str], site: SiteModules | None = None) -> None:
    """Compare with the models what the seam serves below its providers' roots; `state` holds its schema paths.

    What the site's modules have is kept or absent, wherever it stands.

    Raises IncompleteError that names every path which is neither served nor declared absent.
    """
    config, without = set(CONFIGURED), absent(schema)
    if site is not None:
        config, without = config | set(site.config), without | site.absent
    lacking = missing(schema, config, {*SERVES, *library.SERVES, NACM, STREAMS, *state}, without)
    if lacking:
        raise IncompleteError("served by nobody, and not declared absent: " + ", ".join(lacking))
