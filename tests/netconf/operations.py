"""Short forms of the operations on configuration, and what a datastore holds as the wire shows it."""

from __future__ import annotations

from lxml import etree

from tests.netconf.support import NC, Client

TOY = "urn:example:toy"


def box(content: str) -> str:
    return f'<box xmlns="{TOY}">{content}</box>'


def edit(target: str, config: str, options: str = "") -> str:
    return f"<edit-config><target><{target}/></target>{options}<config>{config}</config></edit-config>"


def copy(source: str, target: str) -> str:
    """`source` and `target` are the elements in <source> and <target>."""
    return f"<copy-config><target>{target}</target><source>{source}</source></copy-config>"


def lock(target: str) -> str:
    return f"<lock><target><{target}/></target></lock>"


def unlock(target: str) -> str:
    return f"<unlock><target><{target}/></target></unlock>"


def validate(source: str) -> str:
    return f"<validate><source>{source}</source></validate>"


def commit(**parameters: str | bool) -> str:
    """`confirmed=True, confirm_timeout="5"` and so on."""
    parts = []
    for name, value in parameters.items():
        tag = name.replace("_", "-")
        parts.append(f"<{tag}/>" if value is True else f"<{tag}>{value}</{tag}>")
    return f"<commit>{''.join(parts)}</commit>"


DISCARD = "<discard-changes/>"


def shown(client: Client, datastore: str = "running") -> str:
    """The content of <data> without white space and without the namespace of the toy."""
    reply = client.rpc(f"<get-config><source><{datastore}/></source></get-config>")
    data = reply.find(f"{{{NC}}}data")
    assert data is not None, etree.tostring(reply)
    return (
        "".join(etree.tostring(child, encoding="unicode") for child in data)
        .replace(f' xmlns="{TOY}"', "")
        .replace(f' xmlns:nc="{NC}"', "")
    )
