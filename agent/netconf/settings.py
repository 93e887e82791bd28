"""What the NETCONF server is configured with, as plain values that all transports share. Nothing is done here.

Names and defaults are those of /slp-agent:netconf-server; `northbound.servers` reads them from the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agent.netconf.framing import MESSAGE_LIMIT

Transport = Literal["ssh", "tls"]


@dataclass(frozen=True, slots=True)
class Listen:
    """One address to listen on."""

    name: str
    transport: Transport
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class SshAccess:
    """How clients log in over SSH, besides the keys that each user has.

    `trusted_keys` are authorities of OpenSSH user certificates, as lines of an authorized_keys file. A certificate is
    good for the user whose name is one of its principals, or who has one of them in `principals`.
    """

    trusted_keys: tuple[str, ...] = ()
    principals: Mapping[str, frozenset[str]] = field(default_factory=dict)
    passwords: bool = True


@dataclass(frozen=True, slots=True)
class CertMap:
    """How a client certificate becomes a user name (RFC 7407, list cert-to-name). `name` is for "specified" alone."""

    id: int
    fingerprint: str
    map_type: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class TlsAccess:
    """How clients log in over TLS: PEM certificates that theirs must lead to, and maps to user names."""

    trust_anchors: tuple[str, ...] = ()
    maps: tuple[CertMap, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of a client that is called."""

    name: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class CallHome:
    """A client that the device calls (RFC 8071). Times are in seconds.

    Without a `period` the connection is meant to stand always. `anchor` is in epoch seconds.
    """

    name: str
    transport: Transport
    endpoints: tuple[Endpoint, ...]
    period: float | None = None
    anchor: float | None = None
    idle_time: float | None = None
    start_with: Literal["first-listed", "last-connected", "random-selection"] = "first-listed"
    max_wait: float = 5
    attempts: int = 3
    longest_delay: float = 60


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, sessions and octets, for whoever connects from now on. An idle time of 0 is none."""

    login_time: float = 30
    hello_time: float = 30
    idle_time: float = 0
    sessions: int = 1024
    sessions_per_user: int = 256
    message_size: int = MESSAGE_LIMIT


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The whole of it."""

    listen: tuple[Listen, ...] = ()
    ssh: SshAccess = SshAccess()
    tls: TlsAccess = TlsAccess()
    limits: Limits = Limits()
    call_home: tuple[CallHome, ...] = ()


class Listener(Protocol):
    """Where a transport takes connections; only that transport knows more of it."""

    def close(self) -> None: ...


class SettingsError(ValueError):
    """The server cannot work with a setting; the message says which, and what would do.

    `where` leads to it from /netconf-server: names of nodes, after that of a list the place of the entry, from 0.
    """

    def __init__(self, message: str, *where: str | int) -> None:
        super().__init__(message)
        self.where = where
