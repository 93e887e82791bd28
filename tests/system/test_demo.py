"""scripts/demo.py, the main job end to end, verifies itself; here it is short."""

from __future__ import annotations

from pathlib import Path

from tests.system.kit import script


def test_demo(tmp_path: Path) -> None:
    """Three days: it ends with 0, tells what happened, and leaves what it is asked to keep, without a fault logged."""
    work = tmp_path / "w"
    done = script("demo.py", "--days", "3", "--keep", work, env={"COLUMNS": "110"})
    assert (done.code, done.err) == (0, ""), done
    assert done.out.rstrip().endswith("Usage was recorded, signed, pulled, acknowledged and purged.")
    assert done.out.count("✓") >= 15
    assert "nan" not in done.out
    for log in ("agent.log", "authority.log", "app.log"):
        text = (work / log).read_text()
        assert "Traceback" not in text, text
    reports = list((work / "reports").iterdir())
    assert len(reports) >= 3
    assert script("verify_report.py", *reports).code == 0
