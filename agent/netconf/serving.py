"""What the transports of one server have in common: the core, what the hello says, limits, how many sessions there are.

Sessions of all transports count together. All calls come from the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.dispatch import Dispatch
from agent.core.sessions import User
from agent.netconf.endpoint import Channel, Endpoint
from agent.netconf.limits import Arriving, room
from agent.netconf.session import capabilities
from agent.netconf.settings import Limits


class Serving:
    """Opens sessions, within `limits`. `announce` defaults to `session.capabilities`."""

    def __init__(
        self, dispatch: Dispatch, *, announce: Sequence[str] | None = None, limits: Limits | None = None
    ) -> None:
        self.dispatch = dispatch
        self.limits = limits or Limits()
        self.arriving = Arriving(room(self.limits.message_size))
        self._announce = capabilities(dispatch.schema) if announce is None else tuple(announce)

    def full(self, user: User) -> str | None:
        """Why this user can have no further session now; None where it can.

        Recovery sessions are never refused: whoever has come to end the others must get in.
        """
        if user.recovery:
            return None
        open_now = [one for one in self.dispatch.sessions.all() if one.transport.startswith("netconf")]
        limits = self.limits
        if len(open_now) >= limits.sessions:
            return f"there are {limits.sessions} NETCONF sessions already, which is as many as there may be"
        if sum(one.user.name == user.name for one in open_now) >= limits.sessions_per_user:
            return f"user {user.name} has {limits.sessions_per_user} NETCONF sessions already, as many as one user may"
        return None

    def endpoint(
        self, channel: Channel, user: User, *, source_host: str, transport: str, idle_time: float | None = None
    ) -> Endpoint:
        """A session for an authenticated user, over a channel that the transport has made.

        `idle_time` is in seconds; None means that of the limits.
        """
        limits = self.limits
        self.arriving.total = room(limits.message_size)
        return Endpoint(
            self.dispatch,
            channel,
            user,
            arriving=self.arriving,
            source_host=source_host,
            capabilities=self._announce,
            transport=transport,
            hello_timeout=limits.hello_time,
            idle_timeout=limits.idle_time if idle_time is None else idle_time,
            message_limit=limits.message_size,
        )
