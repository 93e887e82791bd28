"""Situations that an agent can be in, each reached by what clients and time do; the state's tests see all."""

from __future__ import annotations

from collections.abc import Callable

from tests.licensing.kit import DAY
from tests.northbound.kit import TERMS, Rig

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


SCENES: dict[str, Callable[[Rig], None]] = {
    scene.__name__: scene for scene in (fresh, in_use, closed, delivered, acknowledged, configured, crashed, stopped)
}
