"""Dispatch: access, reads and composition, invocations, kills, deliveries, the check at start."""

from __future__ import annotations

from collections.abc import Iterator
import logging
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.core.access import Access
from agent.core.dispatch import Dispatch, IncompleteError, Providers
from agent.core.loop import LoopStoppedError
from agent.core.requests import Content, Datastore, Edit, EditNode, EndSession, Get, Invoke, Lock, Unlock
from agent.core.schema import Node
from agent.core.select import Pick, target
from agent.core.sessions import User
from agent.core.tree import Kept, Tree
from agent.core.validate import best_validator
from agent.errors import Error, RequestError, refuse
from tests.toy.build import (
    ADMIN,
    COLLECTOR,
    NOBODY,
    READER,
    RULES,
    Settings,
    Store,
    Toy,
    Value,
    permit,
    toy_schema,
)


@pytest.fixture
def toy() -> Iterator[Toy]:
    with Toy.open() as toy:
        yield toy


def node(path: str) -> Node:
    found = toy_schema().find(path)
    assert found is not None
    return found


def rpc(name: str) -> Node:
    return toy_schema().rpcs["toy", name]


def name_edit(value: str) -> Edit:
    return Edit((EditNode(node("/toy:box"), children=(EditNode(node("/toy:box/name"), value=value),)),))


def error_of(call: Any) -> Error:
    with pytest.raises(RequestError) as caught:
        call()
    (error,) = caught.value.errors
    return error


def test_composition(toy: Toy) -> None:
    """State of several providers is joined below its schema paths, and what they gave is not touched."""
    inner = Kept({"used": 9})
    toy.usage.value = inner
    outer = toy.status.value
    toy.parts.value = [{"slot": 1}]
    session = toy.session()
    toy.dispatch.submit(name_edit("a"), session).result(5)
    tree = toy.dispatch.read(Get(), session).tree
    assert tree["toy:store"]["usage"] is inner
    assert tree["toy:status"]["toy-more:part"] == [{"slot": 1}]
    assert tree["toy:status"]["report"] is toy.reports
    assert tree["toy:status"]["uptime"] == outer["uptime"]
    assert set(outer) == {"uptime", "seen"}
    assert toy.dispatch.running.tree == {"toy:box": {"name": "a"}}


def test_absent_state_is_left_out(toy: Toy) -> None:
    for value in (toy.status, toy.report_list, toy.usage, toy.parts):
        value.value = None
    assert toy.dispatch.read(Get(), toy.session()).tree == {}


def test_what_is_taken_whole_is_the_same_object(toy: Toy) -> None:
    """A selection hands a finished subtree through, so that its kept encoding serves again."""
    toy.report_list.value = None
    whole = toy.dispatch.read(Get((Pick(node("/toy:status")),)), toy.session()).tree["toy:status"]
    assert whole is toy.status.value


def test_read_is_for_readers_only(toy: Toy, caplog: pytest.LogCaptureFixture) -> None:
    """Default deny: who has no group reads nothing, and the log says who and why."""
    for user in (ADMIN, COLLECTOR, READER):
        assert toy.dispatch.read(Get(), toy.session(user)).tree
    with caplog.at_level(logging.WARNING):
        error = error_of(lambda: toy.dispatch.read(Get(), toy.session(NOBODY)))
    assert (error.tag, error.type) == ("access-denied", "protocol")
    assert "nemo" in caplog.text
    assert "none" in caplog.text


def test_write_and_exec_need_the_right_group(toy: Toy) -> None:
    """Checklist 122: writes and RPCs that no group of the user is granted are access-denied; nothing happens."""
    for user in (COLLECTOR, READER, NOBODY):
        session = toy.session(user)
        for request in (name_edit("x"), Lock(), Unlock(), Invoke(rpc("reset"), {}), EndSession(1)):
            error = error_of(toy.dispatch.submit(request, session).result)
            assert error.tag == "access-denied"
    assert toy.calls == []
    assert toy.dispatch.running.tree == {}
    greeting = toy.dispatch.submit(Invoke(rpc("greet"), {"who": "me", "times": 1}), toy.session(COLLECTOR)).result(5)
    assert greeting == {"greeting": "hello me", "word": ["hello", "me"]}
    assert error_of(toy.dispatch.submit(Invoke(rpc("greet"), {}), toy.session(READER)).result).type == "protocol"
    toy.dispatch.authorize(toy.session(READER), "ietf-netconf", "close-session")
    toy.dispatch.authorize(toy.session(NOBODY), "ietf-netconf", "close-session")
    error = error_of(lambda: toy.dispatch.authorize(toy.session(NOBODY), "ietf-netconf", "get"))
    assert error.tag == "access-denied"


def test_recorder_like_group() -> None:
    """A group may be granted one RPC without reading anything."""
    rules = {"read-default": "deny", "exec-default": "deny", "rule-list": [permit("g", "recorder", rpc_name="greet")]}
    access = Access(toy_schema(), rules)
    user = User("app", frozenset({"recorder"}))
    access.check_exec(user, "toy", "greet")
    box = {"toy:box": {"name": "x"}}
    assert access.readable(user, box, None) == {}
    for call in (
        lambda: access.check_exec(user, "toy", "reset"),
        lambda: access.check_exec(user, "ietf-netconf", "get"),
        lambda: access.check_change(user, {}, box),
    ):
        assert error_of(call).tag == "access-denied"


def test_invoke(toy: Toy) -> None:
    session = toy.session()
    assert toy.dispatch.submit(Invoke(rpc("reset"), {}), session).result(5) is None
    assert toy.calls == [("reset", {})]


def test_declared_absent(toy: Toy) -> None:
    """Checklist 32: an RPC that is declared absent answers operation-not-supported."""
    error = error_of(toy.dispatch.submit(Invoke(rpc("absent"), {}), toy.session()).result)
    assert error.tag == "operation-not-supported"


def test_internal_failure_is_neutral(toy: Toy, caplog: pytest.LogCaptureFixture) -> None:
    """Checklist 43: a handler that breaks gives operation-failed without its reason; the log has the traceback."""
    session = toy.session()
    with caplog.at_level(logging.ERROR):
        error = error_of(toy.dispatch.submit(Invoke(rpc("fail"), {}), session).result)
    assert error.tag == "operation-failed"
    assert "secret" not in error.message
    assert "/secret/path" in caplog.text
    assert toy.dispatch.submit(Invoke(rpc("reset"), {}), session).result(5) is None


def test_a_broken_state_provider_is_neutral(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Tree:
        raise KeyError("/secret")

    monkeypatch.setattr(toy.status, "read", broken)
    error = error_of(lambda: toy.dispatch.read(Get(), toy.session()))
    assert error.tag == "operation-failed"
    assert "secret" not in error.message


def test_kill(toy: Toy) -> None:
    """Checklist 106: own and unknown ids are invalid-value; another id ends that session alone and frees its lock."""
    one, two, three = toy.session(), toy.session(), toy.session()
    toy.dispatch.submit(Lock(), two).result(5)
    for session_id in (one.id, 4294967295):
        error = error_of(toy.dispatch.submit(EndSession(session_id), one).result)
        assert error.tag == "invalid-value"
    toy.dispatch.submit(EndSession(two.id), one).result(5)
    assert toy.ended == ["killed"]
    assert toy.dispatch.sessions.all() == (one, three)
    toy.dispatch.submit(Lock(), three).result(5)
    toy.dispatch.closed(two, "killed").result(5)
    assert toy.dispatch.datastores.locks.holder(Datastore.RUNNING) is three


def test_closed_frees_the_lock(toy: Toy) -> None:
    """Checklist 105: a session that ends, in whatever way, releases its lock."""
    session = toy.session()
    toy.dispatch.submit(Lock(), session).result(5)
    toy.dispatch.closed(session, "dropped").result(5)
    assert toy.dispatch.datastores.locks.held == {}
    assert toy.dispatch.sessions.find(session.id) is None


def test_delivery(toy: Toy) -> None:
    """Marks reach the provider of their list, each once, and only from readers with the collector right."""
    report = node("/toy:status/report")
    for user, told in ((READER, []), (COLLECTOR, ["a", "b"])):
        session = toy.session(user)
        data = toy.dispatch.read(Get(), session)
        data.marks += [(report, "a"), (report, "b"), (report, "a")]
        toy.dispatch.delivered(data, session).result(5)
        assert toy.report_list.marks == told
    empty = toy.dispatch.read(Get(), session)
    assert toy.dispatch.delivered(empty, session).result(5) is None


def test_narrow() -> None:
    """A target is cut out of its parent; what is not there is None."""
    with Toy.open() as toy:
        toy.parts.value = [{"slot": 1, "label": "fan"}]
        toy.reports.add("r", group="g", more={"text": "t"})
        session = toy.session()

        def at(*path: tuple[str, tuple[Any, ...] | None]) -> Any:
            steps = [(node(name), keys) for name, keys in path]
            data = toy.dispatch.read(Get(target(steps)), session).narrow(steps)
            return None if data is None else data.tree

        status, part, report = "/toy:status", "/toy:status/toy-more:part", "/toy:status/report"
        assert at((status, None), (f"{status}/uptime", None)) == {"uptime": "12345678901"}
        assert at((status, None), (part, (1,))) == {"toy-more:part": [{"slot": 1, "label": "fan"}]}
        assert at((status, None), (part, (1,)), (f"{part}/label", None)) == {"label": "fan"}
        assert at((status, None), (part, (2,))) is None
        assert at((status, None), (part, (1,)), (f"{part}/slot", None)) == {"slot": 1}
        assert at((status, None), (f"{status}/seen", ("b",))) == {"seen": ["b"]}
        assert at((status, None), (f"{status}/seen", ("c",))) is None
        assert at((status, None), (report, ("r",)), (f"{report}/group", None)) == {"group": "g"}
        assert at((status, None), (report, ("r",)), (f"{report}/more", None), (f"{report}/more/text", None)) == {
            "text": "t"
        }
        assert at((status, None), (report, ("q",)), (f"{report}/group", None)) is None
        assert at(("/toy:box", None)) is None
        whole = toy.dispatch.read(Get(), session)
        assert whole.narrow(()) is whole
        steps = [(node(status), None), (node(report), ("r",)), (node(f"{report}/document"), None)]
        narrowed = whole.narrow(steps)
        assert narrowed is not None
        assert narrowed.marks == [(node(report), ("row", "r"))]


def test_content(toy: Toy) -> None:
    """Content picks the half of the data; a configuration read does not ask state providers."""
    reads = toy.status.reads
    assert toy.dispatch.read(Get(content=Content.CONFIG), toy.session()).tree == {}
    assert toy.status.reads == reads


PROVIDERS = {
    "config": {"/toy:box": Settings(), "/toy:need": Settings(), "/toy:store": Settings()},
    "state": {"/toy:status": Value(), "/toy:store/usage": Value()},
    "operations": dict.fromkeys(
        ("/toy:greet", "/toy:reset", "/toy:fail", "/toy-more:more"), lambda tree, session: None
    ),
    "notifications": frozenset({"/toy:greeted"}),
    "absent": frozenset({"/toy:absent"}),
}


def built(**changes: Any) -> Dispatch:
    return Dispatch(
        toy_schema(),
        clock=SystemClock(),
        access=Access(toy_schema(), RULES),
        providers=Providers(**{**PROVIDERS, **changes}),
        validator=best_validator(toy_schema()),
        begin=Store().begin,
    )


def without(kind: str, path: str) -> dict[str, Any]:
    served: Any = PROVIDERS[kind]
    if isinstance(served, frozenset):
        return {kind: served - {path}}
    return {kind: {name: value for name, value in served.items() if name != path}}


def test_start_with_all_served() -> None:
    assert built().running.tree == {}


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("config", "/toy:box"),
        ("state", "/toy:status"),
        ("state", "/toy:store/usage"),
        ("operations", "/toy:greet"),
        ("operations", "/toy-more:more"),
        ("notifications", "/toy:greeted"),
        ("absent", "/toy:absent"),
    ],
)
def test_start_stops_for_what_nobody_serves(kind: str, path: str) -> None:
    """A node, RPC or notification without implementation stops the start and is named."""
    with pytest.raises(IncompleteError, match=path):
        built(**without(kind, path))
    declared: Any = PROVIDERS["absent"]
    changes = without(kind, path)
    changes["absent"] = changes.get("absent", declared) | {path}
    built(**changes)


def test_start_names_only_the_roots_of_what_is_missing() -> None:
    with pytest.raises(IncompleteError) as caught:
        built(config={"/toy:store": Settings(), "/toy:box/entry": Settings(), "/toy:need": Settings()}, state={})
    message = str(caught.value)
    assert "/toy:status," in message
    assert "/toy:box/name" in message
    assert "/toy:box/entry" not in message
    assert "/toy:status/uptime" not in message


def test_start_stops_for_what_is_not_in_the_models() -> None:
    with pytest.raises(IncompleteError, match="/toy:typo"):
        built(notifications=frozenset({"/toy:greeted", "/toy:typo"}))
    state: Any = PROVIDERS["state"]
    with pytest.raises(ValueError, match="below a list"):
        built(state={**state, "/toy:status/report/more": Value()})


def test_after_stop_work_is_refused(toy: Toy) -> None:
    session = toy.session()
    toy.dispatch.stop()
    with pytest.raises(LoopStoppedError):
        toy.dispatch.submit(Invoke(rpc("reset"), {}), session).result(5)
    assert toy.dispatch.read(Get(), session).tree


def test_refusal_of_an_operation_passes_through(toy: Toy) -> None:
    def grumpy(tree: Tree, session: Any) -> Tree | None:
        raise refuse("resource-denied", "not today")

    with Toy.open(operations={"/toy:reset": grumpy}) as other:
        error = error_of(other.dispatch.submit(Invoke(rpc("reset"), {}), other.session()).result)
    assert (error.tag, error.message) == ("resource-denied", "not today")
