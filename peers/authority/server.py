"""Serving a WSGI application with uvicorn on a socket of ours; knows no licensing.

uvicorn speaks ASGI; the bridge here runs the application in a small pool, with the whole request body in memory, so
it bounds that body first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
import io
import signal
import socket
import sys
from typing import Any

import uvicorn

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Bridge:
    """An ASGI application around a WSGI one; a body above `max_body` bytes is answered 413 and not read further."""

    def __init__(self, app: Wsgi, max_body: int, workers: int = 4) -> None:
        self._app = app
        self._max_body = max_body
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="http")

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = await self._body(receive)
        if body is None:
            await self._answer(send, 413, [(b"connection", b"close")], b"the request body is too large\n")
            return
        loop = asyncio.get_running_loop()
        status, headers, content = await loop.run_in_executor(self._pool, self._call, _environ(scope, body))
        await self._answer(send, status, headers, content)

    async def _body(self, receive: Receive) -> bytes | None:
        parts = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            parts += message.get("body", b"")
            if len(parts) > self._max_body:
                return None
            if not message.get("more_body", False):
                return bytes(parts)

    def _call(self, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Callable[[bytes], Any]:
            started[:] = [int(status[:3]), [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers]]
            return lambda _: None

        content = self._app(environ, start_response)
        try:
            body = b"".join(content)
        finally:
            close = getattr(content, "close", None)
            if close is not None:
                close()
        return started[0], started[1], body

    async def _answer(self, send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _environ(scope: dict[str, Any], body: bytes) -> dict[str, Any]:
    """The WSGI environment of a request (PEP 3333)."""
    server = scope.get("server") or ("localhost", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        text = name.decode("latin-1").upper().replace("-", "_")
        key = text if text in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{text}"
        joined = value.decode("latin-1")
        environ[key] = f"{environ[key]},{joined}" if key in environ else joined
    environ["CONTENT_LENGTH"] = str(len(body))  # a chunked request has none
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return environ


def listen(address: str) -> socket.socket:
    """A listening TCP socket for HOST:PORT (IPv6 in brackets; port 0 lets the kernel choose).

    Raises ValueError for a text that is no address, OSError when it cannot be had.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT, not {address!r}")
    found = socket.getaddrinfo(host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, where = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def serve(app: Wsgi, listener: socket.socket, max_body: int, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; open requests get two seconds to end."""

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

        def capture_signals(self) -> Any:
            # uvicorn raises a caught signal again when it has stopped; the exit code would then not be 0.
            return _Signals(self)

    config = uvicorn.Config(
        Bridge(app, max_body),
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=15,
        limit_concurrency=256,
    )
    Server(config).run(sockets=[listener])


class _Signals:
    """SIGTERM and SIGINT end the server in an orderly way, and nothing else."""

    def __init__(self, server: uvicorn.Server) -> None:
        self._server = server

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self._server, "should_exit", True))

    def __exit__(self, *_: object) -> None:
        return None
