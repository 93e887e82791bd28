"""Who is calling: Basic credentials over TLS (remembered, rate-limited) and the peer of a local socket.

No HTTP and no event loop here; passwords are neither kept nor logged. Source: RFC 8040 section 2.5, RFC 7617;
checklist 164.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from collections.abc import Callable
import hashlib
import logging
import os
import pwd
import secrets
import threading
import time
from typing import Protocol

from agent.core import sources
from agent.core.sessions import Authenticator, User
from agent.errors import Error
from agent.restconf.errors import HttpError

log = logging.getLogger(__name__)

REMEMBERED = 256
"""Verified credentials that are kept (as keyed hashes)."""

BURST = 10
"""Failed attempts that one source may make at once."""

REFILL = 6.0
"""Seconds after which a source gets one more attempt."""

SOURCES = 4096
"""Sources that are watched at a time; the one that was quiet longest is forgotten first."""

CHALLENGE = ("WWW-Authenticate", 'Basic realm="restconf", charset="UTF-8"')

LocalUser = Callable[[int], User | None]
"""Local user id to user; None refuses the connection's requests."""


class Accounts(Authenticator, Protocol):
    """An authenticator whose answers may be remembered until its epoch changes."""

    def epoch(self) -> int:
        """Another value after each change of any user, password or group. Cheap: asked for each request."""
        ...


class Throttle:
    """Attempts per source: `BURST` at once, one more every `REFILL` seconds. Any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # source -> (attempts spent, when)

    def take(self, source: str) -> float:
        """Spend one attempt. 0 where it is granted, else the seconds to wait for the next one."""
        now = self._now()
        with self._lock:
            spent, when = self._spent.pop(source, (0.0, now))
            spent = max(0.0, spent - (now - when) / REFILL)
            granted = spent + 1 <= BURST
            self._spent[source] = (spent + 1 if granted else spent, now)
            if len(self._spent) > SOURCES:
                self._spent.popitem(last=False)
            return 0.0 if granted else (spent + 1 - BURST) * REFILL

    def give_back(self, source: str) -> None:
        """The attempt was a success: it does not count."""
        with self._lock:
            spent, when = self._spent.get(source, (0.0, 0.0))
            if spent > 1:
                self._spent[source] = (spent - 1, when)
            else:
                self._spent.pop(source, None)


class BasicAuth:
    """Checks Authorization headers; what has been verified once costs one hash, until any account changes."""

    def __init__(self, accounts: Accounts, *, now: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts
        self._throttle = Throttle(now)
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, User] = OrderedDict()
        self._epoch: int | None = None

    def remembered(self, header: str) -> User | None:
        """The user of a header that was verified before; quick, for the event loop."""
        digest = self._digest(header)
        with self._lock:
            self._forget_outdated()
            user = self._known.get(digest)
            if user is not None:
                self._known.move_to_end(digest)
            return user

    def verify(self, header: str | None, source: str) -> User:
        """Check a header; slow (a password check): for a worker thread. `source` is the peer's address.

        Raises HttpError 401, or 429 where the source has failed too often.
        """
        if header is None:
            raise _unauthenticated("this needs a user name and password (Basic)")
        name, password = _credentials(header)
        network = sources.network(source)
        wait = self._throttle.take(network)
        if wait:
            log.warning("authentication of user %r from %s not tried: too many failures from there", name, source)
            message = "too many failed attempts from your address: try again later"
            headers = (("Retry-After", str(int(wait) + 1)),)
            raise HttpError(429, Error("protocol", "access-denied", message), headers=headers)
        epoch = self._accounts.epoch()
        user = self._accounts.password(name, password)
        if user is None:
            log.warning("authentication failed: user %r from %s over RESTCONF", name, source)
            raise _unauthenticated("user name or password is wrong")
        self._throttle.give_back(network)
        self._remember(header, user, epoch)
        return user

    def _remember(self, header: str, user: User, epoch: int) -> None:
        digest = self._digest(header)
        with self._lock:
            self._forget_outdated()
            if epoch != self._epoch:  # an account has changed meanwhile: the answer may be outdated
                return
            self._known[digest] = user
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def _forget_outdated(self) -> None:
        epoch = self._accounts.epoch()
        if epoch != self._epoch:
            self._known.clear()
            self._epoch = epoch

    def _digest(self, header: str) -> bytes:
        return hashlib.blake2b(header.encode("latin-1", "replace"), key=self._key, digest_size=32).digest()


def local_user(uid: int) -> User | None:
    """The default mapping of local users: root and the agent's own user are administrators whom no access rule holds
    (recovery sessions: they could change the agent's files anyway), others record usage."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
    if uid in (0, os.getuid()):
        return User(name, frozenset({"admin"}), recovery=True)
    return User(name, frozenset({"recorder"}))


def _credentials(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        raise _unauthenticated(f"the scheme {scheme[:20]!r} is not taken: use Basic")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise _unauthenticated("the Basic credentials are not base64 of UTF-8 text") from None
    name, colon, password = text.partition(":")
    if not colon or not name or "\x00" in text:
        raise _unauthenticated("the Basic credentials are not NAME:PASSWORD")
    return name, password


def _unauthenticated(message: str) -> HttpError:
    return HttpError(401, Error("protocol", "access-denied", message), headers=(CHALLENGE,))
