"""Frozen values of what a licence authority issues, and how their bodies look in JSON; verification is envelope.py's.

A value of these types in the agent's hands has passed the door. Times are epoch seconds, days are whole days.
Source: slp-facts 3 (policy attributes), 4.5 (ACK), 5 (authorization codes), 6 (trust code); inner members are ours,
see docs/formats.md.
"""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
from typing import Any, Literal, NamedTuple

from agent.formats.certificates import Certificate, check_anchor
from agent.formats.errors import InvalidContent
from agent.formats.jsontext import Members
from agent.formats.rum import is_digest
from agent.formats.signing import from_base64, key_id, to_base64
from agent.formats.udi import Udi

Kind = Literal["trust-code", "policy", "authorization", "acknowledgement", "trust-anchors"]
KINDS: tuple[Kind, ...] = ("trust-code", "policy", "authorization", "acknowledgement", "trust-anchors")
"""All kinds, in the order in which the documents of one file take effect."""

AuthType = Literal["slac", "slr", "plr", "fla", "pak"]
AUTH_TYPES: tuple[AuthType, ...] = ("slac", "slr", "plr", "fla", "pak")
CodeTerm = Literal["perpetual", "term", "subscription"]
CODE_TERMS: tuple[CodeTerm, ...] = ("perpetual", "term", "subscription")

MAX_ACKNOWLEDGED = 20_000
MAX_DAYS = 36_500
MAX_ENTITLEMENTS = 1_000
MAX_COUNT = 2**32 - 1
MAX_ANCHORS = 8


class Account(NamedTuple):
    """Where the authority books the product instance."""

    smart_account: str
    virtual_account: str


@dataclass(frozen=True, slots=True)
class Heading:
    """What every document says about itself."""

    serial: int
    """Rises with every document of one kind for one UDI."""
    udi: Udi
    issued: int
    expires: int | None = None
    lab: bool = False
    account: Account | None = None
    utility: bool = False
    """The answer is for a product instance in utility (post-paid) mode."""


class Acknowledged(NamedTuple):
    """One report that the authority has taken; `digest` is `signing.payload_digest` of the report's payload."""

    report_id: int
    digest: str


class Refused(NamedTuple):
    """A report that the authority did not take, and will not; `reason` is a slug of docs/formats.md."""

    report_id: int
    digest: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ack:
    """The authority holds these reports: the device may purge them. Those refused it keeps."""

    heading: Heading
    acknowledged: tuple[Acknowledged, ...]
    refused: tuple[Refused, ...] = ()
    kind: Literal["acknowledgement"] = "acknowledgement"


@dataclass(frozen=True, slots=True)
class PolicyClass:
    """Days; 0 = not required; None = this policy is silent and the default stands (merge is per attribute)."""

    first: int | None = None
    ongoing: int | None = None
    change: int | None = None


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """What a policy demands, apart from whom it is issued to."""

    name: str
    enforced: PolicyClass = PolicyClass()
    export: PolicyClass = PolicyClass()
    subscription: PolicyClass = PolicyClass()
    perpetual: PolicyClass = PolicyClass()
    ack_required: bool | None = None

    def of(self, name: Literal["enforced", "export", "subscription", "perpetual"]) -> PolicyClass:
        """The terms for one class of licences."""
        found: PolicyClass = getattr(self, name)
        return found


PolicyOrigin = Literal["custom", "factory", "controller"]
POLICY_ORIGINS: tuple[PolicyOrigin, ...] = ("custom", "factory", "controller")


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy issued to one product instance; `terms` None takes back the one of the same origin."""

    heading: Heading
    terms: PolicyTerms | None
    origin: PolicyOrigin = "custom"
    kind: Literal["policy"] = "policy"


@dataclass(frozen=True, slots=True)
class TrustCode:
    """The certificate (DER) that the authority issued for the device's own key, valid `not_before`..`not_after`.

    `factory` says that it was made when the product was: such a code never counts towards the authority directly.
    """

    heading: Heading
    certificate: bytes
    key_id: str
    not_before: int
    not_after: int
    factory: bool = False
    kind: Literal["trust-code"] = "trust-code"


@dataclass(frozen=True, slots=True)
class Entitlement:
    """How many of one licence a code authorizes, on what terms, and until when (None: no end)."""

    tag: str
    count: int
    term: CodeTerm = "perpetual"
    ends: int | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """An authorization code for one product instance; it takes the place of the installed one of the same type.

    `replaces` is the serial of the code that the authority expects to be overwritten. A `plr` code without
    entitlements authorizes every licence. `factory` says that it was made with the product, for what was bought.
    """

    heading: Heading
    auth_type: AuthType
    entitlements: tuple[Entitlement, ...]
    replaces: int | None = None
    factory: bool = False
    kind: Literal["authorization"] = "authorization"


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """The root certificates (DER) to trust from now on, in place of the present ones, one of which vouches for them."""

    heading: Heading
    anchors: tuple[bytes, ...]
    kind: Literal["trust-anchors"] = "trust-anchors"


Document = Ack | Policy | TrustCode | Authorization | TrustAnchors

_CLASSES = ("enforced", "export", "subscription", "perpetual")
_DAYS = ("first", "ongoing", "change")


def body(document: Document) -> dict[str, Any]:
    """The members of `payload.body` for this document."""
    if isinstance(document, Ack):
        members: dict[str, Any] = {"reports": [entry._asdict() for entry in document.acknowledged]}
        if document.refused:
            members["refused"] = [entry._asdict() for entry in document.refused]
        return members
    if isinstance(document, TrustCode):
        origin = {"origin": "factory"} if document.factory else {}
        return {"certificate": to_base64(document.certificate), **origin}
    if isinstance(document, Authorization):
        return _authorization_body(document)
    if isinstance(document, TrustAnchors):
        return {"anchors": [to_base64(anchor) for anchor in document.anchors]}
    terms = {"remove": True} if document.terms is None else terms_body(document.terms)
    return terms if document.origin == "custom" else {**terms, "origin": document.origin}


def _authorization_body(document: Authorization) -> dict[str, Any]:
    members: dict[str, Any] = {
        "auth_type": document.auth_type,
        "entitlements": [entitlement_body(entry) for entry in document.entitlements],
    }
    if document.replaces is not None:
        members["replaces"] = document.replaces
    if document.factory:
        members["origin"] = "factory"
    return members


def entitlement_body(entry: Entitlement) -> dict[str, Any]:
    """One entitlement as members of an authorization, or of an operator's pool."""
    members: dict[str, Any] = {"tag": entry.tag, "count": entry.count, "term": entry.term}
    return members if entry.ends is None else {**members, "ends": entry.ends}


def terms_body(terms: PolicyTerms) -> dict[str, Any]:
    """A policy's terms as members; silent attributes are left out."""
    members: dict[str, Any] = {"name": terms.name}
    if terms.ack_required is not None:
        members["ack_required"] = terms.ack_required
    for name in _CLASSES:
        days = getattr(terms, name)
        members[name] = {field: getattr(days, field) for field in _DAYS if getattr(days, field) is not None}
    return members


def read_body(kind: Kind, heading: Heading, members: Members) -> Document:
    """Parse the verified body of a document of this kind. Raises InvalidContent, TooLarge or CertificateInvalid."""
    if kind == "acknowledgement":
        return _read_ack(heading, members)
    if kind == "policy":
        return _read_policy(heading, members)
    if kind == "authorization":
        return _read_authorization(heading, members)
    if kind == "trust-anchors":
        return TrustAnchors(heading, _read_anchors(members))
    der = _read_der(members.text("certificate", 16_384), f"{members.where}.certificate")
    certificate = Certificate(der, "the trust code")
    return TrustCode(
        heading,
        der,
        key_id(certificate.public_key),
        certificate.not_before,
        certificate.not_after,
        _is_factory(members),
    )


def _is_factory(members: Members) -> bool:
    return _choice(members, "origin", ("authority", "factory"), "authority") == "factory"


def _read_der(text: str, where: str) -> bytes:
    try:
        return from_base64(text)
    except ValueError as error:
        raise InvalidContent(f"{where}: {error}") from None


def _choice(members: Members, name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    """The member, one of `allowed`; `default` when it is missing and there is one."""
    if default is not None and name not in members:
        return default
    value = members.text(name, 32)
    if value not in allowed:
        raise InvalidContent(f"{members.where}.{name} must be one of {', '.join(allowed)}")
    return value


def _read_policy(heading: Heading, members: Members) -> Policy:
    origin: PolicyOrigin = _choice(members, "origin", POLICY_ORIGINS, "custom")  # type: ignore[assignment]
    if members.optional_boolean("remove"):
        return Policy(heading, None, origin)
    return Policy(heading, read_terms(members), origin)


def _read_authorization(heading: Heading, members: Members) -> Authorization:
    auth_type: AuthType = _choice(members, "auth_type", AUTH_TYPES)  # type: ignore[assignment]
    entitlements = tuple(read_entitlements(members))
    if not entitlements and auth_type != "plr":
        raise InvalidContent(f"{members.where}.entitlements must hold at least one entry in a code of type {auth_type}")
    replaces = members.optional_integer("replaces")
    return Authorization(heading, auth_type, entitlements, replaces, _is_factory(members))


def read_entitlements(members: Members) -> list[Entitlement]:
    """The array `entitlements`, of a verified document or of an operator's pool; no tag twice."""
    found: dict[str, Entitlement] = {}
    for entry in members.objects("entitlements", MAX_ENTITLEMENTS):
        tag = entry.text("tag")
        if tag in found:
            raise InvalidContent(f"{entry.where}: {tag} stands twice")
        term: CodeTerm = _choice(entry, "term", CODE_TERMS, "perpetual")  # type: ignore[assignment]
        found[tag] = Entitlement(tag, entry.integer("count", 1, MAX_COUNT), term, entry.optional_integer("ends"))
    return list(found.values())


def _read_anchors(members: Members) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for index, text in enumerate(members.array("anchors", MAX_ANCHORS)):
        where = f"{members.where}.anchors[{index}]"
        if not isinstance(text, str):
            raise InvalidContent(f"{where} must be base64 text")
        der = _read_der(text, where)
        if not check_anchor(der):
            raise InvalidContent(f"{where} must be a self-signed root that may issue certificates")
        found.append(der)
    if not found or len(set(found)) != len(found):
        raise InvalidContent(f"{members.where}.anchors must hold at least one root, and none twice")
    return tuple(found)


def confirmation_code(overwritten: str, installed: str) -> str:
    """Eight hexadecimal digits that tell the authority that one code gave way to another (both are digests)."""
    return hashlib.sha256(f"confirm:{overwritten}:{installed}".encode()).hexdigest()[:8]


def _read_ack(heading: Heading, members: Members) -> Ack:
    seen: set[int] = set()
    acknowledged = tuple(Acknowledged(*_report(entry, seen)) for entry in members.objects("reports", MAX_ACKNOWLEDGED))
    entries = members.objects("refused", MAX_ACKNOWLEDGED) if "refused" in members else ()
    # A report may be refused because another one, which is acknowledged, has its number.
    others: set[int] = set()
    refused = tuple(Refused(*_report(entry, others), entry.text("reason", 64)) for entry in entries)
    return Ack(heading, acknowledged, refused)


def _report(entry: Members, seen: set[int]) -> tuple[int, str]:
    number, digest = entry.integer("report_id", 1), entry.text("digest", 64)
    if not is_digest(digest):
        raise InvalidContent(f"{entry.where}.digest must be 64 lower-case hexadecimal digits")
    if number in seen:
        raise InvalidContent(f"{entry.where}: report {number} stands twice in one acknowledgement")
    seen.add(number)
    return number, digest


def read_terms(members: Members) -> PolicyTerms:
    """Parse a policy's terms, of a verified document or of an operator's file."""
    classes = {name: _read_class(members.optional_object(name)) for name in _CLASSES}
    return PolicyTerms(members.text("name"), ack_required=members.optional_boolean("ack_required"), **classes)


def _read_class(members: Members | None) -> PolicyClass:
    if members is None:
        return PolicyClass()
    return PolicyClass(**{field: members.optional_integer(field, 0, MAX_DAYS) for field in _DAYS})
