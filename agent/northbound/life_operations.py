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
from agent.northbound.file_operations import FileOperations

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
        if self._committer.state.resetting:
            raise Refused("msgexecinprogress", "another factory reset saves its reports: wait for its end")
        if self._rekey is None:
            raise Refused("notsupported", "this agent cannot make itself a new key: reset it by making a new folder")
        who, argument = session.user.name, given.get("file-path")
        saved = 0
        if argument is not None:
            saved = yield from self._save(argument, session)
        reply = self._committer.serve(FactoryReset(given["discard"], who))
        if reply.code != SUCCESS:
            self._go_on()
            return answered(reply)
        log.warning("user %s reset licensing: %s", who, reply.message)
        self._begin(self._rekey)
        return {"return-code": SUCCESS, "message": reply.message} | ({"report-count": saved} if argument else {})

    def _save(self, argument: str, session: Session) -> Generator[Part, Any, int]:
        """Close and save all that is to be reported. Where that fails the instance goes on."""
        self._saving.check(argument)
        self._committer.serve(PrepareReset(session.user.name))
        try:
            return (yield from self._saving.save_all(argument, session))
        except BaseException:
            self._go_on()
            raise

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
