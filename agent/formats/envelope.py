"""The one door for everything unverified that crosses between a product instance and its licence authority.

Bytes go in; a value comes out only after every check of docs/formats.md has passed, in the order given there; each
way to fail is one exception class of errors.py. No type for "parsed but unverified" leaves this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, NotRequired, TypedDict, Unpack

from agent.formats import certificates, documents, jsontext, requests, rum, smartlicense
from agent.formats.certificates import Certificate
from agent.formats.documents import Account, Document, Heading, Kind, TrustCode
from agent.formats.errors import (
    BadSignature,
    CertificateInvalid,
    DocumentError,
    Expired,
    HeaderMismatch,
    InvalidContent,
    IssuedInFuture,
    LabMismatch,
    Malformed,
    StaleSerial,
    TooLarge,
    UnknownCritical,
    UnknownType,
    UnsupportedVersion,
    UtilityFlagMissing,
    UtilityNotEnabled,
    WrongAddressee,
    WrongKey,
)
from agent.formats.jsontext import Members
from agent.formats.requests import Request, TrustRequest
from agent.formats.rum import Report
from agent.formats.signing import from_base64, key_id, load_public_key, payload_digest, public_bytes, verify
from agent.formats.udi import Udi

VERSION = "1.0"
DEFAULT_SKEW = 3600
"""Seconds by which two honest clocks may differ (slp-facts 6: below one hour)."""
STILL_HOLDS = 60
"""Seconds for which a check made before the decision counts: far less than what the times of documents allow for."""
MAX_DOCUMENTS = 64
_CRITICAL: frozenset[str] = frozenset()
"""Critical members that this release understands: none are defined yet."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The last accepted document of one kind: its serial and payload digest."""

    serial: int
    digest: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A verified document of the authority.

    `replay` means that it took effect before (this very document, or an older one of a file whose newest is this very
    document): it must change nothing.
    """

    document: Document
    digest: str
    replay: bool

    @property
    def floor(self) -> Floor:
        """What to remember for its kind once it has taken effect."""
        return Floor(self.document.heading.serial, self.digest)


class Rejected(NamedTuple):
    """A document of a file that failed a check; `kind` is what its element promised, or a bare document
    says it is; None where neither tells."""

    kind: Kind | None
    error: DocumentError


class Opening(NamedTuple):
    """What a file held: the documents to put into effect, in this order, and those that failed."""

    opened: list[Opened]
    rejected: list[Rejected]


class Terms(TypedDict):
    """What documents are verified against.

    `device_key` is the device's own public key (DER SubjectPublicKeyInfo), `anchors` are root certificates (DER),
    `now` is in epoch seconds, `skew` in seconds, `lab` says whether this is a lab instance, `utility` whether it is in
    utility mode, for which every document must be flagged.
    """

    addressee: Udi
    device_key: bytes
    anchors: Sequence[bytes]
    now: int
    skew: int
    lab: bool
    utility: NotRequired[bool]


def open_documents(
    data: bytes, *, floor: Callable[[Kind], Floor | None], earlier: Checked | None = None, **terms: Unpack[Terms]
) -> Opening:
    """Verify the documents of a smartLicense file, or one bare JSON document, each by itself.

    `floor` gives the last accepted document of a kind. `earlier` is what `check_documents` said of the data a moment
    ago: where that still holds, it is not asked again. The opened are in the order of effect, that of documents.KINDS,
    and within a kind by rising serial. Raises a subclass of DocumentError when the file itself cannot be read.
    """
    door = _door(**terms)
    checked = earlier if earlier is not None and earlier.holds(data, door) else _checked(data, door)
    opening = Opening([], list(checked.rejected))
    for kind in documents.KINDS:
        _admit([v for v in checked.verified if v.kind == kind], floor(kind), opening)
    return opening


def check_documents(data: bytes, **terms: Unpack[Terms]) -> Checked:
    """All that `open_documents` verifies of each document by itself, which takes most of its time; on any thread.

    Raises a subclass of DocumentError when the file itself cannot be read.
    """
    return _checked(data, _door(**terms))


class Checked(NamedTuple):
    """What the documents of a file are by themselves: those verified, by rising serial, and those that failed."""

    data: bytes
    door: _Door
    verified: tuple[_Verified, ...]
    rejected: tuple[Rejected, ...]

    def holds(self, data: bytes, door: _Door) -> bool:
        """Whether it is of this data, under the same terms, and of the last minute."""
        return (
            0 <= door.now - self.door.now <= STILL_HOLDS
            and replace(self.door, now=door.now) == door
            and self.data == data
        )


def _door(**terms: Unpack[Terms]) -> _Door:
    return _Door(
        addressee=terms["addressee"],
        device_key=terms["device_key"],
        anchors=tuple(terms["anchors"]),
        now=terms["now"],
        skew=terms["skew"],
        lab=terms["lab"],
        utility=terms.get("utility", False),
    )


def _checked(data: bytes, door: _Door) -> Checked:
    verified: list[_Verified] = []
    rejected: list[Rejected] = []
    for kind, text in _unwrap(data):
        try:
            verified.append(door.verify(kind, text))
        except DocumentError as error:
            rejected.append(Rejected(kind or _stated(text), error))
    verified.sort(key=lambda v: v.serial)
    return Checked(data, door, tuple(verified), tuple(rejected))


def _stated(text: str | bytes) -> Kind | None:
    """The kind that a bare document that failed says it is, if it says so: for messages, it proves nothing."""
    try:
        name = _envelope(text, "the document", jsontext.MAX_BYTES).header.text("type", 64)
    except DocumentError:
        return None
    return next((kind for kind in documents.KINDS if kind == name), None)


def _unwrap(data: bytes) -> list[tuple[Kind | None, str | bytes]]:
    if len(data) > jsontext.MAX_BYTES:
        raise TooLarge(f"the file has {len(data)} bytes; at most {jsontext.MAX_BYTES} are accepted")
    if data.lstrip(b" \t\r\n").startswith(b"{"):
        return [(None, data)]
    found = smartlicense.read_documents(data)
    if len(found) > MAX_DOCUMENTS:
        raise TooLarge(f"the file holds {len(found)} documents; at most {MAX_DOCUMENTS} are accepted")
    return list(found)


class _Verified(NamedTuple):
    document: Document
    digest: str

    @property
    def kind(self) -> Kind:
        return self.document.kind

    @property
    def serial(self) -> int:
        return self.document.heading.serial


def _admit(verified: list[_Verified], last: Floor | None, opening: Opening) -> None:
    """The serial rule over the documents of one kind, in order of their serials."""
    again = last is not None and any((v.serial, v.digest) == (last.serial, last.digest) for v in verified)
    for document, digest in verified:
        serial = document.heading.serial
        taken = last is not None and (serial, digest) == (last.serial, last.digest)
        # A file is imported whole, so when its newest document is the last accepted one, the older ones were in then.
        rides_along = again and last is not None and serial < last.serial
        if not taken and not rides_along and last is not None and serial <= last.serial:
            stale = StaleSerial(
                f"{document.kind} {serial} is not newer than number {last.serial}, which was accepted; "
                + (
                    "send the reports again for a new one"
                    if document.kind == "acknowledgement"
                    else "ask for a new one"
                )
            )
            opening.rejected.append(Rejected(document.kind, stale))
            continue
        opening.opened.append(Opened(document, digest, taken or rides_along))
        if serial > (last.serial if last else -1):
            last = Floor(serial, digest)


class _Envelope(NamedTuple):
    payload: str
    header: Members
    signature: Members


def _envelope(text: str | bytes, what: str, max_bytes: int) -> _Envelope:
    members = Members(jsontext.load(text, what, max_bytes), what)
    return _Envelope(members.text("payload", max_bytes), members.object("header"), members.object("signature"))


def _base64(members: Members, name: str, longest: int, refusal: type[DocumentError] = Malformed) -> bytes:
    try:
        return from_base64(members.text(name, longest))
    except ValueError as error:
        raise refusal(f"{members.where}.{name}: {error}") from None


@dataclass(frozen=True, slots=True)
class _Door:
    addressee: Udi
    device_key: bytes
    anchors: tuple[bytes, ...]
    now: int
    skew: int
    lab: bool
    utility: bool

    def verify(self, expected: Kind | None, text: str | bytes) -> _Verified:
        """All checks but the serial rule, which needs the other documents of the file."""
        envelope = _envelope(text, "the document", jsontext.MAX_BYTES)
        kind = self._kind(envelope.header, expected)
        self._check_signature(envelope)
        # From here on every byte of the payload is the authority's.
        payload = Members(jsontext.load(envelope.payload, "the payload"), "payload")
        self._check_header(envelope.header, payload)
        heading = self._heading(payload)
        self._check_heading(heading)
        document = documents.read_body(kind, heading, _body(payload))
        if isinstance(document, TrustCode):
            self._check_trust_code(document)
        return _Verified(document, payload_digest(envelope.payload))

    def _kind(self, header: Members, expected: Kind | None) -> Kind:
        name = header.text("type", 64)
        for kind in documents.KINDS:
            if kind == name:
                if expected is not None and kind != expected:
                    raise Malformed(f"the file's element is for {expected} documents, but holds one of type {kind}")
                return kind
        raise UnknownType(f"document type {name!r:.80} is not known; this release knows {', '.join(documents.KINDS)}")

    def _check_signature(self, envelope: _Envelope) -> None:
        signature = envelope.signature
        if signature.text("signing_type", 32) != "authority":
            raise UnknownType(f"{signature.where}.signing_type must be authority; is this a report?")
        chain = signature.array("certificates", 1)
        if not chain or not isinstance(chain[0], str):
            raise Malformed(f"{signature.where}.certificates must hold the signer's certificate as base64 text")
        value = _base64(signature, "value", 256)
        try:
            der = from_base64(chain[0])
        except ValueError as error:
            raise CertificateInvalid(f"{signature.where}.certificates[0]: {error}") from None
        signer = Certificate(der, "the signer's certificate")
        certificates.check_signer(signer, self.anchors, self.now, self.skew)
        if not verify(signer.public_key, value, envelope.payload.encode("utf-8")):
            raise BadSignature("the signature does not fit the payload; the document was altered or cut on its way")

    def _check_header(self, header: Members, payload: Members) -> None:
        if header.raw() != payload.object("header").raw():
            raise HeaderMismatch("the header differs from its signed copy in the payload; the document was altered")
        version = header.text("version", 16)
        if version.split(".")[0] != VERSION.split(".", maxsplit=1)[0]:
            raise UnsupportedVersion(f"document version {version} is not known; this release reads {VERSION}")
        if "critical" in header:
            for name in header.array("critical", 64):
                if name not in _CRITICAL:
                    raise UnknownCritical(f"critical member {name!r:.80} is not known; a newer release is needed")

    def _heading(self, payload: Members) -> Heading:
        try:
            udi = Udi.from_sudi(payload.object("addressee").raw())
        except ValueError as error:
            raise Malformed(f"payload.addressee: {error}") from None
        account = payload.optional_object("account")
        return Heading(
            serial=payload.integer("serial"),
            udi=udi,
            issued=payload.integer("issued"),
            expires=payload.optional_integer("expires"),
            lab=payload.boolean("lab"),
            account=None
            if account is None
            else Account(account.text("smart_account"), account.text("virtual_account")),
            utility=payload.optional_boolean("utility") or False,
        )

    def _check_heading(self, heading: Heading) -> None:
        if not heading.udi.same(self.addressee):
            raise WrongAddressee(f"the document is for {heading.udi.key}; this instance is {self.addressee.key}")
        _check_lab(heading.lab, self.lab, "document")
        if self.utility and not heading.utility:
            raise UtilityFlagMissing("the document is not flagged for utility mode, in which this instance is")
        if heading.utility and not self.utility:
            raise UtilityNotEnabled("the document is for utility mode; enable it, or ask for another document")
        if heading.issued > self.now + self.skew:
            raise IssuedInFuture(f"issued {heading.issued - self.now} s in the future; check the clock")
        if heading.expires is not None and heading.expires < self.now - self.skew:
            raise Expired(f"expired {self.now - heading.expires} s ago; ask for a newer document")

    def _check_trust_code(self, document: TrustCode) -> None:
        certificate = Certificate(document.certificate, "the trust code")
        udi = self.addressee
        certificates.check_trust_code(certificate, udi, self.anchors, self.now, self.skew, InvalidContent)
        if certificate.public_key != self.device_key:
            raise WrongKey("the trust code is for another key of this instance; ask for one with the next report")


def _body(payload: Members) -> Members:
    body = payload.object("body")
    return Members(body.raw(), body.where, InvalidContent)


def _check_lab(theirs: bool, ours: bool, what: str) -> None:
    if theirs != ours:
        names = {True: "a lab", False: "production"}
        raise LabMismatch(f"the {what} is from {names[theirs]}, this side is {names[ours]}; the two never mix")


@dataclass(frozen=True, slots=True)
class SignedReport:
    """A verified report: `public_key` (DER SubjectPublicKeyInfo) made the signature and is the pinned one, if any."""

    report: Report
    digest: str
    public_key: bytes
    signing_type: str
    document: bytes


def open_report(
    document: bytes, *, pinned: Callable[[Udi], bytes | None], now: int, skew: int, lab: bool
) -> SignedReport:
    """Verify one report document, at the authority.

    `pinned` gives the public key under which a product instance is known, or None at first contact; then the result
    proves only that one key made the whole report. Raises a subclass of DocumentError.
    """
    envelope = _envelope(document, "the report", rum.MAX_DOCUMENT)
    kind = envelope.header.text("type", 64)
    if kind != "rum":
        raise UnknownType(f"document type {kind!r:.80} is not a report (rum)")
    signature = envelope.signature
    public_key, signing_type = _report_key(signature)
    udi = _sudi(signature)
    known = pinned(udi)
    if known is not None and known != public_key:
        raise WrongKey(f"{udi.key} is known under another key; re-key it by force if the instance was reset")
    if not verify(public_key, _base64(signature, "value", 256), envelope.payload.encode("utf-8")):
        raise BadSignature("the signature does not fit the payload; the report was altered or serialised anew")
    report = rum.read_payload(envelope.payload)
    if not report.udi.same(udi):
        raise HeaderMismatch(f"the signature names {udi.key}, the signed payload {report.udi.key}")
    _check_lab(report.lab, lab, "report")
    if report.measurements[-1].end > now + skew:
        raise IssuedInFuture(f"the report ends {report.measurements[-1].end - now} s in the future; check the clocks")
    if report.trust_request is not None and report.trust_request != public_key:
        raise WrongKey("the report asks for a trust code for a key other than the one that signed it")
    return SignedReport(report, payload_digest(envelope.payload), public_key, signing_type, document)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A verified request of a device: `public_key` (DER SubjectPublicKeyInfo) made the signature."""

    request: Request
    digest: str
    public_key: bytes
    document: bytes


def open_request(document: bytes, *, now: int, skew: int, lab: bool) -> SignedRequest:
    """Verify one request document, at the authority, which then compares `public_key` with the instance's pin.

    The result proves that one key made the whole request. Raises a subclass of DocumentError.
    """
    envelope = _envelope(document, "the request", requests.MAX_REQUEST)
    kind = envelope.header.text("type", 64)
    if kind not in requests.REQUEST_KINDS:
        raise UnknownType(f"document type {kind!r:.80} is no request; known are {', '.join(requests.REQUEST_KINDS)}")
    public_key, _ = _report_key(envelope.signature)
    udi = _sudi(envelope.signature)
    if not verify(public_key, _base64(envelope.signature, "value", 256), envelope.payload.encode("utf-8")):
        raise BadSignature("the signature does not fit the payload; the request was altered or serialised anew")
    request = requests.read_payload(envelope.payload, envelope.header.raw())
    heading = request.heading
    if not heading.udi.same(udi):
        raise HeaderMismatch(f"the signature names {udi.key}, the signed payload {heading.udi.key}")
    _check_lab(heading.lab, lab, "request")
    if heading.time > now + skew:
        raise IssuedInFuture(f"the request is from {heading.time - now} s in the future; set the device's clock")
    if isinstance(request, TrustRequest) and request.public_key != public_key:
        raise WrongKey("the request asks for a trust code for a key other than the one that signed it")
    return SignedRequest(request, payload_digest(envelope.payload), public_key, document)


def _sudi(signature: Members) -> Udi:
    try:
        return Udi.from_sudi(signature.object("sudi").raw())
    except ValueError as error:
        raise Malformed(f"{signature.where}.sudi: {error}") from None


def _report_key(signature: Members) -> tuple[bytes, str]:
    """The key that a report says it is signed with, and its signing type; the name of the key must fit the key."""
    signing_type = signature.text("signing_type", 32)
    if signing_type == "builtin":
        try:
            public_key = public_bytes(load_public_key(_base64(signature, "public_key", 512)))
        except ValueError as error:
            raise Malformed(f"{signature.where}.public_key: {error}") from None
    elif signing_type == "trust-code":
        der = _base64(signature, "certificate", 16_384, CertificateInvalid)
        public_key = Certificate(der, "the report's certificate").public_key
    else:
        raise UnknownType(f"signing_type {signing_type!r:.80} is not known; this release knows builtin and trust-code")
    if signature.text("key", 64) != key_id(public_key):
        raise WrongKey(f"{signature.where}.key does not name the key that the report carries")
    return public_key, signing_type
