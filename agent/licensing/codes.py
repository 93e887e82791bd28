"""Authorization codes as plain values: what is installed, asked for, and authorized by it; nothing is decided here.

`LIFE` is the one table of the authorization's life on this device. Source: slp-facts section 5, docs/licensing.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from agent.formats.documents import AuthType, CodeTerm, Entitlement
from agent.formats.requests import Key
from agent.licensing.profile import Licence, Profile

Stage = Literal["none", "requested", "installed", "changing"]
Trigger = Literal["request", "fail", "install", "return"]

LIFE: Mapping[Stage, Mapping[Trigger, Stage]] = {
    "none": {"request": "requested", "install": "installed"},
    "requested": {"request": "requested", "fail": "none", "install": "installed"},
    "installed": {"request": "changing", "install": "installed", "return": "none"},
    "changing": {"request": "changing", "fail": "installed", "install": "installed", "return": "none"},
}
"""What each stage answers to; a trigger that a stage does not list is refused (docs/licensing.md)."""


@dataclass(frozen=True, slots=True)
class InstalledCode:
    """A code of the authority; `digest` is its document's, `expired` the tags whose end has been noticed."""

    auth_type: AuthType
    serial: int
    digest: str
    installed_at: int
    entitlements: tuple[Entitlement, ...]
    expired: tuple[str, ...] = ()

    @property
    def unlimited(self) -> bool:
        """Whether it authorizes every licence: a permanent reservation that names none."""
        return self.auth_type == "plr" and not self.entitlements


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A code that was asked for and has not come; `online` when a transport is to carry the request."""

    keys: tuple[Key, ...]
    requested_at: int
    online: bool


@dataclass(frozen=True, slots=True)
class Authorization:
    """All about authorization codes on this UDI: at most one code of each type, in the order of installation.

    `confirmation` is the confirmation code of the last overwriting, `return_string` what the last return gave out,
    `returned_serial` the highest serial ever returned: codes up to it are worthless here.
    """

    codes: tuple[InstalledCode, ...] = ()
    request: PendingRequest | None = None
    confirmation: str | None = None
    return_string: str | None = None
    returned_at: int | None = None
    returned_serial: int = -1

    @property
    def stage(self) -> Stage:
        """Where in `LIFE` it stands."""
        if self.request is not None:
            return "changing" if self.codes else "requested"
        return "installed" if self.codes else "none"

    def of_type(self, auth_type: AuthType) -> InstalledCode | None:
        """The installed code of this type."""
        return next((code for code in self.codes if code.auth_type == auth_type), None)

    def authorized(self, tag: str, now: int, *, without: AuthType | None = None) -> int | None:
        """How many of the licence may be used at `now`, over all codes but the one of type `without`; None: any."""
        total = 0
        for code in self.codes:
            if code.auth_type == without:
                continue
            if code.unlimited:
                return None
            total += sum(entry.count for entry in code.entitlements if entry.tag == tag and holds(entry, now))
        return total


def holds(entry: Entitlement, now: int) -> bool:
    """Whether its end has not passed."""
    return entry.ends is None or now <= entry.ends


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> none"]
    lines += [f"    {stage} --> {after}: {trigger}" for stage, row in LIFE.items() for trigger, after in row.items()]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class AuthorizedBy:
    """One code's part in what is authorized of a licence. `count` is None for an unlimited code."""

    auth_type: AuthType
    count: int | None
    term: CodeTerm
    ends: int | None
    installed_at: int


@dataclass(frozen=True, slots=True)
class LicenceAuthorization:
    """What is authorized of one licence on this UDI; `total` is None when any count is."""

    licence: Licence
    total: int | None
    by: tuple[AuthorizedBy, ...]


def views(authorization: Authorization, profile: Profile, now: int) -> tuple[LicenceAuthorization, ...]:
    """One entry for each licence that a code names or, under an unlimited code, that needs one; in order of the tag."""
    tags = {entry.tag for code in authorization.codes for entry in code.entitlements}
    if any(code.unlimited for code in authorization.codes):
        tags |= {licence.entitlement_tag for licence in profile.licences.values() if licence.needs_authorization}
    return tuple(
        LicenceAuthorization(
            profile.by_tag(tag), authorization.authorized(tag, now), tuple(_by(authorization.codes, tag))
        )
        for tag in sorted(tags)
    )


def _by(codes: tuple[InstalledCode, ...], tag: str) -> Iterator[AuthorizedBy]:
    for code in codes:
        if code.unlimited:
            yield AuthorizedBy(code.auth_type, None, "perpetual", None, code.installed_at)
        for entry in code.entitlements:
            if entry.tag == tag:
                yield AuthorizedBy(code.auth_type, entry.count, entry.term, entry.ends, code.installed_at)
