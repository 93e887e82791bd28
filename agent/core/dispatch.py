"""Where requests meet providers: access, reads from a snapshot, work for the core thread, the check at start.

Front ends know nothing below this; providers know nothing above it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
import logging
from typing import Any

from agent.clock import Clock
from agent.core.access import PATH as NACM_PATH
from agent.core.access import Access, Denied
from agent.core.aside import Aside, Steps, Together
from agent.core.base_events import MODULE as BASE_EVENTS
from agent.core.base_events import PUBLISHED, BaseEvents
from agent.core.conditions import check_input
from agent.core.coverage import missing, trail_of, unknown, unserved_actions
from agent.core.data import Data as Data
from agent.core.datastore import Running, StoredConfigurationError
from agent.core.datastores import FACTORY_RESET, Datastores
from agent.core.hub import Hub
from agent.core.instance import refuse_absent
from agent.core.loop import Loop
from agent.core.nacm import NACM
from agent.core.providers import Action, ConfigProvider, Documents, Operation, StateProvider, UnitOfWork
from agent.core.replay import EventLog
from agent.core.requests import (
    Change,
    Commit,
    Content,
    Copy,
    Datastore,
    Delete,
    Discard,
    Edit,
    EndSession,
    Get,
    Invoke,
    Lock,
    Subscribe,
    Unlock,
    Validate,
)
from agent.core.schema import Node, Schema
from agent.core.select import touches
from agent.core.sessions import Session, Sessions, User
from agent.core.shared_edits import SharedEdits
from agent.core.streams import ENDINGS, Stream, Streams, Subscription
from agent.core.streams import STATE as STREAMS_STATE
from agent.core.tree import Tree
from agent.core.types import InvalidValue
from agent.core.validate import Validator
from agent.core.view import selected, shows_state, with_defaults
from agent.errors import RequestError, refuse

log = logging.getLogger(__name__)

Submitted = Change | Validate | Lock | Unlock | Invoke | EndSession


@dataclass(frozen=True, slots=True)
class Providers:
    """Who implements what, by schema path ("/module:a/b"; an RPC is "/module:name"); the longest path wins.

    An action's path is that of its data node and one step more.

    `front_end` names RPCs that front ends translate into other words of the vocabulary (ietf-netconf's get and so
    on); `absent` is the one list of what is served by nobody: such RPCs answer operation-not-supported.
    """

    config: Mapping[str, ConfigProvider] = field(default_factory=dict)
    state: Mapping[str, StateProvider] = field(default_factory=dict)
    operations: Mapping[str, Operation] = field(default_factory=dict)
    actions: Mapping[str, Action] = field(default_factory=dict)
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
        access: Access,
        providers: Providers,
        validator: Validator,
        begin: Callable[[], UnitOfWork],
        stored: bytes | None = None,
        deadline: Callable[[], float | None] | None = None,
        on_deadline: Callable[[], None] | None = None,
        documents: Mapping[str, bytes] | None = None,
        files: Documents | None = None,
        factory: Tree | None = None,
        startup: bool = False,
        streams: Sequence[Stream] = (),
        event_log: EventLog | None = None,
    ) -> None:
        """`begin` opens a unit of work of the store; `stored` and `documents` are what it last kept as configuration.

        `files` reaches the files that URLs name, `factory` is the factory default configuration, `startup` whether a
        startup datastore is offered, `streams` the event streams beside NETCONF, `event_log` keeps events for replay.

        Raises IncompleteError, StoredConfigurationError.
        """
        self.hub = Hub()
        if event_log is not None:
            self.hub.keep(event_log, event_log.bounds().last, clock)
        self.streams = Streams(schema, self.hub, lambda: self.access, clock, streams, event_log, self._on_core)
        self._base_events = BaseEvents(schema, self.hub, clock)
        providers = self._with_own(schema, providers)
        _check_complete(schema, providers)
        self.schema = schema
        self.access = access
        self.sessions = Sessions(clock)
        self._clock = clock
        self.loop = Loop(clock, deadline=deadline, on_deadline=on_deadline)
        self._aside = Aside(self.loop, _failed)
        ruled = [NACM] if NACM_PATH in providers.config else []
        self.running = Running(schema, validator, providers.config, begin, stored, ruled)
        if ruled:
            try:
                access.load(self.running.tree)
            except InvalidValue as error:
                raise StoredConfigurationError(f"an access rule does not fit the models: {error.message}") from None
        self.datastores = Datastores(
            schema,
            self.running,
            clock=clock,
            authorize=self._authorize_change,
            readable=self._readable,
            documents=documents,
            files=files,
            factory=factory,
            startup=startup,
        )
        self._shared_edits = SharedEdits(self.datastores, self._permit)
        self.running.announce = self._base_events.announce
        self.loop.add_timer(self.datastores.deadline, self.datastores.expire)
        self.loop.add_timer(self.hub.deadline, self.hub.flush)
        self._operations = dict(providers.operations)
        self._actions = dict(providers.actions)
        # shorter paths first: a deeper provider's value is put into what a shallower one gave
        self._state = sorted(
            ((trail_of(schema, path), provider) for path, provider in providers.state.items()),
            key=lambda pair: len(pair[0]),
        )
        self._by_node = {trail[-1]: provider for trail, provider in self._state}

    def _with_own(self, schema: Schema, providers: Providers) -> Providers:
        """Joined by what the core serves itself of the modules that are there."""
        state, notifications = dict(providers.state), set(providers.notifications)
        operations = dict(providers.operations)
        if schema.find(STREAMS_STATE) is not None:
            state[STREAMS_STATE] = self.streams
            notifications |= ENDINGS
        if BASE_EVENTS in schema.modules:
            notifications |= PUBLISHED
        if schema.find(FACTORY_RESET) is not None:
            operations[FACTORY_RESET] = self._reset
        return replace(providers, state=state, operations=operations, notifications=frozenset(notifications))

    def start(self) -> None:
        """Raises StoredConfigurationError, and what the store raises."""
        self.datastores.recover()
        self.loop.start()

    def stop(self) -> None:
        """Finish what was submitted, then end the core thread; nothing waits for the log any more then."""
        self._aside.stop()
        self.loop.stop()
        self.hub.flush()

    def authorize(self, session: Session, module: str, name: str) -> None:
        """For RPCs that a front end answers itself. Raises RequestError access-denied."""
        try:
            self.access.check_exec(session.user, module, name)
        except Denied as denied:
            self._tell(denied, session)
            raise

    def operations(self, user: User) -> tuple[Node, ...]:
        """The RPCs that `Invoke` reaches and that the user may call, in schema order."""
        served = (node for node in self.schema.rpcs.values() if node.path in self._operations)
        return tuple(node for node in served if self.access.permits_exec(user, node.module, node.name))

    def read(self, request: Get, session: Session) -> Data:
        """Data from the present snapshot, without a lock. Raises RequestError."""
        self.authorize(session, *request.rpc)
        try:
            return Data(self._gather(request, session.user), self.schema.root, origin=request.with_origin)
        except RequestError:
            raise
        except Exception:
            raise _failed("a read") from None

    def _gather(self, request: Get, user: User) -> Tree:
        tree = with_defaults(self._whole(request), request, self.schema)
        # what may not be read is gone before anything is compared with it (RFC 8341 section 3.2.4)
        looked_at = request.selection if request.xpath is None else None
        return selected(self.access.readable(user, tree, looked_at), request, self.schema)

    def _whole(self, request: Get) -> Tree:
        """The datastore, and the state that the selection touches."""
        config = self.datastores.tree(request.datastore or Datastore.RUNNING)
        tree: Tree = {} if request.content is Content.NONCONFIG else config
        if shows_state(request):
            for trail, provider in self._state:
                if touches(request.selection, trail):
                    value = provider.read()
                    if value is not None:
                        tree = _with(tree, trail, value)
        return tree

    def subscribe(self, request: Subscribe, session: Session) -> Future[Subscription]:
        """Follow an event stream; whoever asked for it reads and closes it. Raises RequestError; so does the future."""
        self.authorize(session, "notifications", "create-subscription")
        # between two pieces of work no event's transaction is under way: each is in the log, or still to come
        return self.loop.submit(lambda: self.streams.subscribe(request, session))

    def _on_core(self, call: Callable[[], None]) -> Future[None]:
        return self.loop.submit(call)

    def submit(self, request: Submitted, session: Session) -> Future[Tree | None]:
        """Have the core thread do it. The future's exception is a RequestError (or LoopStoppedError at shutdown)."""
        return self._aside.run(lambda: self._serve(request, session))

    def _serve(self, request: Submitted, session: Session) -> Tree | Steps | None:
        with self._telling(session):
            try:
                match request:
                    case EndSession():
                        self.access.check_exec(session.user, "ietf-netconf", "kill-session")
                        self._end(request.session_id, session)
                    case Invoke():
                        return self._invoke(request, session)
                    case Edit(target=Datastore.RUNNING):
                        return self._edit(request, session)
                    case Lock() if request.parts:
                        self._permit(request, session)
                        return self._lock_parts(request, session)
                    case _:
                        self._permit(request, session)
                        with self._veiled(session):
                            return self._configure(request, session)
            except RequestError:
                raise
            except Exception:
                raise _failed(type(request).__name__) from None
        return None

    def _permit(self, request: Change | Validate | Lock | Unlock, session: Session) -> None:
        if not self._is_open(session):
            # killed or gone while this waited: what it held has been released (RFC 6241 section 7.9)
            raise refuse("operation-failed", "the session has ended", type="protocol")
        self.access.check_exec(session.user, *_exec(request))

    def _edit(self, request: Edit, session: Session) -> Steps:
        """With the edits of others that wait: one sync carries them all."""
        with self._telling(session), self._veiled(session):
            yield Together((request, session), self._shared_edits.make)
        return None

    def _configure(self, request: Change | Validate | Lock | Unlock, session: Session) -> Tree | None:
        match request:
            case Edit():
                self.datastores.edit(request, session)
            case Copy():
                self.datastores.copy(request, session)
            case Delete():
                self.datastores.delete(request, session)
            case Commit():
                self.datastores.commit(request, session)
            case Discard():
                self.datastores.discard(request, session)
            case Validate():
                self.datastores.validate(request.source)
            case Lock():
                self.datastores.lock(request, session)
            case Unlock():
                self.datastores.unlock(request, session)
        return None

    def _lock_parts(self, request: Lock, session: Session) -> Steps:
        with self._veiled(session):
            return (yield from self.datastores.lock_parts(request, session, lambda: self._is_open(session)))

    def _is_open(self, session: Session) -> bool:
        return self.sessions.find(session.id) is session

    def _reset(self, given: Tree, session: Session) -> None:  # noqa: ARG002 - an operation's shape
        with self._veiled(session):
            self.datastores.reset(session)

    @contextmanager
    def _telling(self, session: Session) -> Iterator[None]:
        """What is denied stands in the log."""
        try:
            yield
        except Denied as denied:
            self._tell(denied, session)
            raise

    @contextmanager
    def _veiled(self, session: Session) -> Iterator[None]:
        """Refusals tell the session nothing of what it may not read."""
        try:
            yield
        except RequestError as refusal:
            raise self.access.veil(session.user, refusal) from None

    def _authorize_change(self, session: Session, old: Tree, new: Tree) -> None:
        """Every change of a datastore passes here before it is made. Raises RequestError access-denied."""
        self.access.check_change(session.user, old, new)

    def _readable(self, session: Session, tree: Tree) -> Tree:
        return self.access.readable(session.user, tree, None)

    def _invoke(self, request: Invoke, session: Session) -> Tree | Steps | None:
        node = request.node
        if node.kind == "action":
            return self._act(request, session)
        self.access.check_exec(session.user, node.module, node.name)
        operation = self._operations.get(node.path)
        if operation is None:
            raise _unimplemented(node)
        check_input(request, self.schema, self._whole)
        return operation(request.input, session)

    def _act(self, request: Invoke, session: Session) -> Tree | Steps | None:
        """An action: the right to it, before anything tells what is there; then whether it is."""
        node = request.node
        self.access.check_action(session.user, node, request.path)
        action = self._actions.get(node.path)
        if action is None:
            raise _unimplemented(node)
        refuse_absent(request.path, self.schema, self._whole)
        check_input(request, self.schema, self._whole)
        return action(request.input, request.path, session)

    def _tell(self, denied: Denied, session: Session) -> None:
        """One line of the log: what was denied to whom, and by which rule; few a session, so that nobody fills it."""
        if not session.denials.take(self._clock.now()):
            return
        user = session.user
        groups = ", ".join(sorted(self.access.groups(user))) or "none"
        told = (denied.what, user.name, session.id, groups, denied.decision)
        log.warning("access denied: %s, user %s, session %d (groups: %s), by %s%s", *told, session.denials.suffix())

    def _end(self, session_id: int, caller: Session) -> None:
        if session_id == caller.id:
            raise refuse("invalid-value", "this is your own session: use close-session", type="protocol")
        victim = self.sessions.find(session_id)
        if victim is None:
            raise refuse("invalid-value", f"there is no session {session_id}", type="protocol")
        self._forget(victim, f"killed by session {caller.id}", caller)
        victim.end("killed")

    def opened(self, session: Session) -> None:
        """A session has begun: those who listen are told."""
        if self._base_events.wants("netconf-session-start"):
            self.loop.submit(lambda: self._base_events.started(session))

    def closed(self, session: Session, reason: str) -> Future[None]:
        """A session has ended (closed, killed, dropped, timeout, bad-hello, other: RFC 6470); may be told twice."""
        return self.loop.submit(lambda: self._forget(session, reason))

    def _forget(self, session: Session, reason: str, killer: Session | None = None) -> None:
        self.datastores.release(session)
        if self.sessions.close(session, reason):
            # clients of HTTP open a session for every request or two: not worth a line each
            level = logging.INFO if session.transport.startswith("netconf") else logging.DEBUG
            told = (session.id, session.user.name, session.transport, reason)
            log.log(level, "session %d of user %s (%s) ended: %s", *told)
            self._base_events.ended(session, reason, killer)

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


def _unimplemented(node: Node) -> RequestError:
    message = f"{node.module}:{node.name} is not implemented here"
    return refuse("operation-not-supported", message, type="protocol")


def _exec(request: Change | Validate | Lock | Unlock) -> tuple[str, str]:
    """Module and name of the RPC that a request came by, for access control."""
    match request:
        case Edit():
            return request.rpc
        case Lock():
            return ("ietf-netconf-partial-lock", "partial-lock") if request.parts else ("ietf-netconf", "lock")
        case Unlock() if request.lock_id is not None:
            return "ietf-netconf-partial-lock", "partial-unlock"
        case Discard():
            return "ietf-netconf", "cancel-commit" if request.trial else "discard-changes"
    names = {Commit: "commit", Copy: "copy-config", Delete: "delete-config", Unlock: "unlock", Validate: "validate"}
    return "ietf-netconf", names[type(request)]


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


def _check_complete(schema: Schema, providers: Providers) -> None:
    """Whether models and providers name the same. Raises IncompleteError."""
    lacking = missing(schema, providers.config, providers.state, providers.absent)
    lacking += _unserved_operations(schema, providers)
    lacking += unserved_actions(schema, providers.actions, providers.absent)
    named = (providers.config, providers.state, providers.operations, providers.actions)
    named_sets = (providers.notifications, providers.front_end, providers.absent)
    strange = unknown(schema, chain(*named, *named_sets))
    if lacking:
        raise IncompleteError("served by nobody, and not declared absent: " + ", ".join(lacking))
    if strange:
        raise IncompleteError("implemented or declared absent, but not in the models: " + ", ".join(strange))


def _unserved_operations(schema: Schema, providers: Providers) -> list[str]:
    served = set(providers.operations) | providers.front_end | providers.absent
    rpcs = [node.path for node in schema.rpcs.values() if node.path not in served]
    told = providers.notifications | providers.absent
    return rpcs + [node.path for node in schema.notifications.values() if node.path not in told]
