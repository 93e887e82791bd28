"""Certificates for tests of TLS: authorities and what they issue, as PEM files that clients read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
import ssl
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.tls.names import fingerprint


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, and the issuers that a client sends along."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @cached_property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @cached_property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.der)

    def write(self, folder: Path, name: str) -> Path:
        """Key and chain in one PEM file."""
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        chain = [one.public_bytes(serialization.Encoding.PEM) for one in (self.certificate, *self.above)]
        path = folder / f"{name}.pem"
        path.write_bytes(self.key.private_bytes(*form) + b"".join(chain))
        return path

    def load(self, context: ssl.SSLContext) -> None:
        with TemporaryDirectory() as folder:
            context.load_cert_chain(self.write(Path(folder), "one"))

    def issue(
        self, name: str, names: Sequence[x509.GeneralName] = (), *, ca: bool = False, days: tuple[int, int] = (-1, 30)
    ) -> Identity:
        return _make(name, names, self, ca, days)


def root(name: str = "Test CA") -> Identity:
    """A new authority."""
    return _make(name, (), None, True, (-1, 30))


def _make(
    name: str, names: Sequence[x509.GeneralName], issuer: Identity | None, ca: bool, days: tuple[int, int]
) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(key if issuer is None else issuer.key, hashes.SHA256())
    above = () if issuer is None else (issuer.certificate, *issuer.above)
    return Identity(certificate, key, above)


def email(value: str) -> x509.GeneralName:
    return x509.RFC822Name(value)


def dns(value: str) -> x509.GeneralName:
    return x509.DNSName(value)


def address(value: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(value))
