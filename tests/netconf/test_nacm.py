"""Access rules as NETCONF clients meet them, over real SSH (RFC 8341; checklist 122)."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree
import pytest

from agent.core.access import Access
from agent.core.tree import Tree
from tests.netconf.support import NC, TOY, Client, Server, error, is_ok
from tests.toy.build import RULES, Toy

EDIT = "<edit-config><target><running/></target><config>{}</config></edit-config>"
T = f'xmlns="{TOY}"'


def deny(path: str, operations: str = "*") -> Tree:
    return {"name": path, "path": path, "access-operations": operations, "action": "deny"}


@pytest.fixture
def reader(server: Server, toy: Toy) -> Iterator[Client]:
    """rita reads all but the size of the box and the document of reports; she changes entries, but not entry b."""
    own = [
        deny("/toy:box/size"),
        deny("/toy:status/report/document"),
        deny("/toy:box/entry[id='b']", "create update delete"),
        {"name": "entries", "path": "/toy:box/entry", "action": "permit"},
        {"name": "edit", "rpc-name": "edit-config", "access-operations": "exec", "action": "permit"},
    ]
    toy.dispatch.running.tree = {
        "toy:box": {"name": "n", "size": 5, "entry": [{"id": "a", "address": "1"}, {"id": "b", "address": "2"}]}
    }
    toy.report_list.value.add("r1", "secret")
    rules = [{"name": "own", "group": ["reader"], "rule": own}, *RULES["rule-list"]]
    toy.dispatch.access = Access(toy.schema, {**RULES, "rule-list": rules})
    with server.client(user="rita") as client:
        yield client


def texts(reply: etree._Element, name: str) -> list[str | None]:
    return [one.text for one in reply.iter(f"{{{TOY}}}{name}")]


def test_reads_are_pruned_silently(reader: Client, toy: Toy) -> None:
    """Checklist 122, read: get and get-config leave out what is denied, and report no error."""
    for operation in ("<get/>", "<get-config><source><running/></source></get-config>"):
        reply = reader.rpc(operation)
        assert texts(reply, "name") == ["n"]
        assert texts(reply, "size") == []
        assert b"secret" not in etree.tostring(reply)
    assert texts(reader.rpc("<get/>"), "length") == ["6"]


def test_a_filter_on_what_is_denied_does_not_leak(reader: Client) -> None:
    """Checklist 122: whether a match guesses the value right or wrong, the answers are the same bytes."""
    answers = set()
    for size in ("5", "6"):
        reply = reader.rpc(f'<get><filter type="subtree"><box {T}><size>{size}</size><name/></box></filter></get>')
        answers.add(etree.tostring(reply[0]))
    assert len(answers) == 1
    assert texts(reply, "name") == []
    for document in ("secret", "other"):
        report = f"<report><document>{document}</document><length/></report>"
        assert texts(reader.rpc(f"<get><filter><status {T}>{report}</status></filter></get>"), "length") == []


def test_write_errors_name_the_node(reader: Client, toy: Toy) -> None:
    """Checklist 122, write: access-denied with the instance in error-path; all of the edit is refused."""
    before = toy.dispatch.running.tree
    entries = "".join(f"<entry><id>{name}</id><address>9</address></entry>" for name in "ab")
    told = error(reader.rpc(EDIT.format(f"<box {T}>{entries}</box>")))
    assert (told["type"], told["tag"]) == ("application", "access-denied")
    assert told["path"].text == "/t:box/t:entry[t:id='b']/t:address"
    assert toy.dispatch.running.tree is before
    gone = f'<entry xmlns:c="{NC}" c:operation="delete"><id>b</id></entry>'
    assert error(reader.rpc(EDIT.format(f"<box {T}>{gone}</box>")))["path"].text == "/t:box/t:entry[t:id='b']"
    assert is_ok(reader.rpc(EDIT.format(f"<box {T}><entry><id>a</id><address>3</address></entry></box>")))
    assert is_ok(reader.rpc(EDIT.format(f"<box {T}><entry><id>b</id><address>2</address></entry></box>")))


def test_denied_operations_name_the_operation(reader: Client) -> None:
    """Checklist 122, exec: error-path is the operation in its message (RFC 8341 section 3.1.3); closing is free."""
    told = error(reader.rpc(f"<greet {T}><who>me</who></greet>"))
    assert (told["type"], told["tag"], told["path"].text) == ("protocol", "access-denied", "/nc:rpc/t:greet")
    told = error(reader.rpc("<kill-session><session-id>77</session-id></kill-session>"))
    assert (told["tag"], told["path"].text) == ("access-denied", "/nc:rpc/nc:kill-session")
    assert is_ok(reader.rpc("<close-session/>"))
