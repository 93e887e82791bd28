"""`/licensing/config`: every leaf has its effect, and a commit with what it decides is one transaction or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import json
from typing import Any

import pytest

from agent.core.requests import Content
from agent.core.sessions import User
from agent.core.tree import Tree
from agent.errors import Error
from agent.formats.rum import Report, read_payload
from agent.licensing.settings import Settings
from agent.northbound.settings import Recorders
from agent.northbound.state_parts import SMART_URL
from tests.licensing.kit import DAY, T0
from tests.northbound.conftest import Make
from tests.northbound.kit import (
    ADMIN,
    ADVANTAGE,
    COLLECTOR,
    LICENSING,
    NOBODY,
    READER,
    RECORDER,
    SESSIONS,
    Rig,
    documents_of,
    error_of,
    leaves_below,
    profile,
)
from tests.northbound.scenes import EVERYTHING
from tests.northbound.stores import BROKEN, FULL, FailingStore

CONFIG = "/cisco-smart-license:licensing/config"
INFO_NAMES = ("id", "name", "street", "city", "state", "country", "postal-code")


def running(rig: Rig) -> Tree:
    """What get-config shows of /licensing/config."""
    data = rig.get(content=Content.CONFIG).tree
    config: Tree = data.get(LICENSING, {}).get("config", {})
    return config


def report_after(rig: Rig) -> Report:
    """The next report that is closed."""
    rig.use("advantage", 1)
    (key,) = rig.close(60)
    return read_payload(json.loads(documents_of(rig)[key])["payload"])


def tagged(name: str) -> Callable[[Rig], None]:
    def effect(rig: Rig) -> None:
        rig.edit({"usage": {"customer-tags": {name: "Ünit <7>"}}})
        assert report_after(rig).customer_tags == ((name, "Ünit <7>"),)

    return effect


def informed(name: str) -> Callable[[Rig], None]:
    def effect(rig: Rig) -> None:
        rig.edit({"utility": {"customer-info": {name: "x & y"}}})
        assert rig.part("utility")["customer-info"] == {name: "x & y"}
        assert report_after(rig).customer_info == ()  # only post-paid reports say who pays
        rig.edit({"utility": {"utility-enable": True}})
        assert report_after(rig).customer_info == ((name.replace("-", ""), "x & y"),)

    return effect


def enable(rig: Rig) -> None:
    """Accepted and without effect: this kind of licensing is always on (slp-facts section 2.1)."""
    rig.edit({"enable": False})
    assert running(rig) == {"enable": False}
    state = rig.json()[LICENSING]["state"]
    assert (state["always-enabled"], state["smart-enabled"]) == (True, True)


def custom_id(rig: Rig) -> None:
    rig.edit({"custom-id": "edge-7"})
    assert rig.part("custom-id") == "edge-7"


def hostname(rig: Rig) -> None:
    assert report_after(rig).hostname == "rig"
    rig.edit({"privacy": {"hostname": True}})
    assert report_after(rig).hostname is None


def version(rig: Rig) -> None:
    assert report_after(rig).software_version == "3.2.1"
    rig.edit({"privacy": {"version": True}})
    assert report_after(rig).software_version == "withheld"


def utility(rig: Rig) -> None:
    assert report_after(rig).utility_enabled is False
    rig.edit({"utility": {"utility-enable": True}})
    assert report_after(rig).utility_enabled is True
    assert rig.usage(ADVANTAGE)["post-paid"] is True


def interval(rig: Rig) -> None:
    rig.use("advantage", 1)
    assert rig.part("slp-agent:report-times")["push-interval-days"] == 30
    rig.edit({"usage": {"interval": 10}})
    times = rig.part("slp-agent:report-times")
    assert times["push-interval-days"] == 10
    rig.advance(900)
    assert rig.state.settings.interval_days == 10


def transport_type(rig: Rig) -> None:
    rig.edit({"transport": {"transport-type": "transport-type-off"}})
    assert rig.part("transport") == {"transport-type": "transport-type-off"}
    assert rig.state.settings.transport_type == "off"


def smart(**members: Any) -> Tree:
    return {"transport": {"transport-type": "transport-type-smart", "transport-smart": members}}


def url_default(rig: Rig) -> None:
    """One case of a choice: it takes the place of addresses of one's own."""
    rig.edit(smart(urls={"url-registration": "https://a.test/"}))
    rig.edit(smart(**{"url-default": True}))
    assert running(rig)["transport"]["transport-smart"] == {"url-default": True}
    assert rig.part("transport")["url-settings"] == {"url-registration": SMART_URL}
    assert rig.state.settings.url_default


def url_registration(rig: Rig) -> None:
    rig.edit(smart(urls={"url-registration": "https://a.test/r"}))
    assert rig.part("transport")["url-settings"] == {"url-registration": "https://a.test/r"}


def url_utility(rig: Rig) -> None:
    rig.edit(smart(urls={"url-utility": "https://a.test/u"}))
    assert rig.part("transport")["url-settings"]["url-utility"] == "https://a.test/u"


def url_cslu(rig: Rig) -> None:
    rig.edit({"transport": {"transport-cslu": {"url-cslu": "http://cslu.test:8182/cslu/v1/pi"}}})
    assert rig.part("transport")["slp-agent:url-cslu"] == "http://cslu.test:8182/cslu/v1/pi"


def boot_level(rig: Rig) -> None:
    """In effect after reload only, and as long as it is configured."""
    rig.edit({"slp-agent:boot-level": {"license": ["advantage", SESSIONS]}})
    assert rig.usage(ADVANTAGE)["count"] == 0
    rig.advance(3600)
    assert rig.usage(ADVANTAGE)["count"] == 0
    rig.restart(60)
    assert (rig.usage(ADVANTAGE)["count"], rig.usage(SESSIONS)["count"]) == (1, 1)
    rig.edit({}, operation="replace")
    assert rig.usage(ADVANTAGE)["count"] == 1
    rig.restart(60)
    assert rig.usage(ADVANTAGE)["count"] == 0


def automatic_trust_request(rig: Rig) -> None:
    """Off: reports no longer ask for a trust code; a request of its own can still be made."""
    assert report_after(rig).trust_request == rig.signer.public_key
    rig.edit({"slp-agent:automatic-trust-request": False})
    assert report_after(rig).trust_request is None
    assert rig.invoke("export-trust-request")["return-code"] == "success"
    rig.edit({"slp-agent:automatic-trust-request": True})
    assert report_after(rig).trust_request == rig.signer.public_key


def operating_mode(rig: Rig) -> None:
    """Controller: what is open is closed, then usage is readable and nothing is reported, also after a restart."""
    rig.use("advantage", 2)
    rig.advance(60)
    rig.edit({"slp-agent:operating-mode": "controller"})
    (entry,) = rig.part("slp-agent:rum-reports-closed")
    assert entry["close-reason"] == "controller-managed"
    for _ in range(2):
        assert rig.use("advantage", 3, after=60) == {"return-code": "success"}
        assert rig.usage(ADVANTAGE)["count"] == 3
        assert rig.close(60) == ()
        assert rig.part("slp-agent:report-counts")["collecting"] == "0"
        assert rig.part("rum-ack") is None
        assert "next-report-push" not in rig.part("slp-agent:report-times")
        rig.restart(60)
    rig.edit({"slp-agent:operating-mode": "autonomous"})
    assert len(rig.close(60)) == 1
    assert "next-report-push" in rig.part("slp-agent:report-times")


def recorder(rig: Rig) -> None:
    """A recorder may record what its entry names, by any of the licence's names, from the commit on."""
    given = {"license": "advantage", "count": 4}
    assert error_of(lambda: rig.invoke("record-usage", given, RECORDER)).tag == "access-denied"
    rig.edit({"slp-agent:recorder": [{"user": "rob", "license": ["Network Advantage"]}]})
    for name in ("advantage", "Network Advantage", ADVANTAGE):
        assert rig.invoke("record-usage", {"license": name, "count": 4}, RECORDER) == {"return-code": "success"}
    refused = error_of(lambda: rig.invoke("record-usage", {"license": "sessions", "count": 4}, RECORDER))
    assert (refused.tag, refused.type) == ("access-denied", "protocol")
    assert "rob" in refused.message
    assert "slp-agent:recorder" in refused.message
    other = User("olga", frozenset({"recorder"}))
    assert error_of(lambda: rig.invoke("record-usage", given, other)).tag == "access-denied"
    rig.edit({"slp-agent:recorder": [{"user": "olga", "license": ["*"]}]})
    assert rig.invoke("record-usage", {"license": "sessions", "count": 4}, other) == {"return-code": "success"}
    # no such licence: known to nobody, and said in the reply
    answer = rig.invoke("record-usage", {"license": "no-such", "count": 1}, other)
    assert answer["return-code"] == "taginvalid"


def logged(rig: Rig) -> list[str]:
    return [name for _, _, _, name, _, _ in rig.store.events.after(0, 1000)]


def max_entries(rig: Rig) -> None:
    rig.edit({"slp-agent:event-log": {"max-entries": 2}})
    for count in range(1, 5):
        rig.use("sessions", count)
    assert logged(rig) == ["usage-changed"] * 2


def max_size(rig: Rig) -> None:
    """What a bound in octets does is shown of the stores (tests/store/test_contract.py); here that it is set."""
    rig.edit({"slp-agent:event-log": {"max-size": 3}})
    assert rig.agent.settings.event_log is not None
    assert rig.agent.settings.event_log.limits.octets == 3 * 1024 * 1024


def max_age(rig: Rig) -> None:
    rig.edit({"slp-agent:event-log": {"max-age": 2}})
    rig.use("sessions", 1)
    rig.clock.at += 3 * 86_400
    rig.use("sessions", 2)
    assert min(at for _, at, *_ in rig.store.events.after(0, 1000)) == rig.clock.at


def omit(rig: Rig) -> None:
    rig.edit({"slp-agent:event-log": {"omit": ["slp-agent:usage-changed"]}})
    rig.use("sessions", 1)
    assert "usage-changed" in [event.name for event in rig.told]
    assert "usage-changed" not in logged(rig)


EFFECTS: dict[str, Callable[[Rig], None]] = {
    "enable": enable,
    "custom-id": custom_id,
    "privacy/hostname": hostname,
    "privacy/version": version,
    "utility/utility-enable": utility,
    **{f"utility/customer-info/{name}": informed(name) for name in INFO_NAMES},
    "usage/interval": interval,
    **{f"usage/customer-tags/{name}": tagged(name) for name in ("tag1", "tag2", "tag3", "tag4")},
    "transport/transport-type": transport_type,
    "transport/transport-smart/url-default": url_default,
    "transport/transport-smart/urls/url-registration": url_registration,
    "transport/transport-smart/urls/url-utility": url_utility,
    "transport/transport-cslu/url-cslu": url_cslu,
    "slp-agent:boot-level/license": boot_level,
    "slp-agent:automatic-trust-request": automatic_trust_request,
    "slp-agent:operating-mode": operating_mode,
    "slp-agent:recorder/user": recorder,
    "slp-agent:recorder/license": recorder,
    "slp-agent:event-log/max-entries": max_entries,
    "slp-agent:event-log/max-size": max_size,
    "slp-agent:event-log/max-age": max_age,
    "slp-agent:event-log/omit": omit,
}


@pytest.mark.parametrize("leaf", EFFECTS)
def test_every_leaf_has_its_effect(rig: Rig, leaf: str) -> None:
    EFFECTS[leaf](rig)


def test_no_leaf_is_left_out(rig: Rig) -> None:
    """The table above names every leaf of the configuration."""
    leaves = {path.removeprefix(f"{CONFIG}/") for path in leaves_below(rig.node(CONFIG))}
    assert set(EFFECTS) == leaves


def test_settings_outlive_the_agent(durable: Rig) -> None:
    """Configuration, the kernel's settings and the recorders' rights are there after a crash."""
    durable.edit(EVERYTHING)
    config, settings = running(durable), durable.state.settings
    assert config == EVERYTHING
    assert settings == Settings(
        transport_type="smart",
        interval_days=7,
        privacy_hostname=True,
        privacy_version=True,
        custom_id="edge & <7>",
        customer_tags=(("tag1", "one"), ("tag2", "two"), ("tag3", "three"), ("tag4", "four")),
        utility_enabled=True,
        customer_info=settings.customer_info,
        url_cslu="http://cslu.test:8182/cslu/v1/pi",
        url_registration="https://authority.test/usage",
        url_utility="https://authority.test/utility?a=1&b=2",
        boot_levels=("advantage",),
        trust_requests=False,
        mode="autonomous",
    )
    durable.restart(10, crash=True)
    assert (running(durable), durable.state.settings) == (config, settings)
    assert durable.invoke("record-usage", {"license": "sessions", "count": 2}, RECORDER) == {"return-code": "success"}
    assert error_of(lambda: durable.invoke("record-usage", {"license": "advantage", "count": 2}, RECORDER))


def test_a_commit_is_one_transaction(either: Rig) -> None:
    """Configuration and what the kernel decided stand in the store together."""
    either.edit({"usage": {"interval": 9}})
    loaded = either.kept()
    assert loaded.config is not None
    assert json.loads(loaded.config)[LICENSING]["config"] == {"usage": {"interval": 9}}
    assert loaded.events[-1].settings.interval_days == 9  # type: ignore[union-attr]
    assert either.replayed() == either.state


def test_a_change_that_is_none_decides_nothing(either: Rig) -> None:
    either.edit({"usage": {"interval": 9}})
    before = either.kept()
    either.advance(5)
    either.edit({"usage": {"interval": 9}})
    either.edit({"enable": True})  # a setting without effect: the kernel is not moved by it
    after = either.kept()
    assert after.events == before.events
    assert after.config != before.config


def unchanged_by(rig: Rig, act: Callable[[], Any]) -> Error:
    """The refusal of `act`, which left configuration, state, rights and store as they were."""
    before = running(rig), rig.state.to_json(), rig.kept(), rig.xml()
    error = error_of(act)
    assert (running(rig), rig.state.to_json(), rig.kept(), rig.xml()) == before
    return error


@pytest.mark.parametrize(
    ("how", "tag", "message"), [("full", "resource-denied", FULL), ("broken", "operation-failed", BROKEN)]
)
def test_a_commit_that_fails_leaves_both_as_they_were(make: Make, how: str, tag: str, message: str) -> None:
    """No space: resource-denied; anything else: operation-failed; the store's words say what to do."""
    store = FailingStore()
    rig = make(store=store)
    rig.use("advantage", 2)
    rig.edit({"usage": {"interval": 9}})
    rig.advance(60)
    setattr(store, how, True)
    error = unchanged_by(rig, lambda: rig.edit(EVERYTHING))
    assert (error.type, error.tag, error.message) == ("application", tag, message)
    assert error_of(lambda: rig.invoke("record-usage", {"license": "sessions", "count": 1}, RECORDER)).tag == (
        "access-denied"  # the recorders of a commit that failed have no rights
    )
    setattr(store, how, False)
    rig.edit(EVERYTHING)
    assert rig.state.settings.interval_days == 7
    assert rig.replayed() == rig.state


def test_a_file_that_cannot_grow(durable: Rig) -> None:
    """SQLite's own refusal: the database may have no further page."""
    connection = durable.store._connection  # type: ignore[attr-defined]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    big = {"slp-agent:recorder": [{"user": f"user-{number}" * 20} for number in range(200)]}
    error = unchanged_by(durable, lambda: durable.edit(big))
    assert error.tag == "resource-denied"
    assert "free some space" in error.message
    connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    durable.edit(big)
    assert len(running(durable)["slp-agent:recorder"]) == 200


def test_a_file_that_is_read_only(durable: Rig) -> None:
    connection = durable.store._connection  # type: ignore[attr-defined]
    connection.execute("PRAGMA query_only = 1").fetchall()
    error = unchanged_by(durable, lambda: durable.edit({"custom-id": "x"}))
    assert error.tag == "operation-failed"
    assert "owns the state folder" in error.message
    connection.execute("PRAGMA query_only = 0").fetchall()
    durable.edit({"custom-id": "x"})
    assert durable.part("custom-id") == "x"


def test_what_reports_cannot_carry_is_refused(either: Rig) -> None:
    """More boot levels than the kernel takes: invalid-value, naming the place; nothing is kept."""
    many = {"slp-agent:boot-level": {"license": [f"licence-{number}" for number in range(10_001)]}}
    error = unchanged_by(either, lambda: either.edit(many))
    assert (error.tag, [step.name for step in error.path]) == ("invalid-value", ["licensing", "config"])
    assert "10000" in error.message


@pytest.mark.parametrize(
    ("before", "refused", "words"),
    [
        (
            {"transport": {"transport-type": "transport-type-callhome"}},
            {"utility": {"utility-enable": True}},
            "utility mode does not go over Call Home; use transport smart, cslu or off",
        ),
        (
            {"utility": {"utility-enable": True}},
            {"transport": {"transport-type": "transport-type-callhome"}, "custom-id": "x"},
            "utility mode does not go over Call Home; use transport smart, cslu or off",
        ),
    ],
)
def test_settings_that_cannot_be_together(either: Rig, before: Tree, refused: Tree, words: str) -> None:
    """Utility mode over Call Home, in whichever order: invalid-value with the kernel's words, nothing is kept."""
    either.edit(before)
    error = unchanged_by(either, lambda: either.edit(refused))
    assert (error.type, error.tag, error.message) == ("application", "invalid-value", words)
    assert [step.name for step in error.path] == ["licensing", "config"]


@pytest.mark.parametrize(("mode", "release"), [("autonomous", "17.8.1"), ("controller", "17.3.9")])
def test_utility_mode_that_the_release_lacks(make: Make, mode: str, release: str) -> None:
    """docs/licensing.md, Releases: by mode, from 17.9.1 or 17.4.1 on."""
    rig = make(profile=replace(profile(), software_version=release))
    rig.edit({"slp-agent:operating-mode": mode})
    error = unchanged_by(rig, lambda: rig.edit({"utility": {"utility-enable": True}}))
    assert error.tag == "invalid-value"
    assert f"release {release} has no utility mode for a device that is {mode}" in error.message


@pytest.mark.parametrize("text", ["\x7f", "\u0085\u2028", "\t\n\r", "\U0001f600", "]]>", '"\\', "é" * 127])
def test_what_the_models_take_reports_carry(rig: Rig, text: str) -> None:
    """Every text that a leaf accepts can be sealed, and is read by the authority as it was set."""
    rig.edit({"usage": {"customer-tags": {"tag1": text}}, "custom-id": text})
    assert report_after(rig).customer_tags == (("tag1", text),)
    assert rig.part("custom-id") == text


@pytest.mark.parametrize("user", [COLLECTOR, READER, RECORDER, NOBODY])
def test_only_administrators_configure(rig: Rig, user: User) -> None:
    """Checklist 122: access-denied, and nothing changed."""
    error = unchanged_by(rig, lambda: rig.edit({"custom-id": "x"}, user))
    assert error.tag == "access-denied"
    rig.edit({"custom-id": "x"}, ADMIN)


def test_a_boot_level_that_may_not_be_on_is_told(rig: Rig) -> None:
    """Enforced, export-controlled and unknown licences are passed over at the start, with a notification each."""
    rig.edit({"slp-agent:boot-level": {"license": ["tier-2", "hseck9", "no-such", "advantage"]}})
    rig.told.clear()
    rig.restart(10)
    refused = [
        (event.tree["license"], event.tree["return-code"]) for event in rig.told if event.name == "usage-refused"
    ]
    assert refused == [
        ("tier-2", "noauthorizationinstalled"),
        ("hseck9", "noauthorizationinstalled"),
        ("no-such", "taginvalid"),
    ]
    assert [entry["count"] for entry in rig.part("usage")] == [1, 0, 0, 0]


def test_recorders() -> None:
    rights = Recorders(
        {"slp-agent:recorder": [{"user": "a", "license": ["x"]}, {"user": "b", "license": ["*"]}, {"user": "c"}]}
    )
    assert rights.permits("a", "x", "y")
    assert not rights.permits("a", "y")
    assert rights.permits("b", "y")
    assert not rights.permits("c", "x")
    assert not rights.permits("d", "x")


def test_interval_moves_the_planned_push(rig: Rig) -> None:
    rig.use("advantage", 1)
    rig.advance(900)
    rig.edit({"usage": {"interval": 10}})
    assert rig.part("slp-agent:report-times")["next-report-push"].startswith("2023-11-24T")
    assert rig.now < T0 + 120 + 10 * DAY
