"""edit-config on running, over real SSH (RFC 6241 section 7.2, RFC 7950 sections 7, 8 and 15)."""

from __future__ import annotations

import json
from typing import Any

from lxml import etree
import pytest

from tests.netconf.support import NC, TOY, Client, Server, error, errors, is_ok
from tests.toy.build import Toy

RUNNING = "<target><running/></target>"
XC = f'xmlns:xc="{NC}" xc:operation'


def edit(client: Client, config: str, options: str = "") -> etree._Element:
    return client.rpc(f"<edit-config>{RUNNING}{options}<config>{config}</config></edit-config>")


def box(content: str, attributes: str = "") -> str:
    return f'<box xmlns="urn:example:toy"{attributes}>{content}</box>'


def put(client: Client, content: str) -> None:
    reply = edit(client, box(content))
    assert is_ok(reply), etree.tostring(reply)


@pytest.fixture
def tree(toy: Toy) -> Any:
    """The box as it now is in the datastore."""
    return lambda: toy.dispatch.running.tree.get("toy:box", {})


def test_merge(client: Client, tree: Any) -> None:
    """Checklist 71."""
    put(client, "<name>a</name><size>5</size>")
    put(client, "<size>6</size><on>true</on>")
    assert tree() == {"name": "a", "size": 6, "on": True}


def test_replace(client: Client, toy: Toy, tree: Any) -> None:
    """Checklist 72: of a container, and of the whole datastore."""
    put(client, "<name>a</name><plain><x>1</x><deep><y>2</y></deep></plain>")
    assert is_ok(edit(client, box(f'<plain {XC}="replace"><x>3</x></plain>')))
    assert tree() == {"name": "a", "plain": {"x": "3"}}
    store = '<store xmlns="urn:example:toy"><limit>5</limit></store>'
    assert is_ok(edit(client, store, "<default-operation>replace</default-operation>"))
    assert toy.dispatch.running.tree == {"toy:store": {"limit": 5}}


def test_create_and_delete(client: Client, tree: Any) -> None:
    """Checklist 73, 74."""
    put(client, "<name>a</name>")
    told = error(edit(client, box(f'<name {XC}="create">b</name>')))
    assert told["tag"] == "data-exists"
    told = error(edit(client, box(f'<size {XC}="delete"/>')))
    assert told["tag"] == "data-missing"
    assert is_ok(edit(client, box(f'<size {XC}="remove"/>')))
    assert tree() == {"name": "a"}
    assert is_ok(edit(client, box(f'<name {XC}="delete"/>')))
    assert tree() == {}


def test_default_operation_none(client: Client, tree: Any) -> None:
    """Checklist 75."""
    none = "<default-operation>none</default-operation>"
    assert error(edit(client, box("<plain><x>1</x></plain>"), none))["tag"] == "data-missing"
    put(client, "<plain><deep><y>2</y></deep></plain>")
    assert is_ok(edit(client, box(f'<plain><x {XC}="create">1</x></plain>'), none))
    assert tree() == {"plain": {"x": "1", "deep": {"y": "2"}}}


def test_list_entries(client: Client, tree: Any) -> None:
    """Checklist 76, 83, 84, 85: keys are enough to delete, needed everywhere, never twice, and may be empty."""
    put(client, "<entry><id>a</id><address>h</address></entry><entry><id></id></entry>")
    assert [entry["id"] for entry in tree()["entry"]] == ["a", ""]
    assert is_ok(edit(client, box(f'<entry><id>a</id><address {XC}="delete"/></entry>')))
    assert tree()["entry"] == [{"id": "a"}, {"id": ""}]
    assert is_ok(edit(client, box(f'<entry {XC}="delete"><id/></entry>')))
    assert tree()["entry"] == [{"id": "a"}]
    told = error(edit(client, box("<entry><address>h</address></entry>")))
    assert (told["tag"], told["info"]) == ("missing-element", {"bad-element": "id"})
    told = error(edit(client, box("<entry><id>c</id></entry><entry><id>c</id></entry>")))
    assert told["tag"] in ("data-exists", "bad-element", "operation-failed")
    assert tree()["entry"] == [{"id": "a"}]


def test_the_unqualified_operation_attribute(client: Client, tree: Any) -> None:
    """Checklist 77: it is honoured; another unknown attribute is not."""
    put(client, "<name>a</name>")
    assert is_ok(edit(client, box('<name operation="delete"/>')))
    assert tree() == {}
    told = error(edit(client, box('<name frob="x">a</name>')))
    assert (told["tag"], told["info"]) == ("unknown-attribute", {"bad-attribute": "frob", "bad-element": "name"})


def test_merge_below_delete(client: Client, tree: Any) -> None:
    """Checklist 78."""
    put(client, "<plain><x>1</x></plain>")
    assert errors(edit(client, box(f'<plain {XC}="delete"><x {XC}="merge">2</x></plain>')))
    assert tree() == {"plain": {"x": "1"}}


@pytest.mark.parametrize("option", ["", "stop-on-error", "rollback-on-error"])
def test_all_or_nothing(client: Client, toy: Toy, tree: Any, option: str) -> None:
    """Checklist 79, 80: the second of two fails, and nothing has changed."""
    put(client, "<name>a</name>")
    before, commits = toy.dispatch.running.tree, toy.store.commits
    options = f"<error-option>{option}</error-option>" if option else ""
    assert error(edit(client, box(f'<name>b</name><size {XC}="delete"/>'), options))["tag"] == "data-missing"
    assert toy.dispatch.running.tree is before
    assert toy.store.commits == commits


def test_what_is_not_offered(client: Client, toy: Toy) -> None:
    """Checklist 80: never a half-applied edit; and no file where there is no folder."""
    options = "<error-option>continue-on-error</error-option>"
    assert error(edit(client, box("<name>a</name>"), options))["tag"] == "operation-not-supported"
    reply = client.rpc(f"<edit-config>{RUNNING}<url>file:///etc/passwd</url></edit-config>")
    assert error(reply)["tag"] == "operation-not-supported"
    assert toy.dispatch.running.tree == {}


def test_state_cannot_be_configured(client: Client, toy: Toy) -> None:
    """Checklist 82."""
    told = error(edit(client, '<status xmlns="urn:example:toy"><uptime>1</uptime></status>'))
    assert told["tag"] in ("unknown-element", "invalid-value", "operation-not-supported")
    assert toy.dispatch.running.tree == {}


@pytest.mark.parametrize(
    ("content", "tag", "app_tag"),
    [
        ("<wide>-1</wide>", "invalid-value", None),
        ("<wide>x</wide>", "invalid-value", None),
        ("<size>101</size>", "invalid-value", "not-a-percentage"),
        ("<code>abc</code>", "invalid-value", "bad-code"),
        ("<color>pink</color>", "invalid-value", None),
        ("<on>yes</on>", "invalid-value", None),
        ("<rights>fly</rights>", "invalid-value", None),
        ("<pet>rock</pet>", "invalid-value", None),
        ("<blob>*</blob>", "invalid-value", None),
        ("<ratio>1.234</ratio>", "invalid-value", None),
        ("<flag>x</flag>", "invalid-value", None),
        ("<nothing/>", "unknown-element", None),
        ("<name>a</name><name>b</name>", "bad-element", None),
        ("<plane>p</plane><ship>s</ship>", "bad-element", None),
        ("<low>5</low><high>1</high>", "operation-failed", "must-violation"),
        ("<favourite>nobody</favourite>", "data-missing", "instance-required"),
        (
            "<entry><id>a</id><address>h</address><port>1</port></entry>"
            "<entry><id>b</id><address>h</address><port>1</port></entry>",
            "operation-failed",
            "data-not-unique",
        ),
        ("<tag>1</tag><tag>2</tag><tag>3</tag><tag>4</tag><tag>5</tag>", "operation-failed", "too-many-elements"),
        ("<behind>x</behind>", None, None),
        ("<pair><a>x</a><b>1</b></pair>", None, None),
    ],
)
def test_constraints(client: Client, toy: Toy, content: str, tag: str | None, app_tag: str | None) -> None:
    """Checklist 86, 87, 88, 89: tag and app-tag of each, a path, and nothing has changed."""
    told = errors(edit(client, box(content)))[0]
    if tag is not None:
        assert (told["tag"], told["app-tag"]) == (tag, app_tag)
    assert toy.dispatch.running.tree == {}
    assert toy.store.config is None
    if told["path"] is not None:
        prefix = told["path"].text.strip("/").partition(":")[0]
        assert told["path"].nsmap[prefix] == TOY


def test_mandatory_choice_and_too_few(client: Client, toy: Toy) -> None:
    """Checklist 88: missing-choice is named; min-elements."""
    told = errors(edit(client, '<need xmlns="urn:example:toy"/>'))
    assert {(one["tag"], one["app-tag"]) for one in told} <= {
        ("data-missing", "mandatory-choice"),
        ("operation-failed", "too-few-elements"),
    }
    full = '<need xmlns="urn:example:toy"><left>l</left><few><k>1</k></few></need>'
    assert error(edit(client, full))["app-tag"] == "too-few-elements"
    chosen = '<need xmlns="urn:example:toy"><few><k>1</k></few><few><k>2</k></few></need>'
    assert error(edit(client, chosen))["app-tag"] == "mandatory-choice"
    assert toy.dispatch.running.tree == {}


def test_cases_replace_one_another(client: Client, tree: Any) -> None:
    """Checklist 87."""
    put(client, "<plane>p</plane><height>3</height>")
    put(client, "<ship>s</ship>")
    assert tree() == {"ship": "s"}


def test_when_turns_false(client: Client, tree: Any) -> None:
    """Checklist 89."""
    put(client, "<gate>true</gate><behind>x</behind>")
    put(client, "<gate>false</gate>")
    assert tree() == {"gate": False}


def test_order(client: Client, toy: Toy) -> None:
    """Checklist 94: what the user has ordered stays in that order, in the store too."""
    put(client, "<turn>c</turn><turn>a</turn><turn>b</turn>")
    put(client, "<pair><a>z</a><b>1</b><value>v</value></pair><pair><b>1</b><a>y</a><value>v</value></pair>")
    reply = client.rpc("<get-config><source><running/></source></get-config>")
    assert [one.text for one in reply.iter(f"{{{TOY}}}turn")] == ["c", "a", "b"]
    pairs = list(reply.iter(f"{{{TOY}}}pair"))
    assert [[etree.QName(leaf).localname for leaf in pair] for pair in pairs] == [["a", "b", "value"]] * 2
    assert [pair[0].text for pair in pairs] == ["z", "y"]
    assert toy.store.config is not None
    assert json.loads(toy.store.config)["toy:box"]["turn"] == ["c", "a", "b"]


def test_text_survives(client: Client) -> None:
    """Checklist 96: CDATA, escapes, newline, tab; characters that XML does not have are refused."""
    put(client, "<name><![CDATA[<&>]]>&#10;&#9;&#13;ä&amp;</name>")
    reply = client.rpc("<get-config><source><running/></source></get-config>")
    assert reply.findtext(f".//{{{TOY}}}name") == "<&>\n\t\rä&"
    for bad in (b"\0", b"&#0;", b"\x01", b"&#xFFFF;", b"\xff"):
        message = f'<rpc xmlns="{NC}" message-id="1"><edit-config>{RUNNING}<config>{box("<name>@</name>")}'
        client.send_message(message.encode().replace(b"@", bad) + b"</config></edit-config></rpc>")
        assert error(client.reply())["tag"] == "malformed-message"
    assert is_ok(client.rpc('<reset xmlns="urn:example:toy"/>'))


def test_no_operation_means_no_write(client: Client, toy: Toy) -> None:
    """An edit that changes nothing is ok and costs no transaction."""
    put(client, "<name>a</name>")
    commits = toy.store.commits
    put(client, "<name>a</name>")
    assert is_ok(edit(client, ""))
    assert toy.store.commits == commits


def test_a_full_disk(client: Client, toy: Toy, tree: Any) -> None:
    """Durable before visible: what could not be stored has not happened."""
    put(client, "<name>a</name>")
    toy.store.broken = True
    told = error(edit(client, box("<name>b</name>")))
    assert told["tag"] == "operation-failed"
    assert tree() == {"name": "a"}
    toy.store.broken = False
    put(client, "<name>b</name>")


def test_a_provider_that_refuses(client: Client, tree: Any) -> None:
    told = error(edit(client, box("<name>forbidden</name>")))
    assert (told["tag"], told["app-tag"]) == ("operation-failed", "toy-forbidden")
    assert tree() == {}


def test_config_in_no_namespace(server: Server, tree: Any) -> None:
    """Scripts hand such a <config> to their client library, which passes it on."""
    with server.client() as client:
        client.send_message(
            f'<nc:rpc xmlns:nc="{NC}" message-id="1"><nc:edit-config><nc:target><nc:running/></nc:target>'
            f"<config>{box('<name>a</name>')}</config></nc:edit-config></nc:rpc>".encode()
        )
        assert is_ok(client.reply())
    assert tree() == {"name": "a"}
