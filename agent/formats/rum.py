"""Values of RUM reports, their payload string and the sealed document; what comes back is checked in envelope.py.

Times are epoch seconds, spans are half-open. Payload versions 1.0 and 2.0 in their public shapes (slp-facts 4.2, 4.3)
with members of our own, all of them in docs/formats.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from agent.formats import jsontext
from agent.formats.errors import InvalidContent, TooLarge, UnsupportedVersion
from agent.formats.jsontext import Members
from agent.formats.signing import Signer, from_base64, payload_digest, to_base64
from agent.formats.udi import Udi

Version = Literal["1.0", "2.0"]
VERSIONS: tuple[Version, ...] = ("1.0", "2.0")
SAMPLE_SECONDS = 900
MAX_MEASUREMENTS = 1000
"""Rows in one report: close it before it grows past this."""
MAX_DOCUMENT = 1024 * 1024
MAX_OUTAGES = 100
MAX_PERIPHERALS = 5000
CUSTOMER_TAGS = ("tag1", "tag2", "tag3", "tag4")
CUSTOMER_INFO = ("city", "country", "id", "name", "postalcode", "state", "street")


@dataclass(frozen=True, slots=True)
class Measurement:
    """A span of constant count; `log_time` is when its writing began (first row: equal to `start`)."""

    start: int
    end: int
    count: int
    log_time: int
    termination_reason: str | None = None
    clock_change_delta: int | None = None
    """Seconds by which the clock was set during the span (negative: set back)."""
    added: tuple[Udi, ...] = ()
    removed: tuple[Udi, ...] = ()
    """Peripherals that came or went at the start of the span or, in the last one, at its end."""


class Outage(NamedTuple):
    """A span in which nothing was recorded, before or between the measurements."""

    start: int
    end: int


class HaUdi(NamedTuple):
    """A member of the high-availability set; role is Active, Standby or Member."""

    role: str
    udi: Udi


@dataclass(frozen=True, slots=True)
class Report:
    """A closed report, before it is sealed: counts of one licence over consecutive spans."""

    report_id: int
    udi: Udi
    epoch: str
    """Identifier of the instance epoch; a factory reset begins a new one."""
    sequence: int
    """Position in the epoch's hash chain, from 1."""
    previous_report_id: int
    """The report sealed just before this one, of whatever licence; 0 when sequence is 1."""
    previous_digest: str | None
    """That report's payload digest; None when sequence is 1."""
    software_tag: str
    software_version: str
    entitlement_tag: str
    measurements: tuple[Measurement, ...]
    close_reason: str
    ha_udi: tuple[HaUdi, ...] = ()
    utility_enabled: bool = False
    """Whether the instance is in utility mode."""
    post_paid: bool = False
    """Whether this usage is billed afterwards: in utility mode, and never an export-controlled licence."""
    subscription_id: str | None = None
    """The subscription that post-paid usage is billed to."""
    lab: bool = False
    hostname: str | None = None
    customer_tags: tuple[tuple[str, str], ...] = ()
    """Pairs of CUSTOMER_TAGS and a value of 1 to 127 characters."""
    customer_info: tuple[tuple[str, str], ...] = ()
    """Pairs of CUSTOMER_INFO and a value of 1 to 255 characters."""
    outages: tuple[Outage, ...] = ()
    trust_request: bytes | None = None
    """DER SubjectPublicKeyInfo of the signing key, when the device asks for a trust code."""
    metric_name: str = "ENTITLEMENT"
    version: Version = "2.0"
    """The payload's shape."""


def payload(report: Report) -> str:
    """The exact string that is signed. Raises InvalidContent when the report breaks a rule that a reader checks."""
    asset: dict[str, Any] = {
        "asset": {"name": report.software_tag},
        "instance": {"sudi": report.udi.sudi(), "epoch": report.epoch},
    }
    meta = _meta(report)
    if report.version == "1.0":
        head: dict[str, Any] = {}
        meta = {"report_id": report.report_id, **meta}
        if not report.utility_enabled:
            del meta["utility_enabled"]
    else:
        head = {"version": report.version}
        asset["report_id"] = report.report_id
    rows = [_row(row, report.metric_name) for row in report.measurements]
    members = {**head, "asset_identification": asset, "meta": meta, "measurements": rows}
    text = jsontext.dump(members)
    if len(text) > MAX_DOCUMENT:
        raise TooLarge(f"the payload has {len(text)} bytes; at most {MAX_DOCUMENT} are accepted")
    # What is signed counts, so the reader's rules are kept before it; the text itself is the writer's own.
    jsontext.check(members, "the payload", text.encode("ascii"))
    _read(Members(members, "payload", InvalidContent))
    return text


def _meta(report: Report) -> dict[str, Any]:
    chain: dict[str, Any] = {"sequence": report.sequence, "previous_report_id": report.previous_report_id}
    if report.previous_digest is not None:
        chain["previous_digest"] = report.previous_digest
    meta: dict[str, Any] = {
        "entitlement_tag": report.entitlement_tag,
        "software_version": report.software_version,
        "ha_udi": [{"role": member.role, "sudi": member.udi.sudi()} for member in report.ha_udi],
        "utility_enabled": report.utility_enabled,
        "close_reason": report.close_reason,
        "chain": chain,
        "lab": report.lab,
    }
    if report.utility_enabled or report.post_paid:
        meta["post_paid"] = report.post_paid
    if report.subscription_id is not None:
        meta["subscription_id"] = report.subscription_id
    if report.hostname is not None:
        meta["hostname"] = report.hostname
    if report.customer_tags:
        meta["customer_tags"] = dict(report.customer_tags)
    if report.customer_info:
        meta["customer_info"] = dict(report.customer_info)
    if report.outages:
        meta["outages"] = [{"start_time": outage.start, "end_time": outage.end} for outage in report.outages]
    if report.trust_request is not None:
        meta["trust_request"] = to_base64(report.trust_request)
    return meta


def _row(row: Measurement, metric_name: str) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if row.termination_reason is not None:
        meta["termination_reason"] = row.termination_reason
    if row.clock_change_delta is not None:
        meta["clock_change_delta"] = str(row.clock_change_delta)
    for name, udis in (("added_sudi_list", row.added), ("removed_sudi_list", row.removed)):
        if udis:
            meta[name] = [udi.sudi() for udi in udis]
    return {
        "log_time": row.log_time,
        "metric_name": metric_name,
        "start_time": row.start,
        "end_time": row.end,
        "sample_interval": row.end - row.start,
        "num_samples": samples(row.end - row.start),
        "meta": meta,
        "value": {"type": "COUNT", "value": str(row.count)},
    }


def samples(interval: int) -> int:
    """How many samples a span of `interval` seconds holds: one at its start and one every 15 minutes.

    The nearest multiple counts, not the last one passed: devices state 97 for 86,399 seconds (slp-facts 4.2).
    """
    return (interval + SAMPLE_SECONDS // 2) // SAMPLE_SECONDS + 1


def seal(report: Report, signer: Signer, trust_code: bytes | None = None) -> bytes:
    """The exact signed document, ASCII JSON. `trust_code` is the certificate (DER) installed for the signer's key.

    The bytes are to be kept and passed on as they are: signing again gives other bytes.
    """
    return seal_payload(payload(report), report.udi, signer, trust_code)


def seal_payload(text: str, udi: Udi, signer: Signer, trust_code: bytes | None = None) -> bytes:
    """`seal` for a payload of this instance that was made already."""
    signature: dict[str, Any] = {
        "sudi": udi.sudi(),
        "signing_type": "builtin" if trust_code is None else "trust-code",
        "key": signer.key_id,
        "value": to_base64(signer.sign(text.encode("utf-8"))),
    }
    if trust_code is None:
        signature["public_key"] = to_base64(signer.public_key)
    else:
        signature["certificate"] = to_base64(trust_code)
    document = jsontext.dump({"payload": text, "header": {"type": "rum"}, "signature": signature})
    return document.encode("ascii")


def digest_of(document: bytes) -> str:
    """The digest that chains and acknowledgements carry: `payload_digest` of the document's payload string.

    Raises Malformed when there is no such string.
    """
    members = Members(jsontext.load(document, "the report", MAX_DOCUMENT), "document")
    return payload_digest(members.text("payload", MAX_DOCUMENT))


def read_payload(text: str) -> Report:
    """Parse a payload string whose signature fits. Raises Malformed, UnsupportedVersion, InvalidContent, TooLarge."""
    return _read(Members(jsontext.load(text, "the payload", MAX_DOCUMENT), "payload", InvalidContent))


def _read(members: Members) -> Report:
    version = _version(members)
    asset = members.object("asset_identification")
    instance = asset.object("instance")
    meta = members.object("meta")
    chain = meta.object("chain")
    rows = [_read_row(row) for row in members.objects("measurements", MAX_MEASUREMENTS)]
    report = Report(
        report_id=(meta if version == "1.0" else asset).integer("report_id", 1),
        udi=_udi(instance.object("sudi")),
        epoch=instance.text("epoch", 64),
        sequence=chain.integer("sequence", 1),
        previous_report_id=chain.integer("previous_report_id"),
        previous_digest=chain.optional_text("previous_digest", 64),
        software_tag=asset.object("asset").text("name"),
        software_version=meta.text("software_version"),
        entitlement_tag=meta.text("entitlement_tag"),
        measurements=tuple(row for _, row in rows),
        close_reason=meta.text("close_reason", 64),
        ha_udi=tuple(
            HaUdi(member.text("role", 16), _udi(member.object("sudi"))) for member in meta.objects("ha_udi", 64)
        ),
        utility_enabled=_utility(meta, version),
        post_paid=meta.optional_boolean("post_paid") or False,
        subscription_id=meta.optional_text("subscription_id"),
        lab=meta.boolean("lab"),
        hostname=meta.optional_text("hostname"),
        customer_tags=_pairs(meta.optional_object("customer_tags"), CUSTOMER_TAGS, 127),
        customer_info=_pairs(meta.optional_object("customer_info"), CUSTOMER_INFO, 255),
        outages=_outages(meta),
        trust_request=_trust_request(meta),
        metric_name=rows[0][0] if rows else "",
        version=version,
    )
    _check(report, [name for name, _ in rows])
    return report


def _version(members: Members) -> Version:
    """The shape of a payload: version 1 carries no number, and no other number is known."""
    stated = members.optional_text("version", 16)
    for version in VERSIONS:
        if (stated or "1").split(".")[0] == version.split(".")[0]:
            return version
    raise UnsupportedVersion(f"payload version {stated} is not known; this release reads {' and '.join(VERSIONS)}")


def _utility(meta: Members, version: Version) -> bool:
    if version == "1.0":
        return meta.optional_boolean("utility_enabled") or False
    return meta.boolean("utility_enabled")


def _peripherals(meta: Members, name: str) -> tuple[Udi, ...]:
    return tuple(_udi(entry) for entry in meta.objects(name, MAX_PERIPHERALS)) if name in meta else ()


def _read_row(members: Members) -> tuple[str, Measurement]:
    meta = members.object("meta")
    delta = meta.optional_text("clock_change_delta", 20)
    value = members.object("value")
    count = value.text("value", 19)
    if value.text("type", 16) != "COUNT" or not (count.isascii() and count.isdigit()):
        raise InvalidContent(f"{value.where} must be of type COUNT with a decimal number as text")
    if delta is not None and not delta.removeprefix("-").isdecimal():
        raise InvalidContent(f"{meta.where}.clock_change_delta must be a decimal number as text")
    row = Measurement(
        start=members.integer("start_time"),
        end=members.integer("end_time"),
        count=int(count),
        log_time=members.integer("log_time"),
        termination_reason=meta.optional_text("termination_reason", 64),
        clock_change_delta=None if delta is None else int(delta),
        added=_peripherals(meta, "added_sudi_list"),
        removed=_peripherals(meta, "removed_sudi_list"),
    )
    interval = members.integer("sample_interval")
    if row.end < row.start or interval != row.end - row.start:
        raise InvalidContent(f"{members.where}: sample_interval must be end_time - start_time, and not negative")
    members.integer("num_samples", 1)  # a device's own count: it says how the row was made, and nothing is billed by it
    return members.text("metric_name", 32), row


def _udi(members: Members) -> Udi:
    try:
        return Udi.from_sudi(members.raw())
    except ValueError as error:
        raise InvalidContent(f"{members.where}: {error}") from None


def _pairs(members: Members | None, known: tuple[str, ...], longest: int) -> tuple[tuple[str, str], ...]:
    if members is None:
        return ()
    return tuple((name, members.text(name, longest)) for name in members.raw() if name in known)


def _outages(meta: Members) -> tuple[Outage, ...]:
    if "outages" not in meta:
        return ()
    return tuple(
        Outage(outage.integer("start_time"), outage.integer("end_time"))
        for outage in meta.objects("outages", MAX_OUTAGES)
    )


def _trust_request(meta: Members) -> bytes | None:
    text = meta.optional_text("trust_request", 512)
    try:
        return None if text is None else from_base64(text)
    except ValueError as error:
        raise InvalidContent(f"{meta.where}.trust_request: {error}") from None


def _check(report: Report, metric_names: list[str]) -> None:
    if not report.measurements:
        raise InvalidContent("payload.measurements must hold at least one row")
    if len(set(metric_names)) != 1:
        raise InvalidContent("payload.measurements must all have one metric_name")
    for earlier, later in zip(report.measurements, report.measurements[1:], strict=False):
        if later.start < earlier.end:
            raise InvalidContent(f"payload.measurements overlap: a row starts at {later.start}, before {earlier.end}")
    if report.post_paid and not report.utility_enabled:
        raise InvalidContent("payload.meta.post_paid: there is post-paid usage in utility mode only")
    if report.subscription_id is not None and not report.post_paid:
        raise InvalidContent("payload.meta.subscription_id: only post-paid usage is billed to a subscription")
    if any(outage.end < outage.start for outage in report.outages):
        raise InvalidContent("payload.meta.outages: a span ends before it starts")
    first = report.sequence == 1
    if first != (report.previous_digest is None) or first != (report.previous_report_id == 0):
        raise InvalidContent("payload.meta.chain: sequence 1, and no other, has previous_report_id 0 and no digest")
    if report.previous_digest is not None and not is_digest(report.previous_digest):
        raise InvalidContent("payload.meta.chain.previous_digest must be 64 lower-case hexadecimal digits")


def is_digest(text: str) -> bool:
    return len(text) == 64 and not text.strip("0123456789abcdef")
