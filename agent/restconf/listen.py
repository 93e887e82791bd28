"""Binding the sockets that RESTCONF is served on: TCP with TLS settings, and the local Unix socket. No HTTP here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import contextlib
from dataclasses import dataclass
import errno
import grp
import os
from pathlib import Path
import socket
import ssl
import stat
from typing import cast

from agent.restconf.auth import LocalUser

BACKLOG = 256
HIGHEST_PORT = 65535
LOCAL_MODE = 0o660
LONGEST_LOCAL_PATH = 107
"""Bytes that a Unix socket address can hold on Linux."""


class ListenError(Exception):
    """A listener could not be opened; the message says which one, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TLS listener. `host` "" means all addresses, `port` 0 one that the kernel chooses.

    `load` gives a context certificate and key, which may be sealed on disk; see `pem_files`.
    """

    host: str
    port: int
    load: Callable[[ssl.SSLContext], None]


@dataclass(frozen=True, slots=True)
class Local:
    """A Unix socket with mode 0660. `group` is a group's name; `user` maps the peer's user id."""

    path: Path
    user: LocalUser
    group: str | None = None


def tls_context(listener: Tcp) -> ssl.SSLContext:
    """A server context for TLS 1.2 and later. Raises what `load` raises."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    listener.load(context)
    return context


def pem_files(certificate: Path, key: Path) -> Callable[[ssl.SSLContext], None]:
    """Loads two PEM files; raises ListenError where they cannot be used."""

    def load(context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(certificate, key, password=_no_passphrase)
        except (OSError, ssl.SSLError, ValueError) as error:
            files = f"certificate {certificate} and key {key}"
            raise ListenError(f"RESTCONF cannot use {files}: {error}; give two PEM files that fit") from None

    return load


def _no_passphrase() -> str:
    raise ValueError("the key is protected by a passphrase")  # else OpenSSL would ask for it at the terminal


def bind_tcp(host: str, port: int, name: str = "RESTCONF", leaving: Sequence[socket.socket] = ()) -> socket.socket:
    """A listening TCP socket; `name` is what messages call the service.

    `leaving` are listening sockets of ours that are to be closed when this one is there: they do not stand in its way.
    Raises ListenError, whose cause is the system's error where there was one.
    """
    where = f"{name} cannot listen on {host or '*'}:{port}"
    if not 0 <= port <= HIGHEST_PORT:
        raise ListenError(f"{where}: ports are 0 to {HIGHEST_PORT}")
    problem: OSError | None = None
    for family, address in _addresses(host, port, where):
        try:
            # named as TCP: the event loop sets TCP_NODELAY only then, without which a small reply waits 40 ms
            opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except OSError as error:  # a kernel without that family
            problem = error
            continue
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(host))
            with _shared(opened, *leaving):
                opened.bind(address)
                opened.listen(BACKLOG)
            opened.setblocking(False)
        except OSError as error:
            opened.close()
            problem = error
            continue
        return opened
    assert problem is not None
    raise ListenError(f"{where}: {problem.strerror}; {_advice(problem)}") from problem


@contextlib.contextmanager
def _shared(*sockets: socket.socket) -> Iterator[None]:
    """Let one of the sockets listen where the others do, for this moment; where the system has no such thing, not."""
    option = getattr(socket, "SO_REUSEPORT", None)
    sharing = sockets if option is not None and len(sockets) > 1 else ()
    try:
        for one in sharing:
            one.setsockopt(socket.SOL_SOCKET, option or 0, 1)
        yield
    finally:
        # not for longer: another process of the same user could take connections of ours
        for one in sharing:
            one.setsockopt(socket.SOL_SOCKET, option or 0, 0)


_SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""As the socket module has it; that of IPv6 ends with flow information and the zone of a link-local address."""


def _addresses(host: str, port: int, where: str) -> list[tuple[socket.AddressFamily, _SocketAddress]]:
    if not host:
        return [(socket.AF_INET6, ("::", port)), (socket.AF_INET, ("0.0.0.0", port))]  # noqa: S104
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        raise ListenError(f"{where}: {error}; give HOST:PORT of this machine") from None
    return [(family, cast(_SocketAddress, address)) for family, _, _, _, address in found]


def _advice(problem: OSError) -> str:
    match problem.errno:
        case errno.EADDRINUSE:
            return "another program holds the port: stop it, or choose another port"
        case errno.EACCES:
            return "ports below 1024 need privileges: choose a higher port, or grant CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address"
    return "choose another address or port"


def bind_local(listener: Local) -> socket.socket:
    """A listening Unix socket; one that was left behind by a dead process is replaced. Raises ListenError."""
    path = listener.path
    if len(os.fsencode(path)) > LONGEST_LOCAL_PATH:
        raise ListenError(f"the local socket's path is over {LONGEST_LOCAL_PATH} bytes: {path}; choose a shorter one")
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        opened.bind(os.fspath(path))
        # nobody can connect before listen(): there is no moment with wider rights
        path.chmod(LOCAL_MODE)
        if listener.group is not None:
            os.chown(path, -1, grp.getgrnam(listener.group).gr_gid)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except KeyError:
        opened.close()
        path.unlink(missing_ok=True)
        raise ListenError(f"the local socket's group {listener.group} does not exist: create it") from None
    except OSError as error:
        opened.close()
        raise ListenError(f"cannot listen on the local socket {path}: {error.strerror}") from None
    except ListenError:
        opened.close()
        raise
    return opened


def _clear(path: Path) -> None:
    """Remove a socket file that nobody listens on. Raises ListenError where it is something else, or alive."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"{path} exists and is not a socket: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
        except FileNotFoundError:
            return
    raise ListenError(f"another process listens on the local socket {path}: stop it first")
