"""The YANG library as state: ietf-yang-library (RFC 8525), with the container of RFC 7895.."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from agent.core.library import modules_state, yang_library
from agent.core.providers import StateProvider
from agent.core.schema import Schema
from agent.core.sessions import Session
from agent.core.tree import Kept, Tree

_MODULE = "/ietf-yang-library:"
SERVES = (f"{_MODULE}yang-library", f"{_MODULE}modules-state")
"""The paths of its two forms."""
SILENT = {
    f"{_MODULE}{name}": "the modules change between two starts only, when nobody is subscribed"
    for name in ("yang-library-update", "yang-library-change")
}
"""Its notifications, and why they do not occur."""


class _Fixed:
    """agent.core.providers.StateProvider of a subtree that stays as it is."""

    def __init__(self, tree: Tree) -> None:
        self._tree = Kept(tree)

    def read(self) -> Tree:
        return self._tree

    def delivered(self, marks: Sequence[Hashable], session: Session) -> None:
        """Nothing here is marked."""


def library(schema: Schema) -> Mapping[str, StateProvider]:
    """The providers of both forms, by path. Raises OSError."""
    return dict(zip(SERVES, (_Fixed(yang_library(schema)), _Fixed(modules_state(schema))), strict=True))
