"""A store that fails when a test wants it, as a disk does: at commit, at begin or at reading, with nothing kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.licensing.ports import Part, ReportHead, ReportRow, StoredReport
from agent.store.errors import StoreError, StoreFullError
from agent.store.memory import MemoryReports, MemoryStore, MemoryUnit

FULL = "cannot save: the disk is full; free some space and try again"
BROKEN = "cannot save: disk I/O error; check disk and kernel log, then try again"
UNREADABLE = "cannot read reports: disk I/O error; check disk and kernel log, then try again"


class FailingReports(MemoryReports):
    """Reads raise while `broken`."""

    broken = False

    def by_id(self, report_id: int) -> StoredReport | None:
        self._check()
        return super().by_id(report_id)

    def heads(self, report_ids: Sequence[int]) -> Mapping[int, ReportHead]:
        self._check()
        return super().heads(report_ids)

    def find_row(self, key: str, part: Part) -> ReportRow | None:
        self._check()
        return super().find_row(key, part)

    def pages(self, after_id: int, upto_id: int, limit: int, part: Part) -> Sequence[ReportRow]:
        self._check()
        return super().pages(after_id, upto_id, limit, part)

    def max_id(self) -> int:
        self._check()
        return super().max_id()

    def _check(self) -> None:
        if self.broken:
            raise StoreError(UNREADABLE)


class FailingUnit(MemoryUnit):
    """`commit` raises instead of keeping anything."""

    def __init__(self, store: FailingStore) -> None:
        super().__init__(store)
        self._failing = store

    def commit(self) -> None:
        if self._failing.full:
            raise StoreFullError(FULL)
        if self._failing.broken:
            raise StoreError(BROKEN)
        super().commit()


class FailingStore(MemoryStore):
    """`full` and `broken` make commits fail, `busy` the begin, `reports.broken` the reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: FailingReports = FailingReports()
        self.full = self.broken = self.busy = False

    def begin(self) -> MemoryUnit:
        if self.busy:
            raise StoreError("a unit of work is open already: commit it or roll it back first")
        super().begin()
        self._open_unit = FailingUnit(self)
        return self._open_unit
