"""What the kernel remembers, as one immutable value with a JSON form; who changes it is evolve.py alone.

Closed reports are not here: their bodies live in the store, and only counts and the head of the hash chain remain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import json
from typing import Literal, NamedTuple

from agent.formats.documents import Account, Entitlement, PolicyTerms
from agent.licensing.codes import Authorization
from agent.licensing.events import OutageReason
from agent.licensing.plain import from_plain, to_plain
from agent.licensing.settings import Settings
from agent.licensing.usage import NO_PERIPHERALS, NOTHING_BEFORE, OpenReport, Peripherals, Preface

FORMAT = 2


@dataclass(frozen=True, slots=True)
class LicenceUse:
    """Usage of one licence.

    `recorded` is what applications said last, `level` whether boot-level turned it on, `report` the open report while
    it is in use, `last_report_id` that of the last closed one (0: none). `peripherals` and `unstated` are what the
    next report has to state: those that came or went while none was open, and what one that measured nothing should
    have stated.
    """

    recorded: int = 0
    level: bool = False
    report: OpenReport | None = None
    last_report_id: int = 0
    peripherals: Peripherals = NO_PERIPHERALS
    unstated: Preface = NOTHING_BEFORE

    @property
    def count(self) -> int:
        """The count in effect: what was recorded, and at least 1 while the level is on."""
        return max(self.recorded, 1) if self.level else self.recorded


class Outage(NamedTuple):
    """A time in which nothing was recorded."""

    start: int
    end: int
    reason: OutageReason


class ChainHead(NamedTuple):
    """The last signed report of this instance: position in the chain, id, and digest of its payload."""

    sequence: int
    report_id: int
    digest: str


class SerialFloor(NamedTuple):
    """The last accepted document of a kind: its serial and the digest of its content."""

    serial: int
    digest: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Closed reports over the life of the instance, by what has become of them.

    `available` and `waiting` are stored now: not yet, or already, delivered to a collector. `closed`, `acknowledged`
    and `purged` only grow. closed = available + waiting + acknowledged.
    """

    closed: int = 0
    available: int = 0
    waiting: int = 0
    acknowledged: int = 0
    purged: int = 0


@dataclass(frozen=True, slots=True)
class InstalledPolicy:
    """A policy and when it was installed."""

    terms: PolicyTerms
    installed_at: int


@dataclass(frozen=True, slots=True)
class InstalledTrust:
    """The certificate (DER) of the device's key, its validity, and when it was installed.

    `factory`: made with the product; `anchored`: issued by one of the present trust anchors; `noticed`: what of its end
    an operator was told.
    """

    certificate: bytes
    key_id: str
    valid_from: int
    valid_until: int
    installed_at: int
    factory: bool
    anchored: bool
    noticed: Literal["", "ends-soon", "ended"] = ""


@dataclass(frozen=True, slots=True)
class TrustFailure:
    """The last request for a trust code that came to nothing."""

    at: int
    reason: str
    message: str


@dataclass(frozen=True)
class State:
    """The licensing state. `at` is the last durable moment: usage is known to have held up to here.

    `clock_change` is when the clock was set back last, and by how many seconds. `report_ack_at` is when reports were
    last acknowledged; for `last_ack_at` the installation of a policy or trust code counts too (slp-facts section 3).
    `push_from` is the next push planned, or the last one: the others follow it by the interval. `reminder` is the ACK
    deadline that the operator was told of last, and the milestone (days left, or minus the days overdue).
    `resetting`: a factory reset was prepared, and nothing is measured since `held_since`. `purchased` is what the
    factory's authorization code said was bought with the product.
    Dictionaries are immutable by convention: `licences` by entitlement tag, `changes` (tag → second of the first
    licence change that no acknowledged report covers), `floors` by document kind, `policies` by origin.
    """

    at: int = 0
    running: bool = False
    epoch: str = ""
    started_at: int = 0
    first_started_at: int = 0
    first_used_at: int | None = None
    sampled_at: int = 0
    first_report_id: int = 0
    next_report_id: int = 0
    software_version: str = ""
    settings: Settings = field(default_factory=Settings)
    anchors: tuple[bytes, ...] = ()
    licences: dict[str, LicenceUse] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    chain: ChainHead | None = None
    counts: Counts = field(default_factory=Counts)
    floors: dict[str, SerialFloor] = field(default_factory=dict)
    policies: dict[str, InstalledPolicy] = field(default_factory=dict)
    trust: InstalledTrust | None = None
    trust_requested_at: int | None = None
    trust_failure: TrustFailure | None = None
    resetting: bool = False
    autonomous_since: int | None = None
    """When the device left a controller: before that no acknowledgement was due."""
    held_since: int | None = None
    last_saved_at: int | None = None
    authorization: Authorization = field(default_factory=Authorization)
    purchased: tuple[Entitlement, ...] = ()
    requests_made: int = 0
    account: Account | None = None
    push_from: int = 0
    reminder: tuple[int, int] | None = None
    report_ack_at: int | None = None
    last_ack_at: int | None = None
    last_closed_at: int | None = None
    last_outage: Outage | None = None
    clock_change: tuple[int, int] | None = None

    def to_json(self) -> bytes:
        """Canonical JSON: equal states give equal bytes."""
        body = {"v": FORMAT, "state": to_plain(self)}
        return json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> State:
        """The inverse of `to_json`. Raises ValueError, naming the member, for anything else."""
        try:
            body = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not a licensing state: {error}") from None
        if not isinstance(body, dict) or body.get("v") != FORMAT:
            raise ValueError(
                f"not a licensing state of format {FORMAT}: it was written by another version of the agent"
            )
        state: State = from_plain(cls, body.get("state"))
        return state
