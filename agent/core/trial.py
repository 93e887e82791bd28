"""A confirmed commit that awaits its confirmation: who may go on with it, and when it ends. Values only.

Source: RFC 6241 section 8.4; the events are those of RFC 6470 section 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.core.requests import Datastore
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.errors import RequestError, refuse


@dataclass(frozen=True, slots=True)
class Trial:
    """`before` is what running goes back to; `session` whose it is, while that lives; `persist` its name, if any.

    It began (or was prolonged) at `since` and ends `seconds` later, both on the injected clock.
    """

    before: Tree
    session: Session | None
    persist: str | None
    since: float
    seconds: float

    @property
    def deadline(self) -> float:
        return self.since + self.seconds

    def check(self, session: Session, persist_id: str | None) -> None:
        """Whether a request may go on with it, confirm or cancel it. Raises RequestError."""
        if self.persist is None:
            if persist_id is not None:
                raise unknown(persist_id)
            self.check_owner(session)
        elif persist_id is None:
            message = "a persistent confirmed commit awaits its confirmation: name it by its persist-id"
            raise refuse("in-use", message, type="protocol")
        elif persist_id != self.persist:
            raise unknown(persist_id)

    def check_owner(self, session: Session) -> None:
        """Raises RequestError in-use for all sessions but its own."""
        if self.session is not session:
            whose = "an ended session" if self.session is None else f"session {self.session.id}"
            message = f"a confirmed commit of {whose} awaits its confirmation: wait until it is confirmed or cancelled"
            raise refuse("in-use", message, type="protocol", app_tag="outstanding-confirmed-commit")


def unknown(persist_id: str) -> RequestError:
    """No confirmed commit has this name."""
    message = f"no confirmed commit awaits its confirmation under the persist-id {persist_id[:80]!r}"
    return refuse("invalid-value", message, type="protocol", bad_element="persist-id")


@dataclass(frozen=True, slots=True)
class Changed:
    """A configuration has become another; `session` is None where the agent itself did it."""

    datastore: Datastore
    session: Session | None
    old: Tree
    new: Tree


@dataclass(frozen=True, slots=True)
class TrialEvent:
    """What has become of a confirmed commit; `timeout` is in real seconds, for start and extend."""

    event: Literal["start", "cancel", "timeout", "extend", "complete"]
    session: Session | None
    timeout: int | None = None
