"""The device's checks of the authority's documents, a second time: from docs/formats.md §3-§5, without agent code.

`judge` gives what a file does: the reason why the file itself is refused, else for each document its reason, or None
for one that takes effect or is a replay, in no order that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
import hashlib
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.formats.second import MIB, Json, No, member, need, number, spki, strict, text, udi, unbase64

ELEMENTS = {
    "smartLicenseTrustCode": "trust-code",
    "smartLicensePolicy": "policy",
    "smartLicenseAuthorization": "authorization",
    "smartLicenseRumAck": "acknowledgement",
    "smartLicenseTrustAnchors": "trust-anchors",
}
BAD = "invalid-content"


@dataclass(frozen=True)
class Device:
    """What a device is and knows."""

    addressee: tuple[str, str]
    key: bytes
    anchors: Sequence[bytes]
    now: int
    skew: int
    lab: bool = False
    utility: bool = False
    floors: Mapping[str, tuple[int, str]] | None = None


def judge(data: bytes, device: Device) -> str | list[str | None]:
    """See the module."""
    try:
        found = _unwrap(data)
    except No as no:
        return str(no.args[0])
    verdicts: list[str | None] = []
    passed: dict[str, list[tuple[int, str]]] = {kind: [] for kind in ELEMENTS.values()}
    for expected, document in found:
        try:
            kind, serial, digest = _document(document, expected, device)
            passed[kind].append((serial, digest))
        except No as no:
            verdicts.append(str(no.args[0]))
    for kind, entries in passed.items():
        verdicts += _serials(sorted(entries, key=lambda entry: entry[0]), (device.floors or {}).get(kind))
    return verdicts


def _serials(entries: list[tuple[int, str]], floor: tuple[int, str] | None) -> list[str | None]:
    """§3 Serials, for one type of document."""
    verdicts: list[str | None] = []
    imported_before = floor is not None and floor in entries
    for serial, digest in entries:
        known = floor is not None and (serial, digest) == floor
        older = imported_before and floor is not None and serial < floor[0]
        if floor is not None and serial <= floor[0] and not known and not older:
            verdicts.append("stale-serial")
            continue
        verdicts.append(None)
        if floor is None or serial > floor[0]:
            floor = serial, digest
    return verdicts


def _unwrap(data: bytes) -> list[tuple[str | None, str]]:
    """§5, and rows 1-3."""
    need(len(data) <= 4 * MIB, "too-large")
    if data.lstrip(b" \t\r\n").startswith(b"{"):
        try:
            return [(None, data.decode())]
        except UnicodeDecodeError:
            return [(None, "\ufffe")]
    need(data.count(b"<") <= 10_000, "too-large")
    need(b"<!DOCTYPE" not in data and b"\0" not in data, "malformed")
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError):
        raise No("malformed") from None
    need(root.tag in ("smartLicense", "smartLicensePolicy"), "malformed")
    elements = [root] if root.tag == "smartLicensePolicy" else list(root)
    found = []
    for element in elements:
        if element.tag in ELEMENTS:
            inside = element.findall("data")
            need(len(inside) == 1 and len(inside[0]) == 0, "malformed")
            found.append((ELEMENTS[element.tag], inside[0].text or ""))
    need(found, "no-document")
    need(len(found) <= 64, "too-large")
    return list(found)


def _document(document: str, expected: str | None, device: Device) -> tuple[str, int, str]:
    """Rows 4-23: type, serial and digest of a document that passes."""
    envelope = strict(document.encode("utf-8", "surrogatepass"), 4 * MIB)
    payload = text(envelope.get("payload") if isinstance(envelope, dict) else None, 1, 4 * MIB, "malformed")
    header = member(envelope, "header", dict, "malformed")
    signature = member(envelope, "signature", dict, "malformed")
    kind = text(header.get("type"), 1, 64, "malformed")
    need(kind in ELEMENTS.values(), "unknown-type")
    need(expected in (None, kind), "malformed")
    _signature(signature, payload, device)
    body = strict(payload.encode("utf-8", "surrogatepass"), 4 * MIB)
    need(member(body, "header", dict, "malformed") == header, "header-mismatch")
    need(text(header.get("version"), 1, 16, "malformed").split(".")[0] == "1", "unsupported-version")
    if "critical" in header:
        critical = member(header, "critical", list, "malformed")
        need(len(critical) <= 64, "too-large")
        need(not critical, "unknown-critical")
    serial = _common(body, device)
    inside = member(body, "body", dict, "malformed")
    BODIES[kind](inside, device)
    return kind, serial, hashlib.sha256(payload.encode()).hexdigest()


def _signature(signature: Json, payload: str, device: Device) -> None:
    """Rows 6-12."""
    need(text(signature.get("signing_type"), 1, 32, "malformed") == "authority", "unknown-type")
    chain = member(signature, "certificates", list, "malformed")
    need(len(chain) <= 1, "too-large")
    need(chain and isinstance(chain[0], str), "malformed")
    value = unbase64(signature.get("value"), 256, "malformed")
    need(chain[0], "certificate-invalid")
    certificate = _certificate(unbase64(chain[0], 10**9, "certificate-invalid"))
    _chain(certificate, device)
    _end_entity(certificate, ExtendedKeyUsageOID.CODE_SIGNING, "not-a-signer")
    _valid(certificate, device)
    try:
        _key(certificate).verify(value, payload.encode("utf-8", "surrogatepass"), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise No("bad-signature") from None


def _certificate(der: bytes) -> x509.Certificate:
    need(len(der) <= 8192, "certificate-invalid")
    try:
        found = x509.load_der_x509_certificate(der)
        algorithm = found.signature_hash_algorithm
        key = found.public_key()
        _ = found.extensions
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        raise No("certificate-invalid") from None
    need(isinstance(algorithm, hashes.SHA256), "certificate-invalid")
    need(isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1), "certificate-invalid")
    return found


def _key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _extension(certificate: x509.Certificate, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _chain(certificate: x509.Certificate, device: Device) -> None:
    """Rows 8 and 9."""
    for der in device.anchors:
        anchor = x509.load_der_x509_certificate(der)
        try:
            certificate.verify_directly_issued_by(anchor)
        except (ValueError, TypeError, InvalidSignature):
            continue
        constraints = _extension(anchor, x509.BasicConstraints)
        need(constraints is not None and constraints.ca, "not-a-signer")
        return _valid(anchor, device)
    raise No("untrusted-signer")


def _valid(certificate: x509.Certificate, device: Device) -> None:
    earliest = datetime.fromtimestamp(device.now - device.skew, UTC)
    latest = datetime.fromtimestamp(device.now + device.skew, UTC)
    need(certificate.not_valid_before_utc <= latest, "certificate-not-yet-valid")
    need(certificate.not_valid_after_utc >= earliest, "certificate-expired")


def _end_entity(certificate: x509.Certificate, use: Any, reason: str) -> None:
    """§4, and row 10."""
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    need(constraints is None or not constraints.ca, reason)
    need(usage is not None and usage.digital_signature, reason)
    need(extended is not None and list(extended) == [use], reason)


def _common(body: Json, device: Device) -> int:
    """Rows 16-21: the serial."""
    bad = "malformed"
    addressee = udi(body.get("addressee"), bad)
    if "account" in body:
        account = member(body, "account", dict, bad)
        for name in ("smart_account", "virtual_account"):
            text(account.get(name), 1, 255, bad)
    serial, issued = number(body.get("serial"), 0, bad), number(body.get("issued"), 0, bad)
    expires = number(body["expires"], 0, bad) if "expires" in body else None
    need(isinstance(body.get("lab"), bool), bad)
    need(isinstance(body.get("utility", False), bool), bad)
    need(addressee == device.addressee, "wrong-addressee")
    need(body["lab"] == device.lab, "lab-mismatch")
    utility = body.get("utility", False)
    need(utility or not device.utility, "utility-flag-missing")
    need(device.utility or not utility, "utility-not-enabled")
    need(issued <= device.now + device.skew, "issued-in-future")
    need(expires is None or expires >= device.now - device.skew, "expired")
    return serial


def _digest(value: Json) -> None:
    word = text(value, 1, 64, BAD)
    need(len(word) == 64 and not word.strip("0123456789abcdef"), BAD)


def _reports(body: Json, name: str, *, reasons: bool) -> None:
    entries = member(body, name, list, BAD)
    need(len(entries) <= 20_000, "too-large")
    seen = set()
    for entry in entries:
        need(isinstance(entry, dict), BAD)
        seen.add(number(entry.get("report_id"), 1, BAD))
        _digest(entry.get("digest"))
        if reasons:
            text(entry.get("reason"), 1, 64, BAD)
    need(len(seen) == len(entries), BAD)


def _acknowledgement(body: Json, device: Device) -> None:
    _reports(body, "reports", reasons=False)
    if "refused" in body:
        _reports(body, "refused", reasons=True)


def _policy(body: Json, device: Device) -> None:
    if "origin" in body:
        need(text(body["origin"], 1, 32, BAD) in ("custom", "factory", "controller"), BAD)
    need(isinstance(body.get("remove", False), bool), BAD)
    if body.get("remove"):
        return
    text(body.get("name"), 1, 255, BAD)
    need(isinstance(body.get("ack_required", False), bool), BAD)
    for name in ("enforced", "export", "subscription", "perpetual"):
        days = member(body, name, dict, BAD) if name in body else {}
        for each in ("first", "ongoing", "change"):
            if each in days:
                number(days[each], 0, BAD, 36_500)


def _origin(body: Json) -> None:
    if "origin" in body:
        need(text(body["origin"], 1, 32, BAD) in ("authority", "factory"), BAD)


def _trust_code(body: Json, device: Device) -> None:
    need(isinstance(body.get("certificate"), str) and 1 <= len(body["certificate"]) <= 16_384, BAD)
    certificate = _certificate(unbase64(body["certificate"], 16_384, BAD))
    _origin(body)
    _chain(certificate, device)
    _end_entity(certificate, ExtendedKeyUsageOID.CLIENT_AUTH, BAD)
    names = _extension(certificate, x509.SubjectAlternativeName)
    pid, sn = device.addressee
    wanted = "urn:slp:udi:" + quote(f"PID:{pid},SN:{sn}", safe=":,")
    need(names is not None and [each.value for each in names] == [wanted], BAD)
    _valid(certificate, device)
    need(spki(_key(certificate)) == device.key, "wrong-key")


def _authorization(body: Json, device: Device) -> None:
    kind = text(body.get("auth_type"), 1, 32, BAD)
    need(kind in ("slac", "slr", "plr", "fla", "pak"), BAD)
    entries = member(body, "entitlements", list, BAD)
    need(len(entries) <= 1000, "too-large")
    seen = set()
    for entry in entries:
        need(isinstance(entry, dict), BAD)
        seen.add(text(entry.get("tag"), 1, 255, BAD))
        if "term" in entry:
            need(text(entry["term"], 1, 32, BAD) in ("perpetual", "term", "subscription"), BAD)
        number(entry.get("count"), 1, BAD, 2**32 - 1)
        if "ends" in entry:
            number(entry["ends"], 0, BAD)
    need(len(seen) == len(entries) and (entries or kind == "plr"), BAD)
    if "replaces" in body:
        number(body["replaces"], 0, BAD)
    _origin(body)


def _trust_anchors(body: Json, device: Device) -> None:
    entries = member(body, "anchors", list, BAD)
    need(len(entries) <= 8, "too-large")
    for entry in entries:
        need(isinstance(entry, str), BAD)
        need(entry, "certificate-invalid")
        root = _certificate(unbase64(entry, 10**9, BAD))
        constraints, usage = _extension(root, x509.BasicConstraints), _extension(root, x509.KeyUsage)
        need(constraints is not None and constraints.ca and usage is not None and usage.key_cert_sign, BAD)
        try:
            root.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            raise No(BAD) from None
    need(entries and len(set(entries)) == len(entries), BAD)


BODIES: dict[str, Callable[[Json, Device], None]] = {
    "acknowledgement": _acknowledgement,
    "policy": _policy,
    "trust-code": _trust_code,
    "authorization": _authorization,
    "trust-anchors": _trust_anchors,
}


def sign(payload: str, header: Json, key_pem: bytes, certificate: str) -> bytes:
    """A document as an authority writes it, by hand."""
    import base64
    import json

    key = serialization.load_pem_private_key(key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    value = base64.b64encode(key.sign(payload.encode("utf-8", "surrogatepass"), ec.ECDSA(hashes.SHA256()))).decode()
    signature = {"signing_type": "authority", "certificates": [certificate], "value": value}
    return json.dumps({"payload": payload, "header": header, "signature": signature}).encode()
