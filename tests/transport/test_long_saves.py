"""Saving many reports: others are served meanwhile, memory is bounded, and nothing is marked that was not written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
import json
import threading
import tracemalloc
from typing import Any

import pytest

from agent.codec import json as json_codec
from agent.core.loop import LoopStoppedError
from agent.core.requests import Content, Get, Invoke
from agent.core.select import Pick
from agent.core.sessions import User
from agent.core.tree import Tree
from agent.formats import envelope
from agent.formats.smartlicense import read_usage
from agent.licensing.commands import MarkDelivered, NoteSaved
from agent.licensing.ports import Part, ReportReads, ReportRow
from agent.northbound import file_operations, operations
from tests.transport.rig import ADMIN, COLLECTOR, LICENSING, PROFILE, SECONDS, STATE_INFO, Rig

MANY = 150


class Gate:
    """The store's list of reports; each page is given only when the gate is open."""

    def __init__(self, reads: ReportReads) -> None:
        self._pages = reads.pages
        self.asked = threading.Event()
        self.open = threading.Event()
        self.threads: set[str] = set()

    def pages(self, after_id: int, upto_id: int, limit: int, part: Part) -> Sequence[ReportRow]:
        if part == "detail":
            self.threads.add(threading.current_thread().name)
            self.asked.set()
            assert self.open.wait(SECONDS)
        return self._pages(after_id, upto_id, limit, part)


@pytest.fixture
def rig(tmp_path: Any) -> Iterator[Rig]:
    licences = "".join(f'\n[[license]]\nname = "n{n}"\nentitlement-tag = "tag-{n}"\n' for n in range(MANY))
    made = Rig(tmp_path, text=PROFILE + licences)
    yield made
    made.end()


def filled(rig: Rig, closes: int = 1) -> int:
    """Close so many reports of each licence."""
    for number in range(MANY):
        rig.use(f"n{number}", 1)
    for _ in range(closes):
        rig.advance(10)
        rig.invoke("close-reports")
    for number in range(MANY):
        rig.use(f"n{number}", 0)
    return closes * MANY


def ids(rig: Rig) -> list[int]:
    return [row.report_id for row in rig.store.reports.pages(0, rig.store.reports.max_id(), 10 * MANY, "summary")]


def begin(rig: Rig, name: str, given: Tree, user: User = ADMIN) -> Future[Tree | None]:
    module = "slp-agent" if ("slp-agent", name) in rig.dispatch.schema.rpcs else "cisco-smart-license"
    node = rig.dispatch.schema.rpcs[module, name]
    return rig.dispatch.submit(Invoke(node, json_codec.decode_input(given, node)), rig.session(user))


def counted(rig: Rig, tag: str) -> int:
    """A count as a small get shows it."""
    picked = Pick(rig.node(f"{STATE_INFO}/usage"))
    for path in (STATE_INFO, STATE_INFO.rpartition("/")[0], f"/{LICENSING}"):
        picked = Pick(rig.node(path), below=(picked,))
    read = rig.dispatch.read(Get((picked,), Content.ALL), rig.session())
    tree = json.loads(b"".join(json_codec.encode(read, rig.dispatch.schema.root)))
    usage = tree[LICENSING]["state"]["state-info"]["usage"]
    return next(entry["count"] for entry in usage if entry["entitlement-tag"] == tag)


@pytest.mark.parametrize(
    ("name", "given"), [("rum-save-usage-all", {"file-path": "a"}), ("export-usage", {"all": [None]})]
)
def test_others_are_answered_while_a_save_runs(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str, given: Tree
) -> None:
    """By the order of events: a get and a durable change have their answers while the save still waits for its rows."""
    number = filled(rig)
    gate = Gate(rig.store.reports)
    monkeypatch.setattr(rig.store.reports, "pages", gate.pages)
    saving = begin(rig, name, given, COLLECTOR)
    assert gate.asked.wait(SECONDS)
    assert rig.use("advantage", 3) == {"return-code": "success"}
    assert counted(rig, "regid.2026-11.test.ADV,1.0_01") == 3
    assert rig.invoke("ask-permission", {"license": "advantage"})["allowed"]
    assert (saving.done(), rig.state.counts.waiting) == (False, 0)
    gate.open.set()
    answer = saving.result(SECONDS)
    assert answer is not None
    assert answer["report-count" if name == "export-usage" else "slp-agent:report-count"] == number
    assert gate.threads
    assert all(thread.startswith("aside") for thread in gate.threads)
    assert rig.state.counts.waiting == number


@pytest.mark.parametrize("name", ["import-code", "import-file"])
def test_others_are_answered_while_a_long_ack_is_checked(rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Its documents are verified beside the core thread, once; what it acknowledges is purged in one decision."""
    number = filled(rig)
    known = [(each.report_id, each.digest) for each in map(rig.store.reports.by_id, ids(rig)) if each is not None]
    ack = rig.ack(*known, *((n, "a" * 64) for n in range(1, 2001)))
    asked, opened = threading.Event(), threading.Event()
    threads: list[str] = []
    check = envelope._checked

    def waiting(data: bytes, door: Any) -> envelope.Checked:
        threads.append(threading.current_thread().name)
        asked.set()
        assert opened.wait(SECONDS)
        return check(data, door)

    monkeypatch.setattr(envelope, "_checked", waiting)
    (rig.flash / "ack.xml").write_bytes(ack)
    given = {"content": ack.decode()} if name == "import-code" else {"file-path": "ack.xml"}
    importing = begin(rig, name, given)
    assert asked.wait(SECONDS)
    assert rig.use("advantage", 3) == {"return-code": "success"}
    assert (importing.done(), rig.state.counts.purged) == (False, 0)
    opened.set()
    answer = importing.result(SECONDS)
    assert answer is not None
    assert answer["return-code"] == "success"
    assert rig.state.counts.purged == number
    assert [thread.partition("_")[0] for thread in threads] == ["aside"]


def test_a_short_ack_waits_for_no_save(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one long thing is done beside the core thread at a time; what is short does not queue for it."""
    filled(rig)
    ack = rig.ack()
    gate = Gate(rig.store.reports)
    monkeypatch.setattr(rig.store.reports, "pages", gate.pages)
    saving = begin(rig, "rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    assert gate.asked.wait(SECONDS)
    assert len(ack) < operations.LONG
    assert rig.invoke("import-code", {"content": ack.decode()})["return-code"] == "success"
    assert (saving.done(), rig.state.counts.purged) == (False, MANY)
    gate.open.set()
    assert saving.result(SECONDS)


def test_many_are_marked_some_at_a_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are marked in the end, in as many transactions as that takes; others get a turn between two."""
    monkeypatch.setattr(file_operations, "MARKED", 40)
    number = filled(rig)
    marks: list[int] = []
    run = rig.agent.committer.run

    def counting(command: Any) -> Any:
        if isinstance(command, NoteSaved | MarkDelivered):
            marks.append(len(command.report_ids))
        return run(command)

    monkeypatch.setattr(rig.agent.committer, "run", counting)
    saving = begin(rig, "rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    assert saving.result(SECONDS)
    assert marks == [40, 40, 40, 30]
    assert (rig.state.counts.waiting, rig.state.counts.available) == (number, 0)
    assert set(rig.states()) == {"unacknowledged"}


def test_memory_does_not_grow_with_what_is_saved(rig: Rig) -> None:
    """Ten times as many reports in a file cost less than twice the memory while it is written."""

    def peak() -> int:
        tracemalloc.start()
        try:
            rig.invoke("rum-save-usage-all", {"file-path": "a"})
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    filled(rig, 2)
    peak()
    few = peak()
    filled(rig, 18)
    size = (rig.flash / "a").stat().st_size
    many = peak()
    assert (rig.flash / "a").stat().st_size > 9 * size
    assert many < 2 * few


def test_reports_that_close_meanwhile_are_for_the_next_file(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file holds is what was closed when it was asked for; what was not written is not marked."""
    number = filled(rig)
    gate = Gate(rig.store.reports)
    monkeypatch.setattr(rig.store.reports, "pages", gate.pages)
    saving = begin(rig, "rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    assert gate.asked.wait(SECONDS)
    rig.use("advantage", 1)
    rig.use("advantage", 0, after=5)
    gate.open.set()
    assert saving.result(SECONDS)
    assert len(read_usage((rig.flash / "a").read_bytes()).reports) == number
    assert (rig.state.counts.waiting, rig.state.counts.available) == (number, 1)


def test_too_many_for_one_file_leave_none(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows only while the file is written: what was there before stays, no draft is left, nothing is marked."""
    number = filled(rig)
    rig.put("a", b"before")
    monkeypatch.setattr(file_operations, "MAX_REPORTS", number - 1)
    answer = rig.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    assert answer["return-code"] == "messageeventexceedspeer"
    assert [each.name for each in rig.flash.iterdir()] == ["a"]
    assert (rig.flash / "a").read_bytes() == b"before"
    assert rig.state.counts.waiting == 0


def test_a_reset_that_saves_is_alone_and_loses_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it writes, another reset is refused and nothing is measured; then all that was reported is in the file."""
    number = filled(rig)
    gate = Gate(rig.store.reports)
    monkeypatch.setattr(rig.store.reports, "pages", gate.pages)
    resetting = begin(rig, "factory-reset", {"file-path": "last", "discard": False})
    assert gate.asked.wait(SECONDS)
    other = rig.invoke("factory-reset", {"discard": True})
    assert (other["return-code"], "another factory reset" in other["message"]) == ("msgexecinprogress", True)
    assert rig.use("advantage", 2, after=100) == {"return-code": "success"}
    gate.open.set()
    answer = resetting.result(SECONDS)
    assert answer is not None
    assert (answer["return-code"], answer["report-count"]) == ("success", number)
    assert len(read_usage((rig.flash / "last").read_bytes()).reports) == number
    assert rig.keys_made == 1
    assert not rig.state.resetting


def test_a_stop_finishes_the_file(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is told to stop while it saves ends the file and its marks; what comes later is told."""
    number = filled(rig)
    gate = Gate(rig.store.reports)
    monkeypatch.setattr(rig.store.reports, "pages", gate.pages)
    saving = begin(rig, "rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    assert gate.asked.wait(SECONDS)
    ending = threading.Thread(target=rig.dispatch.stop)
    ending.start()
    gate.open.set()
    ending.join(SECONDS)
    assert not ending.is_alive()
    assert saving.result(SECONDS)
    assert len(read_usage((rig.flash / "a").read_bytes()).reports) == number
    assert rig.state.counts.waiting == number
    with pytest.raises(LoopStoppedError):
        begin(rig, "rum-save-usage-all", {"file-path": "b"}).result(SECONDS)
