"""Ports for programs that are told a number before they listen on it."""

from __future__ import annotations

from pathlib import Path
import random
import socket

_CHOOSE = random.SystemRandom()


def free_port() -> int:
    """A TCP port that nobody has, outside of those that the kernel gives to connections and to port 0 meanwhile."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = _CHOOSE.randrange(min(10_000, lowest // 2), lowest)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
