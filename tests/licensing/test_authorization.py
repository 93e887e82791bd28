"""Authorization codes: asking, installing, using, returning, ending; permission, and what codes are worth elsewhere."""

from __future__ import annotations

import pytest

from agent.formats.documents import confirmation_code
from agent.formats.envelope import open_request
from agent.formats.requests import AuthorizationRequest, AuthorizationReturn, Key, from_return_string
from agent.formats.smartlicense import read_requests
from agent.licensing import codes, notices
from agent.licensing.commands import (
    AskPermission,
    Command,
    RequestAuthorization,
    ReturnAuthorization,
    SaveAuthorizationRequest,
)
from agent.licensing.engine import Reply
from agent.licensing.permission import Permission
from agent.licensing.profile import Licence
from agent.licensing.settings import Settings
from agent.licensing.state import State
from tests.licensing.kit import DAY, T0, Authority, Device, profile, running

HSEC = "hseck9"
TIER = "throughput-tier-2"


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def device(authority: Authority) -> Device:
    return running().trusting(authority)


def tag(device: Device, name: str) -> str:
    licence = device.profile.find(name)
    assert licence is not None
    return licence.entitlement_tag


def ask(device: Device, licence: str, count: int = 1, mbps: int | None = None) -> Permission:
    decision = device.do(AskPermission(licence, count, mbps))
    assert decision.events == ()
    assert decision.reply.permission is not None
    assert decision.reply.reason == decision.reply.permission.reason
    return decision.reply.permission


def refused(device: Device, command: Command, reason: str) -> Reply:
    before = device.state.to_json()
    decision = device.do(command, after=5)
    assert decision.reply.reason == reason
    assert decision.reply.code != "success"
    assert decision.reply.message
    assert decision.events == ()
    assert device.state.to_json() == before
    return decision.reply


def test_a_request_that_no_authority_would_read_is_refused(authority: Authority) -> None:
    """With a licence more it is too large, whether it goes into a file or over a wire; the one before it stands."""
    licences = [
        Licence(f"export-{number}", "Export", "Export", f"{number:04}{'x' * 251}", enforcement="export")
        for number in range(1000)
    ]
    device = running(profile=profile(*licences), online=True, check=False).trusting(authority)
    device.install(authority.file(authority.code(device, *((one.name, 1) for one in licences[:950]))))
    device.check = True
    assert device.do(RequestAuthorization("export-1", add=False)).reply.code == "success"
    for online in (False, True):
        reply = refused(device, RequestAuthorization("export-960", add=True, online=online), "too-large")
        assert reply.code == "messageeventexceedspeer"
        assert "262144" in reply.message
    saved = device.do(SaveAuthorizationRequest())
    assert authority.request(device, saved.reply.content).request.keys  # type: ignore[union-attr]


def test_request_to_file_install_use_refused_return_return(device: Device, authority: Authority) -> None:
    assert device.use(HSEC, 1).reply.reason == "not-authorized"
    asked = device.do(RequestAuthorization(HSEC), after=10)
    signed = authority.request(device, asked.reply.content)
    assert isinstance(signed.request, AuthorizationRequest)
    assert signed.request.keys == (Key(tag(device, HSEC), 1),)
    assert signed.request.confirmation is None
    assert signed.public_key == device.signer.public_key
    assert device.state.authorization.stage == "requested"

    done = device.install(authority.file(authority.code(device, (HSEC, 1))), after=10)
    assert done.reply.code == "success"
    assert done.reply.confirmation_codes == ()
    (notice,) = done.notices
    assert notice == notices.AuthorizationWasInstalled(
        device.profile.udi.key, "slac", (tag(device, HSEC),), device.now, None
    )
    assert device.state.authorization.stage == "installed"
    assert device.use(HSEC, 1).reply.code == "success"
    refused(device, ReturnAuthorization(), "authorization-in-use")

    device.use(HSEC, 0, after=60)
    returned = device.do(ReturnAuthorization(), after=5)
    word = returned.reply.return_string
    assert word is not None
    assert returned.reply.content is not None
    assert read_requests(returned.reply.content) == (from_return_string(word),)
    back = authority.request(device, returned.reply.content)
    assert isinstance(back.request, AuthorizationReturn)
    assert [(code.auth_type, code.serial) for code in back.request.codes] == [("slac", authority.serial)]
    assert device.state.authorization.return_string == word
    assert device.state.authorization.stage == "none"
    assert device.use(HSEC, 1).reply.reason == "not-authorized"
    refused(device, ReturnAuthorization(), "no-authorization")


def test_a_code_is_worthless_after_return_and_on_another_device(device: Device, authority: Authority) -> None:
    file = authority.file(authority.code(device, (HSEC, 1)))
    device.install(file)
    assert "before" in device.install(file).reply.message
    device.do(ReturnAuthorization())
    before = device.state.to_json()
    again = device.install(file)
    assert (again.reply.reason, again.events) == ("authorization-returned", ())
    assert device.state.to_json() == before
    other = Device(device.profile.with_serial("OTHER")).trusting(authority)
    other.start()
    assert other.install(file).reply.reason == "wrong-addressee"


def test_codes_survive_a_restart_and_their_json(device: Device, authority: Authority) -> None:
    device.do(RequestAuthorization(TIER))
    device.install(authority.file(authority.code(device, (HSEC, 2), ends=T0 + 400 * DAY)))
    device.install(authority.file(authority.code(device, (TIER, 1), kind="slr")))
    device.use(HSEC, 2)
    device.stop(after=10)
    device.state = State.from_json(device.state.to_json())
    device.start(after=10)
    assert device.state.licences[tag(device, HSEC)].count == 2
    assert device.replayed() == device.state
    assert [code.auth_type for code in device.state.authorization.codes] == ["slac", "slr"]


def test_add_keeps_the_other_licences_and_replace_does_not(device: Device, authority: Authority) -> None:
    device.install(authority.file(authority.code(device, (HSEC, 1))))
    added = authority.request(device, device.do(RequestAuthorization(TIER, 3)).reply.content).request
    replaced = authority.request(device, device.do(RequestAuthorization(TIER, 3, add=False)).reply.content).request
    assert isinstance(added, AuthorizationRequest)
    assert isinstance(replaced, AuthorizationRequest)
    assert set(added.keys) == {Key(tag(device, HSEC), 1), Key(tag(device, TIER), 3)}
    assert replaced.keys == (Key(tag(device, TIER), 3),)
    assert added.heading.number < replaced.heading.number
    assert device.state.authorization.stage == "changing"
    device.use(HSEC, 1)
    refused(device, RequestAuthorization(TIER, 3, add=False), "authorization-in-use")


def test_overwriting_gives_a_confirmation_code_that_goes_with_the_next_request(
    device: Device, authority: Authority
) -> None:
    device.install(authority.file(authority.code(device, (HSEC, 1))))
    first = device.state.authorization.codes[0]
    done = device.install(authority.file(authority.code(device, (HSEC, 2))), after=5)
    second = device.state.authorization.codes[0]
    (confirmation,) = done.reply.confirmation_codes
    assert confirmation == confirmation_code(first.digest, second.digest)
    assert len(confirmation) == 8
    assert confirmation in done.reply.message
    request = authority.request(device, device.do(RequestAuthorization(TIER)).reply.content).request
    assert isinstance(request, AuthorizationRequest)
    assert request.confirmation == confirmation


def test_the_saved_request_is_the_pending_one(device: Device, authority: Authority) -> None:
    refused(device, SaveAuthorizationRequest(), "no-request")
    device.do(RequestAuthorization(HSEC))
    saved = device.do(SaveAuthorizationRequest(), after=100)
    request = authority.request(device, saved.reply.content).request
    assert isinstance(request, AuthorizationRequest)
    assert (request.keys, request.heading.number) == ((Key(tag(device, HSEC), 1),), 2)
    device.install(authority.file(authority.code(device, (HSEC, 1))))
    refused(device, SaveAuthorizationRequest(), "no-request")


def test_without_a_transport_an_online_request_ends_at_once(device: Device) -> None:
    decision = device.do(RequestAuthorization(HSEC, online=True))
    assert decision.reply.code == "success"
    (notice,) = decision.notices
    assert isinstance(notice, notices.AuthorizationRequestFailed)
    assert (notice.code, notice.reason) == ("transportnotavailable", "no-transport")
    assert device.state.authorization.stage == "none"
    device.online = True
    decision = device.do(RequestAuthorization(HSEC, online=True))
    assert decision.notices == ()
    pending = device.state.authorization.request
    assert pending is not None
    assert pending.online


@pytest.mark.parametrize(
    ("licence", "count", "reason"),
    [
        ("nothing", 1, "unknown-licence"),
        ("network-advantage", 1, "authorization-not-needed"),
        (HSEC, 0, "count-out-of-range"),
        (HSEC, 2**32, "count-out-of-range"),
    ],
)
def test_requests_that_are_refused(device: Device, licence: str, count: int, reason: str) -> None:
    refused(device, RequestAuthorization(licence, count), reason)


@pytest.mark.parametrize("kind", ["slr", "plr", "fla", "pak"])
def test_codes_from_before_slp_authorize_and_need_no_slac(device: Device, authority: Authority, kind: str) -> None:
    device.install(authority.file(authority.code(device, (HSEC, 1), kind=kind)))  # type: ignore[arg-type]
    assert ask(device, HSEC).allowed
    assert ask(device, HSEC).throughput_limit_mbps is None
    assert device.use(HSEC, 1).reply.code == "success"
    assert device.use(HSEC, 2).reply.reason == "count-not-authorized"
    refused(device, RequestAuthorization(HSEC, 1), "already-authorized")
    assert device.do(RequestAuthorization(HSEC, 2)).reply.code == "success"


def test_a_permanent_reservation_without_a_list_authorizes_everything(device: Device, authority: Authority) -> None:
    device.install(authority.file(authority.code(device, kind="plr")))
    assert device.use(HSEC, 4000).reply.code == "success"
    views = codes.views(device.state.authorization, device.profile, T0)
    assert {(view.licence.name, view.total) for view in views} == {(TIER, None), (HSEC, None)}
    refused(device, ReturnAuthorization(), "authorization-in-use")
    device.use(HSEC, 0)
    assert device.do(ReturnAuthorization()).reply.code == "success"


def test_counts_of_several_codes_add_up(device: Device, authority: Authority) -> None:
    device.install(authority.file(authority.code(device, (HSEC, 2), kind="slr")))
    device.install(authority.file(authority.code(device, (HSEC, 3), (TIER, 1))))
    (view,) = [v for v in codes.views(device.state.authorization, device.profile, T0) if v.licence.name == HSEC]
    assert view.total == 5
    assert [(by.auth_type, by.count) for by in view.by] == [("slr", 2), ("slac", 3)]
    assert device.use(HSEC, 5).reply.code == "success"
    assert device.use(HSEC, 6).reply.reason == "count-not-authorized"


def test_boot_levels_ask_too(device: Device, authority: Authority) -> None:
    device.apply(Settings(boot_levels=(HSEC,)))
    decision = device.start(after=60)
    (notice,) = [each for each in decision.notices if isinstance(each, notices.UsageWasRefused)]
    assert notice.reason == "not-authorized"
    device.install(authority.file(authority.code(device, (HSEC, 1))))
    device.start(after=60)
    assert device.state.licences[tag(device, HSEC)].count == 1


def test_the_throughput_ceiling(device: Device, authority: Authority) -> None:
    """250 Mbps in each direction without an export-controlled licence, any throughput with one."""
    assert ask(device, "network-advantage", 1, 250).allowed
    answer = ask(device, "network-advantage", 1, 251)
    assert (answer.allowed, answer.reason, answer.throughput_limit_mbps) == (False, "throughput-ceiling", 250)
    device.install(authority.file(authority.code(device, (HSEC, 1))))
    assert ask(device, "network-advantage", 1, 10_000).throughput_limit_mbps is None
    device.do(ReturnAuthorization())
    assert not ask(device, "network-advantage", 1, 251).allowed


def test_permission_says_no_and_why(device: Device) -> None:
    assert ask(device, HSEC).reason == "not-authorized"
    assert ask(device, HSEC, 0).allowed
    assert ask(device, "nothing").reason == "unknown-licence"
    assert ask(device, HSEC, -1).reason == "count-out-of-range"
    assert ask(device, "voice-session", 2**32 - 1).allowed


def test_an_end_is_noticed_once_and_stops_nothing(device: Device, authority: Authority) -> None:
    device.install(authority.file(authority.code(device, (HSEC, 2), (TIER, 1), ends=T0 + DAY)))
    device.use(HSEC, 2)
    device.run_until(T0 + DAY)
    assert ask(device, HSEC, 2).allowed
    expired = device.tick(after=3600)
    assert [type(each) for each in expired.notices] == [notices.AuthorizationHasExpired]
    assert device.state.licences[tag(device, HSEC)].count == 2
    assert ask(device, HSEC, 2).allowed, "what runs may go on"
    assert ask(device, HSEC, 3).reason == "not-authorized"
    assert not any(isinstance(each, notices.AuthorizationHasExpired) for each in device.tick(after=3600).notices)
    device.use(HSEC, 0)
    assert device.use(HSEC, 1).reply.reason == "not-authorized"
    assert device.do(ReturnAuthorization()).reply.code == "success"


def test_an_ended_code_in_use_does_not_hold_its_return(device: Device, authority: Authority) -> None:
    device.install(authority.file(authority.code(device, (HSEC, 1), ends=T0 + 10)))
    device.use(HSEC, 1)
    device.tick(after=3600)
    assert device.do(ReturnAuthorization()).reply.code == "success"


def test_a_partly_bad_bundle_installs_the_good_ones(device: Device, authority: Authority) -> None:
    good = authority.code(device, (HSEC, 1))
    bad = authority.code(Device(device.profile.with_serial("OTHER"), now=device.now), (HSEC, 1))
    decision = device.install(authority.file(bad, good))
    assert decision.reply.reason == "wrong-addressee"
    assert [(each.kind, each.reason) for each in decision.reply.documents] == [
        ("authorization", "wrong-addressee"),
        ("authorization", None),
    ]
    assert device.state.authorization.stage == "installed"


def test_no_request_is_like_another(device: Device, authority: Authority) -> None:
    files = [device.do(RequestAuthorization(HSEC)).reply.content for _ in range(3)]
    assert len({authority.request(device, file).digest for file in files}) == 3


def test_privacy_and_utility_mode_show_in_requests(device: Device, authority: Authority) -> None:
    device.apply(Settings(privacy_hostname=True, privacy_version=True, utility_enabled=True))
    content = device.do(RequestAuthorization(HSEC)).reply.content
    heading = authority.request(device, content).request.heading
    assert (heading.hostname, heading.software_version, heading.utility) == (None, "withheld", True)
    assert device.profile.hostname.encode() not in (content or b"")


def test_requests_are_signed_under_the_trust_code(device: Device, authority: Authority) -> None:
    device.install(authority.file(authority.trust_code(device)))
    content = device.do(RequestAuthorization(HSEC)).reply.content
    assert content is not None
    (document,) = read_requests(content)
    assert b'"signing_type":"trust-code"' in document
    assert open_request(document, now=device.now, skew=60, lab=False).public_key == device.signer.public_key


@pytest.mark.parametrize("stage", codes.LIFE)
@pytest.mark.parametrize("trigger", ["request", "fail", "install", "return"])
def test_the_kernel_follows_the_life_cycle_table(
    authority: Authority, stage: codes.Stage, trigger: codes.Trigger
) -> None:
    """Every stage with every trigger goes where codes.LIFE says, or is refused where it says nothing."""
    device = running().trusting(authority)
    device.online = True
    if stage in ("installed", "changing"):
        device.install(authority.file(authority.code(device, (HSEC, 1))))
    if stage in ("requested", "changing"):
        device.do(RequestAuthorization(TIER, online=True))
    assert device.state.authorization.stage == stage
    expected = codes.LIFE[stage].get(trigger, stage)
    match trigger:
        case "request":
            device.do(RequestAuthorization(TIER, 2, online=True))
        case "fail":
            # A request that fails at once: where the table knows no failure, none was begun, so none is here.
            if expected != stage:
                device.online = False
                device.do(RequestAuthorization(TIER, 2, online=True))
        case "install":
            device.install(authority.file(authority.code(device, (HSEC, 1))))
        case "return":
            assert (device.do(ReturnAuthorization()).reply.code == "success") == (trigger in codes.LIFE[stage])
    assert device.state.authorization.stage == expected
