"""Whole configurations in files of the configured folders, named by `file:` URLs (RFC 6241 section 8.8).

The file holds <config> in NETCONF's namespace. `file:///NAME` leads to NAME below the configured folder and nowhere
else: it is the same place that `flash:NAME` names in other requests.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from itertools import chain
from urllib.parse import unquote, urlsplit

from agent.codec import xml
from agent.core.requests import EditNode
from agent.core.schema import Schema
from agent.core.tree import Tree
from agent.errors import refuse
from agent.transport.files import FileError, Folders, Reason

LIMIT = 16 * 1024 * 1024
"""Octets of a configuration file, as of a NETCONF message."""

_TAGS: dict[Reason, str] = {
    "bad-name": "invalid-value",
    "no-file": "invalid-value",
    "not-a-file": "invalid-value",
    "too-long": "too-big",
    "no-space": "resource-denied",
    "unreadable": "operation-failed",
    "not-written": "operation-failed",
}


class ConfigurationFiles:
    """agent.core.providers.Documents over the configured folders."""

    def __init__(self, schema: Schema, folders: Folders) -> None:
        self._schema = schema
        self._folders = folders

    def read(self, url: str) -> tuple[EditNode, ...]:
        """Raises RequestError; what is wrong inside the file is told as if it stood in the request."""
        with _refusals():
            content = self._folders.read(_argument(url), LIMIT)
        element = xml.parse(content)
        if element.tag != f"{{{xml.NC}}}config":
            message = f"the file has to hold <config> in the namespace {xml.NC}, not {str(element.tag)[:200]}"
            raise refuse("unknown-element", message, type="protocol", bad_element=str(element.tag).rpartition("}")[2])
        return xml.decode_config(element, self._schema)

    def write(self, url: str, tree: Tree) -> None:
        """Raises RequestError."""
        start, end = f'<config xmlns="{xml.NC}">'.encode(), b"</config>\n"
        with _refusals():
            self._folders.write(_argument(url), chain((start,), xml.encode(tree, self._schema.root), (end,)))

    def delete(self, url: str) -> None:
        """Raises RequestError."""
        with _refusals():
            self._folders.delete(_argument(url))


def _argument(url: str) -> str:
    """The name below the configured folder. Raises RequestError invalid-value."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme == "file" and parts.netloc in ("", "localhost") and not parts.query and not parts.fragment
    except ValueError:
        fits = False
    if not fits:
        message = "the url has to be file:///NAME, with a NAME below the agent's folder for files"
        raise refuse("invalid-value", message, type="protocol", bad_element="url")
    return unquote(parts.path, errors="replace").removeprefix("/")


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn a FileError into a RequestError."""
    try:
        yield
    except FileError as error:
        raise refuse(_TAGS[error.reason], error.message, type="protocol", bad_element="url") from error
