"""Random requests of two writers, restarts and kills between: the datastores always equal a model of them.

The store is a real SQLite file that is opened anew at each restart. In the last test a real process is killed.
"""

from __future__ import annotations

import json
from pathlib import Path
import random
import subprocess
import sys
import tempfile
import time
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
import pytest

from agent.codec import xml
from agent.core.datastores import TRIAL
from agent.core.requests import Commit, Copy, Datastore, Delete, Discard, Edit, Lock, Unlock, Validate
from agent.core.sessions import Session
from agent.errors import RequestError
from agent.store.sqlite import SqliteStore
from tests.netconf.model import Model, good
from tests.store.samples import JOURNAL_KEY
from tests.toy.build import Toy

ROOT = Path(__file__).parents[2]
NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
STORES = ("running", "candidate", "startup")
YANG = "urn:ietf:params:xml:ns:yang:1"
SECONDS = 10

leaves = st.sampled_from(["name", "size", "low", "high"])
values = st.integers(0, 9)
writers = st.sampled_from([0, 1])
names = st.sampled_from([None, None, "p", "q"])


class Hands:
    """A clock that the machine moves."""

    rate = 1.0
    at = 1_000_000.0

    def now(self) -> float:
        return self.at

    def wall_seconds(self, span: float) -> float:
        return span


class Disk:
    """The toy's store on a real file."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            SqliteStore.create(path, JOURNAL_KEY)
        self.store = SqliteStore(path, JOURNAL_KEY)
        loaded = self.store.load()
        self.config, self.documents = loaded.config, loaded.documents
        self.begin = self.store.begin
        self.log = self.store.events


class Device:
    """The toy core over a file, with two writers."""

    def __init__(self, path: Path, *, startup: bool) -> None:
        self.path, self.startup, self.clock = path, startup, Hands()
        self.open()

    def open(self) -> None:
        self.disk: Any = Disk(self.path)
        self.toy = Toy.open(netconf=True, store=self.disk, clock=self.clock, startup=self.startup)
        self.sessions = [self.toy.session(transport="netconf-ssh") for _ in range(2)]

    def close(self, *, crash: bool) -> None:
        if not crash:
            for session in self.sessions:
                self.end(session)
        self.toy.dispatch.stop()
        self.disk.store.close()

    def end(self, session: Session) -> None:
        self.toy.dispatch.closed(session, "closed").result(SECONDS)

    def ask(self, request: Any, who: int) -> str | None:
        """The error-tag, or None."""
        try:
            self.toy.dispatch.submit(request, self.sessions[who]).result(SECONDS)
        except RequestError as refusal:
            return refusal.errors[0].tag
        return None

    def edit(self, store: str, content: str, who: int, default: Any = "merge") -> str | None:
        element = xml.parse(f'<config xmlns:y="{YANG}"><box xmlns="urn:example:toy">{content}</box></config>'.encode())
        edits = xml.decode_config(element, self.toy.schema)
        return self.ask(Edit(edits, Datastore(store), default), who)

    def shown(self, store: str) -> dict[str, Any]:
        if store == "startup" and not self.startup:
            return {}
        tree: dict[str, Any] = self.toy.dispatch.datastores.tree(Datastore(store)).get("toy:box", {})
        return tree


def typed(leaf: str, value: int) -> Any:
    return f"n{value}" if leaf == "name" else value


class Machine(RuleBasedStateMachine):
    """Rules are what can happen; each compares the answer, the invariant compares the datastores and the file."""

    operations = 0

    @initialize(startup=st.booleans())
    def set_up(self, startup: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.device = Device(Path(self.folder.name) / "agent.db", startup=startup)
        self.model = Model(startup)

    def teardown(self) -> None:
        if hasattr(self, "device"):
            self.device.close(crash=True)
            self.folder.cleanup()

    def same(self, answer: str | None, expected: str | None) -> None:
        type(self).operations += 1
        assert answer == expected

    def offered(self, store: str) -> str:
        return "running" if store == "startup" and not self.model.startup_offered else store

    @rule(store=st.sampled_from(STORES[:2]), leaf=leaves, value=values, who=writers)
    def set_leaf(self, store: str, leaf: str, value: int, who: int) -> None:
        wanted = {**self.model.shown(store), leaf: typed(leaf, value)}
        expected = self.model.write(store, wanted, who)
        self.same(self.device.edit(store, f"<{leaf}>{typed(leaf, value)}</{leaf}>", who), expected)

    @rule(store=st.sampled_from(STORES), leaf=leaves, who=writers)
    def remove_leaf(self, store: str, leaf: str, who: int) -> None:
        store = self.offered(store)
        wanted = {name: value for name, value in self.model.shown(store).items() if name != leaf}
        expected = self.model.write(store, wanted, who)
        self.same(self.device.edit(store, f'<{leaf} operation="remove"/>', who), expected)

    @rule(store=st.sampled_from(STORES[:2]), value=values, first=st.booleans(), who=writers)
    def place_turn(self, store: str, value: int, first: bool, who: int) -> None:
        box = self.model.shown(store)
        others = [turn for turn in box.get("turn", ()) if turn != f"t{value}"]
        turns = [f"t{value}", *others] if first else [*others, f"t{value}"]
        expected = self.model.write(store, {**box, "turn": turns}, who)
        content = f'<turn y:insert="{"first" if first else "last"}">t{value}</turn>'
        self.same(self.device.edit(store, content, who), expected)

    @rule(store=st.sampled_from(STORES), size=values, who=writers)
    def replace_all(self, store: str, size: int, who: int) -> None:
        store = self.offered(store)
        expected = self.model.write(store, {"size": size}, who)
        self.same(self.device.edit(store, f"<size>{size}</size>", who, "replace"), expected)

    @rule(store=st.sampled_from(STORES[:2]), who=writers)
    def edit_that_fails(self, store: str, who: int) -> None:
        box = self.model.shown(store)
        refused = self.model.taken(store, who) or ("data-missing" if "name" not in box else None)
        if refused is None:
            self.model.write(store, {**{k: v for k, v in box.items() if k != "name"}, "size": 1}, who)
        self.same(self.device.edit(store, '<size>1</size><name operation="delete"/>', who), refused)

    @rule(pair=st.tuples(st.sampled_from(STORES), st.sampled_from(STORES)), who=writers)
    def copy(self, pair: tuple[str, str], who: int) -> None:
        source, target = (self.offered(store) for store in pair)
        expected = self.model.copy(source, target, who)
        self.same(self.device.ask(Copy(Datastore(source), Datastore(target)), who), expected)

    @rule(who=writers)
    def delete_startup(self, who: int) -> None:
        expected = self.model.delete_startup(who) if self.model.startup_offered else "invalid-value"
        self.same(self.device.ask(Delete(Datastore.STARTUP), who), expected)

    @rule(who=writers)
    def discard(self, who: int) -> None:
        expected = self.model.discard(who)
        self.same(self.device.ask(Discard(), who), expected)

    @rule(store=st.sampled_from(STORES[:2]), who=writers)
    def validate(self, store: str, who: int) -> None:
        expected = None if good(self.model.shown(store)) else "operation-failed"
        self.same(self.device.ask(Validate(Datastore(store)), who), expected)

    @rule(who=writers, persist_id=names)
    def commit(self, who: int, persist_id: str | None) -> None:
        expected = self.model.commit(who, False, 0, None, persist_id)
        self.same(self.device.ask(Commit(persist_id=persist_id), who), expected)

    @rule(who=writers, timeout=st.sampled_from([1, 30, 600]), persist=names, persist_id=names)
    def commit_on_trial(self, who: int, timeout: int, persist: str | None, persist_id: str | None) -> None:
        expected = self.model.commit(who, True, timeout, persist, persist_id)
        self.same(self.device.ask(Commit(True, timeout, persist, persist_id), who), expected)

    @rule(who=writers, persist_id=names)
    def cancel(self, who: int, persist_id: str | None) -> None:
        expected = self.model.cancel(who, persist_id)
        self.same(self.device.ask(Discard(trial=True, persist_id=persist_id), who), expected)

    @rule(store=st.sampled_from(STORES), who=writers)
    def lock(self, store: str, who: int) -> None:
        store = self.offered(store)
        expected = self.model.lock(store, who)
        self.same(self.device.ask(Lock(Datastore(store)), who), expected)

    @rule(store=st.sampled_from(STORES), who=writers)
    def unlock(self, store: str, who: int) -> None:
        store = self.offered(store)
        expected = self.model.unlock(store, who)
        self.same(self.device.ask(Unlock(Datastore(store)), who), expected)

    @rule(who=writers)
    def end_session(self, who: int) -> None:
        self.model.end(who)
        self.device.end(self.device.sessions[who])
        self.device.sessions[who] = self.device.toy.session(transport="netconf-ssh")

    @rule(seconds=st.sampled_from([1, 29, 30, 600]))
    def wait(self, seconds: int) -> None:
        self.model.wait(seconds)
        self.device.clock.at += seconds
        for _ in range(2):
            self.device.toy.dispatch.loop.submit(lambda: None).result(SECONDS)

    @rule(crash=st.booleans())
    def restart(self, crash: bool) -> None:
        if not crash:
            for who in (0, 1):
                self.model.end(who)
        self.model.restart()
        self.device.close(crash=crash)
        self.device.open()

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        if not hasattr(self, "device"):
            return
        for store in STORES:
            assert self.device.shown(store) == self.model.shown(store), store
        datastores = self.device.toy.dispatch.datastores
        assert {key.value for key in datastores.locks.held} == set(self.model.locks)
        assert (datastores.trial is None) == (self.model.pending is None)
        kept = self.device.disk.store.load()
        assert json.loads(kept.config or b"{}").get("toy:box", {}) == self.model.running
        before = json.loads(kept.documents[TRIAL]).get("toy:box", {}) if TRIAL in kept.documents else None
        assert before == (None if self.model.pending is None else self.model.pending.before)
        if self.model.startup_offered:
            startup = json.loads(kept.documents["startup"])
            assert (None if startup is None else startup.get("toy:box", {})) == self.model.startup or (
                self.model.startup is None and startup == {}
            )


def run(seed: int, examples: int, steps: int) -> int:
    """So many operations were made and compared."""
    Machine.operations = 0
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(hypothesis.seed(seed)(Machine), settings=chosen)
    print(f"SLP_SEED={seed}, {Machine.operations} operations")
    return Machine.operations


def test_a_sample(seed: int) -> None:
    """Checklist 90, 91, 97-106, 108-111 in any order; SLP_SEED=N repeats it."""
    assert run(seed, 12, 40) > 200


@pytest.mark.slow
def test_ten_thousand_operations(seed: int) -> None:
    """Must show: 10,000 operations and more."""
    total = 0
    while total < 10_000:
        total += run(seed + total, 60, 60)


# A real process, killed


def test_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    """SIGKILL: what was answered is there; of the request under way all or nothing; a trial is taken back."""
    choose = random.Random(seed)
    path = tmp_path / "agent.db"
    expected: list[dict[str, Any]] = [{}]
    for _ in range(8):
        command = [sys.executable, "-m", "tests.netconf.writer", str(path), str(choose.randrange(2**31))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
            assert child.stdout is not None
            said = [child.stdout.readline() for _ in range(choose.randrange(1, 25))]
            time.sleep(choose.random() * 0.01)
            child.kill()
            said += child.stdout.readlines()
        lines = [json.loads(line) for line in said if line.endswith(b"\n")]
        assert lines[0] == ["started", lines[0][1]]
        assert lines[0][1] in expected
        # each line says what a start has to find if the process ends now, and after what it does next
        expected = lines[-1][1:] if lines[-1][0] == "doing" else [lines[-1][1]]
    device = Device(path, startup=False)
    assert device.shown("running") in expected
    device.close(crash=True)
