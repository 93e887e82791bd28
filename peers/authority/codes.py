"""What the authority decides about authorization codes: pure functions over frozen values; no disk, socket or key.

The account has a *pool*: so many of each licence. A code counts from its issue until the device says, signed, that it
returned it or that another code took its place; meanwhile a device's codes of one type count as the greatest of them,
because it can hold only one.

    issued (outstanding) ──confirmation──▶ overwritten
                         ──return──▶ returned        ──operator──▶ released
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent.formats.documents import AuthType, Entitlement, confirmation_code
from agent.formats.requests import AuthorizationReturn, Key

Stage = Literal["outstanding", "overwritten", "returned", "released"]
Pool = Mapping[str, Entitlement]


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """A code as it was issued; `request` is the digest of the request that it answers, empty for an operator's."""

    auth_type: AuthType
    serial: int
    digest: str
    entitlements: tuple[Entitlement, ...]
    request: str
    document: bytes
    stage: Stage = "outstanding"


class PoolRefusal(Exception):  # noqa: N818 - a refusal is named after what was found
    """The pool does not give what is asked for; `reason` is a slug of docs/formats.md."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def held(codes: Iterable[IssuedCode]) -> Counter[str]:
    """How many of each licence one instance's outstanding codes take from the pool."""
    greatest: dict[tuple[str, str], int] = {}
    for code in codes:
        if code.stage == "outstanding":
            for entry in code.entitlements:
                slot = (code.auth_type, entry.tag)
                greatest[slot] = max(greatest.get(slot, 0), entry.count)
    total: Counter[str] = Counter()
    for (_, tag), count in greatest.items():
        total[tag] += count
    return total


def grant(pool: Pool, keys: Sequence[Key], elsewhere: Mapping[str, int], now: int) -> tuple[Entitlement, ...]:
    """The entitlements for these keys; `elsewhere` is what other instances, and other types of code, hold.

    Raises PoolRefusal when the pool lacks one of them: a code holds all that was asked for.
    """
    found = []
    for key in keys:
        entry = pool.get(key.tag)
        if entry is None or (entry.ends is not None and entry.ends < now):
            raise PoolRefusal("not-in-pool", f"the account holds no {key.tag}; buy it, or set the pool")
        free = entry.count - elsewhere.get(key.tag, 0)
        if key.count > free:
            raise PoolRefusal("pool-exhausted", f"{key.count} of {key.tag} are asked for, and {max(free, 0)} are free")
        found.append(Entitlement(key.tag, key.count, entry.term, entry.ends))
    return tuple(found)


def confirmed(codes: Sequence[IssuedCode], confirmation: str | None) -> tuple[IssuedCode, ...]:
    """The codes after a device has named this confirmation code: what was overwritten no longer counts."""
    for new in codes if confirmation else ():
        for old in codes:
            same_type = old.auth_type == new.auth_type and old.serial < new.serial
            if same_type and confirmation_code(old.digest, new.digest) == confirmation:
                return _ended(codes, new.auth_type, old.serial, "overwritten")
    return tuple(codes)


def taken_back(codes: Sequence[IssuedCode], returned: AuthorizationReturn) -> tuple[IssuedCode, ...]:
    """The codes after a return. A returned code ends those before it too: the device will not take them any more.

    Raises PoolRefusal when one of them was never issued to this instance.
    """
    after = tuple(codes)
    for each in returned.codes:
        known = [code for code in codes if (code.auth_type, code.serial, code.digest) == tuple(each)]
        if not known:
            raise PoolRefusal("unknown-code", f"no {each.auth_type} code {each.serial} was issued to this instance")
        if known[0].stage == "outstanding":
            after = _ended(after, each.auth_type, each.serial - 1, "overwritten")
            after = _ended(after, each.auth_type, each.serial, "returned")
    return after


def released(codes: Sequence[IssuedCode]) -> tuple[IssuedCode, ...]:
    """The codes after an operator gave up on the instance that holds them."""
    return tuple(replace(code, stage="released") if code.stage == "outstanding" else code for code in codes)


def _ended(codes: Sequence[IssuedCode], auth_type: AuthType, upto: int, stage: Stage) -> tuple[IssuedCode, ...]:
    return tuple(
        replace(code, stage=stage)
        if code.auth_type == auth_type and code.serial <= upto and code.stage == "outstanding"
        else code
        for code in codes
    )
