"""YANG patterns: XML Schema regular expressions turned into Python's. Nothing here knows types or the schema.

Source: RFC 7950 section 9.4.5, W3C XML Schema part 2 appendix F. Unicode categories, class subtraction, `\\i` and
`\\c` have no counterpart in `re`, so classes are worked out as sets of code points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
import re
import sys
import unicodedata

Ranges = tuple[tuple[int, int], ...]

_TOP = sys.maxunicode
_SPACE: Ranges = ((0x09, 0x0A), (0x0D, 0x0D), (0x20, 0x20))
_NAME_START: Ranges = (
    (0x3A, 0x3A),
    (0x41, 0x5A),
    (0x5F, 0x5F),
    (0x61, 0x7A),
    (0xC0, 0xD6),
    (0xD8, 0xF6),
    (0xF8, 0x2FF),
    (0x370, 0x37D),
    (0x37F, 0x1FFF),
    (0x200C, 0x200D),
    (0x2070, 0x218F),
    (0x2C00, 0x2FEF),
    (0x3001, 0xD7FF),
    (0xF900, 0xFDCF),
    (0xFDF0, 0xFFFD),
    (0x10000, 0xEFFFF),
)
_NAME_MORE: Ranges = ((0x2D, 0x2E), (0x30, 0x39), (0xB7, 0xB7), (0x300, 0x36F), (0x203F, 0x2040))
_BLOCKS: dict[str, Ranges] = {
    "IsBasicLatin": ((0x00, 0x7F),),
    "IsLatin-1Supplement": ((0x80, 0xFF),),
    "IsLatinExtended-A": ((0x100, 0x17F),),
    "IsLatinExtended-B": ((0x180, 0x24F),),
    "IsGreek": ((0x370, 0x3FF),),
    "IsCyrillic": ((0x400, 0x4FF),),
}
_SINGLE = {"n": "\n", "r": "\r", "t": "\t"}
_LITERAL = frozenset("\\|.-^?*+{}()[]$")


class PatternError(ValueError):
    """The expression is not one of XML Schema's (or uses a Unicode block that is not known here)."""


def translated(xsd: str) -> str:
    """The same expression as Python writes it. Raises PatternError."""
    reader = _Reader(xsd)
    source = reader.branches()
    if reader.more:
        raise PatternError(f"{xsd!r}: unexpected {reader.peek!r} at {reader.at}")
    return source


@cache
def compiled(xsd: str) -> re.Pattern[str]:
    """The expression of a model for `fullmatch`; it is kept for ever. Raises PatternError."""
    source = translated(xsd)
    try:
        return re.compile(source)
    except re.error as error:
        raise PatternError(f"{xsd!r}: {error}") from None


@dataclass(slots=True)
class _Class:
    """A character class: code point ranges, and whether `\\d` is in it (left to `re`, which needs no table for it)."""

    ranges: list[tuple[int, int]] = field(default_factory=list)
    digits: bool = False
    negated: bool = False

    def resolved(self) -> Ranges:
        ranges = _merged([*self.ranges, *(_category("Nd") if self.digits else ())])
        return _complement(ranges) if self.negated else ranges

    def source(self) -> str:
        body = ("\\d" if self.digits else "") + "".join(
            _code(low) if low == high else f"{_code(low)}-{_code(high)}" for low, high in self.ranges
        )
        if not body:
            return "(?!)" if not self.negated else "(?s:.)"
        return f"[{'^' if self.negated else ''}{body}]"


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    @property
    def more(self) -> bool:
        return self.at < len(self.text)

    @property
    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        if not self.more:
            raise PatternError(f"{self.text!r} ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def branches(self) -> str:
        parts = [self.branch()]
        while self.peek == "|":
            self.take()
            parts.append(self.branch())
        return "|".join(parts)

    def branch(self) -> str:
        parts: list[str] = []
        while self.more and self.peek not in "|)":
            parts.append(self.atom() + self.quantifier())
        return "".join(parts)

    def atom(self) -> str:
        char = self.take()
        if char == "(":
            inner = self.branches()
            if not self.more or self.take() != ")":
                raise PatternError(f"{self.text!r}: a group is not closed")
            return f"(?:{inner})"
        if char == "[":
            return self.char_class().source()
        if char == ".":
            return r"[^\n\r]"
        if char == "\\":
            return self.escape().source()
        if char in "?*+{}]":
            raise PatternError(f"{self.text!r}: {char!r} at {self.at - 1} has nothing to repeat or close")
        return re.escape(char)

    def quantifier(self) -> str:
        if self.peek and self.peek in "?*+":
            mark = self.take()
        elif self.peek == "{":
            end = self.text.find("}", self.at)
            mark = self.text[self.at : end + 1]
            if not re.fullmatch(r"\{[0-9]+(,[0-9]*)?\}", mark):
                raise PatternError(f"{self.text!r}: {mark!r} is not a quantity")
            self.at = end + 1
        else:
            return ""
        if self.peek and self.peek in "?*+{":
            raise PatternError(f"{self.text!r}: two quantifiers in a row at {self.at}")
        return mark

    def escape(self) -> _Class:
        char = self.take()
        if char in _LITERAL:
            return _Class([(ord(char), ord(char))])
        if char in _SINGLE:
            return _Class([(ord(_SINGLE[char]), ord(_SINGLE[char]))])
        if char == "d":
            return _Class(digits=True)
        if char == "D":
            return _Class(digits=True, negated=True)
        if char in "pP":
            return _Class(list(self.property_ranges(negated=char == "P")))
        named = {"s": _SPACE, "i": _NAME_START, "c": _merged([*_NAME_START, *_NAME_MORE])}.get(char.lower())
        if char.lower() == "w":
            named = _complement(_merged([*_category("P"), *_category("Z"), *_category("C")]))
        if named is None:
            raise PatternError(f"{self.text!r}: \\{char} means nothing")
        return _Class(list(named if char.islower() else _complement(named)))

    def property_ranges(self, *, negated: bool) -> Ranges:
        end = self.text.find("}", self.at)
        if self.peek != "{" or end < 0:
            raise PatternError(f"{self.text!r}: \\p must be followed by a name in braces")
        name = self.text[self.at + 1 : end]
        self.at = end + 1
        ranges = _BLOCKS.get(name) or _category(name)
        if not ranges:
            raise PatternError(f"{self.text!r}: {name!r} is no Unicode category or block known here")
        return _complement(ranges) if negated else ranges

    def char_class(self) -> _Class:
        found = _Class()
        if self.peek == "^":
            self.take()
            found.negated = True
        first = True
        while True:
            char = self.take()
            if char == "]" and not first:
                return found
            if char == "-" and self.peek == "[":
                self.take()
                without = self.char_class().resolved()
                if self.take() != "]":
                    raise PatternError(f"{self.text!r}: a subtraction must end its class")
                keep = _complement(_merged([*_complement(found.resolved()), *without]))
                return _Class(list(keep))
            first = False
            self.member(char, found)

    def member(self, char: str, found: _Class) -> None:
        if char == "\\":
            item = self.escape()
            single = len(item.ranges) == 1 and item.ranges[0][0] == item.ranges[0][1] and not item.digits
            if not single:
                found.digits |= item.digits and not item.negated
                found.ranges += item.resolved() if item.negated else item.ranges
                return
            low = item.ranges[0][0]
        else:
            low = ord(char)
        if self.peek == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", "["):
            self.take()
            char = self.take()
            high = self.escape().ranges[0][0] if char == "\\" else ord(char)
            if high < low:
                raise PatternError(f"{self.text!r}: a range runs backwards")
            found.ranges.append((low, high))
        else:
            found.ranges.append((low, low))


def _code(point: int) -> str:
    char = chr(point)
    return char if char.isascii() and char.isalnum() else f"\\U{point:08x}"


def _merged(ranges: list[tuple[int, int]]) -> Ranges:
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def _complement(ranges: Ranges) -> Ranges:
    result: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges:
        if low > start:
            result.append((start, low - 1))
        start = high + 1
    if start <= _TOP:
        result.append((start, _TOP))
    return tuple(result)


@cache
def _category(name: str) -> Ranges:
    """Code points whose general category starts with `name` ("L", "Nd"); empty for an unknown name."""
    return _merged([run for category, runs in _categories().items() if category.startswith(name) for run in runs])


@cache
def _categories() -> dict[str, list[tuple[int, int]]]:
    """One walk over Unicode (0.08 s), taken only by the first pattern that names a category."""
    runs: dict[str, list[tuple[int, int]]] = {}
    start = 0
    for category, run in groupby(map(unicodedata.category, map(chr, range(_TOP + 1)))):
        end = start + sum(1 for _ in run)
        runs.setdefault(category, []).append((start, end - 1))
        start = end
    return runs
