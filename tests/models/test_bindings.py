"""The generated classes: up to date, reproducible, what the seam writes passes through them, and a change breaks it."""

from __future__ import annotations

import ast
import json
from pathlib import Path
import shutil
import subprocess
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pyangbind.lib.yangtypes import safe_name
import pytest

from agent.core.schema import Schema
from agent.core.types import Enumeration
from agent.errors import RequestError
from agent.northbound.bound import Bindings
from tests.models.conftest import ROOT

STATE = "/cisco-smart-license:licensing/state/state-info"
SCRIPT = ROOT / "scripts" / "gen_bindings"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def bindings(schema: Schema) -> Bindings:
    return Bindings(schema)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of yang/ to change."""
    copy = tmp_path / "yang"
    shutil.copytree(ROOT / "yang", copy)
    return copy


def test_committed_bindings_are_up_to_date() -> None:
    """Generating anew gives the committed bytes: nobody edited them, and nobody forgot to generate."""
    done = run("--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_names_what_differs(tmp_path: Path) -> None:
    """A changed, a missing and a left-over file are each named, and the exit code is 1."""
    copy = tmp_path / "bindings"
    shutil.copytree(ROOT / "bindings", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "licensing" / "__init__.py").write_text("# edited\n", encoding="utf-8")
    (copy / "schema.json").unlink()
    (copy / "more.py").write_text("", encoding="utf-8")
    done = run("--check", "--out", copy)
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if ": " in line][:3] == [
        "missing: schema.json",
        "left over: more.py",
        "differs: licensing/__init__.py",
    ]


def test_errors_of_the_script(sources: Path, tmp_path: Path) -> None:
    """A module with an error, a library that does not fit, a folder that is not ours: nothing is made."""
    out = tmp_path / "out"
    library = json.loads((sources / "library.json").read_text(encoding="utf-8"))
    library["modules"][-1]["conformance"] = "implement"
    (sources / "library.json").write_text(json.dumps({"modules": library["modules"][:-2]}), encoding="utf-8")
    done = run("--yang", sources, "--out", out)
    assert (done.returncode, "library.json" in done.stderr) == (1, True)
    (sources / "slp-agent.yang").write_text("module slp-agent {", encoding="utf-8")
    done = run("--yang", sources, "--out", out)
    assert (done.returncode, "slp-agent.yang" in done.stderr) == (1, True)
    assert not out.exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    done = run("--out", tmp_path / "mine")
    assert (done.returncode, "remove it first" in done.stderr) == (1, True)
    assert (tmp_path / "mine" / "file").exists()


def test_every_generated_file_says_so() -> None:
    """Each class file is marked at its head, holds each class once, and all of them stay small."""
    size = 0
    for file in (ROOT / "bindings").rglob("*"):
        if file.suffix == ".py":
            text = file.read_text(encoding="utf-8")
            assert "Generated from yang/" in text.splitlines()[0]
            names = [item.name for item in ast.parse(text).body if isinstance(item, ast.ClassDef)]
            assert len(names) == len(set(names))
        size += file.stat().st_size if file.is_file() and file.suffix != ".pyc" else 0
    assert size < 4_000_000


def test_all_our_nodes_have_a_class(schema: Schema, bindings: Bindings) -> None:
    """Every container, list, input, output and notification of both our modules with children, and every leaf in it."""
    count = 0
    for root in (schema.root, *schema.rpcs.values(), *schema.notifications.values()):
        for node in root.walk():
            if node.module not in ("cisco-smart-license", "slp-agent") or not node.children or node.kind == "rpc":
                continue
            bound = bindings.of(node)
            # pyangbind leaves out containers without children, of which the published module has one.
            filled = {safe_name(child.name) for child in node.children if child.kind != "container" or child.children}
            assert set(bound.obj._pyangbind_elements) == filled, node.path
            count += 1
    assert count > 80


def test_values_pass_through_and_come_back(bindings: Bindings) -> None:
    """64-bit numbers become strings, unset leaves are left out, false and "" are kept, in the schema's order."""
    counts = bindings.tree(f"{STATE}/slp-agent:report-counts", total=2**64 - 1, purged="0", waiting=None)
    assert counts == {"total": "18446744073709551615", "purged": "0"}
    product = bindings.tree(f"{STATE}/slp-agent:product", lab=False, hostname="")
    assert list(product.items()) == [("hostname", ""), ("lab", False)]
    assert bindings.tree("/slp-agent:record-usage/output", return_code="success") == {"return-code": "success"}
    assert bindings.tree("/cisco-smart-license:ready") == {}


def test_containers_lists_and_leaf_lists(bindings: Bindings) -> None:
    """An entry with a container below it, a list of entries, a leaf-list."""
    entry = bindings.at(f"{STATE}/slp-agent:rum-reports-closed").set(
        report_state="rum-report-state-closed",
        rum_report_key="PID:a,SN:b,REPORT:7",
        report_id=7,
        udi={"pid": "a", "sn": "b"},
        document='{"payload":"é\\"<"}',
        digest="0" * 64,
    )
    assert list(entry.tree()) == ["rum-report-key", "report-id", "udi", "digest", "document", "report-state"]
    assert entry.tree()["udi"] == {"pid": "a", "sn": "b"}
    document = bindings.at("/slp-agent:import-code/output/document").set(index=0, type="rum-ack", return_code="success")
    assert bindings.tree("/slp-agent:import-code/output", return_code="success", document=[document]) == {
        "return-code": "success",
        "document": [{"index": 0, "type": "rum-ack", "return-code": "success"}],
    }
    keys = bindings.tree("/slp-agent:close-reports/output", closed_count=2, rum_report_key=["b", "a"])
    assert keys == {"closed-count": 2, "rum-report-key": ["b", "a"]}


def test_settings_pass_through(schema: Schema, bindings: Bindings) -> None:
    """A whole configuration, with augmented nodes, a choice and a list, comes back as it went in."""
    node = schema.find("/cisco-smart-license:licensing/config")
    assert node is not None
    config = {
        "enable": True,
        "privacy": {"hostname": False},
        "usage": {"interval": 30, "customer-tags": {"tag1": "x"}},
        "transport": {
            "transport-type": "transport-type-smart",
            "transport-smart": {"urls": {"url-registration": "https://a.example/x"}},
        },
        "slp-agent:boot-level": {"license": ["one", "two"]},
        "slp-agent:recorder": [{"user": "u", "license": ["*"]}],
    }
    assert bindings.checked(node, config) == config
    assert bindings.checked(node, {}) == {}


@pytest.mark.parametrize(
    ("path", "tree", "tag"),
    [
        ("/slp-agent:record-usage/input", {"license": "", "count": 1}, "invalid-value"),
        ("/slp-agent:record-usage/input", {"license": "x", "count": -1}, "invalid-value"),
        ("/slp-agent:record-usage/input", {"license": "x", "count": "1"}, "invalid-value"),
        ("/slp-agent:record-usage/input", {"license": "x", "count": 1, "more": 1}, "unknown-element"),
        ("/cisco-smart-license:licensing/config", {"enable": "true"}, "invalid-value"),
        ("/cisco-smart-license:licensing/config", {"enable": 1}, "invalid-value"),
        ("/cisco-smart-license:licensing/config", {"usage": {"interval": 366}}, "invalid-value"),
        ("/cisco-smart-license:licensing/config", {"transport": {"transport-type": "off"}}, "invalid-value"),
        ("/cisco-smart-license:licensing/config", {"slp-agent:boot-level": {"license": "x"}}, "invalid-value"),
        ("/cisco-smart-license:licensing/config", {"slp-agent:recorder": [{"user": ""}]}, "invalid-value"),
        ("/cisco-smart-license:licensing/config", {"boot-level": {"license": ["x"]}}, "unknown-element"),
    ],
)
def test_inputs_and_settings_are_refused(
    schema: Schema, bindings: Bindings, path: str, tree: dict[str, Any], tag: str
) -> None:
    """What a class does not take is one precise error, never a silent conversion."""
    node = schema.find(path)
    assert node is not None
    with pytest.raises(RequestError) as refused:
        bindings.checked(node, tree)
    assert [error.tag for error in refused.value.errors] == [tag]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"report_number": 7}, AttributeError),
        ({"report_id": -1}, ValueError),
        ({"report_id": "x"}, ValueError),
        ({"report_id": True}, ValueError),
        ({"digest": "0" * 63}, ValueError),
        ({"close_reason": "because"}, ValueError),
        ({"document": 5}, ValueError),
        ({"udi": {"pid": ""}}, ValueError),
        ({"udi": {"name": "x"}}, AttributeError),
    ],
)
def test_wrong_state_is_refused(bindings: Bindings, values: dict[str, Any], kind: type[Exception]) -> None:
    """A slip in the seam shows at once, with the path of the node."""
    with pytest.raises(kind, match="rum-reports-closed"):
        bindings.tree(f"{STATE}/slp-agent:rum-reports-closed", **values)


def test_unknown_paths(bindings: Bindings) -> None:
    """A path that the schema does not have is named."""
    with pytest.raises(LookupError, match="/slp-agent:nothing"):
        bindings.at("/slp-agent:nothing")


def test_every_result_of_the_enumeration(schema: Schema, bindings: Bindings) -> None:
    """All 146 return codes pass through their class."""
    node = schema.find("/cisco-smart-license:import-file/output/return-code")
    assert node is not None
    assert isinstance(node.type, Enumeration)
    assert len(node.type.values) == 146
    for code in node.type.values:
        assert bindings.tree("/cisco-smart-license:import-file/output", return_code=code) == {"return-code": code}


@settings(max_examples=40)
@given(number=st.integers(-5, 2**64 + 5), text=st.text(max_size=20))
def test_any_value_comes_back_or_is_refused(bindings: Bindings, number: int, text: str) -> None:
    """What is taken is read back as it was meant; all else is ValueError."""
    path = "/slp-agent:report-closed"
    for values in ({"report_id": number}, {"entitlement_tag": text}, {"close_reason": text}):
        try:
            tree = bindings.tree(path, **values)
        except ValueError:
            continue
        (value,) = tree.values()
        assert value == str(next(iter(values.values())))


USES = {
    "state": "b.tree(S + '/slp-agent:rum-reports-closed', report_id=1)",
    "settings": "b.checked(s.find(C), {'slp-agent:boot-level': {'license': ['x']}})",
    "input": "b.checked(s.find('/slp-agent:record-usage/input'), {'license': 'x', 'count': 1})",
    "output": "b.tree('/slp-agent:close-reports/output', closed_count=1)",
    "notification": "b.tree('/slp-agent:usage-changed', count=1)",
    "published state": "b.tree(S + '/rum-ack', last_received_time='2026-11-24T00:00:00+00:00')",
}
PROGRAM = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from pathlib import Path
from agent.core.schema import Schema
from agent.northbound.bound import Bindings
s = Schema.read(Path(sys.argv[1]) / "bindings" / "schema.json")
b = Bindings(s)
S = "/cisco-smart-license:licensing/state/state-info"
C = "/cisco-smart-license:licensing/config"
found = {}
for name, use in json.loads(sys.argv[3]).items():
    try:
        found[name] = eval(use)
    except Exception as error:
        found[name] = type(error).__name__
import bindings.licensing
assert bindings.licensing.__file__.startswith(sys.argv[1])
print(json.dumps(found))
"""


def used_with(folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(ROOT), json.dumps(USES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def replaced(file: Path, *pairs: tuple[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def test_changing_a_name_or_type_breaks_its_use(sources: Path, tmp_path: Path) -> None:
    """State, settings, RPC input and output and notifications: regenerate from changed YANG, and each use of it fails.

    The same uses succeed with bindings that are generated from the text as it is.
    """
    assert run("--yang", sources, "--out", tmp_path / "bindings").returncode == 0
    assert used_with(tmp_path) == {
        "state": {"report-id": "1"},
        "settings": {"slp-agent:boot-level": {"license": ["x"]}},
        "input": {"license": "x", "count": 1},
        "output": {"closed-count": 1},
        "notification": {"count": 1},
        "published state": {"last-received-time": "2026-11-24T00:00:00+00:00"},
    }
    replaced(
        sources / "slp-agent.yang",
        (
            'leaf report-id {\n        type uint64;\n        description\n          "Number of',
            'leaf report-number {\n        type uint64;\n        description\n          "Number of',
        ),
        ("container boot-level {", "container boot-levels {"),
        (
            "leaf count {\n        type uint32;\n        mandatory true;",
            "leaf count {\n        type string;\n        mandatory true;",
        ),
        ("leaf closed-count {\n        type uint32;", "leaf closed-count {\n        type boolean;"),
        (
            'leaf count {\n      type uint32;\n      description\n        "How many are in use now."',
            'leaf number {\n      type uint32;\n      description\n        "How many are in use now."',
        ),
    )
    replaced(
        sources / "cisco-smart-license.yang",
        (
            "leaf last-received-time {\n            type yang:date-and-time;",
            "leaf last-received-time {\n            type uint32;",
        ),
    )
    assert run("--yang", sources, "--out", tmp_path / "bindings").returncode == 0
    assert used_with(tmp_path) == {
        "state": "AttributeError",
        "settings": "RequestError",
        "input": "RequestError",
        "output": "ValueError",
        "notification": "AttributeError",
        "published state": "ValueError",
    }


def test_every_built_in_type_passes_through(tmp_path: Path) -> None:
    """Types that our modules do not have yet (identities, unions, empty, bits, binary, decimal64) are handled too."""
    text = """module t { yang-version 1.1; namespace "urn:t"; prefix t; revision 2026-01-01;
      identity fruit; identity pear { base fruit; }
      container all {
        leaf identity { type identityref { base fruit; } }
        leaf either { type union { type uint8; type enumeration { enum many; } } }
        leaf nothing { type empty; }
        leaf flags { type bits { bit a; bit b; } }
        leaf raw { type binary; }
        leaf number { type decimal64 { fraction-digits 2; } }
        leaf signed { type int64; }
        leaf copy { type leafref { path "../signed"; } }
        leaf from { type boolean; }
      } }"""
    (tmp_path / "yang").mkdir()
    (tmp_path / "yang" / "t.yang").write_text(text, encoding="utf-8")
    library = {"modules": [{"name": "t", "revision": "2026-01-01", "conformance": "implement", "features": []}]}
    (tmp_path / "yang" / "library.json").write_text(json.dumps(library), encoding="utf-8")
    done = run("--yang", tmp_path / "yang", "--out", tmp_path / "toy_bindings")
    assert done.returncode == 0, done.stderr
    values = {
        "identity": "t:pear",
        "either": "many",
        "nothing": [None],
        "flags": "a b",
        "raw": "AAEC",
        "number": "2.5",
        "signed": "-5",
        "copy": "-6",
        "from": False,
    }
    sys.path.insert(0, str(tmp_path))
    try:
        toy = Schema.read(tmp_path / "toy_bindings" / "schema.json")
        bindings = Bindings(toy, "toy_bindings")
        node = toy.find("/t:all")
        assert node is not None
        assert bindings.checked(node, values) == values
        assert bindings.checked(node, {"t:either": 7}) == {"either": 7}
        for bad in ({"identity": "t:fruit"}, {"either": "few"}, {"nothing": None}, {"flags": "c"}, {"number": "x"}):
            with pytest.raises(RequestError):
                bindings.checked(node, bad)
    finally:
        sys.path.remove(str(tmp_path))
