"""Secrets at rest, sealed under a key file that lies outside the state folder; no use of them but signing.

Each secret is one file `keys/<name>`: magic line, 8-byte id of the sealing key, 12-byte nonce, AES-256-GCM ciphertext
with the name as associated data, so one secret cannot be passed off as another. Source: NIST SP 800-38D; SEC 1 and
FIPS 186-5 for the P-256 keys; design: Security baseline. Secrets are never logged, shown in a repr, or in an error.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
import hashlib
import os
from pathlib import Path
import re
import secrets
import ssl
import stat
from typing import NoReturn

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.formats import signing
from agent.store import files

DEVICE = "device"
"""The device's own ECDSA P-256 key: it signs reports (PKCS #8 DER)."""
SSH_HOST = "ssh-host"
"""The SSH host key (OpenSSH PEM, ed25519)."""
TLS = "tls"
"""The RESTCONF server's key (PKCS #8 PEM, P-256)."""
JOURNAL = "journal"
"""The key that authenticates the database (32 random bytes)."""

_KEY_FILE_MAGIC = "slp-agent-key-1 "
_SEALED_MAGIC = b"slp-agent sealed 1\n"
_ID_LENGTH, _NONCE_LENGTH, _TAG_LENGTH = 8, 12, 16
_LIMIT = 64 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class KeystoreError(Exception):
    """A key file or a sealed secret cannot be used. The message names the file and says what to do next."""


class SealingKey:
    """The 32 bytes of a key file. `id` tells one key from another and reveals nothing of it."""

    __slots__ = ("_cipher", "id")

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a sealing key has 32 bytes")
        self._cipher = AESGCM(key)
        self.id = hashlib.sha256(b"slp-agent key id\0" + key).digest()[:_ID_LENGTH]

    def seal(self, name: str, secret: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_LENGTH)
        return _SEALED_MAGIC + self.id + nonce + self._cipher.encrypt(nonce, secret, _associated(name))

    def unseal(self, name: str, sealed: bytes) -> bytes:
        """The secret. Raises ValueError with the reason, to be completed by the caller with the file's name."""
        body = sealed[len(_SEALED_MAGIC) :]
        if not sealed.startswith(_SEALED_MAGIC) or len(body) < _ID_LENGTH + _NONCE_LENGTH + _TAG_LENGTH:
            raise ValueError("is not a sealed secret or was cut short: restore it from a backup of the state folder")
        if body[:_ID_LENGTH] != self.id:
            raise ValueError(
                f"was sealed under key {body[:_ID_LENGTH].hex()}, but the key file holds key {self.id.hex()}: name the "
                "key file that was made with this state folder"
            )
        nonce, ciphertext = body[_ID_LENGTH : _ID_LENGTH + _NONCE_LENGTH], body[_ID_LENGTH + _NONCE_LENGTH :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, _associated(name))
        except InvalidTag:
            raise ValueError("was altered since it was sealed: restore it from a backup of the state folder") from None

    def __repr__(self) -> str:
        return f"<SealingKey {self.id.hex()}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a sealing key is not copied or pickled")


def create_key_file(path: Path) -> SealingKey:
    """Make a new key file, mode 0600, durable on return; use the one that is there if it is fit. Raises KeystoreError.

    A key that is there already seals nothing in a folder that is only now made, so taking it is safe: an operator may
    provide it, and an init that was interrupted may be repeated.
    """
    line = _KEY_FILE_MAGIC + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() + "\n"
    try:
        files.create_private(path, line.encode())
    except FileExistsError:
        pass
    except OSError as error:
        raise KeystoreError(
            f"cannot create key file {path}: {error.strerror}; name a path that can be written"
        ) from error
    return open_key_file(path)


def open_key_file(path: Path) -> SealingKey:
    """Read a key file. Raises KeystoreError: missing, readable by others, another's, or no key file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise KeystoreError(f"key file {path} is not a regular file: put the one that init made there")
        if status.st_mode & 0o077:
            raise KeystoreError(
                f"key file {path} has mode {stat.S_IMODE(status.st_mode):04o}, so others can use it: chmod 600 {path}"
            )
        if status.st_uid not in (0, os.geteuid()):
            raise KeystoreError(f"key file {path} belongs to user {status.st_uid}: chown it to the agent's user")
        text = files.read_bounded(path, 1024).decode("ascii").strip()
        if not text.startswith(_KEY_FILE_MAGIC):
            raise ValueError("has another form")
        return SealingKey(base64.b64decode(text.removeprefix(_KEY_FILE_MAGIC), altchars=b"-_", validate=True))
    except FileNotFoundError as error:
        raise KeystoreError(f"there is no key file {path}: put the one that init made back there") from error
    except OSError as error:
        raise KeystoreError(f"cannot read key file {path}: {error.strerror}; run as the user that owns it") from error
    except (ValueError, binascii.Error):
        # Without the cause: its text or its frames could hold a part of the key.
        raise KeystoreError(f"{path} is not a key file of slp-agent: put the one that init made back there") from None


class Keystore:
    """The sealed secrets of one state folder. Safe to use from any thread."""

    def __init__(self, folder: Path, key: SealingKey) -> None:
        """`folder` is the existing `keys` directory of a state folder."""
        self._folder = folder
        self._key = key

    def put(self, name: str, secret: bytes) -> None:
        """Seal `secret` as `name`, in place of an earlier one; durable on return. Raises KeystoreError."""
        if len(secret) > _LIMIT // 2:
            raise ValueError(f"a secret has at most {_LIMIT // 2} bytes")
        path = self._path(name)
        try:
            files.write_private(path, self._key.seal(name, secret))
        except OSError as error:
            raise KeystoreError(f"cannot write {path}: {error.strerror}; check space and rights") from error

    def get(self, name: str) -> bytes:
        """The secret `name`. Raises KeystoreError: missing, unreadable, altered, or sealed under another key file."""
        path = self._path(name)
        try:
            sealed = files.read_bounded(path, _LIMIT)
        except FileNotFoundError as error:
            raise KeystoreError(f"{path} is missing: restore it from a backup of the state folder") from error
        except OSError as error:
            raise KeystoreError(f"cannot read {path}: {error.strerror}; run as the user that owns it") from error
        except ValueError as error:
            raise KeystoreError(f"{path} {error}: restore it from a backup of the state folder") from error
        try:
            return self._key.unseal(name, sealed)
        except ValueError as error:
            raise KeystoreError(f"{path} {error}") from None

    def names(self) -> Sequence[str]:
        """The names of all secrets, sorted. Raises KeystoreError."""
        try:
            return sorted(entry.name for entry in self._folder.iterdir() if _NAME.fullmatch(entry.name))
        except OSError as error:
            raise KeystoreError(f"cannot read {self._folder}: {error.strerror}; check the state folder") from error

    def create_keys(self) -> None:
        """Make each of the four standard secrets that is not there yet. Raises KeystoreError."""
        present = set(self.names())
        if DEVICE not in present:
            self.create_signing_key(DEVICE)
        if SSH_HOST not in present:
            self.create_host_key()
        if TLS not in present:
            self.put(TLS, _pem(ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.PKCS8))
        if JOURNAL not in present:
            self.put(JOURNAL, secrets.token_bytes(32))

    def create_host_key(self) -> None:
        """Make an ed25519 key as SSH host key, in place of an earlier one. Raises KeystoreError."""
        self.put(SSH_HOST, _pem(ed25519.Ed25519PrivateKey.generate(), serialization.PrivateFormat.OpenSSH))

    def create_signing_key(self, name: str) -> None:
        """Make a P-256 key as `name`, in place of an earlier one. Raises KeystoreError."""
        self.put(name, _der(ec.generate_private_key(ec.SECP256R1())))

    def take_signing_key(self, name: str, pem: bytes) -> None:
        """Seal a P-256 key that was made elsewhere (unencrypted PEM) as `name`. Raises KeystoreError."""
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Without the cause: its text or its frames could hold a part of the key.
            raise KeystoreError("the device key is not an unencrypted private key in PEM form") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeystoreError("the device key is not an ECDSA key on the curve P-256")
        self.put(name, _der(key))

    def signer(self, name: str = DEVICE) -> KeySigner:
        """The signer that holds key `name`. Raises KeystoreError."""
        try:
            key = serialization.load_der_private_key(self.get(name), password=None)
        except ValueError:
            raise KeystoreError(f"{self._path(name)} holds no private key: restore it from a backup") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeystoreError(f"{self._path(name)} holds no P-256 key: restore it from a backup")
        return KeySigner(key)

    def load_tls(self, context: ssl.SSLContext, certificates: bytes) -> None:
        """Give `context` the TLS key with its certificate chain (PEM). Raises KeystoreError when they do not fit.

        The ssl module reads keys from files only: this one is in memory and never on a disk in the clear.
        """
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificates.rstrip() + b"\n" + self.get(TLS))
            file.flush()
            try:
                context.load_cert_chain(f"/proc/self/fd/{descriptor}")
            except ssl.SSLError as error:
                raise KeystoreError(
                    f"the TLS certificate does not belong to key {self._path(TLS)} ({error.reason}): make a new one"
                ) from None

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a secret")
        return self._folder / name


class KeySigner:
    """Signs with one P-256 key that never leaves it (formats.signing.Signer)."""

    __slots__ = ("_key", "_public_key")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._public_key = signing.public_bytes(key.public_key())

    @property
    def key_id(self) -> str:
        return signing.key_id(self._public_key)

    @property
    def public_key(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        return self._public_key

    def sign(self, data: bytes) -> bytes:
        """ECDSA P-256 / SHA-256 over `data`, DER."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def __repr__(self) -> str:
        return f"<KeySigner {self.key_id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not copied or pickled")


def _associated(name: str) -> bytes:
    return b"slp-agent secret\0" + name.encode()


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
