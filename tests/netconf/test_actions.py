"""YANG 1.1 actions as NETCONF clients invoke them, over real SSH (RFC 7950 section 7.15, RFC 8341 section 3.1.3)."""

from __future__ import annotations

from collections.abc import Iterator
import logging

from lxml import etree
import pytest

from agent.core.access import Access
from agent.core.compile import CompileError, compile_modules
from agent.core.coverage import unserved_actions
from agent.core.instance import AbsentError, refuse_absent
from agent.core.tree import Tree
from agent.errors import Step
from tests.netconf.support import MORE, NC, TOY, Client, Server, error, is_ok
from tests.toy.build import RULES, Toy

YANG = "urn:ietf:params:xml:ns:yang:1"
ACTS = "urn:example:toy-acts"
BARN = "<barn><row>18446744073709551615</row><name>big one</name>{}</barn>"
CLEAN = "<clean><with>water</with></clean>"


def farm(inner: str) -> str:
    return f'<action xmlns="{YANG}"><farm xmlns="{ACTS}">{inner}</farm></action>'


@pytest.fixture
def toy() -> Iterator[Toy]:
    with Toy.open(netconf=True, acts=True, operations={"/ietf-netconf-monitoring:get-schema": lambda *_: None}) as made:
        yield made


@pytest.fixture
def acted(client: Client, toy: Toy) -> Client:
    """A client of a toy with a barn, a door, a cow, a mill and an entry."""
    barn = {"row": "18446744073709551615", "name": "big one", "door": {}, "cow": [{"id": "x]'\"y"}]}
    toy.dispatch.running.tree = {
        "toy-acts:farm": {"wind": {"blades": 3}, "barn": [barn, {"row": "1", "name": "bare"}]},
        "toy:box": {"entry": [{"id": "a", "address": "1"}]},
    }
    return client


def found(reply: etree._Element) -> list[tuple[str, str | None]]:
    """All that a reply holds, by full name."""
    return [(str(one.tag), one.text) for one in reply.iterdescendants()]


def test_on_a_container(acted: Client, toy: Toy) -> None:
    """Input defaults are filled in, output defaults are left to the client; output stands right below rpc-reply."""
    reply = acted.rpc(farm("<open><gate> east </gate></open>"))
    assert found(reply) == [(f"{{{ACTS}}}said", "east 3")]
    assert toy.acts.done == [("open", (Step("toy-acts", "farm"),), {"gate": "east", "wide": 3})]


def test_on_a_list_entry(acted: Client, toy: Toy) -> None:
    """The provider is told the instance by its canonical keys; nested output is encoded by the schema."""
    reply = acted.rpc(farm(BARN.format("<clean><with>broom</with><corner>1</corner><corner>2</corner></clean>")))
    dirt, weight = f"{{{ACTS}}}dirt", f"{{{ACTS}}}weight"
    words = [(f"{{{ACTS}}}found", "egg"), (f"{{{ACTS}}}found", "broom")]
    assert found(reply) == [(dirt, None), (weight, "1.5"), *words]
    assert toy.acts.keys() == [("row", "18446744073709551615"), ("name", "big one")]
    assert toy.acts.done[-1][2] == {"with": "broom", "corner": [1, 2]}


def test_keys_in_any_order_and_form(acted: Client, toy: Toy) -> None:
    """As edits take them: another order, padding and leading zeros lead to the same canonical keys."""
    swapped = f"<barn>{CLEAN}<name>bare</name><row> 001 </row></barn>"
    assert len(acted.rpc(farm(swapped)))
    assert toy.acts.keys() == [("row", "1"), ("name", "bare")]


def test_deeper_below_state_and_in_other_modules(acted: Client, toy: Toy) -> None:
    """Below two lists, in a presence container, on state, and on a list that another module has augmented."""
    assert found(acted.rpc(farm(BARN.format("<cow><id>x]'\"y</id><milk/></cow>")))) == [(f"{{{ACTS}}}litres", "7")]
    assert toy.acts.keys()[-1] == ("id", "x]'\"y")
    assert is_ok(acted.rpc(farm(BARN.format("<door><lift/></door>"))))
    assert is_ok(acted.rpc(farm("<seen><bird><ring>a1</ring><feed/></bird></seen>")))
    box = f'<box xmlns="{TOY}"><entry><id>a</id><touch xmlns="{ACTS}"/></entry></box>'
    assert is_ok(acted.rpc(f'<y:action xmlns:y="{YANG}">{box}</y:action>'))
    assert toy.acts.names == ["milk", "lift", "feed", "touch"]


MISSING = [
    ("<barn><row>2</row><name>bare</name>" + CLEAN + "</barn>", "/ta:farm/ta:barn[ta:row='2'][ta:name='bare']"),
    ("<barn><row>1</row><name>bare</name><door><lift/></door></barn>", "/ta:door"),
    (BARN.format("<cow><id>z</id><milk/></cow>"), "/ta:cow[ta:id='z']"),
    ("<barn><row>9</row><name>x</name><cow><id>z</id><milk/></cow></barn>", "[ta:name='x']"),
    ("<seen><bird><ring>b2</ring><feed/></bird></seen>", "/ta:bird[ta:ring='b2']"),
]


@pytest.mark.parametrize(("inner", "end"), MISSING)
def test_the_instance_must_exist(acted: Client, toy: Toy, inner: str, end: str) -> None:
    """data-missing, with the path of the first instance that is not there."""
    told = error(acted.rpc(farm(inner)))
    assert (told["type"], told["tag"]) == ("application", "data-missing")
    assert told["path"].text.endswith(end)
    assert toy.acts.done == []


def test_cases_of_a_choice(acted: Client, toy: Toy) -> None:
    """A container without presence is there with its parent, unless another case stands in its place."""
    assert is_ok(acted.rpc(farm("<wind><spin/></wind>")))
    told = error(acted.rpc(farm("<sun><tilt/></sun>")))
    assert (told["tag"], told["path"].text) == ("data-missing", "/ta:farm/ta:sun")
    toy.dispatch.running.tree = {}
    assert is_ok(acted.rpc(farm("<sun><tilt/></sun>")))
    assert toy.acts.names == ["spin", "tilt"]


BAD = [
    ("", "missing-element", "farm"),
    ("<barn/>", "missing-element", "row"),
    ("<barn><row>1</row>" + CLEAN + "</barn>", "missing-element", "name"),
    ("<barn><row>1</row><name>bare</name></barn>", "missing-element", "barn"),
    ("<barn><row>x</row><name>bare</name>" + CLEAN + "</barn>", "invalid-value", "row"),
    ("<barn><row>1</row><row>1</row><name>bare</name>" + CLEAN + "</barn>", "bad-element", "row"),
    (BARN.format(CLEAN + CLEAN), "bad-element", "clean"),
    (BARN.format(CLEAN) * 2, "bad-element", "barn"),
    ("<open><gate>a</gate></open><wind><spin/></wind>", "bad-element", "wind"),
    ("<open><gate>a</gate></open><nothing/>", "unknown-element", "nothing"),
    ("<name>x</name>", "unknown-element", "name"),
    (BARN.format("<colour>red</colour>" + CLEAN), "unknown-element", "colour"),
    ("<nothing/>", "unknown-element", "nothing"),
    (f'<open xmlns="{TOY}"/>', "unknown-element", "open"),
    ('<open xmlns="urn:none"/>', "unknown-namespace", "open"),
    ("text<open><gate>a</gate></open>", "bad-element", "farm"),
    ("<open/>", "missing-element", "gate"),
    ("<open><gate/></open>", "invalid-value", "gate"),
    ("<open><gate>123456789</gate></open>", "invalid-value", "gate"),
    ("<open><gate>a</gate><gate>b</gate></open>", "bad-element", "gate"),
    ("<open><gate>a</gate><nothing/></open>", "unknown-element", "nothing"),
    ("<wind><spin><x/></spin></wind>", "unknown-element", "x"),
    (BARN.format("<clean><with>soap</with></clean>"), "invalid-value", "with"),
    (BARN.format("<clean><with>water</with><slow/><fast/></clean>"), "bad-element", "fast"),
]


@pytest.mark.parametrize(("inner", "tag", "element"), BAD)
def test_what_is_no_action(acted: Client, toy: Toy, inner: str, tag: str, element: str) -> None:
    """Each with its tag and the element's name (RFC 7950 7.15.2: a second action is bad-element); nothing is called."""
    told = error(acted.rpc(farm(inner)))
    assert (told["tag"], told["info"]["bad-element"]) == (tag, element)
    assert toy.acts.done == []


def test_paths_of_bad_input(acted: Client) -> None:
    """They begin at the instance, go through the action and end at the input node."""
    told = error(acted.rpc(farm("<barn><row>1</row><name>bare</name><clean/></barn>")))
    assert told["path"].text == "/ta:farm/ta:barn[ta:row='1'][ta:name='bare']/ta:clean/ta:with"
    corners = "<corner>1</corner><corner>2</corner><corner>3</corner>"
    told = error(acted.rpc(farm(BARN.format(f"<clean><with>broom</with>{corners}</clean>"))))
    assert (told["app-tag"], told["path"].text.rpartition("/")[2]) == ("too-many-elements", "ta:corner")


def test_must_and_when(acted: Client, toy: Toy) -> None:
    """Input conditions see the input, the instance around it, and all other data (RFC 7950 section 6.4.1)."""

    def clean(inner: str) -> etree._Element:
        return acted.rpc(farm(BARN.format(f"<clean>{inner}</clean>")))

    told = error(clean("<with>water</with><corner>1</corner>"))
    assert (told["tag"], told["app-tag"], told["message"]) == ("operation-failed", "wet-corner", "no water in corners")
    assert told["path"].text.endswith("[ta:name='big one']/ta:clean")
    assert len(clean("<with>broom</with><corner>1</corner>"))
    told = error(clean("<with>broom</with><colour>red</colour>"))
    assert (told["tag"], told["info"]) == ("unknown-element", {"bad-element": "colour"})
    assert len(clean("<with>water</with><colour>red</colour>"))
    toy.dispatch.running.tree["toy-acts:farm"]["barn"][0]["colour"] = "green"
    told = error(clean("<with>water</with><colour>red</colour>"))
    assert (told["tag"], told["app-tag"]) == ("operation-failed", "must-violation")
    assert told["path"].text.endswith("/ta:clean/ta:colour")
    assert len(clean("<with>water</with><colour>green</colour>"))
    toy.dispatch.running.tree["toy:box"]["name"] = "any"
    assert len(clean("<with>water</with><colour>red</colour>"))
    assert toy.acts.names == ["clean"] * 4


def test_must_of_an_rpc(acted: Client, toy: Toy) -> None:
    """The same for RPCs: absolute paths lead to the data, relative ones stay in the input, as does error-path."""
    pick = f'<pick xmlns="{ACTS}">{{}}</pick>'
    told = error(acted.rpc(pick.format("<barn>none</barn>")))
    assert (told["tag"], told["message"], told["path"].text) == ("operation-failed", "no such barn", "/ta:barn")
    crates = "<crate><n>4</n><full>true</full></crate><crate><n>{}</n><full>true</full></crate>"
    told = error(acted.rpc(pick.format(crates.format(5))))
    assert (told["app-tag"], told["path"].text) == ("must-violation", "/ta:crate[ta:n='5']/ta:full")
    assert toy.calls == []
    assert is_ok(acted.rpc(pick.format("<barn>bare</barn>" + crates.format(3))))
    assert [name for name, _ in toy.calls] == ["pick"]


def test_two_actions_and_none(acted: Client, toy: Toy) -> None:
    """RFC 7950 section 7.15.2: only one action in an rpc; the second subtree may be another top-level node."""
    other = f'<box xmlns="{TOY}"><entry><id>a</id><touch xmlns="{ACTS}"/></entry></box>'
    told = error(acted.rpc(farm("<wind><spin/></wind>").replace("</action>", f"{other}</action>")))
    assert (told["tag"], told["info"]) == ("bad-element", {"bad-element": "box"})
    told = error(acted.rpc(f'<action xmlns="{YANG}"/>'))
    assert (told["tag"], told["info"]) == ("missing-element", {"bad-element": "action"})
    told = error(acted.rpc("<action/>"))
    assert (told["tag"], told["info"]) == ("unknown-element", {"bad-element": "action"})
    told = error(acted.rpc(f'<open xmlns="{ACTS}"><gate>a</gate></open>'))
    assert (told["tag"], told["info"]) == ("unknown-element", {"bad-element": "open"})
    assert toy.acts.done == []


def test_nobody_serves_it(acted: Client) -> None:
    """operation-not-supported."""
    assert error(acted.rpc(farm("<unheard/>")))["tag"] == "operation-not-supported"


def test_a_provider_that_breaks(acted: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Checklist 43: a neutral error, the traceback in the log, the session goes on."""
    with caplog.at_level(logging.CRITICAL):
        told = error(acted.rpc(farm("<vault><break/></vault>")))
    assert told["tag"] == "operation-failed"
    assert "nothing" not in told["message"]
    assert is_ok(acted.rpc(farm("<wind><spin/></wind>")))


def rules(toy: Toy, *own: Tree) -> None:
    """rita's: what RULES gives a reader (all data may be read, no exec), after `own`."""
    named = [{"name": str(index), **rule} for index, rule in enumerate(own)]
    mine = {"name": "own", "group": ["reader"], "rule": named}
    toy.dispatch.access = Access(toy.schema, {**RULES, "rule-list": [mine, *RULES["rule-list"]]})


def permit(path: str, operations: str = "exec", action: str = "permit") -> Tree:
    return {"path": path, "access-operations": operations, "action": action}


def test_access(acted: Client, server: Server, toy: Toy) -> None:
    """Checklist 122, exec: the action's own right, instance by instance, and its ancestors must be readable.

    access-denied names the action's instance; whether one exists is not told to who may not call it.
    """
    bare, big = (
        farm(f"<barn><row>{row}</row><name>{name}</name>{CLEAN}</barn>")
        for row, name in (("1", "bare"), ("18446744073709551615", "big one"))
    )
    none = farm(f"<barn><row>5</row><name>none</name>{CLEAN}</barn>")
    clean = "/toy-acts:farm/barn{}/clean"
    with server.client(user="rita") as rita:
        for sent in (bare, none):
            told = error(rita.rpc(sent))
            assert (told["type"], told["tag"]) == ("protocol", "access-denied")
        assert told["path"].text == "/ta:farm/ta:barn[ta:row='5'][ta:name='none']/ta:clean"
        assert toy.dispatch.access.counters.operations.value == 2
        rules(toy, permit(clean.format("[row='1'][name='bare']")))
        assert len(rita.rpc(bare)) == 3
        assert error(rita.rpc(big))["tag"] == "access-denied"
        rules(toy, permit(clean.format("[row='1']"), action="deny"), permit(clean.format("")))
        assert len(rita.rpc(big))
        assert error(rita.rpc(none))["tag"] == "data-missing"
        assert error(rita.rpc(bare))["tag"] == "access-denied"
        # reading stops above it
        rules(toy, permit("/toy-acts:farm/barn[row='1']", "read", "deny"), permit(clean.format("")))
        assert error(rita.rpc(bare))["tag"] == "access-denied"
        assert len(rita.rpc(big))
        # an RPC's rule says nothing of actions
        rules(toy, {"rpc-name": "*", "access-operations": "exec", "action": "permit"})
        assert error(rita.rpc(bare))["tag"] == "access-denied"
    assert toy.acts.names == ["clean"] * 3


def test_default_deny_all_above(acted: Client, server: Server, toy: Toy) -> None:
    """Checklist 122: below nacm:default-deny-all only an explicit rule permits, whatever exec-default is."""
    toy.dispatch.access = Access(toy.schema, {"read-default": "permit", "exec-default": "permit"})
    with server.client(user="rita") as rita:
        assert is_ok(rita.rpc(farm("<wind><spin/></wind>")))
        assert error(rita.rpc(farm("<vault><break/></vault>")))["tag"] == "access-denied"
        vault = {"name": "v", "path": "/toy-acts:farm/vault", "access-operations": "read exec", "action": "permit"}
        given = {"name": "v", "group": ["*"], "rule": [vault]}
        toy.dispatch.access = Access(toy.schema, {"exec-default": "permit", "rule-list": [given]})
        assert error(rita.rpc(farm("<vault><break/></vault>")))["tag"] == "operation-failed"


def test_the_log_says_who_was_denied(toy: Toy, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with server.client(user="rita") as rita, caplog.at_level(logging.WARNING):
        rita.rpc(farm("<wind><spin/></wind>"))
    assert "exec /toy-acts:farm/wind/spin, user rita" in caplog.text


def test_denied_before_anything_is_read(server: Server, toy: Toy) -> None:
    """No provider of state is asked for who has no right."""
    with server.client(user="rita") as rita:
        assert error(rita.rpc(farm("<seen><bird><ring>a1</ring><feed/></bird></seen>")))["tag"] == "access-denied"
    assert toy.acts.birds.reads == 0


def test_only_what_is_around_it_is_read(acted: Client, toy: Toy) -> None:
    """Other providers of state are not asked whether an instance exists."""
    asked = toy.status.reads
    assert is_ok(acted.rpc(farm("<seen><bird><ring>a1</ring><feed/></bird></seen>")))
    assert (toy.acts.birds.reads, toy.status.reads) == (1, asked)


def test_rows_of_a_store(toy: Toy) -> None:
    """An instance in a list of a store is found by its key; no page is walked."""
    toy.report_list.value.add("r1")
    for name, there in (("r1", True), ("r2", False)):
        path = (Step("toy", "status"), Step("toy", "report", (("id", name),)))
        if there:
            refuse_absent(path, toy.schema, toy.dispatch._whole)
            continue
        with pytest.raises(AbsentError):
            refuse_absent(path, toy.schema, toy.dispatch._whole)
    assert toy.report_list.value.pages_read == 0


def test_schema_and_start(toy: Toy) -> None:
    """Actions are found by path; one that nobody serves is named at the start."""
    clean = toy.schema.find("/toy-acts:farm/barn/clean")
    assert clean is not None
    assert clean.kind == "action"
    assert toy.schema.find("/toy-acts:farm/barn/clean/input/with") is not None
    assert toy.schema.find("/toy-acts:farm/clean") is None
    assert "/toy-acts:farm/barn/clean" in unserved_actions(toy.schema, (), ())
    assert unserved_actions(toy.schema, (), ("/toy-acts:farm", "/toy:box")) == []


def test_lists_without_keys_have_no_actions(tmp_path_factory: pytest.TempPathFactory) -> None:
    """RFC 7950 section 7.15: the compiler refuses them."""
    folder = tmp_path_factory.mktemp("yang")
    head = 'module bad { yang-version 1.1; namespace "urn:bad"; prefix b;'
    (folder / "bad.yang").write_text(f"{head} list l {{ config false; leaf x {{ type string; }} action a; }} }}")
    with pytest.raises(CompileError):
        compile_modules([folder], ["bad"])


def test_message_id_and_attributes(acted: Client) -> None:
    """The reply of an action carries the attributes of its rpc as any other."""
    reply = acted.rpc(farm("<open><gate>a</gate></open>"), ' xmlns:u="urn:u" u:note="n"')
    assert reply.get("{urn:u}note") == "n"
    assert reply.tag == f"{{{NC}}}rpc-reply"
    assert MORE not in etree.tostring(reply).decode()
