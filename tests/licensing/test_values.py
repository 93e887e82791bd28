"""Events and state as JSON, the life-cycle table, and docs/licensing.md against the tables that it shows."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hypothesis import given
from hypothesis import strategies as st
import pytest

from agent.formats.documents import PolicyClass, PolicyTerms
from agent.licensing import codes, events, refusals, releases, reports
from agent.licensing.settings import Settings
from agent.licensing.state import State
from tests.licensing.kit import T0, Authority, running

DOCS = Path(__file__).parents[2] / "docs" / "licensing.md"

NUMBER = st.integers(0, 2**63 - 1)
TEXT = st.text(max_size=20)
IDS = st.lists(NUMBER, max_size=5).map(tuple)
DAYS = st.builds(PolicyClass, *[st.none() | st.integers(0, 3650)] * 3)
SETTINGS = st.builds(
    Settings,
    transport_type=st.sampled_from(["callhome", "smart", "cslu", "off", "automatic"]),
    interval_days=st.none() | st.integers(1, 365),
    privacy_hostname=st.booleans(),
    custom_id=st.none() | TEXT,
    customer_tags=st.just(()) | st.tuples(st.tuples(st.just("tag1"), st.text(min_size=1, max_size=127))),
    boot_levels=st.lists(TEXT, max_size=3).map(tuple),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "settings": SETTINGS,
    "terms": st.builds(PolicyTerms, TEXT, DAYS, DAYS, DAYS, DAYS, st.none() | st.booleans()),
    "report_ids": IDS,
    "levels": st.lists(TEXT, max_size=3).map(tuple),
    "anchors": st.lists(st.binary(max_size=20), max_size=3).map(tuple),
    "document": st.binary(max_size=50),
    "certificate": st.binary(max_size=50),
    "by_state": st.lists(st.tuples(TEXT, NUMBER), max_size=2).map(tuple),
    "delta": st.integers(-(2**40), -1),
}


ADDED_LATER: dict[tuple[type, str], Any] = {(events.AuthorizationInstalled, "factory"): False}
"""Members that older journals do not have, with what their absence means."""


@st.composite
def any_event(draw: st.DrawFn) -> events.Event:
    cls = draw(st.sampled_from(get_args(events.Event)))
    values = {}
    for name, hint in get_type_hints(cls).items():
        if name in FIELDS:
            values[name] = draw(FIELDS[name])
        else:
            values[name] = draw(NUMBER if hint is int else TEXT if hint is str else st.from_type(hint))
    made: events.Event = cls(**values)
    return made


@given(any_event())
def test_events_survive_their_json(event: events.Event) -> None:
    assert events.decode(events.encode(event)) == event


@given(any_event(), st.data())
def test_cut_or_altered_events_are_refused_or_equal(event: events.Event, data: st.DataObject) -> None:
    """Truncated at every place, with trailing bytes, and with any one member missing or of another type."""
    written = events.encode(event)
    with pytest.raises(ValueError, match="event"):
        events.decode(written[: data.draw(st.integers(0, len(written) - 1))])
    with pytest.raises(ValueError, match="event"):
        events.decode(written + b"x")
    body = json.loads(written)
    name = data.draw(st.sampled_from(sorted(body)))
    without = json.dumps({k: v for k, v in body.items() if k != name}).encode()
    if (type(event), name) in ADDED_LATER:
        assert events.decode(without) == replace(event, **{name: ADDED_LATER[type(event), name]})
    else:
        with pytest.raises(ValueError, match="event"):
            events.decode(without)
    for wrong in (body | {name: {"no": 1}}, body | {name: None}):
        with pytest.raises(ValueError, match="event"):
            events.decode(json.dumps(wrong).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'"x"',
        b"{}",
        b'{"v":99,"type":"sampled","at":1}',
        b'{"v":1,"type":"sampled","at":1}',
        b'{"v":2,"type":"no-such","at":1}',
        b'{"v":2,"type":["sampled"],"at":1}',
        b'{"v":2,"type":"sampled","at":true}',
        b'{"v":2,"type":"sampled","at":1.0}',
        b'{"v":2,"type":"sampled","at":1,"more":2}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="event"):
        events.decode(data)


def test_every_event_type_has_its_own_word() -> None:
    words = [events.kind_of(each) for each in get_args(events.Event)]
    assert len(set(words)) == len(words) == 34
    assert "report-closed" in words


def test_a_full_state_survives_its_json() -> None:
    authority = Authority()
    device = running().trusting(authority)
    device.apply(Settings(interval_days=7, customer_tags=(("tag1", "ä"),), boot_levels=("network-premier",)))
    device.use("network-advantage", 2)
    device.use("network-advantage", 3, after=10)
    device.stop(after=10)
    device.start(after=10)
    device.install(authority.file(authority.policy(device, PolicyTerms("P", ack_required=True))))
    device.install(authority.file(authority.trust_code(device)))
    device.close(after=10)
    device.install(authority.ack(device))
    device.tick(after=-5000)
    assert State.from_json(device.state.to_json()) == device.state
    assert device.replayed() == device.state
    assert device.replayed().to_json() == device.state.to_json()


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"v":99,"state":{}}', b'{"v":2}', b'{"v":2,"state":{"at":"x"}}', b'{"v":2,"state":{"x":1}}'],
)
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"state|expected"):
        State.from_json(data)


def test_the_first_state_is_empty() -> None:
    assert State.from_json(State().to_json()) == State()
    assert reports.figures(State()) == (0, 0, 0, 0, 0, 0)


def test_the_life_of_a_report() -> None:
    assert reports.moves("closed", "delivered")
    assert reports.moves("closed", "acknowledged")
    assert reports.moves("unacknowledged", "acknowledged")
    assert not reports.moves("unacknowledged", "delivered")
    assert reports.moves("unacknowledged", "refused")
    assert not reports.moves("closed", "refused")
    assert not reports.moves("acknowledged", "delivered")
    assert not reports.moves("purged", "acknowledged")
    ends = {stage for stage, row in reports.LIFE.items() if not row}
    assert ends == {"purged"}
    assert {following for row in reports.LIFE.values() for following in row.values()} <= set(reports.LIFE)


def test_the_documented_diagram_is_the_table() -> None:
    assert f"```mermaid\n{reports.diagram()}\n```" in DOCS.read_text()
    assert f"```mermaid\n{codes.diagram()}\n```" in DOCS.read_text()


def test_the_documented_refusals_are_the_table() -> None:
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    documented = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0].strip("`") in refusals.CODES:
            documented[cells[0].strip("`")] = cells[1].strip("`")
            assert cells[2]
    assert documented == refusals.CODES


def test_the_documented_releases_are_the_table() -> None:
    page = DOCS.read_text()
    for feature, since in releases.FEATURES.items():
        first = since.always
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{feature}` | {since.what} | ")]
        assert line.endswith(f"{first.major}.{first.minor}.{first.rebuild} |")
        for start in since.rebuilds:
            assert f"{start.major}.{start.minor}.{start.rebuild} in its train" in line


def test_every_close_reason_has_a_termination_reason() -> None:
    assert set(reports.TERMINATION) == set(get_args(events.CloseReason))
    assert len(set(reports.TERMINATION.values())) == len(reports.TERMINATION)


def test_report_keys() -> None:
    assert reports.report_key("PID:A,SN:B", T0) == f"PID:A,SN:B,REPORT:{T0}"
