"""A clock that jumps, seen through the whole agent: what it shows stays valid, and an operator hears of it."""

from __future__ import annotations

import pytest

from tests.licensing.kit import DAY, T0
from tests.transport.rig import Rig

YEAR = 365 * DAY


@pytest.mark.parametrize("jump", [-YEAR, 10 * YEAR, 7_900 * YEAR])
def test_state_is_valid_before_and_after(rig: Rig, jump: int) -> None:
    """`info` has libyang validate all of it in both encodings; the agent goes on to measure, also after a restart."""
    rig.use("advantage", 2)
    rig.advance(5000)
    rig.invoke("close-reports")
    rig.advance(1000)
    rig.info()
    told = len(rig.told)
    rig.advance(jump)
    names = rig.names()[told:]
    assert "report-closed" in names
    assert ("clock-changed" in names) == (jump < 0)
    rig.info()
    rig.advance(100)
    rig.invoke("close-reports")
    info = rig.info()
    last = info["slp-agent:rum-reports-closed"][-1]
    assert last["report-start-time"] <= last["report-end-time"]
    rig.restart(after=10)
    assert rig.use("advantage", 3) == {"return-code": "success"}
    rig.info()
    rig.clock.at = T0
    rig.advance(0)
    assert "clock-changed" in rig.names()
    rig.info()
