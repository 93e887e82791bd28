"""A child process of test_datastore_machine.py: changes the datastores at random and says so, until it is killed.

Lines on standard output: ["started", running]; before a request ["doing", a, b]: what a start has to find if the
request has not taken place, or has; after it ["done", a].
"""

from __future__ import annotations

import json
from pathlib import Path
import random
import sys
from typing import Any

from agent.core.requests import Commit, Datastore, Discard
from tests.netconf.test_datastore_machine import Device


def say(*words: Any) -> None:
    print(json.dumps(words), flush=True)


def main(path: str, seed: str) -> None:
    choose = random.Random(int(seed))
    device = Device(Path(path), startup=False)
    say("started", device.shown("running"))
    count = 0
    while True:
        count += 1
        trial = device.toy.dispatch.datastores.trial
        running, candidate = device.shown("running"), device.shown("candidate")
        found = running if trial is None else trial.before.get("toy:box", {})
        match choose.choice(["running", "candidate", "candidate", "commit", "trial", "trial", "cancel"]):
            case "running":
                say("doing", found, {**running, "size": count % 100} if trial is None else found)
                device.edit("running", f"<size>{count % 100}</size>", 0)
            case "candidate":
                device.ask(Discard(), 0) if choose.random() < 0.2 else device.edit(
                    "candidate", f"<name>n{count}</name>", 0
                )
            case "commit":
                say("doing", found, candidate)
                device.ask(Commit(), 0)
            case "trial":
                say("doing", found, found)
                device.ask(Commit(confirmed=True), 0)
            case "cancel":
                say("doing", found, found)
                device.ask(Discard(trial=True), 0)
        trial = device.toy.dispatch.datastores.trial
        say("done", device.shown("running") if trial is None else trial.before.get("toy:box", {}))
        assert device.toy.dispatch.datastores.tree(Datastore.RUNNING) is not None


if __name__ == "__main__":
    main(*sys.argv[1:])
