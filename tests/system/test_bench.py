"""`scripts/bench licensing` and `netconf` run, and measure all that they say: with little, so that they cannot rot. No
time is judged here."""

from __future__ import annotations

import json

from tests.system.kit import script

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


def test_what_cannot_be_measured_is_refused() -> None:
    for words in (
        ("licensing", "--reports", "1"),
        ("licensing", "--calls", "0"),
        ("pull", "--repeats", "0"),
        ("netconf", "--few", "0"),
    ):
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
