"""Binding objects serve again, and values that have passed pass at once: neither may show in what comes out."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from agent import app
from agent.core.schema import Node
from agent.core.tree import Tree
from agent.errors import RequestError
from agent.northbound import bound
from agent.northbound.bound import Bindings

STATE_INFO = "/cisco-smart-license:licensing/state/state-info"
UDI = f"{STATE_INFO}/udi"
DETAILS = f"{STATE_INFO}/slp-agent:rum-reports-closed"


@cache
def schema() -> Any:
    return app.load_schema()


def fresh(path: str, tree: Tree) -> Tree:
    """As bindings that have seen nothing yet give it."""
    bindings = Bindings(schema())
    return bindings.checked(bindings.node(path), tree)


@pytest.fixture
def bindings() -> Bindings:
    return Bindings(schema())


def test_what_was_set_before_does_not_come_out_again(bindings: Bindings) -> None:
    node = bindings.node(UDI)
    assert bindings.checked(node, {"pid": "A", "sn": "1", "vid": "V1"}) == {"pid": "A", "sn": "1", "vid": "V1"}
    assert bindings.checked(node, {"pid": "B"}) == {"pid": "B"}
    assert bindings.checked(node, {}) == {}
    assert bindings.checked(node, {"sn": "1"}) == {"sn": "1"}


def test_the_same_values_give_the_same_tree(bindings: Bindings) -> None:
    """In schema order, whatever order they are given in, and equal to what fresh bindings give."""
    node = bindings.node(UDI)
    for tree in ({"pid": "A", "sn": "1"}, {"sn": "1", "pid": "A"}, {"pid": "A", "sn": "1"}):
        found = bindings.checked(node, tree)
        assert list(found.items()) == list(fresh(UDI, tree).items())


def test_values_of_another_type_do_not_pass_for_an_equal_one(bindings: Bindings) -> None:
    """In Python True equals 1: a number that has passed says nothing of a truth value."""
    enabled = bindings.node(f"{STATE_INFO}/utility")
    assert bindings.checked(enabled, {"enabled": True}) == {"enabled": True}
    for wrong in (1, "True", "yes", 1.0):
        with pytest.raises(RequestError):
            bindings.checked(enabled, {"enabled": wrong})
    assert bindings.checked(enabled, {"enabled": False}) == {"enabled": False}


def test_what_is_refused_is_refused_each_time(bindings: Bindings) -> None:
    usage = bindings.node(f"{STATE_INFO}/usage")
    good: Tree = {"entitlement-tag": "t", "enforcement-mode": "enforcement-in-compliance"}
    passed = bindings.checked(usage, good)
    for _ in range(3):
        with pytest.raises(RequestError) as refused:
            bindings.checked(usage, {**good, "enforcement-mode": "no-such-word"})
        assert refused.value.errors[0].tag == "invalid-value"
        assert bindings.checked(usage, good) == passed


def test_the_memory_is_bounded(bindings: Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "MEMORY", 8)
    node = bindings.node(UDI)
    for number in range(40):
        assert bindings.checked(node, {"pid": "same", "sn": str(number)}) == {"pid": "same", "sn": str(number)}
        assert len(bindings._passed) <= 8 + 2
    long = "x" * (bound._LONGEST + 1)
    bindings._passed.clear()
    bindings.checked(bindings.node(DETAILS), {"license-name": "p", "document": long})
    assert [value for _, _, value in bindings._passed] == ["p"]


def test_a_value_that_has_passed_is_not_set_again(bindings: Bindings) -> None:
    """Checked by the objects: the second time the class is not asked."""
    node = bindings.node(UDI)
    bindings.checked(node, {"pid": "A"})
    (obj,) = bindings._spare[node]
    obj._set_pid("told by nobody")
    assert bindings.checked(node, {"pid": "A"}) == {"pid": "A"}
    assert bindings.at(UDI).set(pid="A").tree() == {"pid": "A"}


def test_every_leaf_of_our_state_alike(bindings: Bindings) -> None:
    """Whole containers, twice: remembered values come out as set ones did."""

    def walk(node: Node) -> list[Node]:
        inner = [each for child in node.children for each in walk(child)]
        return [node, *inner] if node.kind in ("container", "list") else inner

    samples: dict[str, Any] = {"boolean": True, "string": "x", "uint8": 7, "uint16": 7, "uint32": 7, "uint64": "7"}
    tried = 0
    for node in walk(bindings.node(STATE_INFO)):
        leaves = [child for child in node.children if child.kind == "leaf" and child.type is not None]
        tree = {leaf.member: samples[leaf.type.base] for leaf in leaves if leaf.type and leaf.type.base in samples}
        try:
            first = fresh(node.path, tree)
        except RequestError:
            continue  # a pattern or range that the sample does not fit
        assert bindings.checked(node, tree) == first == bindings.checked(node, tree)
        tried += len(tree)
    assert tried > 40
