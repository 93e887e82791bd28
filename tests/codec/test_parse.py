"""Reading bytes: hardened XML and JSON parsers give a value or one error, never anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
import pytest

from agent.codec import json, xml
from agent.errors import RequestError

GOOD = b'<?xml version="1.0" encoding="UTF-8"?>\n<a xmlns="urn:x"><b>\xc3\xa4 &lt; &#x41;</b><!-- c --><?pi x?></a>'


def refused(call: Callable[[bytes], Any], data: bytes) -> str:
    with pytest.raises(RequestError) as caught:
        call(data)
    (error,) = caught.value.errors
    assert error.tag == "malformed-message"
    return error.message


def test_whole_truncated_and_trailing() -> None:
    """Checklist 10, 28: whole input is read, every truncation and any trailing bytes are refused."""
    root = xml.parse(GOOD)
    assert root.tag == "{urn:x}a"
    assert root[0].text == "ä < A"
    assert len(root) == 1
    for size in range(len(GOOD)):
        refused(xml.parse, GOOD[:size])
    for tail in (b"x", b"<a/>", b"\0", b"]]>]]>"):
        refused(xml.parse, GOOD + tail)
    assert xml.parse(b"\r\n  " + GOOD + b" \n").tag == root.tag


def test_comments_do_not_split_text() -> None:
    assert xml.parse(b"<a>x<!-- y -->z<![CDATA[<&]]></a>").text == "xz<&"


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b'\xef\xbb\xbf<?xml version="1.0"?><!-- c --> <!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<?pi ?><!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><a b="&b;"/>',
    ],
)
def test_doctype_is_refused(data: bytes) -> None:
    """Checklist 29: no DOCTYPE, whatever is in it, and before libxml2 sees it."""
    assert "DOCTYPE" in refused(xml.parse, data)


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    """Checklist 29: an undeclared entity is an error, and no file is read."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    assert "secret" not in refused(xml.parse, b"<a>&file;</a>")
    data = f'<!-- --><!DOCTYPE a [<!ENTITY f SYSTEM "file://{secret}">]><a>&f;</a>'.encode()
    assert "DOCTYPE" in refused(xml.parse, data)


@pytest.mark.parametrize(
    "data",
    [
        b"<a>\x00</a>",
        b"<a>&#0;</a>",
        b"<a>\x01</a>",
        b"<a>\xff</a>",
        b"<a>\xed\xa0\x80</a>",
        "<?xml version='1.0' encoding='utf-16'?><a/>".encode("utf-16"),
        b"<a b='1' b='2'/>",
        b"<a:b/>",
        b"",
        b"   ",
        b"text",
    ],
)
def test_what_is_not_xml(data: bytes) -> None:
    """Checklist 28, 96: NUL and other characters outside XML, bad UTF-8 and bad syntax are refused."""
    refused(xml.parse, data)


def test_depth_is_bounded() -> None:
    """Nesting over the limit is refused, at the limit it is read; thousands of levels cost nothing."""
    assert xml.parse(b"<a>" * 128 + b"</a>" * 128).tag == "a"
    assert "deep" in refused(xml.parse, b"<a>" * 129 + b"</a>" * 129)
    refused(xml.parse, b"<a>" * 100_000)
    refused(json.parse, b"[" * 100_000)
    refused(json.parse, b"[" * 130 + b"]" * 130)
    assert json.parse(b"[" * 128 + b"]" * 128)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b"NaN",
        b'{"a":-Infinity}',
        b'"\xff"',
        b"{} {}",
        b"",
        b"{'a':1}",
        b"[1,]",
        b"1" * 5000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json(data: bytes) -> None:
    """Checklist 168: duplicate members, NaN, bad UTF-8, trailing text and bad syntax are refused."""
    refused(json.parse, data)


def test_json_truncated() -> None:
    document = '{"a":[1,"ä",{"b":null}],"c":true}'.encode()
    assert json.parse(document) == {"a": [1, "ä", {"b": None}], "c": True}
    for size in range(len(document)):
        refused(json.parse, document[:size])


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet="<>/a!DOCTYPE[]&;?'\"= \n", max_size=60).map(str.encode)))
def test_any_bytes_give_a_value_or_one_error(data: bytes) -> None:
    """The fuzz sentence: an element or malformed-message, nothing else."""
    for parse in (xml.parse, json.parse):
        outcome: Any
        try:
            outcome = parse(data)
        except RequestError as error:
            outcome = error
        if isinstance(outcome, RequestError):
            assert outcome.errors[0].tag == "malformed-message"
        else:
            assert parse is json.parse or isinstance(outcome, etree._Element)
