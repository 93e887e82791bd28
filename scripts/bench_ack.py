#!/usr/bin/env python3
"""How long others wait while one ACK for many reports is taken, and the memory it costs: `scripts/bench_ack.py 20000`.

An agent without listeners runs on a state folder of really closed and signed reports. While one thread imports the
authority's ACK for all of them, another asks the core thread for a small decision every 10 ms. The processor time of
the core thread stands beside: it does not depend on what else the machine does. No figure is judged here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import json
from pathlib import Path
import re
import shutil
import sys
import tempfile
import threading
import time
from typing import Any

from bench_pull import make_folder

from agent import app
from agent.clock import SystemClock
from agent.core.requests import Invoke
from agent.core.sessions import User
from agent.formats import certificates
from agent.formats.documents import Ack, Acknowledged, Heading
from agent.formats.issue import issue
from agent.formats.signing import LocalSigner
from agent.licensing.commands import AskPermission, InstallAnchors
from agent.licensing.ports import ReportReads
from agent.licensing.reports import figures
from agent.setup import load_profile
from agent.store.folder import StateFolder
from agent.store.keystore import JOURNAL, Keystore, open_key_file
from agent.store.sqlite import SqliteStore

EVERY = 0.01
"""Seconds from one small decision to the next."""
ADMIN = User("admin", frozenset({"admin"}))


def every_report(reads: ReportReads) -> Iterator[Acknowledged]:
    after, upto = 0, reads.max_id()
    while rows := reads.pages(after, upto, 500, "summary"):
        after = rows[-1].report_id
        for head in reads.heads([row.report_id for row in rows]).values():
            yield Acknowledged(head.report_id, head.digest)


def status(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(found[1]) / 1024 if found else 0.0


class Others:
    """Asks for a small decision again and again, and notes how long each answer took."""

    def __init__(self, agent: app.Agent) -> None:
        self._agent = agent
        self._over = threading.Event()
        self.waited: list[float] = []
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        question = AskPermission("network-advantage", 1)
        while not self._over.wait(EVERY):
            begun = time.perf_counter()
            self._agent.dispatch.loop.submit(lambda: self._agent.committer.run(question)).result()
            self.waited.append(time.perf_counter() - begun)

    def __enter__(self) -> Others:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def measure(state_dir: Path) -> dict[str, Any]:
    """Import the ACK for all reports of this folder; they are gone afterwards."""
    sys.setswitchinterval(app.SWITCH_INTERVAL)
    folder = StateFolder.open(state_dir)
    with folder.hold():
        keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
        profile, clock = load_profile(folder), SystemClock()
        store = SqliteStore(folder.database, keys.get(JOURNAL))
        agent = app.build(profile=profile, clock=clock, store=store, signer=keys.signer(), lab=folder.info.lab)
        root, signer, now = LocalSigner.generate(), LocalSigner.generate(), int(clock.now())
        anchor = certificates.make_anchor(root, "Bench root", now - 86_400, now + 86_400)
        certificate = certificates.make_signer(anchor, root, "Bench signer", signer.public_key, now, now + 86_400)
        agent.start()
        agent.dispatch.loop.submit(lambda: agent.committer.run(InstallAnchors((anchor,)))).result()
        # as on an agent that has run for a while
        store.check.run()
        ack = Ack(Heading(1, profile.udi, now), tuple(every_report(store.reports)))
        content = issue(ack, signer, certificate)
        node = agent.dispatch.schema.rpcs["slp-agent", "import-code"]
        session = agent.dispatch.sessions.open(ADMIN, "netconf-ssh", "192.0.2.7", end=lambda _: None)
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        with Others(agent) as others:
            time.sleep(1)
            usual = others.waited[:]
            others.waited.clear()
            spent = agent.dispatch.loop.submit(time.thread_time).result()
            begun = time.perf_counter()
            answer = agent.dispatch.submit(Invoke(node, {"content": content.decode()}), session).result()
            took = time.perf_counter() - begun
            spent = agent.dispatch.loop.submit(time.thread_time).result() - spent
            peak = status("VmHWM")
            time.sleep(0.2)
            waited = others.waited[:]
        assert answer is not None
        left = figures(agent.committer.state)
        agent.stop()
        store.close()
    return {
        "answer": answer["return-code"],
        "reports": len(ack.acknowledged),
        "purged": left.purged,
        "document_mib": len(content) / 2**20,
        "took_ms": 1000 * took,
        "core_thread_cpu_ms": 1000 * spent,
        "longest_wait_ms": 1000 * max(waited),
        "longest_waits_ms": [round(1000 * each) for each in sorted(waited, reverse=True)[:6]],
        "longest_wait_before_ms": 1000 * max(usual),
        "answers_meanwhile": len(waited),
        "memory_growth_mib": peak - before,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=int, nargs="?", default=20_000)
    parser.add_argument("--folder", type=Path, help="a state folder that is filled already; a copy of it is used")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        made = Path(work) / "copy"
        if args.folder:
            shutil.copytree(args.folder, made)
        else:
            made = make_folder(Path(work), args.reports)
        print(json.dumps(measure(made), indent=1))
