"""ID tokens: issued by an operator, redeemed in a trust request; a kernel at the other end, its real request files."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.formats.documents import Account, Entitlement
from agent.licensing.commands import InstallAnchors, RequestAuthorization, RequestTrust
from peers.authority import folder, tokens
from peers.authority.commands import app
from peers.authority.core import OperatorError
from peers.authority.folder import Folder
from peers.authority.http import application
from peers.authority.service import Answer, Authority, read_requests
from peers.authority.store import Store
from tests.licensing.kit import DAY, Device, key, profile
from tests.peers.test_codes import HSEC, TIER, HandClock, results, tag


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return folder.create(tmp_path_factory.mktemp("authority"), Account("Test Corp", "Default"), lab=True)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_767_225_600.0)


@pytest.fixture
def authority(made: Folder, tmp_path: Path, clock: HandClock) -> Iterator[Authority]:
    store = Store(tmp_path / "authority.db")
    made_authority = Authority(made, store, clock)
    made_authority.set_pool([Entitlement(tag(HSEC), 3), Entitlement(tag(TIER), 3)], [tag(HSEC)])
    yield made_authority
    store.close()


def device_of(authority: Authority, name: str, key_name: str | None = None, epoch: str = "epoch-1") -> Device:
    device = Device(
        profile().with_serial(name), now=authority.now(), lab=True, signer=key(key_name or name), epoch=epoch
    )
    device.do(InstallAnchors((authority.folder.anchor,)))
    device.start()
    return device


def ask(authority: Authority, device: Device, token: str | None, force: bool = False) -> Answer:
    content = device.do(RequestTrust(token, force), after=1).reply.content
    assert content is not None
    return authority.request(read_requests(content))


def test_a_good_token_needs_no_operator(authority: Authority) -> None:
    """From first contact to a trust code that counts, in one exchange."""
    device = device_of(authority, "ONE")
    token = authority.issue_token(30, 1, export=False).text
    answer = ask(authority, device, token)
    assert results(answer) == [("accepted", None)]
    assert answer.file is not None
    assert device.install(answer.file, after=1).reply.code == "success"
    assert device.state.trust is not None
    assert device.state.trust.key_id == device.signer.key_id
    pin = authority.instance(device.profile.udi).pin
    assert pin is not None
    assert (pin.key_id, pin.epoch) == (device.signer.key_id, "epoch-1")
    assert token.encode() not in device.state.to_json(), "the token is in the request only"


def test_the_same_key_takes_one_use(authority: Authority) -> None:
    """An answer that was lost is asked for again; a second instance finds the token used up."""
    token = authority.issue_token(30, 1, export=False).text
    device = device_of(authority, "ONE")
    first, second = ask(authority, device, token), ask(authority, device, token)
    assert (results(first), results(second)) == ([("accepted", None)], [("duplicate", None)])
    assert first.file == second.file
    other = device_of(authority, "TWO")
    assert results(ask(authority, other, token)) == [("refused", "token-used-up")]
    assert [len(each.redeemed) for each in authority.tokens()] == [1]


def test_bad_tokens_are_named(authority: Authority, clock: HandClock) -> None:
    """Each by its own reason; nothing is approved, and nobody who was refused is remembered."""
    device = device_of(authority, "ONE")
    short, gone = authority.issue_token(1, None, export=False).text, authority.issue_token(30, None, export=False).text
    authority.revoke_token(2)
    assert results(ask(authority, device, "made-up")) == [("refused", "unknown-token")]
    assert results(ask(authority, device, gone)) == [("refused", "token-revoked")]
    clock.at -= 60
    assert results(ask(authority, device, short)) == [("refused", "token-not-yet-valid")]
    clock.at += 60 + DAY + 1
    answer = ask(authority, device, short)
    assert results(answer) == [("refused", "token-expired")]
    assert (answer.file, "issue another" in answer.outcomes[0]["message"]) == (None, True)
    assert authority.instances() == []
    assert all(not each.redeemed for each in authority.tokens())


def test_a_token_is_good_to_its_last_second(authority: Authority, clock: HandClock) -> None:
    token = authority.issue_token(1, None, export=False).text
    clock.at += DAY
    assert results(ask(authority, device_of(authority, "ONE"), token)) == [("accepted", None)]


def test_a_bad_token_of_an_approved_instance_is_refused_too(authority: Authority) -> None:
    device = device_of(authority, "ONE")
    assert results(ask(authority, device, authority.issue_token(30, 1, export=False).text)) == [("accepted", None)]
    before = authority.instance(device.profile.udi)
    assert results(ask(authority, device, "made-up", force=True)) == [("refused", "unknown-token")]
    assert authority.instance(device.profile.udi).trust_code == before.trust_code


def test_an_instance_that_was_reset_needs_force(authority: Authority) -> None:
    """Already registered: without force the token is not touched; with it the new key and epoch are pinned."""
    token = authority.issue_token(30, None, export=False).text
    ask(authority, device_of(authority, "ONE"), token)
    again = device_of(authority, "ONE", key_name="ONE after reset", epoch="epoch-2")
    assert results(ask(authority, again, token)) == [("refused", "already-registered")]
    assert [len(each.redeemed) for each in authority.tokens()] == [1]
    answer = ask(authority, again, token, force=True)
    assert results(answer) == [("accepted", None)]
    assert answer.file is not None
    assert again.install(answer.file, after=1).reply.code == "success"
    pin = authority.instance(again.profile.udi).pin
    assert pin is not None
    assert (pin.key_id, pin.epoch) == (again.signer.key_id, "epoch-2")


def test_what_the_token_allows_of_export_control(authority: Authority) -> None:
    """Without the allowance no export-controlled code, but an enforced one; a token with it lifts that."""
    device = device_of(authority, "ONE")
    ask(authority, device, authority.issue_token(30, None, export=False).text)

    def request(licence: str) -> list[tuple[str, str | None]]:
        content = device.do(RequestAuthorization(licence), after=1).reply.content
        assert content is not None
        return results(authority.request(read_requests(content)))

    assert request(HSEC) == [("refused", "export-not-allowed")]
    assert authority.free()[tag(HSEC)] == 3
    assert request(TIER) == [("accepted", None)]
    ask(authority, device, authority.issue_token(30, None, export=True).text, force=True)
    assert request(HSEC) == [("accepted", None)]
    assert authority.free()[tag(HSEC)] == 2


def test_limits_of_a_token(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    for days, uses in ((0, 1), (366, 1), (30, 0), (30, tokens.MAX_USES + 1)):
        with pytest.raises(OperatorError):
            authority.issue_token(days, uses, export=False)
    with pytest.raises(OperatorError, match="no ID token 1"):
        authority.revoke_token(1)
    monkeypatch.setattr(tokens, "MAX_TOKENS", 2)
    authority.issue_token(1, 1, export=False)
    authority.issue_token(1, 1, export=False)
    with pytest.raises(OperatorError, match="revoke some"):
        authority.issue_token(1, 1, export=False)
    authority.revoke_token(1)
    authority.issue_token(1, 1, export=False)
    assert [each.number for each in authority.tokens()] == [2, 3]


def test_tokens_over_http(authority: Authority) -> None:
    client = application(authority).test_client()
    operator = {"Authorization": f"Bearer {authority.folder.operator_token}"}
    assert client.post("/v1/tokens").status_code == client.get("/v1/tokens").status_code == 401
    made = client.post("/v1/tokens", headers=operator, json={"days": 2, "uses": 1, "export": True, "description": "x"})
    issued = made.json
    assert issued is not None
    assert (issued["state"], issued["ends"] - authority.now(), issued["export"]) == ("valid", 2 * DAY, True)
    device = device_of(authority, "ONE")
    content = device.do(RequestTrust(issued["id_token"])).reply.content
    answer = client.post("/v1/requests", data=content)
    assert (answer.status_code, answer.mimetype) == (200, "application/xml")
    listed = client.get("/v1/tokens", headers=operator).json
    assert listed == {"tokens": [{**{k: v for k, v in issued.items() if k != "id_token"}, "state": "used-up",
                                  "redeemed": [device.signer.key_id]}]}  # fmt: skip
    assert issued["id_token"] not in json.dumps(listed)
    content = device_of(authority, "TWO").do(RequestTrust(issued["id_token"])).reply.content
    answer = client.post("/v1/requests", data=content)
    assert (answer.status_code, answer.json["outcomes"][0]["reason"]) == (422, "token-used-up")  # type: ignore[index]
    assert client.delete("/v1/tokens/1", headers=operator).json["tokens"][0]["state"] == "revoked"  # type: ignore[index]
    assert client.delete("/v1/tokens/9", headers=operator).status_code == 409
    assert client.post("/v1/tokens", headers=operator, json={"days": 366}).status_code == 409
    assert client.post("/v1/tokens", headers=operator, json={"days": "x"}).status_code == 400


def test_the_operators_commands(tmp_path: Path) -> None:
    run, where = CliRunner(), str(tmp_path / "authority")

    def command(*arguments: str, code: int = 0) -> str:
        done = run.invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    command("init", "--state-dir", where, "--account", "A", "--virtual-account", "V")
    text = command("token", "issue", "--state-dir", where, "--days", "7", "--uses", "2", "--export").strip()
    assert len(text) == 64
    (listed,) = json.loads(command("token", "list", "--state-dir", where))
    assert (listed["number"], listed["uses"], listed["export"], listed["state"]) == (1, 2, True, "valid")
    assert text not in (tmp_path / "authority" / "authority.db").read_bytes().decode("latin-1")
    assert '"revoked"' in command("token", "revoke", "--state-dir", where, "1")
    command("token", "revoke", "--state-dir", where, "2", code=1)
    command("token", "issue", "--state-dir", where, "--days", "366", code=2)
