"""Errors as XML: NETCONF's rpc-error and RESTCONF's errors. Which status goes with them is not known here.

Source: RFC 6241 section 4.3 and appendix A, RFC 8040 section 7.1, RFC 7950 section 15 (non-unique, missing-choice).
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.codec.xml_read import NC, YANG
from agent.codec.xml_write import escape, escape_attribute
from agent.core.path import to_xpath
from agent.core.schema import Schema
from agent.errors import Error, Path

RESTCONF = "urn:ietf:params:xml:ns:yang:ietf-restconf"
_YANG_INFO = frozenset({"non-unique", "missing-choice"})


def encode_error(error: Error, schema: Schema) -> bytes:
    """One <rpc-error> element in the NETCONF namespace, which it declares itself."""
    severity = "<error-severity>error</error-severity>"
    return f'<rpc-error xmlns="{NC}">{_body(error, schema, severity, NC)}</rpc-error>'.encode()


def encode_errors(errors: Sequence[Error], schema: Schema) -> bytes:
    """RESTCONF's <errors> document."""
    bodies = "".join(f"<error>{_body(error, schema, '', RESTCONF)}</error>" for error in errors)
    return f'<errors xmlns="{RESTCONF}">{bodies}</errors>'.encode()


def _body(error: Error, schema: Schema, severity: str, namespace: str) -> str:
    parts = [f"<error-type>{error.type}</error-type><error-tag>{escape(error.tag)}</error-tag>{severity}"]
    if error.app_tag is not None:
        parts.append(f"<error-app-tag>{escape(error.app_tag)}</error-app-tag>")
    if error.path:
        xpath, declared = _instance(error.path, schema)
        parts.append(f"<error-path{declared}>{escape(xpath)}</error-path>")
    parts.append(f'<error-message xml:lang="en">{escape(error.message)}</error-message>')
    if error.info:
        info = "".join(_info(name, value, namespace, schema) for name, value in error.info)
        parts.append(f"<error-info>{info}</error-info>")
    return "".join(parts)


def _info(name: str, value: str | Path, around: str, schema: Schema) -> str:
    space = YANG if name in _YANG_INFO else NC
    declared = "" if space == around else f' xmlns="{space}"'
    text, more = (value, "") if isinstance(value, str) else _instance(value, schema)
    return f"<{name}{declared}{more}>{escape(text)}</{name}>"


def _instance(path: Path, schema: Schema) -> tuple[str, str]:
    """An instance as XPath, and the declarations of its prefixes."""
    xpath, prefixes = to_xpath(path, schema)
    return xpath, "".join(f' xmlns:{name}="{escape_attribute(uri)}"' for name, uri in prefixes.items())
