"""What the datastores tell others, whom they ask, and what a start makes of documents that it cannot take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agent.codec import xml
from agent.core.datastore import StoredConfigurationError
from agent.core.datastores import STARTUP, TRIAL
from agent.core.requests import Commit, Copy, Datastore, Delete, Discard, Edit, Get, Inline, Url, Validate
from agent.core.sessions import Session
from agent.core.trial import Changed, TrialEvent
from agent.errors import RequestError, refuse
from tests.toy.build import ADMIN, Store, Toy

RUNNING, CANDIDATE, KEPT = Datastore.RUNNING, Datastore.CANDIDATE, Datastore.STARTUP
INVALID = b'{"toy:box":{"low":5,"high":3}}'


@pytest.fixture
def toy() -> Iterator[Toy]:
    with Toy.open(startup=True, factory={"toy:box": {"name": "factory"}}) as toy:
        yield toy


@pytest.fixture
def session(toy: Toy) -> Session:
    return toy.session()


def named(toy: Toy, name: str) -> Any:
    text = f'<config><box xmlns="urn:example:toy"><name>{name}</name></box></config>'
    return xml.decode_config(xml.parse(text.encode()), toy.schema)


def ask(toy: Toy, session: Session, *requests: Any) -> None:
    for request in requests:
        toy.dispatch.submit(request, session).result(5)


def box(name: str) -> dict[str, Any]:
    return {"toy:box": {"name": name}}


def test_every_change_is_told_once_it_is_durable(toy: Toy, session: Session) -> None:
    """RFC 6470: datastore, session, tree before and after; confirmed commits after the change that they made."""
    told: list[Any] = []

    def watcher(event: Changed | TrialEvent) -> None:
        told.append(event)
        if isinstance(event, Changed) and event.datastore is RUNNING:
            assert toy.dispatch.running.tree is event.new
            assert toy.store.config is not None
        raise RuntimeError("a watcher that fails")

    toy.dispatch.datastores.watch(watcher)
    ask(toy, session, Edit(named(toy, "a")))
    assert told == [Changed(RUNNING, session, {}, box("a"))]
    told.clear()
    ask(toy, session, Edit(named(toy, "b"), CANDIDATE), Commit(confirmed=True, timeout=7), Commit())
    assert told == [
        Changed(CANDIDATE, session, box("a"), box("b")),
        Changed(RUNNING, session, box("a"), box("b")),
        TrialEvent("start", session, 7),
        TrialEvent("complete", session),
    ]
    told.clear()
    ask(toy, session, Copy(RUNNING, KEPT), Delete(KEPT), Edit(named(toy, "c"), CANDIDATE), Discard())
    assert [(event.datastore, event.new) for event in told] == [
        (KEPT, box("b")), (KEPT, {}), (CANDIDATE, box("c")), (CANDIDATE, box("b")),
    ]  # fmt: skip
    told.clear()
    ask(toy, session, Edit(named(toy, "b")), Edit(named(toy, "b"), CANDIDATE), Discard(), Commit(), Validate(RUNNING))
    ask(toy, session, Edit(named(toy, "x"), test="test-only"))
    assert told == []


def test_every_change_is_asked_for_before_it_is_made(toy: Toy, session: Session) -> None:
    """Checklist 122: access control sees each operation's tree before and after; a refusal leaves all as it was.

    Saving running as startup and dropping candidate's changes need the right to the operation only.
    """
    asked: list[tuple[Any, Any]] = []

    def authorize(who: Session, old: Any, new: Any) -> None:
        assert who is session
        asked.append((old, new))
        raise refuse("access-denied", "not this")

    datastores = toy.dispatch.datastores
    ask(toy, session, Edit(named(toy, "a")), Copy(RUNNING, KEPT), Edit(named(toy, "b"), CANDIDATE))
    datastores._authorize = authorize
    cases: list[tuple[Any, Any, Any]] = [
        (Edit(named(toy, "z")), box("a"), box("z")),
        (Edit(named(toy, "z"), test="test-only"), box("a"), box("z")),
        (Edit(named(toy, "z"), CANDIDATE), box("b"), box("z")),
        (Edit(named(toy, "z"), KEPT), box("a"), box("z")),
        (Copy(CANDIDATE, RUNNING), box("a"), box("b")),
        (Copy(CANDIDATE, KEPT), box("a"), box("b")),
        (Copy(Inline(named(toy, "i")), RUNNING), box("a"), box("i")),
        (Copy(Inline(named(toy, "i")), KEPT), box("a"), box("i")),
        (Copy(RUNNING, CANDIDATE), box("b"), box("a")),
        (Delete(KEPT), box("a"), {}),
        (Commit(), box("a"), box("b")),
        (Commit(confirmed=True), box("a"), box("b")),
    ]
    for request, old, new in cases:
        with pytest.raises(RequestError) as caught:
            ask(toy, session, request)
        assert caught.value.errors[0].tag == "access-denied"
        assert asked.pop() == (old, new), request
    with pytest.raises(RequestError, match="not this"):
        toy.dispatch.loop.submit(lambda: datastores.reset(session)).result(5)
    assert asked == [(box("a"), box("factory"))]
    asked.clear()
    kept = (datastores.tree(RUNNING), datastores.tree(CANDIDATE), datastores.tree(KEPT), datastores.trial)
    assert kept == (box("a"), box("b"), box("a"), None)
    ask(toy, session, Copy(RUNNING, KEPT), Discard(), Edit(named(toy, "a")), Validate(CANDIDATE))
    assert (datastores.tree(KEPT), datastores.tree(CANDIDATE), asked) == (box("a"), box("a"), [])


def test_saving_running_needs_no_right_to_its_nodes(toy: Toy, session: Session) -> None:
    """RFC 8341 section 3.2.6: to startup all of running goes, whoever may copy; elsewhere what the user may read."""
    datastores = toy.dispatch.datastores
    ask(toy, session, Edit(named(toy, "a")), Edit(named(toy, "b"), CANDIDATE))

    def hidden(who: Session, tree: Any) -> Any:
        assert who is session
        return {}

    def authorize(who: Session, old: Any, new: Any) -> None:
        assert new == {}

    datastores._readable, datastores._authorize = hidden, authorize
    ask(toy, session, Copy(RUNNING, KEPT))
    assert datastores.tree(KEPT) == box("a")
    ask(toy, session, Copy(CANDIDATE, KEPT))
    assert datastores.tree(KEPT) == {}
    ask(toy, session, Copy(RUNNING, CANDIDATE))
    assert (datastores.tree(CANDIDATE), datastores.tree(RUNNING)) == ({}, box("a"))


def test_reads_of_each_datastore(toy: Toy, session: Session) -> None:
    """State belongs to none and to operational; intended is running; the factory default can be read."""
    ask(toy, session, Edit(named(toy, "a")), Edit(named(toy, "b"), CANDIDATE), Copy(RUNNING, KEPT))
    expected = {
        RUNNING: "a", CANDIDATE: "b", KEPT: "a", Datastore.INTENDED: "a", Datastore.OPERATIONAL: "a",
        Datastore.FACTORY_DEFAULT: "factory",
    }  # fmt: skip
    for datastore, name in expected.items():
        tree = toy.dispatch.read(Get(datastore=datastore), session).tree
        assert tree["toy:box"]["name"] == name
        assert ("toy:status" in tree) == (datastore is Datastore.OPERATIONAL), datastore
    assert "toy:status" in toy.dispatch.read(Get(), session).tree


def test_without_startup_or_files() -> None:
    """What is not offered is refused by name, whoever asks."""
    with Toy.open(startup=False) as toy:
        session = toy.session(ADMIN)
        for request, tag in (
            (Copy(RUNNING, KEPT), "invalid-value"),
            (Copy(KEPT, RUNNING), "invalid-value"),
            (Delete(KEPT), "invalid-value"),
            (Copy(RUNNING, Url("file:///x")), "operation-not-supported"),
            (Validate(Url("file:///x")), "operation-not-supported"),
            (Edit(named(toy, "a"), Datastore.OPERATIONAL), "invalid-value"),
            (Edit(named(toy, "a"), Datastore.FACTORY_DEFAULT), "invalid-value"),
        ):
            with pytest.raises(RequestError) as caught:
                ask(toy, session, request)
            assert caught.value.errors[0].tag == tag, request
        with pytest.raises(RequestError):
            toy.dispatch.read(Get(datastore=KEPT), session)


@pytest.mark.parametrize("name", [TRIAL, STARTUP])
@pytest.mark.parametrize(("document", "told"), [(b"{", "not JSON"), (b"[]", "not a JSON object"), (INVALID, "fit")])
def test_documents_that_cannot_be_taken_stop_the_start(name: str, document: bytes, told: str) -> None:
    """The message says which it is; nothing has been written then."""
    store = Store(config=b'{"toy:box":{"name":"a"}}', documents={name: document})
    with pytest.raises(StoredConfigurationError, match=told):
        Toy.open(store=store, startup=True)
    assert (store.commits, store.documents) == (0, {name: document})


def test_a_start_that_fails_to_go_back_goes_back_at_the_next() -> None:
    """A full disk: the document stays, so the next start does it."""
    store = Store(config=b'{"toy:box":{"name":"new"}}', documents={TRIAL: b'{"toy:box":{"name":"old"}}'}, broken=True)
    with pytest.raises(OSError, match="space"):
        Toy.open(store=store)
    store.broken = False
    with Toy.open(store=store) as toy:
        assert toy.dispatch.running.tree == box("old")
    assert store.documents == {}
