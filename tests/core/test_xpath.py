"""XPath over the data tree: each expression gives what libxml2 gives for the XML of the same data (checklist 63)."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from lxml import etree
import pytest

from agent.codec import xml
from agent.core.schema import Schema
from agent.core.select import prune
from agent.core.tree import Tree
from agent.core.xpath import Evaluation
from agent.core.xpath_filter import XPathFilter
from agent.core.xpath_items import Cost, Item, root
from agent.core.xpath_parse import Scope, XPathError, parse
from agent.errors import RequestError
from tests.toy.build import toy_schema

SCOPE = Scope({"t": "toy", "m": "toy-more"})
SPACES = {"t": "urn:example:toy", "m": "urn:example:toy-more"}

DATA: Tree = {
    "toy:box": {
        "name": "b",
        "size": 20,
        "wide": "18446744073709551615",
        "ratio": "1.5",
        "flag": [None],
        "on": True,
        "color": "dark-blue",
        "rights": "read run",
        "pet": "toy-more:parrot",
        "mixed": "auto",
        "favourite": "b",
        "where": "/toy:box/entry[id='a']/sub[n='2']",
        "tag": ["one", "two"],
        "number": [3, 10],
        "plain": {"x": "1", "deep": {"y": "2"}, "toy-more:x": 3, "toy-more:z": "4"},
        "entry": [
            {
                "id": "a",
                "address": "h1",
                "port": 1,
                "alias": ["p", "q"],
                "detail": {"note": "n1"},
                "sub": [{"n": 1, "text": "t1"}, {"n": 2, "text": "t2"}],
            },
            {"id": "b", "address": "h1", "port": 2, "alias": ["q"], "kind": "toy:cat", "sub": [{"n": 1}]},
            {"id": "c", "address": "h2", "port": 2, "toy-more:weight": "0.125"},
        ],
        "pair": [{"a": "x", "b": 1, "value": "v1"}, {"a": "x", "b": 2, "value": "v2"}],
    },
    "toy:status": {"uptime": "5", "seen": ["a", "b"], "plainlist": [{"a": "1", "b": 1}, {"a": "1", "b": 2}]},
    "toy:store": {"usage": {"used": 7}},
}


@pytest.fixture(scope="module")
def schema() -> Schema:
    return toy_schema()


def evaluation(tree: Tree, schema: Schema, limit: int = 1_000_000) -> Evaluation:
    return Evaluation(schema, SCOPE, root(tree, schema.root, Cost(limit)))


def ours(text: str, tree: Tree, schema: Schema) -> Any:
    value = evaluation(tree, schema).value(parse(text.replace("{R}", ""), SCOPE))
    return [place(item) for item in value] if isinstance(value, list) else value


def place(item: Item) -> tuple[int, ...]:
    """Where an item stands: numbers of elements among their siblings; text adds -1."""
    if item.text:
        assert item.parent is not None
        return (*place(item.parent), -1)
    if item.parent is None:
        return ()
    return (*place(item.parent), [one for one in item.parent.children() if not one.text].index(item))


def document(tree: Tree, schema: Schema) -> etree._Element:
    return etree.fromstring(b"<data>" + b"".join(xml.encode(tree, schema.root)) + b"</data>")


def theirs(text: str, tree: Tree, schema: Schema) -> Any:
    # the XML has one element above the data, which must not be found as one of them
    text = re.sub(r"(ancestor|self|parent)::\*", r"\1::*[parent::*]", text).replace("..", "parent::*")
    value = document(tree, schema).xpath(text.replace("{R}", "/data"), namespaces=SPACES, smart_strings=True)
    if not isinstance(value, list):
        return value

    def spot(element: Any) -> tuple[int, ...]:
        if isinstance(element, str):
            return (*spot(element.getparent()), -1)  # type: ignore[attr-defined]
        above = element.getparent()
        return () if above is None else (*spot(above), above.index(element))

    return [spot(one) for one in value]


def same(left: Any, right: Any) -> bool:
    return bool(left == right or (left != left and right != right))


NAMES = ["t:box", "t:entry", "t:id", "t:port", "t:sub", "t:n", "t:alias", "m:x", "t:x", "t:*", "*", "t:seen", "t:a"]
TESTS = st.sampled_from(NAMES)
AXES = st.sampled_from(
    [
        *("", "", "", "child::", "descendant::", "descendant-or-self::", "self::", "parent::", "ancestor::"),
        *("ancestor-or-self::", "following::", "following-sibling::", "preceding::", "preceding-sibling::"),
    ]
)
LITERALS = st.sampled_from(["'a'", "'q'", "'h1'", "'1'", "1", "2", "'2'", "10", "'t2'", "''", "0.5"])


def step(predicate: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    plain = st.builds(lambda axis, test: axis + test, AXES, TESTS)
    upward = st.just("..")
    within = st.builds(lambda one, two: f"{one}[{two}]", plain, predicate)
    return st.one_of(plain, plain, upward, within, st.just("text()"), st.just("node()"))


def expressions() -> st.SearchStrategy[str]:
    leaf = st.one_of(
        LITERALS,
        st.sampled_from(["position()", "last()", "t:id", "t:port", ".", "count(*)", "t:alias", "..//t:n", "true()"]),
    )

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        compared = st.builds(
            lambda left, sign, right: f"({left}) {sign} ({right})",
            inner,
            st.sampled_from(["=", "!=", "<", ">=", "and", "or", "+", "-", "*", "mod", "div"]),
            inner,
        )
        called = st.builds(
            lambda name, one: f"{name}({one})",
            st.sampled_from(
                ["not", "string", "number", "boolean", "string-length", "normalize-space", "floor", "round"]
            ),
            inner,
        )
        paired = st.builds(
            lambda name, one, two: f"{name}({one}, {two})",
            st.sampled_from(["contains", "starts-with", "concat", "substring-before", "substring-after", "substring"]),
            inner,
            inner,
        )
        walked = st.builds(
            lambda steps, joint: joint.join(steps), st.lists(step(inner), min_size=1, max_size=3), st.sampled_from("/")
        )
        return st.one_of(compared, called, paired, walked)

    return st.recursive(leaf, grown, max_leaves=6)


PATHS = st.builds(
    lambda start, steps, glue: "{R}" + start + glue.join(steps),
    st.sampled_from(["/", "//", "/t:box/", "/t:box//", "/t:status/"]),
    st.lists(step(expressions()), min_size=1, max_size=4),
    st.sampled_from(["/", "/", "//"]),
)


@settings(max_examples=400, deadline=None)
@example("{R}/t:box/t:entry[t:id='b' or t:port=1]/t:sub[last()]")
@example("{R}//t:entry[2]/preceding-sibling::*[1]")
@example("{R}//t:sub[1]")
@example("{R}//t:x/..")
@example("{R}/t:box/t:entry/t:sub/t:n | {R}/t:box/t:entry/t:id | {R}//m:x")
@example("({R}//t:sub)[last()]/t:n")
@given(st.one_of(PATHS, st.builds(lambda one, two: f"{one} | {two}", PATHS, PATHS), expressions()))
def test_as_libxml2_does(text: str) -> None:
    """Checklist 63: union, position(), last(), all axes, conversions and comparisons."""
    schema = toy_schema()
    if "{R}" not in text:
        text = "{R}/t:box/t:entry[" + text + "]"
    wanted: Any
    try:
        wanted = theirs(text, DATA, schema)
    except etree.XPathEvalError:
        with pytest.raises(XPathError):
            ours(text, DATA, schema)
        return
    found = ours(text, DATA, schema)
    assert same(found, wanted), (text, found, wanted)


@settings(max_examples=300, deadline=None)
@example("{R}/t:box/*[2]/self::t:size")
@example("{R}/t:box/t:entry/..")
@example("{R}/t:box[not(t:low)]/t:name")
@given(PATHS)
def test_a_filter_reads_enough(text: str) -> None:
    """What is selected from the whole tree is selected from what the filter says that it reads."""
    schema = toy_schema()
    try:
        made = XPathFilter.of(text.replace("{R}", ""), SCOPE, schema)
        whole = XPathFilter(made.expression, SCOPE, None, False).apply(DATA, schema)
    except (XPathError, RequestError):
        assume(False)
    read = prune(DATA, made.reads, schema.root)
    assert (read if made.exact else made.apply(read, schema)) == whole, (text, made)
