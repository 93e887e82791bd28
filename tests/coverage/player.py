"""Plays the commands of a recorded scenario (tests/licensing/scenarios) as calls of a client of the whole agent.

Each command is the call by which a client brings it about; those of the kernel alone (`prepare-reset`, a part of
factory-reset) have none.
"""

from __future__ import annotations

import shutil
from typing import Any

from agent.core.tree import Tree
from agent.formats.documents import Ack, Acknowledged, PolicyClass, PolicyTerms, Refused
from tests.coverage.stage import Stage
from tests.licensing.kit import Authority
from tests.licensing.scenario import seconds
from tests.transport.rig import COLLECTOR

STEP = 6 * 3600
"""Seconds between two ticks of `run`: reminders are counted in days."""
SETTINGS = {
    "mode": lambda value: {"slp-agent:operating-mode": value},
    "transport_type": lambda value: {"transport": {"transport-type": f"transport-type-{value}"}},
    "utility_enabled": lambda value: {"utility": {"utility-enable": value == "true"}},
}


class ClientPlayer:
    """One device and its authorities."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.authorities = {"authority": stage.authority}
        self.content = ""
        self.calls = 0

    def play(self, text: str) -> None:
        self.stage.look()
        for line in text.splitlines():
            line = line.partition("#")[0].rstrip()
            if not line:
                continue
            wait, command, *arguments = line.split()
            self.stage.advance(seconds(wait))
            getattr(self, f"do_{command.replace('-', '_')}")(*arguments)
            self.stage.look()

    def turn(self, *choices: Any) -> Any:
        """One of several ways to do the same, in turn."""
        self.calls += 1
        return choices[self.calls % len(choices)]

    # commands

    def do_start(self, epoch: str = "") -> None:
        """The agent is up from the beginning, names its epochs itself, and begins again by itself."""

    def do_run(self, time: str) -> None:
        for _ in range(seconds(time) // STEP):
            self.stage.advance(STEP)

    def do_tick(self) -> None:
        self.stage.advance(0)

    def do_use(self, licence: str, count: str) -> None:
        self.stage.use(licence, int(count))

    def do_close(self) -> None:
        self.stage.invoke(self.turn("close-reports", "sync"))

    def do_deliver(self) -> None:
        self.stage.pull()

    def do_save(self) -> None:
        name = self.turn("rum-save-usage-all", "rum-save-usage-unreported")
        self.stage.invoke(name, {"file-path": "flash:usage"}, COLLECTOR)

    def do_settings(self, *pairs: str) -> None:
        config: Tree = {}
        for pair in pairs:
            name, _, value = pair.partition("=")
            config |= SETTINGS[name](value)
        self.stage.configure(config)

    def install(self, *documents: Any) -> None:
        self.content = self.stage.authority.file(*documents).decode()
        self.do_again()

    def do_again(self) -> None:
        if self.turn(True, False):
            self.stage.invoke("import-code", {"content": self.content}, COLLECTOR)
        else:
            self.stage.invoke("import-file", {"file-path": self.stage.put("in", self.content.encode())}, COLLECTOR)

    def reports(self) -> list[tuple[int, str]]:
        entries = self.stage.part("slp-agent:rum-reports-closed") or []
        return [(int(entry["report-id"]), entry["digest"]) for entry in entries]

    def acknowledged(self) -> Ack:
        heading = self.stage.authority.heading(self.stage.device)
        return Ack(heading, tuple(Acknowledged(*report) for report in self.reports()))

    def do_ack(self) -> None:
        self.install(self.acknowledged())

    def do_answer(self, policy: str) -> None:
        terms = PolicyTerms(policy, perpetual=PolicyClass(30, 60, 60), subscription=PolicyClass(30, 60, 60))
        device, authority = self.stage.device, self.stage.authority
        self.install(self.acknowledged(), authority.policy(device, terms), authority.trust_code(device))

    def do_refuse(self, reason: str) -> None:
        refused = tuple(Refused(*report, reason) for report in self.reports())
        self.install(Ack(self.stage.authority.heading(self.stage.device), (), refused))

    def do_policy(self, name: str, *terms: str) -> None:
        classes = {}
        for term in terms:
            which, _, days = term.partition("=")
            classes[which] = PolicyClass(*(None if day == "-" else int(day) for day in days.split("/")))
        self.install(self.stage.authority.policy(self.stage.device, PolicyTerms(name, **classes)))

    def do_trust(self, kind: str = "authority") -> None:
        self.install(self.stage.authority.trust_code(self.stage.device, factory=kind == "factory"))

    def do_rotate(self, *names: str) -> None:
        anchors = [self.authorities.setdefault(name, Authority(name, serial=1000)).anchor for name in names]
        self.install(self.stage.authority.rotation(self.stage.device, *anchors))

    def do_authority(self, name: str) -> None:
        self.stage.authority = self.authorities[name]

    def do_code(self, *counts: str) -> None:
        pairs = [(name, int(count)) for name, _, count in (each.partition("=") for each in counts)]
        self.install(self.stage.authority.code(self.stage.device, *pairs))

    def do_request(self, licence: str, count: str = "1", how: str = "add") -> None:
        if how == "online":
            self.stage.invoke("authorization-request-online", {"feature-name": licence})
        else:
            given = {"feature-name": licence, "count": int(count), "add": how == "add"}
            self.stage.invoke("authorization-request-offline", given | self.turn({}, {"file-path": "flash:request"}))

    def do_save_request(self) -> None:
        self.stage.invoke("authorization-request-offline", {"file-path": "flash:again"})

    def do_return(self) -> None:
        if self.turn(True, False):
            self.stage.invoke("authorization-code-return-online")
        else:
            self.stage.invoke("authorization-code-return-offline", {"file-path": "flash:return"})

    def do_ask(self, licence: str, count: str, mbps: str) -> None:
        self.stage.invoke("ask-permission", {"license": licence, "count": int(count), "throughput": int(mbps)})

    def do_request_trust(self, how: str = "file") -> None:
        if how == "online":
            self.stage.invoke("id-token-trust", {"id-token": "T"})
        else:
            self.stage.invoke("trust-request-save", {"file-path": "flash:trust"})

    def do_prepare_reset(self) -> None:
        """A part of factory-reset."""

    def do_reset(self, how: str = "keep") -> None:
        self.stage.invoke("factory-reset", {"discard": how == "discard"})

    def do_snapshot(self) -> None:
        """The machine is halted, its disk is copied, and it goes on."""
        self.stage.end()
        shutil.copyfile(self.stage.database, self.stage.path / "snapshot.db")
        self.stage.begin()

    def do_restore(self) -> None:
        self.stage.end()
        shutil.copyfile(self.stage.path / "snapshot.db", self.stage.database)
        for rest in ("-wal", "-shm"):
            self.stage.database.with_name(self.stage.database.name + rest).unlink(missing_ok=True)
        self.stage.begin()
