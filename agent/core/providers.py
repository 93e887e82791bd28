"""What the core asks of whoever implements data, settings and operations: and nothing else.

Configuration: prepare, then apply or abort. State: read, and delivered. Operations: invoke.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol, runtime_checkable

from agent.core.aside import Steps
from agent.core.replay import Entry, Limits
from agent.core.requests import EditNode
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.errors import Path


class UnitOfWork(Protocol):
    """One store transaction; what is put in becomes durable at `commit` and never at all after `rollback`."""

    def put_config(self, document: bytes) -> None:
        """Keep the whole running configuration as opaque bytes."""
        ...

    def put_document(self, name: str, document: bytes | None) -> None:
        """Keep another configuration document under this name, as opaque bytes; None drops it."""
        ...

    def put_events(self, entries: Sequence[Entry], limits: Limits) -> None:
        """Keep events in their log (agent.core.replay)."""
        ...

    def commit(self) -> None:
        """Make it durable (synchronous); raises if it could not be."""
        ...

    def rollback(self) -> None: ...


class Prepared(Protocol):
    """A configuration change that its provider has accepted."""

    def apply(self) -> None:
        """Make it visible. Called after the unit of work is durable; must not fail."""
        ...

    def abort(self) -> None:
        """Forget it: the unit of work was rolled back."""
        ...


class ConfigProvider(Protocol):
    """Owns the meaning of one configuration subtree."""

    def prepare(self, old: Tree, new: Tree, unit: UnitOfWork) -> Prepared:
        """Check whole running trees, put what must be durable into `unit`. Raises RequestError to refuse."""
        ...


@runtime_checkable
class Returning(Protocol):
    """A provider that may find something gone that an earlier configuration had, such as an address to listen on."""

    def prepare_return(self, old: Tree, new: Tree, unit: UnitOfWork) -> Prepared:
        """As `ConfigProvider.prepare`, where a confirmed commit is taken back: that must not fail for what is gone."""
        ...


@runtime_checkable
class Following(Protocol):
    """A provider that can prepare a change on top of another one that it has prepared in the same unit of work."""

    def follows(self, old: Tree, new: Tree) -> bool:
        """Whether this change is of that kind: nothing that comes later in the unit goes by what it will set."""
        ...


class Documents(Protocol):
    """Whole configurations in files that a URL names. Core thread; each call raises RequestError."""

    def read(self, url: str) -> tuple[EditNode, ...]:
        """The configuration in the file."""
        ...

    def write(self, url: str, tree: Tree) -> None:
        """Put it in the file, durable on return; one of that name is replaced."""
        ...

    def delete(self, url: str) -> None:
        """Remove the file."""
        ...


class StateProvider(Protocol):
    """Serves one config-false subtree from an immutable snapshot, on the caller's thread, without a lock."""

    def read(self) -> Any:
        """The subtree's current value: a Tree, a list, `Kept` or `Rows`; None when it is absent now."""
        ...

    def delivered(self, marks: Sequence[Hashable], session: Session) -> None:
        """Rows whose marked leaf has reached a reader with the collector right. Core thread; durable on return."""
        ...


class Operation(Protocol):
    """Implements one RPC. Core thread; what takes long is a part of the steps that it then returns (core/aside.py)."""

    def __call__(self, input: Tree, session: Session, /) -> Tree | Steps | None:  # noqa: A002 - YANG's word
        """`input` is schema-checked, with defaults filled in. Returns the output tree, or None for <ok/>/204."""
        ...


class Action(Protocol):
    """Implements one action of YANG 1.1. As `Operation`, for the instance at `path`."""

    def __call__(self, input: Tree, path: Path, session: Session, /) -> Tree | Steps | None:  # noqa: A002 - YANG's word
        """The instance was there, and the user may reach it, when this was called."""
        ...
