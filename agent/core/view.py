"""What one request shows of a datastore: defaults, origins, filter, depth, in this order. Nothing is read here.

A filter is applied to what the mode of defaults shows: with report-all it may test a default, otherwise it may not.
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


def view(tree: Tree, request: Get, schema: Schema) -> Tree:
    """What `request` selects of `tree`, which holds what its selection looks at. Raises RequestError."""
    operational = request.datastore is Datastore.OPERATIONAL
    # defaults in use are a part of the operational datastore (RFC 8342 section 5.3)
    mode = request.defaults or (WithDefaults.REPORT_ALL if operational else WithDefaults.EXPLICIT)
    if mode in (WithDefaults.REPORT_ALL, WithDefaults.REPORT_ALL_TAGGED):
        tagged = mode is WithDefaults.REPORT_ALL_TAGGED
        notes = frozenset({"default"} if tagged else ()) | frozenset({"origin"} if request.with_origin else ())
        config = request.content is not Content.NONCONFIG
        tree = fill(tree, schema, request.selection, config=config, state=shows_state(request), notes=notes)
    if request.origins is not None:
        tree = request.origins.cut(tree, schema)
    if request.xpath is not None:
        tree = request.xpath.apply(prune(tree, request.selection, schema.root), schema, request.depth)
    else:
        tree = prune(tree, limited(request.selection, request.depth, schema.root), schema.root)
    return trim(tree, schema.root) if mode is WithDefaults.TRIM else tree
