"""What IOS XE calls saving the configuration (module cisco-ia). Only translation."""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.datastores import Datastores
from agent.core.providers import Operation
from agent.core.requests import Copy, Datastore
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.northbound.bound import Bindings
from agent.northbound.calls import through

_MODULE = "/cisco-ia:"


class Saving:
    """Runs on the core thread. `datastores` are set once the core that owns them is there, before it starts."""

    datastores: Datastores

    def __init__(self, bindings: Bindings) -> None:
        self._bindings = bindings

    def table(self) -> Mapping[str, Operation]:
        """By schema path, for `agent.core.dispatch.Providers`."""
        calls = {f"{_MODULE}save-config": self._save, f"{_MODULE}is-syncing": self._is_syncing}
        return {path: through(self._bindings, path, call) for path, call in calls.items()}

    def _save(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - it has no input
        """Without a startup datastore nothing is to do: running was durable before it was seen.

        Raises RequestError, as `copy-config` from running to startup does.
        """
        if self.datastores.offers_startup:
            self.datastores.copy(Copy(Datastore.RUNNING, Datastore.STARTUP), session)
        # scripts look for these words
        return {"result": "Save running-config successful"}

    def _is_syncing(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - it has no input
        return {"result": "No sync in progress"}
