"""The nodes of a configuration that XPath expressions select, as instance paths: what a partial lock names.

Source: RFC 5717 section 2.4.1 (a select is any expression that gives a node-set, where :xpath is offered).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.core.path import entry_step
from agent.core.schema import Schema
from agent.core.select import key_text
from agent.core.sweeps import quiet
from agent.core.tree import Tree
from agent.core.xpath import LIMIT, Evaluation
from agent.core.xpath_filter import SWEPT
from agent.core.xpath_items import Cost, Item, TooCostlyError, release, root
from agent.core.xpath_parse import Expression, Scope, XPathError
from agent.errors import Path, RequestError, Step, refuse


@dataclass(frozen=True, slots=True)
class NodeChoice:
    """An expression, not yet evaluated, and what its names mean."""

    expression: Expression
    scope: Scope


def chosen(choices: Sequence[NodeChoice], tree: Tree, schema: Schema, most: int) -> tuple[Path, ...]:
    """The paths, with all keys, of what `choices` select in a configuration; each once.

    All of them together may cost what one filter may (`LIMIT`). Raises RequestError: invalid-value where one gives no
    node-set, resource-denied beyond the cost or beyond `most` nodes.
    """
    found, fault = _evaluated(choices, tree, schema, most)
    # refused only here: an error that is raised while another is handled keeps that one's frames, and their items
    if fault is not None:
        raise fault
    return found


def _evaluated(
    choices: Sequence[NodeChoice], tree: Tree, schema: Schema, most: int
) -> tuple[tuple[Path, ...], RequestError | None]:
    """The paths, or the refusal; all items are freed."""
    cost = Cost(LIMIT)
    paths: dict[Path, None] = {}
    with quiet(lambda: LIMIT - cost.left >= SWEPT):
        top = root(tree, schema.root, cost)
        try:
            for choice in choices:
                items = Evaluation(schema, choice.scope, top).value(choice.expression)
                if not isinstance(items, list):
                    told = "an expression gives a value and no nodes: name the nodes to lock"
                    return (), _invalid(told, "not-a-node-set")
                if top in items:
                    told = "an expression selects the root, which is no node of the data: use lock for all of running"
                    return (), _invalid(told, "not-a-node-set")
                if len(paths) + len(items) > most:
                    paths.update(dict.fromkeys(map(_path, items[: most + 1])))
                    if len(paths) > most:
                        told = f"more than {most} nodes are selected: lock the nodes above them"
                        return (), refuse("resource-denied", told, type="protocol")
                paths.update(dict.fromkeys(map(_path, items)))
        except XPathError as error:
            return (), _invalid(f"an expression cannot be evaluated: {error}", None)
        except TooCostlyError:
            told = f"the expressions visit more than {LIMIT} nodes: name the paths, fewer `//` and no nested tests"
            return (), refuse("resource-denied", told, type="protocol")
        finally:
            release(top)
    return tuple(paths), None


def _invalid(message: str, app_tag: str | None) -> RequestError:
    return refuse("invalid-value", message, type="protocol", app_tag=app_tag, bad_element="select")


def _path(item: Item) -> Path:
    """The path of an item; text stands for the leaf that it is in."""
    steps: list[Step] = []
    above: Item | None = item.group.parent if item.text and item.group is not None else item
    while above is not None and above.group is not None:
        node = above.node
        match node.kind:
            case "list":
                steps.append(entry_step(node, above.tree()))
            case "leaf-list":
                steps.append(Step(node.module, node.name, ((".", key_text(node, above.value)),)))
            case _:
                steps.append(Step(node.module, node.name))
        above = above.parent
    return tuple(reversed(steps))
