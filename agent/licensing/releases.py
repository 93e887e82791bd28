"""What a software release can do: the one table of version predicates; what follows from them is decided elsewhere.

Source: the guide's dated statements, slp-facts sections 4.3, 4.6, 5, 6 and 8. The release is the profile's software
version. A version of another scheme (fewer than three numbers, or below 17) has every feature.
"""

from __future__ import annotations

from dataclasses import dataclass
import re
from typing import Literal, NamedTuple

Feature = Literal[
    "trust-request-pushed",
    "trust-request-saved",
    "trust-request-pulled",
    "vrf",
    "throttle",
    "authorization-file",
    "controller-licence-management",
    "utility-mode",
    "utility-mode-controller",
    "rum-version-2",
]


class Release(NamedTuple):
    """A version such as 17.9.1a, in order of release; (17, 9) is its train."""

    major: int
    minor: int
    rebuild: int
    letter: str = ""

    @property
    def train(self) -> tuple[int, int]:
        """The releases that share the first two numbers."""
        return (self.major, self.minor)

    @classmethod
    def parse(cls, version: str) -> Release | None:
        """The release in a version string, or None for a string of another scheme."""
        found = re.match(r"(\d{2,4})\.(\d{1,3})\.(\d{1,3})([a-z]?)(?![0-9a-zA-Z])", version.strip())
        if found is None or int(found[1]) < _FIRST_MAJOR:
            return None
        return cls(int(found[1]), int(found[2]), int(found[3]), found[4])


_FIRST_MAJOR = 17


@dataclass(frozen=True, slots=True)
class Since:
    """A feature is there from `always` on, and within a train of `rebuilds` from that release of the train on."""

    what: str
    always: Release
    rebuilds: tuple[Release, ...] = ()


FEATURES: dict[Feature, Since] = {
    "trust-request-pushed": Since("reports that the device pushes ask for a trust code", Release(17, 7, 1)),
    "trust-request-saved": Since("reports saved to a file ask for a trust code", Release(17, 7, 1)),
    "trust-request-pulled": Since("reports that a collector pulls ask for a trust code", Release(17, 9, 1)),
    "vrf": Since("licensing traffic through a VRF", Release(17, 9, 1)),
    "throttle": Since(
        "at most one report push a day, but for a sync", Release(17, 9, 1), (Release(17, 3, 6), Release(17, 6, 4))
    ),
    "authorization-file": Since("authorization requests in files", Release(17, 7, 1)),
    "controller-licence-management": Since("a controller reports the usage of its devices", Release(17, 5, 1)),
    "utility-mode": Since("post-paid licences on an autonomous device", Release(17, 9, 1)),
    "utility-mode-controller": Since("post-paid licences on a controller-managed device", Release(17, 4, 1)),
    "rum-version-2": Since("reports in payload version 2.0", Release(17, 9, 1)),
}
"""Feature to the releases that have it; docs/licensing.md shows the same table."""


def supports(version: str, feature: Feature) -> bool:
    """Whether the software of this version has the feature."""
    release = Release.parse(version)
    if release is None:
        return True
    since = FEATURES[feature]
    return release >= since.always or any(release.train == start.train and release >= start for start in since.rebuilds)


class Line(NamedTuple):
    """One feature as state shows it."""

    feature: Feature
    what: str
    supported: bool


def table(version: str) -> tuple[Line, ...]:
    """Every feature, and whether this version has it."""
    return tuple(Line(feature, since.what, supports(version, feature)) for feature, since in FEATURES.items())
