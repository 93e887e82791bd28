"""Evaluates XPath 1.0 over the data tree, within a cost that is counted: no expression can hold the agent up.

Node-sets are lists of items in document order; numbers are floats, strings str, booleans bool. No protocol here.
Source: W3C XPath 1.0, RFC 7950 section 10; functions are in xpath_functions.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
import math
import operator
from typing import Final, NamedTuple

from agent.core import xpath_functions as functions
from agent.core.schema import Schema
from agent.core.tree import plain
from agent.core.types import InvalidValue
from agent.core.xpath_functions import Value, boolean, number, string
from agent.core.xpath_items import Cost, Item, concrete, reaches
from agent.core.xpath_parse import (
    REVERSE,
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
)

LIMIT: Final = 600_000
"""What one evaluation may cost (see `Cost`): about a second of one core in the worst mixes that were found."""

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


class _Here(NamedTuple):
    """The context node, its position, and the size of the context (0 where nothing asks for it)."""

    item: Item
    position: int
    size: int


class Evaluation:
    """One expression after another over one tree. `current` is what current() gives: the first context node."""

    def __init__(self, schema: Schema, scope: Scope, top: Item, current: Item | None = None) -> None:
        self.schema = schema
        self.scope = scope
        self.top = top
        self.current: Item = current or top
        self.cost: Cost = top.cost
        # by identity: an expression lives as long as its evaluation, and comparing it costs more than walking a step
        self._steps: dict[int, tuple[Step, ...]] = {}
        self._sized: dict[int, bool] = {}

    def value(self, expression: Expression) -> Value:
        """The expression's value with `current` as context node. Raises XPathError, TooCostlyError."""
        return self._evaluate(expression, _Here(self.current, 1, 1))

    def _evaluate(self, expression: Expression, here: _Here) -> Value:
        self.cost.spend(2)
        match expression:
            case Path():
                return self._path(expression, here)
            case Constant(value):
                return value
            case Operation():
                return self._operation(expression, here)
            case Call(name, arguments):
                if name in ("position", "last"):
                    return float(here.position if name == "position" else here.size)
                values = [self._evaluate(argument, here) for argument in arguments]
                return functions.call(name, values, here.item, self)
            case Filtered(inner, predicates):
                found = self._nodes(self._evaluate(inner, here))
                return list(self._filtered(found, predicates))
            case Negation(inner):
                return -number(self._evaluate(inner, here))

    @staticmethod
    def _nodes(value: Value) -> list[Item]:
        if not isinstance(value, list):
            raise XPathError("a location path goes on only from nodes, not from a string, number or boolean")
        return value

    def _operation(self, expression: Operation, here: _Here) -> Value:
        operands = expression.operands
        match expression.operator:
            case "or":
                return any(boolean(self._evaluate(one, here)) for one in operands)
            case "and":
                return all(boolean(self._evaluate(one, here)) for one in operands)
            case "|":
                united = {id(item): item for one in operands for item in self._nodes(self._evaluate(one, here))}
                return self._sorted(united.values())
            case "=" | "!=" | "<" | "<=" | ">" | ">=" as sign:
                left, right = (self._evaluate(one, here) for one in operands)
                return self._compare(sign, left, right)
            case sign:
                first, *rest = (number(self._evaluate(one, here)) for one in operands)
                for other in rest:
                    first = _ARITHMETIC[sign](first, other)
                return first

    def _sorted(self, items: Iterable[Item]) -> list[Item]:
        found = list(items)
        self.cost.spend(len(found))
        if len(found) > 1:
            found.sort(key=Item.order)
        return found

    def _compare(self, sign: str, left: Value, right: Value) -> bool:
        """W3C XPath 1.0 section 3.4; the cost is that of the values, not of their pairs."""
        if isinstance(right, list) and not isinstance(left, list):
            left, right, sign = right, left, _MIRRORED.get(sign, sign)
        if isinstance(left, list) and not isinstance(right, bool):
            if sign in _COMPARE:
                return self._compare_sets(sign, left, right)
            if isinstance(right, list):
                texts, others = self._texts(left), self._texts(right)
                if sign == "=":
                    return bool(texts & others)
                return bool(texts and others) and (len(texts) > 1 or texts != others)
            if isinstance(right, float):
                return any((number(self._text(item)) == right) == (sign == "=") for item in left)
            return any(self._is(item, str(right)) == (sign == "=") for item in left)
        if isinstance(left, list):
            left = boolean(left)
        if sign in _COMPARE:
            return _COMPARE[sign](number(left), number(right))
        if isinstance(left, bool) or isinstance(right, bool):
            same = boolean(left) == boolean(right)
        elif isinstance(left, float) or isinstance(right, float):
            same = number(left) == number(right)
        else:
            same = string(left) == string(right)
        return same == (sign == "=")

    def _compare_sets(self, sign: str, left: list[Item], right: Value) -> bool:
        values = [value for item in left if not math.isnan(value := number(self._text(item)))]
        others = [number(self._text(item)) for item in right] if isinstance(right, list) else [number(right)]
        others = [value for value in others if not math.isnan(value)]
        if not values or not others:
            return False
        if sign in ("<", "<="):
            return _COMPARE[sign](min(values), max(others))
        return _COMPARE[sign](max(values), min(others))

    def _text(self, item: Item) -> str:
        text = item.string()
        self.cost.spend(1 + len(text) // 64)
        return text

    def _texts(self, items: list[Item]) -> set[str]:
        return {self._text(item) for item in items}

    def _is(self, item: Item, literal: str) -> bool:
        """Whether a node's text is `literal`; an identity may also be written with the prefix that the request uses."""
        text = self._text(item)
        if text == literal:
            return True
        if item.branch or ":" not in literal or ":" not in text:
            return False
        value = plain(item.value)
        kind = concrete(item.node.type, value)
        if kind is None or kind.base not in ("identityref", "instance-identifier"):
            return False
        namespaces = self.schema.names.namespaces
        scope: dict[str | None, str] = {
            prefix: namespaces.get(module, module) for prefix, module in self.scope.prefixes.items()
        }
        try:
            return bool(kind.from_xml(literal, scope) == value)
        except InvalidValue:
            return False

    def _path(self, path: Path, here: _Here) -> list[Item]:
        if path.start == "root":
            items = [self.top]
        elif path.start == "here":
            items = [here.item]
        else:
            assert not isinstance(path.start, str)
            items = self._nodes(self._evaluate(path.start, here))
        # apart: no item lies within another, so that children of the items in order are in order too
        apart = len(items) <= 1
        steps = self._steps.get(id(path))
        if steps is None:
            steps = self._steps[id(path)] = simplified(path.steps)
        for step in steps:
            items = self._step(items, step, apart)
            apart = len(items) <= 1 or (apart and step.axis in ("child", "self"))
            if not items:
                break
        return items

    def _step(self, items: list[Item], step: Step, apart: bool) -> list[Item]:
        if len(items) == 1:
            found = list(self._filtered(self._along(items[0], step), step.predicates))
            if step.axis in REVERSE:
                found.reverse()
            return found
        if apart and step.axis in ("child", "self", "descendant", "descendant-or-self"):
            return [one for item in items for one in self._filtered(self._along(item, step), step.predicates)]
        united: dict[int, Item] = {}
        for item in items:
            for one in self._filtered(self._along(item, step), step.predicates):
                united[id(one)] = one
        return self._sorted(united.values())

    def _along(self, item: Item, step: Step) -> Iterator[Item]:
        """What an axis gives from one node and its test lets pass, nearest first."""
        test = step.test
        if step.axis == "child" and test.kind == "name":
            if item.branch:
                for group in item.matching(test):
                    yield from group.items()
            return
        for one in self._axis(item, step.axis, test):
            self.cost.spend()
            if _passes(one, test):
                yield one

    def _axis(self, item: Item, axis: str, test: Test) -> Iterator[Item]:
        match axis:
            case "child":
                yield from item.children()
            case "self":
                yield item
            case "parent":
                if item.parent is not None:
                    yield item.parent
            case "ancestor" | "ancestor-or-self":
                above = item if axis == "ancestor-or-self" else item.parent
                while above is not None:
                    yield above
                    above = above.parent
            case "descendant" | "descendant-or-self":
                if axis == "descendant-or-self":
                    yield item
                yield from _below(item, test)
            case "following-sibling" | "preceding-sibling":
                yield from self._siblings(item, axis == "following-sibling")
            case "following" | "preceding":
                onward = axis == "following"
                above = item
                while above is not None:
                    for sibling in self._siblings(above, onward):
                        subtree = [sibling, *_below(sibling, test)]
                        yield from subtree if onward else reversed(subtree)
                    above = above.parent

    def _siblings(self, item: Item, onward: bool) -> Iterator[Item]:
        if item.parent is None or item.text:
            return
        if onward:
            passed = False
            for one in item.parent.children():
                if passed:
                    yield one
                elif one is item:
                    passed = True
                else:
                    self.cost.spend()
            return
        before = []
        for one in item.parent.children():
            if one is item:
                break
            self.cost.spend()
            before.append(one)
        yield from reversed(before)

    def _filtered(self, items: Iterable[Item], predicates: tuple[Expression, ...]) -> Iterable[Item]:
        for predicate in predicates:
            items = self._passing(items, predicate)
        return items

    def _passing(self, items: Iterable[Item], predicate: Expression) -> Iterator[Item]:
        if isinstance(predicate, Constant) and isinstance(predicate.value, float):
            wanted = predicate.value
            if wanted >= 1 and wanted.is_integer():
                yield from islice(items, int(wanted) - 1, int(wanted))
            return
        size = 0
        sized = self._sized.get(id(predicate))
        if sized is None:
            sized = self._sized[id(predicate)] = mentions(predicate, "last")
        if sized:
            items = list(items)
            size = len(items)
        for position, item in enumerate(items, 1):
            value = self._evaluate(predicate, _Here(item, position, size))
            if value == position if isinstance(value, float) else boolean(value):
                yield item


def _below(item: Item, test: Test) -> Iterator[Item]:
    """Descendants in document order; subtrees in which the schema has no element of the test's name are left out."""
    named = test.kind == "name"
    waiting = [item.children()]
    while waiting:
        one = next(waiting[-1], None)
        if one is None:
            waiting.pop()
            continue
        yield one
        if one.text or (named and not reaches(one.node, test.module, test.name)):
            continue
        waiting.append(one.children())


def _passes(item: Item, test: Test) -> bool:
    match test.kind:
        case "node":
            return True
        case "text":
            return item.text
        case "none":
            return False
    if item.text or item.node.kind == "root":
        return False
    return (test.name is None or item.node.name == test.name) and test.module in (None, item.node.module)


def simplified(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """`//x` as one walk over the descendants, where no predicate counts positions among siblings."""
    result: list[Step] = []
    for step in steps:
        last = result[-1] if result else None
        if (
            last is not None
            and last == Step("descendant-or-self", Test("node"))
            and step.axis == "child"
            and not any(map(positional, step.predicates))
        ):
            result[-1] = Step("descendant", step.test, step.predicates)
        else:
            result.append(step)
    return tuple(result)


def parts(expression: Expression) -> Iterator[Expression]:
    """An expression and all expressions within it."""
    yield expression
    within: tuple[Expression, ...] = ()
    match expression:
        case Path(start, steps):
            within = tuple(predicate for step in steps for predicate in step.predicates)
            if not isinstance(start, str):
                within = (start, *within)
        case Filtered(inner, predicates):
            within = (inner, *predicates)
        case Call(_, arguments):
            within = arguments
        case Operation(_, operands):
            within = operands
        case Negation(inner):
            within = (inner,)
    for one in within:
        yield from parts(one)


def mentions(expression: Expression, name: str) -> bool:
    """Whether a function is called anywhere in an expression."""
    return any(isinstance(part, Call) and part.name == name for part in parts(expression))


def positional(predicate: Expression) -> bool:
    """Whether a predicate may depend on where a node stands among those that are tested."""
    if mentions(predicate, "position") or mentions(predicate, "last"):
        return True
    match predicate:
        case Path():
            return False
        case Operation(sign, _):
            return sign in _ARITHMETIC
        case Call(name, _):
            return name in functions.NUMERIC
        case Constant(value):
            return isinstance(value, float)
        case Filtered(inner, _):
            return positional(inner)
        case Negation():
            return True


def _divide(left: float, right: float) -> float:
    if right == 0:
        if left == 0 or math.isnan(left):
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1, right)
    return left / right


def _modulo(left: float, right: float) -> float:
    if right == 0 or math.isinf(left) or math.isnan(left) or math.isnan(right):
        return math.nan
    return math.fmod(left, right)


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "div": _divide,
    "mod": _modulo,
}
