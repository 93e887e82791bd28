"""ietf-yang-library: what is served is listed, in the form of RFC 8525 and in that of RFC 7895 (checklist 120)."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path

from lxml import etree
import oopt_gnpy_libyang as libyang

from agent import app
from agent.codec import xml as xml_codec
from agent.core import library
from agent.core.requests import Get
from agent.core.schema import Schema
from agent.core.tree import Tree
from agent.netconf.session import capabilities
from tests.northbound.kit import READER, Rig, leaves_below, paths_of, tree_of
from tests.northbound.test_state import valid


def read(rig: Rig, form: str) -> Tree:
    tree: Tree = rig.json(rig.select(f"/ietf-yang-library:{form}"))[f"ietf-yang-library:{form}"]
    return tree


def test_every_module_is_listed(rig: Rig) -> None:
    """Checklist 120: name, revision, namespace, features, submodules and conformance are those of the models."""
    (modules,) = read(rig, "yang-library")["module-set"]
    listed = {
        (one["name"], one.get("revision", ""), one["namespace"], tuple(one.get("feature", ())), implemented)
        for member, implemented in (("module", True), ("import-only-module", False))
        for one in modules[member]
    }
    assert listed == {
        (one.name, one.revision, one.namespace, one.features, one.implemented) for one in rig.schema.modules.values()
    }
    older = {
        (
            one["name"],
            one["revision"],
            one["namespace"],
            tuple(one.get("feature", ())),
            one["conformance-type"] == "implement",
        )
        for one in read(rig, "modules-state")["module"]
    }
    assert older == listed
    (csl,) = [one for one in modules["module"] if one["name"] == "cisco-smart-license"]
    assert csl["submodule"] == [{"name": "cisco-smart-license-errors", "revision": "2020-11-01"}]


def test_datastores_are_those_of_this_run(rig: Rig) -> None:
    """Checklist 120: all datastores have the one schema; startup is there when it is offered."""
    shown = read(rig, "yang-library")
    (schema,) = shown["schema"]
    assert schema["module-set"] == [one["name"] for one in shown["module-set"]]
    assert {one["schema"] for one in shown["datastore"]} == {schema["name"]}
    names = {one["name"] for one in shown["datastore"]}
    known = {f"ietf-datastores:{name}" for name in ("running", "candidate", "intended", "operational")}
    assert names == known | {"ietf-factory-default:factory-default"}
    offered = library.yang_library(app.offering(app.load_schema(), startup=True, urls=False))
    assert {one["name"] for one in offered["datastore"]} == names | {"ietf-datastores:startup"}


def test_hello_names_the_content(rig: Rig) -> None:
    """Checklist 120: content-id and module-set-id in the hello are those of the state."""
    prefix = "urn:ietf:params:netconf:capability:yang-library"
    told = [one for one in rig.agent.announced if one.startswith(prefix)]
    assert told == [
        f"{prefix}:1.0?revision=2019-01-04&module-set-id={read(rig, 'modules-state')['module-set-id']}",
        f"{prefix}:1.1?revision=2019-01-04&content-id={read(rig, 'yang-library')['content-id']}",
    ]


def changed(schema: Schema, **changes: object) -> Schema:
    """The same schema, with another slp-agent."""
    module = replace(schema.modules["slp-agent"], **changes)  # type: ignore[arg-type]
    return Schema({**schema.modules, "slp-agent": module}, schema.names)


def test_content_id_follows_the_modules(tmp_path: Path) -> None:
    """Checklist 120: another module, revision, feature or text is another content; the same library has the same id."""
    schema = app.load_schema()
    first = library.content_id(schema)
    assert library.content_id(app.load_schema()) == first
    text = schema.modules["slp-agent"].file.read_bytes()
    same, other = tmp_path / "same.yang", tmp_path / "other.yang"
    same.write_bytes(text)
    other.write_bytes(text + b"\n")
    assert library.content_id(changed(schema, file=same)) == first
    fewer = Schema({name: one for name, one in schema.modules.items() if name != "ietf-origin"}, schema.names)
    others = [
        fewer,
        changed(schema, file=other),
        changed(schema, revision="2026-11-25"),
        changed(schema, features=("more",)),
        changed(schema, implemented=False),
        app.offering(schema, startup=False, urls=True),
    ]
    assert len({first, *map(library.content_id, others)}) == len(others) + 1


def test_without_the_module_nothing_is_announced() -> None:
    """A server that does not serve the library does not name it."""
    schema = app.load_schema()
    kept = {name: one for name, one in schema.modules.items() if name != library.NAME}
    assert not any(":yang-library:" in uri for uri in capabilities(Schema(kept, schema.names)))


def test_library_is_valid(rig: Rig) -> None:
    """libyang takes both encodings and reads one tree; what this library has no values for is named here."""
    roots = [rig.node(f"/ietf-yang-library:{form}") for form in ("yang-library", "modules-state")]
    data = rig.dispatch.read(Get(tuple(pick for root in roots for pick in rig.select(root.path))), rig.session(READER))
    xml = b"".join(xml_codec.encode(data, rig.schema.root))
    own = tree_of(etree.fromstring(b"<data>" + xml + b"</data>"), rig.schema.root)
    assert valid(xml.decode(), libyang.DataFormat.XML) == valid(json.dumps(own), libyang.DataFormat.JSON)
    lacking = {
        one.removeprefix("/ietf-yang-library:")
        for root in roots
        for one in set(leaves_below(root)) - set(paths_of(own[root.member], root))
    }
    assert {one for one in lacking if not one.endswith(("/location", "/schema"))} == {
        "yang-library/module-set/module/deviation",
        "yang-library/module-set/import-only-module/submodule/name",
        "yang-library/module-set/import-only-module/submodule/revision",
        "modules-state/module/deviation/name",
        "modules-state/module/deviation/revision",
    }
