"""The product profile: the built-in one, and every error with its file, line and what is expected."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest

from agent.licensing.profile import MAX_PROFILE_BYTES, VIRTUAL_ROUTER, ProfileError, Purchase, built_in, parse_profile

GOOD = """\
[product]
pid = "X1"
hostname = "edge"
software-tag = "regid.example"
software-version = "1.2"

[[license]]
name = "base"
entitlement-tag = "regid.base"

[[license]]
name = "crypto"
feature-name = "Crypto"
description = "Fast crypto"
entitlement-tag = "regid.crypto"
version = "2.0"
enforcement = "export"
term = "subscription"
"""


def test_the_built_in_profile() -> None:
    product = built_in()
    assert (product.pid, product.sn) == ("SLPA-VROUTER", None)
    with pytest.raises(ValueError, match="serial"):
        _ = product.udi
    assert product.with_serial("9ABC").udi.key == "PID:SLPA-VROUTER,SN:9ABC"
    names = {licence.name: licence.policy_class for licence in product.licences.values()}
    assert names["network-advantage"] == "perpetual"
    assert names["dna-advantage"] == "subscription"
    assert names["throughput-tier-2"] == "enforced"
    assert names["hseck9"] == "export"


def test_a_profile_with_defaults() -> None:
    product = parse_profile(GOOD, "p.toml")
    base, crypto = product.licences["regid.base"], product.licences["regid.crypto"]
    assert (base.feature_name, base.description, base.version) == ("base", "base", "1.0")
    assert (base.enforcement, base.term, base.needs_authorization) == ("unenforced", "perpetual", False)
    assert (crypto.feature_name, crypto.version, crypto.needs_authorization) == ("Crypto", "2.0", True)
    assert product.find("Crypto") is crypto
    assert product.find("nothing") is None


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ('pid = "X1"', "pid = X1", 2, "valid TOML"),
        ('pid = "X1"', 'pid = "X1"\npid = "X2"', 3, "valid TOML"),
        ('pid = "X1"', 'pid = "a,b"', 2, "pid of letters"),
        ('pid = "X1"', "pid = 7", 2, "printable string"),
        ('pid = "X1"\n', "", 1, "key 'pid' is expected"),
        ('pid = "X1"', 'pid = "X1"\nsn = ""', 3, "1 to 255 characters"),
        ('pid = "X1"', 'pid = "X1"\ncolour = "red"', 3, "found 'colour'"),
        ('hostname = "edge"', 'hostname = "e\\u0007"', 3, "printable"),
        ("[product]", "[produkt]", 1, "found 'produkt'"),
        ("[product]", "extra = 1\n[product]", 1, "found 'extra'"),
        ('name = "base"', 'name = "crypto"', 12, "'crypto' is taken in line 8"),
        ('entitlement-tag = "regid.crypto"', 'entitlement-tag = "regid.base"', 15, "taken in line 9"),
        ('enforcement = "export"', 'enforcement = "strict"', 17, "one of unenforced, enforced, export"),
        ('term = "subscription"', 'term = "forever"', 18, "one of perpetual, term, subscription"),
        ('version = "2.0"', "version = 2.0", 16, "printable string"),
        ('name = "crypto"\n', "", 11, "key 'name' is expected"),
        ('name = "base"', 'name = """\nba\nse"""', 8, "printable"),
    ],
)
def test_errors_name_file_line_and_expectation(old: str, new: str, line: int, expected: str) -> None:
    assert old in GOOD
    with pytest.raises(ProfileError) as caught:
        parse_profile(GOOD.replace(old, new, 1), "p.toml")
    assert str(caught.value).startswith(f"p.toml:{line}: ")
    assert expected in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("[product", 1),
        (GOOD.split("[[license]]")[0], 1),
        (GOOD.split("[[license]]")[0] + "license = 3\n", 7),
        (GOOD.split("[[license]]")[0].replace("[product]", "license = [1]\n[product]"), 1),
        ("x" * (MAX_PROFILE_BYTES + 1), 1),
        ("a = " + "[" * 50_000, 1),
    ],
)
def test_texts_that_are_no_profile(text: str, line: int) -> None:
    with pytest.raises(ProfileError, match=f"^p.toml:{line}: .*expected"):
        parse_profile(text, "p.toml")


@given(st.data())
def test_any_text_gives_a_profile_or_a_located_error(data: st.DataObject) -> None:
    """Truncated anywhere, one piece replaced, lines dropped: a profile or `name:line: …`, never another exception."""
    text = VIRTUAL_ROUTER
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 200)))
    text = text[:start] + data.draw(st.text(max_size=10)) + text[end:]
    located = ""
    try:
        parse_profile(text, "p")
    except ProfileError as error:
        located = str(error)
    assert not located or located.split(":")[1].isdecimal()


BOUGHT = (
    GOOD
    + """
[[purchase]]
entitlement-tag = "regid.base"

[[purchase]]
entitlement-tag = "regid.crypto"
count = 3
start = 2026-01-01T00:00:00Z
end = 2027-01-01T01:00:00+01:00
subscription-id = "SUB-1"
"""
)


def test_purchases_and_subscriptions() -> None:
    text = BOUGHT.replace('term = "subscription"', 'term = "subscription"\nsubscription-id = "SUB-2"')
    profile = parse_profile(text, "p.toml")
    assert [one.subscription_id for one in profile.licences.values()] == [None, "SUB-2"]
    assert profile.purchases == (
        Purchase("regid.base", 1),
        Purchase("regid.crypto", 3, 1_767_225_600, 1_798_761_600, "SUB-1"),
    )
    assert parse_profile(GOOD, "p.toml").purchases == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("count = 3", "count = 0", "count is expected to be a number of 1"),
        ("count = 3", "count = true", "count is expected to be a number of 1"),
        ("count = 3", "count = 4294967296", "count is expected to be a number of 1"),
        ("count = 3", 'count = "3"', "count is expected to be a number of 1"),
        ("count = 3", "colour = 3", "entitlement-tag, subscription-id, count, start, end is expected, found 'colour'"),
        ("start = 2026-01-01T00:00:00Z", "start = 2026-01-01T00:00:00", "with offset"),
        ("start = 2026-01-01T00:00:00Z", "start = 2026-01-01", "with offset"),
        ("start = 2026-01-01T00:00:00Z", "start = 0001-01-01T00:00:00Z", "with offset"),
        ("start = 2026-01-01T00:00:00Z", "start = 2028-01-01T00:00:00Z", "end is expected to be after start"),
        ('subscription-id = "SUB-1"', 'subscription-id = ""', "printable"),
        (
            '\n[[purchase]]\nentitlement-tag = "regid.crypto"',
            '\n[[purchase]]\nentitlement-tag = "x"',
            "of a [[license]]",
        ),
        ('\n[[purchase]]\nentitlement-tag = "regid.crypto"', '\n[[purchase]]\nentitlement-tag = "regid.base"', "taken"),
        ('\n[[purchase]]\nentitlement-tag = "regid.crypto"', "\n[[purchase]]\n", "key 'entitlement-tag'"),
    ],
)
def test_purchases_that_cannot_be(old: str, new: str, expected: str) -> None:
    assert BOUGHT.count(old) == 1
    with pytest.raises(ProfileError, match=r"^p.toml:[0-9]+: .*expected") as caught:
        parse_profile(BOUGHT.replace(old, new), "p.toml")
    assert expected in str(caught.value)
    assert int(str(caught.value).split(":")[1]) > GOOD.count("\n")


def test_purchases_must_be_tables() -> None:
    for wrong in ("purchase = 3\n", "purchase = [3]\n"):
        with pytest.raises(ProfileError, match=r"^p.toml:1: .*\[\[purchase\]\]"):
            parse_profile(wrong + GOOD, "p.toml")
