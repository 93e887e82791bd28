"""The access rules that a new agent begins with: groups admin, collector, reader and recorder, and nothing for others.

They are configuration from then on, as any other (decision 0057). Light: init and start import it.
"""

from __future__ import annotations

import json
from typing import Any

from agent.core.nacm import NACM
from agent.core.tree import Tree

ADMIN = "admin"
GROUPS = (ADMIN, "collector", "reader", "recorder")

READING = (
    ("ietf-netconf", "get"),
    ("ietf-netconf", "get-config"),
    ("ietf-netconf-monitoring", "get-schema"),
    ("ietf-netconf-nmda", "get-data"),
    ("notifications", "create-subscription"),
)
"""What every group may execute: without it, nothing can be read."""

COLLECTING = (
    ("slp-agent", "close-reports"),
    ("slp-agent", "import-code"),
    ("slp-agent", "export-usage"),
    ("slp-agent", "rum-save-usage-report"),
    ("slp-agent", "ask-permission"),
    ("slp-agent", "export-trust-request"),
    ("cisco-smart-license", "import-file"),
    ("cisco-smart-license", "rum-save-usage-all"),
    ("cisco-smart-license", "rum-save-usage-unreported"),
    ("cisco-smart-license", "rum-save-usage-days"),
    ("cisco-smart-license", "trust-request-save"),
)
RECORDING = (("slp-agent", "record-usage"), ("slp-agent", "ask-permission"))


def initial() -> Tree:
    """Members of the datastore root: what is not permitted here is denied to everyone (design: Security baseline)."""
    reading = [
        # who reads need not know who else may do what, and how they are let in; nacm:default-deny-all alone would not
        # hold against "all"
        {"name": "rules", "path": f"/{NACM}", "action": "deny"},
        {"name": "logins", "path": "/slp-agent:netconf-server", "action": "deny"},
        {"name": "all", "path": "/", "access-operations": "read", "action": "permit"},
        # it names what changed, and who did it, in all of the configuration: also where they may not read
        {
            "name": "changes",
            "module-name": "ietf-netconf-notifications",
            "notification-name": "netconf-config-change",
            "action": "deny",
        },
        {"name": "events", "notification-name": "*", "access-operations": "read", "action": "permit"},
    ]
    return {
        NACM: {
            "enable-nacm": True,
            "read-default": "deny",
            "write-default": "deny",
            "exec-default": "deny",
            "enable-external-groups": True,
            "groups": {"group": [{"name": name} for name in GROUPS]},
            "rule-list": [
                {"name": "admin", "group": [ADMIN], "rule": [{"name": "everything", "action": "permit"}]},
                {"name": "collector", "group": ["collector"], "rule": _executing(COLLECTING)},
                {"name": "recorder", "group": ["recorder"], "rule": _executing(RECORDING)},
                {
                    "name": "reading",
                    "group": ["collector", "reader", "recorder"],
                    "rule": _executing(READING) + reading,
                },
            ],
        }
    }


def _executing(rpcs: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "module-name": module,
            "rpc-name": name,
            "access-operations": "exec",
            "action": "permit",
        }
        for module, name in rpcs
    ]


def with_rules(stored: bytes | None) -> bytes | None:
    """The configuration to keep in place of `stored`, which never had rules; None where it has, or has had, some.

    What is damaged is left to whoever loads it.
    """
    try:
        tree = {} if stored is None else json.loads(stored)
    except ValueError:
        return None
    if not isinstance(tree, dict) or NACM in tree:
        return None
    return json.dumps({**tree, **initial()}, ensure_ascii=False, separators=(",", ":")).encode()
