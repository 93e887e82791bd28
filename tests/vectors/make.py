"""Writes the test vectors beside it, from docs/formats.md and not from agent.formats; run by hand, its output is kept.

python tests/vectors/make.py
"""

from __future__ import annotations

import base64
from collections.abc import Callable
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = Path(__file__).parent
NOW = 1_767_225_600
YEAR = 31_557_600
UDI = {"udi_pid": "VR-1000/K9", "udi_serial_number": "9V0TEST0001"}
Members = dict[str, Any]
Key = ec.EllipticCurvePrivateKey


def key(number: int) -> Key:
    """Keys of these vectors are public by design: small private numbers."""
    return ec.derive_private_key(number, ec.SECP256R1())


ROOT, OTHER_ROOT, SIGNER, DEVICE, OTHER_DEVICE = (key(1000 + index) for index in range(5))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(owner: Key) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return owner.public_key().public_bytes(serialization.Encoding.DER, form)


def key_id(owner: Key) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(spki(owner)).digest()).decode().rstrip("=")


def sign(owner: Key, payload: str) -> str:
    return text(owner.sign(payload.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))


def certificate(
    owner: Key,
    issuer: Key,
    *,
    name: str = "Vector signer",
    issuer_name: str = "Vector root",
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CODE_SIGNING,
    udi: Members | None = None,
    begin: int = NOW - YEAR,
    end: int = NOW + 5 * YEAR,
) -> bytes:
    """One certificate of the profile in section 4; `usage` None makes a root."""
    named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value)]) for value in (name, issuer_name)]
    builder = x509.CertificateBuilder(named[1], named[0], owner.public_key(), len(name) * 1000 + end % 1000)
    builder = builder.not_valid_before(datetime.datetime.fromtimestamp(begin, datetime.UTC))
    builder = builder.not_valid_after(datetime.datetime.fromtimestamp(end, datetime.UTC))
    root = usage is None
    builder = builder.add_extension(x509.BasicConstraints(ca=root, path_length=0 if root else None), critical=True)
    flags = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    flags |= {"encipher_only": False, "decipher_only": False, "digital_signature": not root}
    builder = builder.add_extension(x509.KeyUsage(key_cert_sign=root, crl_sign=root, **flags), critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if udi is not None:
        uri = f"urn:slp:udi:PID:{udi['udi_pid']},SN:{udi['udi_serial_number']}".replace("/", "%2F")
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    made = builder.sign(issuer, hashes.SHA256(), ecdsa_deterministic=True)
    return made.public_bytes(serialization.Encoding.DER)


ANCHOR = certificate(ROOT, ROOT, name="Vector root", usage=None, end=NOW + 20 * YEAR)
SIGNER_CERTIFICATE = certificate(SIGNER, ROOT)


def trust_code(owner: Key = DEVICE, **changes: Any) -> bytes:
    wanted: Members = {"name": "Vector device", "usage": ExtendedKeyUsageOID.CLIENT_AUTH, "udi": UDI} | changes
    return certificate(owner, ROOT, **wanted)


def payload(kind: str, body: Members, **changes: Any) -> Members:
    members: Members = {
        "header": {"type": kind, "version": "1.0"},
        "addressee": UDI,
        "serial": 7,
        "issued": NOW - 60,
        "lab": False,
        "account": {"smart_account": "Vector Corp", "virtual_account": "Default"},
        "body": body,
    }
    return {name: value for name, value in (members | changes).items() if value is not None}


def envelope(
    signed: Members | str,
    *,
    owner: Key = SIGNER,
    der: bytes = SIGNER_CERTIFICATE,
    header: Members | None = None,
    alter: Callable[[str], str] = lambda value: value,
) -> str:
    """A signed document; `alter` changes the payload after it was signed."""
    exact = signed if isinstance(signed, str) else json.dumps(signed, separators=(",", ":"))
    outer = json.loads(exact)["header"] if header is None else header
    signature = {"signing_type": "authority", "certificates": [text(der)], "value": sign(owner, exact)}
    return json.dumps({"payload": alter(exact), "header": outer, "signature": signature}, separators=(",", ":"))


ACK_BODY: Members = {"reports": [{"report_id": 1767139200, "digest": "1b" * 32}]}
POLICY_BODY: Members = {
    "name": "SLE Policy",
    "ack_required": True,
    "perpetual": {"first": 30, "ongoing": 60, "change": 60},
    "subscription": {"first": 120, "ongoing": 111, "change": 111},
    "enforced": {"first": 30},
}
ACK = payload("acknowledgement", ACK_BODY)
TAG = "regid.2026-01.example.HSEC,1.0_509c41ab-0f0b-4b57-9a0f-0d1c2b3a4958"
AUTHORIZATION_BODY: Members = {
    "auth_type": "slac",
    "entitlements": [
        {"tag": TAG, "count": 2, "term": "subscription", "ends": NOW + YEAR},
        {"tag": "other", "count": 4294967295, "term": "perpetual"},
    ],
    "replaces": 5,
}


def xml(**documents: str) -> str:
    parts = [f"<{name}><data>{document}</data></{name}>" for name, document in documents.items()]
    return f"<smartLicense>{''.join(parts)}</smartLicense>"


def good_files() -> dict[str, tuple[str, list[Members]]]:
    trust = {"certificate": text(trust_code())}
    documents = {
        "smartLicenseRumAck": envelope(ACK),
        "smartLicensePolicy": envelope(payload("policy", POLICY_BODY, expires=NOW + YEAR)),
        "smartLicenseTrustCode": envelope(payload("trust-code", trust)),
    }
    values: dict[str, Members] = {
        "trust-code": {"kind": "trust-code", "serial": 7, "body": trust},
        "policy": {"kind": "policy", "serial": 7, "body": POLICY_BODY | {"export": {}}, "expires": NOW + YEAR},
        "acknowledgement": {"kind": "acknowledgement", "serial": 7, "body": ACK_BODY},
    }
    ack = [values["acknowledgement"]]
    bare = f"<smartLicensePolicy><data>{documents['smartLicensePolicy']}</data></smartLicensePolicy>"
    rewrapped = json.dumps(json.loads(documents["smartLicenseRumAck"]), indent=2, sort_keys=True)
    newer = payload("acknowledgement", ACK_BODY | {"later": [1]}, header={"type": "acknowledgement", "version": "1.9"})
    whole = {"auth_type": "plr", "entitlements": []}
    factory = {"certificate": text(trust_code()), "origin": "factory"}
    removal = {"remove": True, "origin": "controller"}
    anchors = {"anchors": [text(ANCHOR), text(certificate(OTHER_ROOT, OTHER_ROOT, usage=None, name="Vector root"))]}

    def single(kind: str, body: Members) -> tuple[str, list[Members]]:
        return envelope(payload(kind, body)), [{"kind": kind, "serial": 7, "body": body}]

    refused = {"reports": [], "refused": [{"report_id": 1, "digest": "1b" * 32, "reason": "conflict"}]}
    edge = payload("acknowledgement", ACK_BODY, issued=NOW + 3600, expires=NOW - 3600)
    return {
        "ack-bare": (documents["smartLicenseRumAck"], ack),
        "ack-rewrapped": (rewrapped, ack),
        "ack-unknown-members": (envelope(newer | {"note": "kept and ignored"}), ack),
        "ack-at-the-edge-of-skew": (envelope(edge), [ack[0] | {"expires": NOW - 3600}]),
        "ack-that-refuses": single("acknowledgement", refused),
        "authorization": single("authorization", AUTHORIZATION_BODY),
        "authorization-for-everything": single("authorization", whole),
        "factory-trust-code": single("trust-code", factory),
        "factory-authorization": single("authorization", AUTHORIZATION_BODY | {"origin": "factory"}),
        "policy-removal": single("policy", removal),
        "trust-anchors": single("trust-anchors", anchors),
        "all-kinds": (xml(**documents), list(values.values())),
        "policy-root": (bare, [values["policy"]]),
        "prolog-and-unknown-element": (
            '<?xml version="1.0" encoding="UTF-8"?>\n' + xml(smartLicenseOther="x", **documents),
            list(values.values()),
        ),
    }


def container_faults() -> list[tuple[str, str, str]]:
    good = envelope(ACK)
    document = json.loads(good)
    unsigned = {name: value for name, value in document.items() if name != "signature"}
    return [
        ("empty-file", "", "malformed"),
        ("truncated-json", good[:-20], "malformed"),
        ("truncated-xml", xml(smartLicenseRumAck=good)[:-30], "malformed"),
        ("doctype", '<!DOCTYPE a [<!ENTITY e "x">]>' + xml(smartLicenseRumAck=good), "malformed"),
        ("other-root", f"<licence><data>{good}</data></licence>", "malformed"),
        ("no-document", "<smartLicense></smartLicense>", "no-document"),
        ("nested-too-deep", '{"payload":' + "[" * 40 + "]" * 40 + "}", "too-large"),
        ("duplicate-member", good[:-1] + ',"payload":"{}"}', "malformed"),
        ("fraction", good[:-1] + ',"x":1.5}', "malformed"),
        ("control-character", good[:-1] + ',"x":"\\u0000"}', "malformed"),
        ("lone-surrogate", good[:-1] + ',"x":"\\ud800"}', "malformed"),
        ("no-signature", json.dumps(unsigned), "malformed"),
        ("element-of-another-type", xml(smartLicensePolicy=good), "malformed"),
        ("unknown-type", envelope(payload("slac", {})), "unknown-type"),
        ("report-as-document", report(report_payload()), "unknown-type"),
    ]


def signer_faults() -> list[tuple[str, str, str]]:
    other_root = certificate(SIGNER, OTHER_ROOT)
    renamed = certificate(SIGNER, ROOT, issuer_name="Another root")
    not_yet = certificate(SIGNER, ROOT, begin=NOW + 3601)
    over = certificate(SIGNER, ROOT, begin=NOW - YEAR, end=NOW - 3601)
    both = [SIGNER_CERTIFICATE, ANCHOR]
    two = json.loads(envelope(ACK))
    two["signature"]["certificates"] = [text(der) for der in both]
    return [
        ("certificate-cut", envelope(ACK, der=SIGNER_CERTIFICATE[:-9]), "certificate-invalid"),
        ("two-certificates", json.dumps(two), "too-large"),
        ("signed-under-another-root", envelope(ACK, der=other_root), "untrusted-signer"),
        ("issuer-of-another-name", envelope(ACK, der=renamed), "untrusted-signer"),
        ("signed-by-a-device", envelope(ACK, owner=DEVICE, der=trust_code()), "not-a-signer"),
        ("signed-by-the-root-itself", envelope(ACK, owner=ROOT, der=ANCHOR), "not-a-signer"),
        ("signer-not-yet-valid", envelope(ACK, der=not_yet), "certificate-not-yet-valid"),
        ("signer-expired", envelope(ACK, der=over), "certificate-expired"),
        ("payload-altered", envelope(ACK, alter=lambda exact: exact.replace("1b1b", "1b1c", 1)), "bad-signature"),
        ("payload-respaced", envelope(ACK, alter=lambda exact: exact + " "), "bad-signature"),
        ("signed-with-another-key", envelope(ACK, owner=OTHER_DEVICE), "bad-signature"),
    ]


def content_faults() -> list[tuple[str, str, str]]:
    major = payload("acknowledgement", ACK_BODY, header={"type": "acknowledgement", "version": "2.0"})
    critical_header = {"type": "acknowledgement", "version": "1.0", "critical": ["quota"]}
    other = UDI | {"udi_serial_number": "9V0TEST0002"}
    twice = {"reports": ACK_BODY["reports"] * 2}
    entry = AUTHORIZATION_BODY["entitlements"][0]

    def code(**changes: Any) -> str:
        return envelope(payload("authorization", AUTHORIZATION_BODY | changes))

    def anchors(*ders: bytes) -> str:
        return envelope(payload("trust-anchors", {"anchors": [text(der) for der in ders]}))

    def trust(der: bytes) -> str:
        return envelope(payload("trust-code", {"certificate": text(der)}))

    return [
        ("payload-not-json", envelope("[" + json.dumps(ACK), header=ACK["header"]), "malformed"),
        ("header-altered", envelope(ACK, header=ACK["header"] | {"version": "1.1"}), "header-mismatch"),
        ("type-altered", envelope(ACK, header={"type": "policy", "version": "1.0"}), "header-mismatch"),
        ("major-version", envelope(major), "unsupported-version"),
        ("critical", envelope(payload("acknowledgement", ACK_BODY, header=critical_header)), "unknown-critical"),
        ("no-serial", envelope(payload("acknowledgement", ACK_BODY, serial=None)), "malformed"),
        ("another-addressee", envelope(payload("acknowledgement", ACK_BODY, addressee=other)), "wrong-addressee"),
        ("lab-document", envelope(payload("acknowledgement", ACK_BODY, lab=True)), "lab-mismatch"),
        ("utility-document", envelope(payload("acknowledgement", ACK_BODY, utility=True)), "utility-not-enabled"),
        ("code-for-nothing", code(entitlements=[]), "invalid-content"),
        ("code-of-a-new-type", code(auth_type="tlr"), "invalid-content"),
        ("code-names-a-tag-twice", code(entitlements=[entry, entry]), "invalid-content"),
        ("code-for-none-of-it", code(entitlements=[entry | {"count": 0}]), "invalid-content"),
        ("code-for-too-many", code(entitlements=[entry | {"count": 2**32}]), "invalid-content"),
        ("code-on-other-terms", code(entitlements=[entry | {"term": "rented"}]), "invalid-content"),
        ("no-anchors", anchors(), "invalid-content"),
        ("an-anchor-twice", anchors(ANCHOR, ANCHOR), "invalid-content"),
        ("a-signer-as-anchor", anchors(ANCHOR, SIGNER_CERTIFICATE), "invalid-content"),
        ("an-unreadable-anchor", anchors(ANCHOR[:-9]), "certificate-invalid"),
        ("policy-of-a-new-origin", envelope(payload("policy", POLICY_BODY | {"origin": "home"})), "invalid-content"),
        ("future", envelope(payload("acknowledgement", ACK_BODY, issued=NOW + 3601)), "issued-in-future"),
        ("expired", envelope(payload("acknowledgement", ACK_BODY, expires=NOW - 3601)), "expired"),
        ("report-twice", envelope(payload("acknowledgement", twice)), "invalid-content"),
        ("negative-days", envelope(payload("policy", POLICY_BODY | {"export": {"first": -1}})), "invalid-content"),
        ("trust-code-of-another", trust(trust_code(udi=other)), "invalid-content"),
        ("trust-code-is-a-signer", trust(SIGNER_CERTIFICATE), "invalid-content"),
        ("trust-code-of-another-root", trust(certificate(DEVICE, OTHER_ROOT, udi=UDI)), "untrusted-signer"),
        ("trust-code-expired", trust(trust_code(end=NOW - 3601)), "certificate-expired"),
        ("trust-code-for-another-key", trust(trust_code(OTHER_DEVICE)), "wrong-key"),
        ("lower-serial", envelope(payload("acknowledgement", ACK_BODY, serial=5)), "stale-serial"),
        ("same-serial-other-content", envelope(payload("acknowledgement", ACK_BODY, serial=6)), "stale-serial"),
    ]


def report_payload(**changes: Any) -> Members:
    row = {
        "log_time": NOW - 86_400,
        "metric_name": "ENTITLEMENT",
        "start_time": NOW - 86_400,
        "end_time": NOW - 1,
        "sample_interval": 86_399,
        "num_samples": 97,
        "meta": {"termination_reason": "CurrentUsageRequested"},
        "value": {"type": "COUNT", "value": "3"},
    }
    meta = {
        "entitlement_tag": "regid.2026-01.example.VR_ADV,1.0_3e0a6d5c-0f0b-4b57-9a0f-0d1c2b3a4958",
        "software_version": "1.0",
        "ha_udi": [{"role": "Active", "sudi": UDI}],
        "utility_enabled": False,
        "close_reason": "CurrentUsageRequested",
        "chain": {"sequence": 1, "previous_report_id": 0},
        "lab": False,
    }
    members: Members = {
        "version": "2.0",
        "asset_identification": {
            "asset": {"name": "regid.2026-01.example.VR1000,1.0_7c1f0a52-7a51-4b55-8a4e-2f6d0c9b8a71"},
            "instance": {"sudi": UDI, "epoch": "5f0c9a4e"},
            "report_id": 1767139200,
        },
        "meta": meta | changes.pop("meta", {}),
        "measurements": [row | changes.pop("row", {})],
    }
    return members | changes


def version_1() -> Members:
    """The older shape: no version, the report id in meta, no utility flag."""
    members = report_payload()
    del members["version"]
    number = members["asset_identification"].pop("report_id")
    del members["meta"]["utility_enabled"]
    members["meta"] = {"report_id": number} | members["meta"]
    return members


def report(
    signed: Members,
    *,
    owner: Key = DEVICE,
    alter: Callable[[str], str] = lambda value: value,
    **signature_changes: Any,
) -> str:
    exact = json.dumps(signed, separators=(",", ":"))
    signature = {
        "sudi": UDI,
        "signing_type": "builtin",
        "key": key_id(owner),
        "value": sign(owner, exact),
        "public_key": text(spki(owner)),
    }
    members = {"payload": alter(exact), "header": {"type": "rum"}, "signature": signature | signature_changes}
    return json.dumps(members, separators=(",", ":"))


def good_reports() -> dict[str, tuple[str, Members]]:
    full = report_payload(
        meta={
            "chain": {"sequence": 2, "previous_report_id": 1767139199, "previous_digest": "0c" * 32},
            "hostname": "edge-1 ]]> \u00e9",
            "customer_tags": {"tag1": "north"},
            "customer_info": {"city": "Bern"},
            "outages": [{"start_time": NOW - 90_000, "end_time": NOW - 86_400}],
            "trust_request": text(spki(DEVICE)),
        },
        row={"meta": {"clock_change_delta": "-3433"}},
    )
    plain = report_payload()
    peripherals = report_payload(
        row={"meta": {"added_sudi_list": [UDI], "removed_sudi_list": [UDI | {"udi_pid": "AP"}]}}
    )
    post_paid = report_payload(meta={"utility_enabled": True, "post_paid": True, "subscription_id": "SUB-1"})
    pre_paid = report_payload(meta={"utility_enabled": True, "post_paid": False})
    trusted = {"signing_type": "trust-code", "certificate": text(trust_code()), "public_key": None}
    wrapped = json.dumps(json.loads(report(plain)), indent=1, sort_keys=True)
    return {
        "builtin": (report(plain), plain),
        "every-member": (report(full), full),
        "trust-code": (report(plain, **trusted).replace(',"public_key":null', ""), plain),
        "rewrapped": (wrapped, plain),
        "pinned": (report(plain), plain),
        "version-1": (report(version_1()), version_1()),
        "peripherals": (report(peripherals), peripherals),
        "post-paid": (report(post_paid), post_paid),
        "pre-paid-in-utility-mode": (report(pre_paid), pre_paid),
    }


def bad_reports() -> list[tuple[str, str, str]]:
    plain = report_payload()
    other = UDI | {"udi_serial_number": "9V0TEST0002"}
    chain = {"sequence": 2, "previous_report_id": 0}
    lame = {"meta": {"added_sudi_list": [{"udi_pid": "AP"}]}}
    return [
        ("cut", report(plain)[:-5], "malformed"),
        ("another-type", report(plain).replace('{"type":"rum"}', '{"type":"slac"}'), "unknown-type"),
        ("hmac", report(plain, signing_type="hmac"), "unknown-type"),
        ("no-public-key", report(plain, public_key="AAAA"), "malformed"),
        ("key-id-of-another", report(plain, key=key_id(OTHER_DEVICE)), "wrong-key"),
        ("count-altered", report(plain, alter=lambda exact: exact.replace('"3"', '"2"')), "bad-signature"),
        ("signed-by-another", report(plain, value=sign(OTHER_DEVICE, json.dumps(plain))), "bad-signature"),
        ("version-3", report(report_payload(version="3.0")), "unsupported-version"),
        ("names-another", report(plain, sudi=other), "header-mismatch"),
        ("lab", report(report_payload(meta={"lab": True})), "lab-mismatch"),
        ("future", report(report_payload(row=_span(NOW, NOW + 3601))), "issued-in-future"),
        ("asks-for-another-key", report(report_payload(meta=_request(OTHER_DEVICE))), "wrong-key"),
        ("negative-span", report(report_payload(row=_span(NOW, NOW - 1))), "invalid-content"),
        ("samples", report(report_payload(row={"num_samples": 0})), "invalid-content"),
        (
            "count-not-decimal",
            report(report_payload(row={"value": {"type": "COUNT", "value": "-3"}})),
            "invalid-content",
        ),
        ("post-paid-outside-utility-mode", report(report_payload(meta={"post_paid": True})), "invalid-content"),
        (
            "pre-paid-with-a-subscription",
            report(report_payload(meta={"utility_enabled": True, "subscription_id": "SUB-1"})),
            "invalid-content",
        ),
        ("no-rows", report(report_payload(measurements=[])), "invalid-content"),
        ("chain-without-digest", report(report_payload(meta={"chain": chain})), "invalid-content"),
        ("version-0", report(report_payload(version="0.9")), "unsupported-version"),
        ("version-1-with-the-id-of-version-2", report(report_payload(version="1.0")), "invalid-content"),
        ("peripheral-without-serial", report(report_payload(row=lame)), "invalid-content"),
    ]


def _span(start: int, end: int) -> Members:
    span = end - start
    return {"start_time": start, "end_time": end, "sample_interval": span, "num_samples": 1}


def _request(owner: Key) -> Members:
    return {"trust_request": text(spki(owner))}


def request_payload(kind: str, body: Members, **changes: Any) -> Members:
    members: Members = {
        "header": {"type": kind, "version": "1.0"},
        "sudi": UDI,
        "epoch": "5f0c9a4e",
        "number": 1,
        "time": NOW - 86_400,
        "software_tag_identifier": "regid.2026-01.example.VR1000,1.0_7c1f0a52-7a51-4b55-8a4e-2f6d0c9b8a71",
        "software_version": "17.9.1a",
        "lab": False,
        "utility_enabled": False,
        "body": body,
    }
    return members | changes


def request(signed: Members, *, header: Members | None = None, **kwargs: Any) -> str:
    document = json.loads(report(signed, **kwargs))
    document["header"] = signed["header"] if header is None else header
    return json.dumps(document, separators=(",", ":"))


KEYS: Members = {"keys": [{"entitlement": TAG, "count": 2}], "confirm_code": "1fc54c75"}
RETURN: Members = {"codes": [{"auth_type": "slac", "serial": 7, "digest": "1b" * 32}]}
TRUST: Members = {"public_key": text(spki(DEVICE)), "force": True, "id_token": "token"}


def good_requests() -> dict[str, tuple[str, Members]]:
    trusted = {"signing_type": "trust-code", "certificate": text(trust_code()), "public_key": None}
    made = {
        "authorization-request": request_payload("authorization-request", KEYS),
        "authorization-return": request_payload(
            "authorization-return", RETURN, hostname="edge-1", utility_enabled=True
        ),
        "trust-request": request_payload("trust-request", TRUST),
    }
    found = {name: (request(members), members) for name, members in made.items()}
    members = made["authorization-request"]
    found["under-a-trust-code"] = (request(members, **trusted).replace(',"public_key":null', ""), members)
    return found


def bad_requests() -> list[tuple[str, str, str]]:
    def asks(**changes: Any) -> Members:
        return request_payload("authorization-request", KEYS | changes.pop("body", {}), **changes)

    plain = asks()
    key = KEYS["keys"][0]
    code = RETURN["codes"][0]
    other = {"type": "authorization-request", "version": "2.0"}
    return [
        ("cut", request(plain)[:-5], "malformed"),
        ("a-report", report(report_payload()), "unknown-type"),
        ("an-acknowledgement", envelope(ACK), "unknown-type"),
        ("count-altered", request(plain, alter=lambda exact: exact.replace(":2}", ":3}")), "bad-signature"),
        ("key-id-of-another", request(plain, key=key_id(OTHER_DEVICE)), "wrong-key"),
        ("header-altered", request(plain, header={"type": "trust-request", "version": "1.0"}), "header-mismatch"),
        ("version-2", request(asks(header=other)), "unsupported-version"),
        ("names-another", request(plain, sudi=UDI | {"udi_pid": "X"}), "header-mismatch"),
        ("lab", request(asks(lab=True)), "lab-mismatch"),
        ("future", request(asks(time=NOW + 3601)), "issued-in-future"),
        ("no-keys", request(asks(body={"keys": []})), "invalid-content"),
        ("key-twice", request(asks(body={"keys": [key, key]})), "invalid-content"),
        ("count-0", request(asks(body={"keys": [key | {"count": 0}]})), "invalid-content"),
        ("confirmation-not-hex", request(asks(body={"confirm_code": "1FC54C75"})), "invalid-content"),
        ("no-epoch", request({k: v for k, v in plain.items() if k != "epoch"}), "invalid-content"),
        ("returns-nothing", request(request_payload("authorization-return", {"codes": []})), "invalid-content"),
        (
            "returns-another-type",
            request(request_payload("authorization-return", {"codes": [code | {"auth_type": "x"}]})),
            "invalid-content",
        ),
        (
            "trust-for-another-key",
            request(request_payload("trust-request", TRUST | {"public_key": text(spki(OTHER_DEVICE))})),
            "wrong-key",
        ),
    ]


def main() -> None:
    pem = serialization.Encoding.PEM
    private = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    shared = {
        "now": NOW,
        "skew": 3600,
        "udi": UDI,
        "floor": {"acknowledgement": {"serial": 6, "digest": "2a" * 32}},
        "anchor": text(ANCHOR),
        "signer_certificate": text(SIGNER_CERTIFICATE),
        "signer_key": SIGNER.private_bytes(*private).decode(),
        "device_key": DEVICE.private_bytes(*private).decode(),
        "trust_code": text(trust_code()),
    }
    faults = [*container_faults(), *signer_faults(), *content_faults()]
    documents: dict[str, list[Members]] = {
        "good": [{"name": name, "file": file, "expect": ex} for name, (file, ex) in good_files().items()],
        "bad": [{"name": name, "file": file, "reason": reason} for name, file, reason in faults],
    }
    documents["bad"].append(
        {"name": "not-for-utility", "file": envelope(ACK), "reason": "utility-flag-missing", "utility": True}
    )
    flagged = payload("acknowledgement", ACK_BODY, utility=True)
    documents["good"].append(
        {
            "name": "for-utility",
            "file": envelope(flagged),
            "expect": [{"kind": "acknowledgement", "serial": 7, "body": ACK_BODY}],
            "utility": True,
        }
    )
    requests = {
        "good": [{"name": name, "document": doc, "payload": ex} for name, (doc, ex) in good_requests().items()],
        "bad": [{"name": name, "document": doc, "reason": reason} for name, doc, reason in bad_requests()],
    }
    reports = {
        "good": [{"name": name, "document": doc, "payload": ex} for name, (doc, ex) in good_reports().items()],
        "bad": [{"name": name, "document": doc, "reason": reason} for name, doc, reason in bad_reports()],
    }
    vectors = {"shared": shared, "documents": documents, "reports": reports, "requests": requests}
    for name, value in vectors.items():
        (HERE / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
