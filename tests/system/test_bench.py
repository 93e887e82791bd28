"""`scripts/bench` runs, and measures all that it says: with small numbers, so that it cannot rot. No time is judged
here."""

from __future__ import annotations

import json
import runpy

import pytest

from tests.system.kit import SCRIPTS, script

RATIOS = {"start", "RSS", "peak RSS"} | {
    name + when
    for name in ("usage change", "get of status", "pull of one")
    for when in ("", " while checking")
}  # fmt: skip


def test_licensing() -> None:
    options = {"--reports": 9, "--licences": 4, "--days": 2, "--starts": 1, "--calls": 3}
    words = [str(word) for pair in options.items() for word in pair]
    done = script("bench", "licensing", "--json", *words, timeout=180)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["reports"] == 9
    assert set(report["ratios"]) == RATIOS
    for found in report["ratios"].values():
        assert found["few"] > 0
        assert found["ratio"] == found["many"] / found["few"]
    assert report["rates"]["one_by_one"] > 0
    assert report["rates"]["batched"] > 0
    assert report["close"]["licences"] == 4
    assert report["close"]["ms"] > 0
    # two days of 20 licences: a change of each and a report of each a day, but for the one that is open at the end
    year = report["year"]
    assert year["days"] == 2
    assert year["reports"] >= 20
    assert year["events"] > 2 * 20 + 2 * 20


def test_ack() -> None:
    """All reports are acknowledged and purged by the one import that is measured."""
    done = script("bench_ack.py", "40", timeout=180)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["answer"], report["reports"], report["purged"]) == ("success", 40, 40)
    assert report["answers_meanwhile"] > 0
    assert report["took_ms"] > report["core_thread_cpu_ms"] > 0


def test_notifications(capsys: pytest.CaptureFixture[str]) -> None:
    """Every subscriber gets every event, once: the script ends where one gets more, and waits where one gets fewer."""
    words = ("--subscribers", "12", "--changes", "5", "--silence", "1", "--calls", "10")
    done = script("bench", "notifications", "--json", *words, timeout=180)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert set(report["events"]) == {"0", "1", "10", "12"}
    for number, found in report["events"].items():
        assert found["changes_per_s"] > 0
        assert found["cpu_ms"] > 0
        assert (found["told_per_s"] > 0) == (number != "0")
    assert set(report["silence"]) == {"with", "without"}
    for name in ("with_ms", "without_ms", "with_cpu_ms", "without_cpu_ms"):
        assert report["log"][name] > 0
    report["events"] = {int(number): found for number, found in report["events"].items()}
    runpy.run_path(str(SCRIPTS / "bench"))["show_notifications"](report)
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[3:7]] == ["0", "1", "10", "12"]
    assert "ratio" in shown


def test_what_cannot_be_measured_is_refused() -> None:
    refused = ("licensing", "--calls", "0"), ("pull", "--repeats", "0"), ("notifications", "--changes", "0")
    for words in (("licensing", "--reports", "1"), ("netconf", "--few", "0"), *refused):
        done = script("bench", *words)
        assert (done.code, done.out) == (2, "")
        assert "or more" in done.err


RATES = {"small", "pipelined", "sessions", "at once", "edit", "commit", "list"}
ATTACKS = 6


def test_netconf() -> None:
    """A sample of all rows comes, as JSON; peers that are not installed are named with what installs them."""
    done = script("bench", "netconf", "--json", "--quick", timeout=240)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert set(report["stored"]) == {"3", "20"}
    for found in report["stored"].values():
        assert set(found["agent"]) == set(found["ceiling"]) == RATES
        assert all(one["per_s"] > 0 and one["ms"] > 0 for server in found.values() for one in server.values())
    measured = set(report["stored"]["20"])
    assert measured | set(report["absent"]) == {"agent", "ceiling", "pypi", "yuma"}
    assert not measured & set(report["absent"])
    assert "apt-get install" in report["absent"].get("yuma", "apt-get install")
    assert set(report["idle"]) == measured
    assert report["idle"]["agent"]["sessions"] == 8
    # nobody else, and each way to be a nuisance, which did come through
    assert len(report["attacks"]) == 1 + ATTACKS
    for name, one in report["attacks"].items():
        assert one["get_max_ms"] >= one["get_p99_ms"] >= one["get_p50_ms"] > 0
        assert one["edit_max_ms"] >= one["edit_p99_ms"] >= one["edit_p50_ms"] > 0
        assert one["done"] > 0 or name in ("nobody else", "XPath bombs")
    for one in report["aims"]:
        assert one["met"] == (one["ratio"] >= one["wanted"])
    assert sum("of the ceiling" in one["aim"] for one in report["aims"]) == 2
