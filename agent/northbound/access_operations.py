"""The RPC that tells which access rule decides. Decides nothing by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.core.access import Access
from agent.core.nacm import AccessOperation, Decision
from agent.core.providers import Operation
from agent.core.schema import Node, Schema
from agent.core.sessions import Session, User
from agent.core.tree import Tree
from agent.core.types import InvalidValue
from agent.licensing.refusals import SUCCESS
from agent.northbound.bound import Bindings
from agent.northbound.calls import Refused, through

Accounts = Callable[[str], User | None]
"""The user of a name as a transport would report it, with groups; None where there is no such account."""


class AccessOperations:
    """Runs on the core thread."""

    def __init__(self, bindings: Bindings, schema: Schema, access: Access, accounts: Accounts) -> None:
        self._bindings = bindings
        self._schema = schema
        self._access = access
        self._accounts = accounts

    def table(self) -> Mapping[str, Operation]:
        """By schema path, for `agent.core.dispatch.Providers`."""
        path = "/slp-agent:explain-access"
        return {path: through(self._bindings, path, self._explain)}

    def _explain(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - the port's shape
        name = given["user"]
        known = self._accounts(name)
        groups = frozenset(given.get("group", ())) or (known.groups if known is not None else frozenset())
        user = User(name, groups)
        decision, node = self._decision(user, given["operation"], given["target"])
        tree: Tree = {
            "return-code": SUCCESS,
            "permitted": decision.permit,
            "reason": str(decision),
            "group": sorted(self._access.groups(user)),
        }
        if known is None:
            tree["message"] = f"there is no account {name}: this is what one of that name would meet in these groups"
        if decision.rule is not None:
            tree |= {"rule-list": decision.rule.rule_list, "rule": decision.rule.name}
        if node is not None:
            tree["at"] = node.path
        return tree

    def _decision(self, user: User, operation: AccessOperation, target: str) -> tuple[Decision, Node | None]:
        """What decides, and at which data node. Raises Refused."""
        if target.startswith("/"):
            try:
                return self._access.explain_path(user, operation, target)
            except InvalidValue as error:
                raise Refused("BadInputParams", error.message) from None
        module, _, name = target.partition(":")
        if operation == "exec" and (module, name) in self._schema.rpcs:
            return self._access.explain_exec(user, module, name), None
        event = self._schema.notifications.get((module, name))
        if operation == "read" and event is not None:
            return self._access.explain_notification(user, event), None
        message = (
            f"{target} is neither a path (/module:name/...) nor, with operation exec, module:name of an RPC, nor, with "
            "operation read, module:name of a notification"
        )
        raise Refused("BadInputParams", message)
