"""Every leaf of our two modules' state takes two values, or stands on the list of constants with its reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
import json
from pathlib import Path
from typing import Any

from agent.core.schema import Node
from agent.formats.documents import Account, Ack, PolicyClass, PolicyTerms, Refused
from agent.northbound import served
from agent.northbound.served import CONSTANT
from tests.licensing.kit import DAY, T0, Authority
from tests.transport.rig import COLLECTOR, PROFILE, STATE_INFO, HandClock, Rig
from tests.transport.test_legacy_state import PURCHASES

STATE = STATE_INFO.removesuffix("/state-info")
Seen = dict[str, set[str]]


def leaves(tree: Mapping[str, Any], node: Node) -> Iterator[tuple[str, str]]:
    """Schema path and value of all that a tree holds."""
    for member, value in tree.items():
        child = node.by_member(member)
        assert child is not None
        if child.kind in ("leaf", "leaf-list"):
            for one in value if isinstance(value, list) else [value]:
                yield child.path, json.dumps(one)
            continue
        for entry in value if isinstance(value, list) else [value]:
            yield from leaves(entry, child)


def below(node: Node) -> Iterator[str]:
    """Schema paths of all leaves below a node."""
    for child in node.children:
        if child.kind in ("leaf", "leaf-list"):
            yield child.path
        else:
            yield from below(child)


def constant(path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in CONSTANT)


class Watch:
    """Collects values over several lives of several devices."""

    def __init__(self) -> None:
        self.seen: Seen = defaultdict(set)
        self.heard: Seen = defaultdict(set)
        self.told: set[str] = set()

    def hear(self, rig: Rig) -> None:
        """Collect what was told; notifications without members only count as told."""
        for event in rig.told:
            node = rig.dispatch.schema.notifications[event.module, event.name]
            self.told.add(node.path)
            for path, value in leaves(event.tree, node):
                self.heard[path].add(value)

    def look(self, rig: Rig) -> None:
        self.node = rig.node(STATE_INFO)
        for path, value in leaves(rig.info(), self.node):
            self.seen[path].add(value)


def install(rig: Rig, *documents: object) -> None:
    content = rig.authority.file(*documents)  # type: ignore[arg-type]
    answer = rig.invoke("import-code", {"content": content.decode()})
    assert answer["return-code"] == "success", answer


def acknowledge(rig: Rig, watch: Watch, account: Account) -> None:
    rig.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    watch.look(rig)
    entries = rig.part("slp-agent:rum-reports-closed")
    reports = [(int(entry["report-id"]), entry["digest"]) for entry in entries]
    content = rig.authority.ack(rig.device, *reports, account=account)
    assert rig.invoke("import-code", {"content": content.decode()})["return-code"] == "success"


def first(rig: Rig, watch: Watch) -> None:
    """From the box to the first acknowledgement, with a policy, a code and a setting of each kind."""
    watch.look(rig)
    cslu = {"transport-type": "transport-type-cslu", "transport-cslu": {"url-cslu": f"http://{rig.profile.sn}.example"}}
    private = {"hostname": True, "version": True}
    rig.edit({"custom-id": f"id {rig.profile.sn}", "privacy": private, "transport": cslu})
    rig.use("advantage", 1)
    rig.use("sessions", 5)
    rig.invoke("id-token-trust", {"id-token": "T"})
    watch.look(rig)
    rig.advance(1000)
    install(rig, rig.authority.trust_code(rig.device, factory=True))
    watch.look(rig)
    rig.invoke("id-token-trust", {"id-token": "T"})
    watch.look(rig)
    install(rig, rig.authority.trust_code(rig.device, years=4))
    rig.invoke("renew-id")
    watch.look(rig)
    install(rig, rig.authority.code(rig.device, ("hseck9", 2), ("tier-2", 3), ends=rig.now + 20 * DAY))
    rig.use("hseck9", 1)
    watch.look(rig)
    rig.advance(DAY)
    acknowledge(rig, watch, Account(f"Account of {rig.profile.sn}", "V1"))
    watch.look(rig)
    urls = {
        "url-registration": f"https://{rig.profile.sn}.example/r",
        "url-utility": f"https://{rig.profile.sn}.example/u",
    }
    rig.edit({"transport": {"transport-type": "transport-type-smart", "transport-smart": {"urls": urls}}})
    rig.advance(2 * DAY)
    acknowledge(rig, watch, Account(f"Other account of {rig.profile.sn}", "V2"))
    watch.look(rig)


def reporting(rig: Rig, watch: Watch) -> None:
    """Policies, overdue acknowledgements, ended codes, returns."""
    days = PolicyClass(10, 20, 30)
    terms = PolicyTerms(f"All of {rig.profile.sn}", days, days, days, days, ack_required=True)
    install(rig, rig.authority.policy(rig.device, terms))
    rig.edit({"usage": {"interval": 5}})
    watch.look(rig)
    rig.advance(16 * DAY)
    rig.clock.at += 5 * DAY
    watch.look(rig)
    acknowledge(rig, watch, Account("Late", "V"))
    watch.look(rig)
    install(rig, rig.authority.code(rig.device, ("hseck9", 5), ends=rig.now + 60 * DAY))
    watch.look(rig)
    rig.clock.at += 25 * DAY
    watch.look(rig)
    rig.advance(0)
    rig.use("hseck9", 0)
    install(rig, rig.authority.policy(rig.device, PolicyTerms("None", ack_required=False)))
    rig.invoke("authorization-code-return-online")
    watch.look(rig)
    rig.invoke("authorization-request-offline", {"feature-name": "tier-2", "count": 4})
    watch.look(rig)
    rig.advance(DAY)
    rig.invoke("authorization-request-offline", {"feature-name": "hseck9", "add": False})
    watch.look(rig)


def post_paid(rig: Rig, watch: Watch) -> None:
    """Utility mode with two customers, in time and overdue."""
    names = ("id", "name", "street", "city", "state", "country", "postal-code")
    for number in range(2):
        info = {name: f"{name} {number}" for name in names}
        rig.edit({"utility": {"utility-enable": True, "customer-info": info}})
        rig.advance(1000)
        watch.look(rig)
        acknowledge(rig, watch, Account("A", "B"))
        watch.look(rig)
        rig.advance(100 * DAY)
        watch.look(rig)
    for days in (10, 20):
        rig.edit({"usage": {"interval": days}})
    rig.edit({"utility": {"utility-enable": False}})


def reservations(rig: Rig, watch: Watch) -> None:
    """Codes of older systems, each at a time of its own."""
    for kind in ("slr", "pak", "fla"):
        rig.advance(1000)
        install(rig, rig.authority.code(rig.device, ("hseck9", 1), kind=kind))  # type: ignore[arg-type]
        watch.look(rig)
    rig.use("hseck9", 1)
    watch.look(rig)
    rig.use("hseck9", 0)
    rig.invoke("authorization-code-return-online")
    install(rig, replace(rig.authority.code(rig.device), auth_type="plr"))
    watch.look(rig)
    rig.invoke("authorization-code-return-online")
    term = replace(rig.authority.code(rig.device, ("tier-2", 1)).entitlements[0], term="subscription")
    install(rig, replace(rig.authority.code(rig.device), entitlements=(term,)))
    watch.look(rig)


def outages(rig: Rig, watch: Watch) -> None:
    """A stop in good order, and a crash."""
    rig.edit({"slp-agent:boot-level": {"license": ["tier-2"]}})
    rig.restart(after=5000)
    watch.look(rig)
    rig.dispatch.stop()
    rig.store.close()
    rig.clock.at += 700
    rig.begin()
    rig.advance(1000)
    rig.invoke("close-reports")
    watch.look(rig)
    rig.invoke("authorization-code-return-online")
    if rig.lab:
        rig.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    rig.invoke("factory-reset", {"discard": True})
    watch.look(rig)


def troubles(rig: Rig, watch: Watch) -> None:
    """Refusals, ends, a clock that was set back, and all that is taken back again."""
    index = int(rig.profile.sn[-1]) if rig.profile.sn else 0
    for licence in ("nothing", "hseck9"):
        rig.use(licence, 9)
    rig.invoke("import-code", {"content": "<smartLicense>"})
    other = Authority("another authority", lab=rig.lab)
    rig.invoke("import-code", {"content": other.file(other.trust_code(rig.device)).decode()})
    rig.invoke("authorization-request-online", {"feature-name": "hseck9"})
    rig.invoke("sync")
    for origin in ("custom", "factory"):
        name = f"{origin} of {rig.profile.sn}"
        install(rig, rig.authority.policy(rig.device, PolicyTerms(name), origin))  # type: ignore[arg-type]
        install(rig, rig.authority.policy(rig.device, None, origin))  # type: ignore[arg-type]
    rig.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    entry = rig.part("slp-agent:rum-reports-closed")[0]
    refused = Refused(int(entry["report-id"]), entry["digest"], f"chain-{index}")
    install(rig, Ack(rig.authority.heading(rig.device), (), (refused,)))
    kind = ("slr", "slac")[index]
    for number in (1, 2):
        ending = rig.authority.code(rig.device, ("hseck9", number), ends=rig.now + 100, kind=kind)  # type: ignore[arg-type]
        install(rig, ending)
    rig.advance(7200)
    install(rig, rig.authority.code(rig.device, ("tier-2", 1), kind=kind, ends=rig.now + 100))  # type: ignore[arg-type]
    rig.advance(7200)
    install(rig, rig.authority.trust_code(rig.device, years=1))
    rig.advance(100)
    install(rig, rig.authority.rotation(rig.device, rig.authority.anchor, *[other.anchor] * index))
    for _ in range(80):
        rig.clock.at += 5 * DAY
        rig.advance(0)
    rig.clock.at -= 4000 + index
    rig.advance(0)
    watch.look(rig)


OTHER = {
    'pid = "FILE-1"': 'pid = "FILE-2"',
    'vid = "V02"': 'vid = "V03"',
    'hostname = "files"': 'hostname = "other"',
    "regid.2026-11.test.FILE,1.0_aa": "regid.2026-11.test.FILE,2.0_aa",
    '"17.9.1a"': '"17.6.1"',
    'name = "hseck9"\n': 'name = "hseck9"\nversion = "2.0"\n',
    'name = "sessions"': 'name = "sessions"\nsubscription-id = "SUB-9"',
    "count = 25": "count = 26",
    "2026-01-01": "2026-02-01",
    "2029-01-01": "2029-02-01",
    "SUB-7": "SUB-8",
}


def test_every_leaf_takes_two_values_or_is_a_constant(tmp_path: Path) -> None:
    """Two devices, one of them in a lab and with an older release, through all that can happen without a transport."""
    watch = Watch()
    text = (PROFILE + PURCHASES).replace('term = "subscription"', 'term = "subscription"\nsubscription-id = "SUB-1"')
    other = PROFILE + PURCHASES + '[[purchase]]\nentitlement-tag = "regid.2026-11.test.TIER2,1.0_03"\n'
    for old, new in OTHER.items():
        assert old in other, old
        other = other.replace(old, new)
    for index, scenes in enumerate(
        ((first, reporting, post_paid, troubles, outages), (first, reporting, reservations, troubles, outages)),
    ):
        folder = tmp_path / str(index)
        folder.mkdir()
        lab = index == 1
        rig = Rig(
            folder,
            text=other if lab else text,
            serial=f"9RIG{index}",
            lab=lab,
            authority=Authority(lab=lab),
            clock=HandClock(T0 + index * 1_000_003),
        )
        for scene in scenes:
            scene(rig, watch)
        watch.hear(rig)
        rig.end()
    paths = [path for path in below(watch.node) if not constant(path)]
    assert [path for path in paths if not watch.seen[path]] == []
    once = [f"{path} {watch.seen[path]}" for path in paths if len(watch.seen[path]) == 1]
    assert not once, "\n".join(once)
    for root in CONSTANT:
        rig.node(root)
    assert all(reason for reason in CONSTANT.values())
    schema = rig.dispatch.schema
    silent = sorted(served.PUBLISHED - watch.told)
    assert not silent, "\n".join(silent)
    told = [node for node in schema.notifications.values() if node.path in served.PUBLISHED]
    heard = {path: watch.heard[path] for node in told for path in below(node) if not constant(path)}
    few = [f"{path} {values}" for path, values in heard.items() if len(values) < 2]
    assert not few, "\n".join(few)
