"""Writing small private files so that a crash leaves the old one or the new one; knows no format and no folder.

Source: POSIX rename(2) and fsync(2); a new name is durable only once its directory has been synced too.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
import re
import secrets
import stat

_DRAFT = re.compile(r"\..+\.[0-9a-f]{12}")


def write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put `data` at `path`, whole or not at all, durable on return. Raises OSError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    sync_directory(path.parent)


def create_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """As `write_private`, but raises FileExistsError where there is a file already."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    write_private(draft, data, mode)
    try:
        os.link(draft, path, follow_symlinks=False)
    finally:
        draft.unlink()
    sync_directory(path.parent)


def remove_drafts(folder: Path) -> None:
    """Remove what writes that were cut short have left. For a folder that nobody writes to now. Raises OSError."""
    for entry in folder.iterdir():
        if _DRAFT.fullmatch(entry.name):
            entry.unlink(missing_ok=True)


def make_directory(path: Path, mode: int = 0o777) -> None:
    """Make a folder, and those above it, unless there is one; the names are durable on return. Raises OSError."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(mode, parents=True, exist_ok=True)
    for each in missing:
        sync_directory(each.parent)


def sync_directory(path: Path) -> None:
    """Make the names in `path` durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, limit: int) -> bytes:
    """The file's bytes. Raises OSError, or ValueError when it is longer than `limit` bytes or not a regular file."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("is not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"is longer than {limit} bytes")
    return data
