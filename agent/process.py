"""What `slp-agent init`, `user …`, `trust-anchor`, `check`, `run` do. Apart from `main.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
import gc
import json
import logging
import os
from pathlib import Path
import signal
import sys
import threading
from typing import NamedTuple

from agent import setup
from agent.clock import SystemClock
from agent.config import Address, ConfigError, RunConfig
from agent.core.datastore import StoredConfigurationError
from agent.core.dispatch import IncompleteError
from agent.licensing.profile import ProfileError
from agent.netconf.settings import SettingsError
from agent.restconf.listen import ListenError
from agent.store.errors import JournalDamaged, StoreError, UserError
from agent.store.folder import StateFolder, StateFolderError
from agent.store.keystore import JOURNAL, Keystore, KeystoreError, open_key_file
from agent.store.sqlite import SqliteStore
from agent.store.users import Users

_EXPECTED = (
    setup.SetupError,
    ConfigError,
    ProfileError,
    StateFolderError,
    KeystoreError,
    StoreError,
    UserError,
    StoredConfigurationError,
    IncompleteError,
    ListenError,
    SettingsError,
    OSError,
    UnicodeDecodeError,
)
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


log = logging.getLogger(__name__)


class Failed(Exception):  # noqa: N818 - the end of a command, not a fault of the program
    """The command cannot go on, by no fault of the program: the message is for the operator."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn what may be expected to go wrong into `Failed`."""
    try:
        yield
    except _EXPECTED as error:
        raise Failed(str(error)) from error


def init(
    state_dir: Path,
    user: str,
    *,
    password: str | None,
    authorized_key: Path | None,
    profile: Path | None,
    serial: str | None,
    trust_anchors: list[Path],
    key_file: Path | None,
    tls_names: list[str],
    lab: bool,
    factory: Path | None = None,
    device_key: Path | None = None,
) -> setup.Made:
    """Make a state folder. Raises Failed."""
    with explained():
        return setup.initialise(
            state_dir,
            clock=SystemClock(),
            user=setup.FirstUser(user, password, key_lines(authorized_key)),
            profile_file=profile,
            serial=serial,
            anchors=setup.read_anchors(trust_anchors),
            lab=lab,
            key_file=key_file,
            tls_names=tls_names,
            factory_file=factory,
            device_key=device_key,
        )


@contextmanager
def users(state_dir: Path) -> Iterator[Users]:
    """The accounts of a state folder; an agent that runs on it knows of a change at once. Raises Failed."""
    with explained():
        folder = StateFolder.open(state_dir)
        keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
        found = Users(folder.database, keys.get(JOURNAL))
        try:
            yield found
        finally:
            found.close()


def add_user(
    state_dir: Path,
    name: str,
    group: str,
    *,
    password: str | None,
    authorized_key: Path | None,
    elsewhere: bool = False,
) -> None:
    """Add a user to a state folder; `elsewhere`: certificates or PAM let it in. Raises Failed."""
    with users(state_dir) as found:
        found.add(name, group, password, key_lines(authorized_key), elsewhere=elsewhere)


def add_trust_anchors(state_dir: Path, files: list[Path]) -> int:
    """Give an agent that does not run, and has none, its trust anchors; how many. Raises Failed."""
    with explained():
        folder = StateFolder.open(state_dir)
        anchors = setup.read_anchors(files)
        with folder.hold():
            keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
            setup.add_anchors(folder, keys, setup.load_profile(folder), anchors, SystemClock())
    return len(anchors)


def new_host_key(state_dir: Path) -> str:
    """Give a state folder another SSH host key; returns its fingerprint. Raises Failed."""
    with explained():
        folder = StateFolder.open(state_dir)
        keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
        return setup.replace_host_key(folder, keys)


class Checked(NamedTuple):
    """What a state folder holds, all of it as it was written."""

    events: int
    reports: int
    users: int


def check(state_dir: Path) -> Checked:
    """Read and verify everything in the database of an agent that does not run. Raises Failed."""
    with explained():
        folder = StateFolder.open(state_dir)
        with folder.hold():
            key = Keystore(folder.keys, open_key_file(folder.info.key_file)).get(JOURNAL)
            with closing(SqliteStore(folder.database, key)) as store, closing(Users(folder.database, key)) as users:
                return Checked(len(store.load().events), store.check.run(), len(users.all()))


def run(
    state_dir: Path,
    netconf: str,
    restconf: str,
    *,
    socket: Path | None,
    socket_group: str | None,
    netconf_socket: Path | None = None,
    pam: str | None = None,
    lab_clock_rate: float | None,
    lab_clock_start: float | None,
    log_level: str,
    files: Path | None = None,
    startup: bool = False,
    yang: Sequence[Path] = (),
    yang_path: Sequence[Path] = (),
) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP takes up new keys. Prints the ready line. Raises Failed."""
    output = sys.__stdout__
    if output is None:
        # the first file that is opened would take its place
        raise Failed("standard output is closed, and the ready line needs it: open it, on /dev/null if need be")
    if log_level.lower() not in _LEVELS:
        raise Failed(f"--log-level {log_level}: expected one of {', '.join(_LEVELS)}")
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=_LEVELS[log_level.lower()], stream=sys.stderr, format=form)
    # blocked before any thread is made: all inherit it, and only the main thread takes the signal
    taken = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    with explained():
        config = RunConfig(
            state_dir,
            Address.parse(netconf, "--netconf"),
            Address.parse(restconf, "--restconf"),
            socket=socket,
            socket_group=socket_group,
            netconf_socket=netconf_socket,
            pam=pam,
            lab_clock_rate=lab_clock_rate,
            lab_clock_start=lab_clock_start,
            files=files,
            startup=startup,
            yang=tuple(yang),
            yang_path=tuple(yang_path),
        )
        with _kept_for_good():
            # the whole agent takes half a second to import, which init and user add do without
            from agent import app

            damage = _Damage()
            agent = app.open_agent(config, damage)
    try:
        _tell_ready(output.fileno(), agent.listening.netconf, agent.listening.restconf)
        agent.check_reports()
        while signal.sigwait(taken) == signal.SIGHUP:
            agent.reload()
    finally:
        with damage.comes_first():
            agent.stop()


def _tell_ready(output: int, netconf: str, restconf: str) -> None:
    """Write the ready line to this file descriptor. Raises Failed."""
    ready = {"event": "ready", "netconf": netconf, "restconf": restconf}
    try:
        # past Python's buffer, which would be written again at the end
        os.write(output, json.dumps(ready).encode() + b"\n")
    except OSError as error:
        raise Failed(f"the ready line could not be written to standard output: {error.strerror}") from error


class _Damage:
    """Ends the process when damage shows in the database while it serves, as damage at start does: nothing is served
    from what was altered. The first that is found is told."""

    def __init__(self) -> None:
        self._found: JournalDamaged | None = None

    def __call__(self, error: JournalDamaged) -> None:
        """Called on the thread that found it; the main thread waits for a signal."""
        if self._found is None:
            self._found = error
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    @contextmanager
    def comes_first(self) -> Iterator[None]:
        """Around the end of the agent: raises Failed with the damage, whatever came of it."""
        try:
            yield
        except Exception:
            if self._found is None:
                raise
            log.exception("the end could not be recorded")
        if self._found is not None:
            raise Failed(str(self._found)) from self._found


@contextmanager
def _kept_for_good() -> Iterator[None]:
    """What is made within stays as long as the process: looked through for garbage once, at the end, and never again.

    Each later collection, which stops all threads, is shorter by 28 ms for it (docs/decisions/0018).
    """
    gc.disable()
    try:
        yield
        gc.collect()
        gc.freeze()
    finally:
        gc.enable()


def key_lines(file: Path | None) -> tuple[str, ...]:
    """The keys of an authorized_keys file; its comments are left out. Raises Failed."""
    if file is None:
        return ()
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Failed(f"cannot read {file}: {reason}; name a file of public SSH keys") from None
    if not (keys := tuple(line for line in lines if line and not line.startswith("#"))):
        raise Failed(f"{file} holds no key: expected lines such as ssh-ed25519 AAAA… comment")
    return keys
