"""RPC input: checked, trimmed, completed with defaults, in both encodings."""

from __future__ import annotations

import json as plain_json
from typing import Any

import pytest

from agent.codec import json, xml
from agent.core.path import to_instance_identifier
from agent.core.tree import Tree
from agent.errors import RequestError
from tests.toy.build import toy_schema

DEFAULTS = {"times": 1, "mode": "soft", "options": {"polite": True}}


def from_xml(content: str, rpc: str = "greet") -> Tree:
    element = xml.parse(f'<{rpc} xmlns="urn:example:toy">{content}</{rpc}>'.encode())
    return xml.decode_input(element, toy_schema().rpcs["toy", rpc])


def from_json(value: Any, rpc: str = "greet") -> Tree:
    return json.decode_input(json.parse(plain_json.dumps(value).encode()), toy_schema().rpcs["toy", rpc])


def test_defaults_are_filled_in() -> None:
    """Checklist 146: what was not sent has its default, also in containers; what was sent stays."""
    assert from_xml("<who>me</who>") == from_json({"who": "me"}) == {"who": "me", **DEFAULTS}
    full = {"who": "me", "times": 3, "mode": "loud", "options": {"polite": False}, "item": [{"k": "a", "v": "b"}]}
    content = """<item><k>a</k><v>b</v></item><options><polite>false</polite></options>
        <mode>loud</mode><times>3</times><who>me</who>"""
    assert from_xml(content) == from_json(full) == full


def test_padding_is_trimmed() -> None:
    """Scripts send padded parameters (slp-facts section 11): white space at the ends is dropped, inside it stays."""
    content = "<who>\n    me  and you\n  </who><times>\t2 </times><mode>\nloud\n</mode>"
    assert from_xml(content) == {"who": "me  and you", "times": 2, "mode": "loud", "options": {"polite": True}}


def test_no_input() -> None:
    assert from_xml("", "reset") == from_json({}, "reset") == {}
    assert from_xml("", "fail") == {}


@pytest.mark.parametrize(
    ("content", "value", "tag", "bad", "path"),
    [
        ("", {}, "missing-element", "who", "/toy:who"),
        ("<who>a</who><x/>", {"who": "a", "x": 1}, "unknown-element", "x", "/"),
        ("<who/>", {"who": ""}, "invalid-value", "who", "/toy:who"),
        ("<who>a</who><times>0</times>", {"who": "a", "times": 0}, "invalid-value", "times", "/toy:times"),
        ("<who>a</who><item><v>b</v></item>", {"who": "a", "item": [{"v": "b"}]}, "missing-element", "k", "/toy:item"),
        (
            "<who>a</who><item><k>b</k></item><item><k>b</k></item>",
            {"who": "a", "item": [{"k": "b"}, {"k": "b"}]},
            "data-exists",
            None,
            "/toy:item[k='b']",
        ),
        ("<who>a</who><one>x</one><all/>", {"who": "a", "one": "x", "all": [None]}, "bad-element", "all", "/toy:all"),
        (
            "<who>a</who><options><x/></options>",
            {"who": "a", "options": {"x": 1}},
            "unknown-element",
            "x",
            "/toy:options",
        ),
    ],
)
def test_bad_input(content: str, value: Any, tag: str, bad: str | None, path: str) -> None:
    """Checklist 35, 36, 146: both encodings give the same error for the same fault."""
    for call in (lambda: from_xml(content), lambda: from_json(value)):
        with pytest.raises(RequestError) as caught:
            call()
        (error,) = caught.value.errors
        assert (error.tag, to_instance_identifier(error.path)) == (tag, path)
        assert dict(error.info).get("bad-element") == bad


def test_faults_of_one_encoding() -> None:
    for content, tag in (
        ("<who>a</who><who>b</who>", "bad-element"),
        ("<who>a</who>text", "bad-element"),
        ('<who xmlns="urn:evil">a</who>', "unknown-namespace"),
        ("<who>a</who><item/>", "missing-element"),
    ):
        with pytest.raises(RequestError) as caught:
            from_xml(content)
        assert caught.value.errors[0].tag == tag
    for value in ([], "x", None, {"who": 5}, {"who": ["a"]}, {"who": "a", "item": {"k": "a"}}):
        with pytest.raises(RequestError) as caught:
            from_json(value)
        assert caught.value.errors[0].tag == "invalid-value"
    for call in (lambda: from_xml("<x/>", "reset"), lambda: from_json({"x": 1}, "reset")):
        with pytest.raises(RequestError) as caught:
            call()
        assert caught.value.errors[0].tag == "unknown-element"
