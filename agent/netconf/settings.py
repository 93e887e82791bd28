"""What the NETCONF server is configured with, as plain values that all transports share. Nothing is done here.

Names and defaults are those of /slp-agent:netconf-server; `northbound.servers` reads them from the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Transport = Literal["ssh"]


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
class ServerSettings:
    """The whole of it."""

    listen: tuple[Listen, ...] = ()
    ssh: SshAccess = SshAccess()


class Listener(Protocol):
    """Where a transport takes connections; only that transport knows more of it."""

    def close(self) -> None: ...


class SettingsError(ValueError):
    """The server cannot work with a setting; the message says which, and what would do."""
