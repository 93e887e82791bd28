"""Durable before visible: the one way by which a licensing command takes effect. Decides nothing, knows no YANG.

(1) decide, nothing has changed; (2) one transaction; (3) the new state is put in the old one's place; (4) tell others.
A crash before (2) never happened; after (2) a restart finds it done (design: Durable before visible).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
from dataclasses import dataclass, replace
import logging
from typing import cast

from agent.clock import Clock
from agent.core.providers import UnitOfWork as AnyUnit
from agent.errors import RequestError, refuse
from agent.formats.envelope import Checked
from agent.formats.signing import Signer
from agent.licensing import deadlines
from agent.licensing.commands import Command, Tick
from agent.licensing.engine import Context, Decision, Reply, check, decide, evolve
from agent.licensing.events import Event, ReportClosed
from agent.licensing.notices import Notice
from agent.licensing.ports import (
    EncodedRow,
    LogEntry,
    LogLimits,
    StorageError,
    StorageFullError,
    Store,
    UnitOfWork,
)
from agent.licensing.state import State

log = logging.getLogger(__name__)

SNAPSHOT_EVERY = 1000
"""Events after which the next unit of work also keeps a snapshot: it bounds how much a start replays."""

Tell = Callable[[Sequence[Notice], State, State, float, UnitOfWork | None], Callable[[], None]]
"""Puts what a decision gives to tell into its unit of work: notices, state before and after, time. The call that is
returned tells it, once that is durable. Without a unit (a refusal writes nothing) it is only told."""


@contextlib.contextmanager
def storage_refusals() -> Iterator[None]:
    """Turn what a store cannot do into a RequestError: resource-denied where space is lacking, else operation-failed.

    The store's own words are meant for clients: they name what to do, and neither files nor contents.
    """
    try:
        yield
    except StorageFullError as error:
        log.error("a request was refused: %s", error)
        raise refuse("resource-denied", str(error)) from error
    except StorageError as error:
        log.exception("a request was refused")
        raise refuse("operation-failed", str(error)) from error


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that waits for its unit of work."""

    decision: Decision
    state: State
    told: Callable[[], None]


class Committer:
    """Holds the licensing state. All but `state` belongs to the core thread (or to start-up, before there is one)."""

    def __init__(
        self, store: Store, context: Context, clock: Clock, encode: Callable[[ReportClosed], EncodedRow], tell: Tell
    ) -> None:
        """Load what the store keeps. Raises what `Store.load` raises, and ValueError for a state of a newer version."""
        loaded = store.load()
        state = State() if loaded.snapshot is None else State.from_json(loaded.snapshot)
        self.state = evolve(state, loaded.events)
        self.config = loaded.config
        self.documents = loaded.documents
        self._store = store
        self._context = context
        self._clock = clock
        self._encode = encode
        self._tell = tell
        self._prepared: tuple[AnyUnit, State] | None = None

    def run(self, command: Command) -> Reply:
        """Decide, and make it durable in a transaction of its own. Raises StorageError; nothing has changed then."""
        unit = self._store.begin()
        try:
            change = self._put(command, unit)
            if change.decision.events:
                unit.commit()
        finally:
            unit.rollback()
        self._show(change)
        return change.decision.reply

    def serve(self, command: Command) -> Reply:
        """`run` for a client. Raises RequestError where the store fails."""
        with storage_refusals():
            return self.run(command)

    def serve_all(self, commands: Sequence[Command]) -> list[Reply | Exception]:
        """`serve` for several clients in one transaction: each command is decided on what those before it led to.

        Raises RequestError where the store fails; nothing of any has changed then. A command that breaks off has its
        exception as result, and the others are done all the same.
        """
        try:
            with storage_refusals():
                return list(self._run_all(commands))
        except RequestError:
            raise
        except Exception as error:
            if len(commands) == 1:
                return [error]
            log.warning("%d commands are done one by one: one of them broke off", len(commands))
            return [self._served(command) for command in commands]

    def _served(self, command: Command) -> Reply | Exception:
        try:
            return self.serve(command)
        except Exception as error:
            return error

    def _run_all(self, commands: Sequence[Command]) -> list[Reply]:
        unit, state = self._store.begin(), self.state
        changes: list[Change] = []
        try:
            for command in commands:
                changes.append(self._put(command, unit, state, last=len(changes) == len(commands) - 1))
                state = changes[-1].state
            if state is not self.state:
                unit.commit()
        finally:
            unit.rollback()
        for change in changes:
            self._show(change)
        return [change.decision.reply for change in changes]

    def check(self, content: bytes) -> Checked | None:
        """What can be said of a file of the authority's before it is decided on; on any thread."""
        return check(self.state, content, int(self._clock.now()), self._context)

    def begin(self) -> UnitOfWork:
        """A unit of work for a configuration commit. It and its `commit` raise RequestError where the store fails."""
        with storage_refusals():
            return _ServedUnit(self._store.begin())

    def set_up(self, document: bytes) -> None:
        """Keep the configuration of a first start, before there is a core. Raises StorageError."""
        unit = self._store.begin()
        try:
            unit.put_config(document)
            unit.commit()
        finally:
            unit.rollback()
        self.config = document

    def prepare(self, command: Command, unit: AnyUnit) -> PreparedCommand:
        """Decide within the unit of work of a configuration commit, so that both are one transaction.

        Another command in the same unit is decided on what this one leads to.
        """
        state = self._prepared[1] if self._prepared is not None and self._prepared[0] is unit else None
        # The core calls back with the unit that `begin` gave it: it only knows less of it.
        with storage_refusals():
            change = self._put(command, cast(UnitOfWork, unit), state)
        self._prepared = unit, change.state
        return PreparedCommand(self, change)

    def renew(self, signer: Signer) -> None:
        """Sign with this key from now on."""
        self._context = replace(self._context, signer=signer)

    @property
    def between_lives(self) -> bool:
        """Whether a factory reset has ended a life and the next one, with its key, has not begun."""
        return not self.state.epoch and self.state.next_report_id > 0

    def tick(self) -> None:
        """What is due now."""
        self.run(Tick())

    def next_deadline(self) -> float | None:
        """Epoch seconds at which `tick` is wanted next."""
        return deadlines.next_deadline(self.state, int(self._clock.now()))

    def _put(self, command: Command, unit: UnitOfWork, state: State | None = None, *, last: bool = True) -> Change:
        """Decide on `state` (None: the present one) and put it into the unit; `last`: nothing more comes into it."""
        before = self.state if state is None else state
        # the kernel counts in seconds; an event is told by the moment, which a replay may begin or end at
        at = self._clock.now()
        decision = decide(before, command, int(at), self._context)
        if not decision.events:
            return Change(decision, before, self._stage(decision, before, before, at, None))
        state = evolve(before, decision.events)
        closed = [event for event in decision.events if isinstance(event, ReportClosed)]
        unit.append(decision.events, {event.report_id: self._encode(event) for event in closed})
        if last and self._store.journal_length() + len(decision.events) > SNAPSHOT_EVERY:
            unit.put_state(state.to_json())
        return Change(decision, state, self._stage(decision, before, state, at, unit))

    def _stage(
        self, decision: Decision, before: State, after: State, at: float, unit: UnitOfWork | None
    ) -> Callable[[], None]:
        try:
            return self._tell(decision.notices, before, after, at, unit)
        except Exception:
            log.exception("what was decided could not be told")
            return lambda: None

    def _show(self, change: Change) -> None:
        self.state = change.state
        try:
            change.told()
        except Exception:
            # it is done and durable: whoever asked for it must not hear that it failed
            log.exception("what was decided could not be told")


class PreparedCommand:
    """agent.core.providers.Prepared for a licensing command."""

    def __init__(self, committer: Committer, change: Change) -> None:
        self._committer = committer
        self._change = change

    @property
    def reply(self) -> Reply:
        """The answer to the command, which may be a refusal."""
        return self._change.decision.reply

    def apply(self) -> None:
        self._committer._show(self._change)

    def abort(self) -> None:
        log.info("a configuration commit was rolled back, and its licensing decision with it")


class _ServedUnit:
    """agent.licensing.ports.UnitOfWork whose failures are RequestErrors."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def append(self, events: Sequence[Event], rows: Mapping[int, EncodedRow]) -> None:
        self._unit.append(events, rows)

    def put_state(self, snapshot: bytes) -> None:
        self._unit.put_state(snapshot)

    def put_config(self, document: bytes) -> None:
        self._unit.put_config(document)

    def put_document(self, name: str, document: bytes | None) -> None:
        self._unit.put_document(name, document)

    def put_events(self, entries: Sequence[LogEntry], limits: LogLimits) -> None:
        self._unit.put_events(entries, limits)

    def commit(self) -> None:
        with storage_refusals():
            self._unit.commit()

    def rollback(self) -> None:
        self._unit.rollback()
