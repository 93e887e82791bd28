"""Reads with a consequence (design): who delivers what, when it counts, and that it outlives the agent."""

from __future__ import annotations

from lxml import etree
import pytest

from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.core.data import Data
from agent.core.requests import Content, Get
from agent.core.select import Pick, Selection
from agent.core.sessions import User
from agent.errors import RequestError
from tests.northbound import scenes
from tests.northbound.conftest import Make
from tests.northbound.kit import (
    ADMIN,
    COLLECTOR,
    LICENSING,
    NOBODY,
    READER,
    RECORDER,
    SECONDS,
    STATE_INFO,
    Rig,
    error_of,
    tree_of,
)
from tests.northbound.stores import FailingStore

DETAILS = f"{STATE_INFO}/slp-agent:rum-reports-closed"
SUMMARIES = f"{STATE_INFO}/rum-reports-closed-keys"


def states(rig: Rig) -> list[str]:
    """The states of all reports, as a reader sees them."""
    entries = rig.json(rig.select(SUMMARIES))[LICENSING]["state"]["state-info"]["rum-reports-closed-keys"]
    return [entry["report-state"].removeprefix("rum-report-state-") for entry in entries]


def deliver(rig: Rig, data: Data, user: User = COLLECTOR) -> bytes:
    reply = b"".join(xml_codec.encode(data, rig.schema.root))
    rig.dispatch.delivered(data, rig.session(user)).result(SECONDS)
    return reply


def read(rig: Rig, selection: Selection | None, user: User = COLLECTOR) -> Data:
    return rig.dispatch.read(Get(selection, Content.NONCONFIG), rig.session(user))


def leaf_of(rig: Rig, leaf: str) -> Selection:
    return rig.select(f"{DETAILS}/slp-agent:{leaf}")


def test_a_collector_takes_documents(either: Rig) -> None:
    """The reply shows the state before; once the transport took its last byte, the reports are unacknowledged."""
    scenes.closed(either)
    data = read(either, either.select(DETAILS))
    reply = b"".join(xml_codec.encode(data, either.schema.root))
    entries = tree_of(etree.fromstring(b"<data>" + reply + b"</data>"), either.schema.root)
    shown = entries[LICENSING]["state"]["state-info"]["slp-agent:rum-reports-closed"]
    assert [entry["report-state"] for entry in shown] == ["rum-report-state-closed"] * 2
    assert states(either) == ["closed", "closed"]  # encoded, and not yet said to be delivered
    events = len(either.kept().events)
    either.dispatch.delivered(data, either.session(COLLECTOR)).result(SECONDS)
    assert states(either) == ["unacknowledged", "unacknowledged"]
    assert len(either.kept().events) == events + 1
    assert either.replayed() == either.state


def test_the_mark_is_durable(durable: Rig) -> None:
    """An agent that is killed right after still knows it."""
    scenes.closed(durable)
    durable.collect()
    durable.restart(10, crash=True)
    assert states(durable)[:2] == ["unacknowledged", "unacknowledged"]
    assert durable.part("slp-agent:report-counts")["waiting"] == "2"


def test_delivering_again_changes_nothing(either: Rig) -> None:
    scenes.closed(either)
    either.collect()
    before = either.kept()
    either.advance(10)
    either.collect()
    assert either.kept() == before


@pytest.mark.parametrize("user", [ADMIN, READER, RECORDER])
def test_other_users_only_look(rig: Rig, user: User) -> None:
    """A whole reply to anyone who is no collector marks nothing."""
    scenes.closed(rig)
    before = rig.kept()
    data = read(rig, None, user)
    deliver(rig, data, user)
    assert len(data.marks) == 2
    assert states(rig) == ["closed", "closed"]
    assert rig.kept() == before


def test_nobody_reads_nothing(rig: Rig) -> None:
    """Checklist 122: a user without a group is denied, and nothing is marked."""
    scenes.closed(rig)
    assert error_of(lambda: read(rig, rig.select(DETAILS), NOBODY)).tag == "access-denied"
    assert states(rig) == ["closed", "closed"]


def test_an_admin_who_collects_marks(rig: Rig) -> None:
    """The right is a group's; a user may have several."""
    scenes.closed(rig)
    both = User("both", frozenset({"admin", "collector"}))
    rig.collect(user=both)
    assert states(rig) == ["unacknowledged", "unacknowledged"]


def test_what_was_not_delivered_to_the_end_is_not_marked(rig: Rig) -> None:
    """HEAD, 304 and a lost connection: the transport does not call `delivered`, so no mark is kept."""
    scenes.closed(rig)
    before = rig.kept()
    data = read(rig, rig.select(DETAILS))
    next(iter(xml_codec.encode(data, rig.schema.root)))
    rig.advance(0)
    assert states(rig) == ["closed", "closed"]
    assert rig.kept() == before


@pytest.mark.parametrize("leaf", ["rum-report-key", "digest", "report-state", "report-id", "close-reason"])
def test_keys_and_summaries_mark_nothing(rig: Rig, leaf: str) -> None:
    """Only the document counts, not what is said about it."""
    scenes.closed(rig)
    for selection in (leaf_of(rig, leaf), rig.select(SUMMARIES), rig.select(f"{SUMMARIES}/report-state")):
        data = read(rig, selection)
        assert b"REPORT" in deliver(rig, data)
        assert data.marks == []
    assert states(rig) == ["closed", "closed"]


def test_the_document_leaf_alone_marks(rig: Rig) -> None:
    scenes.closed(rig)
    deliver(rig, read(rig, leaf_of(rig, "document")))
    assert states(rig) == ["unacknowledged", "unacknowledged"]


def test_a_filter_for_one_report_marks_that_one(either: Rig) -> None:
    """By its key, as collectors fetch bodies, and by another leaf of the entry."""
    scenes.closed(either)
    (_, second) = [entry["rum-report-key"] for entry in either.part("rum-reports-closed-keys")]
    either.collect(either.select(DETAILS, rum_report_key=second))
    assert states(either) == ["closed", "unacknowledged"]
    either.close(900)
    third = either.part("slp-agent:rum-reports-closed")[2]
    either.collect(either.select(DETAILS, digest=third["digest"]))
    assert states(either) == ["closed", "unacknowledged", "unacknowledged", "closed"]


def test_several_reports_in_one_request(rig: Rig) -> None:
    """Many bodies a request: those that were asked for are marked, in one transaction."""
    scenes.closed(rig)
    rig.close(900)
    keys = [entry["rum-report-key"] for entry in rig.part("rum-reports-closed-keys")]
    node = rig.node(DETAILS)
    key = node.key_nodes[0]
    wanted = tuple(Pick(node, ((key, one),)) for one in (keys[0], keys[3]))
    (outer,) = rig.select(STATE_INFO)
    state = outer.below[0]  # type: ignore[index]
    info = state.below[0]  # type: ignore[index]
    selection = (Pick(outer.node, below=(Pick(state.node, below=(Pick(info.node, below=wanted),)),)),)
    events = len(rig.kept().events)
    deliver(rig, read(rig, selection))
    assert states(rig) == ["unacknowledged", "closed", "closed", "unacknowledged"]
    assert len(rig.kept().events) == events + 1


def test_a_filter_that_takes_nothing_marks_nothing(rig: Rig) -> None:
    scenes.closed(rig)
    data = read(rig, rig.select(DETAILS, rum_report_key="PID:RIG-1,SN:9RIG,REPORT:1"))
    assert deliver(rig, data) == b""
    assert data.marks == []


def test_json_marks_as_xml_does(rig: Rig) -> None:
    """RESTCONF's encoding of the same read."""
    scenes.closed(rig)
    data = read(rig, rig.select(DETAILS))
    b"".join(json_codec.encode(data, rig.schema.root))
    rig.dispatch.delivered(data, rig.session(COLLECTOR)).result(SECONDS)
    assert states(rig) == ["unacknowledged", "unacknowledged"]


def test_a_report_that_was_acknowledged_meanwhile(rig: Rig) -> None:
    """Purged between the read and the end of the delivery: passed over."""
    scenes.closed(rig)
    data = read(rig, rig.select(DETAILS))
    b"".join(xml_codec.encode(data, rig.schema.root))
    rig.installed(rig.ack())
    before = rig.kept()
    rig.dispatch.delivered(data, rig.session(COLLECTOR)).result(SECONDS)
    assert rig.kept() == before


def test_a_thousand_pages_are_marked_at_once(make: Make) -> None:
    """More reports than a page of the store holds."""
    rig = make()
    rig.use("advantage", 1)
    for _ in range(300):
        rig.close(1)
    data = read(rig, rig.select(DETAILS))
    deliver(rig, data)
    assert len(data.marks) == 300
    assert set(states(rig)) == {"unacknowledged"}
    assert len(states(rig)) == 300


def test_a_delivery_that_cannot_be_kept_is_an_error(make: Make) -> None:
    """The collector has the document; it will find it marked as closed and may fetch it again."""
    store = FailingStore()
    rig = make(store=store)
    scenes.closed(rig)
    data = read(rig, rig.select(DETAILS))
    b"".join(xml_codec.encode(data, rig.schema.root))
    store.full = True
    with pytest.raises(RequestError):
        rig.dispatch.delivered(data, rig.session(COLLECTOR)).result(SECONDS)
    assert states(rig) == ["closed", "closed"]
    store.full = False
    rig.collect()
    assert states(rig) == ["unacknowledged", "unacknowledged"]
