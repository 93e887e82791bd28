"""The TLS certificate that init makes, and the CA that vouches for it; keys are handed in, no file is read or written.

Source: RFC 5280, RFC 9525 (names).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
import re
import socket

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.clock import Clock

_CERTIFICATE_DAYS = 3650
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_LONGEST_HOST_NAME = 253


class HostNameError(ValueError):
    """Not a name that a certificate can state; the message says what would do."""


def general_name(name: str) -> x509.GeneralName:
    """A host's name or address, as it stands in a certificate. Raises HostNameError."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        if not _HOST_NAME.fullmatch(name) or len(name) > _LONGEST_HOST_NAME:
            raise HostNameError(
                f"--tls-name {name!r}: expected a host name (ASCII, labels of a-z, 0-9, -) or an address"
            ) from None
        return x509.DNSName(name)


def own_names() -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for name in ("localhost", socket.gethostname(), "127.0.0.1", "::1"):
        # a machine may have any name; one that no certificate can state is left out
        with suppress(HostNameError):
            names.append(general_name(name))
    return names


def make_certificate(
    key_pem: bytes, names: Sequence[x509.GeneralName], clock: Clock
) -> tuple[x509.Certificate, x509.Certificate]:
    """A server certificate for `names` (hosts or addresses) and the CA that issued it.

    The CA's key is forgotten here: nobody can ever issue a second certificate under the file that clients trust.
    """
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the TLS key is no elliptic-curve key")
    ca_key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime.fromtimestamp(clock.now(), UTC) - timedelta(minutes=5)
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "slp-agent RESTCONF CA")])
    issuer_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=_CERTIFICATE_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
        )

    authority = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    alternatives = x509.SubjectAlternativeName(dict.fromkeys(names))
    certificate = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(names[0].value)[:64])]), key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return certificate, authority


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
