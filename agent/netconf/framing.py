"""NETCONF message framing, both ways: octets <-> messages. No socket, no XML, no clock may come in here.

RFC 6242 section 4.3 (end-of-message, base:1.0) and section 4.2 (chunked, base:1.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Octets that one received message may have; a longer one ends the session with a too-big error."""

FRAME_SIZE = 64 * 1024
"""Octets that are gathered before they are sent as one chunk."""

END_OF_MESSAGE = b"]]>]]>"
END_OF_CHUNKS = b"\n##\n"
LARGEST_CHUNK = 4294967295
_LONGEST_HEADER = len(b"\n#4294967295\n")
_DIGITS = frozenset(b"0123456789")
_FIRST_DIGITS = frozenset(b"123456789")

Reason = Literal["bad-hello", "framing", "malformed", "too-big", "crowded", "dropped"]


class ProtocolError(Exception):
    """The peer broke the protocol so that the session cannot go on: it ends, and nothing of the message was run.

    `reason` is for the log and decides what is said as a farewell: only too-big and crowded (there is no room for the
    message now) are answered, by an rpc-error.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class Framer:
    """Takes octets as they come, in pieces of any size, and gives out whole messages in order.

    Starts with end-of-message framing, as every session does (RFC 6242 section 4.1); `use_chunks` switches between
    two messages. Work is linear in what is received, however it is cut up; memory is bounded by `limit` and what
    the caller feeds before it asks for messages.
    """

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self.limit = limit
        self._chunked = False
        self._input = bytearray()
        self._scanned = 0
        self._message = bytearray()
        self._begun = False
        self._left = 0
        self._dropped = False

    @property
    def chunked(self) -> bool:
        return self._chunked

    @property
    def waiting(self) -> int:
        """Octets received and not yet looked at."""
        return len(self._input)

    @property
    def held(self) -> int:
        """Octets received and not yet given out."""
        return len(self._input) + len(self._message)

    @property
    def inside(self) -> bool:
        """Whether a message has begun and not ended: a peer that leaves now has been cut off."""
        return self._begun or bool(self._input.strip())

    def use_chunks(self) -> None:
        """Whatever comes next is chunked."""
        self._chunked = True
        self._scanned = 0

    def receive(self, data: bytes) -> None:
        if not self._dropped:
            self._input += data

    def drop(self) -> None:
        """Let go of what has been received, and from now on of what comes."""
        self._dropped = True
        self._input, self._message = bytearray(), bytearray()

    def next_message(self) -> bytes | None:
        """The next whole message, or None until more octets are received.

        Raises:
            ProtocolError: reason "framing" or "too-big"; the framer is of no further use.
        """
        return self._next_chunked() if self._chunked else self._next_delimited()

    def _next_delimited(self) -> bytes | None:
        end = self._input.find(END_OF_MESSAGE, self._scanned)
        if end < 0:
            if len(self._input) > self.limit + len(END_OF_MESSAGE):
                raise self._too_big()
            self._scanned = max(0, len(self._input) - len(END_OF_MESSAGE) + 1)
            return None
        if end > self.limit:
            raise self._too_big()
        message = bytes(self._input[:end])
        del self._input[: end + len(END_OF_MESSAGE)]
        self._scanned = 0
        return message

    def _next_chunked(self) -> bytes | None:
        while True:
            if self._left:
                self._take_data()
                if self._left:
                    return None
            size = self._take_header()
            if size is None:
                return None
            if size == 0:
                message = bytes(self._message)
                self._message = bytearray()
                self._begun = False
                return message
            self._begun = True
            self._left = size
            if len(self._message) + size > self.limit:
                raise self._too_big()

    def _take_data(self) -> None:
        taken = min(self._left, len(self._input))
        if taken == len(self._input):
            self._message += self._input
            self._input.clear()
        else:
            self._message += memoryview(self._input)[:taken]
            del self._input[:taken]
        self._left -= taken

    def _take_header(self) -> int | None:
        """Chunk size, 0 for end-of-chunks, or None if the header is not complete yet (RFC 6242 section 4.2)."""
        head = bytes(self._input[:_LONGEST_HEADER])
        if not b"\n#".startswith(head[:2]):
            raise ProtocolError("framing", f"expected a chunk header or end-of-chunks, received {head!r}")
        if len(head) < 3:
            return None
        if head[2:3] == b"#":
            if not END_OF_CHUNKS.startswith(head[:4]):
                raise ProtocolError("framing", f"expected the end-of-chunks marker, received {head!r}")
            if len(head) < 4:
                return None
            if not self._begun:
                raise ProtocolError("framing", "end-of-chunks without a chunk before it")
            del self._input[:4]
            return 0
        end = head.find(b"\n", 2)
        digits = head[2:] if end < 0 else head[2:end]
        if not digits or digits[0] not in _FIRST_DIGITS or not _DIGITS.issuperset(digits):
            raise ProtocolError("framing", f"not a chunk size: {digits!r}")
        if end < 0:
            if len(head) == _LONGEST_HEADER:
                raise ProtocolError("framing", f"a chunk size has at most 10 digits, received {digits!r}")
            return None
        size = int(digits)
        if size > LARGEST_CHUNK:
            raise ProtocolError("framing", f"a chunk size is at most {LARGEST_CHUNK}, received {size}")
        del self._input[: end + 1]
        return size

    def _too_big(self) -> ProtocolError:
        return ProtocolError("too-big", f"a message may have at most {self.limit} octets: send it in smaller parts")


def frames(parts: Iterable[bytes], *, chunked: bool) -> Iterator[bytes]:
    """One message, given in parts, as octets to write: a small one in a single piece, a large one in many.

    Parts are gathered up to FRAME_SIZE and never joined whole. With end-of-message framing the parts must not hold
    the delimiter: XML that escapes ">" in text and attributes cannot.
    """
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        if size and size + len(part) > FRAME_SIZE:
            yield _frame(gathered, size, chunked)
            gathered.clear()
            size = 0
        if part:
            gathered.append(part)
            size += len(part)
    yield (_frame(gathered, size, chunked) if size else b"") + (END_OF_CHUNKS if chunked else END_OF_MESSAGE)


def _frame(parts: list[bytes], size: int, chunked: bool) -> bytes:
    return b"".join((b"\n#%d\n" % size, *parts)) if chunked else b"".join(parts)
