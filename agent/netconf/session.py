"""One NETCONF session as a state machine: octets in, events out, octets to send out. No socket, no task, no clock.

Hello exchange and choice of framing (RFC 6241 section 8.1, RFC 6242 section 4.1; checklist 1-18), then one event a
message. Whoever holds the channel feeds it and obeys it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agent.codec import xml
from agent.core import library
from agent.core.schema import Schema
from agent.errors import RequestError
from agent.netconf import reads, subscriptions
from agent.netconf.framing import MESSAGE_LIMIT, Framer, ProtocolError, frames
from agent.netconf.messages import Rpc
from agent.netconf.parameters import NC, features
from agent.netconf.repeats import Repeats

BASE_1_0 = "urn:ietf:params:netconf:base:1.0"
BASE_1_1 = "urn:ietf:params:netconf:base:1.1"
_CAPABILITY = "urn:ietf:params:netconf:capability:"
_OF_FEATURES = {
    "writable-running": "writable-running:1.0",
    "candidate": "candidate:1.0",
    "confirmed-commit": "confirmed-commit:1.1",
    "rollback-on-error": "rollback-on-error:1.0",
    "validate": "validate:1.1",
    "startup": "startup:1.0",
    "url": "url:1.0?scheme=file",
}
"""The capability that each feature of ietf-netconf stands for (RFC 6241 section 8)."""
LONG = 64 * 1024
"""Octets of a message that is read in a few milliseconds at most."""

HELLO_LIMIT = 256 * 1024
"""Octets of a client's hello."""


def capabilities(schema: Schema) -> tuple[str, ...]:
    """What a hello announces: the protocol's own capabilities, then every implemented module (RFC 6020 5.6.4).

    Raises OSError where the text of a module cannot be read.
    """
    modules = []
    for module in schema.modules.values():
        if not module.implemented:
            continue
        uri = f"{module.namespace}?module={module.name}"
        if module.revision:
            uri += f"&revision={module.revision}"
        if module.features:
            uri += f"&features={','.join(module.features)}"
        if module.deviations:
            uri += f"&deviations={','.join(module.deviations)}"
        modules.append(uri)
    offered = features(schema)
    protocol = [f"{_CAPABILITY}{uri}" for name, uri in _OF_FEATURES.items() if name in offered]
    if "ietf-netconf-partial-lock" in schema.modules:
        protocol.append(f"{_CAPABILITY}partial-lock:1.0")
    offers = *reads.capabilities(schema), *subscriptions.capabilities(schema), *_of_library(schema)
    return (BASE_1_0, BASE_1_1, *protocol, *offers, *modules)


def _of_library(schema: Schema) -> tuple[str, ...]:
    """Where clients learn of modules that they know already (RFC 8526 section 2; RFC 7950 section 5.6.4 before it)."""
    if not library.serves(schema):
        return ()
    revision, content = schema.modules[library.NAME].revision, library.content_id(schema)
    return (
        f"{_CAPABILITY}yang-library:1.0?revision={revision}&module-set-id={content}",
        f"{_CAPABILITY}yang-library:1.1?revision={revision}&content-id={content}",
    )


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """The client has introduced itself and the framing is settled."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LongMessage:
    """A message that takes so long to read that it is not read in passing: give it to `NetconfSession.read`."""

    message: bytes


Event = HelloReceived | Rpc | LongMessage


class NetconfSession:
    """The server's side of one session.

    `limit` bounds a received message in octets. `ProtocolError`, from `next_event` alone, ends the session.
    """

    def __init__(self, schema: Schema, session_id: int, announce: Sequence[str], *, limit: int = MESSAGE_LIMIT) -> None:
        self._requests = Repeats(schema)
        self._session_id = session_id
        self._announce = tuple(announce)
        self._limit = limit
        self._framer = Framer(min(HELLO_LIMIT, limit))
        self._greeted = False
        self._crowded = False

    @property
    def greeted(self) -> bool:
        """Whether the client's hello has been accepted."""
        return self._greeted

    @property
    def chunked(self) -> bool:
        """Whether base:1.1 framing is in use."""
        return self._framer.chunked

    @property
    def waiting(self) -> int:
        """Octets received and not yet looked at."""
        return self._framer.waiting

    @property
    def held(self) -> int:
        """Octets received and not yet given out."""
        return self._framer.held

    @property
    def inside(self) -> bool:
        """Whether the client is in the middle of a message."""
        return self._framer.inside

    def hello(self) -> bytes:
        """What the server sends first, at once (checklist 1, 2)."""
        listed = "".join(f"<capability>{xml.escape(uri)}</capability>" for uri in self._announce)
        text = (
            f'<hello xmlns="{NC}"><capabilities>{listed}</capabilities>'
            f"<session-id>{self._session_id}</session-id></hello>]]>]]>"
        )
        return text.encode()

    def receive(self, data: bytes) -> None:
        """Take octets as they came from the channel; ask `next_event` until it has nothing more."""
        self._framer.receive(data)

    def drop(self) -> None:
        """Nothing that has been received or is to come will be looked at: let go of it now, not when the collector
        finds it."""
        self._framer.drop()

    def crowd_out(self) -> None:
        """There is no room for the message that is coming: the next event is the end of the session."""
        self._crowded = True
        self.drop()

    def next_event(self) -> Event | None:
        """The next event in order, or None until more octets are received.

        Raises:
            ProtocolError: the session has to end, without a reply except for reasons "too-big" and "crowded".
        """
        if self._crowded:
            raise ProtocolError("crowded", "other sessions' long messages take all the room: try again a little later")
        message = self._framer.next_message()
        if message is None:
            return None
        if not self._greeted:
            return self._read_hello(message)
        if len(message) > LONG:
            return LongMessage(message)
        return self.read(message)

    def read(self, message: bytes) -> Rpc:
        """One message after the hello; may be called on any thread.

        Raises:
            ProtocolError: the session has to end.
        """
        rpc = self._requests.read(message)
        if (
            not self.chunked
            and isinstance(rpc.operation, RequestError)
            and any(error.tag == "malformed-message" for error in rpc.operation.errors)
        ):
            # a base:1.0 peer does not know malformed-message (RFC 6241 appendix A)
            raise ProtocolError("malformed", str(rpc.operation))
        return rpc

    def frame(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """One message to send, as octets for the channel (see `framing.frames`)."""
        return frames(parts, chunked=self.chunked)

    def _read_hello(self, message: bytes) -> HelloReceived:
        try:
            hello = xml.parse(message)
        except RequestError as error:
            raise ProtocolError("bad-hello", f"the hello is not well-formed: {error}") from None
        if hello.tag != f"{{{NC}}}hello":
            raise ProtocolError("bad-hello", f"expected a NETCONF hello, received {str(hello.tag)[:200]}")
        if hello.find(f"{{{NC}}}session-id") is not None:
            raise ProtocolError("bad-hello", "a client's hello carries no session-id (RFC 6241 section 8.1)")
        found = hello.findall(f"{{{NC}}}capabilities/{{{NC}}}capability")
        offered = tuple((element.text or "").strip() for element in found)
        versions = {uri.partition("?")[0] for uri in offered}
        if not versions & {BASE_1_0, BASE_1_1}:
            raise ProtocolError("bad-hello", "the client announces neither base:1.0 nor base:1.1")
        self._greeted = True
        self._framer.limit = self._limit
        if BASE_1_1 in versions:
            self._framer.use_chunks()
        return HelloReceived(offered)
