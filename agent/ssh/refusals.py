"""What to tell the administrator of a key or certificate that was refused: which it was, and why. Judges nothing.

The reasons are in the order in which asyncssh and connection.py decide; OpenSSH's PROTOCOL.certkeys.
"""

from __future__ import annotations

from datetime import UTC, datetime
import ipaddress
import time
from typing import cast

import asyncssh
from asyncssh.public_key import (
    CERT_TYPE_USER,
    SSHOpenSSHCertificate,
    decode_ssh_certificate,
    decode_ssh_public_key,
)

from agent.ssh.access import Access

LONGEST = 200
"""Characters of what a certificate says of itself that are shown."""


def refusal(
    data: bytes, user: str, source: str, access: Access, *, known: bool, listed: bool, modern: bool
) -> tuple[str, str]:
    """What was shown and why it lets nobody in, from a key or certificate as sent.

    `known`: there is such a user; `listed`: the key is one of the user's; `modern`: no SHA-1 in the signatures.
    """
    try:
        certificate = cast(SSHOpenSSHCertificate, decode_ssh_certificate(data))
    except asyncssh.KeyImportError:
        return _key(data), _reason(known, modern, listed, "it is none of the user's keys")
    told = f"certificate {_quoted(certificate._key_id)}, serial {certificate._serial},"
    why = _of_certificate(certificate, user, source, access)
    return told, _reason(known, modern, why is None, why or "")


def _reason(known: bool, modern: bool, taken: bool, why: str) -> str:
    if not known:
        return "there is no such user"
    if not modern:
        return "signed with an algorithm of old"
    return "what it signed does not fit" if taken else why


def _key(data: bytes) -> str:
    try:
        key = decode_ssh_public_key(data)
    except asyncssh.KeyImportError:
        return "what cannot be read as a key"
    return f"key {key.get_fingerprint()}"


def _of_certificate(certificate: SSHOpenSSHCertificate, user: str, source: str, access: Access) -> str | None:
    """Why the certificate does not count for that user; None where nothing stands against it."""
    signer = certificate.signing_key
    if all(signer.public_data != one.public_data for one in access.trusted):
        return f"its authority {signer.get_fingerprint()} is not trusted (ssh trusted-user-key)"
    if not access.names(user).intersection(certificate.principals):
        named = _quoted(", ".join(sorted(certificate.principals)))
        return f"its principals {named} do not fit the user" if certificate.principals else "it names no principal"
    if certificate._cert_type != CERT_TYPE_USER:
        return "it is for hosts, not for users"
    now = time.time()
    if now < certificate._valid_after:
        return f"it is valid from {_moment(certificate._valid_after)} on only"
    if now >= certificate._valid_before:
        return f"it expired at {_moment(certificate._valid_before)}"
    networks = certificate.options.get("source-address")
    if networks and not any(ipaddress.ip_address(source) in one for one in cast(list[ipaddress.IPv4Network], networks)):
        return "it is not for this source address"
    return None


def _quoted(value: str) -> str:
    return repr(value[:LONGEST])


def _moment(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s after 1970"
