"""Trust codes: asked for in reports and alone, factory-installed ones, renewal, and trust anchors that rotate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.formats.requests import TrustRequest
from agent.formats.smartlicense import read_requests
from agent.licensing import notices, releases
from agent.licensing.commands import RequestTrust
from agent.licensing.releases import FEATURES, Release, supports
from agent.licensing.settings import Settings
from agent.licensing.trusting import way
from tests.licensing.kit import DAY, Authority, Device, profile, running

ADVANTAGE = "network-advantage"


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def device(authority: Authority) -> Device:
    return running().trusting(authority)


def asks(device: Device) -> bool:
    """Whether the next report asks for a trust code."""
    device.use(ADVANTAGE, 1)
    device.close(after=60)
    return device.documents[-1].report.trust_request is not None


def test_a_factory_installed_code_never_counts_and_gives_way(device: Device, authority: Authority) -> None:
    done = device.install(authority.file(authority.trust_code(device, factory=True)))
    (notice,) = done.notices
    assert isinstance(notice, notices.TrustCodeWasInstalled)
    assert notice.factory
    assert asks(device)
    assert device.documents[-1].signing_type == "builtin"
    device.install(authority.file(authority.trust_code(device)))
    assert not asks(device)
    assert device.documents[-1].signing_type == "trust-code"
    before = device.state.trust
    refused = device.install(authority.file(authority.trust_code(device, factory=True)))
    assert (refused.reply.code, refused.reply.reason) == ("alreadyregistered", "trust-code-installed")
    assert device.state.trust == before


def test_renewal_is_asked_for_in_the_last_quarter(device: Device, authority: Authority) -> None:
    device.install(authority.file(authority.trust_code(device, years=4)))
    device.use(ADVANTAGE, 1)
    device.close(after=3 * 365 * DAY - DAY)
    assert device.documents[-1].report.trust_request is None
    device.close(after=2 * DAY)
    assert device.documents[-1].report.trust_request == device.signer.public_key
    assert device.documents[-1].signing_type == "trust-code", "it still counts"
    device.install(authority.file(authority.trust_code(device)))
    device.close(after=DAY)
    assert device.documents[-1].report.trust_request is None


@pytest.mark.parametrize(
    ("version", "settings", "expected"),
    [
        ("17.6.4", {"transport_type": "smart"}, False),
        ("17.7.1", {"transport_type": "smart"}, True),
        ("17.7.1", {"transport_type": "cslu", "url_cslu": "http://cslu"}, True),
        ("17.7.1", {"transport_type": "cslu"}, False),
        ("17.8.1", {"transport_type": "cslu"}, False),
        ("17.9.1a", {"transport_type": "cslu"}, True),
        ("17.6.9", {"transport_type": "off"}, False),
        ("17.7.1", {"transport_type": "off"}, True),
        ("17.9.1", {"transport_type": "cslu", "trust_requests": False}, False),
        ("1.0", {"transport_type": "cslu"}, True),
    ],
)
def test_reports_ask_by_release_and_way(version: str, settings: dict[str, Any], expected: bool) -> None:
    device = Device(replace(profile(), software_version=version))
    device.apply(Settings(**settings))
    device.start()
    assert asks(device) is expected


def test_the_way_of_reports() -> None:
    assert way(Settings()) == "pulled"
    assert way(Settings(transport_type="off")) == "saved"
    assert {way(Settings(transport_type=each)) for each in ("smart", "callhome", "automatic")} == {"pushed"}


def test_a_trust_request_of_its_own(device: Device, authority: Authority) -> None:
    content = device.do(RequestTrust("token", force=True)).reply.content
    request = authority.request(device, content).request
    assert isinstance(request, TrustRequest)
    assert (request.public_key, request.token, request.force) == (device.signer.public_key, "token", True)
    plain = authority.request(device, device.do(RequestTrust()).reply.content).request
    assert isinstance(plain, TrustRequest)
    assert (plain.token, plain.force, plain.heading.number) == (None, False, 2)
    assert device.do(RequestTrust("x" * 256)).reply.reason == "bad-token"
    assert device.do(RequestTrust("")).reply.code == "nullccoidtoken"


def test_an_online_request_needs_force_when_a_code_counts_and_ends_without_a_transport(
    device: Device, authority: Authority
) -> None:
    decision = device.do(RequestTrust("token", online=True))
    assert decision.reply.code == "registrationinprogress"
    (notice,) = decision.notices
    assert isinstance(notice, notices.TrustRequestFailed)
    assert notice.reason == "no-transport"
    assert b"token" not in device.state.to_json(), "an ID token is a secret"
    device.install(authority.file(authority.trust_code(device)))
    refused = device.do(RequestTrust("token", online=True))
    assert (refused.reply.code, refused.events) == ("alreadyregistered", ())
    device.online = True
    forced = device.do(RequestTrust("token", force=True, online=True))
    assert forced.notices == ()
    assert forced.reply.content is not None
    assert len(read_requests(forced.reply.content)) == 1
    assert device.state.trust_requested_at == device.now
    device.install(authority.file(authority.trust_code(device)), after=60)
    assert device.state.trust_requested_at is None


def test_a_trust_code_of_a_clock_too_far_ahead_is_refused(device: Device, authority: Authority) -> None:
    device.now += 7200
    early = authority.trust_code(device)
    device.now -= 7200
    decision = device.install(authority.file(replace(early, heading=replace(early.heading, issued=device.now))))
    assert decision.reply.reason == "certificate-not-yet-valid"
    assert device.state.trust is None


def test_anchors_rotate_by_a_document_under_the_old_one(device: Device, authority: Authority) -> None:
    device.install(authority.file(authority.trust_code(device)))
    assert not asks(device)
    new = Authority("new root", serial=100)
    early = device.install(new.file(new.policy(device, None)))
    assert early.reply.reason == "untrusted-signer"
    both = device.install(authority.file(authority.rotation(device, authority.anchor, new.anchor)), after=60)
    assert both.notices == (notices.TrustAnchorsWereChanged(2),)
    assert not asks(device), "the old root is still trusted, and so is its code"
    assert device.install(new.file(new.trust_code(device))).reply.code == "success"
    alone = device.install(authority.file(authority.rotation(device, new.anchor)))
    assert alone.reply.code == "success"
    assert not asks(device), "the code is of the new root"
    assert device.install(authority.file(authority.policy(device, None))).reply.reason == "untrusted-signer"


def test_a_trust_code_of_a_root_that_is_gone_does_not_count(device: Device, authority: Authority) -> None:
    device.install(authority.file(authority.trust_code(device)))
    new = Authority("new root")
    device.install(authority.file(authority.rotation(device, new.anchor)), after=60)
    assert asks(device)
    assert device.documents[-1].signing_type == "builtin"


def test_anchors_under_another_root_are_refused(device: Device, authority: Authority) -> None:
    stranger = Authority("stranger")
    decision = device.install(stranger.file(stranger.rotation(device, stranger.anchor)))
    assert decision.reply.reason == "untrusted-signer"
    assert device.state.anchors == (authority.anchor,)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("17.9.1a", Release(17, 9, 1, "a")),
        ("17.09.01a", Release(17, 9, 1, "a")),
        (" 17.3.6 ", Release(17, 3, 6)),
        ("26.1.1", Release(26, 1, 1)),
        ("17.12.4-rc1", Release(17, 12, 4)),
        ("16.12.4", None),
        ("2.0.0", None),
        ("17.9", None),
        ("latest", None),
        ("", None),
    ],
)
def test_version_strings(version: str, expected: Release | None) -> None:
    assert Release.parse(version) == expected


def test_features_by_release() -> None:
    """The dates that the guide gives, at their edges; trains with a rebuild have it from that rebuild on only."""
    throttled = ["17.3.6", "17.3.8a", "17.6.4", "17.9.1", "17.9.1a", "17.10.1", "26.1.1"]
    assert all(supports(version, "throttle") for version in throttled)
    assert not any(supports(version, "throttle") for version in ("17.3.5", "17.4.9", "17.6.3a", "17.7.1", "17.8.1"))
    assert [supports(v, "utility-mode") for v in ("17.8.1", "17.9.1a")] == [False, True]
    assert [supports(v, "utility-mode-controller") for v in ("17.3.9", "17.4.1")] == [False, True]
    assert [supports(v, "controller-licence-management") for v in ("17.4.2", "17.5.1a")] == [False, True]
    assert [supports(v, "authorization-file") for v in ("17.6.1", "17.7.1")] == [False, True]
    assert [supports(v, "vrf") for v in ("17.8.1", "17.9.1")] == [False, True]
    for feature in FEATURES:
        assert not supports("17.3.2", feature)
        assert supports("17.9.1", feature)
        assert supports("my own 5.0", feature)
    assert [line.supported for line in releases.table("17.3.2")] == [False] * len(FEATURES)
