"""A product instance and its authority for the kernel's tests: real decisions, real signatures, the store in memory.

Every step checks what must hold of all of them: events survive their JSON form, replaying the journal gives the live
state, and a decision never changes the state that it was given.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from agent.formats import certificates
from agent.formats.documents import (
    Account,
    Ack,
    Acknowledged,
    Authorization,
    AuthType,
    Document,
    Entitlement,
    Heading,
    Kind,
    Policy,
    PolicyOrigin,
    PolicyTerms,
    TrustAnchors,
    TrustCode,
)
from agent.formats.envelope import SignedReport, SignedRequest, open_report, open_request
from agent.formats.issue import issue
from agent.formats.signing import LocalSigner
from agent.formats.smartlicense import read_requests, write_documents
from agent.formats.udi import Udi
from agent.licensing.commands import (
    ApplySettings,
    CloseReports,
    Command,
    ImportContent,
    InstallAnchors,
    MarkDelivered,
    RecordUsage,
    Start,
    Stop,
    Tick,
)
from agent.licensing.engine import Context, Decision, decide, evolve
from agent.licensing.events import ReportClosed, decode, encode
from agent.licensing.ports import EncodedRow
from agent.licensing.profile import Licence, Profile, built_in
from agent.licensing.settings import Settings
from agent.licensing.state import State
from agent.store.memory import MemoryStore

T0 = 1_700_000_000
DAY = 86_400
YEARS = 10 * 365 * DAY


@cache
def key(name: str) -> LocalSigner:
    """The key of this name, the same in every run, so that what is recorded stays equal."""
    return LocalSigner(
        ec.derive_private_key(int.from_bytes(hashlib.sha256(name.encode()).digest()) >> 1, ec.SECP256R1())
    )


def profile(*licences: Licence) -> Profile:
    product = built_in().with_serial("9TESTSERIAL")
    if not licences:
        return product
    return replace(product, licences={licence.entitlement_tag: licence for licence in licences})


@dataclass
class Authority:
    """Signs what tests send; it believes everything."""

    name: str = "authority"
    lab: bool = False
    serial: int = 0

    def __post_init__(self) -> None:
        self.anchor = _anchor(self.name)
        self.signer = _signer(self.name)

    def heading(self, device: Device, now: int | None = None, **changed: Any) -> Heading:
        self.serial += 1
        fields: dict[str, Any] = {
            "serial": self.serial,
            "udi": device.profile.udi,
            "issued": device.now if now is None else now,
            "lab": self.lab,
            "account": Account("Example Networks", "Default"),
            "utility": device.state.settings.utility_enabled,
        }
        return Heading(**(fields | changed))

    def ack(self, device: Device, *reports: tuple[int, str], **changed: Any) -> bytes:
        """An ACK file for these (report id, digest) pairs; without any, for all that is stored."""
        if not reports:
            rows = device.store.reports.rows.values()
            reports = tuple((row.report_id, row.digest) for row in rows)
        return self.file(Ack(self.heading(device, **changed), tuple(Acknowledged(*report) for report in reports)))

    def policy(
        self, device: Device, terms: PolicyTerms | None, origin: PolicyOrigin = "custom", **changed: Any
    ) -> Policy:
        return Policy(self.heading(device, **changed), terms, origin)

    def code(
        self,
        device: Device,
        *counts: tuple[str, int],
        kind: AuthType = "slac",
        ends: int | None = None,
        factory: bool = False,
        **changed: Any,
    ) -> Authorization:
        """A code for so many of these licences, which go by their names."""
        entitlements = []
        for name, count in counts:
            licence = device.profile.find(name)
            assert licence is not None
            entitlements.append(Entitlement(licence.entitlement_tag, count, ends=ends))
        return Authorization(self.heading(device, **changed), kind, tuple(entitlements), factory=factory)

    def rotation(self, device: Device, *anchors: bytes) -> TrustAnchors:
        return TrustAnchors(self.heading(device), anchors)

    def request(self, device: Device, content: bytes | None) -> SignedRequest:
        """The only request in a request file, verified."""
        assert content is not None
        (document,) = read_requests(content)
        return open_request(document, now=device.now, skew=3600, lab=self.lab)

    def trust_code(
        self, device: Device, signer: LocalSigner | None = None, years: int = 8, factory: bool = False
    ) -> TrustCode:
        signer = signer or device.signer
        until = device.now + years * 365 * DAY
        der = certificates.make_trust_code(
            self.anchor, key(self.name), device.profile.udi, signer.public_key, device.now - 60, until
        )
        return TrustCode(self.heading(device), der, signer.key_id, device.now - 60, until, factory)

    def sign(self, document: Document) -> bytes:
        return issue(document, key(self.name + " signer"), self.signer)

    def file(self, *documents: Document) -> bytes:
        signed: list[tuple[Kind, bytes]] = [(document.kind, self.sign(document)) for document in documents]
        return write_documents(signed)


@cache
def _anchor(name: str) -> bytes:
    return certificates.make_anchor(key(name), name, T0 - YEARS, T0 + 2 * YEARS)


@cache
def _signer(name: str) -> bytes:
    signer = key(name + " signer").public_key
    return certificates.make_signer(_anchor(name), key(name), name, signer, T0 - YEARS, T0 + 2 * YEARS)


@dataclass
class Device:
    """A product instance: commands in, decisions out, everything kept as a store would keep it."""

    profile: Profile = field(default_factory=profile)
    now: int = T0
    lab: bool = False
    signer: LocalSigner = field(default_factory=lambda: key("device"))
    check: bool = True
    online: bool = False
    epoch: str = "epoch-1"

    def __post_init__(self) -> None:
        self.store = MemoryStore()
        self.state = State()
        self.documents: list[SignedReport] = []

    @property
    def context(self) -> Context:
        return Context(self.profile, self.signer, self.store.reports, lab=self.lab, online=self.online)

    def do(self, command: Command, after: int = 0) -> Decision:
        """Run one command `after` seconds after the last one, make it durable, and go on with the new state."""
        self.now += after
        before = self.state.to_json() if self.check else b""
        decision = decide(self.state, command, self.now, self.context)
        if self.check:
            assert self.state.to_json() == before
            assert tuple(decode(encode(event)) for event in decision.events) == decision.events
        closed = [event for event in decision.events if isinstance(event, ReportClosed)]
        unit = self.store.begin()
        unit.append(decision.events, {event.report_id: EncodedRow(b"", b"", b"", b"") for event in closed})
        unit.commit()
        self.state = evolve(self.state, decision.events)
        self.documents += [self.verified(event.document) for event in closed]
        return decision

    def verified(self, document: bytes) -> SignedReport:
        """The report as the authority reads it, under the device's key; clocks that jump are not the point there."""
        return open_report(document, pinned=lambda _: self.signer.public_key, now=self.now, skew=YEARS, lab=self.lab)

    def start(self, after: int = 0) -> Decision:
        return self.do(Start(self.epoch), after)

    def stop(self, after: int = 0) -> Decision:
        return self.do(Stop(), after)

    def tick(self, after: int = 0) -> Decision:
        return self.do(Tick(), after)

    def use(
        self, licence: str, count: int, after: int = 0, *, added: tuple[Udi, ...] = (), removed: tuple[Udi, ...] = ()
    ) -> Decision:
        return self.do(RecordUsage(licence, count, "tester", added, removed), after)

    def close(self, after: int = 0) -> Decision:
        return self.do(CloseReports("tester"), after)

    def deliver(self, *report_ids: int) -> Decision:
        return self.do(MarkDelivered(report_ids, "collector"))

    def install(self, content: bytes, after: int = 0) -> Decision:
        return self.do(ImportContent(content, "collector"), after)

    def apply(self, settings: Settings) -> Decision:
        return self.do(ApplySettings(settings))

    def trusting(self, authority: Authority) -> Device:
        self.do(InstallAnchors((authority.anchor,)))
        return self

    def replayed(self) -> State:
        """The state that a restart would load from the journal."""
        loaded = self.store.load()
        return evolve(State() if loaded.snapshot is None else State.from_json(loaded.snapshot), loaded.events)

    def run_until(self, moment: int) -> None:
        """Tick at every deadline up to `moment`."""
        while self.now < moment:
            self.tick(min(900, moment - self.now))


def running(**kwargs: Any) -> Device:
    """A device that has been started."""
    device = Device(**kwargs)
    device.start()
    return device
