"""Every built-in type: what it takes, what it refuses and how, and that its three forms agree."""

from __future__ import annotations

import base64
from decimal import Decimal
import json
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.core.compile import compile_modules
from agent.core.schema import Node, Schema
from agent.core.types import InvalidValue, Type

YANG = """
module t {
  yang-version 1.1;
  namespace "urn:t";
  prefix tt;
  revision 2026-01-01;
  feature on;
  feature off;
  identity base;
  identity apple { base base; }
  identity pear { base apple; }
  identity other;
  typedef percent {
    type uint8 { range "0..100" { error-message "at most a hundred"; error-app-tag "too-much"; } }
    default 5;
    units "percent";
  }
  typedef half { type percent { range "min..50 | 77"; } }
  typedef color { type enumeration { enum red { value 7; } enum green; enum blue { value 1; } } }
  container all {
    leaf i8 { type int8; }
    leaf i16 { type int16 { range "-5..-1 | 3"; } }
    leaf i32 { type int32; }
    leaf i64 { type int64; }
    leaf u8 { type uint8; }
    leaf u16 { type uint16; }
    leaf u32 { type uint32; }
    leaf u64 { type uint64 { range "10..max"; } }
    leaf percent { type percent; }
    leaf half { type half; }
    leaf d1 { type decimal64 { fraction-digits 1; } }
    leaf d2 { type decimal64 { fraction-digits 2; range "1.5..3 | 10.25..max"; } }
    leaf d18 { type decimal64 { fraction-digits 18; } }
    leaf yes { type boolean; }
    leaf nothing { type empty; }
    leaf text { type string { length "0..5 | 8"; } }
    leaf name { type string { pattern '[a-z]+'; pattern 'x.*' { modifier invert-match; error-app-tag "no-x"; } } }
    leaf color { type color; }
    leaf some-color { type color { enum blue; enum red; } }
    leaf flags { type bits { bit a; bit b { position 9; } bit c { if-feature off; } bit d { position 2; } } }
    leaf raw { type binary { length "2..4"; } }
    leaf fruit { type identityref { base base; } default "tt:pear"; }
    leaf ref { type leafref { path "../u8"; } }
    leaf either {
      type union { type leafref { path "../u8"; } type color; type identityref { base base; } type empty; }
    }
    leaf wide { type union { type int64; type boolean; type string; } }
    leaf where { type instance-identifier { require-instance false; } }
  }
}
"""
OTHER = """
module u {
  namespace "urn:u";
  prefix u;
  import t { prefix t; }
  revision 2026-01-01;
  identity fig { base t:apple; }
  augment /t:all { leaf fruit { type identityref { base t:base; } } }
}
"""


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    folder = tmp_path_factory.mktemp("yang")
    (folder / "t.yang").write_text(YANG, encoding="utf-8")
    (folder / "u.yang").write_text(OTHER, encoding="utf-8")
    return Schema.load(compile_modules([folder], ["t", "u"], {"t": ["on"]}))


def kind(schema: Schema, name: str) -> Type:
    node = schema.find(f"/t:all/{name}")
    assert isinstance(node, Node)
    assert node.type is not None
    return node.type


# name, lexical form, canonical RFC 7951 value, canonical text
GOOD: list[tuple[str, str, Any, str]] = [
    ("i8", "-128", -128, "-128"),
    ("i8", "+7", 7, "7"),
    ("i8", "0x1F", 31, "31"),
    ("i8", "-017", -15, "-15"),
    ("i8", "0", 0, "0"),
    ("i16", "3", 3, "3"),
    ("i32", "2147483647", 2147483647, "2147483647"),
    ("i64", "-9223372036854775808", "-9223372036854775808", "-9223372036854775808"),
    ("u64", "0x10", "16", "16"),
    ("u64", "18446744073709551615", "18446744073709551615", "18446744073709551615"),
    ("percent", "100", 100, "100"),
    ("half", "77", 77, "77"),
    ("d1", "-0.0", "0.0", "0.0"),
    ("d1", "922337203685477580.7", "922337203685477580.7", "922337203685477580.7"),
    ("d2", "+2.50", "2.5", "2.5"),
    ("d2", "3", "3.0", "3.0"),
    ("d18", "-9.223372036854775808", "-9.223372036854775808", "-9.223372036854775808"),
    ("yes", "true", True, "true"),
    ("yes", "false", False, "false"),
    ("nothing", "", [None], ""),
    ("text", "", "", ""),
    ("text", "äöü€\U0001f600", "äöü€\U0001f600", "äöü€\U0001f600"),
    ("name", "abc", "abc", "abc"),
    ("color", "green", "green", "green"),
    ("some-color", "red", "red", "red"),
    ("flags", " b  a\n d", "a d b", "a d b"),
    ("flags", "", "", ""),
    ("raw", " AAE\nC ", "AAEC", "AAEC"),
    ("fruit", "t:pear", "t:pear", "t:pear"),
    ("fruit", "apple", "t:apple", "t:apple"),
    ("fruit", "u:fig", "u:fig", "u:fig"),
    ("u:fruit", "fig", "u:fig", "u:fig"),
    ("ref", "07", 7, "7"),
    ("either", "200", 200, "200"),
    ("either", "red", "red", "red"),
    ("either", "pear", "t:pear", "t:pear"),
    ("either", "", [None], ""),
    ("wide", "5", "5", "5"),
    ("wide", "true", True, "true"),
    ("wide", "x", "x", "x"),
    ("where", "/t:all/u8", "/t:all/u8", "/t:all/u8"),
    ("where", "/t:all/u:fruit[ . = 'a/b' ][3]", "/t:all/u:fruit[.='a/b'][3]", "/t:all/u:fruit[.='a/b'][3]"),
]

BAD: list[tuple[str, str]] = [
    *(
        ("i8", text)
        for text in ("", "128", "-129", " 1", "1 ", "1.0", "08", "0b1", "one", "٣", "--1", "9" * 5000, "1_0")
    ),
    ("i16", "0"),
    ("i16", "4"),
    ("u8", "-1"),
    ("u32", "4294967296"),
    ("u64", "9"),
    ("percent", "101"),
    ("half", "51"),
    ("half", "256"),
    *(("d1", text) for text in ("", ".5", "5.", "1.23", "1e3", "922337203685477580.8", "nan", "1,5")),
    *(("d2", text) for text in ("1.49", "3.01", "10.24")),
    *(("yes", text) for text in ("", "TRUE", "1", "True", " true")),
    ("nothing", " "),
    *(
        ("text", text)
        for text in ("123456", "1234567", "123456789", "a\x00", "a\x0b", "\ufffe", "\ud800", "\U0001fffe")
    ),
    *(("name", text) for text in ("", "A", "xa", "a\n")),
    *(("color", text) for text in ("", "Red", "7", "red ")),
    ("some-color", "green"),
    *(("flags", text) for text in ("x", "a a", "c", "a,b")),
    *(("raw", text) for text in ("AA==", "AAECAwQ=", "AAE", "A*EC", "ä")),
    *(("fruit", text) for text in ("", "base", "t:base", "t:other", "zz:apple", "t:", ":apple", "fig")),
    *(("either", text) for text in ("256", "base", "purple")),
    *(
        ("where", text)
        for text in ("", "/", "all", "/all", "/t:all/", "/t:all[", "/t:all[x]", "/zz:a", "/t:all[0]", "/t:all//u8")
    ),
]

BAD_VALUES: dict[str, tuple[Any, ...]] = {
    "i8": ("1", 1.0, True, None, [1], {}, 128, float("nan"), 10**400),
    "i64": (1, True, None, "x", ["1"]),
    "u64": (11, "9"),
    "d1": (1.5, 1, None, "1.23"),
    "yes": ("true", 1, 0, None, [True]),
    "nothing": (None, [], "", [None, None], [1], {}),
    "text": (1, None, [], ["a"], True, "123456"),
    "color": (7, None, ["red"], "purple"),
    "flags": (["a"], 1, "a x"),
    "raw": (1, None, "*"),
    "fruit": (1, None, "base", "nowhere:apple"),
    "ref": ("1", 256),
    "either": ("200", None, [], 256, {}),
    "wide": (5, None, 1.5, [None]),
    "where": (1, None, "/all", "all"),
}
BAD_JSON = [(name, value) for name, values in BAD_VALUES.items() for value in values]


@pytest.mark.parametrize(("name", "text", "value", "canonical"), GOOD)
def test_lexical_forms_become_canonical(schema: Schema, name: str, text: str, value: Any, canonical: str) -> None:
    """Checklist 70, 167: text to canonical RFC 7951 value, to canonical text, and both back to the same value."""
    found = kind(schema, name)
    read = found.from_text(text)
    assert read == value
    assert type(read) is type(value)
    assert found.to_text(read) == canonical
    assert found.from_text(canonical) == value
    assert found.from_json(json.loads(json.dumps(value))) == value


@pytest.mark.parametrize(("name", "text"), BAD)
def test_bad_text_is_refused(schema: Schema, name: str, text: str) -> None:
    """Checklist 86: one exception, with a message that can stand in XML and is not longer than a line."""
    with pytest.raises(InvalidValue) as refused:
        kind(schema, name).from_text(text)
    assert refused.value.message.isprintable()
    assert 0 < len(refused.value.message) < 500


@pytest.mark.parametrize(("name", "value"), BAD_JSON)
def test_bad_json_is_refused(schema: Schema, name: str, value: Any) -> None:
    """Checklist 167: a wrong JSON type is refused even where its text would fit."""
    with pytest.raises(InvalidValue):
        kind(schema, name).from_json(value)


def test_error_message_and_app_tag_of_the_module_are_used(schema: Schema) -> None:
    """Checklist 86: error-app-tag and error-message come from the range, or from the pattern, that refuses."""
    with pytest.raises(InvalidValue) as refused:
        kind(schema, "percent").from_text("101")
    assert (refused.value.message, refused.value.app_tag) == ("at most a hundred", "too-much")
    with pytest.raises(InvalidValue) as refused:
        kind(schema, "name").from_text("xa")
    assert refused.value.app_tag == "no-x"
    with pytest.raises(InvalidValue) as refused:
        kind(schema, "text").from_text("123456")
    assert refused.value.app_tag is None
    assert "0..5 | 8" in refused.value.message


def test_names_are_qualified_for_xml(schema: Schema) -> None:
    """Checklist 70: identities and instance-identifiers declare the prefix of each module that they name."""
    assert kind(schema, "fruit").to_xml("t:pear") == ("tt:pear", (("tt", "urn:t"),))
    assert kind(schema, "fruit").from_xml("tt:pear", {"tt": "urn:t"}) == "t:pear"
    assert kind(schema, "fruit").from_xml("q:fig", {"q": "urn:u"}) == "u:fig"
    assert kind(schema, "fruit").from_xml("apple", {None: "urn:t"}) == "t:apple"
    assert kind(schema, "fruit").from_xml("apple", {}) == "t:apple"
    assert kind(schema, "either").to_xml("t:pear") == ("tt:pear", (("tt", "urn:t"),))
    assert kind(schema, "either").to_xml("red") == ("red", ())
    path = "/t:all/u:fruit[.='x']"
    text, declared = kind(schema, "where").to_xml(path)
    assert (text, declared) == ("/tt:all/u:fruit[.='x']", (("tt", "urn:t"), ("u", "urn:u")))
    assert kind(schema, "where").from_xml(text, dict(declared)) == path
    with pytest.raises(InvalidValue, match="prefix"):
        kind(schema, "where").from_xml("/all/u8", {None: "urn:t"})


def test_bare_json_names_belong_to_the_leafs_module(schema: Schema) -> None:
    """Checklist 130: a name without module is of the module that defines the leaf."""
    assert kind(schema, "fruit").from_json("apple") == "t:apple"
    assert kind(schema, "u:fruit").from_json("fig") == "u:fig"
    with pytest.raises(InvalidValue):
        kind(schema, "u:fruit").from_json("apple")


INTEGERS = {"i8": (-128, 127), "i32": (-(2**31), 2**31 - 1), "i64": (-(2**63), 2**63 - 1), "u32": (0, 2**32 - 1)}


@given(st.sampled_from(sorted(INTEGERS)), st.integers(-(2**70), 2**70) | st.integers(-300, 300))
def test_integers(schema: Schema, name: str, number: int) -> None:
    """In range: text, hexadecimal and JSON agree. Out of range: refused in each form."""
    found = kind(schema, name)
    low, high = INTEGERS[name]
    form: Any = str(number) if name == "i64" else number
    sign = "-" if number < 0 else ""
    if low <= number <= high:
        assert (
            found.from_text(str(number)) == found.from_text(f"{sign}{abs(number):#x}") == found.from_json(form) == form
        )
    else:
        with pytest.raises(InvalidValue):
            found.from_text(str(number))
        with pytest.raises(InvalidValue):
            found.from_json(form)


@given(st.decimals(min_value=-(10**6), max_value=10**6, places=2, allow_nan=False))
def test_decimals(schema: Schema, number: Decimal) -> None:
    """The canonical form has the same value, no superfluous zeros, and is its own canonical form."""
    found = kind(schema, "d2")
    inside = Decimal("1.5") <= number <= 3 or number >= Decimal("10.25")
    if not inside:
        with pytest.raises(InvalidValue):
            found.from_text(f"{number:f}")
        return
    text = found.from_text(f"{number:f}")
    assert Decimal(text) == number
    assert found.from_json(text) == text
    whole, _, fraction = text.partition(".")
    assert whole == str(int(whole))
    assert fraction == "0" or not fraction.endswith("0")


@given(st.binary(min_size=0, max_size=8))
def test_binary(schema: Schema, octets: bytes) -> None:
    """Length counts octets; base64 goes through unchanged."""
    text = base64.b64encode(octets).decode()
    if 2 <= len(octets) <= 4:
        assert kind(schema, "raw").from_text(text) == text
    else:
        with pytest.raises(InvalidValue):
            kind(schema, "raw").from_text(text)


@given(st.permutations(["a", "b", "d"]), st.integers(0, 3))
def test_bits_have_one_order(schema: Schema, names: list[str], count: int) -> None:
    """Whatever the order given, bits come out by position."""
    chosen = names[:count]
    assert kind(schema, "flags").from_text(" ".join(chosen)) == " ".join(name for name in "adb" if name in chosen)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=200)
@given(st.data())
def test_any_input_is_a_value_or_an_error(schema: Schema, data: st.DataObject) -> None:
    """Every decoder: a value whose canonical forms agree, or InvalidValue; nothing else, whatever comes in."""
    names = sorted({name for name, *_ in GOOD})
    found = kind(schema, data.draw(st.sampled_from(names)))
    given_ = data.draw(JSON)
    try:
        value = found.from_json(given_)
    except InvalidValue:
        pass
    else:
        assert found.from_json(value) == value
        assert found.from_text(found.to_text(value)) == value or found.base == "union"
    text = data.draw(st.text(max_size=12))
    try:
        value = found.from_text(text)
    except InvalidValue:
        return
    assert found.from_json(value) == value


def test_hostile_sizes_cost_little(schema: Schema) -> None:
    """Megabytes of digits, blanks or slashes are refused without work that grows faster than they do."""
    begun = time.perf_counter()
    for name, text in (
        ("i64", "9" * 10**6),
        ("d18", "1" * 10**6),
        ("where", "/t:a" * 10**5 + "["),
        ("fruit", ":" * 10**6),
    ):
        with pytest.raises(InvalidValue):
            kind(schema, name).from_text(text)
    assert time.perf_counter() - begun < 20


def test_unions_take_the_first_that_fits(schema: Schema) -> None:
    """RFC 7951 section 6.10: a JSON string is no int64 in JSON number form, but a string that is one is an int64."""
    assert kind(schema, "wide").from_json("5") == "5"
    assert kind(schema, "wide").from_json(True) is True
    assert kind(schema, "wide").from_json("true") == "true"
    with pytest.raises(InvalidValue):
        kind(schema, "either").to_text("purple")


def test_messages_say_what_is_allowed(schema: Schema) -> None:
    """The names that would have been taken stand in the message."""
    with pytest.raises(InvalidValue, match="red, green, blue"):
        kind(schema, "color").from_text("mauve")
