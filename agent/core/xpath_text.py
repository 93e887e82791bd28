"""A parsed XPath expression as text without prefixes: for places that declare none, such as a leaf of text."""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf

from agent.core.path import quote
from agent.core.xpath_parse import Call, Constant, Expression, Filtered, Negation, Operation, Path, Step, Test


def to_text(expression: Expression, namespaces: Mapping[str, str]) -> str:
    """The expression with names by local-name() and namespace-uri(); `namespaces` are those of the modules by name.

    Equal in meaning but for one thing: prefixes inside literals (of identities) stay as they were given.
    """
    match expression:
        case Path(start, steps):
            walked = "/".join(_step(one, namespaces) for one in steps)
            if start == "root":
                return f"/{walked}"
            return walked if start == "here" else f"({to_text(start, namespaces)})/{walked}"
        case Filtered(inner, predicates):
            return f"({to_text(inner, namespaces)}){_predicates(predicates, namespaces)}"
        case Call(name, arguments):
            return f"{name}({', '.join(to_text(one, namespaces) for one in arguments)})"
        case Operation(operator, operands):
            return f" {operator} ".join(_operand(one, namespaces) for one in operands)
        case Negation(inner):
            return f"-{_operand(inner, namespaces)}"
        case Constant(value):
            return quote(value) if isinstance(value, str) else _number(value)


def _operand(expression: Expression, namespaces: Mapping[str, str]) -> str:
    text = to_text(expression, namespaces)
    # "/" alone would take a name or an asterisk that follows it for its first step
    alone = isinstance(expression, Operation | Negation) or text == "/"
    return f"({text})" if alone else text


def _step(step: Step, namespaces: Mapping[str, str]) -> str:
    axis = "" if step.axis == "child" else f"{step.axis}::"
    return f"{axis}{_test(step.test, namespaces)}{_predicates(step.predicates, namespaces)}"


def _predicates(predicates: tuple[Expression, ...], namespaces: Mapping[str, str]) -> str:
    return "".join(f"[{to_text(one, namespaces)}]" for one in predicates)


def _test(test: Test, namespaces: Mapping[str, str]) -> str:
    if test.kind != "name":
        return "comment()" if test.kind == "none" else f"{test.kind}()"
    named = [] if test.name is None else [f"local-name()={quote(test.name)}"]
    if test.module is not None:
        named.append(f"namespace-uri()={quote(namespaces.get(test.module, test.module))}")
    return f"*[{' and '.join(named)}]" if named else "*"


def _number(value: float) -> str:
    if isinf(value):
        return "(1 div 0)"
    return str(int(value)) if value.is_integer() else f"{value:.340f}".rstrip("0")
