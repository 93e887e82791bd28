"""The views of the time before: registration, authorization, evaluation, conversion, purchases, billing times."""

from __future__ import annotations

import pytest

from agent.core.tree import Tree
from agent.formats.documents import PolicyClass, PolicyTerms
from tests.licensing.kit import DAY
from tests.transport.conftest import Make
from tests.transport.rig import PROFILE, PURCHASES, TERMS, Rig

T0 = "2023-11-14T22:13:20+00:00"
UDI = {"pid": "FILE-1", "sn": "9RIG", "vid": "V02"}


def install(rig: Rig, *documents: object) -> None:
    content = rig.authority.file(*documents)  # type: ignore[arg-type]
    assert rig.invoke("import-code", {"content": content.decode()})["return-code"] == "success"


def test_before_anything_was_installed(rig: Rig) -> None:
    info = rig.info()
    assert info["registration"] == {"registration-state": "reg-state-not-registered", "export-control-allowed": False}
    assert info["authorization"] == {"authorization-state": "auth-state-none"}
    assert info["evaluation"] == {
        "eval-in-use": False,
        "eval-expired": False,
        "eval-period-left": {"time-left": 90 * DAY},
    }
    assert info["conversion"] == [
        {"key_udi": "PID:FILE-1,SN:9RIG", "status": "conversion-status-not-supported", "status-time": T0, "udi": UDI}
    ]
    assert "factory-purchase" not in info
    assert info["utility"] == {"enabled": False, "reporting": "utility-reporting-type-none"}


def test_a_trust_code_is_what_registration_was(rig: Rig) -> None:
    rig.use("sessions", 1)
    rig.clock.at += 100
    install(rig, rig.authority.trust_code(rig.device))
    registered = rig.part("registration")
    assert registered == {
        "registration-state": "reg-state-complete",
        "registration-complete": {
            "complete-time": "2023-11-14T22:15:00+00:00",
            "next-renew-time": "2029-11-12T22:14:45+00:00",
            "expire-time": "2031-11-12T22:15:00+00:00",
        },
        "export-control-allowed": False,
    }
    rig.invoke("close-reports")
    rig.invoke("import-code", {"content": rig.ack().decode()})
    complete = rig.part("registration")["registration-complete"]
    assert (complete["smart-account"], complete["virtual-account"]) == ("Example Networks", "Default")


def test_a_code_is_what_authorization_was(rig: Rig) -> None:
    """Its times are those of reporting, which is how the authority hears of the device."""
    rig.use("sessions", 1)
    install(rig, rig.authority.code(rig.device, ("hseck9", 1)))
    authorized = rig.part("authorization")
    assert authorized == {
        "authorization-state": "auth-state-authorized",
        "authorization-authorized": {
            "next-comm-time": "2023-11-14T22:15:20+00:00",
            "comm-deadline-time": "2024-02-12T22:13:20+00:00",
        },
    }
    rig.advance(10 * DAY)
    rig.invoke("close-reports")
    rig.invoke("import-code", {"content": rig.ack().decode()})
    authorized = rig.part("authorization")["authorization-authorized"]
    assert authorized == {
        "last-comm-status-success": True,
        "last-comm-time": "2023-11-24T22:13:20+00:00",
        "next-comm-time": "2023-12-14T22:15:20+00:00",
        "comm-deadline-time": "2024-02-22T22:13:20+00:00",
    }
    rig.clock.at += 90 * DAY
    assert rig.part("authorization")["authorization-authorized"]["last-comm-status-success"] is True
    rig.clock.at += 1
    overdue = rig.part("authorization")["authorization-authorized"]
    assert overdue["last-comm-status-success"] is False
    assert overdue["fail-message"] == "no acknowledgement came by 2024-02-22T22:13:20+00:00"


@pytest.mark.parametrize("kind", ["slr", "plr", "fla", "pak"])
def test_a_reservation_is_what_it_was(rig: Rig, kind: str) -> None:
    install(rig, rig.authority.code(rig.device, ("hseck9", 1), kind=kind))  # type: ignore[arg-type]
    assert rig.part("authorization") == {
        "authorization-state": "auth-state-authorized-reservation",
        "authorization-authorized-reservation": {"reservation-time": T0},
    }


def test_a_key_of_an_older_system_was_converted(rig: Rig) -> None:
    rig.clock.at += 100
    install(rig, rig.authority.code(rig.device, ("hseck9", 1), kind="pak"))
    (entry,) = rig.part("conversion")
    assert entry["status"] == "conversion-status-already-converted"
    assert entry["status-time"] == "2023-11-14T22:15:00+00:00"


def test_what_was_bought(make: Make) -> None:
    rig = make(
        text=PROFILE.replace('term = "subscription"', 'term = "subscription"\nsubscription-id = "SUB-2"') + PURCHASES
    )
    (entry,) = rig.part("factory-purchase")
    assert (entry["key_udi"], entry["udi"]) == ("PID:FILE-1,SN:9RIG", UDI)
    first, second = entry["basic-license-info"]
    assert first == {
        "entitlement-tag": "regid.2026-11.test.ADV,1.0_01",
        "short-name": "advantage",
        "license-name": "Network Advantage",
        "description": "Everything & <more>",
        "count": 1,
        "license-enforcement-type": "license-enforcement-type-unenforced",
        "license-term-type": "license-term-type-perpetual",
    }
    assert {name: second[name] for name in ("count", "start-time", "end-time", "subscription-id")} == {
        "count": 25,
        "start-time": "2026-01-01T00:00:00+00:00",
        "end-time": "2029-01-01T00:00:00+00:00",
        "subscription-id": "SUB-7",
    }
    subscriptions = [entry.get("subscription-id") for entry in rig.part("usage")]
    assert subscriptions == [None, "SUB-2", None, None]


def test_post_paid_usage(rig: Rig) -> None:
    """Billing goes by the reports; what export law controls is never post-paid."""
    rig.edit({"utility": {"utility-enable": True, "customer-info": {"id": "C-1"}}})
    rig.use("sessions", 1)
    utility: Tree = rig.part("utility")
    assert utility["reporting"] == "utility-reporting-type-subscription"
    assert utility["customer-info"] == {"id": "C-1"}
    assert utility["reporting-times"] == {"next-report-time": "2023-11-14T22:15:20+00:00"}
    assert [entry["post-paid"] for entry in rig.part("usage")] == [True, True, True, False]


def test_notifications_of_the_public_module_at_the_start(rig: Rig) -> None:
    assert rig.names()[:2] == ["ready", "enabled"]
    assert {event.module for event in rig.told[:2]} == {"cisco-smart-license"}
    rig.restart()
    assert rig.names().count("ready") == 2


def test_a_policy_that_is_taken_back(rig: Rig) -> None:
    """Each value says whose it is; a policy that is removed leaves those below it."""
    install(rig, rig.authority.policy(rig.device, TERMS, "factory"))
    told = next(event.tree for event in reversed(rig.told) if event.name == "policy-installed")
    assert told["origin"] == "factory-policy"
    install(rig, rig.authority.policy(rig.device, None, "factory"))
    told = next(event.tree for event in reversed(rig.told) if event.name == "policy-removed")
    assert told == {"policy-name": "Example policy", "origin": "factory-policy"}


@pytest.mark.parametrize(
    ("origin", "source"),
    [("custom", "customer-policy"), ("factory", "factory-policy"), ("controller", "controller-policy")],
)
def test_every_source_of_a_policy_has_its_word(rig: Rig, origin: str, source: str) -> None:
    terms = PolicyTerms("P", ack_required=False, export=PolicyClass(1, 2, 3))
    install(rig, rig.authority.policy(rig.device, terms, origin))  # type: ignore[arg-type]
    policy = rig.part("policy")
    assert policy["policy-type"] == "policy-type-merged"
    assert policy["slp-agent:ack-required-source"] == source
    sources = {(each["class"], each["attribute"]): each["source"] for each in policy["slp-agent:attribute-source"]}
    assert sources["export", "reporting-macd"] == source
    assert sources["perpetual", "reporting-macd"] == "cisco-default"


def test_deadlines_are_told(rig: Rig) -> None:
    """Before the deadline and after it, with the days and the moment."""
    rig.use("sessions", 1)
    deadline = rig.part("rum-ack")["next-report-deadline"]
    for _ in range(60):
        rig.advance(DAY)
    assert "reporting-required" in rig.names()
    soon = next(event.tree for event in rig.told if event.name == "reporting-required")
    assert (soon["days"], soon["next-report-deadline"]) == (30, deadline)
    for _ in range(31):
        rig.advance(DAY)
    late = next(event.tree for event in rig.told if event.name == "ack-overdue")
    assert late["next-report-deadline"] == deadline
