"""The codes that show whether a row is what the agent wrote: HMAC-SHA-256 over unambiguous bytes; no SQL here.

The journal is a chain (each code covers the one before). Rows that come and go are authenticated one by one, and the
sum of their codes stands in an authenticated head row, so a row that was removed or brought back shows as well. What
this cannot show is a whole database put back to an older time: reports' hash chain and epoch are for that.
Source: RFC 2104; the sum is the additive multiset hash MSet-Add-Hash (Clarke et al., ASIACRYPT 2003).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from agent.licensing.ports import StoredReport

START = bytes(32)
"""The chain's value before the first event, and the sum of no rows."""


class Authentication:
    """Codes under one key; each kind of row has a key of its own, derived from it."""

    __slots__ = ("_keys",)

    _KINDS = ("journal", "snapshot", "config", "report", "head", "user", "users", "document", "documents", "event")

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("the journal key has 32 bytes")
        self._keys = {kind: hmac.digest(key, b"slp-agent store\0" + kind.encode(), "sha256") for kind in self._KINDS}

    def code(self, kind: str, *parts: bytes | int | str | None) -> bytes:
        """32 bytes over all `parts` in order, as a row of `kind`."""
        return hmac.digest(self._keys[kind], join(*parts), "sha256")

    def report_code(self, report_id: int, state: int, seal: bytes) -> bytes:
        """The code of a report's row; `seal` is `report_seal` of it."""
        return self.code("report", report_id, state, seal)

    def __repr__(self) -> str:
        return "<Authentication>"


def join(*parts: bytes | int | str | None) -> bytes:
    """One byte string for a sequence of values, different for different sequences."""
    pieces: list[bytes] = []
    for part in parts:
        if isinstance(part, int):
            text = b"%d" % part
            pieces.append(b"i%d:%b" % (len(text), text))
        elif isinstance(part, bytes):
            pieces += (b"b%d:" % len(part), part)
        elif isinstance(part, str):
            text = part.encode("utf-8", "surrogatepass")
            pieces += (b"s%d:" % len(text), text)
        else:
            pieces.append(b"n0:")
    return b"".join(pieces)


def report_seal(report: StoredReport) -> bytes:
    """SHA-256 over all of a report that never changes; its row's code covers this and the state."""
    encoded = report.encoded
    return hashlib.sha256(
        join(
            report.report_id, report.key, report.entitlement_tag, report.license_name, report.start, report.end,
            report.closed_at, report.close_reason, report.digest, report.document,
            encoded.summary_xml, encoded.summary_json, encoded.detail_xml, encoded.detail_json,
        )
    ).digest()  # fmt: skip


def add(total: bytes, code: bytes) -> bytes:
    """The sum of codes with one row more."""
    return ((int.from_bytes(total) + int.from_bytes(code)) % 2**256).to_bytes(32)


def subtract(total: bytes, code: bytes) -> bytes:
    """The sum of codes with one row less."""
    return ((int.from_bytes(total) - int.from_bytes(code)) % 2**256).to_bytes(32)


Move = tuple[bytes | None, bytes | None]
"""The code that a row had and the one that it has now; None is no row."""


class RowSum(NamedTuple):
    """How many rows there are, and the sum of their codes; or by how much both have changed."""

    rows: int = 0
    total: bytes = START

    def moved(self, *moves: Move) -> RowSum:
        """With each new code in the place of the old one."""
        rows, total = self.rows, int.from_bytes(self.total)
        for old, new in moves:
            if old is not None:
                rows, total = rows - 1, total - int.from_bytes(old)
            if new is not None:
                rows, total = rows + 1, total + int.from_bytes(new)
        return RowSum(rows, (total % 2**256).to_bytes(32))

    def plus(self, other: RowSum) -> RowSum:
        """Both together."""
        return RowSum(self.rows + other.rows, add(self.total, other.total))
