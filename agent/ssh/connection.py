"""One SSH connection: who logs in and how, and which channels it may open. Passwords and keys are judged elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
import logging

import asyncssh
from asyncssh.constants import MSG_IGNORE
from asyncssh.packet import SSHPacketLogger

from agent.core.sessions import Authenticator, User
from agent.core.sources import plain
from agent.netconf.limits import FailureLimit, WaitingLimit
from agent.netconf.serving import Serving
from agent.ssh.access import Access
from agent.ssh.channel import NetconfChannel
from agent.ssh.keys import KeyTextError, load_authorized
from agent.ssh.outgoing import Outgoing
from agent.ssh.refusals import refusal

log = logging.getLogger(__name__)

CHANNELS = 64
"""Channels that one connection may have open at a time."""

ATTEMPTS = 6
"""Passwords that one connection may try."""

LONGEST_PASSWORD = 1024

Challenge = tuple[str, str, str, list[tuple[str, bool]]]
"""Title, instruction, language, and prompts with whether the answer is shown (RFC 4256 section 3.2)."""


@dataclass(eq=False, slots=True)
class Shared:
    """What all connections of one listener have in common.

    `lookups` finds users and keys, `passwords` checks passwords: a slow directory keeps no key waiting.
    """

    serving: Serving
    authenticator: Authenticator
    lookups: Executor
    passwords: Executor
    failures: FailureLimit
    waiting: WaitingLimit
    connections: set[Connection]
    channels: set[NetconfChannel]
    access: Access
    refusals: FailureLimit
    """How many refused keys of one source are logged."""


class Connection(asyncssh.SSHServer):
    """asyncssh's callbacks for one connection."""

    def __init__(self, shared: Shared, *, called: bool = False, idle_time: float | None = None) -> None:
        """`called`: the device has dialled, and the connection ends with its last session."""
        self._shared = shared
        self._called = called
        self.idle_time = idle_time
        self._users: dict[str, User] = {}
        self._listed = b""
        self.served = False
        self._attempts = 0
        self._waiting = False
        self._lost = False
        self._timer: asyncio.TimerHandle | None = None
        self._ssh: asyncssh.SSHServerConnection | None = None
        self._outgoing: Outgoing | None = None
        self.source = ""
        self.channels: set[NetconfChannel] = set()

    @property
    def buffered(self) -> int:
        """Octets that the kernel has not accepted yet (at least 1 while a change of keys holds packets back)."""
        if self._outgoing is None or self._ssh is None:
            return 0
        return self._outgoing.buffered + len(self._ssh._deferred_packets)

    def before_flush(self, add: Callable[[], None]) -> None:
        """Have `add` called before what was written in this turn of the event loop leaves."""
        if self._outgoing is not None:
            self._outgoing.before_flush(add)

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._ssh = conn
        self.source = plain(str((conn.get_extra_info("peername") or ("local",))[0]))
        # what asyncssh holds against a certificate's source-address
        conn._peer_addr = self.source if conn._peer_addr else ""
        # asyncssh offers no public way to put something before its transport; tests/netconf proves that this one works
        self._outgoing = Outgoing(conn._transport, self._emptied)  # type: ignore[arg-type]
        conn._transport = self._outgoing  # type: ignore[assignment]
        conn.resume_writing = self._emptied  # type: ignore[method-assign]
        self._take_keys = conn.validate_public_key
        conn.validate_public_key = self._modern_keys  # type: ignore[method-assign]
        send = conn.send_packet

        def send_packet(kind: int, *parts: bytes, handler: SSHPacketLogger | None = None) -> None:
            # asyncssh sends an empty message before every packet, against an attack on CBC ciphers: none is offered
            if kind != MSG_IGNORE:
                send(kind, *parts, handler=handler)

        conn.send_packet = send_packet  # type: ignore[method-assign, assignment]
        self._shared.connections.add(self)
        # whom the device has called itself takes no place from those that come
        self._waiting = not self._called and self._shared.waiting.enter(self.source)
        if not self._called and not self._waiting:
            log.warning("connection from %s refused: too many that have not logged in", self.source)
            asyncio.get_running_loop().call_soon(conn.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.connections.discard(self)
        self._logged_in()
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
        if exc is not None:
            # clients that are done often reset the connection instead of closing it
            level = logging.DEBUG if self.served and all(one.over for one in self._running()) else logging.INFO
            log.log(level, "connection from %s lost: %s", self.source, exc)

    def _running(self) -> list[NetconfChannel]:
        return [one for one in self._shared.channels if one.connection is self]

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._ssh is not None:
            self._ssh.abort()

    def close(self) -> None:
        """End the connection after what was written has been sent."""
        if self._ssh is not None:
            self._ssh.close()

    def channel_gone(self, channel: NetconfChannel) -> None:
        """A channel has ended."""
        self.channels.discard(channel)
        if self._called and not self.channels:
            self.close()

    def session_begins(self) -> None:
        """The connection is used for what it is for."""
        self.served = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def session_over(self) -> None:
        """A session has ended; its channel may still be there."""
        self._expect_session()

    def _expect_session(self) -> None:
        """A connection is for sessions: it ends if it has none by the time that a hello would be due.

        Other channels that come and go win no time.
        """
        if self._lost or self._timer is not None or self._running():
            return
        limit = self._shared.serving.limits.hello_time
        self._timer = asyncio.get_running_loop().call_later(limit, self._expected, limit)

    def _expected(self, limit: float) -> None:
        self._timer = None
        # who has had a session is only late to leave
        level = logging.INFO if self.served else logging.WARNING
        name = None if self._ssh is None else self._ssh.get_extra_info("username")
        log.log(level, "connection of %s from %s closed: no session on it for %g s", name, self.source, limit)
        self.close()

    def _emptied(self) -> None:
        for channel in tuple(self.channels):
            channel.emptied()

    def _logged_in(self) -> None:
        if self._waiting:
            self._waiting = False
            self._shared.waiting.leave(self.source)

    def auth_completed(self) -> None:
        self._logged_in()
        self._expect_session()

    async def begin_auth(self, username: str) -> bool:
        """Asked for each name that a client gives, before anything is tried for it."""
        loop = asyncio.get_running_loop()
        user = await loop.run_in_executor(self._shared.lookups, self._shared.authenticator.user, username)
        if user is not None:
            # no more than who it would be: a session needs the name to have been authenticated
            self._users[username] = user
        if self._ssh is not None:
            known = self._shared.access.authorities(username) if user is not None else asyncssh.SSHAuthorizedKeys()
            self._ssh.set_authorized_keys(known)
        return True

    def _permit_service(self) -> None:
        # paramiko, and so ncclient, asks for the authentication service again after a failure, which OpenSSH accepts
        # and asyncssh does not. The channel is encrypted and nobody logged in at this point, and asyncssh takes the
        # permission back on success, so that nothing is opened by it.
        if self._ssh is not None:
            self._ssh._next_service = b"ssh-userauth"

    def public_key_auth_supported(self) -> bool:
        return True

    async def _modern_keys(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Stands before asyncssh's own check of a key or certificate."""
        modern = self._shared.access.modern(key_data, signature)
        if modern and await self._take_keys(username, key_data, msg, signature):
            return True
        self._tell_refused(username, key_data, modern=modern)
        return False

    def _tell_refused(self, username: str, key_data: bytes, *, modern: bool) -> None:
        """One line of the log, few a minute and source: clients offer all keys that they have."""
        limit, now = self._shared.refusals, asyncio.get_running_loop().time()
        if limit.blocked(self.source, now):
            return
        limit.failed(self.source, now)
        known, listed = username in self._users, self._listed == key_data
        access = self._shared.access
        what, why = refusal(key_data, username, self.source, access, known=known, listed=listed, modern=modern)
        last = "; further ones from there are not logged for a while" if limit.blocked(self.source, now) else ""
        log.warning("login of %.64r from %s by %s refused: %s%s", username, self.source, what, why, last)

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        loop = asyncio.get_running_loop()
        lines, user = await loop.run_in_executor(self._shared.lookups, self._keys_of, username)
        if user is None or not any(_is_key(line, key, username) for line in lines):
            return False
        self._users[username] = user
        self._listed = key.public_data
        return True

    def _keys_of(self, username: str) -> tuple[list[str], User | None]:
        authenticator = self._shared.authenticator
        return list(authenticator.public_keys(username)), authenticator.user(username)

    def password_auth_supported(self) -> bool:
        # asked whenever a failure is answered
        self._permit_service()
        return self._shared.access.passwords and self._attempts < ATTEMPTS

    def kbdint_auth_supported(self) -> bool:
        return self.password_auth_supported()

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Challenge:  # noqa: ARG002
        return "", "", "", [("Password: ", False)]

    async def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        return len(responses) == 1 and await self.validate_password(username, responses[0])

    async def validate_password(self, username: str, password: str) -> bool:
        self._attempts += 1
        if self._attempts > ATTEMPTS or len(password) > LONGEST_PASSWORD:
            log.warning("login of %.64r from %s refused unread: too many or too long", username, self.source)
            return False
        wait = await self._shared.failures.take(self.source, asyncio.get_running_loop().time)
        if wait:
            log.warning(
                "login of %.64r from %s refused unread: too many failures (%.0f s)", username, self.source, wait
            )
            return False
        # a client that goes away meanwhile has still tried
        user = await asyncio.shield(asyncio.ensure_future(self._judge(username, password)))
        if user is None:
            return False
        self._users[username] = user
        return True

    async def _judge(self, username: str, password: str) -> User | None:
        shared = self._shared
        loop = asyncio.get_running_loop()
        try:
            user = await loop.run_in_executor(shared.passwords, shared.authenticator.password, username, password)
            if user is None:
                shared.failures.failed(self.source, loop.time())
                log.warning("login of %.64r from %s failed: wrong name or password", username, self.source)
            else:
                shared.failures.succeeded(self.source)
        finally:
            shared.failures.leave(self.source)
        return user

    def session_requested(self) -> NetconfChannel | bool:
        ssh = self._ssh
        # the name that was authenticated in the end counts, whatever was tried before
        user = None if ssh is None else self._users.get(str(ssh.get_extra_info("username")))
        if user is None or len(self.channels) >= CHANNELS:
            return False
        full = self._shared.serving.full(user)
        if full is not None:
            log.warning("session of %s from %s refused: %s", user.name, self.source, full)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, full)
        return NetconfChannel(self, self._shared, user)


def _is_key(line: str, key: asyncssh.SSHKey, username: str) -> bool:
    try:
        return load_authorized(line).public_data == key.public_data
    except KeyTextError:
        log.warning("a stored key of user %s cannot be read", username)
        return False
