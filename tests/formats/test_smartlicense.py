"""The XML container: usage files byte for byte, hostile XML, limits; and the identities that stand in it."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.formats import errors, smartlicense
from agent.formats.smartlicense import SystemInfo, read_documents, read_usage, write_usage
from agent.formats.udi import Udi
from tests.formats.authority import NOW, UDI, chain

INFO = SystemInfo(UDI, NOW * 1000, "n0nce", "regid.test.VR1000", "edge-1 <&> é")


def test_usage_file_keeps_every_report_byte_for_byte() -> None:
    documents = [*chain(3), '{"a":"]]>é\\n<&"}'.encode()]
    file = write_usage(INFO, documents)
    found = read_usage(file)
    assert found.reports == tuple(documents)
    assert found.system_info == INFO
    assert file.count(b"<RUMReport>") == 4


def test_usage_file_of_ten_thousand_reports() -> None:
    (document,) = chain(1)
    assert len(read_usage(write_usage(INFO, [document] * 10_000)).reports) == 10_000


def test_usage_file_with_prolog_and_without_system_info() -> None:
    found = read_usage(b'<?xml version="1.0" encoding="UTF-8"?><smartLicense><RUMReport>{}</RUMReport></smartLicense>')
    assert (found.system_info, found.reports) == (None, (b"{}",))


USAGE = b"<smartLicense><RUMReport>%s</RUMReport></smartLicense>"
HOSTILE = {
    "entities": b'<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>' + USAGE % b"&b;",
    "file entity": b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/hostname">]>' + USAGE % b"&a;",
    "UTF-16 DOCTYPE": '<!DOCTYPE l [<!ENTITY a "b">]><smartLicense><RUMReport>&a;</RUMReport></smartLicense>'.encode(
        "utf-16"
    ),
    "unknown entity": b"<smartLicense><RUMReport>&x;</RUMReport></smartLicense>",
    "NUL": b"<smartLicense><RUMReport>\x00</RUMReport></smartLicense>",
    "not UTF-8": b"<smartLicense><RUMReport>\xff</RUMReport></smartLicense>",
    "deep": b"<smartLicense>" + b"<a>" * 4000 + b"</a>" * 4000 + b"</smartLicense>",
    "element inside": b"<smartLicense><RUMReport>{}<x/></RUMReport></smartLicense>",
    "comment inside": b"<smartLicense><RUMReport>{<!-- -->}</RUMReport></smartLicense>",
    "trailing": b"<smartLicense><RUMReport>{}</RUMReport></smartLicense><x/>",
    "other root": b"<usage><RUMReport>{}</RUMReport></usage>",
    "an encoding in which < is another byte": '<?xml version="1.0" encoding="IBM037"?><smartLicense/>'.encode("cp037"),
    "not UTF-8, as it declares": '<?xml version="1.0" encoding="ISO-8859-1"?><smartLicense>é</smartLicense>'.encode(
        "latin-1"
    ),
    "namespace": b'<smartLicense xmlns="urn:x"><RUMReport>{}</RUMReport></smartLicense>',
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_xml_is_malformed(data: bytes) -> None:
    with pytest.raises(errors.Malformed):
        read_usage(data)
    with pytest.raises((errors.Malformed, errors.NoDocument)):
        read_documents(data)


def test_limits() -> None:
    with pytest.raises(errors.TooLarge):
        read_usage(b" " * (smartlicense.MAX_USAGE_FILE + 1))
    with pytest.raises(errors.TooLarge):
        read_usage(b"<smartLicense>" + b"<RUMReport/>" * 20_001 + b"</smartLicense>")
    with pytest.raises(errors.NoDocument):
        read_usage(b"<smartLicense></smartLicense>")


@pytest.mark.parametrize(
    ("read", "limit"),
    [
        (read_documents, smartlicense.MAX_TAGS),
        (smartlicense.read_requests, smartlicense.MAX_TAGS),
        (read_usage, smartlicense.MAX_USAGE_TAGS),
    ],
)
def test_tags_are_counted_before_anything_is_parsed(
    read: Callable[[bytes], object], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_most = b"<smartLicense>" + b"<a/>" * (limit - 2) + b"</smartLicense>"
    with pytest.raises(errors.NoDocument):
        read(at_most)
    monkeypatch.setattr(smartlicense.etree, "fromstring", lambda *_: pytest.fail("it was parsed"))
    with pytest.raises(errors.TooLarge, match=f"{limit + 1} tags; at most {limit} are accepted"):
        read(at_most.replace(b"<a/>", b"<a/><a/>", 1))


@pytest.mark.parametrize(
    "inside",
    ["", "<data/><data/>", "<data><x/></data>", "text", "<other>x</other>"],
)
def test_element_without_one_data(inside: str) -> None:
    with pytest.raises(errors.Malformed):
        read_documents(f"<smartLicense><smartLicenseRumAck>{inside}</smartLicenseRumAck></smartLicense>".encode())


WHOLE = write_usage(INFO, chain(2))


@settings(max_examples=100)
@given(st.integers(0, len(WHOLE) - 2))
def test_cut_usage_file_is_refused(length: int) -> None:
    with pytest.raises(errors.DocumentError):
        read_usage(WHOLE[:length])


@pytest.mark.parametrize(
    "text", ["", "PID:,SN:1", "PID:a,SN:", "PID:a,b,SN:c", "PID:a b,SN:c", "SN:c,PID:a", "PID:a,SN:c "]
)
def test_udi_key_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected PID"):
        Udi.from_key(text)


def test_udi_key_round_trip_and_sameness() -> None:
    udi = Udi("C8000V/K9", "9:X", vid="V01")
    assert Udi.from_key(udi.key) == Udi("C8000V/K9", "9:X")
    assert udi.same(Udi.from_sudi(udi.sudi()))
    assert not udi.same(Udi("C8000V/K9", "9:Y"))
    with pytest.raises(ValueError, match="udi_serial_number"):
        Udi.from_sudi({"udi_pid": "x"})
    with pytest.raises(ValueError, match="pid"):
        Udi.from_sudi({"udi_pid": 5, "udi_serial_number": "x"})
