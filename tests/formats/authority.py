"""A small licence authority for tests of the formats: fixed time, fresh keys, documents with any change wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agent.formats import certificates, rum
from agent.formats.documents import (
    Account,
    Ack,
    Acknowledged,
    Document,
    Heading,
    Policy,
    PolicyClass,
    PolicyTerms,
    TrustCode,
)
from agent.formats.envelope import Floor, Opened, Opening, open_documents
from agent.formats.issue import issue
from agent.formats.signing import LocalSigner, key_id
from agent.formats.udi import Udi

NOW = 1_767_225_600
YEAR = 31_557_600
UDI = Udi("VR-1000", "9TEST")

ROOT = LocalSigner.generate()
SIGNER = LocalSigner.generate()
DEVICE = LocalSigner.generate()
ANCHOR = certificates.make_anchor(ROOT, "Test root", NOW - YEAR, NOW + 20 * YEAR)
CERTIFICATE = certificates.make_signer(ANCHOR, ROOT, "Test signer", SIGNER.public_key, NOW - YEAR, NOW + 5 * YEAR)
TRUST_CODE = certificates.make_trust_code(ANCHOR, ROOT, UDI, DEVICE.public_key, NOW, NOW + 8 * YEAR)


def heading(serial: int = 7, **changes: Any) -> Heading:
    return replace(Heading(serial, UDI, NOW, account=Account("Test Corp", "Default")), **changes)


def ack(serial: int = 7, report_id: int = 1, **changes: Any) -> Ack:
    return Ack(heading(serial, **changes), (Acknowledged(report_id, "a1" * 32),))


def policy(serial: int = 7) -> Policy:
    return Policy(heading(serial), PolicyTerms("Custom", perpetual=PolicyClass(365, 0, 90), ack_required=True))


def trust_code(serial: int = 7) -> TrustCode:
    return TrustCode(heading(serial), TRUST_CODE, key_id(DEVICE.public_key), NOW, NOW + 8 * YEAR)


def issued(document: Document) -> bytes:
    return issue(document, SIGNER, CERTIFICATE)


def opened(data: bytes, floors: dict[str, Floor] | None = None, **changes: Any) -> list[Opened]:
    """What the door lets in; raises what it says of the first document that it does not."""
    opening = opening_of(data, floors, **changes)
    for rejected in opening.rejected:
        raise rejected.error
    return opening.opened


def opening_of(data: bytes, floors: dict[str, Floor] | None = None, **changes: Any) -> Opening:
    wanted: dict[str, Any] = {
        "addressee": UDI,
        "device_key": DEVICE.public_key,
        "anchors": [ANCHOR],
        "now": NOW,
        "skew": 3600,
        "lab": False,
        "floor": (floors or {}).get,
    }
    return open_documents(data, **(wanted | changes))


def report(sequence: int = 1, previous: str | None = None, **changes: Any) -> rum.Report:
    """Report `1000 + sequence` of one licence, over the hour that follows its predecessor's."""
    start = NOW - 90_000 + 3600 * sequence
    made = rum.Report(
        report_id=1000 + sequence,
        udi=UDI,
        epoch="e1",
        sequence=sequence,
        previous_report_id=0 if sequence == 1 else 999 + sequence,
        previous_digest=previous,
        software_tag="regid.test.VR1000",
        software_version="1.0",
        entitlement_tag="regid.test.ADVANTAGE",
        measurements=(rum.Measurement(start, start + 3600, 3, start, "CurrentUsageRequested"),),
        close_reason="CurrentUsageRequested",
    )
    return replace(made, **changes)


def chain(count: int, signer: LocalSigner = DEVICE, **changes: Any) -> list[bytes]:
    """`count` sealed reports, each naming the one before it."""
    documents: list[bytes] = []
    previous = None
    for sequence in range(1, count + 1):
        documents.append(rum.seal(report(sequence, previous, **changes), signer))
        previous = rum.digest_of(documents[-1])
    return documents
