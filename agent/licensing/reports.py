"""The life of a report: the one table of its states, its figures, and its way to a signed document; no storing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from agent.formats import rum
from agent.formats.signing import Signer, payload_digest
from agent.formats.udi import Udi
from agent.licensing.events import CloseReason, ReportClosed
from agent.licensing.profile import Profile
from agent.licensing.releases import supports
from agent.licensing.state import State
from agent.licensing.usage import Span

Stage = Literal["open", "closed", "unacknowledged", "acknowledged", "purged"]
Trigger = Literal["close", "delivered", "acknowledged", "refused", "purge"]

LIFE: Mapping[str, Mapping[Trigger, Stage]] = {
    "open": {"close": "closed"},
    "closed": {"delivered": "unacknowledged", "acknowledged": "acknowledged"},
    "unacknowledged": {"acknowledged": "acknowledged", "refused": "closed"},
    "acknowledged": {"purge": "purged"},
    "purged": {},
}
"""What each state answers to; a trigger that a state does not list changes nothing."""

TERMINATION: dict[CloseReason, str] = {
    "requested": "CurrentUsageRequested",
    "daily": "DailyJob",
    "license-stopped": "LicenseStopped",
    "reload": "ProductReload",
    "clock-changed": "ClockChanged",
    "full": "ReportFull",
    "utility-mode": "UtilityModeChanged",
    "controller-managed": "ControllerManaged",
    "factory-reset": "FactoryReset",
}
"""The termination reason that the last row of a report states (the first and the fourth: slp-facts section 4.1)."""

WITHHELD = "withheld"
"""What stands for the software version when the operator chose to keep it private."""


class Figures(NamedTuple):
    """The usage report summary (slp-facts section 1.2, item 18).

    total: reports ever begun and not discarded; collecting: open now; available: closed, never delivered; waiting:
    delivered, not acknowledged; acknowledged and purged: over the life of the instance.
    total = collecting + available + waiting + acknowledged.
    """

    total: int
    purged: int
    acknowledged: int
    waiting: int
    available: int
    collecting: int


def moves(stage: str, trigger: Trigger) -> bool:
    """Whether a report in this state is moved on by `trigger`."""
    return trigger in LIFE.get(stage, {})


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> open: licence in use"]
    lines += [
        f"    {stage} --> {following}: {trigger}" for stage, row in LIFE.items() for trigger, following in row.items()
    ]
    return "\n".join([*lines, "    purged --> [*]"])


def figures(state: State) -> Figures:
    """The report counters of the show commands and of the model's report-counts."""
    counts = state.counts
    collecting = sum(use.report is not None for use in state.licences.values())
    return Figures(
        total=counts.closed + collecting,
        purged=counts.purged,
        acknowledged=counts.acknowledged,
        waiting=counts.waiting,
        available=counts.available,
        collecting=collecting,
    )


def report_key(udi_key: str, report_id: int) -> str:
    """`PID:…,SN:…,REPORT:<id>`: the key of a report's list entries."""
    return f"{udi_key},REPORT:{report_id}"


def is_full(state: State, tag: str) -> bool:
    """Whether the licence's open report must be closed before it takes another row."""
    report = state.licences[tag].report
    return report is not None and report.is_full


def measured(state: State, tag: str, end: int) -> bool:
    """Whether the licence's open report has measured anything up to `end`."""
    report = state.licences[tag].report
    return report is not None and bool(report.spans(end))


def close(
    state: State,
    tag: str,
    *,
    at: int,
    end: int,
    reason: CloseReason,
    profile: Profile,
    signer: Signer,
    lab: bool,
    certificate: bytes | None,
    ask_trust: bool,
) -> ReportClosed:
    """Sign the licence's open report as of `end` and give the event that carries the document.

    The licence must have a report that has measured something. The software version is the one that measured it.
    `certificate` is the trust code (DER) that covers the signature, `ask_trust` puts a request for one into the report.
    """
    use = state.licences[tag]
    if use.report is None:
        raise ValueError(f"no report is open for {tag}")
    report, chain, settings = use.report, state.chain, state.settings
    spans = report.spans(end)
    version: rum.Version = "2.0" if supports(state.software_version, "rum-version-2") else "1.0"
    udi, licence = profile.udi, profile.by_tag(tag)
    post_paid = settings.utility_enabled and licence.can_be_post_paid
    payload = rum.payload(
        rum.Report(
            report_id=report.report_id,
            udi=udi,
            epoch=state.epoch,
            sequence=chain.sequence + 1 if chain else 1,
            previous_report_id=chain.report_id if chain else 0,
            previous_digest=chain.digest if chain else None,
            software_tag=profile.software_tag,
            software_version=WITHHELD if settings.privacy_version else state.software_version,
            entitlement_tag=tag,
            measurements=_measurements(spans, reason, report.preface.clock_change),
            close_reason=reason,
            utility_enabled=settings.utility_enabled,
            post_paid=post_paid,
            subscription_id=licence.subscription_id if post_paid else None,
            lab=lab,
            hostname=None if settings.privacy_hostname else profile.hostname,
            customer_tags=settings.customer_tags,
            customer_info=settings.customer_info if post_paid else (),
            outages=tuple(rum.Outage(*outage) for outage in report.preface.outages),
            trust_request=signer.public_key if ask_trust else None,
            version=version,
        )
    )
    return ReportClosed(
        at=at,
        report_id=report.report_id,
        key=report_key(udi.key, report.report_id),
        entitlement_tag=tag,
        license_name=licence.name,
        start=spans[0].start,
        end=spans[-1].end,
        reason=reason,
        previous_report_id=use.last_report_id,
        digest=payload_digest(payload),
        document=rum.seal_payload(payload, udi, signer, certificate),
        version=version,
    )


def _measurements(spans: Sequence[Span], reason: CloseReason, clock_change: int | None) -> tuple[rum.Measurement, ...]:
    """A row a span: the first states by how many seconds the clock was set, the last why the report ends."""
    last = len(spans) - 1
    return tuple(
        rum.Measurement(
            start=span.start,
            end=span.end,
            count=span.used,
            log_time=span.start,
            termination_reason=TERMINATION[reason] if index == last else None,
            clock_change_delta=clock_change if index == 0 else None,
            added=tuple(Udi.from_key(each) for each in span.peripherals.added),
            removed=tuple(Udi.from_key(each) for each in span.peripherals.removed),
        )
        for index, span in enumerate(spans)
    )
