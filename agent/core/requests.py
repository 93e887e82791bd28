"""The closed vocabulary: all that a front end may ask of the core (design: The closed vocabulary).

Frozen dataclasses, already resolved against the schema; no protocol's syntax is left in them. A new word here is a
decision to write down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from agent.core.defaults import WithDefaults
from agent.core.origins import Origins
from agent.core.schema import Node
from agent.core.select import Selection
from agent.core.tree import Tree
from agent.core.xpath_filter import XPathFilter
from agent.errors import Path


class Content(Enum):
    """Which half of the data is wanted (RFC 8040 section 4.8.1)."""

    ALL = "all"
    CONFIG = "config"
    NONCONFIG = "nonconfig"


class Datastore(Enum):
    """Datastores that can be named as a target or source (RFC 8342, RFC 8808)."""

    RUNNING = "running"
    CANDIDATE = "candidate"
    STARTUP = "startup"
    INTENDED = "intended"
    OPERATIONAL = "operational"
    FACTORY_DEFAULT = "factory-default"


EditOperation = Literal["merge", "replace", "create", "delete", "remove", "none"]


@dataclass(frozen=True, slots=True)
class EditNode:
    """One node of an edit, annotated (RFC 6241 section 7.2).

    `operation` is None where it is inherited. Leaves and leaf-list entries carry `value` (RFC 7951 form; None for a
    leaf that is only deleted); containers and list entries carry `children`; list entries name their `keys` as
    canonical values in schema order.
    """

    node: Node
    operation: EditOperation | None = None
    value: Any = None
    keys: tuple[str, ...] = ()
    children: tuple[EditNode, ...] = ()


@dataclass(frozen=True, slots=True)
class Get:
    """Read data. `selection` None means everything; an empty selection means nothing.

    `datastore` None is running and, unless `content` says otherwise, all state (get of RFC 6241). `xpath` is applied
    to what `selection` gives. `depth` is how many levels of each selected node are wanted (RFC 8526 section 3.1.1).
    `defaults` None is explicit, in the operational datastore report-all. `origins` and `with_origin` count there only.
    `rpc` (module and name) is what access control knows the request as.
    """

    selection: Selection | None = None
    content: Content = Content.ALL
    datastore: Datastore | None = None
    xpath: XPathFilter | None = None
    depth: int | None = None
    defaults: WithDefaults | None = None
    origins: Origins | None = None
    with_origin: bool = False
    rpc: tuple[str, str] = ("ietf-netconf", "get")


@dataclass(frozen=True, slots=True)
class Edit:
    """Change a datastore: all of it or nothing (rollback-on-error is the only error option, see docs/decisions)."""

    edits: tuple[EditNode, ...]
    target: Datastore = Datastore.RUNNING
    default_operation: Literal["merge", "replace", "none"] = "merge"


@dataclass(frozen=True, slots=True)
class Lock:
    """Take the exclusive right to change `target` (RFC 6241 section 7.5)."""

    target: Datastore = Datastore.RUNNING


@dataclass(frozen=True, slots=True)
class Unlock:
    """Give that right back (RFC 6241 section 7.6)."""

    target: Datastore = Datastore.RUNNING


@dataclass(frozen=True, slots=True)
class Invoke:
    """Call an RPC (`node` is its schema node; `path` is for actions' instances). `input` is a tree of its input."""

    node: Node
    input: Tree
    path: Path = ()


@dataclass(frozen=True, slots=True)
class EndSession:
    """End another session (kill-session, RFC 6241 section 7.9)."""

    session_id: int


Request = Get | Edit | Lock | Unlock | Invoke | EndSession
