"""Reading request lines, without HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.core.compile import compile_modules
from agent.core.path import to_instance_identifier
from agent.core.schema import Schema
from agent.restconf import uri
from agent.restconf.errors import HttpError
from tests.toy.build import FOLDER, toy_schema

DATA = "/restconf/data"


@pytest.fixture(scope="module")
def schema() -> Schema:
    return toy_schema()


def shown(resource: uri.Resource) -> str:
    """A record in short."""
    match resource:
        case uri.DataResource():
            return to_instance_identifier(resource.steps)
        case uri.Operation(node):
            return f"rpc {node.module}:{node.name}"
    return type(resource).__name__


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/.well-known/host-meta", "HostMeta"),
        ("/restconf", "ApiRoot"),
        ("/restconf/", "ApiRoot"),
        ("/restconf/yang-library-version", "LibraryVersion"),
        ("/restconf/operations", "OperationList"),
        ("/restconf/operations/", "OperationList"),
        ("/restconf/data", "DataRoot"),
        ("/restconf/data/", "DataRoot"),
        ("/restconf/data/toy:box", "/toy:box"),
        ("/restconf/data/toy:box/name", "/toy:box/name"),
        ("/restconf/data/toy:box/toy:name", "/toy:box/name"),
        ("/restconf/data/toy:box/toy-more:name", "/toy:box/toy-more:name"),
        ("/restconf/data/toy%3Abox/name", "/toy:box/name"),
        ("/restconf/data/toy:box/plain/toy-more:x", "/toy:box/plain/toy-more:x"),
        ("/restconf/data/toy:box/plain/deep/y", "/toy:box/plain/deep/y"),
        ("/restconf/data/toy:box/ship", "/toy:box/ship"),
        ("/restconf/data/toy:box/entry=one", "/toy:box/entry[id='one']"),
        ("/restconf/data/toy:box/entry=one/detail/note", "/toy:box/entry[id='one']/detail/note"),
        ("/restconf/data/toy:box/entry=one/sub=7", "/toy:box/entry[id='one']/sub[n='7']"),
        ("/restconf/data/toy:box/entry=one/sub=007/text", "/toy:box/entry[id='one']/sub[n='7']/text"),
        ("/restconf/data/toy:box/pair=x,5", "/toy:box/pair[a='x'][b='5']"),
        ("/restconf/data/toy:box/tag=x", "/toy:box/tag[.='x']"),
        ("/restconf/data/toy:box/number=80", "/toy:box/number[.='80']"),
        ("/restconf/data/toy:box/tag", "/toy:box/tag"),
        ("/restconf/data/toy:box/entry", "/toy:box/entry"),
        ("/restconf/data/toy:status/plainlist", "/toy:status/plainlist"),
        ("/restconf/data/toy:status/toy-more:part=3/label", "/toy:status/toy-more:part[slot='3']/label"),
    ],
)
def test_paths(schema: Schema, path: str, expected: str) -> None:
    """Checklist 127, 128, 129: each path names one resource; a prefix is needed first and where the module changes."""
    assert shown(uri.parse("GET", path, "", schema)) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("%2F", "/"),
        ("%2C", ","),
        ("%25", "%"),
        ("%3A", ":"),
        ("%27", "'"),
        ("%22", '"'),
        ("%20", " "),
        ("%252C", "%2C"),
        ("%c3%a4", "ä"),
        ("%F0%9F%A6%9C", "🦜"),
        ("", ""),
        ("a=b", "a=b"),
        ("a+b", "a+b"),
        ("a:b", "a:b"),
        ("a;b", "a;b"),
        ("..", ".."),
        ("%2e%2e%2Fx", "../x"),
    ],
)
def test_key_encoding(schema: Schema, text: str, value: str) -> None:
    """Checklist 129: keys are percent-decoded once; an empty key is lawful."""
    resource = uri.parse("GET", f"{DATA}/toy:box/entry={text}/address", "", schema)
    assert isinstance(resource, uri.DataResource)
    assert resource.path[1][1] == (value,)
    assert resource.node.name == "address"


def test_keys_have_their_type(schema: Schema) -> None:
    """Checklist 129: an empty first key before a comma, and canonical typed values."""
    resource = uri.parse("GET", f"{DATA}/toy:box/pair=,00017", "", schema)
    assert isinstance(resource, uri.DataResource)
    assert resource.path[1][1] == ("", 15)  # an octal form, as RFC 7950 section 9.2.1 has it


@pytest.mark.parametrize(
    ("path", "status", "tag", "words"),
    [
        # outside of data: no such resource
        ("/", 404, "invalid-value", "/restconf"),
        ("/restconfig", 404, "invalid-value", "/restconf"),
        ("/restconf/streams", 404, "invalid-value", "data, operations"),
        ("/restconf//data", 404, "invalid-value", "data, operations"),
        ("/restconf/yang-library-version/x", 404, "invalid-value", ""),
        ("/.well-known/host-meta/x", 404, "invalid-value", ""),
        ("/restconf/operations/toy:nothing", 404, "invalid-value", "operations"),
        ("/restconf/operations/greet", 400, "unknown-element", "toy:greet"),
        ("/restconf/operations/toy:greet/x", 400, "invalid-value", "name"),
        # nodes
        ("/restconf/data/box", 400, "unknown-element", "toy:box"),
        ("/restconf/data/nowhere", 400, "unknown-element", "module:nowhere"),
        ("/restconf/data/other:box", 400, "unknown-namespace", "other"),
        ("/restconf/data/toy:nothing", 400, "unknown-element", "nothing"),
        ("/restconf/data/toy:box/nothing", 400, "unknown-element", "/toy:box"),
        ("/restconf/data/toy:box/plain/z", 400, "unknown-element", "toy-more:z"),
        ("/restconf/data/toy:box/toy-more:x", 400, "unknown-element", "toy-more:x"),
        ("/restconf/data/toy:box/way", 400, "unknown-element", "way"),
        ("/restconf/data/toy:box/by-air/plane", 400, "unknown-element", "by-air"),
        ("/restconf/data/toy:box/name/x", 400, "unknown-element", "x"),
        ("/restconf/data/toy:box/", 400, "invalid-value", "name"),
        ("/restconf/data//toy:box", 400, "invalid-value", "name"),
        ("/restconf/data/toy:box/9lives", 400, "invalid-value", "name"),
        ("/restconf/data/toy:box/a:b:c", 400, "invalid-value", "name"),
        ("/restconf/data/:box", 400, "invalid-value", "name"),
        ("/restconf/data/toy%2Fbox", 400, "invalid-value", "name"),
        ("/restconf/data/toy:box/%6", 400, "invalid-value", "%25"),
        ("/restconf/data/toy:box/%ff", 400, "invalid-value", "UTF-8"),
        # keys
        ("/restconf/data/toy:box=x", 400, "invalid-value", "without keys"),
        ("/restconf/data/toy:box/name=x", 400, "invalid-value", "without keys"),
        ("/restconf/data/toy:status/plainlist=x", 400, "invalid-value", "without keys"),
        ("/restconf/data/toy:status/plainlist/a", 400, "invalid-value", "without keys"),
        ("/restconf/data/toy:box/entry/address", 400, "invalid-value", "entry={id}"),
        ("/restconf/data/toy:box/pair/value", 400, "invalid-value", "pair={a},{b}"),
        ("/restconf/data/toy:box/pair=x", 400, "invalid-value", "1 values for 2"),
        ("/restconf/data/toy:box/pair=x,1,2", 400, "invalid-value", "%2C"),
        ("/restconf/data/toy:box/entry=a,b", 400, "invalid-value", "%2C"),
        ("/restconf/data/toy:box/tag=a,b", 400, "invalid-value", "%2C"),
        ("/restconf/data/toy:box/pair=x,many", 400, "invalid-value", "b:"),
        ("/restconf/data/toy:box/pair=x,", 400, "invalid-value", "b:"),
        ("/restconf/data/toy:box/pair=x,65536", 400, "invalid-value", "b:"),
        ("/restconf/data/toy:box/entry=%", 400, "invalid-value", "%25"),
        ("/restconf/data/toy:box/entry=%zz", 400, "invalid-value", "%25"),
        ("/restconf/data/toy:box/entry=%4", 400, "invalid-value", "%25"),
        ("/restconf/data/toy:box/entry=%c3", 400, "invalid-value", "UTF-8"),
        ("/restconf/data/toy:box/entry=%00", 400, "invalid-value", "id:"),
        ("/restconf/data/toy:box/tag=x/y", 400, "unknown-element", "y"),
    ],
)
def test_refused_paths(schema: Schema, path: str, status: int, tag: str, words: str) -> None:
    """Checklist 128, 129, 131: each with a status, a tag, and what to do instead."""
    with pytest.raises(HttpError) as refused:
        uri.parse("GET", path, "", schema)
    error = refused.value.errors[0]
    assert (refused.value.status, error.tag) == (status, tag)
    assert words in error.message


def test_error_path_is_where_it_went_wrong(schema: Schema) -> None:
    with pytest.raises(HttpError) as refused:
        uri.parse("GET", f"{DATA}/toy:box/entry=a%2Fb/nothing", "", schema)
    assert to_instance_identifier(refused.value.errors[0].path) == "/toy:box/entry[id='a/b']"


@pytest.fixture(scope="module")
def typed() -> Schema:
    return Schema.load(compile_modules([FOLDER, Path(__file__).parent / "models"], ["toy", "keys"], {}))


@pytest.mark.parametrize(
    ("step", "value"),
    [
        ("pet=hamster", "keys:hamster"),
        ("pet=keys:hamster", "keys:hamster"),
        ("pet=keys%3Ahamster", "keys:hamster"),
        ("pet=toy:cat", "toy:cat"),
        ("animal=toy%3Acat", "toy:cat"),
        ("wide=18446744073709551615", "18446744073709551615"),
        ("ratio=1.5", "1.5"),
        ("ratio=%2B01.50", "1.5"),
        ("switch=true", True),
        ("color=dark-blue", "dark-blue"),
        ("mixed=5", 5),
        ("mixed=five", "five"),
        ("blob=aGk%3D", "aGk="),
        ("blob=aGk=", "aGk="),
    ],
)
def test_typed_keys(typed: Schema, step: str, value: Any) -> None:
    """Checklist 130: an identityref may lack its prefix when it is of the list's module; values become canonical."""
    resource = uri.parse("GET", f"{DATA}/keys:top/{step}", "", typed)
    assert isinstance(resource, uri.DataResource)
    assert resource.path[-1][1] == (value,)


@pytest.mark.parametrize("step", ["pet=cat", "pet=other:cat", "animal=cat", "wide=-1", "switch=yes", "color=blue"])
def test_keys_of_another_type(typed: Schema, step: str) -> None:
    """Checklist 130: the prefix is needed for an identity of another module."""
    with pytest.raises(HttpError) as refused:
        uri.parse("GET", f"{DATA}/keys:top/{step}", "", typed)
    assert (refused.value.status, refused.value.errors[0].tag) == (400, "invalid-value")


READ = ("GET", "HEAD", "OPTIONS")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/.well-known/host-meta", READ),
        ("/restconf", READ),
        ("/restconf/yang-library-version", READ),
        ("/restconf/operations", READ),
        ("/restconf/operations/toy:greet", ("OPTIONS", "POST")),
        ("/restconf/data/toy:greet", ("OPTIONS", "POST")),
        ("/restconf/data", READ),
        ("/restconf/data/toy:box", READ),
        ("/restconf/data/toy:status", READ),
        ("/restconf/data/toy:box/entry=x", READ),
    ],
)
def test_methods(schema: Schema, path: str, allowed: tuple[str, ...]) -> None:
    """Checklist 135, 136: other methods are answered with 405 and Allow."""
    for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
        if method in allowed:
            assert uri.parse(method, path, "", schema).allow == allowed
            continue
        with pytest.raises(HttpError) as refused:
            uri.parse(method, path, "", schema)
        assert refused.value.status == 405
        assert refused.value.headers == (("Allow", ", ".join(allowed)),)
        assert refused.value.errors[0].tag == "operation-not-supported"


def test_writes_say_where_they_work(schema: Schema) -> None:
    with pytest.raises(HttpError, match="edit-config over NETCONF"):
        uri.parse("PATCH", f"{DATA}/toy:box", "", schema)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("depth=1", "'depth'"),
        ("x", "'x'"),
        ("content=config&content=config", "more than once"),
        ("a=1&b=2&a=3", "more than once"),
        ("=", "''"),
    ],
)
@pytest.mark.parametrize("path", ["/restconf", "/restconf/data/toy:box", "/restconf/operations"])
def test_query_parameters(schema: Schema, path: str, query: str, words: str) -> None:
    """Checklist 154: unknown and repeated parameters are refused, everywhere."""
    with pytest.raises(HttpError) as refused:
        uri.parse("GET", path, query, schema)
    assert refused.value.status == 400
    assert refused.value.errors[0].tag == "invalid-value"
    assert words in refused.value.errors[0].message


def test_a_bare_question_mark_is_no_parameter(schema: Schema) -> None:
    assert isinstance(uri.parse("GET", "/restconf", "&", schema), uri.ApiRoot)


def test_long_path(schema: Schema) -> None:
    with pytest.raises(HttpError) as refused:
        uri.parse("GET", f"{DATA}/toy:box/entry={'x' * uri.LONGEST_PATH}", "", schema)
    assert (refused.value.status, refused.value.errors[0].tag) == (414, "too-big")


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=40)


@given(_TEXT)
def test_any_key_round_trips(text: str) -> None:
    """Checklist 129, 138: a key encoded as the RFC says comes back as it was."""
    resource = uri.parse("GET", f"{DATA}/toy:box/entry={quote(text, safe='')}", "", toy_schema())
    assert isinstance(resource, uri.DataResource)
    assert resource.path[-1][1] == (text,)


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                ["toy:box", "entry", "entry=", "=", "%", "%2C", ",", "/", "toy", ":", "pair=a,1", "name", "\x00", "é"]
            ),
            max_size=8,
        ).map("".join),
    )
)
def test_either_a_record_or_a_refusal(tail: str) -> None:
    """Whatever comes after the root: a record, or HttpError with a 4xx; never another exception."""
    for path in (tail, f"/restconf/{tail}", f"{DATA}/{tail}", f"{DATA}/toy:box/{tail}", f"/restconf/operations/{tail}"):
        refused = None
        try:
            resource = uri.parse("GET", path, "", toy_schema())
        except HttpError as error:
            refused = error
        if refused is None:
            assert "GET" in resource.allow
        else:
            assert 400 <= refused.status < 500
