"""Whether every node that the models promise is served by someone: the check at start. Paths only, no data."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from agent.core.nacm import lineage
from agent.core.schema import Node, Schema


def trail_of(schema: Schema, path: str) -> tuple[Node, ...]:
    """The data nodes from below the root to a schema path. Raises ValueError where it is unknown or below a list."""
    node = schema.find(path)
    trail: list[Node] = []
    while node is not None and node.parent is not None:
        trail.append(node)
        node = node.parent
    if not trail:
        raise ValueError(f"a provider is registered for {path}, which is not in the models")
    if any(node.kind != "container" for node in trail[1:]):
        raise ValueError(f"a provider is registered for {path}: it lies below a list, register the list instead")
    return tuple(reversed(trail))


def missing(schema: Schema, config: Collection[str], state: Collection[str], absent: Collection[str]) -> list[str]:
    """Schema paths of data nodes that nobody serves; where all of a subtree is missing, its root alone."""
    result: list[str] = []
    for node in schema.root.children:
        if schema.modules[node.module].implemented:
            result += _missing(node, set(config) | set(absent), set(state) | set(absent), False, False)
    return result


def _missing(node: Node, config: set[str], state: set[str], config_on: bool, state_on: bool) -> list[str]:
    path = node.path
    config_on = config_on or path in config
    state_on = state_on or path in state
    if state_on if not node.config else config_on and state_on:
        return []
    if node.children or (node.kind == "container" and not node.presence):
        below = [_missing(child, config, state, config_on, state_on) for child in node.children]
        lacking = [path for paths in below for path in paths]
        whole = all(paths == [child.path] for paths, child in zip(below, node.children, strict=True))
        return [path] if node.children and whole else lacking
    served = config_on if node.config else state_on
    return [] if served else [path]


def unserved_actions(schema: Schema, served: Collection[str], absent: Collection[str]) -> list[str]:
    """Schema paths of the actions that nobody serves; those on absent data are absent with it."""
    return [
        action.path
        for action in schema.actions()
        if action.path not in served and not any(node.path in absent for node in lineage(action))
    ]


def unknown(schema: Schema, paths: Iterable[str]) -> list[str]:
    """Those of the paths that are not in the models."""
    return sorted({path for path in paths if schema.find(path) is None})
