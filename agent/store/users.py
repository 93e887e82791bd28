"""User accounts of the device: names, groups, password hashes and SSH keys; no sessions, no rights, no protocol.

They live in the agent's database on a connection of their own, so that another process (`slp-agent user …`) may change
them while the agent runs: each change raises an epoch, and readers look again when it has moved. Rows are
authenticated like all others. `password`, `public_keys` and `user` are what transports ask. Source: RFC 7914.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
from dataclasses import dataclass, replace
import hmac
from pathlib import Path
import re
import secrets
import threading
from typing import Any, NamedTuple

import apsw
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from agent.store import authentication as codes
from agent.store.authentication import Authentication
from agent.store.database import open_writer, translated
from agent.store.errors import JournalDamaged, UserError
from agent.store.sshkeys import Key, key_lines, key_of

ADMIN = "admin"
GROUPS = (ADMIN, "collector", "reader")
"""What an account may be: change and call everything, collect reports, only read."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}")
"""A mail address among them: a client certificate may name its user by one (RFC 7407, san-rfc822-name)."""

_LONGEST_PASSWORD = 1024


class Cost(NamedTuple):
    """scrypt's parameters: `n` and `r` make 128 * n * r bytes of memory."""

    n: int = 2**14
    r: int = 8
    p: int = 1


@dataclass(frozen=True, slots=True)
class Account:
    """One user, without secrets. `ssh_keys` are lines of an authorized_keys file."""

    name: str
    group: str
    ssh_keys: tuple[str, ...]
    has_password: bool

    @property
    def groups(self) -> frozenset[str]:
        return frozenset((self.group,))

    def named_keys(self) -> tuple[Key, ...]:
        """The SSH keys, to be shown and named."""
        return tuple(map(key_of, self.ssh_keys))


@dataclass(frozen=True, slots=True)
class _Hash:
    salt: bytes
    cost: Cost
    value: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    group: str
    ssh_keys: tuple[str, ...]
    hash: _Hash | None

    def account(self) -> Account:
        return Account(self.name, self.group, self.ssh_keys, self.hash is not None)

    def columns(self) -> tuple[Any, ...]:
        """The row without its code."""
        lines = "\n".join(self.ssh_keys)
        if self.hash is None:
            return (self.name, self.group, lines, None, None, None, None, None)
        return (self.name, self.group, lines, self.hash.salt, *self.hash.cost, self.hash.value)


class _View(NamedTuple):
    """All accounts as of one epoch."""

    epoch: int
    total: bytes
    entries: dict[str, _Entry]
    codes: dict[str, bytes]


class Users:
    """All accounts of one database. Safe to use from any thread; methods raise StoreError when they cannot read."""

    def __init__(self, path: Path, journal_key: bytes, cost: Cost = Cost()) -> None:  # noqa: B008 - immutable
        """Open and check the users in an existing database. `cost` is for passwords set from now on."""
        self._authentication = Authentication(journal_key)
        self._connection = open_writer(path, self._authentication)
        self._lock = threading.Lock()
        self._cost = cost
        self._view: _View | None = None
        # What an unknown name is checked against, so that it costs what a known one does.
        self._nobody = _Hash(secrets.token_bytes(16), cost, secrets.token_bytes(32))
        try:
            self._now()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # Reading

    def epoch(self) -> int:
        """A number that rises with every change of any account, by any process: whoever remembers, compares it."""
        return self._now().epoch

    def all(self) -> tuple[Account, ...]:
        """All accounts, by name."""
        entries = self._now().entries
        return tuple(entries[name].account() for name in sorted(entries))

    def user(self, name: str) -> Account | None:
        """The account of that name."""
        entry = self._now().entries.get(name)
        return None if entry is None else entry.account()

    def known(self, name: str) -> Account:
        """The account of that name. Raises UserError where there is none."""
        return _known(self._now(), name).account()

    def public_keys(self, name: str) -> Sequence[str]:
        """The user's keys as lines of an authorized_keys file; empty for an unknown user."""
        entry = self._now().entries.get(name)
        return () if entry is None else entry.ssh_keys

    def password(self, name: str, password: str) -> Account | None:
        """The account if name and password fit, else None. Takes as long for an unknown name as for a wrong password.

        Costs tens of milliseconds and, meanwhile, `128 * n * r` bytes (16 MiB).
        """
        entry = self._now().entries.get(name)
        known = entry.hash if entry is not None else None
        expected = known or self._nobody
        given = _derive(password, expected.salt, expected.cost)
        # An absurdly long password is hashed by its beginning only, and never fits.
        fits = hmac.compare_digest(given, expected.value) and _storable(password)
        return entry.account() if entry is not None and known is not None and fits else None

    # Changing; each is one durable transaction, from any process

    def add(
        self,
        name: str,
        group: str,
        password: str | None = None,
        ssh_keys: Sequence[str] = (),
        *,
        elsewhere: bool = False,
    ) -> Account:
        """Make an account with a password, SSH keys or both; neither where it logs in by what is checked elsewhere.

        Raises UserError.
        """
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{name!r} cannot be a user name: use up to 64 letters, digits and . _ @ -, beginning with a letter, "
                "digit or _"
            )
        if group not in GROUPS:
            raise UserError(f"{group!r} is not a group: choose one of {', '.join(GROUPS)}")
        if password is None and not ssh_keys and not elsewhere:
            raise UserError(f"user {name} needs a password or an SSH key, otherwise nobody could be {name}")
        entry = _Entry(name, group, key_lines(ssh_keys), None if password is None else self._hash(password))
        with self._change() as view:
            if name in view.entries:
                raise UserError(f"there is a user {name} already: set the password, or remove the user first")
            view.entries[name] = entry
        return entry.account()

    def set_password(self, name: str, password: str) -> None:
        """Give an account a new password. Raises UserError."""
        value = self._hash(password)
        with self._change() as view:
            view.entries[name] = replace(_known(view, name), hash=value)

    def set_keys(self, name: str, ssh_keys: Sequence[str]) -> None:
        """Give an account other SSH keys; none where it has a password. Raises UserError."""
        lines = key_lines(ssh_keys)
        with self._change() as view:
            entry = _known(view, name)
            if not lines and entry.hash is None:
                raise UserError(f"user {name} has no password: the last SSH key stays, or remove the user")
            view.entries[name] = replace(entry, ssh_keys=lines)

    def add_keys(self, name: str, ssh_keys: Sequence[str]) -> None:
        """Give an account further SSH keys. Raises UserError."""
        with self._change() as view:
            entry = _known(view, name)
            view.entries[name] = replace(entry, ssh_keys=key_lines((*entry.ssh_keys, *ssh_keys)))

    def remove_key(self, name: str, fingerprint: str) -> None:
        """Take one SSH key from an account; the last one only where it has a password. Raises UserError."""
        with self._change() as view:
            entry = _known(view, name)
            left = tuple(line for line in entry.ssh_keys if key_of(line).fingerprint != fingerprint)
            if left == entry.ssh_keys:
                raise UserError(f"user {name} has no SSH key {fingerprint}: list its keys")
            if not left and entry.hash is None:
                raise UserError(f"user {name} has no password: the last SSH key stays, or remove the user")
            view.entries[name] = replace(entry, ssh_keys=left)

    def set_group(self, name: str, group: str, *, force: bool = False) -> None:
        """Move an account to another group; the last administrator only by `force`. Raises UserError."""
        if group not in GROUPS:
            raise UserError(f"{group!r} is not a group: choose one of {', '.join(GROUPS)}")
        with self._change() as view:
            entry = _known(view, name)
            if group != ADMIN and not force:
                _check_last(view, entry)
            view.entries[name] = replace(entry, group=group)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove an account; that of the last administrator only by `force`. Raises UserError."""
        with self._change() as view:
            entry = _known(view, name)
            if not force:
                _check_last(view, entry)
            del view.entries[name]

    def _hash(self, password: str) -> _Hash:
        if not password or not _storable(password):
            raise UserError(f"a password has 1 to {_LONGEST_PASSWORD} bytes and no NUL")
        salt = secrets.token_bytes(16)
        return _Hash(salt, self._cost, _derive(password, salt, self._cost))

    def _now(self) -> _View:
        """All accounts as of now; read afresh only when the epoch has moved."""
        with self._lock, translated("read the users"):
            row = self._connection.execute("SELECT epoch, total FROM users_head").fetchone()
            if self._view is None or row != (self._view.epoch, self._view.total):
                self._connection.execute("BEGIN")
                try:
                    self._view = self._read()
                finally:
                    self._connection.execute("COMMIT")
            return self._view

    def _read(self) -> _View:
        """All rows, checked; within a transaction."""
        head = self._connection.execute("SELECT epoch, total, mac FROM users_head WHERE id = 1").fetchone()
        if head is None:
            raise JournalDamaged("users_head", 1, "the row is missing")
        epoch, total, mac = head
        if mac != self._authentication.code("users", epoch, total):
            raise JournalDamaged("users_head", 1, "it was changed, or authenticated under another journal key")
        entries: dict[str, _Entry] = {}
        macs: dict[str, bytes] = {}
        found = codes.START
        rows = self._connection.execute("SELECT name, role, ssh_keys, salt, n, r, p, hash, mac FROM users")
        for name, group, lines, salt, n, r, p, value, mac in rows:
            if mac != self._authentication.code("user", name, group, lines, salt, n, r, p, value):
                raise JournalDamaged("users", name, "it was changed")
            entries[name] = _Entry(
                name, group, tuple(lines.splitlines()), None if value is None else _Hash(salt, Cost(n, r, p), value)
            )
            macs[name] = mac
            found = codes.add(found, mac)
        if found != total:
            raise JournalDamaged("users", "", "rows are missing, or were brought back")
        return _View(epoch, total, entries, macs)

    @contextlib.contextmanager
    def _change(self) -> Iterator[_View]:
        """A transaction on the present accounts; what the block does to `entries` is written when it ends well."""
        with self._lock, translated("change the users"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                old = self._read()
                new = old._replace(entries=dict(old.entries), codes=dict(old.codes))
                yield new
                self._view = self._write(old, new)
                self._connection.execute("COMMIT")
            except BaseException:
                self._view = None
                if self._connection.in_transaction:
                    with contextlib.suppress(apsw.Error):
                        self._connection.execute("ROLLBACK")
                raise

    def _write(self, old: _View, new: _View) -> _View:
        total = old.total
        for name in old.entries.keys() | new.entries.keys():
            entry = new.entries.get(name)
            if entry == old.entries.get(name):
                continue
            if name in old.entries:
                self._connection.execute("DELETE FROM users WHERE name = ?", (name,))
                total = codes.subtract(total, new.codes.pop(name))
            if entry is not None:
                columns = entry.columns()
                mac = self._authentication.code("user", *columns)
                self._connection.execute("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*columns, mac))
                total = codes.add(total, mac)
                new.codes[name] = mac
        epoch = old.epoch + 1
        self._connection.execute(
            "UPDATE users_head SET epoch = ?, total = ?, mac = ?",
            (epoch, total, self._authentication.code("users", epoch, total)),
        )
        return new._replace(epoch=epoch, total=total)


def _known(view: _View, name: str) -> _Entry:
    entry = view.entries.get(name)
    if entry is None:
        raise UserError(f"there is no user {name}: list the users, or add this one")
    return entry


def _check_last(view: _View, entry: _Entry) -> None:
    """Raises UserError where no administrator would be left without this one."""
    if entry.group == ADMIN and not any(one.group == ADMIN for one in view.entries.values() if one is not entry):
        raise UserError(
            f"{entry.name} is the last administrator: give another user the group admin first, or say --force, after "
            "which only root and the agent's own user on this machine administer it"
        )


def _storable(password: str) -> bool:
    return "\0" not in password and len(password.encode("utf-8", "surrogatepass")) <= _LONGEST_PASSWORD


def _derive(password: str, salt: bytes, cost: Cost) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")[:_LONGEST_PASSWORD]
    return Scrypt(salt=salt, length=32, n=cost.n, r=cost.r, p=cost.p).derive(secret)
