"""YANG's built-in types: lexical and JSON forms to canonical RFC 7951 values and back. No schema nodes, no protocol.

Types whose values depend on other types, identities or paths are in reftypes.py.

Canonical values: int8..int32 and uint8..uint32 are int; int64, uint64 and decimal64 are str; boolean is bool; empty is
[None]; identityref is always "module:name"; an instance-identifier is written in the RFC 7951 form; all else is str.
Source: RFC 7950 section 9, RFC 7951 section 6.
"""

# ruff: noqa: ARG002 - most types need no prefixes to read a value, and say so by ignoring them
from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
import re
from typing import Any

from agent.core.patterns import compiled

Prefixes = Mapping[str | None, str]
Declarations = tuple[tuple[str, str], ...]

# What XML 1.0 cannot carry, and the noncharacters that RFC 7950 section 14 leaves out of yang-char.
_PLANES = "".join(f"{chr(plane)}-{chr(plane + 0xFFFD)}" for plane in range(0x10000, 0x110000, 0x10000))
_UNFIT = re.compile(f"[^\t\n\r\x20-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd{_PLANES}]")
_INTEGER = re.compile(r"([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_DECIMAL = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?")
_LONGEST_NUMBER = 80
BOUNDS = {
    f"{sign}int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("", "u")
    for bits in (8, 16, 32, 64)
}


class InvalidValue(Exception):  # noqa: N818 - RFC 7950 calls it invalid-value
    """A value that its type does not allow.

    `message` is for people (the YANG error-message where one is given); `app_tag` is the YANG error-app-tag or None.
    """

    def __init__(self, message: str, app_tag: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.app_tag = app_tag


def shown(value: object) -> str:
    """A value for an error message: quoted, printable, short."""
    text = repr(value)
    return text if len(text) <= 66 else f"{text[:60]}…{text[-1]}"


@dataclass(frozen=True, slots=True)
class Names:
    """Module names, namespaces and identities that types of one schema need to read and write qualified names."""

    namespaces: Mapping[str, str] = field(default_factory=dict)  # module -> namespace
    modules: Mapping[str, str] = field(default_factory=dict)  # namespace -> module
    prefixes: Mapping[str, str] = field(default_factory=dict)  # module -> its own prefix
    identities: Mapping[str, frozenset[str]] = field(default_factory=dict)  # "module:base" -> all derived ones


@dataclass(frozen=True, slots=True)
class Bounds:
    """One range or length statement; None is an open end (`min`, `max`)."""

    parts: tuple[tuple[int | None, int | None], ...]
    text: str
    message: str | None = None
    app_tag: str | None = None

    def check(self, measure: int, value: object, what: str) -> None:
        """Raises InvalidValue where `measure` lies in no part."""
        if not any((low is None or low <= measure) and (high is None or measure <= high) for low, high in self.parts):
            raise InvalidValue(self.message or f"{shown(value)}: {what} must be {self.text}", self.app_tag)

    def closed(self, lowest: int, highest: int) -> Bounds:
        """The same with numbers for open ends, in the text too, so that whoever is refused learns them."""
        parts = tuple((lowest if low is None else low, highest if high is None else high) for low, high in self.parts)
        return replace(self, parts=parts, text=self.text.replace("min", str(lowest)).replace("max", str(highest)))


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern statement."""

    xsd: str
    invert: bool = False
    message: str | None = None
    app_tag: str | None = None

    def check(self, text: str) -> None:
        """Raises InvalidValue where `text` does not match (or, inverted, matches)."""
        if (compiled(self.xsd).fullmatch(text) is None) != self.invert:
            verb = "must not match" if self.invert else "must match"
            raise InvalidValue(self.message or f"{shown(text)} {verb} the pattern {self.xsd}", self.app_tag)


class Type:
    """A leaf's type, with all restrictions of its typedef chain."""

    __slots__ = ("base", "module", "names")

    def __init__(self, base: str, module: str, names: Names) -> None:
        self.base = base
        self.module = module
        self.names = names

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        """Lexical form to canonical value; `prefixes` maps prefix (None: default) to namespace in scope.

        Raises InvalidValue.
        """
        raise NotImplementedError

    def from_json(self, value: Any) -> Any:
        """RFC 7951 value, as a JSON parser gives it, to canonical value. Raises InvalidValue."""
        raise NotImplementedError

    def from_text(self, text: str) -> Any:
        """Like from_xml for text without XML around it (a key in a URI, a default): prefixes are module names,
        and a bare name belongs to the leaf's module. Raises InvalidValue."""
        own = self.names.namespaces.get(self.module)
        scope: dict[str | None, str] = {}
        scope.update(self.names.namespaces.items())
        if own is not None:
            scope[None] = own
        return self.from_xml(text, scope)

    def to_text(self, value: Any) -> str:
        """Canonical value to canonical lexical text; names are qualified by module name."""
        return value if isinstance(value, str) else str(value)

    def to_xml(self, value: Any) -> tuple[str, Declarations]:
        """Canonical value to the text of an XML element and the (prefix, namespace) pairs that it must declare."""
        return self.to_text(value), ()


class Integer(Type):
    """int8 to uint64."""

    __slots__ = ("limits", "ranges", "wide")

    def __init__(self, base: str, module: str, names: Names, ranges: tuple[Bounds, ...]) -> None:
        super().__init__(base, module, names)
        self.limits = BOUNDS[base]
        self.ranges = _closed(ranges, *self.limits)
        self.wide = base.endswith("64")

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        match = _INTEGER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
        if match is None:
            raise InvalidValue(f"{shown(text)} is not {_an(self.base)}; give {self._wanted}")
        sign, digits = match.groups()
        radix = 16 if digits[:2] in ("0x", "0X") else 8 if len(digits) > 1 and digits[0] == "0" else 10
        number = int(digits, radix)
        return self._checked(-number if sign == "-" else number, text)

    def from_json(self, value: Any) -> Any:
        if self.wide:
            if not isinstance(value, str):
                raise InvalidValue(f"{shown(value)}: {_an(self.base)} is a JSON string")
            return self.from_xml(value, {})
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidValue(f"{shown(value)} is not {_an(self.base)}; give {self._wanted} as a JSON number")
        return self._checked(value, value)

    @property
    def _wanted(self) -> str:
        parts = self.ranges[0].parts if self.ranges else (self.limits,)
        return f"a whole number from {parts[0][0]} to {parts[-1][1]}"

    def _checked(self, number: int, value: object) -> int | str:
        for bounds in self.ranges:
            bounds.check(number, value, "the value")
        low, high = self.limits
        if not low <= number <= high:
            raise InvalidValue(f"{shown(value)} is out of range for {self.base}; give {self._wanted}")
        return str(number) if self.wide else number


def _closed(ranges: tuple[Bounds, ...], lowest: int, highest: int) -> tuple[Bounds, ...]:
    """Ranges, the most derived first, without open ends: those of each are the ends of the one that it restricts."""
    found: list[Bounds] = []
    for bounds in reversed(ranges):
        found.insert(0, bounds.closed(lowest, highest))
        lowest, highest = found[0].parts[0][0] or 0, found[0].parts[-1][1] or 0
    return tuple(found)


class Decimal64(Type):
    """decimal64; ranges are held as integers scaled by 10**digits."""

    __slots__ = ("digits", "ranges")

    def __init__(self, module: str, names: Names, digits: int, ranges: tuple[Bounds, ...]) -> None:
        super().__init__("decimal64", module, names)
        self.digits = digits
        self.ranges = ranges

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        number = scaled(text, self.digits)
        low, high = BOUNDS["int64"]
        if not low <= number <= high:
            raise InvalidValue(f"{shown(text)} is out of range for decimal64 with {self.digits} fraction digits")
        for bounds in self.ranges:
            bounds.check(number, text, "the value")
        whole, part = divmod(abs(number), 10**self.digits)
        fraction = f"{part:0{self.digits}d}".rstrip("0") or "0"
        return f"{'-' if number < 0 else ''}{whole}.{fraction}"

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise InvalidValue(f"{shown(value)}: a decimal64 is a JSON string")
        return self.from_xml(value, {})


def scaled(text: str, digits: int) -> int:
    """A decimal number times 10**digits. Raises InvalidValue where it is none or has more fraction digits."""
    match = _DECIMAL.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if match is None:
        raise InvalidValue(f"{shown(text)} is not a decimal number; write it as 12.5")
    sign, whole, fraction = match.group(1), match.group(2), (match.group(3) or "").rstrip("0")
    if len(fraction) > digits:
        raise InvalidValue(f"{shown(text)} has more than {digits} fraction digits")
    number = int(whole + fraction.ljust(digits, "0"))
    return -number if sign == "-" else number


class Boolean(Type):
    """true or false."""

    __slots__ = ()

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        if text not in ("true", "false"):
            raise InvalidValue(f"{shown(text)} is not a boolean; give true or false")
        return text == "true"

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, bool):
            raise InvalidValue(f"{shown(value)} is not a boolean; give JSON true or false")
        return value

    def to_text(self, value: Any) -> str:
        return "true" if value else "false"


class Empty(Type):
    """No value: present or not."""

    __slots__ = ()

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        if text:
            raise InvalidValue(f"{shown(text)}: a leaf of type empty has no content")
        return [None]

    def from_json(self, value: Any) -> Any:
        if not (isinstance(value, list) and len(value) == 1 and value[0] is None):
            raise InvalidValue(f"{shown(value)}: a leaf of type empty is [null]")
        return [None]

    def to_text(self, value: Any) -> str:
        return ""


class Text(Type):
    """string."""

    __slots__ = ("lengths", "patterns")

    def __init__(
        self,
        module: str,
        names: Names,
        lengths: tuple[Bounds, ...],
        patterns: tuple[Pattern, ...],
        base: str = "string",
    ) -> None:
        super().__init__(base, module, names)
        self.lengths = lengths
        self.patterns = patterns

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        if _UNFIT.search(text) is not None:
            raise InvalidValue(f"{shown(text)} holds a character that YANG strings cannot carry")
        for bounds in self.lengths:
            bounds.check(len(text), text, "the length in characters")
        for pattern in self.patterns:
            pattern.check(text)
        return text

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise InvalidValue(f"{shown(value)} is not a JSON string")
        return self.from_xml(value, {})


class Enumeration(Type):
    """One of a set of names; `values` gives each its integer, in the order of the module."""

    __slots__ = ("values",)

    def __init__(self, module: str, names: Names, values: Mapping[str, int]) -> None:
        super().__init__("enumeration", module, names)
        self.values = values

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        if text not in self.values:
            raise InvalidValue(f"{shown(text)} is not one of {listed(self.values)}")
        return text

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise InvalidValue(f"{shown(value)} is not one of {listed(self.values)}")
        return self.from_xml(value, {})


class Bits(Type):
    """A set of flags; canonical order is by position."""

    __slots__ = ("positions",)

    def __init__(self, module: str, names: Names, positions: Mapping[str, int]) -> None:
        super().__init__("bits", module, names)
        self.positions = positions

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        given = text.split()
        for name in given:
            if name not in self.positions:
                raise InvalidValue(f"{shown(name)} is not one of the bits {listed(self.positions)}")
        if len(set(given)) != len(given):
            raise InvalidValue(f"{shown(text)} names a bit twice")
        return " ".join(sorted(given, key=self.positions.__getitem__))

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise InvalidValue(f"{shown(value)}: bits are one JSON string of names")
        return self.from_xml(value, {})


class Binary(Type):
    """base64."""

    __slots__ = ("lengths",)

    def __init__(self, module: str, names: Names, lengths: tuple[Bounds, ...]) -> None:
        super().__init__("binary", module, names)
        self.lengths = lengths

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        try:
            octets = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidValue(f"{shown(text)} is not base64") from None
        for bounds in self.lengths:
            bounds.check(len(octets), text, "the length in octets")
        return base64.b64encode(octets).decode("ascii")

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise InvalidValue(f"{shown(value)}: binary is a JSON string in base64")
        return self.from_xml(value, {})


def _an(base: str) -> str:
    return f"an {base}" if base[0] == "i" else f"a {base}"


def listed(names: Mapping[str, int] | Sequence[str]) -> str:
    """Names for an error message: the first dozen, and how many more."""
    every = list(names)
    more = f" and {len(every) - 12} more" if len(every) > 12 else ""
    return (", ".join(every[:12]) or "(none)") + more
