"""Peers that misbehave: each is answered precisely or cut off, and hurts nobody else."""

from __future__ import annotations

import json
from pathlib import Path
import socket
import ssl
import time

import pytest

from agent.restconf import bridge, connection, server
from agent.usage import UsageRefused
from tests.restconf.build import JSON, Served, Wire, eventually, serve
from tests.restconf.test_delivery import LIST, Lazy

GREET = "/restconf/operations/toy:greet"
BODY = b'{"toy:input":{"who":"Bo"}}'


def alive(served: Served) -> bool:
    """Whether others are still served."""
    with served.tls() as wire:
        return wire.ask("GET", "/restconf").status == 200


@pytest.mark.parametrize(
    "flood",
    [
        b"X-Long: " + b"a" * (connection.HEAD_BYTES + 1),
        b"".join(b"X-%d: a\r\n" % number for number in range(2000)),
        b"X-Long: " + b"a" * (4 * connection.HEAD_BYTES) + b"\r\n\r\n",
    ],
)
def test_header_flood(served: Served, flood: bytes) -> None:
    """Checklist 168; design (RESTCONF row): 431 and the end, whether or not the headers are complete."""
    with served.tls() as wire:
        wire.socket.sendall(wire.head("GET", "/restconf")[:-2] + flood)
        reply = wire.reply()
        assert (reply.status, reply.error["error-tag"]) == (431, "too-big")
        assert wire.closed()
    assert alive(served)


def test_long_request_line(served: Served) -> None:
    with served.tls() as wire:
        wire.socket.sendall(b"GET /" + b"a" * connection.HEAD_BYTES)
        assert wire.reply().status == 431
        assert wire.closed()
    with served.tls() as wire:
        assert wire.ask("GET", f"{LIST}={'a' * 9000}").status == 414


def test_a_head_just_within_the_limit(served: Served) -> None:
    with served.tls() as wire:
        plain = len(wire.head("GET", "/restconf"))
        assert wire.ask("GET", "/restconf", {"X": "a" * (connection.HEAD_BYTES - plain - 20)}).status == 200


def test_slow_header(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 168; design (RESTCONF row): a head that does not end is given up with 408, silence is just closed."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.15)
    with served.tls() as wire:
        wire.socket.sendall(b"GET /restconf HTTP/1.1\r\nHost: x\r\n")
        reply = wire.reply()
        assert reply.status == 408
        assert wire.closed()
    with served.tls() as silent:
        assert silent.closed()
    with served.tls() as wire:
        for _ in range(3):
            assert wire.ask("GET", "/restconf").status == 200
            time.sleep(0.1)


def test_the_deadline_spares_a_reply_under_way(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a pipelined second request does not end the first one's reply."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
    served.toy.report_list.value = Lazy(1000, 5000)
    with served.tls() as wire:
        wire.socket.sendall(wire.head("GET", LIST) + b"GET /restconf HT")
        time.sleep(0.2)
        assert len(wire.reply().json["toy:report"]) == 1000


@pytest.mark.parametrize("way", ["tls", "unix"])
def test_byte_by_byte(served: Served, way: str) -> None:
    """Checklist 168: a request in single bytes is the same request."""
    with served.tls() if way == "tls" else served.unix() as wire:
        fields = {"Content-Length": str(len(BODY)), "Content-Type": JSON}
        for byte in wire.head("POST", GREET, fields) + BODY:
            wire.socket.sendall(bytes([byte]))
        assert wire.reply().status == 200
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
        for byte in wire.head("POST", GREET, {"Transfer-Encoding": "chunked", "Content-Type": JSON}) + chunks:
            wire.socket.sendall(bytes([byte]))
        assert wire.reply().status == 200
    assert len(served.toy.calls) == 2


@pytest.mark.parametrize("way", ["tls", "unix"])
def test_truncated_body(served: Served, way: str) -> None:
    """Checklist 168: a body that breaks off calls nothing, and the session ends."""
    with served.tls() if way == "tls" else served.unix() as wire:
        assert wire.ask("GET", "/restconf").status == 200
        fields = {"Content-Length": str(len(BODY)), "Content-Type": JSON}
        wire.socket.sendall(wire.head("POST", GREET, fields) + BODY[:-1])
    assert eventually(lambda: served.toy.dispatch.sessions.all() == ())
    assert served.toy.calls == []
    assert alive(served)


def test_slow_body(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "BODY_SECONDS", 0.1)
    with served.tls() as wire:
        wire.socket.sendall(wire.head("POST", GREET, {"Content-Length": "10", "Content-Type": JSON}))
        assert wire.reply().status == 408
        assert wire.closed()
    assert served.toy.calls == []


def test_huge_body_is_refused_before_it_is_sent(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 168, 149: 100 MB: 413 too-big at once, and the connection ends when the body does not."""
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.05)
    with served.tls() as wire:
        wire.socket.sendall(wire.head("POST", GREET, {"Content-Length": "104857600", "Content-Type": JSON}))
        reply = wire.reply()
        assert (reply.status, reply.error["error-tag"]) == (413, "too-big")
        assert wire.closed()
    assert alive(served)


def test_huge_body_of_untold_length(served: Served) -> None:
    """Checklist 168: the limit counts for chunks too."""
    served.toy.calls.clear()
    with served.unix() as wire:
        wire.socket.sendall(wire.head("POST", GREET, {"Transfer-Encoding": "chunked", "Content-Type": JSON}))
        block = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        for _ in range(bridge.BODY_BYTES // 0x100000 + 1):
            wire.socket.sendall(block)
        reply = wire.reply()
        assert (reply.status, reply.error["error-tag"]) == (413, "too-big")
        with pytest.raises(OSError, match=r"reset|[Pp]ipe"):
            wire.socket.sendall(block * (2 * connection.LINGER_BYTES // len(block)))
    assert alive(served)
    assert served.toy.calls == []


def test_largest_body(served: Served) -> None:
    padding = b" " * (bridge.BODY_BYTES - len(BODY))
    with served.unix() as wire:
        assert wire.ask("POST", GREET, body=BODY + padding).status == 200
        assert wire.ask("POST", GREET, body=BODY + padding + b" ").status == 413


def test_no_body_is_kept_from_a_stranger(served: Served) -> None:
    """Checklist 164: 401 comes before the body; when that has come too, the connection goes on."""
    with served.tls("Basic YWRhOng=") as wire:
        wire.socket.sendall(wire.head("POST", GREET, {"Content-Length": "5000000", "Content-Type": JSON}))
        assert wire.reply().status == 401
        wire.socket.sendall(b" " * 5_000_000)
        assert wire.ask("GET", "/restconf", {"Authorization": "Basic YWRhOmFkYS1zZWNyZXQ="}).status == 200


def test_the_refusal_of_a_large_body_can_be_read(served: Served) -> None:
    """A client that sends first and reads then still learns why."""
    with served.local() as client, pytest.raises(UsageRefused, match="over 8388608 bytes") as refused:
        client.request("POST", GREET, {"toy:input": {"who": "x" * bridge.BODY_BYTES}})
    assert refused.value.status == 413


def test_a_get_with_a_body(served: Served) -> None:
    with served.tls() as wire:
        assert wire.ask("GET", "/restconf", body=b"x" * 100_000).status == 200
        assert wire.ask("GET", "/restconf").status == 200


def test_expect_continue(served: Served) -> None:
    with served.tls() as wire:
        fields = {"Content-Length": str(len(BODY)), "Content-Type": JSON, "Expect": "100-continue"}
        wire.socket.sendall(wire.head("POST", GREET, fields))
        assert wire.reply().status == 100
        wire.socket.sendall(BODY)
        assert wire.reply().status == 200
        wire.socket.sendall(wire.head("POST", GREET, {**fields, "Content-Length": "104857600"}))
        assert wire.reply().status == 413
        assert wire.closed()


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    served.toy.report_list.value = Lazy(100, 5000)
    paths = [f"{LIST}=r{number}/id" for number in range(20)] + [LIST, "/restconf/yang-library-version"]
    with served.tls() as wire:
        wire.socket.sendall(b"".join(wire.head("GET", path) for path in paths))
        replies = [wire.reply() for _ in paths]
    assert [reply.json for reply in replies[:20]] == [{"toy:id": f"r{number}"} for number in range(20)]
    assert len(replies[20].json["toy:report"]) == 100
    assert replies[21].json == {"ietf-restconf:yang-library-version": "2019-01-04"}


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"GET /restconf\r\n\r\n",
        b"GET /restconf HTTP/9.9\r\n\r\n",
        b"GET /restconf HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n",
        b"GET /restconf HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /restconf HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /restconf HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /restconf HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /restconf/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_junk(served: Served, junk: bytes) -> None:
    """Checklist 168: what is not HTTP/1.1: 4xx with an error document and the end; the server lives."""
    with served.unix() as wire:
        wire.socket.sendall(junk)
        reply = wire.reply()
        assert 400 <= reply.status < 500
        assert reply.error["error-tag"] in ("malformed-message", "operation-not-supported", "invalid-value")
    assert alive(served)


@pytest.mark.parametrize("host", [b"", b"Host: a\r\nHost: b\r\n"])
def test_exactly_one_host(served: Served, host: bytes) -> None:
    with served.unix() as wire:
        wire.socket.sendall(b"GET /restconf HTTP/1.1\r\n" + host + b"\r\n")
        reply = wire.reply()
        assert (reply.status, reply.error["error-tag"]) == (400, "malformed-message")


@pytest.mark.parametrize("host", ["a b", "[::1", "x\x7fy", "ä", "../..", "x:99999999"])
def test_odd_hosts(served: Served, host: str) -> None:
    """Nothing depends on Host: whatever it says, there is a reply, and never an internal error."""
    with served.unix() as wire:
        reply = wire.ask("GET", "/restconf", {"Host": host})
        assert reply.status in (200, 400)


@pytest.mark.parametrize("name", ["Accept", "Content-Type", "Authorization", "X-Any", "Cookie", "Forwarded"])
def test_odd_header_values(served: Served, name: str) -> None:
    with served.unix() as wire:
        for value in ("\xff\xfe", ",;=\"'", "a" * 8000, "\t"):
            reply = wire.ask("POST", GREET, {name: value}, BODY)
            assert reply.status in (200, 406, 415)


def test_http_1_0(served: Served) -> None:
    """Old proxies speak it: short replies work and close, replies of untold length say what is needed."""
    with served.unix() as wire:
        wire.socket.sendall(b"GET /restconf HTTP/1.0\r\n\r\n")
        assert wire.reply().status == 200
        assert wire.closed()
    served.toy.report_list.value = Lazy(100, 5000)
    with served.unix() as wire:
        wire.socket.sendall(f"GET {LIST} HTTP/1.0\r\n\r\n".encode())
        reply = wire.reply()
        assert reply.status == 505
        assert "HTTP/1.1" in reply.error["error-message"]


def test_upgrade_is_ignored(served: Served) -> None:
    with served.unix() as wire:
        assert wire.ask("GET", "/restconf", {"Connection": "Upgrade", "Upgrade": "websocket"}).status == 200
        assert wire.ask("GET", "/restconf").status == 200


def test_plain_text_on_the_tls_port(served: Served) -> None:
    """Checklist 165: no plain HTTP; a handshake that never ends holds up nobody."""
    assert served.addresses.tcp is not None
    with socket.create_connection(served.addresses.tcp) as plain, socket.create_connection(served.addresses.tcp):
        plain.settimeout(5)
        plain.sendall(b"GET /restconf HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            got = plain.recv(100)
        except ConnectionResetError:
            got = b""
        assert not got.startswith(b"HTTP")
        assert alive(served)


def test_old_tls(served: Served) -> None:
    """Checklist 165: a client that knows TLS 1.1 at most is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert served.addresses.tcp is not None
    with socket.create_connection(served.addresses.tcp) as plain, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(plain)
    assert alive(served)


def test_many_connections(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the limit are closed at once; when one ends, another may come; the other listener is not touched."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    with served.unix() as first, served.unix() as second:
        assert first.ask("GET", "/restconf").status == 200
        assert second.ask("GET", "/restconf").status == 200
        with served.unix() as third:
            assert third.closed()
        assert alive(served)
        assert first.ask("GET", "/restconf").status == 200

    def again() -> bool:
        with served.unix() as fourth:
            try:
                return fourth.ask("GET", "/restconf").status == 200
            except (OSError, EOFError):
                return False

    assert eventually(again)


def test_a_reader_that_stalls_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.1)
    served.toy.report_list.value = Lazy(4000, 5000)
    with served.unix() as wire:
        wire.socket.sendall(wire.head("GET", LIST))
        assert eventually(lambda: served.toy.dispatch.sessions.all() == () and served.toy.report_list.value.walked > 0)
        with pytest.raises((EOFError, OSError)):
            wire.reply()
    assert served.toy.report_list.marks == []


def test_silent_connections_after_a_reply_are_closed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.server._config, "timeout_keep_alive", 0.1)
    with served.tls() as wire:
        assert wire.ask("GET", "/restconf").status == 200
        assert wire.closed()


def test_many_at_once(served: Served) -> None:
    """Reads and calls on many connections side by side are answered, each with its own answer."""
    from concurrent.futures import ThreadPoolExecutor

    def work(number: int) -> bool:
        with served.tls() as wire:
            for turn in range(5):
                body = json.dumps({"toy:input": {"who": f"n{number}-{turn}"}}).encode()
                assert wire.ask("POST", GREET, body=body).json["toy:output"]["greeting"] == f"hello n{number}-{turn}"
                assert wire.ask("GET", "/restconf/data/toy:status/uptime").status == 200
        return True

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(work, range(12)))
    assert len(served.toy.calls) == 60


def test_stop_with_streams_and_idle_connections_open(tmp_path: Path, pem: tuple[Path, Path]) -> None:
    """Design (RESTCONF row): a graceful stop takes less than 5 s, and the local socket is gone afterwards."""
    with serve(tmp_path, pem) as served:
        served.toy.report_list.value = Lazy(4000, 5000)
        with served.tls() as stuck, served.unix() as stuck_too, served.tls() as idle:
            assert idle.ask("GET", "/restconf").status == 200
            for wire in (stuck, stuck_too):
                wire.socket.sendall(wire.head("GET", LIST))
                assert wire.socket.recv(10)
            started = time.monotonic()
            served.server.stop()
            assert time.monotonic() - started < 5
            assert idle.closed()
            assert not (tmp_path / "sock").exists()
        assert served.toy.report_list.marks == []
        assert eventually(lambda: served.toy.dispatch.sessions.all() == ())


def test_a_reply_under_way_is_finished_when_the_server_stops(tmp_path: Path, pem: tuple[Path, Path]) -> None:
    from threading import Event, Thread

    entered, go = Event(), Event()

    def slow(*_: object) -> None:
        entered.set()
        go.wait(5)

    with serve(tmp_path, pem, operations={"/toy:reset": slow}) as served, served.tls() as wire:
        wire.socket.sendall(wire.head("POST", "/restconf/operations/toy:reset"))
        assert entered.wait(5)
        stopping = Thread(target=served.server.stop)
        stopping.start()
        go.set()
        reply = wire.reply()
        assert (reply.status, reply.headers["connection"]) == (204, "close")
        stopping.join(5)
        assert not stopping.is_alive()


def test_wire_helper_sees_a_truncated_reply() -> None:
    """The tests' own reader does not take a broken reply for a whole one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        theirs.close()
        with pytest.raises(EOFError):
            Wire(ours, None).reply()
