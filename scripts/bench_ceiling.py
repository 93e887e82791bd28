"""The ceiling of `scripts/bench netconf`: what asyncssh alone allows. No XML is read; replies are prepared octets.

Arguments: host key file, file with the reply to the list, file with the reply to all other reads. Everybody who has a
key may come in. Prints its port as one line, and serves until its input ends.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
import sys

import asyncssh
from bench_clients import END, HELLO
import uvloop

NC = b'xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"'
OK = b'<rpc-reply %b message-id="1"><ok/></rpc-reply>' % NC
OK = b"\n#%d\n%b%b" % (len(OK), OK, END)
LIST, SMALL = (Path(name).read_bytes() for name in sys.argv[2:4])


class Server(asyncssh.SSHServer):
    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 - asyncssh's
        return True

    def session_requested(self) -> Session:
        return Session()


class Session(asyncssh.SSHServerSession[bytes]):
    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "netconf"

    def session_started(self) -> None:
        self._channel.write(HELLO.replace(b"</hello>", b"<session-id>1</session-id></hello>"))

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:  # noqa: ARG002 - asyncssh's
        *messages, self._received = (self._received + data).split(END)
        for message in messages:
            if b"close-session" in message:
                self._channel.write(OK)
                self._channel.exit(0)
                return
            written = b"<edit-config" in message or b"<commit" in message
            self._channel.write(OK if written else LIST if b"rum-reports-closed-keys" in message else SMALL)


async def main() -> None:
    acceptor = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, server_host_keys=[sys.argv[1]], encoding=None, line_editor=False,
        compression_algs=["none"], config=None,
    )  # fmt: skip
    print(acceptor.get_port(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncssh.set_log_level("ERROR")
uvloop.run(main())
