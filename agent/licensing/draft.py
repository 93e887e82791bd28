"""A decision in the making: events collected one by one on a state that follows them; no command is known here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.formats.envelope import DEFAULT_SKEW
from agent.formats.signing import Signer
from agent.licensing import reports
from agent.licensing import trusting as trust
from agent.licensing.events import ClockChanged, CloseReason, Event, ReportDiscarded, ReportOpened
from agent.licensing.evolve import evolve
from agent.licensing.notices import Notice
from agent.licensing.ports import ReportReads
from agent.licensing.profile import Profile
from agent.licensing.state import State
from agent.licensing.usage import CLOCK_TOLERANCE


@dataclass(frozen=True, slots=True)
class Context:
    """What the kernel decides with, apart from state and time.

    `skew` is by how many seconds the authority's clock and ours may differ; `lab` whether this state folder is a lab;
    `online` whether a transport is there that can carry requests to the authority.
    """

    profile: Profile
    signer: Signer
    reads: ReportReads
    lab: bool = False
    skew: int = DEFAULT_SKEW
    online: bool = False


class Draft:
    """Collects events. `state` is always the state after them; `at` is the decision's time on the kernel's clock."""

    def __init__(self, state: State, now: int, context: Context) -> None:
        self.state = state
        self.context = context
        self.events: list[Event] = []
        self.notices: list[Notice] = []
        now = max(now, 1)
        self.clock_delta = now - state.at if state.at and now < state.at - CLOCK_TOLERANCE else 0
        self.at = now if self.clock_delta else max(now, state.at)

    def emit(self, event: Event) -> None:
        """Add one event."""
        self.events.append(event)
        self.state = evolve(self.state, (event,))

    def settle_clock(self) -> None:
        """When the clock was set back, end what is being measured on the old clock and begin anew on the new one."""
        if not self.clock_delta or not self.state.running:
            return
        before = self.state.at
        self.close(self.in_report(), "clock-changed", at=before, end=before)
        self.emit(ClockChanged(self.at, self.clock_delta))
        self.open_all()

    @property
    def measures(self) -> bool:
        """Whether usage goes into reports: a controller's device records none, and one about to be reset no more."""
        return self.state.settings.mode == "autonomous" and not self.state.resetting

    def in_report(self) -> list[str]:
        """The tags with an open report."""
        return [tag for tag, use in self.state.licences.items() if use.report is not None]

    def open(self, tag: str) -> None:
        """Begin a report for a licence that is in use."""
        self.emit(ReportOpened(self.at, self.state.next_report_id, tag, self.state.licences[tag].count))

    def open_all(self, tags: Iterable[str] | None = None) -> None:
        """Begin a report for every licence (of `tags`) that is in use and has none."""
        if not self.measures:
            return
        for tag in self.state.licences if tags is None else tags:
            use = self.state.licences[tag]
            if use.count > 0 and use.report is None:
                self.open(tag)

    def close(self, tags: Iterable[str], reason: CloseReason, *, at: int | None = None, end: int | None = None) -> None:
        """End the open reports of `tags` as of `end`; one that has measured nothing is discarded."""
        at = self.at if at is None else at
        end = at if end is None else end
        for tag in tags:
            report = self.state.licences[tag].report
            if report is None:
                continue
            if not reports.measured(self.state, tag, end):
                self.emit(ReportDiscarded(at, report.report_id, tag))
                continue
            self.emit(
                reports.close(
                    self.state,
                    tag,
                    at=at,
                    end=end,
                    reason=reason,
                    profile=self.context.profile,
                    signer=self.context.signer,
                    lab=self.context.lab,
                    certificate=trust.certificate(self.state, at),
                    ask_trust=trust.report_asks(self.state, at),
                )
            )

    def roll(self, reason: CloseReason) -> None:
        """Close every report that has measured something and go on in new ones from the same second."""
        tags = [tag for tag in self.in_report() if reports.measured(self.state, tag, self.at)]
        self.close(tags, reason)
        self.open_all()
