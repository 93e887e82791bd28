"""A whole agent without listeners for the seam's tests: real models, kernel, store and signatures; a clock set by hand.

`Rig.make` joins it by `agent.app.build` over a store in memory or a real file, `restart` does so again over what was
kept. Documents are signed by the kernel tests' authority.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
import json
from pathlib import Path
from typing import Any, cast

from lxml import etree

from agent import app
from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.core.data import Data
from agent.core.hub import Event
from agent.core.requests import Content, Edit, EditNode, Get, Invoke
from agent.core.schema import Node, Schema
from agent.core.select import Pick, Selection
from agent.core.sessions import Session, User
from agent.core.tree import Tree
from agent.errors import Error, RequestError
from agent.formats.documents import Document, PolicyClass, PolicyTerms
from agent.formats.rum import read_payload
from agent.formats.signing import LocalSigner
from agent.licensing.commands import InstallAnchors
from agent.licensing.evolve import evolve
from agent.licensing.ports import Loaded, Store
from agent.licensing.profile import Profile, parse_profile
from agent.licensing.state import State
from agent.northbound.bound import Bindings
from agent.store.memory import MemoryStore
from agent.store.sqlite import SqliteStore
from tests.licensing.kit import T0, Authority, key

JOURNAL_KEY = bytes(range(32))
LICENSING = "cisco-smart-license:licensing"
STATE_INFO = "/cisco-smart-license:licensing/state/state-info"
SECONDS = 20
"""How long a test waits for the core thread before it fails."""

ADMIN = User("ada", frozenset({"admin"}))
COLLECTOR = User("cole", frozenset({"collector"}))
READER = User("rita", frozenset({"reader"}))
RECORDER = User("rob", frozenset({"recorder"}))
NOBODY = User("nemo", frozenset())

PROFILE = """
[product]
pid = "RIG-1"
vid = "V02"
hostname = "rig"
software-tag = "regid.2026-11.test.RIG,1.0_aa"
software-version = "3.2.1"

[[license]]
name = "advantage"
feature-name = "Network Advantage"
description = "Everything & <more>"
entitlement-tag = "regid.2026-11.test.ADV,1.0_01"

[[license]]
name = "sessions"
feature-name = "Sessions"
entitlement-tag = "regid.2026-11.test.SES,1.0_02"
term = "subscription"
subscription-id = "SUB-1"

[[license]]
name = "tier-2"
entitlement-tag = "regid.2026-11.test.TIER2,1.0_03"
enforcement = "enforced"

[[license]]
name = "hseck9"
entitlement-tag = "regid.2026-11.test.HSECK9,1.0_04"
enforcement = "export"
term = "term"

[[purchase]]
entitlement-tag = "regid.2026-11.test.SES,1.0_02"
count = 25
start = 2023-11-01T00:00:00Z
end = 2026-11-01T00:00:00Z
"""
ADVANTAGE = "regid.2026-11.test.ADV,1.0_01"
SESSIONS = "regid.2026-11.test.SES,1.0_02"

TERMS = PolicyTerms(
    "Example policy",
    subscription=PolicyClass(30, 45, 60),
    perpetual=PolicyClass(None, 50, None),
    ack_required=True,
)


@cache
def profile() -> Profile:
    return parse_profile(PROFILE, "rig.toml").with_serial("9RIG")


@dataclass
class HandClock:
    """Stands still until the test moves it."""

    at: float = T0
    rate: float = 1.0

    def now(self) -> float:
        return self.at

    def wall_seconds(self, span: float) -> float:
        return span / self.rate


@dataclass
class Rig:
    """An agent that runs. `open_store` gives the store of the next life, the same one or one over the same file."""

    open_store: Callable[[], Store]
    profile: Profile = field(default_factory=profile)
    lab: bool = False
    authority: Authority = field(default_factory=Authority)
    clock: HandClock = field(default_factory=HandClock)
    signer: LocalSigner = field(default_factory=lambda: key("device"))
    told: list[Event] = field(default_factory=list)

    @classmethod
    def memory(cls, **changes: Any) -> Rig:
        store = MemoryStore()
        return cls(lambda: store, **changes).begin()

    @classmethod
    def sqlite(cls, path: Path, **changes: Any) -> Rig:
        if not path.exists():
            SqliteStore.create(path, JOURNAL_KEY)
        return cls(partial(SqliteStore, path, JOURNAL_KEY), **changes).begin()

    @classmethod
    def over(cls, store: Store, **changes: Any) -> Rig:
        return cls(lambda: store, **changes).begin()

    def begin(self) -> Rig:
        """A first or further life. The authority's root is installed as setting up a folder does, before any start."""
        self.store = self.open_store()
        self.agent = app.build(
            profile=self.profile, clock=self.clock, store=self.store, signer=self.signer, lab=self.lab
        )
        self.dispatch = self.agent.dispatch
        self.dispatch.hub.subscribe(self.told.append)
        if not self.state.anchors:
            self.agent.committer.run(InstallAnchors((self.authority.anchor,)))
        self.agent.start()
        return self

    def end(self, *, crash: bool = False) -> None:
        """Stop in good order, or leave what is durable as a process that was killed would."""
        if crash:
            self.dispatch.stop()
        else:
            self.agent.stop()
        self.store.close()

    def restart(self, after: float = 0, *, crash: bool = False) -> None:
        self.end(crash=crash)
        self.clock.at += after
        self.begin()

    # What the kernel and the store hold

    @property
    def now(self) -> int:
        return int(self.clock.at)

    @property
    def state(self) -> State:
        return self.agent.committer.state

    @property
    def schema(self) -> Schema:
        return self.dispatch.schema

    def kept(self) -> Loaded:
        return self.store.load()

    def replayed(self) -> State:
        """The state that a restart would load."""
        loaded = self.kept()
        return evolve(State() if loaded.snapshot is None else State.from_json(loaded.snapshot), loaded.events)

    # Asking

    def session(self, user: User = ADMIN, transport: str = "netconf-ssh") -> Session:
        return self.dispatch.sessions.open(user, transport, "192.0.2.7", end=lambda reason: None)

    def node(self, path: str) -> Node:
        found = self.schema.find(path)
        assert found is not None, path
        return found

    def select(self, path: str, **match: Any) -> Selection:
        """One node, and everything below it; keyword arguments test its leaf children (`_` for `-`)."""
        node = self.node(path)
        tests = tuple((node.named(name.replace("_", "-"))[0], value) for name, value in match.items())
        pick = Pick(node, tests)
        while node.parent is not None and node.parent.kind != "root":
            node = node.parent
            pick = Pick(node, below=(pick,))
        return (pick,)

    def get(
        self, selection: Selection | None = None, user: User = READER, content: Content = Content.NONCONFIG
    ) -> Data:
        if selection is None:
            selection = self.select("/cisco-smart-license:licensing")
        return self.dispatch.read(Get(selection, content), self.session(user))

    def xml(self, selection: Selection | None = None, content: Content = Content.NONCONFIG) -> bytes:
        return b"".join(xml_codec.encode(self.get(selection, content=content), self.schema.root))

    def json(self, selection: Selection | None = None, content: Content = Content.NONCONFIG) -> Any:
        return json.loads(b"".join(json_codec.encode(self.get(selection, content=content), self.schema.root)))

    def info(self) -> Tree:
        """state-info, as JSON has it."""
        return cast(Tree, self.json()[LICENSING]["state"]["state-info"])

    def part(self, member: str) -> Any:
        """One member of state-info, None when it is absent."""
        return self.info().get(member)

    def usage(self, tag: str) -> Tree:
        return next(entry for entry in self.part("usage") if entry["entitlement-tag"] == tag)

    # Acting

    def invoke(self, name: str, given: Tree | None = None, user: User = ADMIN) -> Tree:
        """An RPC of one of our two modules."""
        module = "slp-agent" if ("slp-agent", name) in self.schema.rpcs else "cisco-smart-license"
        node = self.schema.rpcs[module, name]
        tree = json_codec.decode_input(given or {}, node)
        answer = self.dispatch.submit(Invoke(node, tree), self.session(user)).result(SECONDS)
        assert answer is not None
        return answer

    def use(self, licence: str, count: int, after: float = 0) -> Tree:
        self.advance(after)
        return self.invoke("record-usage", {"license": licence, "count": count})

    def close(self, after: float = 0) -> tuple[str, ...]:
        """Close what is open and give the keys."""
        self.advance(after)
        answer = self.invoke("close-reports")
        assert answer["return-code"] == "success"
        return tuple(answer.get("rum-report-key", ()))

    def edit(self, config: Tree, user: User = ADMIN, operation: str | None = None) -> None:
        """Merge `config` into /licensing/config, or do `operation` with the whole of it."""
        licensing = self.node("/cisco-smart-license:licensing")
        (edit,) = json_codec.decode_config({LICENSING: {"config": config}}, self.schema.root)
        if operation is not None:
            (inner,) = edit.children
            edit = EditNode(licensing, children=(EditNode(inner.node, cast(Any, operation), children=inner.children),))
        self.dispatch.submit(Edit((edit,)), self.session(user)).result(SECONDS)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due is done when this returns."""
        self.clock.at += seconds
        for _ in range(2):  # the timer is looked at after each piece of work: the second tells that the first's was
            self.dispatch.loop.submit(lambda: None).result(SECONDS)

    def run_until(self, moment: float) -> None:
        while self.clock.at < moment:
            self.advance(min(900.0, moment - self.clock.at))

    def collect(self, selection: Selection | None = None, user: User = COLLECTOR) -> bytes:
        """Read as a transport does: encode all of it, then tell that it was delivered."""
        session = self.session(user)
        wanted = self.select(f"{STATE_INFO}/slp-agent:rum-reports-closed") if selection is None else selection
        data = self.dispatch.read(Get(wanted, Content.NONCONFIG), session)
        reply = b"".join(xml_codec.encode(data, self.schema.root))
        self.dispatch.delivered(data, session).result(SECONDS)
        return reply

    # The authority's side

    @property
    def device(self) -> Any:
        """What the kernel tests' authority asks of a device: profile, now and signer."""
        return self

    def stored(self) -> list[tuple[int, str]]:
        """Report id and digest of all reports in the store, as an authority that read them all knows them."""
        rows = self.json(self.select(f"{STATE_INFO}/slp-agent:rum-reports-closed"))
        entries = rows.get(LICENSING, {}).get("state", {}).get("state-info", {})
        return [(int(entry["report-id"]), entry["digest"]) for entry in entries.get("slp-agent:rum-reports-closed", ())]

    def ack(self, *reports: tuple[int, str]) -> bytes:
        return self.authority.ack(self.device, *(reports or self.stored()))

    def policy(self, terms: PolicyTerms = TERMS, **changes: Any) -> Document:
        return self.authority.policy(self.device, terms, **changes)

    def trust_code(self) -> Document:
        return self.authority.trust_code(self.device)

    def install(self, content: bytes, user: User = ADMIN) -> Tree:
        return self.invoke("import-code", {"content": content.decode()}, user)

    def installed(self, content: bytes) -> None:
        answer = self.install(content)
        assert answer["return-code"] == "success", answer


def error_of(call: Callable[[], Any]) -> Error:
    """The one error that `call` is refused with."""
    try:
        result = call()
    except RequestError as refused:
        (error,) = refused.errors
        return error
    raise AssertionError(f"not refused: {result!r}")


def documents_of(rig: Rig) -> dict[str, bytes]:
    """All documents in the store by key, exactly as signed."""
    found = {}
    rows = rig.json(rig.select(f"{STATE_INFO}/slp-agent:rum-reports-closed"))
    entries = rows.get(LICENSING, {}).get("state", {}).get("state-info", {}).get("slp-agent:rum-reports-closed", ())
    for entry in entries:
        found[entry["rum-report-key"]] = entry["document"].encode()
    return found


def licence_seconds(document: bytes) -> int:
    """Count times seconds over the rows of a signed report."""
    report = read_payload(json.loads(document)["payload"])
    return sum((row.end - row.start) * row.count for row in report.measurements)


def tree_of(element: etree._Element, node: Node) -> Tree:
    """An element's children as an RFC 7951 tree, read with the schema's types and not with the codec's readers."""
    tree: Tree = {}
    for child_element in element.iterchildren("*"):
        name = etree.QName(child_element)
        module = node.schema.by_namespace(name.namespace or "")
        assert module is not None, name
        child = node.child(module.name, name.localname)
        assert child is not None, name
        if child.kind == "container":
            assert child.member not in tree
            tree[child.member] = tree_of(child_element, child)
        elif child.kind == "list":
            tree.setdefault(child.member, []).append(tree_of(child_element, child))
        else:
            assert child.type is not None
            value = child.type.from_xml(child_element.text or "", child_element.nsmap)
            if child.kind == "leaf-list":
                tree.setdefault(child.member, []).append(value)
            else:
                assert child.member not in tree
                tree[child.member] = value
    return tree


def paths_of(tree: Mapping[str, Any], node: Node) -> Iterator[str]:
    """Schema paths of the leaves that a tree holds."""
    for member, value in tree.items():
        child = node.by_member(member)
        assert child is not None
        if child.kind in ("leaf", "leaf-list"):
            yield child.path
            continue
        for entry in value if isinstance(value, list) else [value]:
            yield from paths_of(entry, child)


def leaves_below(node: Node) -> Iterator[str]:
    """Schema paths of all leaves below a node."""
    for child in node.children:
        if child.kind in ("leaf", "leaf-list"):
            yield child.path
        else:
            yield from leaves_below(child)


def bindings_of(rig: Rig) -> Bindings:
    return Bindings(rig.schema)
