"""Startup over restarts, configuration files by URL, partial locks, the factory default, edit-data: over real SSH."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path

from lxml import etree
import pytest

from agent.core import locks
from agent.core.requests import Lock
from agent.core.xpath_nodes import NodeChoice
from agent.core.xpath_parse import Scope, parse
from agent.errors import RequestError
from agent.northbound.documents import LIMIT, ConfigurationFiles
from agent.transport.files import Folders
from tests.netconf.operations import DISCARD, box, commit, copy, edit, lock, shown, unlock, validate
from tests.netconf.support import NC, Client, Server, error, is_ok
from tests.netconf.test_datastores import BAD, ok
from tests.toy.build import Store, Toy, toy_schema

PL = "urn:ietf:params:xml:ns:netconf:partial-lock:1.0"
NMDA = 'xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-nmda" xmlns:ds="urn:ietf:params:xml:ns:yang:ietf-datastores"'
FACTORY = {"toy:box": {"name": "factory"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    return made


@pytest.fixture
def toy(folder: Path) -> Iterator[Toy]:
    files = ConfigurationFiles(toy_schema(netconf=True), Folders.at(folder))
    with Toy.open(netconf=True, files=files, factory=FACTORY) as opened:
        yield opened


def url(name: str) -> str:
    return f"<url>file:///{name}</url>"


# startup


def again(store: Store) -> Toy:
    return Toy.open(netconf=True, store=store, factory=FACTORY)


def test_a_start_takes_running_from_startup(client: Client, toy: Toy) -> None:
    """RFC 6241 section 8.7, checklist 98: the first start copies running; after delete-config comes the default."""
    ok(client, edit("running", box("<name>a</name>")))
    assert shown(client, "startup") == ""
    ok(client, copy("<running/>", "<startup/>"), edit("running", box("<name>b</name>")))
    with again(toy.store) as next_one:
        assert next_one.dispatch.running.tree == {"toy:box": {"name": "a"}}
        assert json.loads(toy.store.config or b"") == {"toy:box": {"name": "a"}}
    ok(client, "<delete-config><target><startup/></target></delete-config>")
    with again(toy.store) as next_one:
        assert next_one.dispatch.running.tree == FACTORY


def test_a_first_start_with_startup_keeps_what_is_there() -> None:
    """The option can be turned on for a device that has a configuration."""
    store = Store(config=b'{"toy:box":{"name":"kept"}}')
    for _ in range(2):
        with again(store) as one:
            assert one.dispatch.running.tree == {"toy:box": {"name": "kept"}}
    assert json.loads(store.documents["startup"]) == {"toy:box": {"name": "kept"}}


# url


def test_files_as_source_and_target(client: Client, toy: Toy, folder: Path) -> None:
    """Checklist 97: copies there and back, edits and validation from a file, deletion."""
    ok(client, edit("running", box("<name>a&amp;b</name><turn>x</turn>")), copy("<running/>", url("one.xml")))
    root = etree.parse(folder / "one.xml").getroot()
    assert root.tag == f"{{{NC}}}config"
    assert [child.tag for child in root] == ["{urn:example:toy}box"]
    before = toy.dispatch.running.tree
    ok(client, edit("running", box("<name>z</name><size>5</size>")), copy(url("one.xml"), "<running/>"))
    assert toy.dispatch.running.tree == before
    ok(client, copy(url("one.xml"), "<candidate/>"), validate(url("one.xml")), copy(url("one.xml"), url("two.xml")))
    assert (folder / "two.xml").read_bytes() == (folder / "one.xml").read_bytes()
    (folder / "edit.xml").write_text(f'<config xmlns="{NC}">{box("<size>7</size>")}</config>')
    ok(client, f"<edit-config><target><running/></target>{url('edit.xml')}</edit-config>")
    assert toy.dispatch.running.tree["toy:box"]["size"] == 7
    ok(client, f"<delete-config><target>{url('two.xml')}</target></delete-config>")
    assert not (folder / "two.xml").exists()
    ok(client, copy(f"<config>{box('<name>i</name>')}</config>", "<url>file:flat.xml</url>"))
    ok(client, copy("<url>file://localhost/flat.xml</url>", "<running/>"))
    assert toy.dispatch.running.tree == {"toy:box": {"name": "i"}}


def test_files_that_are_refused(client: Client, toy: Toy, folder: Path) -> None:
    """Checklist 97: other schemes, hosts and ways out of the folder; bad contents as if they were in the request."""
    outside = folder.parent / "outside.xml"
    outside.write_text(f'<config xmlns="{NC}"/>')
    (folder / "link.xml").symlink_to(outside)
    (folder / "folder").mkdir()
    for given in (
        "http://localhost/one.xml",
        "ftp://localhost/one.xml",
        "file://other/one.xml",
        "file:///one.xml?x",
        "file://[/one.xml",
        "file:///../outside.xml",
        "file:///%2e%2e/outside.xml",
        f"file://{outside}",
        "file:///link.xml",
        "file:///folder",
        "file:///missing.xml",
        "file:///",
        "",
        "one.xml",
    ):
        for operation in (
            copy(f"<url>{given}</url>", "<candidate/>"),
            f"<delete-config><target><url>{given}</url></target></delete-config>",
        ):
            told = error(client.rpc(operation))
            assert (told["tag"], told["info"]) == ("invalid-value", {"bad-element": "url"}), given
    assert outside.exists()
    assert error(client.rpc(copy(url("same.xml"), url("same.xml"))))["tag"] == "invalid-value"
    for text, tag in (
        ("<config/>", "unknown-element"),
        (f'<data xmlns="{NC}"/>', "unknown-element"),
        (f'<config xmlns="{NC}">', "malformed-message"),
        (f'<config xmlns="{NC}">{box("<size>x</size>")}</config>', "invalid-value"),
        (f'<config xmlns="{NC}">{box(BAD)}</config>', "operation-failed"),
        (f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{outside}">]><config xmlns="{NC}">&e;</config>', "malformed-message"),
    ):
        (folder / "bad.xml").write_text(text)
        for operation in (copy(url("bad.xml"), "<running/>"), validate(url("bad.xml"))):
            assert error(client.rpc(operation))["tag"] == tag, text
    with (folder / "big.xml").open("wb") as file:
        file.truncate(LIMIT + 1)
    assert error(client.rpc(validate(url("big.xml"))))["tag"] == "too-big"
    assert toy.dispatch.running.tree == {}


def test_both_or_neither(client: Client) -> None:
    """edit-config takes one of config and url."""
    start = "<edit-config><target><candidate/></target>"
    assert error(client.rpc(f"{start}<config/>{url('x')}</edit-config>"))["tag"] == "bad-element"
    assert error(client.rpc(f"{start}</edit-config>"))["tag"] == "missing-element"


# partial locks


def partial_lock(client: Client, *selects: str) -> etree._Element:
    listed = "".join(f"<select>{select}</select>" for select in selects)
    return client.rpc(f'<partial-lock xmlns="{PL}" xmlns:t="urn:example:toy">{listed}</partial-lock>')


def locked(reply: etree._Element) -> tuple[int, list[str]]:
    """lock-id and the locked nodes, without prefixes."""
    number = reply.findtext(f"{{{PL}}}lock-id")
    assert number is not None, etree.tostring(reply)
    nodes = [node.text or "" for node in reply.findall(f"{{{PL}}}locked-node")]
    return int(number), [node.replace("t:", "") for node in nodes]


def partial_unlock(number: int) -> str:
    return f'<partial-unlock xmlns="{PL}"><lock-id>{number}</lock-id></partial-unlock>'


ENTRIES = "<entry><id>a</id></entry><entry><id>b</id></entry><plain><x>1</x></plain><turn>p</turn><turn>q</turn>"


def test_partial_lock(server: Server, toy: Toy) -> None:
    """RFC 5717: what is locked is changed by its holder only, above and below too; the rest by all."""
    with server.client() as one, server.client() as two:
        ok(one, edit("running", box(ENTRIES)))
        number, nodes = locked(partial_lock(one, "/t:box/t:entry[t:id='a']", "/t:box/t:plain/t:x | /box/turn[.='q']"))
        assert nodes == ["/box/entry[id='a']", "/box/plain/x", "/box/turn[.='q']"]
        remove = f'xmlns:xc="{NC}" xc:operation="remove"'
        for content in (
            "<entry><id>a</id><address>h</address></entry>",
            f"<entry {remove}><id>a</id></entry>",
            "<plain><x>2</x></plain>",
            f"<plain {remove}/>",
            f"<turn {remove}>q</turn>",
        ):
            told = error(two.rpc(edit("running", box(content))))
            assert told["tag"] == "in-use", content
            assert told["path"] is not None
        assert (
            error(
                two.rpc(
                    f'<edit-config><target><running/></target><config><box xmlns="urn:example:toy" {remove}/>'
                    "</config></edit-config>"
                )
            )["tag"]
            == "in-use"
        )
        ok(two, edit("candidate", box("<plain><x>9</x></plain>")))
        assert error(two.rpc(commit()))["tag"] == "in-use"
        ok(two, DISCARD, edit("running", box("<entry><id>b</id><address>h</address></entry><turn>r</turn>")))
        ok(one, edit("running", box("<entry><id>a</id><address>i</address></entry><plain><x>2</x></plain>")))
        assert error(two.rpc(partial_unlock(number)))["tag"] == "invalid-value"
        ok(one, partial_unlock(number))
        assert error(one.rpc(partial_unlock(number)))["tag"] == "invalid-value"
        ok(two, edit("running", box("<plain><x>3</x></plain>")))


def test_a_partial_lock_names_what_it_locks(client: Client, toy: Toy) -> None:
    """RFC 5717 section 2.4.1: what locked-node cannot name is not locked; what lies around it can be."""
    ok(client, edit("running", box("<entry><id>a'b\"c</id></entry><entry><id>it's</id></entry>")))
    assert error(partial_lock(client, "/t:box/t:entry"))["tag"] == "operation-failed"
    assert toy.dispatch.datastores.locks.partial == ()
    assert locked(partial_lock(client, "/t:box"))[1] == ["/box"]


def test_what_a_session_locks_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all its partial locks; what others have locked does not count, and unlocking makes room."""
    monkeypatch.setattr(locks, "LOCKED_NODES", 1)
    with server.client() as one, server.client() as two:
        ok(one, edit("running", box("<entry><id>a</id></entry><entry><id>b</id></entry>")))
        number, _ = locked(partial_lock(one, "/t:box/t:entry[t:id='a']"))
        told = error(partial_lock(one, "/t:box/t:entry[t:id='a']"))
        assert (told["tag"], "1 nodes" in told["message"]) == ("resource-denied", True)
        other, _ = locked(partial_lock(two, "/t:box/t:entry[t:id='b']"))
        ok(two, partial_unlock(other))
        ok(one, partial_unlock(number))
        locked(partial_lock(one, "/t:box/t:entry[t:id='b']"))


def test_partial_locks_and_others(server: Server) -> None:
    """RFC 5717: overlap, whole locks, the ends of sessions; error tags and app-tags."""
    with server.client() as one, server.client() as two:
        ok(one, edit("running", box(ENTRIES)))
        locked(partial_lock(one, "/t:box/t:entry"))
        for select in ("/t:box", "/t:box/t:entry[t:id='b']", "/t:box/t:entry/t:id"):
            told = error(partial_lock(two, select))
            assert (told["tag"], told["info"]) == ("lock-denied", {"session-id": str(one.session_id)})
        told = error(two.rpc(lock("running")))
        assert (told["tag"], told["info"]) == ("lock-denied", {"session-id": str(one.session_id)})
        locked(partial_lock(one, "/t:box"))
        ok(one, lock("running"), unlock("running"))
        ok(one, "<close-session/>")
        assert one.closed()
        ok(two, lock("running"))
        with server.client() as three:
            told = error(partial_lock(three, "/t:box"))
            assert (told["tag"], told["info"]) == ("lock-denied", {"session-id": str(two.session_id)})
            ok(two, unlock("running"), commit(confirmed=True))
            told = error(partial_lock(three, "/t:box"))
            assert (told["tag"], told["app-tag"]) == ("in-use", "outstanding-confirmed-commit")


@pytest.mark.parametrize(
    ("select", "nodes"),
    [
        ("//t:entry[t:address='h']", ["/box/entry[id='b']"]),
        ("/t:box/t:entry[last()]", ["/box/entry[id='b']"]),
        ("/t:box/t:entry[position() &lt; 2]/t:id", ["/box/entry[id='a']/id"]),
        ("/*/*[local-name() = 'turn'][2] | //t:x", ["/box/plain/x", "/box/turn[.='q']"]),
        ("t:box/t:entry[1]/..", ["/box"]),
        ("(//t:id)[. = 'b']/text()", ["/box/entry[id='b']/id"]),
        ("/t:box[count(t:entry) = 2]/t:plain", ["/box/plain"]),
        ("//t:id | /t:box/t:entry/t:id", ["/box/entry[id='a']/id", "/box/entry[id='b']/id"]),
    ],
)
def test_any_expression_that_gives_nodes(server: Server, toy: Toy, select: str, nodes: list[str]) -> None:
    """RFC 5717 section 2.4.1 with :xpath: whatever the expression selects of running is locked, each node once."""
    with server.client() as one, server.client() as two:
        ok(one, edit("running", box(ENTRIES.replace("<id>b</id>", "<id>b</id><address>h</address>"))))
        number, found = locked(partial_lock(one, select))
        assert found == nodes
        whole = f'<box xmlns="urn:example:toy" xmlns:xc="{NC}" xc:operation="remove"/>'
        remove = f"<edit-config><target><running/></target><config>{whole}</config></edit-config>"
        assert error(two.rpc(remove))["tag"] == "in-use"
        ok(one, partial_unlock(number))
        ok(two, remove)


def test_nodes_are_looked_for_again_where_running_changed_meanwhile(toy: Toy) -> None:
    """What is locked is what the expression selects in running as the lock is taken; a session that ended has none."""
    datastores, session = toy.dispatch.datastores, toy.session()
    scope = Scope({"t": "toy"})
    request = Lock(parts=(NodeChoice(parse("//t:turn[last()]", scope), scope),))

    def put(*turns: str) -> None:
        datastores.running.put({"toy:box": {"turn": list(turns)}}, {}, [])

    for changes in (1, 2, 3, 10):
        put("a")
        steps = datastores.lock_parts(request, session, lambda: True)
        part = next(steps)
        for number in range(changes):
            found = part()
            put("a", f"b{number}")
            try:
                part = steps.send(found)
            except StopIteration as end:
                answer = end.value
                break
        else:
            with pytest.raises(StopIteration) as ended:
                steps.send(part())
            answer = ended.value.value
        assert answer["locked-node"] == [f"/toy:box/turn[.='b{number}']"]
        datastores.locks.give_parts(answer["lock-id"], session)
    steps = datastores.lock_parts(request, session, lambda: False)
    found = next(steps)()
    with pytest.raises(RequestError):
        steps.send(found)
    assert datastores.locks.partial == ()


@pytest.mark.parametrize(
    ("select", "tag", "app_tag"),
    [
        ("/t:box/t:entry[t:id='zz']", "operation-failed", "no-matches"),
        ("/t:need", "operation-failed", "no-matches"),
        ("/t:box/t:frob", "operation-failed", "no-matches"),
        ("/t:status", "operation-failed", "no-matches"),
        ("//t:report/t:id | //t:uptime", "operation-failed", "no-matches"),
        ("/t:box/t:entry[t:address='h']", "operation-failed", "no-matches"),
        ("/t:box/@t:name", "operation-failed", "no-matches"),
        ("count(/t:box)", "invalid-value", "not-a-node-set"),
        ("string(/t:box/t:entry/t:id)", "invalid-value", "not-a-node-set"),
        ("/t:box/t:turn = 'p'", "invalid-value", "not-a-node-set"),
        ("/", "invalid-value", "not-a-node-set"),
        ("/t:box/ancestor::node()", "invalid-value", "not-a-node-set"),
        ("/t:box[count('x') = 1]", "invalid-value", None),
        ("/u:box", "invalid-value", None),
        ("/t:box |", "invalid-value", None),
        ("/t:box[frob()]", "invalid-value", None),
        ("", "invalid-value", None),
        ("/" * 100_000, "too-big", None),
        ("//*" + "[count(//*" * 9 + ") > 0]" * 9, "resource-denied", None),
    ],
)
def test_what_cannot_be_locked(client: Client, toy: Toy, select: str, tag: str, app_tag: str | None) -> None:
    """RFC 5717 section 2.4.1: nothing there, no configuration, no node-set, no XPath, no end."""
    ok(client, edit("running", box(ENTRIES)))
    told = error(partial_lock(client, select))
    assert (told["tag"], told["app-tag"]) == (tag, app_tag)
    assert toy.dispatch.datastores.locks.partial == ()


def test_partial_lock_without_select(client: Client) -> None:
    """min-elements 1, and no more than a limit."""
    assert error(partial_lock(client))["tag"] == "missing-element"
    assert (
        error(partial_lock(client, *[f"/t:box/t:entry[t:id='{number}']" for number in range(101)]))["tag"] == "too-big"
    )
    assert error(client.rpc(f'<partial-unlock xmlns="{PL}"/>'))["tag"] == "missing-element"
    assert (
        error(client.rpc(f'<partial-unlock xmlns="{PL}"><lock-id>x</lock-id></partial-unlock>'))["tag"]
        == "invalid-value"
    )


# factory default

RESET = '<factory-reset xmlns="urn:ietf:params:xml:ns:yang:ietf-factory-default"/>'


def test_factory_reset(server: Server, toy: Toy) -> None:
    """RFC 8808: all datastores hold the factory default, and a confirmed commit is over; locks count."""
    with server.client() as one, server.client() as two:
        ok(one, edit("running", box("<size>5</size>")), copy("<running/>", "<startup/>"))
        for datastore in ("running", "candidate", "startup"):
            ok(two, lock(datastore))
            assert error(one.rpc(RESET))["tag"] == "in-use"
            ok(two, unlock(datastore))
        ok(
            one,
            edit("candidate", box("<size>6</size>")),
            commit(confirmed=True),
            edit("candidate", box("<size>7</size>")),
        )
        ok(one, RESET)
        for datastore in ("running", "candidate", "startup"):
            assert shown(two, datastore) == "<box><name>factory</name></box>"
        assert toy.dispatch.datastores.trial is None
        ok(two, commit(), RESET)
        with server.client(user="rita") as reader:
            assert error(reader.rpc(RESET))["tag"] == "access-denied"


# NMDA


def edit_data(datastore: str, config: str, more: str = "") -> str:
    return f"<edit-data {NMDA}><datastore>{datastore}</datastore>{more}<config>{config}</config></edit-data>"


def test_edit_data(client: Client, toy: Toy, folder: Path) -> None:
    """Checklist 121, edit-data: the three that can be written; constraints where RFC 7950 section 8.3.3 has them."""
    for datastore in ("running", "candidate", "startup"):
        ok(client, edit_data(f"ds:{datastore}", box(f"<name>{datastore}</name>")))
        assert shown(client, datastore) == f"<box><name>{datastore}</name></box>"
    replace = "<default-operation>replace</default-operation>"
    ok(client, edit_data("ds:startup", box("<size>1</size>"), replace))
    assert shown(client, "startup") == "<box><size>1</size></box>"
    for datastore in ("running", "startup"):
        assert error(client.rpc(edit_data(f"ds:{datastore}", box(BAD))))["app-tag"] == "must-violation"
    ok(client, edit_data("ds:candidate", box(BAD)))
    (folder / "edit.xml").write_text(f'<config xmlns="{NC}">{box("<size>7</size>")}</config>')
    ok(client, f"<edit-data {NMDA}><datastore>ds:running</datastore>{url('edit.xml')}</edit-data>")
    assert toy.dispatch.running.tree["toy:box"]["size"] == 7


def test_edit_data_elsewhere(client: Client) -> None:
    """Checklist 121: what cannot be written, or is no datastore: invalid-value."""
    fd = 'xmlns:fd="urn:ietf:params:xml:ns:yang:ietf-factory-default"'
    for name in ("ds:operational", "ds:intended", "ds:frob", "ds:dynamic", "frob", "x:running", ""):
        assert error(client.rpc(edit_data(name, box("<size>1</size>"))))["tag"] == "invalid-value", name
    operation = edit_data("fd:factory-default", box("<size>1</size>")).replace("<edit-data", f"<edit-data {fd}")
    assert error(client.rpc(operation))["tag"] == "invalid-value"
    assert error(client.rpc(f"<edit-data {NMDA}><config/></edit-data>"))["tag"] == "missing-element"


def test_locks_and_validation_by_identity(client: Client) -> None:
    """RFC 8526 section 3.3: lock, unlock and validate take datastores by identity."""

    def named(name: str) -> str:
        return f"<datastore {NMDA}>ds:{name}</datastore>"

    ok(client, f"<lock><target>{named('candidate')}</target></lock>", unlock("candidate"))
    ok(client, lock("running"), f"<unlock><target>{named('running')}</target></unlock>")
    ok(client, validate(named("startup")), validate(named("intended")))
    assert error(client.rpc(f"<lock><target>{named('operational')}</target></lock>"))["tag"] == "invalid-value"
    assert is_ok(client.rpc(edit("candidate", "")))


# with-defaults in copies

LAB = "urn:example:toy-defaults"
WITH = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"


def in_mode(target: str, mode: str) -> str:
    parameter = f'<with-defaults xmlns="{WITH}">{mode}</with-defaults>'
    return copy("<running/>", target).replace("</copy-config>", f"{parameter}</copy-config>")


def test_copies_in_each_mode(client: Client, toy: Toy, folder: Path) -> None:
    """RFC 6243 section 4.5.1, checklist 67, 97: files show defaults as the mode says, and come back the same."""
    entries = "".join(f"<interface><name>{name}</name>{mtu}</interface>" for name, mtu in MTUS.items())
    ok(client, edit("running", f'<interfaces xmlns="{LAB}">{entries}</interfaces>'))
    before = toy.dispatch.running.tree
    tag = "{urn:ietf:params:xml:ns:netconf:default:1.0}default"
    for mode, wanted in MODES.items():
        ok(client, in_mode(url("copy.xml"), mode))
        found = [(one.text, one.get(tag)) for one in etree.parse(folder / "copy.xml").iter(f"{{{LAB}}}mtu")]
        assert found == wanted
        ok(client, copy(url("copy.xml"), "<running/>"))
        assert (toy.dispatch.running.tree == before) == (mode in ("explicit", "report-all-tagged"))
        ok(client, edit("running", f'<interfaces xmlns="{LAB}">{entries}</interfaces>', REPLACE))
    assert error(client.rpc(in_mode(url("copy.xml"), "frob")))["tag"] == "invalid-value"


REPLACE = "<default-operation>replace</default-operation>"
MTUS = {"a": "<mtu>8192</mtu>", "b": "<mtu>1500</mtu>", "c": ""}
MODES: dict[str, list[tuple[str, str | None]]] = {
    "explicit": [("8192", None), ("1500", None)],
    "trim": [("8192", None)],
    "report-all": [("8192", None), ("1500", None), ("1500", None)],
    "report-all-tagged": [("8192", None), ("1500", None), ("1500", "true")],
}


def test_copies_between_datastores_in_each_mode(client: Client, toy: Toy) -> None:
    """A datastore takes defaults as if they had been set, except those that tags leave unset."""
    entries = "".join(f"<interface><name>{name}</name>{mtu}</interface>" for name, mtu in MTUS.items())
    ok(client, edit("running", f'<interfaces xmlns="{LAB}">{entries}</interfaces>'))
    for mode, wanted in {"explicit": 2, "trim": 1, "report-all": 3, "report-all-tagged": 2}.items():
        ok(client, in_mode("<candidate/>", mode))
        text = shown(client, "candidate")
        assert text.count("<mtu>") == wanted, text
        ok(client, DISCARD)
