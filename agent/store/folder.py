"""The state folder: how it is made, recognised, marked as a lab and held by one agent; not what its files say.

Layout: `agent.json` (this module's, written last by init), `lock`, `agent.db` (sqlite.py), `keys/` (keystore.py).
The key file that seals `keys/` lies outside, by default beside the folder as `<state-dir>.key`.
"""

from __future__ import annotations

from dataclasses import dataclass
import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, TypeGuard

from agent.store import files

FORMAT = 1
"""Version of the folder's layout; an agent refuses folders of a newer one."""

_MARK = "agent.json"
_LOCK = "lock"
_MARK_LIMIT = 64 * 1024


class StateFolderError(Exception):
    """The state folder cannot be used. The message names the folder and says what to do next."""


@dataclass(frozen=True, slots=True)
class FolderInfo:
    """What `agent.json` says.

    `created` and `lab_start` are wall-clock epoch seconds; `lab_start` is the fixed origin of lab time (design:
    Time) and None in folders that are no lab. Neither it nor `lab` ever changes.
    """

    format: int
    created: float
    key_file: Path
    lab: bool
    lab_start: float | None


def default_key_file(path: Path) -> Path:
    """Where the key file of the state folder at `path` lies when nobody says otherwise: beside it."""
    whole = path.absolute()
    return whole.with_name(whole.name + ".key")


class StateFolder:
    """One state folder, as found on disk. Only a held one (see `hold`) may be run on."""

    def __init__(self, path: Path, info: FolderInfo) -> None:
        self.path = path
        self.info = info

    @property
    def database(self) -> Path:
        return self.path / "agent.db"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @classmethod
    def create(
        cls, path: Path, *, created: float, lab: bool = False, key_file: Path | None = None
    ) -> tuple[StateFolder, Hold]:
        """Begin a new folder at `path` (absent, or an empty directory), mode 0700, and hold it.

        It counts as a state folder only once `finish` has been called: an init that is interrupted before leaves
        something that `open` refuses by name. Raises StateFolderError.
        """
        path = path.absolute()
        key = (key_file or default_key_file(path)).absolute()
        if key.resolve().is_relative_to(path.resolve()):
            raise StateFolderError(
                f"key file {key} would lie inside the state folder {path}: a copy of the folder would then carry its "
                "own key; name a path outside it"
            )
        try:
            files.make_directory(path, 0o700)
            names = sorted(entry.name for entry in path.iterdir())
        except OSError as error:
            raise StateFolderError(
                f"cannot create state folder {path}: {error.strerror}; check path and rights"
            ) from error
        if _MARK in names:
            raise StateFolderError(f"{path} is a state folder already; run it, or choose another --state-dir")
        if names:
            raise StateFolderError(
                f"{path} is not empty ({', '.join(names[:3])}{', …' if len(names) > 3 else ''}): if an earlier init "
                "was interrupted, delete the folder and run init again; otherwise choose another --state-dir"
            )
        info = FolderInfo(FORMAT, created, key, lab, created if lab else None)
        folder = cls(path, info)
        hold = folder.hold()
        try:
            path.chmod(0o700)
            folder.keys.mkdir(mode=0o700)
        except OSError as error:
            hold.release()
            raise StateFolderError(
                f"cannot fill state folder {path}: {error.strerror}; check space and rights"
            ) from error
        return folder, hold

    def finish(self) -> None:
        """End of init: write `agent.json`, durable on return. Raises StateFolderError."""
        document = {
            "format": self.info.format,
            "created": self.info.created,
            "key-file": str(self.info.key_file),
            "lab": self.info.lab,
            "lab-start": self.info.lab_start,
        }
        try:
            files.create_private(self.path / _MARK, json.dumps(document, indent=2).encode() + b"\n")
            files.sync_directory(self.path.parent)
        except OSError as error:
            raise StateFolderError(
                f"cannot write {self.path / _MARK}: {error.strerror}; free space, run init again"
            ) from error

    @classmethod
    def open(cls, path: Path) -> StateFolder:
        """Recognise the folder at `path` without holding it. Raises StateFolderError."""
        path = path.absolute()
        mark = path / _MARK
        try:
            if not path.is_dir():
                raise StateFolderError(
                    f"{path} is not a directory: name a state folder"
                    if path.exists()
                    else f"there is no state folder {path}: make one with slp-agent init"
                )
            data = files.read_bounded(mark, _MARK_LIMIT)
        except FileNotFoundError as error:
            raise StateFolderError(
                f"{path} is not a state folder ({_MARK} is missing): if its init was interrupted, delete it and run "
                "slp-agent init again"
            ) from error
        except OSError as error:
            raise StateFolderError(
                f"cannot read state folder {path}: {error.strerror}; run as the user that owns it"
            ) from error
        except ValueError as error:
            raise StateFolderError(f"{mark} {error}: restore it from a backup") from error
        return cls(path, _parse(mark, data))

    def hold(self) -> Hold:
        """Become the only agent on this folder, until released or the process ends. Raises StateFolderError."""
        lock = self.path / _LOCK
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StateFolderError(f"cannot open {lock}: {error.strerror}; run as the user that owns it") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise StateFolderError(
                f"state folder {self.path} is in use by process {holder}: stop that agent, or choose another "
                "--state-dir"
            ) from error
        # The number is only for the message: what excludes others is the kernel's lock, so a stale one does no harm.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        hold = Hold(descriptor)
        try:
            for folder in filter(Path.is_dir, (self.path, self.keys)):
                files.remove_drafts(folder)
        except OSError as error:
            hold.release()
            raise StateFolderError(
                f"cannot clear state folder {self.path}: {error.strerror}; run as the user that owns it"
            ) from error
        return hold


class Hold:
    """The exclusive right to a state folder; a context manager. Ends with `release` or with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Give the folder back. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _parse(mark: Path, data: bytes) -> FolderInfo:
    """Read `agent.json`; anything unexpected is one StateFolderError that names the member."""

    def damaged(what: str) -> StateFolderError:
        return StateFolderError(f"{mark} is damaged ({what}): restore it from a backup of the state folder")

    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise damaged("it is not JSON") from error
    if not isinstance(document, dict):
        raise damaged("it is not a JSON object")
    version = document.get("format")
    if type(version) is not int or version < 1:
        raise damaged("member format is not a positive number")
    if version > FORMAT:
        raise StateFolderError(
            f"state folder {mark.parent} has format {version}, this agent knows up to {FORMAT}: run the newer agent "
            "that wrote it"
        )
    created, lab, start = document.get("created"), document.get("lab"), document.get("lab-start")
    key_file = document.get("key-file")
    if not _is_time(created):
        raise damaged("member created is not a time in seconds")
    if type(lab) is not bool:
        raise damaged("member lab is neither true nor false")
    if lab != (start is not None) or not (start is None or _is_time(start)):
        raise damaged("member lab-start must be a time in seconds exactly when lab is true")
    if type(key_file) is not str or not key_file.startswith("/") or "\0" in key_file:
        raise damaged("member key-file is not an absolute path")
    return FolderInfo(version, float(created), Path(key_file), lab, None if start is None else float(start))


def _is_time(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and 0 <= value < 2**53
