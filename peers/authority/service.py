"""The authority at work: opens reports, lets core decide, signs, makes it durable, answers; knows no HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from agent.clock import Clock
from agent.formats import certificates, documents, envelope, jsontext, requests, smartlicense
from agent.formats.certificates import Certificate
from agent.formats.documents import (
    Ack,
    AuthType,
    Document,
    Entitlement,
    Heading,
    Kind,
    Policy,
    PolicyTerms,
    Refused,
    TrustAnchors,
    TrustCode,
    read_terms,
)
from agent.formats.envelope import SignedReport, SignedRequest
from agent.formats.errors import DocumentError, Malformed, NoDocument
from agent.formats.issue import issue
from agent.formats.jsontext import Members
from agent.formats.rum import digest_of
from agent.formats.signing import key_id
from agent.formats.udi import Udi
from peers.authority import codes, core, tokens
from peers.authority.core import Decision, Instance, OperatorError, Settings
from peers.authority.folder import Folder
from peers.authority.requests import Answered, Desk, answer, issue_code
from peers.authority.store import Store
from peers.authority.tokens import IdToken, Issued

TRUST_CODE_SECONDS = 8 * 31_557_600
MAX_UNAPPROVED = 10_000
"""First contacts need no credential, so their number is bounded."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sender of usage gets: an outcome for each report in the order sent, and the licence file if any."""

    outcomes: tuple[dict[str, Any], ...]
    file: bytes | None

    def count(self, result: str) -> int:
        return sum(outcome["result"] == result for outcome in self.outcomes)


class Authority:
    """All that clients and operators can ask; safe to call from several threads."""

    def __init__(self, folder: Folder, store: Store, clock: Clock) -> None:
        self._folder = folder
        self._store = store
        self._clock = clock
        self._skew = int(envelope.DEFAULT_SKEW * max(clock.rate, 1.0))

    @property
    def folder(self) -> Folder:
        return self._folder

    def now(self) -> int:
        return int(self._clock.now())

    def settings(self) -> Settings:
        return Settings(self._folder.account, self._folder.lab, self._store.policy())

    def submit(self, reports: Sequence[bytes]) -> Answer:
        """Take the report documents of one product instance.

        Raises NoDocument for none, Malformed when they are from several instances, OperatorError when the authority
        itself cannot work.
        """
        if not reports:
            raise NoDocument("no report was sent")
        self._check_own_validity()
        opened: list[SignedReport | DocumentError] = [self._open(document) for document in reports]
        genuine = [signed for signed in opened if isinstance(signed, SignedReport)]
        if len({signed.report.udi.key for signed in genuine}) > 1:
            raise Malformed("the reports are from several product instances; send each one's by itself")
        outcomes, file = ({}, None) if not genuine else self._receive(genuine)
        return Answer(tuple(_outcome(index, entry, outcomes) for index, entry in enumerate(opened)), file)

    def request(self, wanted: Sequence[bytes]) -> Answer:
        """Answer the request documents of one product instance: trust, authorization codes, and codes taken back.

        Raises NoDocument for none, Malformed when they are from several instances, OperatorError when the authority
        itself cannot work.
        """
        if not wanted:
            raise NoDocument("no request was sent")
        self._check_own_validity()
        opened = [self._open_request(document) for document in wanted]
        genuine = [signed for signed in opened if isinstance(signed, SignedRequest)]
        if len({signed.request.heading.udi.key for signed in genuine}) > 1:
            raise Malformed("the requests are from several product instances; send each one's by itself")
        outcomes: list[dict[str, Any]] = []
        parts: list[tuple[Kind, bytes]] = []
        with self._store.transaction():
            for index, signed in enumerate(opened):
                if isinstance(signed, DocumentError):
                    outcomes.append(_outcome(index, signed, {}))
                    continue
                answered = self._answer(signed)
                outcomes.append(_request_outcome(index, signed, answered))
                if answered.document is not None:
                    parts.append(answered.document)
        return Answer(tuple(outcomes), smartlicense.write_documents(parts) if parts else None)

    def _open_request(self, document: bytes) -> SignedRequest | DocumentError:
        try:
            return envelope.open_request(document, now=self.now(), skew=self._skew, lab=self._folder.lab)
        except DocumentError as error:
            return error

    def _answer(self, signed: SignedRequest) -> Answered:
        udi, now = signed.request.heading.udi, self.now()
        instance = self._store.instance(udi)
        if instance is None:
            if self._store.unapproved() >= MAX_UNAPPROVED:
                raise OperatorError("too many instances wait for approval; no new one is taken")
            instance = Instance(udi, now, now)
        answered = answer(self._desk(instance), replace(instance, last_seen=now), signed)
        if answered.instance.pin is not None or answered.instance.candidate is not None:
            self._store.put_instance(answered.instance)
        return answered

    def _desk(self, instance: Instance) -> Desk:
        settings, now = self.settings(), self.now()
        elsewhere: Counter[str] = Counter()
        for other in self._store.instances():
            if not other.udi.same(instance.udi):
                elsewhere.update(codes.held(other.codes))
        return Desk(
            pool=self._store.pool(),
            export=self._store.export(),
            elsewhere=elsewhere,
            now=now,
            heading=lambda asking: _heading(settings, asking, now),
            sign=self._sign_with_digest,
            trust=lambda asking: self._trust(settings, asking, now),
            redeem=lambda text, key_id: self._redeem(text, key_id, now),
        )

    def _redeem(self, text: str, key_id: str, now: int) -> IdToken:
        token, after = tokens.redeem(self._store.tokens(), text, key_id, now)
        self._store.put_tokens(after)
        return token

    def tokens(self) -> tuple[IdToken, ...]:
        """The ID tokens that were issued, without their texts."""
        return self._store.tokens()

    def issue_token(self, days: int, uses: int | None, export: bool, description: str = "") -> Issued:
        """A new ID token; its text is not kept. Raises OperatorError."""
        with self._store.transaction():
            made = tokens.issue(
                self._store.tokens(), now=self.now(), days=days, uses=uses, export=export, description=description
            )
            self._store.put_tokens(made.tokens)
        return made

    def revoke_token(self, number: int) -> tuple[IdToken, ...]:
        """From now on nobody redeems it; who did stays approved. Raises OperatorError."""
        with self._store.transaction():
            after = tokens.revoke(self._store.tokens(), number)
            self._store.put_tokens(after)
        return after

    def _sign_with_digest(self, document: Document) -> tuple[bytes, str]:
        data = self._sign(document)
        return data, digest_of(data)

    def pool(self) -> dict[str, Entitlement]:
        """What the account holds."""
        return self._store.pool()

    def export(self) -> frozenset[str]:
        """The tags of the pool that are export-controlled."""
        return self._store.export()

    def set_pool(self, entries: Sequence[Entitlement], export: Iterable[str] = ()) -> None:
        """From now on the account holds this, with these tags export-controlled; issued codes stay as they are."""
        with self._store.transaction():
            self._store.put_pool(entries, export)

    def free(self) -> dict[str, int]:
        """How many of each licence of the pool are free; negative when codes are out for more than there are."""
        used: Counter[str] = Counter()
        for instance in self._store.instances():
            used.update(codes.held(instance.codes))
        return {tag: entry.count - used[tag] for tag, entry in self._store.pool().items()}

    def issue_code(self, udi: Udi, auth_type: AuthType, entitlements: Sequence[Entitlement]) -> bytes:
        """A file with a code that nobody asked for, as reservations from before SLP are. Raises OperatorError."""
        if not entitlements and auth_type != "plr":
            raise OperatorError("a code that names no licence is possible with type plr only")
        with self._store.transaction():
            instance = self.instance(udi)
            if instance.pin is None:
                raise OperatorError(f"{udi.key} is not approved; approve it first")
            instance, code = issue_code(self._desk(instance), instance, auth_type, tuple(entitlements), "")
            self._store.put_instance(instance)
        return smartlicense.write_documents([("authorization", code.document)])

    def factory_file(
        self,
        udi: Udi,
        *,
        public_key: bytes | None = None,
        policy: PolicyTerms | None = None,
        entitlements: Sequence[Entitlement] = (),
    ) -> bytes:
        """The file that a factory puts into a new instance: each of the three that is given.

        `public_key` (DER SubjectPublicKeyInfo) is the instance's key: it gets a trust code, and needs no approval at
        first contact. `entitlements` are what was bought; they count as issued. Raises OperatorError.
        """
        now, settings = self.now(), self.settings()
        parts: list[tuple[Kind, bytes]] = []
        with self._store.transaction():
            instance = self._store.instance(udi) or Instance(udi, now, now)
            if instance.pin is not None:
                raise OperatorError(f"{udi.key} is in the field already; it gets its documents with its reports")
            if public_key is not None:
                heading, until = _heading(settings, instance, now), self._trust_until(now)
                der = certificates.make_trust_code(self._folder.anchor, self._folder.root, udi, public_key, now, until)
                parts.append(("trust-code", self._sign(TrustCode(heading, der, key_id(public_key), now, until, True))))
                instance = replace(instance, factory_key=public_key, serial=heading.serial)
            if policy is not None:
                heading = _heading(settings, instance, now)
                parts.append(("policy", self._sign(Policy(heading, policy, "factory"))))
                instance = replace(instance, serial=heading.serial)
            if entitlements:
                instance, code = issue_code(
                    self._desk(instance), instance, "slac", tuple(entitlements), "", factory=True
                )
                parts.append(("authorization", code.document))
            if not parts:
                raise OperatorError("name a key, a policy or entitlements: the file would be empty")
            self._store.put_instance(instance)
        return smartlicense.write_documents(parts)

    def _trust_until(self, now: int) -> int:
        return min(now + TRUST_CODE_SECONDS, Certificate(self._folder.anchor, "the root").not_after)

    def release(self, udi: Udi) -> Instance:
        """Free what an instance holds that will never return its codes. Raises OperatorError."""
        with self._store.transaction():
            instance = self.instance(udi)
            instance = replace(instance, codes=codes.released(instance.codes))
            self._store.put_instance(instance)
        return instance

    def rotate(self, udi: Udi, anchors: Sequence[bytes]) -> bytes:
        """A file that gives an instance these roots (DER) in place of those it trusts. Raises OperatorError."""
        with self._store.transaction():
            instance = self.instance(udi)
            heading = _heading(self.settings(), instance, self.now())
            document = self._sign(TrustAnchors(heading, tuple(anchors)))
            self._store.put_instance(replace(instance, serial=heading.serial))
        return smartlicense.write_documents([("trust-anchors", document)])

    def _check_own_validity(self) -> None:
        try:
            Certificate(self._folder.certificate, "the authority's own signer certificate").check_time(self.now(), 0)
        except DocumentError as error:
            raise OperatorError(error.message) from None

    def _open(self, document: bytes) -> SignedReport | DocumentError:
        # The pin is compared by core, which remembers the key that a reset instance now comes with.
        try:
            return envelope.open_report(
                document, pinned=lambda _: None, now=self.now(), skew=self._skew, lab=self._folder.lab
            )
        except DocumentError as error:
            return error

    def _receive(self, reports: list[SignedReport]) -> tuple[dict[str, core.Outcome], bytes | None]:
        udi, now = reports[0].report.udi, self.now()
        with self._store.transaction():
            settings, instance = self.settings(), self._store.instance(udi)
            if instance is None and self._store.unapproved() >= MAX_UNAPPROVED:
                raise OperatorError("too many instances wait for approval; no new one is taken")
            known = []
            if instance is not None and instance.pin is not None:
                sequences = [signed.report.sequence for signed in reports]
                ids = [signed.report.report_id for signed in reports]
                known = self._store.related(udi, instance.pin.epoch, sequences, ids)
            decision = core.receive(settings, instance, known, reports, now)
            instance, file = self._issue(settings, decision, now)
            self._write(instance, decision, now)
        return {outcome.digest: outcome for outcome in decision.outcomes}, file

    def _write(self, instance: Instance, decision: Decision, now: int) -> None:
        self._store.put_instance(instance)
        for signed in decision.file:
            self._store.file(signed, now)
        if instance.pin is not None:
            self._store.drop_waiting(instance.udi, instance.pin.epoch, decision.dropped)
            self._store.accept(instance.udi, instance.pin.epoch, decision.accepted)

    def _issue(self, settings: Settings, decision: Decision, now: int) -> tuple[Instance, bytes | None]:
        """Sign what is to be fresh; the file holds the ACK and what travels with it."""
        instance = decision.instance
        if not decision.acknowledge:
            return self._refusals(settings, instance, decision.refused, now)
        if decision.trust == "fresh":
            instance = self._trust(settings, instance, now)
        if decision.fresh_policy and settings.policy is not None:
            heading = _heading(settings, instance, now)
            policy = self._sign(Policy(heading, settings.policy))
            instance = replace(instance, policy=policy, policy_terms=settings.policy, serial=heading.serial)
        if decision.fresh_ack or decision.refused:
            heading = _heading(settings, instance, now)
            ack = self._sign(Ack(heading, decision.acknowledge, decision.refused))
            instance = replace(instance, ack=ack, acknowledged=decision.acknowledge, serial=heading.serial)
        parts: list[tuple[Kind, bytes]] = []
        if decision.trust != "none" and instance.trust_code is not None:
            parts.append(("trust-code", instance.trust_code))
        if settings.policy is not None and instance.policy is not None:
            parts.append(("policy", instance.policy))
        if instance.ack is not None:
            parts.append(("acknowledgement", instance.ack))
        return instance, smartlicense.write_documents(parts)

    def _refusals(
        self, settings: Settings, instance: Instance, refused: tuple[Refused, ...], now: int
    ) -> tuple[Instance, bytes | None]:
        """A file that only tells the device what was not taken; the last ACK stays the one to send again."""
        if not refused:
            return instance, None
        heading = _heading(settings, instance, now)
        document = self._sign(Ack(heading, (), refused))
        return replace(instance, serial=heading.serial), smartlicense.write_documents([("acknowledgement", document)])

    def _trust(self, settings: Settings, instance: Instance, now: int) -> Instance:
        if instance.pin is None:
            return instance
        heading = _heading(settings, instance, now)
        until = self._trust_until(now)
        key = instance.pin
        der = certificates.make_trust_code(
            self._folder.anchor, self._folder.root, instance.udi, key.public_key, now, until
        )
        document = self._sign(TrustCode(heading, der, key.key_id, now, until))
        return replace(instance, trust_code=document, trust_from=now, trust_until=until, serial=heading.serial)

    def _sign(self, document: Document) -> bytes:
        return issue(document, self._folder.signer, self._folder.certificate)

    def instances(self) -> list[Instance]:
        return self._store.instances()

    def instance(self, udi: Udi) -> Instance:
        """Raises OperatorError when there is no such instance."""
        found = self._store.instance(udi)
        if found is None:
            raise OperatorError(f"{udi.key} is not known; let it send a report first")
        return found

    def reports(self, udi: Udi) -> list[dict[str, Any]]:
        return self._store.filed(udi)

    def approve(self, udi: Udi, force: bool, expected_key: str | None = None) -> Instance:
        """Pin the key and epoch of the latest unapproved report. Raises OperatorError."""
        with self._store.transaction():
            instance = core.approve(self.instance(udi), force, expected_key)
            self._store.put_instance(instance)
        return instance

    def accept_gap(self, udi: Udi) -> Instance:
        """Go on at the first waiting report; it is acknowledged when reports are sent again. Raises OperatorError."""
        with self._store.transaction():
            instance = self.instance(udi)
            waiting = self._store.waiting(udi, instance.pin.epoch) if instance.pin else []
            instance = core.accept_gap(instance, waiting)
            self._store.put_instance(instance)
        return instance

    def set_policy(self, terms: PolicyTerms | None) -> None:
        """From the next answer on, instances get this policy (None: no policy travels)."""
        with self._store.transaction():
            self._store.put_policy(terms)


def _heading(settings: Settings, instance: Instance, now: int) -> Heading:
    serial = core.next_serial(instance, now)
    return Heading(
        serial, instance.udi, issued=now, lab=settings.lab, account=settings.account, utility=instance.utility
    )


def _outcome(index: int, opened: SignedReport | DocumentError, outcomes: dict[str, core.Outcome]) -> dict[str, Any]:
    if isinstance(opened, DocumentError):
        return {"index": index, "result": "refused", "reason": opened.reason, "message": opened.message}
    outcome = outcomes[opened.digest]
    members: dict[str, Any] = {
        "index": index,
        "udi": outcome.udi.key,
        "report_id": outcome.report_id,
        "digest": outcome.digest,
        "result": outcome.result,
    }
    if outcome.reason is not None:
        members |= {"reason": outcome.reason, "message": outcome.message}
    return members


def _request_outcome(index: int, signed: SignedRequest, answered: Answered) -> dict[str, Any]:
    members: dict[str, Any] = {
        "index": index,
        "udi": signed.request.heading.udi.key,
        "kind": signed.request.kind,
        "digest": signed.digest,
        "result": answered.result,
    }
    if answered.reason is not None:
        members |= {"reason": answered.reason, "message": answered.message}
    return members


def read_requests(data: bytes) -> tuple[bytes, ...]:
    """The request documents of a request file, of one bare document, or of a return string. Raises a DocumentError."""
    start = data.lstrip(b" \t\r\n")[:1]
    if start == b"{":
        return (data,)
    if start in (b"<", b""):
        return smartlicense.read_requests(data)
    return (requests.from_return_string(data.decode("utf-8", "replace")),)


class PoolFile(NamedTuple):
    """What an operator's pool file holds."""

    entitlements: list[Entitlement]
    export: frozenset[str]


def read_pool(data: bytes) -> PoolFile:
    """An operator's pool file: `entitlements` as in an authorization body, and of each, optionally, `export`.

    Raises a DocumentError.
    """
    members = Members(jsontext.load(data, "the pool"), "pool")
    entitlements = documents.read_entitlements(members)
    entries = members.objects("entitlements", len(entitlements))
    return PoolFile(entitlements, frozenset(entry.text("tag") for entry in entries if entry.optional_boolean("export")))


def read_submission(data: bytes) -> tuple[bytes, ...]:
    """The report documents of a usage file, or of a JSON list (also as member `usage`) of documents or their texts.

    Raises a DocumentError when it is neither.
    """
    if data.lstrip(b" \t\r\n")[:1] not in (b"{", b"["):
        return smartlicense.read_usage(data).reports
    limit = smartlicense.MAX_USAGE_FILE
    value = jsontext.load(data, "the submission", limit, max_members=limit // 16)
    if isinstance(value, dict) and "usage" not in value:
        return (data,)
    entries = Members(value if isinstance(value, dict) else {"usage": value}, "submission").array(
        "usage", smartlicense.MAX_REPORTS
    )
    if not entries:
        raise NoDocument("the submission holds no report; nothing was reported")
    return tuple(
        entry.encode("utf-8") if isinstance(entry, str) else jsontext.dump(entry).encode("ascii") for entry in entries
    )


def read_policy(data: bytes) -> PolicyTerms:
    """An operator's policy file: the members of a policy body (docs/formats.md). Raises a DocumentError."""
    return read_terms(Members(jsontext.load(data, "the policy"), "policy"))
