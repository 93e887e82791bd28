"""What the server tells of itself (RFC 6470; checklist 115)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lxml import etree
import pytest

from agent.core import base_events
from tests.netconf.operations import box, commit, copy, edit
from tests.netconf.support import HELLO_11, NC, TOY, Client, Server, is_ok
from tests.netconf.test_subscriptions import subscribe, told
from tests.toy.build import Toy

BASE = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"


@pytest.fixture
def listener(server: Server) -> Iterator[Client]:
    """Ada, who hears of all events but those of her own login."""
    with server.client() as client:
        assert is_ok(client.rpc(subscribe()))
        yield client


def event(client: Client) -> tuple[str, dict[str, Any]]:
    """Name and leaves of the next event, edits as triples in "edit"."""
    content = told(client)
    name = etree.QName(content)
    assert name.namespace == BASE
    leaves: dict[str, Any] = {}
    for element in content.iter():
        if element.getparent() is not None and len(element) == 0 and element.getparent().tag != f"{{{BASE}}}edit":
            leaves[etree.QName(element).localname] = element.text
    edits = [
        (one.findtext(f"{{{BASE}}}operation"), one.findtext(f"{{{BASE}}}target"), dict(one[0].nsmap))
        for one in content.iter(f"{{{BASE}}}edit")
    ]
    if edits:
        leaves["edit"] = [(operation, target) for operation, target, _ in edits]
        assert all(TOY in spaces.values() for _, _, spaces in edits)
    return name.localname, leaves


def by(client: Client) -> dict[str, Any]:
    return {"username": "ada", "session-id": str(client.session_id), "source-host": "127.0.0.1"}


def test_sessions_begin_and_end(listener: Client, server: Server) -> None:
    """Checklist 115: netconf-session-start, netconf-session-end closed, dropped, killed (with killed-by)."""
    with server.client(user="cole") as other:
        cole = by(other) | {"username": "cole"}
        assert event(listener) == ("netconf-session-start", cole)
        assert is_ok(other.rpc("<close-session/>"))
        assert event(listener) == ("netconf-session-end", cole | {"termination-reason": "closed"})
    with server.client(user="cole") as other:
        cole["session-id"] = str(other.session_id)
        event(listener)
    assert event(listener) == ("netconf-session-end", cole | {"termination-reason": "dropped"})
    with server.client() as other:
        event(listener)
        # replies and notifications of one session may come in either order
        listener.send_message(
            f'<rpc xmlns="{NC}" message-id="k"><kill-session><session-id>{other.session_id}</session-id></kill-session>'
            "</rpc>".encode()
        )
        first, second = listener.reply(), listener.reply()
        end = next(one for one in (first, second) if one.tag != f"{{{NC}}}rpc-reply")[1]
        assert end.findtext(f"{{{BASE}}}termination-reason") == "killed"
        assert end.findtext(f"{{{BASE}}}killed-by") == str(listener.session_id)


def test_a_bad_hello(listener: Client, server: Server) -> None:
    """Checklist 115: termination-reason bad-hello."""
    with server.client(HELLO_11.replace(b"netconf:base:1.1", b"netconf:base:9.9")):
        assert event(listener)[0] == "netconf-session-start"
        name, leaves = event(listener)
    assert (name, leaves["termination-reason"]) == ("netconf-session-end", "bad-hello")


@pytest.fixture
def writer(listener: Client, server: Server) -> Iterator[Client]:
    with server.client() as client:
        assert event(listener)[0] == "netconf-session-start"
        yield client


def test_changes_of_configuration(listener: Client, writer: Client) -> None:
    """Checklist 115: netconf-config-change names the topmost nodes that changed, datastore and who did it."""
    entries = "".join(f"<entry><id>{name}</id><address>{name}</address></entry>" for name in "ab")
    assert is_ok(writer.rpc(edit("running", box(f"<name>n</name>{entries}"))))
    name, leaves = event(listener)
    assert name == "netconf-config-change"
    assert {key: leaves[key] for key in by(writer)} == by(writer)
    assert leaves["datastore"] == "running"
    created = ["/t:box/t:name", "/t:box/t:entry[t:id='a']", "/t:box/t:entry[t:id='b']"]
    assert sorted(leaves["edit"]) == sorted(("create", target) for target in created)
    gone = f'<entry xmlns:c="{NC}" c:operation="delete"><id>b</id></entry>'
    assert is_ok(writer.rpc(edit("running", box(f"<name>m</name><entry><id>a</id><address>2</address></entry>{gone}"))))
    assert sorted(event(listener)[1]["edit"]) == [
        ("delete", "/t:box/t:entry[t:id='b']"),
        ("replace", "/t:box/t:entry[t:id='a']/t:address"),
        ("replace", "/t:box/t:name"),
    ]
    # what changes nothing, and what changes candidate, is not told
    assert is_ok(writer.rpc(edit("running", box("<name>m</name>"))))
    assert is_ok(writer.rpc(edit("candidate", box("<name>k</name>"))))
    assert is_ok(writer.rpc(copy("<running/>", "<startup/>")))
    assert event(listener)[1]["datastore"] == "startup"


def test_confirmed_commits(listener: Client, writer: Client) -> None:
    """Checklist 108, 109, 115: start, extend, complete, cancel, timeout, each after the change that it makes."""

    def both() -> tuple[str, dict[str, Any]]:
        found = event(listener)
        if found[0] == "netconf-config-change":
            assert found[1].get("server", "absent") == "absent"
            found = event(listener)
        return found

    assert is_ok(writer.rpc(edit("candidate", box("<name>n</name>"))))
    assert is_ok(writer.rpc(commit(confirmed=True, confirm_timeout="60")))
    start = {"confirm-event": "start", "timeout": "60"}
    assert both() == ("netconf-confirmed-commit", by(writer) | start)
    assert is_ok(writer.rpc(commit(confirmed=True, confirm_timeout="70")))
    assert both() == ("netconf-confirmed-commit", by(writer) | start | {"confirm-event": "extend", "timeout": "70"})
    assert is_ok(writer.rpc(commit()))
    assert both() == ("netconf-confirmed-commit", by(writer) | {"confirm-event": "complete"})
    assert is_ok(writer.rpc(edit("candidate", box("<name>m</name>"))))
    assert is_ok(writer.rpc(commit(confirmed=True)))
    assert both()[1]["confirm-event"] == "start"
    assert is_ok(writer.rpc("<cancel-commit/>"))
    assert both()[1]["confirm-event"] == "cancel"
    assert is_ok(writer.rpc(edit("candidate", box("<name>m</name>"))))
    assert is_ok(writer.rpc(commit(confirmed=True, confirm_timeout="1")))
    assert both()[1]["confirm-event"] == "start"
    name, leaves = event(listener)
    assert (name, "server" in leaves, leaves["edit"]) == (
        "netconf-config-change",
        True,
        [("replace", "/t:box/t:name")],
    )
    assert event(listener) == ("netconf-confirmed-commit", {"confirm-event": "timeout"})


def test_keys_that_no_path_can_name(listener: Client, writer: Client) -> None:
    """Checklist 115: an instance-identifier has no way to write both quotation marks: what lies around is named."""
    entries = "".join(f"<entry><id>{name}</id></entry>" for name in ("a'b\"c", "d'e\"f", "it's", "'"))
    assert is_ok(writer.rpc(edit("running", box(f"{entries}<tag>'\"</tag>"))))
    assert event(listener)[1]["edit"] == [
        ("merge", "/t:box"),
        ("create", '/t:box/t:entry[t:id="it\'s"]'),
        ("create", '/t:box/t:entry[t:id="\'"]'),
    ]
    gone = f'<entry xmlns:c="{NC}" c:operation="delete"><id>a\'b"c</id></entry>'
    assert is_ok(writer.rpc(edit("running", box(gone))))
    assert event(listener)[1]["edit"] == [("merge", "/t:box")]


def test_no_change_is_refused_because_it_cannot_be_told(
    writer: Client, toy: Toy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Checklist 115: telling decides nothing."""

    def fails(*_: object) -> None:
        raise ValueError("not to be put into words")

    monkeypatch.setattr(base_events, "to_instance_identifier", fails)
    assert is_ok(writer.rpc(edit("running", box("<name>n</name>"))))
    assert toy.dispatch.running.tree["toy:box"]["name"] == "n"
    assert "a change of the configuration is made and not told" in caplog.text


def test_many_edits_are_told_in_few(listener: Client, writer: Client, toy: Toy) -> None:
    """Checklist 115: an event is bounded; of a thousand edits it names the node that they lie in."""
    entries = "".join(f"<entry><id>e{number}</id><address>1</address></entry>" for number in range(1000))
    assert is_ok(writer.rpc(edit("running", box(entries))))
    assert event(listener)[1]["edit"] == [("merge", "/t:box")]
