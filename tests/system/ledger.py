"""What a database ought to hold: every unit of work is written down before it is committed, and again once it was.

After a death the database must hold what it did after some unit, none before the last that was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
from dataclasses import dataclass, field, replace
import hashlib
from pathlib import Path

from agent.formats.envelope import open_report
from agent.licensing.events import Event
from agent.licensing.evolve import evolve
from agent.licensing.ports import EncodedRow, StoredReport
from agent.licensing.state import State
from agent.store.folder import StateFolder
from agent.store.keystore import JOURNAL, Keystore, open_key_file
from agent.store.memory import MemoryStore
from agent.store.sqlite import SqliteStore, SqliteUnit
from agent.store.users import Account, Cost, Users
from tests.licensing.kit import YEARS

CHEAP = Cost(n=2)


@dataclass(frozen=True)
class Moment:
    """All that a database holds, between two units of work."""

    state: State = field(default_factory=State)
    config: bytes | None = None
    reports: Mapping[int, StoredReport] = field(default_factory=dict)
    users: tuple[int, tuple[Account, ...]] = (0, ())
    """Their epoch, and all accounts by name."""

    def after(self, events: Sequence[Event], rows: Mapping[int, EncodedRow], config: bytes | None) -> Moment:
        store = MemoryStore()
        store.reports.rows = self.reports
        unit = store.begin()
        unit.append(events, rows)
        unit.commit()
        return replace(self, state=evolve(self.state, events), reports=store.reports.rows, config=config or self.config)

    def with_users(self, accounts: Mapping[str, Account]) -> Moment:
        epoch, _ = self.users
        return replace(self, users=(epoch + 1, tuple(accounts[name] for name in sorted(accounts))))

    def without_users(self) -> Moment:
        """For a ledger whose agent's users another process changes."""
        return replace(self, users=(0, ()))

    @property
    def digest(self) -> str:
        """The same for the same content only."""
        parts = [self.state.to_json(), self.config, repr(self.users)]
        parts += [repr(self.reports[number]) for number in sorted(self.reports)]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class Ledger:
    """The moments of one life: those that were answered, and what was tried after them."""

    def __init__(self, first: Moment, say: Callable[[str, Moment], None] | None = None) -> None:
        """`say` hears of each entry: `try` before its commit, `done` after it."""
        self.moments = [first]
        self.answered = 0
        self._say = say or (lambda word, moment: None)

    @property
    def now(self) -> Moment:
        """After the last unit that was answered."""
        return self.moments[self.answered]

    @contextlib.contextmanager
    def trying(self, moment: Moment) -> Iterator[None]:
        """Something that leads to `moment` is committed within; it is answered when it ends well."""
        del self.moments[self.answered + 1 :]
        self.moments.append(moment)
        self._say("try", moment)
        yield
        self.answered += 1
        self._say("done", moment)


class WitnessedStore(SqliteStore):
    """A SqliteStore whose units stand in a ledger."""

    def __init__(self, path: Path, journal_key: bytes, ledger: Ledger) -> None:
        super().__init__(path, journal_key)
        self.ledger = ledger

    def begin(self) -> SqliteUnit:
        super().begin()
        self._open_unit = WitnessedUnit(self)
        return self._open_unit


class WitnessedUnit(SqliteUnit):
    def __init__(self, store: WitnessedStore) -> None:
        super().__init__(store)
        self._ledger = store.ledger
        self._events: list[Event] = []
        self._rows: dict[int, EncodedRow] = {}
        self._config: bytes | None = None

    def append(self, events: Sequence[Event], rows: Mapping[int, EncodedRow]) -> None:
        super().append(events, rows)
        self._events += events
        self._rows.update(rows)

    def put_config(self, document: bytes) -> None:
        super().put_config(document)
        self._config = document

    def commit(self) -> None:
        with self._ledger.trying(self._ledger.now.after(self._events, self._rows, self._config)):
            super().commit()


def examine(path: Path) -> Moment:
    """What the state folder at `path` holds, all of it checked as at a start.

    Its keys open, and the reports in it are signed by its device key: that is durable before the first of them.
    """
    folder = StateFolder.open(path)
    keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
    store = SqliteStore(folder.database, keys.get(JOURNAL))
    try:
        loaded = store.load()
        state = State() if loaded.snapshot is None else State.from_json(loaded.snapshot)
        reports = {}
        last = store.reports.max_id()
        for row in store.reports.pages(0, last, 100_000, "summary"):
            report = store.reports.by_id(row.report_id)
            assert report is not None
            reports[row.report_id] = report
        users = Users(folder.database, keys.get(JOURNAL), CHEAP)
        try:
            accounts = users.epoch(), users.all()
        finally:
            users.close()
        moment = Moment(evolve(state, loaded.events), loaded.config, reports, accounts)
    finally:
        store.close()
    key = keys.signer().public_key
    for report in reports.values():
        signed = open_report(report.document, pinned=lambda _: key, now=moment.state.at, skew=YEARS, lab=False)
        assert (signed.report.report_id, signed.digest) == (report.report_id, report.digest)
    return moment


def device_key(path: Path) -> str:
    """The id of the key that the state folder at `path` signs with."""
    folder = StateFolder.open(path)
    return Keystore(folder.keys, open_key_file(folder.info.key_file)).signer().key_id


class Archive:
    """Every report that was ever answered, and every life's epoch and key, over all deaths."""

    def __init__(self) -> None:
        self.documents: dict[int, bytes] = {}
        self.keys: dict[str, str] = {}

    def take_key(self, epoch: str, key: str) -> None:
        """An epoch has one key, and a key one epoch; between two lives, after a factory reset, there is no epoch."""
        if epoch:
            assert self.keys.setdefault(epoch, key) == key, f"epoch {epoch} has another key"
            assert list(self.keys.values()).count(key) == 1, f"epoch {epoch} has the key of another one"

    def take(self, moments: Sequence[Moment]) -> None:
        """No id stands for two documents, and none is given again."""
        for moment in moments:
            for number, report in moment.reports.items():
                assert self.documents.setdefault(number, report.document) == report.document, f"{number} has changed"
