"""The one error value of the spine (type, tag, app-tag, path, message, info) and the exception that carries it.

Only codecs know how it is written down; only the RESTCONF front end knows an HTTP status.
Source: RFC 6241 section 4.3 and Appendix A, RFC 8040 section 7.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

ErrorType = Literal["transport", "rpc", "protocol", "application"]


class Step(NamedTuple):
    """One step of an instance path: module and node name, with list keys as (name, canonical value)."""

    module: str
    name: str
    keys: tuple[tuple[str, str], ...] = ()


Path = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Error:
    """What went wrong, as both protocols report it.

    `info` holds error-info members by local name: bad-attribute, bad-element, bad-namespace, session-id,
    missing-choice, and non-unique once for each leaf, as its path.
    """

    type: ErrorType
    tag: str
    message: str
    path: Path = ()
    app_tag: str | None = None
    info: tuple[tuple[str, str | Path], ...] = ()


class RequestError(Exception):
    """A request was refused; nothing has changed. Carries one or more `Error` values."""

    def __init__(self, *errors: Error) -> None:
        if not errors:
            raise ValueError("a RequestError carries at least one Error")
        super().__init__("; ".join(f"{e.tag}: {e.message}" for e in errors))
        self.errors = errors


def refuse(
    tag: str,
    message: str,
    *,
    type: ErrorType = "application",  # noqa: A002 - the RFC's word
    path: Path = (),
    app_tag: str | None = None,
    **info: str,
) -> RequestError:
    """Build the exception for one error; keyword names of `info` use `_` for `-` (bad_element="x")."""
    pairs = tuple((name.replace("_", "-"), value) for name, value in info.items())
    return RequestError(Error(type, tag, message, path, app_tag, pairs))
