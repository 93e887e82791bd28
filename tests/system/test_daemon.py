"""The process that serves is not the one that read the command line, and keeps no more memory than it needs."""

from __future__ import annotations

import json
import os
from pathlib import Path
import subprocess
import sys

from tests.system.kit import SCRIPTS, Device, agent


def test_the_command_line_is_not_in_the_process(device: Device) -> None:
    """`run` puts a fresh interpreter in its own place: same process id, no library that parses options."""
    process = device.up
    pid = process.popen.pid
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    assert b"agent.daemon" in words
    loaded = Path(f"/proc/{pid}/maps").read_text()
    assert "asyncssh" in loaded or "cryptography" in loaded
    assert "pydantic_core" not in loaded


def test_logging_in_again_takes_no_more_memory(device: Device) -> None:
    """A password check's 16 MiB are given back, whatever thread it ran on."""
    sizes = []
    for _ in range(6):
        with device.http() as caller, device.ncclient() as session:
            caller.get("/data/cisco-smart-license:licensing/state/state-info/privacy")
            session.get_config("running")
        sizes.append(device.up.resident())
    assert max(sizes[1:]) - sizes[0] < 8 * 1024 * 1024


def test_modules_of_the_folder_it_is_started_in_are_not_taken(tmp_path: Path) -> None:
    """A file that is called like one of ours has no say."""
    device = Device.make(tmp_path / "d")
    trap = tmp_path / "trap"
    (trap / "agent").mkdir(parents=True)
    for name in ("agent/__init__.py", "agent/daemon.py", "json.py"):
        (trap / name).write_text("raise SystemExit('taken from the working folder')\n")
    before = Path.cwd()
    os.chdir(trap)
    try:
        with device.running():
            assert device.show("udi")["udi"]["sn"]
    finally:
        os.chdir(before)


def test_errors_of_the_serving_process_look_like_all_others(tmp_path: Path) -> None:
    done = agent("run", "--state-dir", tmp_path / "none", "--netconf", "127.0.0.1:0", "--restconf", "127.0.0.1:0")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"slp-agent: there is no state folder {tmp_path / 'none'}: make one with slp-agent init\n"


def test_bench_measures_everything_it_names() -> None:
    """`scripts/bench pull` with next to nothing to do: every figure is there; none is judged."""
    command = [sys.executable, str(SCRIPTS / "bench"), "pull", "--entries", "2", "--repeats", "1", "--idle-seconds",
               "0.1", "--json"]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "SLP_INTEROP_PYTHON"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    figures = report["entries"]["2"]
    assert set(figures) == {
        "list netconf", "list restconf", "body netconf", "body restconf", "small netconf", "small restconf",
        "pull netconf",
    }  # fmt: skip
    numbers = [value for group in figures.values() for name, value in group.items() if name != "growth_mib"]
    assert all(number > 0 for number in numbers)
    assert {count: set(idle) for count, idle in report["idle"].items()} == {
        count: {"ready_s", "cpu_percent", "rss", "pss", "uss"} for count in ("0", "2")
    }
    assert report["usage"]["per_s"] > 0


def test_bench_without_its_environment_says_what_is_missing(tmp_path: Path) -> None:
    """A Python that has nothing installed: one line, no traceback."""
    command = [sys.executable, "-I", "-S", str(SCRIPTS / "bench"), "pull"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=30)
    assert done.returncode == 1
    assert "is missing in the environment of" in done.stderr
    assert "Traceback" not in done.stderr
