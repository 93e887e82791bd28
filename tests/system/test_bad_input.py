"""Bad input over the wire against the real agent: a precise error or the end of that session; the service goes on."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import gc
import json
from pathlib import Path
import random
import re
import socket
import ssl
import time
from xml.sax.saxutils import escape

import paramiko
import pytest

from agent.formats import smartlicense
from tests.formats.authority import UDI, ack, chain, issued
from tests.netconf.support import HELLO_10, HELLO_11, NC, Client
from tests.netconf.test_framing import BROKEN
from tests.system.kit import PASSWORD, ROOT, SLPA, STATE_URI, Authority, Device, documents, script

WHOLE = "/data/cisco-smart-license:licensing"


@pytest.fixture(scope="module")
def connection(device: Device) -> Iterator[paramiko.Transport]:
    """One SSH connection, on which each test opens as many sessions as it likes."""
    opened = login(device)
    yield opened
    opened.close()


def login(device: Device) -> paramiko.Transport:
    opened = paramiko.Transport(socket.create_connection(device.address, 10))
    opened.connect(username="admin", password=PASSWORD)
    return opened


@contextlib.contextmanager
def session(connection: paramiko.Transport, hello: bytes | None = HELLO_11) -> Iterator[Client]:
    client = Client(connection)
    if hello is not None:
        client.greet(hello)
    try:
        yield client
    finally:
        client.channel.close()


def state(device: Device) -> bytes:
    """All that the agent says of licensing, configuration included."""
    with device.http("reader") as caller:
        status, body = caller.request("GET", WHOLE, Accept="application/yang-data+xml")
    assert status == 200
    return body


@contextlib.contextmanager
def unharmed(device: Device) -> Iterator[None]:
    """Afterwards everything is as before: what the agent says, who is logged in, descriptors, memory."""
    process = device.up
    before, descriptors = state(device), process.descriptors()
    resident = process.resident()
    yield
    gc.collect()
    assert state(device) == before
    with device.ncclient("reader") as other:
        assert other.connected
    end = time.monotonic() + 5
    while process.descriptors() > descriptors and time.monotonic() < end:
        time.sleep(0.05)
    assert process.descriptors() <= descriptors
    assert process.resident() - resident < 48 << 20
    assert "Traceback" not in device.log.read_text()


GET = f'<rpc xmlns="{NC}" message-id="1"><get><filter/></get></rpc>'.encode()
WRITE = (
    f'<rpc xmlns="{NC}" message-id="2"><record-usage xmlns="{SLPA}"><license>voice-session</license><count>9</count>'
    "</record-usage></rpc>"
).encode()


def test_framing(device: Device, connection: paramiko.Transport) -> None:
    """Checklist 12, 18, 19: what was whole before is answered, what comes after is not run, the session ends."""
    whole = b"\n#%d\n%s\n##\n" % (len(GET), GET)
    after = b"\n#%d\n%s\n##\n" % (len(WRITE), WRITE)
    with unharmed(device):
        for name, octets in BROKEN.items():
            with session(connection) as client:
                client.send(whole + octets + after)
                assert client.reply().get("message-id") == "1", name
                with contextlib.suppress(EOFError):
                    while client.read_message():
                        pass
                assert client.closed(), name
        for cut in range(1, len(whole), 29):
            with session(connection) as client:
                client.send(whole[:cut])


HELLOS = [
    HELLO_11.replace(b"base:1.1", b"base:1.2"),
    HELLO_11.replace(NC.encode(), b"urn:evil"),
    HELLO_11.replace(b"</hello>", b"<session-id>4</session-id></hello>"),
    b'<!DOCTYPE hello [<!ENTITY a "b">]>' + HELLO_11,
    HELLO_11.replace(b"base", b"ba\xffse"),
    WRITE + b"]]>]]>",
    b"]]>]]>",
    b"<hello>" + b" " * 300_000,
]


def test_hellos(device: Device, connection: paramiko.Transport) -> None:
    """Checklist 6, 7, 8, 11, 29: the session ends without a reply."""
    with unharmed(device):
        for hello in HELLOS:
            with session(connection, None) as client:
                client.read_hello()
                client.send(hello)
                assert client.closed(), hello[:100]


MESSAGES = {
    "not well-formed": (b"<rpc", "malformed-message"),
    "nothing": (b" ", "malformed-message"),
    "not UTF-8": (GET.replace(b"<get>", b"<get>\xff"), "malformed-message"),
    "a NUL": (GET.replace(b"<get>", b"<get>\x00"), "malformed-message"),
    "a DOCTYPE": (b'<!DOCTYPE rpc [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + GET, "malformed-message"),
    "deep": (
        GET.replace(b"<filter/>", b"<filter>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</filter>"),
        "malformed-message",
    ),
    "no message-id": (GET.replace(b' message-id="1"', b""), "missing-attribute"),
    "no operation": (f'<rpc xmlns="{NC}" message-id="1"/>'.encode(), "missing-element"),
    "unknown operation": (GET.replace(b"get>", b"frobnicate>"), "unknown-element"),
    "another namespace": (GET.replace(b"<get>", b'<get xmlns="urn:evil">'), "unknown-namespace"),
    "unknown RPC": (WRITE.replace(b"record-usage", b"record-nothing"), "unknown-element"),
    "missing parameter": (WRITE.replace(b"<count>9</count>", b""), "missing-element"),
    "wrong type": (WRITE.replace(b">9<", b">nine<"), "invalid-value"),
    "out of range": (WRITE.replace(b">9<", b">-1<"), "invalid-value"),
    "unknown parameter": (WRITE.replace(b"<count>", b"<colour>red</colour><count>"), "unknown-element"),
    "twice": (WRITE.replace(b"<count>", b"<count>8</count><count>"), "bad-element"),
}


def test_messages(device: Device, connection: paramiko.Transport) -> None:
    """Checklist 24, 28-36: one error of the right tag each, one after the other in the same session."""
    with unharmed(device), session(connection) as client:
        for name, (message, tag) in MESSAGES.items():
            client.send_message(message)
            reply = client.reply()
            tags = [each.text for each in reply.iter(f"{{{NC}}}error-tag")]
            assert tags == [tag], name
            assert b"/etc" not in client.rpc("<get><filter/></get>").tag.encode()


def test_messages_in_the_old_framing(device: Device, connection: paramiko.Transport) -> None:
    """Checklist 28: base:1.0 has no malformed-message; the session ends."""
    with unharmed(device):
        for message in (b"<rpc", b"\x00", GET[:-5]):
            with session(connection, HELLO_10) as client:
                client.send_message(message)
                assert client.closed()


def test_too_big(device: Device, connection: paramiko.Transport) -> None:
    """A message above the limit is answered with too-big before it is stored; more code than an import takes."""
    with unharmed(device):
        with session(connection) as client:
            with contextlib.suppress(OSError):
                client.send(b"\n#4294967295\n" + b" " * (18 << 20))
            assert [each.text for each in client.reply().iter(f"{{{NC}}}error-tag")] == ["too-big"]
        with session(connection) as client:
            reply = client.rpc(f'<import-code xmlns="{SLPA}"><content>{"x" * 4_194_305}</content></import-code>')
            assert [each.text for each in reply.iter(f"{{{NC}}}error-tag")] == ["invalid-value"]


def converse(where: tuple[str, int] | str, *pieces: bytes) -> bytes:
    """Send pieces to a port, and read until the other end closes or says nothing more."""
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    answer = b""
    with socket.socket(family) as peer, contextlib.suppress(OSError):
        peer.settimeout(0.2)
        peer.connect(where)
        for piece in pieces:
            peer.sendall(piece)
        while data := peer.recv(65536):
            answer += data
    return answer


def test_garbage_on_all_ports(device: Device, seed: int) -> None:
    """Noise, the other port's protocol, half of the own one: nobody else notices."""
    noise = random.Random(seed)
    tls = ("127.0.0.1", int(device.restconf.rpartition(":")[2].partition("/")[0]))
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    client_hello = outgoing.read()
    with unharmed(device):
        for where in (device.address, tls, str(device.folder / "agent.sock")):
            for pieces in (
                (noise.randbytes(4096),),
                (b"\x00" * 70_000,),
                (b"GET / HTTP/1.1\r\n\r\n",),
                (b"GET / HTTP/1.1\r\nA: " + b"b" * 200_000,),
                (b"SSH-2.0-x\r\n", noise.randbytes(1000)),
                (b"SSH-1.5-x\r\n",),
                (client_hello[:100],),
                (client_hello, noise.randbytes(1000)),
                (client_hello, b"\x17\x03\x03\xff\xff"),
                (b"PUT /restconf/data HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",),
            ):
                answer = converse(where, *pieces)
                assert b"Traceback" not in answer
                assert str(ROOT).encode() not in answer


def test_http(device: Device) -> None:
    """Checklist 168: bodies that are broken, deep, large, or of no known kind, are answered with the error document."""
    deep = b'{"slp-agent:input":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
    good = json.dumps({"slp-agent:input": {"license": "voice-session", "count": 9}}).encode()
    record = "/operations/slp-agent:record-usage"
    kind = "application/yang-data+json"
    cases = [
        ("POST", record, good[:-3], kind, 400),
        ("POST", record, good + b"{}", kind, 400),
        ("POST", record, good.replace(b"9", b"NaN"), kind, 400),
        ("POST", record, good.replace(b"voice", b"\xff"), kind, 400),
        ("POST", record, good.replace(b"count", b"colour"), kind, 400),
        ("POST", record, good.replace(b"9", b'"9"'), kind, 400),
        ("POST", record, good.replace(b'"count"', b'"count": 8, "count"'), kind, 400),
        ("POST", record, deep, kind, 400),
        ("POST", record, good, "text/plain", 415),
        ("POST", "/operations/slp-agent:record-nothing", good, kind, 404),
        ("GET", "/data/nothing:here", None, kind, 400),
        ("GET", f"{STATE_URI}/usage=%zz", None, kind, 400),
        ("GET", "/data?depth=0", None, kind, 400),
        ("DELETE", "/data", None, kind, 405),
    ]
    with unharmed(device), device.http("admin") as caller:
        for method, path, body, content_type, expected in cases:
            status, answer = caller.request(method, path, body, Content_Type=content_type, Accept=kind)
            assert status == expected or (expected in (400, 404) and status in (400, 404)), (path, body, answer)
            errors = json.loads(answer)["ietf-restconf:errors"]["error"]
            assert errors[0]["error-tag"]
        with device.http("admin") as large:
            large.connection.putrequest("POST", large.base + record)
            for name, value in (
                ("Authorization", large.login),
                ("Content-Type", kind),
                ("Content-Length", "104857600"),
            ):
                large.connection.putheader(name, value)
            large.connection.endheaders()
            assert large.connection.getresponse().status == 413


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Device, dict[str, bytes]]]:
    """A device with reports to acknowledge, and files from the authority: the right one, older, and another's."""
    folder = tmp_path_factory.mktemp("c")
    authority = Authority.make(folder / "a")
    device = Device.make(folder / "d", "--trust-anchor", authority.anchor)
    files = {}
    with authority.running(), device.running():
        others = [document.decode() for document in chain(1)]
        authority.submit(others)
        authority.approve(UDI.key)
        files["another's"] = authority.submit(others)[1]
        device.closed(voice_session=2)
        with device.ncclient("admin") as session_:
            first = documents(session_)
        assert authority.submit(list(first.values()))[0] == 202
        udi = device.show("udi")["udi"]
        authority.approve(f"PID:{udi['pid']},SN:{udi['sn']}")
        files["older"] = authority.submit(list(first.values()))[1]
        device.closed(voice_session=3)
        with device.ncclient("admin") as session_:
            files["right"] = authority.submit(list(documents(session_).values()))[1]
        yield device, files


def wrong_signature(file: bytes) -> bytes:
    """One digit of the serial number of every document is another: each stands by itself, and none may be taken."""
    altered, number = re.subn(
        rb'(\\"serial\\":)(\d)', lambda found: found[1] + (b"1" if found[2] == b"2" else b"2"), file
    )
    assert number == file.count(b"<data>") > 0
    return altered


def test_documents(codes: tuple[Device, dict[str, bytes]], tmp_path: Path) -> None:
    """Each is refused with exit code 1 and its return-code, over both protocols, and changes nothing; then the right
    one is taken, once."""
    device, files = codes
    stranger = smartlicense.write_documents([("acknowledgement", issued(ack()))])
    bad = {
        "another addressee": (files["another's"], "matchidentifier"),
        "another authority": (stranger, "couldnotvalidatetrustchain"),
        "wrong signature": (wrong_signature(files["right"]), "verifysignaturefailed"),
        "truncated": (files["right"][:-30], "msgparse"),
        "half": (files["right"][: len(files["right"]) // 2], "msgparse"),
        "no document": (b"<smartLicense/>", "missingentry"),
        "no document at all": (b"hello", "msgparse"),
        "a DOCTYPE": (b"<!DOCTYPE a>" + files["right"], "msgparse"),
        "too large": (files["right"].replace(b"<smartLicense>", b"<smartLicense>" + b" " * 4_200_000), "invalid-value"),
    }
    targets = {"nc": (device.netconf,), "rc": (device.restconf, "--ca", device.ca)}
    before = state(device)
    for number, (name, (content, code)) in enumerate(bad.items()):
        file = tmp_path / "code.xml"
        file.write_bytes(content)
        # every second one by the other protocol; the first by both
        for protocol in ("nc", "rc") if number == 0 else (("nc", "rc")[number % 2],):
            target = targets[protocol]
            done = script("install_code.py", target[0], file, "--user", "collector", *target[1:])
            assert done.code == 1, name
            assert code in done.err, (name, done.err)
            assert len(done.err.splitlines()) == 1, done.err
            assert state(device) == before, name
    right, older = tmp_path / "right.xml", tmp_path / "older.xml"
    right.write_bytes(files["right"])
    older.write_bytes(files["older"])
    assert script("install_code.py", device.netconf, right, "--user", "collector").code == 0
    after = state(device)
    assert after != before
    done = script("install_code.py", device.netconf, older, "--user", "collector")
    assert (done.code, "matchnonce" in done.err) == (1, True)
    assert script("install_code.py", device.netconf, right, "--user", "collector").code == 0
    assert state(device) == after
    with device.http("reader") as caller:
        status, answer = caller.post("/operations/slp-agent:import-code", {"slp-agent:input": {"content": escape("x")}})
    assert (status, "access-denied" in str(answer)) == (403, True)
