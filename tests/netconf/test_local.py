"""NETCONF for users of this machine, and `netconf-subsystem` before it: by pipes, and by OpenSSH's own server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import getpass
import os
from pathlib import Path
import shutil
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from agent.core.membership import bring_up_to_date
from agent.core.requests import Datastore
from agent.core.sessions import User
from agent.netconf.local import LocalServer
from agent.netconf.serving import Serving
from agent.netconf.settings import Limits
from agent.netconf.thread import LoopThread
from agent.restconf.listen import Local, bind_local
from tests.netconf.support import HELLO_11, NC, WAIT, Client, error, is_ok, until
from tests.netconf.test_transport import (  # noqa: F401 - collected here again, with the fixture below
    test_a_lost_connection_frees_everything,
    test_a_message_that_is_too_big,
    test_a_reply_that_breaks_off,
    test_bad_hellos,
    test_both_framings,
    test_chunks_of_all_sizes,
    test_end_of_file,
    test_end_of_file_in_mid_message,
    test_far_more_pipelined_requests_than_are_taken_in,
    test_framing_errors,
    test_large_replies,
    test_marks_wait_for_the_last_octet,
    test_pipelined_requests,
    test_the_server_speaks_first,
)
from tests.ports import free_port
from tests.toy.build import ADMIN, READER, Toy

CLOSE = f'<rpc xmlns="{NC}" message-id="9"><close-session/></rpc>'.encode()
LOCK = f'<rpc xmlns="{NC}" message-id="1"><lock><target><running/></target></lock></rpc>'.encode()


class Connection:
    """A connection to a Unix socket with the methods of a paramiko transport and channel that the tests use."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.fspath(path))
        self.recv = self.sock.recv
        self.sendall = self.sock.sendall
        self.settimeout = self.sock.settimeout
        self.close = self.sock.close

    def open_session(self, timeout: float) -> Connection:
        return self

    def invoke_subsystem(self, name: str) -> None:
        """A connection is a session here."""

    def shutdown_write(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)


class LocalToy:
    """As `support.Server`, over a Unix socket; `who` is the user that every caller is."""

    def __init__(self, toy: Toy, path: Path, limits: Limits | None = None) -> None:
        self.toy = toy
        self.path = path
        self.who: dict[int, User] = {os.getuid(): ADMIN}
        self.local = LocalServer(Serving(toy.dispatch, limits=limits), self.who.get)
        self.thread = LoopThread()
        self.thread.start()
        self.thread.call(self.local.listen(bind_local(Local(path, self.who.get))))

    def stop(self) -> None:
        if self.thread.running:
            self.thread.call(self.local.stop())
            self.thread.end()

    def connect(self, user: str = "ada") -> Connection:
        return Connection(self.path)

    @contextmanager
    def client(self, hello: bytes | None = HELLO_11, user: str = "ada") -> Iterator[Client]:
        connection = self.connect()
        try:
            client = Client(connection)  # type: ignore[arg-type]
            if hello is not None:
                client.greet(hello)
            yield client
        finally:
            connection.close()


@pytest.fixture
def server(toy: Toy, tmp_path: Path) -> Iterator[LocalToy]:
    running = LocalToy(toy, tmp_path / "n.sock")
    yield running
    running.stop()


def framed(*messages: bytes) -> bytes:
    return b"".join(b"\n#%d\n%s\n##\n" % (len(one), one) for one in messages)


def helper(path: Path) -> list[str]:
    return [sys.executable, "-m", "agent.subsystem", "--socket", str(path)]


def piped(server: LocalToy, given: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(helper(server.path), input=given, capture_output=True, timeout=2 * WAIT, check=False)


def test_who_is_known_by_the_kernel(server: LocalToy, toy: Toy) -> None:
    """No user, no session; the session is the user's that the agent makes of the user id."""
    server.who[os.getuid()] = READER
    with server.client():
        (session,) = toy.dispatch.sessions.all()
        assert (session.user, session.transport, session.source_host) == (READER, "netconf-ssh", "localhost")
    server.who.clear()
    with server.client(hello=None) as client, pytest.raises((EOFError, ConnectionError)):
        client.read_hello()


def test_a_session_follows_its_user(server: LocalToy, toy: Toy) -> None:
    """Other groups hold from then on, and no user means no session."""
    lock = "<lock><target><running/></target></lock>"
    with server.client() as client:
        (session,) = toy.dispatch.sessions.all()
        server.who[os.getuid()] = User(ADMIN.name, READER.groups)
        bring_up_to_date(session)
        assert error(client.rpc(lock))["tag"] == "access-denied"
        server.who.clear()
        bring_up_to_date(session)
        assert client.closed()
    assert until(lambda: toy.dispatch.sessions.all() == ())


def test_local_sessions_are_limited_too(toy: Toy, tmp_path: Path) -> None:
    server = LocalToy(toy, tmp_path / "n.sock", Limits(sessions=1))
    try:
        with server.client() as client:
            with server.client(hello=None) as other, pytest.raises((EOFError, ConnectionError)):
                other.read_hello()
            assert is_ok(client.rpc('<reset xmlns="urn:example:toy"/>'))
    finally:
        server.stop()


def test_the_helper_by_pipes(server: LocalToy, toy: Toy) -> None:
    """What comes in goes to the agent, what it says comes out, and the helper ends with the session."""
    done = piped(server, HELLO_11 + framed(LOCK, CLOSE))
    hello, _, rest = done.stdout.partition(b"]]>]]>")
    assert hello.startswith(b"<hello ")
    ok = '<rpc-reply xmlns="{}" message-id="{}"><ok/></rpc-reply>'
    assert rest == framed(ok.format(NC, 1).encode(), ok.format(NC, 9).encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert until(lambda: toy.dispatch.datastores.locks.holder(Datastore.RUNNING) is None)


def test_the_helper_at_the_end_of_its_input(server: LocalToy) -> None:
    """Checklist 23: what was asked is answered, then all ends."""
    done = piped(server, HELLO_11 + framed(LOCK))
    assert done.stdout.endswith(b"<ok/></rpc-reply>\n##\n")
    assert done.returncode == 0


def test_the_helper_ends_when_its_reader_has_gone(server: LocalToy, toy: Toy) -> None:
    with subprocess.Popen(helper(server.path), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.read(10)
        process.kill()
        process.wait(WAIT)
        process.stdin.close()
    assert until(lambda: toy.dispatch.sessions.all() == ())


def test_the_helper_carries_much(server: LocalToy, toy: Toy) -> None:
    """Checklist 42: more than ten megabytes, which a pipe does not hold at once."""
    for number in range(3000):
        toy.reports.add(f"r{number}", "0123456789" * 400)
    wanted = '<get><filter><status xmlns="urn:example:toy"><report/></status></filter></get>'
    done = piped(server, HELLO_11 + framed(f'<rpc xmlns="{NC}" message-id="1">{wanted}</rpc>'.encode(), CLOSE))
    assert len(done.stdout) > 10_000_000
    assert done.stdout.endswith(framed(f'<rpc-reply xmlns="{NC}" message-id="9"><ok/></rpc-reply>'.encode()))


def test_the_helper_without_an_agent(tmp_path: Path) -> None:
    """It says where it looked and what to do."""
    done = subprocess.run(helper(tmp_path / "nothing"), capture_output=True, text=True, timeout=WAIT, check=False)
    assert done.returncode == 1
    assert f"cannot reach the agent at {tmp_path}/nothing" in done.stderr
    assert "slp-agent run --netconf-socket" in done.stderr
    assert done.stdout == ""


def test_the_helper_loads_nothing_but_the_standard_library() -> None:
    """It starts once for each session."""
    program = "import sys, agent.subsystem; print(*sorted(name for name in sys.modules if name.startswith('agent')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["agent", "agent.subsystem"]


SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason="no OpenSSH server and client are installed")
def test_behind_openssh(server: LocalToy, tmp_path: Path) -> None:
    """Real sshd with `Subsystem netconf`: its login, our session."""
    assert SSHD is not None
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    port = free_port()
    config = tmp_path / "sshd_config"
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": tmp_path / "host",
        "AuthorizedKeysFile": tmp_path / "id.pub",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PermitRootLogin": "yes",
        "Subsystem": f"netconf {' '.join(helper(server.path))}",
        "SetEnv": f"PYTHONPATH={os.getcwd()}",  # noqa: PTH109 - where this tree's agent lies
    }
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    log = tmp_path / "log"
    daemon = subprocess.Popen([SSHD, "-D", "-f", str(config), "-E", str(log)])
    try:
        if not until(lambda: _answers(port), WAIT):
            pytest.skip(f"the OpenSSH server does not run here: {log.read_text()[-200:]}")
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes")
        words = ["ssh", "-F", "none", *(f"-o{one}" for one in options), "-i", str(tmp_path / "id"), "-p", str(port)]
        done = subprocess.run(
            [*words, "-s", f"{getpass.getuser()}@127.0.0.1", "netconf"],
            input=HELLO_11 + framed(LOCK, CLOSE),
            capture_output=True,
            timeout=2 * WAIT,
            check=False,
        )
    finally:
        daemon.terminate()
        daemon.wait(WAIT)
    told = done.stderr.decode() + log.read_text()
    assert done.stdout.count(b"<ok/></rpc-reply>") == 2, told


def _answers(port: int) -> Any:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as probe:
            return probe.recv(4)
    except OSError:
        time.sleep(0.05)
        return b""


def test_recovery_gets_in_when_all_is_taken(toy: Toy, tmp_path: Path) -> None:
    """Others are refused then, as everywhere; root must be able to see and end what takes the place."""
    server = LocalToy(toy, tmp_path / "socket", Limits(sessions=1, sessions_per_user=1))
    try:
        with server.client() as first:
            refused = Connection(server.path)
            refused.settimeout(WAIT)
            assert refused.recv(10) == b""
            refused.close()
            server.who[os.getuid()] = User("root", frozenset({"admin"}), recovery=True)
            with server.client() as client, server.client():
                kill = f"<kill-session><session-id>{first.session_id}</session-id></kill-session>"
                assert is_ok(client.rpc(kill))
                assert first.closed()
    finally:
        server.stop()
