"""partial-lock and partial-unlock (RFC 5717): node paths in XPath become paths with or without keys.

Taken are absolute location paths of child steps with key tests, `/p:a/p:b[p:k='v']`, joined by `|`: instance
identifiers and what leads to several instances. A name without prefix belongs to the module of the name before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import re

from lxml.etree import _Element as Element

from agent.codec import xml
from agent.core.requests import Lock, Request, Unlock
from agent.core.schema import Node, Schema
from agent.core.select import key_text
from agent.core.types import InvalidValue
from agent.errors import Path, RequestError, Step, refuse
from agent.netconf.parameters import parameters, required, text, unknown

PARTIAL = "urn:ietf:params:xml:ns:netconf:partial-lock:1.0"
SELECTS = 100
"""Paths in one request: each walks the lists that it names."""
_NAME = r"(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)"
_STEP = re.compile(rf"\s*/\s*(?:child::)?{_NAME}")
_TEST = re.compile(rf"""\s*\[\s*(?:{_NAME}|(\.))\s*=\s*(?:'([^']*)'|"([^"]*)")\s*\]""")
_UNION = re.compile(r"\s*\|")


def _wrong(expression: str, why: str) -> RequestError:
    shown = expression if len(expression) <= 80 else expression[:79] + "…"
    message = f"{shown!r}: {why}"
    return refuse("invalid-value", message, type="protocol", app_tag="invalid-lock-specification", bad_element="select")


def _module(prefix: str | None, nsmap: Mapping[str | None, str], parent: Node, name: str, expression: str) -> str:
    """The module that a name is in. Raises RequestError."""
    if prefix is None:
        if parent.kind != "root":
            return parent.module
        found = parent.named(name)
        if len(found) != 1:
            raise _wrong(expression, f"{name} needs the prefix of its module")
        return found[0].module
    namespace = nsmap.get(prefix)
    module = None if namespace is None else parent.schema.by_namespace(namespace)
    if module is None:
        raise _wrong(expression, f"the prefix {prefix} is not declared on <select>, or for a module not served here")
    return module.name


def paths(expression: str, nsmap: Mapping[str | None, str], schema: Schema) -> Iterator[Path]:
    """The paths of an expression, for nodes of configuration. Raises RequestError invalid-value."""
    position = 0
    while True:
        node, steps = schema.root, []
        while (found := _STEP.match(expression, position)) is not None:
            position = found.end()
            child = node.child(_module(found[1], nsmap, node, found[2], expression), found[2])
            if child is None or not child.config:
                raise _wrong(expression, f"{found[2]} is not a node of the configuration there")
            node, keys = child, []
            while (test := _TEST.match(expression, position)) is not None:
                position = test.end()
                keys.append(_key(node, test, nsmap, expression))
            steps.append(Step(node.module, node.name, tuple(keys)))
        if not steps:
            raise _wrong(expression, "use absolute paths such as /p:list[p:key='value']")
        yield tuple(steps)
        joined = _UNION.match(expression, position)
        if joined is None:
            break
        position = joined.end()
    if expression[position:].strip():
        raise _wrong(expression, "use paths of names and tests of keys only")


def _key(node: Node, test: re.Match[str], nsmap: Mapping[str | None, str], expression: str) -> tuple[str, str]:
    """One key test as name and canonical value. Raises RequestError."""
    literal = test[4] if test[4] is not None else test[5]
    if test[3] is not None:
        key, name = (node, ".") if node.kind == "leaf-list" else (None, ".")
    else:
        module = _module(test[1], nsmap, node, test[2], expression)
        key = next((one for one in node.key_nodes if (one.module, one.name) == (module, test[2])), None)
        name = test[2]
    if key is None or key.type is None:
        raise _wrong(expression, f"{name} is no key of {node.name}")
    try:
        return name, key_text(key, key.type.from_xml(literal, dict(nsmap)))
    except InvalidValue as error:
        raise _wrong(expression, f"{name}: {error}") from None


def _partial_lock(operation: Element, schema: Schema) -> Lock:
    parts: dict[Path, None] = {}
    selects = list(operation.iterchildren("*"))
    for select in selects:
        if select.tag != f"{{{PARTIAL}}}select":
            raise unknown(select, schema, "in partial-lock")
    if not selects:
        raise refuse("missing-element", "partial-lock needs <select>", type="protocol", bad_element="select")
    for select in selects:
        for path in paths(text(select) or "", select.nsmap, schema):
            parts[path] = None
            if len(parts) > SELECTS:
                raise refuse("too-big", f"more than {SELECTS} paths: lock nodes above them", type="protocol")
    return Lock(parts=tuple(parts))


def _partial_unlock(operation: Element, schema: Schema) -> Unlock:
    required(parameters(operation, schema, "lock-id"), "lock-id", "partial-unlock")
    node = schema.rpcs["ietf-netconf-partial-lock", "partial-unlock"]
    return Unlock(lock_id=xml.decode_input(operation, node)["lock-id"])


READERS: dict[tuple[str, str], Callable[[Element, Schema], Request]] = {
    (PARTIAL, "partial-lock"): _partial_lock,
    (PARTIAL, "partial-unlock"): _partial_unlock,
}
"""By namespace and name."""
