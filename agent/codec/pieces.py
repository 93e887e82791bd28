"""What both writers share: chunks of a size worth sending, walking rows with their marks. No syntax here."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from agent.core.data import Data
from agent.core.schema import Node
from agent.core.select import Part
from agent.core.tree import Row, Tree

CHUNK = 65536
"""Bytes that are collected before they are handed on."""

Marks = list[tuple[Node, Hashable]]


def chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of at least `CHUNK` (a longer piece goes through as it is)."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(waiting)
            waiting.clear()
            size = 0
    if waiting:
        yield b"".join(waiting)


def opened(data: Data | Tree) -> tuple[Tree, Marks]:
    """The tree, and the list that takes the marks of what is written."""
    return (data.tree, data.marks) if isinstance(data, Data) else (data, [])


def rows(value: Any, node: Node, marks: Marks | None, written: Callable[[Row | Part], bytes]) -> Iterator[bytes]:
    """The entries of a stored list as `written` gives them, joined into pieces; read page by page.

    A piece ends where it has reached `CHUNK`, and with each page. The mark of an entry is noted with its piece.
    """
    if marks is None:
        raise TypeError(f"{node.path}: Kept holds a list that lives in a store, but only finished values may be kept")
    for page in value.pages():
        waiting: list[bytes] = []
        size = 0
        for row in page:
            piece = written(row)
            waiting.append(piece)
            size += len(piece)
            if row.mark is not None:
                marks.append((node, row.mark))
            if size >= CHUNK:
                yield b"".join(waiting)
                waiting.clear()
                size = 0
        if waiting:
            yield b"".join(waiting)


def child_of(node: Node, member: str) -> Node:
    """The schema node of a member; raises ValueError for one that a provider made up."""
    child = node.by_member(member)
    if child is None:
        raise ValueError(f"{member} is not a child of {node.path}: its provider and the model disagree")
    return child
