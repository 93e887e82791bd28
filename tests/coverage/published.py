"""Checks replies against docs/reference/cisco-smart-license.facts with no compiler between: a YANG reader may err too.

Names, kinds, types, ranges, lengths, enumerations, keys, mandatory leaves, and cases that exclude each other. What
slp-agent adds is skipped: its nodes carry the module's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
import re
from typing import Any

from tests.models import facts

PATTERNS = {
    "yang:date-and-time": r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})",
    "yang:mac-address": r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}",
    "yang:uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "inet:uri": r"\S+",
}
WHOLE = {"uint8": 2**8, "uint16": 2**16, "uint32": 2**32, "uint64": 2**64}
_ADDED = "slp-agent:"


@dataclass
class Published:
    """One line of the facts, with what stands below it by name; choice and case are left out of the tree."""

    kind: str
    type: str = ""
    keys: tuple[str, ...] = ()
    mandatory: bool = False
    cases: tuple[tuple[str, str], ...] = ()
    children: dict[str, Published] = field(default_factory=dict)


@cache
def tree() -> Published:
    """All nodes of the module, below one root."""
    root = Published("root")
    at: dict[str, Published] = {"": root}
    cases: dict[str, tuple[tuple[str, str], ...]] = {"": ()}
    for line in facts.published()[1]:
        head, *said = line.split(" | ")
        path, _, kind = head.partition("  ")
        above, _, name = path.rpartition("/")
        if kind in ("choice", "case"):
            at[path] = at[above]
            choice = above.rpartition("/")[2]
            cases[path] = (*cases[above], (choice, name)) if kind == "case" else cases[above]
            continue
        keys = next((part[5:-1].split() for part in said if part.startswith("key '")), [])
        type_ = said[0] if kind.startswith("leaf") and said else ""
        node = Published(kind, type_, tuple(keys), "mandatory 'true'" in said, cases[above])
        at[above].children[name] = at[path] = node
        cases[path] = ()
    return root


@cache
def typedefs() -> Mapping[str, str]:
    return dict(line.split(": ", 1) for line in facts.published()[2])


def problems(document: Mapping[str, Any]) -> Iterator[str]:
    """What a JSON tree of the module's nodes (data, RPC, notification) breaks, one line each."""
    ours = {name: value for name, value in document.items() if name.startswith(f"{facts.MODULE}:")}
    yield from _below(tree(), {name.partition(":")[2]: value for name, value in ours.items()}, "")


def _below(node: Published, members: Mapping[str, Any], path: str) -> Iterator[str]:
    chosen: dict[str, str] = {}
    for name, value in members.items():
        if name.startswith(_ADDED):
            continue
        here = f"{path}/{name}"
        child = node.children.get(name)
        if child is None:
            yield f"{here}: not published"
            continue
        for choice, case in child.cases:
            if chosen.setdefault(choice, case) != case:
                yield f"{here}: cases {chosen[choice]} and {case} of {choice} stand together"
        yield from _node(child, value, here)
    for name, child in node.children.items():
        if child.mandatory and name not in members:
            yield f"{path}/{name}: mandatory, and missing"


def _node(node: Published, value: Any, path: str) -> Iterator[str]:
    match node.kind:
        case "leaf":
            yield from _leaf(node.type, value, path)
        case "list":
            yield from _entries(node, value, path)
        case _ if isinstance(value, dict):
            yield from _below(node, value, path)
        case _:
            yield f"{path}: {node.kind} with the value {value!r}"


def _entries(node: Published, entries: Any, path: str) -> Iterator[str]:
    if not isinstance(entries, list):
        yield f"{path}: a list with the value {entries!r}"
        return
    seen: set[tuple[Any, ...]] = set()
    for entry in entries:
        lacking = [key for key in node.keys if key not in entry]
        if lacking:
            yield f"{path}: an entry lacks its key {' '.join(lacking)}"
            continue
        keys = tuple(entry[key] for key in node.keys)
        if node.keys and keys in seen:
            yield f"{path}: two entries have the key {keys}"
        seen.add(keys)
        yield from _below(node, entry, path)


def _leaf(type_: str, value: Any, path: str) -> Iterator[str]:
    base, _, restrictions = typedefs().get(type_, type_).strip().partition(" ")
    if "=" in restrictions and base.endswith(","):
        names = {part.partition("=")[0] for part in typedefs()[type_].split(", ")}
        if value not in names:
            yield f"{path}: {value!r} is no value of {type_}"
        return
    limits = dict(re.findall(r"(range|length) '([^']*)'", restrictions))
    if base == "boolean":
        if not isinstance(value, bool):
            yield f"{path}: {value!r} is no boolean"
    elif base in WHOLE:
        yield from _number(base, limits.get("range"), value, path)
    elif not isinstance(value, str):
        yield f"{path}: {value!r} is no text"
    elif "length" in limits and not _within(len(value), limits["length"]):
        yield f"{path}: {len(value)} characters, {limits['length']} are lawful"
    elif base in PATTERNS and not re.fullmatch(PATTERNS[base], value):
        yield f"{path}: {value!r} is no {base}"
    elif base not in PATTERNS and base != "string":
        yield f"{path}: the type {type_} is not understood"


def _number(base: str, limits: str | None, value: Any, path: str) -> Iterator[str]:
    """RFC 7951: 64 bits travel as text, less as numbers."""
    lawful = isinstance(value, str) and re.fullmatch(r"\d+", value) if base == "uint64" else type(value) is int
    if not lawful or not 0 <= int(value) < WHOLE[base]:
        yield f"{path}: {value!r} is no {base}"
    elif limits is not None and not _within(int(value), limits):
        yield f"{path}: {value} lies outside {limits}"


def _within(number: int, limits: str) -> bool:
    low, _, high = limits.partition("..")
    return int(low) <= number <= int(high or low)
