"""Modules that a site has given: their configuration is kept and served like any other, and means nothing here.

Their state is absent, their operations answer operation-not-supported, their notifications never come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from agent.core.providers import Prepared, UnitOfWork
from agent.core.schema import Node, Schema
from agent.core.tree import Tree


class SiteError(Exception):
    """A module of the site asks for what the agent cannot do; the message says what to leave out."""


class Kept:
    """agent.core.providers.ConfigProvider of configuration without a meaning: what the models permit is taken."""

    def follows(self, old: Tree, new: Tree) -> bool:  # noqa: ARG002 - the port's shape
        """agent.core.providers.Following."""
        return True

    def prepare(self, old: Tree, new: Tree, unit: UnitOfWork) -> Prepared:  # noqa: ARG002 - the port's shape
        return self  # nothing of it differs from change to change

    def apply(self) -> None:
        """The running configuration has it already."""

    def abort(self) -> None:
        """Nothing was done."""


class SiteModules:
    """Which nodes of a schema are those of the site's `modules`, and what becomes of them.

    `served` are schema paths of configuration that has a provider already. `config` holds the roots of what is kept for
    the site, `absent` those of what the models have and nobody serves.
    """

    def __init__(self, schema: Schema, modules: Collection[str], served: Collection[str]) -> None:
        """Raises SiteError."""
        self.modules = frozenset(modules)
        self._served = frozenset(served)
        config: list[str] = []
        absent: list[str] = []
        for node in schema.root.children:
            self._sort(node, config, absent, covered=False)
        for call in (*schema.rpcs.values(), *schema.notifications.values()):
            if call.module in self.modules:
                absent.append(call.path)
            elif (added := next(self._added(call), None)) is not None:
                raise SiteError(
                    f"{added.module} adds {added.name} to {call.path}, which the agent itself implements: leave that "
                    "augment out"
                )
        self.config = dict.fromkeys(config, Kept())
        self.absent = frozenset(absent)

    def _sort(self, node: Node, config: list[str], absent: list[str], *, covered: bool) -> None:
        covered = covered or node.path in self._served
        if node.module in self.modules:
            if not node.config:
                absent.append(node.path)
                return
            if not covered:
                config.append(node.path)
                covered = True
        absent += [each.path for each in node.operations if each.kind == "action" and each.module in self.modules]
        for child in node.children:
            self._sort(child, config, absent, covered=covered)

    def _added(self, node: Node) -> Iterator[Node]:
        for child in node.children:
            if child.module in self.modules:
                yield child
            else:
                yield from self._added(child)
