"""YANG types that lean on others: identityref, leafref, union, instance-identifier; and the loader of all types.

No schema nodes, no protocol. Source: RFC 7950 sections 9.9, 9.10, 9.12, 9.13, RFC 7951 section 6, RFC 8341 section 5
(node-instance-identifier).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import re
from typing import Any

from agent.core.types import (
    BOUNDS,
    Binary,
    Bits,
    Boolean,
    Bounds,
    Decimal64,
    Declarations,
    Empty,
    Enumeration,
    Integer,
    InvalidValue,
    Names,
    Pattern,
    Prefixes,
    Text,
    Type,
    listed,
    shown,
)


class IdentityRef(Type):
    """The name of an identity that is derived from all of the bases."""

    __slots__ = ("allowed",)

    def __init__(self, module: str, names: Names, bases: Sequence[str]) -> None:
        super().__init__("identityref", module, names)
        derived = [names.identities.get(base, frozenset()) for base in bases]
        self.allowed = frozenset.intersection(*derived) if derived else frozenset()

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        prefix, colon, name = text.rpartition(":")
        namespace = prefixes.get(prefix if colon else None)
        if namespace is None and not colon:
            # no default namespace either: ncclient's get_schema(format="yin") means the leaf's own module
            return self._known(f"{self.module}:{name}", text)
        if namespace is None:
            raise InvalidValue(f"{shown(text)}: the prefix of this identity is not declared")
        return self._known(f"{self.names.modules.get(namespace, namespace)}:{name}", text)

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise InvalidValue(f"{shown(value)}: an identity is a JSON string module:name")
        return self._known(value if ":" in value else f"{self.module}:{value}", value)

    def to_xml(self, value: Any) -> tuple[str, Declarations]:
        module, _, name = value.partition(":")
        prefix = self.names.prefixes[module]
        return f"{prefix}:{name}", ((prefix, self.names.namespaces[module]),)

    def _known(self, full: str, given: object) -> str:
        if full not in self.allowed:
            raise InvalidValue(f"{shown(given)} is not one of the identities {listed(sorted(self.allowed))}")
        return full


class LeafRef(Type):
    """The type of the leaf that is referred to; `path` and `require_instance` are for whoever validates."""

    __slots__ = ("_find", "_target", "path", "require_instance")

    def __init__(self, module: str, names: Names, path: str, require_instance: bool, find: Callable[[], Type]) -> None:
        super().__init__("leafref", module, names)
        self.path = path
        self.require_instance = require_instance
        self._find = find
        self._target: Type | None = None

    @property
    def target(self) -> Type:
        """The type referred to (found on first use: leaves may refer to each other in any order)."""
        if self._target is None:
            self._target = self._find()
        return self._target

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        return self.target.from_xml(text, prefixes)

    def from_json(self, value: Any) -> Any:
        return self.target.from_json(value)

    def to_text(self, value: Any) -> str:
        return self.target.to_text(value)

    def to_xml(self, value: Any) -> tuple[str, Declarations]:
        return self.target.to_xml(value)


class Union(Type):
    """The first member type that takes the value (RFC 7950 section 9.12, RFC 7951 section 6.10)."""

    __slots__ = ("members",)

    def __init__(self, module: str, names: Names, members: tuple[Type, ...]) -> None:
        super().__init__("union", module, names)
        self.members = members

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        return self._first(lambda member: member.from_xml(text, prefixes), text)

    def from_json(self, value: Any) -> Any:
        return self._first(lambda member: member.from_json(value), value)

    def to_text(self, value: Any) -> str:
        return self._member(value).to_text(value)

    def to_xml(self, value: Any) -> tuple[str, Declarations]:
        return self._member(value).to_xml(value)

    def _first(self, read: Callable[[Type], Any], value: object) -> Any:
        refusals: list[str] = []
        for member in self.members:
            try:
                return read(member)
            except InvalidValue as refusal:
                refusals.append(refusal.message)
        reasons = "; ".join(refusals)
        short = reasons if len(reasons) <= 240 else f"{reasons[:240]}…"
        raise InvalidValue(f"{shown(value)} fits no member of the union: {short}")

    def _member(self, value: Any) -> Type:
        for member in self.members:
            try:
                if member.from_json(value) == value:
                    return member
            except InvalidValue:
                continue
        raise InvalidValue(f"{shown(value)} fits no member of the union")


class InstanceIdentifier(Type):
    """A path to a data node; syntax and module names are checked, not whether it exists."""

    __slots__ = ("require_instance",)

    _NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
    _STEP = re.compile(rf"/(?:({_NAME}):)?({_NAME})")
    _PREDICATE = re.compile(
        rf"\[[ \t]*(?:(\.|(?:{_NAME}:)?{_NAME})[ \t]*=[ \t]*('[^']*'|\"[^\"]*\")|([1-9][0-9]*))[ \t]*\]"
    )

    def __init__(self, module: str, names: Names, require_instance: bool) -> None:
        super().__init__("instance-identifier", module, names)
        self.require_instance = require_instance

    def from_xml(self, text: str, prefixes: Prefixes) -> Any:
        def resolve(prefix: str | None, _parent: str | None) -> str:
            namespace = prefixes.get(prefix) if prefix else None
            if namespace is None:
                raise InvalidValue(f"{shown(text)}: every name of an instance-identifier needs a declared prefix")
            return self.names.modules.get(namespace, namespace)

        return self._written(text, resolve, lambda module, parent: "" if module == parent else f"{module}:")

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise InvalidValue(f"{shown(value)}: an instance-identifier is a JSON string")

        def resolve(prefix: str | None, parent: str | None) -> str:
            module = prefix or parent
            if module is None:
                raise InvalidValue(f"{shown(value)}: the first name must be module:name")
            return module

        return self._written(value, resolve, lambda module, parent: "" if module == parent else f"{module}:")

    def from_text(self, text: str) -> Any:
        return self.from_json(text)

    def to_xml(self, value: Any) -> tuple[str, Declarations]:
        used: dict[str, str] = {}

        def write(module: str, _parent: str | None) -> str:
            prefix = self.names.prefixes[module]
            used[prefix] = self.names.namespaces[module]
            return f"{prefix}:"

        text = self._written(value, lambda prefix, parent: prefix or parent or "", write)
        return text, tuple(sorted(used.items()))

    def _written(
        self,
        text: str,
        resolve: Callable[[str | None, str | None], str],
        write: Callable[[str, str | None], str],
    ) -> str:
        """Read a path name by name and write it anew. Predicates name children of their step."""
        out: list[str] = []
        at, parent = 0, None
        while True:
            step = self._STEP.match(text, at)
            if step is None:
                break
            module = self._module(resolve(step.group(1), parent), text)
            out.append(f"/{write(module, parent)}{step.group(2)}")
            at, parent = step.end(), module
            while predicate := self._PREDICATE.match(text, at):
                at = predicate.end()
                name, value, position = predicate.groups()
                if position is not None or name == ".":
                    out.append(f"[{position}]" if position else f"[.={value}]")
                    continue
                prefix, _, local = name.rpartition(":")
                key = self._module(resolve(prefix or None, module), text)
                out.append(f"[{write(key, module)}{local}={value}]")
        if not out or at != len(text):
            raise InvalidValue(f"{shown(text)} is not an instance-identifier; write it as /module:name[key='value']/…")
        return "".join(out)

    def _module(self, module: str, text: str) -> str:
        if module not in self.names.namespaces:
            raise InvalidValue(f"{shown(text)}: {shown(module)} is no module that is known here")
        return module


class NodeInstanceIdentifier(InstanceIdentifier):
    """A path of an access rule: keys may be left out, a key may equal $USER, and "/" is all data."""

    __slots__ = ()

    _PREDICATE = re.compile(
        rf"\[[ \t]*(?:(\.|(?:{InstanceIdentifier._NAME}:)?{InstanceIdentifier._NAME})[ \t]*=[ \t]*"
        r"('[^']*'|\"[^\"]*\"|\$USER)|((?!)))[ \t]*\]"
    )

    def __init__(self, module: str, names: Names) -> None:
        super().__init__(module, names, False)
        self.base = "node-instance-identifier"

    def _written(
        self,
        text: str,
        resolve: Callable[[str | None, str | None], str],
        write: Callable[[str, str | None], str],
    ) -> str:
        return text if text == "/" else super()._written(text, resolve, write)

    @classmethod
    def steps(cls, value: str) -> Iterator[tuple[str, str, tuple[tuple[str, str | None], ...]]]:
        """The steps of a canonical value: module, name, and keys by name; None stands for $USER.

        Raises InvalidValue for text that is no such path.
        """
        at, module = 0, ""
        while at < len(value) and value != "/":
            step = cls._STEP.match(value, at)
            if step is None or not (module := step.group(1) or module):
                raise InvalidValue(f"{shown(value)} is not a path; write it as /module:name[key='value']/…")
            at = step.end()
            keys: list[tuple[str, str | None]] = []
            while test := cls._PREDICATE.match(value, at):
                at = test.end()
                keys.append((test.group(1).rpartition(":")[2], None if test[2] == "$USER" else test[2][1:-1]))
            yield module, step.group(2), tuple(keys)


def load_type(document: Mapping[str, Any], module: str, names: Names, resolve: Callable[[int], Type]) -> Type:
    """A type as compile.py wrote it. `resolve` finds another entry of its table of types (leafref targets)."""
    base = document["base"]
    lengths = tuple(_bounds(item) for item in document.get("length", ()))
    if base in BOUNDS:
        return Integer(base, module, names, tuple(_bounds(item) for item in document.get("range", ())))
    if base == "decimal64":
        ranges = tuple(_bounds(item) for item in document.get("range", ()))
        return Decimal64(module, names, document["digits"], ranges)
    if base == "string":
        return Text(module, names, lengths, tuple(Pattern(**item) for item in document.get("pattern", ())))
    if base == "binary":
        return Binary(module, names, lengths)
    if base == "boolean":
        return Boolean(base, module, names)
    if base == "empty":
        return Empty(base, module, names)
    if base == "enumeration":
        return Enumeration(module, names, document["enums"])
    if base == "bits":
        return Bits(module, names, document["bits"])
    if base == "identityref":
        return IdentityRef(module, names, document["bases"])
    if base == "union":
        return Union(module, names, tuple(load_type(item, module, names, resolve) for item in document["members"]))
    require = document.get("require-instance", True)
    if base == "leafref":
        target = document["target"]
        return LeafRef(module, names, document["path"], require, lambda: resolve(target))
    if base == "instance-identifier":
        return InstanceIdentifier(module, names, require)
    if base == "node-instance-identifier":
        return NodeInstanceIdentifier(module, names)
    raise ValueError(f"schema document: {base!r} is no YANG type; make it anew with agent.core.compile")


def _bounds(item: Mapping[str, Any]) -> Bounds:
    parts = tuple((low, high) for low, high in item["parts"])
    return Bounds(parts, item["text"], item.get("message"), item.get("app_tag"))
