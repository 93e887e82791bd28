"""Where configuration in the operational datastore comes from (RFC 8342 section 5.3.4), and filters on it (RFC 8526).

This agent has two origins: what is in running is `intended`, a default in use is `default`. State has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from agent.core.schema import Node, Schema
from agent.core.tree import Tagged, Tree

INTENDED: Final = "ietf-origin:intended"
DEFAULT: Final = "ietf-origin:default"


@dataclass(frozen=True, slots=True)
class Origins:
    """Only configuration whose origin is, or is derived from, one of `wanted` ("module:identity").

    `negated`: only what has none of these origins.
    """

    wanted: frozenset[str]
    negated: bool = False

    def takes(self, origin: str, schema: Schema) -> bool:
        derived = schema.names.identities
        found = any(origin == one or origin in derived.get(one, ()) for one in self.wanted)
        return found != self.negated

    def cut(self, tree: Tree, schema: Schema) -> Tree:
        """The tree without configuration of another origin; state stays, and so do the keys of what has something."""
        intended, default = self.takes(INTENDED, schema), self.takes(DEFAULT, schema)
        return tree if intended and default else _cut(tree, schema.root, intended, default)


def _cut(tree: Tree, node: Node, intended: bool, default: bool) -> Tree:
    result: Tree = {}
    for member, value in tree.items():
        child = node.by_member(member)
        if child is None:
            continue
        kept = _value(value, child, intended, default) if child.config else value
        if kept is not None:
            result[member] = kept
    return result


def _value(value: Any, node: Node, intended: bool, default: bool) -> Any:
    match node.kind:
        case "leaf":
            return value if (default if isinstance(value, Tagged) else intended) else None
        case "leaf-list":
            return [one for one in value if (default if isinstance(one, Tagged) else intended)] or None
        case "container":
            kept = _cut(value, node, intended, default)
            return kept if kept or (node.presence and intended) else None
        case "list":
            return [entry for one in value if (entry := _entry(one, node, intended, default)) is not None] or None
    return value if intended else None


def _entry(entry: Tree, node: Node, intended: bool, default: bool) -> Tree | None:
    kept = _cut(entry, node, intended, default)
    if not kept and not intended:
        return None
    return {**{key.member: entry[key.member] for key in node.key_nodes}, **kept}
