"""Whether the data node is there that an action is invoked on. Reads nothing by itself, decides on no right.

Source: RFC 7950 sections 7.15 (an action is tied to a node in the datastore), 7.5.1 (a container without presence is
there with its parent) and 7.9 (one case of a choice is).
"""

from __future__ import annotations

from collections.abc import Callable

from agent.core.data import Data, Target
from agent.core.edit import in_other_case
from agent.core.path import resolve, values
from agent.core.requests import Get
from agent.core.schema import Node, Schema
from agent.core.select import target
from agent.core.tree import Tree
from agent.errors import Error, Path, RequestError


class AbsentError(RequestError):
    """data-missing: the instance that the request names is not there."""


def refuse_absent(path: Path, schema: Schema, read: Callable[[Get], Tree]) -> None:
    """Raises AbsentError where there is no instance at `path`, which names all keys.

    `read` gives configuration and state, as far as what it is asked for touches them.
    """
    nodes = resolve(path, schema) or ()
    place = values(path, nodes)
    data = Data(read(Get(target(place))), schema.root)
    for end, node in enumerate(nodes, 1):
        must = node.kind == "list" or node.presence
        there = data.narrow(place[:end]) is not None
        if not there and (must or _excluded(data, node, place[: end - 1])):
            message = f"there is no such {node.name}, so nothing can be called on it: name one that is there"
            raise AbsentError(Error("application", "data-missing", message, path[:end]))


def _excluded(data: Data, node: Node, above: Target) -> bool:
    """Whether another case stands in the place of a container without presence."""
    if not node.choice:
        return False
    around = data.narrow(above)
    if around is None:
        return False
    tree = around.tree if not above else around.tree[above[-1][0].member]
    siblings = tree[0] if isinstance(tree, list) else tree
    if not isinstance(siblings, dict):
        return False
    return any(
        in_other_case(node, other)
        for other in (node.parent.children if node.parent is not None else ())
        if other.member in siblings
    )
