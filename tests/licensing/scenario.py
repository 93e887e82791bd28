"""Plays a scenario: a text of commands in, a text of replies, files, notices and changes of state out; checks nothing.

A line is `TIME command arguments`: TIME is how long after the line before (`+0`, `+15m`, `+1d`, `-1h`); `#` begins a
comment. What a command does is its method in `Player`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
import re
from typing import Any

from agent.formats.documents import Ack, Acknowledged, PolicyClass, PolicyTerms, Refused
from agent.licensing.codes import views
from agent.licensing.commands import (
    AskPermission,
    FactoryReset,
    InstallAnchors,
    NoteSaved,
    PrepareReset,
    RequestAuthorization,
    RequestTrust,
    ReturnAuthorization,
    SaveAuthorizationRequest,
    Sync,
)
from agent.licensing.deadlines import next_ack_deadline, next_push
from agent.licensing.engine import Decision
from agent.licensing.notices import Notice, ReportWasClosed
from agent.licensing.policy import in_force
from agent.licensing.reports import figures
from agent.licensing.settings import Settings
from agent.licensing.state import State
from agent.licensing.trusting import counts
from tests.licensing.kit import T0, Authority, Device

FOLDER = Path(__file__).parent / "scenarios"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "": 1}


def seconds(text: str) -> int:
    found = re.fullmatch(r"([+-]?\d+)([smhd]?)", text)
    assert found is not None, f"{text!r} is no time"
    return int(found[1]) * UNITS[found[2]]


def moment(at: int | None) -> str:
    """A time as days and clock since the scenario's begin."""
    if at is None:
        return "none"
    days, rest = divmod(at - T0, 86_400)
    return f"day {days} {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


class Player:
    """One device and its authorities; each command method gives the decisions that it led to."""

    def __init__(self) -> None:
        self.device = Device()
        self.authority = Authority()
        self.authorities = {"authority": self.authority}
        self.file = b""
        self.kept: tuple[State, dict[int, Any]] | None = None
        self.device.trusting(self.authority)

    def play(self, text: str) -> str:
        """The record of a scenario."""
        out: list[str] = []
        before = dict(self.state())
        for line in text.splitlines():
            line = line.partition("#")[0].rstrip()
            if not line:
                continue
            wait, command, *arguments = line.split()
            self.device.now += seconds(wait)
            out.append(f"{moment(self.device.now)}  {command} {' '.join(arguments)}".rstrip())
            for decision in self.run(command, arguments):
                out += [f"    {each}" for each in self.told(decision)]
            after = dict(self.state())
            out += [f"    state {name}: {value}" for name, value in after.items() if before.get(name) != value]
            out += [f"    state {name}: gone" for name in before if name not in after]
            before = after
        assert self.device.replayed() == self.device.state or self.kept is not None
        return "\n".join(out) + "\n"

    def run(self, command: str, arguments: list[str]) -> Iterator[Decision]:
        found = getattr(self, f"do_{command.replace('-', '_')}")(*arguments)
        if isinstance(found, Decision):
            yield found
        elif found is not None:
            yield from found

    def told(self, decision: Decision) -> Iterator[str]:
        reply = decision.reply
        yield (
            f"reply {reply.code}"
            + (f" ({reply.reason})" if reply.reason else "")
            + (f": {reply.message}" if reply.message else "")
        )
        if len(reply.documents) > 1:
            yield from (f"document {each.kind}: {each.code}: {each.message}" for each in reply.documents)
        if reply.content is not None:
            elements = re.findall(rb"<(smartLicense\w+)>", reply.content)
            yield f"file {' '.join(element.decode() for element in elements)}"
        if reply.return_string is not None:
            yield f"return string of {len(reply.return_string) // 100 * 100} characters or more"
        yield from (f"notice {shown(notice)}" for notice in decision.notices)

    def state(self) -> Iterator[tuple[str, str]]:
        """What an operator would look at."""
        device, state = self.device, self.device.state
        yield "running", f"{state.running}, epoch {state.epoch or 'none'}"
        for tag, use in sorted(state.licences.items()):
            report = "no report open" if use.report is None else f"report {use.report.report_id - T0} open"
            yield f"licence {device.profile.by_tag(tag).name}", f"count {use.count}, {report}"
        yield "reports", " ".join(f"{name}={value}" for name, value in figures(state)._asdict().items())
        policy = in_force(state.policies)
        yield "policy", f"{policy.kind} {policy.name or ''}".rstrip()
        yield "ACK", f"last {moment(state.last_ack_at)}, due {moment(next_ack_deadline(state, device.profile))}"
        yield "next push", moment(next_push(state, device.profile, device.now) if state.running else None)
        trust = state.trust
        kind = "none" if trust is None else "factory" if trust.factory else "authority"
        yield "trust", f"{kind}, {'counts' if counts(trust, device.now) else 'does not count'}"
        held = [f"{v.licence.name}={v.total}" for v in views(state.authorization, device.profile, device.now)]
        yield "authorization", " ".join([state.authorization.stage, *held])
        if state.last_outage is not None:
            outage = state.last_outage
            yield "outage", f"{moment(outage.start)} to {moment(outage.end)} ({outage.reason})"

    # commands

    def do_start(self, epoch: str = "") -> Decision:
        self.device.epoch = epoch or self.device.epoch
        return self.device.start()

    def do_stop(self) -> Decision:
        return self.device.stop()

    def do_run(self, time: str) -> Iterator[Decision]:
        """Let time pass as the agent does; only decisions that tell something are given."""
        end = self.device.now + seconds(time)
        while self.device.now < end:
            decision = self.device.tick(min(900, end - self.device.now))
            notices = tuple(each for each in decision.notices if not isinstance(each, ReportWasClosed))
            if notices:
                yield replace(decision, notices=notices)

    def do_tick(self) -> Decision:
        return self.device.tick()

    def do_use(self, licence: str, count: str) -> Decision:
        return self.device.use(licence, int(count))

    def do_close(self) -> Decision:
        return self.device.close()

    def do_deliver(self) -> Decision:
        return self.device.deliver(*self.device.store.reports.rows)

    def do_save(self) -> Decision:
        return self.device.do(NoteSaved(tuple(self.device.store.reports.rows), delivered=True))

    def do_sync(self) -> Decision:
        return self.device.do(Sync())

    def do_settings(self, *pairs: str) -> Decision:
        values: dict[str, Any] = {}
        for pair in pairs:
            name, _, value = pair.partition("=")
            values[name] = {"true": True, "false": False}.get(value, int(value) if value.isdigit() else value)
        return self.device.apply(Settings(**values))

    def install(self, file: bytes) -> Decision:
        self.file = file
        return self.device.install(file)

    def do_again(self) -> Decision:
        return self.device.install(self.file)

    def do_ack(self) -> Decision:
        return self.install(self.authority.ack(self.device))

    def do_answer(self, policy: str) -> Decision:
        """A file with ACK, policy and trust code."""
        rows = self.device.store.reports.rows.values()
        ack = Ack(self.authority.heading(self.device), tuple(Acknowledged(r.report_id, r.digest) for r in rows))
        terms = PolicyTerms(policy, perpetual=PolicyClass(30, 60, 60), subscription=PolicyClass(30, 60, 60))
        trust = self.authority.trust_code(self.device)
        return self.install(self.authority.file(ack, self.authority.policy(self.device, terms), trust))

    def do_refuse(self, reason: str) -> Decision:
        rows = self.device.store.reports.rows.values()
        refused = tuple(Refused(row.report_id, row.digest, reason) for row in rows)
        return self.install(self.authority.file(Ack(self.authority.heading(self.device), (), refused)))

    def do_policy(self, name: str, *terms: str) -> Decision:
        """Terms are `perpetual=first/ongoing/change`, with `-` where the policy says nothing."""
        classes = {}
        for term in terms:
            which, _, days = term.partition("=")
            classes[which] = PolicyClass(*(None if day == "-" else int(day) for day in days.split("/")))
        return self.install(self.authority.file(self.authority.policy(self.device, PolicyTerms(name, **classes))))

    def do_trust(self, kind: str = "authority") -> Decision:
        code = self.authority.trust_code(self.device, factory=kind == "factory")
        return self.install(self.authority.file(code))

    def do_rotate(self, *names: str) -> Decision:
        anchors = [self.authorities.setdefault(name, Authority(name, serial=1000)).anchor for name in names]
        return self.install(self.authority.file(self.authority.rotation(self.device, *anchors)))

    def do_authority(self, name: str) -> None:
        self.authority = self.authorities[name]

    def do_anchors(self, *names: str) -> Decision:
        return self.device.do(InstallAnchors(tuple(self.authorities[name].anchor for name in names)))

    def do_code(self, *counts_: str) -> Decision:
        pairs = [(name, int(count)) for name, _, count in (each.partition("=") for each in counts_)]
        return self.install(self.authority.file(self.authority.code(self.device, *pairs)))

    def do_request(self, licence: str, count: str = "1", how: str = "add") -> Decision:
        return self.device.do(RequestAuthorization(licence, int(count), how == "add", how == "online"))

    def do_save_request(self) -> Decision:
        return self.device.do(SaveAuthorizationRequest())

    def do_return(self) -> Decision:
        return self.device.do(ReturnAuthorization())

    def do_ask(self, licence: str, count: str, mbps: str) -> Decision:
        return self.device.do(AskPermission(licence, int(count), int(mbps)))

    def do_request_trust(self, how: str = "file") -> Decision:
        return self.device.do(RequestTrust(online=how == "online"))

    def do_prepare_reset(self) -> Decision:
        return self.device.do(PrepareReset(discard=True))

    def do_reset(self, how: str = "keep") -> Decision:
        return self.device.do(FactoryReset(discard=how == "discard"))

    def do_snapshot(self) -> None:
        """Keep the whole device, as a virtual machine's snapshot does."""
        self.kept = (self.device.state, dict(self.device.store.reports.rows))

    def do_restore(self) -> None:
        assert self.kept is not None
        self.device.state = self.kept[0]
        self.device.store.reports.rows.clear()
        self.device.store.reports.rows.update(self.kept[1])


def shown(notice: Notice) -> str:
    """A notice in one line: no identities that say nothing to a reader, times as moments."""
    parts = []
    for field in fields(notice):
        value = getattr(notice, field.name)
        if field.name in ("udi_key", "key", "entitlement_tag", "tags", "message", "who"):
            continue
        if field.name in ("installed_at", "received_at", "deadline", "next_deadline", "start", "end", "valid_until"):
            value = moment(value)
        elif field.name == "report_id":
            value -= T0
        parts.append(f"{field.name}={value}")
    return f"{type(notice).__name__} {' '.join(parts)}".rstrip()
