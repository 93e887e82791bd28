"""Access rules as they are configured (RFC 8341 section 5), made ready for one user: pure decisions, nothing counted.

A `RuleSet` never changes; a commit puts another in its place. What a set of groups may do is worked out once and kept
with it: for each schema node the first rule that always matches, and those before it that depend on list keys.
Source: RFC 8341 sections 3.4.4 (operations), 3.4.5 (data), 3.4.6 (notifications).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from agent.core.reftypes import NodeInstanceIdentifier
from agent.core.schema import Node, Schema
from agent.core.sessions import User
from agent.core.tree import Tree
from agent.core.types import InvalidValue

NACM = "ietf-netconf-acm:nacm"
"""Member of the datastore root that holds the rules."""

AccessOperation = Literal["create", "read", "update", "delete", "exec"]
OPERATIONS: tuple[AccessOperation, ...] = get_args(AccessOperation)
WRITES: tuple[AccessOperation, ...] = ("create", "update", "delete")

Keys = dict[Node, tuple[str, ...]]
"""Canonical key texts of the list entries (of a leaf-list: its value) along one instance path."""

USERS = 256
"""Sets of groups, or users where a rule names $USER, whose rights are kept ready."""

WORTH_AN_INDEX = 8
"""Rules on the keys of one node that are looked through one by one."""

_ALWAYS_DENIED = frozenset({("ietf-netconf", "kill-session"), ("ietf-netconf", "delete-config")})
"""What exec-default does not apply to (RFC 8341 sections 3.2.7 and 3.2.10)."""

_NEVER_DENIED = frozenset({("ietf-netconf", "close-session")})
_CLOSING = frozenset({"replayComplete", "notificationComplete"})


class Condition(NamedTuple):
    """One key of a rule's path. `value` None stands for the user's name."""

    node: Node
    position: int
    value: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a rule-list. `place` is the node that a data rule's path leads to, None for all data.

    `target` is the name of an RPC or notification, "*" for each of them; `order` counts through all rule-lists.
    """

    rule_list: str
    name: str
    order: int
    permit: bool
    module: str
    kind: Literal["any", "rpc", "notification", "data"]
    target: str
    place: Node | None
    conditions: tuple[Condition, ...]
    operations: frozenset[str]

    def __str__(self) -> str:
        return f"rule {self.name} of rule-list {self.rule_list}"


class Decision(NamedTuple):
    """`rule` decided, or, where it is None, what `reason` names."""

    permit: bool
    rule: Rule | None
    reason: str = ""

    def __str__(self) -> str:
        return self.reason if self.rule is None else str(self.rule)


RECOVERY = Decision(True, None, "a recovery session, which no rule applies to")
DISABLED = Decision(True, None, "enable-nacm, which is false")


class Keyed:
    """Rules that depend on keys, in order; where they are many and test one key, found by its value."""

    __slots__ = ("_at", "_by_value", "rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._at: tuple[Node, int] | None = None
        self._by_value: dict[str | None, list[Rule]] = {}
        if len(rules) >= WORTH_AN_INDEX:
            self._find_by_value()

    def __bool__(self) -> bool:
        return bool(self.rules)

    def _find_by_value(self) -> None:
        """By a key that all of the rules test, if there is one."""
        for node, position, _ in self.rules[0].conditions:
            found: dict[str | None, list[Rule]] = {}
            for rule in self.rules:
                wanted = [each.value for each in rule.conditions if each[:2] == (node, position)]
                if not wanted:
                    break
                found.setdefault(wanted[0], []).append(rule)
            else:
                self._at, self._by_value = (node, position), found
                return

    def first(self, at: Keys) -> Rule | None:
        """The first that matches the instance with these keys."""
        rules: Sequence[Rule] = self.rules
        if self._at is not None:
            here = at.get(self._at[0])
            rules = () if here is None else self._by_value.get(here[self._at[1]], ())
        for rule in rules:
            for node, position, value in rule.conditions:
                keys = at.get(node)
                if keys is None or keys[position] != value:
                    break
            else:
                return rule
        return None


class Shape(NamedTuple):
    """What is known of a schema node before any key is.

    `decision` stands unless one of `conditional` matches the instance. `below`: all descendants are permitted whatever
    their keys; `whole`: the node is, too. `clear`: all descendants of an instance are that none of `near` matches,
    which are all rules on keys at the node and above it.
    """

    decision: Decision
    conditional: Keyed
    below: bool
    whole: bool
    near: Keyed
    clear: bool


class Rights:
    """What one set of groups may do. Filled as it is asked; safe to ask from any thread."""

    def __init__(self, rules: tuple[Rule, ...], defaults: Mapping[str, bool], schema: Schema) -> None:
        self._defaults = defaults
        self._schema = schema
        self._named = [rule for rule in rules if rule.kind != "data"]
        self._places: dict[AccessOperation, dict[tuple[Node | None, str], list[Rule]]] = {}
        self._keyed: dict[AccessOperation, dict[Node | None, list[Rule]]] = {}
        for operation in OPERATIONS:
            places = self._places.setdefault(operation, {})
            keyed = self._keyed.setdefault(operation, {})
            for rule in rules:
                if rule.kind not in ("any", "data") or operation not in rule.operations:
                    continue
                there = places.setdefault((rule.place, rule.module), [])
                # behind a rule that always matches, the same place is never looked at
                if not there or there[-1].conditions:
                    there.append(rule)
                    if rule.conditions:
                        keyed.setdefault(rule.place, []).append(rule)
        self._shapes: dict[AccessOperation, dict[Node, Shape]] = {operation: {} for operation in OPERATIONS}
        self._execs: dict[tuple[str, str], Decision] = {}
        self._events: dict[Node, Decision] = {}

    def execute(self, module: str, name: str) -> Decision:
        """RFC 8341 section 3.4.4 for an RPC."""
        known = self._execs.get((module, name))
        if known is None:
            known = self._execs[module, name] = self._execute(module, name)
        return known

    def _execute(self, module: str, name: str) -> Decision:
        if (module, name) in _NEVER_DENIED:
            return Decision(True, None, f"the standard, which lets everyone call {name}")
        for rule in self._named:
            if rule.kind != "notification" and _matches(rule, module, name, "exec"):
                return Decision(rule.permit, rule)
        node = self._schema.rpcs.get((module, name))
        if node is not None and node.nacm == "default-deny-all":
            return Decision(False, None, f"nacm:default-deny-all of {module}:{name}")
        if (module, name) in _ALWAYS_DENIED:
            return Decision(False, None, f"the default of {name}, which only a rule permits")
        return self._default("exec")

    def notify(self, node: Node, at: Keys) -> Decision:
        """RFC 8341 section 3.4.6: whether an event may be sent; of one tied to data, the data must be readable too."""
        if node.name in _CLOSING:
            return Decision(True, None, f"the standard, which lets everyone have {node.name}")
        tied = node.parent is not None and node.parent.kind != "root"
        if tied:
            for above in lineage(node)[:-1]:
                decision = self.decide("read", above, at)
                if not decision.permit:
                    return decision
        elif node in self._events:
            return self._events[node]
        named = next(
            (each for each in self._named if each.kind != "rpc" and _matches(each, node.module, node.name, "read")),
            None,
        )
        decision = Decision(named.permit, named) if named is not None else self._silent(node, "read")
        if tied:
            placed = self.decide("read", node, at)
            rule = placed.rule
            # one list of rules, in which the first that matches decides, whatever its kind
            return placed if rule is not None and (named is None or rule.order < named.order) else decision
        self._events[node] = decision
        return decision

    def decide(self, operation: AccessOperation, node: Node, at: Keys) -> Decision:
        """RFC 8341 section 3.4.5 for one instance, without regard to its ancestors."""
        shape = self.shape(operation, node)
        return decided(shape, at) if shape.conditional else shape.decision

    def shape(self, operation: AccessOperation, node: Node) -> Shape:
        """What the rules say of a data node, action or tied notification."""
        known = self._shapes[operation].get(node)
        if known is None:
            known = self._shapes[operation][node] = self._shape(operation, node)
        return known

    def _shape(self, operation: AccessOperation, node: Node) -> Shape:
        decision, rules = self._foreseen(operation, node, frozenset())
        below = all(self.shape(operation, child).whole for child in node.children)
        above = frozenset(lineage(node))
        near = sorted((rule for place in above for rule in self._keyed[operation].get(place, ())), key=_order)
        conditional = Keyed(rules)
        return Shape(
            decision,
            conditional,
            below,
            below and decision.permit and not rules,
            conditional if near == rules else Keyed(near),
            below or (bool(near) and all(self._clear(operation, child, above) for child in node.children)),
        )

    def _clear(self, operation: AccessOperation, node: Node, above: frozenset[Node]) -> bool:
        """Whether a node and all below it are permitted where no rule on the keys of `above` matches."""
        decision, rules = self._foreseen(operation, node, above)
        return decision.permit and not rules and all(self._clear(operation, child, above) for child in node.children)

    def _foreseen(self, operation: AccessOperation, node: Node, above: frozenset[Node]) -> tuple[Decision, list[Rule]]:
        """The decision for a node, and the rules on keys that come before it; those that end in `above` left out."""
        places = self._places[operation]
        found: list[Rule] = []
        for place in (None, *lineage(node)):
            found += places.get((place, "*"), ())
            found += places.get((place, node.module), ())
        conditional: list[Rule] = []
        for rule in sorted(found, key=_order):
            if not rule.conditions:
                return Decision(rule.permit, rule), conditional
            if rule.place not in above:
                conditional.append(rule)
        return self._silent(node, operation), conditional

    def _silent(self, node: Node, operation: AccessOperation) -> Decision:
        """Where no rule matches: the model's own word, else the default."""
        if operation != "exec":
            for each in reversed(lineage(node)):
                if each.nacm == "default-deny-all" or (each.nacm is not None and operation != "read"):
                    return Decision(False, None, f"nacm:{each.nacm} of {each.path}")
        return self._default(operation)

    def _default(self, operation: AccessOperation) -> Decision:
        leaf = f"{'write' if operation in WRITES else operation}-default"
        return Decision(self._defaults[leaf], None, leaf)


def _matches(rule: Rule, module: str, name: str, operation: AccessOperation) -> bool:
    if operation not in rule.operations or rule.module not in ("*", module):
        return False
    return rule.kind == "any" or rule.target in ("*", name)


def _order(rule: Rule) -> int:
    return rule.order


def decided(shape: Shape, at: Keys) -> Decision:
    """The decision for the instance that has these keys."""
    rule = shape.conditional.first(at)
    return shape.decision if rule is None else Decision(rule.permit, rule)


def lineage(node: Node) -> tuple[Node, ...]:
    """The node and its ancestors, from below the root."""
    found: list[Node] = []
    here: Node | None = node
    while here is not None and here.kind != "root":
        found.append(here)
        here = here.parent
    return tuple(reversed(found))


@dataclass(slots=True)
class RuleSet:
    """All rules of one version of the configuration. `lists` are (groups, rules) in order."""

    schema: Schema
    enabled: bool
    external: bool
    defaults: Mapping[str, bool]
    members: Mapping[str, frozenset[str]]
    lists: tuple[tuple[frozenset[str], tuple[Rule, ...]], ...]
    _rights: dict[tuple[frozenset[str], str | None], Rights] = field(default_factory=dict)
    _users: dict[User, Rights] = field(default_factory=dict)

    @classmethod
    def read(cls, nacm: Tree, schema: Schema) -> RuleSet:
        """From the members of the nacm container. Raises InvalidValue for a path that the models do not have."""
        members: dict[str, set[str]] = {}
        for group in nacm.get("groups", {}).get("group", ()):
            for user in group.get("user-name", ()):
                members.setdefault(user, set()).add(group["name"])
        order = 0
        lists = []
        for entry in nacm.get("rule-list", ()):
            rules = tuple(
                _rule(entry["name"], rule, order + index, schema) for index, rule in enumerate(entry.get("rule", ()))
            )
            order += len(rules)
            lists.append((frozenset(entry.get("group", ())), rules))
        return cls(
            schema,
            nacm.get("enable-nacm", True),
            nacm.get("enable-external-groups", True),
            {
                leaf: nacm.get(leaf, usual) == "permit"
                for leaf, usual in (("read-default", "permit"), ("write-default", "deny"), ("exec-default", "permit"))
            },
            {user: frozenset(groups) for user, groups in members.items()},
            tuple(lists),
        )

    def groups(self, user: User) -> frozenset[str]:
        """Configured groups, and those that the transport reports where they are taken (RFC 8341 section 3.4.2)."""
        reported = user.groups if self.external or user.recovery else frozenset()
        return self.members.get(user.name, frozenset()) | reported

    def rights(self, user: User) -> Rights:
        """What the user may do; kept for all users of the same groups."""
        known = self._users.get(user)
        if known is None:
            if len(self._users) >= USERS:
                self._users.clear()
                self._rights.clear()
            known = self._users[user] = self._shared(user)
        return known

    def _shared(self, user: User) -> Rights:
        groups = self.groups(user)
        # "*" stands for all groups: who is in none has no rules (RFC 8341 section 3.4.4, steps 4 and 5)
        rules = [rule for names, each in self.lists if groups and ("*" in names or names & groups) for rule in each]
        personal = any(condition.value is None for rule in rules for condition in rule.conditions)
        key = (groups, user.name if personal else None)
        known = self._rights.get(key)
        if known is None:
            own = tuple(_for(rule, user.name) for rule in rules)
            known = self._rights[key] = Rights(own, self.defaults, self.schema)
        return known


def _for(rule: Rule, user: str) -> Rule:
    if all(condition.value is not None for condition in rule.conditions):
        return rule
    conditions = tuple(each if each.value is not None else each._replace(value=user) for each in rule.conditions)
    return Rule(**{name: getattr(rule, name) for name in Rule.__slots__} | {"conditions": conditions})


def _rule(rule_list: str, entry: Mapping[str, Any], order: int, schema: Schema) -> Rule:
    words = entry.get("access-operations", "*").split()
    kind: Literal["any", "rpc", "notification", "data"] = "any"
    target = ""
    place: Node | None = None
    conditions: tuple[Condition, ...] = ()
    if "rpc-name" in entry:
        kind, target = "rpc", entry["rpc-name"]
    elif "notification-name" in entry:
        kind, target = "notification", entry["notification-name"]
    elif "path" in entry:
        kind = "data"
        place, conditions = place_of(entry["path"], schema)
    return Rule(
        rule_list,
        entry["name"],
        order,
        entry["action"] == "permit",
        entry.get("module-name", "*"),
        kind,
        target,
        place,
        conditions,
        frozenset(OPERATIONS if words == ["*"] else words),
    )


def place_of(path: str, schema: Schema) -> tuple[Node | None, tuple[Condition, ...]]:
    """The node that a path leads to (None: all data), and what it asks of keys. Raises InvalidValue."""
    node = schema.root
    conditions: list[Condition] = []
    for module, name, keys in NodeInstanceIdentifier.steps(path):
        child = node.child(module, name) or next(_tied(node, module, name), None)
        if child is None:
            raise InvalidValue(f"{path}: the models have no {module}:{name} there")
        conditions += [_condition(child, key, value, path) for key, value in keys]
        node = child
    return (None if node is schema.root else node), tuple(conditions)


def _tied(node: Node, module: str, name: str) -> Iterator[Node]:
    """Actions and notifications below a data node."""
    return (each for each in node.operations if (each.module, each.name) == (module, name))


def _condition(node: Node, key: str, value: str | None, path: str) -> Condition:
    names = (".",) if node.kind == "leaf-list" else node.keys
    if key not in names:
        raise InvalidValue(f"{path}: {key} is no key of {node.name}")
    index = names.index(key)
    kind = node.type if node.kind == "leaf-list" else node.key_nodes[index].type
    if value is not None and kind is not None:
        value = kind.to_text(kind.from_text(value))
    return Condition(node, index, value)
