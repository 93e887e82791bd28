"""What is served and what is declared absent, in one place: the check at start compares it with the models."""

from __future__ import annotations

from collections.abc import Collection

from agent.core.coverage import missing
from agent.core.dispatch import IncompleteError
from agent.core.schema import Schema
from agent.northbound.rows import STATE_INFO
from agent.northbound.settings import CONFIG
from agent.northbound.system import MONITORING, SERVES

_CSL = "/cisco-smart-license:"
_NETCONF = "/ietf-netconf:"

PUBLISHED = frozenset(
    f"/slp-agent:{name}"
    for name in (
        "clock-changed",
        "import-refused",
        "outage-recorded",
        "policy-installed",
        "report-closed",
        "reports-acknowledged",
        "trust-code-installed",
        "usage-changed",
        "usage-refused",
    )
)
"""Notifications that northbound/notifications.py publishes."""

FRONT_END = frozenset(
    f"{_NETCONF}{name}"
    for name in ("get", "get-config", "edit-config", "lock", "unlock", "close-session", "kill-session")
)
"""RPCs that agent/netconf translates into the vocabulary of the core."""

_ABSENT_STATE = (
    # what registration, authorization and evaluation of the time before SLP say is still to be decided
    f"{STATE_INFO}/registration",
    f"{STATE_INFO}/authorization",
    f"{STATE_INFO}/evaluation",
    f"{STATE_INFO}/conversion",
    f"{STATE_INFO}/factory-purchase",
    # no authorization code can be installed yet
    f"{STATE_INFO}/imported-authorizations",
    # nothing is sent on the agent's own account yet
    f"{STATE_INFO}/utility/reporting-times",
    f"{STATE_INFO}/slp-agent:report-times/last-report-push",
    # no subscription is known to the product's catalogue
    f"{STATE_INFO}/usage/subscription-id",
    # counted per session so far, not per server
    f"{MONITORING}/statistics",
    # only the whole of running can be locked
    f"{MONITORING}/datastores/datastore/locks/partial-lock",
)

_ABSENT_RPCS = (
    *(
        f"{_CSL}{name}"
        for name in (
            "register-id-token",
            "de-register",
            "renew-id",
            "renew-auth",
            "id-token-trust",
            "trust-request-save",
            "authorization-request-online",
            "authorization-code-return-online",
            "authorization-code-return-offline",
        )
    ),
    f"{_NETCONF}copy-config",
    f"{_NETCONF}delete-config",
)


def absent(schema: Schema) -> frozenset[str]:
    """The one list of what the models have and this agent does not serve; such RPCs answer operation-not-supported.

    None of the notifications of cisco-smart-license can occur yet: they tell of registration and of the network.
    """
    notifications = (node.path for node in schema.notifications.values() if node.module == "cisco-smart-license")
    return frozenset((*_ABSENT_STATE, *_ABSENT_RPCS, *notifications))


def check(schema: Schema, state: Collection[str]) -> None:
    """Compare with the models what the seam serves below its providers' roots; `state` holds its schema paths.

    Raises IncompleteError that names every path which is neither served nor declared absent.
    """
    lacking = missing(schema, {CONFIG}, {*SERVES, *state}, absent(schema))
    if lacking:
        raise IncompleteError("served by nobody, and not declared absent: " + ", ".join(lacking))
