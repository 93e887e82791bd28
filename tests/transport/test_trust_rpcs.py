"""Trust codes through the RPCs of both modules, state and notifications; the RPCs of the time before."""

from __future__ import annotations

import pytest

from agent.core.tree import Tree
from agent.errors import RequestError
from agent.formats.requests import TrustRequest
from tests.licensing.kit import DAY, Authority
from tests.transport.conftest import Make
from tests.transport.rig import COLLECTOR, PROFILE, READER, Rig

KEY = "PID:FILE-1,SN:9RIG"
YEAR = 365 * DAY


def told(rig: Rig, name: str) -> Tree:
    """The last notification of that name."""
    return next(event.tree for event in reversed(rig.told) if event.name == name)


def trusted(rig: Rig, **changes: object) -> None:
    content = rig.authority.file(rig.authority.trust_code(rig.device, **changes))  # type: ignore[arg-type]
    assert rig.invoke("import-code", {"content": content.decode()})["return-code"] == "success"


def entry(rig: Rig) -> Tree:
    (found,) = rig.part("trust-code")
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["id-token-trust", "register-id-token"])
def test_a_token_is_taken_and_the_outcome_is_told(rig: Rig, name: str) -> None:
    """It answers at once; nothing can carry the request, so it ends as failed, in the words of both times."""
    answer = rig.invoke(name, {"id-token": "TOKEN"})
    assert answer["return-code"] == "registrationinprogress"
    failed = told(rig, "trust-fail")
    assert (failed["udi-key"], failed["return-code"]) == (KEY, "transportnotavailable")
    assert told(rig, "registration-fail") == {"reason": "general-failure", "message": failed["message"]}
    assert rig.part("registration") == {
        "registration-state": "reg-state-failed",
        "registration-failed": {"fail-time": "2023-11-14T22:13:20+00:00", "fail-message": failed["message"]},
        "export-control-allowed": False,
    }
    assert "TOKEN" not in str(rig.told)
    trusted(rig)
    assert "registration-failed" not in rig.part("registration")


def test_a_registration_without_a_token(rig: Rig) -> None:
    assert rig.invoke("register-id-token")["return-code"] == "nullccoidtoken"
    with pytest.raises(RequestError) as caught:
        rig.invoke("id-token-trust")
    assert caught.value.errors[0].tag == "missing-element"


@pytest.mark.parametrize("name", ["id-token-trust", "register-id-token"])
def test_an_installed_code_is_replaced_by_force_only(rig: Rig, name: str) -> None:
    trusted(rig)
    assert rig.invoke(name, {"id-token": "T"})["return-code"] == "alreadyregistered"
    assert rig.invoke(name, {"id-token": "T", "force": True})["return-code"] == "registrationinprogress"


@pytest.mark.parametrize("name", ["renew-id", "de-register"])
def test_what_needs_a_registration(rig: Rig, name: str) -> None:
    assert rig.invoke(name)["return-code"] == "notregistered"
    trusted(rig, factory=True)
    assert rig.invoke(name)["return-code"] == "notregistered"
    trusted(rig)
    answer = rig.invoke(name)
    assert answer["return-code"] == ("registrationinprogress" if name == "renew-id" else "notsupported")
    assert answer["slp-agent:message"]
    assert entry(rig)["is-installed"] is True
    complete = rig.part("registration")["registration-complete"]
    assert complete.get("last-renew-success") is (False if name == "renew-id" else None)
    assert ("fail-message" in complete) == (name == "renew-id")


def test_a_request_by_file_and_inline(rig: Rig) -> None:
    answer = rig.invoke("trust-request-save", {"file-path": "flash:trust.xml"}, COLLECTOR)
    assert answer["return-code"] == "success"
    signed = rig.authority.request(rig.device, (rig.flash / "trust.xml").read_bytes())
    assert isinstance(signed.request, TrustRequest)
    assert signed.public_key == rig.signer.public_key
    assert (signed.request.token, signed.request.force) == (None, False)
    inline = rig.invoke("export-trust-request", user=COLLECTOR)
    again = rig.authority.request(rig.device, inline["content"].encode())
    assert isinstance(again.request, TrustRequest)
    assert again.public_key == signed.public_key


def test_a_request_whose_file_has_no_place(rig: Rig) -> None:
    assert rig.invoke("trust-request-save", {"file-path": "../a"})["return-code"] == "platformpathinvalid"


@pytest.mark.parametrize("name", ["id-token-trust", "renew-id", "de-register", "register-id-token"])
@pytest.mark.parametrize("user", [COLLECTOR, READER])
def test_only_administrators_register(rig: Rig, user: object, name: str) -> None:
    given = {"id-token": "x"} if "token" in name else {}
    with pytest.raises(RequestError) as caught:
        rig.invoke(name, given, user)  # type: ignore[arg-type]
    assert caught.value.errors[0].tag == "access-denied"


def test_a_code_that_comes_is_told_and_shown(rig: Rig) -> None:
    assert entry(rig) == {
        "key_udi": KEY,
        "is-installed": False,
        "udi": {"pid": "FILE-1", "sn": "9RIG", "vid": "V02"},
    }
    trusted(rig)
    shown = entry(rig)
    assert shown["time-installed"] == "2023-11-14T22:13:20+00:00"
    assert shown["slp-agent:valid-from"] == "2023-11-14T22:12:20+00:00"
    assert shown["slp-agent:valid-until"] == "2031-11-12T22:13:20+00:00"
    assert shown["slp-agent:renewal-time"] == rig.part("registration")["registration-complete"]["next-renew-time"]
    assert (shown["slp-agent:factory-installed"], shown["slp-agent:counts"]) == (False, True)
    assert told(rig, "trust-success") == {"udi-key": KEY, "time-installed": "2023-11-14T22:13:20+00:00"}
    assert told(rig, "registration-success") == {}


def test_a_factory_code_counts_for_nothing_and_is_overwritten(rig: Rig) -> None:
    trusted(rig, factory=True)
    assert (entry(rig)["is-installed"], entry(rig)["slp-agent:factory-installed"]) == (True, True)
    assert entry(rig)["slp-agent:counts"] is False
    assert rig.part("registration")["registration-state"] == "reg-state-not-registered"
    assert "trust-success" not in rig.names()
    assert "trust-code-installed" in rig.names()
    trusted(rig)
    assert (entry(rig)["slp-agent:factory-installed"], entry(rig)["slp-agent:counts"]) == (False, True)


def test_a_code_that_ends_is_no_registration_any_more(rig: Rig) -> None:
    """Shown without any event: what is read is true for the moment of the read."""
    trusted(rig)
    end = rig.now + 8 * YEAR
    rig.clock.at = end
    assert entry(rig)["slp-agent:counts"] is True
    rig.clock.at = end + 1
    assert entry(rig)["slp-agent:counts"] is False
    assert rig.part("registration")["registration-state"] == "reg-state-not-registered"


def test_a_refused_code_is_told_as_a_failure(rig: Rig) -> None:
    other = Authority("another authority")
    content = other.file(other.trust_code(rig.device))
    assert rig.invoke("import-code", {"content": content.decode()})["return-code"] != "success"
    assert told(rig, "trust-fail")["udi-key"] == KEY
    assert told(rig, "registration-fail")["reason"] == "general-failure"


def test_anchors_rotate_under_the_old_one(rig: Rig) -> None:
    other = Authority("another authority")
    content = rig.authority.file(rig.authority.rotation(rig.device, rig.authority.anchor, other.anchor))
    answer = rig.invoke("import-file", {"file-path": rig.put("anchors.xml", content)})
    assert [each["type"] for each in answer["slp-agent:document"]] == ["trust-anchors"]
    assert told(rig, "trust-anchors-changed") == {"count": 2}


def test_a_controller_exempts_itself(rig: Rig) -> None:
    rig.edit({"slp-agent:automatic-trust-request": False})
    assert rig.state.settings.trust_requests is False
    rig.edit({"slp-agent:automatic-trust-request": True})
    assert rig.state.settings.trust_requests is True


def test_what_the_release_can_do_is_shown(rig: Rig, make: Make) -> None:
    features = {each["name"]: each["supported"] for each in rig.part("slp-agent:product")["release-feature"]}
    assert features["vrf"] is True
    rig.end()
    old = make(text=PROFILE.replace("17.9.1a", "17.3.5"))
    features = {each["name"]: each["supported"] for each in old.part("slp-agent:product")["release-feature"]}
    assert not any(features.values())
