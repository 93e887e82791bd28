"""Report payloads: round trip, rules that stop a bad report before it is signed, samples, chain, sealed bytes."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
import pytest

from agent.formats import errors, jsontext, rum
from agent.formats.envelope import open_report
from agent.formats.rum import HaUdi, Measurement, Outage, Report
from agent.formats.signing import payload_digest
from agent.formats.udi import Udi
from tests.formats.authority import DEVICE, NOW, TRUST_CODE, UDI, chain, report


@pytest.mark.parametrize(("interval", "expected"), [(86399, 97), (374401, 417), (40500, 46), (1336, 2), (0, 1)])
def test_samples_of_known_devices(interval: int, expected: int) -> None:
    """The intervals and counts that public reports show (slp-facts 4.2)."""
    assert rum.samples(interval) == expected


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=30,
)
IDENTIFIER = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1, max_size=20
)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    udi = st.builds(Udi, IDENTIFIER, IDENTIFIER)
    rows, at = [], draw(st.integers(0, NOW // 2))
    for _ in range(draw(st.integers(1, 5))):
        start = at + draw(st.integers(0, 1000))
        at = start + draw(st.integers(0, 10**6))
        count, log_time = draw(st.integers(0, 2**62)), draw(st.integers(0, NOW))
        delta = draw(st.none() | st.integers(-(10**9), 10**9))
        came, went = draw(st.lists(udi, max_size=2)), draw(st.lists(udi, max_size=2))
        rows.append(Measurement(start, at, count, log_time, draw(st.none() | TEXT), delta, tuple(came), tuple(went)))
    tags = draw(st.dictionaries(st.sampled_from(rum.CUSTOMER_TAGS), TEXT))
    info = draw(st.dictionaries(st.sampled_from(rum.CUSTOMER_INFO), TEXT))
    first = draw(st.booleans())
    utility = draw(st.booleans())
    post_paid = utility and draw(st.booleans())
    return Report(
        report_id=draw(st.integers(1, 2**63 - 1)),
        udi=draw(udi),
        epoch=draw(TEXT),
        sequence=1 if first else draw(st.integers(2, 2**63 - 1)),
        previous_report_id=0 if first else draw(st.integers(1, 2**63 - 1)),
        previous_digest=None if first else payload_digest(draw(TEXT)),
        software_tag=draw(TEXT),
        software_version=draw(TEXT),
        entitlement_tag=draw(TEXT),
        measurements=tuple(rows),
        close_reason=draw(TEXT),
        ha_udi=tuple(
            draw(st.lists(st.builds(HaUdi, st.sampled_from(["Active", "Standby", "Member"]), udi), max_size=3))
        ),
        utility_enabled=utility,
        post_paid=post_paid,
        subscription_id=draw(st.none() | TEXT) if post_paid else None,
        hostname=draw(st.none() | TEXT),
        customer_tags=tuple(tags.items()),
        customer_info=tuple(info.items()),
        outages=tuple(Outage(start, start + 5) for start in draw(st.lists(st.integers(0, NOW), max_size=3))),
        trust_request=draw(st.sampled_from([None, DEVICE.public_key])),
        metric_name=draw(st.sampled_from(["ENTITLEMENT", "TELEMETRY"])),
        version=draw(st.sampled_from(rum.VERSIONS)),
    )


@settings(max_examples=100)
@given(reports(), st.sampled_from([None, TRUST_CODE]))
def test_sealed_report_opens_to_the_same_value(wanted: Report, trust_code: bytes | None) -> None:
    document = rum.seal(wanted, DEVICE, trust_code)
    signed = open_report(document, pinned=lambda _: DEVICE.public_key, now=2**40, skew=0, lab=False)
    assert signed.report == wanted
    assert signed.digest == rum.digest_of(document) == payload_digest(rum.payload(wanted))
    assert document.isascii()
    assert b"]]>" not in document


ROW = Measurement(NOW - 900, NOW, 1, NOW - 900)
BROKEN: dict[str, dict[str, object]] = {
    "no rows": {"measurements": ()},
    "negative span": {"measurements": (Measurement(NOW, NOW - 1, 1, NOW),)},
    "overlap": {"measurements": (ROW, ROW)},
    "negative count": {"measurements": (Measurement(NOW, NOW, -1, NOW),)},
    "first with predecessor": {"previous_report_id": 5},
    "first with digest": {"previous_digest": "00" * 32},
    "later without digest": {"sequence": 2, "previous_report_id": 5},
    "bad digest": {"sequence": 2, "previous_report_id": 5, "previous_digest": "XY" * 32},
    "report id 0": {"report_id": 0},
    "empty tag": {"entitlement_tag": ""},
    "outage backwards": {"outages": (Outage(5, 4),)},
    "post-paid outside utility mode": {"post_paid": True},
    "pre-paid with a subscription": {"utility_enabled": True, "subscription_id": "SUB-1"},
    "NUL": {"hostname": "a\x00b"},
}


@pytest.mark.parametrize("changes", BROKEN.values(), ids=BROKEN.keys())
def test_broken_report_is_never_signed(changes: dict[str, object]) -> None:
    with pytest.raises((errors.InvalidContent, errors.Malformed)):
        rum.payload(report(**changes))


def test_too_many_rows_are_refused() -> None:
    rows = tuple(Measurement(NOW + i, NOW + i, 1, NOW) for i in range(rum.MAX_MEASUREMENTS + 1))
    with pytest.raises(errors.TooLarge):
        rum.payload(report(measurements=rows))
    assert rum.payload(report(measurements=rows[:-1]))


def test_a_payload_that_is_too_long_is_never_signed() -> None:
    """The rows are few enough, their peripherals are not: no reader would take the document."""
    udis = tuple(Udi(f"P{number:0250}", f"S{number:0250}") for number in range(500))
    rows = tuple(Measurement(NOW + i, NOW + i, 1, NOW, added=udis) for i in range(4))
    with pytest.raises(errors.TooLarge):
        rum.payload(report(measurements=rows))
    assert rum.payload(report(measurements=rows[:3]))


@given(st.text(max_size=20), st.booleans())
def test_the_writer_refuses_exactly_the_characters_that_a_reader_refuses(text: str, escaped: bool) -> None:
    """Raw or as escapes: a text is looked through unless nothing of it can be wrong."""
    wrong = any((ord(c) < 32 and c not in "\t\n\r") or 0xD800 <= ord(c) <= 0xDFFF or c in "\ufffe\uffff" for c in text)
    data = json.dumps({"deep": [text]}, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    if wrong:
        with pytest.raises(errors.Malformed):
            jsontext.load(data, "the text")
        with pytest.raises((errors.InvalidContent, errors.Malformed)):
            rum.payload(report(hostname=text))
    else:
        assert jsontext.load(data, "the text") == {"deep": [text]}
        assert not text or rum.read_payload(rum.payload(report(hostname=text))).hostname == text


def test_chain_names_the_digest_of_the_predecessor() -> None:
    documents = chain(3)
    payloads = [json.loads(json.loads(document)["payload"]) for document in documents]
    for earlier, later in zip(documents, payloads[1:], strict=False):
        assert later["meta"]["chain"]["previous_digest"] == rum.digest_of(earlier)


def test_public_shape_of_the_payload() -> None:
    """Members and their nesting as public 17.9 reports have them (slp-facts 4.3)."""
    payload = json.loads(rum.payload(report()))
    assert payload["version"] == "2.0"
    assert payload["asset_identification"]["instance"]["sudi"] == UDI.sudi()
    assert payload["asset_identification"]["report_id"] == 1001
    assert payload["meta"]["utility_enabled"] is False
    (row,) = payload["measurements"]
    assert row["value"] == {"type": "COUNT", "value": "3"}
    assert (row["sample_interval"], row["num_samples"], row["metric_name"]) == (3600, 5, "ENTITLEMENT")


@pytest.mark.parametrize("data", [b"", b"[]", b'{"payload":5}', b'{"payload":""}', b"\xff"])
def test_digest_of_no_document(data: bytes) -> None:
    with pytest.raises(errors.Malformed):
        rum.digest_of(data)


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20))
def test_every_text_that_xml_can_carry_can_be_sealed(text: str) -> None:
    """A customer tag that the datastore accepts never keeps a report from being closed."""
    try:
        etree.Element("tag").text = text
    except ValueError:
        return
    wanted = report(customer_tags=(("tag1", text),))
    assert rum.read_payload(rum.payload(wanted)) == wanted
