"""Access rules over candidate, startup, files, partial locks, XPath and defaults (RFC 8341 section 3.2; checklist 122).

rita may call everything but kill-session, delete-config and factory-reset, and reads and changes all but what `HIDDEN`
rules out; ada may do everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lxml import etree
import pytest

from agent.core.access import Access
from agent.core.requests import Datastore
from agent.core.tree import Tree
from agent.northbound.documents import ConfigurationFiles
from agent.transport.files import Folders
from tests.core.test_defaults import Links
from tests.netconf.operations import DISCARD, box, commit, copy, edit, lock, shown, validate
from tests.netconf.support import NC, TOY, Client, Server, error, is_ok
from tests.netconf.test_files_and_parts import locked, partial_lock, url
from tests.netconf.test_get_data import NMDA, TD, request
from tests.toy.build import RULES, Toy, toy_schema

DEFAULTS = 'xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"'
HIDDEN = ("/toy:box/size", "/toy:box/low", "/toy:box/entry[id='b']", "/toy-defaults:found/link/body")
BEGIN: Tree = {
    "toy:box": {"name": "n", "size": 5, "low": 3, "high": 9, "entry": [{"id": "a"}, {"id": "b", "address": "secret"}]}
}
SEEN = "<box><name>n</name><high>9</high><entry><id>a</id></entry></box>"


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Toy]:
    with Toy.open(netconf=True, files=ConfigurationFiles(toy_schema(netconf=True), Folders.at(tmp_path))) as toy:
        toy.dispatch.running.tree = BEGIN
        own = [
            *({"name": path, "path": path, "action": "deny"} for path in HIDDEN),
            {"name": "data", "path": "/", "action": "permit"},
            *(
                {"name": f"not {name}", "rpc-name": name, "action": "deny"}
                for name in ("kill-session", "delete-config", "factory-reset")
            ),
            {"name": "exec", "rpc-name": "*", "access-operations": "exec", "action": "permit"},
        ]
        rules = [{"name": "own", "group": ["reader"], "rule": own}, *RULES["rule-list"]]
        toy.dispatch.access = Access(toy.schema, {**RULES, "rule-list": rules})
        yield toy


@pytest.fixture
def rita(server: Server) -> Iterator[Client]:
    with server.client(user="rita") as client:
        yield client


@pytest.fixture
def ada(server: Server) -> Iterator[Client]:
    with server.client(user="ada") as client:
        yield client


def refused(client: Client, operation: str) -> tuple[str, str | None]:
    """Tag and path, without prefixes, of the one error."""
    told = error(client.rpc(operation))
    return told["tag"], None if told["path"] is None else told["path"].text.replace("t:", "").replace("nc:", "")


def test_a_commit_checks_what_it_changes(rita: Client, ada: Client, toy: Toy) -> None:
    """Section 3.2.8: the nodes that differ, whoever put them into candidate; discard-changes needs the call only."""
    assert refused(rita, edit("candidate", box("<size>6</size>"))) == ("access-denied", "/box/size")
    assert is_ok(ada.rpc(edit("candidate", box("<size>6</size><name>m</name>"))))
    for how in (commit(), commit(confirmed=True)):
        assert refused(rita, how) == ("access-denied", "/box/size")
        assert toy.dispatch.running.tree is BEGIN
    assert toy.dispatch.datastores.trial is None
    assert is_ok(rita.rpc(DISCARD))
    assert toy.dispatch.datastores.tree(Datastore.CANDIDATE) is BEGIN
    assert is_ok(rita.rpc(edit("candidate", box("<name>m</name>"))))
    assert is_ok(rita.rpc(commit()))
    assert toy.dispatch.running.tree["toy:box"]["size"] == 5


def test_a_confirmed_commit_is_cancelled_without_rights_to_its_nodes(rita: Client, ada: Client, toy: Toy) -> None:
    """What goes back is no edit of the user: cancel-commit needs the call only."""
    assert is_ok(ada.rpc(edit("candidate", box("<size>6</size>"))))
    assert is_ok(ada.rpc(commit(confirmed=True, persist="p")))
    assert is_ok(rita.rpc("<cancel-commit><persist-id>p</persist-id></cancel-commit>"))
    assert toy.dispatch.running.tree == BEGIN


def test_copies_hold_what_may_be_read(rita: Client, ada: Client, toy: Toy, tmp_path: Path) -> None:
    """Section 3.2.6: only running to startup is copied whole; a target needs rights to what the copy changes in it."""
    assert is_ok(rita.rpc(copy("<running/>", "<startup/>")))
    assert toy.dispatch.datastores.tree(Datastore.STARTUP) == BEGIN
    assert shown(rita, "startup") == SEEN
    assert is_ok(rita.rpc(copy("<running/>", url("out.xml"))))
    saved = (tmp_path / "out.xml").read_text()
    assert "<name>n</name>" in saved
    assert "secret" not in saved
    assert "size" not in saved
    # what may not be read is missing in the copy, so it would be deleted
    for target in ("startup", "running"):
        assert is_ok(ada.rpc(edit("candidate", box("<name>m</name>"))))
        assert refused(rita, copy("<candidate/>", f"<{target}/>")) == ("access-denied", "/box/size")
        assert is_ok(ada.rpc(DISCARD))
    assert (toy.dispatch.running.tree, toy.dispatch.datastores.tree(Datastore.STARTUP)) == (BEGIN, BEGIN)
    assert refused(rita, "<delete-config><target><startup/></target></delete-config>")[0] == "access-denied"


def test_no_default_stands_in_for_what_may_not_be_read(rita: Client, ada: Client, toy: Toy, tmp_path: Path) -> None:
    """Neither a read nor a copy shows the default of a leaf that is hidden, whether it is set or not."""
    mode = f"<with-defaults {DEFAULTS}>report-all</with-defaults>"
    get = f"<get-config><source><running/></source>{mode}</get-config>"
    save = copy("<running/>", url("out.xml")).replace("</source>", f"</source>{mode}")
    for tree in (BEGIN, {"toy:box": {"name": "n"}}):
        toy.dispatch.running.tree = tree
        assert list(ada.rpc(get).iter(f"{{{TOY}}}size"))
        assert not list(rita.rpc(get).iter(f"{{{TOY}}}size"))
        for client, there in ((ada, True), (rita, False)):
            assert is_ok(client.rpc(save))
            saved = etree.parse(tmp_path / "out.xml")
            assert bool(list(saved.iter(f"{{{TOY}}}size"))) is there
            assert list(saved.iter(f"{{{TD}}}mtu")) == []
            assert [one.text for one in saved.iter(f"{{{TD}}}height")] == ["9000"]


@pytest.mark.parametrize("mode", ["report-all", "report-all-tagged", "trim", "explicit"])
def test_stored_lists_with_defaults_are_cut(rita: Client, toy: Toy, mode: str) -> None:
    """get-data in every mode: entries of a stored list that were given defaults lose what is hidden, and no more."""
    toy.found.value = {"link": Links(toy.schema)}
    speeds = {"trim": [None, "10", None], "explicit": [None, "10", "100"]}.get(mode, ["100", "10", "100"])
    wanted = f"<subtree-filter><found xmlns='{TD}'/></subtree-filter><with-defaults>{mode}</with-defaults>"
    one = f"<xpath-filter xmlns:d='{TD}'>/d:found/d:link[d:id='a']</xpath-filter><with-defaults>{mode}</with-defaults>"
    entries = list(rita.rpc(request(wanted)).iter(f"{{{TD}}}link"))
    assert [entry.findtext(f"{{{TD}}}id") for entry in entries] == ["a", "b", "c"]
    assert [entry.findtext(f"{{{TD}}}speed") for entry in entries] == speeds
    found = list(rita.rpc(request(one)).iter(f"{{{TD}}}link"))
    assert [entry.findtext(f"{{{TD}}}speed") for entry in found] == speeds[:1]
    for entry in (*entries, *found):
        assert entry.find(f"{{{TD}}}body") is None


def test_xpath_sees_only_what_may_be_read(rita: Client, ada: Client) -> None:
    """Section 3.2.4: no expression, exact or evaluated, tells of a hidden node, by content, test or count."""
    for select, hers, his in (
        ("/t:box/t:entry[t:address='secret']", [], ["b"]),
        ("/t:box/t:entry[contains(t:address, 'sec')]", [], ["b"]),
        ("/t:box/t:entry[not(t:address)]", ["a"], ["a"]),
        ("/t:box[t:size=5]/t:entry", [], ["a", "b"]),
        ("/t:box[count(t:entry)=2]/t:entry[1]", [], ["a"]),
        ("//t:entry[../t:size]", [], ["a", "b"]),
        ("//t:entry | //t:size", ["a"], ["a", "b"]),
        ("/t:box/t:entry[last()]", ["a"], ["b"]),
    ):
        for client, expected in ((rita, hers), (ada, his)):
            reply = client.rpc(f'<get xmlns:t="{TOY}"><filter type="xpath" select="{select}"/></get>')
            assert [entry.findtext(f"{{{TOY}}}id") for entry in reply.iter(f"{{{TOY}}}entry")] == expected, select
            assert bool(list(reply.iter(f"{{{TOY}}}size"))) is (client is ada and select.endswith("//t:size"))


def test_refusals_tell_nothing_that_may_not_be_read(rita: Client, ada: Client) -> None:
    """Sections 3.2.5 and 3.4.3: validate and commit of what another user broke name no hidden path or content."""
    assert is_ok(ada.rpc(edit("candidate", box("<low>10</low><entry><id>b</id><port>1</port></entry>"))))
    told = error(ada.rpc(validate("<candidate/>")))
    assert (told["tag"], told["path"].text) == ("operation-failed", "/t:box/t:high")
    assert is_ok(ada.rpc(edit("candidate", box("<low>3</low><entry><id>a</id><address>secret</address></entry>"))))
    assert is_ok(ada.rpc(edit("candidate", box("<entry><id>a</id><port>1</port></entry>"))))
    shown_to_ada = error(ada.rpc(validate("<candidate/>")))
    assert shown_to_ada["app-tag"] == "data-not-unique"
    for operation in (validate("<candidate/>"), commit()):
        reply = rita.rpc(operation)
        told = error(reply)
        assert told["tag"] == shown_to_ada["tag"]
        assert b"secret" not in etree.tostring(reply)
        assert b"'b'" not in etree.tostring(reply)


def test_partial_locks_of_what_may_be_read(rita: Client, ada: Client) -> None:
    """RFC 5717: a user locks what it may read; what is hidden answers as if it were not there."""
    number, nodes = locked(partial_lock(rita, "/t:box/t:entry", "/t:box/t:size", "/t:box/t:name"))
    assert nodes == ["/box/entry[id='a']", "/box/name"]
    for select in ("/t:box/t:size", "/t:box/t:entry[t:id='b']", "/t:box/t:entry[t:id='none']"):
        told = error(partial_lock(rita, select))
        assert (told["tag"], told["app-tag"]) == ("operation-failed", "no-matches")
    assert is_ok(ada.rpc(edit("running", box("<entry><id>b</id><port>1</port></entry>"))))
    assert refused(ada, edit("running", box("<name>m</name>"))) == ("in-use", "/box/name")
    assert is_ok(rita.rpc(f'<partial-unlock xmlns="urn:ietf:params:xml:ns:netconf:partial-lock:1.0"><lock-id>{number}'
                          "</lock-id></partial-unlock>"))  # fmt: skip
    _, nodes = locked(partial_lock(ada, "/t:box/t:size"))
    assert nodes == ["/box/size"]
    assert refused(rita, edit("running", box("<size>1</size>"))) == ("access-denied", "/box/size")


def test_each_operation_has_its_own_right(server: Server, toy: Toy) -> None:
    """Checklist 122, exec: whoever may only edit may neither commit nor validate, lock nor copy, in any form."""
    permitted = {"name": "edit", "rpc-name": "edit-config", "access-operations": "exec", "action": "permit"}
    rules = [{"name": "own", "group": ["reader"], "rule": [permitted, {"name": "d", "path": "/", "action": "permit"}]}]
    toy.dispatch.access = Access(toy.schema, {"exec-default": "deny", "rule-list": rules})
    operations = {
        "commit": commit(),
        "discard-changes": DISCARD,
        "cancel-commit": "<cancel-commit/>",
        "validate": validate("<candidate/>"),
        "copy-config": copy("<running/>", "<startup/>"),
        "delete-config": "<delete-config><target><startup/></target></delete-config>",
        "lock": lock("candidate"),
        "unlock": lock("candidate").replace("lock>", "unlock>"),
        "get": "<get/>",
        "get-config": "<get-config><source><running/></source></get-config>",
        "get-data": request(),
        "edit-data": f'<edit-data xmlns="{NMDA}"><datastore xmlns:ds="urn:ietf:params:xml:ns:yang:ietf-datastores">'
        "ds:running</datastore><config/></edit-data>",
        "partial-lock": '<partial-lock xmlns="urn:ietf:params:xml:ns:netconf:partial-lock:1.0">'
        f'<select xmlns:t="{TOY}">/t:box</select></partial-lock>',
        "partial-unlock": '<partial-unlock xmlns="urn:ietf:params:xml:ns:netconf:partial-lock:1.0">'
        "<lock-id>1</lock-id></partial-unlock>",
        "factory-reset": '<factory-reset xmlns="urn:ietf:params:xml:ns:yang:ietf-factory-default"/>',
    }
    with server.client(user="rita") as rita:
        assert is_ok(rita.rpc(edit("candidate", box("<name>m</name>"))))
        for name, operation in operations.items():
            told = error(rita.rpc(operation))
            assert (told["type"], told["tag"]) == ("protocol", "access-denied"), name
            assert told["path"].text.endswith(f":{name}")
        assert toy.dispatch.running.tree is BEGIN
        permitted["rpc-name"] = "*"
        toy.dispatch.access = Access(toy.schema, {"exec-default": "deny", "rule-list": rules})
        for name in ("validate", "discard-changes", "get-data", "edit-data", "partial-lock"):
            assert not list(rita.rpc(operations[name]).iter(f"{{{NC}}}rpc-error")), name
