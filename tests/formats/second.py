"""The authority's checks of reports and requests, a second time: written from docs/formats.md, without agent code.

`judge` gives the reason slug of the first check of §2 or §2.1 that fails, or None for a document that passes them all.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
import hashlib
import json
import re
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MIB = 1024 * 1024
Json = Any


class No(Exception):  # noqa: N818
    """A failed check; its argument is the reason."""


def need(condition: object, reason: str) -> None:
    if not condition:
        raise No(reason)


def text(value: Json, low: int, high: int, reason: str) -> str:
    need(isinstance(value, str) and low <= len(value) <= high, reason)
    return str(value)


def number(value: Json, low: int, reason: str, high: int = 2**63 - 1) -> int:
    need(isinstance(value, int) and not isinstance(value, bool) and low <= value <= high, reason)
    return int(value)


def strict(data: bytes, limit: int) -> Json:
    """§1 JSON."""
    need(len(data) <= limit, "too-large")
    need(sum(data.count(c) for c in (b"{", b"[", b",")) <= 400_000, "too-large")

    def pairs(found: list[tuple[str, Json]]) -> dict[str, Json]:
        need(len({name for name, _ in found}) == len(found), "malformed")
        return dict(found)

    def integer(digits: str) -> int:
        need(len(digits) <= 20 and -(2**63) <= int(digits) < 2**63, "malformed")
        return int(digits)

    def no(_: str) -> Json:
        raise No("malformed")

    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=pairs, parse_int=integer, parse_float=no, parse_constant=no
        )
    except RecursionError:
        raise No("too-large") from None
    except ValueError:
        raise No("malformed") from None
    walk(value, 1)
    return value


def walk(value: Json, depth: int) -> None:
    if isinstance(value, str):
        bad = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", value)
        need(bad is None, "malformed")
    elif isinstance(value, dict | list):
        need(depth <= 16, "too-large")
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            walk(each, depth + 1)


def member(value: Json, name: str, kind: type, reason: str) -> Json:
    need(isinstance(value, dict) and name in value and isinstance(value[name], kind), reason)
    return value[name]


def unbase64(value: Json, longest: int, reason: str) -> bytes:
    word = text(value, 1, longest, "malformed")
    try:
        data = base64.b64decode(word.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise No(reason) from None
    need(base64.b64encode(data).decode() == word, reason)
    return data


def udi(value: Json, reason: str) -> tuple[str, str]:
    need(isinstance(value, dict), reason)
    found = []
    for name in ("udi_pid", "udi_serial_number"):
        need(isinstance(value.get(name), str) and re.fullmatch(r"[!-+\--~]{1,255}", value[name]), reason)
        found.append(value[name])
    return found[0], found[1]


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def signing_key(signature: Json) -> ec.EllipticCurvePublicKey:
    kind = text(signature.get("signing_type"), 1, 32, "malformed")
    need(kind in ("builtin", "trust-code"), "unknown-type")
    bad = "malformed" if kind == "builtin" else "certificate-invalid"
    try:
        if kind == "builtin":
            key: object = serialization.load_der_public_key(unbase64(signature.get("public_key"), 512, bad))
        else:
            certificate = x509.load_der_x509_certificate(unbase64(signature.get("certificate"), 16_384, bad))
            need(isinstance(certificate.signature_hash_algorithm, hashes.SHA256), bad)
            key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise No(bad) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise No(bad)
    name = base64.urlsafe_b64encode(hashlib.sha256(spki(key)).digest()).decode().rstrip("=")
    need(text(signature.get("key"), 1, 64, "malformed") == name, "wrong-key")
    return key


def judge(document: bytes, *, now: int, skew: int, lab: bool, kind: str) -> str | None:
    """`kind` is `rum`, or `request` for the three kinds of request."""
    try:
        _judge(document, now, skew, lab, kind)
    except No as no:
        return str(no.args[0])
    return None


def _judge(document: bytes, now: int, skew: int, lab: bool, kind: str) -> None:
    limit = MIB if kind == "rum" else 256 * 1024
    envelope = strict(document, limit)
    payload = text(envelope.get("payload") if isinstance(envelope, dict) else None, 1, limit, "malformed")
    header = member(envelope, "header", dict, "malformed")
    signature = member(envelope, "signature", dict, "malformed")
    stated = text(header.get("type"), 1, 64, "malformed")
    known = ("rum",) if kind == "rum" else tuple(BODIES)
    need(stated in known, "unknown-type")
    key = signing_key(signature)
    device = udi(member(signature, "sudi", dict, "malformed"), "malformed")
    try:
        key.verify(unbase64(signature.get("value"), 256, "malformed"), payload.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise No("bad-signature") from None
    body = strict(payload.encode("utf-8", "surrogatepass"), limit)
    if kind == "rum":
        _report(body, device, key, now + skew, lab)
    else:
        _request(body, header, device, key, now + skew, lab)


def _report(body: Json, device: tuple[str, str], key: ec.EllipticCurvePublicKey, latest: int, lab: bool) -> None:
    bad = "invalid-content"
    need(isinstance(body, dict), bad)
    version = text(body["version"], 1, 16, bad).split(".")[0] if "version" in body else "1"
    need(version in ("1", "2"), "unsupported-version")
    asset, meta = member(body, "asset_identification", dict, bad), member(body, "meta", dict, bad)
    instance, rows = member(asset, "instance", dict, bad), member(body, "measurements", list, bad)
    number((meta if version == "1" else asset).get("report_id"), 1, bad)
    text(member(asset, "asset", dict, bad).get("name"), 1, 255, bad)
    text(instance.get("epoch"), 1, 64, bad)
    stated = udi(instance.get("sudi"), bad)
    for name, longest in (("entitlement_tag", 255), ("software_version", 255), ("close_reason", 64)):
        text(meta.get(name), 1, longest, bad)
    if version == "2" or "utility_enabled" in meta:
        need(isinstance(meta.get("utility_enabled"), bool), bad)
    need(isinstance(meta.get("lab"), bool), bad)
    _billing(meta, bad)
    _lists(meta, bad)
    chain = member(meta, "chain", dict, bad)
    first = number(chain.get("sequence"), 1, bad) == 1
    need(first == (number(chain.get("previous_report_id"), 0, bad) == 0), bad)
    need(first == ("previous_digest" not in chain), bad)
    if not first:
        need(re.fullmatch("[0-9a-f]{64}", text(chain["previous_digest"], 1, 64, bad)), bad)
    need(len(rows) <= 1000, "too-large")
    need(rows, bad)
    _rows(rows, bad)
    need(stated == device, "header-mismatch")
    need(meta["lab"] == lab, "lab-mismatch")
    need(rows[-1]["end_time"] <= latest, "issued-in-future")
    if "trust_request" in meta:
        need(unbase64(meta["trust_request"], 512, bad) == spki(key), "wrong-key")


def _billing(meta: Json, bad: str) -> None:
    post_paid = meta.get("post_paid", False)
    need(isinstance(post_paid, bool) and (not post_paid or meta.get("utility_enabled") is True), bad)
    if "subscription_id" in meta:
        text(meta["subscription_id"], 1, 255, bad)
        need(post_paid, bad)


def _lists(meta: Json, bad: str) -> None:
    members = member(meta, "ha_udi", list, bad)
    need(len(members) <= 64, "too-large")
    for each in members:
        text(each.get("role") if isinstance(each, dict) else None, 1, 16, bad)
        udi(each.get("sudi"), bad)
    if "hostname" in meta:
        text(meta["hostname"], 1, 255, bad)
    known = {"customer_tags": ([f"tag{n}" for n in range(1, 5)], 127)}
    known["customer_info"] = (["city", "country", "id", "name", "postalcode", "state", "street"], 255)
    for name, (names, longest) in known.items():
        if name in meta:
            need(isinstance(meta[name], dict), bad)
            for key in set(names) & set(meta[name]):
                text(meta[name][key], 1, longest, bad)
    if "outages" in meta:
        outages = member(meta, "outages", list, bad)
        need(len(outages) <= 100, "too-large")
        for each in outages:
            need(isinstance(each, dict), bad)
            need(number(each.get("start_time"), 0, bad) <= number(each.get("end_time"), 0, bad), bad)
    if "trust_request" in meta:
        need(isinstance(meta["trust_request"], str) and 1 <= len(meta["trust_request"]) <= 512, bad)


def _rows(rows: list[Json], bad: str) -> None:
    before = 0
    for row in rows:
        need(isinstance(row, dict), bad)
        meta, value = member(row, "meta", dict, bad), member(row, "value", dict, bad)
        start, end = number(row.get("start_time"), 0, bad), number(row.get("end_time"), 0, bad)
        number(row.get("log_time"), 0, bad)
        number(row.get("num_samples"), 1, bad)
        need(before <= start <= end and number(row.get("sample_interval"), 0, bad) == end - start, bad)
        before = end
        need(text(row.get("metric_name"), 1, 32, bad) == rows[0].get("metric_name"), bad)
        need(value.get("type") == "COUNT" and re.fullmatch("[0-9]{1,19}", text(value.get("value"), 1, 19, bad)), bad)
        if "termination_reason" in meta:
            text(meta["termination_reason"], 1, 64, bad)
        if "clock_change_delta" in meta:
            need(re.fullmatch(r"-?\d+", text(meta["clock_change_delta"], 1, 20, bad)), bad)
        for name in ("added_sudi_list", "removed_sudi_list"):
            if name in meta:
                need(isinstance(meta[name], list), bad)
                need(len(meta[name]) <= 5000, "too-large")
                for each in meta[name]:
                    udi(each, bad)


def _request(
    body: Json, header: Json, device: tuple[str, str], key: ec.EllipticCurvePublicKey, latest: int, lab: bool
) -> None:
    bad = "invalid-content"
    need(member(body, "header", dict, "malformed") == header, "header-mismatch")
    need(text(header.get("version"), 1, 16, "malformed").split(".")[0] == "1", "unsupported-version")
    stated = udi(body.get("sudi"), bad)
    text(body.get("epoch"), 1, 64, bad)
    number(body.get("number"), 0, bad)
    made = number(body.get("time"), 0, bad)
    for name in ("software_tag_identifier", "software_version"):
        text(body.get(name), 1, 255, bad)
    for name in ("lab", "utility_enabled"):
        need(isinstance(body.get(name), bool), bad)
    if "hostname" in body:
        text(body["hostname"], 1, 255, bad)
    BODIES[header["type"]](member(body, "body", dict, bad), bad)
    need(stated == device, "header-mismatch")
    need(body["lab"] == lab, "lab-mismatch")
    need(made <= latest, "issued-in-future")
    if header["type"] == "trust-request":
        need(unbase64(body["body"]["public_key"], 512, bad) == spki(key), "wrong-key")


def _trust(body: Json, bad: str) -> None:
    text(body.get("public_key"), 1, 512, bad)
    unbase64(body["public_key"], 512, bad)
    need(isinstance(body.get("force"), bool), bad)
    if "id_token" in body:
        text(body["id_token"], 1, 255, bad)


def _confirmation(body: Json, bad: str) -> None:
    if "confirm_code" in body:
        need(re.fullmatch("[0-9a-f]{8}", text(body["confirm_code"], 1, 8, bad)), bad)


def _keys(body: Json, bad: str) -> None:
    _confirmation(body, bad)
    keys = member(body, "keys", list, bad)
    need(len(keys) <= 1000, "too-large")
    names = set()
    for each in keys:
        need(isinstance(each, dict), bad)
        names.add(text(each.get("entitlement"), 1, 255, bad))
        number(each.get("count"), 1, bad, 2**32 - 1)
    need(keys and len(names) == len(keys), bad)


def _codes(body: Json, bad: str) -> None:
    _confirmation(body, bad)
    found = member(body, "codes", list, bad)
    need(len(found) <= 5, "too-large")
    need(found, bad)
    for each in found:
        need(isinstance(each, dict), bad)
        need(each.get("auth_type") in ("slac", "slr", "plr", "fla", "pak"), bad)
        need(re.fullmatch("[0-9a-f]{64}", text(each.get("digest"), 1, 64, bad)), bad)
        number(each.get("serial"), 0, bad)


BODIES: dict[str, Callable[[Json, str], None]] = {
    "trust-request": _trust,
    "authorization-request": _keys,
    "authorization-return": _codes,
}
