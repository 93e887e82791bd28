"""Why a well-formed licensing request is refused: the one table from reasons to the model's error-enum; no checks.

docs/licensing.md shows the same table; a test compares the two.
"""

from __future__ import annotations

SUCCESS = "success"

CODES: dict[str, str] = {
    # of documents, by the reason that formats/errors.py gives
    "document": "codevalidationfailed",
    "too-large": "messageeventexceedspeer",
    "malformed": "msgparse",
    "no-document": "missingentry",
    "unknown-type": "notsupported",
    "certificate-invalid": "certinvalid",
    "untrusted-signer": "couldnotvalidatetrustchain",
    "not-a-signer": "signcertverificationfailed",
    "certificate-not-yet-valid": "certinvalid",
    "certificate-expired": "certexpired",
    "bad-signature": "verifysignaturefailed",
    "header-mismatch": "codevalidationfailed",
    "unsupported-version": "unsupportedresponse",
    "unknown-critical": "unsupportedresponse",
    "wrong-addressee": "matchidentifier",
    "lab-mismatch": "matchvendor",
    "utility-flag-missing": "utilityenabled",
    "utility-not-enabled": "utilitynotenabled",
    "issued-in-future": "invalidresponse",
    "expired": "certexpired",
    "invalid-content": "invalidresponse",
    "wrong-key": "certificatemismatch",
    "stale-serial": "matchnonce",
    # of acknowledgements, by the kernel
    "unknown-report": "requesteditemnotfound",
    "other-digest": "codevalidationfailed",
    # of authorization codes, by the kernel
    "authorization-returned": "reservationmismatch",
    "authorization-in-use": "listbusy",
    "authorization-not-needed": "invalidrequest",
    "already-authorized": "reservationalreadyinstalled",
    "no-authorization": "noreservationauthcode",
    "no-request": "noreservationinprogress",
    "no-transport": "transportnotavailable",
    # of trust codes, by the kernel
    "trust-code-installed": "alreadyregistered",
    "bad-token": "nullccoidtoken",
    # of releases, modes and resets, by the kernel
    "utility-callhome": "transporttype",
    "unreported-usage": "msgexecinprogress",
    "authorization-installed": "reservationalreadyinstalled",
    "not-in-this-release": "notsupported",
    # of usage, by the kernel
    "unknown-licence": "taginvalid",
    "count-out-of-range": "BadInputParams",
    "too-many-peripherals": "listinsertfailed",
    "not-authorized": "noauthorizationinstalled",
    "count-not-authorized": "noauthorizationinstalled",
    "throughput-ceiling": "noauthorizationinstalled",
}
"""Reason to the name in error-enum."""


def code(reason: str) -> str:
    """The error-enum name for a reason; a reason without a line of its own is a document that did not validate."""
    return CODES.get(reason, CODES["document"])
