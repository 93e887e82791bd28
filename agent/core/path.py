"""Instance paths: made from a position in a tree, written as XPath or as RFC 7951 / RESTCONF text. No parsing here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.core.schema import Node, Schema
from agent.core.select import key_text
from agent.errors import Path, Step


def step(node: Node, keys: tuple[str, ...] = ()) -> Step:
    """The step to one instance of `node`; `keys` are the canonical texts of its keys (or a leaf-list's one value)."""
    names = node.keys if node.kind == "list" else (".",) if keys else ()
    return Step(node.module, node.name, tuple(zip(names, keys, strict=True)))


def entry_step(node: Node, entry: Mapping[str, Any]) -> Step:
    """The step to a list entry, from the entry itself (keys that it lacks are left out)."""
    keys = [(key.name, key_text(key, entry[key.member])) for key in node.key_nodes if key.member in entry]
    return Step(node.module, node.name, tuple(keys))


def of(node: Node) -> Path:
    """The path of a schema node without any keys, through its data ancestors."""
    steps: list[Step] = []
    while node.parent is not None:
        steps.append(Step(node.module, node.name))
        node = node.parent
    return tuple(reversed(steps))


def to_xpath(path: Path, schema: Schema) -> tuple[str, dict[str, str]]:
    """An absolute XPath and the prefixes it uses, prefix to namespace (RFC 6241 section 4.3, error-path).

    Every step is prefixed with its module's own prefix; where two modules share one, a number is added.
    """
    prefixes: dict[str, str] = {}
    by_module: dict[str, str] = {}
    parts = []
    for module, name, keys in path:
        if module not in by_module:
            known = schema.modules.get(module)
            prefix = base = known.prefix if known is not None else module
            count = 1
            while prefix in prefixes:
                count += 1
                prefix = f"{base}{count}"
            by_module[module] = prefix
            prefixes[prefix] = known.namespace if known is not None else module
        mark = by_module[module]
        tests = "".join(f"[{key if key == '.' else f'{mark}:{key}'}={quote(value)}]" for key, value in keys)
        parts.append(f"/{mark}:{name}{tests}")
    return "".join(parts) or "/", prefixes


def to_instance_identifier(path: Path) -> str:
    """The RFC 7951 section 6.11 form: module names where the module changes, so "/mod:a/b[k='v']"."""
    parts = []
    module = ""
    for part, name, keys in path:
        tests = "".join(f"[{key}={quote(value)}]" for key, value in keys)
        parts.append(f"/{name}{tests}" if part == module else f"/{part}:{name}{tests}")
        module = part
    return "".join(parts) or "/"


def nameable(path: Path) -> Path:
    """What an instance-identifier can name of it: up to a key that holds both kinds of quotation mark.

    RFC 7950 section 14 (key-predicate-expr) has no way to write such a value.
    """
    for index, step in enumerate(path):
        if any("'" in value and '"' in value for _, value in step.keys):
            return path[:index]
    return path


def quote(value: str) -> str:
    """An XPath 1.0 literal, by concat() where the text holds both kinds of quotation mark."""
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    pieces = ', "\'", '.join(f"'{piece}'" for piece in value.split("'"))
    return f"concat({pieces})"


def resolve(path: Path, schema: Schema) -> tuple[Node, ...] | None:
    """The schema nodes along a path from the root; None where a step is unknown."""
    node = schema.root
    nodes = []
    for module, name, _ in path:
        child = node.child(module, name)
        if child is None:
            return None
        nodes.append(child)
        node = child
    return tuple(nodes)


def values(path: Path, nodes: Sequence[Node]) -> tuple[tuple[Node, tuple[Any, ...] | None], ...]:
    """The nodes with the values of their keys; the steps of the path lead to them and name all keys."""
    steps = zip(path, nodes, strict=True)
    return tuple((node, _key_values(step, node) if node.kind == "list" else None) for step, node in steps)


def _key_values(step: Step, node: Node) -> tuple[Any, ...]:
    texts = dict(step.keys)
    return tuple(key.type.from_text(texts[key.name]) for key in node.key_nodes if key.type is not None)


def lookup(tree: Mapping[str, Any], path: Path, schema: Schema) -> Any:
    """The value at a path in a plain tree (a configuration, no rows in it); None where nothing is."""
    nodes = resolve(path, schema)
    if nodes is None:
        return None
    value: Any = tree
    for part, node in zip(path, nodes, strict=True):
        value = value.get(node.member)
        if value is None:
            return None
        if part.keys and node.kind == "list":
            value = next((entry for entry in value if entry_step(node, entry).keys == part.keys), None)
        elif part.keys:
            value = next((one for one in value if key_text(node, one) == part.keys[0][1]), None)
        if value is None:
            return None
    return value
