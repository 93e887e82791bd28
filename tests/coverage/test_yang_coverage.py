"""`scripts/yang_coverage` says that everything is covered, and it would say otherwise."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import runpy
import subprocess
import sys
from typing import Any

import pytest

from agent import app
from agent.northbound.served import CONSTANT
from tests.coverage import judge as judging
from tests.coverage import published
from tests.coverage.judge import judge
from tests.coverage.libyang import OURS, Invalid, Libyang
from tests.coverage.report import as_text
from tests.coverage.seen import Seen

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "yang_coverage"
SCHEMA = app.load_schema()


@pytest.fixture(scope="module")
def checker() -> Libyang:
    return Libyang(SCHEMA)


def test_everything_is_covered() -> None:
    """Issue "the kernel, whole", must show 1."""
    done = subprocess.run([sys.executable, SCRIPT, "--json"], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-3000:] + done.stdout[-3000:]
    verdict = json.loads(done.stdout)
    assert verdict["complete"]
    assert verdict["stale-constants"] == {}
    for module in OURS:
        for part in verdict["modules"][module].values():
            assert part["uncovered"] == {}
            assert part["covered"] > len(part["constants"]) >= 0
            assert all(part["constants"].values())
    # every RPC was called, and what was validated came by both protocols in both encodings
    assert set(verdict["rpcs"]) == {node.path for node in SCHEMA.rpcs.values() if node.module in OURS}
    for what in ("get, xml", "GET, json", "get-config, xml", "RPC output, xml", "RPC output, json"):
        assert verdict["validated"][what] > 50


def test_what_was_not_seen_is_uncovered() -> None:
    """Nothing seen: every leaf, list, RPC and notification that is not constant is named."""
    verdict = judge(SCHEMA, Seen())
    assert not verdict.complete
    named = {path for part in verdict.parts.values() for path in part.uncovered}
    assert "/slp-agent:record-usage (accepted)" in named
    assert "/cisco-smart-license:communications-fail" in named
    assert "/cisco-smart-license:licensing/config/custom-id" in named
    assert "/cisco-smart-license:licensing/state/state-info/usage (many)" in named
    assert not named & set(CONSTANT)
    assert list(as_text(verdict))[-1] == "Not everything is covered: see above."


def test_one_value_does_not_cover() -> None:
    seen = Seen()
    path = "/cisco-smart-license:licensing/config/custom-id"
    for custom, lack in (("a", 'only "a"'), ("b", None)):
        seen.add({"cisco-smart-license:licensing": {"config": {"custom-id": custom}}}, SCHEMA.root)
        assert judge(SCHEMA, seen).parts["cisco-smart-license", "data"].uncovered.get(path) == lack


def test_a_constant_that_varies_is_told() -> None:
    """By itself, or in a part of what is called constant; and one that no model has."""
    seen = Seen()
    state = "/cisco-smart-license:licensing/state"
    for flag in (True, False):
        tree = {"smart-enabled": flag, "state-info": {"evaluation": {"eval-in-use": flag}}}
        seen.add({"cisco-smart-license:licensing": {"state": tree}}, SCHEMA.root)
    stale = judge(SCHEMA, seen).stale
    assert stale[f"{state}/smart-enabled"].endswith("take it off")
    assert stale[f"{state}/state-info/evaluation/eval-in-use"].endswith("more narrowly")


def test_a_constant_of_no_model_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(judging.SIZES, "/no:such (none)", "a reason")
    assert "is in no model" in judge(SCHEMA, Seen()).stale["/no:such (none)"]


@pytest.mark.parametrize("wrong", [False, True])
def test_exit_code_when_it_is_not_covered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: bool
) -> None:
    """1 with the reason: on standard output what is uncovered, on standard error a reply that does not validate."""

    def run(_: Path) -> Any:
        if wrong:
            raise Invalid("/cisco-smart-license:licensing: wrong")
        return SCHEMA, Seen()

    monkeypatch.setattr("tests.coverage.run.run", run)
    monkeypatch.setattr(sys, "argv", ["yang_coverage"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert caught.value.code == 1
    out, error = capsys.readouterr()
    if wrong:
        assert (out, error) == ("", "yang_coverage: a reply does not validate: /cisco-smart-license:licensing: wrong\n")
    else:
        assert "uncovered: /slp-agent:record-usage (refused): never refused" in out


# The two checks refuse what is wrong


WRONG_OPERATIONS = [
    {"slp-agent:record-usage": {"output": {"return-code": "yes"}}},
    {"slp-agent:record-usage": {"input": {"license": "a"}}},
    {"slp-agent:import-code": {"output": {"document": [{"type": "ack"}]}}},
    {"slp-agent:export-usage": {"input": {"all": [None], "days": 1}}},
    {"cisco-smart-license:import-file": {"output": {"return-code": "success", "document": []}}},
    {"cisco-smart-license:registration-fail": {"reason": "because"}},
    {"cisco-smart-license:no-such": {}},
]


@pytest.mark.parametrize("document", WRONG_OPERATIONS)
def test_libyang_refuses_wrong_operations(checker: Libyang, document: dict[str, Any]) -> None:
    """Types, mandatory leaves, keys, choices and names hold in RPCs and notifications."""
    with pytest.raises(Invalid):
        checker.operation(json.dumps(document), "json")


def test_libyang_takes_right_operations(checker: Libyang) -> None:
    tree = {"cisco-smart-license:import-file": {"output": {"return-code": "success", "slp-agent:message": "done"}}}
    assert checker.operation(json.dumps(tree), "json") == tree
    text = '<ready xmlns="http://cisco.com/ns/yang/cisco-smart-license"/>'
    assert checker.operation(text, "xml") == {"cisco-smart-license:ready": {}}


def test_libyang_refuses_state_that_its_condition_rules_out(checker: Libyang) -> None:
    state = {"smart-enabled": False, "state-info": {"utility": {"enabled": True}}}
    with pytest.raises(Invalid, match="smart-enabled"):
        checker.data(json.dumps({"cisco-smart-license:licensing": {"state": state}}), "json")


def licensing(**parts: Any) -> dict[str, Any]:
    return {"cisco-smart-license:licensing": parts}


def wrong() -> Iterator[tuple[dict[str, Any], str]]:
    yield licensing(config={"enabled": True}), "not published"
    yield licensing(config={"enable": "true"}), "no boolean"
    yield licensing(config={"usage": {"interval": 366}}), "outside 1..365"
    yield licensing(config={"usage": {"interval": "5"}}), "no uint32"
    yield licensing(config={"utility": {"customer-info": {"id": ""}}}), "0 characters"
    yield licensing(config={"transport": {"transport-type": "off"}}), "no value of transport-type-enum"
    both = {"url-default": True, "urls": {"url-utility": "http://a"}}
    yield licensing(config={"transport": {"transport-smart": both}}), "stand together"
    yield licensing(state={"state-info": {"trust-code": [{}]}}), "lacks its key"
    yield licensing(state={"state-info": {"trust-code": {}}}), "a list with the value"
    yield licensing(state={"state-info": {"trust-code": [{"key_udi": "a"}] * 2}}), "two entries"
    yield {"cisco-smart-license:registration-fail": {"message": "m" * 256}}, "256 characters"
    yield {"cisco-smart-license:import-file": {"input": {}}}, "mandatory"


@pytest.mark.parametrize(("document", "problem"), list(wrong()))
def test_the_published_facts_refuse(document: dict[str, Any], problem: str) -> None:
    (found,) = published.problems(document)
    assert problem in found


def test_the_published_facts_pass_over_what_is_added() -> None:
    config = {"enable": True, "slp-agent:operating-mode": "controller"}
    assert list(published.problems(licensing(config=config))) == []
