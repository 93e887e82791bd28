"""The functions of XPath 1.0 (section 4) and of YANG 1.1 (RFC 7950 section 10), and XPath's conversions."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
import math
import re
from typing import TYPE_CHECKING, Final

import regex

from agent.core.patterns import PatternError, translated
from agent.core.reftypes import LeafRef, Union
from agent.core.tree import plain
from agent.core.types import Bits, Enumeration, Type
from agent.core.xpath_items import Item, concrete
from agent.core.xpath_parse import Expression, Path, Scope, XPathError, parse

if TYPE_CHECKING:
    from agent.core.xpath import Evaluation

Value = list[Item] | str | float | bool

PATTERN_LENGTH: Final = 256
"""Characters of a pattern that a request may have matched."""

PATTERN_TIME: Final = 0.05
"""Seconds that one match of such a pattern may take: patterns can be written that take for ever."""

NUMERIC: Final = frozenset(
    {"ceiling", "count", "enum-value", "floor", "last", "number", "position", "round", "string-length", "sum"}
)
"""Functions that give a number."""

_SPACE = " \t\r\n"
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)")


def string(value: Value) -> str:
    """string() of any value."""
    if isinstance(value, list):
        return _first(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number_text(value)
    return value


def _first(items: list[Item]) -> str:
    if not items:
        return ""
    text = items[0].string()
    items[0].cost.spend(1 + len(text) // 64)
    return text


def _number_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value.is_integer():
        return str(int(value))
    return format(Decimal(repr(value)), "f")


def number(value: Value) -> float:
    """number() of any value."""
    if isinstance(value, bool):
        return 1.0 if value else 0.0
    if isinstance(value, float):
        return value
    text = string(value).strip(_SPACE)
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def boolean(value: Value) -> bool:
    """boolean() of any value."""
    if isinstance(value, float):
        return value != 0 and not math.isnan(value)
    return bool(value)


def call(name: str, values: list[Value], here: Item, evaluation: Evaluation) -> Value:
    """Apply one function (other than position and last). Raises XPathError."""
    pure = _PURE.get(name)
    if pure is not None:
        texts = [string(value) for value in values]
        evaluation.cost.spend((10 if name == "re-match" else 1) + sum(map(len, texts)) // 64)
        return pure(*texts)
    if name in _ON_STRING:
        text = string(values[0] if values else [here])
        evaluation.cost.spend(1 + len(text) // 64)
        return _ON_STRING[name](text)
    if name in _ON_NUMBER:
        return _ON_NUMBER[name](number(values[0]))
    if name in _ON_NODES:
        if not isinstance(values[0], list):
            raise XPathError(f"{name}() takes nodes, not a string, number or boolean")
        return _ON_NODES[name](values[0], string(values[1]) if len(values) > 1 else "", evaluation)
    if name in _NAMES:
        nodes = values[0] if values else [here]
        if not isinstance(nodes, list):
            raise XPathError(f"{name}() takes nodes, not a string, number or boolean")
        return _NAMES[name](nodes)
    return _PLAIN[name](values, here, evaluation)


def _substring(values: list[Value], _here: Item, evaluation: Evaluation) -> str:
    text = string(values[0])
    evaluation.cost.spend(1 + len(text) // 64)
    first = _rounded(number(values[1]))
    end = math.inf if len(values) < 3 else first + _rounded(number(values[2]))
    if math.isnan(first) or math.isnan(end):
        return ""
    low = max(first, 1.0)
    if low >= end or low > len(text):
        return ""
    return text[int(low) - 1 : None if end > len(text) else int(end) - 1]


def _rounded(value: float) -> float:
    return value if math.isnan(value) or math.isinf(value) else float(math.floor(value + 0.5))


def _whole(rounding: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: value if math.isnan(value) or math.isinf(value) else float(rounding(value))


def _translate(text: str, old: str, new: str) -> str:
    table: dict[int, str | None] = {}
    for at, character in enumerate(old):
        table.setdefault(ord(character), new[at] if at < len(new) else None)
    return text.translate(table)


_PURE: dict[str, Callable[..., Value]] = {
    "concat": lambda *texts: "".join(texts),
    "contains": lambda text, part: part in text,
    "starts-with": lambda text, part: text.startswith(part),
    "substring-after": lambda text, part: text.partition(part)[2] if part else text,
    "substring-before": lambda text, part: text.partition(part)[0] if part and part in text else "",
    "translate": _translate,
    "re-match": lambda text, pattern: _matches(text, pattern),
}
_ON_STRING: dict[str, Callable[[str], Value]] = {
    "string": lambda text: text,
    "string-length": lambda text: float(len(text)),
    "normalize-space": lambda text: " ".join(word for word in re.split(f"[{_SPACE}]+", text) if word),
}
_ON_NUMBER: dict[str, Callable[[float], Value]] = {
    "ceiling": _whole(math.ceil),
    "floor": _whole(math.floor),
    "round": _rounded,
}


def _sum(items: list[Item], _: str, evaluation: Evaluation) -> float:
    evaluation.cost.spend(len(items))
    return float(sum(number(item.string()) for item in items))


def _name(items: list[Item], prefixed: bool) -> str:
    if not items or items[0].text or items[0].node.kind == "root":
        return ""
    node = items[0].node
    return f"{node.schema.names.prefixes[node.module]}:{node.name}" if prefixed else node.name


def _namespace(items: list[Item]) -> str:
    return items[0].node.namespace if _name(items, False) else ""


_NAMES: dict[str, Callable[[list[Item]], Value]] = {
    "local-name": lambda items: _name(items, False),
    "name": lambda items: _name(items, True),
    "namespace-uri": _namespace,
}
_PLAIN: dict[str, Callable[[list[Value], Item, Evaluation], Value]] = {
    "boolean": lambda values, _here, _: boolean(values[0]),
    "current": lambda _values, _here, evaluation: [evaluation.current],
    "false": lambda _values, _here, _: False,
    "id": lambda _values, _here, _: [],
    "lang": lambda _values, _here, _: False,
    "number": lambda values, here, _: number(values[0] if values else [here]),
    "not": lambda values, _here, _: not boolean(values[0]),
    "substring": _substring,
    "true": lambda _values, _here, _: True,
}


def _matches(text: str, pattern: str) -> bool:
    if len(pattern) > PATTERN_LENGTH:
        raise XPathError(f"re-match() takes patterns of at most {PATTERN_LENGTH} characters")
    try:
        matcher = regex.compile(translated(pattern))
        return matcher.fullmatch(text, timeout=PATTERN_TIME, concurrent=True) is not None
    except (PatternError, regex.error, OverflowError, RecursionError) as error:
        raise XPathError(f"re-match(): {error}") from None
    except TimeoutError:
        raise XPathError(
            f"re-match(): matching {pattern!r} takes too long; write it without nested repetitions"
        ) from None


def _kind(items: list[Item]) -> tuple[Type | None, object]:
    """Type and value of the first node, where it is a leaf."""
    if not items or items[0].branch:
        return None, None
    value = plain(items[0].value)
    return concrete(items[0].node.type, value), value


def _enum_value(items: list[Item], _: str, _evaluation: Evaluation) -> float:
    kind, value = _kind(items)
    return float(kind.values[str(value)]) if isinstance(kind, Enumeration) else math.nan


def _bit_is_set(items: list[Item], bit: str, _evaluation: Evaluation) -> bool:
    kind, value = _kind(items)
    return isinstance(kind, Bits) and bit in str(value).split()


def _identities(text: str, evaluation: Evaluation) -> set[str]:
    """The identities, as module:name, that a qualified name means."""
    prefix, colon, name = text.strip(_SPACE).rpartition(":")
    if colon:
        module = evaluation.scope.prefixes.get(prefix)
        if module is None:
            raise XPathError(f"the prefix of identity {text!r} is not declared")
        return {f"{module}:{name}"}
    if evaluation.scope.bare is not None:
        return {f"{evaluation.scope.bare}:{name}"}
    known = evaluation.schema.names.identities
    return {full for base, derived in known.items() for full in (base, *derived) if full.endswith(f":{name}")}


def _derived(items: list[Item], identity: str, evaluation: Evaluation, *, itself: bool) -> bool:
    known = evaluation.schema.names.identities
    wanted = _identities(identity, evaluation)
    for item in items:
        evaluation.cost.spend()
        kind, value = _kind([item])
        if kind is None or kind.base != "identityref":
            continue
        if (itself and value in wanted) or any(value in known.get(base, ()) for base in wanted):
            return True
    return False


def _deref(items: list[Item], _: str, evaluation: Evaluation) -> list[Item]:
    if not items or items[0].branch:
        return []
    item, kind = items[0], items[0].node.type
    value = plain(item.value)
    if isinstance(kind, Union):
        kind = next((one for one in kind.members if concrete(one, value) is not None), None)
    if isinstance(kind, LeafRef):
        names = evaluation.schema.names
        module = evaluation.schema.modules[kind.module]
        scope = Scope({**{prefix: name for name, prefix in names.prefixes.items()}, **module.imports}, kind.module)
        text = item.string()
        return [one for one in _from(item, parse(kind.path, scope), scope, evaluation) if one.string() == text]
    if kind is not None and kind.base == "instance-identifier":
        scope = Scope({name: name for name in evaluation.schema.modules})
        return _from(item, parse(str(value), scope), scope, evaluation)
    return []


def _from(item: Item, path: Expression, scope: Scope, evaluation: Evaluation) -> list[Item]:
    if not isinstance(path, Path):
        return []
    found = type(evaluation)(evaluation.schema, scope, evaluation.top, item).value(path)
    return found if isinstance(found, list) else []


_ON_NODES: dict[str, Callable[[list[Item], str, Evaluation], Value]] = {
    "bit-is-set": _bit_is_set,
    "count": lambda items, _, _evaluation: float(len(items)),
    "deref": _deref,
    "derived-from": lambda items, name, evaluation: _derived(items, name, evaluation, itself=False),
    "derived-from-or-self": lambda items, name, evaluation: _derived(items, name, evaluation, itself=True),
    "enum-value": _enum_value,
    "sum": _sum,
}
