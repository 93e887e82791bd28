"""From a client's certificate to a user name: fingerprints and the list cert-to-name. No socket, no TLS in here.

RFC 7407 section 2.3 (module ietf-x509-cert-to-name), RFC 6353 for fingerprints and the forms of names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import hashlib
import ipaddress

from cryptography import x509
from cryptography.x509.oid import NameOID

from agent.netconf.settings import CertMap, SettingsError

HASHES = {3: "sha224", 4: "sha256", 5: "sha384", 6: "sha512"}
"""Hash algorithms by the first octet of a fingerprint (RFC 5246 section 7.4.1.4.1), without MD5 and SHA-1."""


def check(maps: Iterable[CertMap]) -> None:
    """Raises SettingsError where an entry could never fit."""
    for place, one in enumerate(maps):
        where = ("tls", "cert-maps", "cert-to-name", place)
        try:
            octets = _octets(one.fingerprint)
            size = hashlib.new(HASHES[octets[0]]).digest_size
        except (KeyError, IndexError, ValueError):
            known = ", ".join(f"{number:02x} {name}" for number, name in HASHES.items())
            raise SettingsError(
                f"cert-to-name {one.id}: the fingerprint must begin with the octet of its hash ({known})",
                *where,
                "fingerprint",
            ) from None
        if len(octets) != 1 + size:
            raise SettingsError(
                f"cert-to-name {one.id}: after its first octet a {HASHES[octets[0]]} fingerprint has {size} octets",
                *where,
                "fingerprint",
            )
        if one.map_type not in _NAMES and one.map_type != "specified":
            raise SettingsError(
                f"cert-to-name {one.id}: the map-type {one.map_type} is not known here", *where, "map-type"
            )


def fingerprint(certificate: bytes, algorithm: int = 4) -> str:
    """The form tls-fingerprint of a certificate in DER: the octet of the hash, then the hash."""
    return (bytes([algorithm]) + hashlib.new(HASHES[algorithm], certificate).digest()).hex(":")


def user_names(maps: Iterable[CertMap], chain: Sequence[bytes], trusted: frozenset[bytes]) -> list[str]:
    """The names that a verified chain (DER, the client's own first) leads to, in the order of the maps.

    An entry fits the client's certificate, or a trusted one that its chain leads through. The first name counts;
    none is not a user.
    """
    if not chain:
        return []
    certificate = x509.load_der_x509_certificate(chain[0])
    known = [chain[0], *(one for one in chain[1:] if one in trusted)]
    found = []
    for one in sorted(maps, key=lambda each: each.id):
        octets = _octets(one.fingerprint)
        if any(hashlib.new(HASHES[octets[0]], each).digest() == octets[1:] for each in known):
            name = one.name if one.map_type == "specified" else _NAMES[one.map_type](certificate)
            if name:
                found.append(name)
    return found


def _octets(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _alternatives(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _mapped(name: x509.GeneralName) -> tuple[str, str] | None:
    """Map type and user name of one alternative name; None for the kinds that have no mapping."""
    match name:
        case x509.RFC822Name():
            local, at, host = name.value.rpartition("@")
            return "san-rfc822-name", local + at + host.lower()
        case x509.DNSName():
            return "san-dns-name", name.value.lower()
        case x509.IPAddress():
            # an address of version 6 is its 32 digits without colons
            address = name.value
            form = address.packed.hex() if isinstance(address, ipaddress.IPv6Address) else str(address)
            return "san-ip-address", form
    return None


def _alternative(*kinds: str) -> Callable[[x509.Certificate], str | None]:
    def first(certificate: x509.Certificate) -> str | None:
        pairs = (_mapped(name) for name in _alternatives(certificate))
        return next((pair[1] for pair in pairs if pair is not None and pair[0] in kinds), None)

    return first


def _common_name(certificate: x509.Certificate) -> str | None:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else None


_KINDS = ("san-rfc822-name", "san-dns-name", "san-ip-address")
_NAMES: dict[str, Callable[[x509.Certificate], str | None]] = {
    **{kind: _alternative(kind) for kind in _KINDS},
    "san-any": _alternative(*_KINDS),
    "common-name": _common_name,
}
