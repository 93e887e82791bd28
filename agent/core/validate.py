"""Whether a configuration keeps the constraints of its models: one port, two implementations. No edits here.

libyang decides where its wheel exists, yangson (pure Python) elsewhere; in the tests each is the other's second
opinion. What both say is mapped to the errors of RFC 7950 section 15. The stored tree is never changed by validation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import json
import logging
import re
from typing import Any, Protocol

from agent.core.edit import in_other_case
from agent.core.path import entry_step, lookup, resolve
from agent.core.schema import Schema
from agent.core.tree import Tree
from agent.core.types import InvalidValue
from agent.errors import Error, Path, Step

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken constraint. `unmet_when`: the node at the error's path may not exist as things stand."""

    error: Error
    unmet_when: bool = False


class Validator(Protocol):
    """Checks whole configurations. Core thread only."""

    def check(self, tree: Tree) -> Sequence[Violation]:
        """All violations that were found (at least one if there are any); empty when the tree is valid."""
        ...


def _violation(tag: str, message: str, path: Path, app_tag: str | None = None, **info: str) -> Violation:
    pairs = tuple((name.replace("_", "-"), value) for name, value in info.items())
    return Violation(Error("application", tag, message, path, app_tag, pairs))


def _not_unique(message: str, entry: Path, app_tag: str, leaves: Sequence[str]) -> Violation:
    """`leaves` are the descendant paths of a unique statement; each is named as an instance (RFC 7950 section 15.1)."""
    found = []
    for leaf in leaves:
        path, module = entry, entry[-1].module if entry else ""
        for name in leaf.split("/"):
            path = (*path, Step(module, name.rpartition(":")[2]))
        found.append(("non-unique", path))
    return Violation(Error("application", "operation-failed", message, entry, app_tag, tuple(found)))


def _missing_choice(choice: str, path: Path) -> Violation:
    message = f"one case of choice {choice} must be there"
    return _violation("data-missing", message, path, "mandatory-choice", missing_choice=choice)


def _unmet_when(name: str, condition: str, path: Path) -> Violation:
    message = f"{name} may exist only when {condition}" if condition else f"{name} may not exist as things stand"
    error = Error("application", "unknown-element", message, path, info=(("bad-element", name),))
    return Violation(error, unmet_when=True)


def _without_keys(path: Path) -> Path:
    """The path to a list itself rather than to an entry (RFC 7950 sections 15.2 and 15.3)."""
    return (*path[:-1], Step(path[-1].module, path[-1].name)) if path else path


class UnfitModuleError(ValueError):
    """A module that cannot be validated with; the message says why."""


class LibyangValidator:
    """libyang by its `oopt-gnpy-libyang` wheel. Raises ImportError on construction where that is not installed."""

    def __init__(self, schema: Schema) -> None:
        import oopt_gnpy_libyang as libyang

        self._libyang = libyang
        self._schema = schema
        libyang.set_log_options(libyang.LogOptions.Store)  # otherwise only the last error is kept
        folders = dict.fromkeys(str(module.file.parent.resolve()) for module in schema.modules.values())
        options = libyang.ContextOptions.NoYangLibrary | libyang.ContextOptions.DisableSearchCwd
        self._context = libyang.Context(":".join(folders), options)
        for module in schema.modules.values():
            if module.implemented:
                self._load(module.name, module.revision, list(module.features))

    def _load(self, name: str, revision: str, features: list[str]) -> None:
        try:
            self._context.load_module(name, revision or None, features)
        except self._libyang.Error as error:
            told = "; ".join(one.message for one in self._context.errors()) or str(error)
            raise UnfitModuleError(f"libyang cannot load module {name}@{revision}: {told}") from error

    def check(self, tree: Tree) -> Sequence[Violation]:
        libyang = self._libyang
        self._context.clean_all_errors()
        try:
            self._context.parse_data(
                json.dumps(tree, ensure_ascii=False),
                libyang.DataFormat.JSON,
                libyang.ParseOptions.Strict | libyang.ParseOptions.NoState,
                libyang.ValidationOptions.NoState | libyang.ValidationOptions.MultiError,
            )
        except libyang.Error as error:
            told = [self._mapped(one, tree) for one in self._context.errors() if one.level == libyang.LogLevel.Error]
            return list(dict.fromkeys(told)) or [_violation("operation-failed", f"not valid: {error}", ())]
        finally:
            self._context.clean_all_errors()
        return []

    def _mapped(self, told: Any, tree: Tree) -> Violation:
        path = parse_data_path(told.data_path or "")
        message: str = told.message
        match told.app_tag:
            case "must-violation" as tag:
                return _violation("operation-failed", message, path, tag)
            case "too-many-elements" | "too-few-elements" as tag:
                return _violation("operation-failed", message, _without_keys(path), tag)
            case "data-not-unique" as tag:
                found = re.search(r'leaf\(s\) "([^"]*)"', message)
                return _not_unique(message, path, tag, found[1].split() if found else ())
            case "instance-required" as tag:
                return _violation("data-missing", message, path, tag)
        for pattern, make in _LIBYANG_MESSAGES:
            found = pattern.search(message)
            if found is not None:
                return make(found, path)
        if told.app_tag is not None and _fits_type(tree, path, self._schema):
            return _violation("operation-failed", message, path, told.app_tag)  # a must with a tag of its own
        return _violation("invalid-value", message, path, told.app_tag)


def _fits_type(tree: Tree, path: Path, schema: Schema) -> bool:
    nodes = resolve(path, schema)
    if not nodes or nodes[-1].type is None:
        return True
    try:
        nodes[-1].type.from_json(lookup(tree, path, schema))
    except InvalidValue:
        return False
    return True


Maker = Callable[[re.Match[str], Path], Violation]

# libyang tells these apart only by its English text (version pinned in pyproject.toml; each has a test)
_LIBYANG_MESSAGES: tuple[tuple[re.Pattern[str], Maker], ...] = (
    (
        re.compile(r'Mandatory choice "([^"]+)" data do not exist'),
        lambda found, path: _missing_choice(found[1], path),
    ),
    (
        re.compile(r'Mandatory node "([^"]+)" instance does not exist'),
        lambda found, path: _violation(
            "data-missing", f"{found[1]} is mandatory and missing", _below(path, found[1]), bad_element=found[1]
        ),
    ),
    (
        re.compile(r'missing its key "([^"]+)"'),
        lambda found, path: _violation(
            "missing-element", f"the entry lacks its key {found[1]}", path, bad_element=found[1]
        ),
    ),
    (
        re.compile(r'Duplicate instance of "([^"]+)"'),
        lambda found, path: _violation("data-exists", f"{found[1]}: the same entry stands twice", path),
    ),
    (
        re.compile(r'When condition "(.*)" not satisfied', re.DOTALL),
        lambda found, path: _unmet_when(path[-1].name if path else "node", found[1], path),
    ),
    (
        re.compile(r'Data for both cases "([^"]+)" and "([^"]+)" exist'),
        lambda found, path: _violation(
            "bad-element", f"cases {found[1]} and {found[2]} exclude each other: keep one", path, bad_element=found[2]
        ),
    ),
    (
        re.compile(r'Node "([^"]+)" not found as a child|No module named "([^"]+)" in the context'),
        lambda found, path: _violation("unknown-element", found[0], path, bad_element=found[1] or found[2]),
    ),
    (
        re.compile(r'Unexpected data state node "([^"]+)" found'),
        lambda found, path: _violation(
            "unknown-element", f"{found[1]} is state and cannot be configured", path, bad_element=found[1]
        ),
    ),
)


def _below(path: Path, name: str) -> Path:
    return (*path, Step(path[-1].module, name)) if path else path


_STEP = re.compile(r"/(?:([\w.-]+):)?([\w.-]+)")
_TEST = re.compile(r"\[(?:([\w.:-]+)='([^']*)'|([\w.:-]+)=\"([^\"]*)\"|[0-9]+)\]")


def parse_data_path(text: str) -> Path:
    """The path that libyang writes ("/mod:a/b[k='v']") as steps; what cannot be read ends the path."""
    steps: list[Step] = []
    position = 0
    while (found := _STEP.match(text, position)) is not None:
        position = found.end()
        keys: list[tuple[str, str]] = []
        while (test := _TEST.match(text, position)) is not None:
            position = test.end()
            name = test[1] or test[3]
            if name is not None:
                keys.append((name.rpartition(":")[2], test[2] if test[1] else test[4]))
        steps.append(Step(found[1] or (steps[-1].module if steps else ""), found[2], tuple(keys)))
    return tuple(steps)


class YangsonValidator:
    """yangson, pure Python. It stops at the first violation."""

    def __init__(self, schema: Schema) -> None:
        from yangson import DataModel

        self._schema = schema
        modules = [
            {
                "name": module.name,
                "revision": module.revision,
                "namespace": module.namespace,
                "conformance-type": "implement" if module.implemented else "import",
                "feature": list(module.features),
                "submodule": [{"name": name, "revision": revision} for name, revision, _ in module.submodules],
                "deviation": [{"name": name, "revision": ""} for name in module.deviations],
            }
            for module in schema.modules.values()
        ]
        library = {"ietf-yang-library:modules-state": {"module-set-id": "validation", "module": modules}}
        folders = dict.fromkeys(str(module.file.parent.resolve()) for module in schema.modules.values())
        self._model = DataModel(json.dumps(library), tuple(folders))

    def check(self, tree: Tree) -> Sequence[Violation]:
        from yangson.enumerations import ContentType, ValidationScope
        from yangson.exceptions import RawDataError, RawMemberError, ValidationError, YangsonException

        try:
            self._model.from_raw(tree).validate(ValidationScope.all, ContentType.config)
        except RawMemberError as error:
            name = str(error.path).rpartition("/")[2].rpartition(":")[2]
            return [_violation("unknown-element", f"{name} is not in the models", (), bad_element=name)]
        except RawDataError as error:
            return [_violation("invalid-value", str(error), ())]
        except ValidationError as error:
            return [self._mapped(error, tree)]
        except YangsonException as error:
            return [_violation("operation-failed", f"not valid: {error}", ())]
        except TypeError:
            # yangson 1.7.9 fails in this way where a mandatory choice has no case
            log.debug("yangson failed on a configuration", exc_info=True)
            return [_violation("data-missing", "a mandatory choice has no case", (), "mandatory-choice")]
        return []

    def _mapped(self, told: Any, tree: Tree) -> Violation:
        path = self._path(told.instance.json_pointer(), tree)
        name, _, rest = str(told.tag).partition(":")
        name = name.rpartition(" ")[2]  # "config member-not-allowed"
        message = told.message or str(told.tag)
        named = re.search(r"[\w.-]+(?=')|[\w.:-]+$", message)
        subject = (named[0] if named else "").rpartition(":")[2]
        match name:
            case "must-violation":
                return _violation("operation-failed", message, path, name)
            case "too-many-elements" | "too-few-elements":
                return _violation("operation-failed", message, _without_keys(path), name)
            case "data-not-unique":
                return _violation("operation-failed", f"{name}{rest}", path, name)
            case "instance-required":
                return _violation("data-missing", "no such instance: create what the leaf refers to", path, name)
            case "missing-data":
                return _violation("data-missing", f"{subject} is mandatory and missing", _below(path, subject))
            case "list-key-missing":
                message = f"the entry lacks its key {subject}"
                return _violation("missing-element", message, path, bad_element=subject)
            case "non-unique-key" | "repeated-leaf-list-value":
                return _violation("data-exists", "the same entry stands twice", path)
            case "member-not-allowed":
                return self._not_allowed(message, path, tree)
            case _ if isinstance(told.instance.value, dict | list) or _fits_type(tree, path, self._schema):
                return _violation("operation-failed", message, path, name)
            case _:
                return _violation("invalid-value", message, path, name if name != "invalid-type" else None)

    def _not_allowed(self, member: str, path: Path, tree: Tree) -> Violation:
        """yangson has one tag for a false when, a second case and state: the schema tells which it is."""
        nodes = resolve(path, self._schema)
        parent = nodes[-1] if nodes else self._schema.root
        node = parent.by_member(member)
        if node is None or not node.config:
            return _violation("unknown-element", f"{member} cannot be configured", path, bad_element=member)
        here = (*path, Step(node.module, node.name))
        siblings = lookup(tree, path, self._schema) if path else tree
        if any(in_other_case(node, other) for other in parent.children if other.member in (siblings or {})):
            return _violation("bad-element", f"{node.name} excludes a sibling: keep one", path, bad_element=node.name)
        return _unmet_when(node.name, " and ".join((*node.when, *node.outer_when)), here)

    def _path(self, pointer: str, tree: Tree) -> Path:
        """A JSON pointer of yangson as a path with keys."""
        node = self._schema.root
        value: Any = tree
        steps: list[Step] = []
        for part in pointer.split("/")[1:]:
            if part.isdigit() and isinstance(value, list):
                value = value[int(part)]
                if isinstance(value, dict):
                    steps[-1] = entry_step(node, value)
                continue
            child = node.by_member(part)
            if child is None or not isinstance(value, dict):
                break
            steps.append(Step(child.module, child.name))
            node, value = child, value.get(child.member)
        return tuple(steps)


def best_validator(schema: Schema) -> Validator:
    """libyang where it is installed, else yangson."""
    try:
        return LibyangValidator(schema)
    except ImportError:
        log.warning("libyang is not installed for this platform: yangson validates, slower on large configurations")
        return YangsonValidator(schema)
