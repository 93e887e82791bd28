"""Frozen values of what a licence authority issues, and how their bodies look in JSON; verification is envelope.py's.

A value of these types in the agent's hands has passed the door. Times are epoch seconds, days are whole days.
Source: slp-facts 3 (policy attributes), 4.5 (ACK), 6 (trust code); inner members are ours, see docs/formats.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from agent.formats.certificates import Certificate
from agent.formats.errors import InvalidContent
from agent.formats.jsontext import Members
from agent.formats.rum import is_digest
from agent.formats.signing import from_base64, key_id, to_base64
from agent.formats.udi import Udi

Kind = Literal["trust-code", "policy", "acknowledgement"]
KINDS: tuple[Kind, ...] = ("trust-code", "policy", "acknowledgement")
"""All kinds, in the order in which the documents of one file take effect."""

MAX_ACKNOWLEDGED = 20_000
MAX_DAYS = 36_500


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


class Acknowledged(NamedTuple):
    """One report that the authority has taken; `digest` is `signing.payload_digest` of the report's payload."""

    report_id: int
    digest: str


@dataclass(frozen=True, slots=True)
class Ack:
    """The authority holds these reports: the device may purge them."""

    heading: Heading
    acknowledged: tuple[Acknowledged, ...]
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


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy issued to one product instance."""

    heading: Heading
    terms: PolicyTerms
    kind: Literal["policy"] = "policy"


@dataclass(frozen=True, slots=True)
class TrustCode:
    """The certificate (DER) that the authority issued for the device's own key, valid `not_before`..`not_after`."""

    heading: Heading
    certificate: bytes
    key_id: str
    not_before: int
    not_after: int
    kind: Literal["trust-code"] = "trust-code"


Document = Ack | Policy | TrustCode

_CLASSES = ("enforced", "export", "subscription", "perpetual")
_DAYS = ("first", "ongoing", "change")


def body(document: Document) -> dict[str, Any]:
    """The members of `payload.body` for this document."""
    if isinstance(document, Ack):
        return {"reports": [{"report_id": entry.report_id, "digest": entry.digest} for entry in document.acknowledged]}
    if isinstance(document, TrustCode):
        return {"certificate": to_base64(document.certificate)}
    return terms_body(document.terms)


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
        return Ack(heading, _read_acknowledged(members))
    if kind == "policy":
        return Policy(heading, read_terms(members))
    try:
        der = from_base64(members.text("certificate", 16_384))
    except ValueError as error:
        raise InvalidContent(f"{members.where}.certificate: {error}") from None
    certificate = Certificate(der, "the trust code")
    return TrustCode(heading, der, key_id(certificate.public_key), certificate.not_before, certificate.not_after)


def _read_acknowledged(members: Members) -> tuple[Acknowledged, ...]:
    found: dict[int, str] = {}
    for entry in members.objects("reports", MAX_ACKNOWLEDGED):
        number, digest = entry.integer("report_id", 1), entry.text("digest", 64)
        if not is_digest(digest):
            raise InvalidContent(f"{entry.where}.digest must be 64 lower-case hexadecimal digits")
        if number in found:
            raise InvalidContent(f"{entry.where}: report {number} stands twice in one acknowledgement")
        found[number] = digest
    return tuple(Acknowledged(number, digest) for number, digest in found.items())


def read_terms(members: Members) -> PolicyTerms:
    """Parse a policy's terms, of a verified document or of an operator's file."""
    classes = {name: _read_class(members.optional_object(name)) for name in _CLASSES}
    return PolicyTerms(members.text("name"), ack_required=members.optional_boolean("ack_required"), **classes)


def _read_class(members: Members | None) -> PolicyClass:
    if members is None:
        return PolicyClass()
    return PolicyClass(**{field: members.optional_integer(field, 0, MAX_DAYS) for field in _DAYS})
