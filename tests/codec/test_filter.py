"""Subtree filters, decoded and applied to configuration, state and stored rows."""

from __future__ import annotations

from collections.abc import Iterator
import json as plain_json
from typing import Any

import pytest

from agent.codec import json, xml
from agent.codec.xml_filter import PICKS
from agent.core.requests import Content, Edit, Get
from agent.errors import RequestError
from tests.toy.build import Toy

T = 'xmlns="urn:example:toy"'
M = 'xmlns="urn:example:toy-more"'

CONFIG = f"""<config><box {T}>
  <name>crate</name><size>7</size><tag>new</tag><tag>big</tag><turn>left</turn><turn>right</turn>
  <plain><x>px</x><deep><y>py</y></deep><x {M}>5</x><z {M}>pz</z></plain>
  <name {M}>other</name>
  <entry><id>one</id><address>10.0.0.1</address><port>80</port><alias>eins</alias><alias>uno</alias>
    <detail><note>first</note></detail><weight {M}>1.50</weight></entry>
  <entry><id>two</id><address>10.0.0.2</address><port>80</port><kind xmlns:a="urn:example:toy">a:dog</kind></entry>
  <entry><id>three</id><address>10.0.0.3</address><port>443</port></entry>
  <pair><a>k</a><b>1</b><value>v1</value></pair><pair><a>k</a><b>2</b><value>v2</value></pair>
</box></config>"""


@pytest.fixture(scope="module")
def toy() -> Iterator[Toy]:
    with Toy.open() as toy:
        edits = xml.decode_config(xml.parse(CONFIG.encode()), toy.schema)
        toy.dispatch.submit(Edit(edits), toy.session()).result(5)
        toy.status.value = {
            "uptime": "99",
            "toy-more:uptime": "long",
            "seen": ["a", "b"],
            "plainlist": [{"a": "x", "b": 1}, {"a": "y", "b": 2}, {"a": "x", "b": 3}],
        }
        toy.parts.value = [{"slot": 1, "label": "fan"}, {"slot": 2}]
        for number in range(250):
            toy.reports.add(f"r{number}", f"doc {number}", group=f"g{number % 3}")
        yield toy


def ask(toy: Toy, content: str, attributes: str = "", which: Content = Content.ALL) -> dict[str, Any]:
    """What a filter with this content selects, as a plain tree (through the JSON writer)."""
    element = xml.parse(f"<filter {attributes}>{content}</filter>".encode())
    data = toy.dispatch.read(Get(xml.decode_filter(element, toy.schema), which), toy.session())
    result: dict[str, Any] = plain_json.loads(b"".join(json.encode(data, toy.schema.root)))
    return result


def box(toy: Toy, content: str) -> dict[str, Any]:
    """What a filter inside <box> selects, below toy:box."""
    result: dict[str, Any] = ask(toy, f"<box {T}>{content}</box>").get("toy:box", {})
    return result


def test_without_a_filter_everything_is_read(toy: Toy) -> None:
    """Checklist 44: get without a filter gives configuration and state; the configuration alone has no state."""
    tree = toy.dispatch.read(Get(), toy.session()).tree
    assert set(tree) == {"toy:box", "toy:status", "toy:store"}
    assert set(toy.dispatch.read(Get(content=Content.CONFIG), toy.session()).tree) == {"toy:box"}
    assert set(toy.dispatch.read(Get(content=Content.NONCONFIG), toy.session()).tree) == {"toy:status", "toy:store"}


def test_empty_filter_selects_nothing(toy: Toy) -> None:
    """Checklist 45: an empty filter gives empty data."""
    assert ask(toy, "") == {}
    assert ask(toy, " <!-- only a comment --> ") == {}


def test_namespaces(toy: Toy) -> None:
    """Checklist 48: a namespace selects its own name only; no namespace stands for any."""
    assert box(toy, "<name/>") == {"name": "crate"}
    assert box(toy, f"<name {M}/>") == {"toy-more:name": "other"}
    assert box(toy, '<name xmlns=""/>') == {"name": "crate", "toy-more:name": "other"}
    assert ask(toy, f"<box {M}/>") == {}
    assert ask(toy, '<box xmlns=""><size/></box>') == {"toy:box": {"size": 7}}
    assert ask(toy, '<t:box xmlns:t="urn:example:toy"><t:size/></t:box>') == {"toy:box": {"size": 7}}
    assert ask(toy, "<box xmlns='urn:ietf:params:xml:ns:netconf:base:1.0'/>") == {}


def test_wildcard_match_means_any_of_the_modules(toy: Toy) -> None:
    """Checklist 48, 52: a content match without namespace is met by the leaf of either module."""
    assert box(toy, '<plain><x xmlns="">px</x><deep/></plain>') == {"plain": {"x": "px", "deep": {"y": "py"}}}
    assert box(toy, '<plain><x xmlns="">5</x><deep/></plain>') == {"plain": {"toy-more:x": 5, "deep": {"y": "py"}}}
    assert box(toy, '<plain><x xmlns="">6</x><deep/></plain>') == {}


@pytest.mark.parametrize("deep", [False, True])
def test_too_many_nodes_are_refused(toy: Toy, deep: bool) -> None:
    """A filter may name many entries, but not so many that reading it holds everyone up."""
    one = f"<entry><detail><note/></detail><id>{'{}'}</id></entry>" if deep else "<entry><id>{}</id></entry>"
    each = 3 if deep else 1
    enough = "".join(one.format(number) for number in range((PICKS - 10) // each))
    assert box(toy, enough + "<entry><id>one</id><port/></entry>")["entry"] == [{"id": "one", "port": 80}]
    with pytest.raises(RequestError) as caught:
        box(toy, enough + one.format("x") * 10)
    assert caught.value.errors[0].tag == "too-big"


def test_too_many_alternatives_are_refused(toy: Toy) -> None:
    """A filter whose wildcards multiply is refused before it costs anything."""
    many = "".join(f'<x xmlns="">{number}</x>' for number in range(40))
    with pytest.raises(RequestError) as caught:
        box(toy, f"<plain>{many}</plain>")
    assert caught.value.errors[0].tag == "too-big"


def test_attribute_match_selects_nothing(toy: Toy) -> None:
    """Checklist 49: all attributes must match, and our data has none."""
    assert ask(toy, f'<box {T} xmlns:t="urn:example:toy" t:color="red"/>') == {}
    assert box(toy, '<entry name="one"/>') == {}
    assert box(toy, '<size a="b"/><name/>') == {"name": "crate"}


def test_containment_and_selection(toy: Toy) -> None:
    """Checklist 50, 51: containment gives only the selected descendants, a selection node its whole subtree."""
    assert box(toy, "<plain><deep/></plain><size/>") == {"size": 7, "plain": {"deep": {"y": "py"}}}
    assert box(toy, "<plain/>")["plain"] == {"x": "px", "deep": {"y": "py"}, "toy-more:x": 5, "toy-more:z": "pz"}
    assert ask(toy, f"<box {T}/>")["toy:box"]["size"] == 7
    assert box(toy, "<plain>\n  \n</plain>") == box(toy, "<plain/>")


def test_content_match_alone_takes_the_whole_entry(toy: Toy) -> None:
    """Checklist 52: a lone content match gives the entry with all its siblings."""
    assert box(toy, "<entry><id>one</id></entry>")["entry"] == [
        {
            "id": "one",
            "address": "10.0.0.1",
            "port": 80,
            "alias": ["eins", "uno"],
            "detail": {"note": "first"},
            "toy-more:weight": "1.5",
        }
    ]
    assert box(toy, "<name>crate</name>")["size"] == 7


def test_several_matches_are_all_needed(toy: Toy) -> None:
    """Checklist 53: content matches among siblings are a logical AND."""
    assert [e["id"] for e in box(toy, "<entry><port>80</port></entry>")["entry"]] == ["one", "two"]
    both = box(toy, "<entry><port>80</port><address>10.0.0.2</address></entry>")
    assert [e["id"] for e in both["entry"]] == ["two"]
    assert box(toy, "<entry><port>443</port><address>10.0.0.2</address></entry>") == {}


def test_match_with_selection(toy: Toy) -> None:
    """Checklist 54: beside a match only keys, the matched leaf and what is selected."""
    assert box(toy, "<entry><id>one</id><address/></entry>") == {"entry": [{"id": "one", "address": "10.0.0.1"}]}
    assert box(toy, "<entry><port>443</port><address/></entry>") == {
        "entry": [{"id": "three", "address": "10.0.0.3", "port": 443}]
    }
    assert box(toy, "<entry><port>443</port><detail/></entry>") == {"entry": [{"id": "three", "port": 443}]}


def test_failing_match_leaves_nothing(toy: Toy) -> None:
    """Checklist 55: an entry that does not match is left out, and parents that would be empty too."""
    assert ask(toy, f"<box {T}><entry><id>none</id></entry></box>") == {}
    assert ask(toy, f"<box {T}><plain><x>no</x></plain></box>") == {}
    assert box(toy, "<plain><x>no</x></plain><size/>") == {"size": 7}
    assert ask(toy, f"<status {T}><report><id>none</id></report></status>") == {}
    assert ask(toy, f"<status {T}><report><group>none</group></report></status>") == {}
    assert box(toy, "<entry><port>not a number</port></entry>") == {}


def test_union_of_top_elements(toy: Toy) -> None:
    """Checklist 56: several top elements are united."""
    assert ask(toy, f"<box {T}><size/></box><status {T}><uptime/></status>") == {
        "toy:box": {"size": 7},
        "toy:status": {"uptime": "99"},
    }
    assert ask(toy, f"<box {T}><size/></box><box {T}><name/></box>") == {"toy:box": {"name": "crate", "size": 7}}


def test_list_asked_twice(toy: Toy) -> None:
    """Checklist 57: one list asked with different keys gives each entry once, also where the questions overlap."""
    both = box(toy, "<entry><id>two</id></entry><entry><id>one</id></entry><entry><id>one</id></entry>")
    assert [entry["id"] for entry in both["entry"]] == ["one", "two"]
    united = box(toy, "<entry><id>one</id><port/></entry><entry><id>one</id><address/></entry>")
    assert united == {"entry": [{"id": "one", "address": "10.0.0.1", "port": 80}]}
    rows = "".join(f"<report><id>{name}</id><length/></report>" for name in ("r7", "r3", "r7"))
    found = ask(toy, f"<status {T}>{rows}</status>")["toy:status"]["report"]
    assert sorted(entry["id"] for entry in found) == ["r3", "r7"]


def test_leaf_list_match(toy: Toy) -> None:
    """Checklist 58: a match on a leaf-list is met by one of its values."""
    assert [e["id"] for e in box(toy, "<entry><alias>uno</alias></entry>")["entry"]] == ["one"]
    assert box(toy, "<entry><alias>uno</alias><id/></entry>") == {"entry": [{"id": "one", "alias": ["uno"]}]}
    assert box(toy, "<tag>big</tag><size/>") == {"size": 7, "tag": ["big"]}
    assert box(toy, "<tag/>") == {"tag": ["new", "big"]}


def test_white_space_around_a_match(toy: Toy) -> None:
    """Checklist 59: white space at the ends of a match is ignored; a leaf with nothing else is a selection."""
    assert box(toy, "<entry><id>\n  two\t</id><port/></entry>") == {"entry": [{"id": "two", "port": 80}]}
    assert box(toy, "<size>\n</size>") == {"size": 7}
    assert box(toy, "<size> 7 </size><name>\t</name>") == {"name": "crate", "size": 7}


def test_unknown_names_select_nothing(toy: Toy) -> None:
    """Checklist 60, 61: what does not exist, in the schema or in the data, is no error."""
    assert ask(toy, f"<nothing {T}/>") == {}
    assert ask(toy, '<box xmlns="urn:example:nothing"><name/></box>') == {}
    assert box(toy, "<nothing/><flag/>") == {}
    assert box(toy, "<nothing>x</nothing><size/>") == {}
    assert box(toy, "<name><deeper/></name>") == {}
    assert ask(toy, f"<box {T}>text</box>") == {}


def test_keyless_list(toy: Toy) -> None:
    """Checklist 62: entries of a list without keys are filtered as containers are."""
    found = ask(toy, f"<status {T}><plainlist><a>x</a></plainlist></status>")["toy:status"]
    assert found == {"plainlist": [{"a": "x", "b": 1}, {"a": "x", "b": 3}]}
    assert ask(toy, f"<status {T}><plainlist><b/></plainlist></status>")["toy:status"] == {
        "plainlist": [{"b": 1}, {"b": 2}, {"b": 3}]
    }


def test_keys_stay_with_what_is_cut_down(toy: Toy) -> None:
    """RFC 6241 section 6.2.4: entries keep their keys, in key order, though only another leaf was asked for."""
    assert box(toy, "<pair><value/></pair>") == {
        "pair": [{"a": "k", "b": 1, "value": "v1"}, {"a": "k", "b": 2, "value": "v2"}]
    }


def test_identityref_match_reads_the_clients_prefix(toy: Toy) -> None:
    """A match on an identityref compares identities, not text."""
    kind = '<kind xmlns:zoo="urn:example:toy">zoo:dog</kind>'
    assert [e["id"] for e in box(toy, f"<entry>{kind}</entry>")["entry"]] == ["two"]


def test_rows_are_found_by_key(toy: Toy) -> None:
    """A full key goes to the store's index, and no page is read."""
    finds, pages = toy.reports.finds, toy.reports.pages_read
    assert ask(toy, f"<status {T}><report><id>r200</id></report></status>")["toy:status"]["report"] == [
        {"id": "r200", "length": 7, "document": "doc 200", "group": "g2"}
    ]
    assert (toy.reports.finds - finds, toy.reports.pages_read - pages) == (1, 0)


def test_rows_are_walked_for_other_matches(toy: Toy) -> None:
    """A match on another leaf, or none, walks the pages and gives each entry once, in order."""
    found = ask(toy, f"<status {T}><report><group>g1</group><id/></report></status>")["toy:status"]["report"]
    assert [entry["id"] for entry in found] == [f"r{number}" for number in range(250) if number % 3 == 1]
    whole = ask(toy, f"<status {T}><report/></status>")["toy:status"]["report"]
    assert len(whole) == 250
    keys = ask(toy, f"<status {T}><report><id/></report></status>")["toy:status"]["report"]
    assert keys == [{"id": f"r{number}"} for number in range(250)]


def test_key_and_another_match(toy: Toy) -> None:
    """A key that is found still has to meet the other matches."""
    assert ask(toy, f"<status {T}><report><id>r4</id><group>g0</group></report></status>") == {}
    found = ask(toy, f"<status {T}><report><id>r4</id><group>g1</group></report></status>")["toy:status"]
    assert [entry["id"] for entry in found["report"]] == ["r4"]


def test_only_providers_that_are_asked_are_read(toy: Toy) -> None:
    """A filter is passed down: providers that it does not touch are not read."""
    reads = (toy.status.reads, toy.report_list.reads, toy.parts.reads, toy.usage.reads)
    ask(toy, f"<status {T}><part {M}/></status>")
    now = (toy.status.reads, toy.report_list.reads, toy.parts.reads, toy.usage.reads)
    changes = [after - before for after, before in zip(now, reads, strict=True)]
    assert changes == [1, 0, 1, 0]  # the status around the parts, and the parts
    ask(toy, f"<box {T}><name/></box>")
    assert (toy.status.reads, toy.report_list.reads, toy.parts.reads, toy.usage.reads) == now
