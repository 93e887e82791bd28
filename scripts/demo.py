#!/usr/bin/env python3
"""The main job, end to end, with real processes on loopback: each step is shown, and verified, and a wrong one ends it.

A month passes in half a minute: agent and authority are labs, whose clocks run a day a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
import json
import os
from pathlib import Path
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, NoReturn
import urllib.error
import urllib.request

from ncclient import manager
from ncclient.xml_ import to_ele
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

SCRIPTS = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
DAY = 86_400
CSL = "http://cisco.com/ns/yang/cisco-smart-license"
SLPA = "urn:slp-agent:yang:slp-agent"
PASSWORD = secrets.token_urlsafe(12)
POLICY = {
    "name": "Demo Policy",
    "ack_required": True,
    "perpetual": {"first": 30, "ongoing": 60, "change": 60},
    "subscription": {"first": 120, "ongoing": 111, "change": 111},
}
CONFIG = f"""<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
  <licensing xmlns="{CSL}"><config>
    <custom-id>demo</custom-id>
    <boot-level xmlns="{SLPA}"><license>network-advantage</license></boot-level>
  </config></licensing>
</config>"""
console = Console(highlight=False, width=min(Console().width, 110))


def wrong(reason: str) -> NoReturn:
    console.print(f"\n[bold red]The demo failed:[/] {reason}")
    raise SystemExit(1)


def check(fact: bool, reason: str) -> None:
    """One verified step; a false one ends the demo with the reason."""
    if not fact:
        wrong(reason)
    console.print(f"  [green]✓[/] {reason}")


def step(number: int, title: str) -> None:
    console.print(f"\n[bold]{number}. {title}[/]")


def table(rows: list[tuple[str, ...]], *columns: str) -> None:
    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 2), show_header=bool(columns))
    for column in columns or [""] * len(rows[0]):
        shown.add_column(column, overflow="fold")
    for row in rows:
        # what a command printed is no markup, and no name of an emoji
        shown.add_row(*map(Text, row))
    console.print(shown)


def tool(*words: str | Path, given: str | None = None, ok: tuple[int, ...] = (0,)) -> str:
    """Run a command that a user could type, and return what it printed."""
    command = [str(word) for word in words]
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, env=os.environ | {"SLP_PASSWORD": PASSWORD}, timeout=120
    )
    if done.returncode not in ok:
        wrong(f"{' '.join(command)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


@contextmanager
def process(log: Path, *words: str | Path, ready: bool = True) -> Iterator[tuple[dict[str, Any], Any]]:
    """A real process; its first line on standard output is its ready event."""
    with log.open("a") as errors:
        started = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            line = started.stdout.readline() if ready and started.stdout else "{}"
            if not line:
                started.wait(10)
                wrong(f"{words[0]} did not start: {log.read_text().strip()[-800:]}")
            yield json.loads(line), started
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGTERM)
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                wrong(f"{words[0]} did not end within 10 seconds of SIGTERM")
    if started.returncode not in (0, -signal.SIGTERM):
        wrong(f"{words[0]} ended with {started.returncode}: {log.read_text().strip()[-800:]}")


def connect(address: str, user: str) -> Any:
    host, _, port = address.rpartition(":")
    return manager.connect(
        host=host.strip("[]"), port=int(port), username=user, password=PASSWORD, hostkey_verify=False,
        look_for_keys=False, allow_agent=False, timeout=60,
    )  # fmt: skip


class Demo:
    def __init__(self, work: Path, rate: int, days: int) -> None:
        self.work, self.rate, self.days = work, rate, days
        self.device, self.authority = work / "device", work / "authority"
        self.clock: tuple[str, ...] = ("--lab-clock-rate", str(rate))

    # Before anything runs

    def set_up(self) -> None:
        step(1, "An authority and a device are set up")
        tool(BIN / "slp-peer", "authority", "init", "--state-dir", self.authority, "--account", "Demo Networks",
             "--virtual-account", "Lab", "--lab")  # fmt: skip
        policy = self.work / "policy.json"
        policy.write_text(json.dumps(POLICY))
        tool(BIN / "slp-peer", "authority", "policy", "set", "--state-dir", self.authority, policy)
        made = tool(BIN / "slp-agent", "init", "--state-dir", self.device, "--user", "admin", "--password-stdin",
                    "--trust-anchor", self.authority / "anchor.pem", "--lab", given=PASSWORD + "\n")  # fmt: skip
        tool(BIN / "slp-agent", "user", "add", "collector", "--group", "collector", "--password-stdin",
             "--state-dir", self.device, given=PASSWORD + "\n")  # fmt: skip
        table([tuple(line.split(":", 1)) for line in made.splitlines()])

    def agent(self) -> Any:
        return process(self.work / "agent.log", BIN / "slp-agent", "run", "--state-dir", self.device,
                       "--netconf", "127.0.0.1:0", "--restconf", "127.0.0.1:0", *self.clock)  # fmt: skip

    def show(self, what: str) -> Any:
        return json.loads(tool(BIN / "slp-agent", "show", "license", what, "--json", "--state-dir", self.device))

    def counts(self) -> dict[str, int]:
        return {name: int(value) for name, value in self.show("status")["slp-agent:report-counts"].items()}

    def configure(self) -> None:
        step(2, "The device is configured by NETCONF edit-config, then reloaded")
        with self.agent() as (ready, _), connect(ready["netconf"], "admin") as device:
            device.edit_config(target="running", config=CONFIG)
            told = device.get_config(source="running").data_xml
            check("<license>network-advantage</license>" in told, "network-advantage is configured as a boot level")
            used = {one["short-name"]: one["count"] for one in self.show("usage")["usage"]}
            check(used["network-advantage"] == 0, "it is not in use yet: a level takes effect after reload")

    # While it runs

    def month(self) -> list[dict[str, float]]:
        step(3, f"{self.days} days pass (a day a second), and an application records its sessions")
        used = {one["short-name"]: one["count"] for one in self.show("usage")["usage"]}
        check(used["network-advantage"] == 1, "network-advantage is in use after the reload")
        app = process(self.work / "app.log", sys.executable, SCRIPTS / "sample_app.py", self.device / "agent.sock",
                      "voice-session", "--pause", "0.7", ready=False)  # fmt: skip
        with app as (_, started):
            columns = (TextColumn("  day {task.completed:>2.0f}"), BarColumn(60), TextColumn("{task.fields[told]}"))
            with Progress(*columns, console=console, transient=True) as progress:
                task = progress.add_task("", total=self.days, told="")
                begun = time.monotonic()
                while (day := (time.monotonic() - begun) * self.rate / DAY) < self.days:
                    progress.update(task, completed=day, told=f"{self.counts()['available']} reports")
                    time.sleep(0.2)
            started.send_signal(signal.SIGTERM)
            recorded = [json.loads(line) for line in started.stdout]
        check(len(recorded) > 2 and recorded[-1]["count"] == 0, f"the application recorded {len(recorded)} counts")
        return recorded

    def pull(self, ready: dict[str, Any]) -> list[Path]:
        step(4, "A collector closes the open reports and pulls all of them with ncclient")
        before = self.counts()
        with connect(ready["netconf"], "collector") as device:
            reply = to_ele(str(device.dispatch(to_ele(f'<close-reports xmlns="{SLPA}"/>'))))
        closed = int(reply.findtext(f"{{{SLPA}}}closed-count"))
        check(reply.findtext(f"{{{SLPA}}}return-code") == "success", f"close-reports closed {closed} more")
        folder = self.work / "reports"
        told = tool(sys.executable, SCRIPTS / "pull_rum.py", ready["netconf"], folder, "--user", "collector")
        files = [Path(line) for line in told.splitlines()]
        check(len(files) >= before["available"] + closed, f"{len(files)} signed documents were pulled")
        told = tool(sys.executable, SCRIPTS / "verify_report.py", *files)
        check(told.count("OK ") == len(files), "each signature is valid, by a program that knows only docs/formats.md")
        waiting = self.counts()["waiting"]
        check(waiting >= len(files), f"{waiting} reports are unacknowledged now: a collector has their documents")
        return files

    def explain(self, files: list[Path], recorded: list[dict[str, float]]) -> None:
        reports = [json.loads(json.loads(file.read_text())["payload"]) for file in files]
        tags = sorted({report["meta"]["entitlement_tag"] for report in reports})
        rows = []
        seconds = dict.fromkeys(tags, 0)
        for tag in tags:
            spans = [row for report in reports if report["meta"]["entitlement_tag"] == tag
                     for row in report["measurements"]]  # fmt: skip
            seconds[tag] = sum((row["end_time"] - row["start_time"]) * int(row["value"]["value"]) for row in spans)
            number = sum(report["meta"]["entitlement_tag"] == tag for report in reports)
            rows.append((tag.partition(",")[0], str(number), str(len(spans)), f"{seconds[tag] / DAY:.2f}"))
        table(rows, "Entitlement tag", "Reports", "Rows", "Licence-days")
        longest = max(reports, key=lambda report: len(report["measurements"]))
        last = longest["measurements"][-1]
        table(
            [
                ("report-id", str(longest["asset_identification"]["report_id"])),
                ("licence", longest["meta"]["entitlement_tag"]),
                (
                    "rows",
                    ", ".join(f"{row['value']['value']}×{row['sample_interval']} s" for row in longest["measurements"]),
                ),
                ("closed by", str(last["meta"].get("termination_reason"))),
            ],
            "One of them",
            "",
        )
        voice = next(tag for tag in tags if "VOICE" in tag)
        true = sum(
            one["count"] * (following["wall"] - one["wall"]) * self.rate for one, following in pairwise(recorded)
        )
        off = abs(seconds[voice] - true) / true
        check(off < 0.03, f"the reports hold what the application used: {true / DAY:.2f} session-days (off {off:.2%})")

    def acknowledge(self, url: str, files: list[Path]) -> Path:
        step(5, "The authority takes the reports, once an operator has approved the device")
        body = ("[" + ",".join(file.read_text() for file in files) + "]").encode()
        status, _ = _post(f"{url}/v1/usage", body)
        check(status == 202, "a first contact waits for approval (HTTP 202)")
        udi = self.show("udi")["udi"]
        key = f"PID:{udi['pid']},SN:{udi['sn']}"
        tool(BIN / "slp-peer", "authority", "approve", "--state-dir", self.authority, key)
        status, answer = _post(f"{url}/v1/usage", body)
        check(status == 200, f"{key} is approved; ACK, policy and trust code are issued")
        file = self.work / "ACK.xml"
        file.write_bytes(answer)
        return file

    def install(self, ready: dict[str, Any], ack: Path, files: list[Path]) -> None:
        step(6, "The collector installs what the authority returned")
        before, status_before = self.counts(), self.show("status")
        told = tool(sys.executable, SCRIPTS / "install_code.py", ready["netconf"], ack, "--user", "collector")
        console.print("  " + told.strip().replace("\n", "\n  "))
        after, status_after = self.counts(), self.show("status")
        names = ("total", "collecting", "available", "waiting", "acknowledged", "purged")
        table([(name, str(before[name]), str(after[name])) for name in names], "Reports", "Before", "After")
        table(
            [(title, get(status_before), get(status_after)) for title, get in FACTS],
            "Status", "Before", "After",
        )  # fmt: skip
        check(after["purged"] - before["purged"] == len(files), f"{len(files)} reports were acknowledged and purged")
        check(after["waiting"] == 0, "no report waits any more")
        check(status_after["policy"]["policy-name"] == POLICY["name"], "the authority's policy is in force")
        check(status_after["trust-code"][0]["is-installed"], "a trust code is installed")
        again = tool(sys.executable, SCRIPTS / "install_code.py", ready["netconf"], ack, "--user", "collector")
        check(self.counts()["purged"] == after["purged"] and "success" in again, "the same file again changes nothing")

    def run(self) -> None:
        self.set_up()
        self.configure()
        with ExitStack() as running:
            authority, _ = running.enter_context(
                process(
                    self.work / "authority.log",
                    BIN / "slp-peer",
                    "authority",
                    "run",
                    "--state-dir",
                    self.authority,
                    "--http",
                    "127.0.0.1:0",
                    *self.clock,
                )
            )
            ready, _ = running.enter_context(self.agent())
            recorded = self.month()
            files = self.pull(ready)
            self.explain(files, recorded)
            ack = self.acknowledge(authority["http"], files)
            self.install(ready, ack, files)
        console.print("\n[bold green]Usage was recorded, signed, pulled, acknowledged and purged.[/]")


def _row(row: dict[str, Any]) -> str:
    return f"{row['value']['value']} for {row['sample_interval']} s"


def _policy(status: dict[str, Any]) -> str:
    return str(status["policy"].get("policy-name", status["policy"]["policy-type"]))


FACTS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("Policy", _policy),
    ("Last ACK received", lambda status: status.get("rum-ack", {}).get("last-received-time", "none")),
    ("Next ACK deadline", lambda status: status.get("rum-ack", {}).get("next-report-deadline", "none")),
    ("Trust code", lambda status: status["trust-code"][0].get("time-installed", "none")),
    ("Account", lambda status: status.get("slp-agent:account", {}).get("smart-account", "none")),
)


def _post(url: str, body: bytes) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        wrong(f"{url} answered {error.code}: {error.read().decode(errors='replace')[:500]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in DIR (new) and keep it, logs included")
    parser.add_argument("--days", type=int, default=30, help="how many days pass")
    args = parser.parse_args()
    work = args.keep or Path(tempfile.mkdtemp(prefix="slp-demo-"))
    if args.keep:
        work.mkdir(parents=True)
    try:
        Demo(work.resolve(), DAY, args.days).run()
    finally:
        if not args.keep:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
