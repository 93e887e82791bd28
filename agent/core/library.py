"""The YANG library of a schema: what RFC 8525 says of modules and datastores, in its form and in that of RFC 7895.

One set of modules, one schema, all datastores. The content id is the same for the same library on every device.
"""

from __future__ import annotations

import hashlib
import json

from agent.core.schema import Module, Schema
from agent.core.tree import Tree

NAME = "ietf-yang-library"
_COMPLETE = "complete"
"""The name of the one set of modules and of the one schema."""
_DATASTORES = (
    ("running", ""),
    ("candidate", "candidate"),
    ("startup", "startup"),
    ("intended", ""),
    ("operational", ""),
)
"""Names in ietf-datastores, and the feature of ietf-netconf that each depends on."""


def serves(schema: Schema) -> bool:
    """Whether the library is a part of what is served."""
    module = schema.modules.get(NAME)
    return module is not None and module.implemented


def yang_library(schema: Schema) -> Tree:
    """The container yang-library of RFC 8525. Raises OSError where a module's text cannot be read."""
    return {**_library(schema), "content-id": content_id(schema)}


def content_id(schema: Schema) -> str:
    """Another one for every other library, also where only texts changed and no revision did. Raises OSError."""
    digest = hashlib.sha256(json.dumps(_library(schema), sort_keys=True).encode())
    for name in sorted(schema.modules):
        module = schema.modules[name]
        for file in (module.file, *(file for _, _, file in module.submodules)):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]


def modules_state(schema: Schema) -> Tree:
    """The container modules-state of RFC 7895, which RFC 8525 keeps for older clients. Raises OSError."""
    modules = [
        {
            "name": module.name,
            "revision": module.revision,
            "namespace": module.namespace,
            **_some("feature", list(module.features)),
            **_some(
                "deviation",
                [{"name": name, "revision": schema.modules[name].revision} for name in module.deviations],
            ),
            "conformance-type": "implement" if module.implemented else "import",
            **_some("submodule", [{"name": name, "revision": revision} for name, revision, _ in module.submodules]),
        }
        for module in schema.modules.values()
    ]
    return {"module-set-id": content_id(schema), "module": modules}


def _library(schema: Schema) -> Tree:
    """yang-library without its content-id."""
    implemented = [_entry(module) for module in schema.modules.values() if module.implemented]
    imported = [_entry(module) for module in schema.modules.values() if not module.implemented]
    return {
        "module-set": [{"name": _COMPLETE, "module": implemented, **_some("import-only-module", imported)}],
        "schema": [{"name": _COMPLETE, "module-set": [_COMPLETE]}],
        "datastore": [{"name": name, "schema": _COMPLETE} for name in _datastores(schema)],
    }


def _entry(module: Module) -> Tree:
    """A module that is implemented or, where it is not, only imported: its revision is a key then, empty if need be."""
    revision = {"revision": module.revision} if module.revision or not module.implemented else {}
    return {
        "name": module.name,
        **revision,
        "namespace": module.namespace,
        **_some(
            "submodule",
            [{"name": name, **({"revision": date} if date else {})} for name, date, _ in module.submodules],
        ),
        **(_some("feature", list(module.features)) if module.implemented else {}),
        **(_some("deviation", list(module.deviations)) if module.implemented else {}),
    }


def _datastores(schema: Schema) -> list[str]:
    """The identities of the datastores that there are (RFC 8342 section 5, RFC 8808 section 3)."""
    offered = {"", *_features(schema, "ietf-netconf")}
    found = [f"ietf-datastores:{name}" for name, feature in _DATASTORES if feature in offered]
    if "factory-default-datastore" in _features(schema, "ietf-factory-default"):
        found.append("ietf-factory-default:factory-default")
    return found


def _features(schema: Schema, name: str) -> tuple[str, ...]:
    module = schema.modules.get(name)
    return module.features if module is not None and module.implemented else ()


def _some(member: str, values: list[object] | list[Tree] | list[str]) -> Tree:
    """The member, where it has values: a list without entries is not written."""
    return {member: values} if values else {}
