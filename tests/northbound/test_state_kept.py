"""What of `/licensing/state` is kept between reads, and what a change builds anew: exactly what it touches."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.select import Pick
from agent.core.tree import Kept
from tests.licensing.kit import DAY
from tests.northbound import scenes
from tests.northbound.kit import LICENSING, Rig
from tests.northbound.test_state import PUSH, at


def info_tree(rig: Rig) -> dict[str, Any]:
    """state-info as the provider gives it, before any encoding."""
    tree: dict[str, Any] = rig.get().tree[LICENSING]["state"]["state-info"]
    return tree


CHANGES: dict[str, tuple[Any, set[str]]] = {
    "custom-id": (lambda rig: rig.edit({"custom-id": "x"}), {"custom-id"}),
    "privacy": (lambda rig: rig.edit({"privacy": {"version": True}}), {"privacy"}),
    "utility": (
        lambda rig: rig.edit({"utility": {"utility-enable": True}}),
        {"utility", "usage", "rum-ack", "slp-agent:report-counts", "slp-agent:report-times"},
    ),
    "controller": (
        lambda rig: rig.edit({"slp-agent:operating-mode": "controller"}),
        {"usage", "rum-ack", "slp-agent:report-counts", "slp-agent:report-times"},
    ),
    "interval": (lambda rig: rig.edit({"usage": {"interval": 5}}), {"slp-agent:report-times"}),
    "usage": (lambda rig: rig.use("advantage", 9), {"usage"}),
    "close": (lambda rig: rig.close(10), {"slp-agent:report-counts", "slp-agent:report-times", "usage"}),
    "deliver": (lambda rig: rig.collect(), {"slp-agent:report-counts"}),
    "policy": (
        lambda rig: rig.installed(rig.authority.file(rig.policy())),
        {"policy", "rum-ack", "slp-agent:report-times"},
    ),
    "trust code": (
        lambda rig: rig.installed(rig.authority.file(rig.trust_code())),
        {"trust-code", "registration", "rum-ack", "slp-agent:report-times"},
    ),
    "ack": (
        lambda rig: rig.installed(rig.ack()),
        {"rum-ack", "slp-agent:report-counts", "slp-agent:report-times", "slp-agent:account"},
    ),
    "code": (
        lambda rig: rig.installed(rig.authority.file(rig.authority.code(rig.device, ("tier-2", 1)))),
        {"imported-authorizations", "authorization", "conversion", "usage"},
    ),
    "asked in vain": (lambda rig: rig.invoke("id-token-trust", {"id-token": "T"}), {"registration"}),
    "save": (lambda rig: rig.invoke("export-usage"), {"slp-agent:report-counts", "slp-agent:report-times", "usage"}),
    "sample": (lambda rig: rig.run_until(rig.now + 901), set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_parts_are_rebuilt_exactly_when_they_change(rig: Rig, change: str) -> None:
    """What a change does not touch is the same object, with its encodings, before and after."""
    scenes.closed(rig)
    rig.advance(5)
    rig.xml()
    before, shown = info_tree(rig), rig.info()
    act, touched = CHANGES[change]
    act(rig)
    after, shown_after = info_tree(rig), rig.info()
    rebuilt = {member for member in before.keys() | after.keys() if before.get(member) is not after.get(member)}
    different = {member for member in shown.keys() | shown_after.keys() if shown.get(member) != shown_after.get(member)}
    assert rebuilt == touched
    lists = {"rum-reports-closed-keys", "slp-agent:rum-reports-closed"}
    assert different - lists <= rebuilt
    for member in before.keys() & after.keys() - rebuilt - lists:
        value = after[member]
        for kept in value if isinstance(value, list) else [value]:
            assert kept.xml is not None if isinstance(kept, Kept) else isinstance(kept, str)


def test_one_usage_entry_is_rebuilt_alone(rig: Rig) -> None:
    """Another count builds one entry anew, not the catalogue."""
    rig.use("advantage", 1)
    before = info_tree(rig)["usage"]
    rig.use("advantage", 2)
    after = info_tree(rig)["usage"]
    assert [one is other for one, other in zip(before, after, strict=True)] == [False, True, True, True]
    assert after[0]["count"] == 2


def test_reading_what_did_not_change_costs_no_binding_and_no_composing(rig: Rig) -> None:
    """Two reads of one state give the same tree object, until the planned push has passed or the clock went back."""
    scenes.in_use(rig)
    state = rig.node("/cisco-smart-license:licensing/state")

    def tree() -> Any:
        return rig.get((Pick(rig.node("/cisco-smart-license:licensing"), below=(Pick(state),)),)).tree[LICENSING][
            "state"
        ]

    first = tree()
    assert tree() is first
    rig.clock.at += 30
    assert tree() is first
    push = rig.part("slp-agent:report-times")["next-report-push"]
    assert push == at(PUSH + 30 * DAY)
    rig.clock.at = PUSH + 30 * DAY - 1
    assert tree() is first
    rig.clock.at += 1
    assert rig.part("slp-agent:report-times")["next-report-push"] == at(PUSH + 60 * DAY)
    rig.clock.at = PUSH - 30
    assert rig.part("slp-agent:report-times")["next-report-push"] == at(PUSH)
