"""XPath 1.0 text to a syntax tree whose names are resolved to modules. Nothing is evaluated here.

Every expression is bounded (length, nesting, number of parts), since clients send them. Source: W3C XPath 1.0
sections 2 and 3, RFC 7950 section 6.4; what a name without a prefix means is for the caller to say (`Scope`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import re
from typing import Final, Literal, NamedTuple

LENGTH: Final = 16_384
"""Characters of one expression."""

NESTING: Final = 32
"""Parentheses, predicates and function arguments within one another."""

PARTS: Final = 1_000
"""Steps, operators, literals and calls of one expression."""

Axis = Literal[
    "ancestor",
    "ancestor-or-self",
    "attribute",
    "child",
    "descendant",
    "descendant-or-self",
    "following",
    "following-sibling",
    "namespace",
    "parent",
    "preceding",
    "preceding-sibling",
    "self",
]
_AXES: Final[dict[str, Axis]] = {
    "ancestor": "ancestor",
    "ancestor-or-self": "ancestor-or-self",
    "attribute": "attribute",
    "child": "child",
    "descendant": "descendant",
    "descendant-or-self": "descendant-or-self",
    "following": "following",
    "following-sibling": "following-sibling",
    "namespace": "namespace",
    "parent": "parent",
    "preceding": "preceding",
    "preceding-sibling": "preceding-sibling",
    "self": "self",
}
REVERSE: Final = frozenset({"ancestor", "ancestor-or-self", "preceding", "preceding-sibling"})

ARGUMENTS: Final[dict[str, tuple[int, int]]] = {
    "bit-is-set": (2, 2),
    "boolean": (1, 1),
    "ceiling": (1, 1),
    "concat": (2, PARTS),
    "contains": (2, 2),
    "count": (1, 1),
    "current": (0, 0),
    "deref": (1, 1),
    "derived-from": (2, 2),
    "derived-from-or-self": (2, 2),
    "enum-value": (1, 1),
    "false": (0, 0),
    "floor": (1, 1),
    "id": (1, 1),
    "lang": (1, 1),
    "last": (0, 0),
    "local-name": (0, 1),
    "name": (0, 1),
    "namespace-uri": (0, 1),
    "normalize-space": (0, 1),
    "not": (1, 1),
    "number": (0, 1),
    "position": (0, 0),
    "re-match": (2, 2),
    "round": (1, 1),
    "starts-with": (2, 2),
    "string": (0, 1),
    "string-length": (0, 1),
    "substring": (2, 3),
    "substring-after": (2, 2),
    "substring-before": (2, 2),
    "sum": (1, 1),
    "translate": (3, 3),
    "true": (0, 0),
}
"""The functions there are, with the least and the greatest number of arguments."""


class XPathError(Exception):
    """An expression that cannot be used; the message says why and where."""


class PrefixError(XPathError):
    """A prefix that is declared nowhere."""


class TooLargeError(XPathError):
    """An expression beyond the limits of this module."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean: `prefixes` maps a prefix to a module's name (or to the namespace of no module at all).

    `bare` is the module of names without a prefix; None lets them stand for the name in any module.
    """

    prefixes: Mapping[str, str]
    bare: str | None = None


@dataclass(frozen=True, slots=True)
class Test:
    """A node test: a name (None: any), of a module (None: any), or a kind of node."""

    kind: Literal["name", "node", "text", "none"]
    module: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a location path."""

    axis: Axis
    test: Test
    predicates: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Path:
    """A location path: from the root, from the context node (`start` "here"), or from what an expression gives."""

    start: Expression | Literal["root", "here"]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Filtered:
    """A primary expression with predicates."""

    of: Expression
    predicates: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the core library or of RFC 7950 section 10."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator over two or more operands, taken from the left: or and = != < <= > >= + - * div mod |."""

    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """Unary minus."""

    of: Expression


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal or a number."""

    value: str | float


Expression = Path | Filtered | Call | Operation | Negation | Constant


class _Token(NamedTuple):
    kind: Literal["number", "literal", "name", "symbol", "operator", "end"]
    text: str
    at: int


_NAME = r"[A-Za-z_][\w.\-]*"
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?|\.\d+)"
    r"|(?P<literal>\"[^\"]*\"|'[^']*')"
    rf"|(?P<name>{_NAME}(?::(?!:)(?:{_NAME}|\*))?)"
    r"|(?P<symbol>::|\.\.|//|!=|<=|>=|[()\[\].@,/|+\-=<>*$]))"
)
_BEFORE_NAMES = frozenset({"@", "::", "(", "[", ",", "/", "//", "|", "+", "-", "=", "!=", "<", "<=", ">", ">=", "$"})
_WORDS = frozenset({"and", "or", "mod", "div"})
_NODE_TYPES: Final[dict[str, Literal["node", "text", "none"]]] = {
    "node": "node",
    "text": "text",
    "comment": "none",
    "processing-instruction": "none",
}
_LEVELS = (("or",), ("and",), ("=", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "div", "mod"))
_ANY = Test("node")
_DESCEND = Step("descendant-or-self", _ANY)


def parse(text: str, scope: Scope) -> Expression:
    """The syntax tree of a whole expression. Raises XPathError, PrefixError, TooLargeError."""
    if len(text) > LENGTH:
        raise TooLargeError(f"the expression has {len(text)} characters; at most {LENGTH} are taken")
    return _Parser(text, scope).whole()


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while True:
        found = _TOKEN.match(text, position)
        if found is None:
            if text[position:].strip():
                raise XPathError(f"{text[position:].strip()[:20]!r} at character {position + 1} is no part of XPath")
            tokens.append(_Token("end", "", len(text)))
            return tokens
        position = found.end()
        kind = str(found.lastgroup)
        word = found[kind]
        # XPath 1.0 section 3.7: after something that can end an operand, * and a bare name are operators
        after_operand = bool(tokens) and tokens[-1].kind != "operator" and tokens[-1].text not in _BEFORE_NAMES
        if kind == "name" and after_operand and ":" not in word:
            if word not in _WORDS:
                raise XPathError(f"{word!r} at character {found.start(kind) + 1} stands where an operator must")
            tokens.append(_Token("operator", word, found.start(kind)))
        elif kind == "symbol" and word == "*" and after_operand:
            tokens.append(_Token("operator", word, found.start(kind)))
        else:
            tokens.append(_Token(kind, word, found.start(kind)))  # type: ignore[arg-type]


class _Parser:
    """Recursive descent; `_nested` bounds the recursion and `_part` the size."""

    def __init__(self, text: str, scope: Scope) -> None:
        self._scope = scope
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0
        self._parts = 0

    def whole(self) -> Expression:
        expression = self._level(0)
        if self._token.kind != "end":
            raise self._unexpected()
        return expression

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _unexpected(self) -> XPathError:
        token = self._token
        if token.kind == "end":
            return XPathError("the expression ends too early")
        return XPathError(f"{token.text!r} at character {token.at + 1} is not expected there")

    def _take(self, text: str) -> bool:
        token = self._token
        if token.kind in ("symbol", "operator") and token.text == text:
            self._next += 1
            return True
        return False

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected()

    def _part(self) -> None:
        self._parts += 1
        if self._parts > PARTS:
            raise TooLargeError(f"the expression has more than {PARTS} parts")

    def _nested(self) -> Expression:
        self._depth += 1
        if self._depth > NESTING:
            raise TooLargeError(f"the expression is nested more than {NESTING} deep")
        expression = self._level(0)
        self._depth -= 1
        return expression

    def _level(self, level: int) -> Expression:
        """Binary operators from the loosest to the tightest; a run of one operator becomes one operation."""
        if level == len(_LEVELS):
            return self._negated()
        left = self._level(level + 1)
        chain = 0
        while True:
            operator = next((word for word in _LEVELS[level] if self._take(word)), None)
            if operator is None:
                return left
            self._part()
            right = self._level(level + 1)
            if isinstance(left, Operation) and left.operator == operator and chain and operator in ("or", "and", "+"):
                left = Operation(operator, (*left.operands, right))
            else:
                chain += 1
                if chain > NESTING:
                    raise TooLargeError(f"more than {NESTING} changing operators of one rank stand in a row")
                left = Operation(operator, (left, right))

    def _negated(self) -> Expression:
        signs = 0
        while self._take("-"):
            signs += 1
            self._part()
        expression = self._union()
        if not signs:
            return expression
        return Negation(expression) if signs % 2 else Negation(Negation(expression))

    def _union(self) -> Expression:
        operands = [self._path()]
        while self._take("|"):
            self._part()
            operands.append(self._path())
        return operands[0] if len(operands) == 1 else Operation("|", tuple(operands))

    def _path(self) -> Expression:
        self._part()
        token = self._token
        if self._take("/"):
            if self._starts_step():
                return Path("root", tuple(self._steps()))
            return Path("root", ())
        if self._take("//"):
            return Path("root", (_DESCEND, *self._steps()))
        if not self._starts_primary(token):
            return Path("here", tuple(self._steps()))
        primary = self._primary()
        predicates = self._predicates()
        if predicates:
            primary = Filtered(primary, predicates)
        if self._take("/"):
            return Path(primary, tuple(self._steps()))
        if self._take("//"):
            return Path(primary, (_DESCEND, *self._steps()))
        return primary

    def _starts_step(self) -> bool:
        token = self._token
        return token.kind == "name" or (token.kind == "symbol" and token.text in (".", "..", "@", "*"))

    def _starts_primary(self, token: _Token) -> bool:
        if token.kind in ("literal", "number") or (token.kind == "symbol" and token.text in ("(", "$")):
            return True
        following = self._tokens[min(self._next + 1, len(self._tokens) - 1)]
        return token.kind == "name" and following.text == "(" and token.text not in _NODE_TYPES

    def _primary(self) -> Expression:
        token = self._token
        self._next += 1
        if token.kind == "literal":
            return Constant(token.text[1:-1])
        if token.kind == "number":
            return Constant(float(token.text))
        if token.text == "(":
            expression = self._nested()
            self._need(")")
            return expression
        if token.text == "$":
            raise XPathError("there are no variables here")
        known = ARGUMENTS.get(token.text)
        if known is None:
            raise XPathError(f"there is no function {token.text!r}")
        self._need("(")
        arguments: list[Expression] = []
        if not self._take(")"):
            arguments.append(self._nested())
            while self._take(","):
                arguments.append(self._nested())
            self._need(")")
        least, most = known
        if not least <= len(arguments) <= most:
            raise XPathError(f"{token.text}() does not take {len(arguments)} arguments")
        return Call(token.text, tuple(arguments))

    def _steps(self) -> list[Step]:
        steps = [self._step()]
        while True:
            if self._take("//"):
                steps += [_DESCEND, self._step()]
            elif self._take("/"):
                steps.append(self._step())
            else:
                return steps

    def _step(self) -> Step:
        self._part()
        if self._take("."):
            return Step("self", _ANY)
        if self._take(".."):
            return Step("parent", _ANY)
        axis: Axis = "child"
        if self._take("@"):
            axis = "attribute"
        elif self._token.kind == "name" and self._tokens[self._next + 1].text == "::":
            named = _AXES.get(self._token.text)
            if named is None:
                raise XPathError(f"there is no axis {self._token.text!r}")
            axis = named
            self._next += 2
        return Step(axis, self._test(), self._predicates())

    def _test(self) -> Test:
        if self._take("*"):
            return Test("name")
        token = self._token
        if token.kind != "name":
            raise self._unexpected()
        self._next += 1
        if token.text in _NODE_TYPES and self._take("("):
            if token.text == "processing-instruction" and self._token.kind == "literal":
                self._next += 1
            self._need(")")
            return Test(_NODE_TYPES[token.text])
        prefix, colon, name = token.text.rpartition(":")
        if not colon:
            return Test("name", self._scope.bare, name)
        module = self._scope.prefixes.get(prefix)
        if module is None:
            raise PrefixError(f"prefix {prefix!r} is not declared")
        return Test("name", module, None if name == "*" else name)

    def _predicates(self) -> tuple[Expression, ...]:
        predicates: list[Expression] = []
        while self._take("["):
            predicates.append(self._nested())
            self._need("]")
        return tuple(predicates)
