"""Edits of running that wait at the same time: which of them share a unit of work, and what comes of each.

What an edit makes of a tree is datastores.py's business, how it becomes durable datastore.py's. Core thread
(decision 0073).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from agent.core.datastores import Datastores
from agent.core.requests import Datastore, Edit
from agent.core.sessions import Session
from agent.core.trial import Changed

GO = 0.05
"""Seconds after which no further edit is taken into a unit of work: others wait for its end."""
Permit = Callable[[Edit, Session], None]
"""Raises RequestError where the session may not ask for that."""
Result = Exception | None


class SharedEdits:
    """Does them in the order in which they came."""

    def __init__(self, datastores: Datastores, permit: Permit) -> None:
        self._datastores = datastores
        self._permit = permit
        self._apart = 0
        """Edits that waited in a unit of work which was refused: each of them is to be done for itself."""

    def make(self, asked: Sequence[tuple[Edit, Session]]) -> list[Result]:
        """The first, and as many of the others as can be in one unit of work with it.

        Each is permitted, checked, kept and told as if it came when those before it were done; what is refused takes
        no other with it. A result for each that is done; the others are to be asked again, before any that come later.
        """
        if self._apart:
            self._apart -= 1
            return self._some(asked[:1])
        return self._some(asked)

    def _some(self, asked: Sequence[tuple[Edit, Session]]) -> list[Result]:
        results, changes = self._taken(asked)
        if not changes:
            return results
        try:
            self._datastores.make(changes)
        except Exception as error:
            if len(results) == 1:
                return [error]
            # one of them is refused later, or the store fails: each for itself then
            self._apart = len(results) - 1
            return self._some(asked[:1])
        return results

    def _taken(self, asked: Sequence[tuple[Edit, Session]]) -> tuple[list[Result], list[Changed]]:
        """What is refused by now, or None, of each that the unit takes in, and their changes."""
        running, end = self._datastores.running, monotonic() + GO
        tree = running.tree
        results: list[Result] = []
        changes: list[Changed] = []
        for request, session in asked:
            if results and monotonic() > end:
                break
            try:
                self._permit(request, session)
                new = self._datastores.edited(request, session, tree)
            except Exception as error:
                results.append(error)
                continue
            alone = False
            if new is not None and new != tree:
                alone = len(asked) == 1 or not running.joins(tree, new)
                if alone and results:
                    break
                changes.append(Changed(Datastore.RUNNING, session, tree, new))
                tree = new
            results.append(None)
            if alone:
                break
        return results, changes
