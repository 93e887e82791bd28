"""YANG text to schema document to nodes: what of RFC 7950 arrives, and what happens to modules with errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.core.compile import CompileError, compile_modules
from agent.core.schema import Node, Schema

BASE = """
module m {
  yang-version 1.1;
  namespace "urn:m";
  prefix m;
  import ietf-netconf-acm { prefix nacm; }
  include m-part;
  revision 2026-01-01;
  revision 2025-01-01;
  feature gated;
  typedef speed { type uint32; units "bit/s"; default 10; }
  grouping pair { leaf left { type string; } leaf right { type string; } }
  container top {
    presence "on";
    nacm:default-deny-all;
    list item {
      key "b a";
      unique "c/d";
      unique "e";
      min-elements 1;
      max-elements 3;
      ordered-by user;
      leaf a { type string; }
      container c { leaf d { type string; } }
      leaf e { type speed; }
      leaf b { type int8; }
      leaf m { type string; mandatory true; nacm:default-deny-write; }
    }
    choice way {
      when "m:open = 'true'";
      leaf short { type empty; }
      case long {
        when "m:open != 'false'";
        choice deeper { container x { leaf y { type string; when "../../m:open"; } } }
      }
    }
    leaf open { type boolean; }
    uses pair { when "m:open"; refine left { default "l"; mandatory false; } }
    leaf only-with { if-feature gated; type string; }
    leaf-list many { type speed; default 1; default 2; }
    leaf up { type leafref { path "/m:top/m:item/m:b"; require-instance false; } }
    anydata any;
    action go { input { leaf n { type string; } } output { leaf r { type string; } } }
    notification gone { leaf why { type string; } }
  }
  list loose { config false; leaf v { type string; } container sub { leaf w { type string; } } }
  rpc call { output { leaf r { type string; } } input { leaf a { type string; mandatory true; } } }
  notification told { leaf x { type string; } }
}
"""
PART = """
submodule m-part {
  yang-version 1.1;
  belongs-to m { prefix m; }
  revision 2026-01-02;
  container part { leaf p { type string; } }
}
"""
MORE = """
module n {
  namespace "urn:n";
  prefix n;
  import m { prefix m; }
  revision 2026-01-01;
  augment "/m:top" { when "m:open"; leaf open { type string; } container own { leaf z { type m:speed; } } }
  augment "/m:call/m:input" { leaf b { type string; } }
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("yang")
    for name, text in (("m", BASE), ("m-part", PART), ("n", MORE)):
        (where / f"{name}.yang").write_text(text, encoding="utf-8")
    return where


@pytest.fixture(scope="module")
def schema(folder: Path) -> Schema:
    return Schema.load(compile_modules([folder], ["m", "n@2026-01-01"]))


def at(schema: Schema, path: str) -> Node:
    node = schema.find(path)
    assert node is not None, path
    assert node.path == path
    return node


def test_modules(schema: Schema, folder: Path) -> None:
    """Implemented and imported modules, revisions, submodules and the files of all of them."""
    m = schema.modules["m"]
    assert (m.revision, m.namespace, m.prefix, m.yang_version, m.implemented) == (
        "2026-01-01",
        "urn:m",
        "m",
        "1.1",
        True,
    )
    assert m.file == (folder / "m.yang").resolve()
    assert m.submodules == (("m-part", "2026-01-02", (folder / "m-part.yang").resolve()),)
    assert schema.modules["n"].yang_version == "1"
    assert not schema.modules["ietf-netconf-acm"].implemented
    assert schema.by_namespace("urn:n") is schema.modules["n"]
    assert schema.by_namespace("urn:none") is None
    assert "nacm" not in {node.name for node in schema.root.children}


def test_list(schema: Schema) -> None:
    """Keys in key order, unique, bounds, order, and the keys' nodes wherever they stand."""
    item = at(schema, "/m:top/item")
    assert item.keys == ("b", "a")
    assert [node.path for node in item.key_nodes] == ["/m:top/item/b", "/m:top/item/a"]
    assert item.unique == (("c/d",), ("e",))
    assert (item.min_elements, item.max_elements, item.user_ordered) == (1, 3, True)
    loose = at(schema, "/m:loose")
    assert (loose.keys, loose.max_elements, loose.user_ordered, loose.config) == ((), None, False, False)
    assert not at(schema, "/m:loose/sub/w").config


def test_leaf_details(schema: Schema) -> None:
    """Defaults and units of typedefs, refinement, mandatory, presence and access flags."""
    assert (at(schema, "/m:top/item/e").default, at(schema, "/m:top/item/e").units) == (("10",), "bit/s")
    assert at(schema, "/m:top/left").default == ("l",)
    assert at(schema, "/m:top/many").default == ("1", "2")
    assert at(schema, "/m:top/item/m").mandatory
    assert at(schema, "/m:top/item/m").nacm == "default-deny-write"
    assert at(schema, "/m:top").nacm == "default-deny-all"
    assert at(schema, "/m:top").presence
    assert not at(schema, "/m:top/item/c").presence
    up = at(schema, "/m:top/up").type
    assert up is not None
    assert (up.base, up.from_text("5"), up.path, up.require_instance) == ("leafref", 5, "/m:top/m:item/m:b", False)  # type: ignore[attr-defined]


def test_choices_are_flattened(schema: Schema) -> None:
    """Data children skip choice and case, which stand in `choice`; conditions around them in `outer_when`."""
    top = at(schema, "/m:top")
    names = [node.member for node in top.children]
    assert names == ["item", "short", "x", "open", "left", "right", "many", "up", "any", "n:open", "n:own"]
    short, deep = at(schema, "/m:top/short"), at(schema, "/m:top/x")
    assert short.choice == (("way", "short"),)
    assert deep.choice == (("way", "long"), ("deeper", "x"))
    assert deep.outer_when == ("m:open = 'true'", "m:open != 'false'")
    assert at(schema, "/m:top/x/y").when == ("../../m:open",)
    assert at(schema, "/m:top/left").outer_when == ("m:open",)
    assert at(schema, "/m:top/n:open").outer_when == ("m:open",)
    assert at(schema, "/m:top/open").outer_when == ()


def test_same_name_from_two_modules(schema: Schema) -> None:
    """Members are told apart by module; `named` gives both."""
    top = at(schema, "/m:top")
    own, other = top.by_member("open"), top.by_member("n:open")
    assert own is not None
    assert other is not None
    assert top.named("open") == (own, other)
    assert top.child("m", "open") is own is top.by_member("m:open")
    assert top.child("n", "open") is other
    assert other.namespace == "urn:n"
    assert at(schema, "/m:top/n:own/z").member == "z"
    assert top.by_member("m:own") is None
    assert top.named("none") == ()


def test_operations(schema: Schema) -> None:
    """RPCs, actions and notifications: input first, output and notifications are no configuration."""
    call = schema.rpcs["m", "call"]
    assert [node.kind for node in call.children] == ["input", "output"]
    assert at(schema, "/m:call/input/a").mandatory
    assert at(schema, "/m:call/input/n:b").module == "n"
    assert not at(schema, "/m:call/output/r").config
    assert [(node.kind, node.name) for node in at(schema, "/m:top").operations] == [
        ("action", "go"),
        ("notification", "gone"),
    ]
    assert not schema.notifications["m", "told"].config
    assert schema.notifications["m", "told"].path == "/m:told"


def test_features(folder: Path) -> None:
    """A feature that is not named is off."""
    on = Schema.load(compile_modules([folder], ["m"], {"m": ["gated"]}))
    off = Schema.load(compile_modules([folder], ["m"]))
    assert on.find("/m:top/only-with") is not None
    assert off.find("/m:top/only-with") is None
    assert on.modules["m"].features == ("gated",)
    assert off.find("/m:part/p") is not None
    assert off.find("/m:top/nothing/there") is None


def test_the_same_text_gives_the_same_document(folder: Path) -> None:
    """Byte for byte: the document is committed and compared."""
    first, second = (json.dumps(compile_modules([folder], ["m", "n"])) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("module bad { namespace 'urn:b'; prefix b; leaf x { type strin; } }", "strin"),
        ("module bad { namespace 'urn:b'; prefix b; leaf x { } }", "type"),
        ("module bad { namespace 'urn:b'; prefix b; leaf x ", "bad.yang"),
        ("module bad { namespace 'urn:b'; prefix b; import nowhere { prefix n; } }", "nowhere"),
        ("module bad { namespace 'urn:b'; prefix b; leaf x { type leafref { path '../y'; } } }", "y"),
        ("module bad { namespace 'urn:b'; prefix b; leaf x { type string { pattern '(a'; } } }", "(a"),
        ("", "bad"),
    ],
)
def test_errors_name_place_and_reason(tmp_path: Path, text: str, says: str) -> None:
    """A module with an error stops the compilation, and the message leads to it."""
    (tmp_path / "bad.yang").write_text(text, encoding="utf-8")
    with pytest.raises(CompileError) as stopped:
        compile_modules([tmp_path], ["bad"])
    assert says in str(stopped.value)
    assert "Traceback" not in str(stopped.value)


def test_unknown_module_revision_and_feature(folder: Path) -> None:
    """What is not there is named."""
    with pytest.raises(CompileError, match="nope"):
        compile_modules([folder], ["nope"])
    with pytest.raises(CompileError, match="m@1999-01-01"):
        compile_modules([folder], ["m@1999-01-01"])
    with pytest.raises(CompileError, match=r"no feature absent; it has gated"):
        compile_modules([folder], ["m"], {"m": ["absent"]})


@pytest.mark.parametrize("document", [{}, {"format": 2}, {"format": "1"}])
def test_foreign_documents_are_refused(document: dict[str, object]) -> None:
    """A document of another format says how to make a good one."""
    with pytest.raises(ValueError, match=r"agent\.core\.compile"):
        Schema.load(document)
