"""Keys, signatures, certificates and strict base64 and JSON, where the vectors do not reach."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st
import pytest

from agent.formats import certificates, errors, jsontext
from agent.formats.certificates import Certificate
from agent.formats.signing import LocalSigner, from_base64, key_id, load_public_key, to_base64, verify
from agent.formats.udi import Udi
from tests.formats.authority import ANCHOR, CERTIFICATE, DEVICE, NOW, ROOT, SIGNER, YEAR


def test_signature_fits_only_its_bytes_and_key() -> None:
    signature = DEVICE.sign(b"payload")
    assert verify(DEVICE.public_key, signature, b"payload")
    assert not verify(DEVICE.public_key, signature, b"payload ")
    assert not verify(SIGNER.public_key, signature, b"payload")
    assert not verify(DEVICE.public_key, b"", b"payload")
    assert not verify(b"no key", signature, b"payload")


@pytest.mark.parametrize("other", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_other_kinds_of_key_are_refused(other: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(ValueError, match="P-256"):
        LocalSigner.from_pem(other.private_bytes(*form))
    spki = other.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="P-256"):
        load_public_key(spki)
    assert not verify(spki, b"", b"")


def test_private_key_round_trip_and_bad_pem() -> None:
    again = LocalSigner.from_pem(DEVICE.to_pem())
    assert (again.public_key, again.key_id) == (DEVICE.public_key, key_id(DEVICE.public_key))
    for bad in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(ValueError, match="cannot be read"):
            LocalSigner.from_pem(bad)


@given(st.binary(max_size=60))
def test_base64_is_strict(data: bytes) -> None:
    text = to_base64(data)
    assert from_base64(text) == data
    for bad in (text + "=", text + "\n", " " + text, text[:-1] if text else "A", text + "é"):
        with pytest.raises(ValueError, match="base64"):
            from_base64(bad)


def test_base64_has_one_form() -> None:
    with pytest.raises(ValueError, match="canonical"):
        from_base64("QUJ=")


def test_anchor_file_with_several_roots() -> None:
    other = certificates.make_anchor(LocalSigner.generate(), "Other", NOW, NOW + YEAR)
    assert certificates.read_anchors(certificates.to_pem(ANCHOR) + certificates.to_pem(other)) == (ANCHOR, other)


@pytest.mark.parametrize("pem", [b"", b"hello", certificates.to_pem(ANCHOR)[:200], b"x" * 600_000])
def test_anchor_file_without_root(pem: bytes) -> None:
    with pytest.raises(errors.CertificateInvalid):
        certificates.read_anchors(pem)


def test_signer_is_no_anchor() -> None:
    with pytest.raises(errors.NotASigner):
        certificates.read_anchors(certificates.to_pem(CERTIFICATE))


def test_trust_code_of_the_longest_udi() -> None:
    udi = Udi("P/%:" + "p" * 251, "s" * 255)
    der = certificates.make_trust_code(ANCHOR, ROOT, udi, DEVICE.public_key, NOW, NOW + YEAR)
    code = Certificate(der, "the trust code")
    assert code.names(udi)
    assert not code.names(Udi(udi.pid, "t"))


@given(st.binary(max_size=300))
def test_noise_is_no_certificate(data: bytes) -> None:
    with pytest.raises(errors.CertificateInvalid):
        Certificate(data, "noise")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nul",
        "1.0",
        "1e3",
        "NaN",
        "-Infinity",
        "9223372036854775808",
        "1" * 5000,
        '{"a":1,"a":2}',
        '"\\ud800"',
        '"\\u0001"',
        '"\\uffff"',
        "\ufeff1",
        "1 1",
        '"\t"',
    ],
)
def test_json_that_is_refused(text: str) -> None:
    with pytest.raises(errors.Malformed):
        jsontext.load(text, "it")


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 17 + "]" * 17, '{"a":' * 17 + "1" + "}" * 17])
def test_json_that_is_too_deep(text: str) -> None:
    with pytest.raises(errors.DocumentError) as caught:
        jsontext.load(text, "it")
    assert caught.value.reason in ("too-large", "malformed")


def test_json_limits() -> None:
    assert jsontext.load("[" * 16 + "]" * 16, "it")
    assert jsontext.load('"' + "a" * 98 + '"', "it", 100)
    with pytest.raises(errors.TooLarge):
        jsontext.load('"' + "a" * 99 + '"', "it", 100)
    with pytest.raises(errors.TooLarge):
        jsontext.load("[" + "1," * jsontext.MAX_MEMBERS + "1]", "it")


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", exclude_categories=("Cc",))), inner)
        ),
        max_leaves=20,
    )
)
def test_json_round_trip(value: object) -> None:
    text = jsontext.dump(value)
    assert text.isascii()
    assert "]]>" not in text
    assert jsontext.load(text, "it") == value
