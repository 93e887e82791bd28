"""From YANG text to the schema document that schema.py loads: pyang, run in a child process, and nothing at run time.

`python -m agent.core.compile --path DIR… [--feature module:feature]… [--file FILE]… MODULE[@REVISION]…` prints the
document as JSON. The modules named are implemented, those that they import are not; features not named are off.
The modules in files are implemented too, with all their features, and so are modules that an implemented one augments
or has a leafref into. A module that the folder `--first` has is taken from there alone, whoever imports it.
Source: RFC 7950 (section 5.6.5 for what is implemented besides), RFC 8525 (what "implemented" means).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
import json
from pathlib import Path
import subprocess
import sys
from typing import Any

from agent.core.modules import CompileError as CompileError
from agent.core.modules import load
from agent.core.patterns import PatternError, compiled
from agent.core.types import scaled

_DATA = ("container", "list", "leaf", "leaf-list", "anydata", "anyxml")
_NACM = "ietf-netconf-acm"


def compile_modules(
    paths: Iterable[Path],
    modules: Sequence[str],
    features: Mapping[str, Sequence[str]] | None = None,
    *,
    files: Iterable[Path] = (),
    first: Path | None = None,
) -> dict[str, Any]:
    """Compile `modules` ("name" or "name@revision") and `files` in a child process and return the schema document.

    `paths` are searched before the folder of standard modules that pyang installs; `first` comes before all, and its
    modules have no other revision. Raises CompileError.
    """
    root = str(Path(__file__).resolve().parents[2])
    # Appended, not put first: a site-packages in front would let enum34 shadow the standard library.
    start = f"import sys; sys.path.append({root!r}); from agent.core.compile import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", start]
    for path in paths:
        command += ["--path", str(path)]
    for file in files:
        command += ["--file", str(file)]
    if first is not None:
        command += ["--first", str(first)]
    for module, names in sorted((features or {}).items()):
        for name in names:
            command += ["--feature", f"{module}:{name}"]
    done = subprocess.run([*command, *modules], capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode != 0:
        raise CompileError(done.stderr.strip())
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def main(arguments: Sequence[str] | None = None) -> int:
    """The child process. Prints the document; errors go to standard error and give 1."""
    parser = argparse.ArgumentParser(prog="agent.core.compile", description="Compile YANG modules to a schema document")
    parser.add_argument("--path", action="append", default=[], help="a folder that is searched for modules")
    parser.add_argument("--feature", action="append", default=[], metavar="MODULE:FEATURE", help="a feature that is on")
    parser.add_argument("--file", action="append", default=[], help="a module that is implemented whole")
    parser.add_argument("--first", help="a folder whose modules have no other revision")
    parser.add_argument("modules", nargs="+", metavar="MODULE[@REVISION]", help="a module that is implemented")
    options = parser.parse_args(arguments)
    features: dict[str, list[str]] = {}
    for item in options.feature:
        module, _, name = item.partition(":")
        features.setdefault(module, []).append(name)
    try:
        document = _compile(options, features)
    except CompileError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    json.dump(document, sys.stdout, indent=1, ensure_ascii=False)
    return 0


def _compile(options: argparse.Namespace, features: dict[str, list[str]]) -> dict[str, Any]:
    ctx, loaded = load(options.modules, options.file, features, options.path, options.first)
    return _Export(ctx, loaded, features).document()


class _Export:
    """Walks pyang's statements once; equal types share an entry of the table."""

    def __init__(self, ctx: Any, loaded: list[Any], features: Mapping[str, list[str]]) -> None:
        self.ctx = ctx
        self.loaded = loaded
        self.implemented = {module.arg for module in loaded}
        self.features = features
        self.types: list[dict[str, Any]] = []
        self.index: dict[str, int] = {}

    def document(self) -> dict[str, Any]:
        rpcs: list[dict[str, Any]] = []
        notifications: list[dict[str, Any]] = []
        data: list[dict[str, Any]] = []
        for module in self.loaded:
            for stmt in module.i_children:
                if stmt.keyword == "rpc":
                    stmt.i_children.sort(key=lambda part: part.keyword != "input")
                    rpcs.append(self.node(stmt, [], []))
                elif stmt.keyword == "notification":
                    notifications.append(self.node(stmt, [], []))
                else:
                    data += self.nodes([stmt], [], [])
        everything = [m for m in self.ctx.modules.values() if m.keyword == "module"]
        return {
            "format": 1,
            "modules": [self.module(m) for m in sorted(everything, key=lambda m: str(m.arg))],
            "identities": self.identities(everything),
            "types": self.types,
            "data": data,
            "rpcs": rpcs,
            "notifications": notifications,
        }

    def module(self, stmt: Any) -> dict[str, Any]:
        includes = sorted(
            (sub for sub in self.ctx.modules.values() if sub.keyword == "submodule" and sub.i_modulename == stmt.arg),
            key=lambda sub: str(sub.arg),
        )
        version = stmt.search_one("yang-version")
        deviating = [m.arg for m in self.loaded if any(_target(m, d) == stmt.arg for d in m.search("deviation"))]
        return {
            "name": stmt.arg,
            "revision": _revision(stmt),
            "namespace": stmt.search_one("namespace").arg,
            "prefix": stmt.search_one("prefix").arg,
            "yang-version": "1" if version is None else version.arg,
            "implemented": stmt in self.loaded,
            "features": sorted(self.features.get(stmt.arg, ())),
            "file": str(Path(stmt.pos.ref).resolve()),
            "submodules": [
                {"name": sub.arg, "revision": _revision(sub), "file": str(Path(sub.pos.ref).resolve())}
                for sub in includes
            ],
            "deviations": sorted(deviating),
            "imports": _prefixes([*includes, stmt]),
        }

    def identities(self, modules: Iterable[Any]) -> dict[str, list[str]]:
        direct: dict[str, set[str]] = {}
        for module in modules:
            for stmt in module.i_identities.values():
                own = _qualified(stmt)
                direct.setdefault(own, set())
                for base in stmt.search("base"):
                    direct.setdefault(_qualified(base.i_identity), set()).add(own)
        closed: dict[str, list[str]] = {}
        for base in sorted(direct):
            found: set[str] = set()
            waiting = list(direct[base])
            while waiting:
                name = waiting.pop()
                if name not in found:
                    found.add(name)
                    waiting += direct[name]
            if found:
                closed[base] = sorted(found)
        return closed

    def nodes(
        self, statements: Iterable[Any], choice: list[list[str]], outer: list[str], default: tuple[str, ...] = ()
    ) -> Iterator[dict[str, Any]]:
        """Data nodes with choice and case flattened away; RPC input and output, actions and notifications too."""
        for stmt in statements:
            if stmt.i_module.i_modulename not in self.implemented:
                continue  # an augment of a module that is only imported does not count (RFC 8525 section 3)
            if stmt.keyword == "choice":
                for case in stmt.i_children:
                    conditions = [*outer, *_conditions(stmt), *_around(stmt), *_conditions(case), *_around(case)]
                    chosen = (stmt.arg,) if _argument(stmt, "default") == case.arg else ()
                    yield from self.nodes(
                        case.i_children, [*choice, [stmt.arg, case.arg]], conditions, default + chosen
                    )
            elif stmt.keyword in (*_DATA, "input", "output", "action", "notification"):
                yield self.node(stmt, choice, outer, default)

    def node(
        self, stmt: Any, choice: list[list[str]], outer: list[str], default: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        parent = stmt.parent
        while parent is not None and parent.keyword in ("choice", "case"):
            parent = parent.parent
        found: dict[str, Any] = {"name": stmt.arg if stmt.arg is not None else stmt.keyword, "kind": stmt.keyword}
        if found["kind"] in ("input", "output"):
            found["name"] = found["kind"]
        module = stmt.i_module.i_modulename
        if parent is None or parent.keyword in ("module", "submodule") or parent.i_module.i_modulename != module:
            found["module"] = module
        if _config(stmt) is False:
            found["config"] = False
        found.update(self.details(stmt))
        more = {
            "when": _conditions(stmt),
            "outer-when": [*outer, *_around(stmt)],
            "choice": choice,
            "default-cases": list(default),
            "children": list(self.nodes(getattr(stmt, "i_children", ()), [], [])),
        }
        found.update({key: value for key, value in more.items() if value})
        return found

    def details(self, stmt: Any) -> dict[str, Any]:
        """What RFC 7950 section 7 says of this kind of node, as far as it is said."""
        found: dict[str, Any] = {}
        if stmt.keyword in ("leaf", "anydata", "anyxml") and _argument(stmt, "mandatory") == "true":
            found["mandatory"] = True
        if stmt.keyword == "container" and stmt.search_one("presence") is not None:
            found["presence"] = True
        if stmt.keyword in ("list", "leaf-list"):
            if _argument(stmt, "ordered-by") == "user":
                found["user-ordered"] = True
            if (least := _argument(stmt, "min-elements")) not in (None, "0"):
                found["min"] = int(str(least))
            if (most := _argument(stmt, "max-elements")) not in (None, "unbounded"):
                found["max"] = int(str(most))
        if stmt.keyword == "list":
            found["keys"] = [key.arg for key in getattr(stmt, "i_key", None) or ()]
            found["unique"] = [[_local(path) for path in item.arg.split()] for item in stmt.search("unique")]
        if stmt.keyword in ("leaf", "leaf-list"):
            found["type"] = self.type_of(stmt)
            found["default"] = _defaults(stmt)
            found["units"] = _units(stmt)
        if _config(stmt) is None:
            # of input; data is validated by a library
            found["must"] = [{"test": must.arg, **_texts(must)} for must in stmt.search("must")]
        for sub in stmt.substmts:
            if isinstance(sub.keyword, tuple) and sub.keyword[0] == _NACM:
                found["nacm"] = sub.keyword[1]
        return {key: value for key, value in found.items() if value not in (None, [], "")}

    def type_of(self, leaf: Any) -> int:
        return self.entry(self.type(leaf, leaf.search_one("type")))

    def entry(self, document: dict[str, Any]) -> int:
        text = json.dumps(document, sort_keys=True)
        if text not in self.index:
            self.index[text] = len(self.types)
            self.types.append(document)
        return self.index[text]

    def type(self, leaf: Any, stmt: Any) -> dict[str, Any]:
        """One type with all restrictions of its typedef chain, the most derived first."""
        chain = [stmt]
        while getattr(chain[-1], "i_typedef", None):
            chain.append(chain[-1].i_typedef.search_one("type"))
        last = chain[-1]
        base = last.arg
        if any(_is_node_path(getattr(t, "i_typedef", None)) for t in chain):
            # a string to YANG, but its prefixes are the document's: it must be translated like an instance-identifier
            return {"base": "node-instance-identifier"}
        found: dict[str, Any] = {"base": base}
        digits = next((int(d.arg) for t in chain if (d := t.search_one("fraction-digits"))), None)
        if digits is not None:
            found["digits"] = digits
        for keyword in ("range", "length"):
            bounds = [_bounds(s, digits) for t in chain if (s := t.search_one(keyword)) is not None]
            if bounds:
                found[keyword] = bounds
        patterns = [_pattern(s) for t in chain for s in t.search("pattern")]
        if patterns:
            found["pattern"] = patterns
        for keyword, number, key in (("enum", "i_value", "enums"), ("bit", "i_position", "bits")):
            listings = [items for t in chain if (items := t.search(keyword))]
            every: list[Any] = listings[-1] if listings else []
            chosen: list[Any] = listings[0] if listings else []
            numbers = {item.arg: getattr(item, number) for item in every}
            if chosen:
                found[key] = {item.arg: numbers[item.arg] for item in chosen if not hasattr(item, "i_not_implemented")}
        if base == "identityref":
            found["bases"] = sorted(_qualified(item.i_identity) for item in last.search("base"))
        if base == "union":
            found["members"] = [self.type(leaf, member) for member in last.search("type")]
        require = next((r.arg for t in chain if (r := t.search_one("require-instance"))), "true")
        if base in ("leafref", "instance-identifier") and require == "false":
            found["require-instance"] = False
        if base == "leafref":
            found["path"] = last.search_one("path").arg
            found["target"] = self.type_of(self.target(leaf, stmt, last))
        return found

    def target(self, leaf: Any, stmt: Any, last: Any) -> Any:
        """The leaf that a leafref refers to; pyang resolves members of unions only when asked to."""
        pointer = getattr(leaf, "i_leafref_ptr", None)
        if pointer and stmt is leaf.search_one("type"):
            return pointer[0]
        from pyang import statements

        spec = stmt.i_type_spec
        found = statements.validate_leafref_path(
            self.ctx, leaf, spec.path_spec, spec.path_, accept_non_config_target=not spec.require_instance
        )
        if found is None or found[0] is None:
            raise CompileError(f"{leaf.pos}: the leafref path {last.search_one('path').arg} leads to no leaf")
        return found[0]


def _is_node_path(typedef: Any) -> bool:
    return typedef is not None and (typedef.i_module.arg, typedef.arg) == (_NACM, "node-instance-identifier")


def _argument(stmt: Any, keyword: str) -> str | None:
    found = stmt.search_one(keyword)
    return None if found is None else found.arg


def _conditions(stmt: Any) -> list[str]:
    """The node's own when; pyang copies that of a uses into the nodes it brings and marks it."""
    return [item.arg for item in stmt.search("when") if getattr(item, "i_origin", None) != "uses"]


def _around(stmt: Any) -> list[str]:
    """Conditions of the uses and the augment that brought this node in."""
    found = [item.arg for item in stmt.search("when") if getattr(item, "i_origin", None) == "uses"]
    augment = getattr(stmt, "i_augment", None)
    return found + (_conditions(augment) if augment is not None else [])


def _config(stmt: Any) -> bool | None:
    above = stmt
    while above is not None:
        if above.keyword in ("output", "notification"):
            return False
        if above.keyword in ("input", "rpc", "action"):
            return None
        above = above.parent
    value: bool | None = getattr(stmt, "i_config", None)
    return value


def _local(path: str) -> str:
    return "/".join(step.rpartition(":")[2] for step in path.split("/"))


def _revision(stmt: Any) -> str:
    return max((item.arg for item in stmt.search("revision")), default="")


def _qualified(identity: Any) -> str:
    return f"{identity.i_module.i_modulename}:{identity.arg}"


def _target(module: Any, deviation: Any) -> str:
    prefix = deviation.arg.strip("/").partition("/")[0].partition(":")[0]
    return str(module.i_prefixes.get(prefix, (module.arg, None))[0])


def _prefixes(texts: Iterable[Any]) -> dict[str, str]:
    """What the prefixes of a module and its submodules stand for; the module's own meaning wins."""
    return {prefix: module for text in texts for prefix, (module, _) in sorted(text.i_prefixes.items())}


def _units(stmt: Any) -> str | None:
    while stmt is not None:
        if (found := _argument(stmt, "units")) is not None:
            return found
        stmt = getattr(stmt.search_one("type"), "i_typedef", None)
    return None


def _defaults(stmt: Any) -> list[str]:
    """Lexical defaults, own or of the typedef; identities are written module:name."""
    own = [item.arg for item in stmt.search("default")]
    known = getattr(stmt, "i_default", None)
    identities = [value for value in (known if isinstance(known, list) else [known]) if hasattr(value, "keyword")]
    if identities:
        return [_qualified(value) for value in identities]
    typedef = getattr(stmt.search_one("type"), "i_typedef", None)
    required = _argument(stmt, "mandatory") == "true" or _argument(stmt, "min-elements") not in (None, "0")
    while not own and typedef is not None and not required:
        own = [item.arg for item in typedef.search("default")]
        typedef = getattr(typedef.search_one("type"), "i_typedef", None)
    return own


def _bounds(stmt: Any, digits: int | None) -> dict[str, Any]:
    def end(text: str) -> int | None:
        return None if text in ("min", "max") else scaled(text, digits or 0)

    parts = []
    for part in stmt.arg.split("|"):
        low, dots, high = (piece.strip() for piece in part.partition(".."))
        parts.append([end(low), end(high if dots else low)])
    return {"parts": parts, "text": " ".join(stmt.arg.split()), **_texts(stmt)}


def _pattern(stmt: Any) -> dict[str, Any]:
    try:
        compiled(stmt.arg)
    except PatternError as error:
        raise CompileError(f"{stmt.pos}: {error}") from None
    inverted = {"invert": True} if _argument(stmt, "modifier") == "invert-match" else {}
    return {"xsd": stmt.arg, **inverted, **_texts(stmt)}


def _texts(stmt: Any) -> dict[str, str]:
    pairs = (("message", _argument(stmt, "error-message")), ("app_tag", _argument(stmt, "error-app-tag")))
    return {key: value for key, value in pairs if value is not None}


if __name__ == "__main__":
    sys.exit(main())
