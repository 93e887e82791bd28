"""Accept and Content-Type, without HTTP."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
import pytest

from agent.errors import refuse
from agent.restconf.errors import STATUS, HttpError, status_of
from agent.restconf.negotiate import DATA_TYPES, JSON, XML, XRD, accepted, error_type, sent


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (XML, XML),
        ("Application/YANG-Data+XML", XML),
        (f"{XML}, {JSON}", XML),
        (f"{JSON}, {XML}", JSON),
        (f"{XML};q=0.5, {JSON};q=0.9", JSON),
        (f"{JSON};q=0.2, {XML};q=0.3", XML),
        (f"{JSON} ; q=0.1 , {XML} ; Q=1", XML),
        (f"*/*, {XML}", XML),
        (f"*/*;q=0.9, {XML};q=0.1", JSON),
        (f"{JSON};q=0, */*", XML),
        (f"{JSON};q=0, {XML};q=0, */*;q=0.1", "application/json"),
        ("text/html, application/xml", "application/xml"),
        ("application/json", "application/json"),
        (f"text/html, {XML};charset=utf-8", XML),
        (f"nonsense, ;;, {XML}", XML),
        (f"{JSON};q=2, {XML}", XML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/xml"),
    ],
)
def test_accept(header: str | None, expected: str) -> None:
    """Checklist 132: none and ranges take the server's default; q-values and order count, case does not."""
    assert accepted(header) == expected


@pytest.mark.parametrize(
    "header", ["text/html", "application/json5", "text/*", f"{JSON};q=0", "*/*;q=0", "*/json", "nonsense", XRD]
)
def test_not_acceptable(header: str) -> None:
    """Checklist 132: what cannot be served is 406."""
    with pytest.raises(HttpError, match="ask for application/yang-data") as refused:
        accepted(header)
    assert refused.value.status == 406


def test_other_offers() -> None:
    assert accepted("application/xrd+xml", (XRD,)) == XRD
    with pytest.raises(HttpError):
        accepted(JSON, (XRD,))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (JSON, "json"),
        (XML, "xml"),
        ("APPLICATION/Yang-Data+JSON; charset=UTF-8", "json"),
        ("application/json", "json"),
        ('application/xml; charset="utf-8"', "xml"),
    ],
)
def test_content_type(header: str, expected: str) -> None:
    assert sent(header) == expected


@pytest.mark.parametrize(
    "header", [None, "", "text/plain", "application/x-www-form-urlencoded", f"{XML};charset=latin1"]
)
def test_unsupported_content_type(header: str | None) -> None:
    """Checklist 133: unknown or missing with a body is 415."""
    with pytest.raises(HttpError) as refused:
        sent(header)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("accept", "content", "expected"),
    [
        (None, None, JSON),
        (XML, JSON, XML),
        (None, XML, XML),
        ("text/html", XML, XML),
        ("text/html", "text/html", JSON),
        ("*/*", XML, JSON),
    ],
)
def test_error_format(accept: str | None, content: str | None, expected: str) -> None:
    """Checklist 148: errors follow Accept, else Content-Type, else JSON."""
    assert error_type(accept, content) == expected


@given(st.text(max_size=80))
def test_any_header(header: str) -> None:
    """Any text gives one of the offers or 406 / 415."""
    assert outcome(accepted, header) in {*DATA_TYPES, 406}
    assert outcome(sent, header) in {"json", "xml", 415}


def outcome(call: Callable[[str], str], header: str) -> str | int:
    """The result, or the status of the refusal."""
    try:
        return call(header)
    except HttpError as refused:
        return refused.status


@pytest.mark.parametrize(
    ("tag", "allowed"),
    [
        ("in-use", {409}),
        ("lock-denied", {409}),
        ("resource-denied", {409}),
        ("data-exists", {409}),
        ("data-missing", {409}),
        ("partial-operation", {500}),
        ("invalid-value", {400, 404, 406}),
        ("too-big", {413, 400}),
        ("missing-attribute", {400}),
        ("bad-attribute", {400}),
        ("unknown-attribute", {400}),
        ("missing-element", {400}),
        ("bad-element", {400}),
        ("unknown-element", {400}),
        ("unknown-namespace", {400}),
        ("access-denied", {401, 403}),
        ("operation-not-supported", {405, 501}),
        ("operation-failed", {412, 500}),
        ("malformed-message", {400}),
        ("rollback-failed", {500}),
    ],
)
def test_status_of_each_tag(tag: str, allowed: set[int]) -> None:
    """Checklist 149: RFC 8040 section 7, every tag."""
    assert status_of(refuse(tag, "why")) in allowed
    assert tag in STATUS
