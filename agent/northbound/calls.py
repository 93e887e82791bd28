"""What all operations of the seam share: input and output through their binding classes, refusals as replies."""

from __future__ import annotations

from collections.abc import Callable, Generator
import logging

from agent.core.aside import Steps
from agent.core.providers import Operation
from agent.core.schema import Node
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.licensing.engine import Reply
from agent.northbound.bound import Bindings
from agent.northbound.commit import Committer

log = logging.getLogger(__name__)

Call = Callable[[Tree, Session], Tree | Steps]
"""Takes checked input; gives output by local names, wherever a leaf comes from, perhaps in steps (core/aside.py)."""


_LONG = 100_000
"""Characters of a leaf whose check would keep others waiting."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The request has a normal reply with this return-code (a name of error-enum) and the reason in words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def through(bindings: Bindings, path: str, operation: Call) -> Operation:
    """The operation as the core calls it: what it takes and gives passes the classes of the RPC at that schema path."""
    rpc = bindings.node(path)
    parts = {child.kind: child for child in (rpc.by_member("input"), rpc.by_member("output")) if child is not None}
    members = {child.name: child.member for child in parts["output"].children}

    def output(tree: Tree) -> Tree:
        return bindings.checked(parts["output"], {members[name]: value for name, value in tree.items()})

    def call(given: Tree, session: Session, *, checked: bool = "input" not in parts) -> Tree | Steps:
        if not checked:
            if _long(given):
                return check_first(given, session)
            given = bindings.checked(parts["input"], given)
        try:
            result = operation(given, session)
        except Refused as refused:
            return output(_told(rpc, session, refused))
        return finish(result, session) if isinstance(result, Generator) else output(result)

    def check_first(given: Tree, session: Session) -> Steps:
        found: Tree = yield lambda: bindings.checked(parts["input"], given)
        result = call(found, session, checked=True)
        return (yield from result) if isinstance(result, Generator) else result

    def finish(steps: Steps, session: Session) -> Steps:
        try:
            tree = yield from steps
        except Refused as refused:
            tree = _told(rpc, session, refused)
        answer = tree or {}
        if _long(answer):
            checked: Tree = yield lambda: output(answer)
            return checked
        return output(answer)

    return call


def _long(tree: Tree) -> bool:
    return any(isinstance(value, str) and len(value) > _LONG for value in tree.values())


def _told(rpc: Node, session: Session, refused: Refused) -> Tree:
    log.warning("%s by user %s: %s: %s", rpc.name, session.user.name, refused.code, refused.message)
    return {"return-code": refused.code, "message": refused.message}


def answered(reply: Reply) -> Tree:
    """Return code and words of the kernel's reply."""
    return {"return-code": reply.code} | ({"message": reply.message} if reply.message else {})


def online(committer: Committer) -> None:
    """For what needs the network. Raises Refused where the operator switched it off."""
    if committer.state.settings.transport_type == "off":
        raise Refused("commdisabled", "the transport is off: configure another one, or carry it in a file")
