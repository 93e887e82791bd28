"""Lives of a whole agent without listeners: random requests, every one of both models, over a real state folder.

Real keys, keystore, SQLite store, files and signatures; the clock is set by hand. A life goes on until it is told to
end, or until it dies of what its disk does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
import hashlib
from pathlib import Path
import random
from typing import Any, cast
from unittest import mock

import apsw
from lxml import etree

from agent import app, setup
from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.config import RunConfig
from agent.core.requests import Content, Edit, EditNode, Get, Invoke
from agent.core.schema import Schema
from agent.core.select import Pick
from agent.core.sessions import Session, User
from agent.core.tree import Tree
from agent.licensing.commands import InstallAnchors
from agent.licensing.state import State
from agent.northbound import commit
from agent.store.folder import StateFolder
from agent.store.keystore import JOURNAL, Keystore, open_key_file
from agent.store.users import Account, Users
from agent.transport.files import Folders
from tests.licensing.kit import DAY, T0, Authority
from tests.system.calls import ADMIN, COLLECTOR, MODULES, REQUESTS, Caller
from tests.system.ledger import CHEAP, Ledger, WitnessedStore
from tests.transport.rig import PROFILE, HandClock

LICENSING = "cisco-smart-license:licensing"
DOCUMENTS = f"/{LICENSING}/state/state-info/slp-agent:rum-reports-closed"
SECONDS = 30
FAVOUR = 12
"""What the favourite weighs more; all others together weigh some 150."""
SPANS = (0, 0, 1, 60, 900, 3600, DAY, 3 * DAY)
CONFIGS: tuple[Tree, ...] = (
    {"usage": {"interval": 3, "customer-tags": {"tag1": "a & b"}}},
    {"utility": {"utility-enable": True, "customer-info": {"city": "Bern"}}},
    {"utility": {"utility-enable": False}},
    {"privacy": {"hostname": True, "version": True}},
    {"slp-agent:boot-level": {"license": ["advantage", "tier-2"]}},
    {"slp-agent:operating-mode": "controller"},
    {"slp-agent:operating-mode": "autonomous"},
    {"slp-agent:operating-mode": "autonomous", "utility": {"utility-enable": False}},
    {"slp-agent:automatic-trust-request": False},
    {"transport": {"transport-type": "transport-type-off"}},
    {"transport": {"transport-type": "transport-type-smart"}},
)


def make_folder(root: Path, name: str = "device") -> Path:
    """A state folder below `root` as init makes it, with its key file outside it."""
    profile = root / "profile.toml"
    profile.write_text(PROFILE)
    made = setup.initialise(
        root / name,
        clock=HandClock(),
        user=setup.FirstUser("admin", "one-for-all-tests"),
        profile_file=profile,
        serial="9LIFE",
        anchors=[Authority().anchor],
        lab=False,
        key_file=root / "device.key",
        tls_names=["device.example"],
    )
    profile.unlink()
    return made.folder.path


@contextmanager
def quick_agents() -> Iterator[set[type]]:
    """The models are read once for all agents, a snapshot is made often; gives the commands that were decided on."""
    schema, decided, decide = app.load_schema(), set[type](), commit.decide
    bindings = app.Bindings(schema)

    def noted(state: Any, command: Any, now: int, context: Any) -> Any:
        decided.add(type(command))
        return decide(state, command, now, context)

    with (
        mock.patch.object(app, "load_schema", return_value=schema),
        mock.patch.object(app, "Bindings", return_value=bindings),
        mock.patch.object(commit, "decide", noted),
        mock.patch.object(commit, "SNAPSHOT_EVERY", 25),
    ):
        yield decided


class Life(Caller):
    """One agent on the folder at `path`, from its start on; `number` tells it from the lives before it."""

    def __init__(self, path: Path, ledger: Ledger, choose: random.Random, number: int) -> None:
        self.path, self.ledger, self.choose = path, ledger, choose
        self.authority = Authority(serial=number * 100_000)
        self.clock = HandClock(max(T0, ledger.now.state.at) + choose.choice(SPANS))
        self.answered: list[str] = []
        self.files: dict[str, bytes] = {}
        """What was saved and answered, by name."""
        self.writing: str | None = None
        """The file that a request under way may be writing."""
        self.favourite = ""
        """The request that is sent more often than others."""
        self.about: Callable[[str], None] = lambda name: None
        """Hears of each request before it is sent."""
        self._open = ExitStack()
        try:
            self._begin()
        except BaseException:
            self.leave()
            raise

    def _begin(self) -> None:
        """Start the agent as `slp-agent run` does, without listeners."""
        folder = StateFolder.open(self.path)
        self._open.enter_context(folder.hold())
        self.keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
        self.profile = setup.load_profile(folder)
        self.store = WitnessedStore(folder.database, self.keys.get(JOURNAL), self.ledger)
        # a close that the disk refuses has closed it all the same
        self._open.callback(_quietly, self.store.close)
        self.users = Users(folder.database, self.keys.get(JOURNAL), CHEAP)
        self._open.callback(_quietly, self.users.close)
        for connection in (self.store._connection, self.users._connection):
            connection.wal_autocheckpoint(self.choose.choice((1, 8, 64, 1000)))
        self.agent = app.build(
            profile=self.profile,
            clock=self.clock,
            store=self.store,
            signer=self.keys.signer(),
            lab=False,
            files=Folders.at(app.files_folder(folder, RunConfig(self.path))),
            rekey=lambda: app._new_device_key(self.keys),
        )
        if self.choose.random() < 0.2:
            further = Authority(self.choose.choice(("other", "third"))).anchor
            self.agent.committer.run(InstallAnchors((self.authority.anchor, further)))
        self._open.callback(self.agent.dispatch.stop)
        self.agent.start()

    def leave(self) -> None:
        """Let go of everything; nothing is recorded."""
        self._open.close()

    def restart(self) -> None:
        """An orderly end and another start."""
        self.agent.stop()
        self.leave()
        self._begin()

    # Requests

    @property
    def now(self) -> int:
        return int(self.clock.at)

    @property
    def state(self) -> State:  # type: ignore[override]
        return self.agent.committer.state

    def reports(self) -> list[tuple[str, int, str]]:
        return [(report.key, report.report_id, report.digest) for report in self.ledger.now.reports.values()]

    def writes(self, name: str) -> None:
        self.writing = name

    def recorded(self, licence: str, count: int) -> None:
        found = self.profile.find(licence)
        assert found is not None
        use = self.state.licences.get(found.entitlement_tag)
        assert (use.recorded if use else 0) == count

    @property
    def schema(self) -> Schema:
        return self.agent.dispatch.schema

    def session(self, user: User) -> Session:
        return self.agent.dispatch.sessions.open(user, "netconf-ssh", "192.0.2.7", end=lambda reason: None)

    def submit(self, request: Any, user: User = ADMIN) -> Any:
        session = self.session(user)
        try:
            return self.agent.dispatch.submit(request, session).result(SECONDS)
        finally:
            self.agent.dispatch.sessions.close(session)

    def invoke(self, name: str, user: User = ADMIN, **given: Any) -> Tree:
        module = next(module for module in MODULES if (module, name) in self.schema.rpcs)
        node = self.schema.rpcs[module, name]
        tree = {member.replace("_", "-"): value for member, value in given.items()}
        return cast(Tree, self.submit(Invoke(node, json_codec.decode_input(tree, node)), user))

    def step(self) -> str:
        """One random request; returns its name once it was answered. What an answer showed was durable by then."""
        self.clock.at += self.choose.choice(SPANS)
        self.rest()
        table: dict[str, tuple[int, Callable[[Life, str], object]]] = {**REQUESTS, **OTHERS}
        weights = [weight + FAVOUR * (name == self.favourite) for name, (weight, _) in table.items()]
        (name,) = self.choose.choices(list(table), weights)
        self.about(name)
        before = self.ledger.answered
        table[name][1](self, name)
        shown, answered = self.state, self.ledger.moments[before : self.ledger.answered + 1]
        assert any(moment.state == shown for moment in answered), f"{name} was answered before it was durable"
        self.answered.append(name)
        self.rest()
        return name

    def note_file(self) -> None:
        """The request that may have written a file was answered: what is there now stays."""
        if self.writing is not None:
            file = self.path / setup.FILES_FOLDER / self.writing
            if file.exists():
                self.files[self.writing] = file.read_bytes()
            self.writing = None

    def rest(self) -> None:
        """Until what was due is done."""
        for _ in range(2):  # the timer is looked at after each piece of work: the second tells that the first's was
            self.agent.dispatch.loop.submit(lambda: None).result(SECONDS)


def _quietly(call: Callable[[], None]) -> None:
    with suppress(apsw.Error):
        call()


# What else happens to an agent


def _edit(life: Life, name: str) -> None:
    config = life.choose.choice(CONFIGS)
    (edit,) = json_codec.decode_config({LICENSING: {"config": config}}, life.schema.root)
    if life.choose.random() < 0.2:
        (inner,) = edit.children
        edit = EditNode(edit.node, children=(EditNode(inner.node, cast(Any, "replace"), children=inner.children),))
    life.submit(Edit((edit,)))


def _custom_id(life: Life, name: str) -> None:
    given = f"n{life.choose.randrange(10**6)}"
    (edit,) = json_codec.decode_config({LICENSING: {"config": {"custom-id": given}}}, life.schema.root)
    life.submit(Edit((edit,)))
    assert life.state.settings.custom_id == given


def _collect(life: Life, name: str) -> None:
    """Read all documents to the end, as a collector does."""
    node = life.schema.find(DOCUMENTS)
    assert node is not None
    pick = Pick(node)
    while node.parent is not None and node.parent.kind != "root":
        node = node.parent
        pick = Pick(node, below=(pick,))
    session = life.session(COLLECTOR)
    data = life.agent.dispatch.read(Get((pick,), Content.NONCONFIG), session)
    for _ in xml_codec.encode(data, life.schema.root):
        pass
    life.agent.dispatch.delivered(data, session).result(SECONDS)
    life.agent.dispatch.sessions.close(session)


def _time(life: Life, name: str) -> None:
    """Time passes, or the clock is set."""
    life.clock.at += life.choose.choice((900, 3600, 8 * DAY, 40 * DAY, -1, -5000))
    life.rest()


def _user(life: Life, name: str) -> None:
    """Another connection to the database, as that of `slp-agent user`."""
    accounts = {account.name: account for account in life.users.all()}
    who = f"u{life.choose.randrange(4)}"
    with ExitStack() as trying:

        def expect(group: str | None) -> None:
            changed = {one: account for one, account in accounts.items() if one != who}
            if group is not None:
                changed[who] = Account(who, group, (), True)
            trying.enter_context(life.ledger.trying(life.ledger.now.with_users(changed)))

        if who not in accounts:
            expect("reader")
            life.users.add(who, "reader", "secret")
        elif life.choose.random() < 0.3:
            expect(None)
            life.users.remove(who)
        elif life.choose.random() < 0.5:
            group = life.choose.choice(("admin", "collector"))
            expect(group)
            life.users.set_group(who, group)
        else:
            expect(accounts[who].group)
            life.users.set_password(who, "other")


def _checkpoint(life: Life, name: str) -> None:
    """The write-ahead log goes into the file, as after many pages or at the end."""
    life.agent.dispatch.loop.submit(
        lambda: life.store._connection.wal_checkpoint(mode=life.choose.choice((0, 2, 3)))
    ).result(SECONDS)


OTHERS: Mapping[str, tuple[int, Callable[[Life, str], object]]] = {
    "edit-config": (8, _edit),
    "custom-id": (4, _custom_id),
    "collect": (6, _collect),
    "time": (8, _time),
    "user": (5, _user),
    "checkpoint": (3, _checkpoint),
    "restart": (3, lambda life, name: life.restart()),
}


def usable(content: bytes) -> bool:
    """Whether a file that was saved is whole: all are documents of XML."""
    try:
        etree.fromstring(content)
    except etree.XMLSyntaxError:
        return False
    return True


def fingerprint(content: bytes | None) -> str:
    """The same for the same content; of a file that is not there, too."""
    return "none" if content is None else hashlib.sha256(content).hexdigest()
