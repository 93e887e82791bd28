"""Open sessions follow the accounts: groups that change, users that go, accounts that cannot be read for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import logging

import pytest

from agent.clock import SystemClock
from agent.core.membership import Membership
from agent.core.sessions import Session, Sessions, User
from tests.netconf.support import until

ANN = User("ann", frozenset({"admin"}))


class Accounts:
    """Users by name with an epoch, as the store has them."""

    def __init__(self) -> None:
        self.users = {"ann": ANN}
        self.number = 1
        self.looked_up = 0
        self.broken = False

    def epoch(self) -> int:
        if self.broken:
            raise OSError("the disk is away")
        return self.number

    def all(self) -> dict[str, User]:
        return dict(self.users)

    def lookup(self) -> User | None:
        self.looked_up += 1
        return self.users.get("ann")


@contextmanager
def watched(accounts: Accounts) -> Iterator[tuple[Session, list[str]]]:
    """A session of ann, and the reasons for which it was ended."""
    sessions, ended = Sessions(SystemClock()), list[str]()
    session = sessions.open(ANN, "netconf-ssh", "192.0.2.1", end=ended.append, lookup=accounts.lookup)
    membership = Membership(accounts.epoch, accounts.all, sessions, every=0.005)
    membership.start()
    try:
        yield session, ended
    finally:
        membership.stop()


def test_groups_and_existence_follow_the_accounts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agent.core.membership")
    accounts = Accounts()
    with watched(accounts) as (session, ended):
        accounts.users = {"ann": User("ann", frozenset({"reader"})), "bob": ANN}
        accounts.number += 1
        assert until(lambda: session.user.groups == {"reader"})
        looked_up = accounts.looked_up
        accounts.users = {"bob": ANN}
        accounts.number += 1
        assert until(lambda: ended == ["other"])
    assert looked_up == 1
    assert accounts.looked_up == 2
    assert [one.getMessage() for one in caplog.records] == [
        "users were changed: bob added, ann changed",
        "session 1: groups of user ann were admin, and are reader now",
        "users were changed: ann removed",
        "session 1 ends: there is no user ann any more",
    ]


def test_accounts_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """Told once; what changed meanwhile is taken up when they can be read again."""
    accounts = Accounts()
    with watched(accounts) as (session, _):
        accounts.broken = True
        assert until(lambda: "could not be read" in caplog.text)
        accounts.users["ann"] = User("ann", frozenset())
        accounts.number += 1
        accounts.broken = False
        assert until(lambda: session.user.groups == frozenset())
    assert len([one for one in caplog.records if one.levelname == "ERROR"]) == 1


def test_sessions_that_are_authenticated_by_request_are_left_alone() -> None:
    session = Sessions(SystemClock()).open(ANN, "restconf", "192.0.2.1", end=lambda _: None)
    assert session.look_again()
    assert session.user is ANN
