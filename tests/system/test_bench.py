"""`scripts/bench licensing` runs, and measures all that it says: with few reports, so that it cannot rot. No time is
judged here."""

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
    for words in (("licensing", "--reports", "1"), ("licensing", "--calls", "0"), ("pull", "--repeats", "0")):
        done = script("bench", *words)
        assert (done.code, done.out) == (2, "")
        assert "or more" in done.err
