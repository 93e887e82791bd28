"""record-usage with peripherals that came or went: through the RPC into the signed report."""

from __future__ import annotations

import json

import pytest

from agent.errors import RequestError
from agent.formats.rum import Measurement, read_payload
from agent.licensing.refusals import CODES
from tests.transport.rig import ADMIN, Rig

ONE, TWO = "PID:AP-1,SN:A-1", "PID:AP-1,SN:a.b/c-2"


def rows(rig: Rig) -> list[Measurement]:
    rig.invoke("close-reports")
    return [row for one in rig.documents() for row in read_payload(json.loads(one)["payload"]).measurements]


def test_peripherals_stand_in_the_report(rig: Rig) -> None:
    """Those that came begin a row of their own, those that went another one; a count may stay as it is."""
    rig.invoke("record-usage", {"license": "sessions", "count": 2, "added-peripheral": [ONE, TWO]})
    rig.advance(100)
    answer = rig.invoke("record-usage", {"license": "sessions", "count": 2, "removed-peripheral": [TWO]})
    assert answer == {"return-code": "success"}
    rig.advance(100)
    first, second = rows(rig)
    assert ([udi.key for udi in first.added], first.removed, first.count) == ([ONE, TWO], (), 2)
    assert (second.added, [udi.key for udi in second.removed], second.count) == ((), [TWO], 2)
    assert rig.agent.committer.state.licences["regid.2026-11.test.SES,1.0_02"].count == 2


@pytest.mark.parametrize(
    "key", ["", "AP-1", "PID:,SN:x", "PID:a b,SN:x", "PID:a,SN:x,SN:y", "PID:\u00fc,SN:x", f"PID:{256 * 'x'},SN:1"]
)
@pytest.mark.parametrize("which", ["added-peripheral", "removed-peripheral"])
def test_another_form_of_a_peripheral_is_refused(rig: Rig, which: str, key: str) -> None:
    """By the schema, before anything is recorded."""
    before = rig.state
    with pytest.raises(RequestError) as caught:
        rig.invoke("record-usage", {"license": "sessions", "count": 2, which: [key]}, ADMIN)
    assert caught.value.errors[0].tag == "invalid-value"
    assert rig.state is before


def test_too_many_peripherals_are_refused(rig: Rig) -> None:
    keys = [f"PID:AP,SN:{number}" for number in range(501)]
    answer = rig.invoke("record-usage", {"license": "sessions", "count": 2, "added-peripheral": keys})
    assert answer["return-code"] == CODES["too-many-peripherals"]
    assert "500" in answer["message"]
    assert "sessions" not in {entry["short-name"] for entry in rig.part("usage") if entry["count"]}
    rig.invoke("record-usage", {"license": "sessions", "count": 2, "added-peripheral": keys[:500]})
    rig.advance(100)
    (row,) = rows(rig)
    assert [udi.key for udi in row.added] == keys[:500]
