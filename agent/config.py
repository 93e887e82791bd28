"""How one run of the agent is set up: plain values read from the command line; no files are opened here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NETCONF_PORT = 830
RESTCONF_PORT = 443


class ConfigError(ValueError):
    """The command line does not make sense; the message says what would."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 lets the kernel choose; an empty host means all addresses."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, name: str) -> Address:
        """Read `HOST:PORT`, with an IPv6 host in brackets. Raises ConfigError; `name` is what it calls the option."""
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ConfigError(f"{name}: write an IPv6 address in brackets, as in [::1]:{NETCONF_PORT}, not {text!r}")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ConfigError(f"{name}: expected HOST:PORT with a port of 0 to 65535, not {text!r}")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run on one state folder."""

    state_dir: Path
    netconf: Address = Address("", NETCONF_PORT)
    restconf: Address = Address("", RESTCONF_PORT)
    socket: Path | None = None
    """Where the local socket is bound; None means `agent.sock` in the state folder, which only its owner can enter."""
    socket_group: str | None = None
    netconf_socket: Path | None = None
    """Where local users reach NETCONF (`netconf-subsystem`); None opens no such socket."""
    pam: str | None = None
    """The PAM service that judges passwords over SSH which are no account's; None asks no PAM."""
    lab_clock_rate: float | None = None
    lab_clock_start: float | None = None
    files: Path | None = None
    """The folder that `flash:NAME`, `bootflash:NAME` and NAME lead to; None means `flash` in the state folder."""
    startup: bool = False
    """Whether there is a startup datastore, from which each start takes the running configuration."""
    yang: tuple[Path, ...] = ()
    """Files with modules of the site, which are implemented beside the agent's own."""
    yang_path: tuple[Path, ...] = ()
    """Folders where what they import is looked for."""
