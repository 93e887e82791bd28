"""Reading a request line: method, path and query against the schema, to one tagged record. Pure; no HTTP, no data.

Source: RFC 8040 sections 3.1 to 3.6 and 4.8 (api-path grammar in 3.5.3); checklist 127-131, 136, 154.
"""

from __future__ import annotations

from dataclasses import dataclass
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from agent.core.data import Target
from agent.core.schema import Node, Schema
from agent.core.types import InvalidValue
from agent.errors import Error, Path, Step
from agent.restconf.errors import HttpError, bad_request

ROOT = "/restconf"
"""{+restconf}: where the API resource stands (RFC 8040 section 3.1)."""

READ = ("GET", "HEAD", "OPTIONS")
CALL = ("OPTIONS", "POST")
CONFIG_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
LONGEST_PATH = 8192
"""Characters of a request path: deeper than any instance of a served model."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class HostMeta:
    """/.well-known/host-meta (section 3.1)."""

    allow = READ


@dataclass(frozen=True, slots=True)
class ApiRoot:
    """{+restconf} (section 3.3)."""

    allow = READ


@dataclass(frozen=True, slots=True)
class LibraryVersion:
    """{+restconf}/yang-library-version (section 3.3.3)."""

    allow = READ


@dataclass(frozen=True, slots=True)
class OperationList:
    """{+restconf}/operations (section 3.3.2)."""

    allow = READ


@dataclass(frozen=True, slots=True)
class Operation:
    """{+restconf}/operations/module:rpc (section 3.6); `node` is the RPC."""

    node: Node
    allow = CALL


@dataclass(frozen=True, slots=True)
class Action:
    """{+restconf}/data/…/action (section 3.6); `node` is the action, `instance` leads to what it is invoked on."""

    node: Node
    instance: Path
    allow = CALL


@dataclass(frozen=True, slots=True)
class DataRoot:
    """{+restconf}/data: the datastore resource (section 3.4)."""

    allow = READ


@dataclass(frozen=True, slots=True)
class DataResource:
    """{+restconf}/data/…: a data resource (section 3.5).

    `path` names each node from the root with its canonical key values (a leaf-list: its value), or None where none
    are given: only the last step may leave out those that its node could have.
    """

    path: Target
    allow = READ

    @property
    def node(self) -> Node:
        """The target's schema node."""
        return self.path[-1][0]

    @property
    def whole(self) -> bool:
        """Whether all entries of a list or leaf-list are meant, not one of them."""
        node, keys = self.path[-1]
        return keys is None and node.kind in ("list", "leaf-list")

    @property
    def steps(self) -> Path:
        """The same as an error path."""
        return tuple(_step(node, keys) for node, keys in self.path)


Resource = HostMeta | ApiRoot | LibraryVersion | OperationList | Operation | Action | DataRoot | DataResource


def parse(method: str, raw_path: str, query: str, schema: Schema) -> Resource:
    """What a request is about. `raw_path` and `query` are as sent, percent-encoding and all.

    Raises HttpError: 400 (grammar, unknown node, keys, query parameter), 404 (no such resource outside of data),
    405 with Allow (the resource does not take the method).
    """
    resource = _resource(method, raw_path, schema)
    if method not in resource.allow:
        raise _not_allowed(method, resource)
    _check_query(query)
    return resource


def _resource(method: str, raw_path: str, schema: Schema) -> Resource:
    if len(raw_path) > LONGEST_PATH:
        raise HttpError(414, Error("protocol", "too-big", f"the path is longer than {LONGEST_PATH} characters"))
    if raw_path == "/.well-known/host-meta":
        return HostMeta()
    if raw_path != ROOT and not raw_path.startswith(ROOT + "/"):
        raise _unknown(f"nothing is served at this path: the API starts at {ROOT}")
    rest = raw_path[len(ROOT) + 1 :]
    head, slash, tail = rest.partition("/")
    match head:
        case "" if not tail:
            return ApiRoot()
        case "data":
            return _data(method, tail, schema) if tail else DataRoot()
        case "operations":
            return Operation(_rpc(tail, schema)) if tail else OperationList()
        case "yang-library-version" if not slash:
            return LibraryVersion()
    raise _unknown(f"no such resource: {ROOT} has data, operations and yang-library-version")


def _data(method: str, api_path: str, schema: Schema) -> Resource:
    """`api_path` is not empty. Raises HttpError."""
    segments = api_path.split("/")
    if len(segments) == 1 and "=" not in segments[0]:
        # scripts written for older servers call RPCs below data
        module, name = _identifier(segments[0], ())
        rpc = schema.rpcs.get((module or "", name))
        if rpc is not None and schema.root.child(module or "", name) is None:
            return Operation(rpc)
    parent, path, steps = schema.root, [], ()  # type: tuple[Node, list[tuple[Node, tuple[Any, ...] | None]], Path]
    for index, segment in enumerate(segments):
        name_part, equals, value_part = segment.partition("=")
        action = _action(parent, name_part, steps)
        if action is not None:
            if equals or index < len(segments) - 1:
                raise _bad("invalid-value", f"{action.name} is an action: the path ends with its name", steps)
            return Action(action, steps)
        node = _child(parent, *_identifier(name_part, steps), steps)
        keys = _keys(node, value_part, steps) if equals else None
        steps = (*steps, _step(node, keys))
        if keys is None and node.kind == "list" and (index < len(segments) - 1 or method not in READ):
            raise _bad("invalid-value", _missing_keys(node), steps)
        path.append((node, keys))
        parent = node
    return DataResource(tuple(path))


def _child(parent: Node, module: str | None, name: str, steps: Path) -> Node:
    schema = parent.schema
    at_root = parent.kind == "root"
    if module is None and at_root:
        owners = " or ".join(f"{node.module}:{name}" for node in parent.named(name)) or f"module:{name}"
        raise _bad("unknown-element", f"the first node must name its module: write {owners}", steps, bad_element=name)
    if module is not None and module not in schema.modules:
        raise _bad("unknown-namespace", f"no module {module} is served", steps, bad_element=name, bad_namespace=module)
    node = parent.child(module or parent.module, name)
    if node is not None:
        return node
    where = "at the top" if at_root else f"below {parent.path}"
    others = [other.member if at_root else f"{other.module}:{name}" for other in parent.named(name)]
    hint = f"; write {' or '.join(others)}" if others else ""
    label = f"{module}:{name}" if module else name
    raise _bad("unknown-element", f"there is no node {label} {where}{hint}", steps, bad_element=name)


def _action(parent: Node, segment: str, steps: Path) -> Node | None:
    module, name = _identifier(segment, steps)
    return parent.action(module or parent.module, name) if parent.operations else None


def _rpc(segment: str, schema: Schema) -> Node:
    module, name = _identifier(segment, ())
    rpc = schema.rpcs.get((module or "", name))
    if rpc is not None:
        return rpc
    owners = " or ".join(f"{key[0]}:{key[1]}" for key in schema.rpcs if key[1] == name)
    if module is None and owners:
        raise _bad("unknown-element", f"an operation is named with its module: write {owners}", (), bad_element=name)
    raise _unknown(f"there is no operation {segment}: GET {ROOT}/operations lists what you may call")


def _keys(node: Node, text: str, steps: Path) -> tuple[Any, ...]:
    """Canonical values of the key part of a segment, which may be empty (an empty string is a lawful key)."""
    wanted = node.key_nodes if node.kind == "list" else (node,) if node.kind == "leaf-list" else ()
    if not wanted:
        raise _bad("invalid-value", f"{node.name} is a {node.kind} without keys: leave out '={text}'", steps)
    parts = text.split(",")
    if len(parts) != len(wanted):
        names = ",".join(key.name for key in wanted)
        hint = "; write a comma inside a value as %2C" if len(parts) > len(wanted) else ""
        raise _bad("invalid-value", f"{node.name}: {len(parts)} values for {len(wanted)} ({names}){hint}", steps)
    return tuple(_value(key, _decoded(part, steps), steps) for key, part in zip(wanted, parts, strict=True))


def _value(leaf: Node, text: str, steps: Path) -> Any:
    assert leaf.type is not None
    try:
        return leaf.type.from_text(text)
    except InvalidValue as refusal:
        error = Error("protocol", "invalid-value", f"{leaf.name}: {refusal.message}", steps, refusal.app_tag)
        raise HttpError(400, error) from None


def _identifier(text: str, steps: Path) -> tuple[str | None, str]:
    """api-identifier: [module-name ":"] identifier; percent-encoding of its characters is taken too."""
    plain = _decoded(text, steps)
    module, colon, name = plain.rpartition(":")
    if not _IDENTIFIER.fullmatch(name) or (colon and not _IDENTIFIER.fullmatch(module)):
        raise _bad("invalid-value", f"'{plain}' is not a node name: write [module:]name, and / between nodes", steps)
    return (module if colon else None), name


def _decoded(text: str, steps: Path) -> str:
    """Percent-decoding, once and strict."""
    bad = _BAD_ESCAPE.search(text)
    if bad is not None:
        shown = text[bad.start() : bad.start() + 3]
        raise _bad("invalid-value", f"'{shown}' is not %HH: write a percent sign as %25", steps)
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _bad("invalid-value", "percent-decoded text must be UTF-8", steps) from None


def _check_query(query: str) -> None:
    """Checklist 154. No query parameter is served yet, so each is unknown."""
    if not query:
        return
    names = [part.partition("=")[0] for part in query.split("&") if part]
    for name in names:
        if names.count(name) > 1:
            raise _bad("invalid-value", f"query parameter '{name[:40]}' is given more than once", ())
    if names:
        raise _bad("invalid-value", f"query parameter '{names[0][:40]}' is not supported here: leave it out", ())


def _step(node: Node, keys: tuple[Any, ...] | None) -> Step:
    if keys is None:
        return Step(node.module, node.name)
    named = node.key_nodes if node.kind == "list" else (node,)
    texts = (
        (("." if key is node else key.name), key.type.to_text(value) if key.type else str(value))
        for key, value in zip(named, keys, strict=True)
    )
    return Step(node.module, node.name, tuple(texts))


def _missing_keys(node: Node) -> str:
    if not node.keys:
        return f"{node.name} is a list without keys: only all of it can be read, nothing below one entry"
    return f"{node.name} is a list: name one entry as {node.name}={','.join('{' + key + '}' for key in node.keys)}"


def _not_allowed(method: str, resource: Resource) -> HttpError:
    allow = ", ".join(resource.allow)
    message = f"{method} is not allowed here: {allow}"
    if isinstance(resource, DataRoot | DataResource) and method in CONFIG_METHODS:
        message += "; data cannot be changed over RESTCONF yet: use edit-config over NETCONF"
    return HttpError(405, Error("protocol", "operation-not-supported", message), headers=(("Allow", allow),))


def _unknown(message: str) -> HttpError:
    return HttpError(404, Error("protocol", "invalid-value", message))


def _bad(tag: str, message: str, steps: Path, **info: str) -> HttpError:
    return bad_request(tag, message, path=steps, **info)
