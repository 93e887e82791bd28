"""When a read counts as delivered, and replies that are streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import time
import tracemalloc
from typing import Any

import pytest

from agent.core.tree import Row
from tests.restconf.build import XML, Served, eventually
from tests.toy.build import ADMIN, COLLECTOR, READER

LIST = "/restconf/data/toy:status/report"


class Lazy:
    """`Rows` that are made while they are walked: `size` bytes of document each; it may break off at a row."""

    marked = "document"

    def __init__(self, count: int, size: int, *, broken_at: int | None = None) -> None:
        self.count = count
        self.document = "d" * size
        self.broken_at = broken_at
        self.walked = 0

    def row(self, number: int) -> Row:
        name = f"r{number}"
        xml = f"<report><id>{name}</id><document>{self.document}</document></report>"
        return Row((name,), xml.encode(), f'{{"id":"{name}","document":"{self.document}"}}'.encode(), name)

    def find(self, keys: tuple[str, ...]) -> Row | None:
        return self.row(int(keys[0][1:]))

    def pages(self) -> Iterator[Sequence[Row]]:
        for start in range(0, self.count, 10):
            if self.broken_at is not None and start >= self.broken_at:
                raise OSError("the disk has gone")
            self.walked = start
            yield [self.row(number) for number in range(start, min(start + 10, self.count))]


def marks(served: Served) -> list[Any]:
    return served.toy.report_list.marks


@pytest.fixture(autouse=True)
def _two_reports(served: Served) -> None:
    served.toy.report_list.value.add("r1", "body 1")
    served.toy.report_list.value.add("r2", "body 2")


@pytest.mark.parametrize("accept", ["*/*", XML])
@pytest.mark.parametrize("way", ["tls", "unix"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{LIST}=r1", ["r1"]),
        (f"{LIST}=r1/document", ["r1"]),
        ("/restconf/data/toy:status", ["r1", "r2"]),
        ("/restconf/data", ["r1", "r2"]),
        (f"{LIST}=r1/length", []),
        (f"{LIST}=r1/id", []),
        ("/restconf/data/toy:status/uptime", []),
    ],
)
def test_what_marks(served: Served, way: str, accept: str, path: str, expected: list[str]) -> None:
    """Design (Reads with a consequence): a reply that holds the document marks it, nothing else does."""
    with served.tls() if way == "tls" else served.unix() as wire:
        assert wire.ask("GET", path, {"Accept": accept}).status == 200
        # a later request's mark shows that no mark of the first is still to come
        assert wire.ask("GET", f"{LIST}=r2", {"Accept": accept}).status == 200
    assert eventually(lambda: len(marks(served)) == len(expected) + 1)
    assert marks(served) == [("row", name) for name in (*expected, "r2")]


def test_who_marks(served: Served) -> None:
    """Design (Reads with a consequence): only a user with the collector right."""
    for user in (READER, COLLECTOR):
        served.local_user["user"] = user
        with served.unix() as wire:
            assert wire.ask("GET", f"{LIST}=r{1 if user is READER else 2}").status == 200
    assert eventually(lambda: marks(served) == [("row", "r2")])


def test_head_and_refusals_do_not_mark(served: Served) -> None:
    """Design (Reads with a consequence); checklist 134."""
    with served.tls() as wire:
        assert wire.ask("HEAD", f"{LIST}=r1").status == 200
        assert wire.ask("HEAD", "/restconf/data").status == 200
        assert wire.ask("GET", f"{LIST}=r1", {"Accept": "text/html"}).status == 406
        assert wire.ask("GET", f"{LIST}=r1?x=1").status == 400
        assert wire.ask("GET", LIST, {"Accept": XML}).status == 400
        assert wire.ask("GET", f"{LIST}=r2").status == 200
    assert eventually(lambda: marks(served) == [("row", "r2")])


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize("way", ["tls", "unix"])
def test_streamed_reply(served: Served, way: str, connection: str) -> None:
    """A long list is sent in chunks, whole, and each of its documents is marked once the last byte was taken."""
    served.toy.report_list.value = Lazy(300, 5000)
    with served.tls() if way == "tls" else served.unix() as wire:
        reply = wire.ask("GET", LIST, {"Connection": connection})
        assert reply.status == 200
        assert reply.headers["transfer-encoding"] == "chunked"
        entries = reply.json["toy:report"]
        assert [entry["id"] for entry in entries] == [f"r{number}" for number in range(300)]
        assert eventually(lambda: marks(served) == [f"r{number}" for number in range(300)])
        assert wire.closed() if connection == "close" else wire.ask("GET", "/restconf").status == 200


def test_small_reply_on_a_connection_that_closes(served: Served) -> None:
    with served.tls() as wire:
        assert wire.ask("GET", f"{LIST}=r1", {"Connection": "close"}).status == 200
    assert eventually(lambda: marks(served) == [("row", "r1")])


@pytest.mark.parametrize("way", ["tls", "unix"])
def test_nothing_is_marked_before_the_last_byte_is_taken(served: Served, way: str) -> None:
    """Design (Threads): accepted means that the write buffer has drained; a slow reader delays the mark."""
    served.toy.report_list.value = Lazy(2000, 5000)
    with served.tls() if way == "tls" else served.unix() as wire:
        wire.socket.sendall(wire.head("GET", LIST))
        time.sleep(0.2)
        assert marks(served) == []
        assert served.toy.report_list.value.walked < 1900
        # meanwhile others are served
        with served.unix() as other:
            assert other.ask("GET", "/restconf/data/toy:status/uptime").status == 200
        assert len(wire.reply().json["toy:report"]) == 2000
        assert eventually(lambda: len(marks(served)) == 2000)


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize("way", ["tls", "unix"])
@pytest.mark.parametrize("ending", ["read", "broken"])
def test_one_large_document(served: Served, way: str, connection: str, ending: str) -> None:
    """Design (Threads): the server has written all of it at once, but it lies in a buffer until the reader takes it."""
    served.toy.report_list.value = Lazy(1, 16_000_000)
    with served.tls() if way == "tls" else served.unix() as wire:
        assert wire.ask("GET", "/restconf").status == 200
        gate = served.server._gates[0 if way == "tls" else 1]
        (transport,) = gate._open
        # no flow control: all is written, and nothing but the size of the buffer tells that it has not left
        served.server._loop.call_soon_threadsafe(transport.set_write_buffer_limits, 1 << 30)
        wire.socket.sendall(wire.head("GET", f"{LIST}=r0/document", {"Connection": connection}))
        assert eventually(lambda: transport.get_write_buffer_size() > 0)
        time.sleep(0.15)
        assert marks(served) == []
        if ending == "read":
            assert len(wire.reply().json["toy:document"]) == 16_000_000
            assert eventually(lambda: marks(served) == ["r0"])
    assert eventually(lambda: served.toy.dispatch.sessions.all() == ())
    time.sleep(0.15)  # longer than the server's own look at the buffer takes
    assert marks(served) == (["r0"] if ending == "read" else [])


@pytest.mark.parametrize("way", ["tls", "unix"])
def test_a_connection_that_breaks_marks_nothing(served: Served, way: str) -> None:
    """Design (Reads with a consequence): connection lost before the end."""
    served.toy.report_list.value = Lazy(2000, 5000)
    with served.tls() if way == "tls" else served.unix() as wire:
        wire.socket.sendall(wire.head("GET", LIST))
        assert wire.socket.recv(1000)
    assert eventually(lambda: served.toy.dispatch.sessions.all() == ())
    served.toy.report_list.value = served.toy.reports
    with served.unix() as wire:
        assert wire.ask("GET", f"{LIST}=r2").status == 200
    assert eventually(lambda: marks(served) == [("row", "r2")])


def test_a_list_that_breaks_off(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """An error after the headers: the reply is visibly not whole, nothing is marked, the server goes on."""
    served.toy.report_list.value = Lazy(300, 5000, broken_at=200)
    with served.tls() as wire:
        wire.socket.sendall(wire.head("GET", LIST))
        with pytest.raises((EOFError, OSError)):
            wire.reply()
    assert "its reply broke off" in caplog.text
    assert marks(served) == []
    served.toy.report_list.value = Lazy(300, 5000, broken_at=0)
    with served.tls() as wire:
        reply = wire.ask("GET", LIST)
        assert (reply.status, reply.error["error-tag"]) == (500, "operation-failed")
        assert "disk" not in reply.error["error-message"]


def test_head_of_a_long_list(served: Served) -> None:
    """Checklist 134: same status and type, no body; the list is not walked to its end."""
    served.toy.report_list.value = Lazy(2000, 5000)
    with served.tls() as wire:
        reply = wire.ask("HEAD", LIST)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/yang-data+json")
        assert "content-length" not in reply.headers
        assert wire.ask("GET", "/restconf").status == 200
    assert served.toy.report_list.value.walked < 100
    assert marks(served) == []


def test_memory_does_not_grow_with_the_reply(served: Served) -> None:
    """Design (Encode once, serve many): 50 MB pass through with a small part of it in memory."""
    served.local_user["user"] = ADMIN
    served.toy.report_list.value = Lazy(1000, 50_000)
    with served.unix() as wire:
        wire.ask("GET", "/restconf")
        wire.socket.sendall(wire.head("GET", LIST))
        tracemalloc.start()
        try:
            size = 0
            while True:
                data = wire.socket.recv(1 << 20)
                size += len(data)
                if data.endswith(b"0\r\n\r\n"):
                    break
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size > 50_000_000
    assert peak < 8_000_000
