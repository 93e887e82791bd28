"""SSH keys as text: make a host key, print its fingerprint, check an authorized key. No file is read or written."""

from __future__ import annotations

import asyncssh


class KeyTextError(ValueError):
    """A text is not the key that it should be."""


def new_host_key() -> bytes:
    """A fresh Ed25519 host key, as OpenSSH private key text without a passphrase."""
    return asyncssh.generate_private_key("ssh-ed25519").export_private_key()


def load_host_key(text: bytes) -> asyncssh.SSHKey:
    """Read a private key (OpenSSH or PKCS #8 PEM, without a passphrase). Raises KeyTextError."""
    try:
        return asyncssh.import_private_key(text)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        raise KeyTextError(f"not a private SSH key: {error}") from None


def public_line(host_key: bytes) -> str:
    """The public half of a private key, as a line "type base64". Raises KeyTextError."""
    return load_host_key(host_key).export_public_key().decode().strip()


def fingerprint(key: bytes | str) -> str:
    """ "SHA256:…" of a private key (bytes) or of a public key line (str), as ssh-keygen -l prints it."""
    loaded = load_host_key(key) if isinstance(key, bytes) else load_authorized(key)
    return loaded.get_fingerprint()


def load_authorized(line: str) -> asyncssh.SSHKey:
    """Read one line of an authorized_keys file (without options). Raises KeyTextError."""
    try:
        return asyncssh.import_public_key(line.strip())
    except (asyncssh.KeyImportError, ValueError) as error:
        raise KeyTextError(f"not a public SSH key line ('ssh-ed25519 AAAA…'): {error}") from None
