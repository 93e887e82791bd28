"""The requests of lives.py by NETCONF, to the whole agent in a process of its own; its store stands in a ledger."""

from __future__ import annotations

import contextlib
from pathlib import Path
import random
import sys
import time
from typing import Any
import warnings

from lxml import etree

from agent import setup
from agent.core.sessions import User
from agent.core.tree import Tree
from agent.store.folder import StateFolder
from agent.store.keystore import Keystore, open_key_file
from tests.licensing.kit import Authority
from tests.system.calls import ADMIN, COLLECTOR, REQUESTS, Caller, served_rpcs
from tests.system.kit import CSL, NC, ROOT, SLPA, STATE, Device, Process, TransportError, to_ele
from tests.system.ledger import Moment

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ncclient.operations import RPCError

GONE = (OSError, EOFError, TransportError)
"""What a client meets when the agent dies."""
NAMESPACES = {"cisco-smart-license": CSL, "slp-agent": SLPA}
REPORTS = STATE % f'<rum-reports-closed xmlns="{SLPA}"><rum-report-key/><report-id/><digest/></rum-reports-closed>'
EDIT = f'<config xmlns="{NC}"><licensing xmlns="{CSL}"><config><custom-id>%s</custom-id></config></licensing></config>'


class WitnessedDevice(Device):
    """`slp-agent run`, but that it writes into `notes` what it tries to make durable, before and after."""

    @property
    def notes(self) -> Path:
        return self.folder.with_name(self.folder.name + ".notes")

    def start(self, *options: str) -> Process:
        serve = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.system import mortal; mortal.serve()"
        self.process = Process(self.log, sys.executable, "-c", serve, self.folder, self.notes)
        return self.process


class Remote(Caller):
    """A client that does one thing after the other."""

    def __init__(self, device: WitnessedDevice, moment: Moment, choose: random.Random, number: int) -> None:
        self.path, self.choose, self.state = device.folder, choose, moment.state
        self.authority = Authority(serial=number * 100_000)
        folder = StateFolder.open(device.folder)
        self.keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
        self.profile = setup.load_profile(folder)
        self.modules = {name: module for module, name in served_rpcs()}
        self.answered: list[str] = []
        self.counts: dict[str, int] = {}
        """Counts that were answered, by licence."""
        self.custom_id: str | None = None
        """The one that was answered last."""
        self.under_way = ""
        self._open = contextlib.ExitStack()
        self.sessions = {
            user: self._open.enter_context(device.ncclient(name))
            for user, name in ((ADMIN, "admin"), (COLLECTOR, "collector"))
        }

    def run(self) -> None:
        """Random requests until the agent is gone."""
        with contextlib.suppress(*GONE), self._open:
            while True:
                self.request()

    def request(self) -> None:
        weights = [weight for weight, _ in REQUESTS.values()]
        (name,) = self.choose.choices([*REQUESTS, "custom-id"], [*weights, 10])
        self.under_way = name
        if name == "custom-id":
            self.edit()
        else:
            REQUESTS[name][1](self, name)
        self.answered.append(name)

    def edit(self) -> None:
        given = f"n{self.choose.randrange(10**6)}"
        self.sessions[ADMIN].edit_config(target="running", config=EDIT % given)
        self.custom_id = given

    def invoke(self, name: str, user: User = ADMIN, /, **given: Any) -> Tree:
        if name in ("factory-reset", "record-usage"):
            # what was answered before holds no more, or may not
            self.counts.pop(given.get("license", ""), None)
            if name == "factory-reset":
                self.counts.clear()
        element = etree.Element(f"{{{NAMESPACES[self.modules[name]]}}}{name}")
        for leaf, value in given.items():
            child = etree.SubElement(element, f"{{{NAMESPACES[self.modules[name]]}}}{leaf.replace('_', '-')}")
            if value != [None]:
                child.text = str(value).lower() if isinstance(value, bool) else str(value)
        try:
            reply = to_ele(str(self.sessions[user].dispatch(to_ele(etree.tostring(element).decode()))))
        except RPCError as error:
            return {"return-code": error.tag}
        return {etree.QName(leaf).localname: leaf.text for leaf in reply.iterchildren("*")}

    def recorded(self, licence: str, count: int) -> None:
        self.counts[licence] = count

    def reports(self) -> list[tuple[str, int, str]]:
        reply = self.sessions[ADMIN].get(("subtree", REPORTS))
        return [
            (
                entry.findtext(f"{{{SLPA}}}rum-report-key"),
                int(entry.findtext(f"{{{SLPA}}}report-id")),
                entry.findtext(f"{{{SLPA}}}digest"),
            )
            for entry in reply.data_ele.iter(f"{{{SLPA}}}rum-reports-closed")
        ]

    @property
    def now(self) -> int:
        return int(time.time())

    def check(self, moment: Moment) -> None:
        """What was answered is there."""
        for licence, count in self.counts.items():
            found = self.profile.find(licence)
            assert found is not None
            use = moment.state.licences.get(found.entitlement_tag)
            assert (use.recorded if use else 0) == count, licence
        if self.custom_id is not None and self.under_way != "custom-id":
            assert moment.state.settings.custom_id == self.custom_id
