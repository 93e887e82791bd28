"""Decisions about trust codes and trust anchors: asking for a code, what is installed over what; values are elsewhere.

Source: slp-facts section 6, docs/licensing.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.formats import certificates
from agent.formats.certificates import Certificate
from agent.formats.documents import TrustCode
from agent.formats.errors import DocumentError
from agent.formats.requests import MAX_TOKEN, TrustRequest
from agent.licensing import outgoing
from agent.licensing.draft import Draft
from agent.licensing.events import AnchorsInstalled, TrustCodeNoticed, TrustRequested, TrustRequestEnded
from agent.licensing.reply import Reply, refusal
from agent.licensing.state import InstalledTrust, State
from agent.licensing.trusting import counts, due

NO_TRANSPORT = "no-transport"


def request(draft: Draft, token: str | None, force: bool, online: bool) -> Reply:
    """Ask for a trust code apart from reports; offline the reply's content is the request file."""
    if token is not None and not 1 <= len(token) <= MAX_TOKEN:
        return refusal("bad-token", f"an ID token of 1 to {MAX_TOKEN} characters is expected")
    if online and not force and counts(draft.state.trust, draft.at):
        return refusal("trust-code-installed", "a trust code is installed; use force to replace it")
    draft.settle_clock()
    if online:
        draft.emit(TrustRequested(draft.at, force))
        if not draft.context.online:
            message = "no transport can carry the request; save it to a file, or let a report carry it"
            draft.emit(TrustRequestEnded(draft.at, NO_TRANSPORT, message))
            return Reply("registrationinprogress", "a trust code is being requested")
    made = TrustRequest(outgoing.heading(draft, "trust-request"), draft.context.signer.public_key, token, force)
    content = outgoing.file(made, outgoing.seal(draft, made))
    if online:
        return Reply("registrationinprogress", "a trust code is being requested", content=content)
    return Reply(content=content)


def keeps_own(state: State, document: TrustCode, at: int) -> bool:
    """Whether the installed code stays: a factory-installed one never takes the place of one that counts."""
    return document.factory and counts(state.trust, at)


def notice_end(draft: Draft) -> None:
    """Record, once for each, that the authority's trust code ends soon, and that it has ended."""
    trust = draft.state.trust
    if trust is None or trust.factory or not due(trust, draft.at):
        return
    ended = draft.at > trust.valid_until
    if trust.noticed != ("ended" if ended else "ends-soon") and (ended or counts(trust, draft.at)):
        draft.emit(TrustCodeNoticed(draft.at, ended))


def anchors_installed(draft: Draft, anchors: tuple[bytes, ...]) -> AnchorsInstalled:
    """The event of trusting these roots (DER) in place of the present ones."""
    return AnchorsInstalled(draft.at, anchors, anchored(draft.state.trust, anchors, draft.at, draft.context.skew))


def anchored(trust: InstalledTrust | None, anchors: Sequence[bytes], at: int, skew: int) -> bool:
    """Whether one of these roots (DER) has issued the installed trust code; True when there is none."""
    if trust is None:
        return True
    try:
        certificates.check_chain(Certificate(trust.certificate, "the trust code"), anchors, at, skew)
    except DocumentError:
        return False
    return True
