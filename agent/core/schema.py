"""The run-time schema: modules and data nodes as compile.py wrote them. No data, no protocol, no pyang.

Everything here is immutable after `Schema.load`. Choice and case are flattened away: they stand in `Node.choice`.
Source: RFC 7950; paths are written as in docs/reference ("/module:a/b", the module again where it changes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any, Literal, get_args

from agent.core.reftypes import load_type
from agent.core.types import Names, Type

Kind = Literal[
    "root",
    "container",
    "list",
    "leaf",
    "leaf-list",
    "anydata",
    "anyxml",
    "rpc",
    "action",
    "input",
    "output",
    "notification",
]
Nacm = Literal["default-deny-write", "default-deny-all"]
_KINDS = frozenset(get_args(Kind))


class Node:
    """One schema node. Compared by identity; attributes are described in the order of RFC 7950 section 7.

    `member` is the RFC 7951 name below the parent. `when` holds the node's own conditions (context: the node),
    `outer_when` those of the choice, case, uses or augment around it (context: the closest data parent). `choice`
    names the enclosing (choice, case) pairs, outermost first; `default_cases` are those of the choices whose default
    case this is. `default` is lexical, empty where there is none.
    `must` is of input only: `test`, and `message` and `app_tag` where the model gives them.
    `operations` are actions and notifications below a data node; `children` are data nodes only, in schema order.
    """

    __slots__ = (
        "_members",
        "_named",
        "children",
        "choice",
        "config",
        "default",
        "default_cases",
        "key_nodes",
        "keys",
        "kind",
        "mandatory",
        "max_elements",
        "member",
        "min_elements",
        "module",
        "must",
        "nacm",
        "name",
        "operations",
        "outer_when",
        "parent",
        "presence",
        "schema",
        "type",
        "unique",
        "units",
        "user_ordered",
        "when",
    )

    def __init__(self, document: Mapping[str, Any], parent: Node | None, schema: Schema, module: str) -> None:
        kind = document["kind"]
        if kind not in _KINDS:
            raise ValueError(f"schema document: unknown kind {kind!r}; make it anew with agent.core.compile")
        self.name: str = document["name"]
        self.module: str = document.get("module", module)
        self.kind: Kind = kind
        self.parent = parent
        self.schema = schema
        same = parent is not None and parent.kind != "root" and parent.module == self.module
        self.member = self.name if same else f"{self.module}:{self.name}"
        self.config: bool = document.get("config", True)
        self.mandatory: bool = document.get("mandatory", False)
        self.presence: bool = document.get("presence", False)
        self.user_ordered: bool = document.get("user-ordered", False)
        self.keys: tuple[str, ...] = tuple(document.get("keys", ()))
        self.min_elements: int = document.get("min", 0)
        self.max_elements: int | None = document.get("max")
        self.unique: tuple[tuple[str, ...], ...] = tuple(tuple(item) for item in document.get("unique", ()))
        self.default: tuple[str, ...] = tuple(document.get("default", ()))
        self.when: tuple[str, ...] = tuple(document.get("when", ()))
        self.outer_when: tuple[str, ...] = tuple(document.get("outer-when", ()))
        self.choice: tuple[tuple[str, str], ...] = tuple((pair[0], pair[1]) for pair in document.get("choice", ()))
        self.default_cases: frozenset[str] = frozenset(document.get("default-cases", ()))
        self.must: tuple[Mapping[str, str], ...] = tuple(document.get("must", ()))
        self.units: str | None = document.get("units")
        self.nacm: Nacm | None = document.get("nacm")
        index = document.get("type")
        self.type: Type | None = None if index is None else schema.type_at(index, self.module)
        below = [Node(item, self, schema, self.module) for item in document.get("children", ())]
        self._link(
            tuple(node for node in below if node.kind not in ("action", "notification")),
            tuple(node for node in below if node.kind in ("action", "notification")),
        )

    def _link(self, children: tuple[Node, ...], operations: tuple[Node, ...]) -> None:
        self.children = children
        self.operations = operations
        self._members = {node.member: node for node in children}
        self._named: dict[str, tuple[Node, ...]] = {}
        for node in children:
            self._named[node.name] = (*self._named.get(node.name, ()), node)
            if self.kind != "root":
                self._members.setdefault(f"{node.module}:{node.name}", node)
        self.key_nodes: tuple[Node, ...] = tuple(self._members[f"{self.module}:{name}"] for name in self.keys)

    @property
    def namespace(self) -> str:
        """The namespace of `module`."""
        return self.schema.modules[self.module].namespace

    @property
    def path(self) -> str:
        """Schema path, "/module:a/b"; "/" for the root. Input and output are steps of it."""
        if self.kind == "root":
            return "/"
        if self.parent is None or self.parent.kind == "root":
            return f"/{self.member}"
        return f"{self.parent.path}/{self.member}"

    def child(self, module: str, name: str) -> Node | None:
        """The data child of that module and name."""
        return self._members.get(f"{module}:{name}")

    def action(self, module: str, name: str) -> Node | None:
        """The action of that module and name, which is invoked on instances of this node."""
        found = (each for each in self.operations if (each.kind, each.module, each.name) == ("action", module, name))
        return next(found, None)

    def by_member(self, member: str) -> Node | None:
        """The data child with that RFC 7951 member name; "module:name" is found also where the module is the same."""
        return self._members.get(member)

    def named(self, name: str) -> tuple[Node, ...]:
        """All data children of that name, whatever their module."""
        return self._named.get(name, ())

    def walk(self) -> Iterator[Node]:
        """This node and all data nodes below it, in schema order."""
        yield self
        for node in self.children:
            yield from node.walk()

    def __repr__(self) -> str:
        return f"<{self.kind} {self.path}>"


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the schema. `implemented` is False where it is only imported (RFC 8525).

    `file` is its YANG text; `submodules` are (name, revision, file). `imports` maps the prefixes that its text (and
    that of its submodules) uses to module names, its own among them.
    """

    name: str
    revision: str
    namespace: str
    prefix: str
    yang_version: str
    implemented: bool
    file: Path
    features: tuple[str, ...] = ()
    submodules: tuple[tuple[str, str, Path], ...] = ()
    deviations: tuple[str, ...] = ()
    imports: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Schema:
    """All modules, the data tree below `root`, and RPCs and notifications by (module, name)."""

    modules: dict[str, Module]
    names: Names
    root: Node = field(init=False)
    rpcs: dict[tuple[str, str], Node] = field(default_factory=dict)
    notifications: dict[tuple[str, str], Node] = field(default_factory=dict)
    events: Node = field(init=False)
    """A root whose children are the notifications: what filters on events begin at."""
    _table: list[Mapping[str, Any]] = field(default_factory=list)
    _types: dict[tuple[int, str], Type] = field(default_factory=dict)

    def by_namespace(self, namespace: str) -> Module | None:
        """The module of that namespace."""
        name = self.names.modules.get(namespace)
        return None if name is None else self.modules[name]

    def type_at(self, index: int, module: str) -> Type:
        """A type of the document's table, for leaves of `module` (bare identity names belong to that module)."""
        found = self._types.get((index, module))
        if found is None:
            found = load_type(self._table[index], module, self.names, lambda target: self.type_at(target, module))
            self._types[index, module] = found
        return found

    def find(self, path: str) -> Node | None:
        """The data node, RPC, action, notification, input or output at a schema path as `Node.path` writes it."""
        steps = path.strip("/").split("/")
        if steps == [""]:
            return self.root
        module, _, name = steps[0].rpartition(":")
        key = (module, name)
        node = self.root.by_member(steps[0]) or self.rpcs.get(key) or self.notifications.get(key)
        for step in steps[1:]:
            if node is None:
                return None
            node = node.by_member(step) or next((each for each in node.operations if each.member == step), None)
        return node

    def actions(self) -> Iterator[Node]:
        """All actions, in schema order."""
        for node in self.root.walk():
            yield from (each for each in node.operations if each.kind == "action")

    @classmethod
    def load(cls, document: Mapping[str, Any], base: Path | None = None) -> Schema:
        """Build it from what compile.py wrote; relative file names in it are below `base`. Raises ValueError."""
        if document.get("format") != 1:
            raise ValueError("schema document: not format 1; make it anew with agent.core.compile")
        where = base or Path()
        modules = {item["name"]: _module(item, where) for item in document["modules"]}
        names = Names(
            namespaces={module.name: module.namespace for module in modules.values()},
            modules={module.namespace: module.name for module in modules.values()},
            prefixes={module.name: module.prefix for module in modules.values()},
            identities={name: frozenset(derived) for name, derived in document["identities"].items()},
        )
        schema = cls(modules, names)
        schema._table = list(document["types"])
        schema.root = Node({"name": "", "kind": "root", "children": document["data"]}, None, schema, "")
        for item in document["rpcs"]:
            node = Node(item, None, schema, "")
            schema.rpcs[node.module, node.name] = node
        for item in document["notifications"]:
            node = Node(item, None, schema, "")
            schema.notifications[node.module, node.name] = node
        schema.events = Node({"name": "", "kind": "root"}, None, schema, "")
        schema.events._link(tuple(schema.notifications.values()), ())
        return schema

    @classmethod
    def read(cls, file: Path) -> Schema:
        """Load a document from a file; file names in it are relative to its folder. Raises OSError, ValueError."""
        return cls.load(json.loads(file.read_bytes()), file.parent)


def _module(item: Mapping[str, Any], base: Path) -> Module:
    return Module(
        name=item["name"],
        revision=item["revision"],
        namespace=item["namespace"],
        prefix=item["prefix"],
        yang_version=item["yang-version"],
        implemented=item["implemented"],
        file=base / item["file"],
        features=tuple(item["features"]),
        submodules=tuple((sub["name"], sub["revision"], base / sub["file"]) for sub in item["submodules"]),
        deviations=tuple(item.get("deviations", ())),
        imports=item.get("imports", {}),
    )
