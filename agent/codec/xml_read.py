"""XML content to edits and RPC input, checked against the schema. No filters, no messages, no parsing of bytes here.

White space around a value is dropped for every type that cannot hold it; strings in configuration are taken exactly,
strings in RPC input are trimmed (clients pad them). An `operation` attribute counts with and without its namespace.
Source: RFC 6241 section 7.2, RFC 7950 section 8.3.1 and the XML rules of each statement.
"""

from __future__ import annotations

import re
from typing import Any, Literal, cast, get_args

from lxml import etree

from agent.codec import checks
from agent.core.defaults import default_of
from agent.core.path import entry_step
from agent.core.requests import EditNode, EditOperation, Insert
from agent.core.schema import Node, Schema
from agent.core.select import key_text
from agent.core.tree import Tree
from agent.core.types import InvalidValue, Type
from agent.errors import Path, RequestError, refuse

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
DEFAULTS = "urn:ietf:params:xml:ns:netconf:default:1.0"
YANG = "urn:ietf:params:xml:ns:yang:1"
XML = "http://www.w3.org/XML/1998/namespace"
OPERATIONS: frozenset[str] = frozenset(get_args(EditOperation)) - {"none"}
PLACING = ("insert", "key", "value")
"""Attributes in YANG's namespace (RFC 7950 sections 7.7.9 and 7.8.6)."""
_BLANK = " \t\r\n"
_KEY_TEST = re.compile(r"""\s*\[\s*(?:([^\s\[\]:=]+):)?([^\s\[\]:=]+)\s*=\s*(?:'([^']*)'|"([^"]*)")\s*\]\s*""")


def split(element: etree._Element) -> tuple[str, str]:
    """Namespace (empty for none) and local name of an element."""
    name = etree.QName(element)
    return name.namespace or "", name.localname


def text_of(element: etree._Element) -> str:
    """The text of an element without child elements."""
    return element.text or ""


def decode_config(element: etree._Element, schema: Schema) -> tuple[EditNode, ...]:
    """The children of <config> as edits. Raises RequestError naming the first thing that is wrong, with its path."""
    return _edits(element, schema.root, ())


def decode_input(element: etree._Element, rpc: Node, path: Path = ()) -> Tree:
    """The children of an operation's element (or of RESTCONF's <input>) as a tree of its input, with defaults.

    `path` is that of an action. Raises RequestError.
    """
    node = next(iter(rpc.named("input")), None)
    if node is None:
        for child in element.iterchildren(tag=etree.Element):
            raise checks.unknown_element(split(child)[1], rpc, path)
        return {}
    return checks.finish_input(_tree(element, node, path), node, path)


def child_of(element: etree._Element, parent: Node, path: Path) -> Node:
    """The data node that a child element of `parent` stands for. Raises RequestError."""
    namespace, name = split(element)
    module = parent.schema.by_namespace(namespace)
    if module is None:
        raise checks.unknown_namespace(name, namespace, path)
    node = parent.child(module.name, name)
    if node is None:
        raise checks.unknown_element(name, parent, path)
    return node


def keeps_space(kind: Type) -> bool:
    """Whether white space at the ends may be part of the value: strings, and unions and references with one."""
    members = getattr(kind, "members", None)
    if members is not None:
        return any(keeps_space(member) for member in members)
    target = getattr(kind, "target", None)
    return keeps_space(target) if target is not None else kind.base == "string"


def _value(element: etree._Element, node: Node, path: Path, *, trim: bool) -> Any:
    for child in element.iterchildren(tag=etree.Element):
        raise checks.unknown_element(split(child)[1], node, checks.here(path, node))
    text = text_of(element)
    kind = checks.type_of(node)
    if trim or not keeps_space(kind):
        text = text.strip(_BLANK)
    try:
        return kind.from_xml(text, element.nsmap)
    except InvalidValue as error:
        raise checks.invalid_value(node, error, path) from None


def no_text(element: etree._Element, name: str, path: Path) -> None:
    """Raises RequestError bad-element where there is text beside child elements."""
    pieces = [element.text, *(child.tail for child in element)]
    if any(piece is not None and piece.strip(_BLANK) for piece in pieces):
        raise refuse("bad-element", f"{name} takes child elements, not text", path=path, bad_element=name)


def _operation(element: etree._Element, name: str, path: Path) -> EditOperation | None:
    found: set[str] = set()
    for attribute, value in element.attrib.items():
        label = etree.QName(str(attribute))
        if label.localname == "operation" and label.namespace in (None, NC):
            found.add(str(value))
        elif (
            not (label.namespace == YANG and label.localname in PLACING)
            and label.namespace != XML
            and not (label.namespace == DEFAULTS and label.localname == "default")
        ):
            message = f"attribute {label.localname} on {name} is unknown"
            raise refuse("unknown-attribute", message, path=path, bad_attribute=label.localname, bad_element=name)
    if not found:
        return None
    if len(found) > 1 or not found <= OPERATIONS:
        message = f"operation {', '.join(sorted(found))!r} on {name}: use one of {', '.join(sorted(OPERATIONS))}"
        raise refuse("bad-attribute", message, path=path, bad_attribute="operation", bad_element=name)
    return cast(EditOperation, found.pop())


def _edits(element: etree._Element, parent: Node, path: Path) -> tuple[EditNode, ...]:
    no_text(element, split(element)[1], path)
    return tuple(_edit(child, parent, path) for child in element.iterchildren(tag=etree.Element))


def _edit(element: etree._Element, parent: Node, path: Path) -> EditNode:
    node = child_of(element, parent, path)
    if not node.config:
        raise checks.not_configurable(node, path)
    where = checks.here(path, node)
    operation = _operation(element, node.name, where)
    insert = _insert(element, node, operation, where)
    match node.kind:
        case "list":
            return _entry(element, node, operation, insert, path)
        case "container":
            return EditNode(node, operation, children=_edits(element, node, where))
        case "leaf" if operation in ("delete", "remove"):
            return EditNode(node, operation)
        case "leaf" | "leaf-list":
            value = _value(element, node, path, trim=False)
            if _tagged(element, node, value, operation, where):
                operation = "remove"
            return EditNode(node, operation, value=value, insert=insert)
        case _:
            message = f"{node.name} is {node.kind}, which cannot be configured here"
            raise refuse("operation-not-supported", message, path=where)


def _tagged(element: etree._Element, node: Node, value: Any, operation: EditOperation | None, path: Path) -> bool:
    """Whether the value is said to be the default (RFC 6243 section 4.5.2): the node is to be as if nobody had set it.

    Together with create, the value is set as it stands: only so does data-exists tell of one that is there.
    """
    told = element.get(f"{{{DEFAULTS}}}default")
    if told is None or told.strip() in ("false", "0"):
        return False
    default = default_of(node)
    if told.strip() not in ("true", "1"):
        message = f"the attribute default on {node.name} is true or false, not {told!r}"
        raise refuse("bad-attribute", message, path=path, bad_attribute="default", bad_element=node.name)
    if default is None or (value not in default if node.kind == "leaf-list" else value != default):
        message = f"{node.name}: this is not the default that the model has"
        raise refuse("invalid-value", message, path=path, bad_element=node.name)
    return operation != "create"


def _insert(element: etree._Element, node: Node, operation: EditOperation | None, path: Path) -> Insert | None:
    """Where a user-ordered entry is to go (RFC 7950 sections 7.7.9 and 7.8.6). Raises RequestError bad-attribute."""
    given = {name: value for name in PLACING if (value := element.get(f"{{{YANG}}}{name}")) is not None}
    if not given:
        return None
    where = given.get("insert")

    def wrong(attribute: str, why: str, tag: str = "bad-attribute") -> RequestError:
        message = f"{attribute} on {node.name}: {why}"
        return refuse(tag, message, path=path, bad_attribute=attribute, bad_element=node.name)

    if not node.user_ordered:
        raise wrong(next(iter(given)), "only entries of a list that is ordered by user have a place")
    if operation in ("delete", "remove"):
        raise wrong(next(iter(given)), "what is deleted has no place")
    if where not in ("first", "last", "before", "after"):
        raise wrong("insert", "use first, last, before or after")
    anchor_name = "key" if node.kind == "list" else "value"
    for name in given.keys() - {"insert", anchor_name if where in ("before", "after") else "insert"}:
        raise wrong(name, f"not with insert {where} here")
    place = cast(Literal["first", "last", "before", "after"], where)
    if where in ("first", "last"):
        return Insert(place)
    anchor = given.get(anchor_name)
    if anchor is None:
        raise wrong(anchor_name, f"insert {where} needs it", "missing-attribute")
    if node.kind == "leaf-list":
        kind = checks.type_of(node)
        try:
            return Insert(place, (key_text(node, kind.from_xml(anchor, element.nsmap)),))
        except InvalidValue as error:
            raise wrong("value", str(error)) from None
    tests = _key_tests(anchor, element, node)
    if tests is None:
        raise wrong("key", "write [prefix:name='value'] once for each key")
    return Insert(place, tests)


def _key_tests(text: str, element: etree._Element, node: Node) -> tuple[str, ...] | None:
    """The canonical key values in `[p:name='value']…`, in the schema's order; None where that is not what it says."""
    values: dict[Node, str] = {}
    position = 0
    while position < len(text):
        found = _KEY_TEST.match(text, position)
        if found is None:
            return None
        position = found.end()
        namespace = element.nsmap.get(found[1]) if found[1] else node.namespace
        key = next((key for key in node.key_nodes if (key.name, key.namespace) == (found[2], namespace)), None)
        if key is None or key in values:
            return None
        try:
            literal = found[3] if found[3] is not None else found[4]
            values[key] = key_text(key, checks.type_of(key).from_xml(literal, element.nsmap))
        except InvalidValue:
            return None
    return tuple(values[key] for key in node.key_nodes) if len(values) == len(node.key_nodes) else None


def _entry(
    element: etree._Element, node: Node, operation: EditOperation | None, insert: Insert | None, path: Path
) -> EditNode:
    keys, texts = keys_of(element, node, path)
    where = (*path, entry_step(node, {edit.node.member: edit.value for edit in keys}))
    rest = tuple(edit for edit in _edits(element, node, where) if edit.node not in node.key_nodes)
    return EditNode(node, operation, keys=texts, children=(*keys, *rest), insert=insert)


def keys_of(element: etree._Element, node: Node, path: Path) -> tuple[tuple[EditNode, ...], tuple[str, ...]]:
    """The keys of a list entry in the schema's order: as edits, and as canonical texts. Raises RequestError."""
    where = checks.here(path, node)
    edits = []
    for key in node.key_nodes:
        found = element.findall(f"{{{key.namespace}}}{key.name}")
        if not found:
            raise checks.missing_key(node, key, path)
        if len(found) > 1:
            raise checks.twice(key, where)
        if _operation(found[0], key.name, where) in ("delete", "remove"):
            message = f"key {key.name} cannot be deleted: delete the entry of {node.name}"
            raise refuse("bad-attribute", message, path=where, bad_attribute="operation", bad_element=key.name)
        edits.append(EditNode(key, value=_value(found[0], key, where, trim=False)))
    return tuple(edits), tuple(key_text(edit.node, edit.value) for edit in edits)


def _tree(element: etree._Element, parent: Node, path: Path) -> Tree:
    """RPC input as it was sent; `checks.finish_input` looks at what is missing."""
    no_text(element, split(element)[1], path)
    tree: Tree = {}
    for child in element.iterchildren(tag=etree.Element):
        node = child_of(child, parent, path)
        match node.kind:
            case "leaf-list":
                tree.setdefault(node.member, []).append(_value(child, node, path, trim=True))
                continue
            case "list":
                entry = _tree(child, node, checks.here(path, node))
                for key in node.key_nodes:
                    if key.member not in entry:
                        raise checks.missing_key(node, key, path)
                tree.setdefault(node.member, []).append(entry)
                continue
        if node.member in tree:
            raise checks.twice(node, path)
        match node.kind:
            case "leaf":
                tree[node.member] = _value(child, node, path, trim=True)
            case "container":
                tree[node.member] = _tree(child, node, checks.here(path, node))
            case _:
                message = f"{node.name} is {node.kind}, which is not taken as input here"
                raise refuse("operation-not-supported", message, path=checks.here(path, node))
    return tree
