"""Files that people carry: from the file arguments of requests to bytes in configured folders, and back. No contents.

`flash:NAME`, `bootflash:NAME` and a plain NAME all lead below a configured folder and nowhere else: folders on the way
are opened one by one without following links, so what is checked is what is used (POSIX openat(2), O_NOFOLLOW). A file
is written whole and durable, or not at all (rename(2), fsync(2)).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import errno
import os
from pathlib import Path
import re
import secrets
import stat
from typing import Literal

Reason = Literal["bad-name", "no-file", "not-a-file", "exists", "unreadable", "too-long", "no-space", "not-written"]

PLACES = ("flash", "bootflash")
"""What may stand before the colon."""
MODE = 0o640
_SHOWN = 80
_DRAFT = ".slp-"
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,127}\Z")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class FileError(Exception):
    """A file cannot be read or written, and nothing has changed. `reason` is a slug; the message says what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Folders:
    """The configured folders by the word before the colon; "" stands for plain names."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)

    @classmethod
    def at(cls, path: Path) -> Folders:
        """One folder for every form of argument."""
        return cls(dict.fromkeys(("", *PLACES), path))

    def read(self, argument: str, limit: int) -> bytes:
        """The bytes of a regular file of at most `limit` bytes. Raises FileError."""
        with self._parent(argument) as (folder, name), _explained(argument, "unreadable"):
            _check_regular(folder, name, argument, missing_is_fine=False)
            with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file:
                # looked at again: it may be another one than a moment ago
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise FileError("not-a-file", f"{_shown(argument)} is not a regular file: name one")
                data = file.read(limit + 1)
        if len(data) > limit:
            raise FileError("too-long", f"{_shown(argument)} has more than {limit} bytes: no licence file is that long")
        return data

    def check(self, argument: str, *, new: bool = False) -> None:
        """Whether `write` would find a place to put a file, and, where it must be `new`, none there yet. Raises
        FileError."""
        with self._parent(argument) as (folder, name), _explained(argument, "not-written"):
            found = _check_regular(folder, name, argument, missing_is_fine=True)
            if new and found:
                raise FileError("exists", f"{_shown(argument)} exists already and is not replaced: choose another name")

    def write(self, argument: str, pieces: Iterable[bytes]) -> None:
        """Put a file in place, durable on return; one of that name is replaced. Raises FileError."""
        with self._parent(argument) as (folder, name), _explained(argument, "not-written"):
            _check_regular(folder, name, argument, missing_is_fine=True)
            # short, so that it is never what makes a name too long
            draft = f"{_DRAFT}{secrets.token_hex(6)}"
            descriptor = os.open(draft, _WRITE, MODE, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.writelines(pieces)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft, dir_fd=folder)
                raise
            os.fsync(folder)

    def delete(self, argument: str) -> None:
        """Remove a regular file, durably. Raises FileError."""
        with self._parent(argument) as (folder, name), _explained(argument, "not-written"):
            _check_regular(folder, name, argument, missing_is_fine=False)
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    @contextlib.contextmanager
    def _parent(self, argument: str) -> Iterator[tuple[int, str]]:
        """The folder that a file argument's last name is in, opened, and that name. Raises FileError."""
        root, steps = self._parse(argument)
        with contextlib.ExitStack() as opened:
            with _explained(argument, "no-file"):
                # the configured folder itself may be a link: that is the operator's choice
                here = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
                opened.callback(os.close, here)
                for step in steps[:-1]:
                    here = os.open(step, _DIRECTORY, dir_fd=here)
                    opened.callback(os.close, here)
            yield here, steps[-1]

    def _parse(self, argument: str) -> tuple[Path, list[str]]:
        """The configured folder and the names below it."""
        place, colon, rest = argument.partition(":")
        if not colon:
            place, rest = "", argument
        root = None if colon and not place else self._folders.get(place)
        if root is None and not self._folders:
            raise FileError("bad-name", f"{_shown(argument)}: this agent has no folder for files")
        if root is None:
            known = ", ".join(f"{one}:NAME" if one else "NAME" for one in self._folders)
            raise FileError("bad-name", f"{_shown(argument)}: give the file as one of {known}")
        # flash:/NAME is how many scripts write flash:NAME
        steps = (rest.removeprefix("/") if colon else rest).split("/")
        for step in steps:
            if not _NAME.match(step) or step.startswith("."):
                raise FileError(
                    "bad-name",
                    f"{_shown(argument)}: names of 1 to 127 printable characters are expected between slashes, none "
                    "of which begins with a dot",
                )
        return root, steps


def remove_drafts(folder: Path) -> None:
    """Remove what writes that were cut short have left in a folder, or below it, that nobody writes to now; links are
    not followed. Raises OSError."""
    for here, _, names in os.walk(folder):
        for name in names:
            if name.startswith(_DRAFT):
                (Path(here) / name).unlink(missing_ok=True)


def _check_regular(folder: int, name: str, argument: str, *, missing_is_fine: bool) -> bool:
    """Whether there is such a file. Raises FileError where the name stands for anything but a regular file; nothing is
    opened for that."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        if missing_is_fine:
            return False
        raise
    if not stat.S_ISREG(mode):
        kind = next((word for test, word in _KINDS if test(mode)), "not a regular file")
        raise FileError("not-a-file", f"{_shown(argument)} is {kind}: name a regular file")
    return True


@contextlib.contextmanager
def _explained(argument: str, otherwise: Reason) -> Iterator[None]:
    """Turn an OSError into a FileError."""
    try:
        yield
    except OSError as error:
        shown, said = _shown(argument), error.strerror or type(error).__name__
        if error.errno == errno.ENOENT:
            raise FileError("no-file", f"{shown}: there is no such file or folder") from error
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise FileError(
                "not-a-file", f"{shown}: a part of it is a link, or not a folder: name it directly"
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise FileError("bad-name", f"{shown}: the name is too long: choose a shorter one") from error
        if error.errno in _FULL:
            raise FileError("no-space", f"{shown}: there is no space left for it: free some, then try again") from error
        if otherwise == "no-file":
            otherwise = "unreadable"
        raise FileError(otherwise, f"{shown}: {said}: check the folder's rights and its disk") from error


def _shown(argument: str) -> str:
    """A file argument for messages: short, and in one line."""
    cut = argument if len(argument) <= _SHOWN else argument[: _SHOWN - 1] + "…"
    return "".join(char if char.isprintable() else "?" for char in cut)
