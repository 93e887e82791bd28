"""The running configuration: one tree that changes wholly or not at all. Core thread, except for reading `tree`.

A change is validated, offered to its providers, made durable, and only then becomes visible. What the other
datastores, locks and trials say of it is datastores.py's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
import json
import logging
from typing import Any

from agent.core.edit import apply_edit, removal
from agent.core.path import lookup, resolve
from agent.core.providers import ConfigProvider, Following, Prepared, Returning, UnitOfWork
from agent.core.schema import Node, Schema
from agent.core.tree import Tree
from agent.core.trial import Changed, TrialEvent
from agent.core.validate import Validator, Violation
from agent.errors import RequestError

log = logging.getLogger(__name__)

WHEN_ROUNDS = 32
"""How often nodes whose `when` turned false are removed before the edit is refused (a chain of conditions)."""


class StoredConfigurationError(Exception):
    """What the store holds as configuration does not fit the models; the message says where and what to do."""


@dataclass(slots=True)
class _Step:
    """One change of a unit of work, what is to be told of it, and what has been made ready for it."""

    old: Tree
    new: Tree
    told: Sequence[Changed | TrialEvent]
    prepared: list[Prepared] = field(default_factory=list)
    announced: list[Callable[[], None]] = field(default_factory=list)


class Running:
    """`tree` is replaced, never changed: a reader on any thread may keep it as long as it likes."""

    def __init__(
        self,
        schema: Schema,
        validator: Validator,
        providers: Mapping[str, ConfigProvider],
        begin: Callable[[], UnitOfWork],
        stored: bytes | None = None,
        named: Sequence[str] = (),
    ) -> None:
        """`providers` by schema path. `named` are top containers that the stored document holds even when empty:
        whoever sets them up at a first start can tell "emptied" from "never there". Raises StoredConfigurationError
        where `stored` is damaged or not valid."""
        self._schema = schema
        self._validator = validator
        self._begin = begin
        self._providers = [(_trail(schema, path), provider) for path, provider in providers.items()]
        self._following: dict[ConfigProvider, Following] = {
            provider: provider for _, provider in self._providers if isinstance(provider, Following)
        }
        self._named = {member: dict[str, Any]() for member in named}
        self.tree: Tree = {} if stored is None else self._loaded(stored)
        self.version = 0
        self.announce: Callable[[Changed | TrialEvent, UnitOfWork | None], Callable[[], None]] | None = None
        """Puts what is to be told of a change into its unit of work; what it returns tells it."""

    def _loaded(self, stored: bytes) -> Tree:
        tree = decoded(stored, "the stored configuration")
        tree = {member: value for member, value in tree.items() if value or member not in self._named}
        violations = self._validator.check(tree)
        # a validator may know a module that is not served, where a deviation or a leafref needs it
        if violations or _unknown(tree, self._schema.root):
            told = "; ".join(violation.error.message for violation in violations) or "there are nodes without a model"
            raise unfit("the stored configuration", told, tree, self._schema)
        return tree

    def put(
        self,
        new: Tree,
        beside: Mapping[str, bytes | None],
        told: Sequence[Changed | TrialEvent] = (),
        *,
        back: bool = False,
    ) -> None:
        """Make a tree that `valid` has returned the configuration, with other documents in the same unit of work.

        Where nothing changes nothing is written. `told` is announced within that unit, and told when it is done.
        `back`: a confirmed commit is taken back. Raises RequestError, and what the store raises; then nothing of it
        has happened.
        """
        if new == self.tree and not beside:
            self._publish(self._announced(told, None))
        else:
            self._write([_Step(self.tree, new, told)], beside, back=back)

    def put_all(self, changes: Sequence[Changed]) -> None:
        """Make one change after the other, each of which `joins` the first, in one unit of work. Raises as `put`."""
        self._write([_Step(change.old, change.new, (change,)) for change in changes], {})

    def joins(self, old: Tree, new: Tree) -> bool:
        """Whether this change can be in one unit of work with others before it and after it."""
        following = (self._following.get(provider) for provider in self._concerned(old, new))
        return all(one is not None and one.follows(old, new) for one in following)

    def _concerned(self, old: Tree, new: Tree) -> list[ConfigProvider]:
        return [provider for trail, provider in self._providers if _value(old, trail) != _value(new, trail)]

    def _write(self, steps: Sequence[_Step], beside: Mapping[str, bytes | None], *, back: bool = False) -> None:
        unit, new = self._begin(), steps[-1].new
        try:
            for step in steps:
                self._prepare(step, unit, back=back)
                if step is steps[-1]:
                    self._put_documents(steps, beside, unit)
                step.announced = self._announced(step.told, unit)
            unit.commit()
        except BaseException:
            self._undo([one for step in steps for one in step.prepared], unit)
            raise
        if new != self.tree:
            self.tree = new
            self.version += 1
        for step in steps:
            self._show(step)

    def _prepare(self, step: _Step, unit: UnitOfWork, *, back: bool) -> None:
        for provider in self._concerned(step.old, step.new):
            if back and isinstance(provider, Returning):
                step.prepared.append(provider.prepare_return(step.old, step.new, unit))
            else:
                step.prepared.append(provider.prepare(step.old, step.new, unit))

    def _put_documents(self, steps: Sequence[_Step], beside: Mapping[str, bytes | None], unit: UnitOfWork) -> None:
        if any(step.new != step.old for step in steps):
            unit.put_config(encoded({**self._named, **steps[-1].new}))
        for name, document in beside.items():
            unit.put_document(name, document)

    def _show(self, step: _Step) -> None:
        """Once it is durable."""
        for one in step.prepared:
            try:
                one.apply()
            except Exception:
                log.exception("a provider failed to apply a change that is durable: restart the agent")
        self._publish(step.announced)

    def _announced(self, told: Sequence[Changed | TrialEvent], unit: UnitOfWork | None) -> list[Callable[[], None]]:
        """What is told afterwards. What cannot be put into words is logged: no change is refused for it."""
        announce = self.announce
        announced: list[Callable[[], None]] = []
        if announce is None:
            return announced
        for event in told:
            try:
                announced.append(announce(event, unit))
            except Exception:
                log.exception("a change of the configuration is made and not told")
        return announced

    @staticmethod
    def _publish(announced: Sequence[Callable[[], None]]) -> None:
        for publish in announced:
            try:
                publish()
            except Exception:
                log.exception("a change of the configuration could not be told")

    def _undo(self, prepared: list[Prepared], unit: UnitOfWork) -> None:
        for one in reversed(prepared):
            try:
                one.abort()
            except Exception:
                log.exception("a provider failed to abort a change")
        try:
            unit.rollback()
        except Exception:
            log.exception("a rollback failed")

    def valid(self, new: Tree, before: Tree | None = None) -> Tree:
        """The tree without what a false `when` now forbids (RFC 7950 section 8.3.2); raises RequestError if not valid.

        Only nodes that stood in `before` (None: the running tree) and were not changed are removed; others are refused.
        """
        before = self.tree if before is None else before
        for _ in range(WHEN_ROUNDS):
            violations = self._validator.check(new)
            if not violations:
                return new
            stale = [one for one in violations if one.unmet_when and self._unchanged(one, before, new)]
            if not stale:
                raise RequestError(*(one.error for one in violations))
            for one in stale:
                nodes = resolve(one.error.path, self._schema)
                if nodes and lookup(new, one.error.path, self._schema) is not None:
                    new = apply_edit(new, (removal(one.error.path, nodes),), "none")
        raise RequestError(*(one.error for one in violations))

    def _unchanged(self, violation: Violation, before: Tree, new: Tree) -> bool:
        value = lookup(before, violation.error.path, self._schema)
        return value is not None and value == lookup(new, violation.error.path, self._schema)


def encoded(tree: Tree) -> bytes:
    """A configuration as the store keeps it."""
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()


def decoded(stored: bytes, what: str) -> Tree:
    """The reverse of `encoded`; `what` names it in the message. Raises StoredConfigurationError."""
    try:
        tree: Any = json.loads(stored)
    except ValueError as error:
        raise StoredConfigurationError(f"{what} is not JSON ({error}): restore a backup") from None
    if not isinstance(tree, dict):
        raise StoredConfigurationError(f"{what} is not a JSON object: restore a backup")
    return tree


def unfit(what: str, told: str, tree: Tree, schema: Schema) -> StoredConfigurationError:
    """What to raise where a kept configuration is not valid for the reasons `told`."""
    unserved = sorted(_modules(tree) - {module.name for module in schema.modules.values() if module.implemented})
    if not unserved:
        return StoredConfigurationError(f"{what} does not fit the models: {told}")
    return StoredConfigurationError(
        f"{what} has data of {', '.join(unserved)}, and no such module is served: start with its YANG file again "
        "(--yang FILE); to leave it out, delete its data first"
    )


def _modules(value: Any) -> set[str]:
    """The modules that members are of, as far as they are named."""
    if isinstance(value, dict):
        named = {member.partition(":")[0] for member in value if ":" in member}
        return named.union(*map(_modules, value.values()))
    return set[str]().union(*map(_modules, value)) if isinstance(value, list) else set()


def _unknown(tree: Tree, node: Node) -> bool:
    """Whether a member has no node in the models, below whatever is not opaque."""
    for member, value in tree.items():
        child = node.by_member(member)
        if child is None:
            return True
        entries = value if child.kind == "list" else [value] if child.kind == "container" else ()
        if any(_unknown(entry, child) for entry in entries):
            return True
    return False


def _trail(schema: Schema, path: str) -> tuple[Node, ...]:
    node = schema.find(path)
    trail: list[Node] = []
    while node is not None and node.parent is not None:
        trail.append(node)
        node = node.parent
    if not trail:
        raise ValueError(f"a configuration provider is registered for {path}, which is not in the models")
    return tuple(reversed(trail))


def _value(tree: Tree, trail: tuple[Node, ...]) -> Any:
    value: Any = tree
    for node in trail:
        value = value.get(node.member)
        if value is None:
            return None
    return value
