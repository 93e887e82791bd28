"""Nothing that the models promise is silently left out, and every word of the kernel has its word in the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, get_args

import pytest

from agent import app
from agent.core.dispatch import IncompleteError
from agent.core.hub import Event, Hub
from agent.core.schema import Schema
from agent.core.types import Enumeration
from agent.formats.documents import AuthType, CodeTerm, PolicyOrigin
from agent.licensing import notices, refusals
from agent.licensing.events import CloseReason, OutageReason
from agent.licensing.notices import Notice
from agent.licensing.policy import Kind, Source
from agent.licensing.ports import ReportState
from agent.licensing.settings import Mode, TransportType
from agent.northbound import rows, served
from agent.northbound.access_operations import AccessOperations
from agent.northbound.authorization_operations import AuthorizationOperations
from agent.northbound.file_operations import FILE_CODES, FileOperations
from agent.northbound.life_operations import LifeOperations
from agent.northbound.notifications import Notifier
from agent.northbound.operations import Operations
from agent.northbound.state_view import StateView
from agent.northbound.times import date_and_time
from agent.northbound.translation import translate
from agent.northbound.trust_operations import TrustOperations
from agent.northbound.words import INSTALL_TYPES, POLICY_SOURCES
from agent.store.memory import MemoryStore
from agent.transport.files import Reason
from tests.licensing.kit import T0, key
from tests.northbound.kit import STATE_INFO, HandClock, Rig, bindings_of, profile

SCHEMA = app.load_schema()


def build() -> None:
    """What a start does before it opens anything."""
    app.build(profile=profile(), clock=HandClock(), store=MemoryStore(), signer=key("device"), lab=False)


def without(monkeypatch: pytest.MonkeyPatch, name: str, path: str) -> None:
    """Take one path out of one of the lists of what is served or declared absent."""
    if name == "absent":
        full = served.absent(SCHEMA)
        assert path in full

        def fewer(_: Schema) -> frozenset[str]:
            return full - {path}

        monkeypatch.setattr(served, "absent", fewer)
        monkeypatch.setattr(app, "absent", fewer)
    else:
        monkeypatch.setattr(app, name, set(getattr(served, name)) - {path})


LISTS = [
    *(("absent", path) for path in sorted(served.absent(SCHEMA))),
    *(("PUBLISHED", path) for path in sorted(served.PUBLISHED)),
    *(("NEVER", path) for path in sorted(served.NEVER)),
    *(("FRONT_END", path) for path in sorted(served.FRONT_END)),
]


def test_what_is_listed_is_complete() -> None:
    build()


@pytest.mark.parametrize(("name", "path"), LISTS)
def test_a_path_that_is_on_no_list_stops_the_start(monkeypatch: pytest.MonkeyPatch, name: str, path: str) -> None:
    """The start ends with the name of what nobody serves."""
    without(monkeypatch, name, path)
    with pytest.raises(IncompleteError) as caught:
        build()
    assert named(caught.value, path)


def named(error: IncompleteError, path: str) -> bool:
    """Whether a path, or each of the nodes below it, is among those that the message lists."""
    told = str(error).split(": ", 1)[1].split(", ")
    return all(one == path or one.startswith(f"{path}/") for one in told)


def test_a_part_of_the_state_that_is_not_served_stops_the_start(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    """The providers' roots cover all that is below them: so what the view really serves is compared, part by part."""
    full: Callable[[StateView], frozenset[str]] = StateView.serves.fget  # type: ignore[attr-defined]
    view = next(provider for provider in rig.dispatch._by_node.values() if isinstance(provider, StateView))
    parts = full(view)
    assert len(parts) == 25
    for path in parts:
        with pytest.raises(IncompleteError) as caught:
            served.check(SCHEMA, parts - {path})
        assert named(caught.value, path)
    gone = f"{STATE_INFO}/privacy"
    monkeypatch.setattr(StateView, "serves", property(lambda view: full(view) - {gone}))
    with pytest.raises(IncompleteError, match=gone):
        build()


def test_nothing_of_our_two_modules_is_absent() -> None:
    """Must show: no RPC, state or notification of theirs is declared absent; five notifications can never occur."""
    ours = {path for path in served.absent(SCHEMA) if path.startswith(("/cisco-smart-license:", "/slp-agent:"))}
    assert ours == set()
    told = {node.path for node in SCHEMA.notifications.values() if node.module in ("cisco-smart-license", "slp-agent")}
    assert told == served.PUBLISHED | set(served.NEVER)
    assert len(served.NEVER) == 5
    assert not served.PUBLISHED & set(served.NEVER)


OPERATIONS = (
    Operations,
    FileOperations,
    AuthorizationOperations,
    TrustOperations,
    LifeOperations,
    AccessOperations,
)
RPCS = sorted(node.path for node in SCHEMA.rpcs.values() if node.module in ("cisco-smart-license", "slp-agent"))


def without_operation(kind: type[Any], gone: str) -> Callable[..., Any]:
    """The table of a class of operations without one path."""
    full = kind.table
    return lambda self: {path: one for path, one in full(self).items() if path != gone}


@pytest.mark.parametrize("path", RPCS)
def test_an_operation_without_implementation_stops_the_start(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    for kind in OPERATIONS:
        monkeypatch.setattr(kind, "table", without_operation(kind, path))
    with pytest.raises(IncompleteError) as caught:
        build()
    assert named(caught.value, path)


def test_a_path_that_the_models_do_not_have_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lists may not outlive what they name."""
    monkeypatch.setattr(app, "PUBLISHED", served.PUBLISHED | {"/slp-agent:no-such"})
    with pytest.raises(IncompleteError, match="/slp-agent:no-such"):
        build()


# The kernel's words


def choices(annotation: Any) -> list[Any]:
    """Values for a field of a notice: all of a closed vocabulary, else one or two that stand for the rest."""
    known: dict[Any, list[Any]] = {
        "str": ["a & <b>"],
        "str | None": ["0A1B2C3D", None],
        "int": [T0, T0 + 1],
        "int | None": [T0 + 2, None],
        "bool": [False, True],
        "CloseReason": list(get_args(CloseReason)),
        "OutageReason": list(get_args(OutageReason)),
        "PolicyOrigin": list(get_args(PolicyOrigin)),
        "AuthType": list(get_args(AuthType)),
        "tuple[AuthType, ...]": [get_args(AuthType), ()],
        "tuple[str, ...]": [("a & <b>", "c"), ()],
        "tuple[tuple[int, str], ...]": [((T0, "a & <b>"), (T0 + 1, "c"))],
    }
    return known[annotation]


def samples(kind: type[Any]) -> Iterator[Any]:
    """Notices of a class, such that every value of every field occurs."""
    given = {field.name: choices(field.type) for field in fields(kind)}
    if "code" in given:
        given["code"] = sorted(set(refusals.CODES.values()))
    if "end" in given:
        given["end"] = [T0 + 3]
    if kind is notices.ContentWasRefused:
        given["kind"] = ["trust-code", "policy"]
    for index in range(max(map(len, given.values()))):
        yield kind(**{name: values[min(index, len(values) - 1)] for name, values in given.items()})


UNTOLD = {
    # the models have no leaf for these: the code stands for the reason
    ("ContentWasRefused", "reason"),
    ("ContentWasRefused", "who"),
    ("UsageWasRefused", "reason"),
    ("SyncFailed", "reason"),
    ("TrustRequestFailed", "reason"),
    ("AuthorizationRequestFailed", "reason"),
    # trust-success beside it says that it is the authority's
    ("TrustCodeWasInstalled", "factory"),
}
"""Fields that the notification of their notice does not say."""
WORDS = INSTALL_TYPES | POLICY_SOURCES
"""Words of the kernel that go by another name in the models."""


def scalars(value: Any) -> Iterator[Any]:
    """All that lists and entries hold."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        yield value
        return
    for one in value:
        yield from scalars(one)


def forms(value: Any) -> list[Any]:
    """How the models may say a value of the kernel."""
    if isinstance(value, bool):
        return [value]
    if isinstance(value, int):
        return [value, str(value), date_and_time(value)]
    return [WORDS.get(value, value)]


@pytest.mark.parametrize("kind", get_args(Notice), ids=lambda kind: kind.__name__)
def test_every_notice_is_a_notification(rig: Rig, kind: type[Any]) -> None:
    """Each class, with all values of closed vocabularies, passes its binding and says all that the notice says."""
    bindings = bindings_of(rig)
    for notice in samples(kind):
        name, tree = translate(notice)
        assert f"/slp-agent:{name}" in served.PUBLISHED
        node = rig.node(f"/slp-agent:{name}")
        assert bindings.checked(node, tree) == tree
        said = list(scalars(tree))
        values = {field.name: getattr(notice, field.name) for field in fields(kind)}
        for field, value in values.items():
            if value is None or (kind.__name__, field) in UNTOLD:
                continue
            for one in scalars(value):
                assert any(type(word) is type(form) and word == form for word in said for form in forms(one)), field
        everything = all(value not in (None, ()) for value in values.values())
        assert {child.member for child in node.children} == set(tree) or not everything


BESIDE: dict[str, list[set[str]]] = {
    "TrustCodeWasInstalled": [{"trust-success", "registration-success"}, set()],
    "TrustRequestFailed": [{"registration-fail"}],
    "TrustCodeEnds": [{"registration-expiration-warning"}, {"registration-expired"}],
    "ReportsWereAcknowledged": [{"authorization-renew-success"}],
    "AckIsOverdue": [{"communications-fail"}],
    "ReportsWereRefused": [{"authorization-renew-fail"}],
    "SyncFailed": [{"authorization-renew-fail"}],
    "UtilityReportingChanged": [{"utility-reporting-stopped"}, {"utility-reporting-started"}],
    "ContentWasRefused": [{"trust-fail", "registration-fail"}, set()],
    "AuthorizationWasInstalled": [{"enforcement-mode"}],
    "AuthorizationWasRemoved": [{"enforcement-mode"}],
    "AuthorizationHasExpired": [{"enforcement-mode"}],
}
"""What is told beside a notice's own notification, sample by sample; the last holds for the rest, no line for none."""
BY_STATE = {
    f"/cisco-smart-license:{name}"
    for name in (
        "communications-restored",
        "de-register-fail",
        "de-register-success",
        "registration-out-of-range",
        "registration-renew-fail",
        "registration-renew-success",
        "utility-RUM-fail",
    )
}
"""Told where the state before, or a call, says so and not the notice alone: test_legacy_notifications.py."""


def published(rig: Rig, *told: Any) -> list[Event]:
    """What subscribers hear of these notices, through the bindings."""
    hub, heard = Hub(), list[Event]()
    hub.subscribe(heard.append)
    Notifier(bindings_of(rig), hub, rig.profile).stage(told, rig.state, rig.state, T0, MemoryStore().begin())()
    return heard


@pytest.mark.parametrize("kind", get_args(Notice), ids=lambda kind: kind.__name__)
def test_what_is_told_beside_a_notice(rig: Rig, kind: type[Any]) -> None:
    """Outcomes of requests, and the same in the words of the time before; its own notification comes first."""
    expected = BESIDE.get(kind.__name__, [set()])
    for index, notice in enumerate(samples(kind)):
        own, *further = published(rig, notice)
        assert (own.module, own.name, own.tree) == ("slp-agent", *translate(notice))
        names = [event.name for event in further]
        assert sorted(names) == sorted(expected[min(index, len(expected) - 1)])
        for event in further:
            assert f"/{event.module}:{event.name}" in served.PUBLISHED


def test_every_notification_has_a_notice(rig: Rig) -> None:
    """The other way round: nothing is declared as published that no notice, nor the start, becomes."""
    heard = published(rig, *(sample for kind in get_args(Notice) for sample in samples(kind)))
    hub = Hub()
    hub.subscribe(heard.append)
    Notifier(bindings_of(rig), hub, rig.profile).started(T0)
    assert {f"/{event.module}:{event.name}" for event in heard} | BY_STATE == served.PUBLISHED


def enum(rig: Rig, path: str) -> set[str]:
    kind = rig.node(path).type
    assert isinstance(kind, Enumeration)
    return set(kind.values)


def test_closed_vocabularies_are_the_models(rig: Rig) -> None:
    """Close reasons, report states, transports and codes of the kernel are values of the models' enumerations."""
    details = f"{STATE_INFO}/slp-agent:rum-reports-closed"
    assert set(get_args(CloseReason)) == enum(rig, f"{details}/slp-agent:close-reason")
    assert set(get_args(CloseReason)) == enum(rig, "/slp-agent:report-closed/close-reason")
    assert set(get_args(OutageReason)) == enum(rig, f"{STATE_INFO}/slp-agent:last-outage/reason")
    transports = enum(rig, f"{STATE_INFO}/transport/transport-type")
    assert {f"transport-type-{name}" for name in get_args(TransportType)} == transports
    assert set(rows._STATES) == set(get_args(ReportState))
    assert set(rows._STATES.values()) <= enum(rig, f"{STATE_INFO}/rum-reports-closed-keys/report-state")
    codes = enum(rig, "/slp-agent:import-code/output/return-code")
    assert set(refusals.CODES.values()) | {refusals.SUCCESS} <= codes
    assert set(FILE_CODES) == set(get_args(Reason))
    assert set(FILE_CODES.values()) <= codes


def test_closed_vocabularies_of_codes_and_policies_are_the_models(rig: Rig) -> None:
    """Kinds of codes, terms, origins of policies and modes of the kernel are values of the models' enumerations."""
    imported = f"{STATE_INFO}/imported-authorizations"
    assert set(INSTALL_TYPES) == set(get_args(AuthType))
    assert set(INSTALL_TYPES.values()) <= enum(rig, f"{imported}/overall-status/installed-list/install-type")
    by = f"{imported}/authorization-list/slp-agent:authorized-by"
    assert set(INSTALL_TYPES.values()) <= enum(rig, f"{by}/install-type")
    assert {f"license-term-type-{term}" for term in get_args(CodeTerm)} <= enum(rig, f"{by}/license-term-type")
    assert set(POLICY_SOURCES) == set(get_args(Source)) == {*get_args(PolicyOrigin), "default"}
    assert set(POLICY_SOURCES.values()) == enum(rig, "/slp-agent:policy-installed/origin")
    assert {f"policy-type-{kind}" for kind in get_args(Kind)} <= enum(rig, f"{STATE_INFO}/policy/policy-type")
    assert set(get_args(Mode)) == enum(rig, "/cisco-smart-license:licensing/config/slp-agent:operating-mode")


def test_every_kernel_notice_is_published(rig: Rig) -> None:
    """The subscriber hears what happened, at the time when it happened."""
    rig.told.clear()
    rig.use("advantage", 2)
    rig.close(60)
    (first, second) = rig.told
    assert (first.module, first.name, first.time) == ("slp-agent", "usage-changed", T0)
    assert first.tree == {"entitlement-tag": "regid.2026-11.test.ADV,1.0_01", "license-name": "advantage", "count": 2}
    assert (second.name, second.time) == ("report-closed", T0 + 60)
    assert second.tree["close-reason"] == "requested"
