"""A database that was edited by hand while the agent was stopped: found at start and named.

Usage and policy are what the kernel believes, and the first 512 reports are checked before the agent serves; the others
are checked while it serves, and until then no byte of them leaves unverified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
import json
from pathlib import Path
import shutil
import sqlite3
import sys

import pytest

from tests.system.kit import SCRIPTS, Authority, Device, documents, script, tool

LOOPBACK = ("--netconf", "127.0.0.1:0", "--restconf", "127.0.0.1:0")
POLICY = {"name": "Edited", "ack_required": True, "perpetual": {"first": 30, "ongoing": 61, "change": 60}}
CHANGES = 1_010
"""More than stand in the journal before the next snapshot."""
MANY = 560


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Device:
    """A stopped device with an installed policy and old usage in its snapshot, new usage in its journal, a report."""
    folder = tmp_path_factory.mktemp("e")
    authority = Authority.make(folder / "a")
    authority.set_policy(POLICY)
    device = Device.make(folder / "d", "--trust-anchor", authority.anchor)
    with authority.running(), device.running():
        device.closed(network_advantage=5)
        with device.ncclient("collector") as session:
            reports = list(documents(session).values())
        udi = device.show("udi")["udi"]
        authority.submit(reports)
        authority.approve(f"PID:{udi['pid']},SN:{udi['sn']}")
        status, answer = authority.submit(reports)
        assert status == 200
        (folder / "ACK.xml").write_bytes(answer)
        done = script("install_code.py", device.netconf, folder / "ACK.xml", "--user", "collector")
        assert (done.code, done.err) == (0, "")
        with device.recorder() as recorder:
            for number in range(CHANGES):
                recorder.record("voice-session", 1 + number % 7)
            recorder.record("voice-session", 13)
        device.close_reports()
    return device


@pytest.fixture
def copy(lived: Device, tmp_path: Path) -> Device:
    return copied(lived, tmp_path)


def copied(device: Device, to: Path) -> Device:
    """A copy with a key file of its own."""
    folder, key_file = to / "d", to / "d.key"
    shutil.copytree(device.folder, folder)
    shutil.copy2(device.folder.with_name("d.key"), key_file)
    mark = folder / "agent.json"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"key-file": str(key_file)}))
    return Device(folder)


def edited(database: sqlite3.Connection, table: str, row: int, old: bytes, new: bytes) -> None:
    """Put `new` in the place of `old` in a row's body."""
    key, column = {"report_bodies": ("report_id", "document")}.get(
        table, ("seq" if table == "journal" else "id", "body")
    )
    (body,) = database.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (row,)).fetchone()
    assert old in body
    database.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (body.replace(old, new, 1), row))


def usage_in_journal(database: sqlite3.Connection) -> str:
    """The last change of a count."""
    (row,) = database.execute("SELECT max(seq) FROM journal WHERE instr(body, ?) > 0", (b'"count":13',)).fetchone()
    edited(database, "journal", row, b'"count":13', b'"count":12')
    return f"table journal, row {row}:"


def usage_in_snapshot(database: sqlite3.Connection) -> str:
    """The open count of a licence that changed long ago."""
    edited(database, "snapshot", 1, b'"recorded":5', b'"recorded":1')
    return "table snapshot, row 1:"


def policy_day(database: sqlite3.Connection) -> str:
    edited(database, "snapshot", 1, b'"ongoing":61', b'"ongoing":91')
    return "table snapshot, row 1:"


def report_byte(database: sqlite3.Connection) -> str:
    (row,) = database.execute("SELECT min(report_id) FROM reports").fetchone()
    edited(database, "report_bodies", row, b"payload", b"qayload")
    return f"table reports, row {row}:"


@pytest.mark.parametrize("edit", [usage_in_journal, usage_in_snapshot, policy_day, report_byte])
def test_an_edit_is_found_at_start_and_named(copy: Device, edit: Callable[[sqlite3.Connection], str]) -> None:
    """One line, exit code 1, no ready line; `slp-agent check` says the same, and 0 for what nobody has edited."""
    done = copy.tool("check")
    assert (done.code, done.err) == (0, "")
    assert "Nothing was altered" in done.out
    assert "stored reports, 3 users" in done.out
    with closing(sqlite3.connect(copy.folder / "agent.db")) as database, database:
        where = edit(database)
    before = (copy.folder / "agent.db").read_bytes()
    run = copy.tool("run", *LOOPBACK)
    assert (run.code, run.out) == (1, "")
    (line,) = run.err.splitlines()
    assert line.startswith(f"slp-agent: the database was altered or damaged: {where}")
    assert "restore the state folder" in line
    assert (copy.folder / "agent.db").read_bytes() == before
    assert copy.tool("check") == run


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """A stopped device with more reports than a start checks before it serves."""
    device = Device.make(tmp_path_factory.mktemp("m") / "d")
    done = tool(sys.executable, SCRIPTS / "bench_fill.py", device.folder, str(MANY))
    assert done == (0, f"{MANY}\n", "")
    return device


def test_an_edit_beyond_the_first_reports_ends_the_agent_while_it_serves(many: Device, tmp_path: Path) -> None:
    """It says it is ready, finds the row, and ends as a damaged start does."""
    device = copied(many, tmp_path)
    with closing(sqlite3.connect(device.folder / "agent.db")) as database, database:
        (last,) = database.execute("SELECT max(report_id) FROM reports").fetchone()
        edited(database, "report_bodies", last, b"payload", b"qayload")
    process = device.start()
    assert process.popen.wait(20) == 1
    process.out.close()
    told = f"the database was altered or damaged: table reports, row {last}: it was changed; restore the state folder"
    *lines, line = device.log.read_text().splitlines()
    assert line.startswith(f"slp-agent: {told}")
    (found,) = [each for each in lines if told in each]
    assert " CRITICAL agent.store.check: " in found
    assert "Traceback" not in device.log.read_text()
    done = device.tool("check")
    assert (done.code, done.out) == (1, "")
    assert f"table reports, row {last}:" in done.err


def test_the_end_of_the_check_stands_in_the_log(many: Device, tmp_path: Path) -> None:
    """And it does not hold up the agent's end, wherever it is by then."""
    device = copied(many, tmp_path)
    with device.running() as process:
        while f"{MANY} stored reports were checked in" not in device.log.read_text():
            assert process.running
    with device.running():
        pass
    assert device.tool("check").code == 0
