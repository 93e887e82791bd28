"""PAM beside the accounts: who is asked, in which order, and as whom a user comes in."""

from __future__ import annotations

import grp
import importlib.util
import os
from pathlib import Path
import pwd
from typing import Any

import paramiko
import pytest

from agent import pam
from agent.config import ConfigError
from agent.core.sessions import User
from agent.pam import PamUsers, checker, machine_user
from tests.netconf.support import Server
from tests.toy.build import Toy, Users

HERE = pwd.getpwuid(os.getuid()).pw_name


class Pam:
    """A PAM that knows these passwords, and remembers what it was asked."""

    def __init__(self, **passwords: str) -> None:
        self.passwords = passwords
        self.asked: list[str] = []
        self.broken = False

    def __call__(self, name: str, password: str) -> bool:
        self.asked.append(name)
        if self.broken:
            raise OSError("libpam is gone")
        return self.passwords.get(name) == password


@pytest.fixture
def grouped(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The machine's groups that mean something here, by name; the user that runs the test is in its own."""
    numbers: dict[str, int] = {}

    def getgrnam(name: str) -> Any:
        return type("Entry", (), {"gr_gid": numbers[name]})

    monkeypatch.setattr(grp, "getgrnam", getgrnam)
    return numbers


def test_accounts_come_first() -> None:
    """The account's own password is good without PAM; PAM's is good too; a wrong one is good nowhere."""
    asked = Pam(ada="from-pam")
    users = PamUsers(Users(), asked)
    assert users.password("ada", "ada-secret") == User("ada", frozenset({"admin"}))
    assert asked.asked == []
    assert users.password("ada", "from-pam") == User("ada", frozenset({"admin"}))
    assert users.password("ada", "wrong") is None
    assert asked.asked == ["ada", "ada"]


def test_users_of_the_machine(grouped: dict[str, int]) -> None:
    """They need one of the groups; the first of them counts."""
    asked = Pam(**{HERE: "from-pam"})
    users = PamUsers(Users(), asked)
    assert users.password(HERE, "from-pam") is None
    assert asked.asked == []
    grouped["slp-reader"] = os.getgid()
    assert users.password(HERE, "from-pam") == User(HERE, frozenset({"reader"}))
    grouped["slp-collector"] = os.getgid()
    assert users.user(HERE) == User(HERE, frozenset({"collector"}))
    grouped["slp-admin"] = 4_000_000
    assert users.user(HERE) == User(HERE, frozenset({"collector"}))
    for name in ("no-such-user", "", "a\0b", "ä"):
        assert machine_user(name) is None


@pytest.mark.parametrize("password", ["", "from\0pam"])
def test_what_pam_is_never_asked(password: str) -> None:
    asked = Pam(ada=password)
    assert PamUsers(Users(), asked).password("ada", password) is None
    assert asked.asked == []


def test_a_pam_that_fails_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    asked = Pam(ada="from-pam")
    asked.broken = True
    users = PamUsers(Users(), asked)
    assert users.password("ada", "from-pam") is None
    assert users.password("ada", "ada-secret") is not None
    assert "PAM could not be asked" in caplog.text
    assert "from-pam" not in caplog.text


def test_over_ssh(toy: Toy) -> None:
    """By password and by keyboard-interactive."""
    server = Server(toy, PamUsers(Users(), Pam(rita="from-pam")))
    try:
        server.connect("rita", "from-pam").close()
        transport = paramiko.Transport((server.host, server.port))
        transport.start_client(timeout=10)
        transport.auth_interactive("rita", lambda *_: ["from-pam"])
        transport.close()
        with pytest.raises(paramiko.AuthenticationException):
            server.connect("ada", "from-pam")
    finally:
        server.stop()


def test_what_is_missing_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package, the service's file; never PAM's own fallback."""

    def without(name: str) -> Any:
        raise ImportError(name)

    with monkeypatch.context() as patched:
        patched.setattr(pam.importlib, "import_module", without)
        with pytest.raises(ConfigError, match="pip install"):
            checker("sshd")
    monkeypatch.setattr(pam.importlib, "import_module", lambda name: None)
    for service in ("nothing", "../passwd", ""):
        with pytest.raises(ConfigError, match="there is no"):
            checker(service, tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("pam") is None or os.getuid() != 0 or not Path("/etc/pam.d/su").exists(),
    reason="needs python-pam, root, and the service su, which takes root for anyone",
)
def test_real_pam() -> None:
    """libpam itself: su takes root for anyone, login takes nobody without the right password."""
    assert checker("su")("root", "whatever")
    assert not checker("login")("root", "surely-not-this-one")
