"""Authorization codes through the RPCs, state and notifications, with real files, store and signatures."""

from __future__ import annotations

from dataclasses import replace
import os

import pytest

from agent.core.tree import Tree
from agent.errors import RequestError
from agent.formats.documents import Entitlement
from agent.formats.requests import AuthorizationRequest, AuthorizationReturn, Key
from agent.store.sqlite import SqliteStore
from tests.licensing.kit import DAY
from tests.transport.conftest import Make
from tests.transport.rig import ADMIN, COLLECTOR, JOURNAL_KEY, READER, RECORDER, Rig

HSEC = "regid.2026-11.test.HSECK9,1.0_04"
TIER = "regid.2026-11.test.TIER2,1.0_03"
KEY = "PID:FILE-1,SN:9RIG"


def code(rig: Rig, *counts: tuple[str, int], **changed: object) -> bytes:
    return rig.authority.file(rig.authority.code(rig.device, *counts, **changed))  # type: ignore[arg-type]


def installed(rig: Rig, *counts: tuple[str, int], **changed: object) -> Tree:
    answer = rig.invoke("import-file", {"file-path": rig.put("code.xml", code(rig, *counts, **changed))})
    assert answer["return-code"] == "success", answer
    return answer


def authorizations(rig: Rig) -> Tree:
    found: Tree = rig.part("imported-authorizations")
    return found


def usage(rig: Rig, tag: str) -> Tree:
    return next(entry for entry in rig.part("usage") if entry["entitlement-tag"] == tag)


def told(rig: Rig, name: str) -> Tree:
    """The last notification of that name."""
    return next(event.tree for event in reversed(rig.told) if event.name == name)


def test_from_request_to_return(rig: Rig) -> None:
    """A code is asked for by file, imported, used, not returned while in use, returned; it is worthless then."""
    assert rig.use("hseck9", 1)["return-code"] == "noauthorizationinstalled"
    asked = rig.invoke("authorization-request-offline", {"feature-name": "hseck9", "file-path": "request.xml"})
    content = (rig.flash / "request.xml").read_bytes()
    assert asked["return-code"] == "success"
    assert asked["content"].encode() == content
    request = rig.authority.request(rig.device, content).request
    assert isinstance(request, AuthorizationRequest)
    assert request.keys == (Key(HSEC, 1),)
    waiting = authorizations(rig)["slp-agent:request"]
    assert waiting == {
        "request-time": "2023-11-14T22:13:20+00:00",
        "online": False,
        "entitlement": [{"entitlement-tag": HSEC, "count": 1}],
    }

    content = code(rig, ("hseck9", 1))
    answer = rig.invoke("import-file", {"file-path": rig.put("code.xml", content)}, COLLECTOR)
    assert [(each["type"], each["return-code"]) for each in answer["slp-agent:document"]] == [
        ("authorization", "success")
    ]
    assert "slp-agent:request" not in authorizations(rig)
    assert told(rig, "authorization-code-installed") == {
        "udi-key": KEY,
        "install-type": ["authorization-type-auth-code"],
        "entitlement-tag": [HSEC],
        "install-time": "2023-11-14T22:13:20+00:00",
    }
    assert told(rig, "enforcement-mode") == {"mode": "auth-state-authorized"}

    assert rig.use("hseck9", 1, after=10)["return-code"] == "success"
    refused = rig.invoke("authorization-code-return-offline", {"file-path": "return.xml"})
    assert refused["return-code"] == "listbusy"
    assert "hseck9" in refused["slp-agent:message"]
    assert not (rig.flash / "return.xml").exists()

    rig.use("hseck9", 0, after=10)
    returned = rig.invoke("authorization-code-return-offline", {"file-path": "return.xml"})
    assert returned["return-code"] == "success"
    word = returned["authorization-return-string"]
    proof = rig.authority.request(rig.device, (rig.flash / "return.xml").read_bytes()).request
    assert isinstance(proof, AuthorizationReturn)
    assert authorizations(rig)["slp-agent:last-return-string"] == word
    assert authorizations(rig)["slp-agent:last-return-time"] == "2023-11-14T22:13:40+00:00"
    assert told(rig, "authorization-code-removed")["entitlement-tag"] == [HSEC]
    assert told(rig, "enforcement-mode") == {"mode": "auth-state-none"}

    again = rig.invoke("import-file", {"file-path": "code.xml"})
    assert again["return-code"] != "success"
    assert rig.use("hseck9", 1)["return-code"] == "noauthorizationinstalled"


def test_the_request_is_given_again(rig: Rig) -> None:
    assert rig.invoke("authorization-request-offline")["return-code"] == "noreservationinprogress"
    rig.invoke("authorization-request-offline", {"feature-name": TIER, "count": 3})
    again = rig.invoke("authorization-request-offline", {"file-path": "a"})
    request = rig.authority.request(rig.device, (rig.flash / "a").read_bytes()).request
    assert isinstance(request, AuthorizationRequest)
    assert request.keys == (Key(TIER, 3),)
    assert again["content"].encode() == (rig.flash / "a").read_bytes()


def test_what_needs_no_code_is_not_requested(rig: Rig) -> None:
    for name, given in (
        ("authorization-request-online", {"feature-name": "advantage"}),
        ("authorization-request-offline", {"feature-name": "advantage", "file-path": "a"}),
    ):
        assert rig.invoke(name, given)["return-code"] == "invalidrequest"
    assert rig.invoke("authorization-request-online", {"feature-name": "x"})["return-code"] == "taginvalid"
    assert list(rig.flash.iterdir()) == []


def test_a_request_online_ends_in_a_notification(rig: Rig) -> None:
    """It answers at once; nothing can carry it, so it fails, with the reason, and can be asked for by file."""
    answer = rig.invoke("authorization-request-online", {"feature-name": "hseck9", "local": False, "add": False})
    assert answer["return-code"] == "success"
    failed = told(rig, "authorization-code-request-failed")
    assert failed["udi-key"] == KEY
    assert failed["return-code"] == "transportnotavailable"
    assert "no transport" in failed["message"]
    assert "slp-agent:request" not in authorizations(rig)


def test_add_and_replace(rig: Rig) -> None:
    installed(rig, ("hseck9", 1))

    def keys(add: bool) -> tuple[Key, ...]:
        answer = rig.invoke("authorization-request-offline", {"feature-name": "tier-2", "count": 2, "add": add})
        request = rig.authority.request(rig.device, answer["content"].encode()).request
        assert isinstance(request, AuthorizationRequest)
        return request.keys

    assert keys(True) == (Key(HSEC, 1), Key(TIER, 2))
    assert keys(False) == (Key(TIER, 2),)


def test_overwriting_gives_a_confirmation_code(rig: Rig) -> None:
    assert "confirmation-codes" not in installed(rig, ("hseck9", 1))
    content = code(rig, ("hseck9", 2))
    answer = rig.invoke("import-code", {"content": content.decode()})
    confirmation = answer["confirmation-codes"]
    assert len(confirmation) == 8
    assert authorizations(rig)["slp-agent:last-confirmation-code"] == confirmation
    assert told(rig, "authorization-code-installed")["confirmation-code"] == confirmation
    again = installed(rig, ("hseck9", 3))
    assert again["confirmation-codes"] != confirmation


def test_a_return_without_a_code(rig: Rig) -> None:
    for name, given in (
        ("authorization-code-return-online", {}),
        ("authorization-code-return-offline", {"file-path": "a"}),
    ):
        answer = rig.invoke(name, given)
        assert answer["return-code"] == "noreservationauthcode"
        assert "authorization-return-string" not in answer
    assert list(rig.flash.iterdir()) == []


def test_a_return_online_gives_the_string(rig: Rig) -> None:
    """The code is removed first; that nobody could be told does not bring it back."""
    installed(rig, ("hseck9", 1))
    answer = rig.invoke("authorization-code-return-online", {"local": False})
    assert answer["return-code"] == "success"
    assert answer["authorization-return-string"] == authorizations(rig)["slp-agent:last-return-string"]
    assert authorizations(rig).get("authorization-list", []) == []


def test_a_return_whose_file_has_no_place_removes_nothing(rig: Rig) -> None:
    installed(rig, ("hseck9", 1))
    answer = rig.invoke("authorization-code-return-offline", {"file-path": "../a"})
    assert answer["return-code"] == "platformpathinvalid"
    assert len(authorizations(rig)["authorization-list"]) == 1


def test_a_return_whose_file_cannot_be_written_still_gives_the_string(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(rig, ("hseck9", 1))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        answer = rig.invoke("authorization-code-return-offline", {"file-path": "a"})
    assert answer["return-code"] == "storagefailtostore"
    assert "the code was removed" in answer["slp-agent:message"]
    assert answer["authorization-return-string"] == authorizations(rig)["slp-agent:last-return-string"]


@pytest.mark.parametrize("user", [COLLECTOR, READER, RECORDER])
@pytest.mark.parametrize(
    "name",
    [
        "authorization-request-online",
        "authorization-request-offline",
        "authorization-code-return-online",
        "authorization-code-return-offline",
    ],
)
def test_only_administrators_ask_and_return(rig: Rig, user: object, name: str) -> None:
    given = {"feature-name": "x"} if "request" in name else {}
    if name.endswith("return-offline"):
        given = {"file-path": "a"}
    with pytest.raises(RequestError) as caught:
        rig.invoke(name, given, user)  # type: ignore[arg-type]
    assert caught.value.errors[0].tag == "access-denied"


# Permission


@pytest.mark.parametrize("user", [ADMIN, COLLECTOR, RECORDER])
def test_permission_is_told_with_the_reason(rig: Rig, user: object) -> None:
    """The ceiling of 250 Mbps without an export code is the worked example."""

    def ask(**given: object) -> Tree:
        before = rig.state
        answer = rig.invoke("ask-permission", given, user)  # type: ignore[arg-type]
        assert rig.state is before
        return answer

    assert ask(license="advantage", throughput=250)["allowed"] is True
    no = ask(license="advantage", throughput=251)
    assert (no["return-code"], no["allowed"], no["throughput-limit"]) == ("noauthorizationinstalled", False, 250)
    assert "250 Mbps" in no["message"]
    assert ask(license="hseck9")["authorized-count"] == 0
    assert ask(license="nothing") == {
        "return-code": "taginvalid",
        "message": "no licence 'nothing' is in this product's catalogue",
        "allowed": False,
        "throughput-limit": 250,
    }
    installed(rig, ("hseck9", 1))
    yes = ask(license="hseck9", throughput=10_000)
    assert (yes["return-code"], yes["allowed"], yes["authorized-count"]) == ("success", True, 1)
    assert "throughput-limit" not in yes
    assert ask(license="hseck9", count=2)["allowed"] is False


def test_a_reader_may_not_ask(rig: Rig) -> None:
    with pytest.raises(RequestError):
        rig.invoke("ask-permission", {"license": "advantage"}, READER)


# State


def test_what_is_authorized_is_shown(rig: Rig) -> None:
    empty = authorizations(rig)
    assert empty == {
        "overall-status": [{"key_udi": KEY, "udi": {"pid": "FILE-1", "sn": "9RIG", "vid": "V02"}}],
        "slp-agent:throughput-limit": 250,
    }
    assert usage(rig, HSEC)["slp-agent:export-status"] == "restricted-not-allowed"
    assert rig.part("registration")["export-control-allowed"] is False
    installed(rig, ("hseck9", 2), ("tier-2", 5), ends=rig.now + 30 * DAY)
    rig.clock.at += 10
    installed(rig, ("hseck9", 1), kind="slr")
    shown = authorizations(rig)
    assert shown["overall-status"][0]["installed-list"] == [
        {"install-type": "authorization-type-auth-code", "install-time": "2023-11-14T22:13:20+00:00"},
        {"install-type": "authorization-type-slr", "install-time": "2023-11-14T22:13:30+00:00"},
    ]
    hsec = next(each for each in shown["authorization-list"] if each["entitlement-tag"] == HSEC)
    assert hsec == {
        "entitlement-tag": HSEC,
        "short-name": "hseck9",
        "license-name": "hseck9",
        "description": "hseck9",
        "total-count": 3,
        "license-enforcement-type": "license-enforcement-type-export",
        "slp-agent:unlimited": False,
        "slp-agent:authorized-by": [
            {
                "install-type": "authorization-type-auth-code",
                "count": 2,
                "license-term-type": "license-term-type-perpetual",
                "end-time": "2023-12-14T22:13:20+00:00",
                "install-time": "2023-11-14T22:13:20+00:00",
            },
            {
                "install-type": "authorization-type-slr",
                "count": 1,
                "license-term-type": "license-term-type-perpetual",
                "install-time": "2023-11-14T22:13:30+00:00",
            },
        ],
    }
    assert "slp-agent:throughput-limit" not in shown
    assert usage(rig, HSEC)["slp-agent:export-status"] == "restricted-allowed"
    assert rig.part("registration")["export-control-allowed"] is True


def test_a_permanent_reservation_authorizes_everything(rig: Rig) -> None:
    installed(rig, kind="plr")
    listed = authorizations(rig)["authorization-list"]
    assert [each["entitlement-tag"] for each in listed] == [HSEC, TIER]
    assert all(each["slp-agent:unlimited"] and "total-count" not in each for each in listed)
    assert all("count" not in each["slp-agent:authorized-by"][0] for each in listed)
    assert rig.use("tier-2", 100)["return-code"] == "success"
    assert usage(rig, TIER)["enforcement-mode"] == "enforcement-reservation-in-compliance"
    assert "entitlement-tag" not in told(rig, "authorization-code-installed")


def test_an_end_shows_although_nothing_happens(rig: Rig) -> None:
    """What is read is true for the moment of the read: the tree that was kept is made anew when an end has passed."""
    installed(rig, ("hseck9", 1), ends=rig.now + 100)
    rig.use("hseck9", 1)
    rig.use("sessions", 1)
    assert usage(rig, HSEC)["enforcement-mode"] == "enforcement-in-compliance"
    assert rig.part("authorization")["authorization-state"] == "auth-state-authorized"
    rig.clock.at += 100
    assert usage(rig, HSEC)["enforcement-mode"] == "enforcement-in-compliance"
    rig.clock.at += 1
    assert usage(rig, HSEC)["enforcement-mode"] == "enforcement-authorization-expired"
    assert usage(rig, HSEC)["slp-agent:export-status"] == "restricted-not-allowed"
    expired = rig.part("authorization")
    assert expired["authorization-state"] == "auth-state-authorization-expired"
    assert expired["authorization-authorization-expired"]["next-comm-time"] > "2023-11-14"
    assert authorizations(rig)["authorization-list"][0]["total-count"] == 0
    rig.advance(3700)
    assert told(rig, "authorization-expired")["entitlement-tag"] == [HSEC]
    assert told(rig, "enforcement-mode") == {"mode": "auth-state-authorization-expired"}


def test_codes_survive_a_restart_and_are_worthless_elsewhere(rig: Rig, make: Make) -> None:
    content = code(rig, ("hseck9", 1))
    rig.invoke("import-code", {"content": content.decode()})
    before = authorizations(rig)
    rig.restart(after=100)
    assert authorizations(rig) == before
    other = rig.profile.with_serial("OTHER")
    rig.end()
    rig.database.unlink()
    SqliteStore.create(rig.database, JOURNAL_KEY)
    rig.profile = other
    rig.begin()
    answer = rig.invoke("import-code", {"content": content.decode()})
    assert answer["return-code"] == "matchidentifier"
    assert rig.use("hseck9", 1)["return-code"] == "noauthorizationinstalled"


def test_a_code_whose_entitlement_is_not_in_the_catalogue(rig: Rig) -> None:
    """It goes by its tag, so that nothing of a code is hidden."""
    document = rig.authority.code(rig.device, ("hseck9", 1))
    odd = replace(document, entitlements=(Entitlement("regid.other", 4),))
    rig.invoke("import-code", {"content": rig.authority.file(odd).decode()})
    (entry,) = authorizations(rig)["authorization-list"]
    assert (entry["entitlement-tag"], entry["short-name"], entry["total-count"]) == ("regid.other", "regid.other", 4)
