"""A disk whose power can be cut: what was not synced is lost, torn or reordered, file contents and names alike.

`plugged(disk)` leads SQLite (by a VFS) and the functions of `os` that make names or sync past a `Disk`. They act on the
real files below its root, and the disk remembers what a sync has made sure of and what was done since. At the chosen
step everything below the root stops working, and `Disk.image` is what a machine would find after it.

The model: a sector of 512 bytes is written whole or not, and leaves its neighbours alone (SQLite counts on that by
SQLITE_IOCAP_POWERSAFE_OVERWRITE, sqlite.org/psow.html). Each sector holds what it held at some moment since the last
sync; so does the size; what was never written reads as zeros or as anything. A name that was made, moved or removed is
certain once its folder was synced (fsync(2)); one rename is one change. Syncing a log or journal that SQLite has made
syncs its folder too, as SQLite's own VFS does (sqlite.org/atomiccommit.html, section 3.7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import contextlib
import os
from pathlib import Path
import random
import shutil
import stat
import threading
from typing import Any, Final, NamedTuple
from unittest import mock

import apsw

SECTOR = 512
NEVER = 2**62
BASE = "unix"
"""The VFS underneath."""
UNCERTAIN = ("nothing", "everything", "first", "some-writes", "some-sectors", "some-sectors")
"""What may have become of all that no sync has made sure of."""

Image = Mapping[Path, bytes | None]
"""What is found below the root, by relative path; None is a folder."""


class PowerIsOffError(OSError):
    """Nothing is written any more."""


class _Write(NamedTuple):
    at: int
    data: bytes


class _Resize(NamedTuple):
    size: int


class Inode:
    """One file (or, with `folder`, one folder): what is certain, and what was done to it since."""

    def __init__(self, *, folder: bool = False) -> None:
        self.folder = folder
        self.certain = b""
        self.now = bytearray()
        self.since: list[_Write | _Resize] = []
        self.by_sqlite = False
        self.names_its_folder = False

    def write(self, at: int, data: bytes) -> None:
        self._do(_Write(at, data))

    def resize(self, size: int) -> None:
        self._do(_Resize(size))

    def _do(self, step: _Write | _Resize) -> None:
        _apply(self.now, step)
        self.since.append(step)

    def note(self, content: bytes) -> None:
        """The file was found to have this content."""
        if content == self.now:
            return
        if content.startswith(self.now):
            self.write(len(self.now), content[len(self.now) :])
        else:
            self.resize(0)
            self.write(0, content)

    def sync(self) -> None:
        self.certain = bytes(self.now)
        self.since.clear()

    def survivor(self, choose: random.Random) -> bytes:
        """What the file may hold after the power was cut."""
        kept = _fate(choose, len(self.since))
        now, size = bytearray(self.certain), len(self.certain)
        sectors: dict[int, bytes] = {}
        touched: set[int] = set()
        for index, step in enumerate(self.since):
            before = len(now)
            _apply(now, step)
            first, last = (
                (step.at, step.at + len(step.data)) if isinstance(step, _Write) else sorted((before, len(now)))
            )
            if len(now) != before and kept(index, -1):
                size = len(now)
            for sector in range(first // SECTOR, -(-last // SECTOR)):
                touched.add(sector)
                if kept(index, sector):
                    sectors[sector] = bytes(now[sector * SECTOR : (sector + 1) * SECTOR])
        result = bytearray(self.certain[:size].ljust(size, b"\0"))
        if choose.random() < 0.5:
            for sector in touched - sectors.keys():
                if sector * SECTOR >= len(self.certain):
                    sectors[sector] = choose.randbytes(SECTOR)
        for sector, data in sectors.items():
            start = sector * SECTOR
            if start < size:
                data = data.ljust(SECTOR, b"\0")[: size - start]
                result[start : start + len(data)] = data
        return bytes(result)


def _apply(content: bytearray, step: _Write | _Resize) -> None:
    match step:
        case _Write(at, data):
            if at > len(content):
                content.extend(bytes(at - len(content)))
            content[at : at + len(data)] = data
        case _Resize(size):
            content[size:] = bytes(max(0, size - len(content)))


def _fate(choose: random.Random, steps: int) -> Callable[[int, int], bool]:
    """Whether a step of that index has reached that sector."""
    fate = choose.choice(UNCERTAIN)
    end = choose.randrange(steps + 1)
    share = choose.random()
    reached = [choose.random() < share for _ in range(steps)]
    torn = choose.randrange(9)
    match fate:
        case "nothing":
            return lambda index, sector: False
        case "everything":
            return lambda index, sector: True
        case "first":
            return lambda index, sector: index < end or (index == end and sector % 9 < torn)
        case "some-writes":
            return lambda index, sector: reached[index]
        case _:
            return lambda index, sector: choose.random() < share


class Disk:
    """What is below `root`. The power goes off after `limit` steps; `watch` is called at each."""

    def __init__(self, root: Path, choose: random.Random) -> None:
        self.root: Final = root.resolve()
        self.choose = choose
        self.lock = threading.RLock()
        self.steps = 0
        self.limit = NEVER
        self.watch: Callable[[], None] | None = None
        self.at_cut: Callable[[], None] | None = None
        self.image: Image | None = None
        self._names: dict[Path, Inode] = {}
        self._certain: dict[Path, Inode] = {}
        self._changes: dict[Path, list[dict[Path, Inode | None]]] = {}
        self._by_number: dict[int, Inode] = {}
        self.look()
        for inode in self._names.values():
            inode.sync()
        self._certain, self._changes = dict(self._names), {}

    @property
    def off(self) -> bool:
        return self.image is not None

    def step(self) -> None:
        """Something is about to be written, named or synced. Raises PowerIsOffError, at the limit and from then on."""
        with self.lock:
            if self.off:
                raise PowerIsOffError("the power is off")
            if self.watch is not None:
                self.watch()
            self.steps += 1
            if self.steps > self.limit:
                self.image = self.survivor()
                if self.at_cut is not None:
                    self.at_cut()
                raise PowerIsOffError("the power is off")

    def inode(self, path: Path) -> Inode:
        """What has that name now."""
        with self.lock:
            if path not in self._names:
                self.look()
            return self._names[path]

    def look(self) -> None:
        """Find out what has changed; all changes of names in one folder since the last look count as one."""
        with self.lock:
            found: dict[Path, Inode] = {}
            numbers: dict[int, Inode] = {}
            for path in sorted(self.root.rglob("*")):
                with contextlib.suppress(FileNotFoundError):
                    status = path.lstat()
                    kind = stat.S_IFMT(status.st_mode)
                    # the memory that SQLite's connections share is made anew after a crash; sockets are not kept
                    if kind not in (stat.S_IFREG, stat.S_IFDIR) or path.name.endswith("-shm"):
                        continue
                    inode = self._by_number.get(status.st_ino) or numbers.get(status.st_ino)
                    if inode is None:
                        inode = Inode(folder=kind == stat.S_IFDIR)
                    if not inode.folder and not inode.by_sqlite:
                        inode.note(path.read_bytes())
                    found[path] = numbers[status.st_ino] = inode
            changed: dict[Path, dict[Path, Inode | None]] = {}
            for path in sorted(self._names.keys() | found.keys()):
                if self._names.get(path) is not found.get(path):
                    changed.setdefault(path.parent, {})[path] = found.get(path)
            for folder, names in changed.items():
                self._changes.setdefault(folder, []).append(names)
            self._names, self._by_number = found, numbers

    def sync_folder(self, folder: Path) -> None:
        """All names in `folder` are certain from now on."""
        with self.lock:
            self.look()
            for names in self._changes.pop(folder, ()):
                _rename(self._certain, names)

    def survivor(self) -> Image:
        """What may be found if the power goes off now; another one each time."""
        with self.lock:
            self.look()
            names = dict(self._certain)
            for changes in self._changes.values():
                kept = _fate(self.choose, len(changes))
                for index, change in enumerate(changes):
                    if kept(index, 0):
                        _rename(names, change)
            image: dict[Path, bytes | None] = {}
            for path, inode in sorted(names.items()):
                folder = path.parent
                if folder == self.root or image.get(folder.relative_to(self.root), b"") is None:
                    content = None if inode.folder else inode.survivor(self.choose)
                    image[path.relative_to(self.root)] = content
            return image


def _rename(names: dict[Path, Inode], change: Mapping[Path, Inode | None]) -> None:
    for path, inode in change.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


def put(image: Image, root: Path) -> None:
    """Make `root` hold what is in `image`, and nothing else."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(mode=0o700)
    for path, content in sorted(image.items()):
        if content is None:
            (root / path).mkdir(mode=0o700)
        else:
            (root / path).touch(mode=0o600)
            (root / path).write_bytes(content)


# SQLite


class _Vfs(apsw.VFS):
    """The default VFS in this process while it lives; files that are not below the disk's root go past it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.vfs_name = f"power-{id(disk)}"
        super().__init__(self.vfs_name, base=BASE, makedefault=True)

    def excepthook(self, *_: object) -> None:
        """What SQLite passes over once the power is off is told to nobody."""

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = _path(name)
        if path is None or not path.is_relative_to(self.disk.root):
            return apsw.VFSFile(BASE, name, flags)
        return _VfsFile(self.disk, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        path = Path(filename)
        if not path.is_relative_to(self.disk.root):
            return super().xDelete(filename, syncdir)
        with self.disk.lock:
            _sqlite_step(self.disk)
            super().xDelete(filename, False)
            self.disk.look()
            if syncdir:
                self.disk.sync_folder(path.parent)
        return None


class _VfsFile(apsw.VFSFile):
    """Reads, locks and shared memory are those of the file underneath."""

    def __init__(self, disk: Disk, path: Path, name: Any, flags: list[int]) -> None:
        new = not path.exists()
        if new:
            _sqlite_step(disk)
        self._disk, self._folder = disk, path.parent
        super().__init__(BASE, name, flags)
        with disk.lock:
            disk.look()
            self._inode = disk.inode(path)
            self._inode.by_sqlite = True
            if new and flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL):
                self._inode.names_its_folder = True

    def xWrite(self, data: bytes, offset: int) -> None:
        with self._disk.lock:
            _sqlite_step(self._disk)
            super().xWrite(data, offset)
            self._inode.write(offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        with self._disk.lock:
            _sqlite_step(self._disk)
            super().xTruncate(newsize)
            self._inode.resize(newsize)

    def xSync(self, flags: int) -> None:
        with self._disk.lock:
            _sqlite_step(self._disk)
            self._inode.sync()
            if self._inode.names_its_folder:
                self._inode.names_its_folder = False
                self._disk.sync_folder(self._folder)


def _path(name: Any) -> Path | None:
    if name is None:
        return None
    return Path(name.filename() if isinstance(name, apsw.URIFilename) else name)


def _sqlite_step(disk: Disk) -> None:
    try:
        disk.step()
    except PowerIsOffError as error:
        raise apsw.IOError(str(error)) from error


# Other files


@contextlib.contextmanager
def plugged(disk: Disk) -> Iterator[Disk]:
    """Whatever this process does below the disk's root goes by it. Close all databases there before the end."""
    vfs = _Vfs(disk)
    changed = {
        name: _named(disk, getattr(os, name)) for name in ("replace", "rename", "link", "unlink", "mkdir", "rmdir")
    }
    try:
        with mock.patch.multiple(os, open=_opened(disk, os.open), fsync=_synced(disk, os.fsync), **changed):
            yield disk
    finally:
        vfs.unregister()


def _named(disk: Disk, original: Callable[..., None]) -> Callable[..., None]:
    """A function of `os` that makes, moves or removes names."""

    def call(path: Any, *others: Any, **options: Any) -> None:
        folder = options.get("src_dir_fd", options.get("dir_fd"))
        if not _below(disk, path, folder):
            return original(path, *others, **options)
        with disk.lock:
            disk.look()
            disk.step()
            original(path, *others, **options)
            disk.look()
        return None

    return call


def _opened(disk: Disk, original: Callable[..., int]) -> Callable[..., int]:
    def call(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if not flags & os.O_CREAT or not _below(disk, path, dir_fd):
            return original(path, flags, mode, dir_fd=dir_fd)
        with disk.lock:
            disk.step()
            descriptor = original(path, flags, mode, dir_fd=dir_fd)
            disk.look()
            return descriptor

    return call


def _synced(disk: Disk, original: Callable[[int], None]) -> Callable[[int], None]:
    def call(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not path.is_relative_to(disk.root):
            return original(descriptor)
        with disk.lock:
            disk.look()
            disk.step()
            if path.is_dir():
                disk.sync_folder(path)
            else:
                disk.inode(path).sync()
        return None

    return call


def _below(disk: Disk, path: Any, folder: int | None) -> bool:
    base = Path.cwd() if folder is None else Path(f"/proc/self/fd/{folder}").readlink()
    return (base / os.fsdecode(path)).is_relative_to(disk.root)
