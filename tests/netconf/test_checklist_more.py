"""What other tests leave out between checklist 86 and 107: error-info, paths and texts on the wire."""

from __future__ import annotations

import pytest

from tests.netconf.support import NC, TOY, Client, Server, error, is_ok
from tests.netconf.test_edit import box, edit
from tests.toy.build import Toy

YANG = "{urn:ietf:params:xml:ns:yang:1}"
FEW = "<few><k>1</k></few><few><k>2</k></few>"


def test_a_choice_that_is_missing(client: Client) -> None:
    """Checklist 88: error-path is the parent, missing-choice in YANG's namespace names the choice (RFC 7950 15.6)."""
    told = error(edit(client, f'<need xmlns="{TOY}">{FEW}</need>'))
    assert (told["type"], told["tag"], told["app-tag"]) == ("application", "data-missing", "mandatory-choice")
    assert (told["path"].text, told["info"]) == ("/t:need", {f"{YANG}missing-choice": "one"})


def test_each_leaf_that_is_not_unique(client: Client) -> None:
    """Checklist 88: non-unique once for each leaf, as its instance, prefixes declared (RFC 7950 15.1)."""
    entries = "".join(f"<entry><id>{one}</id><address>h</address><port>1</port></entry>" for one in "ab")
    (told,) = edit(client, box(entries))
    leaves = list(told.iterfind(f"{{{NC}}}error-info/{YANG}non-unique"))
    assert [leaf.text for leaf in leaves] == [f"/t:box/t:entry[t:id='b']/t:{name}" for name in ("address", "port")]
    assert {leaf.nsmap["t"] for leaf in leaves} == {TOY}


def test_each_broken_constraint_is_told(client: Client, toy: Toy) -> None:
    """Checklist 41, 88: several at once are one rpc-error, whose message names the others with their paths."""
    told = error(edit(client, f'<need xmlns="{TOY}"/>'))
    assert (told["app-tag"], told["path"].text) == ("mandatory-choice", "/t:need")
    assert "; also at /toy:need/few: " in told["message"]
    assert toy.dispatch.running.tree == {}


@pytest.mark.parametrize(
    ("content", "tag", "app_tag", "path"),
    [
        ("<favourite>nobody</favourite>", "data-missing", "instance-required", "/t:box/t:favourite"),
        ("<pair><a>x</a><b>1</b></pair>", "data-missing", None, "/t:box/t:pair[t:a='x'][t:b='1']/t:value"),
        ("<behind>x</behind>", "unknown-element", None, "/t:box/t:behind"),
    ],
)
def test_paths(client: Client, content: str, tag: str, app_tag: str | None, path: str) -> None:
    """Checklist 88, 89: the instance that is wrong, with all keys, prefixes declared."""
    told = error(edit(client, box(content)))
    assert (told["tag"], told["app-tag"], told["path"].text) == (tag, app_tag, path)
    assert told["path"].nsmap["t"] == TOY


def test_the_message_of_the_model(client: Client) -> None:
    """Checklist 86: error-message and error-app-tag of a range."""
    told = error(edit(client, box("<size>101</size>")))
    assert told["app-tag"] == "not-a-percentage"
    assert "a percentage lies between 0 and 100" in told["message"]


def test_pending_requests_come_before_the_end(server: Server) -> None:
    """Checklist 107: what was sent before close-session is answered, what comes behind it is not."""
    with server.client() as client:
        names = ("<get-config><source><running/></source></get-config>",) * 20 + ("<close-session/>", "<get/>")
        sent = [f'<rpc xmlns="{NC}" message-id="{at}">{name}</rpc>'.encode() for at, name in enumerate(names)]
        client.send(b"".join(client.frame(one) for one in sent))
        replies = [client.reply() for _ in range(21)]
        assert [one.get("message-id") for one in replies] == [str(at) for at in range(21)]
        assert is_ok(replies[-1])
        assert client.closed()
