"""Reporting at once, the factory reset, and what is told of modes and ends."""

from __future__ import annotations

import json
import os

import pytest

from agent.core.tree import Tree
from agent.errors import RequestError, refuse
from agent.formats.rum import read_payload
from agent.formats.signing import LocalSigner
from agent.formats.smartlicense import read_usage
from agent.licensing.commands import FactoryReset, Start
from tests.licensing.kit import DAY
from tests.transport.rig import COLLECTOR, READER, TERMS, Rig

DISCARD = {"discard": True}


def told(rig: Rig, name: str) -> Tree:
    """The last notification of that name."""
    return next(event.tree for event in reversed(rig.told) if event.name == name)


def used(rig: Rig) -> None:
    rig.use("advantage", 1)
    rig.use("sessions", 5)
    rig.advance(1000)


def install(rig: Rig, *documents: object) -> None:
    content = rig.authority.file(*documents)  # type: ignore[arg-type]
    answer = rig.invoke("import-code", {"content": content.decode()})
    assert answer["return-code"] == "success", answer


@pytest.mark.parametrize("name", ["sync", "renew-auth"])
def test_reporting_at_once(rig: Rig, name: str) -> None:
    """Open reports close; nothing can carry them, so it ends as failed and they wait."""
    used(rig)
    answer = rig.invoke(name)
    assert answer["return-code"] == "success"
    assert len(rig.documents()) == 2
    if name == "sync":
        keys = [entry["rum-report-key"] for entry in rig.part("rum-reports-closed-keys")]
        assert answer["rum-report-key"] == keys
    failed = told(rig, "sync-failed")
    assert failed["return-code"] == "transportnotavailable"
    assert failed["message"] in answer["message" if name == "sync" else "slp-agent:message"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("sync", {}),
        ("renew-auth", {}),
        ("id-token-trust", {"id-token": "T"}),
        ("register-id-token", {"id-token": "T"}),
        ("authorization-request-online", {"feature-name": "hseck9"}),
    ],
)
def test_what_needs_the_network_while_it_is_off(rig: Rig, name: str, given: Tree) -> None:
    rig.edit({"transport": {"transport-type": "transport-type-off"}})
    before, count = rig.state, len(rig.told)
    assert rig.invoke(name, given)["return-code"] == "commdisabled"
    assert rig.state is before
    assert len(rig.told) == count


def test_a_save_is_remembered(rig: Rig) -> None:
    used(rig)
    assert "last-report-file-write" not in rig.part("slp-agent:report-times")
    rig.invoke("rum-save-usage-all", {"file-path": "a"})
    assert rig.part("slp-agent:report-times")["last-report-file-write"] == "2023-11-14T22:30:00+00:00"


# Factory reset


def test_unreported_usage_is_not_lost_unsaid(rig: Rig) -> None:
    used(rig)
    answer = rig.invoke("factory-reset")
    assert answer["return-code"] != "success"
    assert "2 reports never left" in answer["message"]
    assert rig.state.running
    assert not rig.state.resetting
    rig.advance(1000)
    rig.invoke("close-reports")
    assert len(rig.documents()) == 2


def test_a_reset_that_saves_first(rig: Rig) -> None:
    """All that was measured, up to the last second, is in the file; then another life begins."""
    install(rig, rig.authority.policy(rig.device, TERMS), rig.authority.trust_code(rig.device))
    used(rig)
    rig.advance(DAY)
    rig.advance(500)
    old_epoch, old_key = rig.state.epoch, rig.signer.key_id
    last = rig.state.next_report_id
    answer = rig.invoke("factory-reset", {"file-path": "flash:last.xml"})
    assert answer["return-code"] == "success", answer
    assert answer["report-count"] == 4
    assert answer["message"].startswith("4 reports were saved to flash:last.xml; licensing was reset")
    assert "start the agent" not in answer["message"].lower()
    reports = [
        read_payload(json.loads(one)["payload"]) for one in read_usage((rig.flash / "last.xml").read_bytes()).reports
    ]
    assert {report.epoch for report in reports} == {old_epoch}
    assert [report.close_reason for report in reports][2:] == ["factory-reset"] * 2
    info = rig.info()
    assert "rum-reports-closed-keys" not in info
    assert info["registration"]["registration-state"] == "reg-state-not-registered"
    assert "policy-name" not in info["policy"]
    assert info["slp-agent:product"]["instance-epoch"] not in (old_epoch, "")
    assert rig.signer.key_id != old_key
    assert told(rig, "factory-reset-done") == {"discarded-count": 0}
    used(rig)
    rig.invoke("close-reports")
    new = [read_payload(json.loads(one)["payload"]) for one in rig.documents()]
    assert {report.epoch for report in new} == {info["slp-agent:product"]["instance-epoch"]}
    assert min(report.report_id for report in new) >= last
    assert rig.ack()
    assert rig.invoke("import-code", {"content": rig.ack().decode()})["return-code"] == "success"


def test_the_file_of_a_reset_replaces_nothing(rig: Rig) -> None:
    used(rig)
    rig.invoke("rum-save-usage-all", {"file-path": "a"})
    before, state = (rig.flash / "a").read_bytes(), rig.state
    answer = rig.invoke("factory-reset", {"file-path": "a"})
    assert answer["return-code"] == "platformpathinvalid"
    assert "choose another name" in answer["message"]
    assert rig.state is state
    assert (rig.flash / "a").read_bytes() == before


def test_a_save_that_is_no_delivery_says_so(rig: Rig) -> None:
    """docs/models.md, Files: an administrator's save leaves the reports to be collected."""
    used(rig)
    saved = rig.invoke("rum-save-usage-all", {"file-path": "a"})["slp-agent:message"]
    assert saved.startswith("2 reports saved to a; not counted as delivered")
    assert "not counted as delivered" in rig.invoke("export-usage")["message"]
    refused = rig.invoke("factory-reset")["message"]
    assert "name a file" in refused
    assert "(discard)" in refused
    assert (
        rig.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)["slp-agent:message"] == "2 reports saved to a"
    )
    for licence in ("advantage", "sessions"):
        rig.use(licence, 0)
    assert rig.invoke("factory-reset")["return-code"] == "success"


def test_a_reset_that_discards(rig: Rig) -> None:
    used(rig)
    rig.invoke("close-reports")
    answer = rig.invoke("factory-reset", DISCARD)
    assert answer["return-code"] == "success"
    assert "report-count" not in answer
    assert told(rig, "factory-reset-done") == {"discarded-count": 2}
    assert rig.documents() == []


@pytest.mark.parametrize("log", [{}, {"omit": ["slp-agent:factory-reset-done"]}, {"max-entries": 0}])
def test_the_event_log_begins_anew(rig: Rig, log: Tree) -> None:
    """Who gets the device after a reset is told nothing of its earlier life; and its numbers go on."""
    used(rig)
    rig.edit({"slp-agent:event-log": log})
    before = rig.store.events.after(0, 1000)
    assert "usage-changed" in [entry[3] for entry in before]
    assert rig.invoke("factory-reset", DISCARD)["return-code"] == "success"
    after = rig.store.events.after(0, 1000)
    assert after[0][0] > before[-1][0]
    assert after[0][3] == "factory-reset-done"
    assert "usage-changed" not in [entry[3] for entry in after]


def test_reports_that_a_collector_has_do_not_hinder(rig: Rig) -> None:
    used(rig)
    rig.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    for licence in ("advantage", "sessions"):
        rig.use(licence, 0)
    assert rig.invoke("factory-reset")["return-code"] == "success"


def test_an_installed_code_hinders(rig: Rig) -> None:
    """It is to be returned first: the authority counts it as used otherwise. Nothing is saved for a refused reset."""
    install(rig, rig.authority.code(rig.device, ("hseck9", 1)))
    used(rig)
    answer = rig.invoke("factory-reset", {"file-path": "a"})
    assert answer["return-code"] != "success"
    assert "return it first" in answer["message"]
    assert not rig.state.resetting
    assert not (rig.flash / "a").exists()
    assert rig.documents() == []
    assert rig.invoke("factory-reset", {**DISCARD, "file-path": "a"})["return-code"] == "success"
    assert rig.part("imported-authorizations").get("authorization-list", []) == []


def test_a_file_that_cannot_be_written_stops_the_reset(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    used(rig)
    assert rig.invoke("factory-reset", {"file-path": "../a"})["return-code"] == "platformpathinvalid"
    assert rig.documents() == []

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        answer = rig.invoke("factory-reset", {"file-path": "a"})
    assert answer["return-code"] == "storagefailtostore"
    assert rig.state.running
    assert not rig.state.resetting
    assert rig.states() == ["closed", "closed"]
    rig.advance(1000)
    rig.invoke("close-reports")
    assert len(rig.documents()) == 4


def test_a_crash_between_two_lives(rig: Rig) -> None:
    """The life has ended and the next one has not begun: the next start gives it a key and an epoch of its own."""
    used(rig)
    old_epoch, old_key = rig.state.epoch, rig.signer.key_id
    rig.agent.committer.run(FactoryReset(discard=True))
    rig.dispatch.stop()
    rig.store.close()
    rig.begin()
    assert rig.state.epoch not in (old_epoch, "")
    assert rig.signer.key_id != old_key
    used(rig)
    rig.invoke("close-reports")
    assert len(rig.documents()) == 2
    made = rig.keys_made
    rig.restart(after=10)
    assert rig.keys_made == made


def test_a_key_that_cannot_be_made_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    used(rig)

    def failing() -> LocalSigner:
        raise OSError(28, "No space left on device")

    living = rig.dispatch._operations["/slp-agent:factory-reset"]
    operations = living.__closure__  # type: ignore[attr-defined]
    owner = next(cell.cell_contents.__self__ for cell in operations if hasattr(cell.cell_contents, "__self__"))
    monkeypatch.setattr(owner, "_rekey", failing)
    with pytest.raises(RequestError, match="restart the agent"):
        rig.invoke("factory-reset", DISCARD)
    rig.dispatch.stop()
    rig.store.close()
    rig.begin()
    assert rig.state.running


@pytest.mark.parametrize("name", ["sync", "factory-reset", "renew-auth"])
@pytest.mark.parametrize("user", [COLLECTOR, READER])
def test_only_administrators(rig: Rig, user: object, name: str) -> None:
    with pytest.raises(RequestError) as caught:
        rig.invoke(name, user=user)  # type: ignore[arg-type]
    assert caught.value.errors[0].tag == "access-denied"


# Modes and ends


def test_utility_mode_is_told_in_both_vocabularies(rig: Rig) -> None:
    rig.edit({"utility": {"utility-enable": True}})
    assert told(rig, "utility-reporting-changed") == {"started": True}
    assert told(rig, "utility-reporting-started") == {}
    assert told(rig, "utility-interval-long") == {"days": 30}
    rig.edit({"utility": {"utility-enable": False}})
    assert told(rig, "utility-reporting-changed") == {"started": False}
    assert told(rig, "utility-reporting-stopped") == {}


def test_settings_that_cannot_be_are_refused_and_change_nothing(rig: Rig) -> None:
    """Utility mode does not go over Call Home: the commit is refused as a whole."""
    rig.edit({"transport": {"transport-type": "transport-type-callhome"}})
    before = rig.state
    with pytest.raises(RequestError) as caught:
        rig.edit({"utility": {"utility-enable": True}})
    (error,) = caught.value.errors
    assert error.tag == "invalid-value"
    assert "Call Home" in error.message
    assert rig.state.settings == before.settings


def test_a_controller_takes_over(rig: Rig) -> None:
    """What is in use stays readable; nothing is reported here."""
    used(rig)
    rig.edit({"slp-agent:operating-mode": "controller"})
    closed = len(rig.documents())
    rig.use("sessions", 7)
    rig.advance(2 * DAY)
    rig.invoke("close-reports")
    assert len(rig.documents()) == closed
    assert [entry["count"] for entry in rig.part("usage")][:2] == [1, 7]
    rig.edit({"slp-agent:operating-mode": "autonomous"})
    rig.advance(1000)
    rig.invoke("close-reports")
    assert len(rig.documents()) == closed + 2


def test_the_end_of_a_trust_code_is_told(rig: Rig) -> None:
    install(rig, rig.authority.trust_code(rig.device, years=1))
    end = rig.now + 365 * DAY
    while rig.clock.at < end + DAY:
        rig.clock.at += 5 * DAY
        rig.advance(0)
    assert told(rig, "trust-code-ends")["ended"] is True
    assert told(rig, "registration-expiration-warning")["expire-time"] == "2024-11-13T22:13:20+00:00"
    assert told(rig, "registration-expired")["reason"] == "general-failure"


def test_a_store_that_fails_at_the_reset_lets_measuring_go_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where going on fails at first: the next reset takes it up."""
    used(rig)
    serve = rig.agent.committer.serve
    failing: list[type] = [FactoryReset, Start]

    def full(command: object) -> object:
        if type(command) in failing:
            raise refuse("resource-denied", "the disk is full")
        return serve(command)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.agent.committer, "serve", full)
    with pytest.raises(RequestError, match="full"):
        rig.invoke("factory-reset", {"file-path": "one", "discard": True})
    assert rig.state.resetting
    failing.remove(Start)
    with pytest.raises(RequestError, match="full"):
        rig.invoke("factory-reset", {"file-path": "two", "discard": True})
    assert not rig.state.resetting
    failing.clear()
    assert rig.invoke("factory-reset", {"file-path": "three", "discard": True})["return-code"] == "success"
