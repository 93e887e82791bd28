"""What was seen of our two modules: values by schema path, sizes of lists, how RPCs ended. Collects; judges nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
import json
from typing import Any

from agent.core.schema import Node, Schema
from agent.core.tree import Tree
from tests.coverage.libyang import OURS

ACCEPTED = frozenset({"success", "registrationinprogress"})
"""Return codes of a call that was taken; all others refuse it."""


def _sets() -> dict[str, set[str]]:
    return defaultdict(set)


@dataclass
class Seen:
    """Over all lives of all devices."""

    values: dict[str, set[str]] = field(default_factory=_sets)
    shown: set[str] = field(default_factory=set)
    sizes: dict[str, set[str]] = field(default_factory=_sets)
    codes: dict[str, set[str]] = field(default_factory=_sets)
    told: set[str] = field(default_factory=set)
    replies: dict[str, int] = field(default_factory=Counter)
    _paths: dict[Node, str] = field(default_factory=dict)

    def path(self, node: Node) -> str:
        """The node's path, which takes long to make."""
        found = self._paths.get(node)
        if found is None:
            found = self._paths[node] = node.path
        return found

    def add(self, tree: Tree, node: Node) -> None:
        """Take in a JSON tree of what lies below `node`; members of other modules than ours are passed over."""
        for child in node.children:
            if child.kind in ("list", "leaf-list"):
                entries = tree.get(child.member, [])
                self.sizes[self.path(child)].add(_size(len(entries)))
                if child.kind == "leaf-list":
                    self.values[self.path(child)].update(map(json.dumps, entries))
                else:
                    for entry in entries:
                        self.add(entry, child)
            elif child.type is not None and child.type.base == "empty":
                self.values[self.path(child)].add("set" if child.member in tree else "not set")
            elif child.member in tree:
                value = tree[child.member]
                if child.kind == "leaf":
                    self.values[self.path(child)].add(json.dumps(value))
                else:
                    self.shown.add(self.path(child))
                    self.add(value, child)
            elif child.kind == "container" and not child.presence:
                self._without_entries(child)

    def _without_entries(self, node: Node) -> None:
        """A container without meaning of its own that is not there is one with nothing in it."""
        for child in node.children:
            if child.kind in ("list", "leaf-list"):
                self.sizes[self.path(child)].add(_size(0))
            elif child.kind == "container" and not child.presence:
                self._without_entries(child)

    def reply(self, node: Node, given: Tree, answer: Tree) -> None:
        """Take in one call of an RPC: its input and its output."""
        for kind, tree in (("input", given), ("output", answer)):
            part = node.by_member(kind)
            if part is not None:
                self.add(tree, part)
        self.codes[node.path].add(str(answer.get("return-code", "no return-code")))


def _size(number: int) -> str:
    return ("none", "one")[number] if number < 2 else "many"


def roots(schema: Schema) -> Iterator[Node]:
    """The data nodes, RPCs and notifications of our two modules."""
    yield from (node for node in schema.root.children if node.module in OURS)
    yield from (node for node in schema.rpcs.values() if node.module in OURS)
    yield from (node for node in schema.notifications.values() if node.module in OURS)


def below(node: Node) -> Iterator[Node]:
    """All nodes below a node, parents first."""
    for child in node.children:
        yield child
        yield from below(child)


def enums(node: Node) -> frozenset[str]:
    """The names of an enumeration, or none."""
    values: Any = getattr(node.type, "values", {})
    return frozenset(values)
