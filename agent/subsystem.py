"""The command `netconf-subsystem`: standard input and output on one end, the agent's local NETCONF socket on the other.

For sites where OpenSSH, with PAM and all that it knows, stands in front: `Subsystem netconf netconf-subsystem` in
sshd_config. It is started for each session as the user who logged in, so it loads nothing but the standard library, and
the agent asks the kernel who that user is.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import socket
import sys
import threading

SOCKET = "/run/slp-agent/netconf.sock"
PIECE = 64 * 1024


def main() -> None:
    """The console entry point."""
    parser = argparse.ArgumentParser(prog="netconf-subsystem", description="NETCONF on standard input and output.")
    default = os.environ.get("SLP_AGENT_NETCONF_SOCKET", SOCKET)
    parser.add_argument("--socket", default=default, metavar="PATH", help="the agent's local socket (%(default)s)")
    sys.exit(run(Path(parser.parse_args().socket)))


def run(path: Path) -> int:
    """Carry octets both ways until the agent ends the session; the exit code of the command."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(os.fspath(path))
    except OSError as error:
        sys.stderr.write(
            f"netconf-subsystem: cannot reach the agent at {path}: {error.strerror or error}; start it with "
            "slp-agent run --netconf-socket, and let your users open that socket\n"
        )
        return 1
    # a daemon: where the agent has ended the session, nobody waits for more input
    threading.Thread(target=_send, args=(connection,), daemon=True).start()
    try:
        while data := connection.recv(PIECE):
            _write(data)
    except ConnectionResetError:
        return 0  # the agent's end may overtake what it has not read
    except BrokenPipeError:
        return 1
    return 0


def _send(connection: socket.socket) -> None:
    try:
        while data := os.read(0, PIECE):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the session has ended, and the other direction knows it


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
