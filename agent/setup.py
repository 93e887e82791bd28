"""What `slp-agent init` makes: a state folder with keys, certificate, profile, first user and anchors; nothing runs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
import hashlib
from pathlib import Path
import secrets
import shutil

from cryptography.hazmat.primitives import hashes, serialization

from agent.certificate import HostNameError, general_name, make_certificate, own_names
from agent.clock import Clock
from agent.formats import certificates
from agent.formats.errors import DocumentError
from agent.formats.jsontext import MAX_BYTES
from agent.licensing.commands import Command, InstallAnchors, InstallFactory
from agent.licensing.engine import Context, decide, evolve
from agent.licensing.profile import VIRTUAL_ROUTER, Profile, parse_profile
from agent.licensing.refusals import SUCCESS
from agent.licensing.state import State
from agent.northbound.access import with_rules
from agent.store import files
from agent.store.folder import StateFolder
from agent.store.keystore import DEVICE, JOURNAL, SSH_HOST, TLS, Keystore, create_key_file
from agent.store.sqlite import SqliteStore
from agent.store.users import Users

PROFILE_FILE = "profile.toml"
SERIAL_FILE = "serial-number"
CA_FILE = "ca.crt"
CERTIFICATE_FILE = "tls.crt"
HOST_KEY_FILE = "ssh_host_ed25519.pub"
SOCKET_FILE = "agent.sock"
FILES_FOLDER = "flash"
MAX_KEY_BYTES = 64 * 1024


class SetupError(Exception):
    """Init cannot go on; nothing was left behind. The message says what to do."""


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
    anchors: Sequence[bytes],
    lab: bool,
    key_file: Path | None,
    tls_names: Sequence[str],
    factory_file: Path | None = None,
    device_key: Path | None = None,
) -> Made:
    """Make the state folder. `anchors` are roots (DER), `factory_file` holds what the authority gave to the factory,
    `device_key` a private key (PEM) that the factory made; without it, one is made.

    Raises SetupError, and what profile, folder, keystore, store and users raise; what was made is removed then.
    """
    text, profile = read_profile(profile_file, serial)
    factory = None if factory_file is None else _read(factory_file, "factory file", MAX_BYTES)
    private = None if device_key is None else _read(device_key, "device key", MAX_KEY_BYTES)
    try:
        names = [*map(general_name, tls_names), *own_names()]
    except HostNameError as error:
        raise SetupError(str(error)) from None
    existed = state_dir.exists()
    folder, hold = StateFolder.create(state_dir, created=clock.now(), lab=lab, key_file=key_file)
    with hold, ExitStack() as undo:
        undo.callback(_remove, folder, keep=existed, key_file=not folder.info.key_file.exists())
        keys = Keystore(folder.keys, create_key_file(folder.info.key_file))
        if private is not None:
            keys.take_signing_key(DEVICE, private)
        keys.create_keys()
        write(folder, PROFILE_FILE, text.encode())
        write(folder, SERIAL_FILE, f"{profile.sn}\n".encode())
        certificate, authority = make_certificate(keys.get(TLS), names, clock)
        write(folder, CERTIFICATE_FILE, certificate.public_bytes(serialization.Encoding.PEM))
        write(folder, CA_FILE, authority.public_bytes(serialization.Encoding.PEM), mode=0o644)
        host_key = host_public_key(keys)
        write(folder, HOST_KEY_FILE, host_key.encode() + b"\n", mode=0o644)
        journal_key = keys.get(JOURNAL)
        SqliteStore.create(folder.database, journal_key)
        install(folder, keys, profile, anchors, factory, clock)
        users = Users(folder.database, journal_key)
        try:
            users.add(user.name, "admin", user.password, user.ssh_keys)
        finally:
            users.close()
        folder.finish()
        undo.pop_all()
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
    if serial is None:
        serial = profile.sn or f"SLPA{secrets.token_hex(4).upper()}"
    profile = profile.with_serial(serial)
    try:
        _ = profile.udi
    except ValueError as error:
        raise SetupError(f"the serial number cannot be used: {error}") from None
    return text, profile


def load_profile(folder: StateFolder) -> Profile:
    """The profile that init kept. Raises ProfileError, or SetupError when a file is missing."""
    text, serial = _kept(folder, PROFILE_FILE).decode(), _kept(folder, SERIAL_FILE).decode().strip()
    return parse_profile(text, str(folder.path / PROFILE_FILE)).with_serial(serial)


def load_certificate(folder: StateFolder) -> bytes:
    """The TLS certificate that init made, in PEM form. Raises SetupError when the file is missing."""
    return _kept(folder, CERTIFICATE_FILE)


def _kept(folder: StateFolder, name: str) -> bytes:
    """A file that init made: UTF-8 text. Raises SetupError."""
    try:
        data = (folder.path / name).read_bytes()
        data.decode()
    except OSError as error:
        raise SetupError(f"cannot read {folder.path / name}: {error.strerror}; restore it from a backup") from None
    except UnicodeDecodeError:
        raise SetupError(f"{folder.path / name} is damaged: it is not text; restore it from a backup") from None
    return data


def read_anchors(files: Sequence[Path]) -> list[bytes]:
    """The root certificates (DER) of the given PEM files. Raises SetupError naming the file."""
    found: list[bytes] = []
    for file in files:
        try:
            found += certificates.read_anchors(file.read_bytes())
        except OSError as error:
            raise SetupError(
                f"cannot read trust anchor {file}: {error.strerror}; name the authority's PEM file"
            ) from None
        except DocumentError as error:
            raise SetupError(f"{file}: {error.message}; name the authority's anchor file") from None
    return found


def _read(file: Path, what: str, limit: int) -> bytes:
    """A file that the operator named, of at most so many bytes. Raises SetupError."""
    try:
        return files.read_bounded(file, limit)
    except OSError as error:
        raise SetupError(f"cannot read {what} {file}: {error.strerror}; name another one") from None
    except ValueError as error:
        raise SetupError(f"{what} {file} {error}; name another one") from None


def _remove(folder: StateFolder, *, keep: bool, key_file: bool) -> None:
    """Take back an init that cannot be finished; `keep` leaves the folder itself, which was there before."""
    for entry in folder.path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if key_file:
        folder.info.key_file.unlink(missing_ok=True)
    if not keep:
        folder.path.rmdir()


def install(
    folder: StateFolder,
    keys: Keystore,
    profile: Profile,
    anchors: Sequence[bytes],
    factory: bytes | None,
    clock: Clock,
) -> None:
    """Make anchors, and what the factory puts in, the first decisions in the journal, which is authenticated: a file
    could be exchanged later. Raises SetupError when the factory's file is refused."""
    store = SqliteStore(folder.database, keys.get(JOURNAL))
    commands: list[Command] = [InstallAnchors(tuple(anchors))]
    if factory is not None:
        commands.append(InstallFactory(factory))
    try:
        context = Context(profile=profile, signer=keys.signer(), reads=store.reports, lab=folder.info.lab)
        state = State()
        unit = store.begin()
        for command in commands:
            decision = decide(state, command, int(clock.now()), context)
            if decision.reply.code != SUCCESS:
                unit.rollback()
                raise SetupError(f"the factory file was refused: {decision.reply.message}")
            unit.append(decision.events, {})
            state = evolve(state, decision.events)
        if (rules := with_rules(None)) is not None:
            unit.put_config(rules)
        unit.commit()
    finally:
        store.close()


def add_anchors(folder: StateFolder, keys: Keystore, profile: Profile, anchors: Sequence[bytes], clock: Clock) -> None:
    """Give a folder that is held its first trust anchors (DER). Raises SetupError where it has some: a program that can
    write to the folder could else put its own in their place, and a rotation is signed."""
    store = SqliteStore(folder.database, keys.get(JOURNAL))
    try:
        loaded = store.load()
        state = evolve(State() if loaded.snapshot is None else State.from_json(loaded.snapshot), loaded.events)
        if state.anchors:
            raise SetupError(
                "a trust anchor is installed: another one comes in a file that the authority signed under it (slp-peer "
                "authority rotate), by slp-agent license import"
            )
        # at the last durable moment: the time that the agent did not run stays an outage
        now = state.at or int(clock.now())
        context = Context(profile=profile, signer=keys.signer(), reads=store.reports, lab=folder.info.lab)
        decision = decide(state, InstallAnchors(tuple(anchors)), now, context)
        unit = store.begin()
        unit.append(decision.events, {})
        unit.commit()
    finally:
        store.close()


def write(folder: StateFolder, name: str, data: bytes, *, mode: int = 0o600) -> None:
    """A new file of the state folder, durable on return: init has ended only then. Raises SetupError."""
    path = folder.path / name
    try:
        files.create_private(path, data, mode)
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}; free space, delete the folder, init again") from None


def host_public_key(keys: Keystore) -> str:
    """The SSH host key as a line of known_hosts, without the host's name."""
    key = serialization.load_ssh_private_key(keys.get(SSH_HOST), password=None)
    form = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return form.decode("ascii")


def replace_host_key(folder: StateFolder, keys: Keystore) -> str:
    """Make another SSH host key; returns its fingerprint. Raises OSError, and what the keystore raises."""
    keys.create_host_key()
    files.write_private(folder.path / HOST_KEY_FILE, host_public_key(keys).encode() + b"\n", 0o644)
    return host_key_fingerprint(keys)


def host_key_fingerprint(keys: Keystore) -> str:
    """ "SHA256:…" of the SSH host key, as ssh-keygen -l prints it."""
    return _ssh_fingerprint(host_public_key(keys))


def _ssh_fingerprint(line: str) -> str:
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
