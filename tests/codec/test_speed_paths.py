"""The short ways that speed has made must give what the long ways give: key-only reads, joined rows, one parser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.codec import json, xml
from agent.codec.pieces import CHUNK
from agent.codec.xml_parse import DEPTH
from agent.core.data import Data
from agent.core.requests import Get
from agent.core.schema import Node
from agent.core.select import Part, Pick, prune
from agent.core.tree import Form, Kept, Row, Tree
from agent.errors import RequestError
from tests.toy.build import Toy, toy_schema


def node(path: str) -> Node:
    found = toy_schema().find(path)
    assert found is not None
    return found


REPORT = node("/toy:status/report")
ID = node("/toy:status/report/id")
LENGTH = node("/toy:status/report/length")
PICKS = st.builds(
    Pick,
    st.just(REPORT),
    st.lists(
        st.one_of(st.tuples(st.just(ID), st.sampled_from("abc")), st.tuples(st.just(LENGTH), st.integers(0, 3))),
        max_size=2,
    ).map(tuple),
    st.one_of(st.none(), st.lists(st.sampled_from([Pick(ID), Pick(LENGTH)]), max_size=2).map(tuple)),
    st.one_of(st.none(), st.integers(1, 3)),
    st.booleans(),
).filter(lambda pick: pick.depth is None or pick.below is None)


@settings(deadline=None)
@given(st.lists(PICKS, min_size=1, max_size=3), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3)))
def test_rows_are_cut_down_as_lists_are(picks: list[Pick], stored: dict[str, int]) -> None:
    """Checklist 50, 53, 54, 57: a list in a store, of which some rows are not decoded, gives what a plain list gives.

    Only the order may differ: rows that are found by key come in the order of the request.
    """
    with Toy.open() as toy:
        for name, length in stored.items():
            toy.reports.add(name, "x" * length)
        status = node("/toy:status")
        plain = {"report": [row.tree() for page in toy.reports.pages() for row in page]}
        kept = prune(plain if stored else {}, tuple(picks), status).get("report", [])
        rows = prune({"report": toy.reports}, tuple(picks), status).get("report")
        found = [] if rows is None else [row for page in rows.pages() for row in page]
        trees = [row.tree if isinstance(row, Part) else row.tree() for row in found]
        key = "id"
        assert sorted(trees, key=lambda tree: tree[key]) == sorted(kept, key=lambda tree: tree[key])


def test_key_only_reads_decode_nothing() -> None:
    """A row whose encodings cannot be decoded still gives its key."""
    with Toy.open() as toy:
        toy.reports._rows["a"] = Row(("a",), b"<broken", b"{broken", "mark")
        pick = Pick(node("/toy:status"), below=(Pick(REPORT, below=(Pick(ID),)),))
        data = toy.dispatch.read(Get((pick,)), toy.session())
        assert b"".join(xml.encode(data, toy.schema.root)) == (
            b'<status xmlns="urn:example:toy"><report><id>a</id></report></status>'
        )
        assert data.marks == []


@pytest.mark.parametrize("size", [10, CHUNK // 3, CHUNK, 3 * CHUNK])
def test_joined_rows_keep_order_and_marks(size: int) -> None:
    """Pieces of any size: nothing is lost, doubled or marked twice."""
    with Toy.open() as toy:
        for number in range(25):
            toy.reports.add(f"r{number:02}", chr(97 + number) * size)
        selection = (Pick(node("/toy:status"), below=(Pick(REPORT),)),)
        data = toy.dispatch.read(Get(selection), toy.session())
        chunks = list(xml.encode(data, toy.schema.root))
        root = xml.parse(b"".join(chunks))
        assert [entry[0].text for entry in root] == [f"r{number:02}" for number in range(25)]
        assert [mark for _, mark in data.marks] == [("row", f"r{number:02}") for number in range(25)]
        assert max(map(len, chunks)) < 2 * CHUNK + size + 1000


class InPages:
    """A stored list that tells how it was walked."""

    marked = None

    def __init__(self, count: int) -> None:
        entries: list[Tree] = [{"id": f"r{number}", "length": number} for number in range(count)]
        self.rows = [
            Row((one["id"],), xml.encode_entry(one, REPORT), json.encode_entry(one, REPORT)) for one in entries
        ]
        self.ways: list[str] = []

    def find(self, keys: tuple[str, ...]) -> Row | None:
        return next((row for row in self.rows if row.keys == keys), None)

    def pages(self) -> Iterator[Sequence[Row]]:
        self.ways.append("pages")
        for start in range(0, len(self.rows), 2):
            yield self.rows[start : start + 2]


class Joined(InPages):
    """The same, which can give its pages joined too."""

    def joined(self, form: Form) -> Iterator[bytes]:
        self.ways.append(form)
        for start in range(0, len(self.rows), 2):
            page = self.rows[start : start + 2]
            yield b"".join(row.xml for row in page) if form == "xml" else b",".join(row.json for row in page)


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize(("codec", "form"), [(xml, "xml"), (json, "json")])
def test_pages_that_a_store_has_joined_are_what_rows_are(codec: Any, form: str, count: int) -> None:
    """The same octets; and where something is cut, or said that is not in the rows, these are taken one by one."""
    status, below = node("/toy:status"), (Pick(REPORT),)
    cut = (Pick(REPORT, below=(Pick(LENGTH),)),)
    alone = Data({"report": Joined(count)}, status)

    def written(rows: Any, picks: tuple[Pick, ...]) -> bytes:
        with Toy.open() as toy:
            toy.report_list.value = rows
            data = toy.dispatch.read(Get((Pick(status, below=picks),)), toy.session())
            return b"".join(codec.encode(data, toy.schema.root))

    rows = Joined(count)
    assert written(rows, below) == written(InPages(count), below)
    assert rows.ways == [form]
    assert written(rows, cut) == written(InPages(count), cut)
    assert "pages" in rows.ways
    assert rows.ways.count(form) == 1
    assert b"".join(codec.encode(alone, status)) == b"".join(
        codec.encode(Data({"report": InPages(count)}, status), status)
    )
    if codec is xml:
        assert alone.tree["report"].ways == ["pages"]
    with pytest.raises(TypeError, match="lives in a store"):
        list(codec.encode({"toy:status": Kept({"report": Joined(count)})}, toy_schema().root))


def test_marks_of_a_reply_that_is_not_read_to_its_end() -> None:
    """What has not been encoded is not noted."""
    with Toy.open() as toy:
        for number in range(8):
            toy.reports.add(f"r{number}", "x" * CHUNK)
        data: Data = toy.dispatch.read(Get((Pick(node("/toy:status"), below=(Pick(REPORT),)),)), toy.session())
        chunks = xml.encode(data, toy.schema.root)
        next(chunks)
        assert 0 < len(data.marks) < 8


def test_many_entries_by_key_are_looked_up_as_the_reply_grows() -> None:
    """Checklist 57: a request that names a thousand entries does not hold them all before the first is sent."""
    with Toy.open() as toy:
        for number in range(1000):
            toy.reports.add(f"r{number}", "x" * 2000)
        wanted = tuple(Pick(REPORT, ((ID, f"r{number}"),), (Pick(LENGTH),)) for number in range(0, 2000, 2))
        data = toy.dispatch.read(Get((Pick(node("/toy:status"), below=wanted),)), toy.session())
        assert 0 < toy.reports.finds < 100
        root = xml.parse(b"".join(xml.encode(data, toy.schema.root)))
        assert [entry[0].text for entry in root] == [f"r{number}" for number in range(0, 1000, 2)]
        assert toy.reports.finds == 1000


def nested(depth: int, around: bytes = b"") -> bytes:
    return b"<a>" * depth + around + b"</a>" * depth


def test_depth_is_bounded_whatever_else_there_is() -> None:
    """Exactly DEPTH levels pass, one more does not, with or without a crowd of siblings."""
    crowd = b"<b/>" * 1000
    for around in (b"", crowd, b"text"):
        levels = DEPTH - (1 if around == crowd else 0)
        assert xml.parse(nested(levels, around)).tag == "a"
        with pytest.raises(RequestError, match="nested"):
            xml.parse(nested(levels + 1, around))
    with pytest.raises(RequestError, match="nested"):
        xml.parse(nested(DEPTH, b"<b/>"))
    assert xml.parse(nested(DEPTH - 1, b"<b/>")).tag == "a"


BAD = (
    b"<a><b></a>",
    b"",
    b"<a>&x;</a>",
    b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
    b"<a>\xff</a>",
    b"<a/><b/>",
    b"<",
)


def test_the_parser_serves_again_after_any_refusal() -> None:
    """Checklist 28, 29: what was refused leaves nothing behind for the next message."""
    for bad in BAD:
        with pytest.raises(RequestError):
            xml.parse(bad)
        root = xml.parse(b"<a><!-- c --><?p i?><![CDATA[<x>]]></a>")
        assert (root.text, len(root)) == ("<x>", 0)


def test_threads_do_not_share_a_parser() -> None:
    """Good and bad messages on several threads at once."""

    def work(number: int) -> bool:
        good = f"<a n='{number}'>{'<b>x</b>' * 50}</a>".encode()
        for _ in range(50):
            assert xml.parse(good).get("n") == str(number)
            with pytest.raises(RequestError):
                xml.parse(BAD[number % len(BAD)])
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))
