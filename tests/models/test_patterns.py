"""XSD patterns as Python expressions, with libxml2's own engine as the second opinion."""

from __future__ import annotations

from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree
import pytest

from agent.core.patterns import PatternError, compiled

XS = "http://www.w3.org/2001/XMLSchema"
PATTERNS = (
    r"[0-9a-f]{64}",
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[\+\-]\d{2}:\d{2})",
    r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}",
    r"((:|[0-9a-fA-F]{0,4}):)([0-9a-fA-F]{0,4}:){0,5}((([0-9a-fA-F]{0,4}:)?(:|[0-9a-fA-F]{0,4})))(%[a-z0-9]+)?",
    r"a.c|^b$",
    r"[a-z-[aeiou]]+",
    r"[^a-c]*x?",
    r"[\-\.\^]{1,3}",
    r"[ab-]+",
    r"(a|b|)c{2,}",
    r"\s\S\d\D",
    r"[\d\.]+",
    r"\i\c*",
)
ALPHABET = st.text(st.sampled_from("abcexyz019AF:.-+^$%T \tZ_"), max_size=12)


@cache
def oracle(xsd: str) -> etree.XMLSchema:
    schema = etree.Element(f"{{{XS}}}schema", nsmap={"xs": XS})
    simple = etree.SubElement(etree.SubElement(schema, f"{{{XS}}}element", name="v"), f"{{{XS}}}simpleType")
    restriction = etree.SubElement(simple, f"{{{XS}}}restriction", base="xs:string")
    etree.SubElement(restriction, f"{{{XS}}}pattern", value=xsd)
    return etree.XMLSchema(schema)


def oracle_takes(xsd: str, text: str) -> bool:
    element = etree.Element("v")
    element.text = text
    return bool(oracle(xsd).validate(element))


@pytest.mark.parametrize("xsd", PATTERNS)
@settings(max_examples=50)
@given(text=ALPHABET)
@example(text="abc")
@example(text="^b$")
@example(text="2026-11-24T00:00:00+00:00")
@example(text="00:11:22:33:44:55")
@example(text="-")
@example(text="ccc")
@example(text=" a0a")
@example(text="1:2::3%e1")
@example(text="bcd")
@example(text="bcc")
@example(text=".-^")
@example(text="0123456789abcdef" * 4)
def test_translation_agrees_with_libxml2(xsd: str, text: str) -> None:
    """Every pattern takes exactly the texts that libxml2's implementation of XML Schema takes."""
    assert (compiled(xsd).fullmatch(text) is not None) == oracle_takes(xsd, text)


@pytest.mark.parametrize(
    ("xsd", "yes", "no"),
    [
        (r"\p{L}+", "añж", "a1"),
        (r"[\p{N}\p{L}]+", "é9Ⅷ", "é-"),
        (r"\P{Lu}*", "ab1", "aB"),
        (r"\w+", "aé1", "a-"),
        (r"\W", "-", "a"),
        (r"\I", "1", "a"),
        (r"\p{IsBasicLatin}*", "az~", "é"),
        (r"[^\d]+", "ab", "a1"),
        (r"[\D]", "x", "1"),
        (r"[\p{L}-[a-z]]+", "Aé", "Aa"),
        (r".", "$", "\n"),
        (r"a\n\t\\", "a\n\t\\", "an"),
        (r"", "", "x"),
    ],
)
def test_unicode_classes(xsd: str, yes: str, no: str) -> None:
    """Categories, blocks, complements and subtraction, which `re` does not have."""
    assert compiled(xsd).fullmatch(yes)
    assert not compiled(xsd).fullmatch(no)


@pytest.mark.parametrize(
    "xsd",
    ["(a", "a)", "[a", "a**", "a{2", "a{x}", "*a", r"\q", r"\p{Nope}", r"\pL", "[b-a]", "a++", "[a-[b]c]", "\\", "a|*"],
)
def test_broken_patterns_are_refused(xsd: str) -> None:
    """Each is an error that names the pattern, never another exception and never a wrong match."""
    with pytest.raises(PatternError, match=r".+"):
        compiled(xsd)


@given(st.text(st.sampled_from("ab()[]{}^-\\|*+?.,01dpLsS"), max_size=10))
def test_any_text_is_a_pattern_or_an_error(xsd: str) -> None:
    """A pattern, or PatternError; what is a pattern can be matched."""
    try:
        found = compiled(xsd)
    except PatternError:
        return
    found.fullmatch("ab01")
