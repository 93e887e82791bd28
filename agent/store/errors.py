"""The ways in which keeping or reading can fail; every message says what to do next. Nothing else."""

from __future__ import annotations

from agent.licensing.ports import StorageError, StorageFullError


class StoreError(StorageError):
    """The store could not do it, and nothing of it has happened. Reading may still work."""


class StoreFullError(StoreError, StorageFullError):
    """There is no space left on the disk: new work is refused until some is freed; what is kept is safe."""


class StoreNewerError(StoreError):
    """The database, or an event in it, was written by a newer version of the agent."""


class JournalDamaged(StoreError):  # noqa: N818 - the state that it names, as the documentation calls it
    """What is kept is not what was written: altered, cut short, or authenticated under another key.

    `table` and `row` say where it was noticed first (`row` is the key of the row, or "" for the whole table).
    """

    def __init__(self, table: str, row: str | int, what: str) -> None:
        where = f"table {table}, row {row}" if row != "" else f"table {table}"
        super().__init__(
            f"the database was altered or damaged: {where}: {what}; restore the state folder (with the keys "
            "that belong to it) from a backup"
        )
        self.table = table
        self.row = str(row)


class UserError(Exception):
    """An account cannot be made or changed as asked; nothing has changed. The message says what would do."""
