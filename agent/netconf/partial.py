"""partial-lock and partial-unlock (RFC 5717): any XPath 1.0 expressions, with the prefixes in scope at each select.

A name without a prefix stands for that name in any module, as in XPath filters.
"""

from __future__ import annotations

from collections.abc import Callable

from lxml.etree import _Element as Element

from agent.codec import xml
from agent.core.requests import Lock, Request, Unlock
from agent.core.schema import Schema
from agent.core.xpath_nodes import NodeChoice
from agent.core.xpath_parse import Scope, TooLargeError, XPathError, parse
from agent.errors import refuse
from agent.netconf.parameters import parameters, required, text, unknown
from agent.netconf.reads import prefixes

PARTIAL = "urn:ietf:params:xml:ns:netconf:partial-lock:1.0"
SELECTS = 100
"""Expressions of one request, which are kept with the lock."""


def _partial_lock(operation: Element, schema: Schema) -> Lock:
    selects = list(operation.iterchildren("*"))
    for select in selects:
        if select.tag != f"{{{PARTIAL}}}select":
            raise unknown(select, schema, "in partial-lock")
    if not selects:
        raise refuse("missing-element", "partial-lock needs <select>", type="protocol", bad_element="select")
    if len(selects) > SELECTS:
        message = f"more than {SELECTS} selects: join them with | or lock nodes above them"
        raise refuse("too-big", message, type="protocol")
    return Lock(parts=tuple(_choice(select, schema) for select in selects))


def _choice(select: Element, schema: Schema) -> NodeChoice:
    """Raises RequestError invalid-value, too-big."""
    scope = Scope(prefixes(select, schema))
    try:
        return NodeChoice(parse(text(select) or "", scope), scope)
    except TooLargeError as error:
        raise refuse("too-big", f"select: {error}", type="protocol") from None
    except XPathError as error:
        message = f"select is no XPath 1.0 expression that can be used: {error}"
        raise refuse("invalid-value", message, type="protocol", bad_element="select") from None


def _partial_unlock(operation: Element, schema: Schema) -> Unlock:
    required(parameters(operation, schema, "lock-id"), "lock-id", "partial-unlock")
    node = schema.rpcs["ietf-netconf-partial-lock", "partial-unlock"]
    return Unlock(lock_id=xml.decode_input(operation, node)["lock-id"])


READERS: dict[tuple[str, str], Callable[[Element, Schema], Request]] = {
    (PARTIAL, "partial-lock"): _partial_lock,
    (PARTIAL, "partial-unlock"): _partial_unlock,
}
"""By namespace and name."""
