"""The answer to a read: a tree whose rows may still be in the store, and the marks of what was delivered from it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.core.schema import Node
from agent.core.select import Part, PickedRows, key_text, row_keys
from agent.core.tree import Row, Tree

Target = Sequence[tuple[Node, tuple[Any, ...] | None]]
"""One instance: nodes from below the root, each with canonical key values (a leaf-list: its value) or None."""


@dataclass(slots=True)
class Data:
    """`tree` holds members of `node`. An encoder adds to `marks` what `Dispatch.delivered` is told afterwards.

    With `origin`, configuration at the top says that its origin is intended (RFC 8342 section 5.3.4).
    """

    tree: Tree
    node: Node
    marks: list[tuple[Node, Hashable]] = field(default_factory=list)
    origin: bool = False

    def narrow(self, path: Target) -> Data | None:
        """Only the instance at `path`, as a member of its parent; None when there is no such instance."""
        if not path:
            return self
        tree = self.tree
        pending: tuple[Node, str, Hashable] | None = None
        for node, keys in path[:-1]:
            value = tree.get(node.member)
            if value is None:
                return None
            pending = None
            if node.kind == "list":
                entry = next(_entries(value, node, keys), None)
                if entry is None:
                    return None
                if isinstance(entry, Row | Part):
                    if value.marked is not None and entry.mark is not None:
                        pending = (node, value.marked, entry.mark)
                    value = entry.tree() if isinstance(entry, Row) else entry.tree
                else:
                    value = entry
            tree = value
        node, keys = path[-1]
        value = tree.get(node.member)
        if value is None:
            return None
        if keys is not None:
            value = _one(value, node, keys)
            if value is None:
                return None
        result = Data({node.member: value}, node.parent or self.node)
        if pending is not None and pending[1] == node.member:
            result.marks.append((pending[0], pending[2]))
        return result


def _one(value: Any, node: Node, keys: tuple[Any, ...]) -> Any:
    if node.kind == "leaf-list":
        return [keys[0]] if keys[0] in value else None
    entry = next(_entries(value, node, keys), None)
    if entry is None:
        return None
    if isinstance(entry, Row | Part):
        return PickedRows(lambda: iter(((entry,),)), value.marked)
    return [entry]


def _entries(value: Any, node: Node, keys: tuple[Any, ...] | None) -> Iterator[Any]:
    """The entries of a list that have these key values (all entries if None)."""
    if isinstance(value, list):
        for entry in value:
            if keys is None or keys == tuple(entry.get(key.member) for key in node.key_nodes):
                yield entry
        return
    texts = None if keys is None else tuple(key_text(*pair) for pair in zip(node.key_nodes, keys, strict=True))
    if texts is not None and not isinstance(value, PickedRows):
        row = value.find(texts)
        if row is not None:
            yield row
        return
    for page in value.pages():
        for row in page:
            if texts is None or texts == row_keys(row, node):
                yield row
