"""Who may read, write, execute and be notified: RFC 8341, the rules in the running configuration applied to users.

Which groups and rules there are is configuration. Reads are cut down silently; writes and executions that are denied
raise `Denied`, and are counted. Who a denial is told to beside the client is not decided here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
import threading
from typing import Any

from agent.core.differences import differences
from agent.core.guard import readable
from agent.core.nacm import (
    DISABLED,
    NACM,
    RECOVERY,
    WRITES,
    AccessOperation,
    Decision,
    Keys,
    RuleSet,
    lineage,
    place_of,
)
from agent.core.path import resolve
from agent.core.providers import Prepared, UnitOfWork
from agent.core.schema import Node, Schema
from agent.core.select import Selection, key_text
from agent.core.sessions import Session, User
from agent.core.tree import Tree
from agent.core.types import InvalidValue
from agent.errors import Error, ErrorType, Path, RequestError, Step, refuse

PATH = f"/{NACM}"
"""Schema path at which `Access` provides configuration and `Access.counters` state."""

_NACM_PATH = (Step("ietf-netconf-acm", "nacm"),)

COLLECTOR = "collector"
"""Reading a marked leaf has its consequence for members of this group only (design: Reads with a consequence)."""


class Denied(RequestError):  # noqa: N818 - an answer, not a fault
    """access-denied. `what` was asked, `decision` says what denied it; `rpc` is the operation where one was denied."""

    def __init__(self, error: Error, what: str, decision: Decision, rpc: tuple[str, str] | None = None) -> None:
        super().__init__(error)
        self.what = what
        self.decision = decision
        self.rpc = rpc

    def on_rpc(self) -> tuple[Error, ...]:
        """The errors with the path of the denied operation in its message (RFC 8341 section 3.1.3)."""
        if self.rpc is None:
            return self.errors
        path = (Step("ietf-netconf", "rpc"), Step(*self.rpc))
        return tuple(replace(error, path=path) for error in self.errors)


class Access:
    """The rules of now. Any thread may ask; a commit of configuration puts others in their place."""

    def __init__(self, schema: Schema, nacm: Tree | None = None) -> None:
        """`nacm` holds members of the nacm container. Raises InvalidValue for a rule's path that leads nowhere."""
        self._schema = schema
        self._rules = RuleSet.read(nacm or {}, schema)
        self.counters = Counters()

    # Configuration

    def load(self, running: Tree) -> None:
        """Take the rules of the configuration that a start found. Raises InvalidValue."""
        self._rules = RuleSet.read(running.get(NACM, {}), self._schema)

    def prepare(self, old: Tree, new: Tree, unit: UnitOfWork) -> Prepared:  # noqa: ARG002 - the port's shape
        """agent.core.providers.ConfigProvider of `PATH`. Raises RequestError invalid-value."""
        try:
            rules = RuleSet.read(new.get(NACM, {}), self._schema)
        except InvalidValue as error:
            raise refuse("invalid-value", error.message, path=_NACM_PATH) from None
        return _Applied(self, rules)

    # Groups

    def groups(self, user: User) -> frozenset[str]:
        """All groups of the user: configured ones, and reported ones where they are taken."""
        return self._rules.groups(user)

    def collects(self, user: User) -> bool:
        """Whether delivery to this user counts."""
        return COLLECTOR in self.groups(user)

    # Operations

    def permits_exec(self, user: User, module: str, name: str) -> bool:
        """Whether the user may call that RPC; nothing is counted."""
        return self._execution(user, module, name).permit

    def check_exec(self, user: User, module: str, name: str) -> None:
        """Raises Denied, counted (RFC 8341 section 3.4.4)."""
        decision = self._execution(user, module, name)
        if not decision.permit:
            self.counters.operations.add()
            message = f"you may not call {module}:{name}: an administrator can permit it to one of your groups"
            raise _denied("protocol", message, (), f"exec {module}:{name}", decision, (module, name))

    def check_action(self, user: User, action: Node, path: Path) -> None:
        """For an action on the data node instance at `path`: its ancestors must be readable, and the action permitted.

        Raises Denied, counted, with the path of the action.
        """
        decision = self._on_data(user, "exec", action, _keys(path, self._schema))
        if not decision.permit:
            self.counters.operations.add()
            message = f"you may not call {action.name} there: an administrator can permit it to one of your groups"
            where = (*path, Step(action.module, action.name))
            raise _denied("protocol", message, where, f"exec {action.path}", decision)

    def _execution(self, user: User, module: str, name: str) -> Decision:
        return self._exempt(user) or self._rules.rights(user).execute(module, name)

    def _exempt(self, user: User) -> Decision | None:
        if not self._rules.enabled:
            return DISABLED
        return RECOVERY if user.recovery else None

    def _on_data(self, user: User, operation: AccessOperation, node: Node, at: Keys) -> Decision:
        """What is denied at the node or, where it must be reached by reading, at an ancestor."""
        exempt = self._exempt(user)
        if exempt is not None:
            return exempt
        rights = self._rules.rights(user)
        if operation in ("read", "exec"):
            for above in lineage(node)[:-1]:
                decision = rights.decide("read", above, at)
                if not decision.permit:
                    return decision
        return rights.decide(operation, node, at)

    # Data

    def readable(self, user: User, tree: Tree, selection: Selection | None) -> Tree:
        """The part of `tree`, which begins at the root, that the user may read: to be taken before `selection` is.

        What `selection` does not touch may be missing, too. The same objects pass where no rule cuts into them.
        """
        if self._exempt(user) is not None:
            return tree
        return readable(tree, selection, self._schema.root, self._rules.rights(user))

    def permits_read(self, user: User, path: Path) -> bool:
        """Whether the instance at `path` may be read: itself and all its ancestors."""
        nodes = resolve(path, self._schema)
        return nodes is not None and self._on_data(user, "read", nodes[-1], _keys(path, self._schema)).permit

    def check_change(self, user: User, old: Tree, new: Tree) -> None:
        """For any change of a configuration datastore from `old` to `new`, both whole trees.

        Every node that differs needs its right, whether the request names it or it is gone for another reason, such as
        a replace, another case of its choice or a `when` (decision 0057). Raises Denied, counted, with the path of the
        first.
        """
        if self._exempt(user) is not None:
            return
        rights = self._rules.rights(user)

        def free(node: Node) -> bool:
            return all(rights.shape(operation, node).whole for operation in WRITES)

        for operation, node, path, keys in differences(old, new, self._schema.root, free):
            decision = rights.decide(operation, node, keys)
            if not decision.permit:
                raise self._denied_write(operation, node, path, decision)

    def veil(self, user: User, refusal: RequestError) -> RequestError:
        """A refused edit as its user may know it (RFC 8341 sections 3.2.5 and 3.4.3).

        Of nodes that may not be read neither path nor contents are named. Whether such a node exists is told only to
        those who may create or delete it: others are denied in both cases.
        """
        if self._exempt(user) is not None or isinstance(refusal, Denied):
            return refusal
        rights = self._rules.rights(user)
        told = []
        for error in refusal.errors:
            nodes = resolve(error.path, self._schema)
            if not nodes or self.permits_read(user, error.path):
                told.append(error)
                continue
            operation = _PROBING.get(error.tag)
            if operation is not None:
                decision = rights.decide(operation, nodes[-1], _keys(error.path, self._schema))
                if not decision.permit:
                    return self._denied_write(operation, nodes[-1], error.path, decision)
            message = "the change does not fit configuration that you may not read"
            told.append(Error(error.type, error.tag, message, (), error.app_tag))
        return RequestError(*told)

    def _denied_write(self, operation: AccessOperation, node: Node, path: Path, decision: Decision) -> Denied:
        self.counters.data_writes.add()
        message = f"you may not {operation} {node.name}: an administrator can permit it to one of your groups"
        return _denied("application", message, path, f"{operation} {node.path}", decision)

    # Notifications

    def permits_notification(self, user: User, node: Node, tree: Tree | None = None) -> bool:
        """Whether an event may be sent to the user; one that may not is counted (RFC 8341 section 3.4.6).

        `tree` begins at the root and holds the keys of the entries above an event that is tied to data.
        """
        decision = self._exempt(user) or self._rules.rights(user).notify(node, _keys_in(tree or {}, node))
        if not decision.permit:
            self.counters.notifications.add()
        return decision.permit

    # Explaining: what would be decided; nothing is counted

    def explain_exec(self, user: User, module: str, name: str) -> Decision:
        """What decides on a call of that RPC."""
        return self._execution(user, module, name)

    def explain_path(self, user: User, operation: AccessOperation, path: str) -> tuple[Decision, Node | None]:
        """What decides on a data node or action, and at which node: an ancestor may be unreadable; None is the root.

        `path` is a canonical instance-identifier; keys that it leaves out are such that no rule names. Raises
        InvalidValue, also for exec on what is no action.
        """
        node, conditions = place_of(path, self._schema)
        if node is None:
            raise InvalidValue(f"{path}: name a data node or an action; nothing is decided on all data at once")
        if operation == "exec" and node.kind != "action":
            message = "is neither an RPC nor an action, so exec is no right on it: name MODULE:NAME of an RPC, "
            raise InvalidValue(f"{path} {message}the path of an action, or ask for create, read, update or delete")
        at: Keys = {}
        for each, position, value in conditions:
            keys = list(at.get(each, ("",) * max(1, len(each.key_nodes))))
            keys[position] = user.name if value is None else value
            at[each] = tuple(keys)
        for above in lineage(node)[:-1] if operation in ("read", "exec") else ():
            decision = self._on_data(user, "read", above, at)
            if not decision.permit:
                return decision, above
        return self._on_data(user, operation, node, at), node

    def explain_notification(self, user: User, node: Node) -> Decision:
        """What decides on an event of that type."""
        return self._exempt(user) or self._rules.rights(user).notify(node, {})


_PROBING: dict[str, AccessOperation] = {"data-exists": "create", "data-missing": "delete"}


class _Applied:
    """agent.core.providers.Prepared: the new rules, until they are durable."""

    def __init__(self, access: Access, rules: RuleSet) -> None:
        self._access = access
        self._rules_to_be = rules

    def apply(self) -> None:
        self._access._rules = self._rules_to_be

    def abort(self) -> None:
        """The old rules stay."""


class Counter:
    """Counts denials since the start of the agent; wraps as a counter32 does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self) -> None:
        with self._lock:
            self.value = (self.value + 1) % 2**32


class Counters:
    """agent.core.providers.StateProvider of the three counters of the nacm container."""

    def __init__(self) -> None:
        self.operations = Counter()
        self.data_writes = Counter()
        self.notifications = Counter()

    def read(self) -> Tree:
        return {
            "denied-operations": self.operations.value,
            "denied-data-writes": self.data_writes.value,
            "denied-notifications": self.notifications.value,
        }

    def delivered(self, marks: Sequence[Hashable], session: Session) -> None:
        """Nothing here is marked."""


def _denied(
    kind: ErrorType, message: str, path: Path, what: str, decision: Decision, rpc: tuple[str, str] | None = None
) -> Denied:
    return Denied(Error(kind, "access-denied", message, path), what, decision, rpc)


def _keys(path: Path, schema: Schema) -> Keys:
    """The key texts along an instance path."""
    nodes = resolve(path, schema) or ()
    return {
        node: tuple(text for _, text in step.keys)
        for node, step in zip(nodes, path, strict=False)
        if len(step.keys) == (len(node.key_nodes) if node.kind == "list" else 1) and step.keys
    }


def _keys_in(tree: Tree, node: Node) -> Keys:
    """The key texts of the one instance that stands around an event."""
    keys: Keys = {}
    value: Any = tree
    for each in lineage(node)[:-1]:
        value = value.get(each.member, {})
        if each.kind == "list":
            value = value[0] if value else {}
            keys[each] = tuple(key_text(key, value.get(key.member, "")) for key in each.key_nodes)
    return keys
