"""The licensing settings as the kernel takes them: one frozen value that refuses what no report can carry; no YANG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.formats import rum

Mode = Literal["autonomous", "controller"]
TransportType = Literal["callhome", "smart", "cslu", "off", "automatic"]

MAX_INTERVAL_DAYS = 365
MAX_TAG = 127
MAX_INFO = 250
MAX_BOOT_LEVELS = 10_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator configured (`/licensing/config`); defaults are those of a device that nobody configured.

    `interval_days` None means not configured. `customer_tags` (tag1..tag4) and `customer_info` (city, country, id,
    name, postalcode, state, street) are (name, value) pairs. `boot_levels` are licence names or entitlement tags, in
    effect from the next start. Privacy leaves: True means do not send. `trust_requests` False: a controller exempts the
    device from asking for trust codes in its reports. `mode` controller: a controller records and reports usage.

    Raises ValueError for an interval outside 1..365 days and for pairs with other names, double names or values that
    are empty or too long.
    """

    transport_type: TransportType = "cslu"
    interval_days: int | None = None
    privacy_hostname: bool = False
    privacy_version: bool = False
    custom_id: str | None = None
    customer_tags: tuple[tuple[str, str], ...] = ()
    utility_enabled: bool = False
    customer_info: tuple[tuple[str, str], ...] = ()
    url_cslu: str | None = None
    url_registration: str | None = None
    url_utility: str | None = None
    url_default: bool = False
    boot_levels: tuple[str, ...] = ()
    trust_requests: bool = True
    mode: Mode = "autonomous"

    def __post_init__(self) -> None:
        if self.interval_days is not None and not 1 <= self.interval_days <= MAX_INTERVAL_DAYS:
            raise ValueError(f"the reporting interval is expected to be 1 to {MAX_INTERVAL_DAYS} days")
        _check("customer tags", self.customer_tags, rum.CUSTOMER_TAGS, MAX_TAG)
        _check("customer information", self.customer_info, rum.CUSTOMER_INFO, MAX_INFO)
        if len(self.boot_levels) > MAX_BOOT_LEVELS:
            raise ValueError(f"at most {MAX_BOOT_LEVELS} boot levels are expected")


def _check(what: str, pairs: tuple[tuple[str, str], ...], known: tuple[str, ...], longest: int) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names) or not set(names) <= set(known):
        raise ValueError(f"{what}: the names {', '.join(known)} are expected, each at most once")
    if not all(1 <= len(value) <= longest for _, value in pairs):
        raise ValueError(f"{what}: values of 1 to {longest} characters are expected")
