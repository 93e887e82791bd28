"""The parameters of NETCONF operations: which are there, and what datastores and enumerations they name.

Pure functions over one operation's element. Source: RFC 6241 sections 7 and 8, RFC 8526 section 3.
"""

from __future__ import annotations

from typing import Final

from lxml.etree import _Element as Element

from agent.codec import xml
from agent.core.requests import Datastore
from agent.core.schema import Schema
from agent.errors import RequestError, refuse

NC: Final = xml.NC
NMDA: Final = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
DEFAULTS: Final = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"
VALIDATE: Final = "urn:ietf:params:netconf:capability:validate:1.0"
"""The namespace in which one widely used client sends <validate>: an alias (checklist, Lawful alternatives)."""
_UNQUALIFIED = frozenset({"filter", "config"})
"""What widely used clients send in no namespace; a filter of create-subscription also in NETCONF's own."""
_CONVENTIONAL = {one.value: one for one in (Datastore.RUNNING, Datastore.CANDIDATE, Datastore.STARTUP)}
_IDENTITIES = {
    f"{'ietf-factory-default' if one is Datastore.FACTORY_DEFAULT else 'ietf-datastores'}:{one.value}": one
    for one in Datastore
}


def name(element: Element) -> tuple[str, str]:
    """Namespace ("" for none) and local name."""
    tag = str(element.tag)
    if tag[0] != "{":
        return "", tag
    space, _, local = tag[1:].partition("}")
    return space, local


def unknown(element: Element, schema: Schema, where: str) -> RequestError:
    """The refusal of an element that is not known where it stands."""
    space, local = name(element)
    if space and space != NC and schema.by_namespace(space) is None:
        message = f"{local} {where} is in a namespace that this server does not serve: {space}"
        return refuse("unknown-namespace", message, type="protocol", bad_element=local, bad_namespace=space)
    message = f"{local} in {space or 'no namespace'} is not known {where}"
    return refuse("unknown-element", message, type="protocol", bad_element=local)


def features(schema: Schema) -> tuple[str, ...]:
    """The features of ietf-netconf that are served: each stands for a capability."""
    module = schema.modules.get("ietf-netconf")
    return () if module is None else module.features


def _spaces(operation: Element) -> tuple[str, ...]:
    """The namespaces in which an operation's own elements stand."""
    space = name(operation)[0]
    return (NC, space) if space == VALIDATE else (space,)


def parameters(operation: Element, schema: Schema, *allowed: str, repeated: tuple[str, ...] = ()) -> dict[str, Element]:
    """The parameters by name, each given once; of those in `repeated`, the first. Raises RequestError."""
    found: dict[str, Element] = {}
    for child in operation.iterchildren("*"):
        space, local = name(child)
        spaces = (DEFAULTS, NMDA) if local == "with-defaults" else _spaces(operation)
        unqualified = not space or (space == NC and local == "filter")
        if local not in allowed or not (space in spaces or (unqualified and local in _UNQUALIFIED)):
            raise unknown(child, schema, f"in {name(operation)[1]}")
        if local in found and local in repeated:
            continue
        if local in found:
            message = f"{local} may be given once in {name(operation)[1]}"
            raise refuse("bad-element", message, type="protocol", bad_element=local)
        found[local] = child
    return found


def required(given: dict[str, Element], wanted: str, operation: str) -> Element:
    """Raises RequestError missing-element."""
    element = given.get(wanted)
    if element is None:
        raise refuse("missing-element", f"{operation} needs <{wanted}>", type="protocol", bad_element=wanted)
    return element


def text(element: Element | None) -> str | None:
    """A parameter's text without the white space around it; None where it was not given."""
    return None if element is None else (element.text or "").strip()


def choice(given: dict[str, Element], parameter: str, values: tuple[str, ...]) -> str:
    """A parameter of enumeration type; the first value is the default."""
    value = text(given.get(parameter))
    if value is None:
        return values[0]
    if value not in values:
        raise refuse("invalid-value", f"{parameter} is one of {', '.join(values)}, not {value!r}", type="protocol")
    return value


def only_child(element: Element) -> Element:
    """What a source or target names. Raises RequestError."""
    choices = list(element.iterchildren("*"))
    where = name(element)[1]
    if not choices:
        message = f"<{where}> names nothing: use <running/>"
        raise refuse("missing-element", message, type="protocol", bad_element=where)
    if len(choices) > 1:
        extra = name(choices[1])[1]
        raise refuse("bad-element", f"<{where}> names one thing", type="protocol", bad_element=extra)
    return choices[0]


def datastore(element: Element, schema: Schema) -> Datastore:
    """The datastore that a source or target names (RFC 6241 sections 7.1 and 7.2). Raises RequestError."""
    child = only_child(element)
    where = name(element)[1]
    space, local = name(child)
    if (space, local) == (NMDA, "datastore") and schema.by_namespace(space) is not None:
        return identity(child, schema)
    if space not in (NC, name(element)[0]):
        raise unknown(child, schema, f"as a {where}")
    if local in _CONVENTIONAL:
        if local != "running" and local not in features(schema):
            hint = "changes of running outlive a restart" if local == "startup" else "use <running/>"
            raise refuse("invalid-value", f"{local} is not offered as {where}: {hint}", type="protocol")
        return _CONVENTIONAL[local]
    if local in ("url", "config"):
        raise refuse("invalid-value", f"{local} is not offered as {where}: use <running/>", type="protocol")
    raise unknown(child, schema, f"as a {where}")


def identity(element: Element, schema: Schema) -> Datastore:
    """A datastore by its identity (RFC 8342 section 6). Raises RequestError invalid-value."""
    value = text(element) or ""
    prefix, colon, local = value.rpartition(":")
    module = schema.by_namespace(element.nsmap.get(prefix if colon else None, ""))
    found = None if module is None else _IDENTITIES.get(f"{module.name}:{local}")
    if found is None:
        message = f"{value!r} is no datastore of this server"
        raise refuse("invalid-value", message, type="protocol", bad_element=name(element)[1])
    return found
