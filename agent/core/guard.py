"""Cutting a tree down to what a user may read, before anything is selected from it (RFC 8341 section 3.2.4).

A node that may not be read is left out with all that is below it. Where nothing is ruled out the same objects pass, so
that encodings kept with them serve; stored rows are decoded only where a rule reaches below their list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.core.nacm import Keys, Rights, Shape, decided
from agent.core.schema import Node
from agent.core.select import Part, Pick, Selection, key_text, row_keys
from agent.core.tree import Row, Tree, plain

Wanted = Mapping[Node, Sequence[Pick]] | None
"""Children that a selection takes or tests, with what it says of them; None for all."""


def readable(tree: Tree, selection: Selection | None, root: Node, rights: Rights) -> Tree:
    """The part of `tree` that may be read; what `selection` does not touch may be left out as well."""
    return _Guard(rights, {}).members(tree, root, None if selection is None else _grouped(selection))


def _grouped(picks: Sequence[Pick]) -> dict[Node, list[Pick]]:
    grouped: dict[Node, list[Pick]] = {}
    for pick in picks:
        grouped.setdefault(pick.node, []).append(pick)
    return grouped


def _wanted(node: Node, picks: Sequence[Pick] | None) -> Wanted:
    """What the picks of one node want below it: keys, too, for entries are told apart by them."""
    if picks is None or any(pick.below is None for pick in picks):
        return None
    wanted = _grouped([one for pick in picks for one in pick.below or ()])
    for leaf in (*node.key_nodes, *(leaf for pick in picks for leaf, _ in pick.match)):
        wanted.setdefault(leaf, [])
    return wanted


class _Guard:
    """Walks one tree. `at` holds the keys of the list entries that the walk is in."""

    def __init__(self, rights: Rights, at: Keys) -> None:
        self._rights = rights
        self.at = at

    def shape(self, node: Node) -> Shape:
        return self._rights.shape("read", node)

    def permits(self, shape: Shape) -> bool:
        return (decided(shape, self.at) if shape.conditional else shape.decision).permit

    def clear(self, shape: Shape) -> bool:
        """Whether all below the instance that the walk is in may be read."""
        return shape.below or (shape.clear and shape.near.first(self.at) is None)

    def members(self, tree: Tree, parent: Node, wanted: Wanted) -> Tree:
        """What is left of the members of a node: the same object where that is all of it."""
        kept: Tree = {}
        for member, value in tree.items():
            node = parent.by_member(member)
            if node is None or (wanted is not None and node not in wanted):
                continue
            shape = self.shape(node)
            left = value if shape.whole else self._value(value, node, shape, None if wanted is None else wanted[node])
            if left is not None:
                kept[member] = left
        same = len(kept) == len(tree) and all(left is tree[member] for member, left in kept.items())
        return tree if same else kept

    def _value(self, value: Any, node: Node, shape: Shape, picks: Sequence[Pick] | None) -> Any:
        """What is left of one node's value, or None."""
        if not (shape.decision.permit or shape.conditional):
            return None
        match node.kind:
            case "list" if not isinstance(value, list):
                return GuardedRows(value, node, self._rights, self.at, picks)
            case "list":
                entries = [left for entry in value if (left := self._entry(entry, node, shape, picks)) is not None]
                same = len(entries) == len(value) and all(a is b for a, b in zip(entries, value, strict=True))
                return value if same else entries or None
            case "leaf-list" if shape.conditional:
                return [one for one in value if self._permits_at(node, (key_text(node, plain(one)),), shape)] or None
        if not self.permits(shape):
            return None
        if node.kind != "container":
            return value
        left = self.members(value, node, _wanted(node, picks))
        # an empty container without presence says nothing (RFC 7950 section 7.5.1)
        return left if left or left is value or node.presence else None

    def _permits_at(self, node: Node, texts: tuple[str, ...], shape: Shape) -> bool:
        self.at[node] = texts
        try:
            return self.permits(shape)
        finally:
            del self.at[node]

    def _entry(self, entry: Tree, node: Node, shape: Shape, picks: Sequence[Pick] | None) -> Tree | None:
        self.at[node] = tuple(key_text(key, entry[key.member]) for key in node.key_nodes)
        try:
            if not self.permits(shape):
                return None
            return entry if self.clear(shape) else self.members(entry, node, _wanted(node, picks))
        finally:
            del self.at[node]


class GuardedRows:
    """The readable part of a list that lives in a store (agent.core.tree.Rows, whose entries may be parts already)."""

    def __init__(self, rows: Any, node: Node, rights: Rights, at: Keys, picks: Sequence[Pick] | None) -> None:
        self.marked: str | None = rows.marked
        self._rows = rows
        self._node = node
        self._rights = rights
        self._at = dict(at)
        self._shape = rights.shape("read", node)
        self._wanted = _wanted(node, picks)
        # what is asked for is readable whatever the keys: rows need not be decoded to find that out
        self._below = self._shape.below or (
            self._wanted is not None and all(rights.shape("read", child).whole for child in self._wanted)
        )

    def find(self, keys: tuple[str, ...]) -> Row | Part | None:
        """The entry with these keys, where it and its keys may be read."""
        row = self._rows.find(keys)
        left = None if row is None else self._left(row, _Guard(self._rights, dict(self._at)))
        if isinstance(left, Part) and any(key.member not in left.tree for key in self._node.key_nodes):
            return None
        return left

    def pages(self) -> Iterator[Sequence[Row | Part]]:
        """All entries that may be read."""
        guard = _Guard(self._rights, dict(self._at))
        for page in self._rows.pages():
            kept = [left for row in page if (left := self._left(row, guard)) is not None]
            if kept:
                yield kept

    def _left(self, row: Row | Part, guard: _Guard) -> Row | Part | None:
        guard.at[self._node] = row_keys(row, self._node)
        if not guard.permits(self._shape):
            return None
        if self._below or guard.clear(self._shape):
            return row
        tree = row.tree() if isinstance(row, Row) else row.tree
        left = guard.members(tree, self._node, self._wanted)
        if left is tree:
            return row
        return Part(left, row.mark if self.marked is not None and self.marked in left else None)
