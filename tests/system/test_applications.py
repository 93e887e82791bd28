"""What applications import, against a running agent: recording with peripherals, and asking for permission."""

from __future__ import annotations

from collections.abc import Iterator
import json
import time

import pytest

from agent import usage
from agent.formats.rum import Measurement, read_payload
from tests.system.kit import Device, documents, script

AP = "PID:AP-9,SN:0001"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    made = Device.make(tmp_path_factory.mktemp("apps") / "d")
    with made.running():
        yield made


def next_second() -> None:
    second = int(time.time())
    while int(time.time()) == second:
        time.sleep(0.02)


def closed_rows(device: Device) -> list[Measurement]:
    keys = device.close_reports()
    with device.ncclient("collector") as session:
        found = documents(session)
    return [row for key in keys for row in read_payload(json.loads(found[key])["payload"]).measurements]


def test_peripherals_from_an_application_and_the_command_line(device: Device) -> None:
    with device.recorder() as recorder:
        recorder.record("voice-session", 3, added=[AP])
    next_second()
    assert device.tool("usage", "set", "voice-session", "2", "--removed", AP).code == 0
    next_second()
    rows = closed_rows(device)
    assert [[udi.key for udi in row.added] for row in rows] == [[AP], []]
    assert [[udi.key for udi in row.removed] for row in rows] == [[], [AP]]
    done = device.tool("usage", "set", "voice-session", "2", "--added", "nonsense")
    assert done.code == 1
    assert "added-peripheral" in done.err


def test_permission_is_an_answer(device: Device) -> None:
    """Yes; no for want of a code; no for the throughput (the worked example); asking records nothing."""
    with device.recorder() as recorder:
        recorder.record("voice-session", 0)
        yes = recorder.ask_permission("voice-session", 5, throughput=250)
        assert yes
        assert (yes.reason, yes.authorized_count, yes.throughput_limit) == (None, None, 250)
        no = recorder.ask_permission("hseck9")
        assert not no
        assert (no.reason, no.authorized_count) == ("noauthorizationinstalled", 0)
        assert "request one" in no.message
        fast = recorder.ask_permission("voice-session", throughput=251)
        assert (bool(fast), fast.reason, fast.throughput_limit) == (False, "noauthorizationinstalled", 250)
        assert recorder.ask_permission("no-such").reason == "taginvalid"
        with pytest.raises(usage.UsageRefused, match="invalid-value"):
            recorder.ask_permission("voice-session", -1)
    assert {one["count"] for one in device.show("usage")["usage"]} == {0}


def test_the_sample_application_asks_first(device: Device) -> None:
    """It does not serve what it may not use, and says what to do."""
    done = script("sample_app.py", device.folder / "agent.sock", "hseck9")
    assert (done.code, done.out) == (1, "")
    assert "hseck9 may not be used" in done.err
    assert "request one" in done.err
