"""The process that serves. `slp-agent run` puts it in its own place, so that nothing of the command line stays in it.

No behaviour: options go in as JSON, process.run does the work. Here too is what concerns the memory of the process as a
whole; docs/decisions/0018 has the measurements.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
from pathlib import Path
import sys
from typing import Any, NoReturn

LARGE = 4 * 1024 * 1024
"""Bytes from which on an allocation is a mapping of its own, given back when it is freed."""

_M_MMAP_THRESHOLD = -3


PATHS = ("state_dir", "socket", "netconf_socket", "files")
PATH_LISTS = ("yang", "yang_path")


def become(**options: Any) -> NoReturn:
    """Replace this process by one that runs `process.run` with these arguments; same process id, streams, environment.

    Raises OSError where the interpreter cannot be started.
    """
    document = json.dumps(options, default=str)  # only paths are no JSON
    # -P: the folder that it is started in is no place to find modules
    os.execv(sys.executable, [sys.executable, "-P", "-m", "agent.daemon", document])  # noqa: S606


def main() -> None:
    """What the new process does."""
    _give_back_large_memory()
    from agent import process

    options = json.loads(sys.argv[1])
    for name in PATHS:
        if options[name] is not None:
            options[name] = Path(options[name])
    for name in PATH_LISTS:
        options[name] = [Path(one) for one in options[name]]
    try:
        process.run(**options)
    except process.Failed as error:
        sys.stderr.write(f"slp-agent: {error}\n")
        sys.exit(1)


def _give_back_large_memory() -> None:
    """A password check takes 16 MiB for a moment: once it has seen that, glibc would keep as much for each thread."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE)


if __name__ == "__main__":
    main()
