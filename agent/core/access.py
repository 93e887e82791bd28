"""Who may read, write and execute: a fixed default-deny table, given as data by the composition root.

The mechanism only: which groups there are and which operations they get is not known here. The whole of RFC 8341
replaces the table later, behind the same calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import logging

from agent.core.sessions import User
from agent.errors import ErrorType, Path, RequestError, refuse

log = logging.getLogger(__name__)

Rpc = tuple[str, str]
"""Module and name of an RPC."""

ANY: Rpc = ("*", "*")
"""Stands for every RPC in a rule."""

COMMON: frozenset[Rpc] = frozenset(
    {
        ("ietf-netconf", "get"),
        ("ietf-netconf", "get-config"),
        ("ietf-netconf", "close-session"),
        ("ietf-netconf-monitoring", "get-schema"),
        ("ietf-netconf-nmda", "get-data"),
    }
)
"""What every user of a group that reads may execute."""


@dataclass(frozen=True, slots=True)
class AccessTable:
    """Groups and their rights; what is not granted here is denied (design: Security baseline).

    `readers` read all data and execute `COMMON`; `writers` change configuration; `execute` lists the further RPCs of
    each group; reading a marked leaf has its consequence only for `collectors`.
    """

    readers: frozenset[str]
    writers: frozenset[str]
    execute: Mapping[str, frozenset[Rpc]]
    collectors: frozenset[str]

    def permits_read(self, user: User) -> bool:
        return bool(user.groups & self.readers)

    def permits_write(self, user: User) -> bool:
        return bool(user.groups & self.writers)

    def permits_exec(self, user: User, module: str, name: str) -> bool:
        if (module, name) in COMMON and self.permits_read(user):
            return True
        wanted = {(module, name), ANY}
        return any(wanted & self.execute.get(group, frozenset()) for group in user.groups)

    def collects(self, user: User) -> bool:
        """Whether delivery to this user counts (design: Reads with a consequence)."""
        return bool(user.groups & self.collectors)

    def check_read(self, user: User) -> None:
        """Raises RequestError access-denied (RFC 8341 section 3.4.5) where the user may not read."""
        if not self.permits_read(user):
            raise _denied(user, "read", "application", "you may not read data: ask an administrator for a group")

    def check_write(self, user: User, path: Path) -> None:
        """Raises RequestError access-denied with the path (RFC 8341 section 3.4.5)."""
        if not self.permits_write(user):
            message = "you may not change the configuration: this needs an administrator"
            raise _denied(user, "write", "application", message, path)

    def check_exec(self, user: User, module: str, name: str) -> None:
        """Raises RequestError access-denied (RFC 8341 section 3.4.4) where the user may not call the RPC."""
        if not self.permits_exec(user, module, name):
            message = f"you may not call {module}:{name}: it is not granted to any of your groups"
            raise _denied(user, f"exec {module}:{name}", "protocol", message)


def _denied(user: User, what: str, kind: ErrorType, message: str, path: Path = ()) -> RequestError:
    groups = ", ".join(sorted(user.groups)) or "none"
    log.warning(
        "access denied: %s by user %s (groups: %s), rule: default deny of the fixed table", what, user.name, groups
    )
    return refuse("access-denied", message, type=kind, path=path)
