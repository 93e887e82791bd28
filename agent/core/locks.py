"""Who alone may change a datastore, or a part of running. Written on the core thread, read on any.

Source: RFC 6241 section 7.5 (whole datastores), RFC 5717 (parts of running; its error-app-tags).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.core.path import entry_step, nameable
from agent.core.requests import Datastore
from agent.core.schema import Node, Schema
from agent.core.select import key_text
from agent.core.sessions import HIGHEST_ID, Session
from agent.core.tree import Tree
from agent.core.xpath_nodes import NodeChoice
from agent.errors import Path, RequestError, Step, refuse

LOCKED_NODES = 10_000
"""Nodes that the partial locks of one session may hold: they are looked at whenever running changes near them."""


@dataclass(frozen=True, slots=True)
class PartialLock:
    """A part of running that `session` alone may change: the subtrees at `nodes`, which `choices` selected at `since`
    (epoch seconds)."""

    id: int
    session: Session
    since: float
    choices: tuple[NodeChoice, ...]
    nodes: tuple[Path, ...]


class Locks:
    """`held` (datastore to session and time) and `partial` are replaced, never changed."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._last = 0
        self.held: Mapping[Datastore, tuple[Session, float]] = {}
        self.partial: tuple[PartialLock, ...] = ()

    def holder(self, datastore: Datastore) -> Session | None:
        """Who holds the whole datastore."""
        held = self.held.get(datastore) if self.held else None
        return None if held is None else held[0]

    def take(self, datastore: Datastore, session: Session, now: float) -> None:
        """Raises RequestError lock-denied with the holder's session-id."""
        holder = self.holder(datastore)
        if holder is not None:
            raise denied(f"session {holder.id} of user {holder.user.name} holds the lock on {datastore.value}", holder)
        if datastore is Datastore.RUNNING:
            for part in self.partial:
                if part.session is not session:
                    message = f"session {part.session.id} of user {part.session.user.name} holds a part of running"
                    raise denied(message, part.session)
        self.held = {**self.held, datastore: (session, now)}

    def give(self, datastore: Datastore, session: Session) -> None:
        """Raises RequestError operation-failed where the session does not hold it (RFC 6241 section 7.6)."""
        holder = self.holder(datastore)
        if holder is not session:
            who = "nobody holds" if holder is None else f"session {holder.id} holds"
            message = f"{who} the lock on {datastore.value}, so you cannot unlock it"
            raise refuse("operation-failed", message, type="protocol")
        self.held = {key: value for key, value in self.held.items() if key is not datastore}

    def take_parts(
        self, choices: tuple[NodeChoice, ...], nodes: tuple[Path, ...], session: Session, now: float
    ) -> PartialLock:
        """Lock `nodes` of running, at most LOCKED_NODES, which `choices` selected. Raises RequestError."""
        holder = self.holder(Datastore.RUNNING)
        if holder is not None and holder is not session:
            raise denied(f"session {holder.id} of user {holder.user.name} holds the lock on running", holder)
        if not nodes:
            message = "nothing in running is selected: a lock needs nodes of the configuration that exist"
            raise refuse("operation-failed", message, type="protocol", app_tag="no-matches")
        held = sum(len(part.nodes) for part in self.partial if part.session is session)
        if held + len(nodes) > LOCKED_NODES:
            message = f"this session has locked {held} nodes, and {LOCKED_NODES} may be: unlock some, or lock others"
            raise refuse("resource-denied", message, type="protocol")
        for node in nodes:
            if nameable(node) != node:
                message = "a selected node has a key with both ' and \" in it, which locked-node cannot name: lock more"
                raise refuse("operation-failed", message, type="protocol", path=node)
        for other in self.partial:
            if other.session is not session and _overlap(other.nodes, nodes):
                message = f"session {other.session.id} of user {other.session.user.name} holds a part of it"
                raise denied(message, other.session)
        taken = {part.id for part in self.partial}
        number = self._last % HIGHEST_ID + 1
        while number in taken:
            number = number % HIGHEST_ID + 1
        self._last = number
        lock = PartialLock(number, session, now, choices, nodes)
        self.partial = (*self.partial, lock)
        return lock

    def give_parts(self, lock_id: int, session: Session) -> None:
        """Raises RequestError invalid-value where the session holds no such lock."""
        if not any(part.id == lock_id and part.session is session for part in self.partial):
            raise refuse("invalid-value", f"you hold no partial lock {lock_id}", type="protocol")
        self.partial = tuple(part for part in self.partial if part.id != lock_id)

    def check(self, datastore: Datastore, session: Session | None) -> None:
        """Raises RequestError in-use where another session holds the whole datastore."""
        holder = self.holder(datastore)
        if holder is not None and holder is not session:
            message = f"session {holder.id} holds the lock on {datastore.value}: wait, or ask its user to unlock"
            raise refuse("in-use", message, type="protocol")

    def check_parts(self, old: Tree, new: Tree, session: Session | None) -> None:
        """Raises RequestError in-use where the change touches what another session has locked of running."""
        for part in self.partial:
            if part.session is session:
                continue
            touched = _touched(old, new, self._schema.root, part.nodes, 0)
            if touched is not None:
                message = f"session {part.session.id} holds a lock on it: wait, or ask its user to unlock"
                raise refuse("in-use", message, type="protocol", path=touched)

    def release(self, session: Session) -> frozenset[Datastore]:
        """Drop all that a session holds, as it ends; the datastores that it held are returned."""
        lost = frozenset(key for key, (holder, _) in self.held.items() if holder is session)
        if lost:
            self.held = {key: value for key, value in self.held.items() if key not in lost}
        self.partial = tuple(part for part in self.partial if part.session is not session)
        return lost


def denied(message: str, holder: Session | None) -> RequestError:
    """lock-denied; session-id 0 stands for whatever is no session (RFC 6241 section 7.5)."""
    return refuse("lock-denied", message, type="protocol", session_id=str(0 if holder is None else holder.id))


def _touched(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, parent: Node, paths: Sequence[Path], depth: int
) -> Path | None:
    """The first of `paths`, which agree up to `depth`, at which the trees differ; shared subtrees cost nothing."""
    groups: dict[Step, list[Path]] = {}
    for path in paths:
        groups.setdefault(path[depth], []).append(path)
    indexes: dict[Node, tuple[dict[Step, Any], dict[Step, Any]]] = {}
    for step, group in groups.items():
        node = parent.child(step.module, step.name)
        if node is None:
            continue
        before, after = (None if tree is None else tree.get(node.member) for tree in (old, new))
        if before is after:
            continue
        if step.keys:
            if node not in indexes:
                indexes[node] = (_index(node, before), _index(node, after))
            before, after = (index.get(step) for index in indexes[node])
        if before is after or before == after:
            continue
        ends = next((path for path in group if len(path) == depth + 1), None)
        found = ends or _touched(before, after, node, group, depth + 1)
        if found is not None:
            return found
    return None


def _index(node: Node, values: Sequence[Any] | None) -> dict[Step, Any]:
    """The entries of a list or leaf-list by their step."""
    if node.kind == "list":
        return {entry_step(node, entry): entry for entry in values or ()}
    return {Step(node.module, node.name, ((".", key_text(node, one)),)): one for one in values or ()}


def _overlap(some: Sequence[Path], others: Sequence[Path]) -> bool:
    """Whether one of the subtrees holds, or lies in, one of the others."""
    first, second = set(some), set(others)
    return any(path[:length] in second for path in some for length in range(1, len(path) + 1)) or any(
        path[:length] in first for path in others for length in range(1, len(path) + 1)
    )
