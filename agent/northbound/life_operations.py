"""Reporting at once, and the factory reset: several kernel commands in a row for one request. Decides nothing.

A reset saves before anything is gone; what fails on the way lets the instance go on as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
import logging
import secrets
from typing import Any

from agent.core.aside import Part, Steps
from agent.core.providers import Operation
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.errors import refuse
from agent.formats.signing import Signer
from agent.licensing.commands import FactoryReset, PrepareReset, Start, Sync
from agent.licensing.engine import Reply
from agent.licensing.refusals import SUCCESS
from agent.northbound.bound import Bindings
from agent.northbound.calls import Call, Refused, answered, online, through
from agent.northbound.commit import Committer
from agent.northbound.file_operations import FileOperations, told

log = logging.getLogger(__name__)

Rekey = Callable[[], Signer]
"""Makes a new device key, durable on return, in place of the one before."""


class LifeOperations:
    """All run on the core thread."""

    def __init__(self, bindings: Bindings, committer: Committer, saving: FileOperations, rekey: Rekey | None) -> None:
        """Without `rekey` there is no factory reset: a life needs a key of its own."""
        self._bindings = bindings
        self._committer = committer
        self._saving = saving
        self._rekey = rekey
        self._resetting = False

    def table(self) -> Mapping[str, Operation]:
        """By schema path, for `agent.core.dispatch.Providers`."""
        calls: dict[str, Call] = {
            "/slp-agent:sync": self._sync,
            "/slp-agent:factory-reset": self._factory_reset,
            "/cisco-smart-license:renew-auth": self._renew_auth,
        }
        return {path: through(self._bindings, path, call) for path, call in calls.items()}

    def _sync(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - it has no input
        reply = self._send(session)
        return answered(reply) | {"rum-report-key": list(reply.report_keys)}

    def _renew_auth(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - it has no input
        """Under a policy the authority hears of what is in use by reports."""
        return answered(self._send(session))

    def _send(self, session: Session) -> Reply:
        online(self._committer)
        return self._committer.serve(Sync(session.user.name))

    def _factory_reset(self, given: Tree, session: Session) -> Steps:
        if self._resetting:
            raise Refused("msgexecinprogress", "another factory reset saves its reports: wait for its end")
        if self._rekey is None:
            raise Refused("notsupported", "this agent cannot make itself a new key: reset it by making a new folder")
        self._resetting = True
        try:
            return (yield from self._reset(given, session, self._rekey))
        finally:
            self._resetting = False

    def _reset(self, given: Tree, session: Session, rekey: Rekey) -> Steps:
        # what an earlier reset held and could not let go on, because the store failed
        self._go_on()
        who, argument = session.user.name, given.get("file-path")
        saved = 0
        if argument is not None:
            saved = yield from self._save(argument, given["discard"], session)
        try:
            reply = self._committer.serve(FactoryReset(given["discard"], who))
        except BaseException:
            self._try_to_go_on()
            raise
        if reply.code != SUCCESS:
            self._go_on()
            return answered(reply)
        log.warning("user %s reset licensing: %s", who, reply.message)
        self._begin(rekey)
        if argument is None:
            return answered(reply)
        message = f"{told(saved)} {'was' if saved == 1 else 'were'} saved to {argument}; {reply.message}"
        return {"return-code": SUCCESS, "message": message, "report-count": saved}

    def _save(self, argument: str, discard: bool, session: Session) -> Generator[Part, Any, int]:
        """Close and save all that is to be reported. Where that fails the instance goes on."""
        self._saving.check(argument, new=True)
        prepared = self._committer.serve(PrepareReset(discard, session.user.name))
        if prepared.code != SUCCESS:
            raise Refused(prepared.code, prepared.message)
        try:
            return (yield from self._saving.save_all(argument, session))
        except BaseException:
            self._try_to_go_on()
            raise

    def _try_to_go_on(self) -> None:
        try:
            self._go_on()
        except Exception:
            log.exception("measuring could not go on after a factory reset that failed; the next one tries again")

    def _go_on(self) -> None:
        if self._committer.state.resetting:
            self._committer.serve(Start(self._committer.state.epoch))

    def _begin(self, rekey: Rekey) -> None:
        try:
            self._committer.renew(rekey())
            self._committer.run(Start(secrets.token_hex(8)))
        except Exception:
            log.exception("the life after a factory reset could not begin")
            message = "licensing was reset, and its next life could not begin: free space, then restart the agent"
            raise refuse("operation-failed", message) from None
