"""What datastores, locks and confirmed commits do, written from RFC 6241 as simply as possible: no code of the agent.

A configuration is a dict of the toy's box: name, size, low, high (not below low) and the list of turns.
Each request returns the error-tag that it has to be refused with, or None; a refused request changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Box = dict[str, Any]


def good(box: Box) -> bool:
    return not ("low" in box and "high" in box and box["high"] < box["low"])


@dataclass
class Pending:
    before: Box
    owner: int | None
    persist: str | None
    ends: float


@dataclass
class Model:
    """`candidate` is None while it equals running; sessions are numbers."""

    startup_offered: bool
    now: float = 0.0
    running: Box = field(default_factory=dict)
    candidate: Box | None = None
    startup: Box | None = None
    locks: dict[str, int] = field(default_factory=dict)
    pending: Pending | None = None

    def shown(self, store: str) -> Box:
        if store == "running":
            return self.running
        if store == "candidate":
            return self.running if self.candidate is None else self.candidate
        return self.startup or {}

    def put(self, store: str, box: Box) -> None:
        if store == "running":
            self.running = box
        elif store == "candidate":
            self.candidate = box
        else:
            self.startup = box
        if self.candidate == self.running:
            self.candidate = None

    def taken(self, store: str, who: int) -> str | None:
        if self.locks.get(store, who) != who:
            return "in-use"
        if store == "running" and self.pending is not None and self.pending.owner != who:
            return "in-use"
        return None

    def write(self, store: str, box: Box, who: int) -> str | None:
        """An edit or a copy whose result is `box`."""
        if refused := self.taken(store, who):
            return refused
        if store != "candidate" and not good(box):
            return "operation-failed"
        self.put(store, box)
        return None

    def copy(self, source: str, target: str, who: int) -> str | None:
        return "invalid-value" if source == target else self.write(target, self.shown(source), who)

    def delete_startup(self, who: int) -> str | None:
        if refused := self.taken("startup", who):
            return refused
        self.startup = None
        return None

    def may_go_on(self, who: int, persist_id: str | None) -> str | None:
        pending = self.pending
        if pending is None:
            return None if persist_id is None else "invalid-value"
        if pending.persist is None:
            return "invalid-value" if persist_id is not None else "in-use" if pending.owner != who else None
        return "in-use" if persist_id is None else "invalid-value" if persist_id != pending.persist else None

    def commit(
        self, who: int, confirmed: bool, timeout: int, persist: str | None, persist_id: str | None
    ) -> str | None:
        if refused := self.may_go_on(who, persist_id):
            return refused
        if any(self.locks.get(store, who) != who for store in ("running", "candidate")):
            return "in-use"
        new = self.shown("candidate")
        if not good(new):
            return "operation-failed"
        if confirmed:
            last = self.pending
            before = self.running if last is None else last.before
            name = persist or (None if last is None else last.persist)
            self.pending = Pending(before, who, name, self.now + timeout)
        else:
            self.pending = None
        self.running, self.candidate = new, None
        return None

    def cancel(self, who: int, persist_id: str | None) -> str | None:
        if self.pending is None and persist_id is None:
            return "operation-failed"
        if refused := self.may_go_on(who, persist_id):
            return refused
        if self.locks.get("running", who) != who:
            return "in-use"
        self.go_back()
        return None

    def go_back(self) -> None:
        assert self.pending is not None
        self.running, self.pending = self.pending.before, None
        if self.candidate == self.running:
            self.candidate = None

    def discard(self, who: int) -> str | None:
        if self.locks.get("candidate", who) != who:
            return "in-use"
        self.candidate = None
        return None

    def lock(self, store: str, who: int) -> str | None:
        if store in self.locks:
            return "lock-denied"
        if store == "candidate" and self.candidate is not None:
            return "lock-denied"
        if store == "running" and self.pending is not None and self.pending.owner != who:
            return "lock-denied"
        self.locks[store] = who
        return None

    def unlock(self, store: str, who: int) -> str | None:
        if self.locks.get(store) != who:
            return "operation-failed"
        del self.locks[store]
        return None

    def end(self, who: int) -> None:
        if self.locks.get("candidate") == who:
            self.candidate = None
        self.locks = {store: holder for store, holder in self.locks.items() if holder != who}
        if self.pending is not None and self.pending.owner == who:
            if self.pending.persist is None:
                self.go_back()
            else:
                self.pending.owner = None

    def wait(self, seconds: float) -> None:
        self.now += seconds
        if self.pending is not None and self.now >= self.pending.ends:
            self.go_back()

    def restart(self) -> None:
        """After a crash; a stop in good order ends the sessions first."""
        if self.pending is not None:
            self.running = self.pending.before
        if self.startup_offered:
            self.running = self.startup or {}
        self.candidate, self.pending, self.locks = None, None, {}
