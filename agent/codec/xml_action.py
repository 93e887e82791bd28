"""The NETCONF <action> element to an action, the instance that it is invoked on, and its input. No data is looked at.

Source: RFC 7950 section 7.15.2. Keys are taken in any order, as in configuration (decision 0066).
"""

from __future__ import annotations

from lxml import etree

from agent.codec import checks
from agent.codec.xml_read import child_of, decode_input, keys_of, no_text, split
from agent.core.path import step
from agent.core.requests import Invoke
from agent.core.schema import Node, Schema
from agent.errors import Path, RequestError, Step, refuse


def decode_action(element: etree._Element, schema: Schema) -> Invoke:
    """Raises RequestError naming the first thing that is wrong, with its path."""
    node, path = schema.root, ()  # type: tuple[Node, Path]
    while True:
        no_text(element, split(element)[1], path)
        below = [child for child in element.iterchildren(tag=etree.Element) if not _is_key(child, node)]
        if not below:
            last = node.name or "action"
            message = f"{last} names no action: send it with all that is around it, down to the action's own element"
            raise refuse("missing-element", message, type="protocol", path=path, bad_element=last)
        found, *others = [_look_up(child, node, path) for child in below]
        if others:
            raise _second(others[0], path)
        if found.kind == "action":
            where = (*path, Step(found.module, found.name))
            return Invoke(found, decode_input(below[0], found, where), path)
        element = below[0]
        texts = keys_of(element, found, path)[1] if found.kind == "list" else ()
        node, path = found, (*path, step(found, texts))


def _is_key(element: etree._Element, node: Node) -> bool:
    return any(split(element) == (key.namespace, key.name) for key in node.key_nodes)


def _look_up(element: etree._Element, parent: Node, path: Path) -> Node:
    """The action, container or list that an element stands for."""
    namespace, name = split(element)
    module = parent.schema.by_namespace(namespace)
    action = parent.action(module.name, name) if module is not None else None
    if action is not None:
        return action
    node = child_of(element, parent, path)
    if node.kind not in ("container", "list"):
        message = f"{node.name} has no place here: only containers, lists with their keys, and the action itself have"
        raise refuse("unknown-element", message, path=checks.here(path, node), bad_element=node.name)
    return node


def _second(node: Node, path: Path) -> RequestError:
    """One rpc invokes one action (RFC 7950 section 7.15.2)."""
    message = f"one action may be invoked in an rpc; {node.name} is one too many"
    return refuse("bad-element", message, type="protocol", path=path, bad_element=node.name)
