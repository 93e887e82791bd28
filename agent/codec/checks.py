"""What both readers share: precise refusals, and completing an RPC's input. No syntax here.

Source: RFC 6241 appendix A, RFC 7950 sections 7.14.2, 8.3.1 and 15.
"""

from __future__ import annotations

from typing import Any

from agent.core.edit import in_other_case
from agent.core.path import entry_step
from agent.core.schema import Node
from agent.core.tree import Tree
from agent.core.types import InvalidValue, Type
from agent.errors import ErrorType, Path, RequestError, Step, refuse


def here(path: Path, node: Node) -> Path:
    """The path to a child without keys."""
    return (*path, Step(node.module, node.name))


def unknown_element(name: str, parent: Node, path: Path, kind: ErrorType = "application") -> RequestError:
    where = f"{parent.name} has no child {name}" if parent.name else f"there is no top-level node {name}"
    return refuse("unknown-element", f"{where}: see the module for its names", type=kind, path=path, bad_element=name)


def unknown_namespace(name: str, namespace: str, path: Path, kind: ErrorType = "application") -> RequestError:
    message = f"{name}: no module here has the namespace {namespace!r}"
    return refuse("unknown-namespace", message, type=kind, path=path, bad_element=name, bad_namespace=namespace)


def not_configurable(node: Node, path: Path) -> RequestError:
    message = f"{node.name} is state and cannot be configured"
    return refuse("unknown-element", message, path=here(path, node), bad_element=node.name)


def invalid_value(node: Node, error: InvalidValue, path: Path) -> RequestError:
    message = f"{node.name}: {error.message}"
    return refuse("invalid-value", message, path=here(path, node), app_tag=error.app_tag, bad_element=node.name)


def missing_key(node: Node, key: Node, path: Path) -> RequestError:
    message = f"the entry of list {node.name} lacks its key {key.name}"
    return refuse("missing-element", message, path=here(path, node), bad_element=key.name)


def twice(node: Node, path: Path) -> RequestError:
    message = f"{node.name} stands twice: send it once"
    return refuse("bad-element", message, path=here(path, node), bad_element=node.name)


def type_of(node: Node) -> Type:
    if node.type is None:
        raise ValueError(f"{node.path} has no type")
    return node.type


def finish_input(tree: Tree, node: Node, path: Path = ()) -> Tree:
    """Check an RPC's input (or a container or entry in it) for what is missing or contradicts, and fill in defaults.

    Raises RequestError: missing-element, bad-element, data-exists, or the constraint's own tag.
    """
    present = [child for child in node.children if child.member in tree]
    for place, child in enumerate(present):
        for other in present[:place]:
            if in_other_case(child, other):
                message = f"{child.name} and {other.name} are alternatives of choice {child.choice[0][0]}: send one"
                raise refuse("bad-element", message, path=here(path, child), bad_element=child.name)
    result: Tree = {}
    for child in node.children:
        value = tree.get(child.member)
        if value is not None:
            result[child.member] = _finished(value, child, path)
        elif _wanted(child, present):
            filled = _absent(child, path)
            if filled is not None:
                result[child.member] = filled
    return result


def _wanted(node: Node, present: list[Node]) -> bool:
    """Whether a missing node counts: not in a case that was not chosen, not under a condition."""
    if node.when or node.outer_when:
        return False
    depth = len(node.choice)
    return depth == 0 or any(other.choice[:depth] == node.choice for other in present)


def _absent(node: Node, path: Path) -> Any:
    """The default of a missing node, or None; raises missing-element where it is mandatory."""
    if node.kind == "container" and not node.presence:
        return finish_input({}, node, here(path, node)) or None
    if node.mandatory or (node.kind in ("list", "leaf-list") and node.min_elements > 0):
        message = f"{node.name} is mandatory: send it"
        raise refuse("missing-element", message, path=here(path, node), bad_element=node.name)
    if node.default and node.type is not None:
        values = [node.type.from_text(text) for text in node.default]
        return values if node.kind == "leaf-list" else values[0]
    return None


def _finished(value: Any, node: Node, path: Path) -> Any:
    match node.kind:
        case "container":
            return finish_input(value, node, here(path, node))
        case "list":
            _bounds(value, node, path)
            seen = set()
            for entry in value:
                where = (*path, entry_step(node, entry))
                if where[-1].keys and where[-1] in seen:
                    raise refuse("data-exists", f"{node.name}: the same entry stands twice", path=where)
                seen.add(where[-1])
            return [finish_input(entry, node, (*path, entry_step(node, entry))) for entry in value]
        case "leaf-list":
            _bounds(value, node, path)
    return value


def _bounds(value: list[Any], node: Node, path: Path) -> None:
    if node.max_elements is not None and len(value) > node.max_elements:
        message = f"{node.name}: at most {node.max_elements} entries"
        raise refuse("operation-failed", message, path=here(path, node), app_tag="too-many-elements")
    if len(value) < node.min_elements:
        message = f"{node.name}: at least {node.min_elements} entries"
        raise refuse("operation-failed", message, path=here(path, node), app_tag="too-few-elements")
