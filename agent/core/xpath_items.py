"""The data tree as XPath sees it: items with parent, children and document order, made only where they are reached.

Lists that live in a store are walked page by page and entries decoded only when more than their keys is asked for.
Values are never changed. No expressions in here. Source: W3C XPath 1.0 section 5, RFC 7950 section 6.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from agent.core.reftypes import LeafRef, Union
from agent.core.schema import Node
from agent.core.select import Part
from agent.core.tree import Row, Tree, plain
from agent.core.types import InvalidValue, Type
from agent.core.xpath_parse import Test

BRANCHES = frozenset({"root", "container", "list", "input", "output", "notification", "rpc", "action"})
"""Kinds of schema node whose instances have children."""

_WEIGHT = 256
"""Octets of a stored entry, or of text, that cost as much as visiting one node."""


class TooCostlyError(Exception):
    """The evaluation has visited more of the data than one request may."""


class Cost:
    """What one evaluation may still spend: one unit is one node visited, half an operation, or some 64 characters."""

    __slots__ = ("left",)

    def __init__(self, limit: int) -> None:
        self.left = limit

    def spend(self, amount: int = 1) -> None:
        """Raises TooCostlyError."""
        self.left -= amount
        if self.left < 0:
            raise TooCostlyError


class Item:
    """One node of the data: the root, a container, a list entry, a leaf, one value of a leaf-list, or (`text`) the
    text within a leaf. Compared by identity: the same node is always the same item."""

    __slots__ = ("_groups", "_keys", "_order", "_text_item", "cost", "group", "index", "node", "text", "value")

    def __init__(
        self, node: Node, value: Any, group: Group | None, index: int, cost: Cost, *, text: bool = False
    ) -> None:
        self.node = node
        self.value = value
        self.group = group
        self.index = index
        self.cost = cost
        self.text = text
        self._groups: list[Group] | None = None
        self._keys: dict[Node, Group] | None = None
        self._text_item: Item | None = None
        self._order: tuple[int, ...] | None = None

    @property
    def parent(self) -> Item | None:
        return None if self.group is None else self.group.parent

    @property
    def branch(self) -> bool:
        """Whether it can have child elements."""
        return self.node.kind in BRANCHES

    def order(self) -> tuple[int, ...]:
        """Sorts in document order."""
        if self._order is None:
            group = self.group
            self._order = () if group is None else (*group.parent.order(), group.index, self.index)
        return self._order

    def tree(self) -> Mapping[str, Any]:
        """The members of a branch; a stored entry is decoded."""
        value = self.value
        if isinstance(value, Row):
            self.cost.spend(1 + len(value.json) // _WEIGHT)
            return value.tree()
        if isinstance(value, Part):
            return value.tree
        members: Mapping[str, Any] = value
        return members

    def groups(self) -> list[Group]:
        """The children in document order, by schema node; list keys come first, as they are written."""
        if self._groups is None:
            made: list[Group] = []
            tree = self.tree()
            ordered = {key.member: tree[key.member] for key in self.node.key_nodes if key.member in tree}
            for member, value in {**ordered, **tree}.items():
                node = self.node.by_member(member)
                if node is None:
                    continue
                group = (self._keys or {}).get(node)
                kind = Entries if node.kind in ("list", "leaf-list") else Group
                made.append(group or kind(self, node, value, len(made)))
            self.cost.spend(len(made))
            self._groups = made
        return self._groups

    def key_values(self) -> Iterator[tuple[Group, Any]]:
        """The keys of a list entry with their values; nothing is decoded."""
        for node in self.node.key_nodes:
            if isinstance(self.value, Row):
                group = self._key(node)
            else:
                found = next((one for one in self.groups() if one.node is node), None)
                if found is None:
                    continue
                group = found
            for item in group.items():
                yield group, item.value

    def matching(self, test: Test) -> Iterator[Group]:
        """The groups that a test on child elements takes; for the key of a stored entry nothing is decoded."""
        if (
            self._groups is None
            and isinstance(self.value, Row)
            and test.name is not None
            and test.name in self.node.keys
        ):
            node = self.node.key_nodes[self.node.keys.index(test.name)]
            if test.module in (None, node.module) and len(self.node.named(test.name)) == 1:
                yield self._key(node)
                return
        for group in self.groups():
            if (test.name is None or group.node.name == test.name) and test.module in (None, group.node.module):
                yield group

    def _key(self, node: Node) -> Group:
        if self._keys is None:
            self._keys = {}
        found = self._keys.get(node)
        if found is None:
            index = self.node.key_nodes.index(node)
            text = self.value.keys[index]
            value = text if node.type is None else node.type.from_text(text)
            found = self._keys[node] = Group(self, node, value, index)
        return found

    def children(self) -> Iterator[Item]:
        """Child elements, or the text of a leaf."""
        if self.text:
            return
        if not self.branch:
            if self._text_item is None and self.string():
                self._text_item = Item(self.node, self.value, Group(self, self.node, None, 0), 0, self.cost, text=True)
            if self._text_item is not None:
                yield self._text_item
            return
        for group in self.groups():
            yield from group.items()

    def string(self) -> str:
        """The string-value (W3C XPath 1.0 section 5.2); of a branch that of all leaves below, without white space."""
        if not self.branch:
            return text_of(self.value, self.node)
        pieces: list[str] = []
        waiting = [self.children()]
        while waiting:
            item = next(waiting[-1], None)
            if item is None:
                waiting.pop()
            elif item.branch:
                waiting.append(item.children())
            else:
                pieces.append(item.string())
                self.cost.spend(1 + len(pieces[-1]) // _WEIGHT)
        return "".join(pieces)

    def release(self) -> list[Item]:
        """Let go of all that is below, and give the items that were made there."""
        groups = {id(group): group for group in (*(self._groups or ()), *(self._keys or {}).values())}
        self._groups = self._keys = self._text_item = None
        return [item for group in groups.values() for item in group.release()]


class Group:
    """The one instance of a container or leaf below a parent; `Entries` has those of a list or leaf-list."""

    __slots__ = ("_held", "index", "node", "parent")

    stored = False
    """Whether the instances are entries of a list that lives in a store."""

    marked: str | None = None
    """The member whose delivery has a consequence (`tree.Rows.marked`)."""

    def __init__(self, parent: Item, node: Node, value: Any, index: int) -> None:
        self.parent = parent
        self.node = node
        self.index = index
        # the value, and from the first visit on its item: there are hundreds of thousands of these
        self._held = value

    def at(self, index: int) -> Item | None:
        """The item at that place, counted from 0."""
        return next((one for one in self.items() if one.index == index), None)

    def items(self) -> Iterator[Item]:
        held = self._held
        if type(held) is not Item:
            self.parent.cost.spend()
            held = self._held = Item(self.node, held, self, 0, self.parent.cost)
        yield held

    def release(self) -> Sequence[Item]:
        """Let go of the items that were made, and give them."""
        held, self._held = self._held, None
        return (held,) if type(held) is Item else ()


class Entries(Group):
    """The instances of a list or leaf-list below one parent, enumerated as far as they are asked for."""

    __slots__ = ("_known", "_source", "marked", "stored")

    def __init__(self, parent: Item, node: Node, value: Any, index: int) -> None:
        super().__init__(parent, node, None, index)
        self.stored = node.kind == "list" and not isinstance(value, list)
        self.marked = value.marked if self.stored else None
        self._known: list[Item] = []
        self._source: Iterator[Any] | None = self._values(value)

    def _values(self, value: Any) -> Iterator[Any]:
        if not self.stored:
            yield from value
            return
        for page in value.pages():
            yield from page

    def at(self, index: int) -> Item | None:
        """The item at that place, counted from 0."""
        return self._known[index] if index < len(self._known) else super().at(index)

    def items(self) -> Iterator[Item]:
        known, at = self._known, 0
        while True:
            while at < len(known):
                yield known[at]
                at += 1
            if self._source is None:
                return
            try:
                value = next(self._source)
            except StopIteration:
                self._source = None
                return
            cost = self.parent.cost
            cost.left -= 1
            if cost.left < 0:
                raise TooCostlyError
            known.append(Item(self.node, value, self, len(known), cost))

    def release(self) -> Sequence[Item]:
        """Let go of the items that were made, and give them."""
        known, self._known, self._source = self._known, [], None
        return known


def root(tree: Tree, node: Node, cost: Cost) -> Item:
    """The item of a whole datastore (`node` is the schema's root), or of any tree of `node`'s members."""
    return Item(node, tree, None, 0, cost)


def release(top: Item) -> None:
    """Take an evaluation's items apart, so that each is freed at once: parent and child hold each other, and what is
    left to the collector waits for a sweep over all of them, which stops every thread. No item may be used any more."""
    waiting = [top]
    while waiting:
        waiting.extend(waiting.pop().release())


def text_of(value: Any, node: Node) -> str:
    """A leaf's text as XML shows it; identities carry their module's own prefix."""
    value = plain(value)
    if node.type is None:
        return ""
    return str(value) if node.type.base == "string" else node.type.to_xml(value)[0]


def concrete(kind: Type | None, value: Any) -> Type | None:
    """The type that a value really has: through leafrefs, and the member of a union that takes it."""
    while kind is not None:
        if isinstance(kind, LeafRef):
            kind = kind.target
        elif isinstance(kind, Union):
            kind = next((member for member in kind.members if _takes(member, value)), None)
        else:
            return kind
    return None


def _takes(kind: Type, value: Any) -> bool:
    try:
        return bool(kind.from_json(value) == value)
    except InvalidValue:
        return False


@lru_cache(maxsize=8192)
def reaches(node: Node, module: str | None, name: str | None) -> bool:
    """Whether an element of that name (None: any) can stand below an instance of the schema node."""
    return any(
        ((name is None or child.name == name) and module in (None, child.module)) or reaches(child, module, name)
        for child in node.children
    )
