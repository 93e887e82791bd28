"""What is constant by its nature in calls and lists, with the reason; of data and notifications see served.py.

`PATH (accepted)` and `PATH (refused)` are how calls of an RPC ended, `PATH (none)`, `(one)` and `(many)` the sizes of a
list or leaf-list.
"""

from __future__ import annotations

from agent.northbound.rows import STATE_INFO

_CSL = "/cisco-smart-license:"
_AUTHORIZED = f"{STATE_INFO}/imported-authorizations"
_ONE_UDI = "an entry for each UDI: a product instance that stands alone has one"
_ONE_KIND = "a notification tells of one code"
_NEVER_REFUSED = "there is nothing to refuse: it has no input and needs nothing"

OPERATIONS: dict[str, str] = {
    "/slp-agent:close-reports/output/return-code": _NEVER_REFUSED,
    "/slp-agent:export-trust-request/output/return-code": _NEVER_REFUSED,
    "/slp-agent:export-trust-request/output/message": _NEVER_REFUSED,
    "/slp-agent:ask-permission/output/throughput-limit": "one number, or no limit",
    "/slp-agent:rum-save-usage-report/output/report-count": "it saves the one report that is named",
}
"""Leaves of inputs and outputs with one value."""

ENDS: dict[str, str] = {
    f"{_CSL}de-register (accepted)": "a trust code is not given back: a factory reset removes it",
    "/slp-agent:close-reports (refused)": _NEVER_REFUSED,
    "/slp-agent:export-trust-request (refused)": _NEVER_REFUSED,
}
"""RPCs that are never accepted, or never refused."""

SIZES: dict[str, str] = {
    **{
        f"{STATE_INFO}/{name} ({size})": _ONE_UDI
        for name in ("trust-code", "conversion", "imported-authorizations/overall-status")
        for size in ("none", "many")
    },
    f"{STATE_INFO}/factory-purchase (many)": _ONE_UDI,
    f"{STATE_INFO}/factory-purchase/basic-license-info (none)": "without a purchase the entry itself is absent",
    "/slp-agent:netconf-server/call-home/netconf-client/endpoint (none)": "a client has at least one",
    f"{STATE_INFO}/usage (none)": "an entry for each licence of the catalogue, and a catalogue is never empty",
    **{
        f"{STATE_INFO}/policy/slp-agent:attribute-source ({size})": "an entry for each attribute of a policy"
        for size in ("none", "one")
    },
    **{
        f"{STATE_INFO}/slp-agent:product/release-feature ({size})": "an entry for each feature that releases differ in"
        for size in ("none", "one")
    },
    f"{_AUTHORIZED}/authorization-list/slp-agent:authorized-by (none)": "each licence that is listed stands in a code",
    "/slp-agent:import-code/output/document (none)": "a text without a document is told of as one",
    "/slp-agent:reports-refused/report (none)": "it is told when reports were refused",
    **{
        f"/slp-agent:{name}/install-type ({size})": _ONE_KIND
        for name in ("authorization-code-installed", "authorization-expired")
        for size in ("none", "many")
    },
    "/slp-agent:authorization-code-removed/install-type (none)": "it is told when codes were removed",
    "/slp-agent:authorization-expired/entitlement-tag (none)": "what has ended is an entitlement",
}
"""Lists that never have none, one or many entries."""
