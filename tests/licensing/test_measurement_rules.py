"""The measurement rules of slp-facts section 4.2 in the documents that leave, one test each, with its own figures.

`num_samples` of 86399, 374401 and 40500 s stand in test_usage.py and tests/formats/test_rum.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.formats.udi import Udi
from tests.licensing.kit import T0, Device, running

ADVANTAGE = "network-advantage"


def rows(device: Device) -> list[dict[str, Any]]:
    """All rows of all documents, by rising report id."""
    stored = device.store.reports.rows
    documents = [json.loads(json.loads(stored[number].document)["payload"]) for number in sorted(stored)]
    return [row for document in documents for row in document["measurements"]]


@pytest.fixture
def device() -> Device:
    made = running()
    made.use(ADVANTAGE, 2)
    return made


def test_a_sample_every_15_minutes(device: Device) -> None:
    """Interval 00:15:00: usage is confirmed at each, and a deadline is set for the next."""
    device.tick(after=899)
    assert device.state.sampled_at == T0
    device.tick(after=1)
    assert device.state.sampled_at == T0 + 900


def test_a_value_change_starts_a_row(device: Device) -> None:
    """2 → 3, in one report; an equal value starts none."""
    device.use(ADVANTAGE, 2, after=100)
    device.use(ADVANTAGE, 3, after=100)
    device.close(after=100)
    assert [row["value"] for row in rows(device)] == [
        {"type": "COUNT", "value": "2"},
        {"type": "COUNT", "value": "3"},
    ]


def test_the_sample_interval_is_end_less_start(device: Device) -> None:
    device.use(ADVANTAGE, 3, after=1234)
    device.close(after=86399)
    assert [(row["end_time"] - row["start_time"], row["sample_interval"]) for row in rows(device)] == [
        (1234, 1234),
        (86399, 86399),
    ]


def test_the_first_row_starts_at_its_log_time_and_the_next_where_the_last_ended(device: Device) -> None:
    device.use(ADVANTAGE, 3, after=600)
    device.use(ADVANTAGE, 1, after=600)
    device.close(after=600)
    first, second, third = rows(device)
    assert first["start_time"] == first["log_time"] == T0
    assert second["start_time"] == first["end_time"]
    assert third["start_time"] == second["end_time"]


def test_a_clock_jump_is_recorded_as_in_the_sample(device: Device) -> None:
    """`clock_change_delta` "-3433", text, in the first row on the new clock; no other row has it."""
    device.tick(after=4000)
    device.now -= 3433
    device.use(ADVANTAGE, 2)
    device.tick()
    device.close(after=60)
    assert [row["meta"].get("clock_change_delta") for row in rows(device)] == [None, "-3433"]
    assert [row["meta"].get("termination_reason") for row in rows(device)] == ["ClockChanged", "CurrentUsageRequested"]


def test_peripherals_that_were_counted(device: Device) -> None:
    """`added_sudi_list` and `removed_sudi_list`, in the public form of a UDI."""
    device.use(ADVANTAGE, 3, after=60, added=(Udi("AP-1", "A1"),))
    device.use(ADVANTAGE, 2, after=60, removed=(Udi("AP-1", "A1"),))
    device.close(after=60)
    ap = {"udi_pid": "AP-1", "udi_serial_number": "A1"}
    assert [row["meta"].get("added_sudi_list") for row in rows(device)] == [None, [ap], None]
    assert [row["meta"].get("removed_sudi_list") for row in rows(device)] == [None, None, [ap]]


def test_the_metric_and_its_value_are_text(device: Device) -> None:
    """`metric_name` ENTITLEMENT; `value` {type: COUNT, value: "3"}, a string."""
    device.use(ADVANTAGE, 3)
    device.close(after=60)
    (row,) = rows(device)
    assert (row["metric_name"], row["value"]) == ("ENTITLEMENT", {"type": "COUNT", "value": "3"})
