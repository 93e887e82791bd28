"""The running datastore: locks, atomic edits through store and providers, constraints, when, restart."""

from __future__ import annotations

from collections.abc import Iterator
import json

import pytest

from agent.codec import xml
from agent.core.datastore import StoredConfigurationError
from agent.core.path import to_instance_identifier
from agent.core.requests import Edit, Lock, Unlock
from agent.core.sessions import Session
from agent.errors import Error, RequestError
from tests.toy.build import ADMIN, Toy

T = 'xmlns="urn:example:toy"'


@pytest.fixture
def toy() -> Iterator[Toy]:
    with Toy.open() as toy:
        yield toy


def edit(toy: Toy, content: str, session: Session | None = None) -> None:
    element = xml.parse(f"<config>{content}</config>".encode())
    request = Edit(xml.decode_config(element, toy.schema))
    toy.dispatch.submit(request, session or toy.session()).result(5)


def box(toy: Toy, content: str) -> None:
    edit(toy, f"<box {T}>{content}</box>")


def errors(toy: Toy, content: str) -> tuple[Error, ...]:
    before, stored, commits = toy.dispatch.running.tree, toy.store.config, toy.store.commits
    with pytest.raises(RequestError) as caught:
        edit(toy, content)
    assert toy.dispatch.running.tree is before
    assert (toy.store.config, toy.store.commits) == (stored, commits)
    return caught.value.errors


def test_lock_rules(toy: Toy) -> None:
    """Checklist 102, 104: one holder; others get lock-denied with its id, in-use on edit, and cannot unlock."""
    one, two = toy.session(), toy.session()
    toy.dispatch.submit(Lock(), one).result(5)
    for session in (one, two):
        with pytest.raises(RequestError) as caught:
            toy.dispatch.submit(Lock(), session).result(5)
        error = caught.value.errors[0]
        assert (error.tag, dict(error.info)) == ("lock-denied", {"session-id": str(one.id)})
    with pytest.raises(RequestError) as caught:
        edit(toy, f"<box {T}><size>1</size></box>", two)
    assert caught.value.errors[0].tag == "in-use"
    with pytest.raises(RequestError) as caught:
        toy.dispatch.submit(Unlock(), two).result(5)
    assert caught.value.errors[0].tag == "operation-failed"
    edit(toy, f"<box {T}><size>1</size></box>", one)
    toy.dispatch.submit(Unlock(), one).result(5)
    with pytest.raises(RequestError) as caught:
        toy.dispatch.submit(Unlock(), one).result(5)
    assert caught.value.errors[0].tag == "operation-failed"
    edit(toy, f"<box {T}><size>2</size></box>", two)


def test_order_of_a_commit(toy: Toy) -> None:
    """Prepared, durable, then applied; what the store holds is the new tree."""
    box(toy, "<name>a</name><size>1</size>")
    assert toy.settings.told == ["prepare", "apply"]
    assert json.loads(toy.store.config or b"") == {"toy:box": {"name": "a", "size": 1}}
    assert toy.dispatch.running.version == 1


def test_only_touched_providers_prepare(toy: Toy) -> None:
    """Providers of subtrees that did not change are not asked, and an edit that changes nothing writes nothing."""
    box(toy, "<name>a</name>")
    toy.settings.told.clear()
    box(toy, "<name>a</name>")
    assert (toy.settings.told, toy.store.commits, toy.dispatch.running.version) == ([], 1, 1)
    edit(toy, f"<box {T}><name>b</name></box><store {T}><limit>1</limit></store>")
    assert toy.settings.told == ["prepare", "prepare", "apply", "apply"]


def test_a_provider_refuses(toy: Toy) -> None:
    """Checklist 79: a refusal by a provider rolls back the unit of work, aborts those before it, changes nothing."""
    box(toy, "<name>a</name>")
    toy.settings.told.clear()
    (error,) = errors(toy, f"<box {T}><name>forbidden</name></box>")
    assert (error.tag, error.app_tag) == ("operation-failed", "toy-forbidden")
    assert toy.settings.told == []
    assert toy.store.rollbacks == 1


def test_a_full_disk(toy: Toy) -> None:
    """A commit that fails is a neutral error; the prepared change is aborted and never visible."""
    toy.store.broken = True
    (error,) = errors(toy, f"<box {T}><name>a</name></box>")
    assert error.tag == "operation-failed"
    assert "space" not in error.message
    assert toy.settings.told == ["prepare", "abort"]
    toy.store.broken = False
    box(toy, "<name>a</name>")
    assert toy.dispatch.running.tree == {"toy:box": {"name": "a"}}


@pytest.mark.parametrize(
    ("content", "tag", "app_tag", "path"),
    [
        ("<box {T}><low>5</low><high>3</high></box>", "operation-failed", "must-violation", "/toy:box/high"),
        (
            "<box {T}><entry><id>a</id><address>x</address><port>1</port></entry>"
            "<entry><id>b</id><address>x</address><port>1</port></entry></box>",
            "operation-failed",
            "data-not-unique",
            "/toy:box/entry[id='b']",
        ),
        (
            "<box {T}><tag>1</tag><tag>2</tag><tag>3</tag><tag>4</tag><tag>5</tag></box>",
            "operation-failed",
            "too-many-elements",
            "/toy:box/tag",
        ),
        (
            "<need {T}><left>x</left><few><k>1</k></few></need>",
            "operation-failed",
            "too-few-elements",
            "/toy:need/few",
        ),
        ("<box {T}><favourite>x</favourite></box>", "data-missing", "instance-required", "/toy:box/favourite"),
        (
            "<need {T}><few><k>1</k></few><few><k>2</k></few></need>",
            "data-missing",
            "mandatory-choice",
            "/toy:need",
        ),
        ("<box {T}><pair><a>x</a><b>1</b></pair></box>", "data-missing", None, "/toy:box/pair[a='x'][b='1']/value"),
    ],
)
def test_constraints(toy: Toy, content: str, tag: str, app_tag: str | None, path: str) -> None:
    """Checklist 88: the error of RFC 7950 section 15 for each kind of constraint, with its path."""
    error = errors(toy, content.replace("{T}", T))[0]
    assert (error.tag, error.app_tag, to_instance_identifier(error.path)) == (tag, app_tag, path)
    if app_tag == "mandatory-choice":
        assert dict(error.info) == {"missing-choice": "one"}
    if app_tag == "must-violation":
        assert error.message == "high must not be below low"


def test_several_violations_are_all_told(toy: Toy) -> None:
    """Checklist 41: several errors stand in one answer."""
    found = errors(toy, f"<need {T}/>")
    assert {error.app_tag for error in found} == {"mandatory-choice", "too-few-elements"}


def test_when_refuses_what_is_new(toy: Toy) -> None:
    """Checklist 89: a node whose condition is false is refused."""
    (error,) = errors(toy, f"<box {T}><behind>x</behind></box>")
    assert (error.tag, to_instance_identifier(error.path)) == ("unknown-element", "/toy:box/behind")
    assert dict(error.info) == {"bad-element": "behind"}


def test_when_removes_what_no_longer_may_be(toy: Toy) -> None:
    """Checklist 89: a node that stood there goes when an edit turns its condition false (RFC 7950 section 8.3.2)."""
    box(toy, "<gate>true</gate><behind>x</behind>")
    (error,) = errors(toy, f"<box {T}><gate>false</gate><behind>y</behind></box>")
    assert error.tag == "unknown-element"
    box(toy, "<gate>false</gate>")
    assert toy.dispatch.running.tree == {"toy:box": {"gate": False}}
    assert json.loads(toy.store.config or b"") == {"toy:box": {"gate": False}}


def test_defaults_are_not_stored(toy: Toy) -> None:
    """Validation adds nothing to the tree: what was not set is not there (basic mode explicit)."""
    box(toy, "<name>a</name>")
    assert toy.dispatch.running.tree == {"toy:box": {"name": "a"}}
    box(toy, "<size>10</size>")
    assert toy.dispatch.running.tree == {"toy:box": {"name": "a", "size": 10}}


def test_a_reader_keeps_its_snapshot(toy: Toy) -> None:
    """An edit makes a new tree; the one that a reader holds stays as it was, and shares what did not change."""
    box(toy, "<name>a</name><entry><id>e</id></entry><plain><x>1</x></plain>")
    before = toy.dispatch.running.tree
    box(toy, "<name>b</name>")
    after = toy.dispatch.running.tree
    assert before["toy:box"]["name"] == "a"
    assert after["toy:box"]["entry"] is before["toy:box"]["entry"]


def test_restart() -> None:
    """What was stored is running again."""
    stored = b'{"toy:box":{"turn":["b","a"],"plain":{"x":"1"}}}'
    with Toy.open(stored=stored) as toy:
        assert toy.dispatch.running.tree == json.loads(stored)
        box(toy, "<turn>c</turn>")
        again = toy.store.config
    with Toy.open(stored=again) as toy:
        assert toy.dispatch.running.tree["toy:box"]["turn"] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (b'{"toy:box":', "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not JSON"),
        (b'{"toy:box":{"size":101}}', "percentage"),
        (b'{"toy:gone":1}', "gone"),
    ],
)
def test_damaged_configuration(stored: bytes, told: str) -> None:
    """A stored configuration that cannot be used stops the start with the reason."""
    with pytest.raises(StoredConfigurationError, match=told):
        Toy.open(stored=stored)


def test_large_edit_is_linear(toy: Toy) -> None:
    """Thousands of entries in one edit, and one more among them, do not take quadratic time."""
    many = "".join(f"<entry><id>{number}</id></entry>" for number in range(4000))
    box(toy, many)
    box(toy, "<entry><id>77</id><port>1</port></entry>")
    assert len(toy.dispatch.running.tree["toy:box"]["entry"]) == 4000
    assert toy.dispatch.running.tree["toy:box"]["entry"][77] == {"id": "77", "port": 1}


def test_the_user_is_shown_to_the_one_who_waits(toy: Toy) -> None:
    toy.dispatch.submit(Lock(), toy.session(ADMIN)).result(5)
    with pytest.raises(RequestError, match="ada"):
        toy.dispatch.submit(Lock(), toy.session()).result(5)
