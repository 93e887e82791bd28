"""create-subscription (RFC 5277): its parameters as a `Subscribe` of the core, and the sending of what it brings.

One `Delivery` a subscription, in a task of its own; all of one event loop share a single wake-up an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
import contextlib
from datetime import datetime
from typing import Final
from weakref import WeakKeyDictionary

from lxml.etree import _Element as Element

from agent.clock import date_and_time
from agent.codec import xml
from agent.core.event_filter import EventFilter, SubtreeFilter, XPathEventFilter
from agent.core.hub import Event
from agent.core.requests import Subscribe
from agent.core.schema import Schema
from agent.core.streams import NETCONF, Streams, Subscription
from agent.core.xpath_parse import Scope, parse
from agent.errors import RequestError, refuse
from agent.netconf.parameters import parameters, text
from agent.netconf.reads import filter_of, prefixes

NOTIFICATION: Final = "urn:ietf:params:xml:ns:netconf:notification:1.0"
MODULE: Final = "notifications"
_CAPABILITIES = (
    "urn:ietf:params:netconf:capability:notification:1.0",
    "urn:ietf:params:netconf:capability:interleave:1.0",
)

BATCH: Final = 64
"""Events of one subscription that are looked at before other sessions get their turn."""


def capabilities(schema: Schema) -> tuple[str, ...]:
    """What is offered of RFC 5277, as far as its module is served."""
    return _CAPABILITIES if MODULE in schema.modules else ()


# Requests


def _create_subscription(operation: Element, schema: Schema) -> Subscribe:
    """RFC 5277 section 2.1.1. Raises RequestError."""
    given = parameters(operation, schema, "stream", "filter", "startTime", "stopTime")
    start, stop = (_time(given, label) for label in ("startTime", "stopTime"))
    if stop is not None and start is None:
        message = "stopTime goes with startTime"
        raise refuse("missing-element", message, type="protocol", bad_element="startTime")
    if start is not None and stop is not None and stop < start:
        message = "stopTime is earlier than startTime"
        raise refuse("bad-element", message, type="protocol", bad_element="stopTime")
    return Subscribe(text(given.get("stream")) or NETCONF.name, _filter(given.get("filter"), schema), start, stop)


def _time(given: dict[str, Element], label: str) -> float | None:
    value = text(given.get(label))
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if "T" not in value or moment.tzinfo is None:
            raise ValueError(value)
        return moment.timestamp()
    except (ValueError, OverflowError):
        message = f"{label} is a time with date and offset such as 2026-11-24T04:17:15Z, not {value[:40]!r}"
        raise refuse("invalid-value", message, type="protocol", bad_element=label) from None


def _filter(element: Element | None, schema: Schema) -> EventFilter | None:
    if element is None:
        return None

    def subtree(element: Element) -> EventFilter:
        return SubtreeFilter(xml.decode_filter(element, schema, schema.events))

    def xpath(select: str, element: Element) -> EventFilter:
        scope = Scope(prefixes(element, schema))
        return XPathEventFilter(parse(select, scope), scope)

    return filter_of(element, schema, subtree, xpath)


READERS: dict[tuple[str, str], Callable[[Element, Schema], Subscribe]] = {
    (NOTIFICATION, "create-subscription"): _create_subscription
}
"""By namespace and name."""


# Messages


def message(event: Event, schema: Schema) -> bytes:
    """The event as one message, made for the first who wants it and kept with it (RFC 5277 section 4)."""
    made = event.kept.get("netconf")
    if made is None:
        body = event.kept.get("xml")
        if body is None:
            body = event.kept["xml"] = content(event, schema)
        moment = date_and_time(event.time)
        made = b'<notification xmlns="%s"><eventTime>%s</eventTime>%s</notification>' % (
            NOTIFICATION.encode(),
            moment.encode(),
            body,
        )
        event.kept["netconf"] = made
    return made


def content(event: Event, schema: Schema) -> bytes:
    """The event itself as one element: what the log keeps."""
    node = schema.notifications[event.module, event.name]
    return b"".join(xml.encode_wrapped(event.tree, node)) if event.tree else _empty(node.name, node.namespace)


def _empty(name: str, namespace: str) -> bytes:
    return f'<{name} xmlns="{xml.escape_attribute(namespace)}"/>'.encode()


# Delivery


class _Bell:
    """Wakes the deliveries of one event loop, with one call into it however many they are."""

    def __init__(self, streams: Streams, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: set[asyncio.Event] = set()
        self._rung = False
        self._streams = streams
        self._leave: Callable[[], None] | None = None

    def add(self, event: asyncio.Event) -> None:
        self._waiting.add(event)
        if self._leave is None:
            self._leave = self._streams.wake(self._ring)

    def discard(self, event: asyncio.Event) -> None:
        self._waiting.discard(event)
        if not self._waiting and self._leave is not None:
            self._leave()
            self._leave = None

    def _ring(self) -> None:
        """Called on the publisher's thread."""
        if not self._rung:
            self._rung = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                # the loop has ended, and its deliveries with it
                self._rung = False

    def _wake(self) -> None:
        self._rung = False
        for event in self._waiting:
            event.set()


_bells: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Streams, _Bell]] = WeakKeyDictionary()


def _bell(streams: Streams) -> _Bell:
    loop = asyncio.get_running_loop()
    bells = _bells.setdefault(loop, {})
    return bells.setdefault(streams, _Bell(streams, loop))


class Delivery:
    """Sends what one subscription brings."""

    def __init__(
        self,
        streams: Streams,
        subscription: Subscription,
        send: Callable[[bytes], Awaitable[None]],
        apart: Callable[[Callable[[int], list[Event]], int], Awaitable[list[Event]]],
    ) -> None:
        """`send` takes one message, and waits while the client does not read; `apart` does what takes long."""
        self._streams = streams
        self._subscription = subscription
        self._send = send
        self._apart = apart

    async def run(self) -> None:
        """Returns when the subscription is complete; it stays to be closed."""
        more, bell = asyncio.Event(), _bell(self._streams)
        bell.add(more)
        try:
            while True:
                more.clear()
                events = await self._next()
                for event in events:
                    await self._send(message(event, self._streams.schema))
                if self._subscription.behind:
                    await asyncio.sleep(0)
                    continue
                if self._subscription.complete:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._subscription.seconds_left()):
                        await more.wait()
        finally:
            bell.discard(more)

    async def _next(self) -> list[Event]:
        take = self._subscription.take
        return await self._apart(take, BATCH) if self._subscription.takes_long else take(BATCH)


def already_subscribed() -> RequestError:
    """A session has one subscription at a time (RFC 5277 section 6)."""
    told = "this session has a subscription: end it by its stopTime, or open another session"
    return refuse("operation-failed", told, type="protocol")
