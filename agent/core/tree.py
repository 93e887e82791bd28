"""The in-memory data tree: RFC 7951 values, and the two kinds of node that keep their encodings.

A tree is a dict of members (`module:name` at the top and wherever the module changes, else `name`); a list is a
Python list of dicts, a leaf-list a list of values, a leaf the JSON value of RFC 7951 (64-bit numbers and decimal64
as strings, empty as [None], identityref as "module:name"). Values are immutable by convention: whoever changes one
makes a new one. Nothing here knows a protocol or licensing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
import json
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

Tree = dict[str, Any]

Form = Literal["xml", "json"]
"""An encoding."""


class Kept(dict[str, Any]):
    """A finished subtree that will not change: a codec encodes its members once and keeps the bytes here.

    `xml` is what stands between the element's start and end tag, `json` the whole object.
    """

    __slots__ = ("json", "xml")

    xml: bytes | None
    json: bytes | None

    def __init__(self, members: Tree) -> None:
        super().__init__(members)
        self.xml = None
        self.json = None


class Markup(str):
    """A value of anyxml that is XML itself: whole elements with their namespaces. In JSON it is this text."""

    __slots__ = ()


class Tagged:
    """A leaf's value that nobody has set: the schema's default, in use (RFC 6243 section 2, RFC 8342 section 5.3).

    Equal to the plain value. `notes` says what a reply tells of it: "default" (wd:default of RFC 6243), "origin"
    (or:origin of RFC 8342), both or nothing.
    """

    __slots__ = ("notes", "value")

    def __init__(self, value: Any, notes: frozenset[str] = frozenset()) -> None:
        self.value = value
        self.notes = notes

    def __eq__(self, other: object) -> bool:
        return bool(self.value == plain(other))

    def __hash__(self) -> int:
        return hash(self.value)


def plain(value: Any) -> Any:
    """The value itself, where it may be `Tagged`."""
    return value.value if type(value) is Tagged else value


class Row(NamedTuple):
    """One list entry that was encoded when it was written: `xml` the whole element, `json` the whole object.

    `xml` assumes that its parent element's default namespace is the parent's own, so it carries an xmlns exactly
    when its module differs from its parent's. `mark` is what the provider is told when the entry's marked leaf has
    been delivered (see `Rows.marked`).
    """

    keys: tuple[str, ...]
    xml: bytes
    json: bytes
    mark: Hashable | None = None

    def tree(self) -> Tree:
        """The entry as a tree, decoded afresh (only reads that pick single leaves pay for it)."""
        value: Tree = json.loads(self.json)
        return value


class Rows(Protocol):
    """A list that lives in a store: found by key or walked in pages, never built whole."""

    @property
    def marked(self) -> str | None:
        """Member name of the leaf whose delivery has a consequence (design: Reads with a consequence)."""
        ...

    def find(self, keys: tuple[str, ...]) -> Row | None:
        """The entry with these canonical key values, in the schema's key order; cost independent of the length."""
        ...

    def pages(self) -> Iterator[Sequence[Row]]:
        """All entries as of the start of the walk, in stable order; no database snapshot is held between pages."""
        ...


@runtime_checkable
class JoinedRows(Protocol):
    """`Rows` without marks whose store joins them: for replies in which nothing is cut from them or put into them."""

    def joined(self, form: Form) -> Iterator[bytes]:
        """What `pages` walks, each page as one piece: its rows' encodings, in JSON with commas between."""
        ...
