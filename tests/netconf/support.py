"""A running NETCONF server over the toy core, and a client that sends exactly the octets it is told to.

The client stands on paramiko and decodes frames by itself, so that neither our framing nor our SSH library judges
itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import socket
import time
from typing import Any

from lxml import etree
import paramiko

from agent.core.sessions import Authenticator
from agent.netconf.serving import Serving
from agent.netconf.settings import Limits, ServerSettings
from agent.netconf.thread import LoopThread
from agent.restconf.listen import bind_tcp
from agent.ssh.keys import new_host_key
from agent.ssh.server import SshServer
from tests.toy.build import PASSWORDS, Toy, Users

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
TOY = "urn:example:toy"
MORE = "urn:example:toy-more"
HELLO_10 = (
    f'<hello xmlns="{NC}"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability>'
    "</capabilities></hello>]]>]]>"
).encode()
HELLO_11 = HELLO_10.replace(b"base:1.0</c", b"base:1.1</c")
WAIT = 30.0
"""Seconds that a busy machine may take for what is done at once."""
HOST_KEY = new_host_key()


class Server:
    """The toy behind SSH on a port that the kernel chose."""

    def __init__(
        self, toy: Toy, users: Authenticator | None = None, limits: Limits | None = None, **options: Any
    ) -> None:
        self.toy = toy
        self.users = users or Users()
        self.ssh = SshServer(Serving(toy.dispatch, limits=limits), self.users, [HOST_KEY], **options)
        self.thread = LoopThread()
        self.thread.start()
        bound = bind_tcp("127.0.0.1", 0)
        self.host, self.port = bound.getsockname()
        self.thread.call(self.ssh.listen(bound))

    def stop(self) -> None:
        if self.thread.running:
            self.thread.call(self.ssh.stop())
            self.thread.end()

    def configure(self, settings: ServerSettings) -> None:
        async def take() -> None:
            self.ssh.configure(settings)

        self.thread.call(take())

    @contextmanager
    def client(self, hello: bytes | None = HELLO_11, user: str = "ada") -> Iterator[Client]:
        connection = self.connect(user)
        try:
            client = Client(connection)
            if hello is not None:
                client.greet(hello)
            yield client
        finally:
            connection.close()

    def connect(self, user: str = "ada", password: str | None = None, **login: Any) -> paramiko.Transport:
        transport = paramiko.Transport(socket.create_connection((self.host, self.port), WAIT))
        transport.banner_timeout = transport.auth_timeout = WAIT
        try:
            if not login:
                login = {"password": PASSWORDS[user] if password is None else password}
            transport.connect(username=user, **login)
        except BaseException:
            transport.close()
            raise
        return transport


class Client:
    """One netconf channel."""

    def __init__(self, connection: paramiko.Transport) -> None:
        self.connection = connection
        self.channel = connection.open_session(timeout=WAIT)
        self.channel.settimeout(WAIT)
        self.channel.invoke_subsystem("netconf")
        self._input = b""
        self._number = 100
        self.chunked = False
        self.session_id = 0
        self.capabilities: list[str] = []

    def greet(self, hello: bytes) -> None:
        self.read_hello()
        self.send(hello)
        self.chunked = b"base:1.1" in hello

    def read_hello(self) -> etree._Element:
        root = etree.fromstring(self._until(b"]]>]]>"))
        self.session_id = int(root.findtext(f"{{{NC}}}session-id") or 0)
        self.capabilities = [one.text or "" for one in root.iter(f"{{{NC}}}capability")]
        return root

    def send(self, data: bytes) -> None:
        self.channel.sendall(data)

    def frame(self, message: bytes) -> bytes:
        return b"\n#%d\n%s\n##\n" % (len(message), message) if self.chunked else message + b"]]>]]>"

    def send_message(self, message: bytes) -> None:
        self.send(self.frame(message))

    def read_message(self) -> bytes:
        """The next message; raises EOFError where the server has closed the channel."""
        if not self.chunked:
            return self._until(b"]]>]]>")
        message = b""
        while True:
            header = self._until(b"\n", start=2)
            assert header.startswith(b"\n#"), header
            if header == b"\n##":
                return message
            assert header[2:3] in b"123456789", header
            message += self._take(int(header[2:]))

    def reply(self) -> etree._Element:
        return etree.fromstring(self.read_message(), etree.XMLParser(huge_tree=True))

    def rpc(self, operation: str, attributes: str = "") -> etree._Element:
        """Send one operation (in the NETCONF namespace unless it says otherwise) and give back its reply."""
        self._number += 1
        self.send_message(f'<rpc xmlns="{NC}" message-id="{self._number}"{attributes}>{operation}</rpc>'.encode())
        reply = self.reply()
        assert reply.get("message-id") == str(self._number)
        return reply

    def closed(self) -> bool:
        """Whether the server closes the channel now, without saying anything more."""
        try:
            return self.channel.recv(1) == b"" and not self._input
        except TimeoutError:
            return False

    def _take(self, size: int) -> bytes:
        while len(self._input) < size:
            more = self.channel.recv(1 << 20)
            if not more:
                raise EOFError(f"the server closed the channel; before that: {self._input!r}")
            self._input += more
        taken, self._input = self._input[:size], self._input[size:]
        return taken

    def _until(self, mark: bytes, start: int = 0) -> bytes:
        while (end := self._input.find(mark, start)) < 0:
            more = self.channel.recv(1 << 20)
            if not more:
                raise EOFError(f"the server closed the channel; before that: {self._input!r}")
            self._input += more
        taken, self._input = self._input[:end], self._input[end + len(mark) :]
        return taken


def until(condition: Any, seconds: float = WAIT) -> bool:
    """Wait for something that another thread brings about."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_ok(reply: etree._Element) -> bool:
    """An rpc-reply with nothing but <ok/>, both in the NETCONF namespace."""
    return reply.tag == f"{{{NC}}}rpc-reply" and [one.tag for one in reply] == [f"{{{NC}}}ok"]


def errors(reply: etree._Element) -> list[dict[str, Any]]:
    """The rpc-errors of a reply that holds nothing else; error-info as pairs of full tag and text."""
    assert reply.tag == f"{{{NC}}}rpc-reply"
    found = []
    for one in reply:
        assert one.tag == f"{{{NC}}}rpc-error", one.tag
        assert one.findtext(f"{{{NC}}}error-severity") == "error"
        info = one.find(f"{{{NC}}}error-info")
        found.append(
            {
                "type": one.findtext(f"{{{NC}}}error-type"),
                "tag": one.findtext(f"{{{NC}}}error-tag"),
                "app-tag": one.findtext(f"{{{NC}}}error-app-tag"),
                "path": one.find(f"{{{NC}}}error-path"),
                "message": one.findtext(f"{{{NC}}}error-message"),
                "info": {} if info is None else {str(each.tag).removeprefix(f"{{{NC}}}"): each.text for each in info},
            }
        )
    assert found
    return found


def error(reply: etree._Element) -> dict[str, Any]:
    """The only rpc-error of a reply."""
    (only,) = errors(reply)
    return only
