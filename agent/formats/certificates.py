"""X.509 for three roles (trust anchor, document signer, trust code): issuing and checking, not documents.

All keys are ECDSA P-256, all signatures SHA-256; a signer and a trust code are issued directly by an anchor.
Source: RFC 5280; the profile is in docs/formats.md, section Certificates.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.formats.errors import (
    CertificateExpired,
    CertificateInvalid,
    CertificateNotYetValid,
    DocumentError,
    NotASigner,
    UntrustedSigner,
)
from agent.formats.signing import LocalSigner, load_public_key, public_bytes
from agent.formats.udi import Udi

MAX_CERTIFICATE = 8192
_UDI_URI = "urn:slp:udi:"
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def make_anchor(key: LocalSigner, name: str, not_before: int, not_after: int) -> bytes:
    """A self-signed root (DER) that may issue end-entity certificates only (path length 0)."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key.public_key, not_before, not_after)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs="certificates"), critical=True)
    return _sign(builder, key)


def make_signer(
    anchor: bytes, anchor_key: LocalSigner, name: str, public_key: bytes, not_before: int, not_after: int
) -> bytes:
    """The certificate (DER) of a key that signs documents: extended key usage codeSigning."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return _end_entity(anchor, anchor_key, subject, public_key, not_before, not_after, ExtendedKeyUsageOID.CODE_SIGNING)


def make_trust_code(
    anchor: bytes, anchor_key: LocalSigner, udi: Udi, public_key: bytes, not_before: int, not_after: int
) -> bytes:
    """The certificate (DER) of a product instance's own key: extended key usage clientAuth, the UDI as a URI name."""
    # A common name holds 64 characters at most; the URI is what is checked.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, udi.key[:64])])
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(udi_uri(udi))])
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    return _end_entity(anchor, anchor_key, subject, public_key, not_before, not_after, usage, name)


def udi_uri(udi: Udi) -> str:
    """`urn:slp:udi:` and the UDI key, percent-encoded but for `:` and `,`."""
    return _UDI_URI + quote(udi.key, safe=":,")


def _end_entity(
    anchor: bytes,
    anchor_key: LocalSigner,
    subject: x509.Name,
    public_key: bytes,
    not_before: int,
    not_after: int,
    usage: x509.ObjectIdentifier,
    names: x509.SubjectAlternativeName | None = None,
) -> bytes:
    issuer = x509.load_der_x509_certificate(anchor).subject
    builder = _builder(subject, issuer, public_key, not_before, not_after)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs="data"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return _sign(builder, anchor_key)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: bytes, not_before: int, not_after: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(load_public_key(public_key))
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(not_after, UTC))
    )


def _usage(signs: Literal["certificates", "data"]) -> x509.KeyUsage:
    issues = signs == "certificates"
    return x509.KeyUsage(
        digital_signature=not issues,
        key_cert_sign=issues,
        crl_sign=issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, key: LocalSigner) -> bytes:
    return builder.sign(key.private_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Certificate:
    """A certificate that could be read wholly, with the few facts the checks need."""

    def __init__(self, der: bytes, what: str) -> None:
        """Raises CertificateInvalid when `der` is no X.509 v3 certificate of a P-256 key signed with ECDSA-SHA256."""
        if len(der) > MAX_CERTIFICATE:
            raise CertificateInvalid(f"{what} has {len(der)} bytes; at most {MAX_CERTIFICATE} are accepted")
        try:
            self.x509 = x509.load_der_x509_certificate(der)
            key = self.x509.public_key()
            signed_with = self.x509.signature_hash_algorithm
            extensions = {extension.oid: extension.value for extension in self.x509.extensions}
            self.not_before = int(self.x509.not_valid_before_utc.timestamp())
            self.not_after = int(self.x509.not_valid_after_utc.timestamp())
            self._same_names = self.x509.subject == self.x509.issuer
        except _UNREADABLE as error:
            raise CertificateInvalid(f"{what} cannot be read: {error}") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise CertificateInvalid(f"{what} must hold an ECDSA key on the curve P-256")
        if not isinstance(signed_with, hashes.SHA256):
            raise CertificateInvalid(f"{what} must be signed with ECDSA and SHA-256")
        self.what = what
        self.public_key = public_bytes(key)
        constraints = extensions.get(x509.BasicConstraints.oid)
        self.is_ca = isinstance(constraints, x509.BasicConstraints) and constraints.ca
        usage = extensions.get(x509.KeyUsage.oid)
        self._usage = usage if isinstance(usage, x509.KeyUsage) else None
        extended = extensions.get(x509.ExtendedKeyUsage.oid)
        self._extended = set(extended) if isinstance(extended, x509.ExtendedKeyUsage) else set()
        names = extensions.get(x509.SubjectAlternativeName.oid)
        self._uris = (
            names.get_values_for_type(x509.UniformResourceIdentifier)
            if isinstance(names, x509.SubjectAlternativeName)
            else []
        )

    @property
    def may_issue(self) -> bool:
        return self.is_ca and self._usage is not None and self._usage.key_cert_sign

    def may(self, purpose: x509.ObjectIdentifier) -> bool:
        """Whether it is an end-entity certificate with digitalSignature and exactly this extended key usage."""
        signs = self._usage is not None and self._usage.digital_signature
        return not self.is_ca and signs and self._extended == {purpose}

    def names(self, udi: Udi) -> bool:
        """Whether its only URI name is this UDI."""
        return [unquote(uri) for uri in self._uris] == [_UDI_URI + udi.key]

    def issued_by(self, other: Certificate) -> bool:
        try:
            self.x509.verify_directly_issued_by(other.x509)
        except (InvalidSignature, *_UNREADABLE):
            return False
        return True

    def check_time(self, now: int, skew: int) -> None:
        """Raises CertificateNotYetValid or CertificateExpired unless valid at `now`, give or take `skew` seconds."""
        if now + skew < self.not_before:
            raise CertificateNotYetValid(f"{self.what} is valid from {_utc(self.not_before)}; check the clock")
        if now - skew > self.not_after:
            raise CertificateExpired(f"{self.what} was valid until {_utc(self.not_after)}; ask for a newer document")


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def check_chain(certificate: Certificate, anchors: Sequence[bytes], now: int, skew: int) -> None:
    """Raises UntrustedSigner unless an anchor issued it, NotASigner if that anchor is no CA, or a time error of it."""
    for der in anchors:
        anchor = Certificate(der, "the trust anchor")
        if certificate.issued_by(anchor):
            if not anchor.may_issue:
                raise NotASigner("the trust anchor is not a certificate authority; install the authority's root")
            anchor.check_time(now, skew)
            return
    if not anchors:
        raise UntrustedSigner(
            f"{certificate.what} cannot be checked: no trust anchor is installed; give the authority's by "
            "slp-agent init --trust-anchor, or later, while the agent is stopped, by slp-agent trust-anchor add"
        )
    raise UntrustedSigner(
        f"{certificate.what} was issued by none of the {len(anchors)} trust anchors; "
        "give this instance the root of the authority that issued the document"
    )


def check_signer(certificate: Certificate, anchors: Sequence[bytes], now: int, skew: int) -> None:
    """The checks of a document signer, in order: chain, purpose, validity."""
    check_chain(certificate, anchors, now, skew)
    if not certificate.may(ExtendedKeyUsageOID.CODE_SIGNING):
        raise NotASigner(f"{certificate.what} is not for signing documents (extended key usage codeSigning)")
    certificate.check_time(now, skew)


def check_trust_code(
    certificate: Certificate, udi: Udi, anchors: Sequence[bytes], now: int, skew: int, refusal: type[DocumentError]
) -> None:
    """The checks of a trust code, in order: chain, purpose and name (else `refusal`), validity."""
    check_chain(certificate, anchors, now, skew)
    if not certificate.may(ExtendedKeyUsageOID.CLIENT_AUTH):
        raise refusal(f"{certificate.what} is not a product instance's certificate (extended key usage clientAuth)")
    if not certificate.names(udi):
        raise refusal(f"{certificate.what} does not name {udi.key}")
    certificate.check_time(now, skew)


def check_anchor(der: bytes) -> bool:
    """Whether it is a self-signed root that may issue certificates. Raises CertificateInvalid when it is unreadable."""
    anchor = Certificate(der, "the trust anchor")
    return anchor.may_issue and anchor.issued_by(anchor)


def read_anchors(pem: bytes) -> tuple[bytes, ...]:
    """All roots (DER) of a PEM text, as `--trust-anchor` files hold them.

    Raises CertificateInvalid when there is none or one cannot be read, NotASigner when one is not a self-signed root.
    """
    if len(pem) > 64 * MAX_CERTIFICATE:
        raise CertificateInvalid("the trust anchor file is too large; it should hold a few PEM certificates")
    try:
        found = x509.load_pem_x509_certificates(pem)
    except _UNREADABLE as error:
        raise CertificateInvalid(f"no PEM certificate can be read ({error}); expected BEGIN CERTIFICATE") from None
    anchors: list[bytes] = []
    for entry in found:
        der = entry.public_bytes(serialization.Encoding.DER)
        if not check_anchor(der):
            raise NotASigner("the trust anchor must be a self-signed root that may issue certificates")
        anchors.append(der)
    return tuple(anchors)


def to_pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


def from_pem(pem: bytes) -> bytes:
    """The DER of one PEM certificate; raises CertificateInvalid when it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    except _UNREADABLE as error:
        raise CertificateInvalid(f"the PEM certificate cannot be read: {error}") from None
