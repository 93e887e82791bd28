"""ID tokens: what an operator gives out so that a product instance is approved by itself; pure, no disk, no clock.

    issued ──redeem, redeem …──▶ used up        ──time──▶ expired        ──operator──▶ revoked

Only the token's digest is kept. A token allows export-controlled functionality or does not, as the account's rules for
registering demand; what it says holds for the instance until another token redeems it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
import hashlib
import secrets
from typing import Literal, NamedTuple

from peers.authority.core import OperatorError

DAY = 86_400
DEFAULT_DAYS = 30
MAX_DAYS = 365
MAX_USES = 10_000
MAX_TOKENS = 1000
"""Tokens that are kept, whatever has become of them; the oldest that can no longer be used give way."""
TokenState = Literal["valid", "used-up", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class IdToken:
    """A token by its digest. It can be redeemed from `begins` to `ends` (epoch seconds), by `uses` keys (None: any).

    `redeemed` holds the key ids that redeemed it, in order; `export` says whether they may get export-controlled codes.
    """

    number: int
    digest: str
    description: str
    begins: int
    ends: int
    uses: int | None
    export: bool
    redeemed: tuple[str, ...] = ()
    revoked: bool = False

    def state(self, now: int) -> TokenState:
        """What it is good for at `now`; one that begins later counts as valid, because nothing is wrong with it."""
        if self.revoked:
            return "revoked"
        if now > self.ends:
            return "expired"
        return "used-up" if self.uses is not None and len(self.redeemed) >= self.uses else "valid"


class TokenRefusal(Exception):  # noqa: N818 - a refusal is named after what was found
    """The token is not good; `reason` is a slug of docs/formats.md."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Issued(NamedTuple):
    """The token's text, shown once, and all tokens with it."""

    text: str
    tokens: tuple[IdToken, ...]


def issue(
    tokens: Sequence[IdToken], *, now: int, days: int, uses: int | None, export: bool, description: str
) -> Issued:
    """A new token for `days` days. Raises OperatorError for limits that are out of range."""
    if not 1 <= days <= MAX_DAYS:
        raise OperatorError(f"a token is valid for 1 to {MAX_DAYS} days, not {days}")
    if uses is not None and not 1 <= uses <= MAX_USES:
        raise OperatorError(f"a token has 1 to {MAX_USES} uses, or no limit, not {uses}")
    if len(description) > 255:
        raise OperatorError("a description has at most 255 characters")
    kept = list(tokens)
    while len(kept) >= MAX_TOKENS:
        spent = next((token for token in kept if token.state(now) != "valid"), None)
        if spent is None:
            raise OperatorError(f"there are {MAX_TOKENS} tokens that can be used; revoke some first")
        kept.remove(spent)
    text = secrets.token_urlsafe(48)
    number = max((token.number for token in tokens), default=0) + 1
    made = IdToken(number, _digest(text), description, now, now + days * DAY, uses, export)
    return Issued(text, (*kept, made))


def redeem(tokens: Sequence[IdToken], text: str, key_id: str, now: int) -> tuple[IdToken, tuple[IdToken, ...]]:
    """The token that `text` is, and all tokens after the key has redeemed it; the same key takes one use only.

    Raises TokenRefusal.
    """
    digest = _digest(text)
    token = next((each for each in tokens if each.digest == digest), None)
    if token is None:
        raise TokenRefusal("unknown-token", "this account has issued no such ID token; copy it again, or issue another")
    if now < token.begins:
        raise TokenRefusal("token-not-yet-valid", f"ID token {token.number} begins later; check the authority's clock")
    again, state = key_id in token.redeemed, token.state(now)
    if state in ("expired", "revoked") or (state == "used-up" and not again):
        what = {"used-up": f"was redeemed {token.uses} times, as often as it may be"}.get(state, f"is {state}")
        raise TokenRefusal(f"token-{state}", f"ID token {token.number} {what}; issue another")
    after = token if again else replace(token, redeemed=(*token.redeemed, key_id))
    return after, tuple(after if each is token else each for each in tokens)


def revoke(tokens: Sequence[IdToken], number: int) -> tuple[IdToken, ...]:
    """All tokens after this one was revoked. Raises OperatorError when there is none."""
    if all(token.number != number for token in tokens):
        raise OperatorError(f"there is no ID token {number}")
    return tuple(replace(token, revoked=True) if token.number == number else token for token in tokens)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
