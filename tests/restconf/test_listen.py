"""Opening the listeners: what goes wrong there is said before anything is served."""

from __future__ import annotations

import grp
import os
from pathlib import Path
import socket
import stat

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
import pytest

from agent.restconf.auth import local_user
from agent.restconf.listen import ListenError, Local, Tcp, bind_local, bind_tcp, pem_files, tls_context
from agent.restconf.server import Server
from tests.restconf.build import Accounts, Served, eventually
from tests.toy.build import Toy


def tcp(pem: tuple[Path, Path], host: str = "127.0.0.1", port: int = 0) -> Tcp:
    return Tcp(host, port, pem_files(*pem))


def test_port_in_use(pem: tuple[Path, Path], tmp_path: Path) -> None:
    """A port that is taken: said so, nothing stays open, and nothing is left on disk."""
    with socket.create_server(("127.0.0.1", 0)) as taken, Toy.open() as toy:
        port = taken.getsockname()[1]
        local = Local(tmp_path / "sock", local_user)
        server = Server(toy.dispatch, Accounts(), tcp=tcp(pem, port=port), local=local)
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{port}.*another program holds the port"):
            server.start()
        assert not local.path.exists()
        server.stop()


def test_all_addresses() -> None:
    with bind_tcp("", 0) as opened:
        port = opened.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("host", ["192.0.2.55", "no-such-host.invalid", "x" * 300])
def test_foreign_addresses(host: str) -> None:
    with pytest.raises(ListenError, match="RESTCONF cannot listen on"):
        bind_tcp(host, 0)


def test_port_out_of_range() -> None:
    with pytest.raises(ListenError, match=r"NETCONF cannot listen on .*ports are 0 to 65535"):
        bind_tcp("127.0.0.1", 70000, "NETCONF")


def test_bad_certificates(pem: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = pem
    other = tmp_path / "other.key"
    private = ec.generate_private_key(ec.SECP256R1())

    def write(protection: serialization.KeySerializationEncryption) -> None:
        form = serialization.PrivateFormat.PKCS8
        other.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, protection))

    for chosen in ((certificate, tmp_path / "none"), (tmp_path / "none", key), (key, certificate)):
        with pytest.raises(ListenError, match="PEM files"):
            tls_context(Tcp("127.0.0.1", 0, pem_files(*chosen)))
    write(serialization.NoEncryption())
    with pytest.raises(ListenError, match="PEM files"):
        tls_context(Tcp("127.0.0.1", 0, pem_files(certificate, other)))
    write(serialization.BestAvailableEncryption(b"passphrase"))
    with pytest.raises(ListenError, match="passphrase"):
        tls_context(Tcp("127.0.0.1", 0, pem_files(certificate, other)))


def test_local_socket_rights(tmp_path: Path) -> None:
    """Design (Security baseline): mode 0660 from the start, with the group that was asked for."""
    group = grp.getgrgid(os.getgid()).gr_name
    path = tmp_path / "sock"
    with bind_local(Local(path, local_user, group)):
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert found.st_gid == os.getgid()
    with pytest.raises(ListenError, match="no-such-group does not exist"):
        bind_local(Local(tmp_path / "other", local_user, "no-such-group"))
    assert not (tmp_path / "other").exists()


def test_local_socket_left_behind(tmp_path: Path) -> None:
    """A dead one is replaced, a live one and any other file are not touched."""
    path = tmp_path / "sock"
    bind_local(Local(path, local_user)).close()
    assert path.exists()
    with bind_local(Local(path, local_user)), pytest.raises(ListenError, match="another process listens"):
        bind_local(Local(path, local_user))
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(ListenError, match="not a socket"):
        bind_local(Local(file, local_user))
    assert file.read_text() == "precious"


def test_local_socket_paths(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="107 bytes"):
        bind_local(Local(tmp_path / ("x" * 120), local_user))
    with pytest.raises(ListenError, match="No such file"):
        bind_local(Local(tmp_path / "none" / "sock", local_user))


def test_only_one_listener(pem: tuple[Path, Path], tmp_path: Path) -> None:
    with Toy.open() as toy:
        with pytest.raises(ValueError, match="at least one"):
            Server(toy.dispatch, Accounts())
        server = Server(toy.dispatch, Accounts(), tcp=tcp(pem))
        addresses = server.start()
        assert addresses.local is None
        server.stop()
        server.stop()
        server = Server(toy.dispatch, Accounts(), local=Local(tmp_path / "sock", local_user))
        addresses = server.start()
        assert (addresses.tcp, addresses.local) == (None, tmp_path / "sock")
        server.stop()


@pytest.mark.parametrize("way", ["idle", "replied"])
def test_nodelay(served: Served, way: str) -> None:
    """Small replies are not held back: accepted TCP connections have TCP_NODELAY."""
    with served.tls() as wire:
        if way == "replied":
            assert wire.ask("GET", "/restconf").status == 200
        gate = served.server._gates[0]
        assert eventually(lambda: len(gate) == 1)
        (transport,) = gate._open
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
