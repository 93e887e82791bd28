"""What a trust code is good for, and when one is needed: pure questions to the state; nothing is decided or signed.

Source: slp-facts sections 6 and 4.6, docs/licensing.md.
"""

from __future__ import annotations

from typing import Literal

from agent.licensing.releases import Feature, supports
from agent.licensing.settings import Settings
from agent.licensing.state import InstalledTrust, State

RENEWAL_PART = 4
"""A new code is asked for in the last quarter of the validity."""
Way = Literal["pushed", "pulled", "saved"]
_ASKS: dict[Way, Feature] = {
    "pushed": "trust-request-pushed",
    "pulled": "trust-request-pulled",
    "saved": "trust-request-saved",
}


def way(settings: Settings) -> Way:
    """How reports leave, as far as the configuration tells: pushed, pulled by a collector, or saved to files."""
    if settings.transport_type == "off":
        return "saved"
    if settings.transport_type == "cslu" and settings.url_cslu is None:
        return "pulled"
    return "pushed"


def counts(trust: InstalledTrust | None, at: int) -> bool:
    """Whether a trust code covers what is signed at `at`: from the authority, under a present anchor, and valid."""
    if trust is None or trust.factory or not trust.anchored:
        return False
    return trust.valid_from <= at <= trust.valid_until


def due(trust: InstalledTrust | None, at: int) -> bool:
    """Whether the device needs a trust code: it has none that counts, or one that ends soon."""
    if trust is None or not counts(trust, at):
        return True
    return at > trust.valid_until - (trust.valid_until - trust.valid_from) // RENEWAL_PART


def report_asks(state: State, at: int) -> bool:
    """Whether a report that is closed at `at` carries a trust request: one is due, and release and settings let it."""
    settings = state.settings
    return settings.trust_requests and due(state.trust, at) and supports(state.software_version, _ASKS[way(settings)])


def certificate(state: State, at: int) -> bytes | None:
    """The trust code (DER) that covers signatures made at `at`, if any does."""
    return state.trust.certificate if state.trust is not None and counts(state.trust, at) else None
