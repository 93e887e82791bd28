"""RPCs: who may call them, results and refusals of those about usage, reports and codes, and a store that fails."""

from __future__ import annotations

from collections.abc import Callable
import json
from typing import Any

import pytest

from agent.codec import json as json_codec
from agent.core.loop import LoopStoppedError
from agent.core.requests import Edit, EndSession, Invoke, Lock, Unlock
from agent.core.sessions import User
from agent.core.tree import Tree
from agent.errors import Error, RequestError
from agent.formats.documents import Ack, Acknowledged
from agent.licensing import refusals
from agent.licensing.notices import UsageChanged
from agent.northbound.access import COLLECTING, RECORDING
from agent.northbound.served import FRONT_END, absent
from tests.northbound import scenes
from tests.northbound.conftest import Make
from tests.northbound.kit import (
    ADMIN,
    ADVANTAGE,
    COLLECTOR,
    LICENSING,
    NOBODY,
    READER,
    RECORDER,
    SECONDS,
    SESSIONS,
    STATE_INFO,
    Rig,
    documents_of,
    error_of,
)
from tests.northbound.stores import BROKEN, FULL, UNREADABLE, FailingStore

FILE = {"file-path": "a.xml"}
RPCS: dict[str, tuple[Tree, str]] = {
    "record-usage": ({"license": "advantage", "count": 1}, "success"),
    "close-reports": ({}, "success"),
    "import-code": ({"content": "{}"}, "msgparse"),
    "export-usage": ({}, "success"),
    "ask-permission": ({"license": "advantage"}, "success"),
    "export-trust-request": ({}, "success"),
    "authorization-request-offline": ({"feature-name": "tier-2"}, "success"),
    "explain-access": ({"user": "ada", "operation": "exec", "target": "slp-agent:sync"}, "success"),
    "sync": ({}, "success"),
    "renew-auth": ({}, "success"),
    "id-token-trust": ({"id-token": "T"}, "registrationinprogress"),
    "register-id-token": ({"id-token": "T"}, "registrationinprogress"),
    "authorization-request-online": ({"feature-name": "tier-2"}, "success"),
    "renew-id": ({}, "notregistered"),
    "de-register": ({}, "notregistered"),
    "authorization-code-return-online": ({}, "noreservationauthcode"),
    # this agent has no folder for files, and no way to make itself a new key
    "authorization-code-return-offline": (FILE, "platformpathinvalid"),
    "import-file": (FILE, "platformpathinvalid"),
    "rum-save-usage-all": (FILE, "platformpathinvalid"),
    "rum-save-usage-unreported": (FILE, "platformpathinvalid"),
    "rum-save-usage-days": (FILE, "platformpathinvalid"),
    "rum-save-usage-report": ({**FILE, "rum-report-key": "PID:RIG-1,SN:9RIG,REPORT:1"}, "platformpathinvalid"),
    "trust-request-save": (FILE, "platformpathinvalid"),
    "factory-reset": ({}, "notsupported"),
}
"""Every RPC of both modules: an input, and what an agent that has just been set up answers."""
FOR_COLLECTORS = {
    "close-reports",
    "import-code",
    "export-usage",
    "rum-save-usage-report",
    "ask-permission",
    "export-trust-request",
    "import-file",
    "rum-save-usage-all",
    "rum-save-usage-unreported",
    "rum-save-usage-days",
    "trust-request-save",
}
FOR_RECORDERS = {"record-usage", "ask-permission"}
"""Design, Security baseline: exec only for administrators; collectors may close, save and import; recorders record."""


def may_call(name: str, user: User) -> bool:
    return (
        user == ADMIN or (user == COLLECTOR and name in FOR_COLLECTORS) or (user == RECORDER and name in FOR_RECORDERS)
    )


@pytest.mark.parametrize("user", [ADMIN, COLLECTOR, READER, RECORDER, NOBODY], ids=lambda user: user.name)
@pytest.mark.parametrize("name", RPCS)
def test_who_may_call(rig: Rig, name: str, user: User) -> None:
    """Checklist 122: default deny, decided before the operation sees anything."""
    rig.edit({"slp-agent:recorder": [{"user": user.name, "license": ["*"]}]})
    rig.advance(10)
    before = rig.kept()
    given, code = RPCS[name]
    if may_call(name, user):
        assert rig.invoke(name, given, user)["return-code"] == code
        return
    error = error_of(lambda: rig.invoke(name, given, user))
    assert (error.type, error.tag) == ("protocol", "access-denied")
    assert rig.kept() == before


def test_the_table_covers_every_rpc(rig: Rig) -> None:
    """What is served is in the table above; what collectors and recorders get is known to the models."""
    ours = ("slp-agent", "cisco-smart-license")
    served = [node.name for node in rig.dispatch.operations(ADMIN) if node.module in ours]
    assert sorted(served) == sorted(RPCS) == sorted(name for module, name in rig.schema.rpcs if module in ours)
    for module, name in (*COLLECTING, *RECORDING):
        assert (module, name) in rig.schema.rpcs


@pytest.mark.parametrize("user", [COLLECTOR, READER, RECORDER, NOBODY], ids=lambda user: user.name)
def test_what_only_administrators_do(rig: Rig, user: User) -> None:
    """Checklist 122: locks, sessions of others and edits."""
    other = rig.session(ADMIN)
    for request in (Lock(), Unlock(), EndSession(other.id), Edit(())):
        assert error_of(rig.dispatch.submit(request, rig.session(user)).result).tag == "access-denied"
    assert rig.dispatch.sessions.find(other.id) is other


def test_no_rpc_is_absent(rig: Rig) -> None:
    """Every RPC of every module is served; what no provider serves by name is another word of the core."""
    assert not [node.path for node in rig.schema.rpcs.values() if node.path in absent(rig.schema)]
    named = {node.path for node in rig.dispatch.operations(ADMIN)}
    others = {node.path for node in rig.schema.rpcs.values()} - named
    assert others == FRONT_END
    for path in others:
        node = rig.schema.find(path)
        assert node is not None
        error = error_of(rig.dispatch.submit(Invoke(node, {}), rig.session(ADMIN)).result)
        assert (error.type, error.tag) == ("protocol", "operation-not-supported")


def test_record_usage(either: Rig) -> None:
    """The count stands from the reply on, in state and store; the last setting holds."""
    for licence in ("advantage", "Network Advantage", ADVANTAGE):
        either.advance(60)
        assert either.use(licence, 3) == {"return-code": "success"}
    assert either.usage(ADVANTAGE)["count"] == 3
    assert either.replayed() == either.state
    assert either.use("advantage", 4294967295) == {"return-code": "success"}
    assert either.usage(ADVANTAGE)["count"] == 4294967295
    assert either.use("advantage", 0, after=60) == {"return-code": "success"}
    assert either.usage(ADVANTAGE)["slp-agent:status"] == "not-in-use"
    (entry,) = either.part("slp-agent:rum-reports-closed")
    assert entry["close-reason"] == "license-stopped"


@pytest.mark.parametrize(
    ("licence", "reason"),
    [
        ("no-such", "unknown-licence"),
        ("tier-2", "not-authorized"),
        ("hseck9", "not-authorized"),
        ("ü" * 255, "unknown-licence"),
    ],
)
def test_usage_that_is_refused(either: Rig, licence: str, reason: str) -> None:
    """A normal reply with the table's code and the reason in words; nothing has changed; a notification tells it."""
    either.use("advantage", 1)
    either.advance(30)
    before = either.kept(), either.state.to_json()
    answer = either.use(licence, 2)
    assert answer["return-code"] == refusals.CODES[reason]
    assert answer["message"]
    assert (either.kept(), either.state.to_json()) == before
    (told,) = [event for event in either.told if event.name == "usage-refused"]
    assert told.tree == {"license": licence, **answer, "user": "ada"}


@pytest.mark.parametrize(
    ("given", "tag"),
    [
        ({"license": "advantage", "count": -1}, "invalid-value"),
        ({"license": "advantage", "count": 4294967296}, "invalid-value"),
        ({"license": "advantage", "count": "3"}, "invalid-value"),
        ({"license": "advantage", "count": True}, "invalid-value"),
        ({"license": "", "count": 1}, "invalid-value"),
        ({"license": "x" * 256, "count": 1}, "invalid-value"),
        ({"license": "advantage"}, "data-missing"),
        ({"count": 1}, "data-missing"),
        ({"license": "advantage", "count": 1, "more": 1}, "unknown-element"),
    ],
)
def test_input_that_breaks_the_schema(rig: Rig, given: Tree, tag: str) -> None:
    """An rpc-error, and neither a reply nor a decision (design: Refusals)."""
    before = rig.kept()
    error = error_of(lambda: rig.invoke("record-usage", given))
    assert error.tag in (tag, "missing-element")
    assert rig.kept() == before


def test_input_that_went_past_the_codec_meets_the_binding(rig: Rig) -> None:
    """The binding class refuses what a front end should have refused: an error, not a decision."""
    node = rig.schema.rpcs["slp-agent", "record-usage"]
    for given in ({"license": "advantage", "count": -1}, {"license": "advantage", "count": 1, "other": 2}):
        before = rig.kept()
        error = error_of(rig.dispatch.submit(Invoke(node, given), rig.session(ADMIN)).result)
        assert error.tag in ("invalid-value", "unknown-element")
        assert rig.kept() == before


def test_close_reports(either: Rig) -> None:
    """The keys that it gives can be fetched at once; a report that measured nothing stays open."""
    nothing = {"return-code": "success", "message": "0 reports closed", "closed-count": 0}
    assert either.invoke("close-reports", user=COLLECTOR) == nothing
    scenes.in_use(either)
    answer = either.invoke("close-reports", user=COLLECTOR)
    keys = answer["rum-report-key"]
    assert (answer["return-code"], answer["closed-count"], len(keys)) == ("success", 2, 2)
    assert answer["message"] == "2 reports closed"
    assert list(documents_of(either)) == keys
    assert either.invoke("close-reports", user=COLLECTOR) == nothing
    assert either.replayed() == either.state


def test_import_code(either: Rig) -> None:
    """Each document has its line, in the order of effect; the kernel's words stand in it."""
    scenes.closed(either)
    reports = either.stored()
    content = either.authority.file(either.policy(), either.trust_code())
    answer = either.install(content, COLLECTOR)
    assert answer["return-code"] == "success"
    assert [(one["index"], one["type"], one["return-code"]) for one in answer["document"]] == [
        (0, "trust-code", "success"),
        (1, "policy", "success"),
    ]
    either.advance(1)
    answer = either.install(either.ack(*reports), COLLECTOR)
    assert answer == {
        "return-code": "success",
        "document": [
            {
                "index": 0,
                "type": "acknowledgement",
                "return-code": "success",
                "message": "2 reports acknowledged",
            }
        ],
    }
    assert documents_of(either) == {}
    assert either.replayed() == either.state
    names = [event.name for event in either.told]
    assert names.count("reports-acknowledged") == names.count("policy-installed") == 1


def test_an_ack_that_names_nothing_rightly_beside_a_policy(either: Rig) -> None:
    """The policy is in force, and the reply's code is the ACK's (docs/licensing.md)."""
    scenes.closed(either)
    ((first, _), *_) = either.stored()
    content = either.authority.file(either.policy(), ack_of(either, ((first, "0" * 64),)))
    answer = either.install(content)
    assert answer["return-code"] == refusals.CODES["other-digest"]
    assert [one["return-code"] for one in answer["document"]] == ["success", refusals.CODES["other-digest"]]
    assert either.part("policy")["policy-name"] == "Example policy"
    assert len(documents_of(either)) == 2


def ack_of(rig: Rig, reports: tuple[tuple[int, str], ...]) -> Any:
    return Ack(rig.authority.heading(rig.device), tuple(Acknowledged(*one) for one in reports))


# Stores that fail


ACTS: dict[str, Callable[[Rig], Any]] = {
    "record-usage": lambda rig: rig.use("sessions", 7),
    "close-reports": lambda rig: rig.invoke("close-reports"),
    "import-code": lambda rig: rig.install(rig.authority.file(rig.policy())),
    "export-usage": lambda rig: rig.invoke("export-usage"),
    "export-trust-request": lambda rig: rig.invoke("export-trust-request"),
    "authorization-request-offline": lambda rig: rig.invoke(
        "authorization-request-offline", {"feature-name": "tier-2"}
    ),
    "sync": lambda rig: rig.invoke("sync"),
}


def shown(rig: Rig) -> Any:
    return rig.state.to_json(), rig.kept(), rig.xml(), dict(documents_of(rig))


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize(
    ("how", "tag", "message"),
    [
        ("full", "resource-denied", FULL),
        ("broken", "operation-failed", BROKEN),
        ("busy", "operation-failed", "a unit of work is open already: commit it or roll it back first"),
    ],
)
def test_a_store_that_fails_at_a_command(make: Make, name: str, how: str, tag: str, message: str) -> None:
    """The client hears what to do, nothing has changed, nothing was told, and the next command works."""
    store = FailingStore()
    rig = make(store=store)
    scenes.in_use(rig)
    rig.close(60)
    rig.advance(60)
    before, told = shown(rig), list(rig.told)
    setattr(store, how, True)
    error = error_of(lambda: ACTS[name](rig))
    assert (error.type, error.tag, error.message) == ("application", tag, message)
    setattr(store, how, False)
    assert shown(rig) == before
    assert rig.told == told
    assert ACTS[name](rig)["return-code"] == "success"
    assert rig.replayed() == rig.state


def test_reports_that_cannot_be_read(make: Make) -> None:
    """A read of the lists, of one entry, and an ACK that must look reports up: operation-failed with the reason."""
    store = FailingStore()
    rig = make(store=store)
    scenes.closed(rig)
    content = rig.ack()
    before = rig.state.to_json(), rig.kept()
    store.reports.broken = True
    details = f"{STATE_INFO}/slp-agent:rum-reports-closed"
    for act in (
        lambda: rig.xml(rig.select(details)),
        lambda: rig.json(rig.select(details)),
        lambda: rig.xml(rig.select(details, rum_report_key="x")),
        lambda: rig.xml(rig.select(f"{details}/slp-agent:digest")),
        lambda: rig.install(content),
    ):
        error = error_of(act)
        assert (error.type, error.tag, error.message) == ("application", "operation-failed", UNREADABLE)
    assert rig.json(rig.select(f"{STATE_INFO}/slp-agent:report-counts"))[LICENSING]["state"]["state-info"] == {
        "slp-agent:report-counts": {
            "total": "4",
            "purged": "0",
            "acknowledged": "0",
            "waiting": "0",
            "available": "2",
            "collecting": "2",
        }
    }
    store.reports.broken = False
    assert (rig.state.to_json(), rig.kept()) == before
    rig.installed(content)


def test_a_deadline_that_the_store_fails_at_is_tried_again(make: Make) -> None:
    """The sample is late, and not lost; the agent goes on."""
    store = FailingStore()
    rig = make(store=store)
    rig.use("advantage", 1)
    store.full = True
    rig.advance(900)
    assert rig.state.sampled_at < rig.now
    store.full = False
    rig.advance(5)
    assert rig.state.sampled_at == rig.now


def test_what_cannot_be_told_is_done_all_the_same(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A fault while telling others is ours to log; the caller's request is durable and answered as such."""
    tell = rig.agent.committer._tell

    def faulty(notices: Any, *given: Any) -> Any:
        if any(isinstance(notice, UsageChanged) for notice in notices):
            raise ValueError("no such leaf")
        return tell(notices, *given)

    rig.agent.committer._tell = faulty
    assert rig.use("sessions", 2) == {"return-code": "success"}
    assert rig.usage(SESSIONS)["count"] == 2
    assert "could not be told" in caplog.text
    assert "no such leaf" in caplog.text


def test_a_fault_of_ours_is_one_neutral_error(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 43: operation-failed without internals, the agent goes on."""
    committer = rig.agent.committer

    def fault(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret internals")

    with monkeypatch.context() as patch:
        patch.setattr(type(committer), "_put", fault)
        error: Error = error_of(lambda: rig.use("sessions", 2))
    assert error.tag == "operation-failed"
    assert "secret" not in error.message
    assert rig.use("sessions", 2) == {"return-code": "success"}


def test_after_the_end(rig: Rig) -> None:
    """What comes too late is refused by the loop, and nothing is recorded after the stop."""
    session = rig.session()
    node = rig.schema.rpcs["slp-agent", "record-usage"]
    rig.end()
    events = rig.kept().events
    future = rig.dispatch.submit(Invoke(node, json_codec.decode_input(RPCS["record-usage"][0], node)), session)
    with pytest.raises(LoopStoppedError):
        future.result(SECONDS)
    assert rig.kept().events == events
    rig.begin()


def test_errors_carry_no_secret(make: Make) -> None:
    """A refusal of the store names neither files nor keys."""
    store = FailingStore()
    rig = make(store=store)
    store.broken = True
    with pytest.raises(RequestError) as caught:
        rig.use("advantage", 1)
    told = json.dumps([error.message for error in caught.value.errors])
    assert "/" not in told.replace("I/O", "")
