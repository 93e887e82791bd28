"""Words of the kernel in the words of the models, where more than one place needs them. Tables only."""

from __future__ import annotations

from agent.formats.documents import AuthType
from agent.licensing.policy import Source

INSTALL_TYPES: dict[AuthType, str] = {
    "slac": "authorization-type-auth-code",
    "slr": "authorization-type-slr",
    "plr": "authorization-type-plr",
    "fla": "authorization-type-fla",
    "pak": "authorization-type-pak",
}
"""Kinds of authorization codes as license-auth-type-enum has them."""

POLICY_SOURCES: dict[Source, str] = {
    "default": "cisco-default",
    "factory": "factory-policy",
    "custom": "customer-policy",
    "controller": "controller-policy",
}
"""Where a value of the policy comes from, as slp-agent's policy-source has it."""
