"""What has happened, as frozen values with one JSON form: no decisions, no state, no input or output.

Every event carries `at` (epoch seconds, never less than that of the event before it on the same clock). Signed bytes
travel inside ReportClosed, so replaying events never signs. `encode` and `decode` are exact inverses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
import json
from typing import Literal, get_args

from agent.formats.documents import AuthType, Entitlement, PolicyOrigin, PolicyTerms
from agent.formats.requests import Key, RequestKind
from agent.licensing.plain import from_plain, to_plain
from agent.licensing.settings import Settings
from agent.licensing.usage import Peripherals

FORMAT = 2

CloseReason = Literal[
    "requested",
    "daily",
    "license-stopped",
    "reload",
    "clock-changed",
    "full",
    "utility-mode",
    "controller-managed",
    "factory-reset",
]
OutageReason = Literal["crash", "stopped"]


@dataclass(frozen=True, slots=True)
class Started:
    """The agent began to run; `levels` are the tags that are on by boot-level until the next start.

    `epoch` identifies the life of this instance. `first_report_id` is the id of its first report; it only counts at
    the first start.
    """

    at: int
    epoch: str
    first_report_id: int
    software_version: str
    levels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The agent was stopped in good order; usage up to here is recorded."""

    at: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """Usage is known to have held up to here: the last durable moment moves on."""

    at: int


@dataclass(frozen=True, slots=True)
class ClockChanged:
    """The clock was set back by `delta` seconds (negative); `at` is on the new clock."""

    at: int
    delta: int


@dataclass(frozen=True, slots=True)
class OutageRecorded:
    """No usage was recorded from `start` to `end`, because the agent did not run."""

    at: int
    start: int
    end: int
    reason: OutageReason


@dataclass(frozen=True, slots=True)
class SettingsApplied:
    """The licensing settings of the running configuration changed."""

    at: int
    settings: Settings


@dataclass(frozen=True, slots=True)
class AnchorsInstalled:
    """The authority's root certificates (DER) that documents are checked against.

    `trust_holds` says whether one of them has issued the installed trust code (true without one).
    """

    at: int
    anchors: tuple[bytes, ...]
    trust_holds: bool


@dataclass(frozen=True, slots=True)
class UsageRecorded:
    """An application set the count of a licence, and named peripherals that came or went; `who` is for the audit."""

    at: int
    entitlement_tag: str
    count: int
    who: str
    peripherals: Peripherals


@dataclass(frozen=True, slots=True)
class ReportOpened:
    """A report began for a licence that is in use with `count`."""

    at: int
    report_id: int
    entitlement_tag: str
    count: int


@dataclass(frozen=True, slots=True)
class ReportDiscarded:
    """An open report ended in the second that it began in: it measured nothing, its id stays unused."""

    at: int
    report_id: int
    entitlement_tag: str


@dataclass(frozen=True, slots=True)
class ReportClosed:
    """A report ended and was signed: `document` is the exact signed bytes, `digest` the digest of its payload.

    `previous_report_id` is the licence's report before this one (0: none); `license_name` is the catalogue's name.
    """

    at: int
    report_id: int
    key: str
    entitlement_tag: str
    license_name: str
    start: int
    end: int
    reason: CloseReason
    previous_report_id: int
    digest: str
    document: bytes
    version: str


@dataclass(frozen=True, slots=True)
class UsageSaved:
    """Usage was written to a file."""

    at: int


@dataclass(frozen=True, slots=True)
class ReportsDelivered:
    """The documents of these reports reached a collector."""

    at: int
    report_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReportsAcknowledged:
    """The authority has these reports. `by_state` counts them by the state that they were in."""

    at: int
    report_ids: tuple[int, ...]
    by_state: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class ReportsRefused:
    """The authority did not take these reports (id, its reason); they were delivered, and can be collected again."""

    at: int
    report_ids: tuple[int, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportsPurged:
    """These acknowledged reports were removed from the store."""

    at: int
    report_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DocumentAccepted:
    """A document of the authority was installed; its serial is the new floor of its `kind`, `digest` its sha-256."""

    at: int
    kind: str
    serial: int
    digest: str


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The authority acknowledged reports; `reported_upto` is the latest end of usage among them.

    The accounts are empty when the document names none.
    """

    at: int
    reported_upto: int
    smart_account: str
    virtual_account: str


@dataclass(frozen=True, slots=True)
class PolicyInstalled:
    """A policy is in force, in place of the one of the same origin; what it leaves open is left to those below it."""

    at: int
    terms: PolicyTerms
    origin: PolicyOrigin


@dataclass(frozen=True, slots=True)
class PolicyRemoved:
    """The policy of this origin, which had this name, is no longer in force."""

    at: int
    origin: PolicyOrigin
    name: str


@dataclass(frozen=True, slots=True)
class TrustCodeInstalled:
    """The device's key was certified, by the authority or in the factory: `certificate` is DER, validity in seconds."""

    at: int
    certificate: bytes
    key_id: str
    valid_from: int
    valid_until: int
    factory: bool


@dataclass(frozen=True, slots=True)
class AckReminded:
    """The operator is told of the acknowledgement due at `deadline`: `days` left, or overdue for -`days`."""

    at: int
    deadline: int
    days: int


@dataclass(frozen=True, slots=True)
class SyncAsked:
    """An immediate exchange was asked for: the planned pushes are counted from here."""

    at: int


@dataclass(frozen=True, slots=True)
class TrustRequested:
    """A trust code was asked for over a transport."""

    at: int
    force: bool


@dataclass(frozen=True, slots=True)
class TrustRequestEnded:
    """The trust code that was asked for will not come; `reason` is a slug of refusals.CODES."""

    at: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TrustCodeNoticed:
    """The installed trust code ends soon, or has ended."""

    at: int
    ended: bool


@dataclass(frozen=True, slots=True)
class ResetPrepared:
    """Nothing is measured from here on: all reports are closed, to be saved before a factory reset."""

    at: int


@dataclass(frozen=True, slots=True)
class InstanceReset:
    """This life of the instance is over; what must outlive it stays (docs/licensing.md), the rest is as at first."""

    at: int
    discarded: int


@dataclass(frozen=True, slots=True)
class RequestMade:
    """A signed request left this device; `number` is not used again in this epoch."""

    at: int
    number: int
    kind: RequestKind


@dataclass(frozen=True, slots=True)
class AuthorizationRequested:
    """A code for exactly these licences was asked for; a request before it is dropped."""

    at: int
    keys: tuple[Key, ...]
    online: bool


@dataclass(frozen=True, slots=True)
class AuthorizationRequestEnded:
    """The code that was asked for will not come; `reason` is a slug of refusals.CODES."""

    at: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class AuthorizationInstalled:
    """A code took the place of the one of its type; `confirmation` is empty when there was none.

    `factory`: it was made with the product; its entitlements are what was bought with it.
    """

    at: int
    auth_type: AuthType
    serial: int
    digest: str
    entitlements: tuple[Entitlement, ...]
    confirmation: str
    factory: bool = False


@dataclass(frozen=True, slots=True)
class AuthorizationRemoved:
    """All codes were removed from this device; `return_string` is the signed proof of it."""

    at: int
    auth_types: tuple[AuthType, ...]
    tags: tuple[str, ...]
    return_string: str


@dataclass(frozen=True, slots=True)
class EntitlementsExpired:
    """The end of these entitlements of the code of this type has passed."""

    at: int
    auth_type: AuthType
    tags: tuple[str, ...]


Event = (
    Started
    | Stopped
    | Sampled
    | ClockChanged
    | OutageRecorded
    | SettingsApplied
    | AnchorsInstalled
    | UsageRecorded
    | ReportOpened
    | ReportDiscarded
    | ReportClosed
    | ReportsDelivered
    | ReportsAcknowledged
    | ReportsRefused
    | ReportsPurged
    | UsageSaved
    | TrustCodeNoticed
    | ResetPrepared
    | InstanceReset
    | DocumentAccepted
    | AckReceived
    | PolicyInstalled
    | PolicyRemoved
    | TrustCodeInstalled
    | AckReminded
    | SyncAsked
    | TrustRequested
    | TrustRequestEnded
    | RequestMade
    | AuthorizationRequested
    | AuthorizationRequestEnded
    | AuthorizationInstalled
    | AuthorizationRemoved
    | EntitlementsExpired
)


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


@cache
def kind_of(event_type: type) -> str:
    """ReportClosed -> report-closed: the word in the journal."""
    name = event_type.__name__
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


_TYPES: dict[str, type[Event]] = {kind_of(each): each for each in get_args(Event)}


def kind(event: Event) -> str:
    """The event's name as it stands in the journal, such as `report-closed`."""
    cls: type = type(event)
    return kind_of(cls)


def encode(event: Event) -> bytes:
    """One event as compact UTF-8 JSON: `v` (format), `type`, then its fields; bytes are base64."""
    return _encoder.encode({"v": FORMAT, "type": kind(event), **to_plain(event)}).encode()


def decode(data: bytes) -> Event:
    """The event that `encode` wrote. Raises ValueError, naming what is wrong, for anything else."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not an event: {error}") from None
    if not isinstance(body, dict) or body.pop("v", None) != FORMAT:
        raise ValueError(f"not an event of format {FORMAT}: it was written by another version of the agent")
    word = body.pop("type", None)
    if not isinstance(word, str) or word not in _TYPES:
        raise ValueError(f"unknown event type {word!r}: it was written by a newer version of the agent")
    try:
        event: Event = from_plain(_TYPES[word], body)
    except ValueError as error:
        raise ValueError(f"event {word}: {error}") from None
    return event
