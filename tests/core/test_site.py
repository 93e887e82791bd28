"""Modules of a site compiled with the agent's own; configuration whose modules are gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.core.datastore import StoredConfigurationError
from agent.core.site import CompileError, Site
from tests.toy.build import Store, Toy

BASE = Path(__file__).resolve().parents[2] / "bindings" / "schema.json"
HEADER = 'yang-version 1.1; namespace "urn:example:%s"; prefix p;'


def text(name: str, body: str, kind: str = "module", **names: str) -> str:
    return f"{kind} {name} {{ {HEADER % name if kind == 'module' else 'yang-version 1.1;'} {body} }}"


def schema(tmp_path: Path, files: dict[str, str], folder: dict[str, str] | None = None) -> Any:
    """What becomes of these files, and of those in a folder where imports are looked for."""
    found = tmp_path / "folder"
    found.mkdir(exist_ok=True)
    for name, body in (folder or {}).items():
        (found / name).write_text(body)
    paths = [tmp_path / name for name in files]
    for path, body in zip(paths, files.values(), strict=True):
        path.write_text(body)
    return Site(paths, [found], tmp_path / "kept", b"key").schema(BASE)


def test_features_submodules_and_imports(tmp_path: Path) -> None:
    """All features of a given module are on, those of what it imports are off; no later revision of ours is taken."""
    main = text(
        "m",
        """import other { prefix o; } import ietf-inet-types { prefix inet; } include part;
        feature f; leaf a { if-feature f; type inet:port-number; } leaf b { if-feature o:g; type int8; }""",
    )
    part = text("part", "belongs-to m { prefix p; } feature h; leaf c { if-feature h; type int8; }", "submodule")
    later = 'module ietf-inet-types { namespace "urn:x"; prefix inet; revision 2030-01-01; }'
    made = schema(
        tmp_path,
        {"m.yang": main},
        {"other.yang": text("other", "feature g;"), "part.yang": part, "ietf-inet-types@2030-01-01.yang": later},
    )
    module = made.modules["m"]
    assert module.implemented
    assert set(module.features) == {"f", "h"}
    assert [name for name, _, _ in module.submodules] == ["part"]
    assert {node.name for node in made.root.children if node.module == "m"} == {"a", "c"}
    assert not made.modules["other"].implemented
    assert made.modules["ietf-inet-types"].revision == "2013-07-15"


def test_what_an_implemented_module_uses_is_implemented(tmp_path: Path) -> None:
    """RFC 7950 section 5.6.5: by an augment or a leafref, and what those use in turn; not for a type alone."""
    top = text("top", "import middle { prefix m; } import types { prefix t; } leaf x { type t:small; } leaf r {"
               ' type leafref { path "/m:c/m:k"; } }')  # fmt: skip
    middle = text(
        "middle", 'import below { prefix b; } feature f; container c { leaf k { type int8; } leaf o { if-feature f; '
        'type int8; } } augment "/b:d" { leaf added { type int8; } }'
    )  # fmt: skip
    folder = {
        "middle.yang": middle,
        "below.yang": text("below", "container d;"),
        "types.yang": text("types", "typedef small { type int8; } container not-used;"),
    }
    made = schema(tmp_path, {"top.yang": top}, folder)
    assert {name for name in ("top", "middle", "below", "types") if made.modules[name].implemented} == {
        "top", "middle", "below",
    }  # fmt: skip
    assert made.modules["middle"].features == ("f",)
    assert made.find("/below:d/middle:added") is not None
    assert made.find("/middle:c/o") is not None
    assert made.find("/types:not-used") is None


@pytest.mark.parametrize(
    ("files", "folder", "told"),
    [
        ({"s.yang": text("s", "belongs-to m { prefix p; }", "submodule")}, {}, "give the file of m"),
        ({"no.yang": "nothing"}, {}, r"no\.yang: is no YANG module"),
        ({"a.yang": text("a", ""), "b.yang": text("a", "")}, {}, "another module a"),
        ({"ietf-netconf.yang": text("ietf-netconf", "")}, {}, "another module ietf-netconf"),
        ({"x.yang": "module x { namespace }"}, {}, r"x\.yang:1"),
        ({"m.yang": text("m", "import gone { prefix g; }")}, {}, "gone"),
        (
            {
                "m.yang": text("m", "import old { prefix o; } import user { prefix u; }"),
            },
            {
                "old@2020-01-01.yang": text("old", "revision 2020-01-01;"),
                "old@2021-01-01.yang": text("old", "revision 2021-01-01;"),
                "user.yang": text("user", "import old { prefix o; revision-date 2020-01-01; }"),
            },
            "two revisions of old",
        ),
    ],
)
def test_what_cannot_be_served_is_told(
    tmp_path: Path, files: dict[str, str], folder: dict[str, str], told: str
) -> None:
    with pytest.raises(CompileError, match=told):
        schema(tmp_path, files, folder)
    assert not list((tmp_path / "kept").glob("*/*"))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="is not a folder"):
        Site([], [tmp_path / "none"], tmp_path / "kept", b"key").schema(BASE)


@pytest.mark.parametrize("kept", ["config", "startup"])
def test_configuration_of_modules_that_are_gone(kept: str) -> None:
    """The message names the modules and what to do, also where they add to a module that is served."""
    tree = {"gone:top": {"x": 1}, "toy:box": {"also-gone:y": [{"z": 2}]}}
    document = json.dumps(tree).encode()
    store = Store(config=document) if kept == "config" else Store()
    if kept == "startup":
        store.documents["startup"] = document
    with pytest.raises(StoredConfigurationError, match=r"also-gone, gone, .*--yang FILE.*delete its data first"):
        Toy.open(netconf=True, store=store)
