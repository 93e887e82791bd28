"""Which reporting terms are in force: the built-in default, an installed policy, and their merge; no dates.

Days per licence class (slp-facts section 3); 0 means that this kind of report is not required.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from agent.formats.documents import PolicyTerms
from agent.licensing.profile import PolicyClass
from agent.licensing.state import InstalledPolicy

Source = Literal["default", "installed"]
CLASSES: tuple[PolicyClass, ...] = ("perpetual", "subscription", "enforced", "export")


class Days(NamedTuple):
    """Days until the first report, between later ones, and after a licence change."""

    first: int
    ongoing: int
    change: int


DEFAULT: dict[PolicyClass, Days] = {
    "perpetual": Days(365, 0, 90),
    "subscription": Days(90, 90, 90),
    "enforced": Days(0, 0, 0),
    "export": Days(0, 0, 0),
}
"""The terms of a device that no policy was installed on; acknowledgements are required."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The terms in force. `kind` is `cisco-default`, `custom`, or `merged` when a policy leaves something open.

    `sources` says for each class and each of its three values where it came from, `ack_source` for `ack_required`.
    """

    kind: Literal["cisco-default", "custom", "merged"]
    name: str | None
    installed_at: int | None
    ack_required: bool
    ack_source: Source
    days: dict[PolicyClass, Days]
    sources: dict[PolicyClass, tuple[Source, Source, Source]]


def in_force(installed: InstalledPolicy | None) -> Policy:
    """Merge attribute by attribute: what the installed policy says wins, what it leaves open stays default."""
    if installed is None:
        default: tuple[Source, Source, Source] = ("default", "default", "default")
        return Policy("cisco-default", None, None, True, "default", dict(DEFAULT), dict.fromkeys(CLASSES, default))
    terms = installed.terms
    days: dict[PolicyClass, Days] = {}
    sources: dict[PolicyClass, tuple[Source, Source, Source]] = {}
    for name in CLASSES:
        days[name], sources[name] = _merge(terms, name)
    complete = all(source == "installed" for three in sources.values() for source in three)
    return Policy(
        kind="custom" if complete else "merged",
        name=terms.name,
        installed_at=installed.installed_at,
        ack_required=True if terms.ack_required is None else terms.ack_required,
        ack_source="default" if terms.ack_required is None else "installed",
        days=days,
        sources=sources,
    )


def _merge(terms: PolicyTerms, name: PolicyClass) -> tuple[Days, tuple[Source, Source, Source]]:
    said = getattr(terms, name)
    base = DEFAULT[name]
    first, first_source = _pick(said.first, base.first)
    ongoing, ongoing_source = _pick(said.ongoing, base.ongoing)
    change, change_source = _pick(said.change, base.change)
    return Days(first, ongoing, change), (first_source, ongoing_source, change_source)


def _pick(said: int | None, default: int) -> tuple[int, Source]:
    return (default, "default") if said is None else (said, "installed")
