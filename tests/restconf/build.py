"""What the RESTCONF tests share: a served toy over TLS and a local socket, certificates, and raw HTTP on sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import datetime
import ipaddress
import json
import os
from pathlib import Path
import socket
import ssl
import time
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.core.sessions import User
from agent.restconf.listen import Local, Tcp, pem_files
from agent.restconf.server import Addresses, Server
from agent.usage import Client
from tests.toy.build import ADMIN, PASSWORDS, Toy, Users

JSON = "application/yang-data+json"
XML = "application/yang-data+xml"


class Accounts(Users):
    """The toy's users with an epoch, and a count of how often a password was really checked."""

    def __init__(self) -> None:
        super().__init__()
        self.passwords = dict(PASSWORDS)
        self.changes = 1
        self.checked = 0

    def epoch(self) -> int:
        return self.changes

    def password(self, user: str, password: str) -> User | None:
        self.checked += 1
        return self.user(user) if self.passwords.get(user) == password else None


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and localhost, and its key: PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "server.pem", folder / "server.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@dataclass
class Response:
    """One HTTP reply as it stood on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The first error of a JSON error document."""
        errors = self.json["ietf-restconf:errors"]["error"]
        assert isinstance(errors[0], dict)
        return errors[0]


class Wire:
    """HTTP by hand on a connected socket: what a well-behaved library would not send."""

    def __init__(self, opened: socket.socket, authorization: str | None) -> None:
        self.socket = opened
        self.socket.settimeout(20.0)
        self._authorization = authorization
        self._waiting = b""

    def head(self, method: str, path: str, headers: dict[str, str] | None = None, version: str = "1.1") -> bytes:
        fields = {"Host": "localhost"}
        if self._authorization is not None:
            fields["Authorization"] = self._authorization
        fields.update(headers or {})
        lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Response:
        """One request and its reply."""
        fields = dict(headers or {})
        if body is not None:
            fields.setdefault("Content-Length", str(len(body)))
            fields.setdefault("Content-Type", JSON)
        self.socket.sendall(self.head(method, path, fields) + (body or b""))
        return self.reply(method)

    def reply(self, method: str = "GET") -> Response:
        head = self._until(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        status = int(start.split()[1])
        if method == "HEAD" or status == 204 or status < 200:
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        else:
            body = self._exactly(int(headers["content-length"]))
        return Response(status, headers, body)

    def closed(self) -> bool:
        """Whether the server closes the connection, without another byte."""
        if self._waiting:
            return False
        try:
            return self.socket.recv(1) == b""
        except (ConnectionResetError, ssl.SSLEOFError):
            return True

    def _chunks(self) -> bytes:
        parts = []
        while True:
            size = int(self._until(b"\r\n"), 16)
            parts.append(self._exactly(size))
            assert self._exactly(2) == b"\r\n"
            if size == 0:
                return b"".join(parts)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._waiting:
            self._more()
        found, _, self._waiting = self._waiting.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._waiting) < size:
            self._more()
        found, self._waiting = self._waiting[:size], self._waiting[size:]
        return found

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the server closed the connection in mid-reply")
        self._waiting += data


@dataclass
class Served:
    """A running server over a toy."""

    toy: Toy
    server: Server
    addresses: Addresses
    accounts: Accounts
    certificate: Path
    local_user: dict[str, User | None]

    def remote(self, user: str = "ada", password: str | None = None) -> Client:
        """The project's own client over TLS."""
        assert self.addresses.tcp is not None
        host, port = self.addresses.tcp
        secret = PASSWORDS[user] if password is None else password
        return Client.remote(f"https://{host}:{port}", user, secret, self.certificate)

    def local(self) -> Client:
        assert self.addresses.local is not None
        return Client.local(self.addresses.local)

    @contextmanager
    def tls(self, authorization: str | None = "Basic YWRhOmFkYS1zZWNyZXQ=", **options: Any) -> Iterator[Wire]:
        """A TLS connection; by default as ada."""
        assert self.addresses.tcp is not None
        context = ssl.create_default_context(cafile=str(self.certificate))
        for name, value in options.items():
            setattr(context, name, value)
        with (
            socket.create_connection(self.addresses.tcp) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as opened,
        ):
            yield Wire(opened, authorization)

    @contextmanager
    def unix(self) -> Iterator[Wire]:
        """A connection to the local socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
            opened.connect(os.fspath(self.addresses.local or ""))
            yield Wire(opened, None)


@contextmanager
def serve(folder: Path, pem: tuple[Path, Path], **options: Any) -> Iterator[Served]:
    """A toy with a server on both listeners; `options` go to `Toy.open`."""
    accounts = Accounts()
    who: dict[str, User | None] = {"user": ADMIN}
    with Toy.open(**options) as toy:
        server = Server(
            toy.dispatch,
            accounts,
            tcp=Tcp("127.0.0.1", 0, pem_files(*pem)),
            local=Local(folder / "sock", lambda uid: who["user"]),
        )
        addresses = server.start()
        try:
            yield Served(toy, server, addresses, accounts, pem[0], who)
        finally:
            server.stop()


def eventually(check: Any, seconds: float = 5.0) -> bool:
    """Whether `check()` becomes true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.01)
    return bool(check())
