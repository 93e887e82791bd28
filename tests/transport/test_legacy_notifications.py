"""The notifications of the public module: each with what brings it about, and with what does not (decision 0036)."""

from __future__ import annotations

import pytest

from agent.formats.documents import Ack, PolicyClass, PolicyTerms, Refused
from tests.licensing.kit import DAY, Authority
from tests.transport.rig import COLLECTOR, Rig

LEGACY = "cisco-smart-license"


def told(rig: Rig) -> list[str]:
    """Names of the public module's notifications since the last look."""
    names = [event.name for event in rig.told if event.module == LEGACY]
    rig.told.clear()
    return names


def members(rig: Rig, name: str) -> dict[str, object]:
    """Of the only notification of that name."""
    (tree,) = [event.tree for event in rig.told if (event.module, event.name) == (LEGACY, name)]
    return dict(tree)


def install(rig: Rig, *documents: object) -> None:
    content = rig.authority.file(*documents)  # type: ignore[arg-type]
    rig.invoke("import-code", {"content": content.decode()})


@pytest.fixture
def reporting(rig: Rig) -> Rig:
    """Reports are due after 30 days, and one licence is in use."""
    days = PolicyClass(30, 30, 30)
    install(rig, rig.authority.policy(rig.device, PolicyTerms("Monthly", days, days, days, days)))
    rig.use("sessions", 1)
    told(rig)
    return rig


def acknowledge(rig: Rig) -> None:
    rig.advance(1000)
    rig.invoke("close-reports")
    rig.invoke("import-code", {"content": rig.ack().decode()})


def test_a_second_trust_code_renews(rig: Rig) -> None:
    install(rig, rig.authority.trust_code(rig.device, factory=True))
    assert told(rig) == ["ready", "enabled"]
    for name in ("registration-success", "registration-renew-success"):
        install(rig, rig.authority.trust_code(rig.device, years=1))
        assert told(rig) == [name]
    rig.advance(366 * DAY)
    assert "registration-expired" in told(rig)
    install(rig, rig.authority.trust_code(rig.device))
    assert told(rig) == ["registration-success"], "what has ended is not renewed"


def test_a_request_that_fails_beside_a_trust_code_is_a_failed_renewal(rig: Rig) -> None:
    other = Authority("another")
    for name in ("registration-fail", "registration-renew-fail"):
        told(rig)
        rig.invoke("id-token-trust", {"id-token": "T", "force": True})
        assert members(rig, name)["reason"] == "general-failure"
        assert "no transport" in str(members(rig, name)["message"])
        assert told(rig) == [name]
        install(rig, other.trust_code(rig.device))
        assert told(rig) == [name]
        install(rig, rig.authority.trust_code(rig.device))


def test_registered_already(rig: Rig) -> None:
    install(rig, rig.authority.trust_code(rig.device))
    rig.told.clear()
    answer = rig.invoke("register-id-token", {"id-token": "T"})
    assert answer["return-code"] == "alreadyregistered"
    assert members(rig, "registration-fail") == {
        "reason": "already-registered-failure",
        "message": answer["slp-agent:message"],
    }
    assert rig.told[0].time == rig.clock.at


@pytest.mark.parametrize("code", ["notregistered", "notsupported"])
def test_a_registration_cannot_be_given_up(rig: Rig, code: str) -> None:
    if code == "notsupported":
        install(rig, rig.authority.trust_code(rig.device))
    rig.told.clear()
    answer = rig.invoke("de-register")
    assert answer["return-code"] == code
    assert members(rig, "de-register-fail") == {
        "reason": "de-register-failure",
        "message": answer["slp-agent:message"],
    }
    assert told(rig) == ["de-register-fail"]


@pytest.mark.parametrize(("factory", "names"), [(False, ["de-register-success"]), (True, []), (None, [])])
def test_a_factory_reset_gives_a_registration_up(rig: Rig, factory: bool | None, names: list[str]) -> None:
    if factory is not None:
        install(rig, rig.authority.trust_code(rig.device, factory=factory))
    told(rig)
    rig.invoke("factory-reset", {"discard": True})
    assert told(rig) == names


def test_a_clock_before_the_registration_is_out_of_its_range(rig: Rig) -> None:
    rig.advance(10 * DAY)
    install(rig, rig.authority.trust_code(rig.device))
    rig.advance(DAY)
    told(rig)
    for back, names in ((3600, []), (2 * DAY, ["registration-out-of-range"]), (3600, [])):
        rig.clock.at -= back
        rig.use("sessions", back)
        assert "clock-changed" in rig.names()
        assert told(rig) == names


def test_communication_fails_once_and_is_restored(reporting: Rig) -> None:
    """With the acknowledgement that ends it, and as the view says it."""
    rig = reporting
    heard: list[str] = []
    for _ in range(60):
        rig.advance(DAY)
        heard += told(rig)
    assert heard == ["communications-fail"]
    acknowledge(rig)
    assert told(rig) == ["authorization-renew-success", "communications-restored"]
    rig.restart()
    told(rig)
    acknowledge(rig)
    assert told(rig) == ["authorization-renew-success"]


def test_a_failure_is_told_once_over_a_restart(reporting: Rig) -> None:
    rig = reporting
    for _ in range(40):
        rig.advance(DAY)
    assert told(rig) == ["communications-fail"]
    rig.restart()
    rig.advance(DAY)
    assert told(rig) == ["ready", "enabled"]
    acknowledge(rig)
    assert "communications-restored" in told(rig)


@pytest.mark.parametrize("utility", [False, True])
def test_an_exchange_that_cannot_be_made_renews_nothing(reporting: Rig, utility: bool) -> None:
    rig = reporting
    config = {"transport": {"transport-type": "transport-type-cslu"}, "utility": {"utility-enable": utility}}
    rig.edit(config)
    names = ["authorization-renew-fail", *(["utility-RUM-fail"] if utility else [])]
    for name in ("sync", "renew-auth"):
        told(rig)
        rig.invoke(name)
        for each in names:
            assert "no transport can carry the reports" in str(members(rig, each)["message"])
        assert told(rig) == names


@pytest.mark.parametrize("utility", [False, True])
def test_reports_that_are_refused_renew_nothing(reporting: Rig, utility: bool) -> None:
    rig = reporting
    rig.edit({"utility": {"utility-enable": utility}})
    rig.advance(1000)
    rig.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    (entry,) = rig.part("slp-agent:rum-reports-closed")[-1:]
    told(rig)
    refused = (Refused(int(entry["report-id"]), entry["digest"], "broken-chain"),)
    install(rig, Ack(rig.authority.heading(rig.device), (), refused))
    message = "the authority refused 1 report: broken-chain"
    names = ["authorization-renew-fail", *(["utility-RUM-fail"] if utility else [])]
    for name in names:
        assert members(rig, name) == {"reason": "general-failure", "message": message}
    assert told(rig) == names
