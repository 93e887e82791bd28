"""Whole lives in `tests/licensing/scenarios`: `commands.txt` in, `record.txt` out, equal to the last line.

SLP_RECORD=1 writes the records anew; what changed is then read in review.
"""

from __future__ import annotations

import os

import pytest

from tests.licensing.scenario import FOLDER, Player


@pytest.mark.parametrize("name", sorted(each.name for each in FOLDER.iterdir()))
def test_scenario(name: str) -> None:
    folder = FOLDER / name
    record = Player().play((folder / "commands.txt").read_text())
    if os.environ.get("SLP_RECORD") == "1":
        (folder / "record.txt").write_text(record)
    assert record.splitlines() == (folder / "record.txt").read_text().splitlines()


def test_a_wrong_record_is_noticed() -> None:
    commands = (FOLDER / "first-ack-by-pull" / "commands.txt").read_text()
    record = (FOLDER / "first-ack-by-pull" / "record.txt").read_text()
    assert Player().play(commands.replace("network-advantage 1", "network-advantage 2")) != record
