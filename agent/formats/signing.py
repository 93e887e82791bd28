"""ECDSA P-256 / SHA-256 over exact bytes, key identifiers and digests; no document knows its fields here.

Signatures are ASN.1 DER (RFC 3279 section 2.2.3), public keys DER SubjectPublicKeyInfo (RFC 5480), texts standard
base64 (RFC 4648 section 4) except key identifiers, which are base64url without padding (section 5).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_ALGORITHM = ec.ECDSA(hashes.SHA256())


class Signer(Protocol):
    """A private key that signs and never leaves its owner."""

    @property
    def key_id(self) -> str:
        """`key_id(public_key)`."""
        ...

    @property
    def public_key(self) -> bytes:
        """DER SubjectPublicKeyInfo of a P-256 key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """An ECDSA P-256/SHA-256 signature over `data`, in DER."""
        ...


class LocalSigner:
    """A signer over a P-256 private key held in memory; raises ValueError for any other key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("the key must be an ECDSA key on the curve P-256")
        self._key = key
        self.public_key: bytes = public_bytes(key.public_key())
        self.key_id: str = key_id(self.public_key)

    @classmethod
    def generate(cls) -> LocalSigner:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes) -> LocalSigner:
        """Read an unencrypted PKCS#8 key; raises ValueError when it is not a P-256 key."""
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ValueError(f"the private key cannot be read: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the key must be an ECDSA key on the curve P-256")
        return cls(key)

    def to_pem(self) -> bytes:
        """Unencrypted PKCS#8; the caller seals it or writes it with mode 0600."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def private_key(self) -> ec.EllipticCurvePrivateKey:
        """For issuing certificates, which the X.509 library signs itself."""
        return self._key

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, _ALGORITHM)


def verify(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether `signature` fits; False for a wrong signature and for a key that is not a P-256 key in DER."""
    try:
        load_public_key(public_key).verify(signature, data, _ALGORITHM)
    except (InvalidSignature, ValueError):
        return False
    return True


def load_public_key(spki: bytes) -> ec.EllipticCurvePublicKey:
    """Read DER SubjectPublicKeyInfo; raises ValueError unless it is a valid P-256 point."""
    try:
        key = serialization.load_der_public_key(spki)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the public key is not an ECDSA key on the curve P-256")
    return key


def public_from_pem(pem: bytes) -> bytes:
    """DER SubjectPublicKeyInfo of a public key in PEM form; raises ValueError unless it is a P-256 key."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"the public key cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the public key is not an ECDSA key on the curve P-256")
    return public_bytes(key)


def public_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    """DER SubjectPublicKeyInfo with an uncompressed point: one key has one encoding."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(spki: bytes) -> str:
    """base64url of SHA-256 over DER SubjectPublicKeyInfo, without padding: 43 characters."""
    return base64.urlsafe_b64encode(hashlib.sha256(spki).digest()).rstrip(b"=").decode("ascii")


def payload_digest(payload: str) -> str:
    """The identity of a document's content: lower-case hex SHA-256 over the payload string's UTF-8 bytes."""
    return hashlib.sha256(payload.encode("utf-8")).hexdigest()


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Strict standard base64, one encoding for each value; raises ValueError otherwise."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"not base64: {error}") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise ValueError("not canonical base64")
    return data
