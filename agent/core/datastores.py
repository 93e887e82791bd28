"""All configuration datastores, and what requests do to them. Core thread, except for reading.

Running is always valid and durable. Candidate is shared and lives in memory: None means that it equals running.
Startup, where it is offered, is durable and becomes running at a start. A confirmed commit keeps what it replaced as a
document in its own unit of work, so that a start after a crash can go back. Source: RFC 6241 sections 7 and 8,
RFC 7950 section 8.3.3 (when constraints are checked), RFC 8342, RFC 8808.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
import logging
from typing import Any, Literal

from agent.clock import Clock
from agent.core.aside import Steps
from agent.core.datastore import Running, StoredConfigurationError, decoded, encoded, unfit
from agent.core.defaults import WithDefaults, in_mode, untagged
from agent.core.edit import apply_edit
from agent.core.locks import LOCKED_NODES, Locks, denied
from agent.core.path import to_instance_identifier
from agent.core.providers import Documents
from agent.core.requests import Commit, Copy, Datastore, Delete, Discard, Edit, Inline, Lock, Source, Unlock, Url
from agent.core.schema import Schema
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.core.trial import Changed, Trial, TrialEvent, unknown
from agent.core.xpath_nodes import chosen
from agent.errors import Path, RequestError, refuse

log = logging.getLogger(__name__)

TRIAL = "confirmed-commit"
STARTUP = "startup"
"""The names of the documents in the store."""
_DELETED = b"null"
"""The startup document after delete-config: the next start takes the factory default."""

FACTORY_RESET = "/ietf-factory-default:factory-reset"

Authorize = Callable[[Session, Tree, Tree], None]
"""Session, tree before, tree after: raises RequestError access-denied where the session may not do that."""
Readable = Callable[[Session, Tree], Tree]
"""The part of a tree that the session may read."""
Test = Literal["test-then-set", "set", "test-only"] | None
_ATTEMPTS = 4
"""How often the nodes of a partial lock are looked for while running changes meanwhile."""


class Datastores:
    """`running` and `locks` may be looked at from any thread, and so may what `tree` returns."""

    def __init__(
        self,
        schema: Schema,
        running: Running,
        *,
        clock: Clock,
        authorize: Authorize,
        readable: Readable,
        documents: Mapping[str, bytes] | None = None,
        files: Documents | None = None,
        factory: Tree | None = None,
        startup: bool = False,
    ) -> None:
        """`documents` are those that the store kept; `files` is None where no URL is offered. Raises
        StoredConfigurationError."""
        self.running = running
        self.locks = Locks(schema)
        self._schema = schema
        self.trial: Trial | None = None
        self._clock = clock
        self._authorize = authorize
        self._readable = readable
        self._files = files
        self._factory = factory or {}
        self._candidate: Tree | None = None
        self._watchers: list[Callable[[Changed | TrialEvent], None]] = []
        kept = documents or {}
        self._interrupted = decoded(kept[TRIAL], "what a confirmed commit replaced") if TRIAL in kept else None
        self.offers_startup = startup
        self._startup_kept = STARTUP in kept
        deleted = kept.get(STARTUP, _DELETED) == _DELETED
        self._startup = None if deleted else decoded(kept[STARTUP], "the startup configuration")

    def watch(self, watcher: Callable[[Changed | TrialEvent], None]) -> None:
        """Tell `watcher` of every change and of confirmed commits, on the core thread, after they are durable."""
        self._watchers.append(watcher)

    def tree(self, datastore: Datastore) -> Tree:
        """The configuration in a datastore, from any thread. Raises RequestError where it is not offered."""
        match datastore:
            case Datastore.CANDIDATE:
                candidate = self._candidate
                return self.running.tree if candidate is None else candidate
            case Datastore.FACTORY_DEFAULT:
                return self._factory
            case Datastore.STARTUP:
                if not self.offers_startup:
                    raise _not_offered(datastore)
                return self._startup or {}
            case _:
                return self.running.tree

    # Starting

    def starting_point(self) -> Tree | None:
        """What a start has to make the running configuration; None where that stays as the store kept it.

        Raises StoredConfigurationError where it is not valid.
        """
        point = self._interrupted
        if self.offers_startup and self._startup_kept:
            point = self._factory if self._startup is None else self._startup
        try:
            return None if point is None else self.running.valid(point)
        except RequestError as error:
            what = "the configuration that a start goes back to"
            raise unfit(what, str(error), point or {}, self._schema) from error

    def recover(self) -> None:
        """At a start: go back to what is to be running. Raises what `starting_point` and the store raise."""
        target = self.starting_point()
        beside: dict[str, bytes | None] = {} if self._interrupted is None else {TRIAL: None}
        if self.offers_startup and not self._startup_kept:
            self._startup = self.running.tree if target is None else target
            beside[STARTUP] = encoded(self._startup)
        if self._interrupted is not None:
            log.warning("the agent ended during a confirmed commit: the configuration before it is back")
        old = self.running.tree
        new = old if target is None else target
        told = [Changed(Datastore.RUNNING, None, old, new)] if new != old else []
        try:
            self.running.put(new, beside, told)
        except RequestError as error:
            message = f"the configuration that a start goes back to is refused: {error}"
            raise StoredConfigurationError(message) from error
        self._interrupted = None
        self._startup_kept = self.offers_startup

    # Requests; each raises RequestError, and then nothing has changed

    def edit(self, request: Edit, session: Session) -> None:
        """RFC 6241 section 7.2, RFC 8526 section 3.2."""
        new = self.edited(request, session, self.tree(request.target))
        if new is not None:
            self._set(request.target, new, session)

    def edited(self, request: Edit, session: Session, old: Tree) -> Tree | None:
        """What an edit makes of a tree of its target; None where that is only tested. Nothing has changed yet."""
        self._check_free(request.target, session)
        edits = self._read(request.edits.url) if isinstance(request.edits, Url) else request.edits
        return self._checked(
            request.target, old, apply_edit(old, edits, request.default_operation), session, request.test
        )

    def make(self, changes: Sequence[Changed]) -> None:
        """Put running anew, by one change after the other in one unit of work, and tell of each."""
        self.running.put_all(changes)
        for one in changes:
            self._let_go(one.new)
            self._tell(one)

    def copy(self, request: Copy, session: Session) -> None:
        """RFC 6241 section 7.3."""
        source, target = request.source, request.target
        if source == target:
            raise refuse("invalid-value", "source and target are the same: nothing to copy", type="protocol")
        # saving running needs the right to the operation only; nothing else copies what is unreadable (RFC 8341 3.2.6)
        saving = (source, target) == (Datastore.RUNNING, Datastore.STARTUP)
        mode = request.defaults or WithDefaults.EXPLICIT
        if mode is WithDefaults.REPORT_ALL_TAGGED and not isinstance(target, Url):
            # a datastore has no tags: what they would mark as default stays unset
            mode = WithDefaults.EXPLICIT
        content = in_mode(self._source(source), self._schema, mode)
        if isinstance(source, Datastore) and not saving:
            # after defaults are filled in: none may stand in for a leaf that may not be read
            content = self._readable(session, content)
        if isinstance(target, Url):
            self._open_files().write(target.url, content)
            return
        self._check_free(target, session)
        self._replace(target, untagged(content), session, permitted=saving)

    def delete(self, request: Delete, session: Session) -> None:
        """RFC 6241 section 7.4."""
        target = request.target
        if isinstance(target, Url):
            self._open_files().delete(target.url)
        elif target is Datastore.STARTUP and self.offers_startup:
            self._check_free(target, session)
            old = self.tree(target)
            self._authorize(session, old, {})
            self._put(self.running.tree, {STARTUP: _DELETED}, session, Changed(target, session, old, {}))
            self._startup = None
        else:
            message = f"{target.value} cannot be deleted: only startup and files, where they are offered"
            raise refuse("invalid-value", message, type="protocol")

    def validate(self, source: Source) -> None:
        """RFC 6241 section 8.6."""
        self.running.valid(self._source(source))

    def commit(self, request: Commit, session: Session) -> None:
        """RFC 6241 sections 8.3.4.1 and 8.4."""
        trial = self.trial
        if trial is not None:
            trial.check(session, request.persist_id)
        elif request.persist_id is not None:
            raise unknown(request.persist_id)
        self.locks.check(Datastore.CANDIDATE, session)
        self.locks.check(Datastore.RUNNING, session)
        old = self.running.tree
        new = old if self._candidate is None else self.running.valid(self._candidate)
        self._allow(Datastore.RUNNING, old, new, session)
        if not request.confirmed:
            beside: dict[str, bytes | None] = {} if trial is None else {TRIAL: None}
            self._put(new, beside, session, None if trial is None else TrialEvent("complete", session))
            self.trial = None
        else:
            event = TrialEvent("start" if trial is None else "extend", session, request.timeout)
            self._put(new, {TRIAL: encoded(old)} if trial is None else {}, session, event)
            self.trial = Trial(
                before=old if trial is None else trial.before,
                session=session,
                persist=request.persist or (None if trial is None else trial.persist),
                since=self._clock.now(),
                seconds=request.timeout * self._clock.rate,
            )
        self._candidate = None

    def discard(self, request: Discard, session: Session) -> None:
        """RFC 6241 section 8.3.4.2; with `trial`, cancel-commit (section 8.4.4.1)."""
        if not request.trial:
            self.locks.check(Datastore.CANDIDATE, session)
            self._set_candidate(None, session)
            return
        if self.trial is None:
            if request.persist_id is not None:
                raise unknown(request.persist_id)
            raise refuse("operation-failed", "no confirmed commit awaits its confirmation", type="protocol")
        self.trial.check(session, request.persist_id)
        self.locks.check(Datastore.RUNNING, session)
        self._go_back("cancel", session)

    def lock(self, request: Lock, session: Session) -> None:
        """RFC 6241 section 7.5."""
        trial, now = self.trial, self._clock.now()
        target = request.target
        self._check_writable(target)
        if target is Datastore.RUNNING and trial is not None and trial.session is not session:
            raise denied("a confirmed commit awaits its confirmation", trial.session)
        if target is Datastore.CANDIDATE and self._candidate is not None and self.locks.holder(target) is None:
            message = "candidate has changes that are not committed: commit them, or discard-changes"
            raise denied(message, None)
        self.locks.take(target, session, now)

    def lock_parts(self, request: Lock, session: Session, is_open: Callable[[], bool]) -> Steps:
        """RFC 5717: what the expressions select is worked out beside the core thread; returns lock-id and locked-node.

        `is_open` tells whether the session has not ended meanwhile.
        """
        nodes: tuple[Path, ...] = ()
        for attempt in range(1, _ATTEMPTS + 1):
            if self.trial is not None:
                self.trial.check_owner(session)
            running = self.running.tree
            # what a session may not read is not there for it, and cannot be locked either (decision 0068)
            tree = self._readable(session, running)
            find = partial(chosen, request.parts, tree, self._schema, LOCKED_NODES)
            # the last attempt keeps the core thread, so that changes cannot overtake it for ever
            nodes = find() if attempt == _ATTEMPTS else (yield find)
            if self.running.tree is running:
                break
        if self.trial is not None:
            self.trial.check_owner(session)
        if not is_open():
            # what it held has been released already
            raise refuse("operation-failed", "the session has ended", type="protocol")
        lock = self.locks.take_parts(request.parts, nodes, session, self._clock.now())
        return {"lock-id": lock.id, "locked-node": [to_instance_identifier(path) for path in lock.nodes]}

    def unlock(self, request: Unlock, session: Session) -> None:
        """RFC 6241 section 7.6, RFC 5717 section 2.4.2."""
        if request.lock_id is not None:
            self.locks.give_parts(request.lock_id, session)
            return
        self._check_writable(request.target)
        self.locks.give(request.target, session)

    def reset(self, session: Session) -> None:
        """Make the factory default the contents of every datastore (RFC 8808 section 2): FACTORY_RESET."""
        for datastore in (Datastore.RUNNING, Datastore.CANDIDATE, Datastore.STARTUP):
            if datastore is not Datastore.STARTUP or self.offers_startup:
                self._check_free(datastore, session)
        old, trial = self.running.tree, self.trial
        new = self.running.valid(self._factory)
        self._allow(Datastore.RUNNING, old, new, session)
        beside: dict[str, bytes | None] = {} if trial is None else {TRIAL: None}
        if self.offers_startup:
            beside[STARTUP] = encoded(new)
        self._put(new, beside, session, None if trial is None else TrialEvent("cancel", session))
        self._startup, self._candidate, self.trial = new if self.offers_startup else None, None, None

    # What happens by itself

    def release(self, session: Session) -> None:
        """A session has ended: its locks go, its changes of a locked candidate, and its confirmed commit."""
        if Datastore.CANDIDATE in self.locks.release(session):
            self._set_candidate(None, session)
        trial = self.trial
        if trial is None or trial.session is not session:
            return
        if trial.persist is not None:
            self.trial = replace(trial, session=None)
            return
        try:
            self._go_back("cancel", session)
        except Exception:
            # nobody can confirm it any more; the timer tries again
            log.exception("a confirmed commit whose session has ended could not be taken back yet")
            self.trial = replace(trial, session=None, seconds=0.0)

    def deadline(self) -> float | None:
        """When the confirmed commit ends by itself, in clock seconds."""
        trial = self.trial
        if trial is None:
            return None
        now = self._clock.now()
        if now < trial.since:
            # the clock was set back: what is left must not grow by that
            self.trial = trial = replace(trial, since=now)
        return trial.deadline

    def expire(self) -> None:
        """End a confirmed commit whose time is over."""
        if self.trial is not None:
            log.warning("a confirmed commit was not confirmed in time: the configuration before it is back")
            self._go_back("timeout", None)

    def _go_back(self, event: Literal["cancel", "timeout"], session: Session | None) -> None:
        trial = self.trial
        if trial is None:
            return
        self._put(trial.before, {TRIAL: None}, session, TrialEvent(event, session), back=True)
        self.trial = None

    # Parts of the above

    def _replace(self, target: Datastore, new: Tree, session: Session, *, permitted: bool = False) -> None:
        """Put a whole tree into a datastore that is free for the session; `permitted`: whatever it changes."""
        checked = self._checked(target, self.tree(target), new, session, None, permitted=permitted)
        if checked is not None:
            self._set(target, checked, session)

    def _checked(
        self, target: Datastore, old: Tree, new: Tree, session: Session, test: Test, *, permitted: bool = False
    ) -> Tree | None:
        """The tree that is to follow `old` in a datastore; None where that is only tested."""
        if not permitted:
            self._allow(target, old, new, session)
        if target is not Datastore.CANDIDATE or test in ("test-then-set", "test-only"):
            checked = self.running.valid(new, old if target is Datastore.RUNNING else None)
            # candidate keeps what was sent: what a false condition removes is removed by the commit
            if target is not Datastore.CANDIDATE and checked is not new:
                if not permitted:
                    self._allow(target, new, checked, session)
                new = checked
        return None if test == "test-only" else new

    def _set(self, target: Datastore, new: Tree, session: Session) -> None:
        old = self.tree(target)
        match target:
            case Datastore.RUNNING:
                self._put(new, {}, session)
            case Datastore.CANDIDATE:
                self._set_candidate(new, session)
            case Datastore.STARTUP:
                told = Changed(target, session, old, new) if new != old else None
                self._put(self.running.tree, {STARTUP: encoded(new)}, session, told)
                self._startup = new

    def _allow(self, target: Datastore, old: Tree, new: Tree, session: Session) -> None:
        """Whether the session may make this change. Raises RequestError."""
        if new is not old and new != old:
            # rights first: who has none is not told of locks
            self._authorize(session, old, new)
            if target is Datastore.RUNNING:
                self.locks.check_parts(old, new, session)

    def _set_candidate(self, new: Tree | None, session: Session) -> None:
        old, running = self.tree(Datastore.CANDIDATE), self.running.tree
        self._candidate = None if new is None or new == running else new
        now = self.tree(Datastore.CANDIDATE)
        if now is not old and now != old:
            self._tell(Changed(Datastore.CANDIDATE, session, old, now))

    def _source(self, source: Source) -> Tree:
        match source:
            case Inline():
                return apply_edit({}, source.edits)
            case Url():
                return apply_edit({}, self._read(source.url))
            case _:
                return self.tree(source)

    def _read(self, url: str) -> Any:
        return self._open_files().read(url)

    def _open_files(self) -> Documents:
        if self._files is None:
            raise refuse("operation-not-supported", "this agent has no folder for files", type="protocol")
        return self._files

    def _check_writable(self, target: Datastore) -> None:
        writable = (Datastore.RUNNING, Datastore.CANDIDATE) + ((Datastore.STARTUP,) if self.offers_startup else ())
        if target not in writable:
            raise _not_offered(target)

    def _check_free(self, target: Datastore, session: Session) -> None:
        """Whether the session may change the datastore now. Raises RequestError."""
        self._check_writable(target)
        self.locks.check(target, session)
        if target is Datastore.RUNNING and self.trial is not None:
            self.trial.check_owner(session)

    def _put(
        self,
        new: Tree,
        beside: dict[str, bytes | None],
        session: Session | None,
        event: Changed | TrialEvent | None = None,
        *,
        back: bool = False,
    ) -> None:
        """Put running anew, and other documents with it; tell of that, and of `event`."""
        old = self.running.tree
        told: list[Changed | TrialEvent] = [] if event is None else [event]
        if new != old:
            told.insert(0, Changed(Datastore.RUNNING, session, old, new))
        self.running.put(new, beside, told, back=back)
        self._let_go(self.running.tree)
        for one in told:
            self._tell(one)

    def _let_go(self, running: Tree) -> None:
        """A candidate that running has come to equal is one with it from then on."""
        if self._candidate is not None and self._candidate == running:
            self._candidate = None

    def _tell(self, event: Changed | TrialEvent) -> None:
        for watcher in self._watchers:
            try:
                watcher(event)
            except Exception:
                log.exception("a change of the configuration could not be told")


def _not_offered(datastore: Datastore) -> RequestError:
    return refuse(
        "invalid-value", f"{datastore.value} is not offered for this: use running or candidate", type="protocol"
    )
