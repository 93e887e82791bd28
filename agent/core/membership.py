"""Keeps the users of open sessions what the accounts say now: groups that were changed, users that were removed.

Accounts are changed by other processes: their epoch is asked for once a second, and nothing else is read unless it has
moved. Sessions are looked at on this thread, since a lookup may ask the machine's directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import logging
import threading

from agent.core.sessions import Session, Sessions

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two looks at the epoch: a read of 4 µs."""


class Membership:
    """A thread, from `start` to `stop`.

    `epoch` is another value after each change of any account, `accounts` are these by name; both may raise.
    """

    def __init__(
        self,
        epoch: Callable[[], int],
        accounts: Callable[[], Mapping[str, object]],
        sessions: Sessions,
        *,
        every: float = EVERY,
    ) -> None:
        self._epoch = epoch
        self._accounts = accounts
        self._sessions = sessions
        self._every = every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)
        self._known = epoch()
        self._before = accounts()
        self._failing = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            try:
                self._look()
                self._failing = False
            except Exception:
                # tried again until it works, and told once
                if not self._failing:
                    log.exception("the accounts could not be read: open sessions go on as they are")
                self._failing = True

    def _look(self) -> None:
        epoch = self._epoch()
        if epoch == self._known:
            return
        now = self._accounts()
        log.info("users were changed: %s", _difference(self._before, now))
        for session in self._sessions.all():
            bring_up_to_date(session)
        self._known = epoch
        self._before = now


def bring_up_to_date(session: Session) -> None:
    """Have a session go on with the groups that its user has now, or end it where there is no such user any more.

    May take long. Raises what the lookup raises.
    """
    before = session.user
    if not session.look_again():
        log.warning("session %d ends: there is no user %s any more", session.id, before.name)
        session.end("other")
    elif session.user != before:
        told = (session.id, before.name, _named(before.groups), _named(session.user.groups))
        log.info("session %d: groups of user %s were %s, and are %s now", *told)


def _difference(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    told = [f"{name} removed" for name in before if name not in now]
    told += [f"{name} added" for name in now if name not in before]
    told += [f"{name} changed" for name in now if name in before and now[name] != before[name]]
    return ", ".join(told) or "a password"


def _named(groups: frozenset[str]) -> str:
    return ", ".join(sorted(groups)) or "none"
