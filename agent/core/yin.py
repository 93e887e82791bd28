"""YANG texts as YIN (RFC 7950 section 13): made by pyang in a child process, so that its 18 MB are not the agent's."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
import subprocess
import sys
import threading

from agent.core.tree import Markup

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds that pyang may take for one text; it takes half a second."""


class YinError(Exception):
    """pyang could not write a text as YIN; the message is pyang's own."""


class Yin:
    """Texts as YIN, each made when it is first asked for and kept under the digest of its YANG. Any thread."""

    def __init__(self) -> None:
        self._kept: dict[str, Markup] = {}
        self._lock = threading.Lock()

    def of(self, file: Path) -> Markup:
        """The module or submodule in `file` as one XML element; what it imports lies beside it. Takes long.

        Raises OSError, YinError.
        """
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        with self._lock:
            found = self._kept.get(digest)
            if found is None:
                found = self._kept[digest] = _made(file)
        return found


def _made(file: Path) -> Markup:
    command = [sys.executable, "-P", "-W", "ignore", "-m", "pyang", "-f", "yin", "-p", str(file.parent), str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=TIMEOUT)  # noqa: S603 - our own
    except subprocess.TimeoutExpired:
        raise YinError(f"{file.name}: pyang took more than {TIMEOUT:.0f} seconds") from None
    start, _, element = done.stdout.partition("?>")
    if done.returncode != 0 or not start.startswith("<?xml"):
        raise YinError(f"{file.name}: {done.stderr.strip() or 'pyang wrote nothing'}")
    log.debug("%s: made into YIN", file.name)
    return Markup(element.strip())
