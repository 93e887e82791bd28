"""The events that every NETCONF server tells of itself: sessions, changes of configuration, confirmed commits.

Source: RFC 6470; what an edit was is taken from the difference of the trees (decision 0060). Who changed configuration
stands in the log too. Core thread.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import ipaddress
import logging
from typing import Any, Final

from agent.clock import Clock
from agent.core.differences import Difference, differences
from agent.core.hub import Hub
from agent.core.path import nameable, of, to_instance_identifier
from agent.core.providers import UnitOfWork
from agent.core.requests import Datastore
from agent.core.schema import Schema
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.core.trial import Changed, TrialEvent
from agent.errors import Path

log = logging.getLogger(__name__)

MODULE: Final = "ietf-netconf-notifications"
PUBLISHED: Final = frozenset(
    f"/{MODULE}:netconf-{name}" for name in ("config-change", "confirmed-commit", "session-start", "session-end")
)

EDITS: Final = 500
"""Edits that one event names; where there are more, it names the top-level nodes that they lie in."""

REASONS: Final = frozenset({"closed", "killed", "dropped", "timeout", "bad-hello"})
"""The reasons of RFC 6470 section 2.2 beside `other`."""


class BaseEvents:
    """Makes and publishes them; where nobody listens and no log keeps them, nothing is computed."""

    def __init__(self, schema: Schema, hub: Hub, clock: Clock) -> None:
        self._schema = schema
        self._hub = hub
        self._clock = clock
        self._served = MODULE in schema.modules

    def wants(self, name: str) -> bool:
        """Whether there is any sense in telling."""
        return self._served and self._hub.wants(MODULE, name)

    def announce(self, event: Changed | TrialEvent, unit: UnitOfWork | None) -> Callable[[], None]:
        """Put what a change of configuration gives to tell into its unit of work; call what is returned afterwards.

        Without a unit (nothing had to be made durable) it is kept in one of its own then.
        """
        if isinstance(event, TrialEvent):
            name, told = "netconf-confirmed-commit", True
        else:
            name, told = "netconf-config-change", event.datastore in (Datastore.RUNNING, Datastore.STARTUP)
        wanted, logged = told and self.wants(name), told and log.isEnabledFor(logging.INFO)
        if not (wanted or logged):
            return _nothing
        edits = [] if isinstance(event, TrialEvent) else _edits(event.old, event.new, self._schema)
        publish = self._staged(name, event, edits, unit) if wanted else _nothing

        def tell() -> None:
            if logged:
                log.info("%s", _told(event, len(edits)))
            publish()

        return tell

    def _staged(
        self, name: str, event: Changed | TrialEvent, edits: list[tuple[Path, str]], unit: UnitOfWork | None
    ) -> Callable[[], None]:
        tree = self._trial(event) if isinstance(event, TrialEvent) else self._change(event, edits)
        now = self._clock.now()
        if unit is None:
            return lambda: self._hub.publish(MODULE, name, tree, now)
        return self._hub.stage(MODULE, name, tree, now, unit)

    def started(self, session: Session) -> None:
        if _is_netconf(session) and self.wants("netconf-session-start"):
            self._defer("netconf-session-start", _user(session))

    def ended(self, session: Session, reason: str, killer: Session | None = None) -> None:
        """`reason` is that of the front end (RFC 6470 section 2.2); `killer` is who ended it by kill-session."""
        if not (_is_netconf(session) and self.wants("netconf-session-end")):
            return
        tree = _user(session)
        if killer is not None:
            reason = "killed"
            if _is_netconf(killer):
                tree["killed-by"] = killer.id
        tree["termination-reason"] = reason if reason in REASONS else "other"
        self._defer("netconf-session-end", tree)

    def _defer(self, name: str, tree: Tree) -> None:
        self._hub.defer(MODULE, name, tree, self._clock.now())

    @staticmethod
    def _trial(event: TrialEvent) -> Tree:
        tree = {**_user(event.session), "confirm-event": event.event}
        if event.timeout is not None:
            tree["timeout"] = event.timeout
        return tree

    def _change(self, event: Changed, edits: list[tuple[Path, str]]) -> Tree:
        changed_by = {"server": [None]} if event.session is None else _user(event.session)
        tree: Tree = {"changed-by": changed_by, "datastore": event.datastore.value}
        if len(edits) > EDITS:
            tops = (
                node for node in self._schema.root.children if event.old.get(node.member) != event.new.get(node.member)
            )
            edits = [(of(node), "merge") for node in tops]
        if edits:
            tree["edit"] = [
                {"target": to_instance_identifier(path), "operation": operation} for path, operation in edits
            ]
        return tree


def _nothing() -> None:
    """Nobody wants to know."""


def _told(event: Changed | TrialEvent, edits: int) -> str:
    """One line for the log: who did what."""
    session = event.session
    who = "the agent itself"
    if session is not None:
        who = f"user {session.user.name} (session {session.id}, {session.transport} from {session.source_host})"
    if isinstance(event, TrialEvent):
        seconds = "" if event.timeout is None else f", to be confirmed within {event.timeout} s"
        return f"confirmed commit: {event.event} by {who}{seconds}"
    count = f"more than {EDITS}" if edits > EDITS else edits
    return f"configuration: {event.datastore.value} changed by {who}: {count} edit{'' if edits == 1 else 's'}"


def _edits(old: Tree, new: Tree, schema: Schema) -> list[tuple[Path, str]]:
    """The topmost nodes that were created, deleted or given another value or place, in schema order: all, or one more
    than EDITS."""
    found: list[tuple[Path, str]] = []
    above: Path | None = None
    for difference in differences(old, new, schema.root):
        path = difference.path
        if above is not None and path[: len(above)] == above:
            continue
        above = None if difference.operation == "update" else path
        found.append((path, _OPERATIONS[difference.operation](difference)))
        if len(found) > EDITS:
            return found
    return _named(found)


def _named(edits: list[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """The same, each node that cannot be named as a change of what it lies in (of a list, if it lies in nothing)."""
    found: dict[tuple[Path, str], None] = {}
    for path, operation in edits:
        named = nameable(path)
        edit = (path, operation) if named == path else (named or (path[0]._replace(keys=()),), "merge")
        found[edit] = None
    return list(found)


def _updated(difference: Difference) -> str:
    # an entry is "updated" where it was moved among those that stay
    return "replace" if difference.node.kind == "leaf" else "merge"


_OPERATIONS: dict[str, Callable[[Difference], str]] = {
    "create": lambda _: "create",
    "delete": lambda _: "delete",
    "update": _updated,
}


def _is_netconf(session: Session) -> bool:
    return session.transport.startswith("netconf")


def _user(session: Session | None) -> dict[str, Any]:
    """The common session parameters; 0 is the id of a session of another protocol (RFC 6470 section 2.2)."""
    if session is None:
        return {}
    found: dict[str, Any] = {
        "username": session.user.name,
        "session-id": session.id if _is_netconf(session) else 0,
    }
    with contextlib.suppress(ValueError):  # a local socket has no address
        found["source-host"] = str(ipaddress.ip_address(session.source_host))
    return found
