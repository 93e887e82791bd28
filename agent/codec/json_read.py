"""JSON to values, edits and RPC input, checked against the schema (RFC 7951). No media types, no URIs here."""

from __future__ import annotations

from collections.abc import Iterator
import json
from typing import Any

from agent.codec import checks
from agent.core.path import entry_step
from agent.core.requests import EditNode
from agent.core.schema import Node
from agent.core.select import key_text
from agent.core.tree import Tree
from agent.core.types import InvalidValue
from agent.errors import Path, RequestError, refuse

DEPTH = 128
"""Objects and arrays within one another."""


def parse(data: bytes) -> Any:
    """A JSON text in UTF-8. Raises RequestError malformed-message (type protocol).

    Refused beyond the grammar: duplicate members, NaN and infinities, NUL and unpaired surrogates in strings are left
    to the types, nesting over `DEPTH`.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except RecursionError:
        raise _malformed(f"it is nested more than {DEPTH} deep") from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    layer = [value]
    for _ in range(DEPTH + 1):
        layer = [inner for outer in layer for inner in _inside(outer)]
        if not layer:
            return value
    raise _malformed(f"it is nested more than {DEPTH} deep")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _malformed(why: str) -> RequestError:
    return refuse("malformed-message", f"the body cannot be read: {why}", type="protocol")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"member {name!r} stands twice in one object")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def decode_config(value: Any, node: Node) -> tuple[EditNode, ...]:
    """The members of an object below `node` as edits without operations. Raises RequestError."""
    return tuple(_edits(value, node, ()))


def decode_input(value: Any, rpc: Node, path: Path = ()) -> Tree:
    """The object inside "module:input" as a tree of the RPC's input, with defaults; `path` is that of an action.

    Raises RequestError.
    """
    node = next(iter(rpc.named("input")), None)
    if node is None:
        for name in _members(value, rpc, path):
            raise checks.unknown_element(name, rpc, path)
        return {}
    return checks.finish_input(_tree(value, node, path), node, path)


def _members(value: Any, node: Node, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        name = node.name or "data"
        raise refuse("invalid-value", f"{name} must be a JSON object", path=path, bad_element=name)
    return value


def _child(member: str, parent: Node, path: Path) -> Node:
    node = parent.by_member(member)
    if node is not None:
        return node
    module, colon, name = member.partition(":")
    if colon and module not in parent.schema.modules:
        raise checks.unknown_namespace(name, module, path)
    if not colon and parent.named(member):
        wanted = " or ".join(other.member for other in parent.named(member))
        message = f"{member} needs its module's name here: {wanted}"
        raise refuse("unknown-element", message, path=path, bad_element=member)
    raise checks.unknown_element(name if colon else member, parent, path)


def _leaf(value: Any, node: Node, path: Path) -> Any:
    try:
        return checks.type_of(node).from_json(value)
    except InvalidValue as error:
        raise checks.invalid_value(node, error, path) from None


def _array(value: Any, node: Node, path: Path) -> list[Any]:
    if not isinstance(value, list):
        message = f"{node.name} is a {node.kind}: send a JSON array"
        raise refuse("invalid-value", message, path=checks.here(path, node), bad_element=node.name)
    return value


def _named_once(members: dict[str, Any], parent: Node, path: Path) -> Iterator[tuple[Node, Any]]:
    """Members with their nodes; "name" and "module:name" of one node are the same member."""
    seen = set()
    for member, value in members.items():
        node = _child(member, parent, path)
        if node in seen:
            raise checks.twice(node, path)
        seen.add(node)
        yield node, value


def _edits(value: Any, parent: Node, path: Path) -> Iterator[EditNode]:
    for node, inner in _named_once(_members(value, parent, path), parent, path):
        if not node.config:
            raise checks.not_configurable(node, path)
        match node.kind:
            case "leaf":
                yield EditNode(node, value=_leaf(inner, node, path))
            case "leaf-list":
                for one in _array(inner, node, path):
                    yield EditNode(node, value=_leaf(one, node, path))
            case "list":
                for entry in _array(inner, node, path):
                    yield _entry(entry, node, path)
            case "container":
                yield EditNode(node, children=tuple(_edits(inner, node, checks.here(path, node))))
            case _:
                message = f"{node.name} is {node.kind}, which cannot be configured here"
                raise refuse("operation-not-supported", message, path=checks.here(path, node))


def _entry(value: Any, node: Node, path: Path) -> EditNode:
    members = _members(value, node, checks.here(path, node))
    keys = []
    for key in node.key_nodes:
        given = members.get(key.member, members.get(f"{key.module}:{key.name}"))
        if given is None:
            raise checks.missing_key(node, key, path)
        keys.append(EditNode(key, value=_leaf(given, key, checks.here(path, node))))
    where = (*path, entry_step(node, {edit.node.member: edit.value for edit in keys}))
    rest = tuple(edit for edit in _edits(members, node, where) if edit.node not in node.key_nodes)
    texts = tuple(key_text(edit.node, edit.value) for edit in keys)
    return EditNode(node, keys=texts, children=(*keys, *rest))


def _tree(value: Any, parent: Node, path: Path) -> Tree:
    tree: Tree = {}
    for node, inner in _named_once(_members(value, parent, path), parent, path):
        where = checks.here(path, node)
        match node.kind:
            case "leaf":
                tree[node.member] = _leaf(inner, node, path)
            case "leaf-list":
                tree[node.member] = [_leaf(one, node, path) for one in _array(inner, node, path)]
            case "list":
                entries = [_tree(entry, node, where) for entry in _array(inner, node, path)]
                for key in node.key_nodes:
                    if any(key.member not in entry for entry in entries):
                        raise checks.missing_key(node, key, path)
                tree[node.member] = entries
            case "container":
                tree[node.member] = _tree(inner, node, where)
            case _:
                message = f"{node.name} is {node.kind}, which is not taken as input here"
                raise refuse("operation-not-supported", message, path=where)
    return tree
