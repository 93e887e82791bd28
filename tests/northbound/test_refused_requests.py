"""Refused requests, and files of which a part is refused: the table's code, and the rest as before, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agent.core.tree import Tree
from agent.formats import smartlicense
from agent.formats.documents import AuthType, Document, PolicyTerms
from agent.formats.udi import Udi
from agent.licensing import refusals
from agent.licensing.commands import ApplySettings, Command, FactoryReset, RecordUsage, RequestTrust
from agent.licensing.settings import Settings
from agent.northbound.calls import answered
from tests.northbound import forge, scenes
from tests.northbound.kit import SECONDS, Rig, documents_of
from tests.northbound.test_refusals import CASES, CODES, everything


def kernel(rig: Rig, command: Command) -> Tree:
    """The answer to a command that no RPC makes in this way, as an RPC would give it."""
    return answered(rig.dispatch.loop.submit(lambda: rig.agent.committer.serve(command)).result(SECONDS))


def nothing(rig: Rig) -> None:
    """An agent that was just set up."""


def coded(kind: AuthType = "slac", count: int = 1, use: int = 1) -> Callable[[Rig], None]:
    """A code for so many of tier-2, and so many of it in use."""

    def before(rig: Rig) -> None:
        rig.installed(rig.authority.file(rig.authority.code(rig.device, ("tier-2", count), kind=kind)))
        assert rig.use("tier-2", use)["return-code"] == "success"

    return before


def trusted(rig: Rig) -> None:
    rig.installed(rig.authority.file(rig.trust_code()))


def older_release(rig: Rig) -> None:
    rig.end()
    rig.profile = replace(rig.profile, software_version="17.3.1")
    rig.begin()


def invoking(name: str, **given: Any) -> Callable[[Rig], Tree]:
    tree = {member.replace("_", "-"): value for member, value in given.items()}
    return lambda rig: rig.invoke(name, tree)


def commanding(command: Command) -> Callable[[Rig], Tree]:
    return lambda rig: kernel(rig, command)


MANY = tuple(Udi("AP", f"AP{number}") for number in range(501))
POST_PAID = ApplySettings(Settings(utility_enabled=True))

REQUESTS: list[tuple[str, Callable[[Rig], None], Callable[[Rig], Tree]]] = [
    ("unknown-licence", nothing, invoking("record-usage", license="no-such", count=1)),
    ("unknown-licence", nothing, invoking("ask-permission", license="no-such")),
    ("unknown-licence", nothing, invoking("authorization-request-online", feature_name="no-such")),
    ("not-authorized", nothing, invoking("record-usage", license="tier-2", count=1)),
    ("not-authorized", nothing, invoking("ask-permission", license="hseck9")),
    ("count-not-authorized", coded(count=2), invoking("record-usage", license="tier-2", count=3)),
    ("throughput-ceiling", nothing, invoking("ask-permission", license="advantage", throughput=251)),
    # no count and no token like these come past the schema, and no RPC takes peripherals
    ("count-out-of-range", nothing, commanding(RecordUsage("advantage", 4294967296, "ada"))),
    ("bad-token", nothing, commanding(RequestTrust("", online=True))),
    ("bad-token", nothing, commanding(RequestTrust("T" * 256))),
    ("too-many-peripherals", nothing, commanding(RecordUsage("advantage", 1, "ada", added=MANY))),
    ("authorization-in-use", coded(), invoking("authorization-code-return-online")),
    (
        "authorization-in-use",
        coded(),
        invoking("authorization-request-offline", feature_name="hseck9", add=False),
    ),
    ("authorization-not-needed", nothing, invoking("authorization-request-offline", feature_name="advantage")),
    ("already-authorized", coded("slr"), invoking("authorization-request-offline", feature_name="tier-2")),
    ("no-authorization", nothing, invoking("authorization-code-return-online")),
    ("no-request", nothing, invoking("authorization-request-offline")),
    ("trust-code-installed", trusted, invoking("id-token-trust", id_token="T")),
    ("not-in-this-release", older_release, invoking("authorization-request-offline", feature_name="tier-2")),
    # over the interfaces a commit is refused with invalid-value and these words (test_settings.py)
    ("not-in-this-release", older_release, commanding(POST_PAID)),
    ("utility-callhome", nothing, commanding(ApplySettings(Settings("callhome", utility_enabled=True)))),
    ("unreported-usage", scenes.closed, commanding(FactoryReset())),
    ("authorization-installed", coded("fla", use=0), commanding(FactoryReset())),
]


def test_every_reason_has_a_case() -> None:
    """The table of docs/licensing.md, and nothing else; its first line stands for reasons without one of their own."""
    covered = {reason for reason, _, _ in CASES} | {reason for reason, _, _ in REQUESTS}
    assert covered | {"document", "utility-not-enabled", "no-transport"} == set(CODES)
    assert refusals.code("something new") == CODES["document"]


@pytest.mark.parametrize(("reason", "before", "act"), REQUESTS, ids=[reason for reason, _, _ in REQUESTS])
def test_refused_request(either: Rig, reason: str, before: Callable[[Rig], None], act: Callable[[Rig], Tree]) -> None:
    """The same holds for what is asked for: the code of the table, the reason in words, and nothing is different."""
    before(either)
    either.advance(1)
    kept = everything(either)
    either.told.clear()
    answer = act(either)
    assert everything(either) == kept
    assert answer["return-code"] == CODES[reason]
    assert answer["slp-agent:message" if "slp-agent:message" in answer else "message"]
    for event in either.told:
        if event.name == "registration-fail":
            assert (reason, event.tree["reason"]) == ("trust-code-installed", "already-registered-failure")
        else:
            assert (event.name, event.tree["return-code"]) == ("usage-refused", CODES[reason])


def test_refused_usage_is_told_once(rig: Rig) -> None:
    """Only a use that was to begin is told of: asking beforehand leaves no trace."""
    rig.told.clear()
    rig.invoke("ask-permission", {"license": "tier-2"})
    assert rig.told == []
    rig.invoke("record-usage", {"license": "tier-2", "count": 1})
    assert [event.name for event in rig.told] == ["usage-refused"]


def test_a_document_for_utility_mode_outside_of_it(either: Rig) -> None:
    """The other way round than in the table above, whose device is in utility mode."""
    before = everything(either)
    answer = either.install(forge.heading(utility=True)(either).encode())
    assert answer["return-code"] == CODES["utility-not-enabled"]
    assert everything(either) == before


NO_TRANSPORT = {
    "sync": ({}, "sync-failed"),
    "renew-auth": ({}, "sync-failed"),
    "id-token-trust": ({"id-token": "T"}, "trust-fail"),
    "authorization-request-online": ({"feature-name": "tier-2"}, "authorization-code-request-failed"),
}


@pytest.mark.parametrize("name", NO_TRANSPORT)
def test_what_no_transport_can_carry(either: Rig, name: str) -> None:
    """The request is taken, and ends with the code of the table in its notification; nothing stays requested."""
    given, ends = NO_TRANSPORT[name]
    either.told.clear()
    either.invoke(name, given)
    assert either.told[0].name == ends
    assert either.told[0].tree["return-code"] == CODES["no-transport"]
    assert either.state.authorization.request is None
    assert either.state.trust_requested_at is None
    assert either.replayed() == either.state


def test_a_partly_bad_file(either: Rig) -> None:
    """What is good is installed, in its order; what is not leaves no trace but its answer, and stands first."""
    scenes.closed(either)
    good = (either.trust_code(), either.authority.code(either.device, ("tier-2", 3)))
    altered = replace_in(either.policy(PolicyTerms("Good")), either, "Good", "Evil")
    elsewhere = either.authority.policy(either.device, PolicyTerms("Elsewhere"), udi=Udi("RIG-1", "9RIH"))
    signed = [("policy", altered), ("policy", either.authority.sign(elsewhere))]
    signed += [(one.kind, either.authority.sign(one)) for one in (*good, forge.ack((1, "0" * 64))(either))]
    shown, floors = either.part("policy"), dict(either.state.floors)
    either.told.clear()
    answer = either.install(smartlicense.write_documents(signed))  # type: ignore[arg-type]
    assert [(one["index"], one["type"], one["return-code"]) for one in answer["document"]] == [
        (0, "policy", CODES["bad-signature"]),
        (1, "policy", CODES["wrong-addressee"]),
        (2, "trust-code", "success"),
        (3, "authorization", "success"),
        (4, "acknowledgement", CODES["unknown-report"]),
    ]
    assert answer["return-code"] == CODES["bad-signature"]
    assert answer["message"] == answer["document"][0]["message"]
    assert [event.tree["return-code"] for event in either.told if event.name == "import-refused"] == [
        CODES["bad-signature"],
        CODES["wrong-addressee"],
        CODES["unknown-report"],
    ]
    assert either.part("policy") == shown
    assert either.part("trust-code")[0]["is-installed"] is True
    assert either.use("tier-2", 3)["return-code"] == "success"
    assert set(either.state.floors) == {*floors, "trust-code", "authorization"}
    assert len(documents_of(either)) == 2
    assert either.replayed() == either.state
    # the policy that was not altered is not older than the one that was refused
    either.installed(either.authority.file(either.policy(PolicyTerms("Good"), serial=1)))
    assert either.part("policy")["policy-name"] == "Good"


def replace_in(document: Document, rig: Rig, old: str, new: str) -> bytes:
    """The signed document with a word exchanged after it was signed."""
    signed = rig.authority.sign(document)
    assert old.encode() in signed
    return signed.replace(old.encode(), new.encode())
