"""What the models ask of an input beside its shape: `must` and `when`, evaluated over the input and the data around it.

Source: RFC 7950 sections 6.4.1 (the input stands in the data tree, where the operation does), 7.5.3, 7.21.5 and 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from agent.core.path import entry_step, resolve, step
from agent.core.requests import Get, Invoke
from agent.core.schema import Node, Schema
from agent.core.tree import Row, Tree
from agent.core.xpath import LIMIT, Evaluation
from agent.core.xpath_functions import boolean
from agent.core.xpath_items import Cost, Group, Item, TooCostlyError, root
from agent.core.xpath_parse import Expression, Scope, XPathError, parse
from agent.errors import Error, Path, RequestError, Step, refuse


@lru_cache(maxsize=256)
def conditional(node: Node) -> bool:
    """Whether the models ask anything of an input."""
    return any(each.must or each.when or each.outer_when for each in node.walk())


def check_input(request: Invoke, schema: Schema, read: Callable[[Get], Tree]) -> None:
    """Raises RequestError: operation-failed for a `must`, unknown-element for what a `when` rules out.

    `read` gives configuration and state; it is asked only where there are conditions.
    """
    operation = request.node
    shape = operation.by_member("input")
    if shape is None or not conditional(shape):
        return
    top = root(read(Get()), schema.root, Cost(LIMIT))
    above = _instance(top, request.path, schema)
    given = Item(shape, request.input, Group(above, shape, request.input, len(above.groups())), 0, top.cost)
    where = (*request.path, Step(operation.module, operation.name)) if request.path else ()
    try:
        for item, path in _within(given, where):
            _check(item, path, top, schema)
    except TooCostlyError:
        message = f"the conditions on {operation.name} take too long to evaluate: send less input"
        raise refuse("resource-denied", message, path=where) from None


def _instance(top: Item, path: Path, schema: Schema) -> Item:
    """What the action is invoked on; a container that holds nothing is made up."""
    item = top
    for part, node in zip(path, resolve(path, schema) or (), strict=True):
        group = next((one for one in item.groups() if one.node is node), None)
        group = group or Group(item, node, {}, len(item.groups()))
        item = next(one for one in group.items() if node.kind != "list" or _keys(one, node) == part.keys)
    return item


def _keys(item: Item, node: Node) -> tuple[tuple[str, str], ...]:
    return step(node, item.value.keys).keys if isinstance(item.value, Row) else entry_step(node, item.tree()).keys


def _within(item: Item, path: Path) -> Iterator[tuple[Item, Path]]:
    yield item, path
    if item.branch:
        for child in item.children():
            node = child.node
            here = entry_step(node, child.tree()) if node.kind == "list" else Step(node.module, node.name)
            yield from _within(child, (*path, here))


def _check(item: Item, path: Path, top: Item, schema: Schema) -> None:
    node = item.node
    for context, texts in ((item.parent, node.outer_when), (item, node.when)):
        for text in texts:
            if not _holds(text, node, context or top, top, schema):
                message = f"{node.name} may be sent only when {text}"
                raise refuse("unknown-element", message, path=path, bad_element=node.name)
    for must in node.must:
        if not _holds(must["test"], node, item, top, schema):
            message = must.get("message", f"{node.name} must fulfil {must['test']}")
            error = Error("application", "operation-failed", message, path, must.get("app_tag", "must-violation"))
            raise RequestError(error)


def _holds(text: str, node: Node, context: Item, top: Item, schema: Schema) -> bool:
    try:
        expression, scope = _parsed(text, node)
        return boolean(Evaluation(schema, scope, top, context).value(expression))
    except XPathError as error:
        message = f"the condition {text!r} of {node.path} cannot be evaluated: {error}"
        raise refuse("operation-failed", message) from None


@lru_cache(maxsize=256)
def _parsed(text: str, node: Node) -> tuple[Expression, Scope]:
    others = {prefix: name for name, prefix in node.schema.names.prefixes.items()}
    scope = Scope({**others, **node.schema.modules[node.module].imports}, node.module)
    return parse(text, scope), scope
