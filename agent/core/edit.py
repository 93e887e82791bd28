"""Applying an edit to a configuration tree: a pure function, the old tree stays as it was (RFC 6241 section 7.2).

Structure only: operations, list keys, choice cases, presence. Constraints between nodes are checked by validate.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal

from agent.core.path import step
from agent.core.requests import EditNode, EditOperation
from agent.core.schema import Node
from agent.core.select import key_text
from agent.core.tree import Tree
from agent.errors import Path, RequestError, refuse

ADDING = frozenset({"merge", "replace", "create"})
REMOVING = frozenset({"delete", "remove"})


def apply_edit(
    tree: Tree, edits: Sequence[EditNode], default_operation: Literal["merge", "replace", "none"] = "merge"
) -> Tree:
    """The tree after `edits`; raises RequestError naming the first node that cannot be changed as asked."""
    if default_operation == "replace":
        return _children({}, edits, "merge", ())
    return _children(tree, edits, default_operation, ())


def _children(members: Tree, edits: Sequence[EditNode], inherited: EditOperation, path: Path) -> Tree:
    """The members after the edits of their parent's children."""
    _refuse_twice(edits, path)
    _refuse_two_cases(edits, inherited, path)
    result = dict(members)
    for node, group in groupby(sorted(edits, key=_appearance(edits)), key=lambda edit: edit.node):
        wanted = list(group)
        before = result.get(node.member)
        match node.kind:
            case "list":
                after: Any = _entries(before or [], wanted, inherited, path)
            case "leaf-list":
                after = _values(before or [], wanted, inherited, path)
            case "container":
                after = _container(before, wanted[0], inherited, path)
            case _:
                after = _leaf(before, wanted[0], inherited, path)
        if after is None:
            result.pop(node.member, None)
        else:
            result[node.member] = after
            if any((edit.operation or inherited) in ADDING for edit in wanted):
                _drop_other_cases(result, node)
    return result


def _appearance(edits: Sequence[EditNode]) -> Any:
    """Sorts the edits of one list together, at the place where the first of them stands."""
    first: dict[Node, int] = {}
    for place, edit in enumerate(edits):
        first.setdefault(edit.node, place)
    return lambda edit: first[edit.node]


def _identity(edit: EditNode) -> tuple[Node, Any]:
    if edit.node.kind == "leaf-list":
        return edit.node, key_text(edit.node, edit.value)
    return edit.node, edit.keys


def _step_path(edit: EditNode, path: Path) -> Path:
    if edit.node.kind == "leaf-list":
        return (*path, step(edit.node, (key_text(edit.node, edit.value),)))
    return (*path, step(edit.node, edit.keys))


def _refuse_twice(edits: Sequence[EditNode], path: Path) -> None:
    seen = set()
    for edit in edits:
        identity = _identity(edit)
        if identity in seen:
            where = _step_path(edit, path)
            if edit.node.kind in ("list", "leaf-list"):
                raise refuse("data-exists", f"{edit.node.name}: the same entry stands twice in this edit", path=where)
            message = f"{edit.node.name} stands twice in this edit: send it once"
            raise refuse("bad-element", message, path=where, bad_element=edit.node.name)
        seen.add(identity)


def in_other_case(one: Node, other: Node) -> bool:
    """Whether two siblings exclude each other: they lie in different cases of one choice (RFC 7950 section 7.9)."""
    for (choice, case), (other_choice, other_case) in zip(one.choice, other.choice, strict=False):
        if choice != other_choice:
            return False
        if case != other_case:
            return True
    return False


def _refuse_two_cases(edits: Sequence[EditNode], inherited: EditOperation, path: Path) -> None:
    chosen: list[Node] = []
    for edit in edits:
        node = edit.node
        if not node.choice or node in chosen or (edit.operation or inherited) not in ADDING:
            continue
        for other in chosen:
            if in_other_case(node, other):
                message = f"{node.name} and {other.name} are alternatives of choice {node.choice[0][0]}: send one"
                raise refuse("bad-element", message, path=_step_path(edit, path), bad_element=node.name)
        chosen.append(node)


def _drop_other_cases(members: Tree, node: Node) -> None:
    if not node.choice or node.parent is None:
        return
    for sibling in node.parent.children:
        if sibling.member in members and in_other_case(node, sibling):
            del members[sibling.member]


def _exists(node: Node, where: Path) -> RequestError:
    return refuse("data-exists", f"{node.name} exists already: use merge or replace to change it", path=where)


def _missing(node: Node, where: Path) -> RequestError:
    return refuse("data-missing", f"{node.name} does not exist: nothing to work on", path=where)


def _refuse_work_below(edit: EditNode, where: Path) -> None:
    """Below a deletion there is nothing to add (RFC 6241 section 7.2: operations must not contradict)."""
    for child in edit.children:
        here = _step_path(child, where)
        if child.operation is not None and child.operation not in REMOVING:
            message = f"operation {child.operation} on {child.node.name} contradicts the deletion of {edit.node.name}"
            raise refuse("bad-attribute", message, path=here, bad_attribute="operation", bad_element=child.node.name)
        _refuse_work_below(child, here)


def _branch(before: Tree | None, edit: EditNode, inherited: EditOperation, path: Path) -> Tree | None:
    """A container or list entry after its edit; None when it is gone. The caller knows about presence."""
    where = _step_path(edit, path)
    operation = edit.operation or inherited
    children = edit.children
    if edit.node.kind == "list":
        children = tuple(child for child in children if child.node not in edit.node.key_nodes)
    match operation:
        case "delete" | "remove":
            _refuse_work_below(edit, where)
            if before is None and operation == "delete":
                raise _missing(edit.node, where)
            return None
        case "create":
            if before is not None:
                raise _exists(edit.node, where)
            return _children(_fresh(edit), children, "create", where)
        case "replace":
            return _children(_fresh(edit), children, "merge", where)
        case "merge":
            return _children(_fresh(edit) if before is None else before, children, "merge", where)
    if before is None:
        if edit.node.kind == "list" or edit.node.presence:
            raise _missing(edit.node, where)
        before = {}
    return _children(before, children, "none", where)


def _fresh(edit: EditNode) -> Tree:
    """A new list entry holds its keys; a new container nothing."""
    keys = edit.node.key_nodes
    return {child.node.member: child.value for key in keys for child in edit.children if child.node is key}


def _container(before: Tree | None, edit: EditNode, inherited: EditOperation, path: Path) -> Tree | None:
    after = _branch(before, edit, inherited, path)
    if not after and not edit.node.presence:
        return None  # an empty non-presence container says nothing (RFC 7950 section 7.5.1)
    return after


def _entries(before: list[Tree], edits: Sequence[EditNode], inherited: EditOperation, path: Path) -> list[Tree] | None:
    key_nodes = edits[0].node.key_nodes
    index = {tuple(key_text(key, entry[key.member]) for key in key_nodes): entry for entry in before}
    for edit in edits:
        after = _branch(index.get(edit.keys), edit, inherited, path)
        if after is None:
            index.pop(edit.keys, None)
        else:
            index[edit.keys] = after
            index = _placed(index, edit.keys, edit, path)
    return list(index.values()) or None


def _values(before: list[Any], edits: Sequence[EditNode], inherited: EditOperation, path: Path) -> list[Any] | None:
    node = edits[0].node
    index: dict[tuple[str, ...], Any] = {(key_text(node, value),): value for value in before}
    for edit in edits:
        key = (key_text(node, edit.value),)
        after = _leaf(index.get(key), edit, inherited, path)
        if after is None:
            index.pop(key, None)
        else:
            index[key] = after
            index = _placed(index, key, edit, path)
    return list(index.values()) or None


def _placed(
    index: dict[tuple[str, ...], Any], key: tuple[str, ...], edit: EditNode, path: Path
) -> dict[tuple[str, ...], Any]:
    """The entries with the one at `key` where its edit wants it. Raises RequestError where the other one is missing.

    Source: RFC 7950 sections 7.7.9, 7.8.6 and 15.7.
    """
    insert = edit.insert
    if insert is None:
        return index
    value = index.pop(key)
    if insert.where == "last":
        index[key] = value
        return index
    if insert.where == "first":
        return {key: value, **index}
    if insert.anchor not in index:
        message = f"{edit.node.name} cannot go {insert.where} an entry that is not there"
        attribute = "key" if edit.node.kind == "list" else "value"
        where = _step_path(edit, path)
        raise refuse(
            "bad-attribute", message, path=where, app_tag="missing-instance", bad_attribute=attribute,
            bad_element=edit.node.name,
        )  # fmt: skip
    placed: dict[tuple[str, ...], Any] = {}
    for other, entry in index.items():
        if other != insert.anchor:
            placed[other] = entry
        elif insert.where == "before":
            placed |= {key: value, other: entry}
        else:
            placed |= {other: entry, key: value}
    return placed


def _leaf(before: Any, edit: EditNode, inherited: EditOperation, path: Path) -> Any:
    match edit.operation or inherited:
        case "delete" if before is None:
            raise _missing(edit.node, _step_path(edit, path))
        case "delete" | "remove":
            return None
        case "create" if before is not None:
            raise _exists(edit.node, _step_path(edit, path))
        case "none":
            if before is None:
                raise _missing(edit.node, _step_path(edit, path))
            return before
    return edit.value


def removal(path: Path, nodes: Sequence[Node]) -> EditNode:
    """The edit that removes the instance at `path` (to be applied with default operation none)."""
    edit: EditNode | None = None
    for part, node in zip(reversed(path), reversed(nodes), strict=True):
        texts = tuple(text for _, text in part.keys)
        operation: EditOperation | None = "remove" if edit is None else None
        if node.kind == "leaf-list" and node.type is not None:
            edit = EditNode(node, operation, value=node.type.from_text(texts[0]))
        else:
            edit = EditNode(node, operation, keys=texts, children=() if edit is None else (edit,))
    if edit is None:
        raise ValueError("the root cannot be removed")
    return edit
