"""The client that applications import to record usage, and the plain HTTP client below it. Standard library only.

    with usage.connect("/run/slp-agent/slp-agent.sock") as recorder:
        recorder.record("network-advantage", 3)
        if recorder.ask_permission("hseck9", throughput=1000):
            ...

Talks to a running agent over its RESTCONF interface; nothing of the agent itself is imported.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import http.client
import json as jsonlib
import os
from pathlib import Path
import socket
import ssl
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

DEFAULT_SOCKET = "/run/slp-agent/slp-agent.sock"
TIMEOUT = 30.0
"""Seconds that one request may take."""

_TYPE = "application/yang-data+json"
_RECORD = "record-usage"
_ASK = "ask-permission"


class UsageUnavailable(Exception):  # noqa: N818 - says what is the case
    """The agent cannot be reached, or broke off: nothing is known about the request. Trying again is safe."""


class UsageRefused(Exception):  # noqa: N818
    """The agent answered, and refused. `return_code` is the operation's code, or the error-tag of an error reply."""

    def __init__(self, return_code: str, message: str, *, status: int = 200, path: str | None = None) -> None:
        super().__init__(f"{return_code}: {message}")
        self.return_code = return_code
        self.message = message
        self.status = status
        self.path = path


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP reply with a status below 400; `json` is None where there is no body, or none in JSON."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any


class Client:
    """One RESTCONF server, over one connection that is opened anew when needed. Not for several threads at once."""

    def __init__(self, connection: http.client.HTTPConnection, where: str, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._where = where
        self._headers = dict(headers)

    @classmethod
    def local(cls, path: str | os.PathLike[str] = DEFAULT_SOCKET, *, timeout: float = TIMEOUT) -> Client:
        """An agent on this machine, by its Unix socket; the kernel tells it who calls."""
        return cls(_LocalConnection(os.fspath(path), timeout), f"the local socket {os.fspath(path)}", {})

    @classmethod
    def remote(
        cls, url: str, user: str, password: str, ca: str | os.PathLike[str] | None = None, *, timeout: float = TIMEOUT
    ) -> Client:
        """An agent at https://HOST[:PORT]; `ca` is the PEM file that its certificate is checked with (else the
        system's). Raises ValueError for another URL, UsageUnavailable where `ca` cannot be read."""
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.hostname is None:
            raise ValueError(f"{url}: give https://HOST[:PORT]")
        try:
            context = ssl.create_default_context(cafile=None if ca is None else os.fspath(ca))
        except (OSError, ssl.SSLError) as error:
            raise UsageUnavailable(f"the CA file {ca} cannot be used: {error}") from None
        connection = http.client.HTTPSConnection(parts.hostname, parts.port or 443, timeout=timeout, context=context)
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        return cls(connection, url, {"Authorization": f"Basic {credentials}"})

    def request(
        self, method: str, path: str, json: Any = None, *, accept: str = _TYPE, repeatable: bool = False
    ) -> Answer:
        """One request. `path` starts with "/restconf"; `json` is the body, None for none.

        A connection that the server has closed meanwhile is opened again and the request repeated: reads, and what
        is `repeatable`; of another write it would not be known whether it took place. Raises UsageRefused for a
        status of 400 and above, UsageUnavailable.
        """
        body = None if json is None else jsonlib.dumps(json).encode()
        headers = {**self._headers, "Accept": accept, **({} if body is None else {"Content-Type": _TYPE})}
        fresh = self._connection.sock is None
        try:
            status, fields, content = self._exchange(method, path, body, headers)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if fresh or not (repeatable or method in ("GET", "HEAD", "OPTIONS")):
                raise self._unavailable(error) from None
            try:
                status, fields, content = self._exchange(method, path, body, headers)
            except (OSError, http.client.HTTPException) as second:
                raise self._unavailable(second) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(error) from None
        value = _decoded(content, fields.get("content-type", ""))
        if status >= 400:
            raise _refusal(status, value)
        return Answer(status, fields, content, value)

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        self._connection.request(method, path, body=body, headers=dict(headers))
        reply = self._connection.getresponse()
        content = reply.read()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, content

    def _unavailable(self, error: Exception) -> UsageUnavailable:
        self.close()
        what = str(error) or type(error).__name__
        return UsageUnavailable(f"no answer from {self._where}: {what}; is the agent running?")

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether a licence may be used; true where it may, so that `if permission:` reads as it should.

    `reason` is the return-code where it may not, and `message` says why and what to do. `authorized_count` is what
    authorization codes allow (None: no code is needed, or any count is allowed); `throughput_limit` is how many
    megabits a second may be forwarded in each direction now (None: licensing sets no limit).
    """

    allowed: bool
    reason: str | None
    message: str
    authorized_count: int | None = None
    throughput_limit: int | None = None

    def __bool__(self) -> bool:
        return self.allowed


class Recorder:
    """Records how many of a licence are in use, and asks whether they may be."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def record(
        self,
        license: str,  # noqa: A002 - YANG's word
        count: int,
        *,
        added: Iterable[str] = (),
        removed: Iterable[str] = (),
    ) -> None:
        """State that `count` of a licence (feature name or entitlement tag) are in use from now on.

        `added` and `removed` are peripherals that the count takes in, or no longer takes in, as `PID:…,SN:…`: at most
        500. Returns once the agent has made it durable. Stating the same count again changes nothing; a peripheral
        that is stated again, because an answer was lost, stands in the reports twice. Raises UsageRefused,
        UsageUnavailable.
        """
        wanted: dict[str, Any] = {"license": license, "count": count}
        wanted |= {
            name: keys for name, keys in (("added-peripheral", [*added]), ("removed-peripheral", [*removed])) if keys
        }
        output = self._call(_RECORD, wanted, repeatable=len(wanted) == 2)
        if output["return-code"] != "success":
            raise UsageRefused(output["return-code"], output.get("message", f"usage of {license} was not recorded"))

    def ask_permission(
        self,
        license: str,  # noqa: A002 - YANG's word
        count: int = 1,
        *,
        throughput: int | None = None,
    ) -> Permission:
        """May `count` of a licence be used, forwarding `throughput` megabits a second in each direction?

        Changes nothing, and reserves nothing: `record` asks again. A no is an answer, not an error. Raises UsageRefused
        where the question itself is refused, UsageUnavailable.
        """
        wanted: dict[str, Any] = {"license": license, "count": count}
        if throughput is not None:
            wanted["throughput"] = throughput
        output = self._call(_ASK, wanted, repeatable=True)
        allowed = output.get("allowed") is True
        return Permission(
            allowed=allowed,
            reason=None if allowed else output["return-code"],
            message=output.get("message", ""),
            authorized_count=output.get("authorized-count"),
            throughput_limit=output.get("throughput-limit"),
        )

    def _call(self, name: str, wanted: Mapping[str, Any], *, repeatable: bool) -> dict[str, Any]:
        """The output of one of the agent's operations."""
        path, arguments = f"/restconf/operations/slp-agent:{name}", {"slp-agent:input": wanted}
        answer = self._client.request("POST", path, arguments, repeatable=repeatable)
        output = answer.json.get("slp-agent:output") if isinstance(answer.json, dict) else None
        if not isinstance(output, dict) or "return-code" not in output:
            raise UsageUnavailable("the agent's reply has no return-code: is this an slp-agent?")
        return output

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(path: str | Path = DEFAULT_SOCKET, *, timeout: float = TIMEOUT) -> Recorder:
    """A recorder for the agent on this machine. The connection is made with the first record."""
    return Recorder(Client.local(path, timeout=timeout))


class _LocalConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(self.timeout)
            opened.connect(self._path)
        except BaseException:
            opened.close()
            raise
        self.sock = opened


def _decoded(body: bytes, kind: str) -> Any:
    if not body or "json" not in kind:
        return None
    try:
        return jsonlib.loads(body)
    except ValueError:
        return None


def _refusal(status: int, value: Any) -> UsageRefused:
    """From the error document (RFC 8040 section 7.1), as far as there is one."""
    try:
        error = value["ietf-restconf:errors"]["error"][0]
        return UsageRefused(
            error["error-tag"], error.get("error-message", ""), status=status, path=error.get("error-path")
        )
    except (KeyError, IndexError, TypeError):
        return UsageRefused("operation-failed", f"HTTP status {status}", status=status)
