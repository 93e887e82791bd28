"""SSH keys as text."""

from __future__ import annotations

import asyncssh
import pytest

from agent.ssh.access import check_authority
from agent.ssh.keys import KeyTextError, fingerprint, load_authorized, load_host_key, new_host_key, public_line


def test_a_new_host_key_and_its_public_half_have_one_fingerprint() -> None:
    key = new_host_key()
    line = public_line(key)
    assert line.startswith("ssh-ed25519 AAAA")
    assert fingerprint(key) == fingerprint(line + " somebody@somewhere\n")
    assert fingerprint(key).startswith("SHA256:")
    assert new_host_key() != key


def test_pkcs8_is_read_too() -> None:
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    assert load_host_key(key.export_private_key("pkcs8-pem")).public_data == key.public_data


@pytest.mark.parametrize("text", [b"", b"nonsense", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_what_is_no_private_key_is_refused(text: bytes) -> None:
    with pytest.raises(KeyTextError, match="private SSH key"):
        load_host_key(text)


def test_an_encrypted_private_key_is_refused() -> None:
    text = asyncssh.generate_private_key("ssh-ed25519").export_private_key(passphrase="secret")
    with pytest.raises(KeyTextError):
        load_host_key(text)


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 AAAA", 'from="x" ssh-ed25519 AAAA', "\x00", "# no"])
def test_what_is_no_public_key_is_refused(line: str) -> None:
    with pytest.raises(KeyTextError, match="public SSH key"):
        load_authorized(line)


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521", "ssh-rsa"])
def test_authorities_whose_certificates_can_be_taken(kind: str) -> None:
    check_authority(asyncssh.generate_private_key(kind).convert_to_public())


@pytest.mark.parametrize("kind", ["ssh-dss", "ssh-ed448"])
def test_an_authority_of_no_use_is_refused(kind: str) -> None:
    """What signs with no algorithm that is taken would log in nobody."""
    with pytest.raises(KeyTextError, match=f"type {kind} are not taken: use one of ed25519, ECDSA, RSA"):
        check_authority(asyncssh.generate_private_key(kind).convert_to_public())
