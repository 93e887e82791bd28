"""Installing what the authority sent: from verified documents to events, and from every refusal to its answer.

Verification is formats/envelope.py's. Each document of a file stands by itself: what is good is installed.
"""

from __future__ import annotations

from collections import Counter

from agent.formats.documents import Ack, Authorization, Kind, Policy, TrustAnchors, TrustCode
from agent.formats.envelope import Checked, Floor, Opened, Terms, check_documents, open_documents
from agent.formats.errors import DocumentError
from agent.licensing import authorization, trust
from agent.licensing.draft import Draft
from agent.licensing.events import (
    AckReceived,
    DocumentAccepted,
    Event,
    PolicyInstalled,
    PolicyRemoved,
    ReportsAcknowledged,
    ReportsPurged,
    ReportsRefused,
    TrustCodeInstalled,
)
from agent.licensing.notices import ContentWasRefused
from agent.licensing.ports import ReportHead
from agent.licensing.refusals import SUCCESS, code
from agent.licensing.reply import DocumentResult
from agent.licensing.reports import moves

_NAMED = 10
"""How many reports a message names."""


def check(draft: Draft, content: bytes) -> Checked | None:
    """What `install` can be given of a long file, made on any thread; None for one that cannot be read."""
    try:
        return check_documents(content, **_terms(draft))
    except DocumentError:
        return None


def _terms(draft: Draft) -> Terms:
    context, state = draft.context, draft.state
    return {
        "addressee": context.profile.udi,
        "device_key": context.signer.public_key,
        "anchors": state.anchors,
        "now": draft.at,
        "skew": context.skew,
        "lab": context.lab,
        "utility": state.settings.utility_enabled,
    }


def install(
    draft: Draft, content: bytes, who: str, *, checked: Checked | None = None, factory: bool = False
) -> tuple[DocumentResult, ...]:
    """Verify `content` and add the events of what it installs to the draft; one result a document.

    With `factory` only what an authority marked as the factory's is taken.

    First come those that failed a check, then the others in the order of effect. Refused documents add a notice and
    no event.
    """
    state = draft.state

    def floor(kind: Kind) -> Floor | None:
        last = state.floors.get(kind)
        return None if last is None else Floor(last.serial, last.digest)

    try:
        opening = open_documents(content, floor=floor, earlier=checked, **_terms(draft))
    except DocumentError as error:
        return (_refuse(draft, DocumentResult("file", code(error.reason), error.message, error.reason), who),)
    results = []
    for rejected in opening.rejected:
        why = rejected.error
        failed = DocumentResult(rejected.kind or "file", code(why.reason), why.message, why.reason)
        results.append(_refuse(draft, failed, who))
    for document in opening.opened:
        result, events = _effect(draft, document) if not factory or _of_factory(document) else _not_of_factory(document)
        if result.code != SUCCESS:
            result = _refuse(draft, result, who)
        if result.code == SUCCESS and not document.replay:
            draft.settle_clock()
            for event in events:
                draft.emit(event)
            # also where it changed nothing: an older one must not be taken after it
            draft.emit(_accepted(draft.at, document))
        results.append(result)
    return tuple(results)


def _of_factory(opened: Opened) -> bool:
    match opened.document:
        case TrustCode(factory=True) | Authorization(factory=True) | Policy(origin="factory"):
            return True
    return False


def _not_of_factory(opened: Opened) -> tuple[DocumentResult, list[Event]]:
    kind = opened.document.kind
    message = f"this {kind} is not one for a factory to put in; let the authority make a factory file"
    return DocumentResult(kind, code("document"), message, "document"), []


def _refuse(draft: Draft, result: DocumentResult, who: str) -> DocumentResult:
    draft.notices.append(ContentWasRefused(result.kind, result.code, result.reason or "", result.message, who))
    return result


def _accepted(at: int, opened: Opened) -> DocumentAccepted:
    floor = opened.floor
    return DocumentAccepted(at, opened.document.kind, floor.serial, floor.digest)


def _effect(draft: Draft, opened: Opened) -> tuple[DocumentResult, list[Event]]:
    """The answer to one verified document, and its events."""
    document = opened.document
    if isinstance(document, Authorization) and authorization.worthless(draft, document, opened.digest):
        message = "this authorization code was returned from this device and is worthless; request a new one"
        return DocumentResult(document.kind, code("authorization-returned"), message, "authorization-returned"), []
    if opened.replay:
        message = f"this {document.kind} was installed before"
        last = draft.state.floors.get(document.kind)
        if last is not None and document.heading.serial < last.serial:
            # whether it was taken or refused then is not kept
            message = f"this {document.kind} was passed over: a newer one of its file was installed before"
        return DocumentResult(document.kind, SUCCESS, message), []
    match document:
        case TrustCode():
            return _trust(draft, document)
        case Policy():
            return _policy(draft, document)
        case Authorization():
            return _authorize(draft, document, opened.digest)
        case TrustAnchors():
            anchors = trust.anchors_installed(draft, document.anchors)
            return DocumentResult(document.kind, SUCCESS, f"{len(document.anchors)} trust anchors installed"), [anchors]
        case Ack():
            return _acknowledge(draft, document)


def _trust(draft: Draft, document: TrustCode) -> tuple[DocumentResult, list[Event]]:
    if trust.keeps_own(draft.state, document, draft.at):
        message = "a factory-installed trust code does not take the place of the authority's"
        return DocumentResult(document.kind, code("trust-code-installed"), message, "trust-code-installed"), []
    event = TrustCodeInstalled(
        draft.at, document.certificate, document.key_id, document.not_before, document.not_after, document.factory
    )
    return DocumentResult(document.kind, SUCCESS, "trust code installed"), [event]


def _policy(draft: Draft, document: Policy) -> tuple[DocumentResult, list[Event]]:
    terms, origin = document.terms, document.origin
    if terms is not None:
        installed = PolicyInstalled(draft.at, terms, origin)
        return DocumentResult(document.kind, SUCCESS, f"policy {terms.name} installed"), [installed]
    before = draft.state.policies.get(origin)
    if before is None:
        return DocumentResult(document.kind, SUCCESS, f"there is no {origin} policy to remove"), []
    removed = PolicyRemoved(draft.at, origin, before.terms.name)
    return DocumentResult(document.kind, SUCCESS, f"policy {before.terms.name} removed"), [removed]


def _authorize(draft: Draft, document: Authorization, digest: str) -> tuple[DocumentResult, list[Event]]:
    event = authorization.installed(draft, document, digest)
    number = len(document.entitlements) or "all"
    message = f"{document.auth_type} authorization code for {number} licences installed"
    if event.confirmation:
        message += f"; it took the place of another one: confirmation code {event.confirmation}"
    return DocumentResult(document.kind, SUCCESS, message, confirmation_code=event.confirmation or None), [event]


def _acknowledge(draft: Draft, ack: Ack) -> tuple[DocumentResult, list[Event]]:
    """Reports that the ACK names rightly are acknowledged and purged; for the others nothing changes.

    An ACK that names nothing rightly is refused.
    """
    before = {number for e in draft.events if isinstance(e, ReportsAcknowledged) for number in e.report_ids}
    found: list[ReportHead] = []
    earlier = 0
    unknown: list[int] = []
    differing: list[int] = []
    heads = draft.context.reads.heads([entry.report_id for entry in ack.acknowledged])
    for report_id, digest in ack.acknowledged:
        stored = heads.get(report_id)
        if report_id in before or (stored is not None and not moves(stored.state, "acknowledged")):
            earlier += 1
        elif stored is None:
            if _was_purged(draft, report_id):
                earlier += 1
            else:
                unknown.append(report_id)
        elif stored.digest != digest:
            differing.append(report_id)
        else:
            found.append(stored)
    count = "1 report" if len(found) == 1 else f"{len(found)} reports"
    parts = [f"{count} acknowledged"] if ack.acknowledged or not ack.refused else []
    if earlier:
        parts.append(f"{earlier} were acknowledged before")
    if unknown:
        parts.append(f"not acknowledged, because no closed report has this id: {_listed(unknown)}")
    if differing:
        parts.append(f"not acknowledged, because the report here has another digest: {_listed(differing)}")
    refused = _refused(draft, ack)
    if ack.refused:
        parts.append(f"not taken by the authority: {_listed([entry.report_id for entry in ack.refused])}")
    message = "; ".join(parts)
    if not ack.acknowledged and ack.refused:
        return DocumentResult(ack.kind, SUCCESS, message), refused
    if not found and not earlier and ack.acknowledged:
        reason = "other-digest" if differing else "unknown-report"
        return DocumentResult(ack.kind, code(reason), message, reason), []
    return DocumentResult(ack.kind, SUCCESS, message), [*_acknowledged(draft.at, ack, found), *refused]


def _refused(draft: Draft, ack: Ack) -> list[Event]:
    """Delivered reports that the authority did not take can be collected again."""
    found = []
    heads = draft.context.reads.heads([entry.report_id for entry in ack.refused])
    for entry in ack.refused:
        stored = heads.get(entry.report_id)
        if stored is not None and stored.digest == entry.digest and moves(stored.state, "refused"):
            found.append(entry)
    if not found:
        return []
    ids = tuple(entry.report_id for entry in found)
    return [ReportsRefused(draft.at, ids, tuple(entry.reason for entry in found))]


def _was_purged(draft: Draft, report_id: int) -> bool:
    """Whether a report with this id was closed here and is gone, as far as ids tell."""
    state = draft.state
    if not state.first_report_id <= report_id < state.next_report_id:
        return False
    return all(use.report is None or use.report.report_id != report_id for use in state.licences.values())


def _acknowledged(at: int, ack: Ack, found: list[ReportHead]) -> list[Event]:
    account = ack.heading.account
    events: list[Event] = []
    if found:
        ids = tuple(sorted(stored.report_id for stored in found))
        by_state = Counter(stored.state for stored in found)
        events = [ReportsAcknowledged(at, ids, tuple(sorted(by_state.items()))), ReportsPurged(at, ids)]
    upto: dict[str, int] = {}
    for stored in found:
        upto[stored.entitlement_tag] = max(stored.end, upto.get(stored.entitlement_tag, 0))
    events.append(
        AckReceived(
            at=at,
            reported=tuple(sorted(upto.items())),
            smart_account=account.smart_account if account else "",
            virtual_account=account.virtual_account if account else "",
        )
    )
    return events


def _listed(numbers: list[int]) -> str:
    more = len(numbers) - _NAMED
    return ", ".join(map(str, numbers[:_NAMED])) + (f" and {more} more" if more > 0 else "")
