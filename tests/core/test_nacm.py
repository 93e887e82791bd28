"""Access rules on the toy models: what is decided, cut away and counted (RFC 8341 section 3.4; checklist 122)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
import logging
from typing import Any

from lxml import etree
import pytest

from agent.codec import xml
from agent.core.access import Access, Denied
from agent.core.data import Data
from agent.core.guard import GuardedRows
from agent.core.nacm import WORTH_AN_INDEX, Rights
from agent.core.requests import Content, Datastore, Edit, EditNode, EndSession, Get, Invoke
from agent.core.schema import Node
from agent.core.select import Selection, prune
from agent.core.sessions import BURST, User
from agent.core.tree import Kept, Row, Tree
from agent.core.types import InvalidValue
from agent.errors import Error, RequestError, Step
from tests.toy.build import Reports, Toy, toy_schema

T = 'xmlns="urn:example:toy"'
ANN = User("ann", frozenset({"ops"}))
SCHEMA = toy_schema(netconf=True)


def rule(action: str = "permit", **leaves: str) -> Tree:
    return {"name": f"r{len(leaves)}", "action": action} | {
        leaf.replace("_", "-"): value for leaf, value in leaves.items()
    }


def access(*rules: Tree, group: str = "ops", **leaves: Any) -> Access:
    """One rule-list for group ops; leaves are those of the nacm container."""
    named = [{**one, "name": f"r{index}"} for index, one in enumerate(rules)]
    nacm: Tree = {"rule-list": [{"name": "list", "group": [group], "rule": named}]}
    return Access(SCHEMA, nacm | {leaf.replace("_", "-"): value for leaf, value in leaves.items()})


def selected(filter_: str) -> Selection:
    return xml.decode_filter(etree.fromstring(f"<filter>{filter_}</filter>"), SCHEMA)


def seen(rules: Access, tree: Tree, filter_: str | None = None, user: User = ANN) -> Any:
    """What a read shows, as JSON has it."""
    selection = None if filter_ is None else selected(filter_)
    cut = prune(rules.readable(user, tree, selection), selection, SCHEMA.root)
    return plain(cut)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {member: plain(inner) for member, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if hasattr(value, "pages"):
        return [plain(row.tree if isinstance(row.tree, dict) else row.tree()) for page in value.pages() for row in page]
    return value


def denied(rules: Access, old: Tree, new: Tree, user: User = ANN) -> tuple[str, str] | None:
    """What the change is denied for: what was asked, and error-path."""
    try:
        rules.check_change(user, old, new)
    except Denied as refusal:
        (error,) = refusal.errors
        assert (error.type, error.tag) == ("application", "access-denied")
        return refusal.what.split()[0], "/".join(
            step.name + "".join(f"[{key}={value}]" for key, value in step.keys) for step in error.path
        )
    return None


def node(path: str) -> Node:
    found = SCHEMA.find(path)
    assert found is not None
    return found


BOX: Tree = {
    "toy:box": {
        "name": "b",
        "size": 3,
        "tag": ["red", "green"],
        "plain": {"x": "1", "deep": {"y": "2"}},
        "present": {"x": "p"},
        "ship": "boat",
        "crew": {"captain": "ahab"},
        "toy-more:name": "more",
        "entry": [
            {"id": "a", "address": "1", "detail": {"note": "na"}, "sub": [{"n": 1, "text": "t1"}, {"n": 2}]},
            {"id": "b", "address": "2", "toy-more:weight": "1.5"},
        ],
        "pair": [{"a": "x", "b": 1, "value": "v"}, {"a": "y", "b": 2, "value": "w"}],
    }
}


# Protocol operations (section 3.4.4)


def test_exec_defaults() -> None:
    """Checklist 122, exec: without a rule exec-default decides; kill-session and delete-config are denied anyway."""
    for default, allowed in (("permit", True), ("deny", False)):
        rules = access(exec_default=default)
        assert rules.permits_exec(ANN, "toy", "greet") is allowed
        assert not rules.permits_exec(ANN, "ietf-netconf", "kill-session")
        assert not rules.permits_exec(ANN, "ietf-netconf", "delete-config")
        assert rules.permits_exec(ANN, "ietf-netconf", "close-session")
    assert not access(rule("deny")).permits_exec(ANN, "toy", "greet")
    assert access(rule("deny")).permits_exec(ANN, "ietf-netconf", "close-session")
    assert access(rule()).permits_exec(ANN, "ietf-netconf", "kill-session")


def test_the_first_rule_that_matches_decides() -> None:
    """Checklist 122, rule order: within a list and over lists; module, name, kind and operation must all match."""
    rules = access(
        rule("deny", module_name="toy-more", rpc_name="*"),
        rule("deny", rpc_name="reset", access_operations="read update"),
        rule("deny", notification_name="reset"),
        rule("deny", path="/toy:box"),
        rule("permit", rpc_name="reset", access_operations="exec create"),
        rule("deny", module_name="toy"),
        exec_default="permit",
    )
    verdicts = {name: rules.permits_exec(ANN, module, name) for module, name in SCHEMA.rpcs if module != "ietf-netconf"}
    assert verdicts == {
        "greet": False,
        "reset": True,
        "fail": False,
        "absent": False,
        "more": False,
        "get-schema": True,
        "get-data": True,
        "edit-data": True,
        "partial-lock": True,
        "partial-unlock": True,
        "factory-reset": False,
        "create-subscription": True,
    }
    lists = [
        {"name": "1", "group": ["other"], "rule": [rule("deny")]},
        {"name": "2", "group": ["none", "ops"], "rule": [rule("permit", rpc_name="greet")]},
        {"name": "3", "group": ["*"], "rule": [rule("deny")]},
    ]
    several = Access(SCHEMA, {"rule-list": lists})
    assert several.permits_exec(ANN, "toy", "greet")
    assert not several.permits_exec(ANN, "toy", "reset")


def test_groups() -> None:
    """Checklist 122: groups come from the configuration and from the transport; the latter can be switched off."""
    groups = {"group": [{"name": "ops", "user-name": ["bob", "ann"]}, {"name": "empty"}]}
    greeting = (rule("permit", rpc_name="greet"),)
    bob, eve = User("bob", frozenset()), User("eve", frozenset({"ops"}))
    rules = access(*greeting, exec_default="deny", groups=groups)
    assert [rules.permits_exec(user, "toy", "greet") for user in (bob, eve)] == [True, True]
    assert rules.groups(bob) == rules.groups(eve) == {"ops"}
    rules = access(*greeting, exec_default="deny", groups=groups, enable_external_groups=False)
    assert [rules.permits_exec(user, "toy", "greet") for user in (bob, eve)] == [True, False]
    # "*" is every group: who is in none has no rules at all
    rules = access(*greeting, group="*", exec_default="deny")
    assert rules.permits_exec(eve, "toy", "greet")
    assert not rules.permits_exec(User("x", frozenset()), "toy", "greet")


def test_disabled_and_recovery() -> None:
    """Checklist 122, recovery session: no rule holds it, nor anybody where enable-nacm is false."""
    root = User("root", frozenset(), recovery=True)
    everything_denied = {"read_default": "deny", "write_default": "deny", "exec_default": "deny"}
    for rules, user in (
        (access(rule("deny"), **everything_denied), root),
        (access(rule("deny"), **everything_denied, enable_nacm=False), ANN),
    ):
        rules.check_exec(user, "ietf-netconf", "kill-session")
        assert rules.readable(user, BOX, None) is BOX
        assert denied(rules, {}, BOX, user) is None
        assert rules.permits_notification(user, node("/toy:greeted"))
    assert access(rule("deny"), enable_external_groups=False).groups(User("r", frozenset({"admin"}), True)) == {"admin"}


# Reads (sections 3.2.4 and 3.4.5)


def test_what_is_readable_passes_as_the_same_object() -> None:
    """Checklist 122, read: no copy where no rule cuts."""
    tree = {**BOX, "toy:status": Kept({"seen": ["x"]})}
    assert access(read_default="permit").readable(ANN, tree, None) is tree
    cut = access(rule("deny", path="/toy:box/plain/x")).readable(ANN, tree, None)
    assert cut["toy:status"] is tree["toy:status"]
    assert cut["toy:box"]["entry"] is tree["toy:box"]["entry"]
    assert cut["toy:box"]["plain"] == {"deep": {"y": "2"}}
    missed = access(rule("deny", path="/toy:box/entry[id='none']")).readable(ANN, tree, None)
    assert missed is tree


def test_a_denied_node_takes_its_descendants_with_it() -> None:
    """Checklist 122, read: pruned silently; a rule for a deeper node does not bring it back without its ancestors."""
    rules = access(
        rule("permit", path="/toy:box/plain/deep"),
        rule("deny", path="/toy:box/plain"),
        rule("deny", path="/toy:box/present/x"),
        rule("deny", path="/toy:box/crew/captain"),
    )
    box = seen(rules, BOX)["toy:box"]
    assert "plain" not in box
    assert box["present"] == {}
    assert "crew" not in box
    assert seen(access(rule("permit", path="/toy:box/name"), read_default="deny"), BOX) == {}


def test_paths_with_keys() -> None:
    """Checklist 122, read: with all keys, some keys, none; through nested lists; a leaf-list's value; $USER."""
    entries = seen(access(rule("deny", path="/toy:box/entry[id='a']/sub[n='1']")), BOX)["toy:box"]["entry"]
    assert entries[0]["sub"] == [{"n": 2}]
    entries = seen(access(rule("deny", path="/toy:box/entry/sub[n='2']")), BOX)["toy:box"]["entry"]
    assert entries[0]["sub"] == [{"n": 1, "text": "t1"}]
    rules = access(rule("permit", path="/toy:box/entry[id='b']"), rule("deny", path="/toy:box/entry"))
    assert seen(rules, BOX)["toy:box"]["entry"] == [BOX["toy:box"]["entry"][1]]
    box = seen(access(rule("deny", path="/toy:box/pair[b='02']")), BOX)["toy:box"]
    assert box["pair"] == [{"a": "x", "b": 1, "value": "v"}]
    assert seen(access(rule("deny", path="/toy:box/tag[.='red']")), BOX)["toy:box"]["tag"] == ["green"]
    mine = access(rule("permit", path="/toy:box/entry[id=$USER]"), rule("deny", path="/toy:box/entry"))
    assert [one["id"] for one in seen(mine, BOX, user=User("a", frozenset({"ops"})))["toy:box"]["entry"]] == ["a"]
    assert [one["id"] for one in seen(mine, BOX, user=User("b", frozenset({"ops"})))["toy:box"]["entry"]] == ["b"]


def test_module_names() -> None:
    """Checklist 122, read: a rule for a module leaves what others have put into its nodes."""
    box = seen(access(rule("deny", module_name="toy-more")), BOX)["toy:box"]
    assert "toy-more:name" not in box
    assert "toy-more:weight" not in box["entry"][1]
    assert box["name"] == "b"


def test_a_denied_filter_node_does_not_leak() -> None:
    """Checklist 122: a match on what may not be read is no match, whatever the value; a key is no exception."""
    rules = access(rule("deny", path="/toy:box/entry/address"))
    assert seen(rules, BOX, f"<box {T}><entry><address>1</address><id/></entry></box>") == {}
    assert seen(rules, BOX, f"<box {T}><entry><address/></entry></box>") == {}
    assert seen(rules, BOX, f"<box {T}><entry><id>a</id><address/><sub/></entry></box>") == {
        "toy:box": {"entry": [{"id": "a", "sub": BOX["toy:box"]["entry"][0]["sub"]}]}
    }
    keyless = access(rule("deny", path="/toy:box/entry/id"))
    assert seen(keyless, BOX, f"<box {T}><entry><id>a</id></entry></box>") == {}
    assert seen(keyless, BOX, f"<box {T}><entry><address>2</address></entry></box>")["toy:box"]["entry"] == [
        {"address": "2", "toy-more:weight": "1.5"}
    ]


def report_rows() -> Reports:
    """r0, r1 and r2, with all kinds of leaves."""
    rows = Reports(SCHEMA)
    for index in range(3):
        rows.add(f"r{index}", f"doc {index}", group="g", more={"text": "m"})
    return rows


def test_stored_rows() -> None:
    """Checklist 122, read: rows pass whole where no rule reaches below; a denied leaf takes the mark with it."""
    status = {"toy:status": {"report": (rows := report_rows())}}
    hidden = access(rule("deny", path="/toy:status/report[id='r1']"))
    cut = hidden.readable(ANN, status, None)["toy:status"]["report"]
    assert [row for page in cut.pages() for row in page] == [rows.find(("r0",)), rows.find(("r2",))]
    assert cut.find(("r1",)) is None
    bare = access(rule("deny", path="/toy:status/report/document"))
    cut = bare.readable(ANN, status, None)["toy:status"]["report"]
    assert isinstance(cut, GuardedRows)
    assert [row.mark for page in cut.pages() for row in page] == [None] * 3
    assert cut.find(("r0",)).tree == {"id": "r0", "length": 5, "group": "g", "more": {"text": "m"}}
    data = Data(prune(bare.readable(ANN, status, None), None, SCHEMA.root), SCHEMA.root)
    text = b"".join(xml.encode(data, SCHEMA.root))
    assert b"r2" in text
    assert b"doc" not in text
    assert data.marks == []
    wanted = f"<status {T}><report><id>r2</id></report></status>"
    assert seen(bare, status, wanted)["toy:status"]["report"] == [
        {"id": "r2", "length": 5, "group": "g", "more": {"text": "m"}}
    ]
    assert seen(bare, status, f"<status {T}><report><document>doc 1</document></report></status>") == {}
    unnamed = access(rule("deny", path="/toy:status/report/id"))
    assert unnamed.readable(ANN, status, None)["toy:status"]["report"].find(("r0",)) is None
    assert seen(unnamed, status, wanted) == {}
    assert seen(unnamed, status, f"<status {T}><report><more/></report></status>") == {
        "toy:status": {"report": [{"more": {"text": "m"}}] * 3}
    }


def test_rows_are_decoded_only_where_a_rule_reaches_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter for what may be read anyway costs no decoding, though the list has a hidden leaf."""
    status = {"toy:status": {"report": report_rows()}}
    bare = access(rule("deny", path="/toy:status/report/document"))
    selection = selected(f"<status {T}><report><id/></report></status>")
    decoded: list[Row] = []
    whole = Row.tree
    monkeypatch.setattr(Row, "tree", lambda row: decoded.append(row) or whole(row))
    cut = prune(bare.readable(ANN, status, selection), selection, SCHEMA.root)
    assert plain(cut)["toy:status"]["report"] == [{"id": "r0"}, {"id": "r1"}, {"id": "r2"}]
    assert decoded == []


def test_many_rules_on_one_key() -> None:
    """Those that are found by the key's value decide as they would one by one, in their order."""
    keys = [f"/toy:box/entry[id='x{index}']" for index in range(WORTH_AN_INDEX)]
    rules = [rule("deny", path=path) for path in keys]
    several = access(
        *rules,
        rule("permit", path="/toy:box/entry[id='a']/sub[n='2']"),
        rule("deny", path="/toy:box/entry[id='a']/sub"),
        rule("permit", path="/toy:box/entry[id='x0']"),
    )
    tree = {"toy:box": {"entry": [*BOX["toy:box"]["entry"], {"id": "x0"}, {"id": "x7"}, {"id": "x8"}]}}
    entries = seen(several, tree)["toy:box"]["entry"]
    assert [entry["id"] for entry in entries] == ["a", "b", "x8"]
    assert entries[0]["sub"] == [{"n": 2}]


def test_rights_are_kept_until_the_rules_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled once for all users of the same groups, and anew after a commit."""
    made: list[int] = []
    before = Rights.__init__

    def counted(self: Rights, *given: Any) -> None:
        made.append(1)
        before(self, *given)

    monkeypatch.setattr(Rights, "__init__", counted)
    rules = access(rule("deny", path="/toy:box/name"))
    users = [User(f"u{index}", frozenset({"ops"})) for index in range(5)]
    for user in (*users, *users):
        assert "name" not in rules.readable(user, BOX, None)["toy:box"]
    assert len(made) == 1
    rules.readable(User("u", frozenset({"other"})), BOX, None)
    assert len(made) == 2
    nacm = {"rule-list": [{"name": "l", "group": ["ops"], "rule": [rule("deny", path="/toy:box/size")]}]}
    new = rules.prepare({}, {"ietf-netconf-acm:nacm": nacm}, None)  # type: ignore[arg-type]
    assert "name" not in rules.readable(ANN, BOX, None)["toy:box"]
    new.apply()
    assert "name" in rules.readable(ANN, BOX, None)["toy:box"]
    assert len(made) == 3
    personal = access(rule("deny", path="/toy:box/entry[id=$USER]"))
    for user in users:
        personal.readable(user, BOX, None)
    assert len(made) == 3 + len(users)


# Writes (sections 3.2.5 to 3.2.8)


def without(tree: Tree, *path: str) -> Tree:
    """The tree without the member at the end of the path."""
    first, *rest = path
    if not rest:
        return {member: value for member, value in tree.items() if member != first}
    return {**tree, first: without(tree[first], *rest)}


def test_each_kind_of_write() -> None:
    """Checklist 122, write: create, update and delete of every node that differs; error-path of the first."""
    box = BOX["toy:box"]
    for permitted in ("create", "update", "delete"):
        rules = access(rule(path="/toy:box", access_operations=permitted))
        outcomes = {
            "create": denied(rules, {}, BOX),
            "delete": denied(rules, BOX, {}),
            "update": denied(rules, BOX, {"toy:box": {**box, "name": "c"}}),
        }
        assert outcomes.pop(permitted) is None
        for kind, outcome in outcomes.items():
            assert outcome == (kind, "box/name")
    unwritten = access(rule("deny", path="/toy:box/entry[id='b']"), rule(path="/toy:box"))
    assert denied(unwritten, {}, BOX) == ("create", "box/entry[id=b]")
    assert denied(unwritten, BOX, {"toy:box": {**box, "entry": box["entry"][:1]}}) == ("delete", "box/entry[id=b]")
    assert denied(unwritten, BOX, {"toy:box": {**box, "entry": box["entry"][1:]}}) is None
    tags = access(rule("deny", path="/toy:box/tag[.='red']"), rule(path="/toy:box"))
    assert denied(tags, BOX, {"toy:box": {**box, "tag": ["red", "blue"]}}) is None
    assert denied(tags, BOX, {"toy:box": {**box, "tag": ["green"]}}) == ("delete", "box/tag[.=red]")
    present = access(rule("deny", path="/toy:box/present", access_operations="create"), rule(path="/"))
    assert denied(present, {}, {"toy:box": {"present": {}}}) == ("create", "box/present")
    assert denied(present, BOX, without(BOX, "toy:box", "present")) is None


def test_what_does_not_change_needs_no_right() -> None:
    """Checklist 122, write: nodes that only lead to a change, and values that stay (RFC 8341 section 3.2.5)."""
    rules = access(rule(path="/toy:box/entry[id='b']/address", access_operations="update"))
    entries = BOX["toy:box"]["entry"]
    changed = {"toy:box": {**BOX["toy:box"], "entry": [entries[0], {**entries[1], "address": "3"}]}}
    assert denied(rules, BOX, changed) is None
    assert denied(rules, BOX, json.loads(json.dumps(BOX))) is None
    # a container without presence is not created with the first node in it
    assert denied(access(rule(path="/toy:box/plain/x")), {}, {"toy:box": {"plain": {"x": "1"}}}) is None


def test_the_order_of_user_ordered_entries_is_an_update() -> None:
    """Checklist 122, write."""
    box = BOX["toy:box"]
    turned = {"toy:box": {**box, "pair": box["pair"][::-1]}}
    assert denied(access(rule(path="/", access_operations="create delete")), BOX, turned) == (
        "update",
        "box/pair[a=x][b=1]",
    )
    assert denied(access(rule(path="/", access_operations="update")), BOX, turned) is None
    sorted_by_system = {"toy:box": {**box, "entry": box["entry"][::-1]}}
    assert denied(access(), BOX, sorted_by_system) is None


@contextmanager
def ruled(*rules: Tree, **leaves: Any) -> Iterator[tuple[Toy, Any]]:
    """A toy with these rules and an `edit` for ann."""
    with Toy.open(netconf=True) as toy:
        toy.dispatch.access = access(rule(rpc_name="*"), *rules, **leaves)
        session = toy.session(ANN)

        def edit(content: str) -> Error | None:
            config = etree.fromstring(f'<config xmlns:c="urn:ietf:params:xml:ns:netconf:base:1.0">{content}</config>')
            try:
                toy.dispatch.submit(Edit(xml.decode_config(config, SCHEMA)), session).result(5)
            except RequestError as refusal:
                return refusal.errors[0]
            return None

        yield toy, edit


def names(error: Error | None) -> list[str]:
    assert error is not None
    assert error.tag == "access-denied"
    return [step.name for step in error.path]


def test_edits_delete_implicitly() -> None:
    """Checklist 122, write: what a replace, another case of a choice or a `when` takes away needs delete (0057)."""
    with ruled(rule("deny", access_operations="delete"), rule(path="/")) as (toy, edit):
        assert edit(f"<box {T}><plain><x>1</x></plain><ship>s</ship><gate>true</gate><behind>b</behind></box>") is None
        before = toy.dispatch.running.tree
        assert names(edit(f'<box {T}><plain c:operation="replace"/></box>')) == ["box", "plain", "x"]
        assert names(edit(f"<box {T}><plane>p</plane></box>")) == ["box", "ship"]
        assert names(edit(f"<box {T}><gate>false</gate></box>")) == ["box", "behind"]
        assert names(edit(f'<box {T} c:operation="remove"/>')) == ["box", "gate"]
        assert toy.dispatch.running.tree is before
        assert edit(f'<box {T}><plain c:operation="replace"><x>1</x></plain></box>') is None
        assert toy.dispatch.access.counters.read()["denied-data-writes"] == 4


def test_errors_tell_nothing_that_may_not_be_read() -> None:
    """Checklist 122: whether a hidden node exists is not told, nor its path or contents (sections 3.2.5, 3.4.3)."""
    with ruled(
        rule("deny", path="/toy:box/name"), rule("deny", path="/toy:box/low", access_operations="read"), rule(path="/")
    ) as (toy, edit):
        create = f'<box {T}><name c:operation="create">n</name></box>'
        delete = f'<box {T}><name c:operation="delete"/></box>'
        absent = (names(edit(create)), names(edit(delete)))
        tree = {"toy:box": {"name": "secret", "low": 7}}
        toy.dispatch.running.tree = tree
        assert (names(edit(create)), names(edit(delete))) == absent == (["box", "name"], ["box", "name"])
        told = edit(f'<box {T}><low c:operation="create">1</low></box>')
        assert told is not None
        assert (told.tag, told.path) == ("data-exists", ())
        broken = edit(f"<box {T}><low>9</low><high>8</high></box>")
        assert broken is not None
        assert broken.tag == "operation-failed"
        assert toy.dispatch.running.tree is tree


# Notifications (section 3.4.6)


def test_notifications() -> None:
    """Checklist 122, notifications: by name and module, read-default otherwise; the end of a replay always."""
    greeted = node("/toy:greeted")
    for default, expected in (("permit", True), ("deny", False)):
        rules = access(read_default=default)
        assert rules.permits_notification(ANN, greeted) is expected
        assert rules.counters.read()["denied-notifications"] == (not expected)
    assert not access(rule("deny", notification_name="greeted")).permits_notification(ANN, greeted)
    assert access(rule("deny", notification_name="other")).permits_notification(ANN, greeted)
    assert access(rule("deny", rpc_name="*"), rule("deny", path="/")).permits_notification(ANN, greeted)
    assert access(rule("deny", access_operations="exec")).permits_notification(ANN, greeted)
    assert not access(rule("deny", module_name="toy", notification_name="*")).permits_notification(ANN, greeted)


# Over the core


def test_denied_operations_are_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """Checklist 122: the counters, and a line that names rule-list and rule; not more than a few a session."""
    with ruled(rule("deny", path="/toy:box"), exec_default="deny") as (toy, edit):
        toy.dispatch.access = access(
            rule("deny", rpc_name="greet"), rule(rpc_name="edit-config"), rule("deny", path="/toy:box"), rule(path="/")
        )
        session = toy.session(ANN)
        greet = Invoke(SCHEMA.rpcs["toy", "greet"], {})
        with caplog.at_level(logging.WARNING, "agent.core.dispatch"):
            with pytest.raises(Denied) as refused:
                toy.dispatch.submit(greet, session).result(5)
            assert "exec toy:greet, user ann" in caplog.text
            assert "by rule r0 of rule-list list" in caplog.text
            assert names(edit(f"<box {T}><name>x</name></box>")) == ["box", "name"]
            assert "create /toy:box/name, user ann" in caplog.text
            assert "by rule r2 of rule-list list" in caplog.text
            caplog.clear()
            for _ in range(2 * BURST):
                with pytest.raises(Denied):
                    toy.dispatch.submit(EndSession(9), session).result(5)
            assert len(caplog.records) == BURST - 1
            assert "by the default of kill-session, which only a rule permits" in caplog.text
        assert refused.value.on_rpc()[0].path == (Step("ietf-netconf", "rpc"), Step("toy", "greet"))
        assert toy.dispatch.access.counters.read() == {
            "denied-operations": 1 + 2 * BURST,
            "denied-data-writes": 1,
            "denied-notifications": 0,
        }


def test_reads_of_the_core_are_cut() -> None:
    """Checklist 122: reads need the exec right of the RPC that they came by, and show what may be read."""
    with ruled(rule("deny", path="/toy:status"), read_default="permit") as (toy, _):
        session = toy.session(ANN)
        tree = toy.dispatch.read(Get(), session).tree
        assert "toy:status" not in tree
        assert "toy:store" in tree
        config = Get(content=Content.CONFIG, datastore=Datastore.RUNNING, rpc=("ietf-netconf", "get-config"))
        data = Get(datastore=Datastore.RUNNING, rpc=("ietf-netconf-nmda", "get-data"))
        for module, name in (config.rpc, data.rpc):
            toy.dispatch.access = access(rule("deny", module_name=module, rpc_name=name), rule())
            toy.dispatch.read(Get(), session)
            for request in (config, data):
                if request.rpc == (module, name):
                    with pytest.raises(Denied):
                        toy.dispatch.read(request, session)
                else:
                    toy.dispatch.read(request, session)


@pytest.mark.parametrize(
    "path", ["/toy:nowhere", "/toy:box/entry[nokey='1']", "/toy:box/pair[b='many']", "toy:box", "/box", "/toy:box/"]
)
def test_paths_that_lead_nowhere(path: str) -> None:
    with pytest.raises(InvalidValue):
        access(rule("deny", path=path))


def test_an_edit_node_needs_no_right() -> None:
    """An edit of nothing is no change."""
    with ruled(write_default="deny") as (toy, _):
        toy.dispatch.submit(Edit((EditNode(node("/toy:box")),)), toy.session(ANN)).result(5)
