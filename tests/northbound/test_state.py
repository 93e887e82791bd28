"""`/licensing/state`: true content in every situation, valid in both encodings, every served leaf, and the cache."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
import hashlib
import json
from typing import Any, get_args

from lxml import etree
import oopt_gnpy_libyang as libyang
import pytest

from agent import app
from agent.core.requests import Content
from agent.core.schema import Schema
from agent.formats.documents import PolicyClass, PolicyTerms
from agent.formats.udi import Udi
from agent.licensing.profile import Profile, ProfileError, parse_profile
from agent.licensing.releases import Feature
from agent.northbound.rows import RowEncoder, udi_tree
from agent.northbound.served import CONSTANT, absent
from agent.northbound.state_parts import SMART_URL
from tests.licensing.kit import DAY, T0
from tests.northbound import scenes
from tests.northbound.conftest import Make
from tests.northbound.kit import (
    ADVANTAGE,
    LICENSING,
    PROFILE,
    SESSIONS,
    STATE_INFO,
    Rig,
    bindings_of,
    leaves_below,
    paths_of,
    tree_of,
)

NOT_IN_PROFILES = {"uuid", "suvi", "host-identifier", "mac-address"}
"""Parts of a UDI for which a product profile has no word."""


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@cache
def context() -> Any:
    """libyang with all modules that are served."""
    schema = app.load_schema()
    folders = dict.fromkeys(str(module.file.parent) for module in schema.modules.values())
    made = libyang.Context(":".join(folders), libyang.ContextOptions.NoYangLibrary)
    for module in schema.modules.values():
        if module.implemented:
            made.load_module(module.name, module.revision or None, list(module.features))
    return made


def valid(text: str, form: Any) -> Any:
    """The document after libyang has read and validated it as operational data, as JSON."""
    made = context()
    made.clean_all_errors()
    strict, present = libyang.ParseOptions.Strict, libyang.ValidationOptions.Present
    try:
        tree = made.parse_data(text, form, strict, present)
    except libyang.Error as error:
        told = "; ".join(f"{one.data_path}: {one.message}" for one in made.errors())
        raise AssertionError(f"libyang refuses it: {told or error}") from None
    flags = libyang.PrintFlags.WithSiblings | libyang.PrintFlags.WithDefaultsExplicit
    return json.loads(tree.print(libyang.DataFormat.JSON, flags))


@pytest.mark.parametrize("name", scenes.SCENES)
def test_whole_state_is_valid_and_the_same_in_both_encodings(rig: Rig, name: str) -> None:
    """libyang takes XML and JSON of all of /licensing, configuration and state, and reads one tree from both."""
    scenes.SCENES[name](rig)
    xml, tree = rig.xml(content=Content.ALL), rig.json(content=Content.ALL)
    from_xml = valid(xml.decode(), libyang.DataFormat.XML)
    from_json = valid(json.dumps(tree), libyang.DataFormat.JSON)
    assert from_xml == from_json
    own = tree_of(etree.fromstring(b"<data>" + xml + b"</data>"), rig.schema.root)
    assert own == tree
    assert from_json == tree


NEVER_SHOWN = {
    f"{STATE_INFO}/{part}"
    for part in (
        "registration/registration-in-progress",
        "registration/registration-retry",
        "authorization/authorization-eval",
        "authorization/authorization-eval-expired",
        "authorization/authorization-out-of-compliance",
        "slp-agent:report-times/last-report-push",
    )
}
"""Parts of the list of constants of which no leaf is ever shown (decision 0031, and nothing pushes yet)."""
EVALUATION_END = f"{STATE_INFO}/evaluation/eval-expire-time/expire-time"


def shown_leaves(schema: Schema) -> set[str]:
    """All leaves of /licensing/state but those that are never shown."""
    state = schema.find("/cisco-smart-license:licensing/state")
    assert state is not None
    return {
        path
        for path in leaves_below(state)
        if not any(path.startswith(f"{one}/") or path == one for one in NEVER_SHOWN)
        and path.rpartition("/")[2] not in NOT_IN_PROFILES
        and path != EVALUATION_END
    }


def test_every_leaf_is_seen_but_those_that_have_a_reason(make: Make) -> None:
    """What is neither a constant nor ever shown would be a promise without content, and the reverse a secret."""
    seen: set[str] = set()
    for scene in scenes.SCENES.values():
        rig = make()
        scene(rig)
        tree = rig.json()[LICENSING]["state"]
        seen |= set(paths_of(tree, rig.node("/cisco-smart-license:licensing/state")))
    assert seen == shown_leaves(rig.schema)
    hidden = set(leaves_below(rig.node("/cisco-smart-license:licensing/state"))) - seen
    for path in hidden:
        assert any(path == root or path.startswith(f"{root}/") for root in CONSTANT), path
    assert not any(path.startswith(f"{STATE_INFO}/") for path in absent(rig.schema))


def test_fresh(rig: Rig) -> None:
    """An agent that was just set up: nothing used, the built-in policy, nothing due."""
    info = rig.info()
    assert rig.json()[LICENSING]["state"] | {"state-info": None} == {
        "always-enabled": True,
        "smart-enabled": True,
        "version": "0.1.0",
        "state-info": None,
    }
    assert info["udi"] == {"pid": "RIG-1", "sn": "9RIG", "vid": "V02"}
    assert info["utility"] == {"enabled": False, "reporting": "utility-reporting-type-none"}
    assert info["transport"] == {"transport-type": "transport-type-cslu"}
    assert info["privacy"] == {"hostname": False, "version": False}
    assert [(one["short-name"], one["count"], one["slp-agent:status"]) for one in info["usage"]] == [
        ("advantage", 0, "not-in-use"),
        ("sessions", 0, "not-in-use"),
        ("tier-2", 0, "not-in-use"),
        ("hseck9", 0, "not-in-use"),
    ]
    policy = info["policy"]
    assert (policy["policy-type"], policy["ack-required"]) == ("policy-type-cisco-default", True)
    assert "policy-name" not in policy
    assert policy["policy-perpetual"] == days(365, 0, 90)
    assert policy["policy-subscription"] == days(90, 90, 90)
    assert policy["policy-enforced"] == policy["policy-export"] == days(0, 0, 0)
    assert {one["source"] for one in policy["slp-agent:attribute-source"]} == {"cisco-default"}
    assert len(policy["slp-agent:attribute-source"]) == 12
    (trust,) = info["trust-code"]
    assert trust == {"key_udi": "PID:RIG-1,SN:9RIG", "is-installed": False, "udi": info["udi"]}
    assert info["slp-agent:report-counts"] == counts()
    assert info["slp-agent:report-times"] == {"push-interval-days": 30}
    product = info["slp-agent:product"]
    assert product.pop("instance-epoch") == rig.state.epoch != ""
    features = product.pop("release-feature")
    # a version of another scheme has every feature
    assert {one["name"]: one["supported"] for one in features} == dict.fromkeys(get_args(Feature), True)
    assert all(one["description"] for one in features)
    assert product == {
        "hostname": "rig",
        "software-version": "3.2.1",
        "software-tag": "regid.2026-11.test.RIG,1.0_aa",
        "agent-version": "0.1.0",
        "lab": False,
    }
    assert info["registration"] == {"registration-state": "reg-state-not-registered", "export-control-allowed": False}
    assert info["authorization"] == {"authorization-state": "auth-state-none"}
    assert info["evaluation"] == {
        "eval-in-use": False,
        "eval-expired": False,
        "eval-period-left": {"time-left": 90 * DAY},
    }
    key_and_udi = {"key_udi": "PID:RIG-1,SN:9RIG", "udi": info["udi"]}
    status = {"status": "conversion-status-not-supported", "status-time": at(T0)}
    assert info["conversion"] == [key_and_udi | status]
    (bought,) = info["factory-purchase"]
    assert bought.items() >= key_and_udi.items()
    assert [(one["short-name"], one["count"], one["subscription-id"]) for one in bought["basic-license-info"]] == [
        ("sessions", 25, "SUB-1")
    ]
    imported = info["imported-authorizations"]
    assert imported == {"overall-status": [key_and_udi], "slp-agent:throughput-limit": 250}
    for member in ("rum-ack", "custom-id", "slp-agent:account", "slp-agent:last-outage"):
        assert member not in info
    for member in ("rum-reports-closed-keys", "slp-agent:rum-reports-closed"):
        assert member not in info


def days(first: int, ongoing: int, change: int) -> dict[str, int]:
    return {"reporting-first-time": first, "reporting-ongoing": ongoing, "reporting-macd": change}


def counts(**changed: int) -> dict[str, str]:
    names = ("total", "purged", "acknowledged", "waiting", "available", "collecting")
    return {name: str(changed.get(name, 0)) for name in names}


PUSH = T0 + 600 + 120
"""The first push that is planned once both licences of the scene `in_use` are in use."""


def test_in_use(rig: Rig) -> None:
    """Counts, and the terms of a licence; what is restricted says so."""
    scenes.in_use(rig)
    assert rig.usage(ADVANTAGE) == {
        "entitlement-tag": ADVANTAGE,
        "short-name": "advantage",
        "license-name": "Network Advantage",
        "description": "Everything & <more>",
        "count": 3,
        "enforcement-mode": "enforcement-in-compliance",
        "post-paid": False,
        "slp-agent:feature-name": "advantage",
        "slp-agent:feature-description": "Everything & <more>",
        "slp-agent:version": "1.0",
        "slp-agent:status": "in-use",
        "slp-agent:license-enforcement-type": "license-enforcement-type-unenforced",
        "slp-agent:license-term-type": "license-term-type-perpetual",
        "slp-agent:export-status": "not-restricted",
    }
    assert rig.usage(SESSIONS)["count"] == 25
    assert rig.part("slp-agent:report-counts") == counts(total=2, collecting=2)
    # slp-facts section 3: 90 days from the first use of the subscription, or the change of the perpetual one
    assert rig.part("rum-ack") == {"next-report-deadline": at(T0 + 90 * DAY)}
    assert rig.part("slp-agent:report-times") == {
        "next-ack-deadline": at(T0 + 90 * DAY),
        # two minutes after the last licence change, and it has passed
        "next-report-push": at(PUSH + 30 * DAY),
        "push-interval-days": 30,
    }
    hseck9 = next(one for one in rig.part("usage") if one["short-name"] == "hseck9")
    assert (hseck9["slp-agent:export-status"], hseck9["enforcement-mode"]) == (
        "restricted-not-allowed",
        "enforcement-waiting",
    )


def test_closed_delivered_acknowledged(rig: Rig) -> None:
    """The life of reports in both lists, the counts, and what an ACK with policy and trust code changes."""
    scenes.closed(rig)
    now = rig.now
    keys = [f"PID:RIG-1,SN:9RIG,REPORT:{T0 + number}" for number in (0, 1)]
    assert [entry["rum-report-key"] for entry in rig.part("rum-reports-closed-keys")] == keys
    (first, second) = rig.part("slp-agent:rum-reports-closed")
    assert rig.part("rum-reports-closed-keys")[1] == {
        "report-id": str(T0 + 1),
        "udi": {"pid": "RIG-1", "sn": "9RIG", "vid": "V02"},
        "report-start-time": at(T0 + 600),
        "report-end-time": at(now),
        "report-state": "rum-report-state-closed",
        "rum-report-key": keys[1],
        "slp-agent:license-name": "sessions",
    }
    stored = rig.store.reports.by_id(T0 + 1)
    assert stored is not None
    summary = rig.part("rum-reports-closed-keys")[1]
    assert second == {
        **{member: value for member, value in summary.items() if member != "slp-agent:license-name"},
        "entitlement-tag": SESSIONS,
        "license-name": "sessions",
        "close-reason": "requested",
        "payload-version": "2.0",
        "digest": stored.digest,
        "document": stored.document.decode(),
    }
    payload = json.loads(second["document"])["payload"]
    assert second["digest"] == hashlib.sha256(payload.encode()).hexdigest()
    assert rig.part("slp-agent:report-counts") == counts(total=4, available=2, collecting=2)
    assert rig.part("slp-agent:report-times")["last-closed-time"] == at(now)

    rig.collect(rig.select(f"{STATE_INFO}/slp-agent:rum-reports-closed", rum_report_key=keys[0]))
    for member in ("rum-reports-closed-keys", "slp-agent:rum-reports-closed"):
        states = [entry["report-state"] for entry in rig.part(member)]
        assert states == ["rum-report-state-unacknowledged", "rum-report-state-closed"]
    assert rig.part("slp-agent:report-counts") == counts(total=4, waiting=1, available=1, collecting=2)

    rig.advance(60)
    rig.installed(rig.authority.file(rig.policy(), rig.trust_code()))
    installed = rig.now
    assert "slp-agent:account" not in rig.info()
    rig.advance(60)
    rig.installed(rig.ack((int(first["report-id"]), first["digest"])))
    acknowledged = rig.now
    assert [entry["rum-report-key"] for entry in rig.part("slp-agent:rum-reports-closed")] == [keys[1]]
    assert rig.part("slp-agent:report-counts") == counts(total=4, acknowledged=1, purged=1, available=1, collecting=2)
    policy = rig.part("policy")
    assert (policy["policy-type"], policy["policy-name"]) == ("policy-type-merged", "Example policy")
    assert (policy["install-time"], policy["slp-agent:ack-required-source"]) == (at(installed), "customer-policy")
    assert policy["policy-subscription"] == days(30, 45, 60)
    assert policy["policy-perpetual"] == days(365, 50, 90)
    sources = {(one["class"], one["attribute"]): one["source"] for one in policy["slp-agent:attribute-source"]}
    assert sources["perpetual", "reporting-ongoing"] == "customer-policy"
    assert sources["perpetual", "reporting-macd"] == "cisco-default"
    (trust,) = rig.part("trust-code")
    assert (trust["is-installed"], trust["time-installed"]) == (True, at(installed))
    assert rig.part("rum-ack") == {
        "last-received-time": at(acknowledged),
        "next-report-deadline": at(acknowledged + 45 * DAY),
    }
    assert rig.part("slp-agent:report-times")["last-ack-time"] == at(acknowledged)
    account = {"smart-account": "Example Networks", "virtual-account": "Default", "as-of": at(acknowledged)}
    assert rig.part("slp-agent:account") == account
    # a policy alone says nothing of the account, and that knowledge is as old as before
    rig.advance(60)
    rig.installed(rig.authority.file(rig.policy(PolicyTerms("Another", perpetual=PolicyClass(1, 2, 3)))))
    assert rig.part("slp-agent:account") == account
    assert rig.part("policy")["policy-name"] == "Another"


def test_a_complete_policy_is_custom(rig: Rig) -> None:
    each = PolicyClass(1, 2, 3)
    rig.installed(rig.authority.file(rig.policy(PolicyTerms("All", each, each, each, each, ack_required=False))))
    policy = rig.part("policy")
    assert (policy["policy-type"], policy["ack-required"]) == ("policy-type-custom", False)
    assert {one["source"] for one in policy["slp-agent:attribute-source"]} == {"customer-policy"}


def test_configured(rig: Rig) -> None:
    """State shows the settings that the kernel has taken."""
    scenes.configured(rig)
    info = rig.info()
    assert info["custom-id"] == "edge & <7>"
    assert info["privacy"] == {"hostname": True, "version": True}
    assert info["utility"] == {
        "enabled": True,
        "reporting": "utility-reporting-type-subscription",
        "reporting-times": {"next-report-time": at(PUSH + 7 * DAY)},
        "customer-info": scenes.EVERYTHING["utility"]["customer-info"],  # type: ignore[index]
    }
    assert info["transport"] == {
        "transport-type": "transport-type-smart",
        "url-settings": {
            "url-registration": "https://authority.test/usage",
            "url-utility": "https://authority.test/utility?a=1&b=2",
        },
        "slp-agent:url-cslu": "http://cslu.test:8182/cslu/v1/pi",
    }
    # what export law controls cannot be bought post-paid
    assert {entry["short-name"]: entry["post-paid"] for entry in info["usage"]} == {
        "advantage": True,
        "sessions": True,
        "tier-2": True,
        "hseck9": False,
    }
    assert info["slp-agent:report-times"]["push-interval-days"] == 7
    assert info["slp-agent:report-times"]["next-report-push"] == at(PUSH + 7 * DAY)
    assert info["slp-agent:report-times"]["next-ack-deadline"] == at(T0 + 30 * DAY)


@pytest.mark.parametrize("kind", ["callhome", "cslu", "off", "automatic"])
def test_transport_types(rig: Rig, kind: str) -> None:
    """Each type is shown; addresses of the smart transport only with it."""
    rig.edit({"transport": {"transport-type": f"transport-type-{kind}"}})
    assert rig.part("transport") == {"transport-type": f"transport-type-{kind}"}
    rig.edit({"transport": {"transport-type": "transport-type-smart"}})
    assert rig.part("transport")["url-settings"] == {"url-registration": SMART_URL}


@pytest.mark.parametrize(("crash", "reason"), [(True, "crash"), (False, "stopped")])
def test_outage(rig: Rig, crash: bool, reason: str) -> None:
    """After a crash nothing is known since the last sample; a stop is known to the second."""
    rig.use("advantage", 2)
    rig.advance(900)
    rig.advance(100)
    rig.restart(5000, crash=crash)
    assert rig.part("slp-agent:last-outage") == {
        "start-time": at(T0 + 900 if crash else T0 + 1000),
        "end-time": at(rig.now),
        "reason": reason,
    }


def test_a_licence_that_left_the_catalogue_is_still_shown(make: Make) -> None:
    """Its usage still counts, so it has to be seen."""
    rig = make()
    rig.use("sessions", 4)
    rig.end()
    smaller = {tag: licence for tag, licence in rig.profile.licences.items() if tag != SESSIONS}
    rig.profile = Profile(**{name: getattr(rig.profile, name) for name in Profile.__slots__} | {"licences": smaller})
    rig.begin()
    assert rig.usage(SESSIONS)["count"] == 4
    assert len(rig.part("usage")) == 4


def test_the_longest_profile_fits_the_models(make: Make) -> None:
    """What a profile may hold, the models can say, in all parts and in reports."""
    text = '[product]\npid = "{p}"\nsn = "{p}"\nvid = "{w}"\nhostname = "{w}"\nsoftware-tag = "{w}"\n'.format(
        p="P" * 255, w="ü" * 255
    )
    text += f'software-version = "{"1" * 64}"\n[[license]]\nname = "{"n" * 255}"\nfeature-name = "{"f" * 255}"\n'
    text += f'description = "{"d" * 1000}"\nentitlement-tag = "{"t" * 255}"\nversion = "{"9" * 64}"\n'
    rig = make(profile=parse_profile(text, "long.toml"))
    assert rig.use("n" * 255, 1) == {"return-code": "success"}
    (report_key,) = rig.close(900)
    assert rig.part("slp-agent:rum-reports-closed")[0]["rum-report-key"] == report_key
    assert valid(rig.xml().decode(), libyang.DataFormat.XML) == rig.json()


@pytest.mark.parametrize("character", ["\ufffe", "\uffff", "\ufdd0", "\U0001ffff"])
def test_a_profile_that_no_model_can_show_is_refused(character: str) -> None:
    """Otherwise every read of the state would fail, for ever."""
    text = PROFILE.replace("Everything &", f"Everything {character}")
    with pytest.raises(ProfileError, match=r"^odd\.toml:12: description is expected to be a printable string"):
        parse_profile(text, "odd.toml")


def test_a_whole_udi_is_shown(rig: Rig) -> None:
    """All members of a UDI have a leaf in both lists, and those that are not known are left out."""
    udi = Udi("P", "S", "V", "00000000-0000-4000-8000-000000000001", "suvi", "host", "00:00:5e:00:53:01")
    given = udi_tree(udi)
    node = rig.node(f"{STATE_INFO}/udi")
    assert set(given) == {child.member for child in node.children}
    assert bindings_of(rig).checked(node, given) == given
    assert udi_tree(Udi("P", "S")) == {"pid": "P", "sn": "S"}
    RowEncoder(bindings_of(rig), udi)
