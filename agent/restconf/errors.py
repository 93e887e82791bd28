"""How a refusal is told over HTTP: the one table from error-tag to status, and the exception that names its own.

Source: RFC 8040 section 7; checklist 148, 149. How the document is written down is the codec's matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.errors import Error, Path, RequestError, refuse

STATUS: Mapping[str, int] = {
    "in-use": 409,
    "lock-denied": 409,
    "resource-denied": 409,
    "data-exists": 409,
    "data-missing": 409,
    "invalid-value": 400,
    "too-big": 400,
    "missing-attribute": 400,
    "bad-attribute": 400,
    "unknown-attribute": 400,
    "missing-element": 400,
    "bad-element": 400,
    "unknown-element": 400,
    "unknown-namespace": 400,
    "malformed-message": 400,
    "access-denied": 403,
    "operation-not-supported": 501,
    "operation-failed": 500,
    "partial-operation": 500,
    "rollback-failed": 500,
}
"""Where RFC 8040 allows several, the one that this server uses; `HttpError` names the other ones."""


class HttpError(RequestError):
    """A refusal whose status the tag alone does not tell (404, 405, 406, 413, …), with headers that belong to it."""

    def __init__(self, status: int, error: Error, *, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(error)
        self.status = status
        self.headers = tuple(headers)


def bad_request(tag: str, message: str, *, path: Path = (), **info: str) -> HttpError:
    """A 400 for what the front end itself refuses."""
    return HttpError(400, refuse(tag, message, type="protocol", path=path, **info).errors[0])


def status_of(error: RequestError) -> int:
    """The HTTP status of a refusal: that of its first error."""
    if isinstance(error, HttpError):
        return error.status
    return STATUS.get(error.errors[0].tag, 500)
