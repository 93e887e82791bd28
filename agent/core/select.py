"""What part of a tree is wanted, and cutting a tree down to it. No filter syntax lives here.

Subtree filters (RFC 6241 section 6) and RESTCONF paths are both decoded into a `Selection` elsewhere. Lists that live
in a store stay there: rows are found by key, or decoded page by page while the reply is written.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

from agent.core.schema import Node
from agent.core.tree import Row, Tree


@dataclass(frozen=True, slots=True)
class Pick:
    """One schema node that is wanted.

    `match`: leaf children that must all have these canonical values (a leaf-list: contain it); a leaf-list may name
    itself, and is then cut down to that value. `below` None takes the whole subtree, else only what it picks; of a
    whole subtree, `depth` is how many levels are wanted, the node's own included (None: all). The leaves of `match`
    are a part of what is picked (RFC 6241 section 6.2.5), except where it is `silent`.
    """

    node: Node
    match: tuple[tuple[Node, Any], ...] = ()
    below: tuple[Pick, ...] | None = None
    depth: int | None = None
    silent: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off what matches."""
        return self.below is None and self.depth is None


Selection = tuple[Pick, ...]

FOUND = 32
"""Entries looked up by key before they are handed on."""

_TEXTUAL = frozenset({"string", "enumeration", "int64", "uint64", "decimal64"})
"""Types whose RFC 7951 value is their canonical text."""


class Part(NamedTuple):
    """A row that was cut down; `mark` is set when the marked leaf is still in it."""

    tree: Tree
    mark: Hashable | None


class PickedRows:
    """The wanted entries of a `Rows`: walked in pages, each decoded only when it is reached."""

    def __init__(self, walk: Callable[[], Iterator[Sequence[Row | Part]]], marked: str | None) -> None:
        self._walk = walk
        self.marked = marked
        self._primed: Iterator[Sequence[Row | Part]] | None = None

    def pages(self) -> Iterator[Sequence[Row | Part]]:
        """The entries; the first walk goes on from where `empty` has looked."""
        primed, self._primed = self._primed, None
        return self._walk() if primed is None else primed

    def empty(self) -> bool:
        """Whether nothing is picked (reads up to the first page that has something)."""
        walk = self.pages()
        first = next(walk, None)
        if first is None:
            return True
        self._primed = chain((first,), walk)
        return False


def target(path: Sequence[tuple[Node, tuple[Any, ...] | None]]) -> Selection:
    """The selection of one instance: nodes from below the root, with canonical key values (or a leaf-list's value)."""
    below: Selection | None = None
    for node, keys in reversed(path):
        match: tuple[tuple[Node, Any], ...] = ()
        if keys is not None:
            match = tuple(zip(node.key_nodes if node.kind == "list" else (node,), keys, strict=True))
        below = (Pick(node, match, below),)
    return below or ()


def limited(selection: Selection | None, depth: int | None, root: Node) -> Selection | None:
    """The same with `depth` levels of each node that is selected; of everything, of each node below the root."""
    if depth is None:
        return selection
    if selection is None:
        return tuple(Pick(child, depth=depth) for child in root.children)
    return tuple(
        replace(pick, depth=depth) if pick.below is None else replace(pick, below=limited(pick.below, depth, root))
        for pick in selection
    )


def walks(selection: Selection | None) -> bool:
    """Whether entries of state lists are compared by more than their keys: each has to be looked at then."""
    return any(
        (pick.node.kind == "list" and not pick.node.config and bool(pick.match) and _keys_of(pick, pick.node) is None)
        or walks(pick.below)
        for pick in selection or ()
    )


def touches(selection: Selection | None, trail: Sequence[Node]) -> bool:
    """Whether a selection takes or tests anything at, above or below the node that ends `trail` (from the root)."""
    if selection is None:
        return True
    picks = selection
    for depth, node in enumerate(trail):
        here = [pick for pick in picks if pick.node is node]
        if not here:
            return False
        if any(pick.below is None for pick in here):
            return True
        if depth + 1 < len(trail) and any(leaf is trail[depth + 1] for pick in here for leaf, _ in pick.match):
            return True
        picks = tuple(one for pick in here for one in pick.below or ())
    return True


def prune(tree: Tree, selection: Selection | None, node: Node) -> Tree:
    """Cut `tree` (members of `node`) down to `selection`; None means everything.

    What is taken whole passes through as the same object, so that encodings kept with it serve again. Parents of
    which nothing is left are left out; list entries that are cut down keep their keys (RFC 6241 section 6.2.4).
    """
    if selection is None:
        return tree
    grouped: dict[Node, list[Pick]] = {}
    for pick in selection:
        grouped.setdefault(pick.node, []).append(pick)
    result: Tree = {}
    for member, value in tree.items():
        child = node.by_member(member)
        picks = grouped.get(child) if child is not None else None
        if picks is None or child is None:
            continue
        kept = _prune_value(value, picks, child)
        if kept is not None:
            result[member] = kept
    return result


def _prune_value(value: Any, picks: list[Pick], node: Node) -> Any:
    """What is left of one node's value, or None."""
    match node.kind:
        case "container" | "notification":
            return _prune_entry(value, picks, node)
        case "list":
            if isinstance(value, list):
                entries = [kept for entry in value if (kept := _prune_entry(entry, picks, node)) is not None]
                return entries or None
            return _prune_rows(value, picks, node)
        case "leaf-list":
            if any(not pick.match for pick in picks):
                return value
            wanted = [literal for pick in picks for _, literal in pick.match]
            return [one for one in value if one in wanted] or None
        case _:
            return value


def _prune_entry(entry: Tree, picks: Iterable[Pick], node: Node) -> Tree | None:
    """What is left of a container or list entry: itself where one pick takes it whole, or None."""
    below: list[Pick] = []
    selected = False
    for pick in picks:
        if not all(_equals(entry.get(leaf.member), literal, leaf) for leaf, literal in pick.match):
            continue
        if pick.whole:
            return entry
        if pick.depth is not None and pick.below is None:
            selected = True
            if pick.depth > 1:
                below.extend(Pick(child, depth=pick.depth - 1) for child in node.children)
        below.extend(pick.below or ())
        if pick.silent:
            continue
        # the matched leaf belongs to the result; of a leaf-list, the value that matched (RFC 6241 section 6.2.5)
        below.extend(Pick(leaf, ((leaf, literal),) if leaf.kind == "leaf-list" else ()) for leaf, literal in pick.match)
    if not below and not selected:
        return None
    kept = prune(entry, tuple(below), node)
    if not kept and not selected:
        return None
    # a key that may not be read is not in the entry at all
    missing = [key.member for key in node.key_nodes if key.member not in kept and key.member in entry]
    return {key: entry[key] for key in missing} | kept if missing else kept


def _equals(value: Any, literal: Any, leaf: Node) -> bool:
    if leaf.kind == "leaf-list":
        return value is not None and literal in value
    return bool(value == literal)


def _keys_of(pick: Pick, node: Node) -> tuple[str, ...] | None:
    """The canonical texts of all keys of the list, if the pick tests them all."""
    if not node.keys:
        return None
    literals = dict(pick.match)
    if len(literals) != len(pick.match) or not all(key in literals for key in node.key_nodes):
        return None
    return tuple(key_text(key, literals[key]) for key in node.key_nodes)


def key_text(key: Node, value: Any) -> str:
    """A key's canonical text, as paths and rows hold it."""
    return value if isinstance(value, str) or key.type is None else key.type.to_text(value)


def row_keys(row: Row | Part, node: Node) -> tuple[str, ...]:
    """The canonical key texts of an entry of the stored list `node`; a part has all of its keys."""
    if isinstance(row, Row):
        return row.keys
    return tuple(key_text(key, row.tree.get(key.member)) for key in node.key_nodes)


def _prune_rows(rows: Any, picks: list[Pick], node: Node) -> Any:
    if any(not pick.match and pick.whole for pick in picks):
        return rows
    bare = _only_keys(picks, node)
    wanted: dict[tuple[str, ...], list[Pick]] = {}
    for pick in picks:
        keys = _keys_of(pick, node)
        if keys is None or isinstance(rows, PickedRows):
            picked = PickedRows(lambda: _walk(rows, picks, node, bare), rows.marked)
            return None if picked.empty() else picked
        wanted.setdefault(keys, []).append(pick)
    picked = PickedRows(lambda: _find(rows, wanted, node, bare), rows.marked)
    return None if picked.empty() else picked


def _find(
    rows: Any, wanted: dict[tuple[str, ...], list[Pick]], node: Node, bare: tuple[str, ...] | None
) -> Iterator[Sequence[Row | Part]]:
    """What is picked by key, some at a time: a request may name thousands, and the reply is to grow as it is sent."""
    found: list[Row | Part] = []
    for keys, alike in wanted.items():
        row = rows.find(keys)
        kept = None if row is None else _prune_row(row, alike, node, rows.marked, bare)
        if kept is not None:
            found.append(kept)
        if len(found) == FOUND:
            yield found
            found = []
    if found:
        yield found


def _only_keys(picks: list[Pick], node: Node) -> tuple[str, ...] | None:
    """The keys' members where nothing but keys is wanted, and a row's key texts are what the tree holds."""
    for pick in picks:
        tested = (leaf for leaf, _ in pick.match)
        taken = (below.node for below in pick.below or ())
        if pick.whole or not (pick.below or pick.match or pick.depth):
            return None
        if (pick.below is None or (pick.silent and not pick.below)) and pick.depth != 1:
            return None
        if not all(leaf in node.key_nodes for leaf in chain(tested, taken)):
            return None
    if any(key.type is None or key.type.base not in _TEXTUAL for key in node.key_nodes):
        return None
    return tuple(key.member for key in node.key_nodes)


def _walk(rows: Any, picks: list[Pick], node: Node, bare: tuple[str, ...] | None) -> Iterator[Sequence[Row | Part]]:
    for page in rows.pages():
        kept = [one for row in page if (one := _prune_row(row, picks, node, rows.marked, bare)) is not None]
        if kept:
            yield kept


def _prune_row(
    row: Row | Part, picks: list[Pick], node: Node, marked: str | None, bare: tuple[str, ...] | None
) -> Row | Part | None:
    """What is left of one entry; where only the keys (`bare`) are wanted, it need not be decoded."""
    if isinstance(row, Part):
        tree, mark = row.tree, row.mark
    else:
        picks = [pick for pick in picks if not pick.match or _row_may_match(row, pick, node)]
        if any(pick.whole and all(leaf in node.key_nodes for leaf, _ in pick.match) for pick in picks):
            return row
        if not picks:
            return None
        if bare is not None:
            return Part(dict(zip(bare, row.keys, strict=True)), None)
        tree, mark = row.tree(), row.mark
    kept = _prune_entry(tree, picks, node)
    if kept is None:
        return None
    if kept is tree:
        return row
    return Part(kept, mark if marked is not None and marked in kept else None)


def _row_may_match(row: Row, pick: Pick, node: Node) -> bool:
    """Whether the keys, which cost no decoding, rule the entry out."""
    return all(
        row.keys[node.key_nodes.index(leaf)] == key_text(leaf, literal)
        for leaf, literal in pick.match
        if leaf in node.key_nodes
    )
