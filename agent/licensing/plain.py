"""Frozen values to JSON and back by their type hints, strictly; knows no event, no state and no file.

Understands int, str, bool, bytes (base64), None unions, Literal, tuple, dict with str keys, NamedTuple and frozen
dataclasses. Fields with a default may be missing, so that an older writing stays readable; unknown ones are refused.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_SAME = frozenset({bool, int, str})


def to_plain(value: Any) -> Any:
    """The JSON value of a frozen value."""
    if value is None or type(value) in _SAME:
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    cls: type = type(value)
    plain = {}
    for name in _shape(cls)[0]:
        member = getattr(value, name)
        plain[name] = member if type(member) in _SAME else to_plain(member)
    return plain


def from_plain(hint: Any, value: Any) -> Any:
    """The value of type `hint` that `to_plain` wrote. Raises ValueError that names the member and what is expected."""
    return _reader(hint)(value)


@cache
def _shape(cls: type) -> tuple[dict[str, Any], frozenset[str]]:
    """The dataclass's fields with their type hints, and those that must be present."""
    if not is_dataclass(cls):
        raise TypeError(f"{cls.__name__} has no JSON form")
    hints = get_type_hints(cls)
    wanted = {field.name: hints[field.name] for field in fields(cls)}
    needed = {field.name for field in fields(cls) if field.default is MISSING and field.default_factory is MISSING}
    return wanted, frozenset(needed)


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _optional(inner)
    if origin is Literal:
        return lambda value: value if value in inner else _fail(f"one of {', '.join(inner)}", value)
    if origin is tuple:
        return _tuple(inner)
    if origin is dict:
        return _dict(inner[1])
    if hint is bytes:
        return _bytes
    if isinstance(hint, type) and issubclass(hint, tuple):
        members = _tuple(tuple(get_type_hints(hint).values()))
        return lambda value: hint(*members(value))
    if is_dataclass(hint) and isinstance(hint, type):
        return _dataclass(hint)
    return lambda value: value if type(value) is hint else _fail(hint.__name__, value)


def _fail(expected: str, value: Any) -> Any:
    raise ValueError(f"expected {expected}, found {value!r:.80}")


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        _fail("base64", value)
    return base64.b64decode(value, validate=True)


def _optional(inner: tuple[Any, ...]) -> Callable[[Any], Any]:
    (other,) = (each for each in inner if each is not NoneType)
    read = _reader(other)
    return lambda value: None if value is None else read(value)


def _tuple(inner: tuple[Any, ...]) -> Callable[[Any], tuple[Any, ...]]:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            _fail("an array", value)
        if inner[-1] is Ellipsis:
            each = _reader(inner[0])
            return tuple([each(item) for item in value])
        if len(value) != len(inner):
            _fail(f"an array of {len(inner)}", value)
        return tuple([_reader(hint)(item) for hint, item in zip(inner, value, strict=True)])

    return read


def _dict(hint: Any) -> Callable[[Any], dict[str, Any]]:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            _fail("an object", value)
        each = _reader(hint)
        return {key: each(item) for key, item in value.items()}

    return read


def _dataclass(cls: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        hints, needed = _shape(cls)
        if not isinstance(value, dict) or not needed <= value.keys() <= hints.keys():
            _fail(f"an object with the members {', '.join(sorted(needed))} of {cls.__name__}", value)
        members = {}
        for name, item in value.items():
            try:
                members[name] = _reader(hints[name])(item)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return cls(**members)

    return read
