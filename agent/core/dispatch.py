"""Where requests meet providers: access, reads from a snapshot, work for the core thread, the check at start.

Front ends know nothing below this; providers know nothing above it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain
import logging
from typing import Any

from agent.clock import Clock
from agent.core.access import AccessTable
from agent.core.aside import Aside, Steps
from agent.core.coverage import missing, trail_of, unknown
from agent.core.data import Data as Data
from agent.core.datastore import Running
from agent.core.hub import Hub
from agent.core.loop import Loop
from agent.core.path import of
from agent.core.providers import ConfigProvider, Operation, StateProvider, UnitOfWork
from agent.core.requests import Content, Edit, EndSession, Get, Invoke, Lock, Unlock
from agent.core.schema import Node, Schema
from agent.core.select import prune, touches
from agent.core.sessions import Session, Sessions, User
from agent.core.tree import Tree
from agent.core.validate import Validator
from agent.errors import RequestError, refuse

log = logging.getLogger(__name__)

Submitted = Edit | Lock | Unlock | Invoke | EndSession


@dataclass(frozen=True, slots=True)
class Providers:
    """Who implements what, by schema path ("/module:a/b"; an RPC is "/module:name"); the longest path wins.

    `front_end` names RPCs that front ends translate into other words of the vocabulary (ietf-netconf's get and so
    on); `absent` is the one list of what is served by nobody: such RPCs answer operation-not-supported.
    """

    config: Mapping[str, ConfigProvider] = field(default_factory=dict)
    state: Mapping[str, StateProvider] = field(default_factory=dict)
    operations: Mapping[str, Operation] = field(default_factory=dict)
    notifications: frozenset[str] = frozenset()
    front_end: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()


class IncompleteError(Exception):
    """Something that the models promise has no implementation, or the reverse; the message names every path."""


class Dispatch:
    """The core as front ends see it. `read` runs on the caller's thread; all else on the core thread."""

    def __init__(
        self,
        schema: Schema,
        *,
        clock: Clock,
        access: AccessTable,
        providers: Providers,
        validator: Validator,
        begin: Callable[[], UnitOfWork],
        stored: bytes | None = None,
        deadline: Callable[[], float | None] | None = None,
        on_deadline: Callable[[], None] | None = None,
    ) -> None:
        """`begin` opens a unit of work of the store; `stored` is the configuration that it last kept.

        Raises IncompleteError, StoredConfigurationError.
        """
        lacking = missing(schema, providers.config, providers.state, providers.absent)
        lacking += _unserved_operations(schema, providers)
        named = (providers.config, providers.state, providers.operations)
        named_sets = (providers.notifications, providers.front_end, providers.absent)
        strange = unknown(schema, chain(*named, *named_sets))
        if lacking:
            raise IncompleteError("served by nobody, and not declared absent: " + ", ".join(lacking))
        if strange:
            raise IncompleteError("implemented or declared absent, but not in the models: " + ", ".join(strange))
        self.schema = schema
        self.access = access
        self.sessions = Sessions(clock)
        self._clock = clock
        self.hub = Hub()
        self.loop = Loop(clock, deadline=deadline, on_deadline=on_deadline)
        self._aside = Aside(self.loop, _failed)
        self.running = Running(schema, validator, providers.config, begin, stored)
        self._operations = dict(providers.operations)
        # shorter paths first: a deeper provider's value is put into what a shallower one gave
        self._state = sorted(
            ((trail_of(schema, path), provider) for path, provider in providers.state.items()),
            key=lambda pair: len(pair[0]),
        )
        self._by_node = {trail[-1]: provider for trail, provider in self._state}

    def start(self) -> None:
        self.loop.start()

    def stop(self) -> None:
        """Finish what was submitted, then end the core thread."""
        self._aside.stop()
        self.loop.stop()

    def authorize(self, session: Session, module: str, name: str) -> None:
        """For RPCs that a front end answers itself. Raises RequestError access-denied."""
        self.access.check_exec(session.user, module, name)

    def operations(self, user: User) -> tuple[Node, ...]:
        """The RPCs that `Invoke` reaches and that the user may call, in schema order."""
        served = (node for node in self.schema.rpcs.values() if node.path in self._operations)
        return tuple(node for node in served if self.access.permits_exec(user, node.module, node.name))

    def read(self, request: Get, session: Session) -> Data:
        """Data from the present snapshot, without a lock. Raises RequestError."""
        self.access.check_read(session.user)
        try:
            return Data(self._gather(request), self.schema.root)
        except RequestError:
            raise
        except Exception:
            raise _failed("a read") from None

    def _gather(self, request: Get) -> Tree:
        tree: Tree = {} if request.content is Content.NONCONFIG else self.running.tree
        if request.content is not Content.CONFIG:
            for trail, provider in self._state:
                if touches(request.selection, trail):
                    value = provider.read()
                    if value is not None:
                        tree = _with(tree, trail, value)
        return prune(tree, request.selection, self.schema.root)

    def submit(self, request: Submitted, session: Session) -> Future[Tree | None]:
        """Have the core thread do it. The future's exception is a RequestError (or LoopStoppedError at shutdown)."""
        return self._aside.run(lambda: self._serve(request, session))

    def _serve(self, request: Submitted, session: Session) -> Tree | Steps | None:
        try:
            match request:
                case Edit():
                    path = of(request.edits[0].node) if request.edits else ()
                    self.access.check_exec(session.user, "ietf-netconf", "edit-config")
                    self.access.check_write(session.user, path)
                    self.running.edit(request, session)
                case Lock():
                    self.authorize(session, "ietf-netconf", "lock")
                    self.running.lock(session, self._clock.now())
                case Unlock():
                    self.authorize(session, "ietf-netconf", "unlock")
                    self.running.unlock(session)
                case EndSession():
                    self.authorize(session, "ietf-netconf", "kill-session")
                    self._end(request.session_id, session)
                case Invoke():
                    return self._invoke(request, session)
        except RequestError:
            raise
        except Exception:
            raise _failed(type(request).__name__) from None
        return None

    def _invoke(self, request: Invoke, session: Session) -> Tree | Steps | None:
        node = request.node
        self.authorize(session, node.module, node.name)
        operation = self._operations.get(node.path)
        if operation is None:
            message = f"{node.module}:{node.name} is not implemented here"
            raise refuse("operation-not-supported", message, type="protocol")
        return operation(request.input, session)

    def _end(self, session_id: int, caller: Session) -> None:
        if session_id == caller.id:
            raise refuse("invalid-value", "this is your own session: use close-session", type="protocol")
        victim = self.sessions.find(session_id)
        if victim is None:
            raise refuse("invalid-value", f"there is no session {session_id}", type="protocol")
        self._forget(victim, f"killed by session {caller.id}")
        victim.end("killed")

    def closed(self, session: Session, reason: str) -> Future[None]:
        """A session has ended (closed, killed, dropped, timeout, bad-hello, other: RFC 6470); may be told twice."""
        return self.loop.submit(lambda: self._forget(session, reason))

    def _forget(self, session: Session, reason: str) -> None:
        self.running.release(session)
        if self.sessions.close(session):
            # clients of HTTP open a session for every request or two: not worth a line each
            level = logging.INFO if session.transport.startswith("netconf") else logging.DEBUG
            told = (session.id, session.user.name, session.transport, reason)
            log.log(level, "session %d of user %s (%s) ended: %s", *told)

    def delivered(self, data: Data, session: Session) -> Future[None]:
        """Tell the providers what has reached the reader. Call it after the transport took the last byte."""
        if not data.marks or not self.access.collects(session.user):
            done: Future[None] = Future()
            done.set_result(None)
            return done
        return self.loop.submit(lambda: self._deliver(data, session))

    def _deliver(self, data: Data, session: Session) -> None:
        grouped: dict[Node, dict[Hashable, None]] = {}
        for node, mark in data.marks:
            grouped.setdefault(node, {})[mark] = None
        for node, marks in grouped.items():
            provider = self._provider_of(node)
            if provider is None:
                continue
            try:
                provider.delivered(tuple(marks), session)
            except Exception:
                raise _failed("noting a delivery") from None

    def _provider_of(self, node: Node) -> StateProvider | None:
        """The provider whose subtree the node lies in (the closest)."""
        here: Node | None = node
        while here is not None and here not in self._by_node:
            here = here.parent
        return None if here is None else self._by_node[here]


def _failed(what: str) -> RequestError:
    """One neutral error for the client; the traceback goes to the log (checklist 43)."""
    log.exception("%s failed", what)
    return refuse("operation-failed", "an internal error occurred: the agent's log has the details")


def _with(tree: Tree, trail: tuple[Node, ...], value: Any) -> Tree:
    """The tree with `value` at the end of the trail; dicts on the way are copied, all else is shared."""
    member = trail[0].member
    if len(trail) > 1:
        value = _with(tree.get(member) or {}, trail[1:], value)
    elif isinstance(value, dict) and member in tree:
        value = {**tree[member], **value}
    if not tree:
        return {member: value}
    return {**tree, member: value}


def _unserved_operations(schema: Schema, providers: Providers) -> list[str]:
    served = set(providers.operations) | providers.front_end | providers.absent
    rpcs = [node.path for node in schema.rpcs.values() if node.path not in served]
    told = providers.notifications | providers.absent
    return rpcs + [node.path for node in schema.notifications.values() if node.path not in told]
