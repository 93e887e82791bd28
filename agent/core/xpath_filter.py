"""An XPath filter over the data: what has to be read for it, and the part of the tree that it selects.

Paths of steps downwards with tests of leaves against literals become a `Selection` and are never evaluated; anything
else reads a selection that is wide enough, is evaluated on it, and its nodes are cut out with ancestors and keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, product
from typing import Any, Final

from agent.core.reftypes import LeafRef
from agent.core.schema import Node, Schema
from agent.core.select import Part, Pick, PickedRows, Selection
from agent.core.sweeps import quiet
from agent.core.tree import Row, Tree
from agent.core.types import Integer, InvalidValue
from agent.core.xpath import LIMIT, Evaluation, simplified
from agent.core.xpath_items import Cost, Group, Item, TooCostlyError, release, root
from agent.core.xpath_parse import (
    PARTS,
    Call,
    Constant,
    Expression,
    Filtered,
    Negation,
    Operation,
    Path,
    Scope,
    Step,
    Test,
    XPathError,
    parse,
)
from agent.errors import refuse

Match = tuple[tuple[Node, Any], ...]

TRAILS: Final = 20_000
"""Schema paths that are worked out for one filter; a wider one reads everything."""

SWEPT: Final = LIMIT // 10
"""Cost of an evaluation after which the garbage that others have left meanwhile is looked for at once."""


@dataclass(frozen=True, slots=True)
class XPathFilter:
    """`reads` is what has to be read (None: all); where it is `exact`, it is the answer and nothing is evaluated."""

    expression: Expression
    scope: Scope
    reads: Selection | None
    exact: bool

    @classmethod
    def of(cls, text: str, scope: Scope, schema: Schema) -> XPathFilter:
        """Raises XPathError and its subclasses."""
        expression = parse(text, scope)
        reads, exact = _Plan(schema, scope).made(expression)
        return cls(expression, scope, reads, exact)

    def apply(self, tree: Tree, schema: Schema, depth: int | None = None) -> Tree:
        """The selected nodes with their ancestors and the keys of these; `depth` levels of each, None for all.

        Raises RequestError invalid-value, or resource-denied where the evaluation would take too long.
        """
        found, fault = self._evaluated(tree, schema, depth)
        # refused only here: an error that is raised while another is handled keeps that one's frames, and their items
        if fault is not None:
            raise refuse(*fault)
        return found

    def _evaluated(self, tree: Tree, schema: Schema, depth: int | None) -> tuple[Tree, tuple[str, str] | None]:
        """What is selected, or tag and message of the refusal; all items are freed."""
        cost = Cost(LIMIT)
        with quiet(lambda: LIMIT - cost.left >= SWEPT):
            top = root(tree, schema.root, cost)
            try:
                found = Evaluation(schema, self.scope, top).value(self.expression)
                if isinstance(found, list):
                    return _cut(found, top, depth), None
                told = "gives no nodes but a value: name the nodes you want"
                return {}, ("invalid-value", f"the XPath expression {told}")
            except XPathError as error:
                return {}, ("invalid-value", f"the XPath expression cannot be evaluated: {error}")
            except TooCostlyError:
                told = f"visits more than {LIMIT} nodes: name the path, fewer `//` and no nested tests"
                return {}, ("resource-denied", f"the XPath expression {told}")
            finally:
                release(top)


@dataclass(frozen=True, slots=True)
class _At:
    """One step of a schema path; one of the alternatives `tests` holds in every instance that is meant."""

    node: Node
    tests: tuple[Match, ...] = ((),)


_Trail = tuple[_At, ...]


class _TooWideError(Exception):
    """Working out what is read would itself take long."""


class _Plan:
    """Follows an expression over the schema instead of the data."""

    def __init__(self, schema: Schema, scope: Scope) -> None:
        self._schema = schema
        self._scope = scope
        self._needed: dict[_Trail, None] = {}
        self._exact = True
        self._left = TRAILS

    def made(self, expression: Expression) -> tuple[Selection | None, bool]:
        """The selection to read, and whether it is the answer."""
        operands = expression.operands if isinstance(expression, Operation) else (expression,)
        union = not isinstance(expression, Operation) or expression.operator == "|"
        self._exact = union and all(isinstance(one, Path) for one in operands)
        try:
            self._need(self._visit(expression, [()]))
        except _TooWideError:
            return None, False
        if () in self._needed:
            return None, self._exact
        return tuple(chain.from_iterable(map(_picks, self._needed))), self._exact

    def _need(self, trails: Iterable[_Trail]) -> None:
        self._needed.update(dict.fromkeys(trails))

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _TooWideError

    def _visit(self, expression: Expression, contexts: list[_Trail]) -> list[_Trail]:
        """Where the nodes of an expression may stand; the nodes that values are taken from are noted as needed."""
        match expression:
            case Path(start, steps):
                if start == "root":
                    contexts = [()]
                elif start != "here":
                    assert not isinstance(start, str)
                    self._exact = False
                    contexts = self._visit(start, contexts)
                for step in simplified(steps):
                    contexts = self._step(step, contexts)
                return contexts
            case Filtered(inner, predicates):
                self._exact = False
                found = self._visit(inner, contexts)
                self._need(found)
                for predicate in predicates:
                    self._need(self._visit(predicate, found))
                return found
            case Operation("|", operands):
                return [trail for one in operands for trail in self._visit(one, contexts)]
            case Operation(_, operands) | Call(_, operands):
                if isinstance(expression, Call) and expression.name in ("deref", "current"):
                    raise _TooWideError
                self._need(contexts)
                for one in operands:
                    self._need(self._visit(one, contexts))
            case Negation(inner):
                self._need(self._visit(inner, contexts))
            case Constant():
                pass
        return []

    def _step(self, step: Step, contexts: list[_Trail]) -> list[_Trail]:
        if step.axis not in ("child", "descendant", "descendant-or-self", "self"):
            self._exact = False
            self._need(contexts)
        if step.test.kind != "name" and step.axis != "self":
            self._exact = False  # whether a leaf has text is seen only in the data
        if step.axis in ("following", "preceding"):
            raise _TooWideError
        found: dict[_Trail, None] = {}
        for trail in contexts:
            for one in self._along(trail, step):
                self._spend()
                found[one] = None
        trails = list(found)
        for at, predicate in enumerate(step.predicates):
            tested = self._tested(trails, predicate)
            if tested is None:
                self._exact = False
                self._need(trails)
                for rest in step.predicates[at:]:
                    self._need(self._visit(rest, trails))
                break
            trails = tested
        return trails

    def _along(self, trail: _Trail, step: Step) -> Iterator[_Trail]:
        match step.axis:
            case "child":
                yield from self._children(trail, step.test)
            case "self" if _takes(trail, step.test):
                yield trail
            case "descendant" | "descendant-or-self":
                if step.axis == "descendant-or-self" and _takes(trail, step.test):
                    yield trail
                waiting = [trail]
                while waiting:
                    here = waiting.pop()
                    yield from self._children(here, step.test)
                    for child in self._node(here).children:
                        self._spend()
                        waiting.append((*here, _At(child)))
            case "parent" | "ancestor" | "ancestor-or-self":
                yield trail  # the text of a leaf has the leaf for a parent
                for length in range(len(trail)):
                    yield trail[:length]
            case "following-sibling" | "preceding-sibling" if trail:
                yield from self._children(trail[:-1], step.test)

    def _node(self, trail: _Trail) -> Node:
        return trail[-1].node if trail else self._schema.root

    def _children(self, trail: _Trail, test: Test) -> Iterator[_Trail]:
        node = self._node(trail)
        if not node.children and trail and test.kind in ("text", "node"):
            yield trail
        for child in node.children:
            if test.kind == "node" or _named(child, test):
                yield (*trail, _At(child))

    def _tested(self, trails: list[_Trail], predicate: Expression) -> list[_Trail] | None:
        """The trails with the predicate's test in their last step; None where it is none of leaves with literals."""
        found: list[_Trail] = []
        for trail in trails:
            tests = self._alternatives(predicate, trail[-1].node) if trail else None
            if tests is None:
                return None
            combined = tuple((*one, *other) for one, other in product(trail[-1].tests, tests))
            if len(combined) > PARTS:
                return None
            if combined:
                found.append((*trail[:-1], _At(trail[-1].node, combined)))
        return found

    def _alternatives(self, predicate: Expression, node: Node) -> tuple[Match, ...] | None:
        """A predicate as alternatives of leaves that all have a value."""
        if not isinstance(predicate, Operation):
            return None
        match predicate.operator:
            case "or":
                found = [self._alternatives(one, node) for one in predicate.operands]
                if any(one is None for one in found):
                    return None
                return tuple(match for one in found for match in one or ())
            case "and":
                combined: tuple[Match, ...] = ((),)
                for one in predicate.operands:
                    more = self._alternatives(one, node)
                    if more is None or len(combined) * len(more) > PARTS:
                        return None
                    combined = tuple((*left, *right) for left, right in product(combined, more))
                return combined
            case "=":
                left, right = predicate.operands
                if isinstance(left, Constant):
                    left, right = right, left
                if (
                    isinstance(left, Path)
                    and left.start == "here"
                    and len(left.steps) == 1
                    and isinstance(right, Constant)
                ):
                    return self._equal(left.steps[0], right.value, node)
        return None

    def _equal(self, step: Step, literal: str | float, node: Node) -> tuple[Match, ...] | None:
        if step.predicates:
            return None
        if step == Step("self", Test("node")) and node.kind == "leaf-list":
            leaves = [node]
        elif step.axis == "child" and step.test.kind == "name" and step.test.name is not None:
            leaves = [child for child in node.named(step.test.name) if _named(child, step.test)]
        else:
            return None
        found: list[Match] = []
        for leaf in leaves:
            values = self._values(leaf, literal)
            if values is None:
                return None
            found += [((leaf, value),) for value in values]
        return tuple(found)

    def _values(self, leaf: Node, literal: str | float) -> list[Any] | None:
        """The canonical values of a leaf whose text is the literal; None where that is not known beforehand."""
        kind = leaf.type
        while isinstance(kind, LeafRef):
            kind = kind.target
        if kind is None or leaf.kind not in ("leaf", "leaf-list"):
            return None
        if isinstance(literal, float):
            if not isinstance(kind, Integer) or abs(literal) > 2**53:
                return None
            if not literal.is_integer():
                return []
            literal = str(int(literal))
        prefixes: list[dict[str | None, str]] = [{}]
        match kind.base:
            case "string" | "enumeration":
                return [literal]
            case "union" | "instance-identifier" | "empty":
                return None
            case "identityref":
                names = kind.names
                own: dict[str | None, str] = {
                    prefix: names.namespaces[module] for module, prefix in names.prefixes.items()
                }
                given: dict[str | None, str] = {
                    prefix: names.namespaces.get(module, "") for prefix, module in self._scope.prefixes.items()
                }
                prefixes = [own, given] if ":" in literal else []
        found: list[Any] = []
        for known in prefixes:
            try:
                value = kind.from_xml(literal, known)
            except InvalidValue:
                continue
            if value not in found and (kind.base == "identityref" or kind.to_text(value) == literal):
                found.append(value)
        return found


def _named(node: Node, test: Test) -> bool:
    return test.kind == "name" and test.name in (None, node.name) and test.module in (None, node.module)


def _takes(trail: _Trail, test: Test) -> bool:
    return test.kind == "node" or bool(trail and _named(trail[-1].node, test))


def _picks(trail: _Trail) -> Selection:
    below: Selection | None = None
    for at in reversed(trail):
        below = tuple(Pick(at.node, match, below, silent=True) for match in at.tests)
    return below or ()


class _Kept:
    """What is kept of an item: all of it (`whole`), or the children that are noted here."""

    __slots__ = ("groups", "whole")

    def __init__(self) -> None:
        self.whole = False
        self.groups: dict[int, tuple[Group, dict[int, Item]]] = {}


def _cut(items: Iterable[Item], top: Item, depth: int | None) -> Tree:
    """The selected items with their ancestors and the keys of these."""
    kept: dict[int, _Kept] = {id(top): _Kept()}
    for item in items:
        chosen = item.group.parent if item.text and item.group is not None else item
        _keep(chosen, kept)
        if depth is None or not chosen.branch:
            kept[id(chosen)].whole = True
        else:
            _keep_levels(chosen, depth - 1 if chosen is not top else depth, kept)
    if kept[id(top)].whole:
        whole: Tree = top.value
        return whole
    return _built(top, kept)


def _keep(item: Item, kept: dict[int, _Kept]) -> None:
    """Note an item in its parent, and so up to the root."""
    if id(item) in kept or item.group is None:
        return
    kept[id(item)] = _Kept()
    item.cost.spend()
    above = item.group.parent
    _keep(above, kept)
    kept[id(above)].groups.setdefault(item.group.index, (item.group, {}))[1][item.index] = item


def _keep_levels(item: Item, levels: int, kept: dict[int, _Kept]) -> None:
    if levels < 1 or not item.branch:
        return
    for child in item.children():
        _keep(child, kept)
        _keep_levels(child, levels - 1, kept)


def _built(item: Item, kept: dict[int, _Kept]) -> Tree:
    tree: Tree = {group.node.member: value for group, value in item.key_values()}
    for _, (group, chosen) in sorted(kept[id(item)].groups.items()):
        if group.node in item.node.key_nodes:
            continue
        children = [child for _, child in sorted(chosen.items())]
        match group.node.kind:
            case "list":
                entries = [_value(child, kept) for child in children]
                tree[group.node.member] = _rows(group, entries) if group.stored else entries
            case "leaf-list":
                tree[group.node.member] = [child.value for child in children]
            case _:
                tree[group.node.member] = _value(children[0], kept)
    return tree


def _value(item: Item, kept: dict[int, _Kept]) -> Any:
    if kept[id(item)].whole or not item.branch:
        return item.value
    tree = _built(item, kept)
    if isinstance(item.value, Row | Part):
        marked = item.group.marked if item.group is not None else None
        return Part(tree, item.value.mark if marked is not None and marked in tree else None)
    return tree


def _rows(group: Group, entries: list[Any]) -> PickedRows:
    return PickedRows(lambda: iter((entries,)), group.marked)
