"""Who gets in over TLS, and as whom: certificates, maps to names, versions; real openssl (RFC 7589, RFC 7407)."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from dataclasses import replace
from pathlib import Path
import shutil
import socket
import ssl
import subprocess
import time
import warnings

import pytest

from agent.core.requests import Datastore
from agent.netconf.limits import WaitingLimit
from agent.netconf.settings import CallHome, CertMap, Limits, Listen, ServerSettings, SettingsError, TlsAccess
from agent.tls.names import fingerprint, user_names
from tests.netconf.pki import Identity, address, dns, email, root
from tests.netconf.support import HELLO_10, HELLO_11, NC, WAIT, Client, is_ok, until
from tests.netconf.tls import BY_COMMON_NAME, CA, PEOPLE, TlsToy, client_context
from tests.toy.build import Toy

GET = f'<rpc xmlns="{NC}" message-id="1"><get><filter/></get></rpc>'.encode()


@pytest.fixture
def server(toy: Toy) -> Iterator[TlsToy]:
    running = TlsToy(toy)
    yield running
    running.stop()


def refused(server: TlsToy, who: Identity | str | None) -> bool:
    """Whether the connection ends without a hello."""
    try:
        connection = server.connect(who)
    except (ssl.SSLError, ConnectionError):
        return True
    try:
        connection.settimeout(WAIT)
        return connection.recv(1000) == b""
    except (ssl.SSLError, ConnectionError):
        return True
    finally:
        connection.close()


def user_of(server: TlsToy, who: Identity | str) -> str:
    with server.client(user=who):
        (session,) = server.toy.dispatch.sessions.all()
        assert (session.transport, session.source_host) == ("netconf-tls", "127.0.0.1")
        name = session.user.name
    assert until(lambda: server.toy.dispatch.sessions.all() == ())
    return name


# Names


PLAIN = CA.issue("Ada")
NAMED = CA.issue("Common", [dns("Router.Example"), email("Bob.Smith@EXAMPLE.com"), address("192.0.2.7")])
SIX = CA.issue("six", [address("2001:db8::1")])


@pytest.mark.parametrize(
    ("who", "kind", "name"),
    [
        (NAMED, "san-rfc822-name", "Bob.Smith@example.com"),
        (NAMED, "san-dns-name", "router.example"),
        (NAMED, "san-ip-address", "192.0.2.7"),
        (NAMED, "san-any", "router.example"),
        (NAMED, "common-name", "Common"),
        (NAMED, "specified", "ada"),
        (SIX, "san-ip-address", "20010db8000000000000000000000001"),
        (SIX, "san-any", "20010db8000000000000000000000001"),
        (SIX, "san-dns-name", None),
        (PLAIN, "san-any", None),
        (PLAIN, "common-name", "Ada"),
    ],
)
@pytest.mark.parametrize("algorithm", [3, 4, 5, 6])
def test_names_of_certificates(who: Identity, kind: str, name: str | None, algorithm: int) -> None:
    """Each form of RFC 7407, by the certificate's own fingerprint and by that of a trusted issuer."""
    for one in (who, CA):
        print_ = fingerprint(one.der, algorithm)
        entry = CertMap(1, print_.upper(), kind, "ada" if kind == "specified" else None)
        found = user_names([entry], [who.der, CA.der], frozenset({CA.der}))
        assert found == ([] if name is None else [name])


def test_entries_are_asked_in_the_order_of_their_ids() -> None:
    """One that gives no name is passed over; so is one whose fingerprint is of something else."""
    other = root("other")
    entries = [
        CertMap(30, CA.fingerprint, "common-name"),
        CertMap(20, CA.fingerprint, "san-dns-name"),
        CertMap(10, CA.fingerprint, "san-any"),
        CertMap(5, other.fingerprint, "specified", "root"),
    ]
    chain = [NAMED.der, CA.der]
    assert user_names(entries, chain, frozenset({CA.der})) == ["router.example", "router.example", "Common"]
    assert user_names(entries, [PLAIN.der, CA.der], frozenset({CA.der})) == ["Ada"]
    assert user_names(entries, [PLAIN.der, CA.der], frozenset()) == []
    assert user_names(entries, [], frozenset({CA.der})) == []


@pytest.mark.parametrize("text", ["01:" + "00:" * 15 + "00", "02:" + "00:" * 19 + "00", "04", "04:00", "63:00", "0"])
def test_fingerprints_that_could_never_fit(server: TlsToy, text: str) -> None:
    """MD5, SHA-1, unknown hashes and a wrong length are refused when they are configured."""
    with pytest.raises(SettingsError, match="cert-to-name 7"):
        server.tls.check(ServerSettings(tls=TlsAccess((), (CertMap(7, text, "common-name"),))))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        CA.pem * 2,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        f"{CA.pem}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        f"Certificate: of somebody\n{CA.pem}",
        CA.pem.replace("-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nof: somebody\n\n"),
    ],
)
def test_what_is_no_trust_anchor(server: TlsToy, text: str) -> None:
    """What stands beside a certificate would be stored and shown with it."""
    with pytest.raises(SettingsError, match="trust-anchor"):
        server.tls.check(ServerSettings(tls=TlsAccess((text,))))


def test_what_keeps_clients_out_is_logged(server: TlsToy, caplog: pytest.LogCaptureFixture) -> None:
    """No trust anchor, or one whose time is over, where TLS is used: once, not with every change; else nothing."""
    old = root("Old").issue("Old issuer", ca=True, days=(-30, -1))
    listen = (Listen("outside", "tls", "127.0.0.1", 6513),)
    called = (CallHome("nms", "tls", ()),)
    for settings, told in (
        (ServerSettings(listen=listen), ["(endpoint outside) lets nobody in: configure a trust-anchor"]),
        (ServerSettings(listen=listen, limits=Limits(sessions=9)), []),
        (ServerSettings(listen=listen, tls=TlsAccess((CA.pem,))), []),
        (ServerSettings(call_home=called), ["(call home to nms) lets nobody in"]),
        (ServerSettings(listen=listen, tls=TlsAccess((CA.pem, old.pem))), ["trust anchor CN=Old issuer is not valid"]),
        (ServerSettings(listen=(replace(listen[0], transport="ssh"),)), []),
    ):
        caplog.clear()
        server.tls.configure(settings)
        warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
        assert len(warned) == len(told), warned
        assert all(part in whole for part, whole in zip(told, warned, strict=True)), warned


# Who gets in


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions(server: TlsToy, version: ssl.TLSVersion) -> None:
    connection = server.connect("ada", version=version)
    try:
        client = Client(connection)  # type: ignore[arg-type]
        client.greet(HELLO_11)
        assert connection.tls.version() == version.name.replace("_", ".")
        assert is_ok(client.rpc('<reset xmlns="urn:example:toy"/>'))
    finally:
        connection.close()


def test_old_versions(server: TlsToy) -> None:
    """RFC 7589 section 3 by way of RFC 9325: nothing below TLS 1.2."""
    context = client_context(PEOPLE["ada"])
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection((server.host, server.port), WAIT) as raw, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(raw)


def test_who_gets_in(server: TlsToy) -> None:
    """A user by a certificate that is trusted and leads to its name; nobody else."""
    assert user_of(server, "ada") == "ada"
    assert user_of(server, "rita") == "rita"
    for who in (
        None,
        "nobody",
        root("evil").issue("ada"),
        CA.issue("ada", days=(-9, -1)),
        CA.issue("ada", days=(1, 9)),
    ):
        assert refused(server, who)
    assert server.toy.dispatch.sessions.all() == ()


def test_certificates_without_a_map(server: TlsToy, caplog: pytest.LogCaptureFixture) -> None:
    server.configure(TlsAccess((CA.pem,)))
    assert refused(server, "ada")
    assert "leads to no user name" in caplog.text


@pytest.mark.parametrize("end", ["\r\n", "\r", " ", "\n   "])
def test_anchors_in_other_line_ends(server: TlsToy, end: str) -> None:
    """What is accepted works, and spoils none beside it: OpenSSL is given what was understood, not the text."""
    other = root("other")
    by_name = CertMap(1, CA.fingerprint, "common-name"), CertMap(2, other.fingerprint, "common-name")
    server.configure(TlsAccess((CA.pem, other.pem.replace("\n", end)), by_name))
    assert user_of(server, "ada") == "ada"
    assert user_of(server, other.issue("rita")) == "rita"


def test_trust_in_an_issuer_and_in_one_certificate(server: TlsToy) -> None:
    """An anchor need not be a root, and one client's own certificate can be trusted alone."""
    issuer = CA.issue("issuer", ca=True)
    below, alone = issuer.issue("ada"), root("alone")
    server.configure(TlsAccess((issuer.pem,), (CertMap(1, issuer.fingerprint, "common-name"),)))
    assert user_of(server, below) == "ada"
    assert refused(server, "ada")
    single = alone.issue("whoever")
    server.configure(TlsAccess((single.pem,), (CertMap(1, single.fingerprint, "specified", "rita"),)))
    assert user_of(server, single) == "rita"
    assert refused(server, alone.issue("whoever"))
    server.configure(TlsAccess((CA.pem,), (CertMap(1, CA.fingerprint, "common-name"),)))
    assert user_of(server, below) == "ada"


def test_trust_changes_without_a_restart(server: TlsToy) -> None:
    """In effect for the next connection; the session that stands goes on, and cannot be resumed past the change."""
    other = root("other")
    context = client_context(PEOPLE["ada"], ssl.TLSVersion.TLSv1_2)
    with server.client() as client:
        raw = socket.create_connection((server.host, server.port), WAIT)
        with context.wrap_socket(raw) as first:
            assert first.recv(1000)
            session = first.session
        server.configure(TlsAccess((other.pem,), (CertMap(1, other.fingerprint, "common-name"),)))
        assert refused(server, "ada")
        raw = socket.create_connection((server.host, server.port), WAIT)
        with raw, pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(raw, session=session).recv(1000)
        assert user_of_second(server, other.issue("ada")) == "ada"
        assert is_ok(client.rpc('<reset xmlns="urn:example:toy"/>'))
        server.configure(BY_COMMON_NAME)
    assert user_of(server, "ada") == "ada"


def user_of_second(server: TlsToy, who: Identity) -> str:
    with server.client(user=who):
        return server.toy.dispatch.sessions.all()[-1].user.name


# Silence and noise


def test_silent_peers(toy: Toy) -> None:
    """Checklist 20: whoever says nothing is sent away; so is one that stops in its handshake."""
    server = TlsToy(toy, limits=Limits(login_time=0.4))
    try:
        silent = [socket.create_connection((server.host, server.port), WAIT) for _ in range(20)]
        silent[0].sendall(b"\x16\x03\x01\x02\x00\x01")
        server.limits = Limits(hello_time=0.4)
        server.configure(BY_COMMON_NAME)
        for one in silent:
            one.settimeout(WAIT)
            assert one.recv(100) == b""
            one.close()
        with server.client(hello=None) as client:
            client.read_hello()
            assert client.closed()
        assert until(lambda: toy.dispatch.sessions.all() == () and not server.tls._shared.connections)
    finally:
        server.stop()


def test_silent_peers_block_nobody(server: TlsToy) -> None:
    """Checklist 20: whom they block waits for as long as they may be silent."""
    silent = [socket.create_connection((server.host, server.port), WAIT) for _ in range(20)]
    silent[0].sendall(b"\x16\x03\x01\x02\x00\x01")
    start = time.monotonic()
    with server.client() as client:
        assert client.session_id > 0
    assert time.monotonic() - start < Limits().login_time
    for one in silent:
        one.close()


def test_connections_that_have_not_logged_in_are_limited(toy: Toy) -> None:
    server = TlsToy(toy, waiting=WaitingLimit(total=10, per_source=2))
    try:
        silent = [socket.create_connection((server.host, server.port), WAIT) for _ in range(2)]
        assert until(lambda: len(server.tls._shared.connections) == 2)
        assert refused(server, "ada")
        for one in silent:
            one.close()
        assert until(lambda: not server.tls._shared.connections)
        assert user_of(server, "ada") == "ada"
    finally:
        server.stop()


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\x00" * 5000, b"\x16\x03\x01\xff\xff"]
)
def test_noise(server: TlsToy, noise: bytes) -> None:
    with socket.create_connection((server.host, server.port), WAIT) as raw:
        raw.sendall(noise)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(1000):
            pass
    assert user_of(server, "ada") == "ada"


def test_noise_within_a_session(server: TlsToy) -> None:
    """Octets that are not TLS end that connection only."""
    with server.client() as client, server.client(user="rita") as other:
        raw = socket.socket(fileno=socket.dup(client.connection.sock.fileno()))  # type: ignore[attr-defined]
        with raw:
            raw.sendall(b"not TLS at all, and long enough to be a record")
        assert until(lambda: len(server.toy.dispatch.sessions.all()) == 1)
        assert other.rpc("<get><filter/></get>")[0].tag.endswith("}data")


def test_stop_is_clean_and_quick(toy: Toy) -> None:
    server = TlsToy(toy)
    silent = socket.create_connection((server.host, server.port), WAIT)
    with server.client() as client, server.client():
        assert is_ok(client.rpc("<lock><target><running/></target></lock>"))
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 5
        assert toy.dispatch.sessions.all() == ()
        assert toy.dispatch.datastores.locks.holder(Datastore.RUNNING) is None
    silent.close()


def test_a_slow_reader_costs_little_memory(server: TlsToy, toy: Toy) -> None:
    for number in range(3000):
        toy.reports.add(f"r{number}", "0123456789" * 400)
    wanted = '<filter><status xmlns="urn:example:toy"><report/></status></filter>'
    reports = f'<rpc xmlns="{NC}" message-id="1"><get>{wanted}</get></rpc>'
    with server.client() as client, server.client() as other:
        client.send(client.frame(reports.encode()) * 5)
        assert until(lambda: max(one.buffered for one in server.tls._shared.connections) > 0)
        time.sleep(0.2)
        assert max(one.buffered for one in server.tls._shared.connections) < 1_500_000
        assert is_ok(other.rpc(f"<kill-session><session-id>{client.session_id}</session-id></kill-session>"))
        assert until(lambda: len(toy.dispatch.sessions.all()) == 1)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl is installed")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_transcript(server: TlsToy, tmp_path: Path, version: str) -> None:
    """`openssl s_client` says hello, asks in chunks, closes; the answers are what the standard says, to the octet."""
    ada = PEOPLE["ada"].write(tmp_path, "ada")
    trusted = tmp_path / "ca.pem"
    trusted.write_text(CA.pem)
    words = ["openssl", "s_client", "-quiet", version, "-connect", f"{server.host}:{server.port}"]
    words += ["-cert", str(ada), "-key", str(ada), "-CAfile", str(trusted), "-verify_return_error"]
    close = f'<rpc xmlns="{NC}" message-id="2"><close-session/></rpc>'.encode()
    given = HELLO_11 + b"".join(b"\n#%d\n%s\n##\n" % (len(one), one) for one in (GET, close))
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(given)
        process.stdin.flush()
        # its standard input stays open: it is the server that ends the session
        out = process.stdout.read()
        process.stdin.close()
        assert process.wait(WAIT) == 0
    hello, _, rest = out.partition(b"]]>]]>")
    assert hello.startswith(b"<hello ")
    data = f'<rpc-reply xmlns="{NC}" message-id="1"><data></data></rpc-reply>'.encode()
    ok = f'<rpc-reply xmlns="{NC}" message-id="2"><ok/></rpc-reply>'.encode()
    assert rest == b"".join(b"\n#%d\n%s\n##\n" % (len(one), one) for one in (data, ok))


def test_a_listener_of_both_families(server: TlsToy) -> None:
    """A peer that is seen as ::ffff:127.0.0.1 is told of as 127.0.0.1, as `user_of` expects."""
    bound = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    server.port = bound.getsockname()[1]
    server.thread.call(server.tls.listen(bound))
    assert user_of(server, "ada") == "ada"


class Burst:
    """A client that says all it has to say, TLS's end and TCP's included, and only then listens."""

    def __init__(self, server: TlsToy) -> None:
        self.raw = socket.create_connection((server.host, server.port), WAIT)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client_context(PEOPLE["ada"]).wrap_bio(self.incoming, self.outgoing, server_hostname="device")
        while True:
            try:
                self.tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.raw.sendall(self.outgoing.read())
                self.incoming.write(self.raw.recv(65536))

    def flush(self) -> None:
        """Send what the handshake has left."""
        self.raw.sendall(self.outgoing.read())

    def say(self, *requests: str, end: bool = True) -> bytes:
        """Everything at once; the octets that come back."""
        said = "".join(f'<rpc xmlns="{NC}" message-id="1">{one}</rpc>]]>]]>' for one in requests)
        self.tls.write(HELLO_10 + said.encode())
        if end:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.unwrap()
        self.raw.sendall(self.outgoing.read())
        self.raw.shutdown(socket.SHUT_WR)
        came = b""
        while data := self.raw.recv(65536):
            came += data
        self.raw.close()
        return came


RESET = '<reset xmlns="urn:example:toy"/>'


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("end", [True, False])
def test_all_in_one_burst(server: TlsToy, toy: Toy, early: bool, end: bool) -> None:
    """Requests before TLS's end are answered, though TCP's follows at once; `early`: with the handshake's last octets.

    Without TLS's end they were cut off, and the session ends as lost.
    """
    burst = Burst(server)
    if not early:
        burst.flush()
        assert until(lambda: len(toy.dispatch.sessions.all()) == 1)
    came = burst.say(*(["<get/>", RESET] * 5), end=end)
    assert until(lambda: not server.tls._shared.connections and toy.dispatch.sessions.all() == ())
    ended = toy.dispatch.sessions.statistics(["netconf-tls"])
    if end:
        assert len(came) > 5_000
        assert (ended.in_rpcs, ended.dropped_sessions) == (10, 0)
    else:
        assert ended.dropped_sessions == 1
