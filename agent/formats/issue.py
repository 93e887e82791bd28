"""Writing the authority's documents: a frozen value becomes the exact signed bytes; checking them is envelope.py's."""

from __future__ import annotations

from typing import Any

from agent.formats import jsontext
from agent.formats.documents import Document, body
from agent.formats.envelope import VERSION
from agent.formats.signing import Signer, to_base64


def issue(document: Document, signer: Signer, certificate: bytes) -> bytes:
    """Sign `document` with the key that `certificate` (DER, extended key usage codeSigning) belongs to.

    The bytes are to be kept and passed on as they are: issuing again gives other bytes.
    """
    heading = document.heading
    header = {"type": document.kind, "version": VERSION}
    members: dict[str, Any] = {
        "header": header,
        "addressee": heading.udi.sudi(),
        "serial": heading.serial,
        "issued": heading.issued,
    }
    if heading.expires is not None:
        members["expires"] = heading.expires
    members["lab"] = heading.lab
    if heading.utility:
        members["utility"] = True
    if heading.account is not None:
        members["account"] = heading.account._asdict()
    members["body"] = body(document)
    payload = jsontext.dump(members)
    signature = {
        "signing_type": "authority",
        "certificates": [to_base64(certificate)],
        "value": to_base64(signer.sign(payload.encode("utf-8"))),
    }
    return jsontext.dump({"payload": payload, "header": header, "signature": signature}).encode("ascii")
