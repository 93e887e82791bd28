"""`slp-peer authority` as a user runs it: real processes, a real port, the ready line, signals and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from agent.formats import smartlicense
from tests.formats.authority import UDI, chain

MAIN = [sys.executable, "-W", "error", "-c", "from peers.main import main; main()", "authority"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MAIN, *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "a"
    done = run("init", "--state-dir", folder, "--account", "Corp", "--virtual-account", "Default", "--lab")
    assert (done.returncode, done.stderr) == (0, "")
    assert "anchor.pem" in done.stdout
    return folder


class Server:
    def __init__(self, state: Path, *arguments: str) -> None:
        command = [*MAIN, "run", "--state-dir", str(state), "--http", "127.0.0.1:0", *arguments]
        self.log = (state / "log").open("wb")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log)
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        assert ready["event"] == "ready"
        self.url = ready["http"]

    def post(self, data: bytes) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + "/v1/usage", data=data, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
        return code


def usage(documents: list[bytes]) -> bytes:
    return smartlicense.write_usage(smartlicense.SystemInfo(UDI, 1, "n", "tag"), documents)


def test_loop_kill_and_orderly_end(state: Path) -> None:
    documents = chain(3, lab=True)
    server = Server(state, "--lab-clock-start", "1767225600", "--lab-clock-rate", "10")
    assert server.post(usage(documents))[0] == 202
    shown = run("approve", "--state-dir", state, UDI.key)
    assert json.loads(shown.stdout)["state"] == "approved"
    status, file = server.post(usage(documents))
    assert status == 200
    # What was answered is durable: a killed server gives the same bytes when it is back.
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    server = Server(state, "--lab-clock-start", "1767225600", "--lab-clock-rate", "10")
    assert server.post(usage(documents)) == (200, file)
    started = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - started < 5
    assert len(json.loads(run("reports", "--state-dir", state, UDI.key).stdout)) == 3
    assert json.loads(run("instances", "--state-dir", state).stdout)[0]["head"] == 3


def test_limits_of_the_listener(state: Path) -> None:
    """A body above the limit is answered, a silent peer holds nothing up, a broken request hurts nobody."""
    server = Server(state)
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    where = (host, int(port))
    with socket.create_connection(where, timeout=10) as silent, socket.create_connection(where, timeout=10) as large:
        silent.sendall(b"POST /v1/usage HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        large.sendall(b"POST /v1/usage HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        try:
            for _ in range(66):
                large.sendall(block)
        except (ConnectionError, TimeoutError):
            pass
        answer = large.recv(4096)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert server.post(b"[]")[0] == 400
        with socket.create_connection(where, timeout=10) as broken:
            broken.sendall(b"\x00\x01\x02\r\n\r\n")
            assert broken.recv(100).startswith(b"HTTP/1.1 400 ")
        assert server.end() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--http", "127.0.0.1"), "expected HOST:PORT"),
        (("run", "--http", "127.0.0.1:99999"), "expected HOST:PORT"),
        (("approve", "PID:x,SN:y"), "is not known"),
        (("approve", "nonsense"), "expected PID"),
        (("accept-gap", "PID:x,SN:y"), "is not known"),
        (("policy", "set", "/nowhere"), "cannot be read"),
    ],
)
def test_mistakes_are_one_line(state: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(
        *arguments[:1],
        *(arguments[1:2] if arguments[0] == "policy" else ()),
        "--state-dir",
        state,
        *(arguments[2:] if arguments[0] == "policy" else arguments[1:]),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("slp-peer: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_port_in_use(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("run", "--state-dir", state, "--http", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 1
    assert "in use" in done.stderr


def test_policy_commands(state: Path, tmp_path: Path) -> None:
    assert json.loads(run("policy", "show", "--state-dir", state).stdout) is None
    file = tmp_path / "policy.json"
    file.write_text('{"name": "SLE Policy", "subscription": {"first": 120, "ongoing": 111, "change": 111}}')
    assert run("policy", "set", "--state-dir", state, file).returncode == 0
    shown = json.loads(run("policy", "show", "--state-dir", state).stdout)
    assert shown["subscription"] == {"first": 120, "ongoing": 111, "change": 111}
    assert run("policy", "remove", "--state-dir", state).returncode == 0
    assert json.loads(run("policy", "show", "--state-dir", state).stdout) is None


def test_submit_takes_files_and_answers_what_the_wire_answers(state: Path, tmp_path: Path) -> None:
    documents = chain(3, lab=True)
    files = [tmp_path / f"{index}.json" for index in range(3)]
    for file, document in zip(files, documents, strict=True):
        file.write_bytes(document)
    saved, output = tmp_path / "usage.xml", tmp_path / "ACK.xml"
    saved.write_bytes(usage(documents))
    done = run("submit", "--state-dir", state, *files, "--output", output)
    assert (done.returncode, done.stdout, output.exists()) == (1, "", False)
    assert "approve the instance" in done.stderr
    assert run("approve", "--state-dir", state, UDI.key).returncode == 0
    done = run("submit", "--state-dir", state, *files, "--output", output)
    assert (done.returncode, done.stdout) == (0, "")
    assert '"accepted"' in done.stderr
    assert smartlicense.read_documents(output.read_bytes())
    # the same reports as a saved file, on standard output: the same answer, byte for byte
    again = run("submit", "--state-dir", state, saved)
    assert (again.returncode, again.stdout.encode()) == (0, output.read_bytes())
    assert "cannot be read" in run("submit", "--state-dir", state, tmp_path / "none").stderr


def test_the_examples_of_the_page_are_taken(state: Path, tmp_path: Path) -> None:
    """docs/formats.md section 6: a policy file and a pool file."""
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    section = page[page.index("A policy file, for") :]
    policy, pool = re.findall(r"```json\n(.*?)```", section, re.DOTALL)[:2]
    for name, text in (("policy", policy), ("pool", pool)):
        file = tmp_path / f"{name}.json"
        file.write_text(text)
        done = run(name, "set", "--state-dir", state, file)
        assert (done.returncode, done.stderr) == (0, ""), done
