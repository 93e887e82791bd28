"""Default values in a tree: adding those that are in use, and leaving out those that equal the schema's (RFC 6243).

A tree goes in, a tree comes out; what does not change passes through as the same object, with its kept encodings.
Source: RFC 7950 sections 7.5.7, 7.6.1, 7.7.2 and 7.9.3 (when a default is in use), RFC 6243 section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
import logging
import sys
from typing import Any

from agent.core.schema import Node, Schema
from agent.core.select import Part, Pick, PickedRows, Selection
from agent.core.tree import Row, Tagged, Tree, plain
from agent.core.xpath import Evaluation
from agent.core.xpath_functions import boolean
from agent.core.xpath_items import Cost, Group, Item, root
from agent.core.xpath_parse import Expression, Scope, XPathError, parse

log = logging.getLogger(__name__)

ROUNDS = 4
"""How often conditions are looked at again, since a default may make another one's `when` true."""


class WithDefaults(Enum):
    """The retrieval modes of RFC 6243 section 3; `explicit` shows what was set, and is how data is kept here."""

    EXPLICIT = "explicit"
    REPORT_ALL = "report-all"
    REPORT_ALL_TAGGED = "report-all-tagged"
    TRIM = "trim"


Path = tuple[tuple[Node, int], ...]
"""A place in a tree: schema nodes from below the root, each with the position among its siblings of that node."""


def fill(
    tree: Tree,
    schema: Schema,
    selection: Selection | None = None,
    *,
    config: bool = True,
    state: bool = True,
    notes: frozenset[str] = frozenset(),
) -> Tree:
    """The tree with the defaults in use, as `Tagged` values that carry `notes`.

    Only where `selection` looks; `config` and `state` say which half is wanted. State containers that their provider
    leaves out stay out: a default says nothing about whether they are served.
    """
    filler = _Filler(schema, config=config, state=state, notes=notes)
    if not conditional(schema.root):
        return filler.filled(tree, schema.root, selection, ())
    for _ in range(ROUNDS):
        filler.look_at(tree)
        after = filler.filled(tree, schema.root, None, ())
        if after is tree:
            break
        tree = after
    return tree


def in_mode(config: Tree, schema: Schema, mode: WithDefaults) -> Tree:
    """A whole configuration as a mode shows it (copy-config of RFC 6243 section 4.5.1)."""
    match mode:
        case WithDefaults.EXPLICIT:
            return config
        case WithDefaults.TRIM:
            return trim(config, schema.root)
    notes = frozenset({"default"} if mode is WithDefaults.REPORT_ALL_TAGGED else ())
    return fill(config, schema, state=False, notes=notes)


def untagged(value: Any) -> Any:
    """The same with defaults as if they had been set; for plain trees, as datastores keep them."""
    match value:
        case dict():
            after = {member: untagged(one) for member, one in value.items()}
            return value if all(after[member] is one for member, one in value.items()) else after
        case list():
            entries = [untagged(one) for one in value]
            return value if all(one is other for one, other in zip(entries, value, strict=True)) else entries
    return plain(value)


def trim(tree: Tree, node: Node) -> Tree:
    """The tree (members of `node`) without leaves that have the schema's default value."""
    changed: Tree | None = None
    for member, value in tree.items():
        child = node.by_member(member)
        if child is None or not defaulted(child):
            continue
        after = None if child in node.key_nodes else _trimmed(value, child)
        if child in node.key_nodes or after is value:
            continue
        changed = dict(tree) if changed is None else changed
        if after is None:
            del changed[member]
        else:
            changed[member] = after
    return tree if changed is None else changed


def _trimmed(value: Any, node: Node) -> Any:
    match node.kind:
        case "leaf" | "leaf-list":
            return None if value == default_of(node) else value
        case "container":
            after = trim(value, node)
            return None if not after and value and not node.presence else after
        case "list" if isinstance(value, list):
            return _each(value, lambda entry, _: trim(entry, node))
        case "list":
            return _rows(value, lambda entry: trim(entry, node))
    return value


def _each(entries: list[Tree], change: Callable[[Tree, int], Tree]) -> list[Tree]:
    """All entries changed; the same list where no entry is."""
    after = [change(entry, at) for at, entry in enumerate(entries)]
    return entries if all(one is other for one, other in zip(after, entries, strict=True)) else after


@lru_cache(maxsize=8192)
def defaulted(node: Node) -> bool:
    """Whether the node or any node below it has a default."""
    return bool(node.default) or any(defaulted(child) for child in node.children)


@lru_cache(maxsize=8192)
def conditional(node: Node) -> bool:
    """Whether a default at or below the node depends on a `when`."""
    if not defaulted(node):
        return False
    return bool(node.when or node.outer_when) or any(conditional(child) for child in node.children)


@lru_cache(maxsize=8192)
def default_of(node: Node) -> Any:
    """The default as a canonical value (of a leaf-list: the list of them); None where there is none."""
    if not node.default or node.type is None:
        return None
    values = [node.type.from_text(text) for text in node.default]
    return values if node.kind == "leaf-list" else values[0]


class _Changed:
    """A stored list (`Rows`) whose entries are changed when they are reached."""

    def __init__(self, rows: Any, change: Callable[[Row | Part], Row | Part]) -> None:
        self._rows = rows
        self._change = change
        self.marked: str | None = rows.marked

    def find(self, keys: tuple[str, ...]) -> Row | Part | None:
        row = self._rows.find(keys)
        return None if row is None else self._change(row)

    def pages(self) -> Iterator[Sequence[Row | Part]]:
        for page in self._rows.pages():
            yield [self._change(row) for row in page]


def _rows(rows: Any, change: Callable[[Tree], Tree]) -> Any:
    """A list that lives in a store, or what was picked of it, with every entry changed."""

    def changed(row: Row | Part) -> Row | Part:
        before = row.tree() if isinstance(row, Row) else row.tree
        after = change(before)
        return row if after is before else Part(after, row.mark)

    if isinstance(rows, PickedRows):
        return PickedRows(lambda: ([changed(row) for row in page] for page in rows.pages()), rows.marked)
    return _Changed(rows, changed)


@dataclass(slots=True)
class _Filler:
    """One pass over a tree; conditions are evaluated over the tree that `look_at` was given."""

    schema: Schema
    config: bool
    state: bool
    notes: frozenset[str]
    top: Item | None = None
    parsed: dict[tuple[str, str], tuple[Expression, Scope]] = field(default_factory=dict)

    def look_at(self, tree: Tree) -> None:
        # the conditions are the models' own: what they cost is for whoever writes models to answer for
        self.top = root(tree, self.schema.root, Cost(sys.maxsize))

    def filled(self, tree: Tree, node: Node, selection: Selection | None, path: Path) -> Tree:
        changed: Tree | None = None
        for child in node.children:
            if not defaulted(child) or child in node.key_nodes or not self._wanted(child):
                continue
            below = _below(selection, child)
            if below == ():
                continue
            before = tree.get(child.member)
            after = self._value(before, child, below, tree, path)
            if after is not before:
                changed = dict(tree) if changed is None else changed
                changed[child.member] = after
        return tree if changed is None else changed

    def _wanted(self, node: Node) -> bool:
        return node.config or self.state

    def _value(self, value: Any, node: Node, below: Selection | None, siblings: Tree, path: Path) -> Any:
        match node.kind:
            case "leaf" | "leaf-list":
                if value is not None or not (self.config or not node.config) or not self._in_use(node, siblings, path):
                    return value
                default = default_of(node)
                if node.kind == "leaf-list":
                    return [Tagged(one, self.notes) for one in default]
                return Tagged(default, self.notes)
            case "container" if value is None:
                if node.presence or not node.config or not self._in_use(node, siblings, path):
                    return None
                return self.filled({}, node, below, (*path, (node, 0))) or None
            case "container":
                return self.filled(value, node, below, (*path, (node, 0)))
            case "list" if isinstance(value, list):
                return _each(value, lambda entry, at: self.filled(entry, node, below, (*path, (node, at))))
            case "list" if value is not None:
                return _rows(value, lambda entry: self.filled(entry, node, None, (*path, (node, 0))))
        return value

    def _in_use(self, node: Node, siblings: Tree, path: Path) -> bool:
        return _case_in_use(node, siblings) and self._conditions(node, path)

    def _conditions(self, node: Node, path: Path) -> bool:
        """Whether every `when` on the node and around it holds (RFC 7950 section 7.21.5)."""
        if not node.when and not node.outer_when:
            return True
        above = self._item(path)
        if above is None:
            return False
        value: Any = {} if node.kind == "container" else default_of(node)
        own = Item(node, value, Group(above, node, [], len(above.groups())), 0, above.cost)
        return all(self._holds(text, node, above) for text in node.outer_when) and all(
            self._holds(text, node, own) for text in node.when
        )

    def _item(self, path: Path) -> Item | None:
        item = self.top
        for node, at in path:
            if item is None:
                return None
            group = next((one for one in item.groups() if one.node is node), None)
            if group is None:
                # a container that would be there only for its defaults
                group = Group(item, node, {}, len(item.groups()))
            item = group.at(at)
        return item

    def _holds(self, text: str, node: Node, context: Item) -> bool:
        assert self.top is not None
        try:
            expression, scope = self._parsed(text, node.module)
            return boolean(Evaluation(self.schema, scope, self.top, context).value(expression))
        except XPathError as error:
            log.warning(
                "the condition %r of %s cannot be evaluated (%s): its default is left out", text, node.path, error
            )
            return False

    def _parsed(self, text: str, module: str) -> tuple[Expression, Scope]:
        found = self.parsed.get((text, module))
        if found is None:
            others = {prefix: name for name, prefix in self.schema.names.prefixes.items()}
            scope = Scope({**others, **self.schema.modules[module].imports}, module)
            found = self.parsed[text, module] = (parse(text, scope), scope)
        return found


def _below(selection: Selection | None, node: Node) -> Selection | None:
    """What is selected below `node`: None for all of it, () for nothing. Tested leaves count as selected."""
    if selection is None:
        return None
    below: list[Pick] = []
    for pick in selection:
        if pick.node is not node:
            continue
        if pick.below is None:
            return None
        below += [*pick.below, *(Pick(leaf) for leaf, _ in pick.match)]
    if not below and not any(pick.node is node for pick in selection):
        return ()
    return tuple(below) or None


def _case_in_use(node: Node, siblings: Tree) -> bool:
    """Whether the cases around a node are those in use, by choice or by default (RFC 7950 section 7.9.3)."""
    parent = node.parent
    if not node.choice or parent is None:
        return True
    present = [one for member in siblings if (one := parent.by_member(member)) is not None]
    for level, (choice, case) in enumerate(node.choice):
        outer = node.choice[:level]
        chosen = {
            one.choice[level][1]
            for one in present
            if len(one.choice) > level and one.choice[:level] == outer and one.choice[level][0] == choice
        }
        if chosen and case not in chosen:
            return False
        if not chosen and choice not in node.default_cases:
            return False
    return True
