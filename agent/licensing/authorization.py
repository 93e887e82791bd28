"""Decisions about authorization codes: asking for one, installing, returning, noticing an end. Values are codes.py's.

Source: slp-facts section 5; the life-cycle is the table codes.LIFE.
"""

from __future__ import annotations

from agent.formats.documents import Authorization as Document
from agent.formats.documents import confirmation_code
from agent.formats.errors import TooLarge
from agent.formats.requests import AuthorizationRequest, AuthorizationReturn, Key, ReturnedCode, return_string
from agent.licensing import outgoing
from agent.licensing.codes import holds
from agent.licensing.draft import Draft
from agent.licensing.events import (
    AuthorizationInstalled,
    AuthorizationRemoved,
    AuthorizationRequested,
    AuthorizationRequestEnded,
    EntitlementsExpired,
)
from agent.licensing.profile import Licence
from agent.licensing.releases import supports
from agent.licensing.reply import Reply, refusal
from agent.licensing.usage import MAX_COUNT

NO_TRANSPORT = "no-transport"


def request(draft: Draft, name: str, count: int, add: bool, online: bool) -> Reply:
    """Ask for a code for `count` of a licence, beside what the installed SLAC authorizes (`add`) or in its place.

    Offline the reply's content is the request file; online the request waits for a transport, and ends at once where
    none can carry it.
    """
    licence = draft.context.profile.find(name)
    if licence is None:
        return refusal("unknown-licence", f"no licence {name!r:.80} is in this product's catalogue")
    if not 1 <= count <= MAX_COUNT:
        return refusal("count-out-of-range", f"a count of 1 to {MAX_COUNT} is expected, found {count}")
    if not licence.needs_authorization:
        return refusal("authorization-not-needed", f"{licence.name} is not enforced and needs no authorization code")
    others = draft.state.authorization.authorized(licence.entitlement_tag, draft.at, without="slac")
    if others is None or others >= count:
        return refusal(
            "already-authorized",
            f"{licence.name} is authorized by a code that was imported; no other is needed",
        )
    if not online and not supports(draft.state.software_version, "authorization-file"):
        return refusal("not-in-this-release", "this release cannot save authorization requests to files")
    keys = _keys(draft, licence, count, add)
    lost = _relying(draft, {key.tag: key.count for key in keys})
    if lost:
        return refusal(
            "authorization-in-use", f"{', '.join(lost)} would lose its authorization while in use; add instead"
        )
    too_large = _too_large(draft, keys)
    if too_large is not None:
        return too_large
    draft.settle_clock()
    draft.emit(AuthorizationRequested(draft.at, keys, online))
    if not online:
        return save_request(draft)
    if not draft.context.online:
        message = "no transport can carry the request; save it to a file, or import the code"
        draft.emit(AuthorizationRequestEnded(draft.at, NO_TRANSPORT, message))
        return Reply(message=f"no code was asked for: {message}")
    return Reply(message=f"a code for {licence.name} is being requested")


def _keys(draft: Draft, licence: Licence, count: int, add: bool) -> tuple[Key, ...]:
    """Everything that the new code is to hold."""
    installed = draft.state.authorization.of_type("slac")
    wanted: dict[str, int] = {}
    if add and installed is not None:
        wanted = {entry.tag: entry.count for entry in installed.entitlements if holds(entry, draft.at)}
    wanted[licence.entitlement_tag] = count
    return tuple(Key(tag, number) for tag, number in sorted(wanted.items()))


def _relying(draft: Draft, slac: dict[str, int] | None) -> list[str]:
    """The licences in use that would no longer be authorized: with a SLAC of this content, or (None) without any code.

    What is beyond its authorization already, because that has ended, relies on nothing.
    """
    state, found = draft.state, []
    for tag, use in state.licences.items():
        licence = draft.context.profile.by_tag(tag)
        if use.count == 0 or not licence.needs_authorization:
            continue
        now = state.authorization.authorized(tag, draft.at)
        then: int | None = 0
        if slac is not None:
            others = state.authorization.authorized(tag, draft.at, without="slac")
            then = None if others is None else others + slac.get(tag, 0)
        if then is not None and then < use.count and (now is None or then < now):
            found.append(licence.name)
    return found


def _too_large(draft: Draft, keys: tuple[Key, ...]) -> Reply | None:
    """The refusal of a request that names more than any authority would read."""
    request = AuthorizationRequest(outgoing.next_heading(draft), keys, draft.state.authorization.confirmation)
    try:
        outgoing.seal(draft, request)
    except TooLarge as error:
        return refusal(
            error.reason,
            f"a request for {len(keys)} licences cannot be made: {error.message}; ask for fewer, in place of the "
            "installed code's instead of beside them",
        )
    return None


def save_request(draft: Draft) -> Reply:
    """The request file for the code that was asked for."""
    pending = draft.state.authorization.request
    if pending is None:
        return refusal("no-request", "no authorization code has been requested; request one first")
    # what stands in it beside the licences may have grown since it was asked for
    too_large = _too_large(draft, pending.keys)
    if too_large is not None:
        return too_large
    draft.settle_clock()
    heading = outgoing.heading(draft, "authorization-request")
    made = AuthorizationRequest(heading, pending.keys, draft.state.authorization.confirmation)
    return Reply(content=outgoing.file(made, outgoing.seal(draft, made)))


def give_back(draft: Draft) -> Reply:
    """Remove every code and make the signed return, unless a licence in use relies on one.

    The code is gone before anything is sent, so that no other device can be given it while it works here.
    """
    authorization = draft.state.authorization
    if not authorization.codes:
        return refusal("no-authorization", "no authorization code is installed, so there is none to return")
    relying = _relying(draft, None)
    if relying:
        return refusal("authorization-in-use", f"{', '.join(relying)} is in use; stop using it, then return the code")
    draft.settle_clock()
    codes = tuple(ReturnedCode(code.auth_type, code.serial, code.digest) for code in authorization.codes)
    made = AuthorizationReturn(outgoing.heading(draft, "authorization-return"), codes, authorization.confirmation)
    document = outgoing.seal(draft, made)
    word = return_string(document)
    types = tuple(code.auth_type for code in authorization.codes)
    tags = tuple(dict.fromkeys(entry.tag for code in authorization.codes for entry in code.entitlements))
    draft.emit(AuthorizationRemoved(draft.at, types, tags, word))
    message = "the authorization code was removed; give the return string to the authority"
    return Reply(message=message, content=outgoing.file(made, document), return_string=word)


def installed(draft: Draft, document: Document, digest: str) -> AuthorizationInstalled:
    """The event of taking a verified code; a confirmation code goes with it when it overwrites one of its type."""
    before = draft.state.authorization.of_type(document.auth_type)
    return AuthorizationInstalled(
        at=draft.at,
        auth_type=document.auth_type,
        serial=document.heading.serial,
        digest=digest,
        entitlements=document.entitlements,
        confirmation="" if before is None else confirmation_code(before.digest, digest),
        factory=document.factory,
    )


def worthless(draft: Draft, document: Document, digest: str) -> bool:
    """Whether this code was returned from this device before."""
    authorization = draft.state.authorization
    here = any(code.digest == digest for code in authorization.codes)
    return not here and document.heading.serial <= authorization.returned_serial


def notice_ends(draft: Draft) -> None:
    """Record, once for each, the entitlements whose end has passed. What is in use goes on."""
    for code in draft.state.authorization.codes:
        ended = tuple(
            entry.tag for entry in code.entitlements if not holds(entry, draft.at) and entry.tag not in code.expired
        )
        if ended:
            draft.emit(EntitlementsExpired(draft.at, code.auth_type, ended))
