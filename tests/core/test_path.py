"""Instance paths in their two written forms, and looking things up by them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
import pytest

from agent.core.path import lookup, of, quote, resolve, step, to_instance_identifier, to_xpath
from agent.errors import Step
from tests.toy.build import toy_schema


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20))
def test_quoting(value: str) -> None:
    """Whatever the text, the literal evaluates to it."""
    assert etree.fromstring("<a/>").xpath(quote(value)) == value


def test_prefixes_do_not_collide() -> None:
    """A module that is unknown still gives a path; the root is "/"."""
    schema = toy_schema()
    assert to_xpath((), schema) == ("/", {})
    text, prefixes = to_xpath((Step("toy", "box"), Step("t", "x"), Step("toy", "y")), schema)
    assert text == "/t:box/t2:x/t:y"
    assert prefixes == {"t": "urn:example:toy", "t2": "t"}


def test_steps() -> None:
    schema = toy_schema()
    pair, tag = schema.find("/toy:box/pair"), schema.find("/toy:box/tag")
    assert pair is not None
    assert tag is not None
    path = (*of(pair)[:-1], step(pair, ("x", "1")))
    assert to_instance_identifier(path) == "/toy:box/pair[a='x'][b='1']"
    assert to_instance_identifier((Step("toy", "box"), step(tag, ("v",)))) == "/toy:box/tag[.='v']"
    assert to_instance_identifier(()) == "/"
    assert resolve((Step("toy", "box"), Step("toy", "nothing")), schema) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), {"toy:box": {"size": 1, "tag": ["a"], "pair": [{"a": "x", "b": 1, "value": "v"}]}}),
        ((Step("toy", "box"), Step("toy", "size")), 1),
        ((Step("toy", "box"), Step("toy", "tag", ((".", "a"),))), "a"),
        ((Step("toy", "box"), Step("toy", "tag", ((".", "b"),))), None),
        ((Step("toy", "box"), Step("toy", "pair", (("a", "x"), ("b", "1"))), Step("toy", "value")), "v"),
        ((Step("toy", "box"), Step("toy", "pair", (("a", "y"), ("b", "1"))), Step("toy", "value")), None),
        ((Step("toy", "box"), Step("toy", "plain"), Step("toy", "x")), None),
        ((Step("toy", "nothing"),), None),
    ],
)
def test_lookup(path: tuple[Step, ...], value: object) -> None:
    tree = {"toy:box": {"size": 1, "tag": ["a"], "pair": [{"a": "x", "b": 1, "value": "v"}]}}
    assert lookup(tree, path, toy_schema()) == value
