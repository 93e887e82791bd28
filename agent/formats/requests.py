"""Values of what a device asks the authority for, and their signed documents; envelope.py checks what arrives.

Trust requests, authorization requests and returned authorization codes: one envelope, one payload shape, three bodies.
Times are epoch seconds. Source: slp-facts sections 5 and 6; the inner members are ours, see docs/formats.md.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from agent.formats import jsontext
from agent.formats.documents import AUTH_TYPES, MAX_COUNT, MAX_ENTITLEMENTS, AuthType
from agent.formats.errors import HeaderMismatch, InvalidContent, Malformed, TooLarge, UnsupportedVersion
from agent.formats.jsontext import Members
from agent.formats.rum import is_digest
from agent.formats.signing import Signer, from_base64, to_base64
from agent.formats.udi import Udi

RequestKind = Literal["trust-request", "authorization-request", "authorization-return"]
REQUEST_KINDS: tuple[RequestKind, ...] = ("trust-request", "authorization-request", "authorization-return")
VERSION = "1.0"
MAX_REQUEST = 256 * 1024
MAX_TOKEN = 255
_CODE_LENGTH = 8


@dataclass(frozen=True, slots=True)
class RequestHeading:
    """What every request says about itself; `number` rises with the requests of one epoch."""

    udi: Udi
    epoch: str
    number: int
    time: int
    software_tag: str
    software_version: str
    lab: bool = False
    utility: bool = False
    hostname: str | None = None


@dataclass(frozen=True, slots=True)
class TrustRequest:
    """The device asks for a trust code for the key (DER SubjectPublicKeyInfo) that signs the request.

    `token` is the ID token that the operator got from the account, `force` asks to replace a code issued before.
    """

    heading: RequestHeading
    public_key: bytes
    token: str | None = None
    force: bool = False
    kind: Literal["trust-request"] = "trust-request"


@dataclass(frozen=True, slots=True)
class Key:
    """How many of a licence the device wants authorized."""

    tag: str
    count: int


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """The device wants one code of type `slac` for exactly these licences, in place of the one that it has.

    `confirmation` is the confirmation code of the last overwriting, if there was one.
    """

    heading: RequestHeading
    keys: tuple[Key, ...]
    confirmation: str | None = None
    kind: Literal["authorization-request"] = "authorization-request"


class ReturnedCode(NamedTuple):
    """A code that the device no longer has; `digest` is that of the authorization document."""

    auth_type: AuthType
    serial: int
    digest: str


@dataclass(frozen=True, slots=True)
class AuthorizationReturn:
    """The device has removed these codes and will not take them again."""

    heading: RequestHeading
    codes: tuple[ReturnedCode, ...]
    confirmation: str | None = None
    kind: Literal["authorization-return"] = "authorization-return"


Request = TrustRequest | AuthorizationRequest | AuthorizationReturn


def seal_request(request: Request, signer: Signer, trust_code: bytes | None = None) -> bytes:
    """The exact signed document, ASCII JSON. `trust_code` is the certificate (DER) installed for the signer's key.

    Raises InvalidContent, or TooLarge, where a reader would refuse it.
    """
    text = payload(request)
    signature: dict[str, Any] = {
        "sudi": request.heading.udi.sudi(),
        "signing_type": "builtin" if trust_code is None else "trust-code",
        "key": signer.key_id,
        "value": to_base64(signer.sign(text.encode("utf-8"))),
    }
    if trust_code is None:
        signature["public_key"] = to_base64(signer.public_key)
    else:
        signature["certificate"] = to_base64(trust_code)
    header = {"type": request.kind, "version": VERSION}
    document = jsontext.dump({"payload": text, "header": header, "signature": signature}).encode("ascii")
    if len(document) > MAX_REQUEST:
        raise TooLarge(f"the request has {len(document)} bytes; at most {MAX_REQUEST} are accepted")
    return document


def payload(request: Request) -> str:
    """The exact string that is signed. Raises InvalidContent or TooLarge when it breaks a rule that a reader checks."""
    heading = request.heading
    members: dict[str, Any] = {
        "header": {"type": request.kind, "version": VERSION},
        "sudi": heading.udi.sudi(),
        "epoch": heading.epoch,
        "number": heading.number,
        "time": heading.time,
        "software_tag_identifier": heading.software_tag,
        "software_version": heading.software_version,
        "lab": heading.lab,
        "utility_enabled": heading.utility,
    }
    if heading.hostname is not None:
        members["hostname"] = heading.hostname
    members["body"] = _body(request)
    text = jsontext.dump(members)
    read_payload(text, members["header"])
    return text


def _body(request: Request) -> dict[str, Any]:
    if isinstance(request, TrustRequest):
        token = {} if request.token is None else {"id_token": request.token}
        return {"public_key": to_base64(request.public_key), "force": request.force, **token}
    confirmation = {} if request.confirmation is None else {"confirm_code": request.confirmation}
    if isinstance(request, AuthorizationRequest):
        return {"keys": [{"entitlement": key.tag, "count": key.count} for key in request.keys], **confirmation}
    return {"codes": [code._asdict() for code in request.codes], **confirmation}


def read_payload(text: str, header: Any) -> Request:
    """Parse a payload whose signature fits; `header` is the outer header, which it must repeat.

    Raises Malformed, TooLarge, HeaderMismatch, UnsupportedVersion or InvalidContent.
    """
    members = Members(jsontext.load(text, "the payload", MAX_REQUEST), "payload")
    stated = members.object("header")
    if stated.raw() != header:
        raise HeaderMismatch("the header differs from its signed copy in the payload; the request was altered")
    version = stated.text("version", 16)
    if version.split(".")[0] != VERSION.split(".", maxsplit=1)[0]:
        raise UnsupportedVersion(f"request version {version} is not known; this release reads {VERSION}")
    members = Members(members.raw(), "payload", InvalidContent)
    try:
        udi = Udi.from_sudi(members.object("sudi").raw())
    except ValueError as error:
        raise InvalidContent(f"payload.sudi: {error}") from None
    heading = RequestHeading(
        udi=udi,
        epoch=members.text("epoch", 64),
        number=members.integer("number"),
        time=members.integer("time"),
        software_tag=members.text("software_tag_identifier"),
        software_version=members.text("software_version"),
        lab=members.boolean("lab"),
        utility=members.boolean("utility_enabled"),
        hostname=members.optional_text("hostname"),
    )
    return _read_body(stated.text("type", 64), heading, members.object("body"))


def _read_body(kind: str, heading: RequestHeading, body: Members) -> Request:
    if kind == "trust-request":
        try:
            public_key = from_base64(body.text("public_key", 512))
        except ValueError as error:
            raise InvalidContent(f"{body.where}.public_key: {error}") from None
        return TrustRequest(heading, public_key, body.optional_text("id_token", MAX_TOKEN), body.boolean("force"))
    confirmation = body.optional_text("confirm_code", _CODE_LENGTH)
    if confirmation is not None and (len(confirmation) != _CODE_LENGTH or confirmation.strip("0123456789abcdef")):
        raise InvalidContent(f"{body.where}.confirm_code must be {_CODE_LENGTH} lower-case hexadecimal digits")
    if kind == "authorization-request":
        return AuthorizationRequest(heading, _read_keys(body), confirmation)
    return AuthorizationReturn(heading, _read_codes(body), confirmation)


def _read_keys(body: Members) -> tuple[Key, ...]:
    keys = tuple(
        Key(entry.text("entitlement"), entry.integer("count", 1, MAX_COUNT))
        for entry in body.objects("keys", MAX_ENTITLEMENTS)
    )
    if not keys or len({key.tag for key in keys}) != len(keys):
        raise InvalidContent(f"{body.where}.keys must name at least one entitlement, and none twice")
    return keys


def _read_codes(body: Members) -> tuple[ReturnedCode, ...]:
    codes = []
    for entry in body.objects("codes", len(AUTH_TYPES)):
        auth_type, digest = entry.text("auth_type", 8), entry.text("digest", 64)
        if auth_type not in AUTH_TYPES or not is_digest(digest):
            raise InvalidContent(f"{entry.where} must hold an auth_type and the digest of a code")
        codes.append(ReturnedCode(auth_type, entry.integer("serial"), digest))
    if not codes:
        raise InvalidContent(f"{body.where}.codes must name at least one code")
    return tuple(codes)


def return_string(document: bytes) -> str:
    """An authorization return as one word that people can copy: base64url (RFC 4648 section 5) without padding."""
    return base64.urlsafe_b64encode(document).rstrip(b"=").decode("ascii")


def from_return_string(text: str) -> bytes:
    """The document in a return string; white space that copying left is dropped. Raises Malformed."""
    word = "".join(text.split())
    if len(word) > 2 * MAX_REQUEST:
        raise Malformed("the return string is too long; copy only the string itself")
    try:
        data = base64.b64decode(word.encode("ascii") + b"=" * (-len(word) % 4), b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Malformed("the return string is not base64url, or was cut off; copy it again, whole") from None
    return data
