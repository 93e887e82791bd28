"""The two validators agree with each other, and with the errors of RFC 7950 section 15."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.core.path import to_instance_identifier
from agent.core.validate import LibyangValidator, Violation, YangsonValidator, parse_data_path
from agent.errors import Step
from tests.toy.build import toy_schema


@lru_cache
def libyang() -> LibyangValidator:
    return LibyangValidator(toy_schema())


@lru_cache
def yangson() -> YangsonValidator:
    return YangsonValidator(toy_schema())


def entries(*rest: dict[str, Any]) -> dict[str, Any]:
    return {"toy:box": {"entry": list(rest)}}


GOOD: list[dict[str, Any]] = [
    {},
    {"toy:box": {}},
    {"toy:box": {"size": 100, "wide": "18446744073709551615", "ratio": "1.5", "flag": [None], "on": False}},
    {"toy:box": {"pet": "toy-more:parrot", "rights": "read run", "blob": "AAE=", "mixed": 5, "code": "ABC1"}},
    {"toy:box": {"mixed": "text", "toy-more:name": "n", "plain": {"x": "1", "toy-more:x": 1}}},
    {"toy:box": {"gate": True, "behind": "x"}},
    {"toy:box": {"low": 3, "high": 3}},
    {"toy:box": {"high": 3}},
    {"toy:box": {"favourite": "a", "entry": [{"id": "a"}]}},
    {"toy:box": {"tag": ["a", "b", "c", "d"], "turn": ["z", "a"]}},
    {"toy:box": {"crew": {"captain": "c"}, "ship": "s"}},
    {"toy:box": {"where": "/toy:box/entry[id='x']"}},
    {"toy:box": {"present": {}}},
    {"toy:need": {"left": "x", "few": [{"k": "a"}, {"k": "b"}]}},
    entries({"id": "a", "address": "x", "port": 1}, {"id": "b", "address": "x", "port": 2}, {"id": "c", "port": 2}),
    {"toy:box": {"pair": [{"a": "x", "b": 1, "value": "v"}, {"a": "x", "b": 2, "value": "v"}]}},
    {"toy:store": {"limit": 1}},
]

# document, error-tag, error-app-tag, and the path where both validators give the same one
BAD: list[tuple[dict[str, Any], str, str | None, str | None]] = [
    ({"toy:box": {"size": 200}}, "invalid-value", "not-a-percentage", "/toy:box/size"),
    ({"toy:box": {"code": "x"}}, "invalid-value", "bad-code", "/toy:box/code"),
    ({"toy:box": {"pet": "toy:animal"}}, "invalid-value", None, "/toy:box/pet"),
    ({"toy:box": {"behind": "x"}}, "unknown-element", None, "/toy:box/behind"),
    ({"toy:box": {"gate": False, "behind": "x"}}, "unknown-element", None, "/toy:box/behind"),
    ({"toy:box": {"low": 5, "high": 3}}, "operation-failed", "must-violation", "/toy:box/high"),
    ({"toy:box": {"favourite": "q"}}, "data-missing", "instance-required", "/toy:box/favourite"),
    (
        entries({"id": "a", "address": "x", "port": 1}, {"id": "b", "address": "x", "port": 1}),
        "operation-failed",
        "data-not-unique",
        None,
    ),
    (entries({"id": "a"}, {"id": "a"}), "data-exists", None, None),
    (entries({"address": "a"}), "missing-element", None, "/toy:box/entry"),
    ({"toy:box": {"tag": list("abcde")}}, "operation-failed", "too-many-elements", "/toy:box/tag"),
    ({"toy:box": {"tag": ["a", "a"]}}, "data-exists", None, None),
    ({"toy:box": {"pair": [{"a": "x'", "b": 1}]}}, "data-missing", None, """/toy:box/pair[a="x'"][b='1']/value"""),
    ({"toy:need": {"few": [{"k": "a"}, {"k": "b"}]}}, "data-missing", "mandatory-choice", None),
    ({"toy:need": {"left": "x", "few": [{"k": "a"}]}}, "operation-failed", "too-few-elements", "/toy:need/few"),
    ({"toy:box": {"plane": "a", "ship": "b"}}, "bad-element", None, None),
    ({"toy:box": {"train": "a", "car": "b"}}, "bad-element", None, None),
    ({"toy:box": {"frob": 1}}, "unknown-element", None, None),
    ({"toy:status": {"uptime": "1"}}, "unknown-element", None, None),
    ({"toy:store": {"usage": {"used": 1}}}, "unknown-element", None, None),
    ({"nomodule:box": {}}, "unknown-element", None, None),
]


@pytest.mark.parametrize("document", GOOD)
def test_valid(document: dict[str, Any]) -> None:
    """Valid documents pass both; an empty tree and unset mandatory nodes below absent parents do too."""
    assert libyang().check(document) == []
    assert yangson().check(document) == []


@pytest.mark.parametrize(("document", "tag", "app_tag", "path"), BAD)
def test_not_valid(document: dict[str, Any], tag: str, app_tag: str | None, path: str | None) -> None:
    """Checklist 86, 87, 88, 89: both refuse it, with the same tag, app-tag and (where both know it) path."""
    for validator in (libyang(), yangson()):
        told = validator.check(document)[0].error
        assert (told.tag, told.app_tag) == (tag, app_tag), validator
        if path is not None:
            assert to_instance_identifier(told.path) == path


def test_only_when_is_unmet_when() -> None:
    for validator in (libyang(), yangson()):
        for document, _, _, _ in BAD:
            (told, *_rest) = validator.check(document)
            assert told.unmet_when == ("behind" in document.get("toy:box", {}))


def test_all_violations_are_found_by_libyang() -> None:
    told = libyang().check({"toy:box": {"low": 5, "high": 3, "favourite": "x", "behind": "y"}})
    assert {one.error.app_tag for one in told} >= {"must-violation", "instance-required"}


def test_nothing_is_left_from_the_last_check() -> None:
    """The errors of one document are not told again for the next."""
    assert libyang().check({"toy:box": {"size": 200}})
    assert libyang().check({}) == []
    (told,) = libyang().check({"toy:box": {"code": "x"}})
    assert told.error.app_tag == "bad-code"


def test_unique_and_choice_are_named() -> None:
    told = libyang().check(entries({"id": "a", "address": "x", "port": 1}, {"id": "b", "address": "x", "port": 1}))
    entry = (Step("toy", "box"), Step("toy", "entry", (("id", "b"),)))
    leaves = [(*entry, Step("toy", name)) for name in ("address", "port")]
    assert told[0].error.info == tuple(("non-unique", leaf) for leaf in leaves)
    told = libyang().check({"toy:need": {"few": [{"k": "a"}, {"k": "b"}]}})
    assert dict(told[0].error.info) == {"missing-choice": "one"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ()),
        ("/toy:box", (Step("toy", "box"),)),
        (
            "/toy:box/entry[id='a/b']/toy-more:weight",
            (Step("toy", "box"), Step("toy", "entry", (("id", "a/b"),)), Step("toy-more", "weight")),
        ),
        (
            """/toy:box/pair[a="x'"][b='1']""",
            (Step("toy", "box"), Step("toy", "pair", (("a", "x'"), ("b", "1")))),
        ),
        ("/toy:box/tag[.='x]']", (Step("toy", "box"), Step("toy", "tag", ((".", "x]"),)))),
        ("/toy:box/plainlist[2]/a", (Step("toy", "box"), Step("toy", "plainlist"), Step("toy", "a"))),
    ],
)
def test_libyang_paths(text: str, path: Sequence[Step]) -> None:
    assert parse_data_path(text) == path


SMALL = st.sampled_from(["a", "b", "", "x'\""])
BOX = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(0, 120),
        "low": st.integers(0, 3),
        "high": st.integers(0, 3),
        "gate": st.booleans(),
        "behind": SMALL,
        "plane": SMALL,
        "ship": SMALL,
        "favourite": SMALL,
        "tag": st.lists(SMALL, min_size=1, max_size=5),
        "entry": st.lists(
            st.fixed_dictionaries({"id": SMALL}, optional={"address": SMALL, "port": st.integers(0, 1)}),
            min_size=1,
            max_size=3,
        ),
    },
)


@settings(max_examples=150)
@given(BOX)
def test_both_agree(box: dict[str, Any]) -> None:
    """Second opinion: whatever the document, both accept it or both refuse it."""
    document = {"toy:box": box}
    verdicts: list[Sequence[Violation]] = [libyang().check(document), yangson().check(document)]
    assert bool(verdicts[0]) == bool(verdicts[1]), verdicts
