"""Our models' values through their generated binding classes, and back as RFC 7951 trees. Decides nothing.

The only module that imports `bindings` classes. A class refuses unknown names and wrong types; what it took is read
back from it and written in canonical form by the schema, so a binding and the schema can never disagree unseen.
Containers, list entries, RPC inputs and outputs and notifications are built one by one, the smallest that is needed:
an entry costs 1 to 2 ms, so this stands off the read path (docs/models.md).
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from functools import cache
import importlib
from typing import Any

from pyangbind.lib.yangtypes import YANGBool, safe_name

from agent.core.reftypes import IdentityRef, LeafRef, Union
from agent.core.schema import Node, Schema
from agent.core.tree import Kept, Tree
from agent.core.types import InvalidValue, Type, shown
from agent.errors import Path, Step, refuse

MEMORY = 1024
"""Leaf values whose passage through their class is remembered."""

_LONGEST = 256


class Bindings:
    """Finds the binding class of any node of our modules. `package` is where they were generated.

    No class knows what modules in `strange` add to ours: that is left out.
    """

    def __init__(self, schema: Schema, package: str = "bindings", strange: Collection[str] = ()) -> None:
        self.schema = schema
        self.strange = frozenset(strange)
        self.package = package
        self._spare: dict[Node, list[Any]] = {}
        self._passed: dict[tuple[Node, type, Any], Any] = {}

    def at(self, path: str) -> Bound:
        """A new, empty value for the node at a schema path (`Node.path`). Raises LookupError for an unknown path."""
        return self.of(self.node(path))

    def node(self, path: str) -> Node:
        """The schema node at a path. Raises LookupError for an unknown one."""
        node = self.schema.find(path)
        if node is None:
            raise LookupError(f"{path}: no such node in the schema")
        return node

    def of(self, node: Node) -> Bound:
        """A new, empty value for a container, list entry, input, output or notification."""
        return Bound(self, node, self._object(node))

    def _object(self, node: Node) -> Any:
        if not node.children:
            return None
        name, attribute = _location(node)
        return getattr(importlib.import_module(f"{self.package}.{name}"), attribute)()

    def tree(self, path: str, /, **values: Any) -> Tree:
        """`at(path).set(**values).tree()`."""
        return self.at(path).set(**values).tree()

    def checked(self, node: Node, tree: Tree) -> Tree:
        """A tree of `node`'s members, passed through its class. Raises RequestError where the class refuses it.

        What a class makes of a leaf depends on the value alone: one that has passed lately does not pass again, which
        takes from 0.2 ms (a string) to 3 ms (an enumeration) off each.
        """
        # Making an object costs more than filling it, and what was set before is not read again: so it serves again.
        spare = self._spare.setdefault(node, [])
        try:
            obj = spare.pop()  # any thread may come here: asking first would be a race
        except IndexError:
            obj = self._object(node)
        found = Bound(self, node, obj, self._passed).fill(tree).tree()
        spare.append(obj)
        if len(self._passed) > MEMORY:
            self._passed.clear()
        return found


class Bound:
    """One binding object and the schema node that it stands for."""

    __slots__ = ("_below", "_bindings", "_given", "_passed", "node", "obj")

    def __init__(
        self, bindings: Bindings, node: Node, obj: Any, passed: dict[tuple[Node, type, Any], Any] | None = None
    ) -> None:
        """`passed` remembers leaf values and what the class made of them; without it each one is set."""
        self.node = node
        self.obj = obj
        self._bindings = bindings
        self._passed = passed
        self._given: dict[str, Any] = {}
        self._below: dict[str, Bound | Kept | list[Tree]] = {}

    def set(self, **values: Any) -> Bound:
        """Set children by their Python names (`report_id`); None leaves one out.

        A leaf takes its RFC 7951 value (64-bit numbers also as int), a leaf-list a sequence of them, a container a
        mapping of Python names, a list a sequence of `Bound` or finished trees. Raises AttributeError for a name that
        the class does not have and ValueError for a value that it does not take.
        """
        for name, value in values.items():
            if value is None:
                continue
            child = self._child(name)
            if child.kind == "container":
                self.below(name).set(**value)
            elif child.kind == "list":
                self._below[name] = [item.tree() if isinstance(item, Bound) else item for item in value]
            else:
                self._put(name, child, value)
        return self

    def below(self, name: str) -> Bound:
        """The child container of that Python name, for setting its leaves."""
        found = self._below.get(name)
        if isinstance(found, Bound):
            return found
        child = self._child(name)
        obj = getattr(self.obj, f"_get_{name}")() if child.children else None
        made = Bound(self._bindings, child, obj, self._passed)
        self._below[name] = made
        return made

    def fill(self, tree: Tree) -> Bound:
        """Set what a tree of RFC 7951 members holds; a `Kept` container has passed its class before and stays as it is.

        Raises RequestError: unknown-element or invalid-value.
        """
        for member, value in tree.items():
            child = self.node.by_member(member)
            if child is None:
                raise refuse("unknown-element", f"{member}: not known here", path=_path(self.node), bad_element=member)
            if child.module in self._bindings.strange:
                continue
            name = safe_name(child.name)
            if isinstance(value, Kept):
                self._below[name] = value
            elif child.kind == "container":
                self.below(name).fill(value)
            elif child.kind == "list":
                self._below[name] = [self._bindings.checked(child, entry) for entry in value]
            else:
                try:
                    self._put(name, child, value)
                except ValueError as error:
                    raise refuse("invalid-value", str(error), path=_path(child)) from None
        return self

    def tree(self) -> Tree:
        """What was set, in schema order, canonical; empty containers and lists are left out."""
        found: Tree = {}
        for child in self.node.children:
            if child.module in self._bindings.strange:
                continue
            name = safe_name(child.name)
            below = self._below.get(name)
            value: Any = below.tree() if isinstance(below, Bound) else below
            if name in self._given:
                value = self._read(name, child) if child.choice else self._given[name]
            if value or (name in self._given and child.kind == "leaf"):
                found[child.member] = value
        return found

    def _child(self, name: str) -> Node:
        child = _by_name(self.node).get(name)
        if child is None or (child.kind in ("leaf", "leaf-list") and not hasattr(self.obj, f"_set_{name}")):
            raise AttributeError(f"{self.node.path} has no {name}; it has {', '.join(_by_name(self.node))}")
        return child

    def _put(self, name: str, child: Node, value: Any) -> None:
        short = len(value) <= _LONGEST if isinstance(value, str) else isinstance(value, bool | int)
        # in a choice, one case takes back what the other has set: only the object knows
        memory = self._passed if short and not child.choice else None
        key = child, type(value), value
        # asked once: another thread may forget it meanwhile; no canonical value is None
        known = None if memory is None else memory.get(key)
        if known is None:
            known = self._set(name, child, value)
            if memory is not None:
                memory[key] = known
        self._given[name] = known

    def _set(self, name: str, child: Node, value: Any) -> Any:
        """Set a leaf or leaf-list in the object, and return the canonical value of what it holds then."""
        kind = _type(child)
        if child.kind == "leaf-list":
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise ValueError(f"{child.path}: {shown(value)} is not a sequence of values")
            native: Any = [_native(kind, item) for item in value]
        else:
            native = _native(kind, value)
        try:
            getattr(self.obj, f"_set_{name}")(native)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            reason = error.args[0] if error.args else error
            said = reason.get("error-string", reason) if isinstance(reason, Mapping) else reason
            raise ValueError(f"{child.path}: {shown(value)} is refused: {said}") from None
        try:
            wanted = [_wanted(kind, item) for item in value] if child.kind == "leaf-list" else _wanted(kind, value)
        except InvalidValue as error:
            raise ValueError(f"{child.path}: {error.message}") from None
        # A class takes 1 for true, or False for the string "False": what it holds must be what was meant.
        if self._read(name, child) != wanted:
            raise ValueError(f"{child.path}: the binding class made something else of {shown(value)}")
        return wanted

    def _read(self, name: str, child: Node) -> Any:
        value = getattr(self.obj, f"_get_{name}")()
        kind = _type(child)
        try:
            return [_canonical(kind, item) for item in value] if child.kind == "leaf-list" else _canonical(kind, value)
        except InvalidValue as error:
            raise ValueError(f"{child.path}: {error.message}") from None


def _type(node: Node) -> Type:
    if node.type is None:
        raise TypeError(f"{node.path} is a {node.kind}; only leaves pass through a binding one by one")
    return node.type


def _native(kind: Type, value: Any) -> Any:
    """An RFC 7951 value in the form that binding classes take; whether it is allowed is for the class to say."""
    if isinstance(kind, LeafRef):
        return _native(kind.target, value)
    if isinstance(kind, Union):
        for member in kind.members:
            try:
                return _native(member, member.from_json(value))
            except InvalidValue:
                continue
    if kind.base == "empty":
        return value == [None]
    if kind.base == "identityref" and isinstance(value, str):
        return value.rpartition(":")[2]
    if kind.base.endswith("int64") and isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return value
    return value


def _wanted(kind: Type, value: Any) -> Any:
    wide = kind.base.endswith("int64") and isinstance(value, int) and not isinstance(value, bool)
    return kind.from_json(str(value) if wide else value)


def _canonical(kind: Type, value: Any) -> Any:
    """What a binding object holds, as a canonical value. Raises InvalidValue."""
    if isinstance(kind, LeafRef):
        return _canonical(kind.target, value)
    if isinstance(kind, Union):
        for member in kind.members:
            try:
                return _canonical(member, value)
            except InvalidValue:
                continue
        return kind.from_text(str(value))
    if kind.base in ("boolean", "empty"):
        if not isinstance(value, YANGBool):
            raise InvalidValue(f"{shown(value)} is not a boolean")
        return bool(value) if kind.base == "boolean" else kind.from_xml("", {})
    if kind.base == "binary":
        return kind.from_text(base64.b64encode(bytes(value)).decode("ascii"))
    if kind.base == "bits":
        return kind.from_text(" ".join(value))
    if isinstance(kind, IdentityRef):
        local = str(value).rpartition(":")[2]
        fitting = sorted(name for name in kind.allowed if name.partition(":")[2] == local)
        return kind.from_json(fitting[0] if len(fitting) == 1 else str(value))
    return kind.from_text(str(value))


@cache
def _by_name(node: Node) -> dict[str, Node]:
    # the first of a name is the module's own: augments come after
    return {safe_name(child.name): child for child in reversed(node.children)}


def _location(node: Node) -> tuple[str, str]:
    """Module below the package, and class, as pyangbind lays them out."""
    steps: list[str] = []
    top = node
    above: Node | None = node
    while above is not None and above.kind != "root":
        name = safe_name(above.name)
        parent = above.parent
        # A package may not have its parent's name: pyangbind appends an underscore to the inner one.
        steps.insert(0, f"{name}_" if parent is not None and parent.name == above.name else name)
        top, above = above, parent
    if top.kind in ("rpc", "notification"):
        steps.insert(0, f"{safe_name(top.module)}_{top.kind}")
    return ".".join(steps), safe_name(node.name)


def _path(node: Node) -> Path:
    steps: list[Step] = []
    above: Node | None = node
    while above is not None and above.kind not in ("root", "rpc", "input", "output", "notification"):
        steps.insert(0, Step(above.module, above.name))
        above = above.parent
    return tuple(steps)
