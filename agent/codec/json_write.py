"""Trees and errors to JSON (RFC 7951, RFC 8040 section 7.1). No reading here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import json
from typing import Any

from agent.codec.pieces import Marks, child_of, chunked, opened, rows
from agent.core.data import Data
from agent.core.path import to_instance_identifier
from agent.core.schema import Node, Schema
from agent.core.select import Part
from agent.core.tree import JoinedRows, Kept, Row, Tagged, Tree, plain
from agent.errors import Error

_NOTES = {
    "default": ("ietf-netconf-with-defaults:default", True),
    "origin": ("ietf-origin:origin", "ietf-origin:default"),
}
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _bytes(value: Any) -> bytes:
    return _dump(value).encode("utf-8", "replace")  # a lone surrogate, which UTF-8 cannot carry, becomes "?"


def encode(data: Data | Tree, node: Node) -> Iterator[bytes]:
    """The members of `node` as one object, top members as "module:name", in chunks of about 64 KiB.

    Rows that were written are noted in `data.marks`. Raises ValueError for members that the schema does not have.
    """
    tree, marks = opened(data)
    return chunked(_object(tree, node, marks, qualified=True))


def encode_wrapped(data: Data | Tree, node: Node, name: str | None = None) -> Iterator[bytes]:
    """One object with one member around that of `node`: {"module:output": {…}}, or the member name given."""
    tree, marks = opened(data)
    member = f"{node.module}:{node.name}" if name is None else name

    def pieces() -> Iterator[bytes]:
        yield b"{" + _bytes(member) + b":"
        yield from _object(tree, node, marks, qualified=node.kind == "root")
        yield b"}"

    return chunked(pieces())


def encode_entry(entry: Tree, node: Node) -> bytes:
    """One list entry as a `Row` keeps it."""
    return b"".join(_object(entry, node, [], qualified=False))


def _object(tree: Tree, node: Node, marks: Marks | None, *, qualified: bool) -> Iterator[bytes]:
    glue = b"{"
    for member, value in tree.items():
        child = child_of(node, member)
        pieces = _value(value, child, marks)
        first = next(pieces, None)
        if first is None:  # a stored list without entries
            continue
        name = f"{child.module}:{child.name}" if qualified else child.member
        yield glue + b'"' + name.encode() + b'":' + first
        yield from pieces
        glue = b","
        notes = _annotations(value) if child.kind in ("leaf", "leaf-list") else None
        if notes is not None:
            yield b',"@' + name.encode() + b'":' + notes
    yield b"{}" if glue == b"{" else b"}"


def _annotations(value: Any) -> bytes | None:
    """The metadata of a leaf, or of the values of a leaf-list, that is a default (RFC 7952 section 5.2)."""
    values = value if isinstance(value, list) else [value]
    noted = [{_NOTES[note][0]: _NOTES[note][1] for note in sorted(one.notes)} for one in values if type(one) is Tagged]
    if not any(noted):
        return None
    return _bytes(noted if isinstance(value, list) else noted[0])


def _value(value: Any, node: Node, marks: Marks | None) -> Iterator[bytes]:
    match node.kind:
        case "list":
            yield from _list(value, node, marks)
        case "container" | "input" | "output" | "notification":
            yield from _branch(value, node, marks)
        case "leaf-list":
            yield _bytes([plain(one) for one in value])
        case _:
            yield _bytes(plain(value))


def _branch(value: Tree, node: Node, marks: Marks | None) -> Iterator[bytes]:
    if not isinstance(value, Kept):
        yield from _object(value, node, marks, qualified=False)
        return
    if value.json is None:
        value.json = b"".join(_object(value, node, None, qualified=False))
    yield value.json


def _list(value: Any, node: Node, marks: Marks | None) -> Iterator[bytes]:
    glue = b"["
    if isinstance(value, list):
        for entry in value:
            yield glue
            yield from _branch(entry, node, marks)
            glue = b","
        yield b"[]" if glue == b"[" else b"]"
        return

    if isinstance(value, JoinedRows) and marks is not None:
        for page in value.joined("json"):
            yield glue + page
            glue = b","
        if glue == b",":
            yield b"]"
        return

    def written(row: Row | Part) -> bytes:
        nonlocal glue
        before, glue = glue, b","
        return before + (b"".join(_branch(row.tree, node, marks)) if isinstance(row, Part) else row.json)

    yield from rows(value, node, marks, written)
    if glue == b",":
        yield b"]"


def encode_errors(errors: Sequence[Error], schema: Schema) -> bytes:  # noqa: ARG001 - the same shape as the XML form
    """RESTCONF's ietf-restconf:errors document."""
    return _bytes({"ietf-restconf:errors": {"error": [_error(error) for error in errors]}})


def _error(error: Error) -> Tree:
    result: Tree = {"error-type": error.type, "error-tag": error.tag}
    if error.app_tag is not None:
        result["error-app-tag"] = error.app_tag
    if error.path:
        result["error-path"] = to_instance_identifier(error.path)
    result["error-message"] = error.message
    if error.info:
        result["error-info"] = _info(error)
    return result


def _info(error: Error) -> Tree:
    """Members of its error-info; what stands there once for each leaf is an array."""
    result: Tree = {}
    for name, value in error.info:
        if isinstance(value, str):
            result[name] = value
        else:
            result.setdefault(name, []).append(to_instance_identifier(value))
    return result
