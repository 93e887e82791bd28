"""What an edit changes, node by node: the difference of two configuration trees. Nothing is judged here.

A container without presence is neither created nor deleted: whether it stands there says nothing (RFC 7950 section
7.5.1). An entry of a list that is ordered by the user is updated where it has another place among those that stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from agent.core.path import step
from agent.core.schema import Node
from agent.core.select import key_text
from agent.core.tree import Tree
from agent.errors import Path

Keys = dict[Node, tuple[str, ...]]


class Difference(NamedTuple):
    """One node instance. `keys` are the key texts of the list entries (of a leaf-list: its value) along `path`."""

    operation: Literal["create", "update", "delete"]
    node: Node
    path: Path
    keys: Keys


def differences(
    old: Tree, new: Tree, root: Node, skip: Callable[[Node], bool] = lambda _: False
) -> Iterator[Difference]:
    """All nodes that `new` has otherwise than `old`, parents first, in schema order; nothing at or below `skip`."""
    return _Walk(skip).members(old, new, root, (), {})


class _Walk:
    def __init__(self, skip: Callable[[Node], bool]) -> None:
        self._skip = skip

    def members(self, old: Tree, new: Tree, parent: Node, path: Path, keys: Keys) -> Iterator[Difference]:
        for node in parent.children:
            before, after = old.get(node.member), new.get(node.member)
            if before is after or self._skip(node):
                continue
            match node.kind:
                case "list":
                    yield from self._entries(before or [], after or [], node, path, keys)
                case "leaf-list":
                    yield from self._values(before or [], after or [], node, path, keys)
                case "container":
                    yield from self._branch(before, after, node, (*path, step(node)), keys)
                case _ if before != after:
                    yield Difference(_operation(before, after), node, (*path, step(node)), keys)

    def _branch(
        self, before: Tree | None, after: Tree | None, node: Node, path: Path, keys: Keys
    ) -> Iterator[Difference]:
        if (before is None or after is None) and (node.kind == "list" or node.presence):
            yield Difference(_operation(before, after), node, path, keys)
        yield from self.members(before or {}, after or {}, node, path, keys)

    def _entries(
        self, before: Sequence[Tree], after: Sequence[Tree], node: Node, path: Path, keys: Keys
    ) -> Iterator[Difference]:
        old, new = ({_texts(entry, node): entry for entry in entries} for entries in (before, after))
        moved = _moved(list(old), list(new)) if node.user_ordered else frozenset()
        for texts in {**old, **new}:
            was, is_ = old.get(texts), new.get(texts)
            here, own = (*path, step(node, texts)), {**keys, node: texts}
            if texts in moved:
                yield Difference("update", node, here, own)
            if was is not is_:
                yield from self._branch(was, is_, node, here, own)

    def _values(
        self, before: Sequence[Any], after: Sequence[Any], node: Node, path: Path, keys: Keys
    ) -> Iterator[Difference]:
        old, new = ([key_text(node, value) for value in values] for values in (before, after))
        moved = _moved(old, new) if node.user_ordered else frozenset()
        had, has = set(old), set(new)
        for text in dict.fromkeys((*old, *new)):
            if text in moved or (text in had) != (text in has):
                kind: Literal["create", "update", "delete"] = "update" if text in moved else "delete"
                kind = kind if text in had else "create"
                yield Difference(kind, node, (*path, step(node, (text,))), {**keys, node: (text,)})


def _operation(before: Any, after: Any) -> Literal["create", "update", "delete"]:
    if before is None:
        return "create"
    return "delete" if after is None else "update"


def _texts(entry: Tree, node: Node) -> tuple[str, ...]:
    return tuple(key_text(key, entry[key.member]) for key in node.key_nodes)


def _moved(old: Sequence[Any], new: Sequence[Any]) -> frozenset[Any]:
    """Those of both that stand at another place among those of both."""
    had, has = set(old), set(new)
    stayed = (item for item in old if item in has)
    return frozenset(was for was, is_ in zip(stayed, (item for item in new if item in had), strict=True) if was != is_)
