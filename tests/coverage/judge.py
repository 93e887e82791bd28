"""What of our two modules the run covered, what is constant with a reason, and what is neither. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.core.schema import Node, Schema
from agent.northbound.served import CONSTANT
from tests.coverage.constants import ENDS, OPERATIONS, SIZES
from tests.coverage.libyang import OURS
from tests.coverage.seen import ACCEPTED, Seen, below, enums, roots

PARTS = ("data", "rpc", "notification")
SIZE_WORDS = ("none", "one", "many")


@dataclass
class Part:
    """Counts of one module's data, RPCs or notifications; by path: the reason, and what lacks."""

    covered: int = 0
    constants: dict[str, str] = field(default_factory=dict)
    uncovered: dict[str, str] = field(default_factory=dict)


@dataclass
class Verdict:
    """`stale`: what stands on a list of constants and varies, or is in no model. `never`: values of enumerations that
    did not occur. `codes`: with which return codes each RPC ended. `replies`: how many of each kind were validated."""

    parts: dict[tuple[str, str], Part]
    stale: dict[str, str]
    never: dict[str, list[str]]
    codes: dict[str, list[str]]
    replies: dict[str, int]

    @property
    def complete(self) -> bool:
        return not self.stale and not any(part.uncovered for part in self.parts.values())


def judge(schema: Schema, seen: Seen) -> Verdict:
    """The verdict on all nodes, RPCs and notifications of both modules."""
    parts = {(module, kind): Part() for module in OURS for kind in PARTS}
    for root in roots(schema):
        kind = root.kind if root.kind in PARTS else "data"
        for node in (root, *below(root)):
            part = parts[node.module, kind]
            for path, lack in _lacks(node, seen):
                reason = _reason(path)
                if lack is None and reason is None:
                    part.covered += 1
                elif reason is not None:
                    part.constants[path] = reason
                elif lack is not None:
                    part.uncovered[path] = lack
    codes = {path: sorted(found) for path, found in sorted(seen.codes.items()) if found}
    return Verdict(parts, dict(_stale(schema, seen)), dict(_never(schema, seen)), codes, dict(seen.replies))


def _lacks(node: Node, seen: Seen) -> Iterator[tuple[str, str | None]]:
    """What is asked of a node, each with what it lacks: a path of the constants, and None where nothing does."""
    if node.kind in ("leaf", "leaf-list"):
        values = seen.values[node.path]
        yield node.path, None if len(values) > 1 else f"only {min(values)}" if values else "no value"
    if node.kind in ("list", "leaf-list"):
        for size in SIZE_WORDS:
            yield f"{node.path} ({size})", None if size in seen.sizes[node.path] else f"never {size}"
    if node.kind == "notification":
        yield node.path, None if node.path in seen.told else "never told"
    if node.kind == "container" and not node.children:
        yield node.path, None if node.path in seen.shown else "never shown"
    if node.kind == "rpc":
        codes = seen.codes[node.path]
        yield f"{node.path} (accepted)", None if codes & ACCEPTED else "never accepted"
        yield f"{node.path} (refused)", None if codes - ACCEPTED else "never refused"


def _reason(path: str) -> str | None:
    """Why it is constant; a data node's whole subtree is, with it."""
    bare = path.partition(" (")[0]
    found = next((reason for root, reason in CONSTANT.items() if bare == root or bare.startswith(f"{root}/")), None)
    return found or OPERATIONS.get(path) or SIZES.get(path) or ENDS.get(path)


def _stale(schema: Schema, seen: Seen) -> Iterator[tuple[str, str]]:
    known: dict[str, str | None] = {}
    for root in roots(schema):
        for node in (root, *below(root)):
            known |= dict(_lacks(node, seen))
            known.setdefault(node.path, "a node with others below it")
    for path in (*CONSTANT, *OPERATIONS, *SIZES, *ENDS):
        if path not in known:
            yield path, "stands on a list of constants and is in no model"
        elif known[path] is None:
            yield path, "stands on a list of constants and varies: take it off"
    for path, lack in known.items():
        if lack is None and path not in (*CONSTANT, *OPERATIONS, *SIZES, *ENDS) and _reason(path) is not None:
            yield path, "stands below a constant and varies: name what is constant more narrowly"


def _never(schema: Schema, seen: Seen) -> Iterator[tuple[str, list[str]]]:
    """Values of enumerations that did not occur, by path; return codes aside, which have a test each."""
    for root in roots(schema):
        for node in below(root):
            values = {value.strip('"') for value in seen.values[node.path]}
            if node.name != "return-code" and (left := sorted(enums(node) - values)):
                yield node.path, left
