"""`slp-agent run`: the ready line, the end by SIGTERM, what cannot be run on, what a failed start leaves as it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import json
import os
from pathlib import Path
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

from tests.system.kit import BIN, ENDED, PASSWORD, STATE_URI, Device, Done, Process, TransportError, agent, tool

LOOPBACK = ("--netconf", "127.0.0.1:0", "--restconf", "127.0.0.1:0")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Device:
    """A state folder that has been run once and is not running; tests work on copies."""
    device = Device.make(tmp_path_factory.mktemp("m") / "d")
    with device.running():
        assert len(device.closed(voice_session=3)) == 1
    return device


@pytest.fixture
def copy(made: Device, tmp_path: Path) -> Device:
    """A copy with a key file of its own."""
    folder, key_file = tmp_path / "d", tmp_path / "d.key"
    shutil.copytree(made.folder, folder)
    shutil.copy2(made.folder.with_name("d.key"), key_file)
    mark = folder / "agent.json"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"key-file": str(key_file)}))
    return Device(folder)


def content(folder: Path) -> dict[str, bytes]:
    """All files but the lock, which names the last process, and what SQLite keeps beside an unchanged database."""
    passing = {"lock", "agent.db-wal", "agent.db-shm"}
    return {each.name: each.read_bytes() for each in folder.rglob("*") if each.is_file() and each.name not in passing}


def refused(device: Device, *options: str) -> str:
    """The one line that a run ends with, which must change nothing."""
    before = content(device.folder)
    done = device.tool("run", *(options or LOOPBACK))
    assert (done.code, done.out) == (1, ""), done
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("slp-agent: ")]
    assert len(lines) == 1, done.err
    assert content(device.folder) == before
    return lines[0]


def test_ready_line_and_end(copy: Device) -> None:
    """Exactly the promised line, addresses that serve, logs on standard error only, nothing left behind."""
    process = copy.start()
    assert list(process.ready) == ["event", "netconf", "restconf"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", process.ready["netconf"])
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+/restconf", process.ready["restconf"])
    assert (copy.folder / "agent.sock").is_socket()
    assert (copy.folder / "agent.sock").stat().st_mode & 0o777 == 0o660
    with copy.ncclient() as session, copy.http() as caller:
        assert session.connected
        assert caller.get(f"{STATE_URI}/udi/pid")
    assert copy.stop() < ENDED
    assert not (copy.folder / "agent.sock").exists()
    log = copy.log.read_text()
    assert "session 1: opened by admin" in log
    assert "Traceback" not in log
    assert PASSWORD not in log


def test_end_with_open_sessions(copy: Device) -> None:
    """SIGTERM ends idle and busy sessions, silent peers and half requests within its time; SIGINT does the same."""
    process = copy.start()
    host, port = copy.address
    tls = int(copy.restconf.rpartition(":")[2].partition("/")[0])
    with (
        socket.create_connection((host, port)) as silent,
        socket.create_connection((host, tls)) as silent_tls,
        suppress(TransportError),
        copy.ncclient() as idle,
        copy.http() as caller,
        copy.recorder() as recorder,
    ):
        recorder.record("voice-session", 4)
        assert caller.get(f"{STATE_URI}/udi/pid")
        assert idle.lock("running").ok
        # a request of which only the beginning comes
        caller.connection.sock.sendall(b"POST /restconf/operations/slp-agent:close-reports HTTP/1.1\r\n")
        assert process.stop() < ENDED
        for peer in (silent, silent_tls):
            peer.settimeout(ENDED)
            while peer.recv(1000):
                pass
    assert "Traceback" not in copy.log.read_text()
    process = copy.start()
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(ENDED) == 0
    process.out.close()


def test_end_while_a_reply_is_not_read(made: Device, copy: Device) -> None:
    """A client that does not read its reply cannot hold the agent up."""
    process = copy.start()
    with copy.http() as caller:
        request = f"GET {caller.base}/data HTTP/1.1\r\nHost: a\r\nAuthorization: {caller.login}\r\n\r\n"
        caller.connection.connect()
        # more than the kernel's buffers hold
        caller.connection.sock.sendall(request.encode() * 400)
        time.sleep(0.2)
        assert process.stop() < ENDED
    assert "Traceback" not in copy.log.read_text()


def test_ports_in_use(copy: Device) -> None:
    """Which service, which address, what to do; the start is not even recorded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = f"127.0.0.1:{taken.getsockname()[1]}"
        for service, options in (
            ("NETCONF", ("--netconf", there, "--restconf", "127.0.0.1:0")),
            ("RESTCONF", ("--netconf", "127.0.0.1:0", "--restconf", there)),
        ):
            message = refused(copy, *options)
            assert f"{service} cannot listen on {there}: Address already in use; another program holds" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--netconf", "127.0.0.1", "--restconf", "127.0.0.1:0"), "--netconf: expected HOST:PORT"),
        (("--netconf", "127.0.0.1:0", "--restconf", "127.0.0.1:65536"), "--restconf: expected HOST:PORT"),
        (("--netconf", "::1:0", "--restconf", "127.0.0.1:0"), "write an IPv6 address in brackets"),
        (("--netconf", "127.0.0.1:0", "--restconf", "192.0.2.1:0"), "this machine does not have that address"),
        ((*LOOPBACK, "--log-level", "loud"), "expected one of debug, info, warning, error"),
        ((*LOOPBACK, "--lab-clock-rate", "10"), "are for lab folders only"),
    ],
)
def test_options_that_do_not_make_sense(copy: Device, options: tuple[str, ...], message: str) -> None:
    assert message in refused(copy, *options)


def without(capability: str, *command: str | Path) -> Done:
    """Run a command without this privilege, which root has and others have not."""
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("as root this test needs setpriv (util-linux) to give up a privilege")
        words = ["setpriv", "--bounding-set", f"-{capability}", "--inh-caps", f"-{capability}", *words]
    return tool(*words)


def test_default_ports_need_privileges(copy: Device) -> None:
    """Without addresses it is 830 and 443 on all; where that is not permitted, a clear error."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 830:
        pytest.skip("this machine lets everybody have port 830")
    before = content(copy.folder)
    done = without("net_bind_service", BIN / "slp-agent", "run", "--state-dir", copy.folder)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("slp-agent: NETCONF cannot listen on *:830: Permission denied; ports below 1024 need")
    assert content(copy.folder) == before


@pytest.mark.parametrize("name", ["d/agent.json", "d/agent.db", "d.key"])
def test_unreadable(copy: Device, name: str) -> None:
    """Somebody else's folder: which file, and what to do."""
    file = copy.folder.parent / name
    file.chmod(0)
    command = ("run", "--state-dir", copy.folder, *LOOPBACK)
    done = without("dac_override,-dac_read_search", BIN / "slp-agent", *command)
    file.chmod(0o600)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1), done
    assert str(file.parent if name == "d/agent.json" else file) in done.err
    assert done.err.startswith("slp-agent: cannot ")


def test_two_agents_on_one_folder(copy: Device) -> None:
    """The second names the first and leaves it in peace."""
    with copy.running() as first:
        done = copy.tool("run", *LOOPBACK)
        assert (done.code, done.out) == (1, "")
        assert f"is in use by process {first.popen.pid}: stop that agent" in done.err
        with copy.http() as caller:
            assert caller.get(f"{STATE_URI}/udi/pid")
    # a lock that was left behind by a killed agent does not count
    copy.start()
    copy.kill()
    with copy.running():
        assert copy.show("udi")["udi"]["pid"]


def newer(device: Device) -> None:
    mark = device.folder / "agent.json"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"format": 2}))


def newer_database(device: Device) -> None:
    with sqlite3.connect(device.folder / "agent.db") as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version + 1}")
    database.close()


def rows(device: Device) -> None:
    """Somebody takes the closed report away."""
    with sqlite3.connect(device.folder / "agent.db") as database:
        assert database.execute("DELETE FROM reports").rowcount == 1
    database.close()


def pages(device: Device) -> None:
    data = bytearray((device.folder / "agent.db").read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    (device.folder / "agent.db").write_bytes(data)


def cut(device: Device) -> None:
    file = device.folder / "agent.db"
    file.write_bytes(file.read_bytes()[:5000])


def no_database(device: Device) -> None:
    (device.folder / "agent.db").unlink()


def not_json(device: Device) -> None:
    (device.folder / "agent.json").write_text("{")


def unfinished(device: Device) -> None:
    (device.folder / "agent.json").unlink()


def no_key(device: Device) -> None:
    device.folder.with_name("d.key").unlink()


def another_key(device: Device) -> None:
    key = device.folder.with_name("d.key")
    key.unlink()
    assert (
        agent(
            "init", "--state-dir", key.parent / "o", "--user", "a", "--password-stdin", "--key-file", key, given="x"
        ).code
        == 0
    )


def open_key(device: Device) -> None:
    device.folder.with_name("d.key").chmod(0o644)


def no_secret(device: Device) -> None:
    next((device.folder / "keys").iterdir()).unlink()


def bad_profile(device: Device) -> None:
    (device.folder / "profile.toml").write_text("[product]\npid = 1\n")


def no_certificate(device: Device) -> None:
    (device.folder / "tls.crt").unlink()


def other_certificate(device: Device) -> None:
    (device.folder / "tls.crt").write_bytes((device.folder / "ca.crt").read_bytes())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (newer, "has format 2, this agent knows up to 1: run the newer agent that wrote it"),
        pytest.param(newer_database, "newer", marks=pytest.mark.slow),
        (rows, "the database was altered or damaged: table reports"),
        pytest.param(pages, "restore", marks=pytest.mark.slow),
        pytest.param(cut, "restore", marks=pytest.mark.slow),
        pytest.param(no_database, "agent.db", marks=pytest.mark.slow),
        (not_json, "agent.json is damaged (it is not JSON): restore it from a backup"),
        pytest.param(unfinished, "is not a state folder (agent.json is missing)", marks=pytest.mark.slow),
        (no_key, "there is no key file"),
        (another_key, "key"),
        pytest.param(open_key, "has mode 0644, so others can use it: chmod 600", marks=pytest.mark.slow),
        pytest.param(no_secret, "keys/", marks=pytest.mark.slow),
        (bad_profile, "profile.toml:2: pid is expected to be"),
        (no_certificate, "tls.crt: No such file or directory; restore it from a backup"),
        pytest.param(other_certificate, "the TLS certificate does not belong to key", marks=pytest.mark.slow),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_damaged(copy: Device, damage: Callable[[Device], None], message: str) -> None:
    """What is wrong and what to do; the folder stays as it was found, and `user add` says the same where it matters."""
    damage(copy)
    told = refused(copy)
    assert message in told
    assert len(told) < 600


def test_path_too_long_for_the_socket(tmp_path: Path) -> None:
    """The local socket's path has a limit of the kernel's; --socket is the way out."""
    device = Device.make(tmp_path / ("x" * 100))
    assert "agent.sock; choose a shorter one" in refused(device)
    with device.running("--socket", str(tmp_path / "s")):
        assert (tmp_path / "s").is_socket()


def test_no_folder(tmp_path: Path) -> None:
    done = agent("run", "--state-dir", tmp_path / "d", *LOOPBACK)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"slp-agent: there is no state folder {tmp_path / 'd'}: make one with slp-agent init\n"


def test_lab_clock(tmp_path: Path) -> None:
    """A lab's time runs at the rate that is asked for, from the start that is asked for; the folder stays a lab."""
    device = Device.make(tmp_path / "d", "--lab")
    with device.running("--lab-clock-rate", "86400", "--lab-clock-start", "1800000000"):
        assert device.show("status")["slp-agent:product"]["lab"] is True
        device.closed(voice_session=1)
        with device.http("reader") as caller:
            entry = caller.get(f"{STATE_URI}/rum-reports-closed-keys")[0]
        begun, ended = entry["report-start-time"], entry["report-end-time"]
        # 1800000000 is 2027-01-15T08:00:00
        assert "2027-01-15T08:00:00" <= begun < ended < "2027-03"
        assert begun.endswith("+00:00")
    done = device.tool("run", *LOOPBACK, "--lab-clock-rate", "0")
    assert (done.code, "--lab-clock-rate" in done.err) == (2, True)


def test_standard_output_that_is_closed(copy: Device) -> None:
    """Nobody reads the ready line: the agent says so and ends, or serves on; it does not hang half-started."""
    command = [str(BIN / "slp-agent"), "run", "--state-dir", str(copy.folder), *LOOPBACK]
    reading, writing = os.pipe()
    os.close(reading)
    with copy.log.open("ab") as log:
        process = subprocess.Popen(command, stdout=writing, stderr=log)
    os.close(writing)
    try:
        assert process.wait(20) == 1
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in copy.log.read_text()
    assert isinstance(copy.start(), Process)
    assert copy.stop() < ENDED
