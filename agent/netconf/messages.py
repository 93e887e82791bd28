"""NETCONF messages, both ways: one message's octets -> a tagged operation, results -> the parts of a reply.

Pure functions over the codec; no socket, no session state may come in here. RFC 6241 sections 4 and 7, checklist 24-43.

Lawful alternatives that are chosen here (docs/decisions/0006): `filter` and `config` count in no namespace too, since
widely used clients send them so. Reads are in reads.py, the operations on configuration in edits.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
import logging

from lxml.etree import _Element as Element

from agent.codec import xml
from agent.core.data import Data
from agent.core.path import to_instance_identifier
from agent.core.requests import EndSession, Get, Invoke, Lock, Request
from agent.core.schema import Node, Schema
from agent.core.sessions import HIGHEST_ID
from agent.core.tree import Tree
from agent.errors import Error, RequestError, refuse
from agent.netconf import edits, partial, reads, subscriptions
from agent.netconf.parameters import NC, NMDA, VALIDATE, name, parameters, required, text, unknown

log = logging.getLogger(__name__)

_NC = f"{{{NC}}}"
_XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
NAMED = 10
"""Further faults that the message of the first one names."""


@dataclass(frozen=True, slots=True)
class CloseSession:
    """End the own session, after what came before it has been answered (RFC 6241 section 7.8)."""


Operation = Request | CloseSession


@dataclass(frozen=True, slots=True)
class Rpc:
    """One received message: what is wanted, or why it is refused, and what the reply has to carry.

    `attributes` are those of the reply's start tag, encoded, each with a space before it.
    """

    attributes: bytes
    operation: Operation | RequestError


def read_rpc(message: bytes, schema: Schema) -> Rpc:
    """Understand one message. Never raises: what is wrong with it is the `operation`."""
    attributes = b""
    try:
        element = xml.parse(message)
        attributes = _echo(element)
        return Rpc(attributes, _read_operation(element, schema))
    except RequestError as refusal:
        return Rpc(attributes, refusal)
    except Exception:
        log.exception("a request could not be decoded")
        return Rpc(attributes, unexpected())


def unexpected() -> RequestError:
    """What a client is told of a fault of ours: the log says more, the wire does not."""
    return refuse("operation-failed", "the request failed inside the agent; its log says why")


def _echo(element: Element) -> bytes:
    """All attributes and prefix declarations of <rpc>, as the reply repeats them (RFC 6241 section 4.1).

    A default namespace other than NETCONF's is left out: the reply's own elements stand in that place.
    """
    prefixes = {space: prefix for prefix, space in element.nsmap.items() if prefix is not None}
    pieces = [f' xmlns:{prefix}="{xml.escape_attribute(space)}"' for space, prefix in prefixes.items()]
    for key, value in element.attrib.items():
        name = str(key)
        if name[0] == "{":
            space, _, local = name[1:].partition("}")
            prefix = "xml" if space == _XML_NAMESPACE else prefixes[space]
            name = f"{prefix}:{local}"
        pieces.append(f' {name}="{xml.escape_attribute(str(value))}"')
    return "".join(pieces).encode()


def _read_operation(element: Element, schema: Schema) -> Operation:
    if element.tag != _NC + "rpc":
        raise unknown(element, schema, "as a message: send <rpc>")
    if "message-id" not in element.attrib and _NC + "message-id" not in element.attrib:
        message = "every rpc needs a message-id"
        raise refuse("missing-attribute", message, type="rpc", bad_attribute="message-id", bad_element="rpc")
    children = list(element.iterchildren("*"))
    if not children:
        raise refuse("missing-element", "the rpc names no operation", type="protocol", bad_element="rpc")
    operation = children[0]
    if len(children) > 1:
        extra = name(children[1])[1]
        message = f"an rpc holds one operation; {extra} is one too many"
        raise refuse("unknown-element", message, type="protocol", bad_element=extra)
    space, local = name(operation)
    reader = _READERS.get((space, local))
    module = schema.by_namespace(space) if space else None
    if reader is not None and (module is not None or space in _ALWAYS):
        return reader(operation, schema)
    node = schema.rpcs.get((module.name, local)) if module is not None and space != NC else None
    if node is None:
        raise unknown(operation, schema, "as an operation")
    return Invoke(node, xml.decode_input(operation, node))


def _close_session(operation: Element, schema: Schema) -> CloseSession:
    parameters(operation, schema)
    return CloseSession()


def _kill_session(operation: Element, schema: Schema) -> EndSession:
    value = text(required(parameters(operation, schema, "session-id"), "session-id", "kill-session")) or ""
    if not (value.isascii() and value.isdigit() and len(value) <= 10 and 1 <= int(value) <= HIGHEST_ID):
        raise refuse("invalid-value", f"session-id is a number from 1 to {HIGHEST_ID}, not {value!r}", type="protocol")
    return EndSession(int(value))


_READERS: dict[tuple[str, str], Callable[[Element, Schema], Operation]] = {
    **reads.READERS,
    (NC, "close-session"): _close_session,
    (NC, "kill-session"): _kill_session,
    (xml.YANG, "action"): xml.decode_action,
    **edits.READERS,
    **partial.READERS,
    **subscriptions.READERS,
}
"""By namespace and name; those of a module count only where it is served."""
_ALWAYS = frozenset({NC, VALIDATE, xml.YANG})

_NMDA_SPACE = f' xmlns="{NMDA}"'.encode()
_START = f'<rpc-reply xmlns="{NC}"'.encode()


def ok_reply(rpc: Rpc) -> tuple[bytes, ...]:
    """The operation was done and returns nothing."""
    return (_START, rpc.attributes, b"><ok/></rpc-reply>")


def data_reply(rpc: Rpc, data: Data, schema: Schema) -> Iterator[bytes]:
    """Answer to get, get-config and get-data, encoded while it is sent."""
    space = b"" if isinstance(rpc.operation, Get) and rpc.operation.rpc[0] == "ietf-netconf" else _NMDA_SPACE
    yield b"".join((_START, rpc.attributes, b"><data", space, b">"))
    yield from xml.encode(data, schema.root)
    yield b"</data></rpc-reply>"


def output_node(operation: Request, schema: Schema) -> Node | None:
    """What describes the output of an operation that may have one."""
    match operation:
        case Invoke():
            return operation.node.by_member("output")
        case Lock() if operation.parts:
            node = schema.rpcs.get(("ietf-netconf-partial-lock", "partial-lock"))
            return None if node is None else node.by_member("output")
    return None


def output_reply(rpc: Rpc, output: Tree, node: Node) -> Iterator[bytes]:
    """Answer of an RPC or action that returns something; `node` is its output node (RFC 7950 7.14.4, 7.15.2)."""
    yield b"".join((_START, rpc.attributes, b">"))
    yield from xml.encode(output, node)
    yield b"</rpc-reply>"


def error_reply(rpc: Rpc, errors: Sequence[Error], schema: Schema) -> tuple[bytes, ...]:
    """The operation was refused, for one or more reasons (RFC 6241 section 4.3).

    The first has the one rpc-error, the others are named in its message (decision 0072).
    """
    first, *others = errors
    if others:
        more = "".join(f"; also at {to_instance_identifier(one.path)}: {one.message}" for one in others[:NAMED])
        more += f"; and {len(others) - NAMED} more" if len(others) > NAMED else ""
        first = replace(first, message=first.message.rstrip(".") + more)
    return (_START, rpc.attributes, b">", xml.encode_error(first, schema), b"</rpc-reply>")
