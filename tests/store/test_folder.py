"""The state folder: made whole or recognisably not, marked for ever, held by one process, refused with a way out."""

from __future__ import annotations

from collections.abc import Callable
import json
import os
from pathlib import Path
import re
import stat
import subprocess
import sys
from typing import Any

import pytest

from agent.store.folder import FORMAT, StateFolder, StateFolderError, default_key_file

ROOT = Path(__file__).parents[2]


def make(path: Path, **options: Any) -> StateFolder:
    folder, hold = StateFolder.create(path, created=1_700_000_000.5, **options)
    folder.finish()
    hold.release()
    return folder


def test_a_folder_is_made_private_and_recognised(tmp_path: Path) -> None:
    path = tmp_path / "a" / "state"
    made = make(path)
    found = StateFolder.open(path)
    assert found.info == made.info
    assert found.info.key_file == tmp_path / "a" / "state.key" == default_key_file(path)
    assert (found.info.format, found.info.created, found.info.lab, found.info.lab_start) == (
        FORMAT, 1_700_000_000.5, False, None,
    )  # fmt: skip
    assert (found.database, found.keys) == (path / "agent.db", path / "keys")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(found.keys.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "agent.json").stat().st_mode) == 0o600
    assert sorted(entry.name for entry in path.iterdir()) == ["agent.json", "keys", "lock"]


def test_an_empty_directory_of_others_is_taken_and_made_private(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    path.mkdir(mode=0o755)
    make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_lab_is_a_lab_for_ever_with_its_start(tmp_path: Path) -> None:
    make(tmp_path / "lab", lab=True)
    info = StateFolder.open(tmp_path / "lab").info
    assert (info.lab, info.lab_start) == (True, 1_700_000_000.5)


def test_a_relative_path_is_kept_as_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("state"))
    assert StateFolder.open(Path("state")).info.key_file == tmp_path / "state.key"


def test_an_interrupted_init_is_named_by_both_open_and_init(tmp_path: Path) -> None:
    _, hold = StateFolder.create(tmp_path / "state", created=1.0)
    hold.release()
    with pytest.raises(StateFolderError, match="init was interrupted, delete it and run"):
        StateFolder.open(tmp_path / "state")
    with pytest.raises(StateFolderError, match=r"is not empty \(keys, lock\): if an earlier init"):
        StateFolder.create(tmp_path / "state", created=1.0)


def test_create_refuses_what_is_there(tmp_path: Path) -> None:
    make(tmp_path / "state")
    with pytest.raises(StateFolderError, match="is a state folder already; run it, or choose another"):
        StateFolder.create(tmp_path / "state", created=1.0)
    (tmp_path / "home").mkdir()
    for name in "abcd":
        (tmp_path / "home" / name).touch()
    with pytest.raises(StateFolderError, match=r"is not empty \(a, b, c, …\)"):
        StateFolder.create(tmp_path / "home", created=1.0)
    with pytest.raises(StateFolderError, match="cannot create state folder"):
        StateFolder.create(tmp_path / "home" / "a", created=1.0)
    with pytest.raises(StateFolderError, match="cannot create state folder"):
        StateFolder.create(tmp_path / "home" / "a" / "below", created=1.0)


def test_the_key_file_may_not_lie_inside(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "state")
    for key in (
        tmp_path / "state" / "key",
        tmp_path / "state",
        tmp_path / "other" / ".." / "state" / "x",
        tmp_path / "link" / "x",
    ):
        with pytest.raises(StateFolderError, match="would lie inside the state folder"):
            StateFolder.create(tmp_path / "state", created=1.0, key_file=key)
    assert not (tmp_path / "state").exists()


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "state")
    root = os.geteuid() == 0
    folder.path.chmod(0)
    if root:
        os.seteuid(65534)
    try:
        for act in (lambda: StateFolder.open(folder.path), folder.hold):
            with pytest.raises(StateFolderError, match="run as the user that owns it"):
                act()
    finally:
        if root:
            os.seteuid(0)
        folder.path.chmod(0o700)


def test_what_is_no_state_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateFolderError, match=r"there is no state folder .*: make one with slp-agent init"):
        StateFolder.open(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(StateFolderError, match="is not a directory"):
        StateFolder.open(tmp_path / "file")
    with pytest.raises(StateFolderError, match=r"agent\.json is missing"):
        StateFolder.open(tmp_path)


def rewrite(**members: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda document: json.dumps({**document, **members}).encode()


BROKEN: list[tuple[Callable[[dict[str, Any]], bytes], str]] = [
    (lambda document: b"", "it is not JSON"),
    (lambda document: json.dumps(document).encode()[:-2], "it is not JSON"),
    (lambda document: json.dumps(document).encode() + b"x", "it is not JSON"),
    (lambda document: b"\xff\xfe\x00", "it is not JSON"),
    (lambda document: b"[" * 60_000, "it is not JSON"),
    (lambda document: b"[]", "not a JSON object"),
    (lambda document: b" " * 70_000, "is longer than 65536 bytes: restore it"),
    (rewrite(format="1"), "member format"),
    (rewrite(format=True), "member format"),
    (rewrite(format=0), "member format"),
    (rewrite(created=None), "member created"),
    (rewrite(created=-1), "member created"),
    (rewrite(created=True), "member created"),
    (rewrite(created=float("nan")), "member created"),
    (rewrite(lab="yes"), "member lab is"),
    (rewrite(lab=True), "member lab-start"),
    (rewrite(**{"lab-start": 5}), "member lab-start"),
    (rewrite(lab=True, **{"lab-start": "5"}), "member lab-start"),
    (rewrite(**{"key-file": "relative"}), "member key-file"),
    (rewrite(**{"key-file": 7}), "member key-file"),
    (rewrite(**{"key-file": "/a\0b"}), "member key-file"),
    (rewrite(format=FORMAT + 1), f"has format {FORMAT + 1}, this agent knows up to {FORMAT}: run the newer agent"),
]


@pytest.mark.parametrize(("broken", "said"), BROKEN)
def test_a_damaged_or_newer_folder_says_what_to_do(
    tmp_path: Path, broken: Callable[[dict[str, Any]], bytes], said: str
) -> None:
    make(tmp_path / "state")
    mark = tmp_path / "state" / "agent.json"
    mark.write_bytes(broken(json.loads(mark.read_bytes())))
    with pytest.raises(StateFolderError, match=re.escape(said)) as caught:
        StateFolder.open(tmp_path / "state")
    assert str(tmp_path / "state") in str(caught.value)


def test_a_mark_that_is_no_file_does_not_hang(tmp_path: Path) -> None:
    make(tmp_path / "state")
    mark = tmp_path / "state" / "agent.json"
    mark.unlink()
    os.mkfifo(mark)
    with pytest.raises(StateFolderError, match="is not a regular file"):
        StateFolder.open(tmp_path / "state")
    mark.unlink()
    mark.mkdir()
    with pytest.raises(StateFolderError, match="cannot read state folder"):
        StateFolder.open(tmp_path / "state")


def test_every_prefix_of_the_mark_is_refused_or_the_whole(tmp_path: Path) -> None:
    whole = make(tmp_path / "state").info
    mark = tmp_path / "state" / "agent.json"
    data = mark.read_bytes()
    end = len(data.rstrip())
    for length in range(end):
        mark.write_bytes(data[:length])
        with pytest.raises(StateFolderError, match="it is not JSON"):
            StateFolder.open(tmp_path / "state")
    mark.write_bytes(data[:end])
    assert StateFolder.open(tmp_path / "state").info == whole


HOLDER = """
import sys
from pathlib import Path
from agent.store.folder import StateFolder
with StateFolder.open(Path(sys.argv[1])).hold():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_never_hold_one_folder(tmp_path: Path) -> None:
    """The message names the other's pid; its violent end, too, sets the folder free."""
    folder = make(tmp_path / "state")
    command = [sys.executable, "-c", HOLDER, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(StateFolderError, match=rf"is in use by process {child.pid}: stop that agent, or choose"):
            folder.hold()
        second = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=20, input="", check=False)
        assert f"is in use by process {child.pid}" in second.stderr
        child.kill()
    with folder.hold():
        with pytest.raises(StateFolderError, match=f"process {os.getpid()}"):
            folder.hold()
        assert StateFolder.open(folder.path).info == folder.info
    folder.hold().release()


def test_two_inits_at_once_make_one_folder(tmp_path: Path) -> None:
    folder, hold = StateFolder.create(tmp_path / "state", created=1.0)
    with pytest.raises(StateFolderError):
        StateFolder.create(tmp_path / "state", created=2.0)
    folder.finish()
    with pytest.raises(StateFolderError, match="cannot write"):
        folder.finish()
    hold.release()
    hold.release()
    assert StateFolder.open(tmp_path / "state").info.created == 1.0


def test_a_lock_that_is_a_link_out_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "state")
    (folder.path / "lock").unlink()
    (folder.path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateFolderError, match="cannot open"):
        folder.hold()
    assert not (tmp_path / "elsewhere").exists()
