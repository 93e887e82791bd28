"""Real `ssh -s netconf`: what an OpenSSH client sends and gets, to the octet."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess

import pytest

from tests.netconf.support import HELLO_10, HELLO_11, NC, WAIT, Server, until
from tests.toy.build import Toy, Users

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client is installed")

GET = f'<rpc xmlns="{NC}" message-id="1"><get><filter/></get></rpc>'.encode()
CLOSE = f'<rpc xmlns="{NC}" message-id="2"><close-session/></rpc>'.encode()
DATA = f'<rpc-reply xmlns="{NC}" message-id="1"><data></data></rpc-reply>'.encode()
OK = f'<rpc-reply xmlns="{NC}" message-id="2"><ok/></rpc-reply>'.encode()


def framed(*messages: bytes) -> bytes:
    return b"".join(b"\n#%d\n%s\n##\n" % (len(one), one) for one in messages)


def words(server: Server, *more: str) -> list[str]:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", *more, "LogLevel=ERROR")
    command = ["ssh", "-F", "none", *(f"-o{one}" for one in options), "-p", str(server.port)]
    return [*command, "-s", f"ada@{server.host}", "netconf"]


@pytest.fixture
def key(server: Server, tmp_path: Path) -> Path:
    """A key that logs in ada."""
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    assert isinstance(server.users, Users)
    server.users.keys["ada"] = [path.with_suffix(".pub").read_text().strip()]
    return path


def talk(command: list[str], given: bytes) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "SSH_AUTH_SOCK": ""}
    return subprocess.run(command, input=given, capture_output=True, timeout=2 * WAIT, check=False, env=environment)


@pytest.mark.parametrize(
    ("hello", "asked", "answered"),
    [
        (HELLO_11, framed(GET, CLOSE), framed(DATA, OK)),
        (HELLO_10, b"]]>]]>".join((GET, CLOSE, b"")), b"]]>]]>".join((DATA, OK, b""))),
    ],
    ids=["1.1", "1.0"],
)
def test_transcript(server: Server, key: Path, toy: Toy, hello: bytes, asked: bytes, answered: bytes) -> None:
    """Checklist 1-4, 22, 107: hello, a request, close-session; the client ends with 0, as after any good command."""
    done = talk(words(server, "BatchMode=yes", "IdentitiesOnly=yes", f"IdentityFile={key}"), hello + asked)
    greeting, _, rest = done.stdout.partition(b"]]>]]>")
    assert greeting.startswith(f'<hello xmlns="{NC}"><capabilities><capability>'.encode())
    assert greeting.endswith(b"</session-id></hello>")
    assert rest == answered
    assert (done.returncode, done.stderr) == (0, b"")
    assert until(lambda: toy.dispatch.sessions.all() == ())


def test_end_of_input(server: Server, key: Path, toy: Toy) -> None:
    """Checklist 23: standard input ends, and what was asked is still answered."""
    done = talk(words(server, "BatchMode=yes", "IdentitiesOnly=yes", f"IdentityFile={key}"), HELLO_11 + framed(GET))
    assert done.stdout.endswith(framed(DATA))
    assert until(lambda: toy.dispatch.sessions.all() == ())


@pytest.mark.parametrize("way", ["password", "keyboard-interactive"])
def test_passwords(server: Server, tmp_path: Path, way: str) -> None:
    """Either way, with OpenSSH's own prompt; a wrong one gets nothing."""
    for password, good in (("ada-secret", True), ("wrong", False)):
        ask = tmp_path / f"ask-{good}"
        ask.write_text(f"#!/bin/sh\necho {password}\n")
        ask.chmod(0o700)
        environment = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "SSH_AUTH_SOCK": ""}
        done = subprocess.run(
            words(server, f"PreferredAuthentications={way}", "NumberOfPasswordPrompts=1"),
            input=HELLO_11 + framed(GET, CLOSE),
            capture_output=True,
            timeout=2 * WAIT,
            check=False,
            env=environment,
        )
        assert (framed(DATA, OK) in done.stdout) is good, done.stderr
        assert done.returncode == (0 if good else 255)


@pytest.mark.parametrize(
    "old",
    ["KexAlgorithms=diffie-hellman-group14-sha1", "Ciphers=aes128-cbc", "MACs=hmac-sha1", "HostKeyAlgorithms=ssh-rsa"],
)
def test_old_algorithms(server: Server, key: Path, old: str) -> None:
    """A client that may use nothing newer does not come to a login."""
    more = ["Ciphers=aes128-ctr"] if old.startswith("MACs") else []
    done = talk(words(server, "BatchMode=yes", "LogLevel=INFO", f"IdentityFile={key}", old, *more), b"")
    assert done.returncode == 255
    assert b"no matching" in done.stderr
