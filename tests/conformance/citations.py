"""Which items of docs/reference/protocol-checklist.md the tests say that they prove.

A test cites by its docstring, a file by its own: "Checklist 24, 28-31: …" or "(RFC 6243; checklist 67-69)". Numbers and
ranges joined by commas follow the word; what follows them is free. "Checklist, NAME OF A SECTION" cites no number.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
import re

LAST = 168
"""The highest number of the checklist."""

_WORD = re.compile(r"\bchecklist\b", re.IGNORECASE)
_NUMBERS = re.compile(r"\s+(\d+(?:-\d+)?(?:,\s+\d+(?:-\d+)?)*)(?![-\w])")
_SECTION = re.compile(r",\s+[A-Z]")


class CitationError(Exception):
    """A docstring says "checklist" and no items of it follow; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A test, or a whole file of tests (`name` is empty then), and the items that it proves."""

    file: str
    name: str
    items: tuple[int, ...]
    slow: bool


def cited(docstring: str | None) -> tuple[int, ...]:
    """The numbers that a docstring cites, in ascending order.

    Raises:
        CitationError: the word is there without numbers, or with some that the checklist does not have.
    """
    text = docstring or ""
    found: set[int] = set()
    for word in _WORD.finditer(text):
        numbers = _NUMBERS.match(text, word.end())
        if numbers is None:
            if _SECTION.match(text, word.end()):
                continue
            raise CitationError(f'no numbers after the word in "{text[word.start() : word.end() + 40]}"')
        for part in numbers[1].split(","):
            first, _, last = part.strip().partition("-")
            span = range(int(first), int(last or first) + 1)
            if not span or span[0] < 1 or span[-1] > LAST:
                raise CitationError(f'the checklist has no items "{part.strip()}"')
            found.update(span)
    return tuple(sorted(found))


def citations(root: Path) -> list[Citation]:
    """All citations below `root`/tests, by file and place in it. Raises CitationError, naming the file."""
    found = []
    for file in sorted((root / "tests").rglob("test_*.py")):
        name = file.relative_to(root).as_posix()
        try:
            found += _of_module(name, ast.parse(file.read_text(encoding="utf-8")))
        except CitationError as error:
            raise CitationError(f"{name}: {error}") from None
    return found


def _of_module(file: str, module: ast.Module) -> Iterator[Citation]:
    tests = list(_tests(module.body, ""))
    of_tests = {item for _, test in tests for item in cited(ast.get_docstring(test))}
    # where single tests of the file say which of them prove an item, that is closer than the file
    whole = tuple(item for item in cited(ast.get_docstring(module)) if item not in of_tests)
    if whole and tests:
        yield Citation(file, "", whole, slow=all(_slow(test) for _, test in tests))
    for name, test in tests:
        if items := cited(ast.get_docstring(test)):
            yield Citation(file, name, items, slow=_slow(test))


def _tests(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield from _tests(node.body, f"{prefix}{node.name}::")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield prefix + node.name, node


def _slow(test: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(each).startswith("pytest.mark.slow") for each in test.decorator_list)
