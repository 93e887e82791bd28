"""The authority's answers to requests: trust codes, authorization codes, and codes taken back; knows no HTTP, no disk.

Works on one instance inside the caller's transaction: what it returns is to be stored before it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from agent.formats.documents import Authorization, AuthType, Document, Entitlement, Heading, Kind
from agent.formats.envelope import SignedRequest
from agent.formats.requests import AuthorizationRequest, AuthorizationReturn, TrustRequest
from peers.authority import codes, core
from peers.authority.codes import IssuedCode, Pool, PoolRefusal
from peers.authority.core import Instance, Pin
from peers.authority.tokens import IdToken, TokenRefusal

Sign = Callable[[Document], tuple[bytes, str]]
"""Gives the signed document and its digest."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the answers depend on besides the instance: its account's pool and what other instances hold of it.

    `export` are the licences of the pool that are export-controlled. `heading` makes the next heading of an instance,
    `trust` issues a trust code to it, `redeem` takes an ID token for a key id and raises TokenRefusal.
    """

    pool: Pool
    export: frozenset[str]
    elsewhere: Mapping[str, int]
    now: int
    heading: Callable[[Instance], Heading]
    sign: Sign
    trust: Callable[[Instance], Instance]
    redeem: Callable[[str, str], IdToken]


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one request; `document` is what goes back to the device, if anything does."""

    instance: Instance
    result: Literal["accepted", "duplicate", "pending", "refused"]
    reason: str | None = None
    message: str | None = None
    document: tuple[Kind, bytes] | None = None


def answer(desk: Desk, instance: Instance, signed: SignedRequest) -> Answered:
    """Decide about one verified request of this instance."""
    request = signed.request
    pin = Pin(signed.public_key, request.heading.epoch)
    instance = core.from_factory(instance, pin)
    if isinstance(request, TrustRequest) and request.token is not None:
        try:
            instance = _redeem(desk, instance, pin, request.token, request.force)
        except TokenRefusal as refusal:
            return Answered(instance, "refused", refusal.reason, refusal.message)
    if instance.pin != pin:
        candidate, reason, message = core.unapproved(instance, pin)
        return Answered(replace(instance, candidate=candidate), "pending", reason, message)
    if request.heading.number > instance.request_number:
        instance = core.in_mode(instance, request.heading.utility)
    if isinstance(request, AuthorizationReturn):
        return _take_back(instance, request)
    again = [code for code in instance.codes if code.request == signed.digest]
    if again:
        return _again(instance, again[0])
    known = request.heading.number <= instance.request_number
    if isinstance(request, AuthorizationRequest):
        if known:
            message = "a later request of this instance was answered already; let it save its request again"
            return Answered(instance, "refused", "stale-serial", message)
        return _authorize(desk, instance, request, signed.digest)
    if core.holds_trust(instance, desk.now) and (known or not request.force):
        return Answered(instance, "duplicate", document=_trust_code(instance))
    instance = replace(desk.trust(instance), request_number=max(instance.request_number, request.heading.number))
    return Answered(instance, "accepted", document=_trust_code(instance))


def _redeem(desk: Desk, instance: Instance, pin: Pin, token: str, force: bool) -> Instance:
    """The instance, pinned to what the token vouches for. Raises TokenRefusal; then nothing is taken of the token."""
    if instance.pin not in (None, pin) and not force:
        raise TokenRefusal(
            "already-registered",
            f"{instance.udi.key} is registered with another key or epoch; let it ask with force if it was reset",
        )
    redeemed = desk.redeem(token, pin.key_id)
    if instance.pin != pin:
        instance = core.approve(replace(instance, candidate=pin), force=True)
    return replace(instance, export=redeemed.export)


def _trust_code(instance: Instance) -> tuple[Kind, bytes] | None:
    return None if instance.trust_code is None else ("trust-code", instance.trust_code)


def _again(instance: Instance, code: IssuedCode) -> Answered:
    if code.stage == "outstanding":
        return Answered(instance, "duplicate", document=("authorization", code.document))
    message = f"the code that answered this request is {code.stage}; let the instance request a new one"
    return Answered(instance, "refused", "authorization-returned", message)


def _take_back(instance: Instance, request: AuthorizationReturn) -> Answered:
    try:
        after = codes.taken_back(codes.confirmed(instance.codes, request.confirmation), request)
    except PoolRefusal as refusal:
        return Answered(instance, "refused", refusal.reason, refusal.message)
    number = max(instance.request_number, request.heading.number)
    result: Literal["accepted", "duplicate"] = "duplicate" if after == instance.codes else "accepted"
    return Answered(replace(instance, codes=after, request_number=number), result)


def _authorize(desk: Desk, instance: Instance, request: AuthorizationRequest, digest: str) -> Answered:
    instance = replace(instance, codes=codes.confirmed(instance.codes, request.confirmation))
    controlled = sorted(key.tag for key in request.keys if key.tag in desk.export)
    if controlled and not instance.export:
        message = (
            f"{controlled[0]} is export-controlled, and the ID token of this instance does not allow that; "
            "let it ask for trust with one that does"
        )
        return Answered(instance, "refused", "export-not-allowed", message)
    others = [code for code in instance.codes if code.auth_type != "slac"]
    elsewhere = codes.held(others)
    elsewhere.update(desk.elsewhere)
    try:
        entitlements = codes.grant(desk.pool, request.keys, elsewhere, desk.now)
    except PoolRefusal as refusal:
        return Answered(instance, "refused", refusal.reason, refusal.message)
    instance = replace(instance, request_number=request.heading.number)
    instance, code = issue_code(desk, instance, "slac", entitlements, digest)
    return Answered(instance, "accepted", document=("authorization", code.document))


def issue_code(
    desk: Desk,
    instance: Instance,
    auth_type: AuthType,
    entitlements: tuple[Entitlement, ...],
    request: str,
    *,
    factory: bool = False,
) -> tuple[Instance, IssuedCode]:
    """A new code for the instance, and the instance that holds it."""
    heading = desk.heading(instance)
    outstanding = [c.serial for c in instance.codes if c.auth_type == auth_type and c.stage == "outstanding"]
    document = Authorization(heading, auth_type, entitlements, max(outstanding, default=None), factory)
    data, digest = desk.sign(document)
    code = IssuedCode(auth_type, heading.serial, digest, entitlements, request, data)
    return replace(instance, codes=(*instance.codes, code), serial=heading.serial), code
