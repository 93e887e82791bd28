"""The RPCs about trust codes, and those of the time before that come down to them, as kernel commands. Decides nothing.

Under a policy a trust code is what a registration was (decision 0031). What needs the network is queued and answered at
once; a notification tells the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.core.providers import Operation
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.licensing.commands import RequestTrust
from agent.northbound.bound import Bindings
from agent.northbound.calls import Call, Refused, answered, online, through
from agent.northbound.commit import Committer
from agent.northbound.file_operations import file_refusals
from agent.northbound.legacy_notifications import failure
from agent.transport.files import Folders


class TrustOperations:
    """All run on the core thread."""

    def __init__(
        self, bindings: Bindings, committer: Committer, files: Folders, tell: Callable[[str, Tree], None]
    ) -> None:
        """`tell` publishes a notification of the public module."""
        self._bindings = bindings
        self._committer = committer
        self._files = files
        self._tell = tell

    def table(self) -> Mapping[str, Operation]:
        """By schema path, for `agent.core.dispatch.Providers`."""
        calls: dict[str, Call] = {
            "/cisco-smart-license:id-token-trust": self._id_token_trust,
            "/cisco-smart-license:register-id-token": self._id_token_trust,
            "/cisco-smart-license:renew-id": self._renew,
            "/cisco-smart-license:de-register": self._de_register,
            "/cisco-smart-license:trust-request-save": self._save,
            "/slp-agent:export-trust-request": self._export,
        }
        return {path: through(self._bindings, path, call) for path, call in calls.items()}

    def _id_token_trust(self, given: Tree, session: Session) -> Tree:
        token = given.get("id-token")
        if token is None:
            raise Refused("nullccoidtoken", "an ID token of the account is expected in id-token")
        online(self._committer)
        command = RequestTrust(token, given["force"], online=True, who=session.user.name)
        answer = answered(self._committer.serve(command))
        if answer["return-code"] == "alreadyregistered":
            self._tell("registration-fail", failure(answer["message"], "already-registered-failure"))
        return answer

    def _renew(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - it has no input
        self._registered()
        online(self._committer)
        return answered(self._committer.serve(RequestTrust(force=True, online=True, who=session.user.name)))

    def _de_register(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - it has no input
        try:
            self._registered()
            raise Refused("notsupported", "a trust code is not given back: a factory reset removes it")
        except Refused as refused:
            self._tell("de-register-fail", failure(refused.message, "de-register-failure"))
            raise

    def _registered(self) -> None:
        trust = self._committer.state.trust
        if trust is None or trust.factory:
            raise Refused("notregistered", "no trust code of the licence authority is installed: ask for one first")

    def _save(self, given: Tree, session: Session) -> Tree:
        argument = given["file-path"]
        with file_refusals():
            self._files.check(argument)
            tree, content = self._request(session)
            if content is not None:
                self._files.write(argument, (content,))
        return tree

    def _export(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - it has no input
        tree, content = self._request(session)
        return tree if content is None else tree | {"content": content.decode()}

    def _request(self, session: Session) -> tuple[Tree, bytes | None]:
        reply = self._committer.serve(RequestTrust(who=session.user.name))
        return answered(reply), reply.content
