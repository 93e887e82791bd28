"""A power cut at every step of what is written: databases, keys, files and a new state folder; and the plug itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
import os
from pathlib import Path
import random
import ssl

import apsw
import pytest

from agent.app import files_folder
from agent.config import RunConfig
from agent.setup import CA_FILE, FILES_FOLDER, HOST_KEY_FILE, host_public_key, load_certificate, load_profile
from agent.store import files
from agent.store.authentication import Authentication
from agent.store.errors import StoreError
from agent.store.folder import StateFolder, StateFolderError
from agent.store.keystore import DEVICE, JOURNAL, SSH_HOST, TLS, Keystore, create_key_file, open_key_file
from agent.store.migrations import VERSION, migrate, version_of
from agent.store.sqlite import SqliteStore
from agent.store.users import Cost, Users
from agent.transport.files import Folders
from tests.store.power import Disk, Image, Inode, plugged, put
from tests.store.samples import JOURNAL_KEY, closed, keep, sampled
from tests.system.ledger import examine
from tests.system.lives import make_folder

AUTHENTICATION = Authentication(JOURNAL_KEY)
OLD, NEW = b"the old one" * 300, b"the new one, longer" * 400
Writer = Callable[[Path, bytes], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "disk"
    made.mkdir()
    return made


def survivors(root: Path, seed: int, act: Callable[[], object], each: int = 6) -> Iterator[tuple[Image, bool]]:
    """What may be found after a cut at every step of `act`, and after its end (True), several times each."""
    found: dict[tuple[tuple[tuple[Path, bytes | None], ...], bool], None] = {}
    disk = Disk(root, random.Random(seed))

    def take(ended: bool) -> None:
        found.update(((tuple(disk.survivor().items()), ended), None) for _ in range(each))

    disk.watch = lambda: take(False)
    with plugged(disk):
        act()
        disk.watch = None
        for _ in range(4):
            take(True)
    assert disk.steps
    for items, ended in found:
        put(dict(items), root)
        yield dict(items), ended


# The plug itself


def lost(root: Path, seed: int, synchronous: str) -> bool:
    """Whether a cut at a random step loses a unit that was answered, or all of them."""
    choose = random.Random(seed)
    path, answered = root / "agent.db", 0
    put({}, root)
    SqliteStore.create(path, JOURNAL_KEY)
    disk = Disk(root, choose)
    disk.limit = choose.randrange(20, 300)
    with plugged(disk):
        store = SqliteStore(path, JOURNAL_KEY)
        try:
            store._connection.pragma("synchronous", synchronous)
            store._connection.wal_autocheckpoint(choose.choice((3, 10, 1000)))
            with suppress(StoreError):
                while True:
                    keep(store, sampled(answered + 1), closed(answered + 1, 700))
                    answered += 1
        finally:
            with suppress(apsw.Error):
                store.close()
    assert disk.image is not None
    put(disk.image, root)
    try:
        store = SqliteStore(path, JOURNAL_KEY)
        try:
            kept = len(store.load().events) // 2
        finally:
            store.close()
    except StoreError:
        return True
    return kept not in (answered, answered + 1)


@pytest.mark.parametrize("synchronous", ["off", "normal"])
def test_it_finds_a_store_that_does_not_sync(root: Path, seed: int, synchronous: str) -> None:
    assert any(lost(root, seed + n, synchronous) for n in range(200))


def test_it_finds_nothing_in_ours(root: Path, seed: int) -> None:
    assert not any(lost(root, seed + n, "full") for n in range(25))


def in_place(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def without_sync(path: Path, data: bytes) -> None:
    draft = path.with_name("draft")
    draft.write_bytes(data)
    draft.replace(path)
    files.sync_directory(path.parent)


def without_folder(path: Path, data: bytes) -> None:
    draft = path.with_name("draft")
    in_place(draft, data)
    draft.replace(path)


def replaced(root: Path, seed: int, writer: Writer) -> bool:
    """Whether a file is the old or the new one after every cut, and the new one once it was answered."""
    put({Path("file"): OLD}, root)
    for _, ended in survivors(root, seed, lambda: writer(root / "file", NEW)):
        content = (root / "file").read_bytes() if (root / "file").exists() else None
        if content not in ((NEW,) if ended else (OLD, NEW)):
            return False
    return True


@pytest.mark.parametrize("writer", [in_place, without_sync, without_folder])
def test_it_finds_a_file_that_is_not_written_safely(root: Path, seed: int, writer: Writer) -> None:
    assert not all(replaced(root, seed + n, writer) for n in range(20))


def test_sectors_survive_by_themselves(seed: int) -> None:
    """Of three writes that no sync followed, each sector shows some moment, and every mixture comes about."""
    choose = random.Random(seed)
    seen = set()
    for _ in range(2000):
        inode = Inode()
        inode.write(0, b"a" * 1024)
        inode.sync()
        inode.write(512, b"b" * 512)
        inode.write(0, b"c" * 512)
        inode.resize(1024 + 512)
        content = inode.survivor(choose)
        assert len(content) in (1024, 1536)
        seen.add((content[:1], content[512:513], len(content)))
    assert {one[:2] for one in seen} == {(x, y) for x in (b"a", b"c") for y in (b"a", b"b")}
    assert {one[2] for one in seen} == {1024, 1536}


# Files


def saved(path: Path, data: bytes) -> None:
    Folders.at(path.parent).write(path.name, (data[:1000], data[1000:]))


@pytest.mark.parametrize("writer", [files.write_private, saved])
def test_a_file_is_the_old_or_the_new_one(root: Path, seed: int, writer: Writer) -> None:
    assert replaced(root, seed, writer)


def test_a_new_file_is_whole_or_not_there(root: Path, seed: int) -> None:
    for _, ended in survivors(root, seed, lambda: files.create_private(root / "file", NEW)):
        content = (root / "file").read_bytes() if (root / "file").exists() else None
        assert content == NEW or (content is None and not ended)


def test_a_key_is_the_old_or_the_new_one(root: Path, seed: int) -> None:
    """Also the key file under which it is sealed."""
    (root / "keys").mkdir()
    key_file = root / "device.key"
    keys = Keystore(root / "keys", create_key_file(key_file))
    keys.create_keys()
    before = keys.signer().key_id
    others = {name: keys.get(name) for name in (JOURNAL, SSH_HOST, TLS)}
    made: list[str] = []

    def renew() -> None:
        keys.create_signing_key(DEVICE)
        made.append(keys.signer().key_id)

    for _, ended in survivors(root, seed, renew):
        found = Keystore(root / "keys", open_key_file(key_file))
        assert found.signer().key_id in (made if ended else [before, *made])
        assert {name: found.get(name) for name in others} == others


# A database


def test_a_new_database_is_there_once_its_making_has_ended(root: Path, seed: int) -> None:
    """Its name is init's to sync, with those of all other files of the folder."""
    path = root / "agent.db"

    def make() -> None:
        SqliteStore.create(path, JOURNAL_KEY)
        files.sync_directory(root)

    for _, ended in survivors(root, seed, make, each=1):
        if ended:
            store = SqliteStore(path, JOURNAL_KEY)
            assert store.load().events == ()
            store.close()


def test_an_upgrade_is_taken_whole_or_not_at_all(root: Path, seed: int) -> None:
    """From version 1, with all that it holds; the next start takes what is missing, and work goes on."""
    path = root / "agent.db"
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    migrate(connection, AUTHENTICATION, upto=1)
    connection.close()

    def upgrade() -> None:
        store = SqliteStore(path, JOURNAL_KEY)
        keep(store, closed(1, 3000))
        store.close()

    versions = set()
    for _, ended in survivors(root, seed, upgrade, each=1):
        connection = apsw.Connection(str(path))
        versions.add(version_of(connection))
        connection.close()
        store = SqliteStore(path, JOURNAL_KEY)
        events = store.load().events
        assert events in ((), (closed(1, 3000),))
        assert events or not ended
        keep(store, closed(2, 3000))
        store.close()
        users = Users(path, JOURNAL_KEY, Cost(n=2))
        users.add("ada", "admin", "secret")
        users.close()
    assert versions == {1, VERSION}


# A state folder


def test_init_leaves_a_whole_folder_or_one_that_is_not_taken_for_one(root: Path, seed: int) -> None:
    """Once it has ended, all that it made is there, the folders above it included."""
    taken = 0
    for _, ended in survivors(root, seed, lambda: make_folder(root, "new/deep/device"), each=1):
        try:
            folder = StateFolder.open(root / "new/deep/device")
        except StateFolderError:
            assert not ended
            continue
        taken += 1
        keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
        assert keys.signer().key_id
        load_profile(folder)
        keys.load_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), load_certificate(folder))
        assert (folder.path / CA_FILE).read_text().startswith("-----BEGIN CERTIFICATE-----")
        assert (folder.path / HOST_KEY_FILE).read_text() == host_public_key(keys) + "\n"
        moment = examine(folder.path)
        assert moment.state.anchors
        assert [account.name for account in moment.users[1]] == ["admin"]
    assert taken


def test_the_first_file_that_is_saved_is_there(root: Path, seed: int) -> None:
    """The folder for files is made by the first start."""
    config = RunConfig(make_folder(root))

    def save() -> None:
        Folders.at(files_folder(StateFolder.open(config.state_dir), config)).write("flash:file", [NEW])

    left: set[str] = set()
    for _, ended in survivors(root, seed, save, each=8):
        file = config.state_dir / FILES_FOLDER / "file"
        content = file.read_bytes() if file.exists() else None
        assert content == NEW or (content is None and not ended)
        left.update(entry.name[:5] for entry in file.parent.glob(".*"))
        files_folder(StateFolder.open(config.state_dir), config)
        assert {entry.name for entry in file.parent.iterdir()} <= {"file"}
    assert left == {".slp-"}


def test_a_start_clears_away_what_a_cut_has_left(root: Path, seed: int) -> None:
    path = make_folder(root)
    folder = StateFolder.open(path)
    names = {entry.relative_to(path) for entry in path.rglob("*")}
    keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
    drafts = 0
    for _ in survivors(root, seed, lambda: keys.create_signing_key(DEVICE), each=8):
        drafts += {entry.relative_to(path) for entry in path.rglob("*")} != names
        folder.hold().release()
        assert {entry.relative_to(path) for entry in path.rglob("*")} == names
    assert drafts
