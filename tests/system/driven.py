"""The agent that client libraries are driven against: startup and candidate, SSH, TLS, a local socket, keys."""

from __future__ import annotations

from pathlib import Path
import subprocess
from typing import Any

from tests.netconf.pki import email, root
from tests.ports import free_port
from tests.system.kit import CSL, NC, SLPA, Device

CUSTOM_ID = f'<licensing xmlns="{CSL}"><config><custom-id>%s</custom-id></config></licensing>'
CONFIG = f'<config xmlns="{NC}">{CUSTOM_ID}</config>'
ONLY_CONFIG = f'<licensing xmlns="{CSL}"><config/></licensing>'
PATH = "/csl:licensing/csl:config/csl:custom-id"
SPACES = {"csl": CSL}
UTILITY = f'<licensing xmlns="{CSL}"><config><utility/></config></licensing>'
"""Has a default: off."""
RECORD = f'<record-usage xmlns="{SLPA}"><license>voice-session</license><count>%d</count></record-usage>'
KEYS = {"ed25519": (), "ecdsa": ("-b", "384"), "rsa": ("-b", "2048")}
PHRASE = "a phrase for the key"


def configure(device: Device, inner: str) -> None:
    """Edit the NETCONF server's own settings."""
    with device.ncclient() as session:
        config = f'<config xmlns="{NC}"><netconf-server xmlns="{SLPA}">{inner}</netconf-server></config>'
        assert session.edit_config(target="running", config=config).ok


def custom_id(data: Any) -> str | None:
    """The leaf that most tests write, in an lxml element."""
    found = data.findtext(f".//{{{CSL}}}custom-id")
    return None if found is None else str(found)


class Driven(Device):
    """Everybody who gets in by a key or certificate is admin."""

    tls_port: int
    certificate: Path
    """The client's, with its key."""
    folder_of_keys: Path
    local: Path
    """The socket for netconf-subsystem."""

    @classmethod
    def build(cls, folder: Path) -> Driven:
        """Not running yet."""
        local = folder / "netconf.sock"
        made = cls.make(folder / "d", run=("--startup", "--netconf-socket", str(local)))
        assert isinstance(made, Driven)
        made.local, made.folder_of_keys, made.tls_port = local, folder, free_port()
        for kind, options in {**KEYS, "locked": ()}.items():
            phrase = PHRASE if kind == "locked" else ""
            words = ["-t", kind.replace("locked", "ed25519"), *options, "-N", phrase, "-f", str(made.key(kind))]
            subprocess.run(["ssh-keygen", "-q", *words], check=True, capture_output=True)
        keys = folder / "keys.pub"
        keys.write_text("".join(made.key(kind).with_suffix(".pub").read_text() for kind in (*KEYS, "locked")))
        assert made.tool("user", "key", "add", "admin", keys).code == 0
        return made

    def key(self, kind: str) -> Path:
        return self.folder_of_keys / f"id_{kind}"

    @property
    def file(self) -> Path:
        """What file:///kept.xml leads to."""
        return self.folder / "flash" / "kept.xml"

    def trust_certificates(self) -> None:
        """Listen for TLS, and take an authority's certificates for the user admin."""
        authority = root("Operators")
        issued = authority.issue("somebody", [email("somebody@example.com")])
        self.certificate = issued.write(self.folder_of_keys, "client")
        where = f"<transport>tls</transport><address>127.0.0.1</address><port>{self.tls_port}</port>"
        kinds = 'xmlns:x="urn:ietf:params:xml:ns:yang:ietf-x509-cert-to-name"'
        entry = f"<id>1</id><fingerprint>{authority.fingerprint}</fingerprint>"
        entry += f"<map-type {kinds}>x:specified</map-type><name>admin</name>"
        maps = f"<cert-maps><cert-to-name>{entry}</cert-to-name></cert-maps>"
        anchor = f"<trust-anchor><name>ops</name><certificate>{authority.pem}</certificate></trust-anchor>"
        listen = f"<listen><endpoint><name>tls</name>{where}</endpoint></listen>"
        configure(self, f"{listen}<tls>{anchor}{maps}</tls>")

    def known_hosts(self, folder: Path) -> Path:
        """A file of OpenSSH's form with this device's keys, also under its bare name, which scrapli looks for."""
        host, port = self.address
        words = ["ssh-keyscan", "-p", str(port), host]
        scan = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
        file = folder / "known_hosts"
        file.write_text(scan.stdout + scan.stdout.replace(f"[{host}]:{port}", host))
        return file

    def call(self, transport: str, port: int) -> None:
        """Call home to a client on this machine."""
        endpoint = f"<endpoint><name>1</name><address>localhost</address><port>{port}</port></endpoint>"
        strategy = "<reconnect-strategy><longest-delay>1</longest-delay></reconnect-strategy>"
        inner = f"<name>nms</name><transport>{transport}</transport>{endpoint}{strategy}"
        configure(self, f"<call-home><netconf-client>{inner}</netconf-client></call-home>")

    def call_nobody(self) -> None:
        gone = f'<netconf-client xmlns:nc="{NC}" nc:operation="delete"><name>nms</name></netconf-client>'
        configure(self, f"<call-home>{gone}</call-home>")
