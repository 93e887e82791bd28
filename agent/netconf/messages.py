"""NETCONF messages, both ways: one message's octets -> a tagged operation, results -> the parts of a reply.

Pure functions over the codec; no socket, no session state may come in here. RFC 6241 sections 4 and 7, checklist 24-43.

Lawful alternatives that are chosen here (docs/decisions/0006): `filter` and `config` count in no namespace too, since
widely used clients send them so; error-option stop-on-error means rollback-on-error; continue-on-error, test-option
and url are refused with operation-not-supported, xpath filters with bad-attribute, until they are advertised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
import logging
from typing import Final, Literal, cast

from lxml.etree import _Element as Element

from agent.codec import xml
from agent.core.data import Data
from agent.core.requests import Content, Datastore, Edit, EndSession, Get, Invoke, Lock, Request, Unlock
from agent.core.schema import Node, Schema
from agent.core.select import Selection
from agent.core.sessions import HIGHEST_ID
from agent.core.tree import Tree
from agent.errors import Error, RequestError, refuse

log = logging.getLogger(__name__)

NC: Final = xml.NC
_NC = f"{{{NC}}}"
_XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
_UNQUALIFIED = frozenset({"filter", "config"})
_NOT_OFFERED = frozenset({"copy-config", "delete-config", "commit", "discard-changes", "cancel-commit", "validate"})
_OTHER_DATASTORES = frozenset({"candidate", "startup", "url"})


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


def _name(element: Element) -> tuple[str, str]:
    """Namespace ("" for none) and local name."""
    tag = str(element.tag)
    if tag[0] != "{":
        return "", tag
    space, _, local = tag[1:].partition("}")
    return space, local


def _unknown(element: Element, schema: Schema, where: str) -> RequestError:
    space, local = _name(element)
    if space and space != NC and schema.by_namespace(space) is None:
        message = f"{local} {where} is in a namespace that this server does not serve: {space}"
        return refuse("unknown-namespace", message, type="protocol", bad_element=local, bad_namespace=space)
    message = f"{local} in {space or 'no namespace'} is not known {where}"
    return refuse("unknown-element", message, type="protocol", bad_element=local)


def _read_operation(element: Element, schema: Schema) -> Operation:
    if element.tag != _NC + "rpc":
        raise _unknown(element, schema, "as a message: send <rpc>")
    if "message-id" not in element.attrib and _NC + "message-id" not in element.attrib:
        message = "every rpc needs a message-id"
        raise refuse("missing-attribute", message, type="rpc", bad_attribute="message-id", bad_element="rpc")
    children = list(element.iterchildren("*"))
    if not children:
        raise refuse("missing-element", "the rpc names no operation", type="protocol", bad_element="rpc")
    operation = children[0]
    if len(children) > 1:
        extra = _name(children[1])[1]
        message = f"an rpc holds one operation; {extra} is one too many"
        raise refuse("unknown-element", message, type="protocol", bad_element=extra)
    space, local = _name(operation)
    if space == NC:
        reader = _READERS.get(local)
        if reader is not None:
            return reader(operation, schema)
        if local in _NOT_OFFERED:
            message = f"{local} is not offered: see the capabilities in this server's hello"
            raise refuse("operation-not-supported", message, type="protocol")
        raise _unknown(operation, schema, "as an operation")
    module = schema.by_namespace(space) if space else None
    node = schema.rpcs.get((module.name, local)) if module is not None else None
    if node is None:
        raise _unknown(operation, schema, "as an operation")
    return Invoke(node, xml.decode_input(operation, node))


def _parameters(operation: Element, schema: Schema, *allowed: str) -> dict[str, Element]:
    found: dict[str, Element] = {}
    for child in operation.iterchildren("*"):
        space, local = _name(child)
        if local not in allowed or not (space == NC or (not space and local in _UNQUALIFIED)):
            raise _unknown(child, schema, f"in {_name(operation)[1]}")
        if local in found:
            message = f"{local} may be given once in {_name(operation)[1]}"
            raise refuse("bad-element", message, type="protocol", bad_element=local)
        found[local] = child
    return found


def _required(parameters: dict[str, Element], name: str, operation: str) -> Element:
    element = parameters.get(name)
    if element is None:
        raise refuse("missing-element", f"{operation} needs <{name}>", type="protocol", bad_element=name)
    return element


def _datastore(element: Element, schema: Schema) -> Datastore:
    """What a source or target names (RFC 6241 sections 7.1 and 7.2); only running is offered."""
    choices = list(element.iterchildren("*"))
    where = _name(element)[1]
    if not choices:
        raise refuse(
            "missing-element", f"<{where}> names no datastore: use <running/>", type="protocol", bad_element=where
        )
    if len(choices) > 1:
        extra = _name(choices[1])[1]
        raise refuse("bad-element", f"<{where}> names one datastore", type="protocol", bad_element=extra)
    space, local = _name(choices[0])
    if space == NC and local == "running":
        return Datastore.RUNNING
    if space == NC and local in _OTHER_DATASTORES:
        raise refuse("invalid-value", f"{local} is not offered as {where}: use <running/>", type="protocol")
    raise _unknown(choices[0], schema, f"as a {where}")


def _selection(element: Element | None, schema: Schema) -> Selection | None:
    """RFC 6241 section 7.1 filter parameter; None selects everything."""
    if element is None:
        return None
    kind = element.get("type", element.get(_NC + "type", "subtree"))
    if kind == "xpath" and element.get("select", element.get(_NC + "select")) is None:
        message = "an xpath filter needs its select attribute"
        raise refuse("missing-attribute", message, type="protocol", bad_attribute="select", bad_element="filter")
    if kind != "subtree":
        offered = (
            "xpath filters are not offered (no :xpath capability)" if kind == "xpath" else f"unknown type {kind!r}"
        )
        message = f"{offered}: send a subtree filter"
        raise refuse("bad-attribute", message, type="protocol", bad_attribute="type", bad_element="filter")
    return xml.decode_filter(element, schema)


def _get(operation: Element, schema: Schema) -> Get:
    return Get(_selection(_parameters(operation, schema, "filter").get("filter"), schema))


def _get_config(operation: Element, schema: Schema) -> Get:
    parameters = _parameters(operation, schema, "source", "filter")
    _datastore(_required(parameters, "source", "get-config"), schema)
    return Get(_selection(parameters.get("filter"), schema), Content.CONFIG)


def _choice(parameters: dict[str, Element], name: str, values: tuple[str, ...]) -> str:
    """A parameter of enumeration type; the first value is the default."""
    element = parameters.get(name)
    value = values[0] if element is None else (element.text or "").strip()
    if value not in values:
        raise refuse("invalid-value", f"{name} is one of {', '.join(values)}, not {value!r}", type="protocol")
    return value


def _edit_config(operation: Element, schema: Schema) -> Edit:
    names = ("target", "default-operation", "test-option", "error-option", "config", "url")
    parameters = _parameters(operation, schema, *names)
    target = _datastore(_required(parameters, "target", "edit-config"), schema)
    for name, capability in (("test-option", ":validate"), ("url", ":url")):
        if name in parameters:
            message = f"{name} is not offered (no {capability} capability): leave it out"
            raise refuse("operation-not-supported", message, type="protocol")
    default_operation = _choice(parameters, "default-operation", ("merge", "replace", "none"))
    option = _choice(parameters, "error-option", ("rollback-on-error", "stop-on-error", "continue-on-error"))
    if option == "continue-on-error":
        message = "edits are made wholly or not at all: use error-option rollback-on-error"
        raise refuse("operation-not-supported", message, type="protocol")
    config = _required(parameters, "config", "edit-config")
    default = cast(Literal["merge", "replace", "none"], default_operation)
    return Edit(xml.decode_config(config, schema), target, default)


def _lock(operation: Element, schema: Schema) -> Lock:
    return Lock(_datastore(_required(_parameters(operation, schema, "target"), "target", "lock"), schema))


def _unlock(operation: Element, schema: Schema) -> Unlock:
    return Unlock(_datastore(_required(_parameters(operation, schema, "target"), "target", "unlock"), schema))


def _close_session(operation: Element, schema: Schema) -> CloseSession:
    _parameters(operation, schema)
    return CloseSession()


def _kill_session(operation: Element, schema: Schema) -> EndSession:
    element = _required(_parameters(operation, schema, "session-id"), "session-id", "kill-session")
    text = (element.text or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= HIGHEST_ID):
        raise refuse("invalid-value", f"session-id is a number from 1 to {HIGHEST_ID}, not {text!r}", type="protocol")
    return EndSession(int(text))


_READERS: dict[str, Callable[[Element, Schema], Operation]] = {
    "get": _get,
    "get-config": _get_config,
    "edit-config": _edit_config,
    "lock": _lock,
    "unlock": _unlock,
    "close-session": _close_session,
    "kill-session": _kill_session,
}

_START = f'<rpc-reply xmlns="{NC}"'.encode()


def ok_reply(rpc: Rpc) -> tuple[bytes, ...]:
    """The operation was done and returns nothing."""
    return (_START, rpc.attributes, b"><ok/></rpc-reply>")


def data_reply(rpc: Rpc, data: Data, schema: Schema) -> Iterator[bytes]:
    """Answer to get and get-config, encoded while it is sent."""
    yield b"".join((_START, rpc.attributes, b"><data>"))
    yield from xml.encode(data, schema.root)
    yield b"</data></rpc-reply>"


def output_reply(rpc: Rpc, output: Tree, node: Node) -> Iterator[bytes]:
    """Answer of an RPC that returns something; `node` is the RPC's output node (RFC 7950 section 7.14.4)."""
    yield b"".join((_START, rpc.attributes, b">"))
    yield from xml.encode(output, node)
    yield b"</rpc-reply>"


def error_reply(rpc: Rpc, errors: Iterable[Error], schema: Schema) -> tuple[bytes, ...]:
    """The operation was refused, for one or more reasons (RFC 6241 section 4.3)."""
    return (_START, rpc.attributes, b">", *(xml.encode_error(error, schema) for error in errors), b"</rpc-reply>")
