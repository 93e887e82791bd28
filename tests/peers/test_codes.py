"""The authority issues authorization codes and takes them back; a kernel at the other end, real files between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import time

import pytest
from typer.testing import CliRunner

from agent.formats import certificates, jsontext
from agent.formats.documents import Account, Entitlement, confirmation_code
from agent.formats.errors import Malformed, NoDocument
from agent.licensing.commands import InstallAnchors, RequestAuthorization, RequestTrust, ReturnAuthorization
from agent.licensing.settings import Settings
from peers.authority import codes, folder
from peers.authority.commands import app
from peers.authority.core import OperatorError
from peers.authority.folder import Folder
from peers.authority.http import application
from peers.authority.service import Answer, Authority, read_requests
from peers.authority.store import Store
from tests.licensing.kit import Device, key, profile


class HandClock:
    """A clock that a test moves."""

    rate = 1.0

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


HSEC, TIER = "hseck9", "throughput-tier-2"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return folder.create(tmp_path_factory.mktemp("authority"), Account("Test Corp", "Default"), lab=True)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_767_225_600.0)


@pytest.fixture
def authority(made: Folder, tmp_path: Path, clock: HandClock) -> Iterator[Authority]:
    store = Store(tmp_path / "authority.db")
    authority = Authority(made, store, clock)
    authority.set_pool([Entitlement(tag(HSEC), 3, "subscription", 1_900_000_000), Entitlement(tag(TIER), 1)])
    yield authority
    store.close()


def tag(name: str) -> str:
    licence = profile().find(name)
    assert licence is not None
    return licence.entitlement_tag


def device_of(authority: Authority, name: str = "9TESTSERIAL") -> Device:
    device = Device(profile().with_serial(name), now=authority.now(), lab=True, signer=key(name))
    device.do(InstallAnchors((authority.folder.anchor,)))
    device.start()
    return device


def approved(authority: Authority, name: str = "9TESTSERIAL") -> Device:
    device = device_of(authority, name)
    answer = send(authority, device.do(RequestTrust()).reply.content)
    assert answer.outcomes[0]["reason"] == "first-contact"
    authority.approve(device.profile.udi, force=False)
    return device


def send(authority: Authority, content: bytes | None) -> Answer:
    assert content is not None
    return authority.request(read_requests(content))


def ask(authority: Authority, device: Device, licence: str = HSEC, count: int = 1, add: bool = True) -> Answer:
    return send(authority, device.do(RequestAuthorization(licence, count, add), after=1).reply.content)


def install(device: Device, answer: Answer) -> None:
    assert answer.file is not None
    assert device.install(answer.file, after=1).reply.code == "success"


def results(answer: Answer) -> list[tuple[str, str | None]]:
    return [(outcome["result"], outcome.get("reason")) for outcome in answer.outcomes]


def test_a_code_by_file_and_its_return(authority: Authority) -> None:
    device = approved(authority)
    assert authority.free() == {tag(HSEC): 3, tag(TIER): 1}
    install(device, ask(authority, device, HSEC, 2))
    assert device.use(HSEC, 2).reply.code == "success"
    (code,) = device.state.authorization.codes
    assert code.entitlements == (Entitlement(tag(HSEC), 2, "subscription", 1_900_000_000),)
    assert authority.free()[tag(HSEC)] == 1
    device.use(HSEC, 0)
    returned = device.do(ReturnAuthorization(), after=1).reply
    assert returned.return_string is not None
    answer = authority.request(read_requests(returned.return_string.encode()))
    assert results(answer) == [("accepted", None)]
    assert answer.file is None
    assert authority.free()[tag(HSEC)] == 3
    assert results(send(authority, returned.content)) == [("duplicate", None)]
    assert authority.free()[tag(HSEC)] == 3


def test_a_request_sent_twice_takes_nothing_twice(authority: Authority) -> None:
    device = approved(authority)
    content = device.do(RequestAuthorization(HSEC, 2)).reply.content
    first, second = send(authority, content), send(authority, content)
    assert results(second) == [("duplicate", None)]
    assert first.file == second.file
    assert authority.free()[tag(HSEC)] == 1


def test_replacing_holds_the_greater_until_it_is_confirmed(authority: Authority) -> None:
    device = approved(authority)
    install(device, ask(authority, device, HSEC, 3))
    install(device, ask(authority, device, HSEC, 1))
    assert authority.free()[tag(HSEC)] == 0, "the device may still hold the greater code"
    answer = ask(authority, device, TIER)
    assert authority.free() == {tag(HSEC): 2, tag(TIER): 0}
    install(device, answer)
    stages = [code.stage for code in authority.instance(device.profile.udi).codes]
    assert stages == ["overwritten", "outstanding", "outstanding"]


def test_a_return_ends_the_codes_before_it_too(authority: Authority) -> None:
    device = approved(authority)
    install(device, ask(authority, device, HSEC, 3))
    install(device, ask(authority, device, HSEC, 1))
    assert results(send(authority, device.do(ReturnAuthorization()).reply.content)) == [("accepted", None)]
    assert authority.free()[tag(HSEC)] == 3


def test_the_pool_is_for_all_instances(authority: Authority) -> None:
    one, two = approved(authority), approved(authority, "SECOND")
    install(one, ask(authority, one, HSEC, 2))
    answer = ask(authority, two, HSEC, 2)
    assert results(answer) == [("refused", "pool-exhausted")]
    assert "1 are free" in answer.outcomes[0]["message"]
    assert answer.file is None
    install(two, ask(authority, two, HSEC, 1))
    assert authority.free()[tag(HSEC)] == 0
    authority.set_pool([])
    assert results(ask(authority, one, HSEC, 1)) == [("refused", "not-in-pool")]


def test_an_ended_pool_entry_gives_nothing(authority: Authority, clock: HandClock) -> None:
    device = approved(authority)
    clock.at = 1_900_000_001
    device.now = authority.now()
    assert results(ask(authority, device)) == [("refused", "not-in-pool")]


def test_an_older_request_does_not_undo_a_later_one(authority: Authority) -> None:
    device = approved(authority)
    old = device.do(RequestAuthorization(HSEC)).reply.content
    new = device.do(RequestAuthorization(HSEC, 2)).reply.content
    assert results(send(authority, new)) == [("accepted", None)]
    assert results(send(authority, old)) == [("refused", "stale-serial")]


def test_requests_of_strangers_wait_and_of_other_keys_too(authority: Authority) -> None:
    device = device_of(authority)
    assert results(ask(authority, device)) == [("pending", "first-contact")]
    authority.approve(device.profile.udi, force=False)
    assert results(ask(authority, device)) == [("accepted", None)]
    thief = Device(device.profile, now=authority.now(), lab=True, signer=key("thief"))
    thief.start()
    assert results(ask(authority, thief)) == [("pending", "new-key")]


def test_a_return_of_what_was_never_issued_is_refused(authority: Authority, made: Folder, tmp_path: Path) -> None:
    """An authority that was set up anew, with the same root, has forgotten what it issued."""
    device = approved(authority)
    install(device, ask(authority, device))
    content = device.do(ReturnAuthorization()).reply.content
    store = Store(tmp_path / "forgetful.db")
    forgetful = Authority(made, store, HandClock(authority.now()))
    assert results(send(forgetful, content)) == [("pending", "first-contact")]
    forgetful.approve(device.profile.udi, force=False)
    assert results(send(forgetful, content)) == [("refused", "unknown-code")]
    store.close()
    assert results(send(authority, content)) == [("accepted", None)]


def test_a_lost_device_is_released(authority: Authority) -> None:
    device = approved(authority)
    content = device.do(RequestAuthorization(HSEC, 3)).reply.content
    send(authority, content)
    authority.release(device.profile.udi)
    assert authority.free()[tag(HSEC)] == 3
    assert results(send(authority, content)) == [("refused", "authorization-returned")]


def test_reservations_from_before_slp(authority: Authority) -> None:
    device = approved(authority)
    device.install(authority.issue_code(device.profile.udi, "slr", [Entitlement(tag(HSEC), 1)]), after=1)
    assert device.use(HSEC, 1).reply.code == "success"
    device.install(authority.issue_code(device.profile.udi, "plr", []), after=1)
    assert device.use(TIER, 5).reply.code == "success"
    with pytest.raises(OperatorError, match="plr only"):
        authority.issue_code(device.profile.udi, "slr", [])
    device.use(TIER, 0)
    device.use(HSEC, 0)
    assert results(send(authority, device.do(ReturnAuthorization()).reply.content)) == [("accepted", None)]


def test_a_trust_code_alone_again_and_by_force(authority: Authority) -> None:
    device = approved(authority)
    first = send(authority, device.do(RequestTrust()).reply.content)
    install(device, first)
    assert device.state.trust is not None
    again = send(authority, device.do(RequestTrust()).reply.content)
    assert results(again) == [("duplicate", None)]
    assert again.file == first.file
    forced = device.do(RequestTrust(force=True)).reply.content
    fresh = send(authority, forced)
    assert results(fresh) == [("accepted", None)]
    install(device, fresh)
    assert send(authority, forced).file == fresh.file, "a forced request played again issues nothing new"


def test_anchors_rotate(authority: Authority, tmp_path: Path) -> None:
    device = approved(authority)
    new = folder.create(tmp_path / "new", Account("Test Corp", "Default"), lab=True)
    file = authority.rotate(device.profile.udi, [authority.folder.anchor, new.anchor])
    assert device.install(file).reply.code == "success"
    assert device.state.anchors == (authority.folder.anchor, new.anchor)


def test_utility_requests_are_answered_with_flagged_documents(authority: Authority) -> None:
    device = approved(authority)
    device.apply(Settings(utility_enabled=True))
    install(device, ask(authority, device))
    install(device, send(authority, device.do(RequestTrust()).reply.content))
    device.apply(Settings())
    answer = send(authority, device.do(RequestTrust(), after=1).reply.content)
    install(device, answer)


def test_confirmation_is_checked_against_both_codes(authority: Authority) -> None:
    device = approved(authority)
    install(device, ask(authority, device, HSEC, 1))
    install(device, ask(authority, device, HSEC, 2))
    issued = authority.instance(device.profile.udi).codes
    right = confirmation_code(issued[0].digest, issued[1].digest)
    assert [c.stage for c in codes.confirmed(issued, right)] == ["overwritten", "outstanding"]
    for wrong in (None, "00000000", confirmation_code(issued[1].digest, issued[0].digest)):
        assert codes.confirmed(issued, wrong) == issued


@pytest.mark.parametrize("content", [b"", b"  ", b"<smartLicense/>", b"<x/>", b"!!", b"\xff"])
def test_what_is_no_request_file(content: bytes) -> None:
    with pytest.raises((Malformed, NoDocument)):
        read_requests(content)


@pytest.mark.parametrize("content", [b"AAAA", b"{}"])
def test_what_is_no_request(authority: Authority, content: bytes) -> None:
    assert results(authority.request(read_requests(content))) == [("refused", "malformed")]


def test_over_http(authority: Authority) -> None:
    client = application(authority).test_client()
    operator = {"Authorization": f"Bearer {authority.folder.operator_token}"}
    device = approved(authority)
    answer = client.post("/v1/requests", data=device.do(RequestAuthorization(HSEC)).reply.content)
    assert (answer.status_code, answer.mimetype) == (200, "application/xml")
    assert device.install(answer.data, after=1).reply.code == "success"
    key_path = f"/v1/instances/{device.profile.udi.key}"
    assert client.get(f"{key_path}/codes").status_code == 401
    (code,) = client.get(f"{key_path}/codes", headers=operator).json["codes"]  # type: ignore[index]
    assert (code["auth_type"], code["state"]) == ("slac", "outstanding")
    returned = device.do(ReturnAuthorization()).reply.return_string
    answer = client.post("/v1/requests", data=returned)
    assert (answer.status_code, answer.headers["SLP-Outcomes"][:10]) == (200, "accepted=1")
    pool = client.put(
        "/v1/pool", headers=operator, data=jsontext.dump({"entitlements": [{"tag": "t", "count": 5}]})
    ).json
    assert pool == {"entitlements": [{"tag": "t", "count": 5, "term": "perpetual", "export": False, "free": 5}]}
    assert client.get("/v1/pool", headers=operator).json == pool
    assert client.post(f"{key_path}/release", headers=operator).status_code == 200
    assert client.post("/v1/requests", data=b"<x/>").status_code == 400


def test_the_operators_commands(tmp_path: Path) -> None:
    """The same on the state folder: pool, authorize, codes, returns, issue-code, release, rotate."""
    run = CliRunner()
    where = tmp_path / "authority"

    def command(*arguments: str, code: int = 0) -> str:
        done = run.invoke(app, [arguments[0], *arguments[1:]], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    command("init", "--state-dir", str(where), "--account", "A", "--virtual-account", "V", "--lab")
    authority_folder = folder.load(where)
    pool = tmp_path / "pool.json"
    pool.write_text(jsontext.dump({"entitlements": [{"tag": tag(HSEC), "count": 2}]}))
    assert '"free": 2' in command("pool", "set", "--state-dir", str(where), str(pool))

    device = Device(profile(), now=int(time.time()), lab=True, signer=key("cli"))
    device.do(InstallAnchors((authority_folder.anchor,)))
    device.start()
    udi = device.profile.udi.key
    request, licence = tmp_path / "request.xml", tmp_path / "licence.xml"
    request.write_bytes(device.do(RequestAuthorization(HSEC)).reply.content or b"")
    command("authorize", "--state-dir", str(where), str(request), code=1)
    command("approve", "--state-dir", str(where), udi)
    command("authorize", "--state-dir", str(where), str(request), "--output", str(licence))
    assert device.install(licence.read_bytes()).reply.code == "success"
    assert '"outstanding"' in command("codes", "--state-dir", str(where), udi)
    word = device.do(ReturnAuthorization()).reply.return_string or ""
    assert '"accepted"' in command("returns", "--state-dir", str(where), word)
    command("returns", "--state-dir", str(where), word[:-9], code=1)
    assert '"free": 2' in command("pool", "show", "--state-dir", str(where))
    command(
        "issue-code", "--state-dir", str(where), udi, "--type", "slr", "--entitlements", str(pool),
        "--output", str(licence),
    )  # fmt: skip
    assert device.install(licence.read_bytes()).reply.code == "success"
    assert '"released"' in command("release", "--state-dir", str(where), udi)
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(certificates.to_pem(authority_folder.anchor))
    assert "smartLicenseTrustAnchors" in command("rotate", "--state-dir", str(where), udi, str(anchors))


def test_a_refused_report_is_told_to_the_device(authority: Authority) -> None:
    """An instance restored from a snapshot: its second history is refused, by a file that says so."""
    device = approved(authority)
    device.use("network-advantage", 1)
    device.close(after=60)
    first = device.documents[-1].document
    install(device, authority.submit([first]))
    twin = approved(authority, "TWIN")
    twin.use("network-advantage", 1)
    twin.close(after=60)
    install(twin, authority.submit([twin.documents[-1].document]))
    restored = Device(twin.profile, now=twin.now, lab=True, signer=twin.signer)
    restored.do(InstallAnchors((authority.folder.anchor,)))
    restored.start()
    restored.use("network-advantage", 2)
    restored.close(after=30)
    restored.deliver(*restored.store.reports.rows)
    answer = authority.submit([restored.documents[-1].document])
    assert results(answer) == [("refused", "conflict")]
    assert answer.file is not None
    told = restored.install(answer.file)
    assert told.reply.code == "success"
    assert [type(each).__name__ for each in told.notices] == ["ReportsWereRefused"]
    client = application(authority).test_client()
    response = client.post("/v1/usage", data=restored.documents[-1].document)
    assert response.status_code == 422
    assert "smartLicenseRumAck" in response.json["document"]  # type: ignore[index]
