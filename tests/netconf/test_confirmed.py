"""Confirmed commits: follow-ups, persistence, time, ends of sessions and of the agent (RFC 6241 section 8.4)."""

from __future__ import annotations

from collections.abc import Iterator
import json
from typing import Any

import pytest

from agent.core.datastores import TRIAL
from agent.core.trial import Changed, TrialEvent
from tests.netconf.operations import DISCARD, box, commit, copy, edit, lock, shown, unlock
from tests.netconf.support import Client, Server, error, is_ok, until
from tests.netconf.test_datastores import ok
from tests.toy.build import Toy

OLD, NEW = "<box><name>old</name></box>", "<box><name>new</name></box>"


class Hands:
    """A clock that the test moves."""

    rate = 1.0

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def now(self) -> float:
        return self.at

    def wall_seconds(self, span: float) -> float:
        return span


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def toy(clock: Hands) -> Iterator[Toy]:
    with Toy.open(netconf=True, clock=clock) as opened:
        yield opened


@pytest.fixture
def told(toy: Toy) -> list[str]:
    """What became of confirmed commits, in order."""
    events: list[str] = []

    def watcher(event: Changed | TrialEvent) -> None:
        if isinstance(event, TrialEvent):
            events.append(event.event)

    toy.dispatch.datastores.watch(watcher)
    return events


def begin(client: Client, **parameters: Any) -> None:
    """Running is `OLD`, and `NEW` is on trial."""
    ok(client, edit("running", box("<name>old</name>")), edit("candidate", box("<name>new</name>")))
    ok(client, commit(confirmed=True, **parameters))
    assert shown(client) == NEW


def pass_time(toy: Toy, clock: Hands, seconds: float) -> None:
    clock.at += seconds
    toy.dispatch.loop.submit(lambda: None).result(5)
    toy.dispatch.loop.submit(lambda: None).result(5)


def kept(toy: Toy) -> Any:
    return json.loads(toy.store.config or b"{}")["toy:box"]["name"]


def test_not_confirmed_in_time(client: Client, toy: Toy, clock: Hands, told: list[str]) -> None:
    """Checklist 108: running is as before, in the store too, and it is told."""
    begin(client, confirm_timeout="30")
    assert (kept(toy), set(toy.store.documents)) == ("new", {TRIAL, "startup"})
    pass_time(toy, clock, 29)
    assert shown(client) == NEW
    pass_time(toy, clock, 1)
    assert shown(client) == shown(client, "candidate") == OLD
    assert (kept(toy), set(toy.store.documents)) == ("old", {"startup"})
    assert told == ["start", "timeout"]
    assert error(client.rpc(commit(confirmed=True, persist_id="x")))["tag"] == "invalid-value"


def test_the_time_is_real() -> None:
    """Checklist 108: with the machine's own clock, by itself, after the second that was asked for."""
    with Toy.open(netconf=True) as toy:
        server = Server(toy)
        with server.client() as client:
            begin(client, confirm_timeout="1")
            assert until(lambda: shown(client) == OLD)
        server.stop()


def test_default_timeout(client: Client, toy: Toy, clock: Hands) -> None:
    """RFC 6241 section 8.4.1: 600 seconds."""
    begin(client)
    pass_time(toy, clock, 599)
    assert shown(client) == NEW
    pass_time(toy, clock, 1)
    assert shown(client) == OLD


def test_follow_ups(client: Client, toy: Toy, clock: Hands, told: list[str]) -> None:
    """Checklist 109: a follow-up restarts the timer, and what is gone back to stays the first; commit confirms."""
    begin(client, confirm_timeout="30")
    pass_time(toy, clock, 20)
    ok(client, edit("candidate", box("<size>5</size>")), commit(confirmed=True, confirm_timeout="30"))
    pass_time(toy, clock, 20)
    assert "<size>5</size>" in shown(client)
    pass_time(toy, clock, 10)
    assert shown(client) == OLD
    assert told == ["start", "extend", "timeout"]
    ok(client, edit("candidate", box("<name>new</name>")), commit(confirmed=True), commit())
    pass_time(toy, clock, 1000)
    assert shown(client) == NEW
    assert (told[3:], set(toy.store.documents)) == (["start", "complete"], {"startup"})


def test_cancel(client: Client, toy: Toy, told: list[str]) -> None:
    """Checklist 109: cancel-commit reverts; without a confirmed commit it is an error."""
    begin(client)
    ok(client, "<cancel-commit/>")
    assert shown(client) == OLD
    assert set(toy.store.documents) == {"startup"}
    assert told == ["start", "cancel"]
    assert error(client.rpc("<cancel-commit/>"))["tag"] == "operation-failed"
    assert error(client.rpc("<cancel-commit><persist-id>x</persist-id></cancel-commit>"))["tag"] == "invalid-value"


def test_without_changes(client: Client, toy: Toy, told: list[str]) -> None:
    """A confirmed commit of an unchanged candidate is one all the same."""
    ok(client, commit(confirmed=True), edit("running", box("<name>a</name>")), "<cancel-commit/>")
    assert shown(client) == ""
    assert told == ["start", "cancel"]


def test_other_sessions_wait(server: Server, toy: Toy) -> None:
    """Checklist 103, 110: nobody else commits, edits running or locks it meanwhile; candidate is free."""
    with server.client() as one, server.client() as two:
        begin(one)
        for operation in (
            commit(),
            commit(confirmed=True),
            "<cancel-commit/>",
            edit("running", box("<name>x</name>")),
            copy("<startup/>", "<running/>"),
        ):
            assert error(two.rpc(operation))["tag"] == "in-use", operation
        assert error(two.rpc(commit(persist_id="x")))["tag"] == "invalid-value"
        said = error(two.rpc(lock("running")))
        assert (said["tag"], said["info"]) == ("lock-denied", {"session-id": str(one.session_id)})
        ok(two, edit("candidate", box("<size>5</size>")), DISCARD, lock("candidate"), unlock("candidate"))
        ok(one, lock("running"), unlock("running"), edit("running", box("<size>1</size>")), commit())
        ok(two, lock("running"))
        assert shown(two) == "<box><name>new</name><size>1</size></box>"


@pytest.mark.parametrize("way", ["close", "kill", "drop"])
def test_the_session_ends(server: Server, toy: Toy, told: list[str], way: str) -> None:
    """Checklist 106, 110: without persist its confirmed commit is taken back at once."""
    with server.client() as other:
        with server.client() as owner:
            begin(owner)
            if way == "close":
                ok(owner, "<close-session/>")
            elif way == "kill":
                ok(other, f"<kill-session><session-id>{owner.session_id}</session-id></kill-session>")
                assert shown(other) == OLD
            else:
                owner.channel.close()
        assert until(lambda: shown(other) == OLD)
        assert told == ["start", "cancel"]
        ok(other, lock("running"))


def test_persist(server: Server, toy: Toy, clock: Hands) -> None:
    """Checklist 110: it outlives its session, and goes on by its name only, in any session."""
    with server.client() as other:
        with server.client() as owner:
            begin(owner, persist="a b", confirm_timeout="30")
            assert error(owner.rpc(commit()))["tag"] == "in-use"
            ok(owner, "<close-session/>")
            assert owner.closed()
        assert shown(other) == NEW
        said = error(other.rpc(lock("running")))
        assert (said["tag"], said["info"]) == ("lock-denied", {"session-id": "0"})
        for operation in (commit(), "<cancel-commit/>", edit("running", box("<name>x</name>"))):
            assert error(other.rpc(operation))["tag"] == "in-use"
        for wrong in ("b", "", "a b "):
            assert error(other.rpc(commit(persist_id=wrong)))["tag"] == "invalid-value"
            operation = f"<cancel-commit><persist-id>{wrong}</persist-id></cancel-commit>"
            assert error(other.rpc(operation))["tag"] == "invalid-value"
        ok(other, commit(confirmed=True, persist_id="a b", confirm_timeout="30"))
        pass_time(toy, clock, 20)
        ok(other, commit(confirmed=True, persist_id="a b", persist="c", confirm_timeout="30"))
        pass_time(toy, clock, 20)
        assert error(other.rpc(commit(persist_id="a b")))["tag"] == "invalid-value"
        ok(other, commit(persist_id="c"))
        pass_time(toy, clock, 100)
        assert shown(other) == NEW


def test_persist_and_its_end(client: Client, toy: Toy, clock: Hands) -> None:
    """Checklist 109, 110: cancelled by its name, or over in time."""
    begin(client, persist="p")
    ok(client, "<cancel-commit><persist-id>p</persist-id></cancel-commit>")
    assert shown(client) == OLD
    begin(client, persist="p", confirm_timeout="5")
    pass_time(toy, clock, 5)
    assert shown(client) == OLD


def test_parameters(client: Client) -> None:
    """What goes with <confirmed/> only, and what a timeout is."""
    for parameters in ({"confirm_timeout": "5"}, {"persist": "p"}):
        assert error(client.rpc(commit(**parameters)))["tag"] == "bad-element"
    for value in ("0", "-1", "x", "", "4294967296", "9" * 5000, "\u0663"):
        assert error(client.rpc(commit(confirmed=True, confirm_timeout=value)))["tag"] == "invalid-value"
    assert error(client.rpc(commit(frob=True)))["tag"] == "unknown-element"
    ok(client, commit(confirmed=True, confirm_timeout=" 4294967295 "), "<cancel-commit/>")


def test_a_restart_takes_it_back(client: Client, toy: Toy) -> None:
    """Checklist 111: with or without a name; what the store then holds is as if it had never been."""
    for parameters in ({}, {"persist": "p"}):
        begin(client, **parameters)
        for _ in range(2):
            with Toy.open(netconf=True, store=toy.store, startup=False) as again:
                assert again.dispatch.running.tree == {"toy:box": {"name": "old"}}
                assert again.dispatch.datastores.trial is None
                assert again.settings.told in (["prepare", "apply"], [])
            assert (kept(toy), set(toy.store.documents)) == ("old", {"startup"})
        toy.dispatch.datastores.trial = None


def test_the_clock_is_set_back(client: Client, toy: Toy, clock: Hands) -> None:
    """What is left does not grow by a clock that was set back; one set ahead ends it, which is the safe side."""
    begin(client, confirm_timeout="30")
    pass_time(toy, clock, -86400)
    pass_time(toy, clock, 30)
    assert shown(client) == OLD
    begin(client, confirm_timeout="30")
    pass_time(toy, clock, 86400)
    assert shown(client) == OLD


def test_what_cannot_be_taken_back_yet(server: Server, toy: Toy, clock: Hands) -> None:
    """A full disk at the end of the session: nobody can confirm it, and it is taken back as soon as there is space."""
    with server.client() as other:
        with server.client() as owner:
            begin(owner)
            toy.store.broken = True
            ok(owner, "<close-session/>")
            assert owner.closed()
        assert shown(other) == NEW
        assert error(other.rpc(commit()))["tag"] == "in-use"
        toy.store.broken = False
        pass_time(toy, clock, 2)
        assert shown(other) == OLD


def test_a_lock_of_another_keeps_from_confirming(server: Server) -> None:
    """Checklist 100: candidate locked by another session: in-use, and the confirmed commit goes on."""
    with server.client() as one, server.client() as two:
        begin(one)
        ok(two, lock("candidate"))
        assert error(one.rpc(commit()))["tag"] == "in-use"
        ok(two, unlock("candidate"))
        assert is_ok(one.rpc(commit()))
