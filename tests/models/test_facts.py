"""The published licensing module, line by line: pyang, yangson and libyang each say what was compiled."""

from __future__ import annotations

import json
from typing import Any

import oopt_gnpy_libyang as libyang
import pytest
from yangson import DataModel

from agent.core.reftypes import IdentityRef
from agent.core.schema import Node, Schema
from agent.core.types import Enumeration, InvalidValue
from tests.models import facts
from tests.models.conftest import ROOT

KINDS = {
    "ContainerNode": "container",
    "ListNode": "list",
    "AnydataNode": "anydata",
    "LeafNode": "leaf",
    "LeafListNode": "leaf-list",
    "ChoiceNode": "choice",
    "CaseNode": "case",
    "RpcActionNode": "rpc",
    "InputNode": "input",
    "OutputNode": "output",
    "NotificationNode": "notification",
    "AnyxmlNode": "anyxml",
    "GroupNode": "uses",
}
LIBRARY = json.loads((ROOT / "yang" / "library.json").read_text(encoding="utf-8"))["modules"]


@pytest.fixture(scope="module")
def module() -> Any:
    return facts.statements()


@pytest.fixture(scope="module")
def second(schema: Schema) -> DataModel:
    """yangson's reading of the same texts: a YANG compiler that shares no code with pyang."""
    listed = [
        {
            "name": item["name"],
            "revision": item["revision"],
            "namespace": schema.modules[item["name"]].namespace,
            "feature": item["features"],
            "conformance-type": item["conformance"],
            "submodule": item.get("submodules", []),
        }
        for item in LIBRARY
    ]
    library = {"ietf-yang-library:modules-state": {"module-set-id": "test", "module": listed}}
    return DataModel(json.dumps(library), (str(ROOT / "bindings" / "yang"),))


def test_header_is_as_published(module: Any) -> None:
    """Namespace, prefix, revisions, submodule and imports."""
    assert facts.header(module) == facts.published()[0]


def test_nodes_are_as_published(module: Any) -> None:
    """Every line of the facts, in order: nothing is missing, nothing is extra."""
    assert list(facts.nodes(module)) == facts.published()[1]


def test_typedefs_are_as_published(module: Any) -> None:
    """Every typedef with the value of every enum, both ways; their order is not on the wire."""
    assert sorted(facts.typedefs(module)) == sorted(facts.published()[2])


def walk_second(node: Any, path: str = "") -> Any:
    for child in node.children:
        here = f"{path}/{child.name}"
        yield here, child
        yield from walk_second(child, here) if hasattr(child, "children") else ()


def test_second_compiler_finds_the_published_nodes(second: DataModel) -> None:
    """yangson's tree of the base module has the published paths and kinds, both ways."""
    published = {tuple(line.split(" | ")[0].split("  ")) for line in facts.published()[1]}
    found = {
        (path, KINDS[type(node).__name__])
        for path, node in walk_second(second.schema)
        if node.ns == facts.MODULE and not (type(node).__name__ in ("InputNode", "OutputNode") and not node.children)
    }
    assert found == published


def test_second_compiler_finds_the_published_enums(second: DataModel) -> None:
    """Each enumeration's names and values, as yangson numbers them."""
    published = {}
    for line in facts.published()[2]:
        name, _, rest = line.partition(": ")
        if "=" in rest:
            published[name] = {key: int(value) for key, value in (item.split("=") for item in rest.split(", "))}
    wanted = {
        line.split("  ")[0]: published[kind]
        for line in facts.published()[1]
        if len(line.split(" | ")) > 1 and (kind := line.split(" | ")[1]) in published
    }
    found = {path: dict(node.type.enum) for path, node in walk_second(second.schema) if path in wanted}
    assert found == wanted
    assert len(wanted) == 36


SAMPLES = (
    "true",
    "1",
    "2026-11-24T00:00:00+00:00",
    "00:11:22:33:44:55",
    "x:y",
    "192.0.2.1",
    "65536",
    "00000000-0000-0000-0000-000000000000",
    "0" * 64,
)


def sample(node: Node) -> Any:
    """A value that the leaf's type takes."""
    kind = node.type
    if isinstance(kind, Enumeration):
        return next(iter(kind.values))
    if isinstance(kind, IdentityRef):
        return min(kind.allowed)
    assert kind is not None
    for text in SAMPLES:
        try:
            return kind.from_text(text)
        except InvalidValue:
            continue
    raise AssertionError(f"{node.path}: no sample fits")


def instance(node: Node, value: Any) -> dict[str, Any]:
    """The smallest document that holds the node, with list keys."""
    inner: Any = {node.member: value}
    above = node.parent
    while above is not None and above.kind != "root":
        if above.kind == "list":
            inner = [{**{key.member: sample(key) for key in above.key_nodes}, **inner}]
        inner = {above.member: inner}
        above = above.parent
    assert isinstance(inner, dict)
    return inner


@pytest.fixture(scope="module")
def third() -> libyang.Context:
    libyang.set_log_options(libyang.LogOptions.Store)
    options = libyang.ContextOptions.NoYangLibrary | libyang.ContextOptions.DisableSearchCwd
    context = libyang.Context(str(ROOT / "bindings" / "yang"), options)
    for item in LIBRARY:
        if item["conformance"] == "implement":
            context.load_module(item["name"], item["revision"], item["features"])
    return context


def test_all_modules_load_in_libyang(third: libyang.Context) -> None:
    """libyang takes every served module; it warns only of the published comparison with utility-reporting-none."""
    messages = [error.message for error in third.errors()]
    assert [message for message in messages if "utility-reporting-none" not in message] == []
    assert messages
    implemented = {module.name for module in third.modules() if module.implemented}
    assert {item["name"] for item in LIBRARY if item["conformance"] == "implement"} <= implemented


def parse(context: libyang.Context, document: dict[str, Any]) -> libyang.DataNode:
    flags = libyang.ParseOptions.ParseOnly | libyang.ParseOptions.Strict
    return context.parse_data(json.dumps(document), libyang.DataFormat.JSON, flags, None)


def test_libyang_takes_an_instance_of_every_data_node(third: libyang.Context, schema: Schema) -> None:
    """Every leaf of both our modules, as libyang finds it by our schema's names; all published ones are met."""
    met: set[str] = set()
    for node in schema.root.walk():
        if node.kind not in ("leaf", "leaf-list") or node.module not in (facts.MODULE, "slp-agent"):
            continue
        value = sample(node)
        found = parse(third, instance(node, [value] if node.kind == "leaf-list" else value))
        paths = {item.schema.path for item in found.children_dfs()}
        assert node.path in paths, node.path
        met.add(node.path.replace(f"/{facts.MODULE}:", "/"))
    # Choice and case do not stand in data paths.
    wanted = {
        line.split("  ")[0].replace("/url-setting/set-default", "").replace("/url-setting/set-urls", "")
        for line in facts.published()[1]
        if line.startswith("/licensing/") and line.split(" | ")[0].endswith("  leaf")
    }
    assert wanted <= met


@pytest.mark.parametrize(
    "document",
    [
        {"cisco-smart-license:licensing": {"config": {"enabled": True}}},
        {"cisco-smart-license:licensing": {"config": {"enable": "yes"}}},
        {"cisco-smart-license:licensing": {"config": {"usage": {"interval": 366}}}},
        {"cisco-smart-license:licensing": {"config": {"transport": {"transport-type": "transport-type-Off"}}}},
        {"cisco-smart-license:licensing": {"config": {"boot-level": {"license": ["x"]}}}},
        {"cisco-smart-license:licensing": {"config": {"slp-agent:boot-level": {"license": [""]}}}},
    ],
)
def test_libyang_refuses_what_is_not_published(third: libyang.Context, document: dict[str, Any]) -> None:
    """Unknown names, wrong types, values outside their range: the instances above prove something."""
    with pytest.raises(libyang.ErrorWithCode):
        parse(third, document)


def flattened(second: DataModel) -> dict[str, Any]:
    """yangson's data nodes, RPC parts and notifications by our kind of path (choice and case left out)."""
    found: dict[str, Any] = {}

    def walk(node: Any, path: str, module: str | None) -> None:
        for child in node.children:
            kind = KINDS[type(child).__name__]
            if kind in ("choice", "case", "uses"):
                walk(child, path, module)
                continue
            here = f"{path}/{child.name}" if child.ns == module else f"{path}/{child.ns}:{child.name}"
            found[here] = child
            if hasattr(child, "children"):
                walk(child, here, child.ns)

    walk(second.schema, "", None)
    return found


def test_schema_document_agrees_with_the_second_compiler(schema: Schema, second: DataModel) -> None:
    """schema.json against yangson, node by node and both ways: kind, config, keys, mandatory, base type, enums."""
    theirs = flattened(second)
    roots = (schema.root, *schema.rpcs.values(), *schema.notifications.values())
    ours = {node.path: node for root in roots for node in root.walk() if node.kind != "root"}
    assert set(ours) == set(theirs)
    for path, node in ours.items():
        other = theirs[path]
        assert node.kind == KINDS[type(other).__name__], path
        if path.startswith("/cisco-smart-license:licensing") or node.path.startswith(
            "/ietf-netconf-monitoring:netconf"
        ):
            assert node.config == other.config, path
        if node.kind == "list":
            assert list(node.keys) == [key[0] for key in other.keys], path
        if node.kind == "leaf" and not (node.parent and node.name in node.parent.keys):
            assert node.mandatory == other.mandatory, path
        if node.type is not None:
            # an access rule's path is a string to YANG, and translated like an instance-identifier here
            base = "string" if node.type.base == "node-instance-identifier" else node.type.base
            assert base == other.type.yang_type(), path
        if isinstance(node.type, Enumeration):
            assert node.type.values == other.type.enum, path


def test_whens_defaults_and_choices_stand_in_the_schema_document(schema: Schema) -> None:
    """What the facts say of conditions and defaults is what the run-time schema says, both ways."""
    roots = (schema.root, *schema.rpcs.values(), *schema.notifications.values())
    ours: dict[str, tuple[str, ...]] = {}
    for node in (node for root in roots for node in root.walk() if node.module == facts.MODULE):
        said = [f"default '{value}'" for value in node.default]
        said += ["mandatory 'true'"] if node.mandatory else []
        said += [f"units '{node.units}'"] if node.units else []
        said += [f"key '{' '.join(node.keys)}'"] if node.keys else []
        said += [f'when "{condition}"' for condition in node.when]
        if said:
            ours[node.path.replace(f"/{facts.MODULE}:", "/")] = tuple(sorted(said))
    words = ("default", "mandatory", "units", "key", "when")
    theirs = {
        line.split("  ")[0]: tuple(sorted(part for part in line.split(" | ")[1:] if part.split(" ")[0] in words))
        for line in facts.published()[1]
    }
    assert ours == {path: said for path, said in theirs.items() if said}
    default = schema.find("/cisco-smart-license:licensing/config/transport/transport-smart/url-default")
    urls = schema.find("/cisco-smart-license:licensing/config/transport/transport-smart/urls")
    assert default is not None
    assert urls is not None
    assert default.choice == (("url-setting", "set-default"),)
    assert urls.choice == (("url-setting", "set-urls"),)


def test_library_lists_what_the_schema_holds(schema: Schema) -> None:
    """library.json and the compiled schema name the same modules, and each text is there to be served."""
    listed = {(item["name"], item["revision"], item["conformance"] == "implement") for item in LIBRARY}
    assert listed == {(module.name, module.revision, module.implemented) for module in schema.modules.values()}
    for module in schema.modules.values():
        assert f"module {module.name} " in module.file.read_text(encoding="utf-8")
        for name, _, file in module.submodules:
            assert f"submodule {name} " in file.read_text(encoding="utf-8")
    said = {item["name"]: item["features"] for item in LIBRARY}
    assert {module.name: sorted(module.features) for module in schema.modules.values()} == said
