"""The database's tables, as an ordered list of steps from nothing to now; no reading or writing of what they hold.

The version is SQLite's user_version, so it changes in the step's own transaction. A new database takes the same steps
as an old one; a step that has been released is never edited, only followed by another.
"""

from __future__ import annotations

from collections.abc import Callable

import apsw

from agent.store.authentication import START, Authentication
from agent.store.errors import StoreError, StoreNewerError

APPLICATION_ID = 0x534C5041
"""SQLite's application_id of our databases ("SLPA")."""

Step = Callable[[apsw.Connection, Authentication], None]


def _journal_and_reports(connection: apsw.Connection, authentication: Authentication) -> None:
    """Version 1. Bodies are apart from what lists and state changes touch, so these stay small and quick."""
    connection.execute("""
        CREATE TABLE head (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            seq INTEGER NOT NULL, chain BLOB NOT NULL,
            report_count INTEGER NOT NULL, report_sum BLOB NOT NULL,
            config BLOB, mac BLOB NOT NULL
        ) STRICT;
        CREATE TABLE journal (
            seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, type TEXT NOT NULL, body BLOB NOT NULL, mac BLOB NOT NULL
        ) STRICT;
        CREATE TABLE snapshot (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            seq INTEGER NOT NULL, chain BLOB NOT NULL, body BLOB NOT NULL, mac BLOB NOT NULL
        ) STRICT;
        CREATE TABLE config (
            id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL, mac BLOB NOT NULL
        ) STRICT;
        CREATE TABLE reports (
            report_id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, state INTEGER NOT NULL,
            seal BLOB NOT NULL, mac BLOB NOT NULL,
            entitlement_tag TEXT NOT NULL, license_name TEXT NOT NULL,
            start INTEGER NOT NULL, end INTEGER NOT NULL, closed_at INTEGER NOT NULL, close_reason TEXT NOT NULL,
            digest TEXT NOT NULL, summary_xml BLOB NOT NULL, summary_json BLOB NOT NULL
        ) STRICT;
        CREATE TABLE report_bodies (
            report_id INTEGER PRIMARY KEY, document BLOB NOT NULL, detail_xml BLOB NOT NULL, detail_json BLOB NOT NULL
        ) STRICT;
    """)
    connection.execute(
        "INSERT INTO head VALUES (1, 0, ?, 0, ?, NULL, ?)",
        (START, START, authentication.code("head", 0, START, 0, START, None)),
    )


def _users(connection: apsw.Connection, authentication: Authentication) -> None:
    """Version 2. `ssh_keys` holds lines of an authorized_keys file; `hash` is NULL for a user without password."""
    connection.execute("""
        CREATE TABLE users (
            name TEXT PRIMARY KEY, role TEXT NOT NULL, ssh_keys TEXT NOT NULL,
            salt BLOB, n INTEGER, r INTEGER, p INTEGER, hash BLOB, mac BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE users_head (
            id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, total BLOB NOT NULL, mac BLOB NOT NULL
        ) STRICT;
    """)
    connection.execute("INSERT INTO users_head VALUES (1, 0, ?, ?)", (START, authentication.code("users", 0, START)))


def _documents(connection: apsw.Connection, authentication: Authentication) -> None:  # noqa: ARG001 - a step's shape
    """Version 3. Further configuration documents; the head's `config` covers them as soon as there is one."""
    connection.execute("CREATE TABLE documents (name TEXT PRIMARY KEY, body BLOB NOT NULL, mac BLOB NOT NULL) STRICT")


def _events(connection: apsw.Connection, authentication: Authentication) -> None:  # noqa: ARG001 - a step's shape
    """Version 4. The log of events; `events_log` says when it was begun and of what time the last dropped one was."""
    connection.execute("""
        CREATE TABLE events (
            number INTEGER PRIMARY KEY, at REAL NOT NULL, module TEXT NOT NULL, name TEXT NOT NULL,
            tree BLOB NOT NULL, xml BLOB NOT NULL, mac BLOB NOT NULL
        ) STRICT;
        CREATE TABLE events_log (id INTEGER PRIMARY KEY CHECK (id = 1), created REAL NOT NULL, aged REAL) STRICT;
    """)


STEPS: tuple[Step, ...] = (_journal_and_reports, _users, _documents, _events)
VERSION = len(STEPS)


def version_of(connection: apsw.Connection) -> int:
    """The version of an open database; 0 when it is empty."""
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    return version


def check(connection: apsw.Connection) -> None:
    """Refuse what no step of ours can have made. Raises StoreNewerError or StoreError."""
    version, application = version_of(connection), connection.pragma("application_id")
    if application != APPLICATION_ID or version < 1:
        raise StoreError(
            f"{connection.filename} is not a database of slp-agent: restore agent.db from a backup of the state folder"
        )
    if version > VERSION:
        raise StoreNewerError(
            f"{connection.filename} has version {version}, this agent knows up to {VERSION}: run the newer agent that "
            "wrote it"
        )


def migrate(connection: apsw.Connection, authentication: Authentication, upto: int = VERSION) -> None:
    """Take the steps that are missing, each in a transaction of its own, durable one by one. Raises apsw.Error."""
    if version_of(connection) >= upto:
        return
    for number in range(version_of(connection) + 1, upto + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have taken the step while this one waited for its turn.
            if version_of(connection) < number:
                STEPS[number - 1](connection, authentication)
                connection.pragma("user_version", number)
                connection.pragma("application_id", APPLICATION_ID)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
