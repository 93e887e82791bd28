"""Nothing that the models promise is silently left out, and every word of the kernel has its word in the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, get_args

import pytest

from agent import app
from agent.core.dispatch import IncompleteError
from agent.core.schema import Schema
from agent.core.types import Enumeration
from agent.licensing import refusals
from agent.licensing.events import CloseReason, OutageReason
from agent.licensing.notices import Notice
from agent.licensing.ports import ReportState
from agent.licensing.settings import TransportType
from agent.northbound import rows, served
from agent.northbound.notifications import translate
from agent.northbound.operations import Operations
from agent.northbound.state_view import StateView
from agent.northbound.times import date_and_time
from agent.store.memory import MemoryStore
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
        monkeypatch.setattr(app, name, getattr(served, name) - {path})


LISTS = [
    *(("absent", path) for path in sorted(served.absent(SCHEMA))),
    *(("PUBLISHED", path) for path in sorted(served.PUBLISHED)),
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
    assert len(parts) == 38
    for path in parts:
        with pytest.raises(IncompleteError) as caught:
            served.check(SCHEMA, parts - {path})
        assert path in str(caught.value).split(": ", 1)[1].split(", ")
    gone = f"{STATE_INFO}/privacy"
    monkeypatch.setattr(StateView, "serves", property(lambda view: full(view) - {gone}))
    with pytest.raises(IncompleteError, match=gone):
        build()


@pytest.mark.parametrize("name", ["record-usage", "close-reports", "import-code"])
def test_an_operation_without_implementation_stops_the_start(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    table: Callable[..., Any] = Operations.table

    def fewer(self: Any) -> Any:
        return {path: one for path, one in table(self).items() if path != f"/slp-agent:{name}"}

    monkeypatch.setattr(Operations, "table", fewer)
    with pytest.raises(IncompleteError, match=f"/slp-agent:{name}"):
        build()


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
        "int": [T0, T0 + 1],
        "int | None": [T0 + 2, None],
        "CloseReason": list(get_args(CloseReason)),
        "OutageReason": list(get_args(OutageReason)),
    }
    return known[annotation]


def samples(kind: type[Any]) -> Iterator[Any]:
    """Notices of a class, such that every value of every field occurs."""
    given = {field.name: choices(field.type) for field in fields(kind)}
    if "code" in given:
        given["code"] = sorted(set(refusals.CODES.values()))
    if "end" in given:
        given["end"] = [T0 + 3]
    for index in range(max(map(len, given.values()))):
        yield kind(**{name: values[min(index, len(values) - 1)] for name, values in given.items()})


UNTOLD = {("ContentWasRefused", "reason"), ("ContentWasRefused", "who"), ("UsageWasRefused", "reason")}
"""Fields for which the models have no leaf: the code stands for the reason."""


@pytest.mark.parametrize("kind", get_args(Notice), ids=lambda kind: kind.__name__)
def test_every_notice_is_a_notification(rig: Rig, kind: type[Any]) -> None:
    """Each class, with all values of closed vocabularies, passes its binding and says all that the notice says."""
    bindings = bindings_of(rig)
    for notice in samples(kind):
        name, tree = translate(notice)
        assert f"/slp-agent:{name}" in served.PUBLISHED
        node = rig.node(f"/slp-agent:{name}")
        assert bindings.checked(node, tree) == tree
        words = {form for value in tree.values() for form in (value, str(value))}
        for field in fields(kind):
            value = getattr(notice, field.name)
            if value is not None and (kind.__name__, field.name) not in UNTOLD:
                assert words & {value, str(value), date_and_time(value) if isinstance(value, int) else value}
        everything = all(getattr(notice, field.name) is not None for field in fields(kind))
        assert {child.member for child in node.children} == set(tree) or not everything


def test_every_notification_has_a_notice() -> None:
    """The other way round: nothing is declared as published that no notice becomes."""
    names = {translate(next(samples(kind)))[0] for kind in get_args(Notice)}
    assert {f"/slp-agent:{name}" for name in names} == served.PUBLISHED


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
