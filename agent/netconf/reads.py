"""get, get-config and get-data: their parameters as one `Get` of the core. Pure functions over one operation's element.

Source: RFC 6241 sections 7.1, 7.7 and 8.9, RFC 6243 section 4, RFC 8526 section 3.1. Choices: docs/decisions/0054-0056.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from lxml.etree import _Element as Element

from agent.codec import xml
from agent.core.defaults import WithDefaults
from agent.core.origins import Origins
from agent.core.requests import Content, Datastore, Get
from agent.core.schema import Schema
from agent.core.select import Selection
from agent.core.types import InvalidValue
from agent.core.xpath_filter import XPathFilter
from agent.core.xpath_parse import Scope, TooLargeError, XPathError
from agent.errors import refuse
from agent.netconf.parameters import NC, NMDA, datastore, features, identity, name, parameters, required, text

_CAPABILITY = "urn:ietf:params:netconf:capability:"
_NC = f"{{{NC}}}"
_NMDA_MODULE = "ietf-netconf-nmda"
_OTHER_MODES = {
    basic: ",".join(mode.value for mode in WithDefaults if mode is not basic)
    for basic in (WithDefaults.EXPLICIT, WithDefaults.REPORT_ALL)
}
GET_DATA: Final = (_NMDA_MODULE, "get-data")


T = TypeVar("T")


class _Filter(NamedTuple):
    """What a filter says: `selection` None selects everything, `xpath` what is still to be evaluated on it."""

    selection: Selection | None = None
    xpath: XPathFilter | None = None


def capabilities(schema: Schema) -> tuple[str, ...]:
    """What reading offers beyond RFC 6241's base, as far as the modules that are served say so."""
    found = []
    if "xpath" in features(schema):
        found.append(f"{_CAPABILITY}xpath:1.0")
    if _serves(schema, "ietf-netconf-with-defaults"):
        basic = WithDefaults.EXPLICIT
        found.append(f"{_CAPABILITY}with-defaults:1.0?basic-mode={basic.value}&also-supported={_OTHER_MODES[basic]}")
    if "with-defaults" in _nmda(schema):
        basic = WithDefaults.REPORT_ALL
        modes = f"basic-mode={basic.value}&also-supported={_OTHER_MODES[basic]}"
        found.append(f"{_CAPABILITY}with-operational-defaults:1.0?{modes}")
    return tuple(found)


def _serves(schema: Schema, module: str) -> bool:
    found = schema.modules.get(module)
    return found is not None and found.implemented


def _nmda(schema: Schema) -> tuple[str, ...]:
    """The features of ietf-netconf-nmda that are served."""
    module = schema.modules.get(_NMDA_MODULE)
    return () if module is None or not module.implemented else module.features


def _filter(element: Element | None, schema: Schema) -> _Filter:
    """RFC 6241 section 7.1 filter parameter. Raises RequestError."""
    if element is None:
        return _Filter()
    return filter_of(
        element,
        schema,
        lambda given: _Filter(xml.decode_filter(given, schema)),
        lambda select, given: xpath(select, given, schema),
    )


def filter_of(
    element: Element, schema: Schema, subtree: Callable[[Element], T], by_xpath: Callable[[str, Element], T]
) -> T:
    """What `subtree` or `by_xpath` (which may raise XPathError) make of a filter. Raises RequestError."""
    kind = element.get("type", element.get(_NC + "type", "subtree"))
    if kind == "subtree":
        return subtree(element)
    by_path = "xpath" in features(schema)
    if kind != "xpath":
        known = "subtree or xpath" if by_path else "subtree"
        message = f"a filter is of type {known}, not {kind!r}"
        raise refuse("bad-attribute", message, type="protocol", bad_attribute="type", bad_element="filter")
    select = element.get("select", element.get(_NC + "select"))
    if select is None:
        message = "an xpath filter needs its select attribute"
        raise refuse("missing-attribute", message, type="protocol", bad_attribute="select", bad_element="filter")
    if not by_path:
        message = "xpath filters are not offered (no :xpath capability): send a subtree filter"
        raise refuse("bad-attribute", message, type="protocol", bad_attribute="type", bad_element="filter")
    try:
        return by_xpath(select, element)
    except TooLargeError as error:
        raise refuse("too-big", f"select: {error}", type="protocol") from None
    except XPathError as error:
        message = f"select is no XPath 1.0 expression that can be used: {error}"
        raise refuse("bad-attribute", message, type="protocol", bad_attribute="select", bad_element="filter") from None


def xpath(select: str, element: Element, schema: Schema) -> _Filter:
    """An XPath filter with the prefixes in scope at its element. Raises XPathError.

    A name without a prefix stands for that name in any module, as in a subtree filter.
    """
    made = XPathFilter.of(select, Scope(prefixes(element, schema)), schema)
    return _Filter(made.reads, None if made.exact else made)


def prefixes(element: Element, schema: Schema) -> dict[str, str]:
    """The modules that the prefixes in scope at an element stand for; a namespace that is not served by itself."""
    modules = schema.names.modules
    return {prefix: modules.get(space, space) for prefix, space in element.nsmap.items() if prefix is not None}


def with_defaults(given: dict[str, Element]) -> WithDefaults | None:
    """The mode that is asked for (RFC 6243 section 4.5.1). Raises RequestError invalid-value."""
    value = text(given.get("with-defaults"))
    if value is None:
        return None
    try:
        return WithDefaults(value)
    except ValueError:
        modes = ", ".join(mode.value for mode in WithDefaults)
        message = f"with-defaults is one of {modes}, not {value!r}"
        raise refuse("invalid-value", message, type="protocol", bad_element="with-defaults") from None


def offered(schema: Schema, *names: str) -> tuple[str, ...]:
    """The parameters of an operation, with-defaults among them where it is offered."""
    return (*names, "with-defaults") if _serves(schema, "ietf-netconf-with-defaults") else names


def _get(operation: Element, schema: Schema) -> Get:
    given = parameters(operation, schema, *offered(schema, "filter"))
    wanted = _filter(given.get("filter"), schema)
    return Get(wanted.selection, xpath=wanted.xpath, defaults=with_defaults(given))


def _get_config(operation: Element, schema: Schema) -> Get:
    given = parameters(operation, schema, *offered(schema, "source", "filter"))
    source = datastore(required(given, "source", "get-config"), schema)
    wanted = _filter(given.get("filter"), schema)
    defaults = with_defaults(given)
    rpc = ("ietf-netconf", "get-config")
    return Get(wanted.selection, Content.CONFIG, source, xpath=wanted.xpath, defaults=defaults, rpc=rpc)


_LISTS = ("origin-filter", "negated-origin-filter")
_PARAMETERS = ("datastore", "subtree-filter", "xpath-filter", "config-filter", "max-depth", "with-origin", *_LISTS)


def _get_data(operation: Element, schema: Schema) -> Get:
    """RFC 8526 section 3.1.1. Raises RequestError."""
    lists = {label: operation.findall(f"{{{NMDA}}}{label}") for label in _LISTS}
    given = parameters(operation, schema, *_PARAMETERS, "with-defaults", repeated=_LISTS)
    source = identity(required(given, "datastore", "get-data"), schema)
    operational = source is Datastore.OPERATIONAL
    _exclusive(given, "subtree-filter", "xpath-filter")
    _exclusive(given, *_LISTS)
    for label in ("with-origin", *_LISTS):
        if label in given and not (operational and "origin" in _nmda(schema)):
            message = f"{label} is for the operational datastore only"
            raise refuse("invalid-value", message, type="protocol", bad_element=label)
    if "with-defaults" in given and "with-defaults" not in _nmda(schema):
        message = "with-defaults is not offered in get-data"
        raise refuse("invalid-value", message, type="protocol", bad_element="with-defaults")
    wanted = _data_filter(given, schema)
    return Get(
        wanted.selection,
        _content(given),
        source,
        xpath=wanted.xpath,
        depth=_depth(given),
        defaults=with_defaults(given),
        origins=_origins(lists, schema),
        with_origin="with-origin" in given,
        rpc=GET_DATA,
    )


def _exclusive(given: dict[str, Element], one: str, other: str) -> None:
    if one in given and other in given:
        message = f"{one} and {other} exclude each other: send one of them"
        raise refuse("bad-element", message, type="protocol", bad_element=other)


def _data_filter(given: dict[str, Element], schema: Schema) -> _Filter:
    subtree, path = given.get("subtree-filter"), given.get("xpath-filter")
    if subtree is not None:
        return _Filter(xml.decode_filter(subtree, schema))
    if path is None:
        return _Filter()
    if "xpath" not in features(schema):
        message = "xpath-filter is not offered (no :xpath capability): send a subtree-filter"
        raise refuse("unknown-element", message, type="protocol", bad_element="xpath-filter")
    try:
        return xpath(text(path) or "", path, schema)
    except TooLargeError as error:
        raise refuse("too-big", f"xpath-filter: {error}", type="protocol") from None
    except XPathError as error:
        message = f"xpath-filter is no XPath 1.0 expression that can be used: {error}"
        raise refuse("invalid-value", message, type="protocol", bad_element="xpath-filter") from None


def _content(given: dict[str, Element]) -> Content:
    value = text(given.get("config-filter"))
    found = {None: Content.ALL, "true": Content.CONFIG, "false": Content.NONCONFIG}.get(value)
    if found is None:
        message = f"config-filter is true or false, not {value!r}"
        raise refuse("invalid-value", message, type="protocol", bad_element="config-filter")
    return found


def _depth(given: dict[str, Element]) -> int | None:
    value = text(given.get("max-depth"))
    if value is None or value == "unbounded":
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and 1 <= int(value) <= 65535):
        message = f"max-depth is a number from 1 to 65535 or unbounded, not {value!r}"
        raise refuse("invalid-value", message, type="protocol", bad_element="max-depth")
    return int(value)


def _origins(lists: dict[str, list[Element]], schema: Schema) -> Origins | None:
    for label, elements in lists.items():
        if elements:
            found = frozenset(_origin(element, schema) for element in elements)
            return Origins(found, negated=label == "negated-origin-filter")
    return None


def _origin(element: Element, schema: Schema) -> str:
    """An identity derived from or:origin, as the model's own type reads it."""
    label = name(element)[1]
    node = schema.rpcs[GET_DATA].by_member("input")
    leaf = None if node is None else node.by_member(label)
    try:
        if leaf is None or leaf.type is None:
            raise InvalidValue(f"{label} is not offered")
        return str(leaf.type.from_xml(text(element) or "", element.nsmap))
    except InvalidValue as error:
        raise refuse("invalid-value", error.message, type="protocol", bad_element=label) from None


READERS: dict[tuple[str, str], Callable[[Element, Schema], Get]] = {
    (NC, "get"): _get,
    (NC, "get-config"): _get_config,
    (NMDA, "get-data"): _get_data,
}
