"""PAM as a second judge of passwords over SSH: for sites whose users and passwords are the machine's, or a directory's.

Optional: it takes the package python-pam and a file /etc/pam.d/SERVICE. PAM decides whether a password is right; what
the user may do is for its account here, or for the machine's groups slp-admin, slp-collector and slp-reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import grp
import importlib
import logging
import os
from pathlib import Path
import pwd

from agent.config import ConfigError
from agent.core.sessions import Authenticator, User

log = logging.getLogger(__name__)

SERVICES = Path("/etc/pam.d")
GROUPS = ("admin", "collector", "reader")
"""In the order in which they are looked for, each with the prefix `slp-`."""

Check = Callable[[str, str], bool]
"""Name and password; whether PAM takes them. May take seconds."""


def checker(service: str, folder: Path = SERVICES) -> Check:
    """What asks PAM under this service. Raises ConfigError where the package or the service is missing."""
    try:
        pam = importlib.import_module("pam")
    except ImportError:
        raise ConfigError("--pam needs the package python-pam: pip install 'slp-agent[pam]'") from None
    if Path(service).name != service or not (folder / service).is_file():
        # PAM would take the service "other" instead, which means something else on every machine
        raise ConfigError(f"--pam {service}: there is no {folder / service}: write it, e.g. '@include common-auth'")

    def check(name: str, password: str) -> bool:
        return bool(pam.authenticate(name, password, service=service, resetcreds=False))

    return check


class PamUsers:
    """agent.core.sessions.Authenticator: the accounts, and whom PAM knows besides."""

    def __init__(self, accounts: Authenticator, check: Check) -> None:
        self._accounts = accounts
        self._check = check

    def password(self, user: str, password: str) -> User | None:
        """By the account's own password first, so that an administrator gets in also while a directory is away."""
        known = self._accounts.password(user, password)
        if known is not None:
            return known
        named = self.user(user)
        if named is None or not password or "\0" in user + password:
            return None
        try:
            return named if self._check(user, password) else None
        except Exception:
            log.exception("PAM could not be asked about user %.64r", user)
            return None

    def public_keys(self, user: str) -> Sequence[str]:
        return self._accounts.public_keys(user)

    def user(self, name: str) -> User | None:
        """The account of that name; else the machine's user, in the first of its groups that means something here."""
        known = self._accounts.user(name)
        return known if known is not None else machine_user(name)


def machine_user(name: str) -> User | None:
    """A user of the machine that is in one of the groups slp-admin, slp-collector and slp-reader."""
    try:
        entry = pwd.getpwnam(name)
        groups = set(os.getgrouplist(name, entry.pw_gid))
    except (KeyError, ValueError, OSError, UnicodeEncodeError):
        return None
    for group in GROUPS:
        try:
            number = grp.getgrnam(f"slp-{group}").gr_gid
        except KeyError:
            continue
        if number in groups:
            return User(name, frozenset({group}))
    return None
