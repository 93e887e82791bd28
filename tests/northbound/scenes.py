"""Situations that an agent can be in, each reached by what clients and time do; the state's tests see all."""

from __future__ import annotations

from collections.abc import Callable

from tests.licensing.kit import DAY
from tests.northbound.kit import COLLECTOR, TERMS, Rig

EVERYTHING = {
    "custom-id": "edge & <7>",
    "privacy": {"hostname": True, "version": True},
    "utility": {
        "utility-enable": True,
        "customer-info": {
            "id": "4711",
            "name": "Example Networks",
            "street": "1 Röntgen Way",
            "city": "Bern",
            "state": "BE",
            "country": "CH",
            "postal-code": "3000",
        },
    },
    "usage": {"interval": 7, "customer-tags": {"tag1": "one", "tag2": "two", "tag3": "three", "tag4": "four"}},
    "transport": {
        "transport-type": "transport-type-smart",
        "transport-smart": {
            "urls": {
                "url-registration": "https://authority.test/usage",
                "url-utility": "https://authority.test/utility?a=1&b=2",
            }
        },
        "transport-cslu": {"url-cslu": "http://cslu.test:8182/cslu/v1/pi"},
    },
    "slp-agent:boot-level": {"license": ["advantage"]},
    "slp-agent:automatic-trust-request": False,
    "slp-agent:operating-mode": "autonomous",
    "slp-agent:recorder": [{"user": "all", "license": ["*"]}, {"user": "rob", "license": ["sessions"]}],
}
"""Every leaf of /licensing/config but `enable` and the other case of the choice."""


def fresh(rig: Rig) -> None:
    """Nothing has happened yet."""


def in_use(rig: Rig) -> None:
    rig.use("advantage", 3)
    rig.use("sessions", 25, after=600)
    rig.advance(900)


def closed(rig: Rig) -> None:
    in_use(rig)
    rig.close(1800)


def delivered(rig: Rig) -> None:
    closed(rig)
    rig.collect()
    rig.close(900)


def acknowledged(rig: Rig) -> None:
    """An ACK came in with a policy and a trust code, for a part of the reports."""
    closed(rig)
    reports = rig.stored()
    rig.close(900)
    rig.installed(rig.authority.file(rig.policy(TERMS), rig.trust_code()))
    rig.advance(60)
    rig.installed(rig.ack(*reports))


def configured(rig: Rig) -> None:
    in_use(rig)
    rig.edit(EVERYTHING)
    rig.close(900)


def crashed(rig: Rig) -> None:
    in_use(rig)
    rig.restart(4000, crash=True)
    rig.close(30)


def stopped(rig: Rig) -> None:
    in_use(rig)
    rig.restart(2 * DAY)


def authorized(rig: Rig) -> None:
    """A code with an end, in use, and overwritten by another; a further one is asked for."""
    for count in (2, 3):
        counts = (("tier-2", count), ("hseck9", count))
        rig.installed(rig.authority.file(rig.authority.code(rig.device, *counts, ends=rig.now + 200 * DAY)))
        rig.advance(60)
    rig.use("tier-2", 3)
    rig.use("hseck9", 1)
    rig.invoke("authorization-request-offline", {"feature-name": "tier-2", "count": 4})
    rig.installed(rig.ack(*_exported(rig)))


def overdue(rig: Rig) -> None:
    """No acknowledgement has come in time."""
    authorized(rig)
    rig.use("sessions", 5)
    rig.advance(100 * DAY)


def expired(rig: Rig) -> None:
    """The authorization has ended, and its licence is still in use."""
    overdue(rig)
    rig.advance(110 * DAY)


def reserved(rig: Rig) -> None:
    """A code of the time before takes the place of one that was returned."""
    rig.installed(rig.authority.file(rig.authority.code(rig.device, ("tier-2", 1))))
    rig.advance(60)
    rig.invoke("authorization-code-return-online")
    rig.installed(rig.authority.file(rig.authority.code(rig.device, ("tier-2", 2), kind="slr")))
    rig.use("tier-2", 2)


def refused(rig: Rig) -> None:
    """A trust code was asked for and did not come."""
    rig.invoke("id-token-trust", {"id-token": "T"})


def not_renewed(rig: Rig) -> None:
    """One that came could not be renewed."""
    rig.installed(rig.authority.file(rig.trust_code()))
    rig.advance(60)
    rig.invoke("renew-id")


def post_paid(rig: Rig) -> None:
    """Utility mode, acknowledged once and then overdue."""
    configured(rig)
    rig.installed(rig.ack(*_exported(rig)))
    rig.advance(40 * DAY)


def controlled(rig: Rig) -> None:
    """A controller has taken over a device with reports."""
    in_use(rig)
    rig.edit({"slp-agent:operating-mode": "controller"})
    rig.use("sessions", 7, after=60)


def _exported(rig: Rig) -> list[tuple[int, str]]:
    """All reports, after a collector has saved them."""
    rig.advance(60)
    rig.invoke("export-usage", {"all": [None]}, COLLECTOR)
    return rig.stored()


SCENES: dict[str, Callable[[Rig], None]] = {
    scene.__name__: scene
    for scene in (
        fresh,
        in_use,
        closed,
        delivered,
        acknowledged,
        configured,
        crashed,
        stopped,
        authorized,
        overdue,
        expired,
        reserved,
        refused,
        not_renewed,
        post_paid,
        controlled,
    )
}
