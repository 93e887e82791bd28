"""From one HTTP request on a connection to the WSGI application and back: identity, body limits, streaming, delivery.

GET, HEAD and OPTIONS run on the event loop (they read a snapshot and never wait); all else in a small thread pool.
No resource and no schema node is known here. Checklist 133, 164, 168; design (Threads, Reads with a consequence).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, MutableMapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
import io
import logging
import sys
import time
from typing import Any
from urllib.parse import unquote_to_bytes

from agent.core.dispatch import Dispatch
from agent.core.sessions import Session, User
from agent.errors import Error
from agent.restconf import negotiate
from agent.restconf.auth import BasicAuth
from agent.restconf.connection import Connection, Receive, Refusal, Send
from agent.restconf.errors import HttpError
from agent.restconf.views import DELIVERED, INTERNAL, SESSION, error_document

log = logging.getLogger(__name__)

BODY_BYTES = 8 * 1024 * 1024
"""Largest request body: twice the largest document that an operation takes, for what escaping adds."""

BODY_SECONDS = 60.0
"""A body must have arrived by then."""

INLINE = frozenset({"GET", "HEAD", "OPTIONS"})
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[bytes, bytes]]
_CLOSE = (b"connection", b"close")
_REFUSALS: dict[Refusal, tuple[int, str, str]] = {
    "head-too-large": (431, "too-big", "request line and headers are too long"),
    "head-too-slow": (408, "operation-failed", "the request's headers took too long to arrive"),
    "malformed": (400, "malformed-message", "this is not an HTTP/1.1 request"),
}


@dataclass(slots=True)
class Reply:
    """What the application answered: the body may still be a generator."""

    status: int
    headers: Headers
    body: Iterable[bytes]
    delivered: list[Callable[[], Future[None]]]


class Bridge:
    """Serves the requests of all connections of one event loop."""

    def __init__(self, app: WsgiApp, dispatch: Dispatch, *, auth: BasicAuth, workers: Executor, checks: Executor):
        """`workers` runs what is not inline; `checks` verifies passwords, apart so that neither holds up the other."""
        self._app = app
        self._dispatch = dispatch
        self._auth = auth
        self._workers = workers
        self._checks = checks

    async def __call__(
        self, connection: Connection, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """One request, as ASGI has it."""
        started = time.perf_counter()
        headers = _headers(scope["headers"])
        session: Session | None = None
        unread = _has_body(headers)
        try:
            _check_host(scope, headers)
            user = await self._identify(connection, headers)
            session = self._session(connection, user)
            body = b""
            if scope["method"] not in INLINE:
                body = await _body(headers, receive)
                unread = False
            reply = await self._answer(connection, scope, headers, body, session)
        except HttpError as refused:
            reply = self._refused(refused, headers)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            reply = self._refused(HttpError(500, Error("application", "operation-failed", INTERNAL)), headers)
        if unread and ("HTTP_EXPECT" in headers or reply.status == 408):
            # whether the body is still sent is not known: the next request could not be told from it
            reply.headers.append(_CLOSE)
        if session is not None:
            session.in_rpcs += 1
            session.out_rpc_errors += reply.status >= 400
            session.in_bad_rpcs += reply.status == 400
        await self._send(connection, scope, reply, send)
        if unread:
            connection.discard()
        if log.isEnabledFor(logging.DEBUG):
            name = session.user.name if session is not None else "-"
            spent = (time.perf_counter() - started) * 1000
            request = f"{scope['method']} {scope['raw_path'].decode('latin-1')}"
            log.debug("%s %s %s %d %.1f ms", connection.source, name, request, reply.status, spent)

    def refusal(self, reason: Refusal) -> tuple[int, bytes]:
        """Status and JSON document for what is refused before there is a request."""
        status, tag, message = _REFUSALS[reason]
        error = HttpError(status, Error("transport", tag, message))
        return status, error_document(error, negotiate.JSON, self._dispatch.schema)

    def lost(self, connection: Connection) -> None:
        """A connection has ended: so does its session."""
        session, connection.attachment = connection.attachment, None
        if session is not None:
            self._dispatch.closed(session, "dropped" if connection.broken else "closed")

    async def _identify(self, connection: Connection, headers: dict[str, str]) -> User:
        """Raises HttpError 401, 403, 429."""
        if connection.local:
            if connection.user is None:
                log.warning("local user id %s may not use this socket", connection.uid)
                raise HttpError(403, Error("protocol", "access-denied", "your local user may not use this socket"))
            return connection.user
        header = headers.get("HTTP_AUTHORIZATION")
        known = self._auth.remembered(header) if header is not None else None
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._checks, self._auth.verify, header, connection.source)

    def _session(self, connection: Connection, user: User) -> Session:
        """The connection's session; another one when its user (or the user's groups) changed."""
        session: Session | None = connection.attachment
        if session is not None and session.user == user:
            return session
        if session is not None:
            self._dispatch.closed(session, "closed")
        loop = asyncio.get_running_loop()

        def end(_: str) -> None:
            loop.call_soon_threadsafe(connection.abort)

        transport = "local" if connection.local else "restconf"
        session = self._dispatch.sessions.open(user, transport, connection.source, end=end)
        connection.attachment = session
        return session

    async def _answer(
        self,
        connection: Connection,
        scope: MutableMapping[str, Any],
        headers: dict[str, str],
        body: bytes,
        session: Session,
    ) -> Reply:
        environ = _environ(connection, scope, headers, body)
        environ[SESSION] = session
        environ[DELIVERED] = []
        if scope["method"] in INLINE:
            return self._call(environ)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, self._call, environ)

    def _call(self, environ: dict[str, Any]) -> Reply:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            started[:] = [int(status[:3]), [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers]]

        body = self._app(environ, start_response)
        return Reply(started[0], started[1], body, environ[DELIVERED])

    def _refused(self, refused: HttpError, headers: dict[str, str]) -> Reply:
        media = negotiate.error_type(headers.get("HTTP_ACCEPT"), headers.get("CONTENT_TYPE"))
        document = error_document(refused, media, self._dispatch.schema)
        fields = [(b"content-type", media.encode()), (b"content-length", str(len(document)).encode())]
        fields += [(name.lower().encode(), value.encode()) for name, value in refused.headers]
        return Reply(refused.status, fields, [document], [])

    async def _send(self, connection: Connection, scope: MutableMapping[str, Any], reply: Reply, send: Send) -> None:
        try:
            await self._write(connection, scope, reply, send)
        except Exception:
            # headers are out: the only way to say that the reply is not whole
            log.exception("%s %s: its reply broke off", scope["method"], scope["path"])
            connection.abort()
        finally:
            close = getattr(reply.body, "close", None)
            if close is not None:
                close()

    async def _write(self, connection: Connection, scope: MutableMapping[str, Any], reply: Reply, send: Send) -> None:
        streamed = not any(name == b"content-length" for name, _ in reply.headers)
        bodiless = scope["method"] == "HEAD" or reply.status == 204
        if streamed and not bodiless and scope["http_version"] == "1.0":
            error = Error("transport", "operation-failed", "this reply has no known length: use HTTP/1.1")
            refused = self._refused(HttpError(505, error), {})
            await self._write(connection, scope, refused, send)
            return
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        end = {"type": "http.response.body", "body": b"", "more_body": False}
        if bodiless:
            await send(end)
            return
        if not streamed and not reply.delivered:
            await send({**end, "body": b"".join(reply.body)})
            return
        for chunk in reply.body:
            if not await connection.writable():
                return
            await send({**end, "body": chunk, "more_body": True})
            await asyncio.sleep(0)  # other connections get their turn between two chunks
        if reply.delivered and not await connection.drained():
            return
        await send(end)
        if reply.delivered and await connection.drained():
            for tell in reply.delivered:
                tell().add_done_callback(_log_failure)


def _log_failure(told: Future[None]) -> None:
    problem = told.exception()
    if problem is not None:
        log.error("a delivery could not be noted: %s", problem)


def _headers(raw: Headers) -> dict[str, str]:
    """As the WSGI environment names them; repeated ones are joined."""
    found: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").upper().replace("-", "_")
        if b"_" in name or name == b"upgrade":  # "a_b" would be taken for "a-b"; no other protocol is spoken
            continue
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        text = value.decode("latin-1")
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


def _check_host(scope: MutableMapping[str, Any], headers: dict[str, str]) -> None:
    """RFC 9112 section 3.2: HTTP/1.1 has exactly one Host."""
    host = headers.get("HTTP_HOST")
    if (host is None and scope["http_version"] != "1.0") or (host is not None and "," in host):
        raise HttpError(400, Error("protocol", "malformed-message", "the request must have one Host header"))


def _has_body(headers: dict[str, str]) -> bool:
    return headers.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in headers


async def _body(headers: dict[str, str], receive: Receive) -> bytes:
    """Raises HttpError 413 (before anything is read where the length is told), 408, 400 where the client left."""
    length = headers.get("CONTENT_LENGTH", "")
    if length.isdigit() and int(length) > BODY_BYTES:
        raise _too_big()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HttpError(400, Error("transport", "malformed-message", "the body broke off"))
                parts.append(message["body"])
                size += len(message["body"])
                if size > BODY_BYTES:
                    raise _too_big()
                if not message["more_body"]:
                    return b"".join(parts)
    except TimeoutError:
        raise HttpError(408, Error("transport", "operation-failed", "the body took too long to arrive")) from None


def _too_big() -> HttpError:
    message = f"the body is over {BODY_BYTES} bytes: send less"
    return HttpError(413, Error("protocol", "too-big", message))


def _environ(
    connection: Connection, scope: MutableMapping[str, Any], headers: dict[str, str], body: bytes
) -> dict[str, Any]:
    """The WSGI environment (PEP 3333), with the path as sent in REQUEST_URI."""
    raw = scope["raw_path"].decode("ascii")
    query = scope["query_string"].decode("latin-1")
    server = scope["server"] or ("localhost", None)
    return {
        **headers,
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw).decode("latin-1"),
        "REQUEST_URI": f"{raw}?{query}" if query else raw,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "localhost" if connection.local else server[0],
        "SERVER_PORT": str(server[1] or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": connection.source,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
