"""What `slp-agent init` makes: a state folder with keys, certificate, profile, first user and anchors; nothing runs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
import hashlib
from ipaddress import ip_address
from pathlib import Path
import secrets
import socket

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.clock import Clock
from agent.licensing.commands import InstallAnchors
from agent.licensing.engine import Context, decide
from agent.licensing.profile import VIRTUAL_ROUTER, Profile, parse_profile
from agent.licensing.state import State
from agent.store.folder import StateFolder
from agent.store.keystore import JOURNAL, SSH_HOST, TLS, Keystore, create_key_file
from agent.store.sqlite import SqliteStore
from agent.store.users import Users

PROFILE_FILE = "profile.toml"
SERIAL_FILE = "serial-number"
CA_FILE = "ca.crt"
CERTIFICATE_FILE = "tls.crt"
HOST_KEY_FILE = "ssh_host_ed25519.pub"
SOCKET_FILE = "agent.sock"

_CERTIFICATE_DAYS = 3650


class SetupError(Exception):
    """Init cannot go on; nothing that counts as a state folder was left behind. The message says what to do."""


@dataclass(frozen=True, slots=True)
class FirstUser:
    """The administrator that init makes: with a password, or with authorized SSH keys."""

    name: str
    password: str | None
    ssh_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """What init made, for the operator to read. Fingerprints are SHA-256; `device_key_id` is for the authority."""

    folder: StateFolder
    profile: Profile
    device_key_id: str
    host_key_fingerprint: str
    certificate_fingerprint: str
    ca_file: Path


def initialise(
    state_dir: Path,
    *,
    clock: Clock,
    user: FirstUser,
    profile_file: Path | None,
    serial: str | None,
    anchors: Sequence[x509.Certificate],
    lab: bool,
    key_file: Path | None,
    tls_names: Sequence[str],
) -> Made:
    """Make the state folder. Raises SetupError, and what profile, folder, keystore, store and users raise."""
    text, profile = read_profile(profile_file, serial)
    folder, hold = StateFolder.create(state_dir, created=clock.now(), lab=lab, key_file=key_file)
    with hold:
        keys = Keystore(folder.keys, create_key_file(folder.info.key_file))
        keys.create_keys()
        write(folder, PROFILE_FILE, text.encode())
        write(folder, SERIAL_FILE, f"{profile.sn}\n".encode())
        certificate, authority = make_certificate(keys.get(TLS), [*tls_names, *_own_names()], clock)
        write(folder, CERTIFICATE_FILE, certificate.public_bytes(serialization.Encoding.PEM))
        write(folder, CA_FILE, authority.public_bytes(serialization.Encoding.PEM), mode=0o644)
        host_key = host_public_key(keys)
        write(folder, HOST_KEY_FILE, host_key.encode() + b"\n", mode=0o644)
        journal_key = keys.get(JOURNAL)
        SqliteStore.create(folder.database, journal_key)
        install_anchors(folder, keys, profile, anchors, clock)
        users = Users(folder.database, journal_key)
        try:
            users.add(user.name, "admin", user.password, user.ssh_keys)
        finally:
            users.close()
        folder.finish()
    return Made(
        folder,
        profile,
        keys.signer().key_id,
        _ssh_fingerprint(host_key),
        certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        folder.path / CA_FILE,
    )


def read_profile(file: Path | None, serial: str | None) -> tuple[str, Profile]:
    """The profile's text and value; a serial number is chosen where neither names one."""
    if file is None:
        text, name = VIRTUAL_ROUTER, "built-in profile"
    else:
        name = str(file)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"cannot read profile {file}: {error}; name a TOML file in UTF-8") from None
    profile = parse_profile(text, name)
    if serial is not None and profile.sn not in (None, serial):
        raise SetupError(f"{name} has the serial number {profile.sn}: leave --serial out, or the profile's sn")
    profile = profile.with_serial(serial or profile.sn or f"SLPA{secrets.token_hex(4).upper()}")
    try:
        _ = profile.udi
    except ValueError as error:
        raise SetupError(f"the serial number cannot be used: {error}") from None
    return text, profile


def load_profile(folder: StateFolder) -> Profile:
    """The profile that init kept. Raises ProfileError, or SetupError when a file is missing."""
    try:
        text = (folder.path / PROFILE_FILE).read_text(encoding="utf-8")
        serial = (folder.path / SERIAL_FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"state folder {folder.path} is damaged: {error}; restore it from a backup") from None
    return parse_profile(text, str(folder.path / PROFILE_FILE)).with_serial(serial)


def read_anchors(files: Sequence[Path]) -> list[x509.Certificate]:
    """The root certificates of the given PEM files. Raises SetupError naming the file."""
    found: list[x509.Certificate] = []
    for file in files:
        try:
            found += x509.load_pem_x509_certificates(file.read_bytes())
        except OSError as error:
            raise SetupError(
                f"cannot read trust anchor {file}: {error.strerror}; name the authority's PEM file"
            ) from None
        except ValueError:
            raise SetupError(f"{file} holds no certificate in PEM form: name the authority's anchor file") from None
    return found


def install_anchors(
    folder: StateFolder, keys: Keystore, profile: Profile, anchors: Sequence[x509.Certificate], clock: Clock
) -> None:
    """Make them the first decision in the journal, which is authenticated: a file could be exchanged later."""
    store = SqliteStore(folder.database, keys.get(JOURNAL))
    try:
        context = Context(profile=profile, signer=keys.signer(), reads=store.reports, lab=folder.info.lab)
        roots = tuple(anchor.public_bytes(serialization.Encoding.DER) for anchor in anchors)
        decision = decide(State(), InstallAnchors(roots), int(clock.now()), context)
        unit = store.begin()
        unit.append(decision.events, {})
        unit.commit()
    finally:
        store.close()


def write(folder: StateFolder, name: str, data: bytes, *, mode: int = 0o600) -> None:
    """A new file of the state folder. Raises SetupError."""
    path = folder.path / name
    try:
        path.touch(mode=mode, exist_ok=False)
        path.write_bytes(data)
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}; free space, delete the folder, init again") from None


def host_public_key(keys: Keystore) -> str:
    """The SSH host key as a line of known_hosts, without the host's name."""
    key = serialization.load_ssh_private_key(keys.get(SSH_HOST), password=None)
    form = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return form.decode("ascii")


def _ssh_fingerprint(line: str) -> str:
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _own_names() -> list[str]:
    return list(dict.fromkeys(["localhost", socket.gethostname(), "127.0.0.1", "::1"]))


def make_certificate(key_pem: bytes, names: Sequence[str], clock: Clock) -> tuple[x509.Certificate, x509.Certificate]:
    """A server certificate for `names` (hosts or addresses) and the CA that issued it.

    The CA's key is forgotten here: nobody can ever issue a second certificate under the file that clients trust.
    """
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SetupError("the TLS key is no elliptic-curve key")
    ca_key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime.fromtimestamp(clock.now(), UTC) - timedelta(minutes=5)
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "slp-agent RESTCONF CA")])
    issuer_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=_CERTIFICATE_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
        )

    authority = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)])
    certificate = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]), key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return certificate, authority


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
