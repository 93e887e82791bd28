"""Trees to XML. Bytes are joined by hand, no document is built; list keys come first. No reading here.

An element carries xmlns exactly when its module differs from its parent element's; there are no prefixes except in
values that need them. Source: RFC 7950 (XML encoding rules of each statement), RFC 6241.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
import re
from typing import Any

from agent.codec.pieces import Marks, child_of, chunked, opened, rows
from agent.core.data import Data
from agent.core.schema import Node
from agent.core.select import Part
from agent.core.tree import JoinedRows, Kept, Markup, Row, Tagged, Tree

ORIGIN = "urn:ietf:params:xml:ns:yang:ietf-origin"
DEFAULTS = "urn:ietf:params:xml:ns:netconf:default:1.0"
_INTENDED = f' xmlns:or="{ORIGIN}" or:origin="or:intended"'.encode()
_NOTES = {
    "default": f' xmlns:wd="{DEFAULTS}" wd:default="true"'.encode(),
    "origin": f' xmlns:or="{ORIGIN}" or:origin="or:default"'.encode(),
}
_SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}


def escape(text: str) -> str:
    """Element text; a character that XML cannot carry becomes U+FFFD, so that a reply is always well-formed."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text)


def escape_attribute(text: str) -> str:
    """Attribute value between double quotes; white space survives normalisation."""
    return escape(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")


def encode(data: Data | Tree, node: Node) -> Iterator[bytes]:
    """The members of `node` as a sequence of elements, each with its xmlns, in chunks of about 64 KiB.

    Rows that were written are noted in `data.marks`. Raises ValueError for members that the schema does not have.
    """
    tree, marks = opened(data)
    if isinstance(data, Data) and data.origin:
        return chunked(_with_origin(tree, node, marks))
    return chunked(_members(tree, node, "", marks))


def _with_origin(tree: Tree, node: Node, marks: Marks) -> Iterator[bytes]:
    """As `_members`; configuration at the top says that its origin is intended, and what is below inherits that."""
    for member, value in tree.items():
        child = child_of(node, member)
        single = isinstance(value, list) and child.kind in ("list", "leaf-list")
        for one in [[each] for each in value] if single and child.config else [value]:
            pieces = _members({member: one}, node, "", marks)
            first = next(pieces, b"")
            if child.config and b"or:origin" not in first[: first.find(b">")]:
                end = len(child.name) + 1
                first = first[:end] + _INTENDED + first[end:]
            yield first
            yield from pieces


def encode_wrapped(
    data: Data | Tree, node: Node, name: str | None = None, namespace: str | None = None
) -> Iterator[bytes]:
    """One element around the members: `node`'s own name and namespace, or the ones given."""
    tree, marks = opened(data)
    tag = node.name if name is None else name
    where = node.namespace if namespace is None else namespace

    def pieces() -> Iterator[bytes]:
        yield f'<{tag} xmlns="{escape_attribute(where)}">'.encode()
        yield from _members(tree, node, node.module if namespace is None else "", marks)
        yield f"</{tag}>".encode()

    return chunked(pieces())


def encode_entry(entry: Tree, node: Node) -> bytes:
    """One list entry as a `Row` keeps it: with xmlns only where its module is not its parent's."""
    parent = node.parent.module if node.parent is not None else ""
    return b"".join(_branch(entry, node, parent, []))


@lru_cache(maxsize=4096)
def _tags(node: Node, qualified: bool) -> tuple[bytes, bytes]:
    """Start tag without its closing bracket, and end tag."""
    space = f' xmlns="{escape_attribute(node.namespace)}"' if qualified else ""
    return f"<{node.name}{space}".encode(), f"</{node.name}>".encode()


def _members(tree: Tree, node: Node, outer: str, marks: Marks | None) -> Iterator[bytes]:
    """`outer` is the module of the element around (empty: none of ours)."""
    if node.key_nodes:
        for key in node.key_nodes:
            if key.member in tree:
                yield _leaf(tree[key.member], key, outer)
    for member, value in tree.items():
        child = child_of(node, member)
        if child in node.key_nodes:
            continue
        match child.kind:
            case "leaf":
                yield _leaf(value, child, outer)
            case "leaf-list":
                for one in value:
                    yield _leaf(one, child, outer)
            case "list":
                yield from _list(value, child, outer, marks)
            case "anydata" | "anyxml":
                start, end = _tags(child, child.module != outer)
                yield start + b">" + b"".join(_any(value, child)) + end
            case _:
                yield from _branch(value, child, outer, marks)


def _branch(value: Tree, node: Node, outer: str, marks: Marks | None) -> Iterator[bytes]:
    start, end = _tags(node, node.module != outer)
    if isinstance(value, Kept):
        inner = value.xml
        if inner is None:
            inner = value.xml = b"".join(_members(value, node, node.module, None))
        yield start + b">" + inner + end if inner else start + b"/>"
        return
    if not value:
        yield start + b"/>"
        return
    yield start + b">"
    yield from _members(value, node, node.module, marks)
    yield end


def _list(value: Any, node: Node, outer: str, marks: Marks | None) -> Iterator[bytes]:
    if isinstance(value, list):
        for entry in value:
            yield from _branch(entry, node, outer, marks)
        return
    parent = node.parent
    alone = parent is not None and parent.kind != "root" and parent.module == node.module
    # a row takes its parent's namespace for granted: say it where the parent is not around it
    said = alone and node.module != outer
    if isinstance(value, JoinedRows) and marks is not None and not said:
        yield from value.joined("xml")
        return
    cut = len(node.name) + 1
    start = _tags(node, True)[0]

    def written(row: Row | Part) -> bytes:
        if isinstance(row, Part):
            return b"".join(_branch(row.tree, node, outer, marks))
        return start + row.xml[cut:] if said else row.xml

    yield from rows(value, node, marks, written)


def _leaf(value: Any, node: Node, outer: str) -> bytes:
    start, end = _tags(node, node.module != outer)
    kind = node.type
    if kind is None:
        raise ValueError(f"{node.path} has no type")
    if isinstance(value, Tagged):
        start += b"".join(_NOTES[note] for note in sorted(value.notes))
        value = value.value
    if kind.base == "string":
        text = value
    else:
        text, declarations = kind.to_xml(value)
        for prefix, namespace in declarations:
            start += f' xmlns:{prefix}="{escape_attribute(namespace)}"'.encode()
    if not text:
        return start + b"/>"
    return start + b">" + escape(text).encode() + end


def _any(value: Any, node: Node) -> Iterator[bytes]:
    """anydata: members "module:name" take that module's namespace, others their parent's (RFC 7950 section 7.10)."""
    if not isinstance(value, dict):
        yield (value if isinstance(value, Markup) else escape(_scalar(value))).encode()
        return
    for member, inner in value.items():
        module, _, name = member.rpartition(":")
        known = node.schema.modules.get(module)
        space = f' xmlns="{escape_attribute(known.namespace)}"' if known is not None else ""
        for one in inner if isinstance(inner, list) and inner != [None] else [inner]:
            yield f"<{name}{space}>".encode()
            yield from _any(one, node)
            yield f"</{name}>".encode()


def _scalar(value: Any) -> str:
    if value is None or value == [None]:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
