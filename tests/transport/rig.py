"""A whole agent without listeners and with a folder for files: real models, kernel, SQLite store and signatures.

Requests go through its dispatch, as front ends send them; the clock is set by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
import json
from pathlib import Path
from typing import Any, cast

import oopt_gnpy_libyang as libyang

from agent import app
from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.core.hub import Event
from agent.core.requests import Content, Edit, Get, Invoke
from agent.core.schema import Node
from agent.core.select import Pick
from agent.core.sessions import Session, User
from agent.core.tree import Tree
from agent.formats.documents import PolicyTerms
from agent.formats.signing import LocalSigner
from agent.licensing.commands import InstallAnchors
from agent.licensing.profile import Profile, parse_profile
from agent.licensing.state import State
from agent.store.sqlite import SqliteStore
from agent.transport.files import Folders
from tests.licensing.kit import T0, Authority, key

JOURNAL_KEY = bytes(range(32))
LICENSING = "cisco-smart-license:licensing"
STATE_INFO = "/cisco-smart-license:licensing/state/state-info"
SECONDS = 20
ADMIN = User("ada", frozenset({"admin"}))
COLLECTOR = User("cole", frozenset({"collector"}))
READER = User("rita", frozenset({"reader"}))
RECORDER = User("rob", frozenset({"recorder"}))

PROFILE = """
[product]
pid = "FILE-1"
vid = "V02"
hostname = "files"
software-tag = "regid.2026-11.test.FILE,1.0_aa"
software-version = "17.9.1a"

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

[[license]]
name = "tier-2"
entitlement-tag = "regid.2026-11.test.TIER2,1.0_03"
enforcement = "enforced"

[[license]]
name = "hseck9"
entitlement-tag = "regid.2026-11.test.HSECK9,1.0_04"
enforcement = "export"
"""
PURCHASES = """
[[purchase]]
entitlement-tag = "regid.2026-11.test.ADV,1.0_01"

[[purchase]]
entitlement-tag = "regid.2026-11.test.SES,1.0_02"
count = 25
start = 2026-01-01T00:00:00Z
end = 2029-01-01T00:00:00Z
subscription-id = "SUB-7"
"""
TERMS = PolicyTerms("Example policy")


@cache
def models() -> Any:
    """libyang with all modules that are served."""
    schema = app.load_schema()
    folders = dict.fromkeys(str(module.file.parent) for module in schema.modules.values())
    made = libyang.Context(":".join(folders), libyang.ContextOptions.NoYangLibrary)
    for module in schema.modules.values():
        if module.implemented:
            made.load_module(module.name, module.revision or None, list(module.features))
    return made


def valid(text: str, form: Any) -> Any:
    """The document after libyang has read and validated it as operational data, as JSON."""
    made = models()
    made.clean_all_errors()
    try:
        tree = made.parse_data(text, form, libyang.ParseOptions.Strict, libyang.ValidationOptions.Present)
    except libyang.Error as error:
        told = "; ".join(f"{one.data_path}: {one.message}" for one in made.errors())
        raise AssertionError(f"libyang refuses it: {told or error}") from None
    flags = libyang.PrintFlags.WithSiblings | libyang.PrintFlags.WithDefaultsExplicit
    return json.loads(tree.print(libyang.DataFormat.JSON, flags))


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
    """An agent that runs on a database below `path`, with its files in `path/flash`."""

    path: Path
    text: str = PROFILE
    lab: bool = False
    authority: Authority = field(default_factory=Authority)
    clock: HandClock = field(default_factory=HandClock)
    signer: LocalSigner = field(default_factory=lambda: key("device"))
    told: list[Event] = field(default_factory=list)
    keys_made: int = 0
    serial: str = "9RIG"

    def __post_init__(self) -> None:
        self.profile: Profile = parse_profile(self.text, "rig.toml").with_serial(self.serial)
        self.flash = self.path / "flash"
        self.flash.mkdir(exist_ok=True)
        self.database = self.path / "agent.db"
        if not self.database.exists():
            SqliteStore.create(self.database, JOURNAL_KEY)
        self.begin()

    def begin(self) -> None:
        """A first or further life."""
        self.store = SqliteStore(self.database, JOURNAL_KEY)
        self.agent = app.build(
            profile=self.profile,
            clock=self.clock,
            store=self.store,
            signer=self.signer,
            lab=self.lab,
            files=Folders.at(self.flash),
            rekey=self.rekey,
        )
        self.dispatch = self.agent.dispatch
        self.dispatch.hub.subscribe(self.told.append)
        if not self.state.anchors:
            self.agent.committer.run(InstallAnchors((self.authority.anchor,)))
            self.told.clear()
        self.agent.start()

    def rekey(self) -> LocalSigner:
        """Another key each time, as a keystore makes them; it stays for later lives."""
        self.keys_made += 1
        self.signer = key(f"device {self.keys_made}")
        return self.signer

    def end(self) -> None:
        self.agent.stop()
        self.store.close()

    def restart(self, after: float = 0) -> None:
        self.end()
        self.clock.at += after
        self.begin()

    @property
    def now(self) -> int:
        return int(self.clock.at)

    @property
    def state(self) -> State:
        return self.agent.committer.state

    # Asking

    def session(self, user: User = ADMIN) -> Session:
        return self.dispatch.sessions.open(user, "netconf-ssh", "192.0.2.7", end=lambda reason: None)

    def node(self, path: str) -> Node:
        found = self.dispatch.schema.find(path)
        assert found is not None, path
        return found

    def info(self) -> Tree:
        """state-info, as JSON has it; libyang has read and validated all of /licensing in both encodings first."""
        root, session = self.dispatch.schema.root, self.session(READER)
        request = Get((Pick(self.node("/cisco-smart-license:licensing")),), Content.ALL)
        text = b"".join(json_codec.encode(self.dispatch.read(request, session), root)).decode()
        xml = b"".join(xml_codec.encode(self.dispatch.read(request, session), root)).decode()
        whole = json.loads(text)
        assert valid(text, libyang.DataFormat.JSON) == valid(xml, libyang.DataFormat.XML) == whole
        return cast(Tree, whole[LICENSING]["state"]["state-info"])

    def part(self, member: str) -> Any:
        """One member of state-info, None when it is absent."""
        return self.info().get(member)

    def states(self) -> list[str]:
        """Report states, by rising id."""
        entries = self.part("rum-reports-closed-keys") or []
        return [entry["report-state"].removeprefix("rum-report-state-") for entry in entries]

    def documents(self) -> list[bytes]:
        """The signed documents in the store, by rising id."""
        return [entry["document"].encode() for entry in self.part("slp-agent:rum-reports-closed") or []]

    def names(self) -> list[str]:
        """What was told, by the names of the notifications."""
        return [event.name for event in self.told]

    # Acting

    def invoke(self, name: str, given: Tree | None = None, user: User = ADMIN) -> Tree:
        """An RPC of one of our two modules, through JSON both ways."""
        module = "slp-agent" if ("slp-agent", name) in self.dispatch.schema.rpcs else "cisco-smart-license"
        node = self.dispatch.schema.rpcs[module, name]
        tree = json_codec.decode_input(given or {}, node)
        answer = self.dispatch.submit(Invoke(node, tree), self.session(user)).result(SECONDS)
        assert answer is not None
        output = node.by_member("output")
        assert output is not None
        (tree,) = json.loads(b"".join(json_codec.encode_wrapped(answer, output))).values()
        return cast(Tree, tree)

    def use(self, licence: str, count: int, after: float = 0) -> Tree:
        self.advance(after)
        return self.invoke("record-usage", {"license": licence, "count": count})

    def edit(self, config: Tree) -> None:
        """Merge `config` into /licensing/config."""
        (edit,) = json_codec.decode_config({LICENSING: {"config": config}}, self.dispatch.schema.root)
        self.dispatch.submit(Edit((edit,)), self.session()).result(SECONDS)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due is done when this returns."""
        self.clock.at += seconds
        for _ in range(2):  # the timer is looked at after each piece of work: the second tells that the first's was
            self.dispatch.loop.submit(lambda: None).result(SECONDS)

    def put(self, name: str, content: bytes) -> str:
        """A file in the folder; its file argument."""
        (self.flash / name).write_bytes(content)
        return f"flash:{name}"

    # The authority's side

    @property
    def device(self) -> Any:
        """What the kernel tests' authority asks of a device: profile, now and signer."""
        return self

    def ack(self, *reports: tuple[int, str]) -> bytes:
        """An ACK file for these reports, else for all that are stored."""
        entries = self.part("slp-agent:rum-reports-closed") or []
        known = [(int(entry["report-id"]), entry["digest"]) for entry in entries]
        return self.authority.ack(self.device, *(reports or known))

    def bundle(self, *changes: Callable[[], Any]) -> bytes:
        """Policy, trust code and further documents in one file."""
        return self.authority.file(
            self.authority.policy(self.device, TERMS),
            self.authority.trust_code(self.device),
            *(change() for change in changes),
        )
