"""Which events a subscriber wants: a filter passes an event as a whole or not at all (RFC 5277 section 2.1.1).

Subtree filters and XPath are read elsewhere; both look at a tree with the event as its only member.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agent.core.hub import Event
from agent.core.schema import Schema
from agent.core.select import Selection, prune
from agent.core.xpath import Evaluation
from agent.core.xpath_functions import boolean
from agent.core.xpath_items import Cost, root
from agent.core.xpath_parse import Expression, Scope

EVENT_LIMIT: Final = 20_000
"""What the evaluation for one event may cost (`Cost`): some 30 ms of one core."""

PICKS: Final = 4
"""So many picks of a subtree filter cost as much as one unit."""

WIDE: Final = 64
"""Picks from which on a subtree filter takes long."""


@dataclass(frozen=True, slots=True)
class SubtreeFilter:
    """Passes events of which the selection takes something; it begins at `Schema.events`."""

    selection: Selection
    picks: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "picks", _count(self.selection))

    @property
    def takes_long(self) -> bool:
        """Whether it is to be looked at where nobody waits for it."""
        return self.picks > WIDE

    def passes(self, event: Event, schema: Schema, cost: Cost) -> bool:
        """Raises TooCostlyError."""
        cost.spend(1 + self.picks // PICKS)
        return bool(prune({event.member: event.tree}, self.selection, schema.events))


@dataclass(frozen=True, slots=True)
class XPathEventFilter:
    """Passes events for which the expression gives nodes, or is true; an event stands below the document root."""

    expression: Expression
    scope: Scope

    @property
    def takes_long(self) -> bool:
        """Whether it is to be looked at where nobody waits for it."""
        return True

    def passes(self, event: Event, schema: Schema, cost: Cost) -> bool:
        """Raises XPathError, TooCostlyError."""
        top = root({event.member: event.tree}, schema.events, cost)
        return boolean(Evaluation(schema, self.scope, top).value(self.expression))


def _count(selection: Selection | None) -> int:
    return sum(1 + len(pick.match) + _count(pick.below) for pick in selection or ())


EventFilter = SubtreeFilter | XPathEventFilter
