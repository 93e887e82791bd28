"""A request that comes again is understood as it would be read anew, whatever its message-id and attributes."""

from __future__ import annotations

import pytest

from agent.core.requests import Get
from agent.core.schema import Schema
from agent.errors import RequestError
from agent.netconf.messages import Rpc, read_rpc
from agent.netconf.repeats import LONGEST, REMEMBERED, Repeats
from tests.netconf.support import NC, Client, error

GET = '<get><filter><box xmlns="urn:example:toy"><plain/></box></filter></get>'


def rpc(attributes: str, operation: str = GET) -> bytes:
    return f'<rpc xmlns="{NC}"{attributes}>{operation}</rpc>'.encode()


def same(one: Rpc, other: Rpc) -> bool:
    if isinstance(one.operation, RequestError) and isinstance(other.operation, RequestError):
        return (one.attributes, one.operation.errors) == (other.attributes, other.operation.errors)
    return one == other


@pytest.mark.parametrize(
    "form",
    [
        ' message-id="{}"',
        ' xmlns:e="urn:e" e:user="ada" message-id="{}" trace="x"',
        """ message-id='{}' """,
        ''' trace=' message-id="9"' message-id="{}"''',
        ''' a=" message-id=" x="7" message-id="{}"''',
        ' message-id="{}" b=" message-id=&quot;{}&quot;"',
        ' message-id="{}" message-id="8"',
        ' b="&lt;" message-id="{}"',
        f' xmlns:nc="{NC}" nc:message-id="{{}}"',
        ' message-id=" {} "',
        ' message-id="{}é"',
        ' message-id="{}',
    ],
)
@pytest.mark.parametrize("operation", [GET, "<get/>", "<frob/>", "<close-session/>", "<get/><get/>"])
def test_as_if_read_anew(schema: Schema, form: str, operation: str) -> None:
    """Checklist 25, 26: three times, each with its own message-id."""
    repeats = Repeats(schema)
    for number in ("1", "urn:uuid:0a", "9"):
        message = rpc(form.format(*[number] * form.count("{}")), operation)
        assert same(repeats.read(message), read_rpc(message, schema))


@pytest.mark.parametrize("head", ["", '<?xml version="1.0" encoding="UTF-8"?>', "\n "])
def test_the_same_request_is_not_read_again(schema: Schema, head: str) -> None:
    repeats = Repeats(schema)
    first, second = (repeats.read(head.encode() + rpc(f' message-id="{number}"')) for number in (1, 2))
    assert isinstance(first.operation, Get)
    assert second.operation is first.operation
    assert second.attributes == b' message-id="2"'
    other = repeats.read(rpc(' message-id="2"', GET.replace("plain", "low")))
    assert other.operation != first.operation


def test_what_is_remembered_is_bounded(schema: Schema) -> None:
    """The oldest goes first; long requests, XPath, and all that is no read are not kept."""
    repeats = Repeats(schema)
    kinds = [GET + " " * number for number in range(REMEMBERED + 1)]
    first, *_ = [repeats.read(rpc(' message-id="1"', one)).operation for one in kinds]
    assert repeats.read(rpc(' message-id="1"', kinds[0])).operation is not first
    long = GET + " " * LONGEST
    xpath = '<get><filter type="xpath" select="//*[last()]"/></get>'
    for operation in (long, xpath, "<get-config/>", "<lock><target><running/></target></lock>"):
        one, other = (repeats.read(rpc(' message-id="1"', operation)).operation for _ in range(2))
        assert one is not other


def test_answers_are_not_remembered(client: Client) -> None:
    """The same get, an edit in between, a get that is refused: each answer is that of its moment."""
    shown = []
    for value in ("5", "6"):
        client.rpc(
            "<edit-config><target><running/></target><config><box xmlns='urn:example:toy'>"
            f"<high>{value}</high></box></config></edit-config>"
        )
        shown.append(client.rpc(GET.replace("plain", "high")).findtext(".//{urn:example:toy}high"))
        assert error(client.rpc("<get><filter type='frob'/></get>"))["tag"] == "bad-attribute"
    assert shown == ["5", "6"]
