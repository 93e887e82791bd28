"""Who is calling: credentials, what is remembered of them, and the brake on guessing."""

from __future__ import annotations

import base64
import os
import ssl

import pytest

from agent.core.sessions import User
from agent.restconf import auth
from agent.restconf.auth import BasicAuth, Throttle, local_user
from agent.restconf.errors import HttpError
from tests.restconf.build import Accounts, Served, eventually


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_throttle() -> None:
    """A burst, then one attempt each `REFILL` seconds; other sources are not held up."""
    time = Time()
    throttle = Throttle(time)
    assert [throttle.take("a") for _ in range(auth.BURST)] == [0.0] * auth.BURST
    assert 0 < throttle.take("a") <= auth.REFILL
    assert throttle.take("b") == 0.0
    time.now += auth.REFILL
    assert throttle.take("a") == 0.0
    assert throttle.take("a") > 0.0
    time.now += auth.REFILL * auth.BURST
    assert [throttle.take("a") for _ in range(auth.BURST)] == [0.0] * auth.BURST


def test_throttle_forgets_the_quietest_source() -> None:
    throttle = Throttle(Time())
    for _ in range(auth.BURST):
        throttle.take("first")
    for number in range(auth.SOURCES):
        throttle.take(str(number))
    assert throttle.take("first") == 0.0


def test_success_does_not_count() -> None:
    checks = BasicAuth(Accounts(), now=Time())
    for _ in range(auth.BURST * 3):
        assert checks.verify(basic("ada:ada-secret"), "192.0.2.1").name == "ada"


def test_guessing_is_slowed_by_source() -> None:
    """Checklist 164: after a burst 429 with Retry-After, without looking at the password; IPv6 counts by network."""
    time = Time()
    accounts = Accounts()
    checks = BasicAuth(accounts, now=time)
    for number in range(auth.BURST):
        with pytest.raises(HttpError) as refused:
            checks.verify(basic(f"ada:{number}"), f"2001:db8::{number}")
        assert refused.value.status == 401
    assert accounts.checked == auth.BURST
    with pytest.raises(HttpError) as refused:
        checks.verify(basic("ada:ada-secret"), "2001:db8::ffff")
    assert refused.value.status == 429
    assert dict(refused.value.headers)["Retry-After"].isdigit()
    assert accounts.checked == auth.BURST
    assert checks.verify(basic("ada:ada-secret"), "2001:db8:0:1::1").name == "ada"
    time.now += auth.REFILL
    assert checks.verify(basic("ada:ada-secret"), "2001:db8::ffff").name == "ada"


def test_mapped_addresses_are_one_source() -> None:
    checks = BasicAuth(Accounts(), now=Time())
    for _ in range(auth.BURST):
        with pytest.raises(HttpError):
            checks.verify(basic("ada:x"), "::ffff:192.0.2.1")
    with pytest.raises(HttpError) as refused:
        checks.verify(basic("ada:x"), "192.0.2.1")
    assert refused.value.status == 429


def test_remembered_until_an_account_changes() -> None:
    """A verified credential costs no second check; any change of an account empties what is remembered."""
    accounts = Accounts()
    checks = BasicAuth(accounts)
    header = basic("ada:ada-secret")
    assert checks.remembered(header) is None
    checks.verify(header, "192.0.2.1")
    assert checks.remembered(header) == User("ada", frozenset({"admin"}))
    assert checks.remembered(basic("ada:ada-secret2")) is None
    accounts.passwords["ada"] = "changed"
    accounts.changes += 1
    assert checks.remembered(header) is None
    with pytest.raises(HttpError):
        checks.verify(header, "192.0.2.1")


def test_what_is_remembered_is_bounded() -> None:
    accounts = Accounts()
    accounts.passwords = {"ada": "x"}
    checks = BasicAuth(accounts)
    # spaces around the same credentials make other headers
    headers = ["Basic " + " " * number + basic("ada:x")[6:] for number in range(auth.REMEMBERED + 1)]
    for header in headers:
        checks.verify(header, "192.0.2.1")
    assert checks.remembered(headers[0]) is None
    assert checks.remembered(headers[1]) is not None


def test_an_account_that_changes_during_the_check_is_not_remembered() -> None:
    class Racing(Accounts):
        def password(self, user: str, password: str) -> User | None:
            self.changes += 1
            return super().password(user, password)

    checks = BasicAuth(Racing())
    header = basic("ada:ada-secret")
    assert checks.verify(header, "192.0.2.1").name == "ada"
    assert checks.remembered(header) is None


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!!",
        "Bearer abc",
        basic("ada"),
        basic(":x"),
        basic("ada:ada-secret") + "x",
        "Basic " + base64.b64encode(b"ad\xff:x").decode(),
        basic("ada:\x00"),
        basic("nobody:x"),
        basic("ada:wrong"),
        basic("Ada:ada-secret"),
    ],
)
def test_refused_on_the_wire(served: Served, header: str | None) -> None:
    """Checklist 164: 401 with a challenge; the body is an error document, and HEAD has none."""
    with served.tls(header) as wire:
        reply = wire.ask("GET", "/restconf/data")
        assert reply.status == 401
        assert reply.headers["www-authenticate"].startswith('Basic realm="restconf"')
        assert (reply.error["error-type"], reply.error["error-tag"]) == ("protocol", "access-denied")
        assert wire.ask("HEAD", "/.well-known/host-meta").status == 401
    assert served.toy.dispatch.sessions.all() == ()


def test_one_check_for_many_requests(served: Served) -> None:
    """Checklist 164: right credentials are taken; the second request does not check again."""
    for _ in range(3):
        with served.tls() as wire:
            assert wire.ask("GET", "/restconf").status == 200
            assert wire.ask("GET", "/restconf").status == 200
    assert served.accounts.checked == 1


def test_a_changed_password_ends_the_old_one_at_once(served: Served) -> None:
    with served.tls() as wire:
        assert wire.ask("GET", "/restconf").status == 200
        served.accounts.passwords["ada"] = "new"
        served.accounts.changes += 1
        assert wire.ask("GET", "/restconf").status == 401


def test_rate_limit_on_the_wire_spares_the_local_socket(served: Served) -> None:
    """Checklist 164; design (Security baseline): a source that guesses is held up, the local socket never."""
    with served.tls(basic("ada:wrong")) as wire:
        statuses = [wire.ask("GET", "/restconf").status for _ in range(auth.BURST + 2)]
    assert statuses == [401] * auth.BURST + [429] * 2
    with served.unix() as wire:
        assert wire.ask("GET", "/restconf").status == 200


def test_passwords_are_not_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with served.tls(basic("ada:ada-secret")) as wire:
        wire.ask("GET", "/restconf")
    with served.tls(basic("ada:wrong-secret")) as wire:
        wire.ask("GET", "/restconf")
    assert "user 'ada' from 127.0.0.1" in caplog.text
    assert "secret" not in caplog.text
    assert basic("ada:ada-secret")[6:] not in caplog.text


def test_sessions(served: Served) -> None:
    """A connection is a session: listed while it is open, with user, transport and source; counted."""
    sessions = served.toy.dispatch.sessions
    with served.tls() as wire:
        wire.ask("GET", "/restconf")
        wire.ask("GET", "/restconf/data/toy:nothing")
        (session,) = sessions.all()
        assert (session.user.name, session.transport, session.source_host) == ("ada", "restconf", "127.0.0.1")
        assert (session.in_rpcs, session.out_rpc_errors) == (2, 1)
        with served.unix() as local:
            local.ask("GET", "/restconf")
            assert {one.transport for one in sessions.all()} == {"restconf", "local"}
    assert eventually(lambda: sessions.all() == ())


def test_killed_session(served: Served) -> None:
    """Checklist 106: another session can end it: the connection is gone."""
    from agent.core.requests import EndSession

    with served.tls() as wire:
        wire.ask("GET", "/restconf")
        (session,) = served.toy.dispatch.sessions.all()
        served.toy.dispatch.submit(EndSession(session.id), served.toy.session()).result()
        assert wire.closed()


def test_another_user_on_the_same_connection(served: Served) -> None:
    with served.tls() as wire:
        wire.ask("GET", "/restconf")
        wire.ask("GET", "/restconf", {"Authorization": basic("rita:rita-secret")})
        assert eventually(lambda: [s.user.name for s in served.toy.dispatch.sessions.all()] == ["rita"])


def test_local_peer_without_a_user(served: Served) -> None:
    """Checklist 164: whom the mapping does not know is refused with 403; Basic credentials do not help there."""
    served.local_user["user"] = None
    with served.unix() as wire:
        reply = wire.ask("GET", "/restconf", {"Authorization": basic("ada:ada-secret")})
        assert (reply.status, reply.error["error-tag"]) == (403, "access-denied")
    assert served.accounts.checked == 0


def test_default_mapping_of_local_users() -> None:
    """Checklist 122: root and the agent's own user have recovery sessions; others may record."""
    assert local_user(0) == User("root", frozenset({"admin"}), recovery=True)
    own = local_user(os.getuid())
    assert own is not None
    assert (own.groups, own.recovery) == ({"admin"}, True)
    other = local_user(1 if os.getuid() != 1 else 2)
    assert other is not None
    assert other.groups == {"recorder"}
    assert local_user(4_000_000_001) is None


def test_tls_versions(served: Served) -> None:
    """Checklist 165: TLS 1.2 and 1.3, nothing older, and no plain HTTP."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with served.tls(maximum_version=version, minimum_version=version) as wire:
            assert wire.ask("GET", "/restconf").status == 200
    assert served.server.tls is not None
    assert served.server.tls.minimum_version == ssl.TLSVersion.TLSv1_2
