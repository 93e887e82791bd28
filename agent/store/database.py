"""Opening the SQLite file: connections with our settings, one reader a thread, errors in our words; no tables here.

Source: sqlite.org/wal.html, sqlite.org/pragma.html.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
from pathlib import Path
import threading
import weakref

import apsw

from agent.store.authentication import Authentication
from agent.store.errors import JournalDamaged, StoreError, StoreFullError
from agent.store.migrations import check, migrate

BUSY_MILLISECONDS = 5_000
"""How long a writer waits for another process's transaction (a user being added is one)."""

_WAL_LIMIT = 16 * 1024 * 1024


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what SQLite raises into a StoreError; `doing` completes "cannot …"."""
    try:
        yield
    except apsw.FullError as error:
        raise StoreFullError(f"cannot {doing}: the disk is full; free some space and try again") from error
    except (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError) as error:
        raise JournalDamaged("all", "", f"cannot {doing}: {error}") from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise StoreError(f"cannot {doing}: another process keeps the database locked; end it and try again") from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError) as error:
        raise StoreError(f"cannot {doing}: {error}; check that the agent's user owns the state folder") from error
    except apsw.IOError as error:
        raise StoreError(f"cannot {doing}: {error}; check disk and kernel log, then try again") from error
    except apsw.ConnectionClosedError as error:
        raise StoreError(f"cannot {doing}: the store is closed") from error
    except apsw.Error as error:
        raise StoreError(f"cannot {doing}: {error}") from error


def create_file(path: Path, authentication: Authentication) -> None:
    """Make a new database, mode 0600. Raises StoreError, also when the file exists."""
    try:
        # SQLite's companion files take this file's mode.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as error:
        raise StoreError(f"{path} exists already: run the agent on it, or choose another state folder") from error
    except OSError as error:
        raise StoreError(f"cannot create {path}: {error.strerror}; check space and rights") from error
    with translated(f"create {path}"):
        connection = _writer(path)
        try:
            migrate(connection, authentication)
        finally:
            connection.close()


def open_writer(path: Path, authentication: Authentication) -> apsw.Connection:
    """A read-write connection to an existing database, brought up to the present version. Raises StoreError."""
    if not path.is_file():
        raise StoreError(f"there is no database {path}: restore it from a backup of the state folder")
    with translated(f"open {path}"):
        connection = _writer(path)
        try:
            check(connection)
            migrate(connection, authentication)
        except BaseException:
            connection.close()
            raise
        return connection


def _writer(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    connection.pragma("trusted_schema", False)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("journal_size_limit", _WAL_LIMIT)
    connection.pragma("cell_size_check", True)
    return connection


def read_only(path: Path) -> apsw.Connection:
    """A connection that only reads. Raises apsw.Error."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    connection.pragma("trusted_schema", False)
    # pages are read once and joined into a reply; the system's page cache does the keeping
    connection.pragma("cache_size", -256)
    return connection


class Readers:
    """Read-only connections to one database, one for each thread that reads; a thread's ends with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._all: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False

    def connection(self) -> apsw.Connection:
        """The calling thread's connection. Raises StoreError when closed, apsw.Error when it cannot be opened."""
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = read_only(self._path)
            with self._lock:
                self._all.add(connection)
            self._local.connection = connection
        if self._closed:
            connection.close()
            raise StoreError("the store is closed")
        return connection

    def close(self) -> None:
        """Close all of them; call it when nobody reads any more."""
        with self._lock:
            self._closed = True
            for connection in list(self._all):
                connection.close()
