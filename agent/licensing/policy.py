"""Which reporting terms are in force: the built-in default, the installed policies, and their merge; no dates.

Days per licence class (slp-facts section 3); 0 means that this kind of report is not required.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agent.formats.documents import PolicyOrigin, PolicyTerms
from agent.licensing.profile import PolicyClass
from agent.licensing.state import InstalledPolicy

Source = Literal["default", "factory", "custom", "controller"]
PRECEDENCE: tuple[PolicyOrigin, ...] = ("controller", "custom", "factory")
"""Whose word counts first, attribute by attribute; the built-in default comes last."""
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

Kind = Literal["cisco-default", "factory-installed", "custom", "controller", "merged"]
_KINDS: dict[Source, Kind] = {
    "default": "cisco-default",
    "factory": "factory-installed",
    "custom": "custom",
    "controller": "controller",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The terms in force. `kind` is `merged` when the values come from more than one source.

    `name` and `installed_at` are those of the installed policy that comes first in PRECEDENCE. `sources` says for each
    class and each of its three values where it came from, `ack_source` for `ack_required`.
    """

    kind: Kind
    name: str | None
    installed_at: int | None
    ack_required: bool
    ack_source: Source
    days: dict[PolicyClass, Days]
    sources: dict[PolicyClass, tuple[Source, Source, Source]]


def in_force(policies: Mapping[str, InstalledPolicy]) -> Policy:
    """Merge attribute by attribute: the first policy in PRECEDENCE that says something wins, else the default."""
    layers = [(origin, policies[origin]) for origin in PRECEDENCE if origin in policies]
    terms = [(origin, policy.terms) for origin, policy in layers]
    days: dict[PolicyClass, Days] = {}
    sources: dict[PolicyClass, tuple[Source, Source, Source]] = {}
    for name in CLASSES:
        days[name], sources[name] = _merge(terms, name)
    required, ack_source = _pick(terms, lambda each: each.ack_required, True)
    used = {source for three in sources.values() for source in three}
    # A policy that leaves only this one open is complete: the default says the same as every policy known.
    used |= {ack_source} - {"default"}
    kind = _KINDS[next(iter(used))] if len(used) == 1 else "merged"
    first = layers[0][1] if layers else None
    return Policy(
        kind=kind,
        name=None if first is None else first.terms.name,
        installed_at=None if first is None else first.installed_at,
        ack_required=bool(required),
        ack_source=ack_source,
        days=days,
        sources=sources,
    )


_Terms = list[tuple[PolicyOrigin, PolicyTerms]]


def _merge(terms: _Terms, name: PolicyClass) -> tuple[Days, tuple[Source, Source, Source]]:
    base = DEFAULT[name]
    first, first_source = _pick(terms, lambda each: each.of(name).first, base.first)
    ongoing, ongoing_source = _pick(terms, lambda each: each.of(name).ongoing, base.ongoing)
    change, change_source = _pick(terms, lambda each: each.of(name).change, base.change)
    return Days(first, ongoing, change), (first_source, ongoing_source, change_source)


def _pick(terms: _Terms, said: Callable[[PolicyTerms], int | None], default: int) -> tuple[int, Source]:
    for origin, each in terms:
        value = said(each)
        if value is not None:
            return value, origin
    return default, "default"
