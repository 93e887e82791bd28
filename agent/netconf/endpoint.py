"""Runs one NETCONF session over a channel, whatever the transport: requests in order, replies with backpressure.

asyncio, but no transport: the channel is a port (below). Reads run here, inline; writes run on the core thread.
Checklist 19-23, 42, 43, 105-107.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
import logging
from typing import Any, Protocol, TypeVar

from agent.core.access import Denied
from agent.core.data import Data
from agent.core.defaults import WithDefaults
from agent.core.dispatch import Dispatch
from agent.core.membership import bring_up_to_date
from agent.core.requests import Get, Subscribe
from agent.core.select import walks
from agent.core.sessions import Lookup, User
from agent.core.streams import Subscription
from agent.core.view import mode_of
from agent.errors import Error, RequestError
from agent.netconf import messages
from agent.netconf.framing import MESSAGE_LIMIT, ProtocolError
from agent.netconf.limits import LARGE, Arriving
from agent.netconf.messages import CloseSession, Rpc
from agent.netconf.session import HelloReceived, LongMessage, NetconfSession
from agent.netconf.subscriptions import Delivery, already_subscribed

log = logging.getLogger(__name__)

HIGH_WATER = 512 * 1024
"""Octets that may wait in the channel before the endpoint stops producing."""

READ_AHEAD = 256 * 1024
"""Octets of further requests taken in while one is being answered."""

TURN = 16
"""Requests of one session that are answered before the others get their turn."""

RELEASE_TIMEOUT = 3.0
"""Seconds that the end of a session waits for the core thread, and a farewell for the transport."""


def _takes_long(request: Get) -> bool:
    """Whether a read looks at more than it shows: entries one by one, or where defaults are missing."""
    plain = mode_of(request) is WithDefaults.EXPLICIT
    return not plain or request.xpath is not None or walks(request.selection)


_APART = ThreadPoolExecutor(2, thread_name_prefix="netconf-apart")
"""For messages and reads that take long: two at a time, however many sessions ask."""

_EVALUATING = ThreadPoolExecutor(1, thread_name_prefix="netconf-xpath")
"""For XPath that has to be evaluated: each holds items of all that it visits, so there is one at a time."""

T = TypeVar("T")


class Channel(Protocol):
    """What a transport offers a session. All calls come from the event loop's thread."""

    @property
    def buffered(self) -> int:
        """Octets written that the transport has not accepted yet."""
        ...

    def write(self, data: bytes) -> None: ...

    async def drained(self) -> None:
        """Return when `buffered` is 0."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        """End the channel now; what was written and is still buffered is dropped."""
        ...


class _CutShortError(Exception):
    """A reply broke off after a part of it was sent: only ending the session is left."""


def _close(made: Future[Subscription]) -> None:
    """Close what nobody else will."""
    if not made.cancelled() and made.exception() is None:
        made.result().close()


class Endpoint:
    """One session, from its hello to its end.

    The transport creates it for an authenticated user, awaits `run` in a task, and calls `data_received`,
    `eof_received` and `connection_lost`. Everything but `end` belongs to the event loop's thread.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        channel: Channel,
        user: User,
        *,
        arriving: Arriving,
        source_host: str,
        capabilities: Sequence[str],
        transport: str = "netconf-ssh",
        lookup: Lookup | None = None,
        hello_timeout: float,
        idle_timeout: float = 0,
        message_limit: int = MESSAGE_LIMIT,
    ) -> None:
        """Times are in seconds; an `idle_timeout` of 0 is none, and none holds while there is a subscription.

        `message_limit` is in octets; all sessions share `arriving`.
        """
        self._dispatch = dispatch
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._session = dispatch.sessions.open(user, transport, source_host, end=self.end, lookup=lookup)
        self._protocol = NetconfSession(dispatch.schema, self._session.id, capabilities, limit=message_limit)
        self._arriving = arriving
        self._hello_timeout = hello_timeout
        self._idle_timeout = idle_timeout
        self._task: asyncio.Task[Any] | None = None
        self._delivery: asyncio.Task[None] | None = None
        self._outgoing = asyncio.Lock()
        self._more = asyncio.Event()
        self._eof = False
        self._paused = False
        self._idle = False
        self._reason: str | None = None
        self._closing = False

    @property
    def over(self) -> bool:
        """Whether the session has ended, or is about to as somebody asked: not by losing its connection."""
        return self._closing or self._reason not in (None, "dropped")

    def data_received(self, data: bytes) -> None:
        self._protocol.receive(data)
        held = self._protocol.held
        if held > LARGE or self in self._arriving:
            self._arriving.came(self, held)
        if self._idle:
            self._more.set()
        if not self._paused and self._protocol.waiting > READ_AHEAD:
            self._paused = True
            self._channel.pause_reading()

    def crowd_out(self) -> None:
        """Give up the message that is coming: there is no room for it, and the session ends."""
        self._protocol.crowd_out()
        self._more.set()

    def eof_received(self) -> None:
        """The client sends no more: what it has asked is still answered, then the session ends (checklist 23)."""
        self._eof = True
        self._more.set()

    def connection_lost(self) -> None:
        """Nothing can be sent any more: the session ends now (checklist 19)."""
        self._finish("dropped")

    def end(self, reason: str) -> None:
        """End the session from any thread; `reason` is a termination-reason of RFC 6470 section 2.2."""
        try:
            self._loop.call_soon_threadsafe(self._finish, reason)
        except RuntimeError:
            log.debug("session %d: its event loop is gone already", self._session.id)

    def _finish(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
            if self._task is not None:
                self._task.cancel()

    async def run(self) -> str:
        """Serve until the session ends; returns the termination-reason. Locks are released when it returns."""
        self._task = asyncio.current_task()
        session = self._session
        log.info("session %d: opened by %s from %s", session.id, session.user.name, session.source_host)
        self._dispatch.opened(session)
        timer = self._loop.call_later(self._hello_timeout, self._finish, "timeout")
        reason = "other"
        try:
            await self._look_again()
            if self._reason is not None:
                raise asyncio.CancelledError
            self._channel.write(self._protocol.hello())
            reason = await self._serve(timer)
        except asyncio.CancelledError:
            reason = self._reason or "other"
        except ProtocolError as error:
            self._reason = reason = "bad-hello" if error.reason == "bad-hello" else "other"
            log.warning("session %d: ended, %s: %s", session.id, error.reason, error)
            self._give_up()
            # what still comes would only be decrypted and thrown away
            self._channel.pause_reading()
            await self._farewell(error)
        except _CutShortError:
            log.exception("session %d: ended in the middle of a reply", session.id)
        except Exception:
            log.exception("session %d: ended by a fault of the agent", session.id)
        finally:
            timer.cancel()
            if self._delivery is not None:
                self._delivery.cancel()
            self._reason = self._reason or reason
            self._give_up()
            await self._release(reason)
            self._channel.close()
        return reason

    def _give_up(self) -> None:
        """Let go of what has been received: the session itself may stay until the collector finds it."""
        self._protocol.drop()
        self._arriving.gone(self)

    async def _look_again(self) -> None:
        """The user may have been changed since it logged in: on an SSH connection that may be long ago."""
        if self._session.lookup is not None:
            await self._loop.run_in_executor(None, bring_up_to_date, self._session)

    async def _serve(self, timer: asyncio.TimerHandle) -> str:
        taken = 0
        while True:
            taken += 1
            if taken % TURN == 0:
                await asyncio.sleep(0)
            # nothing is awaited between finding nothing here and waiting below, or a wake-up would be lost
            event = self._protocol.next_event()
            long = isinstance(event, LongMessage)
            if isinstance(event, LongMessage):
                self._arriving.came(self, self._protocol.held)
                self._arriving.answering(self, len(event.message))
                event = await self._apart(self._protocol.read, event.message)
            if event is None:
                if self._eof:
                    await self._channel.drained()
                    return "dropped" if self._protocol.inside else "closed"
                await self._wait()
            elif isinstance(event, HelloReceived):
                timer.cancel()
            elif isinstance(event.operation, CloseSession):
                self._session.in_rpcs += 1
                self._closing = True
                await self._send(messages.ok_reply(event))
                await self._channel.drained()
                return "closed"
            else:
                await self._answer(event, long=long)
            if long:
                self._arriving.answered(self)

    async def _apart(self, work: Callable[..., T], *arguments: Any, on: ThreadPoolExecutor = _APART) -> T:
        """Have done what would hold up the other sessions; it is counted or bounded, so it ends by itself."""
        return await self._loop.run_in_executor(on, work, *arguments)

    async def _wait(self) -> None:
        """Until more has been received."""
        self._more.clear()
        if self in self._arriving and self._protocol.held <= LARGE:
            self._arriving.came(self, 0)
        self._idle = True
        if self._paused:
            # what has come meanwhile may be handed over within this call
            self._paused = False
            self._channel.resume_reading()
        greeted = self._protocol.greeted
        timer = None
        if self._idle_timeout and greeted and not self._subscribed:
            timer = self._loop.call_later(self._idle_timeout, self._finish, "timeout")
        try:
            await self._more.wait()
        finally:
            if timer is not None:
                timer.cancel()
        self._idle = False

    async def _answer(self, rpc: Rpc, *, long: bool = False) -> None:
        operation = rpc.operation
        session = self._session
        try:
            if isinstance(operation, RequestError):
                raise operation
            session.in_rpcs += 1
            if isinstance(operation, Get):
                if apart := long or _takes_long(operation):
                    pool = _APART if operation.xpath is None else _EVALUATING
                    data = await self._apart(self._dispatch.read, operation, session, on=pool)
                else:
                    data = self._dispatch.read(operation, session)
                await self._send(messages.data_reply(rpc, data, self._dispatch.schema), apart=apart)
                if data.marks:
                    await self._delivered(data)
                return
            if isinstance(operation, Subscribe):
                await self._subscribe(rpc, operation)
                return
            assert not isinstance(operation, CloseSession)
            output = await asyncio.wrap_future(self._dispatch.submit(operation, session))
            node = messages.output_node(operation, self._dispatch.schema)
            if output and node is not None:
                await self._send(messages.output_reply(rpc, output, node))
            else:
                # also where an output is defined and nothing of it is returned (RFC 7950 section 7.14.4)
                await self._send(messages.ok_reply(rpc))
        except RequestError as refusal:
            await self._refuse(rpc, refusal)
        except _CutShortError:
            raise
        except Exception:
            log.exception("session %d: a request failed", session.id)
            await self._refuse(rpc, messages.unexpected())

    async def _subscribe(self, rpc: Rpc, request: Subscribe) -> None:
        """Answer, and only then begin to send notifications (RFC 5277 section 2.1.1; checklist 112, 113)."""
        if self._subscribed:
            raise already_subscribed()
        made = self._dispatch.subscribe(request, self._session)
        try:
            subscription = await asyncio.wrap_future(made)
            await self._send(messages.ok_reply(rpc))
        except BaseException:
            # refused, or the session ends meanwhile
            made.add_done_callback(_close)
            raise
        delivery = Delivery(self._dispatch.streams, subscription, self._notify, self._apart)
        self._delivery = self._loop.create_task(delivery.run())
        self._delivery.add_done_callback(lambda done: self._unsubscribed(subscription, done))

    @property
    def _subscribed(self) -> bool:
        return self._delivery is not None and not self._delivery.done()

    def _unsubscribed(self, subscription: Subscription, delivery: asyncio.Task[None]) -> None:
        subscription.close()
        # from now on the session may be idle
        self._more.set()
        if not delivery.cancelled() and (error := delivery.exception()) is not None:
            log.error("session %d: its notifications broke off", self._session.id, exc_info=error)
            self._finish("other")

    async def _notify(self, message: bytes) -> None:
        await self._send((message,))
        self._session.out_notifications += 1

    async def _refuse(self, rpc: Rpc, refusal: RequestError) -> None:
        session = self._session
        session.out_rpc_errors += 1
        if rpc.operation is refusal:
            # RFC 6022: messages with an error on the rpc layer are bad, others with a refusal are not
            if any(error.type == "rpc" for error in refusal.errors):
                session.in_bad_rpcs += 1
            else:
                session.in_rpcs += 1
        errors = refusal.on_rpc() if isinstance(refusal, Denied) else refusal.errors
        await self._send(messages.error_reply(rpc, errors, self._dispatch.schema))

    async def _send(self, parts: Iterable[bytes], *, apart: bool = False) -> None:
        """Write one message, in one write where it is small; never hold much more than HIGH_WATER in the channel.

        Errors before the first octet is written pass through, so that the reply can still become an rpc-error. The
        pieces of a reply that takes long are made `apart`.
        """
        # notifications are sent between replies, never within one
        async with self._outgoing:
            await self._send_pieces(parts, apart=apart)

    async def _send_pieces(self, parts: Iterable[bytes], *, apart: bool) -> None:
        pieces = iter(self._protocol.frame(parts))
        self._channel.write(await self._apart(next, pieces) if apart else next(pieces))
        try:
            while (piece := await self._apart(next, pieces, None) if apart else next(pieces, None)) is not None:
                # a long reply gives the other sessions their turn at every piece
                await asyncio.sleep(0)
                if self._channel.buffered > HIGH_WATER:
                    await self._channel.drained()
                self._channel.write(piece)
        except Exception as error:
            raise _CutShortError from error
        if self._channel.buffered > HIGH_WATER:
            await self._channel.drained()

    async def _delivered(self, data: Data) -> None:
        """Tell the core what the transport has wholly accepted (design: Reads with a consequence)."""
        await self._channel.drained()
        try:
            await asyncio.wrap_future(self._dispatch.delivered(data, self._session))
        except Exception:
            log.exception("session %d: what was delivered could not be recorded", self._session.id)

    async def _farewell(self, error: ProtocolError) -> None:
        """A message for which there is no room is answered; after other faults the channel is simply closed (RFC 6242
        section 4.2)."""
        tag = {"too-big": "too-big", "crowded": "resource-denied"}.get(error.reason)
        if tag is None or not self._protocol.greeted:
            return
        self._session.in_bad_rpcs += 1
        self._session.out_rpc_errors += 1
        told = Error("rpc", tag, str(error))
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT):
                await self._send(messages.error_reply(Rpc(b"", RequestError(told)), (told,), self._dispatch.schema))
                await self._channel.drained()
        except Exception:
            log.debug("session %d: left before it could be told", self._session.id)

    async def _release(self, reason: str) -> None:
        """Give back what the session holds (locks), on the core thread."""
        try:
            ended = asyncio.wrap_future(self._dispatch.closed(self._session, reason))
            # waited for without a claim to cancel it: a lock that is released late is still released
            done, _ = await asyncio.wait((ended,), timeout=RELEASE_TIMEOUT)
            if done:
                ended.result()
            else:
                log.warning("session %d: the core thread has not released it yet", self._session.id)
        except Exception:
            log.exception("session %d: its release failed", self._session.id)
