"""A complete Dispatch over the toy modules, with providers in memory: what front ends and the core are tested with.

`Toy.open()` gives it started; use it as a context manager. Nothing here knows licensing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from agent.clock import Clock, SystemClock
from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.core.access import Access
from agent.core.compile import compile_modules
from agent.core.dispatch import Dispatch, Providers
from agent.core.hub import Event
from agent.core.providers import Documents, Prepared, UnitOfWork
from agent.core.replay import Bounds, Entry, EventLog, Limits
from agent.core.schema import Schema
from agent.core.sessions import Session, User
from agent.core.tree import Kept, Row, Tree
from agent.core.validate import Validator, best_validator
from agent.errors import refuse
from agent.netconf.subscriptions import content
from tests.toy.acts import FARM, Acts

FOLDER = Path(__file__).parent
STANDARD = FOLDER.parents[1] / "yang" / "standard"
PAGE = 100

ADMIN = User("ada", frozenset({"admin"}))
COLLECTOR = User("cole", frozenset({"collector"}))
READER = User("rita", frozenset({"reader"}))
NOBODY = User("nemo", frozenset())


def permit(name: str, *groups: str, **leaves: str) -> Tree:
    """A rule-list with one rule that permits."""
    rule = {"name": name, "action": "permit"} | {leaf.replace("_", "-"): value for leaf, value in leaves.items()}
    return {"name": name, "group": list(groups), "rule": [rule]}


RULES: Tree = {
    "read-default": "deny",
    "exec-default": "deny",
    "groups": {"group": [{"name": "collector", "user-name": ["ada"]}]},
    "rule-list": [
        permit("admin", "admin"),
        permit("greet", "collector", rpc_name="greet", module_name="toy", access_operations="exec"),
        permit("get", "collector", "reader", rpc_name="get", access_operations="exec"),
        permit("get-config", "collector", "reader", rpc_name="get-config", access_operations="exec"),
        permit("get-schema", "collector", "reader", rpc_name="get-schema", access_operations="exec"),
        permit("data", "collector", "reader", path="/", access_operations="read"),
    ],
}
"""admin may do everything, collector reads and calls greet, reader only reads; ada collects, too."""

PASSWORDS = {"ada": "ada-secret", "cole": "cole-secret", "rita": "rita-secret"}


class Users:
    """An Authenticator with fixed users; public keys are set by the test (`keys[user]` holds lines)."""

    def __init__(self) -> None:
        self.keys: dict[str, list[str]] = {}

    def password(self, user: str, password: str) -> User | None:
        return self.user(user) if PASSWORDS.get(user) == password else None

    def public_keys(self, user: str) -> Sequence[str]:
        return self.keys.get(user, [])

    def user(self, name: str) -> User | None:
        return next((user for user in (ADMIN, COLLECTOR, READER) if user.name == name), None)


FEATURES = (
    "writable-running",
    "candidate",
    "confirmed-commit",
    "rollback-on-error",
    "startup",
    "url",
    "validate",
    "xpath",
)


def toy_schema(*, netconf: bool = False, acts: bool = False) -> Schema:
    """toy and toy-more; with `netconf` also toy-defaults and the modules that NETCONF and its reads are made of.

    With `acts` also toy-acts.

    Compiled once a process: nodes are compared by identity.
    """
    return _schema(netconf, acts)


@lru_cache
def _schema(netconf: bool, acts: bool) -> Schema:
    modules = ["toy", "toy-more", *(["toy-acts"] if acts else [])]
    features: dict[str, list[str]] = {}
    if netconf:
        modules += ["ietf-netconf", "ietf-netconf-monitoring", "ietf-netconf-with-defaults", "ietf-netconf-nmda"]
        modules += [
            "ietf-datastores",
            "ietf-origin",
            "ietf-netconf-partial-lock",
            "ietf-factory-default",
            "toy-defaults",
            "notifications",
            "nc-notifications",
            "ietf-netconf-notifications",
        ]
        features["ietf-factory-default"] = ["factory-default-datastore"]
        features["ietf-netconf"] = list(FEATURES)
        features["ietf-netconf-nmda"] = ["origin", "with-defaults"]
    return Schema.load(compile_modules([FOLDER, STANDARD], modules, features))


@lru_cache
def _validator(netconf: bool, acts: bool) -> Validator:
    return best_validator(toy_schema(netconf=netconf, acts=acts))


@dataclass
class Unit:
    """A unit of work in memory."""

    store: Store
    document: bytes | None = None
    documents: dict[str, bytes | None] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)

    def put_config(self, document: bytes) -> None:
        self.document = document

    def put_document(self, name: str, document: bytes | None) -> None:
        self.documents[name] = document

    def put_events(self, entries: Sequence[Entry], limits: Limits) -> None:
        self.entries.extend(entries)
        self.limits = limits

    def commit(self) -> None:
        if self.store.broken:
            raise OSError("no space left on device")
        if self.entries:
            self.store.log.add(self.entries, self.limits)
        if self.document is not None:
            self.store.config = self.document
        kept = {**self.store.documents, **self.documents}
        self.store.documents = {name: document for name, document in kept.items() if document is not None}
        self.store.commits += 1

    def rollback(self) -> None:
        self.store.rollbacks += 1


@dataclass
class Log:
    """agent.core.replay.Kept in memory; only the number of entries is bounded."""

    entries: list[Entry] = field(default_factory=list)
    created: float | None = None
    aged: float | None = None

    def add(self, entries: Sequence[Entry], limits: Limits) -> None:
        if entries and self.created is None:
            self.created = entries[0].time
        self.entries = [*self.entries, *entries]
        while len(self.entries) > limits.entries:
            self.aged = self.entries.pop(0).time

    def after(self, number: int, limit: int) -> Sequence[Entry]:
        return [entry for entry in self.entries if entry.number > number][:limit]

    def since(self, time: float) -> int | None:
        return next((entry.number for entry in self.entries if entry.time >= time), None)

    def bounds(self) -> Bounds | None:
        return None if self.created is None else Bounds(self.created, self.aged, self.entries[-1].number)


@dataclass
class Store:
    """Keeps the configuration; `broken` makes the next commits fail as a full disk does."""

    config: bytes | None = None
    documents: dict[str, bytes] = field(default_factory=dict)
    broken: bool = False
    commits: int = 0
    rollbacks: int = 0
    log: Log = field(default_factory=Log)

    def begin(self) -> UnitOfWork:
        return Unit(self)


@dataclass
class Settings:
    """The configuration provider of /toy:box: takes all but the name "forbidden", and notes what it was told."""

    told: list[str] = field(default_factory=list)

    def prepare(self, old: Tree, new: Tree, unit: UnitOfWork) -> Prepared:
        if new.get("toy:box", {}).get("name") == "forbidden":
            raise refuse("operation-failed", "this name is forbidden", app_tag="toy-forbidden")
        self.told.append("prepare")
        return self

    def apply(self) -> None:
        self.told.append("apply")

    def abort(self) -> None:
        self.told.append("abort")


class Value:
    """A state provider with a value that the test sets."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.reads = 0
        self.marks: list[Hashable] = []

    def read(self) -> Any:
        self.reads += 1
        return self.value

    def delivered(self, marks: Sequence[Hashable], session: Session) -> None:
        self.marks.extend(marks)


class Reports:
    """/toy:status/report as `Rows`: encoded once, found by key, walked in pages; `document` is marked."""

    marked = "document"

    def __init__(self, schema: Schema) -> None:
        node = schema.find("/toy:status/report")
        assert node is not None
        self._node = node
        self._rows: dict[str, Row] = {}
        self.finds = 0
        self.pages_read = 0

    def add(self, name: str, document: str = "body", **rest: Any) -> None:
        entry: Tree = {"id": name, "length": len(document), "document": document, **rest}
        self._rows[name] = Row(
            (name,),
            xml_codec.encode_entry(entry, self._node),
            json_codec.encode_entry(entry, self._node),
            ("row", name),
        )

    def find(self, keys: tuple[str, ...]) -> Row | None:
        self.finds += 1
        return self._rows.get(keys[0])

    def pages(self) -> Iterator[Sequence[Row]]:
        rows = tuple(self._rows.values())
        for start in range(0, len(rows), PAGE):
            self.pages_read += 1
            yield rows[start : start + PAGE]

    def __len__(self) -> int:
        return len(self._rows)


@dataclass
class Toy:
    """The parts, for tests to look at and change."""

    schema: Schema
    dispatch: Dispatch
    store: Store
    settings: Settings
    status: Value
    reports: Reports
    report_list: Value
    parts: Value
    usage: Value
    calls: list[tuple[str, Tree]]
    events: list[Event]
    found: Value
    event_log: EventLog
    acts: Acts

    @classmethod
    def open(
        cls,
        *,
        netconf: bool = False,
        stored: bytes | None = None,
        clock: Clock | None = None,
        operations: dict[str, Any] | None = None,
        front_end: frozenset[str] = frozenset(),
        state: dict[str, Any] | None = None,
        store: Store | None = None,
        files: Documents | None = None,
        factory: Tree | None = None,
        startup: bool | None = None,
        quiet: bool = False,
        replay: bool = False,
        acts: bool = False,
    ) -> Toy:
        """Built and started, on `store` (else on a new one that holds `stored`).

        `operations`, `front_end` and `state` are added to the toy's own; `startup` is offered with `netconf`.
        With `quiet` nobody listens to the hub: `events` stays empty. With `replay` events are kept in the store's log.
        `acts` adds the module with actions.
        """
        schema = toy_schema(netconf=netconf, acts=acts)
        calls: list[tuple[str, Tree]] = []
        reports = Reports(schema)
        values = {
            "/toy:status": Value(Kept({"uptime": "12345678901", "seen": ["a", "b"]})),
            "/toy:status/report": Value(reports),
            "/toy:status/toy-more:part": Value(),
            "/toy:store/usage": Value({"used": 7}),
        }
        found = Value()
        actions = Acts()
        settings = Settings()
        store = store or Store(config=stored)
        providers = Providers(
            config=dict.fromkeys([*_CONFIG, *((FARM,) if acts else ()), *(_MORE_CONFIG if netconf else ())], settings),
            state={
                **values,
                **({f"{FARM}/seen": actions.birds} if acts else {}),
                **({"/toy-defaults:found": found} if netconf else {}),
                **(state or {}),
            },
            operations={**_operations(calls), **(_picking(calls) if acts else {}), **(operations or {})},
            actions=actions.table() if acts else {},
            notifications=frozenset({"/toy:greeted"}),
            front_end=front_end | (_NETCONF_RPCS if netconf else frozenset()),
            absent=frozenset({"/toy:absent"})
            | ({"/ietf-netconf-notifications:netconf-capability-change"} if netconf else frozenset())
            | (frozenset({f"{FARM}/unheard"}) if acts else frozenset())
            | ({"/ietf-netconf-monitoring:netconf-state"} if netconf and not state else frozenset()),
        )
        clock = clock or SystemClock()
        event_log = EventLog(store.log, store.begin, lambda event: content(event, schema), clock.now())
        dispatch = Dispatch(
            schema,
            clock=clock,
            access=Access(schema, RULES),
            providers=providers,
            validator=_validator(netconf, acts),
            begin=store.begin,
            stored=store.config,
            documents=store.documents,
            files=files,
            factory=factory,
            startup=netconf if startup is None else startup,
            event_log=event_log if replay else None,
        )
        events: list[Event] = []
        if not quiet:
            dispatch.hub.subscribe(events.append)
        dispatch.start()
        status, report_list, parts, usage = values.values()
        made = (status, reports, report_list, parts, usage, calls, events, found, event_log, actions)
        return cls(schema, dispatch, store, settings, *made)

    def session(self, user: User = ADMIN, transport: str = "local") -> Session:
        """An open session; the reasons it is ended for are appended to `ended`."""
        return self.dispatch.sessions.open(user, transport, "127.0.0.1", end=self.ended.append)

    @property
    def ended(self) -> list[str]:
        """Why sessions of this toy were ended."""
        return self._ended

    def __post_init__(self) -> None:
        self._ended: list[str] = []

    def __enter__(self) -> Toy:
        return self

    def __exit__(self, *_: object) -> None:
        self.dispatch.stop()


_CONFIG = ("/toy:box", "/toy:need", "/toy:store")
_MORE_CONFIG = ("/toy-defaults:lab", "/toy-defaults:interfaces")
_NETCONF_RPCS = frozenset(
    f"/ietf-netconf:{name}"
    for name in (
        "get",
        "get-config",
        "edit-config",
        "copy-config",
        "delete-config",
        "lock",
        "unlock",
        "close-session",
        "kill-session",
        "commit",
        "discard-changes",
        "cancel-commit",
        "validate",
    )
) | {
    "/ietf-netconf-monitoring:get-schema",
    "/ietf-netconf-nmda:edit-data",
    "/ietf-netconf-nmda:get-data",
    "/ietf-netconf-partial-lock:partial-lock",
    "/ietf-netconf-partial-lock:partial-unlock",
    "/notifications:create-subscription",
}


def _picking(calls: list[tuple[str, Tree]]) -> dict[str, Any]:
    return {"/toy-acts:pick": lambda given, _: calls.append(("pick", given))}


def _operations(calls: list[tuple[str, Tree]]) -> dict[str, Any]:
    def greet(input: Tree, session: Session) -> Tree | None:  # noqa: A002 - YANG's word
        calls.append(("greet", input))
        words = ["hello"] * input["times"] + [input["who"]]
        return {"greeting": " ".join(words), "word": words}

    def reset(input: Tree, session: Session) -> Tree | None:  # noqa: A002
        calls.append(("reset", input))
        return None

    def fail(input: Tree, session: Session) -> Tree | None:  # noqa: A002
        raise RuntimeError("/secret/path/of/the/handler")

    def more(input: Tree, session: Session) -> Tree | None:  # noqa: A002
        calls.append(("more", input))
        return {"name": session.user.name}

    return {"/toy:greet": greet, "/toy:reset": reset, "/toy:fail": fail, "/toy-more:more": more}
