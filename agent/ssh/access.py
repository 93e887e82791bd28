"""Which certificates log in whom: trusted authorities and principals, as asyncssh wants to be told.

A certificate counts if a trusted key signed it, it is valid now, for users, from where it is used, and names a
principal of the user (sshd_config's TrustedUserCAKeys and AuthorizedPrincipalsFile). One without principals names
nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import re

import asyncssh

from agent.netconf.settings import SshAccess
from agent.ssh.keys import KeyTextError, load_authorized

SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""Signature algorithms of host keys, of users' keys and of certificates: all but ssh-rsa (SHA-1) and DSA (RFC 8332)."""

_AUTHORITIES = ("ed25519", "ECDSA", "RSA")
"""The kinds of key that can make one of these, for people."""

_PRINCIPAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,254}")
"""What can stand in a list of patterns and mean itself alone; a user name of another form logs in by other means."""


def check_authority(key: asyncssh.SSHKey) -> None:
    """Whether certificates that the key signs can be taken. Raises KeyTextError."""
    if not {one.decode() for one in key.sig_algorithms} & set(SIGNATURES):
        kind, kinds = key.algorithm.decode(), ", ".join(_AUTHORITIES)
        raise KeyTextError(f"certificates signed by a key of type {kind} are not taken: use one of {kinds}")


@dataclass(frozen=True, slots=True)
class Access:
    """`SshAccess` with its keys read."""

    trusted: tuple[asyncssh.SSHKey, ...] = ()
    principals: Mapping[str, frozenset[str]] = field(default_factory=dict)
    passwords: bool = True

    @classmethod
    def of(cls, settings: SshAccess) -> Access:
        """Raises KeyTextError for a trusted key that cannot be read."""
        keys = tuple(load_authorized(line) for line in settings.trusted_keys)
        return cls(keys, settings.principals, settings.passwords)

    def names(self, username: str) -> frozenset[str]:
        """The principals of which a certificate needs one to log in that user."""
        named = {username, *self.principals.get(username, ())}
        return frozenset(one for one in named if _PRINCIPAL.fullmatch(one))

    def authorities(self, username: str) -> asyncssh.SSHAuthorizedKeys:
        """The trusted keys, each good for certificates with a principal of that user."""
        names = sorted(self.names(username))
        found = asyncssh.SSHAuthorizedKeys()
        if self.trusted and names:
            options = f'cert-authority,principals="{",".join(names)}" '
            found.load("\n".join(options + key.export_public_key().decode().strip() for key in self.trusted))
        return found

    def modern(self, data: bytes, signature: bytes) -> bool:
        """Whether a key or certificate (as sent) and what it has signed, if anything, are free of SHA-1.

        asyncssh tells clients which algorithms to use, and then takes any that the key is able to make.
        """
        # a certificate ends with the authority's key and its signature (OpenSSH's PROTOCOL.certkeys)
        keys = (_string(key.public_data) for key in self.trusted)
        made = [data[data.rfind(key) + len(key) + _LENGTH :] for key in keys if key in data]
        return all(_algorithm(one) in SIGNATURES for one in (*made, *([signature] if signature else [])))


_LENGTH = 4


def _string(value: bytes) -> bytes:
    return len(value).to_bytes(_LENGTH, "big") + value


def _algorithm(signature: bytes) -> str:
    """The name that a signature begins with (RFC 4253 section 6.6)."""
    length = int.from_bytes(signature[:_LENGTH], "big")
    return signature[_LENGTH : _LENGTH + length].decode("ascii", "replace")
