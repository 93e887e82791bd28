"""Secrets at rest: sealed, bound to their name and key file, and every way to be unusable said precisely."""

from __future__ import annotations

import copy
import datetime
import os
from pathlib import Path
import pickle
import socket
import ssl
import stat
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.formats import signing
from agent.store.keystore import (
    DEVICE,
    JOURNAL,
    SSH_HOST,
    TLS,
    Keystore,
    KeystoreError,
    SealingKey,
    create_key_file,
    open_key_file,
)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    create_key_file(tmp_path / "state.key")
    return tmp_path / "state.key"


@pytest.fixture
def keystore(tmp_path: Path, key_file: Path) -> Keystore:
    (tmp_path / "keys").mkdir()
    return Keystore(tmp_path / "keys", open_key_file(key_file))


def test_a_key_file_is_private_and_stays_the_same(key_file: Path) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    before = key_file.read_bytes()
    assert create_key_file(key_file).id == open_key_file(key_file).id
    assert key_file.read_bytes() == before
    other = create_key_file(key_file.with_name("other.key"))
    assert other.id != open_key_file(key_file).id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601, 0o777])
def test_a_key_file_that_others_can_use_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    for act in (open_key_file, create_key_file):
        with pytest.raises(KeystoreError, match=rf"has mode {mode:04o}, so others can use it: chmod 600 "):
            act(key_file)


def test_a_key_file_may_be_read_only(key_file: Path) -> None:
    key_file.chmod(0o400)
    open_key_file(key_file)


def test_a_key_file_that_is_not_one_is_refused_without_showing_it(tmp_path: Path, key_file: Path) -> None:
    with pytest.raises(KeystoreError, match=r"there is no key file .*none: name the one that was made"):
        open_key_file(tmp_path / "none")
    with pytest.raises(KeystoreError, match="is not a regular file"):
        open_key_file(tmp_path)
    with pytest.raises(KeystoreError, match="cannot create key file"):
        create_key_file(tmp_path / "none" / "below")
    whole = key_file.read_bytes()
    assert len(whole) > 50
    for data in (
        *(whole[:n] for n in range(len(whole) - 1)),
        whole + b"x",
        whole * 2,
        whole + b"\0",
        b"\xff",
        b"x" * 9999,
    ):
        key_file.write_bytes(data)
        with pytest.raises(
            KeystoreError, match="is not a key file of slp-agent: name the one that init made"
        ) as caught:
            open_key_file(key_file)
        assert caught.value.__cause__ is None
        assert whole[20:40].decode() not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_user_is_refused(key_file: Path) -> None:
    """Root's own file is fine for everyone; here root meets one that is not root's."""
    os.chown(key_file, 12345, -1)
    with pytest.raises(KeystoreError, match="belongs to user 12345: chown it"):
        open_key_file(key_file)


def test_the_standard_keys_are_made_once(keystore: Keystore) -> None:
    keystore.create_keys()
    assert keystore.names() == sorted([DEVICE, SSH_HOST, TLS, JOURNAL])
    before = {name: keystore.get(name) for name in keystore.names()}
    keystore.create_keys()
    assert {name: keystore.get(name) for name in keystore.names()} == before
    host = serialization.load_ssh_private_key(before[SSH_HOST], None)
    assert isinstance(host, ed25519.Ed25519PrivateKey)
    tls = serialization.load_pem_private_key(before[TLS], None)
    assert isinstance(tls, ec.EllipticCurvePrivateKey)
    assert len(before[JOURNAL]) == 32


def test_nothing_of_a_secret_is_on_disk_and_files_are_private(tmp_path: Path, keystore: Keystore) -> None:
    keystore.put("word", b"correct horse battery staple")
    path = tmp_path / "keys" / "word"
    assert b"horse" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keystore.get("word") == b"correct horse battery staple"
    first = path.read_bytes()
    keystore.put("word", b"correct horse battery staple")
    assert path.read_bytes() != first
    assert [entry.name for entry in (tmp_path / "keys").iterdir()] == ["word"]


def test_the_wrong_key_file_is_named_with_both_ids(tmp_path: Path, keystore: Keystore) -> None:
    keystore.put("word", b"secret")
    right, wrong = open_key_file(tmp_path / "state.key"), create_key_file(tmp_path / "wrong.key")
    said = f"keys/word was sealed under key {right.id.hex()}, but the key file holds key {wrong.id.hex()}: name the"
    with pytest.raises(KeystoreError, match=said):
        Keystore(tmp_path / "keys", wrong).get("word")


def test_one_secret_cannot_be_passed_off_as_another(tmp_path: Path, keystore: Keystore) -> None:
    keystore.create_keys()
    (tmp_path / "keys" / TLS).write_bytes((tmp_path / "keys" / DEVICE).read_bytes())
    with pytest.raises(KeystoreError, match="keys/tls was altered since it was sealed: restore it"):
        keystore.get(TLS)


def test_any_change_of_a_sealed_secret_is_refused(tmp_path: Path, keystore: Keystore) -> None:
    """Whole, every prefix, a trailing byte, and one bit of every byte."""
    keystore.put("word", b"secret")
    path = tmp_path / "keys" / "word"
    whole = path.read_bytes()
    flipped = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(len(whole))]
    for data in (*(whole[:n] for n in range(len(whole))), whole + b"\0", *flipped):
        path.write_bytes(data)
        with pytest.raises(KeystoreError, match=r"altered|cut short|sealed under key"):
            keystore.get("word")
    path.write_bytes(b"x" * 70_000)
    with pytest.raises(KeystoreError, match="is longer than 65536 bytes"):
        keystore.get("word")
    path.unlink()
    with pytest.raises(KeystoreError, match="keys/word is missing: restore it from a backup"):
        keystore.get("word")
    path.mkdir()
    with pytest.raises(KeystoreError, match="cannot read"):
        keystore.get("word")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "A", "a" * 64, "a\n", "a\0"])
def test_a_name_never_leaves_the_folder(keystore: Keystore, name: str) -> None:
    for act in (keystore.get, lambda each: keystore.put(each, b"")):
        with pytest.raises(ValueError, match="is not the name of a secret"):
            act(name)


def test_a_secret_has_a_size(keystore: Keystore) -> None:
    keystore.put("most", b"x" * 32 * 1024)
    assert len(keystore.get("most")) == 32 * 1024
    with pytest.raises(ValueError, match="at most 32768 bytes"):
        keystore.put("more", b"x" * (32 * 1024 + 1))
    assert keystore.names() == ["most"]


@settings(max_examples=50)
@given(st.binary(max_size=200), st.text(max_size=10), st.text(max_size=10))
def test_unsealing_is_the_inverse_of_sealing_for_the_same_name_only(secret: bytes, name: str, other: str) -> None:
    key = SealingKey(bytes(range(32)))
    sealed = key.seal(name, secret)
    assert key.unseal(name, sealed) == secret
    if other != name:
        with pytest.raises(ValueError, match="was altered"):
            key.unseal(other, sealed)
    with pytest.raises(ValueError, match="sealed under key"):
        SealingKey(bytes(32)).unseal(name, sealed)


@given(st.binary(max_size=200))
def test_any_bytes_unseal_to_one_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="sealed"):
        SealingKey(bytes(32)).unseal("name", data)


def test_the_signer_signs_and_does_not_give_its_key_away(keystore: Keystore) -> None:
    keystore.create_keys()
    signer: signing.Signer = keystore.signer()
    signature = signer.sign(b"report")
    assert signing.verify(signer.public_key, signature, b"report")
    assert not signing.verify(signer.public_key, signature, b"repork")
    assert signer.key_id == signing.key_id(signer.public_key)
    again = keystore.signer()
    assert (again.public_key, again.key_id) == (signer.public_key, signer.key_id)
    for act in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="not copied or pickled"):
            act(signer)
        with pytest.raises(TypeError, match="not copied or pickled"):
            act(SealingKey(bytes(32)))
    assert repr(signer) == f"<KeySigner {signer.key_id}>"
    assert not hasattr(signer, "__dict__")


def test_a_new_device_key_takes_the_place_of_the_old_one(keystore: Keystore) -> None:
    keystore.create_keys()
    old = keystore.signer().key_id
    keystore.create_signing_key(DEVICE)
    assert keystore.signer().key_id != old


def test_a_secret_that_is_no_signing_key_is_refused(keystore: Keystore) -> None:
    keystore.put("text", b"text")
    with pytest.raises(KeystoreError, match="keys/text holds no private key"):
        keystore.signer("text")
    for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())):
        keystore.put(
            "other",
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        with pytest.raises(KeystoreError, match="holds no P-256 key"):
            keystore.signer("other")


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def test_tls_is_served_with_the_sealed_key(keystore: Keystore) -> None:
    """A real handshake over a real socket, with a key that was never in a file."""
    keystore.create_keys()
    key = serialization.load_pem_private_key(keystore.get(TLS), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    pem = certificate(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    keystore.load_tls(context, pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.sendall(b"hello")

        thread = threading.Thread(target=serve)
        thread.start()
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.load_verify_locations(cadata=pem.decode())
        with client.wrap_socket(socket.create_connection(listener.getsockname())) as secure:
            assert secure.recv(5) == b"hello"
        thread.join()


def test_a_certificate_of_another_key_is_refused(keystore: Keystore) -> None:
    keystore.create_keys()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for pem in (certificate(ec.generate_private_key(ec.SECP256R1())), b"", b"text"):
        with pytest.raises(KeystoreError, match="the TLS certificate does not belong to key"):
            keystore.load_tls(context, pem)


def test_openssh_reads_the_host_key(tmp_path: Path, keystore: Keystore) -> None:
    """The standard tool, not our library, says that the form is right."""
    keystore.create_keys()
    path = tmp_path / "host"
    path.touch(mode=0o600)
    path.write_bytes(keystore.get(SSH_HOST))
    try:
        done = subprocess.run(["ssh-keygen", "-y", "-f", str(path)], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("there is no ssh-keygen here")
    assert done.stdout.startswith("ssh-ed25519 AAAA")
