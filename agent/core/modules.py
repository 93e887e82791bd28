"""The YANG modules that a schema document is made of, as pyang reads and checks them: in compile.py's child process.

Source: RFC 7950 section 5.6.5: whoever implements a module that augments another one, or has a leafref into it,
implements that one too.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
from typing import Any


class CompileError(Exception):
    """The modules do not compile; the message names file, line and reason of each error."""


def load(
    modules: Sequence[str],
    files: Sequence[str],
    features: dict[str, list[str]],
    paths: Sequence[str],
    first: str | None,
) -> tuple[Any, list[Any]]:
    """pyang's context, and the modules that are implemented: `modules`, those in `files`, and what these use.

    The latter two have all their features, which are put into `features`. `paths` and `first` are compile.py's options.
    Raises CompileError.
    """
    used: list[str] = []
    while True:
        ctx, loaded = _validated(modules, files, used, features, paths, first)
        more = _used(ctx, loaded) - {module.arg for module in loaded}
        if not more:
            break
        # pyang is told once which features are on: anew, with those of the further modules
        used += sorted(more)
    for module in loaded:
        module.prune()
    return ctx, loaded


class _Features(dict[str, list[str]]):
    """pyang takes a module that is not listed to have all features; here it has none."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> list[str]:
        return []


def _validated(
    modules: Sequence[str],
    files: Sequence[str],
    used: Sequence[str],
    features: dict[str, list[str]],
    paths: Sequence[str],
    first: str | None,
) -> tuple[Any, list[Any]]:
    from pyang import context, error, repository

    folders = [*([first] if first else []), *paths]
    ctx = context.Context(repository.FileRepository(os.pathsep.join(folders), use_env=True))
    ctx.features = _Features(features)
    if first:
        _pin(ctx, Path(first))
    # A chain of required but absent modules shows up as pyang errors below.
    loaded: list[Any] = []
    for wanted in modules:
        name, _, revision = wanted.partition("@")
        module = ctx.search_module(error.Position(wanted), name, revision or None)
        if module is None:
            where = ", ".join([*folders, "pyang's own folder"])
            raise CompileError("\n".join(_errors(ctx)) or f"{wanted}: no such module below {where}")
        loaded.append(module)
    whole = [_given(ctx, file, loaded) for file in files]
    whole += [ctx.search_module(error.Position(name), name) for name in used]
    for module in whole:
        every = [one.arg for part in _parts(ctx, module) for one in part.search("feature")]
        features[module.arg] = ctx.features[module.arg] = every
    loaded += whole
    ctx.validate()
    wrong = _errors(ctx)
    for module in loaded:
        known = set(module.i_features)
        unknown = sorted(set(features.get(module.arg, ())) - known)
        wrong += [
            f"{module.arg}: has no feature {name}; it has {', '.join(sorted(known)) or 'none'}" for name in unknown
        ]
    if wrong:
        raise CompileError("\n".join(dict.fromkeys(wrong)))
    return ctx, loaded


def _parts(ctx: Any, module: Any) -> list[Any]:
    """A module and its submodules, as far as they are found."""
    parts = [ctx.search_module(one.pos, one.arg) for one in module.search("include")]
    return [module, *(part for part in parts if part is not None)]


def _used(ctx: Any, loaded: Sequence[Any]) -> set[str]:
    """The modules whose nodes these augment, or lead to by a leafref."""
    names = {module.arg for module in loaded}
    augments = [one for module in loaded for part in _parts(ctx, module) for one in part.search("augment")]
    found = [one.i_target_node for one in augments]
    waiting = [child for module in loaded for child in module.i_children]
    while waiting:
        stmt = waiting.pop()
        if stmt.i_module.i_modulename in names:
            pointer = getattr(stmt, "i_leafref_ptr", None)
            found += pointer[:1] if pointer else ()
            waiting += getattr(stmt, "i_children", ())
    return {stmt.i_module.i_modulename for stmt in found}


def _pin(ctx: Any, folder: Path) -> None:
    """Let the modules in `folder` have no other revision than there, for those that import them without one."""
    for name, known in ctx.revs.items():
        there = [(revision, handle) for revision, handle in known if Path(handle[1]).parent == folder]
        if there:
            ctx.revs[name] = there


def _given(ctx: Any, file: str, loaded: list[Any]) -> Any:
    """The module in a file. Raises CompileError."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CompileError(f"{file}: cannot be read: {reason}") from None
    try:
        module = ctx.add_module(file, text)
    except IndexError:
        # where a text ends too early for it
        module = None
    if module is None:
        raise CompileError("\n".join(_errors(ctx)) or f"{file}: is no YANG module")
    if module.keyword != "module":
        including = module.search_one("belongs-to")
        whole = f"give the file of {including.arg}" if including is not None else "give the file of its module"
        raise CompileError(f"{file}: {module.arg} is a submodule: {whole}, and the folder where this one is")
    same = [other for other in ctx.modules.values() if other.arg == module.arg]
    if len(same) > 1 or module.pos.ref != file or module in loaded:
        raise CompileError(f"{file}: there is another module {module.arg} already")
    return module


def _errors(ctx: Any) -> list[str]:
    from pyang import error

    return [
        f"{position.label(True)}: {error.err_to_str(tag, details)}"
        for position, tag, details in ctx.errors
        if error.is_error(error.err_level(tag))
    ]
