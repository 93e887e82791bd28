"""libyang's word on what a client received: data, configuration, and the input and output of RPCs and notifications.

The wheel parses data only. So the same YANG texts are compiled a second time with each `rpc`, `input`, `output` and
`notification` turned into a container of the same name that is state. Nothing else differs: all types, keys, choices,
mandatory nodes and augments hold for them as they stand.
"""

from __future__ import annotations

import json
from pathlib import Path
import re
import tempfile
from typing import Any, cast

import oopt_gnpy_libyang as libyang

from agent.core.schema import Schema
from agent.core.tree import Tree

OURS = ("cisco-smart-license", "slp-agent")
_TOP = re.compile(r"(?m)^  (?:rpc|notification) ([\w.-]+) \{$")
_PART = re.compile(r"(?m)^    (input|output) \{$")
_MARK = 'config false; presence "It took place.";'


class Invalid(AssertionError):  # noqa: N818 - it is a finding, not a fault of the caller
    """libyang refuses what the agent sent."""


class Libyang:
    """All modules that are served, and our two with operations as data. Not for several threads."""

    def __init__(self, schema: Schema) -> None:
        libyang.set_log_options(libyang.LogOptions.Store)
        folders = dict.fromkeys(str(module.file.parent.resolve()) for module in schema.modules.values())
        self._served = self._context(list(folders))
        for module in schema.modules.values():
            if module.implemented:
                self._served.load_module(module.name, module.revision or None, list(module.features))
        with tempfile.TemporaryDirectory() as folder:
            for module in schema.modules.values():
                for file in (module.file, *(file for _, _, file in module.submodules)):
                    text = file.read_text(encoding="utf-8")
                    text = _operations_as_data(text) if module.name in OURS else text
                    (Path(folder) / file.name).write_text(text, encoding="utf-8")
            self._operations = self._context([folder])
            for name in OURS:
                self._operations.load_module(name, schema.modules[name].revision, [])

    @staticmethod
    def _context(folders: list[str]) -> Any:
        options = libyang.ContextOptions.NoYangLibrary | libyang.ContextOptions.DisableSearchCwd
        return libyang.Context(":".join(folders), options)

    def data(self, text: str, form: str) -> Tree:
        """The JSON tree of a reply with state; `form` is "xml" or "json". Raises Invalid."""
        return _read(self._served, text, form, libyang.ParseOptions.Strict, libyang.ValidationOptions.Present)

    def config(self, text: str, form: str) -> Tree:
        """The JSON tree of a reply of get-config: it holds no state. Raises Invalid."""
        options = libyang.ValidationOptions.NoState | libyang.ValidationOptions.Present
        return _read(self._served, text, form, libyang.ParseOptions.Strict | libyang.ParseOptions.NoState, options)

    def operation(self, text: str, form: str) -> Tree:
        """The JSON tree of an RPC with its input or output in it, or of a notification. Raises Invalid."""
        return _read(self._operations, text, form, libyang.ParseOptions.Strict, libyang.ValidationOptions.Present)


def _operations_as_data(text: str) -> str:
    return _PART.sub(rf"    container \1 {{ {_MARK[13:]}", _TOP.sub(rf"  container \1 {{ {_MARK}", text))


def _read(context: Any, text: str, form: str, parse: Any, validate: Any) -> Tree:
    context.clean_all_errors()
    kind = libyang.DataFormat.XML if form == "xml" else libyang.DataFormat.JSON
    try:
        tree = context.parse_data(text, kind, parse, validate)
    except libyang.Error as error:
        told = "; ".join(f"{one.data_path}: {one.message}" for one in context.errors()) or str(error)
        raise Invalid(f"{told}\n{text[:2000]}") from None
    if tree is None:
        return {}
    flags = libyang.PrintFlags.WithSiblings | libyang.PrintFlags.WithDefaultsExplicit
    return cast(Tree, json.loads(tree.print(libyang.DataFormat.JSON, flags)))
