"""Strict, bounded JSON (RFC 8259) in and compact, deterministic JSON out; no document knows its members here.

Stricter than the RFC: no duplicate members, no fractions or exponents, integers within signed 64 bits, no control
characters, lone surrogates, U+FFFE or U+FFFF in strings, no byte order mark: what is left, XML and YANG strings can
carry too, and the other way round, so that no accepted setting can ever keep a report from being sealed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
import json
import re
from typing import Any

from agent.formats.errors import DocumentError, Malformed, TooLarge

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 16
MAX_MEMBERS = 400_000
"""Braces, brackets and commas: what a text costs in memory is known before it is parsed."""

_UNWANTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def dump(value: Any) -> str:
    """Compact ASCII JSON in the given member order; never contains `]]>`, so it fits into any XML CDATA section."""
    return _encoder.encode(value).replace("]]>", "]]\\u003e")


def load(text: str | bytes, what: str, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS) -> Any:
    """Parse one JSON text; `what` names it in messages. Raises TooLarge or Malformed, nothing else."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > max_bytes:
        raise TooLarge(f"{what} has {len(data)} bytes; at most {max_bytes} are accepted")
    members = data.count(b"{") + data.count(b"[") + data.count(b",")
    if members > max_members:
        raise TooLarge(f"{what} has too many members ({members}; at most {max_members} are accepted)")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_no_fraction,
            parse_constant=_no_fraction,
        )
    except UnicodeDecodeError as error:
        raise Malformed(f"{what} is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise Malformed(
            f"{what} is not JSON, or was cut off: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise TooLarge(f"{what} is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise Malformed(f"{what}: {error}") from None
    check(value, what, data)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"member {twice!r:.80} stands twice in one object")
    return members


def _integer(text: str) -> int:
    # The length comes first: Python refuses to convert very long digit strings, and with another message.
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"number {text:.30} does not fit into 64 bits")
    return int(text)


def _no_fraction(text: str) -> Any:
    raise ValueError(f"number {text:.30} is not an integer")


def check(value: Any, what: str, text: bytes) -> None:
    """Refuse nesting and characters that no document may carry; `text` is the JSON text of `value`.

    Raises TooLarge or Malformed.
    """
    # ASCII without escapes holds nothing but what stands in it, and JSON itself allows no raw control characters.
    plain = text.isascii() and b"\\" not in text
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH and any(isinstance(item, list | dict) for item in level):
            raise TooLarge(f"{what} is nested deeper than {MAX_DEPTH} levels")
        if not plain:
            _check_texts(level, what)
        level = [
            below
            for item in level
            if isinstance(item, list | dict)
            for below in (item.values() if isinstance(item, dict) else item)
            if not plain or isinstance(below, list | dict)
        ]


def _check_texts(level: list[Any], what: str) -> None:
    for item in level:
        if isinstance(item, str):
            _check_text(item, what)
        elif isinstance(item, dict):
            for name in item:
                _check_text(name, what)


def _check_text(text: str, what: str) -> None:
    found = _UNWANTED.search(text)
    if found:
        raise Malformed(f"{what} holds the character U+{ord(found[0]):04X}, which no document may carry")


class Members:
    """Typed access to the members of one JSON object; every failure is a `refusal` that names the member's path."""

    __slots__ = ("_members", "_refusal", "where")

    def __init__(self, value: Any, where: str, refusal: type[DocumentError] = Malformed) -> None:
        if not isinstance(value, dict):
            raise refusal(f"{where} must be an object")
        self._members: Mapping[str, Any] = value
        self._refusal = refusal
        self.where = where

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def raw(self) -> Mapping[str, Any]:
        return self._members

    def text(self, name: str, longest: int = 255) -> str:
        value = self._get(name)
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            raise self._refusal(f"{self.where}.{name} must be a text of 1 to {longest} characters")
        return value

    def optional_text(self, name: str, longest: int = 255) -> str | None:
        return self.text(name, longest) if name in self._members else None

    def integer(self, name: str, lowest: int = 0, highest: int = 2**63 - 1) -> int:
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise self._refusal(f"{self.where}.{name} must be an integer from {lowest} to {highest}")
        return value

    def optional_integer(self, name: str, lowest: int = 0, highest: int = 2**63 - 1) -> int | None:
        return self.integer(name, lowest, highest) if name in self._members else None

    def boolean(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            raise self._refusal(f"{self.where}.{name} must be true or false")
        return value

    def optional_boolean(self, name: str) -> bool | None:
        return self.boolean(name) if name in self._members else None

    def object(self, name: str) -> Members:
        return Members(self._get(name), f"{self.where}.{name}", self._refusal)

    def optional_object(self, name: str) -> Members | None:
        return self.object(name) if name in self._members else None

    def array(self, name: str, longest: int) -> list[Any]:
        value = self._get(name)
        if not isinstance(value, list):
            raise self._refusal(f"{self.where}.{name} must be an array")
        if len(value) > longest:
            raise TooLarge(f"{self.where}.{name} has {len(value)} entries; at most {longest} are accepted")
        return value

    def objects(self, name: str, longest: int) -> Iterator[Members]:
        for index, value in enumerate(self.array(name, longest)):
            yield Members(value, f"{self.where}.{name}[{index}]", self._refusal)

    def _get(self, name: str) -> Any:
        try:
            return self._members[name]
        except KeyError:
            raise self._refusal(f"{self.where}.{name} is missing") from None
