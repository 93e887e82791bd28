"""Keys, certificates, keyboard-interactive: who gets in over SSH and how, with real keys and real clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
import os
from pathlib import Path
import shutil
import socket
import subprocess
import threading

import asyncssh
import paramiko
import pytest

from agent.core.sessions import User
from agent.netconf.limits import FAILURES
from agent.netconf.settings import ServerSettings, SettingsError, SshAccess
from agent.ssh.keys import fingerprint, new_host_key, public_line
from tests.netconf.support import HOST_KEY, WAIT, Client, Server, until
from tests.toy.build import Toy, Users

KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
STRANGER = asyncssh.generate_private_key("ssh-ed25519")
HELLO = "urn:ietf:params:netconf:base:1.1"


def line(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


def attempt(server: Server, user: str, **login: object) -> str:
    """Log in with asyncssh and read the hello; the signature algorithms are those of the defaults unless told."""

    async def go() -> str:
        options = {"known_hosts": None, "config": None, "agent_path": None, "client_keys": None, **login}
        async with asyncssh.connect(server.host, server.port, username=user, **options) as connection:  # type: ignore[arg-type]
            process = await connection.create_process(subsystem="netconf", encoding=None)
            hello = await process.stdout.readuntil(b"]]>]]>")
            return str(hello.decode())

    return asyncio.run(asyncio.wait_for(go(), WAIT))


@pytest.mark.parametrize("kind", KINDS)
def test_public_keys(server: Server, toy: Toy, kind: str) -> None:
    """Each kind of key that is current logs its user in, and nobody else's does."""
    mine, other = asyncssh.generate_private_key(kind), asyncssh.generate_private_key(kind)
    assert isinstance(server.users, Users)
    server.users.keys["rita"] = [line(mine)]
    assert HELLO in attempt(server, "rita", client_keys=[mine])
    for user, key in (("rita", other), ("ada", mine), ("nobody", mine)):
        with pytest.raises(asyncssh.PermissionDenied):
            attempt(server, user, client_keys=[key])


def test_rsa_keys_sign_with_sha2_only(server: Server) -> None:
    """The signature algorithm ssh-rsa is SHA-1: a client that knows no other does not get in."""
    key = asyncssh.generate_private_key("ssh-rsa", key_size=3072)
    assert isinstance(server.users, Users)
    server.users.keys["rita"] = [line(key)]
    for algorithm in ("rsa-sha2-256", "rsa-sha2-512"):
        assert HELLO in attempt(server, "rita", client_keys=[key], signature_algs=[algorithm, "ssh-ed25519"])
    with pytest.raises(asyncssh.PermissionDenied):
        attempt(server, "rita", client_keys=[key], signature_algs=["ssh-rsa", "ssh-ed25519"])


def test_certificates_signed_with_sha1(server: Server) -> None:
    """The same for the signature of an RSA authority; by SHA-2 it counts."""
    authority = asyncssh.generate_private_key("ssh-rsa", key_size=3072)
    server.configure(ServerSettings(ssh=SshAccess((line(authority),))))
    key = asyncssh.generate_private_key("ssh-ed25519")
    new = authority.generate_user_certificate(key, "new", principals=["ada"], sig_alg="rsa-sha2-256")
    assert HELLO in attempt(server, "ada", client_keys=[(key, new)])
    old = authority.generate_user_certificate(key, "old", principals=["ada"], sig_alg="ssh-rsa")
    with pytest.raises(asyncssh.PermissionDenied):
        attempt(server, "ada", client_keys=[(key, old)])


def test_keyboard_interactive(server: Server) -> None:
    """One question, whose answer is not shown; an answer too many or none logs nobody in."""
    seen: list[list[tuple[str, bool]]] = []

    def answers(*values: str) -> Callable[[str, str, list[tuple[str, bool]]], list[str]]:
        def handler(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
            seen.append(prompts)
            return list(values)

        return handler

    for values, good in ((("ada-secret",), True), (("wrong",), False), ((), False), (("ada-secret", "x"), False)):
        transport = paramiko.Transport((server.host, server.port))
        try:
            transport.start_client(timeout=WAIT)
            if good:
                transport.auth_interactive("ada", answers(*values))
                Client(transport).read_hello()
            else:
                with pytest.raises(paramiko.AuthenticationException):
                    transport.auth_interactive("ada", answers(*values))
        finally:
            transport.close()
    assert seen[0] == [("Password: ", False)]


def test_keyboard_interactive_counts_as_passwords_do(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Failures by either way are one count: the limit of one connection holds for both."""
    transport = paramiko.Transport((server.host, server.port))
    try:
        transport.start_client(timeout=WAIT)
        for _ in range(6):
            with pytest.raises(paramiko.AuthenticationException):
                transport.auth_interactive("ada", lambda *_: ["wrong"])
        with pytest.raises(paramiko.SSHException):
            transport.auth_password("ada", "ada-secret")
    finally:
        transport.close()


def test_passwords_can_be_turned_off(server: Server) -> None:
    """In effect for whoever connects next; keys go on working, and it can be turned on again."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    assert isinstance(server.users, Users)
    server.users.keys["ada"] = [line(key)]
    server.configure(ServerSettings(ssh=SshAccess(passwords=False)))
    transport = paramiko.Transport((server.host, server.port))
    try:
        transport.start_client(timeout=WAIT)
        with pytest.raises(paramiko.BadAuthenticationType) as caught:
            transport.auth_none("ada")
        assert caught.value.allowed_types == ["publickey"]
    finally:
        transport.close()
    assert HELLO in attempt(server, "ada", client_keys=[key])
    server.configure(ServerSettings())
    server.connect("ada").close()


# OpenSSH certificates


@pytest.fixture(scope="module")
def authority() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def certified(server: Server, authority: asyncssh.SSHKey) -> Callable[..., str]:
    """Trusts the authority, and logs in by a certificate that it issues; `mapped` are ada's further principals."""
    server.configure(
        ServerSettings(ssh=SshAccess((line(authority),), {"ada": frozenset({"operators", "ops@example.com"})}))
    )

    def login(user: str, principals: list[str], issuer: asyncssh.SSHKey = authority, **more: object) -> str:
        key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
        certificate = issuer.generate_user_certificate(key, "test", principals=principals, **more)  # type: ignore[arg-type]
        return attempt(server, user, client_keys=[(key, certificate)])

    return login


@pytest.mark.parametrize(
    ("user", "principals"),
    [("ada", ["ada"]), ("rita", ["x", "rita"]), ("ada", ["operators"]), ("ada", ["nobody", "ops@example.com"])],
)
def test_certificates(certified: Callable[..., str], toy: Toy, user: str, principals: list[str]) -> None:
    """The name of the user, or a principal that is configured for it."""
    assert HELLO in certified(user, principals)


@pytest.mark.parametrize(
    ("user", "principals"),
    [
        ("ada", ["rita"]),
        ("ada", []),
        ("rita", ["operators"]),
        ("nobody", ["nobody"]),
        ("*", ["ada"]),
        ("ada", ["*"]),
        ("ada", ["ada2"]),
        ("ad?", ["ada"]),
    ],
)
def test_certificates_of_others(certified: Callable[..., str], user: str, principals: list[str]) -> None:
    """A certificate for someone else, for nobody in particular, or for nobody known."""
    with pytest.raises(asyncssh.PermissionDenied):
        certified(user, principals)


def test_certificates_that_do_not_count(certified: Callable[..., str], authority: asyncssh.SSHKey) -> None:
    """Another issuer, expired, not yet valid, for other addresses, bound to a command, for hosts."""
    for more in (
        {"issuer": asyncssh.generate_private_key("ssh-ed25519")},
        {"valid_before": "20200101"},
        {"valid_after": "20400101"},
        {"source_address": ["192.0.2.0/24"]},
    ):
        with pytest.raises(asyncssh.PermissionDenied):
            certified("ada", ["ada"], **more)
    with pytest.raises((asyncssh.Error, asyncio.IncompleteReadError)):
        certified("ada", ["ada"], force_command="/bin/true")
    assert HELLO in certified("ada", ["ada"], source_address=["127.0.0.0/8"], valid_after="20200101")


def test_addresses_of_a_certificate_on_a_listener_of_both_families(
    server: Server, certified: Callable[..., str], toy: Toy
) -> None:
    """The peer is seen as ::ffff:127.0.0.1 there; what counts, and what is told of the session, is 127.0.0.1."""
    bound = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    server.port = bound.getsockname()[1]
    server.thread.call(server.ssh.listen(bound))
    assert HELLO in certified("ada", ["ada"], source_address=["127.0.0.0/8"])
    with pytest.raises(asyncssh.PermissionDenied):
        certified("ada", ["ada"], source_address=["192.0.2.0/24"])
    with server.client():
        assert [one.source_host for one in toy.dispatch.sessions.all()] == ["127.0.0.1"]


def test_a_host_certificate_logs_nobody_in(server: Server, authority: asyncssh.SSHKey) -> None:
    server.configure(ServerSettings(ssh=SshAccess((line(authority),))))
    key = asyncssh.generate_private_key("ssh-ed25519")
    certificate = authority.generate_host_certificate(key, "test", principals=["ada"])
    with pytest.raises(asyncssh.PermissionDenied):
        attempt(server, "ada", client_keys=[(key, certificate)])


def test_a_trusted_key_is_no_login(server: Server, authority: asyncssh.SSHKey) -> None:
    """The authority's own key logs nobody in, and trust that is taken back ends at once."""
    server.configure(ServerSettings(ssh=SshAccess((line(authority),))))
    with pytest.raises(asyncssh.PermissionDenied):
        attempt(server, "ada", client_keys=[authority])
    key = asyncssh.generate_private_key("ssh-ed25519")
    pair = (key, authority.generate_user_certificate(key, "test", principals=["ada"]))
    assert HELLO in attempt(server, "ada", client_keys=[pair])
    server.configure(ServerSettings())
    with pytest.raises(asyncssh.PermissionDenied):
        attempt(server, "ada", client_keys=[pair])


def test_trust_of_one_name_is_not_carried_to_another(server: Server, authority: asyncssh.SSHKey) -> None:
    """A connection that offers a certificate for a known user, then asks as another, gains nothing by it."""
    server.configure(ServerSettings(ssh=SshAccess((line(authority),), {"ada": frozenset({"operators"})})))
    key = asyncssh.generate_private_key("ssh-ed25519")
    assert isinstance(server.users, Users)
    server.users.keys["rita"] = [line(key)]
    pair = (key, authority.generate_user_certificate(key, "test", principals=["operators"]))
    assert HELLO in attempt(server, "rita", client_keys=[pair, key])
    server.users.keys.clear()
    with pytest.raises(asyncssh.PermissionDenied):
        attempt(server, "rita", client_keys=[pair, key])


def test_what_is_no_key_is_refused(server: Server) -> None:
    with pytest.raises(SettingsError, match=r"trusted-user-key.*not a public SSH key"):
        server.ssh.check(ServerSettings(ssh=SshAccess(("ssh-ed25519 nonsense",))))


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client is installed")
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_openssh_with_a_certificate(server: Server, tmp_path: Path, kind: str) -> None:
    """OpenSSH's own ssh-keygen makes authority, key and certificate, and its client logs in with them."""

    def keygen(*words: str | Path) -> None:
        subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, capture_output=True)

    authority, key = tmp_path / "ca", tmp_path / "id"
    keygen("-t", "ed25519", "-N", "", "-f", authority)
    keygen("-t", kind, "-N", "", "-f", key)
    keygen("-s", authority, "-I", "somebody", "-n", "operators", "-V", "+1d", f"{key}.pub")
    public = authority.with_suffix(".pub").read_text().strip()
    server.configure(ServerSettings(ssh=SshAccess((public,), {"ada": frozenset({"operators"})})))
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
    words = ["ssh", "-F", "none", *(f"-o{one}" for one in options), "-i", str(key), "-p", str(server.port)]
    done = subprocess.run(
        [*words, "-s", f"ada@{server.host}", "netconf"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=2 * WAIT,
        check=False,
        env={**os.environ, "SSH_AUTH_SOCK": ""},
    )
    assert HELLO.encode() in done.stdout, done.stderr.decode()


# What the log says of refusals


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [one.getMessage() for one in caplog.records if one.name == "agent.ssh.connection"]
    caplog.clear()
    return [one for one in lines if "refused: " in one]


def test_a_refused_key_is_logged_with_its_reason(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """User, source, fingerprint, why; what is only asked for and what is signed alike."""
    listed, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    assert isinstance(server.users, Users)
    server.users.keys["rita"] = [line(listed)]
    by = f"from 127.0.0.1 by key {other.get_fingerprint()} refused:"
    for user, why in (("rita", "it is none of the user's keys"), ("nobody", "there is no such user")):
        with pytest.raises(asyncssh.PermissionDenied):
            attempt(server, user, client_keys=[other])
        assert refusals(caplog) == [f"login of '{user}' {by} {why}"]
    assert HELLO in attempt(server, "rita", client_keys=[listed])
    assert refusals(caplog) == []


@pytest.mark.parametrize(
    ("user", "principals", "more", "why"),
    [
        ("ada", ["rita", "x"], {}, "its principals 'rita, x' do not fit the user"),
        ("ada", [], {}, "it names no principal"),
        ("nobody", ["nobody"], {}, "there is no such user"),
        ("ada", ["ada"], {"issuer": STRANGER}, "its authority {stranger} is not trusted"),
        ("ada", ["ada"], {"valid_before": "20200101"}, "it expired at 20"),
        ("ada", ["ada"], {"valid_after": "20400101"}, "it is valid from 20"),
        ("ada", ["ada"], {"source_address": ["192.0.2.0/24"]}, "it is not for this source address"),
    ],
)
def test_a_refused_certificate_is_logged_with_its_reason(
    certified: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    user: str,
    principals: list[str],
    more: dict[str, object],
    why: str,
) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        certified(user, principals, **more)
    told, why = refusals(caplog), why.format(stranger=STRANGER.get_fingerprint())
    assert told[0].startswith(f"login of '{user}' from 127.0.0.1 by certificate 'test', serial 0, refused: {why}")


def test_refused_keys_do_not_fill_the_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(6)]
    for _ in range(3):
        with pytest.raises(asyncssh.Error):
            attempt(server, "ada", client_keys=keys)
    told = refusals(caplog)
    assert len(told) == 10
    assert told[-1].endswith("; further ones from there are not logged for a while")


# Host keys


def shown(server: Server) -> str:
    """The fingerprint of the host key that a new connection is shown."""
    transport = paramiko.Transport((server.host, server.port))
    try:
        transport.start_client(timeout=WAIT)
        key = transport.get_remote_server_key()
        return fingerprint(f"{key.get_name()} {key.get_base64()}")
    finally:
        transport.close()


def test_the_host_key_changes_without_a_restart(server: Server, toy: Toy) -> None:
    """Connections that stand live on, over a change of session keys too; new ones are shown the new key."""
    with server.client() as client:
        assert shown(server) == fingerprint(HOST_KEY)
        new = new_host_key()

        async def change() -> None:
            server.ssh.use_host_keys([new])

        server.thread.call(change())
        assert shown(server) == fingerprint(public_line(new))
        client.connection.renegotiate_keys()
        assert client.rpc("<get><filter/></get>")[0].tag.endswith("}data")
    assert until(lambda: toy.dispatch.sessions.all() == ())


class Slow(Users):
    """Checks no password until it is told to, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.begun = 0

    def password(self, user: str, password: str) -> User | None:
        self.begun += 1
        assert self.go.wait(WAIT)
        return super().password(user, password)


@pytest.fixture
def slow(toy: Toy) -> Iterator[Server]:
    made = Server(toy, Slow())
    yield made
    assert isinstance(made.users, Slow)
    made.users.go.set()
    made.stop()


async def guess(server: Server) -> bool:
    """Whether a wrong password was refused, in however many words."""
    login = {"known_hosts": None, "config": None, "agent_path": None, "client_keys": None}
    try:
        async with asyncssh.connect(server.host, server.port, username="ada", password="wrong", **login):  # type: ignore[arg-type]
            return False
    except (asyncssh.Error, OSError):
        return True


def test_keys_do_not_wait_for_passwords(slow: Server) -> None:
    """While a directory thinks about more passwords than there are threads, a key logs in."""
    assert isinstance(slow.users, Slow)
    key = asyncssh.generate_private_key("ssh-ed25519")
    slow.users.keys["rita"] = [line(key)]

    async def go() -> None:
        guesses = [asyncio.ensure_future(guess(slow)) for _ in range(6)]
        assert await asyncio.to_thread(until, lambda: slow.users.begun == 2)
        assert HELLO in await asyncio.to_thread(attempt, slow, "rita", client_keys=[key])
        slow.users.go.set()
        assert all(await asyncio.gather(*guesses))

    asyncio.run(go())


def test_a_burst_of_guesses(slow: Server) -> None:
    """Together they are no more than the limit."""
    assert isinstance(slow.users, Slow)

    def asked() -> int:
        return sum(one._attempts for one in tuple(slow.ssh._shared.connections))

    async def go() -> None:
        guesses = [asyncio.ensure_future(guess(slow)) for _ in range(3 * FAILURES)]
        assert await asyncio.to_thread(until, lambda: asked() == 3 * FAILURES)
        slow.users.go.set()
        assert all(await asyncio.gather(*guesses))

    asyncio.run(go())
    assert slow.users.begun == FAILURES
