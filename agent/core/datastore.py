"""The running configuration: one tree, one lock, all-or-nothing edits. Core thread, except for reading `tree`.

An edit is applied, validated, offered to its providers, made durable, and only then becomes visible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import json
import logging
from typing import Any, Protocol

from agent.core.edit import apply_edit, removal
from agent.core.path import lookup, resolve
from agent.core.providers import ConfigProvider, Prepared, UnitOfWork
from agent.core.requests import Edit
from agent.core.schema import Node, Schema
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.core.validate import Validator, Violation
from agent.errors import RequestError, refuse

log = logging.getLogger(__name__)

WHEN_ROUNDS = 32
"""How often nodes whose `when` turned false are removed before the edit is refused (a chain of conditions)."""


class StoredConfigurationError(Exception):
    """What the store holds as configuration does not fit the models; the message says where and what to do."""


class Judge(Protocol):
    """What the caller may change, and what a refusal may tell (agent.core.access for one user)."""

    def check(self, old: Tree, new: Tree) -> None:
        """Raises RequestError access-denied for a change that is not permitted."""
        ...

    def veil(self, refusal: RequestError) -> RequestError:
        """The refusal without what the caller may not know."""
        ...


class Running:
    """`tree` is replaced, never changed: a reader on any thread may keep it as long as it likes.

    `holder` has the lock; `lock_held` says so with the time at which it was taken (epoch seconds), for monitoring.
    """

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
        self._named = {member: dict[str, Any]() for member in named}
        self.tree: Tree = {} if stored is None else self._loaded(stored)
        self.version = 0
        self.holder: Session | None = None
        self.lock_held: tuple[Session, float] | None = None

    def _loaded(self, stored: bytes) -> Tree:
        try:
            document: Any = json.loads(stored)
        except ValueError as error:
            raise StoredConfigurationError(
                f"the stored configuration is not JSON ({error}): restore a backup"
            ) from None
        if not isinstance(document, dict):
            raise StoredConfigurationError("the stored configuration is not a JSON object: restore a backup")
        tree: Tree = {member: value for member, value in document.items() if value or member not in self._named}
        violations = self._validator.check(tree)
        if violations:
            told = "; ".join(violation.error.message for violation in violations)
            raise StoredConfigurationError(f"the stored configuration does not fit the models: {told}")
        return tree

    def edit(self, request: Edit, session: Session, judge: Judge) -> None:
        """All of it or nothing; raises RequestError."""
        if self.holder is not None and self.holder is not session:
            message = f"session {self.holder.id} holds the lock on running: wait, or ask its user to unlock"
            raise refuse("in-use", message, type="protocol")
        old = self.tree
        try:
            asked = apply_edit(old, request.edits, request.default_operation)
            judge.check(old, asked)
            new = self._valid(asked)
        except RequestError as refusal:
            raise judge.veil(refusal) from None
        if new is not asked:
            judge.check(asked, new)
        if new == old:
            return
        unit = self._begin()
        prepared: list[Prepared] = []
        try:
            for trail, provider in self._providers:
                if _value(old, trail) != _value(new, trail):
                    prepared.append(provider.prepare(old, new, unit))
            unit.put_config(json.dumps({**self._named, **new}, ensure_ascii=False, separators=(",", ":")).encode())
            unit.commit()
        except BaseException:
            self._undo(prepared, unit)
            raise
        self.tree = new
        self.version += 1
        for one in prepared:
            try:
                one.apply()
            except Exception:
                log.exception("a provider failed to apply a change that is durable: restart the agent")

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

    def _valid(self, new: Tree) -> Tree:
        """The tree without what a false `when` now forbids (RFC 7950 section 8.3.2); raises RequestError if not valid.

        Only nodes that stood there before and were not changed are removed; others are refused.
        """
        for _ in range(WHEN_ROUNDS):
            violations = self._validator.check(new)
            if not violations:
                return new
            stale = [one for one in violations if one.unmet_when and self._unchanged(one, new)]
            if not stale:
                raise RequestError(*(one.error for one in violations))
            for one in stale:
                nodes = resolve(one.error.path, self._schema)
                if nodes and lookup(new, one.error.path, self._schema) is not None:
                    new = apply_edit(new, (removal(one.error.path, nodes),), "none")
        raise RequestError(*(one.error for one in violations))

    def _unchanged(self, violation: Violation, new: Tree) -> bool:
        before = lookup(self.tree, violation.error.path, self._schema)
        return before is not None and before == lookup(new, violation.error.path, self._schema)

    def lock(self, session: Session, now: float) -> None:
        """Raises RequestError lock-denied with the holder's session-id (RFC 6241 section 7.5)."""
        if self.holder is not None:
            message = f"session {self.holder.id} of user {self.holder.user.name} holds the lock on running"
            raise refuse("lock-denied", message, type="protocol", session_id=str(self.holder.id))
        self.holder = session
        self.lock_held = (session, now)

    def unlock(self, session: Session) -> None:
        """Raises RequestError operation-failed where the session does not hold the lock (RFC 6241 section 7.6)."""
        if self.holder is not session:
            who = "nobody holds" if self.holder is None else f"session {self.holder.id} holds"
            raise refuse("operation-failed", f"{who} the lock on running, so you cannot unlock it", type="protocol")
        self.release(session)

    def release(self, session: Session) -> None:
        """Drop the lock of a session that ends."""
        if self.holder is session:
            self.holder = self.lock_held = None


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
