"""Accounts: who gets in and who does not, changes from another process, and names and keys that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import subprocess
import sys
import threading
import time

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
import pytest

from agent.store.errors import StoreError, UserError
from agent.store.sqlite import SqliteStore
from agent.store.users import GROUPS, Account, Cost, Users

from .samples import JOURNAL_KEY, keep, sampled

QUICK = Cost(n=2**4)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def users(path: Path) -> Iterator[Users]:
    users = Users(path, JOURNAL_KEY, QUICK)
    yield users
    users.close()


def key_line(comment: str = "") -> str:
    return _line(ed25519.Ed25519PrivateKey.generate()) + (f" {comment}" if comment else "")


def _line(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, form).decode()


def test_there_is_no_account_that_nobody_made(users: Users) -> None:
    assert users.all() == ()
    for name in ("admin", "root", "cisco", ""):
        assert users.user(name) is None
        assert users.password(name, name) is None
        assert users.public_keys(name) == ()


def test_name_and_password_let_in_only_together(users: Users) -> None:
    users.add("ada", "admin", "Grüße, 世界")
    users.add("bob", "collector", "b")
    ada = Account("ada", "admin", (), True)
    assert users.password("ada", "Grüße, 世界") == ada == users.user("ada")
    assert ada.groups == {"admin"}
    assert users.all() == (ada, Account("bob", "collector", (), True))
    for name, password in (
        ("ada", "b"), ("bob", "Grüße, 世界"), ("ada", ""), ("ada", "Grüße, 世界 "), ("ada", "grüße, 世界"),
        ("Ada", "Grüße, 世界"), ("ada\0", "Grüße, 世界"), ("ada", "Grüße, 世界\0"), ("ada", "\udcff"), ("", ""),
    ):  # fmt: skip
        assert users.password(name, password) is None


def test_a_long_password_is_never_taken_for_its_beginning(users: Users) -> None:
    users.add("ada", "admin", "x" * 1024)
    assert users.password("ada", "x" * 1024) is not None
    for length in (1023, 1025, 1_000_000):
        assert users.password("ada", "x" * length) is None


def test_the_last_administrator_stays(users: Users) -> None:
    """Unless it is forced; the others of the group admin may go."""
    users.add("ada", "admin", "x")
    users.add("bob", "reader", "x")
    for change in (lambda: users.remove("ada"), lambda: users.set_group("ada", "reader")):
        with pytest.raises(UserError, match="ada is the last administrator: give another user the group admin first"):
            change()
    users.set_group("ada", "admin")
    users.remove("bob")
    users.add("eve", "admin", "x")
    users.remove("ada")
    users.set_group("eve", "collector", force=True)
    assert [(each.name, each.group) for each in users.all()] == [("eve", "collector")]
    users.remove("eve")


def test_a_password_can_be_changed_and_a_user_removed(users: Users) -> None:
    users.add("ada", "admin", "old")
    users.set_password("ada", "new")
    assert users.password("ada", "old") is None
    assert users.password("ada", "new") is not None
    users.set_group("ada", "reader", force=True)
    assert users.password("ada", "new") == Account("ada", "reader", (), True)
    users.remove("ada")
    assert users.password("ada", "new") is None
    assert users.all() == ()
    users.add("ada", "reader", "third")
    assert users.password("ada", "new") is None


def test_keys_are_kept_as_they_are_without_doubles(users: Users) -> None:
    first, second = key_line("ada@host one"), _line(ec.generate_private_key(ec.SECP256R1()))
    third = _line(rsa.generate_private_key(65537, 2048))
    users.add("ada", "admin", ssh_keys=["# mine", "", f"  {first}\n", second, second, third])
    assert users.public_keys("ada") == (first, second, third)
    assert users.user("ada") == Account("ada", "admin", (first, second, third), False)
    assert users.password("ada", "") is None
    users.set_keys("ada", [second])
    assert users.public_keys("ada") == (second,)
    with pytest.raises(UserError, match="has no password: the last SSH key stays"):
        users.set_keys("ada", [])
    users.set_password("ada", "now")
    users.set_keys("ada", [])
    assert users.public_keys("ada") == ()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "-x", ".x", "a/b", "root/../x", "a b", "a\n", "a\0", "ä", "a" * 65, "a:b", "*", "../../etc", "@a"],
)
def test_a_name_is_only_what_can_do_no_harm(users: Users, name: str) -> None:
    with pytest.raises(UserError, match="cannot be a user name: use up to 64 letters"):
        users.add(name, "admin", "secret")
    assert users.all() == ()


@pytest.mark.parametrize("name", ["a", "_", "a.b-c_d", "0", "A" * 64, "Bob.Smith@example.com"])
def test_ordinary_names_are_taken(users: Users, name: str) -> None:
    users.add(name, "reader", "secret")
    assert users.password(name, "secret") is not None


def test_an_account_that_logs_in_by_what_is_checked_elsewhere(users: Users, path: Path) -> None:
    """It has its group, and no password and no key fits; it is there in the next life, and may be given a password."""
    made = users.add("lou", "reader", elsewhere=True)
    assert (made, users.user("lou")) == (Account("lou", "reader", (), False),) * 2
    assert users.public_keys("lou") == ()
    assert not any(users.password("lou", given) for given in ("", "lou", "\0"))
    again = Users(path, JOURNAL_KEY, QUICK)
    assert again.user("lou") == made
    again.close()
    users.set_password("lou", "secret")
    assert users.password("lou", "secret") is not None


def test_what_cannot_be_done_is_said_and_changes_nothing(users: Users) -> None:
    users.add("ada", "admin", "secret")
    before, epoch = users.all(), users.epoch()
    weak = _line(rsa.generate_private_key(65537, 1024))
    line = key_line()
    for act, said in (
        (lambda: users.add("ada", "reader", "x"), "there is a user ada already"),
        (lambda: users.add("bob", "root", "x"), "'root' is not a group: choose one of admin, collector, reader"),
        (lambda: users.add("bob", "reader"), "needs a password or an SSH key"),
        (lambda: users.add("bob", "reader", ssh_keys=[]), "needs a password or an SSH key"),
        (lambda: users.add("bob", "reader", ""), "a password has 1 to 1024 bytes"),
        (lambda: users.add("bob", "reader", "a\0b"), "a password has 1 to 1024 bytes and no NUL"),
        (lambda: users.add("bob", "reader", "ä" * 513), "a password has 1 to 1024 bytes"),
        (lambda: users.set_password("bob", "x"), "there is no user bob: list the users"),
        (lambda: users.set_password("ada", ""), "a password has 1 to 1024 bytes"),
        (lambda: users.set_group("ada", "x"), "'x' is not a group"),
        (lambda: users.set_group("bob", "admin"), "there is no user bob"),
        (lambda: users.set_keys("bob", []), "there is no user bob"),
        (lambda: users.remove("bob"), "there is no user bob"),
        (lambda: users.set_keys("ada", [weak]), "is too weak: use ed25519, ECDSA, or RSA of 2048 bits or more"),
        (lambda: users.set_keys("ada", ["ssh-ed25519"]), "is not an SSH public key"),
        (lambda: users.set_keys("ada", [line[:40]]), "is not an SSH public key"),
        (lambda: users.set_keys("ada", ["x" * 10_000]), "is not an SSH public key"),
        (lambda: users.set_keys("ada", [f'command="id" {line}']), "is not an SSH public key"),
        (lambda: users.set_keys("ada", [line + "\n" + line]), "is not an SSH public key"),
        (lambda: users.set_keys("ada", [key_line() for _ in range(33)]), "at most 32 SSH keys"),
    ):
        with pytest.raises(UserError, match=said):
            act()
    assert users.all() == before
    assert users.epoch() == epoch


def test_the_groups_are_the_ones_that_access_control_knows() -> None:
    assert GROUPS == ("admin", "collector", "reader")


OTHER = """
import sys
from pathlib import Path
from agent.store.users import Cost, Users
from tests.store.samples import JOURNAL_KEY
users = Users(Path(sys.argv[1]), JOURNAL_KEY, Cost(n=16))
users.add("late", "collector", "secret")
users.remove("early")
users.set_password("ada", "changed")
users.close()
"""


def test_another_process_changes_users_while_the_agent_runs(path: Path, users: Users) -> None:
    """The running agent sees it at the next question, and its own commits go on before, during and after."""
    store = SqliteStore(path, JOURNAL_KEY)
    users.add("ada", "admin", "secret")
    users.add("early", "reader", "secret")
    epoch = users.epoch()
    with subprocess.Popen([sys.executable, "-c", OTHER, str(path)], cwd=ROOT) as child:
        number = 0
        while child.poll() is None:
            number += 1
            keep(store, sampled(number))
            time.sleep(0.002)
    assert child.returncode == 0
    assert users.epoch() == epoch + 3
    assert users.password("late", "secret") is not None
    assert users.password("early", "secret") is None
    assert users.password("ada", "secret") is None
    assert users.password("ada", "changed") is not None
    keep(store, sampled(number + 1))
    assert len(store.load().events) == number + 1
    store.close()


def test_two_processes_that_add_at_once_both_succeed(path: Path, users: Users) -> None:
    other = Users(path, JOURNAL_KEY, QUICK)
    threads = [
        threading.Thread(target=lambda each=each, n=n: each.add(f"user{n}", "reader", "x"))
        for n, each in enumerate((users, other) * 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.name for each in users.all()] == [f"user{n}" for n in range(10)] == [each.name for each in other.all()]
    other.close()


def test_an_unknown_name_costs_what_a_known_one_does(path: Path) -> None:
    """In processor time of this thread, at the real cost; a shortcut would differ by a factor of thousands."""
    users = Users(path, JOURNAL_KEY)
    users.add("ada", "admin", "secret")
    users.add("keys", "admin", ssh_keys=[key_line()])

    def cost(name: str, password: str) -> float:
        spans = []
        for _ in range(3):
            begin = time.thread_time()
            users.password(name, password)
            spans.append(time.thread_time() - begin)
        return min(spans)

    right = cost("ada", "secret")
    for name, password in (("ada", "wrong"), ("nobody", "wrong"), ("keys", "wrong"), ("../x", "wrong"), ("ada", "")):
        assert right / 2 < cost(name, password) < right * 2
    users.close()


def test_the_parameters_stand_with_each_password(path: Path, users: Users) -> None:
    """Older, cheaper hashes stay valid when the cost is raised; a new password takes the new cost."""
    users.add("ada", "admin", "secret")
    dearer = Users(path, JOURNAL_KEY, Cost(n=2**6, r=4, p=2))
    assert dearer.password("ada", "secret") is not None
    dearer.set_password("ada", "second")
    assert users.password("ada", "second") is not None
    row = users._connection.execute("SELECT n, r, p FROM users").fetchall()
    assert row == [(64, 4, 2)]
    dearer.close()


def test_no_secret_is_in_a_repr(users: Users) -> None:
    account = users.add("ada", "admin", "secret")
    assert "secret" not in repr(account)
    assert repr(account) == "Account(name='ada', group='admin', ssh_keys=(), has_password=True)"


def test_closed_users_say_so(path: Path) -> None:
    users = Users(path, JOURNAL_KEY, QUICK)
    users.close()
    for act in (users.all, users.epoch, lambda: users.password("x", "y"), lambda: users.add("a", "admin", "b")):
        with pytest.raises(StoreError, match="the store is closed"):
            act()
