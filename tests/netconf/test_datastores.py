"""Candidate, startup, copies, validation and their locks, over real SSH (RFC 6241 sections 7 and 8)."""

from __future__ import annotations

import json
from typing import Any

from lxml import etree
import pytest

from agent.core.requests import Datastore
from tests.netconf.operations import DISCARD, box, commit, copy, edit, lock, shown, unlock, validate
from tests.netconf.support import NC, Client, Server, error, is_ok, until
from tests.toy.build import Toy

YANG = 'xmlns:yang="urn:ietf:params:xml:ns:yang:1" yang'
XC = f'xmlns:xc="{NC}" xc:operation'
BAD = "<low>5</low><high>3</high>"


def ok(client: Client, *operations: str) -> None:
    for operation in operations:
        reply = client.rpc(operation)
        assert is_ok(reply), (operation, etree.tostring(reply))


def test_candidate_is_shared_and_becomes_running(server: Server, toy: Toy) -> None:
    """RFC 6241 section 8.3: edits are seen in candidate by all sessions and in running only after commit."""
    with server.client() as one, server.client() as two:
        ok(one, edit("running", box("<name>a</name>")))
        assert shown(two, "candidate") == shown(two) == "<box><name>a</name></box>"
        ok(one, edit("candidate", box("<size>5</size>")))
        ok(two, edit("candidate", box("<on>true</on>")))
        assert "<size>5</size><on>true</on>" in shown(one, "candidate")
        assert shown(one) == "<box><name>a</name></box>"
        ok(two, commit())
        assert shown(one) == shown(one, "candidate")
        assert toy.dispatch.running.tree == {"toy:box": {"name": "a", "size": 5, "on": True}}
        assert json.loads(toy.store.config or b"") == toy.dispatch.running.tree


def test_unchanged_candidate_is_the_same_object(client: Client, toy: Toy) -> None:
    """A candidate that equals running costs nothing, and follows it."""
    datastores = toy.dispatch.datastores
    ok(client, edit("running", box("<name>a</name>")))
    assert datastores.tree(Datastore.CANDIDATE) is toy.dispatch.running.tree
    ok(client, edit("candidate", box("<name>b</name>")), edit("candidate", box("<name>a</name>")))
    assert datastores.tree(Datastore.CANDIDATE) is toy.dispatch.running.tree
    ok(client, edit("running", box("<name>c</name>")))
    assert "<name>c</name>" in shown(client, "candidate")
    for operation in (copy("<candidate/>", "<running/>"), edit("running", box("<name>d</name>"))):
        ok(client, edit("candidate", box("<name>d</name>")), operation)
        assert datastores.tree(Datastore.CANDIDATE) is toy.dispatch.running.tree
        ok(client, lock("candidate"), unlock("candidate"), edit("running", box("<name>e</name>")))


def test_constraints_of_candidate_wait_for_the_commit(client: Client, toy: Toy) -> None:
    """Checklist 90: syntax is checked at once, constraints at validate and commit."""
    assert error(client.rpc(edit("candidate", box("<size>x</size>"))))["tag"] == "invalid-value"
    assert error(client.rpc(edit("candidate", box("<entry><address>h</address></entry>"))))["tag"] == "missing-element"
    ok(client, edit("candidate", box(BAD)))
    for operation in (validate("<candidate/>"), commit()):
        told = error(client.rpc(operation))
        assert (told["tag"], told["app-tag"]) == ("operation-failed", "must-violation")
    assert toy.dispatch.running.tree == {}
    assert "<low>5</low>" in shown(client, "candidate")
    ok(client, edit("candidate", box("<high>7</high>")), validate("<candidate/>"), commit())
    assert toy.dispatch.running.tree == {"toy:box": {"low": 5, "high": 7}}


def test_false_conditions_at_commit(client: Client, toy: Toy) -> None:
    """Checklist 89: what a condition that turned false forbids goes at the commit; what is new is refused."""
    ok(client, edit("running", box("<gate>true</gate><behind>x</behind>")))
    ok(client, edit("candidate", box("<gate>false</gate>")), validate("<candidate/>"), commit())
    assert toy.dispatch.running.tree == {"toy:box": {"gate": False}}
    ok(client, edit("candidate", box("<behind>y</behind>")))
    assert error(client.rpc(commit()))["tag"] == "unknown-element"


def test_a_failed_edit_leaves_the_edits_before(client: Client) -> None:
    """Checklist 91."""
    ok(client, edit("candidate", box("<name>a</name>")))
    told = error(client.rpc(edit("candidate", box(f'<name>b</name><size {XC}="delete"/>'))))
    assert told["tag"] == "data-missing"
    assert shown(client, "candidate") == "<box><name>a</name></box>"
    assert shown(client) == ""


def test_test_options(client: Client, toy: Toy) -> None:
    """Checklist 81: test-only changes nothing and finds what set would; test-then-set tests candidate too."""

    def option(value: str) -> str:
        return f"<test-option>{value}</test-option>"

    for target in ("running", "candidate"):
        ok(client, edit(target, box("<name>a</name>"), option("test-only")))
        assert shown(client, target) == ""
        for value in ("test-only", "test-then-set"):
            assert error(client.rpc(edit(target, box(BAD), option(value))))["app-tag"] == "must-violation"
        assert shown(client, target) == ""
    assert toy.store.config is None
    ok(client, edit("candidate", box(BAD), option("set")))
    assert error(client.rpc(edit("running", box(BAD), option("set"))))["app-tag"] == "must-violation"
    assert error(client.rpc(edit("running", box(""), option("frob"))))["tag"] == "invalid-value"
    ok(client, DISCARD, edit("candidate", box("<name>b</name>"), option("test-then-set")))
    assert shown(client, "candidate") == "<box><name>b</name></box>"


def test_validate(client: Client, toy: Toy) -> None:
    """Checklist 99: datastores and a configuration that comes with the request; nothing is changed."""
    for source in (
        "<running/>",
        "<candidate/>",
        "<startup/>",
        f"<config>{box('<name>a</name>')}</config>",
        "<config/>",
    ):
        ok(client, validate(source))
    told = error(client.rpc(validate(f"<config>{box(BAD)}</config>")))
    assert (told["tag"], told["app-tag"]) == ("operation-failed", "must-violation")
    assert error(client.rpc(validate(f"<config>{box('<size>x</size>')}</config>")))["tag"] == "invalid-value"
    assert error(client.rpc("<validate/>"))["tag"] == "missing-element"
    assert toy.dispatch.running.tree == {}
    ok(client, edit("candidate", box(BAD)))
    assert error(client.rpc(validate("<candidate/>")))["app-tag"] == "must-violation"


def test_validate_in_the_namespace_of_its_capability(client: Client) -> None:
    """Checklist, Lawful alternatives: one widely used client sends it so; parameters in either namespace."""
    alias = "urn:ietf:params:netconf:capability:validate:1.0"
    ok(client, f'<validate xmlns="{alias}"><source><candidate/></source></validate>')
    ok(client, f'<v:validate xmlns:v="{alias}"><source><candidate/></source></v:validate>')
    assert error(client.rpc(f'<frob xmlns="{alias}"/>'))["tag"] in ("unknown-element", "unknown-namespace")


def test_commit_and_locks(server: Server) -> None:
    """Checklist 100: without changes ok; in-use while another session holds running or candidate."""
    with server.client() as one, server.client() as two:
        ok(one, commit(), edit("candidate", box("<name>a</name>")))
        for datastore in ("running", "candidate"):
            ok(one, commit())
            ok(two, lock(datastore))
            ok(two, edit("candidate", box("<name>b</name>")) if datastore == "candidate" else commit())
            assert error(one.rpc(commit()))["tag"] == "in-use"
            ok(two, commit(), unlock(datastore))


def test_discard_changes(server: Server) -> None:
    """Checklist 101."""
    with server.client() as one, server.client() as two:
        ok(one, edit("running", box("<name>a</name>")), lock("candidate"), edit("candidate", box("<name>b</name>")))
        assert error(two.rpc(DISCARD))["tag"] == "in-use"
        assert error(two.rpc(edit("candidate", box("<name>c</name>"))))["tag"] == "in-use"
        assert error(two.rpc(copy("<running/>", "<candidate/>")))["tag"] == "in-use"
        assert "<name>b</name>" in shown(two, "candidate")
        ok(one, DISCARD)
        assert shown(two, "candidate") == shown(two) == "<box><name>a</name></box>"


def test_a_changed_candidate_is_not_locked(server: Server) -> None:
    """Checklist 103: not while it has changes, whoever made them; the session-id 0 is nobody's."""
    with server.client() as one, server.client() as two:
        ok(one, edit("candidate", box("<name>a</name>")))
        for client in (one, two):
            told = error(client.rpc(lock("candidate")))
            assert (told["tag"], told["info"]) == ("lock-denied", {"session-id": "0"})
        ok(one, DISCARD, lock("candidate"))
        told = error(two.rpc(lock("candidate")))
        assert (told["tag"], told["info"]) == ("lock-denied", {"session-id": str(one.session_id)})


def test_locks_of_each_datastore(server: Server) -> None:
    """Checklist 102, 104: each has its own; a lock on running does not keep others from candidate."""
    with server.client() as one, server.client() as two:
        ok(one, lock("running"), lock("startup"))
        ok(two, lock("candidate"), edit("candidate", box("<name>a</name>")))
        for datastore in ("running", "startup"):
            assert error(two.rpc(copy("<candidate/>", f"<{datastore}/>")))["tag"] == "in-use"
            assert error(two.rpc(unlock(datastore)))["tag"] == "operation-failed"
            ok(one, unlock(datastore))
            assert error(one.rpc(unlock(datastore)))["tag"] == "operation-failed"


@pytest.mark.parametrize("way", ["close", "kill", "drop"])
def test_the_end_of_a_session_drops_a_locked_candidate(server: Server, way: str) -> None:
    """Checklist 105: its changes go with the lock; without the lock they stay."""
    with server.client() as other:
        with server.client() as holder:
            ok(holder, lock("candidate"), edit("candidate", box("<name>a</name>")))
            if way == "close":
                ok(holder, "<close-session/>")
            elif way == "kill":
                ok(other, f"<kill-session><session-id>{holder.session_id}</session-id></kill-session>")
            else:
                holder.channel.close()
            assert until(lambda: is_ok(other.rpc(lock("candidate"))))
        assert shown(other, "candidate") == ""
        ok(other, unlock("candidate"))
        with server.client() as writer:
            ok(writer, edit("candidate", box("<name>b</name>")), "<close-session/>")
            assert writer.closed()
        assert shown(other, "candidate") == "<box><name>b</name></box>"


def test_copy_config(client: Client, toy: Toy) -> None:
    """Checklist 97: every pair of datastores, a configuration that comes with the request; not a store onto itself."""
    inline = f"<config>{box('<name>i</name>')}</config>"
    ok(client, copy(inline, "<candidate/>"))
    assert (shown(client, "candidate"), shown(client)) == ("<box><name>i</name></box>", "")
    ok(client, copy("<candidate/>", "<running/>"), edit("running", box("<size>1</size>")))
    ok(client, copy("<running/>", "<startup/>"), edit("running", box("<size>2</size>")))
    assert "<size>1</size>" in shown(client, "startup")
    ok(client, copy("<startup/>", "<candidate/>"), commit())
    assert toy.dispatch.running.tree == {"toy:box": {"name": "i", "size": 1}}
    ok(client, copy(inline, "<running/>"))
    assert toy.dispatch.running.tree == {"toy:box": {"name": "i"}}
    for datastore in ("running", "candidate", "startup"):
        told = error(client.rpc(copy(f"<{datastore}/>", f"<{datastore}/>")))
        assert told["tag"] == "invalid-value"
    told = error(client.rpc(copy(f"<config>{box(BAD)}</config>", "<running/>")))
    assert told["app-tag"] == "must-violation"
    told = error(client.rpc(copy(f"<config>{box(BAD)}</config>", "<startup/>")))
    assert told["app-tag"] == "must-violation"
    ok(client, copy(f"<config>{box(BAD)}</config>", "<candidate/>"))
    assert error(client.rpc("<copy-config><target><running/></target></copy-config>"))["tag"] == "missing-element"


def test_delete_config(client: Client) -> None:
    """Checklist 98."""
    for datastore in ("running", "candidate"):
        told = error(client.rpc(f"<delete-config><target><{datastore}/></target></delete-config>"))
        assert told["tag"] == "invalid-value"
    ok(client, copy(f"<config>{box('<name>s</name>')}</config>", "<startup/>"))
    ok(client, "<delete-config><target><startup/></target></delete-config>")
    assert shown(client, "startup") == ""


ORDER = [
    ('<turn {y}:insert="first">n</turn>', ["n", "a", "b", "c"]),
    ('<turn {y}:insert="last">n</turn>', ["a", "b", "c", "n"]),
    ("<turn>n</turn>", ["a", "b", "c", "n"]),
    ('<turn {y}:insert="before" yang:value="b">n</turn>', ["a", "n", "b", "c"]),
    ('<turn {y}:insert="after" yang:value="b">n</turn>', ["a", "b", "n", "c"]),
    ('<turn {y}:insert="first">c</turn>', ["c", "a", "b"]),
    ('<turn {y}:insert="after" yang:value="c">a</turn>', ["b", "c", "a"]),
    ("<turn>a</turn>", ["a", "b", "c"]),
    ('<turn {y}:insert="first">n</turn><turn {y}:insert="after" yang:value="n">m</turn>', ["n", "m", "a", "b", "c"]),
]


@pytest.mark.parametrize(("content", "order"), ORDER)
@pytest.mark.parametrize("target", ["running", "candidate"])
def test_insert_into_a_leaf_list(client: Client, toy: Toy, content: str, order: list[str], target: str) -> None:
    """Checklist 92, 94: the order is kept by commit, by copies and over a restart; merge moves only by insert."""
    ok(client, edit("running", box("<turn>a</turn><turn>b</turn><turn>c</turn>")))
    ok(client, edit(target, box(content.replace("{y}", YANG))))
    if target == "candidate":
        ok(client, commit())
    assert toy.dispatch.running.tree["toy:box"]["turn"] == order
    ok(client, copy("<running/>", "<startup/>"), edit("running", box(f'<turn {XC}="remove">b</turn>')))
    ok(client, copy("<startup/>", "<running/>"))
    assert toy.dispatch.running.tree["toy:box"]["turn"] == order
    with Toy.open(stored=toy.store.config) as again:
        assert again.dispatch.running.tree["toy:box"]["turn"] == order


def pair(a: str, b: int, attributes: str = "") -> str:
    return f"<pair {attributes}><a>{a}</a><b>{b}</b><value>v</value></pair>"


@pytest.mark.parametrize(
    ("content", "order"),
    [
        (pair("n", 1, f'{YANG}:insert="first"'), "nxyz"),
        (pair("n", 1, f"""{YANG}:insert="before" yang:key="[a='y'][b='2']" """), "xnyz"),
        (
            pair(
                "n",
                1,
                f"""xmlns:p="urn:example:toy" {YANG}:insert="after" yang:key="[p:b='02'] [p:a = &quot;y&quot;]" """,
            ),
            "xynz",
        ),
        (pair("z", 3, f"""{YANG}:insert="before" yang:key="[a='x'][b='1']" """), "zxy"),
        (pair("z", 3), "xyz"),
        (pair("x", 1, f'{YANG}:insert="last" {XC}="replace"'), "yzx"),
        (pair("n", 1, f'{YANG}:insert="first" {XC}="create"'), "nxyz"),
    ],
)
def test_insert_into_a_list(client: Client, toy: Toy, content: str, order: str) -> None:
    """Checklist 92: entries are named by all keys, in any order, with or without prefix."""
    ok(client, edit("running", box(pair("x", 1) + pair("y", 2) + pair("z", 3))))
    ok(client, edit("running", box(content)))
    assert "".join(entry["a"] for entry in toy.dispatch.running.tree["toy:box"]["pair"]) == order


@pytest.mark.parametrize(
    ("content", "tag", "app_tag", "attribute"),
    [
        (f'<tag {YANG}:insert="first">t</tag>', "bad-attribute", None, "insert"),
        (f'<entry {YANG}:insert="first"><id>t</id></entry>', "bad-attribute", None, "insert"),
        (f'<name {YANG}:insert="first">t</name>', "bad-attribute", None, "insert"),
        (f'<turn {YANG}:insert="middle">t</turn>', "bad-attribute", None, "insert"),
        (f'<turn {YANG}:value="a">t</turn>', "bad-attribute", None, "insert"),
        (f'<turn {YANG}:insert="first" yang:value="a">t</turn>', "bad-attribute", None, "value"),
        (f'<turn {YANG}:insert="before" yang:key="a">t</turn>', "bad-attribute", None, "key"),
        (f'<turn {YANG}:insert="before">t</turn>', "missing-attribute", None, "value"),
        (f'<turn {YANG}:insert="before" yang:value="z">t</turn>', "bad-attribute", "missing-instance", "value"),
        (f'<turn {YANG}:insert="before" yang:value="a">a</turn>', "bad-attribute", "missing-instance", "value"),
        (f'<turn {YANG}:insert="first" {XC}="delete">a</turn>', "bad-attribute", None, "insert"),
        (
            pair("n", 1, f"""{YANG}:insert="after" yang:key="[a='q'][b='2']" """),
            "bad-attribute",
            "missing-instance",
            "key",
        ),
        (pair("n", 1, f"""{YANG}:insert="after" yang:key="[a='q']" """), "bad-attribute", None, "key"),
        (pair("n", 1, f"""{YANG}:insert="after" yang:key="a=q" """), "bad-attribute", None, "key"),
        (pair("n", 1, f"""{YANG}:insert="after" yang:key="[a='q'][b='x']" """), "bad-attribute", None, "key"),
    ],
)
def test_bad_inserts(client: Client, toy: Toy, content: str, tag: str, app_tag: str | None, attribute: str) -> None:
    """Checklist 88, 93: lists that the system orders, anchors that are missing or make no sense."""
    ok(client, edit("running", box("<turn>a</turn>")))
    before = toy.dispatch.running.tree
    told = error(client.rpc(edit("running", box(content))))
    assert (told["tag"], told["app-tag"], told["info"]["bad-attribute"]) == (tag, app_tag, attribute)
    assert toy.dispatch.running.tree is before


def test_what_a_target_may_be(client: Client) -> None:
    """edit-config takes running and candidate; names are checked."""
    config = f"<config>{box('<name>a</name>')}</config>"
    assert (
        error(client.rpc(f"<edit-config><target><startup/></target>{config}</edit-config>"))["tag"] == "invalid-value"
    )
    assert error(client.rpc(f"<edit-config><target><frob/></target>{config}</edit-config>"))["tag"] == "unknown-element"
    assert error(client.rpc(lock("frob")))["tag"] == "unknown-element"
    assert (
        error(client.rpc(f"<copy-config><target>{config}</target><source><running/></source></copy-config>"))["tag"]
        == "invalid-value"
    )


def test_readers_may_not_change(server: Server) -> None:
    """Checklist 122, the part of these operations: a reader is denied each of them."""
    with server.client(user="rita") as reader:
        for operation in (
            edit("candidate", box("<name>a</name>")),
            commit(),
            DISCARD,
            "<cancel-commit/>",
            copy("<running/>", "<candidate/>"),
            "<delete-config><target><startup/></target></delete-config>",
            validate("<candidate/>"),
            lock("candidate"),
            '<edit-data xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-nmda" '
            'xmlns:ds="urn:ietf:params:xml:ns:yang:ietf-datastores"><datastore>ds:running</datastore>'
            f"<config>{box('<name>a</name>')}</config></edit-data>",
            '<partial-lock xmlns="urn:ietf:params:xml:ns:netconf:partial-lock:1.0" xmlns:t="urn:example:toy">'
            "<select>/t:box</select></partial-lock>",
        ):
            assert error(reader.rpc(operation))["tag"] == "access-denied", operation
        assert shown(reader, "candidate") == ""


def test_a_full_disk(client: Client, toy: Toy, caplog: Any) -> None:
    """A commit that cannot be kept changes nothing, and candidate keeps what it has."""
    ok(client, edit("candidate", box("<name>a</name>")))
    toy.store.broken = True
    assert error(client.rpc(commit()))["tag"] == "operation-failed"
    assert error(client.rpc(commit(confirmed=True)))["tag"] == "operation-failed"
    assert toy.dispatch.datastores.trial is None
    toy.store.broken = False
    assert (shown(client), shown(client, "candidate")) == ("", "<box><name>a</name></box>")
    ok(client, commit())
    assert shown(client) == "<box><name>a</name></box>"
