"""The closed vocabulary: all that a front end may ask of the core (design: The closed vocabulary).

Frozen dataclasses, already resolved against the schema; no protocol's syntax is left in them. A new word here is a
decision to write down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from agent.core.defaults import WithDefaults
from agent.core.event_filter import EventFilter
from agent.core.origins import Origins
from agent.core.schema import Node
from agent.core.select import Selection
from agent.core.tree import Tree
from agent.core.xpath_filter import XPathFilter
from agent.core.xpath_nodes import NodeChoice
from agent.errors import Path


class Content(Enum):
    """Which half of the data is wanted (RFC 8040 section 4.8.1)."""

    ALL = "all"
    CONFIG = "config"
    NONCONFIG = "nonconfig"


class Datastore(Enum):
    """The datastores by their names (RFC 8342 section 5, RFC 6241 section 8.7, RFC 8808 section 3)."""

    RUNNING = "running"
    CANDIDATE = "candidate"
    STARTUP = "startup"
    INTENDED = "intended"
    OPERATIONAL = "operational"
    FACTORY_DEFAULT = "factory-default"


EditOperation = Literal["merge", "replace", "create", "delete", "remove", "none"]


@dataclass(frozen=True, slots=True)
class Insert:
    """Where an entry of a user-ordered list or leaf-list goes (RFC 7950 sections 7.7.9 and 7.8.6).

    `anchor` is the other entry for before and after: canonical key values in schema order, or a leaf-list's one value.
    """

    where: Literal["first", "last", "before", "after"]
    anchor: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EditNode:
    """One node of an edit, annotated (RFC 6241 section 7.2).

    `operation` is None where it is inherited, `insert` where an entry stays in its place (a new one goes last).
    Leaves and leaf-list entries carry `value` (RFC 7951 form; None for a leaf that is only deleted); containers and
    list entries carry `children`; list entries name their `keys` as canonical values in schema order.
    """

    node: Node
    operation: EditOperation | None = None
    value: Any = None
    keys: tuple[str, ...] = ()
    children: tuple[EditNode, ...] = ()
    insert: Insert | None = None


@dataclass(frozen=True, slots=True)
class Inline:
    """A whole configuration that came with the request."""

    edits: tuple[EditNode, ...]


@dataclass(frozen=True, slots=True)
class Url:
    """A whole configuration in a file of the configured folders (RFC 6241 section 8.8)."""

    url: str


Source = Datastore | Inline | Url
Rpc = tuple[str, str]
"""Module and name of the RPC that a request came by: what access control knows it as."""


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
    """Change a datastore: all of it or nothing (rollback-on-error is the only error option, see docs/decisions).

    `test` None leaves it to the datastore: running is always valid, candidate is not checked before it is committed.
    """

    edits: tuple[EditNode, ...] | Url
    target: Datastore = Datastore.RUNNING
    default_operation: Literal["merge", "replace", "none"] = "merge"
    test: Literal["test-then-set", "set", "test-only"] | None = None
    rpc: Rpc = ("ietf-netconf", "edit-config")


@dataclass(frozen=True, slots=True)
class Validate:
    """Check a whole configuration, change nothing (RFC 6241 section 8.6.4.1)."""

    source: Source


@dataclass(frozen=True, slots=True)
class Commit:
    """Make candidate the running configuration; for good, or on trial (RFC 6241 sections 8.3.4.1 and 8.4).

    A trial (`confirmed`) ends by itself after `timeout` real seconds. `persist` names one that outlives its session;
    `persist_id` is the name of the one that this commit goes on with or confirms.
    """

    confirmed: bool = False
    timeout: int = 600
    persist: str | None = None
    persist_id: str | None = None


@dataclass(frozen=True, slots=True)
class Discard:
    """Drop the changes of candidate, or (`trial`) go back to what was before the trial (cancel-commit)."""

    trial: bool = False
    persist_id: str | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """Replace a whole configuration by another (RFC 6241 section 7.3), as `defaults` shows it (None: explicit)."""

    source: Source
    target: Datastore | Url
    defaults: WithDefaults | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a whole configuration (RFC 6241 section 7.4)."""

    target: Datastore | Url


@dataclass(frozen=True, slots=True)
class Lock:
    """Take the exclusive right to change `target` (RFC 6241 section 7.5), or of running only what `parts` select
    (RFC 5717). The answer to a partial lock is a tree of lock-id and locked-node.
    """

    target: Datastore = Datastore.RUNNING
    parts: tuple[NodeChoice, ...] = ()


@dataclass(frozen=True, slots=True)
class Unlock:
    """Give that right back (RFC 6241 section 7.6); `lock_id` names a partial lock."""

    target: Datastore = Datastore.RUNNING
    lock_id: int | None = None


@dataclass(frozen=True, slots=True)
class Invoke:
    """Call an RPC, or an action on the instance at `path`, which names all keys. `node` is the schema node of either.

    `input` is a tree of its input.
    """

    node: Node
    input: Tree
    path: Path = ()


@dataclass(frozen=True, slots=True)
class EndSession:
    """End another session (kill-session, RFC 6241 section 7.9)."""

    session_id: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Follow an event stream (create-subscription, RFC 5277 section 2.1.1).

    `start` asks for a replay of the events since then, `stop` ends the subscription; both in epoch seconds.
    """

    stream: str = "NETCONF"
    filter: EventFilter | None = None
    start: float | None = None
    stop: float | None = None


Change = Edit | Commit | Discard | Copy | Delete
"""What may alter a configuration."""

Request = Get | Change | Validate | Lock | Unlock | Invoke | Subscribe | EndSession
