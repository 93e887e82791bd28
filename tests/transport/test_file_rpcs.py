"""Usage files and imports through the RPCs, with real files, store and signatures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agent.codec import json as json_codec
from agent.errors import RequestError
from agent.formats.documents import Ack, Acknowledged
from agent.formats.jsontext import MAX_BYTES
from agent.formats.rum import read_payload
from agent.formats.smartlicense import read_usage
from agent.licensing.ports import StorageFullError
from agent.northbound import file_operations
from agent.northbound.file_operations import FILE_CODES
from tests.licensing.kit import DAY
from tests.transport.rig import ADMIN, COLLECTOR, READER, RECORDER, Rig

SAVES = ["rum-save-usage-all", "rum-save-usage-unreported", "rum-save-usage-days"]
USE_SECONDS = 1000


def used(rig: Rig, days: int = 0) -> None:
    """Two licences are in use; a daily report of each closes for every day that passes."""
    rig.use("advantage", 1)
    rig.use("sessions", 5)
    for _ in range(days):
        rig.advance(DAY)
    rig.advance(USE_SECONDS)


@pytest.mark.parametrize("name", SAVES)
def test_a_save_closes_writes_and_tells(rig: Rig, name: str) -> None:
    """What was open is closed first (slp-facts 4.1); every report stands in the file byte for byte as it was signed."""
    used(rig)
    answer = rig.invoke(name, {"file-path": "flash:usage.xml"})
    assert answer == {
        "return-code": "success",
        "slp-agent:message": "2 reports saved to flash:usage.xml; "
        "not counted as delivered: ada is not of the group collector",
        "slp-agent:report-count": 2,
    }
    file = read_usage((rig.flash / "usage.xml").read_bytes())
    assert list(file.reports) == rig.documents()
    assert [read_payload(json.loads(one)["payload"]).close_reason for one in file.reports] == ["requested"] * 2
    info = file.system_info
    assert info is not None
    assert info.udi.key == rig.profile.udi.key
    assert (info.timestamp, info.hostname, info.software_tag) == (rig.now * 1000, "files", rig.profile.software_tag)


def test_saving_when_nothing_was_used(rig: Rig) -> None:
    """Not an error: a file without reports, which says whose it is."""
    answer = rig.invoke("rum-save-usage-all", {"file-path": "usage.xml"})
    assert answer["return-code"] == "success"
    assert answer["slp-agent:report-count"] == 0
    assert b"smartLicenseSystemInfo" in (rig.flash / "usage.xml").read_bytes()


def test_the_host_name_stays_private(rig: Rig) -> None:
    rig.edit({"privacy": {"hostname": True}})
    used(rig)
    rig.invoke("rum-save-usage-all", {"file-path": "a"})
    content = (rig.flash / "a").read_bytes()
    assert b"hostname" not in content


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("rum-save-usage-all", {"all": [None]}),
        ("rum-save-usage-unreported", {"unreported": [None]}),
        ("rum-save-usage-unreported", {}),
        ("rum-save-usage-days", {"days": 90}),
    ],
)
def test_inline_and_file_are_equal_byte_for_byte(rig: Rig, name: str, given: dict[str, object]) -> None:
    used(rig, days=2)
    inline = rig.invoke("export-usage", given)
    saved = rig.invoke(name, {"file-path": "a"})
    assert inline["return-code"] == saved["return-code"] == "success"
    assert inline["report-count"] == saved["slp-agent:report-count"] == 6
    assert inline["content"].encode() == (rig.flash / "a").read_bytes()


def test_one_report_inline_and_as_a_file(rig: Rig) -> None:
    used(rig, days=1)
    keys = [entry["rum-report-key"] for entry in rig.part("rum-reports-closed-keys")]
    saved = rig.invoke("rum-save-usage-report", {"file-path": "a", "rum-report-key": keys[1]})
    assert saved == {
        "return-code": "success",
        "message": "1 report saved to a; not counted as delivered: ada is not of the group collector",
        "report-count": 1,
    }
    inline = rig.invoke("export-usage", {"rum-report-key": keys[1]})
    assert inline["content"].encode() == (rig.flash / "a").read_bytes()
    assert list(read_usage((rig.flash / "a").read_bytes()).reports) == [rig.documents()[1]]
    assert len(rig.documents()) == len(keys), "one report is saved as it is: nothing else is closed for it"


def test_a_report_that_is_not_there(rig: Rig) -> None:
    for name, given in (("export-usage", {}), ("rum-save-usage-report", {"file-path": "a"})):
        answer = rig.invoke(name, {**given, "rum-report-key": "PID:FILE-1,SN:9RIG,REPORT:7"})
        assert answer["return-code"] == "requesteditemnotfound"
        assert "REPORT:7" in answer["message"]
    assert not (rig.flash / "a").exists()


def test_days_go_back_from_now(rig: Rig) -> None:
    """Reports whose usage ended in the last days; 90 where it is not said."""
    used(rig, days=3)
    for days, reports in ((1, 4), (2, 6), (3, 8), (4_294_967_295, 8)):
        answer = rig.invoke("rum-save-usage-days", {"file-path": "a", "days": days})
        assert (answer["return-code"], answer["slp-agent:report-count"]) == ("success", reports), days
    assert rig.invoke("export-usage", {"days": 1})["report-count"] == 4
    rig.use("advantage", 0)
    rig.use("sessions", 0)
    rig.advance(90 * DAY)
    assert rig.invoke("rum-save-usage-days", {"file-path": "a"})["slp-agent:report-count"] == 0
    assert rig.invoke("rum-save-usage-days", {"file-path": "a", "days": 91})["slp-agent:report-count"] == 4


def test_no_days_is_refused(rig: Rig) -> None:
    used(rig)
    for name, given in (("rum-save-usage-days", {"file-path": "a"}), ("export-usage", {})):
        assert rig.invoke(name, {**given, "days": 0})["return-code"] == "BadInputParams"
    assert rig.documents() == []
    assert list(rig.flash.iterdir()) == []


def test_two_choices_at_once_are_refused(rig: Rig) -> None:
    node = rig.dispatch.schema.rpcs["slp-agent", "export-usage"]
    with pytest.raises(RequestError, match="alternatives of choice which"):
        json_codec.decode_input({"all": [None], "days": 3}, node)


@pytest.mark.parametrize("name", [*SAVES, "export-usage", "rum-save-usage-report"])
@pytest.mark.parametrize(("user", "state"), [(COLLECTOR, "unacknowledged"), (ADMIN, "closed")])
def test_saving_by_a_collector_counts_as_delivery(rig: Rig, name: str, user: object, state: str) -> None:
    """The table of reads with a consequence: save and inline export by a collector mark, by others they do not."""
    used(rig)
    rig.invoke("close-reports")
    given: dict[str, object] = {} if name == "export-usage" else {"file-path": "a"}
    if name == "rum-save-usage-report":
        given["rum-report-key"] = rig.part("rum-reports-closed-keys")[0]["rum-report-key"]
    assert rig.invoke(name, given, user)["return-code"] == "success"  # type: ignore[arg-type]
    saved = 1 if name == "rum-save-usage-report" else 2
    assert rig.states()[:saved] == [state] * saved
    assert set(rig.states()[saved:]) <= {"closed"}


@pytest.mark.parametrize("user", [READER, RECORDER])
@pytest.mark.parametrize("name", [*SAVES, "import-file", "export-usage", "rum-save-usage-report"])
def test_others_may_not(rig: Rig, user: object, name: str) -> None:
    given: dict[str, object] = {} if name == "export-usage" else {"file-path": "a"}
    if name == "rum-save-usage-report":
        given["rum-report-key"] = "x"
    with pytest.raises(RequestError) as caught:
        rig.invoke(name, given, user)  # type: ignore[arg-type]
    assert caught.value.errors[0].tag == "access-denied"


def test_a_file_without_a_place_leaves_reports_open(rig: Rig) -> None:
    used(rig)
    (rig.flash / "folder").mkdir()
    for argument in ("flash:folder", "../a", "tftp:a"):
        answer = rig.invoke("rum-save-usage-all", {"file-path": argument}, COLLECTOR)
        assert answer["return-code"] == "platformpathinvalid"
        assert answer["slp-agent:message"]
    assert rig.documents() == []


def test_a_write_that_fails_marks_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is not delivered."""
    used(rig)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        answer = rig.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    assert answer["return-code"] == "storagefailtostore"
    assert "no space" in answer["slp-agent:message"]
    assert rig.states() == ["closed", "closed"]
    assert list(rig.flash.iterdir()) == []


def test_more_reports_than_a_file_takes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    used(rig, days=2)
    monkeypatch.setattr(file_operations, "MAX_REPORTS", 5)
    answer = rig.invoke("rum-save-usage-all", {"file-path": "a"})
    assert answer["return-code"] == "messageeventexceedspeer"
    assert "at most 5 reports" in answer["slp-agent:message"]
    assert list(rig.flash.iterdir()) == []
    assert rig.invoke("rum-save-usage-days", {"file-path": "a", "days": 1})["slp-agent:report-count"] == 4


def test_more_bytes_than_a_file_takes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    used(rig)
    monkeypatch.setattr(file_operations, "MAX_USAGE_FILE", 2000)
    assert rig.invoke("export-usage", {"all": [None]})["return-code"] == "messageeventexceedspeer"


# Import


def test_an_ack_by_file(rig: Rig) -> None:
    used(rig)
    rig.invoke("rum-save-usage-all", {"file-path": "usage.xml"}, COLLECTOR)
    answer = rig.invoke("import-file", {"file-path": rig.put("ack.xml", rig.ack())}, COLLECTOR)
    assert answer["return-code"] == "success"
    assert answer["slp-agent:document"][0]["type"] == "acknowledgement"
    assert rig.documents() == []
    assert rig.invoke("rum-save-usage-unreported", {"file-path": "a"})["slp-agent:report-count"] == 0


def test_every_document_of_a_file_is_reported_by_name(rig: Rig) -> None:
    used(rig)
    rig.invoke("close-reports")

    def ack() -> Ack:
        return Ack(rig.authority.heading(rig.device), (Acknowledged(7, "0" * 64),))

    answer = rig.invoke("import-file", {"file-path": rig.put("all", rig.bundle(ack))})
    assert [(each["type"], each["return-code"]) for each in answer["slp-agent:document"]] == [
        ("trust-code", "success"),
        ("policy", "success"),
        ("acknowledgement", "requesteditemnotfound"),
    ]
    assert answer["return-code"] == "requesteditemnotfound"
    assert rig.part("policy")["policy-name"] == "Example policy"
    assert "import-refused" in rig.names()


def test_import_file_and_import_code_say_the_same(rig: Rig) -> None:
    content = rig.bundle()
    first = rig.invoke("import-file", {"file-path": rig.put("a", content)})
    again = rig.invoke("import-code", {"content": content.decode()})
    assert [each["type"] for each in first["slp-agent:document"]] == [each["type"] for each in again["document"]]
    assert {each["message"].split(" was ")[-1] for each in again["document"]} == {"installed before"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "msgparse"),
        (b"\x00", "msgparse"),
        (b"\xff\xfe", "msgparse"),
        (b"<smartLicense>", "msgparse"),
        (b"<smartLicense/>", "missingentry"),
        (b'<!DOCTYPE a [<!ENTITY b "b">]><smartLicense>&b;</smartLicense>', "msgparse"),
        (b"<smartLicense><RUMReport>{}</RUMReport></smartLicense>", "missingentry"),
        (b" " * (MAX_BYTES + 1), "messageeventexceedspeer"),
    ],
)
def test_files_that_hold_no_document(rig: Rig, content: bytes, code: str) -> None:
    before = rig.state
    answer = rig.invoke("import-file", {"file-path": rig.put("a", content)})
    assert answer["return-code"] == code
    assert rig.state is before


@pytest.mark.parametrize("name", ["nothing", "flash:folder", "flash:link", "flash:pipe", "flash:../a", "ftp://x/a"])
def test_files_that_cannot_be_used(rig: Rig, name: str) -> None:
    (rig.flash / "folder").mkdir()
    (rig.path / "outside").write_bytes(rig.bundle())
    (rig.flash / "link").symlink_to(rig.path / "outside")
    os.mkfifo(rig.flash / "pipe")
    answer = rig.invoke("import-file", {"file-path": name})
    assert answer["return-code"] == "platformpathinvalid"
    assert name.rpartition("/")[2] in answer["slp-agent:message"]
    assert "policy-name" not in rig.part("policy")


@pytest.mark.parametrize("path", ["", "a" * 128])
def test_a_path_that_breaks_the_model_is_an_error(rig: Rig, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        rig.invoke("import-file", {"file-path": path})
    assert caught.value.errors[0].tag == "invalid-value"


def test_a_store_that_is_full_marks_nothing_and_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    used(rig)
    rig.invoke("close-reports")

    def full() -> None:
        raise StorageFullError("there is no space left on the disk: free some")

    with monkeypatch.context() as patch:
        patch.setattr(rig.store, "begin", full)
        with pytest.raises(RequestError) as caught:
            rig.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    assert caught.value.errors[0].tag == "resource-denied"
    assert rig.states() == ["closed", "closed"]


def test_the_table_of_file_errors_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    for reason, code in FILE_CODES.items():
        assert f"| `{reason}` | `{code}` |" in text
