"""The schema of the agent's own modules together with those that a site gives it as files: compiled once, then kept.

pyang does the work in a child process. What it made lies in a folder under a digest of all that went in, sealed with a
key of the caller's: whoever can only write there cannot loosen what the models say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
import hashlib
import hmac
from importlib import metadata
import json
import logging
from pathlib import Path
import shutil
import tempfile
from typing import Any

from agent.core import compile as compiler
from agent.core import modules
from agent.core.compile import CompileError as CompileError
from agent.core.compile import compile_modules
from agent.core.schema import Schema

log = logging.getLogger(__name__)

_SCHEMA = "schema.json"
_SEAL = "seal"
_TEXTS = "yang"


class Site:
    """The modules of a site. `files` are implemented, and what they augment; imports are looked for in `folders`.

    `kept` is the folder that compiled schemas are kept in, made when it is needed; `key` seals them.
    """

    def __init__(self, files: Sequence[Path], folders: Sequence[Path], kept: Path, key: bytes) -> None:
        self._files = files
        self._folders = folders
        self._kept = kept
        self._key = key

    def schema(self, base: Path) -> Schema:
        """The modules of the schema document `base`, and these. Takes seconds for what it has not met before.

        Raises CompileError with what pyang says, OSError.
        """
        folder = self._kept / self._digest(base)
        found = self._read(folder)
        if found is None:
            made = self._compile(base)
            self._keep(folder, made)
            found = self._read(folder)
            if found is None:
                raise CompileError(f"what was compiled into {folder} cannot be read back")
        return found

    def _digest(self, base: Path) -> str:
        """One for all that the result depends on: every text in reach, and the tools."""
        digest = hashlib.sha256(metadata.version("pyang").encode())
        for file in (Path(compiler.__file__), Path(modules.__file__), base, *self._inputs()):
            digest.update(f"\n{file.name} ".encode() + hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def _inputs(self) -> Iterator[Path]:
        yield from self._files
        for folder in self._folders:
            if not folder.is_dir():
                raise CompileError(f"{folder} is not a folder: name one that YANG modules lie in")
            yield from sorted(file for file in folder.rglob("*.yang") if file.is_file())

    def _compile(self, base: Path) -> dict[str, Any]:
        own = json.loads(base.read_bytes())["modules"]
        implemented = [module for module in own if module["implemented"]]
        document = compile_modules(
            self._folders,
            [f"{module['name']}@{module['revision']}" for module in implemented],
            {module["name"]: module["features"] for module in implemented},
            files=self._files,
            first=(base.parent / own[0]["file"]).parent.resolve(),
        )
        _check(document, own)
        return document

    def _keep(self, folder: Path, document: dict[str, Any]) -> None:
        """Put it in the folder, whole or not at all, in place of what was kept before."""
        self._kept.mkdir(mode=0o700, exist_ok=True)
        for old in self._kept.iterdir():
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=self._kept, prefix="new-") as work:
            made = Path(work) / "made"
            (made / _TEXTS).mkdir(parents=True)
            copy_texts(document, made / _TEXTS)
            (made / _SCHEMA).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
            (made / _SEAL).write_bytes(self._seal(made, folder.name))
            made.replace(folder)

    def _read(self, folder: Path) -> Schema | None:
        """What is kept there, if it is as it was written."""
        try:
            if not hmac.compare_digest((folder / _SEAL).read_bytes(), self._seal(folder, folder.name)):
                log.warning("%s was changed by somebody else: the models are compiled anew", folder)
                return None
            return Schema.read(folder / _SCHEMA)
        except FileNotFoundError:
            return None

    def _seal(self, folder: Path, name: str) -> bytes:
        """Of the schema and the texts below `folder`, kept under `name`."""
        sealed = hmac.new(self._key, b"slp-agent models " + name.encode(), hashlib.sha256)
        for file in (folder / _SCHEMA, *sorted((folder / _TEXTS).iterdir())):
            sealed.update(f"\n{file.name} ".encode() + hashlib.sha256(file.read_bytes()).digest())
        return sealed.digest()


def copy_texts(document: dict[str, Any], folder: Path) -> dict[str, bytes]:
    """Copy the text of every module and submodule to `folder` and let the document name the copies, beside itself.

    Returns the texts by file name. Raises OSError.
    """
    texts: dict[str, bytes] = {}
    for item in [part for module in document["modules"] for part in (module, *module["submodules"])]:
        name = f"{item['name']}@{item['revision']}.yang" if item["revision"] else f"{item['name']}.yang"
        texts[name] = Path(item["file"]).read_bytes()
        (folder / name).write_bytes(texts[name])
        item["file"] = f"{folder.name}/{name}"
    return texts


def _check(document: dict[str, Any], own: Iterable[dict[str, Any]]) -> None:
    """Whether the agent can serve it as it serves its own. Raises CompileError."""
    found: dict[str, dict[str, Any]] = {}
    for module in document["modules"]:
        other = found.setdefault(module["name"], module)
        if other is not module:
            dates = f"{other['revision'] or 'none'} and {module['revision'] or 'none'}"
            raise CompileError(f"two revisions of {module['name']} are imported, {dates}: let all import the same one")
    for module in own:
        now = found[module["name"]]
        added = sorted(set(now["deviations"]) - set(module["deviations"]))
        if added:
            raise CompileError(
                f"{', '.join(added)} has a deviation of {module['name']}, a module of the agent itself: leave that out"
            )
        if now["implemented"] and not module["implemented"]:
            raise CompileError(f"{module['name']} is a module of the agent itself: do not give its file")
