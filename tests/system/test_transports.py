"""The NETCONF server's own settings on a running device: addresses, certificates, host keys, all without a restart."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

from tests.netconf.pki import email, root
from tests.netconf.support import HELLO_11
from tests.ports import free_port
from tests.system.driven import configure
from tests.system.kit import BIN, NC, PASSWORD, Device

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client is installed")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with an authority `ca` and a key `id`, whose certificate names the principal `operators`."""
    for words in (
        ("-t", "ed25519", "-N", "", "-f", "ca"),
        ("-t", "ed25519", "-N", "", "-f", "id"),
        ("-s", "ca", "-I", "test", "-n", "operators", "id.pub"),
    ):
        subprocess.run(["ssh-keygen", "-q", *words], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def openssh(port: int, keys: Path, user: str = "admin") -> subprocess.CompletedProcess[str]:
    """`ssh -s netconf` with standard input at its end."""
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", f"UserKnownHostsFile={keys}/known", "IdentitiesOnly=yes")
    words = ["ssh", "-F", "none", *(f"-o{one}" for one in options), "-i", str(keys / "id"), "-p", str(port)]
    environment = {**os.environ, "SSH_AUTH_SOCK": ""}
    return subprocess.run(
        [*words, "-s", f"{user}@127.0.0.1", "netconf"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False, env=environment,
    )  # fmt: skip


@pytest.fixture
def port(device: Device) -> Iterator[int]:
    """A second address of the device."""
    number = free_port()
    endpoint = "<endpoint{}><name>second</name>{}</endpoint>"
    rest = f"<transport>ssh</transport><address>127.0.0.1</address><port>{number}</port>"
    configure(device, f"<listen>{endpoint.format('', rest)}</listen>")
    yield number
    gone = f' xmlns:nc="{NC}" nc:operation="delete"'
    configure(device, f"<listen>{endpoint.format(gone, '')}</listen>")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number), 5)


def test_a_second_address_and_a_certificate(device: Device, keys: Path, port: int) -> None:
    """Nobody gets in by the certificate until its authority is trusted and its principal is the user's."""
    public = (keys / "ca.pub").read_text().strip()
    assert openssh(port, keys).returncode == 255
    trusted = f"<trusted-user-key><name>ca</name><public-key>{public}</public-key></trusted-user-key>"
    configure(device, f"<ssh>{trusted}</ssh>")
    assert openssh(port, keys).returncode == 255
    configure(device, "<ssh><user><name>admin</name><principal>operators</principal></user></ssh>")
    done = openssh(port, keys)
    assert "urn:ietf:params:netconf:base:1.1" in done.stdout, done.stderr
    assert openssh(port, keys, "reader").returncode == 255


def test_tls(device: Device, tmp_path: Path) -> None:
    """Configured by NETCONF from nothing; the client trusts the device's CA file, the device the client's issuer.

    The user has neither a password nor a key.
    """
    assert device.tool("user", "add", "lou", "--group", "reader", "--elsewhere").code == 0
    port = free_port()
    authority = root("Operators")
    admin = authority.issue("somebody", [email("admin@Example.com")])
    where = f"<transport>tls</transport><address>127.0.0.1</address><port>{port}</port>"
    anchor = f"<trust-anchor><name>ops</name><certificate>{authority.pem}</certificate></trust-anchor>"
    kinds = 'xmlns:x="urn:ietf:params:xml:ns:yang:ietf-x509-cert-to-name"'
    entry = f"<id>1</id><fingerprint>{authority.fingerprint}</fingerprint>"
    entry += f"<map-type {kinds}>x:specified</map-type><name>lou</name>"
    maps = f"<cert-maps><cert-to-name>{entry}</cert-to-name></cert-maps>"
    listen = f"<listen><endpoint><name>tls</name>{where}</endpoint></listen>"
    configure(device, f"{listen}<tls>{anchor}{maps}</tls>")
    context = ssl.create_default_context(cafile=str(device.ca))
    admin.load(context)
    raw = socket.create_connection(("127.0.0.1", port), 10)
    with context.wrap_socket(raw, server_hostname="127.0.0.1") as client:
        received = b""
        while b"]]>]]>" not in received:
            received += client.recv(65536)
        client.sendall(HELLO_11.replace(b"base:1.1", b"base:1.0"))
        wanted = '<filter><netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/>'
        get = f'<rpc xmlns="{NC}" message-id="1"><get>{wanted}</netconf-state></filter></get></rpc>]]>]]>'
        client.sendall(get.encode())
        received = b""
        while b"]]>]]>" not in received:
            received += client.recv(65536)
        # a removed user's session ends over TLS too
        assert device.tool("user", "remove", "lou").code == 0
        client.settimeout(15)
        assert client.recv(65536) == b""
    assert b":netconf-tls</transport><username>lou</username>" in received
    gone = f'<endpoint xmlns:nc="{NC}" nc:operation="delete"><name>tls</name></endpoint>'
    configure(device, f"<listen>{gone}</listen>")


NCCLIENT = """
import sys, time
from ncclient import manager
end = time.monotonic() + 75
while True:
    try:
        session = manager.call_home(
            host="127.0.0.1", port=int(sys.argv[1]), username="admin", password=sys.argv[2], hostkey_verify=False,
            look_for_keys=False, allow_agent=False, timeout=20,
        )
        break
    except OSError:  # its last connection still holds the port: a minute, if it was closed at this end first
        if time.monotonic() > end:
            raise
        time.sleep(0.1)
with session:
    print(session.session_id, session.get_config("running").ok)
"""


def test_call_home_to_ncclient(device: Device) -> None:
    """Its own listener, which is there only for a while each time; the device comes back to it each time."""
    port = free_port()
    endpoint = f"<endpoint><name>1</name><address>localhost</address><port>{port}</port></endpoint>"
    strategy = "<reconnect-strategy><longest-delay>1</longest-delay></reconnect-strategy>"
    inner = f"<name>nms</name><transport>ssh</transport>{endpoint}{strategy}"
    configure(device, f"<call-home><netconf-client>{inner}</netconf-client></call-home>")
    for _ in range(2):
        words = [sys.executable, "-W", "ignore", "-c", NCCLIENT, str(port), PASSWORD]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(" True\n")
    gone = f'<netconf-client xmlns:nc="{NC}" nc:operation="delete"><name>nms</name></netconf-client>'
    configure(device, f"<call-home>{gone}</call-home>")


def test_the_helper_for_other_ssh_servers(tmp_path: Path) -> None:
    """`netconf-subsystem` on pipes: the agent's own user is its administrator. The socket goes with the agent."""
    device = Device.make(tmp_path / "d")
    path = tmp_path / "n.sock"
    close = f'<rpc xmlns="{NC}" message-id="1"><close-session/></rpc>]]>]]>'.encode()
    hello = HELLO_11.replace(b"base:1.1", b"base:1.0")
    command = [BIN / "netconf-subsystem", "--socket", path]
    with device.running("--netconf-socket", str(path)):
        assert path.stat().st_mode & 0o777 == 0o660
        done = subprocess.run(command, input=hello + close, capture_output=True, timeout=30, check=False)
    assert not path.exists()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"<hello ")
    assert done.stdout.endswith(b"<ok/></rpc-reply>]]>]]>")


def test_settings_outlive_a_restart(tmp_path: Path) -> None:
    port = free_port()
    device = Device.make(tmp_path / "d")
    with device.running():
        endpoint = f"<transport>ssh</transport><address>127.0.0.1</address><port>{port}</port>"
        configure(device, f"<listen><endpoint><name>second</name>{endpoint}</endpoint></listen>")
    with device.running(), socket.create_connection(("127.0.0.1", port), 5) as opened:
        assert opened.recv(100).startswith(b"SSH-2.0-")


def test_a_new_host_key_on_sighup(device: Device, keys: Path) -> None:
    """The command makes it, SIGHUP shows it, a session that stands goes on."""
    host, port = device.address

    def fingerprint() -> str:
        scan = subprocess.run(
            ["ssh-keyscan", "-p", str(port), host], capture_output=True, text=True, timeout=30, check=True
        )
        shown = subprocess.run(
            ["ssh-keygen", "-lf", "-"], input=scan.stdout, capture_output=True, text=True, check=True
        )
        return str(re.findall(r"SHA256:\S+", shown.stdout)[0])

    with device.ncclient() as session:
        before = fingerprint()
        done = device.tool("host-key")
        (new,) = re.findall(r"SHA256:\S+", done.out)
        public = device.folder / "ssh_host_ed25519.pub"
        kept = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True)
        assert new in kept.stdout
        assert fingerprint() == before != new
        device.up.popen.send_signal(signal.SIGHUP)
        end = time.monotonic() + 10
        while (now := fingerprint()) == before and time.monotonic() < end:
            time.sleep(0.05)
        assert now == new
        assert session.get_config("running").ok
