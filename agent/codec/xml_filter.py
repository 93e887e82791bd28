"""Subtree filters to selections (RFC 6241 section 6). Nothing is looked up in data here.

A name in no namespace stands for that name in every module. An attribute match selects nothing, for our data has no
attributes. A leaf that holds only white space is a selection node, not a match (slp-facts section 11).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from typing import Any

from lxml import etree

from agent.codec.xml_read import split, text_of
from agent.core.schema import Node, Schema
from agent.core.select import Pick, Selection
from agent.core.types import InvalidValue
from agent.errors import refuse

ALTERNATIVES = 256
"""Combinations of same-named leaves of several modules that one element without a namespace may stand for."""

PICKS = 50_000
"""Nodes that one filter may ask for; with millions of them the interpreter's own housekeeping stops everyone."""

Literals = list[tuple[Node, Any]]


def decode_filter(element: etree._Element, schema: Schema, root: Node | None = None) -> Selection:
    """The children of <filter> as a selection below `root` (None: the datastore root); empty selects nothing.

    Unknown names select nothing. Raises RequestError too-big for a filter with too many nodes or alternatives.
    """
    return tuple(_picks(element.iterchildren(tag=etree.Element), root or schema.root, _Known()))


class _Known:
    """What the tags that were met so far stand for below a parent (few, even in a long filter), and the picks left."""

    __slots__ = ("left", "nodes")

    def __init__(self) -> None:
        self.nodes: dict[tuple[str, Node], tuple[Node, ...]] = {}
        self.left = PICKS


def _picks(elements: Iterable[etree._Element], parent: Node, known: _Known) -> Iterator[Pick]:
    for element in elements:
        for node in _candidates(element, parent, known):
            yield from _pick(element, node, known)


def _candidates(element: etree._Element, parent: Node, known: _Known) -> tuple[Node, ...]:
    if element.attrib:
        return ()
    key = (str(element.tag), parent)
    found = known.nodes.get(key)
    if found is None:
        found = known.nodes[key] = _meant(element, parent)
    return found


def _meant(element: etree._Element, parent: Node) -> tuple[Node, ...]:
    namespace, name = split(element)
    if not namespace:
        return parent.named(name)
    module = parent.schema.by_namespace(namespace)
    node = None if module is None else parent.child(module.name, name)
    return () if node is None else (node,)


def _pick(element: etree._Element, node: Node, known: _Known) -> Iterator[Pick]:
    # children are counted before an object is made for each of them
    known.left -= 1
    if known.left < len(element):
        message = (
            f"the filter has more than {PICKS} elements that select something: ask in several requests, or for all"
        )
        raise refuse("too-big", message, type="application")
    children = list(element.iterchildren(tag=etree.Element))
    if node.kind not in ("container", "list", "notification"):
        # reached only without text: a match is taken by the parent
        if not children or node.kind in ("anydata", "anyxml"):
            yield Pick(node)
        return
    if not children:
        if not text_of(element).strip():
            yield Pick(node)
        return
    matches: list[Literals] = []
    others = []
    for child in children:
        if _is_match(child, node, known):
            literals = _literals(child, node, known)
            if literals not in matches:
                matches.append(literals)
        else:
            others.append(child)
    below = tuple(_picks(others, node, known)) if others else None
    if prod(len(literals) for literals in matches) > ALTERNATIVES:
        message = f"{node.name}: name the namespaces of what is compared, the filter has too many alternatives"
        raise refuse("too-big", message, type="application")
    for match in product(*matches):
        yield Pick(node, match, below)


def _is_match(element: etree._Element, parent: Node, known: _Known) -> bool:
    """Whether an element is a content match node (RFC 6241 section 6.2.5): a leaf with text, and no child elements."""
    if not text_of(element).strip() or next(element.iterchildren(tag=etree.Element), None) is not None:
        return False
    candidates = _candidates(element, parent, known)
    return not candidates or any(node.kind in ("leaf", "leaf-list") for node in candidates)


def _literals(element: etree._Element, parent: Node, known: _Known) -> Literals:
    """The leaves that the element may stand for, each with the canonical value; none if nothing can be equal."""
    literals: Literals = []
    for node in _candidates(element, parent, known):
        if node.type is None:
            continue
        try:
            literals.append((node, node.type.from_xml(text_of(element).strip(), element.nsmap)))
        except InvalidValue:
            continue
    return literals
