"""Replay of events from the log, and subscriptions that end (RFC 5277 section 3.3; checklist 112, 113)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
import threading
import time
from typing import Any

from lxml import etree
import pytest

from agent.core import streams
from agent.core.hub import Event
from agent.core.requests import Subscribe
from agent.core.streams import Subscription
from tests.netconf.operations import box, edit
from tests.netconf.support import NC, WAIT, Client, Server, error, is_ok, until
from tests.netconf.test_subscriptions import MANAGE, T, subscribe, told, who
from tests.toy.build import ADMIN, Toy, Unit

GREETED = f"<filter><greeted {T}/></filter>"


@pytest.fixture
def toy() -> Iterator[Toy]:
    with Toy.open(netconf=True, quiet=True, replay=True) as opened:
        yield opened


@pytest.fixture
def greet(toy: Toy) -> Callable[..., None]:
    def publish(name: str, at: float | None = None) -> None:
        moment = time.time() if at is None else at
        toy.dispatch.loop.submit(lambda: toy.dispatch.hub.publish("toy", "greeted", {"who": name}, moment)).result()

    return publish


def ago(seconds: float) -> str:
    """That many seconds before now, as a client writes it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def replay(start: float, stop: float | None = None, filtered: str = GREETED, stream: str = "") -> str:
    end = "" if stop is None else f"<stopTime>{ago(stop)}</stopTime>"
    return subscribe(f"{stream}{filtered}<startTime>{ago(start)}</startTime>{end}")


def ending(client: Client) -> str:
    content = told(client)
    name = etree.QName(content)
    assert name.namespace == MANAGE
    return name.localname


def test_old_events_then_replay_complete_then_live(client: Client, greet: Callable[..., None]) -> None:
    """Checklist 113: the reply, the logged events in order, replayComplete, and what happens from then on."""
    for number in range(200):
        greet(str(number))
    assert is_ok(client.rpc(replay(60)))
    assert [who(client) for _ in range(200)] == [str(number) for number in range(200)]
    assert ending(client) == "replayComplete"
    greet("live")
    assert who(client) == "live"


def test_only_events_since_start_time(client: Client, greet: Callable[..., None]) -> None:
    """Checklist 113: startTime is inclusive, and decides by eventTime; an empty replay completes at once."""
    now = time.time()
    greet("early", now - 100)
    greet("late", now - 10)
    greet("clock was set back", now - 90)
    assert is_ok(client.rpc(replay(50)))
    assert who(client) == "late"
    assert ending(client) == "replayComplete"


def test_a_clock_that_is_set_back_hides_nothing(client: Client, greet: Callable[..., None]) -> None:
    """Checklist 113: startTime is of the replay; what happens afterwards is told, whatever time it bears."""
    assert is_ok(client.rpc(replay(3600)))
    assert ending(client) == "replayComplete"
    greet("live", at=time.time() - 7200)
    assert who(client) == "live"


def test_stop_time_in_the_past(client: Client, greet: Callable[..., None]) -> None:
    """Checklist 113: replayComplete, notificationComplete; then the session can subscribe again."""
    now = time.time()
    for name, seconds in (("a", 30), ("b", 20), ("c", 10)):
        greet(name, now - seconds)
    for _ in range(2):
        assert is_ok(client.rpc(replay(25, 15)))
        assert who(client) == "b"
        assert [ending(client), ending(client)] == ["replayComplete", "notificationComplete"]
    assert client.rpc("<get/>").find(f"{{{NC}}}data") is not None


def test_stop_time_in_the_future(client: Client, greet: Callable[..., None]) -> None:
    """Checklist 113: live events until stopTime, then notificationComplete and no more."""
    assert is_ok(client.rpc(replay(5, -0.7)))
    assert ending(client) == "replayComplete"
    greet("in time")
    assert who(client) == "in time"
    assert ending(client) == "notificationComplete"
    greet("too late")
    assert is_ok(client.rpc(replay(0.0)))


def test_an_event_just_before_stop_time_that_is_durable_after_it(toy: Toy) -> None:
    """Checklist 113: it is told before notificationComplete, however long its unit of work takes."""
    stop = time.time() + 0.05
    session = toy.dispatch.sessions.open(ADMIN, "netconf-ssh", "h", end=lambda _: None)
    subscription = toy.dispatch.subscribe(Subscribe("NETCONF", None, 1.0, stop), session).result(WAIT)
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        publish = toy.dispatch.hub.stage("toy", "greeted", {"who": "late"}, stop - 0.01, None)
        begun.set()
        go_on.wait(WAIT)
        publish()

    slow = toy.dispatch.loop.submit(slowly)
    assert begun.wait(WAIT)
    assert until(lambda: time.time() > stop)
    assert [event.name for event in subscription.take(64)] == ["replayComplete"]
    assert subscription.take(64) == []
    go_on.set()
    slow.result(WAIT)
    toy.dispatch.loop.submit(lambda: None).result(WAIT)
    assert [event.name for event in subscription.take(64)] == ["greeted", "notificationComplete"]
    subscription.close()


def test_start_time_in_the_future(client: Client) -> None:
    """Checklist 112: bad-element startTime."""
    refusal = error(client.rpc(replay(-60)))
    assert (refusal["type"], refusal["tag"], refusal["info"]) == (
        "protocol",
        "bad-element",
        {"bad-element": "startTime"},
    )


def test_without_a_log_there_is_no_replay(client: Client, toy: Toy) -> None:
    """RFC 5277 section 3.2.5: replaySupport says so."""
    toy.event_log.limits = replace(toy.event_log.limits, entries=0)
    assert error(client.rpc(replay(5)))["tag"] == "operation-failed"
    reply = client.rpc(f'<get><filter><netconf xmlns="{MANAGE}"/></filter></get>')
    assert [one.text for one in reply.iter(f"{{{MANAGE}}}replaySupport")] == ["false"]


def test_the_log_is_described(client: Client, toy: Toy, greet: Callable[..., None]) -> None:
    """RFC 5277 section 3.2.5: when the log was begun, and of what time the last dropped event was."""
    toy.event_log.limits = replace(toy.event_log.limits, entries=2)
    for at in (1_700_000_000.0, 1_700_000_001.5, 1_700_000_002.0, 1_700_000_003.0):
        greet("x", at)
    reply = client.rpc(f'<get><filter><netconf xmlns="{MANAGE}"/></filter></get>')
    assert [one.text for one in reply.iter(f"{{{MANAGE}}}replaySupport")] == ["true"]
    assert [one.text for one in reply.iter(f"{{{MANAGE}}}replayLogAgedTime")] == ["2023-11-14T22:13:21.500+00:00"]
    assert len(list(reply.iter(f"{{{MANAGE}}}replayLogCreationTime"))) == 1


def test_replay_is_filtered_and_controlled(client: Client, toy: Toy, greet: Callable[..., None]) -> None:
    """Checklist 113, 114: filter and access rules hold for logged events as for new ones."""
    for name in ("a", "b"):
        greet(name)
    assert is_ok(client.rpc(replay(60, filtered=f"<filter><greeted {T}><who>b</who></greeted></filter>")))
    assert who(client) == "b"
    assert ending(client) == "replayComplete"


def test_a_change_and_its_event_are_one_unit_of_work(client: Client, toy: Toy) -> None:
    """Checklist 115: netconf-config-change is logged with the configuration: both, or neither."""
    # the login is told in a unit of work of its own, which may come a little later
    assert until(lambda: [entry.name for entry in toy.store.log.entries] == ["netconf-session-start"])
    commits = toy.store.commits
    assert is_ok(client.rpc(edit("running", box("<name>n</name>"))))
    assert toy.store.commits == commits + 1
    assert [entry.name for entry in toy.store.log.entries][-1] == "netconf-config-change"
    number = len(toy.store.log.entries)
    toy.store.broken = True
    assert error(client.rpc(edit("running", box("<name>m</name>"))))["tag"] == "operation-failed"
    assert len(toy.store.log.entries) == number
    toy.store.broken = False


def test_an_event_that_cannot_be_logged_is_told(client: Client, toy: Toy, greet: Callable[..., None]) -> None:
    """A full disk keeps nothing from those who listen."""
    assert is_ok(client.rpc(subscribe(GREETED)))
    toy.store.broken = True
    greet("full")
    toy.store.broken = False
    assert who(client) == "full"


def test_a_slow_subscriber_misses_nothing(
    server: Server, toy: Toy, greet: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that does not read falls behind what is in memory; it gets all from the log, in order, once each."""
    monkeypatch.setattr(streams, "RECENT", 50)
    big = "x" * 20_000
    with server.client() as slow, server.client() as quick:
        assert is_ok(slow.rpc(subscribe(GREETED)))
        assert is_ok(quick.rpc(subscribe(GREETED)))
        for number in range(400):
            greet(f"{number} {big}")
            if number % 10 == 9:
                assert [(who(quick) or "").split()[0] for _ in range(10)] == [str(number - 9 + at) for at in range(10)]
        assert toy.dispatch.streams.oldest > 300
        assert [(who(slow) or "").split()[0] for _ in range(400)] == [str(number) for number in range(400)]


def test_a_subscriber_who_never_reads_can_be_ended(server: Server, toy: Toy, greet: Callable[..., None]) -> None:
    """While notifications wait for its client, others are served and may kill the session; nothing is left of it."""
    with server.client() as stuck, server.client() as other:
        assert is_ok(stuck.rpc(subscribe(GREETED)))
        sent = next(one for one in toy.dispatch.sessions.all() if one.id == stuck.session_id)
        for _ in range(300):
            greet("x" * 20_000)
        assert sent.out_notifications < 300
        assert other.rpc("<get/>").find(f"{{{NC}}}data") is not None
        assert toy.dispatch.hub.watched
        assert is_ok(other.rpc(f"<kill-session><session-id>{stuck.session_id}</session-id></kill-session>"))
        assert until(lambda: not toy.dispatch.hub.watched)
        assert until(lambda: sent not in toy.dispatch.sessions.all())


def test_what_is_being_logged_at_that_moment_is_replayed(
    client: Client, toy: Toy, greet: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checklist 113: an event whose transaction is under way when a replay is asked for comes once, in its place."""
    began, go_on = threading.Event(), threading.Event()
    commit = Unit.commit

    def slow(unit: Unit) -> None:
        began.set()
        assert go_on.wait(WAIT)
        commit(unit)

    greet("before")
    monkeypatch.setattr(Unit, "commit", slow)
    with ThreadPoolExecutor(1) as pool:
        meanwhile = pool.submit(greet, "meanwhile")
        assert began.wait(WAIT)
        threading.Timer(0.2, go_on.set).start()
        assert is_ok(client.rpc(replay(60)))
        assert [who(client), who(client)] == ["before", "meanwhile"]
        assert ending(client) == "replayComplete"
        meanwhile.result()
    greet("after")
    assert who(client) == "after"


def test_a_session_that_ends_while_it_subscribes_leaves_nothing(
    server: Server, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made for it all the same is closed, and the hub is watched by nobody."""
    began, go_on = threading.Event(), threading.Event()
    make = toy.dispatch.streams.subscribe

    def slow(*request: Any) -> Subscription:
        began.set()
        assert go_on.wait(WAIT)
        return make(*request)

    monkeypatch.setattr(toy.dispatch.streams, "subscribe", slow)
    with server.client() as client:
        client.send_message(f'<rpc xmlns="{NC}" message-id="1">{subscribe()}</rpc>'.encode())
        assert began.wait(WAIT)
    time.sleep(0.2)
    watched = toy.dispatch.loop.submit(lambda: toy.dispatch.hub.watched)
    go_on.set()
    watched.result(WAIT)
    assert until(lambda: toy.dispatch.sessions.all() == ())
    assert until(lambda: not toy.dispatch.hub.watched)


def test_what_is_dropped_while_it_is_looked_for_comes_from_the_log(
    toy: Toy, greet: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscriber at the edge of what is in memory misses nothing when the edge moves at that moment."""
    monkeypatch.setattr(streams, "RECENT", 5)
    subscription = toy.dispatch.subscribe(Subscribe("NETCONF"), toy.session()).result(WAIT)
    for number in range(5):
        greet(str(number))
    look = toy.dispatch.streams.event

    def late(number: int) -> Event | None:
        if number == toy.dispatch.streams.oldest:
            monkeypatch.undo()
            monkeypatch.setattr(streams, "RECENT", 5)
            for more in range(5, 8):
                greet(str(more))
        return look(number)

    monkeypatch.setattr(toy.dispatch.streams, "event", late)
    found = []
    while subscription.behind:
        found += subscription.take(64)
    assert [event.tree["who"] for event in found] == [str(number) for number in range(8)]
    subscription.close()


def test_long_events_are_kept_within_a_bound(
    server: Server, toy: Toy, greet: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a client does not read, memory has few long events, and the latest at any rate; the log has all."""
    monkeypatch.setattr(streams, "OCTETS", 100_000)
    with server.client() as slow:
        assert is_ok(slow.rpc(subscribe(GREETED)))
        first = toy.dispatch.streams.oldest
        for number in range(100):
            greet(f"{number} {'x' * 20_000}")
        assert toy.dispatch.streams.oldest - first == 96
        greet(f"100 {'x' * 200_000}")
        assert toy.dispatch.streams.oldest == toy.dispatch.streams.last
        assert [(who(slow) or "").split()[0] for _ in range(101)] == [str(number) for number in range(101)]


def test_replayed_bytes_are_the_logged_ones(server: Server, greet: Callable[..., None]) -> None:
    """An event is encoded once: a replay sends the same octets as were sent live."""
    with server.client() as client, server.client() as later:
        assert is_ok(client.rpc(subscribe(GREETED)))
        greet("same", time.time() - 5)
        assert is_ok(later.rpc(replay(60)))
        assert later.read_message() == client.read_message()
