"""The operations that change, check or lock configuration: from their elements to words of the vocabulary.

Pure functions. Source: RFC 6241 sections 7 and 8, RFC 8526 section 3.2, RFC 5717; choices in docs/decisions/0006,
0050 and 0051.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, cast

from lxml.etree import _Element as Element

from agent.codec import xml
from agent.core.requests import (
    Commit,
    Copy,
    Datastore,
    Delete,
    Discard,
    Edit,
    EditNode,
    Inline,
    Lock,
    Request,
    Source,
    Unlock,
    Url,
    Validate,
)
from agent.core.schema import Schema
from agent.errors import RequestError, refuse
from agent.netconf.parameters import (
    NC,
    NMDA,
    VALIDATE,
    choice,
    datastore,
    features,
    identity,
    name,
    only_child,
    parameters,
    required,
    text,
)
from agent.netconf.reads import offered, with_defaults

LONGEST_TIMEOUT: Final = 4294967295
"""confirm-timeout is 1..4294967295 seconds (RFC 6241 section 8.4.4.1)."""
_TESTS = ("test-then-set", "set", "test-only")


def _not_offered(what: str, capability: str) -> RequestError:
    message = f"{what} is not offered (no :{capability} capability): see this server's hello"
    return refuse("operation-not-supported", message, type="protocol")


def _need(feature: str, what: str, schema: Schema) -> None:
    """Raises RequestError operation-not-supported where the feature, and so its capability, is not offered."""
    if feature not in features(schema):
        raise _not_offered(what, feature)


def _url(element: Element, schema: Schema) -> Url:
    _need("url", "url", schema)
    return Url(text(element) or "")


def _content(given: dict[str, Element], schema: Schema, operation: str) -> tuple[EditNode, ...] | Url:
    """The config or the url of an edit. Raises RequestError."""
    if "url" in given:
        url = _url(given["url"], schema)
        if "config" in given:
            message = f"{operation} takes <config> or <url>, not both"
            raise refuse("bad-element", message, type="protocol", bad_element="url")
        return url
    return xml.decode_config(required(given, "config", operation), schema)


def _default_operation(given: dict[str, Element]) -> Literal["merge", "replace", "none"]:
    return cast(Literal["merge", "replace", "none"], choice(given, "default-operation", ("merge", "replace", "none")))


def _edit_config(operation: Element, schema: Schema) -> Edit:
    names = ("target", "default-operation", "test-option", "error-option", "config", "url")
    given = parameters(operation, schema, *names)
    target = datastore(required(given, "target", "edit-config"), schema)
    if target not in (Datastore.RUNNING, Datastore.CANDIDATE):
        message = f"edit-config does not take {target.value}: use <running/> or <candidate/>"
        raise refuse("invalid-value", message, type="protocol")
    default_operation = _default_operation(given)
    test = None
    if "test-option" in given:
        _need("validate", "test-option", schema)
        test = cast(Literal["test-then-set", "set", "test-only"], choice(given, "test-option", _TESTS))
    option = choice(given, "error-option", ("rollback-on-error", "stop-on-error", "continue-on-error"))
    if option == "continue-on-error":
        message = "edits are made wholly or not at all: use error-option rollback-on-error"
        raise refuse("operation-not-supported", message, type="protocol")
    return Edit(_content(given, schema, "edit-config"), target, default_operation, test)


def _edit_data(operation: Element, schema: Schema) -> Edit:
    given = parameters(operation, schema, "datastore", "default-operation", "config", "url")
    target = identity(required(given, "datastore", "edit-data"), schema)
    content = _content(given, schema, "edit-data")
    return Edit(content, target, _default_operation(given), rpc=("ietf-netconf-nmda", "edit-data"))


def _source(element: Element, schema: Schema) -> Source:
    """What copy-config and validate take from: a datastore, a file, or the configuration itself."""
    child = only_child(element)
    space, local = name(child)
    if local == "config" and space in (NC, name(element)[0], ""):
        return Inline(xml.decode_config(child, schema))
    if local == "url" and space in (NC, name(element)[0]):
        return _url(child, schema)
    return datastore(element, schema)


def _target(element: Element, schema: Schema) -> Datastore | Url:
    child = only_child(element)
    return _url(child, schema) if name(child) == (NC, "url") else datastore(element, schema)


def _copy_config(operation: Element, schema: Schema) -> Copy:
    given = parameters(operation, schema, *offered(schema, "target", "source"))
    target = _target(required(given, "target", "copy-config"), schema)
    return Copy(_source(required(given, "source", "copy-config"), schema), target, with_defaults(given))


def _delete_config(operation: Element, schema: Schema) -> Delete:
    return Delete(_target(required(parameters(operation, schema, "target"), "target", "delete-config"), schema))


def _validate(operation: Element, schema: Schema) -> Validate:
    _need("validate", "validate", schema)
    return Validate(_source(required(parameters(operation, schema, "source"), "source", "validate"), schema))


def _timeout(element: Element | None) -> int:
    value = text(element)
    if value is None:
        return 600
    if not (value.isascii() and value.isdigit() and len(value) <= 10 and 1 <= int(value) <= LONGEST_TIMEOUT):
        message = f"confirm-timeout is a number of seconds from 1 to {LONGEST_TIMEOUT}, not {value!r}"
        raise refuse("invalid-value", message, type="protocol", bad_element="confirm-timeout")
    return int(value)


def _commit(operation: Element, schema: Schema) -> Commit:
    _need("candidate", "commit", schema)
    given = parameters(operation, schema, "confirmed", "confirm-timeout", "persist", "persist-id")
    if given:
        _need("confirmed-commit", "a confirmed commit", schema)
    confirmed = "confirmed" in given
    for parameter in ("confirm-timeout", "persist"):
        if parameter in given and not confirmed:
            message = f"{parameter} goes with <confirmed/>"
            raise refuse("bad-element", message, type="protocol", bad_element=parameter)
    return Commit(
        confirmed, _timeout(given.get("confirm-timeout")), _token(given, "persist"), _token(given, "persist-id")
    )


def _token(given: dict[str, Element], parameter: str) -> str | None:
    """The name of a persistent confirmed commit, exactly as it was sent."""
    element = given.get(parameter)
    return None if element is None else element.text or ""


def _cancel_commit(operation: Element, schema: Schema) -> Discard:
    _need("confirmed-commit", "cancel-commit", schema)
    return Discard(trial=True, persist_id=_token(parameters(operation, schema, "persist-id"), "persist-id"))


def _discard_changes(operation: Element, schema: Schema) -> Discard:
    _need("candidate", "discard-changes", schema)
    parameters(operation, schema)
    return Discard()


def _lock(operation: Element, schema: Schema) -> Lock:
    return Lock(datastore(required(parameters(operation, schema, "target"), "target", "lock"), schema))


def _unlock(operation: Element, schema: Schema) -> Unlock:
    return Unlock(datastore(required(parameters(operation, schema, "target"), "target", "unlock"), schema))


READERS: dict[tuple[str, str], Callable[[Element, Schema], Request]] = {
    (NC, "edit-config"): _edit_config,
    (NC, "copy-config"): _copy_config,
    (NC, "delete-config"): _delete_config,
    (NC, "validate"): _validate,
    (VALIDATE, "validate"): _validate,
    (NC, "commit"): _commit,
    (NC, "cancel-commit"): _cancel_commit,
    (NC, "discard-changes"): _discard_changes,
    (NC, "lock"): _lock,
    (NC, "unlock"): _unlock,
    (NMDA, "edit-data"): _edit_data,
}
"""By namespace and name."""
