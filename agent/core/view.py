"""What one request shows of a datastore: defaults first, then origin, filter, depth. Nothing is read here.

A filter is applied to what the mode of defaults shows: with report-all it may test a default, otherwise it may not.
Access control belongs between the two steps: a default must not stand in for a leaf that may not be read.
"""

from __future__ import annotations

from agent.core.defaults import WithDefaults, fill, trim
from agent.core.requests import Content, Datastore, Get
from agent.core.schema import Schema
from agent.core.select import limited, prune
from agent.core.tree import Tree


def shows_state(request: Get) -> bool:
    """Whether state belongs to what is asked for."""
    return request.content is not Content.CONFIG and request.datastore in (None, Datastore.OPERATIONAL)


def mode_of(request: Get) -> WithDefaults:
    """The mode that is asked for or meant: defaults in use belong to the operational datastore (RFC 8342 5.3)."""
    if request.defaults is not None:
        return request.defaults
    return WithDefaults.REPORT_ALL if request.datastore is Datastore.OPERATIONAL else WithDefaults.EXPLICIT


def with_defaults(tree: Tree, request: Get, schema: Schema) -> Tree:
    """The tree with the defaults that `request` is to see."""
    mode = mode_of(request)
    if mode not in (WithDefaults.REPORT_ALL, WithDefaults.REPORT_ALL_TAGGED):
        return tree
    tagged = {"default"} if mode is WithDefaults.REPORT_ALL_TAGGED else set()
    notes = frozenset(tagged | ({"origin"} if request.with_origin else set()))
    config = request.content is not Content.NONCONFIG
    return fill(tree, schema, request.selection, config=config, state=shows_state(request), notes=notes)


def selected(tree: Tree, request: Get, schema: Schema) -> Tree:
    """What `request` selects of a tree with defaults. Raises RequestError."""
    if request.origins is not None:
        tree = request.origins.cut(tree, schema)
    if request.xpath is not None:
        tree = request.xpath.apply(prune(tree, request.selection, schema.root), schema, request.depth)
    else:
        tree = prune(tree, limited(request.selection, request.depth, schema.root), schema.root)
    return trim(tree, schema.root) if mode_of(request) is WithDefaults.TRIM else tree
