"""The product profile: what product this is and which licences it can use, read from TOML text; opens no files.

`parse_profile` names the line of everything that it refuses, as `name:line: what is expected`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
import re
import tomllib
from typing import Any, Literal

from agent.formats.udi import Udi

Enforcement = Literal["unenforced", "enforced", "export"]
Term = Literal["perpetual", "term", "subscription"]
PolicyClass = Literal["perpetual", "subscription", "enforced", "export"]

ENFORCEMENTS: tuple[Enforcement, ...] = ("unenforced", "enforced", "export")
TERMS: tuple[Term, ...] = ("perpetual", "term", "subscription")
MAX_PROFILE_BYTES = 1 << 20
MAX_LICENCES = 10_000


class ProfileError(ValueError):
    """The profile cannot be used. The message is `name:line: what is expected`."""


@dataclass(frozen=True, slots=True)
class Licence:
    """One entry of the catalogue.

    `name` is what users and applications call it, `feature_name` and `description` what `show license usage` prints,
    `entitlement_tag` what stands in reports.
    """

    name: str
    feature_name: str
    description: str
    entitlement_tag: str
    version: str = "1.0"
    enforcement: Enforcement = "unenforced"
    term: Term = "perpetual"
    subscription_id: str | None = None

    @property
    def policy_class(self) -> PolicyClass:
        """Which of the policy's four classes governs it (slp-facts section 3): export, then enforced, then the term."""
        if self.enforcement != "unenforced":
            return self.enforcement
        return "perpetual" if self.term == "perpetual" else "subscription"

    @property
    def can_be_post_paid(self) -> bool:
        """Whether utility mode bills its usage afterwards; an export-controlled one is sold pre-paid only
        (slp-facts section 8)."""
        return self.enforcement != "export"

    @property
    def needs_authorization(self) -> bool:
        """Whether it may only be used with an authorization code (slp-facts section 5)."""
        return self.enforcement != "unenforced"


@dataclass(frozen=True, slots=True)
class Purchase:
    """Licences that were bought with the product; `start` and `end` in epoch seconds."""

    entitlement_tag: str
    count: int
    start: int | None = None
    end: int | None = None
    subscription_id: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """The product: its identity and its licences by entitlement tag. `sn` None: chosen when the agent is set up."""

    pid: str
    sn: str | None
    vid: str | None
    hostname: str
    software_tag: str
    software_version: str
    licences: Mapping[str, Licence]
    purchases: tuple[Purchase, ...] = ()

    def with_serial(self, sn: str) -> Profile:
        """The same product with this serial number."""
        return replace(self, sn=sn)

    @property
    def udi(self) -> Udi:
        """The unique device identifier. Raises ValueError while the profile has no serial number."""
        if self.sn is None:
            raise ValueError("the profile has no serial number yet: give it one with with_serial()")
        return Udi(pid=self.pid, sn=self.sn, vid=self.vid)

    def find(self, name_or_tag: str) -> Licence | None:
        """The licence with this entitlement tag, name or feature name."""
        found = self.licences.get(name_or_tag)
        if found is not None:
            return found
        for licence in self.licences.values():
            if name_or_tag in (licence.name, licence.feature_name):
                return licence
        return None

    def by_tag(self, tag: str) -> Licence:
        """The licence with this tag; one that left the catalogue goes by its tag, so that its usage still counts."""
        found = self.licences.get(tag)
        return found if found is not None else Licence(tag[:255], tag[:255], "not in the catalogue", tag)


_PRODUCT_KEYS: dict[str, tuple[bool, int]] = {
    "pid": (True, 255),
    "sn": (False, 255),
    "vid": (False, 255),
    "hostname": (True, 255),
    "software-tag": (True, 255),
    "software-version": (True, 64),
}
_LICENCE_KEYS: dict[str, tuple[bool, int]] = {
    "name": (True, 255),
    "feature-name": (False, 255),
    "description": (False, 1000),
    "entitlement-tag": (True, 255),
    "version": (False, 64),
    "enforcement": (False, 16),
    "term": (False, 16),
    "subscription-id": (False, 255),
}
_PURCHASE_KEYS: dict[str, tuple[bool, int]] = {
    "entitlement-tag": (True, 255),
    "subscription-id": (False, 255),
}
_PURCHASE_OTHERS = ("count", "start", "end")
_IDENTIFIER = re.compile(r"[A-Za-z0-9._/+-]+\Z")
# Noncharacters too: no model's string may hold them (RFC 7950 section 14), so state with them could not be shown.
_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_PRINTABLE = re.compile(f"[^\x00-\x1f\x7f{_NONCHARACTERS}]+\\Z")


def parse_profile(text: str, name: str) -> Profile:
    """Read a profile. `name` is what messages call it, usually the file's name.

    Raises ProfileError for TOML that does not parse, unknown or missing keys, wrong types, values out of bounds,
    double names or tags, and a catalogue without licences.
    """
    if len(text.encode()) > MAX_PROFILE_BYTES:
        raise ProfileError(f"{name}:1: a profile of at most {MAX_PROFILE_BYTES} bytes is expected")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line = int(found[1]) if found else len(text.splitlines()) or 1
        what = str(error).partition(" (at ")[0]
        raise ProfileError(f"{name}:{line}: valid TOML is expected: {what}") from None
    except RecursionError:
        raise ProfileError(f"{name}:1: valid TOML is expected: it is nested too deeply") from None
    return _Reader(document, name, _Lines(text)).profile()


class _Lines:
    """Where each table and key of a TOML text stands; enough for the flat shape that a profile has."""

    def __init__(self, text: str) -> None:
        self._at: dict[tuple[str, int, str], int] = {}
        table, index, seen = "", 0, {"": 0}
        closing: str | None = None
        for number, line in enumerate(text.splitlines(), start=1):
            if closing is not None:
                if closing in line:
                    closing = None
                continue
            if header := re.match(r"\s*\[\[?\s*([^\]\s]+)\s*\]", line):
                table = header[1].strip("\"'")
                index = seen[table] = seen.get(table, -1) + 1
                self._at.setdefault((table, index, ""), number)
            elif key := re.match(r"\s*[\"']?([^\s\"'=#]+)[\"']?\s*=\s*(.*)", line):
                self._at.setdefault((table, index, key[1]), number)
                for quote in ('"""', "'''"):
                    if key[2].count(quote) == 1:
                        closing = quote

    def of(self, table: str, index: int = 0, key: str = "") -> int:
        """The line of a key, else of its table, else 1."""
        for place in ((table, index, key), (table, index, ""), ("", 0, table)):
            if place in self._at:
                return self._at[place]
        return 1


class _Reader:
    """Turns the TOML document into a Profile."""

    def __init__(self, document: Mapping[str, Any], name: str, lines: _Lines) -> None:
        self._document = document
        self._name = name
        self._lines = lines

    def _fail(self, line: int, expected: str) -> ProfileError:
        return ProfileError(f"{self._name}:{line}: {expected}")

    def profile(self) -> Profile:
        for member in self._document:
            if member not in ("product", "license", "purchase"):
                line = self._lines.of(member)
                if line == 1:
                    line = self._lines.of("", 0, member)
                raise self._fail(line, f"only [product], [[license]] and [[purchase]] are expected, found {member!r}")
        product = self._document.get("product")
        if not isinstance(product, dict):
            raise self._fail(self._lines.of("product"), "a table [product] is expected")
        values = self._texts("product", 0, product, _PRODUCT_KEYS)
        for key in ("pid", "sn"):
            if key in values and not _IDENTIFIER.match(values[key]):
                raise self._fail(
                    self._lines.of("product", 0, key), f"{key} of letters, digits and . _ / + - only is expected"
                )
        licences = {licence.entitlement_tag: licence for licence in self._licences()}
        return Profile(
            pid=values["pid"],
            sn=values.get("sn"),
            vid=values.get("vid"),
            hostname=values["hostname"],
            software_tag=values["software-tag"],
            software_version=values["software-version"],
            licences=licences,
            purchases=tuple(self._purchases(licences)),
        )

    def _licences(self) -> Iterator[Licence]:
        entries = self._document.get("license")
        if not isinstance(entries, list) or not entries:
            raise self._fail(self._lines.of("license"), "at least one table [[license]] is expected")
        if len(entries) > MAX_LICENCES:
            raise self._fail(self._lines.of("license"), f"at most {MAX_LICENCES} licences are expected")
        taken: dict[str, int] = {}
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise self._fail(self._lines.of("license", index), "[[license]] is expected to be a table")
            licence = self._licence(index, entry)
            for key, value in (("name", licence.name), ("entitlement-tag", licence.entitlement_tag)):
                line = self._lines.of("license", index, key)
                if value in taken:
                    raise self._fail(line, f"a {key} of its own is expected, {value!r} is taken in line {taken[value]}")
                taken[value] = line
            yield licence

    def _licence(self, index: int, entry: Mapping[str, Any]) -> Licence:
        values = self._texts("license", index, entry, _LICENCE_KEYS)
        for key, allowed in (("enforcement", ENFORCEMENTS), ("term", TERMS)):
            if values.get(key, allowed[0]) not in allowed:
                raise self._fail(
                    self._lines.of("license", index, key), f"{key} is expected to be one of {', '.join(allowed)}"
                )
        enforcement: Enforcement = values.get("enforcement", "unenforced")  # type: ignore[assignment]
        term: Term = values.get("term", "perpetual")  # type: ignore[assignment]
        return Licence(
            name=values["name"],
            feature_name=values.get("feature-name", values["name"]),
            description=values.get("description", values["name"]),
            entitlement_tag=values["entitlement-tag"],
            version=values.get("version", "1.0"),
            enforcement=enforcement,
            term=term,
            subscription_id=values.get("subscription-id"),
        )

    def _purchases(self, licences: Mapping[str, Licence]) -> Iterator[Purchase]:
        entries = self._document.get("purchase", [])
        if not isinstance(entries, list) or len(entries) > MAX_LICENCES:
            raise self._fail(self._lines.of("purchase"), f"at most {MAX_LICENCES} tables [[purchase]] are expected")
        taken: dict[str, int] = {}
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise self._fail(self._lines.of("purchase", index), "[[purchase]] is expected to be a table")
            purchase = self._purchase(index, entry)
            tag, line = purchase.entitlement_tag, self._lines.of("purchase", index, "entitlement-tag")
            if tag not in licences:
                raise self._fail(line, f"the entitlement-tag of a [[license]] is expected, found {tag!r}")
            if tag in taken:
                raise self._fail(line, f"one [[purchase]] a licence is expected, {tag!r} is taken in line {taken[tag]}")
            taken[tag] = line
            yield purchase

    def _purchase(self, index: int, entry: Mapping[str, Any]) -> Purchase:
        texts = {key: value for key, value in entry.items() if key not in _PURCHASE_OTHERS}
        values = self._texts("purchase", index, texts, _PURCHASE_KEYS, _PURCHASE_OTHERS)
        count = entry.get("count", 1)
        if type(count) is not int or not 1 <= count < 2**32:
            line = self._lines.of("purchase", index, "count")
            raise self._fail(line, f"count is expected to be a number of 1 to {2**32 - 1}")
        start, end = (self._moment(index, entry, key) for key in ("start", "end"))
        if start is not None and end is not None and end < start:
            raise self._fail(self._lines.of("purchase", index, "end"), "end is expected to be after start")
        return Purchase(values["entitlement-tag"], count, start, end, values.get("subscription-id"))

    def _moment(self, index: int, entry: Mapping[str, Any], key: str) -> int | None:
        value = entry.get(key)
        if value is None:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None or not 1970 <= value.year < 9999:
            line = self._lines.of("purchase", index, key)
            raise self._fail(line, f"{key} is expected to be a date and time with offset, as 2026-11-24T00:00:00Z")
        return max(0, int(value.timestamp()))

    def _texts(
        self,
        table: str,
        index: int,
        entry: Mapping[str, Any],
        keys: Mapping[str, tuple[bool, int]],
        others: tuple[str, ...] = (),
    ) -> dict[str, str]:
        values: dict[str, str] = {}
        for key, value in entry.items():
            line = self._lines.of(table, index, key)
            if key not in keys:
                raise self._fail(line, f"one of the keys {', '.join((*keys, *others))} is expected, found {key!r}")
            longest = keys[key][1]
            if not isinstance(value, str) or not 1 <= len(value) <= longest or not _PRINTABLE.match(value):
                raise self._fail(line, f"{key} is expected to be a printable string of 1 to {longest} characters")
            values[key] = value
        for key, (needed, _) in keys.items():
            if needed and key not in values:
                raise self._fail(self._lines.of(table, index), f"the key {key!r} is expected in this table")
        return values


VIRTUAL_ROUTER = """\
# A virtual router, as the built-in product: `slp-agent init --profile FILE` takes another one of this form.
[product]
pid = "SLPA-VROUTER"
vid = "V01"
hostname = "vrouter"
software-tag = "regid.2026-11.net.slp-agent.VROUTER,1.0_6f1d1c0e-63a5-5f0e-9a3c-8a1f0b7f2d10"
software-version = "17.9.1"

[[license]]
name = "network-essentials"
feature-name = "Network Essentials"
description = "Routing, switching and management essentials"
entitlement-tag = "regid.2026-11.net.slp-agent.NWK_ESSENTIALS,1.0_0c6a5f5e-2f0f-5c1b-8d3e-7f4f0f6f9a21"

[[license]]
name = "network-advantage"
feature-name = "Network Advantage"
description = "Full routing with MPLS, VXLAN and segment routing"
entitlement-tag = "regid.2026-11.net.slp-agent.NWK_ADVANTAGE,1.0_5a4c7b1d-9e8e-5b39-a0f5-3b0d6c1e4f32"

[[license]]
name = "network-premier"
feature-name = "Network Premier"
description = "Network Advantage with cloud security"
entitlement-tag = "regid.2026-11.net.slp-agent.NWK_PREMIER,1.0_91e2b7c4-0d55-5d7a-b2f1-6c8e9a0d7b43"

[[license]]
name = "dna-essentials"
feature-name = "DNA Essentials"
description = "Controller subscription, essentials"
entitlement-tag = "regid.2026-11.net.slp-agent.DNA_ESSENTIALS,1.0_2b8d9f60-71c3-5e84-9c66-1d5f7e3a8c54"
term = "subscription"

[[license]]
name = "dna-advantage"
feature-name = "DNA Advantage"
description = "Controller subscription, advantage"
entitlement-tag = "regid.2026-11.net.slp-agent.DNA_ADVANTAGE,1.0_c7f3e5a2-4b6d-5a90-8e1b-9f2c4d7e6b65"
term = "subscription"

[[license]]
name = "voice-session"
feature-name = "Voice Trunk Session"
description = "One trunk-side voice session, counted by the application"
entitlement-tag = "regid.2026-11.net.slp-agent.VOICE_SESSION,1.0_e4a19d38-8c27-5f4b-a7d9-0b6e2c5f1a76"
term = "subscription"

[[license]]
name = "throughput-tier-2"
feature-name = "Throughput Tier 2"
description = "Forwarding above 1 Gbps in each direction"
entitlement-tag = "regid.2026-11.net.slp-agent.TIER_2,1.0_3d5b8e71-a9f4-5c62-b380-7e1d9c4f2a87"
enforcement = "enforced"

[[license]]
name = "hseck9"
feature-name = "Router US Export Lic. for DNA"
description = "High-throughput encryption, export controlled"
entitlement-tag = "regid.2026-11.net.slp-agent.HSECK9,1.0_7a6c4e92-5d1f-5b83-9f47-2c8e0d3b6f98"
enforcement = "export"
"""
"""The built-in profile. It has no serial number: setting the agent up chooses one."""


def built_in() -> Profile:
    """The virtual router of `VIRTUAL_ROUTER`."""
    return parse_profile(VIRTUAL_ROUTER, "built-in profile")
