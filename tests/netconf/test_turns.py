"""What takes long does not hold up the other sessions (issue: bad input); told by the order of events, not by time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
import threading
from typing import Any

import pytest

from agent.core.schema import Schema
from agent.core.tree import Row
from agent.netconf import repeats, session
from agent.netconf.endpoint import READ_AHEAD
from agent.netconf.messages import Rpc
from agent.netconf.serving import Serving
from tests.netconf.support import HELLO_11, NC, TOY, Client, Server, error, until
from tests.toy.build import ADMIN, Toy, Value

WAIT = 20.0


class Held(Value):
    """A state provider whose reads wait for the test; `entered` is set while one waits."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.entered = threading.Event()
        self.release = threading.Event()
        self.release.set()

    def read(self) -> Any:
        self.entered.set()
        assert self.release.wait(WAIT)
        return super().read()


@pytest.fixture
def held() -> Held:
    return Held([{"slot": 1, "label": "x"}, {"slot": 2, "label": "y"}])


@pytest.fixture
def toy(held: Held) -> Iterator[Toy]:
    state = {"/toy:status/toy-more:part": held, "/ietf-netconf-monitoring:netconf-state": Value()}
    with Toy.open(netconf=True, state=state) as opened:
        yield opened


def xpath(select: str) -> str:
    return f'<get><filter type="xpath" xmlns:t="{TOY}" xmlns:m="urn:example:toy-more" select="{select}"/></get>'


def subtree(content: str) -> str:
    return f'<get><filter><status xmlns="{TOY}">{content}</status></filter></get>'


PART = '<part xmlns="urn:example:toy-more">{}</part>'
LONG = {
    "an expression that is evaluated": xpath("/t:status/m:part[m:slot > 1]"),
    "entries that are compared": subtree(PART.format("<label>y</label>")),
    "a long message": subtree("".join(PART.format(f"<slot>{number % 256}</slot>") for number in range(3000))),
}


@pytest.mark.parametrize("kind", list(LONG))
def test_others_go_on(toy: Toy, held: Held, kind: str) -> None:
    """While one session's read is under way, another session is answered; then the first one is."""
    server = Server(toy)
    try:
        with server.client() as slow, server.client() as quick:
            held.entered.clear()
            held.release.clear()
            slow.send_message(f'<rpc xmlns="{NC}" message-id="1">{LONG[kind]}</rpc>'.encode())
            assert held.entered.wait(WAIT)
            assert len(quick.rpc("<get-config><source><running/></source></get-config>"))
            assert not held.release.is_set()
            held.release.set()
            assert "y" in [one.text for one in slow.reply().iter("{urn:example:toy-more}label")]
    finally:
        held.release.set()
        server.stop()


def test_one_evaluation_at_a_time(toy: Toy, held: Held) -> None:
    """Others wait for it before they read anything; a read that takes long without XPath does not."""
    begun: list[str] = []
    read = held.read

    def counted() -> Any:
        begun.append(threading.current_thread().name)
        return read()

    held.read = counted  # type: ignore[method-assign]
    server = Server(toy)
    request = f'<rpc xmlns="{NC}" message-id="1">{LONG["an expression that is evaluated"]}</rpc>'.encode()
    try:
        with server.client() as first, server.client() as second, server.client() as third:
            held.release.clear()
            first.send_message(request)
            assert until(lambda: len(begun) == 1)
            second.send_message(request)
            assert answers(third)
            third.send_message(f'<rpc xmlns="{NC}" message-id="1">{LONG["entries that are compared"]}</rpc>'.encode())
            assert until(lambda: len(begun) == 2)
            assert [name.rpartition("_")[0] for name in begun] == ["netconf-xpath", "netconf-apart"]
            held.release.set()
            for client in (first, second, third):
                assert "y" in [one.text for one in client.reply().iter("{urn:example:toy-more}label")]
            assert begun.count(begun[0]) == 2
    finally:
        held.release.set()
        server.stop()


def test_requests_of_one_session_stay_in_order(toy: Toy, held: Held) -> None:
    """Checklist 22: what comes after a long request is answered after it."""
    server = Server(toy)
    try:
        with server.client() as client:
            held.release.clear()
            for number, operation in enumerate((LONG["a long message"], "<get/>", xpath("//m:part[2]"), "<get/>")):
                client.send_message(f'<rpc xmlns="{NC}" message-id="{number}">{operation}</rpc>'.encode())
            held.release.set()
            assert [client.reply().get("message-id") for _ in range(4)] == ["0", "1", "2", "3"]
    finally:
        held.release.set()
        server.stop()


KEYS = subtree("".join(f"<report><id>r{number}</id></report>" for number in range(3000)))


def test_reading_a_long_message(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter of many keys is read while another session is answered; a short message is read in passing."""
    entered, release = threading.Event(), threading.Event()
    read = repeats.read_rpc

    def held_read(message: bytes, schema: Schema) -> Rpc:
        if len(message) > session.LONG:
            entered.set()
            assert release.wait(WAIT)
        return read(message, schema)

    monkeypatch.setattr(repeats, "read_rpc", held_read)
    toy.reports.add("r7")
    server = Server(toy)
    try:
        with server.client() as slow, server.client() as quick:
            slow.send_message(f'<rpc xmlns="{NC}" message-id="1">{KEYS}</rpc>'.encode())
            assert entered.wait(WAIT)
            assert answers(quick)
            release.set()
            assert [one.text for one in slow.reply().iter(f"{{{TOY}}}id")] == ["r7"]
    finally:
        release.set()
        server.stop()


def test_writing_a_long_reply(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that are looked up by key are looked up while another session is answered."""
    entered, release = threading.Event(), threading.Event()
    find = toy.reports.find

    def held_find(keys: tuple[str, ...]) -> Row | None:
        if keys == ("r2999",):
            entered.set()
            assert release.wait(WAIT)
        return find(keys)

    monkeypatch.setattr(toy.reports, "find", held_find)
    toy.reports.add("r7")
    toy.reports.add("r2999")
    server = Server(toy)
    try:
        with server.client() as slow, server.client() as quick:
            slow.send_message(f'<rpc xmlns="{NC}" message-id="1">{KEYS}</rpc>'.encode())
            assert entered.wait(WAIT)
            assert answers(quick)
            release.set()
            assert [one.text for one in slow.reply().iter(f"{{{TOY}}}id")] == ["r7", "r2999"]
    finally:
        release.set()
        server.stop()


def test_an_expression_that_costs_too_much(toy: Toy) -> None:
    """It is refused with the reason, and the session goes on."""
    for number in range(3000):
        toy.reports.add(f"r{number}")
    server = Server(toy)
    try:
        with server.client() as client:
            told = error(client.rpc(xpath("//t:report[count(//t:report) &gt; 1]")))
            assert (told["tag"], told["type"]) == ("resource-denied", "application")
            told = error(client.rpc(xpath("/t:status" + "[m:part" * 40 + "]" * 40)))
            assert told["tag"] == "too-big"
            assert client.rpc(subtree("<uptime/>")).find(f".//{{{TOY}}}uptime") is not None
    finally:
        server.stop()


def test_a_session_that_ends_meanwhile(toy: Toy, held: Held) -> None:
    """A client that leaves while its read is under way is forgotten at once."""
    server = Server(toy)
    try:
        with server.client() as other:
            with server.client() as slow:
                held.entered.clear()
                held.release.clear()
                slow.send_message(f'<rpc xmlns="{NC}" message-id="1">{LONG["a long message"]}</rpc>'.encode())
                assert held.entered.wait(WAIT)
                assert len(toy.dispatch.sessions.all()) == 2
            ids = {other.session_id}
            assert until(lambda: {one.id for one in toy.dispatch.sessions.all()} == ids)
            held.release.set()
            assert answers(other)
    finally:
        held.release.set()
        server.stop()


def answers(client: Client) -> bool:
    return client.rpc(subtree("<uptime/>")).find(f".//{{{TOY}}}uptime") is not None


class Burst:
    """A channel that hands over what comes until it is paused, as a transport does that had to keep it."""

    buffered = 0

    def __init__(self) -> None:
        self.paused = False
        self.replies = 0

    def write(self, data: bytes) -> None:
        self.replies += data.count(b"<rpc-reply")

    async def drained(self) -> None:
        return

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        return


def test_an_idle_session_reads_ahead_no_more_than_others(toy: Toy) -> None:
    """What comes at once is taken in up to a bound; all of it is answered."""

    async def run() -> None:
        channel = Burst()
        endpoint = Serving(toy.dispatch).endpoint(channel, ADMIN, source_host="::1", transport="netconf-ssh")
        task = asyncio.create_task(endpoint.run())
        endpoint.data_received(HELLO_11)
        await asyncio.sleep(0.05)
        request = f'<rpc xmlns="{NC}" message-id="1"><get><filter/></get></rpc>'.encode()
        packet = (b"\n#%d\n%b\n##\n" % (len(request), request)) * 300
        taken = 0
        while not channel.paused and taken < 100:
            endpoint.data_received(packet)
            taken += 1
        assert (taken - 1) * len(packet) <= READ_AHEAD < taken * len(packet)
        endpoint.eof_received()
        assert await task == "closed"
        assert channel.replies == 300 * taken

    asyncio.run(run())
