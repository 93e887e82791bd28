"""Reads docs/reference/cisco-smart-license.facts, and writes the same lines anew from compiled YANG. No assertions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FACTS = ROOT / "docs" / "reference" / "cisco-smart-license.facts"
YANG = ROOT / "yang"
MODULE = "cisco-smart-license"


def published() -> tuple[str, list[str], list[str]]:
    """The header line, the node lines and the typedef lines of the facts."""
    lines = [line for line in FACTS.read_text(encoding="utf-8").splitlines() if line]
    header = next(line for line in lines if line.startswith("namespace "))
    split = lines.index("# typedefs")
    return header, [line for line in lines[:split] if line.startswith("/")], lines[split + 1 :]


def statements() -> Any:
    """The module as pyang's validated statement tree."""
    from pyang import context, error, repository

    ctx = context.Context(repository.FileRepository(str(YANG)))
    module = ctx.search_module(error.Position("facts"), MODULE)
    ctx.validate()
    assert [item for item in ctx.errors if error.is_error(error.err_level(item[1]))] == []
    return module


def header(module: Any) -> str:
    """The header line, from statements."""
    submodules = [
        (item.arg, sub) for item in module.search("include") if (sub := module.i_ctx.get_module(item.arg)) is not None
    ]
    revisions = ", ".join(sorted(item.arg for item in module.search("revision")))
    imports = ", ".join(f"{item.arg} ({item.search_one('prefix').arg})" for item in module.search("import"))
    holds = [
        f"submodule {name} ({sub.search_one('revision').arg}) holds typedef "
        + ", ".join(item.arg for item in sub.search("typedef"))
        for name, sub in submodules
    ]
    version = module.search_one("yang-version")
    return (
        f"namespace {module.search_one('namespace').arg}; prefix {module.search_one('prefix').arg}; "
        f"YANG {'1' if version is None else version.arg}.0; "
        f"revisions {revisions}; {'; '.join(holds)}; imports {imports}."
    )


def nodes(module: Any) -> Iterator[str]:
    """The node lines: path, kind, type with its restrictions, key, default, mandatory, when."""

    def walk(stmt: Any, path: str) -> Iterator[str]:
        for child in stmt.i_children:
            # pyang makes an input and an output for every rpc; what was not written holds nothing.
            if child.keyword in ("input", "output") and not child.i_children:
                continue
            here = f"{path}/{child.arg or child.keyword}"
            yield " | ".join([f"{here}  {child.keyword}", *_properties(child)])
            if hasattr(child, "i_children"):
                yield from walk(child, here)

    yield from walk(module, "")


def typedefs(module: Any) -> Iterator[str]:
    """The typedef lines, each enum with its value."""
    holders = [module, *(module.i_ctx.get_module(item.arg) for item in module.search("include"))]
    for stmt in [item for holder in holders for item in holder.search("typedef")]:
        kind = stmt.search_one("type")
        if kind.arg == "enumeration":
            yield f"{stmt.arg}: " + ", ".join(f"{item.arg}={item.i_value}" for item in kind.search("enum"))
        else:
            yield f"{stmt.arg}: {_type(kind)}"


def _properties(stmt: Any) -> Iterator[str]:
    kind = stmt.search_one("type")
    if kind is not None:
        yield _type(kind)
    for keyword in ("key", "default", "mandatory", "units"):
        found = stmt.search_one(keyword)
        if found is not None:
            yield f"{keyword} '{found.arg}'"
    for found in stmt.search("when"):
        yield f'when "{found.arg}"'


def _type(stmt: Any) -> str:
    restrictions = [
        f"{keyword} '{found.arg}'"
        for keyword in ("range", "length", "pattern")
        if (found := stmt.search_one(keyword)) is not None
    ]
    return " ".join([stmt.arg, *restrictions])
