"""What the authority decides about verified reports: pure functions over frozen values; no disk, socket, clock or key.

An instance is known by its UDI, pinned to one key and one instance epoch. Its reports form a hash chain; `head` is
the last link of which every predecessor is here. A report beyond the head waits ("pending") until the gap closes,
because a file may hold a part; a report that contradicts the chain is refused, because somebody altered it or an old
snapshot of the instance was restored.

    first contact ──approve──▶ pinned ──reports──▶ accepted (head moves, ACK) | pending (gap) | refused (contradiction)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from agent.formats.documents import MAX_ACKNOWLEDGED, Account, Acknowledged, PolicyTerms, Refused
from agent.formats.envelope import SignedReport
from agent.formats.signing import key_id
from agent.formats.udi import Udi
from peers.authority.codes import IssuedCode

Result = Literal["accepted", "duplicate", "pending", "refused"]


class OperatorError(Exception):
    """An operator's request that cannot be done; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all instances of one authority."""

    account: Account
    lab: bool
    policy: PolicyTerms | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """The key (DER SubjectPublicKeyInfo) and instance epoch that an instance's reports must come from."""

    public_key: bytes
    epoch: str

    @property
    def key_id(self) -> str:
        return key_id(self.public_key)


class Head(NamedTuple):
    """The last report of the unbroken chain; sequence 0 when none has come yet."""

    sequence: int = 0
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """One product instance as the authority knows it. Documents are the exact bytes that were issued."""

    udi: Udi
    first_seen: int
    last_seen: int
    pin: Pin | None = None
    factory_key: bytes | None = None
    """The key that the factory named (DER SubjectPublicKeyInfo): it needs no approval at first contact."""
    candidate: Pin | None = None
    """The pin that the latest unapproved report asked for."""
    head: Head = field(default_factory=Head)
    serial: int = 0
    """The last serial used for any document of this instance."""
    ack: bytes | None = None
    acknowledged: tuple[Acknowledged, ...] = ()
    """What `ack` lists."""
    policy: bytes | None = None
    policy_terms: PolicyTerms | None = None
    """What `policy` states."""
    trust_code: bytes | None = None
    trust_until: int = 0
    trust_from: int = 0
    """The validity of the certificate in `trust_code`."""
    codes: tuple[IssuedCode, ...] = ()
    request_number: int = 0
    """The highest number of the requests taken from the pinned epoch."""
    export: bool = True
    """Whether it may get export-controlled codes: as its ID token said; after an operator's approval it may."""
    utility: bool = False
    """Whether the latest report or request came from utility mode: then every document is flagged."""


class Filed(NamedTuple):
    """A report that is kept, accepted or waiting for its predecessors."""

    epoch: str
    sequence: int
    report_id: int
    digest: str
    previous_digest: str | None
    state: Literal["accepted", "pending"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one report; `reason` is a slug (docs/formats.md), `message` says what to do."""

    udi: Udi
    report_id: int
    digest: str
    result: Result
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write down and issue; nothing has changed yet."""

    instance: Instance
    outcomes: tuple[Outcome, ...]
    file: tuple[SignedReport, ...] = ()
    """Reports to keep, in the state that `accepted` tells."""
    accepted: frozenset[int] = frozenset()
    """Sequences that are accepted now, of `file` and of those that were waiting."""
    dropped: frozenset[int] = frozenset()
    """Sequences that were waiting and contradict the chain now."""
    acknowledge: tuple[Acknowledged, ...] = ()
    """What the answer has to acknowledge; the last ACK is sent again when it covers them all."""
    refused: tuple[Refused, ...] = ()
    """What the answer names as not taken; such an answer is always signed anew."""
    fresh_ack: bool = False
    fresh_policy: bool = False
    trust: Literal["none", "again", "fresh"] = "none"


@dataclass(slots=True)
class _Work:
    """The notes of one decision."""

    pin: Pin
    known: dict[int, Filed]
    head: Head
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """By digest: a report id may stand in two contradicting reports."""
    file: dict[int, SignedReport] = field(default_factory=dict)
    waiting: dict[int, Filed] = field(default_factory=dict)
    accepted: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)
    acknowledge: dict[int, Acknowledged] = field(default_factory=dict)


def receive(
    settings: Settings, instance: Instance | None, known: Iterable[Filed], reports: Sequence[SignedReport], now: int
) -> Decision:
    """Decide about verified reports of one UDI.

    `known` holds the filed reports of the pinned epoch that share a sequence or report id with `reports`, and all
    that wait. The order of `reports` does not matter.
    """
    udi = reports[0].report.udi
    instance = replace(instance, last_seen=now) if instance else Instance(udi, now, now)
    pins = [Pin(signed.public_key, signed.report.epoch) for signed in reports]
    if len(set(pins)) == 1:
        instance = from_factory(instance, pins[0])
    if instance.pin is None or any(pin != instance.pin for pin in pins):
        return _unapproved(instance, reports, pins)
    work = _Work(instance.pin, {entry.sequence: entry for entry in known}, instance.head)
    by_id = {entry.report_id: entry for entry in work.known.values()}
    work.waiting = {entry.sequence: entry for entry in work.known.values() if entry.state == "pending"}
    for signed in sorted(reports, key=lambda s: s.report.sequence):
        _take(work, signed, by_id)
    _link(work, udi)
    return _conclude(settings, instance, work, reports, now)


def _unapproved(instance: Instance, reports: Sequence[SignedReport], pins: Sequence[Pin]) -> Decision:
    """All reports of a submission wait for the operator when any of them comes from elsewhere than the pin."""
    candidate, reason, message = unapproved(instance, [pin for pin in pins if pin != instance.pin][-1])
    udi = instance.udi
    outcomes = tuple(Outcome(udi, s.report.report_id, s.digest, "pending", reason, message) for s in reports)
    return Decision(replace(instance, candidate=candidate), outcomes)


def unapproved(instance: Instance, candidate: Pin) -> tuple[Pin, str, str]:
    """Why what comes from `candidate`, which is not the instance's pin, waits: itself, reason and message."""
    if instance.pin is None:
        reason, message = "first-contact", "this instance is not known yet; approve it, then send the same again"
    elif candidate.public_key != instance.pin.public_key:
        reason = "new-key"
        message = f"this instance is pinned to key {instance.pin.key_id}; re-key it by force if it was reset"
    else:
        reason = "new-epoch"
        message = "the instance began a new epoch under its old key; approve by force if that is right"
    return candidate, reason, message


def _take(work: _Work, signed: SignedReport, by_id: dict[int, Filed]) -> None:
    """Sort one report: known, contradicting, late, or to be linked."""
    report = signed.report
    same = work.known.get(report.sequence) or by_id.get(report.report_id)
    staged = work.file.get(report.sequence)
    if staged is not None or any(other.report.report_id == report.report_id for other in work.file.values()):
        if staged is None or staged.digest != signed.digest:
            _refuse(work, signed, "conflict", "another report of this submission has its number or place")
        return
    if same is not None and same.digest != signed.digest:
        _refuse(work, signed, "conflict", f"another report {same.report_id} is filed under its number or place")
    elif same is not None and same.state == "accepted":
        _note(work, signed, "duplicate")
        work.acknowledge[report.report_id] = Acknowledged(report.report_id, signed.digest)
    elif same is not None:
        _note(work, signed, "pending")
    else:
        work.file[report.sequence] = signed
        _note(work, signed, "pending")
        if report.sequence <= work.head.sequence:
            # It was passed over when an operator accepted a gap: it counts, but links nothing.
            _accept(work, report.udi, report.sequence, report.report_id, signed.digest)
        else:
            work.waiting[report.sequence] = Filed(
                work.pin.epoch, report.sequence, report.report_id, signed.digest, report.previous_digest, "pending"
            )


def _link(work: _Work, udi: Udi) -> None:
    """Move the head over everything that follows it without a gap."""
    while (entry := work.waiting.get(work.head.sequence + 1)) is not None:
        del work.waiting[entry.sequence]
        if work.head.digest != entry.previous_digest:
            work.file.pop(entry.sequence, None)
            work.dropped.add(entry.sequence)
            message = (
                "the report does not continue the chain that was acknowledged: it was altered, "
                "or an old snapshot of the instance was restored"
            )
            work.outcomes[entry.digest] = Outcome(
                udi, entry.report_id, entry.digest, "refused", "broken-chain", message
            )
            break
        work.head = Head(entry.sequence, entry.digest)
        _accept(work, udi, entry.sequence, entry.report_id, entry.digest)
    for entry in work.waiting.values():
        message = f"link {work.head.sequence + 1} of the chain has not come yet; send it too"
        if entry.digest in work.outcomes:
            work.outcomes[entry.digest] = Outcome(udi, entry.report_id, entry.digest, "pending", "gap", message)


def _accept(work: _Work, udi: Udi, sequence: int, report_id: int, digest: str) -> None:
    work.accepted.add(sequence)
    work.outcomes[digest] = Outcome(udi, report_id, digest, "accepted")
    if len(work.acknowledge) < MAX_ACKNOWLEDGED:  # what does not fit is acknowledged when it is sent again
        work.acknowledge[report_id] = Acknowledged(report_id, digest)


def _note(work: _Work, signed: SignedReport, result: Result) -> None:
    report = signed.report
    work.outcomes[signed.digest] = Outcome(report.udi, report.report_id, signed.digest, result)


def _refuse(work: _Work, signed: SignedReport, reason: str, message: str) -> None:
    report = signed.report
    work.outcomes[signed.digest] = Outcome(report.udi, report.report_id, signed.digest, "refused", reason, message)


def _conclude(
    settings: Settings, instance: Instance, work: _Work, reports: Sequence[SignedReport], now: int
) -> Decision:
    acknowledge = tuple(sorted(work.acknowledge.values()))
    instance = _mode_of_newest(instance, work)
    covered = bool(acknowledge) and set(acknowledge) <= set(instance.acknowledged) and instance.ack is not None
    asks = bool(acknowledge) and any(signed.report.trust_request is not None for signed in reports)
    holds = holds_trust(instance, now)
    refused = {
        o.report_id: Refused(o.report_id, o.digest, o.reason)
        for o in work.outcomes.values()
        if o.reason and o.result == "refused"
    }
    return Decision(
        instance=replace(instance, head=work.head),
        outcomes=tuple(work.outcomes.values()),
        file=tuple(work.file.values()),
        accepted=frozenset(work.accepted),
        dropped=frozenset(work.dropped),
        acknowledge=acknowledge,
        refused=tuple(refused.values()),
        fresh_ack=bool(acknowledge) and not covered,
        fresh_policy=bool(acknowledge) and settings.policy is not None and instance.policy_terms != settings.policy,
        trust=("again" if holds else "fresh") if asks else "none",
    )


def _mode_of_newest(instance: Instance, work: _Work) -> Instance:
    """The instance in the mode of the newest report; one that is old, or sent again, tells nothing about now."""
    newest = max([instance.head.sequence, *work.known])
    newer = [signed.report for sequence, signed in work.file.items() if sequence > newest]
    if not newer:
        return instance
    return in_mode(instance, max(newer, key=lambda report: report.sequence).utility_enabled)


def from_factory(instance: Instance, pin: Pin) -> Instance:
    """The instance, pinned when this is its first contact and the key is the one that the factory named."""
    if instance.pin is None and pin.public_key == instance.factory_key:
        return replace(instance, pin=pin, candidate=None)
    return instance


def in_mode(instance: Instance, utility: bool) -> Instance:
    """The instance in or out of utility mode; documents that are flagged otherwise are not sent again."""
    if instance.utility == utility:
        return instance
    return replace(
        instance, utility=utility, ack=None, acknowledged=(), policy=None, policy_terms=None, trust_code=None
    )


def holds_trust(instance: Instance, now: int) -> bool:
    """Whether the trust code issued before answers again: one is renewed in the second half of its life."""
    return instance.trust_code is not None and now < (instance.trust_from + instance.trust_until) // 2


def next_serial(instance: Instance, now: int) -> int:
    """Above every earlier serial, and above those of an authority that was set up anew: time is the base."""
    return max(instance.serial + 1, now)


def approve(instance: Instance, force: bool, expected_key: str | None = None) -> Instance:
    """Pin what the latest unapproved report asked for; a new key or epoch begins a new chain and needs `force`.

    `expected_key` is the key id that the operator has read at the instance, if any. Raises OperatorError when there
    is nothing to approve, the key is another one, or force is missing.
    """
    if instance.candidate is None or instance.candidate == instance.pin:
        raise OperatorError(f"{instance.udi.key} has nothing to approve; let it send a report first")
    if expected_key is not None and instance.candidate.key_id != expected_key:
        raise OperatorError(
            f"{instance.udi.key} last reported with key {instance.candidate.key_id}, not {expected_key}; "
            "compare it with what the instance itself shows"
        )
    if instance.pin is None:
        return replace(instance, pin=instance.candidate, candidate=None, export=True)
    if not force:
        raise OperatorError(
            f"{instance.udi.key} is pinned to key {instance.pin.key_id}, epoch {instance.pin.epoch}; "
            f"use --force to re-key it to {instance.candidate.key_id}, epoch {instance.candidate.epoch}"
        )
    # Serials go on rising: the instance's floors outlive its reset.
    return replace(
        instance,
        pin=instance.candidate,
        candidate=None,
        export=True,
        head=Head(),
        trust_code=None,
        trust_from=0,
        trust_until=0,
        request_number=0,
    )


def accept_gap(instance: Instance, waiting: Iterable[Filed]) -> Instance:
    """Let the chain go on at the first report that waits, although its predecessors never came.

    Raises OperatorError when nothing waits behind a gap.
    """
    first = min(waiting, key=lambda entry: entry.sequence, default=None)
    if first is None or first.sequence <= instance.head.sequence + 1:
        raise OperatorError(f"{instance.udi.key} has no report that waits behind a gap")
    return replace(instance, head=Head(first.sequence - 1, first.previous_digest))
