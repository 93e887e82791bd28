"""Which defaults are in use, and the retrieval modes of RFC 6243, on trees (checklist 67)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.core.defaults import WithDefaults, fill, in_mode, trim
from agent.core.schema import Schema
from agent.core.select import Part, Pick, PickedRows
from agent.core.tree import Kept, Row, Tagged, Tree
from tests.toy.build import toy_schema

LAB = "toy-defaults:lab"
PLAIN = {
    "plain": "as delivered",
    "number": 7,
    "wide": "18446744073709551615",
    "on": True,
    "pet": "toy:cat",
    "time": 30,
    "port": [80, 443],
    "inner": {"deep": {"level": 3}},
    "height": 9000,
    "gate": False,
}


@pytest.fixture(scope="module")
def schema() -> Schema:
    return toy_schema(netconf=True)


def lab(schema: Schema, tree: Tree, **options: Any) -> Any:
    return fill({LAB: tree}, schema, **options)[LAB]


def test_every_kind(schema: Schema) -> None:
    """Leaves, leaf-lists, defaults of types, identities, in containers that are not there, the default case."""
    assert fill({}, schema)[LAB] == PLAIN
    values = fill({}, schema)[LAB]
    assert all(isinstance(values[name], Tagged) for name in PLAIN if name not in ("port", "inner"))
    assert all(isinstance(one, Tagged) for one in values["port"])


def test_what_is_set_stays(schema: Schema) -> None:
    """A value that was set is the same object, also where it equals the default; leaf-lists are not mixed."""
    entry = {"plain": "as delivered", "number": 8, "port": [22]}
    after = lab(schema, entry)
    assert after == {**PLAIN, "number": 8, "port": [22]}
    assert type(after["plain"]) is str
    assert entry == {"plain": "as delivered", "number": 8, "port": [22]}


def test_cases(schema: Schema) -> None:
    """RFC 7950 section 7.9.3: a default case only where no case is chosen; others' defaults only when they are."""
    assert "height" not in lab(schema, {"ship": "s"})
    assert lab(schema, {"ship": "s"})["depth"] == 10
    assert lab(schema, {"plane": "p"})["height"] == 9000
    nested = lab(schema, {"train": "t"})
    assert (nested["gauge"], "small" in nested, "height" in nested) == (1435, False, False)
    narrow = lab(schema, {"small": 1000})
    assert ("gauge" in narrow, "height" in narrow) == (False, False)


def test_presence_and_entries(schema: Schema) -> None:
    """Presence containers and list entries have defaults only where they exist (RFC 7950 section 7.6.1)."""
    assert "present" not in lab(schema, {})
    assert lab(schema, {"present": {}})["present"] == {"inside": "x"}
    after = lab(schema, {"item": [{"name": "a"}, {"name": "b", "size": 2, "options": {"fast": True}}]})
    assert after["item"][0] == {"name": "a", "size": 1, "options": {"fast": False}}
    assert after["item"][1] == {"name": "b", "size": 2, "options": {"fast": True}}


def test_conditions(schema: Schema) -> None:
    """A default whose `when` is false is not in use; a condition sees other defaults that are."""
    closed = lab(schema, {})
    assert not {"behind", "further", "guarded"} & set(closed)
    opened = lab(schema, {"gate": True})
    assert (opened["behind"], opened["further"], opened["guarded"]) == ("b", "f", {"word": "g"})


def test_state(schema: Schema) -> None:
    """State that is there gets its defaults; state containers that a provider leaves out stay out."""
    tree = {"toy-defaults:found": {"link": [{"id": "a"}, {"id": "b", "speed": 10}]}}
    after = fill(tree, schema)["toy-defaults:found"]
    assert after == {"state": "idle", "link": [{"id": "a", "speed": 100}, {"id": "b", "speed": 10}]}
    assert "toy-defaults:found" not in fill({}, schema)
    assert fill(tree, schema, state=False)["toy-defaults:found"] is tree["toy-defaults:found"]
    assert LAB not in fill(tree, schema, config=False)


def test_untouched_is_the_same_object(schema: Schema) -> None:
    """Kept encodings serve again where no default is missing or can be."""
    quiet = Kept({"word": "w"})
    status = Kept({"uptime": "1"})
    found = {"state": "idle", "counters": {"errors": 0}, "quiet": quiet}
    tree: Tree = {"toy:status": status, "toy-defaults:found": found}
    after = fill(tree, schema)
    assert after["toy:status"] is status
    assert after["toy-defaults:found"] is found
    trimmed = trim(tree, schema.root)
    assert trimmed["toy:status"] is status
    assert trimmed["toy-defaults:found"]["quiet"] is quiet


class Links:
    """A stored list with one entry that lacks its default and one that has another value."""

    marked = "body"

    def __init__(self, schema: Schema) -> None:
        node = schema.find("/toy-defaults:found/link")
        assert node is not None
        self.rows = [
            Row((entry["id"],), xml_codec.encode_entry(entry, node), json_codec.encode_entry(entry, node), entry["id"])
            for entry in ({"id": "a", "body": "x"}, {"id": "b", "speed": 10}, {"id": "c", "speed": 100})
        ]

    def find(self, keys: tuple[str, ...]) -> Row | None:
        return next((row for row in self.rows if row.keys == keys), None)

    def pages(self) -> Any:
        yield self.rows


def test_stored_lists(schema: Schema) -> None:
    """Only entries that change are decoded to parts; marks stay with them."""
    links = Links(schema)
    after = fill({"toy-defaults:found": {"link": links}}, schema)["toy-defaults:found"]["link"]
    ((first, second, third),) = after.pages()
    assert first == Part({"id": "a", "body": "x", "speed": 100}, "a")
    assert (second, third) == (links.rows[1], links.rows[2])
    assert after.find(("b",)) is links.rows[1]
    assert after.find(("z",)) is None
    cut = trim({"toy-defaults:found": {"link": links}}, schema.root)["toy-defaults:found"]["link"]
    ((first, second, third),) = cut.pages()
    assert (first, second, third) == (links.rows[0], links.rows[1], Part({"id": "c"}, "c"))
    picked = PickedRows(lambda: iter((links.rows,)), "body")
    again = trim({"toy-defaults:found": {"link": picked}}, schema.root)["toy-defaults:found"]["link"]
    assert list(again.pages()) == [[links.rows[0], links.rows[1], Part({"id": "c"}, "c")]]


def test_only_where_the_selection_looks(schema: Schema) -> None:
    """What is not selected is neither filled nor copied."""
    node = schema.find("/toy-defaults:interfaces/interface")
    assert node is not None
    interfaces = node.parent
    assert interfaces is not None
    tree: Tree = {"toy:box": {"name": "n"}, "toy-defaults:interfaces": {"interface": [{"name": "eth0"}]}}
    assert fill(tree, schema, (Pick(interfaces),))["toy-defaults:interfaces"]["interface"][0]["mtu"] == 1500


def test_trim(schema: Schema) -> None:
    """Leaves that equal the default go, and containers that are empty then; keys, entries and presence stay."""
    tree = {
        **PLAIN,
        "number": 8,
        "present": {"inside": "x"},
        "item": [{"name": "a", "size": 1, "options": {"fast": False}}, {"name": "b", "size": 2}],
    }
    after = trim({LAB: tree}, schema.root)[LAB]
    assert after == {"number": 8, "present": {}, "item": [{"name": "a"}, {"name": "b", "size": 2}]}
    assert trim({LAB: {"port": [443, 80]}}, schema.root) == {LAB: {"port": [443, 80]}}
    untouched = {LAB: {"number": 8}}
    assert trim(untouched, schema.root) is untouched


def test_tags_in_both_encodings(schema: Schema) -> None:
    """RFC 6243 section 6, RFC 7952 section 5.2: the attribute stands on defaults alone."""
    tree = fill({LAB: {"number": 8}}, schema, notes=frozenset({"default"}))
    text = b"".join(xml_codec.encode(tree, schema.root)).decode()
    space = "urn:ietf:params:xml:ns:netconf:default:1.0"
    assert f'<plain xmlns:wd="{space}" wd:default="true">as delivered</plain>' in text
    assert f'<port xmlns:wd="{space}" wd:default="true">80</port>' in text
    assert "<number>8</number>" in text
    told = b"".join(json_codec.encode(tree, schema.root)).decode()
    assert '"plain":"as delivered","@plain":{"ietf-netconf-with-defaults:default":true}' in told
    default = '{"ietf-netconf-with-defaults:default":true}'
    assert f'"port":[80,443],"@port":[{default},{default}]' in told
    assert "@number" not in told
    plain = fill({LAB: {"number": 8}}, schema)
    assert b"default:1.0" not in b"".join(xml_codec.encode(plain, schema.root))
    assert b"@" not in b"".join(json_codec.encode(plain, schema.root))


def test_a_whole_configuration(schema: Schema) -> None:
    """What copy-config writes in each mode."""
    config: Tree = {"toy-defaults:interfaces": {"interface": [{"name": "a"}, {"name": "b", "mtu": 1500}]}}

    def mtus(mode: WithDefaults) -> list[Any]:
        shown = in_mode(config, schema, mode)["toy-defaults:interfaces"]["interface"]
        return [(one.get("mtu"), getattr(one.get("mtu"), "notes", None)) for one in shown]

    assert in_mode(config, schema, WithDefaults.EXPLICIT) is config
    assert mtus(WithDefaults.REPORT_ALL) == [(1500, frozenset()), (1500, None)]
    assert mtus(WithDefaults.REPORT_ALL_TAGGED) == [(1500, frozenset({"default"})), (1500, None)]
    assert mtus(WithDefaults.TRIM) == [(None, None), (None, None)]
    assert in_mode({}, schema, WithDefaults.REPORT_ALL)[LAB] == PLAIN


def test_many_conditions(schema: Schema) -> None:
    """Conditions of many entries are each evaluated where they stand."""
    entries = [{"k": f"e{number}", "on": number % 2 == 0} for number in range(2000)]
    after = lab(schema, {"ruled": entries})["ruled"]
    assert [one.get("extra") for one in after] == ["even" if number % 2 == 0 else None for number in range(2000)]
