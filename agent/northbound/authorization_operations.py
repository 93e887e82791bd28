"""The RPCs about authorization codes as kernel commands, with their files. Decides nothing.

`local` is taken and changes nothing: a product instance that stands alone has one UDI (docs/models.md).
"""

from __future__ import annotations

from collections.abc import Mapping
import logging

from agent.core.providers import Operation
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.licensing.commands import (
    AskPermission,
    RequestAuthorization,
    ReturnAuthorization,
    SaveAuthorizationRequest,
)
from agent.licensing.engine import Reply
from agent.licensing.refusals import SUCCESS
from agent.northbound.bound import Bindings
from agent.northbound.calls import Call, Refused, answered, online, through
from agent.northbound.commit import Committer
from agent.northbound.file_operations import file_refusals
from agent.transport.files import Folders

log = logging.getLogger(__name__)


class AuthorizationOperations:
    """All run on the core thread."""

    def __init__(self, bindings: Bindings, committer: Committer, files: Folders) -> None:
        self._bindings = bindings
        self._committer = committer
        self._files = files

    def table(self) -> Mapping[str, Operation]:
        """By schema path, for `agent.core.dispatch.Providers`."""
        calls: dict[str, Call] = {
            "/cisco-smart-license:authorization-request-online": self._request_online,
            "/cisco-smart-license:authorization-code-return-online": self._return_online,
            "/cisco-smart-license:authorization-code-return-offline": self._return_offline,
            "/slp-agent:authorization-request-offline": self._request_offline,
            "/slp-agent:ask-permission": self._ask_permission,
        }
        return {path: through(self._bindings, path, call) for path, call in calls.items()}

    def _request_online(self, given: Tree, session: Session) -> Tree:
        online(self._committer)
        command = RequestAuthorization(given["feature-name"], add=given["add"], online=True, who=session.user.name)
        return answered(self._committer.serve(command))

    def _request_offline(self, given: Tree, session: Session) -> Tree:
        who, argument = session.user.name, given.get("file-path")
        if argument is not None:
            with file_refusals():
                # first: a file that has no place leaves nothing requested
                self._files.check(argument)
        feature = given.get("feature-name")
        if feature is None:
            reply = self._committer.serve(SaveAuthorizationRequest(who))
        else:
            reply = self._committer.serve(
                RequestAuthorization(feature, given["count"], given["add"], online=False, who=who)
            )
        tree = answered(reply)
        if reply.content is not None:
            if argument is not None:
                with file_refusals():
                    self._files.write(argument, (reply.content,))
            tree["content"] = reply.content.decode()
        return tree

    def _return_online(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - all are local
        return _returned(self._committer.serve(ReturnAuthorization(session.user.name)))

    def _return_offline(self, given: Tree, session: Session) -> Tree:
        """The code is gone before the file is written, so the string is in the output also where that fails."""
        argument = given["file-path"]
        with file_refusals():
            self._files.check(argument)
        reply = self._committer.serve(ReturnAuthorization(session.user.name))
        tree = _returned(reply)
        if reply.content is not None:
            try:
                with file_refusals():
                    self._files.write(argument, (reply.content,))
            except Refused as refused:
                log.warning("the return string could not be written: %s", refused.message)
                tree |= {"return-code": refused.code, "message": f"the code was removed, and {refused.message}"}
        return tree

    def _ask_permission(self, given: Tree, session: Session) -> Tree:
        command = AskPermission(given["license"], given["count"], given.get("throughput"), session.user.name)
        reply = self._committer.serve(command)
        tree = answered(reply)
        asked = reply.permission
        if asked is not None:
            tree["allowed"] = asked.allowed
            numbers = {"authorized-count": asked.authorized, "throughput-limit": asked.throughput_limit_mbps}
            tree |= {name: value for name, value in numbers.items() if value is not None}
        return tree


def _returned(reply: Reply) -> Tree:
    tree = answered(reply)
    if reply.code == SUCCESS and reply.return_string is not None:
        tree["authorization-return-string"] = reply.return_string
    return tree
