"""The one row that all others are held against: how far journal, report rows and configuration have come."""

from __future__ import annotations

from typing import NamedTuple

import apsw

from agent.store.authentication import Authentication, RowSum
from agent.store.errors import JournalDamaged


class Head(NamedTuple):
    """Last event and the journal's code there, number and sum of the report rows, code of the configuration."""

    seq: int
    chain: bytes
    report_count: int
    report_sum: bytes
    config: bytes | None

    @property
    def reports(self) -> RowSum:
        return RowSum(self.report_count, self.report_sum)


def read_head(connection: apsw.Connection, authentication: Authentication) -> Head:
    """The row as of now. Raises JournalDamaged, apsw.Error."""
    row = connection.execute(
        "SELECT seq, chain, report_count, report_sum, config, mac FROM head WHERE id = 1"
    ).fetchone()
    if row is None:
        raise JournalDamaged("head", 1, "the row is missing")
    *fields, mac = row
    head = Head(*fields)
    if mac != authentication.code("head", *head):
        raise JournalDamaged("head", 1, "it was changed, or authenticated under another journal key")
    return head
