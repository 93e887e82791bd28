"""How far the check of the stored reports has come: what its thread, the writer and the readers tell each other.

No SQL and no thread of its own. docs/decisions/0034 has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import threading

from agent.store.authentication import RowSum
from agent.store.errors import JournalDamaged

LOWEST = -(2**63)
"""The lowest id that a row can have; the agent's own begin at 1."""

OnDamage = Callable[[JournalDamaged], None]


class Progress:
    """One store's. `writing` is held for the length of a transaction, and while the check opens its view of a page.

    `behind` is by how much rows up to `covered`, which the check has counted or is counting, have changed since it saw
    them; both belong to whoever holds `writing`. `on_damage` hears of everything that is found, on the finder's thread.
    """

    def __init__(self, on_damage: OnDamage | None = None) -> None:
        self.writing = threading.Lock()
        self._on_damage = on_damage
        self.begin()

    def begin(self) -> None:
        """Nothing has been passed (again). Call it while holding `writing`."""
        self.covered = LOWEST
        self.behind = RowSum()
        self.finished = False
        self._passed = LOWEST - 1

    def advance(self, report_id: int) -> None:
        """All rows up to this id are as they were written."""
        self._passed = report_id

    def finish(self) -> None:
        """All rows are, and none is missing."""
        self.covered, self.finished = LOWEST, True

    def has_passed(self, report_id: int) -> bool:
        """Whether the rows up to this id may be handed out as they are."""
        return self.finished or report_id <= self._passed

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Tell of the damage that the block raises."""
        try:
            yield
        except JournalDamaged as error:
            if self._on_damage is not None:
                self._on_damage(error)
            raise
