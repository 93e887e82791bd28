"""Which events a subscriber wants: a filter passes an event as a whole or not at all (RFC 5277 section 2.1.1).

Subtree filters and XPath are read elsewhere; both look at a tree with the event as its only member.
"""

from __future__ import annotations

from dataclasses import dataclass
import logging
from typing import Final

from agent.core.hub import Event
from agent.core.schema import Schema
from agent.core.select import Selection, prune
from agent.core.xpath import Evaluation
from agent.core.xpath_functions import boolean
from agent.core.xpath_items import Cost, TooCostlyError, root
from agent.core.xpath_parse import Expression, Scope, XPathError

log = logging.getLogger(__name__)

EVENT_LIMIT: Final = 20_000
"""What the evaluation for one event may cost (`Cost`): some 30 ms of one core."""


@dataclass(frozen=True, slots=True)
class SubtreeFilter:
    """Passes events of which the selection takes something; it begins at `Schema.events`."""

    selection: Selection

    def passes(self, event: Event, schema: Schema) -> bool:
        return bool(prune({event.member: event.tree}, self.selection, schema.events))


@dataclass(frozen=True, slots=True)
class XPathEventFilter:
    """Passes events for which the expression gives nodes, or is true; an event stands below the document root."""

    expression: Expression
    scope: Scope

    def passes(self, event: Event, schema: Schema) -> bool:
        top = root({event.member: event.tree}, schema.events, Cost(EVENT_LIMIT))
        try:
            return boolean(Evaluation(schema, self.scope, top).value(self.expression))
        except (XPathError, TooCostlyError) as error:
            log.warning("%s is not sent: the XPath filter of its subscriber fails on it: %r", event.member, error)
            return False


EventFilter = SubtreeFilter | XPathEventFilter
