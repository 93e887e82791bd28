"""Lines of an authorized_keys file: which are taken, and in what form they are kept. No accounts, no files.

Source: sshd(8), AUTHORIZED_KEYS FILE FORMAT; RFC 4253 section 6.6.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
import hashlib
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from agent.store.errors import UserError

_LONGEST_KEY = 8192
_MOST_KEYS = 32


class Key(NamedTuple):
    """One key as people tell it from others; the fingerprint is SHA-256 as OpenSSH writes it."""

    fingerprint: str
    type: str
    comment: str


def key_of(line: str) -> Key:
    """What a kept line says."""
    kind, blob, *comment = line.split(None, 2)
    digest = hashlib.sha256(base64.b64decode(blob)).digest()
    return Key("SHA256:" + base64.b64encode(digest).decode().rstrip("="), kind, "".join(comment))


def key_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Check lines of an authorized_keys file; empty ones, comments and doubles are dropped. Raises UserError."""
    wanted = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    # a file of something else is told by its first line, not by the number of its lines
    keys = tuple(dict.fromkeys(_key_line(line) for line in wanted[: _MOST_KEYS + 1]))
    if len(wanted) > _MOST_KEYS:
        raise UserError(f"a user has at most {_MOST_KEYS} SSH keys")
    return keys


def _key_line(line: str) -> str:
    words = line.split(None, 2)
    shown = line if len(line) <= 40 else line[:40] + "…"
    if len(line) > _LONGEST_KEY or not line.isprintable() or len(words) < 2:
        raise UserError(f"{shown!r} is not an SSH public key: give a line such as ssh-ed25519 AAAA… comment")
    try:
        # Options before the key (command=, from=) would promise what no one here enforces, so they do not parse.
        key = load_ssh_public_key(" ".join(words[:2]).encode())
    except (ValueError, UnsupportedAlgorithm):
        raise UserError(f"{shown!r} is not an SSH public key: give a line such as ssh-ed25519 AAAA… comment") from None
    if isinstance(key, dsa.DSAPublicKey) or (isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048):
        raise UserError(f"{shown!r} is too weak: use ed25519, ECDSA, or RSA of 2048 bits or more")
    return " ".join(words)
