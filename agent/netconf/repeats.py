"""Requests that a session has sent before: collectors ask the same again and again, with another message-id.

Reading a small get costs a third of answering it. What is remembered is the request as it was understood, never an
answer, and only where the octets are the same but for a plain message-id.
"""

from __future__ import annotations

import re

from agent.core.requests import Get
from agent.core.schema import Schema
from agent.netconf.messages import Rpc, read_rpc

REMEMBERED = 4
"""Requests of one session."""

LONGEST = 2048
"""Octets of a message that is remembered."""

_OTHERS = rb"""(?:\s+[\w:.-]+="[^"<&]*")*"""
_RPC = re.compile(
    rb"""\s*(?:<\?xml[^<>]*\?>\s*)?<(?:[\w.-]+:)?rpc%b\s+message-id="([A-Za-z0-9:._-]{1,128})"%b\s*>"""
    % (_OTHERS, _OTHERS)
)
"""A start tag of rpc whose message-id stands as it is echoed; every attribute is read, so no value is taken for it."""


class Repeats:
    """Reads the messages of one session; the same `Get` comes back for a request that comes back."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._known: dict[tuple[bytes, bytes], tuple[bytes, bytes, Get]] = {}

    def read(self, message: bytes) -> Rpc:
        """As `messages.read_rpc`."""
        found = _RPC.match(message) if len(message) <= LONGEST else None
        if found is None:
            return read_rpc(message, self._schema)
        begin, end = found.span(1)
        key = message[:begin], message[end:]
        known = self._known.get(key)
        if known is not None:
            before, after, operation = known
            return Rpc(b"".join((before, found[1], after)), operation)
        rpc = read_rpc(message, self._schema)
        # an XPath expression is evaluated at a cost that is counted: it stays with its request
        if isinstance(rpc.operation, Get) and rpc.operation.xpath is None:
            mark = b' message-id="'
            before, _, after = rpc.attributes.partition(mark + found[1] + b'"')
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = (before + mark, b'"' + after, rpc.operation)
        return rpc
