"""The licensing state as the tree of `/licensing/state`. Only translation: every value is the kernel's.

Each part is built through its binding class, off the read path: when what it is made from has changed, once, by the
first reader, and kept with its encodings. A read puts finished parts together, and that only once a state.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
import math
from typing import Any, NamedTuple

from agent.clock import Clock
from agent.core.schema import Node
from agent.core.sessions import Session
from agent.core.tree import Kept, Tree
from agent.licensing import codes, deadlines, releases, trusting
from agent.licensing.commands import MarkDelivered
from agent.licensing.permission import throughput_limit
from agent.licensing.policy import in_force
from agent.licensing.ports import ReportReads
from agent.licensing.profile import Profile
from agent.licensing.reports import figures
from agent.licensing.state import InstalledTrust, State
from agent.northbound import legacy
from agent.northbound import state_parts as parts
from agent.northbound.bound import Bindings
from agent.northbound.commit import Committer
from agent.northbound.rows import STATE_INFO, ReportList, SummaryList, udi_tree

STATE = "/cisco-smart-license:licensing/state"


class _Part:
    """One member of state-info: rebuilt when what it is made from differs from last time."""

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build
        self._last: tuple[tuple[Any, ...], Any] | None = None

    def value(self, made_from: tuple[Any, ...]) -> Any:
        last = self._last
        if last is not None and last[0] == made_from:
            return last[1]
        value = self._build(*made_from)
        # one reference is swapped: two readers that build at once only do the work twice
        self._last = (made_from, value)
        return value


class _Composed(NamedTuple):
    """A finished tree: true for this state from `since` until before `until`."""

    state: State
    since: float
    until: float
    tree: Tree


class StateView:
    """agent.core.providers.StateProvider of `/cisco-smart-license:licensing/state`."""

    def __init__(
        self,
        bindings: Bindings,
        committer: Committer,
        *,
        profile: Profile,
        reads: ReportReads,
        clock: Clock,
        version: str,
        lab: bool,
    ) -> None:
        self._bindings = bindings
        self._committer = committer
        self._profile = profile
        self._clock = clock
        self._version = version
        self._lab = lab
        self._udi = udi_tree(profile.udi)
        self._controlled = any(licence.enforcement == "export" for licence in profile.licences.values())
        self._frame = bindings.checked(
            bindings.node(STATE), {"always-enabled": True, "smart-enabled": True, "version": version}
        )
        self._lists = {
            "rum-reports-closed-keys": SummaryList(bindings, reads),
            "slp-agent:rum-reports-closed": ReportList(bindings, reads, "detail"),
        }
        self._usage_node = bindings.node(f"{STATE_INFO}/usage")
        self._usage_entries: dict[str, tuple[tuple[Any, ...], Kept]] = {}
        builders: dict[str, Callable[..., Tree | None]] = {
            "registration": legacy.registration,
            "authorization": legacy.authorization,
            "evaluation": legacy.evaluation,
            "conversion": self._conversion,
            "factory-purchase": lambda bought: parts.factory_purchase(profile.udi.key, self._udi, profile, bought),
            "imported-authorizations": self._imported,
            "utility": parts.utility,
            "transport": parts.transport,
            "privacy": parts.privacy,
            "udi": lambda: self._udi,
            "policy": parts.policy,
            "trust-code": self._trust_code,
            "rum-ack": parts.rum_ack,
            "slp-agent:account": parts.account,
            "slp-agent:report-counts": parts.report_counts,
            "slp-agent:report-times": parts.report_times,
            "slp-agent:product": self._product,
            "slp-agent:last-outage": parts.last_outage,
        }
        self._parts = {member: self._part(member, build) for member, build in builders.items()}
        self._parts["usage"] = _Part(self._usage)
        self._parts["custom-id"] = _Part(self._custom_id)
        self._composed: _Composed | None = None

    @property
    def serves(self) -> frozenset[str]:
        """Schema paths of what is served; the check at start compares them with the models."""
        below = {self._bindings.node(f"{STATE_INFO}/{member}").path for member in (*self._parts, *self._lists)}
        return frozenset({f"{STATE}/{member}" for member in self._frame} | below)

    def read(self) -> Tree:
        state, now = self._committer.state, self._clock.now()
        last = self._composed
        if last is not None and last.state is state and last.since <= now < last.until:
            return last.tree
        info: Tree = {}
        for member, made_from in self._made_from(state, int(now)).items():
            value = self._parts[member].value(made_from)
            if value is not None:
                info[member] = value
        tree = {**self._frame, "state-info": info | self._lists}
        self._composed = _Composed(state, now, self._true_until(state, int(now)), tree)
        return tree

    def _true_until(self, state: State, now: int) -> float:
        """When something changes although no event happens: a push or deadline passes, an authorization ends."""
        ends = [entry.ends for code in state.authorization.codes for entry in code.entitlements]
        # at the second itself a code still holds, and an acknowledgement is not overdue
        trust = state.trust
        last = [deadlines.next_ack_deadline(state, self._profile), trust.valid_until if trust else None, *ends]
        push = deadlines.next_push(state, self._profile, now)
        moments = [
            push,
            trust.valid_from if trust else None,
            *(None if moment is None else moment + 1 for moment in last),
        ]
        return min((moment for moment in moments if moment is not None and moment > now), default=math.inf)

    def delivered(self, marks: Sequence[Hashable], session: Session) -> None:
        ids = tuple(mark for mark in marks if isinstance(mark, int))
        self._committer.serve(MarkDelivered(ids, session.user.name))

    def _made_from(self, state: State, now: int) -> Mapping[str, tuple[Any, ...]]:
        """What each part is made from."""
        settings, profile = state.settings, self._profile
        push = deadlines.next_push(state, profile, now)
        deadline = deadlines.next_ack_deadline(state, profile)
        interval = deadlines.push_interval_days(state, profile)
        reporting = legacy.Reporting(state.report_ack_at, push, deadline, deadline is not None and now > deadline)
        held = state.authorization
        authorized = codes.views(held, profile, now)
        totals = {each.licence.entitlement_tag: each.total for each in authorized}
        limit = throughput_limit(state, profile, now)
        counts = trusting.counts(state.trust, now)
        return {
            "registration": (
                legacy.Trusting(state.trust, counts, state.trust_requested_at, state.trust_failure),
                state.account if counts else None,
                self._controlled and limit is None,
            ),
            "authorization": (held, legacy.exceeds(state, profile, totals), reporting if held.codes else None),
            "evaluation": (),
            "conversion": (held, state.first_started_at),
            "factory-purchase": (state.purchased,),
            "imported-authorizations": (held, authorized, limit),
            "utility": (
                settings.utility_enabled,
                settings.customer_info,
                reporting if settings.utility_enabled else None,
            ),
            "custom-id": (settings.custom_id,),
            "transport": (
                settings.transport_type,
                settings.url_registration,
                settings.url_utility,
                settings.url_cslu,
            ),
            "privacy": (settings.privacy_hostname, settings.privacy_version),
            "udi": (),
            "usage": (state.licences, settings.utility_enabled, totals, frozenset(_reserved(authorized))),
            "policy": (in_force(state.policies),),
            "trust-code": (state.trust, counts),
            "rum-ack": (state.last_ack_at, deadline),
            "slp-agent:account": (state.account, state.report_ack_at),
            "slp-agent:report-counts": (figures(state),),
            "slp-agent:report-times": (
                state.last_closed_at,
                state.last_ack_at,
                deadline,
                push,
                state.last_saved_at,
                interval,
            ),
            "slp-agent:product": (state.epoch,),
            "slp-agent:last-outage": (state.last_outage,),
        }

    def _part(self, member: str, build: Callable[..., Tree | None]) -> _Part:
        """A container or one-entry list, through its binding class."""
        node = self._bindings.node(f"{STATE_INFO}/{member}")

        def made(*made_from: Any) -> Kept | list[Kept] | None:
            tree = build(*made_from)
            if tree is None:
                return None
            kept = self._kept(node, tree)
            return [kept] if node.kind == "list" else kept

        return _Part(made)

    def _kept(self, node: Node, tree: Tree) -> Kept:
        return Kept(self._bindings.checked(node, tree))

    def _custom_id(self, custom_id: str | None) -> str | None:
        if custom_id is None:
            return None
        checked: str = self._bindings.checked(self._bindings.node(STATE_INFO), {"custom-id": custom_id})["custom-id"]
        return checked

    def _conversion(self, held: codes.Authorization, since: int) -> Tree:
        return legacy.conversion(self._profile.udi.key, self._udi, held, since)

    def _imported(self, *made_from: Any) -> Tree:
        return parts.imported_authorizations(self._profile.udi.key, self._udi, *made_from)

    def _usage(
        self,
        licences: Mapping[str, Any],
        post_paid: bool,
        totals: Mapping[str, int | None],
        reserved: frozenset[str],
    ) -> list[Kept]:
        """Every licence of the catalogue, and those that were used and have left it."""
        catalogue = self._profile.licences
        every = [*catalogue.values(), *(self._profile.by_tag(tag) for tag in licences if tag not in catalogue)]
        return [
            self._usage_entry(
                one,
                use.count if (use := licences.get(one.entitlement_tag)) else 0,
                post_paid,
                totals.get(one.entitlement_tag, 0),
                one.entitlement_tag in reserved,
            )
            for one in every
        ]

    def _usage_entry(self, *made_from: Any) -> Kept:
        tag = made_from[0].entitlement_tag
        last = self._usage_entries.get(tag)
        if last is None or last[0] != made_from:
            last = self._usage_entries[tag] = made_from, self._kept(self._usage_node, parts.usage(*made_from))
        return last[1]

    def _trust_code(self, trust: InstalledTrust | None, counts: bool) -> Tree:
        return parts.trust_code(self._profile.udi.key, self._udi, trust, counts)

    def _product(self, epoch: str) -> Tree:
        return {
            "hostname": self._profile.hostname,
            "software-version": self._profile.software_version,
            "software-tag": self._profile.software_tag,
            "agent-version": self._version,
            "lab": self._lab,
            "instance-epoch": epoch,
            "release-feature": [
                {"name": line.feature, "description": line.what, "supported": line.supported}
                for line in releases.table(self._profile.software_version)
            ],
        }


def _reserved(authorized: Sequence[codes.LicenceAuthorization]) -> Iterator[str]:
    """Tags that a reservation authorizes."""
    for each in authorized:
        if any(one.auth_type in legacy.RESERVATIONS for one in each.by):
            yield each.licence.entitlement_tag
