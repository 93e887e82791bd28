"""Every way in which bytes from outside can fail to become a value: one exception class each; no checks live here.

`reason` is a stable slug (docs/formats.md lists all of them); the message says what was found and what to do next.
"""

# ruff: noqa: N818 - a refusal is named after what was found, as its reason is
from __future__ import annotations


class DocumentError(Exception):
    """A document was refused and nothing of it may be used; the subclass says which check failed."""

    reason = "document"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class TooLarge(DocumentError):
    """More bytes, members, nesting or documents than the format allows."""

    reason = "too-large"


class Malformed(DocumentError):
    """Not well-formed (truncated, duplicate member, DOCTYPE) or a member is missing or of the wrong type."""

    reason = "malformed"


class NoDocument(DocumentError):
    """A well-formed container without a document in it."""

    reason = "no-document"


class UnknownType(DocumentError):
    """A kind of document that this release does not know."""

    reason = "unknown-type"


class CertificateInvalid(DocumentError):
    """The signer's certificate cannot be read, or its key is not ECDSA P-256."""

    reason = "certificate-invalid"


class UntrustedSigner(DocumentError):
    """No configured trust anchor has issued the signer's certificate."""

    reason = "untrusted-signer"


class NotASigner(DocumentError):
    """The certificate is genuine but is not one that may sign documents."""

    reason = "not-a-signer"


class CertificateNotYetValid(DocumentError):
    """The certificate's validity lies in the future, or the device's clock is behind."""

    reason = "certificate-not-yet-valid"


class CertificateExpired(DocumentError):
    """The certificate's validity is over, or the device's clock is ahead."""

    reason = "certificate-expired"


class BadSignature(DocumentError):
    """The signature does not fit the bytes of the payload."""

    reason = "bad-signature"


class HeaderMismatch(DocumentError):
    """The outer header differs from its signed copy inside the payload."""

    reason = "header-mismatch"


class UnsupportedVersion(DocumentError):
    """A major version that this release does not know."""

    reason = "unsupported-version"


class UnknownCritical(DocumentError):
    """A critical member that this release does not know."""

    reason = "unknown-critical"


class WrongAddressee(DocumentError):
    """The document names another product instance."""

    reason = "wrong-addressee"


class LabMismatch(DocumentError):
    """A lab document for a production party, or the other way round."""

    reason = "lab-mismatch"


class UtilityFlagMissing(DocumentError):
    """This instance is in utility mode, and the document is not flagged for it."""

    reason = "utility-flag-missing"


class UtilityNotEnabled(DocumentError):
    """The document is flagged for utility mode, and this instance is not in it."""

    reason = "utility-not-enabled"


class IssuedInFuture(DocumentError):
    """Issued later than now, by more than the allowed clock skew."""

    reason = "issued-in-future"


class Expired(DocumentError):
    """The document's own validity is over."""

    reason = "expired"


class InvalidContent(DocumentError):
    """Genuine and current, but its body breaks the rules of its type."""

    reason = "invalid-content"


class WrongKey(DocumentError):
    """A trust code, trust request or report that names or uses a key other than the expected one."""

    reason = "wrong-key"


class StaleSerial(DocumentError):
    """A serial at or below the last accepted one, with other content."""

    reason = "stale-serial"
