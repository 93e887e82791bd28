"""File arguments, folders and files: real ones of every kind, and what is wrong with each."""

from __future__ import annotations

from collections.abc import Iterator
import errno
import os
from pathlib import Path
import resource
import signal
import socket
import tempfile

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
import pytest

from agent.transport.files import FileError, Folders, remove_drafts

LIMIT = 1000


@pytest.fixture
def flash(tmp_path: Path) -> Path:
    """The configured folder, with a secret beside it."""
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "flash"
    folder.mkdir()
    return folder


@pytest.fixture
def folders(flash: Path) -> Folders:
    return Folders.at(flash)


def refused(folders: Folders, argument: str, reason: str) -> str:
    """Both directions refuse it for the same reason; the message, which names the file."""
    with pytest.raises(FileError) as caught:
        folders.read(argument, LIMIT)
    assert caught.value.reason == reason
    with pytest.raises(FileError) as written:
        folders.write(argument, [b"x"])
    assert written.value.reason == reason
    with pytest.raises(FileError) as checked:
        folders.check(argument)
    assert checked.value.reason == reason
    return caught.value.message


@pytest.mark.parametrize("form", ["flash:one.xml", "bootflash:one.xml", "one.xml", "flash:/one.xml"])
def test_all_forms_lead_to_the_same_folder(folders: Folders, flash: Path, form: str) -> None:
    folders.check(form)
    folders.write(form, [b"a", b"", b"bc"])
    assert (flash / "one.xml").read_bytes() == b"abc"
    assert folders.read(form, 3) == b"abc"
    assert [path.name for path in flash.iterdir()] == ["one.xml"]


def test_a_word_may_have_a_folder_of_its_own(flash: Path, tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    folders = Folders({"flash": flash, "bootflash": tmp_path / "boot"})
    folders.write("bootflash:a", [b"1"])
    assert (tmp_path / "boot" / "a").read_bytes() == b"1"
    with pytest.raises(FileError, match="give the file as one of flash:NAME, bootflash:NAME") as caught:
        folders.read("a", LIMIT)
    assert caught.value.reason == "bad-name"


def test_without_a_folder_every_file_is_refused() -> None:
    assert "no folder for files" in refused(Folders({}), "flash:a", "bad-name")


def test_folders_below_are_used_and_never_made(folders: Folders, flash: Path) -> None:
    (flash / "in" / "deep").mkdir(parents=True)
    folders.write("flash:in/deep/a", [b"1"])
    assert (flash / "in" / "deep" / "a").read_bytes() == b"1"
    assert folders.read("in/deep/a", LIMIT) == b"1"
    assert "no such file or folder" in refused(folders, "flash:out/a", "no-file")
    assert not (flash / "out").exists()


BAD_NAMES = [
    "",
    "flash:",
    "flash:/",
    "/etc/passwd",
    "//etc/passwd",
    "flash://etc/passwd",
    "..",
    "../secret",
    "flash:../secret",
    "flash:/../secret",
    "flash:a/../../secret",
    "flash:.",
    "flash:./a",
    ".hidden",
    "flash:a/",
    "flash:a//b",
    "flash:a\\b",
    "flash:a\nb",
    "flash:a\x7f",
    "flash:a\x00b",
    "tftp://192.0.2.1/a",
    "nvram:a",
    "FLASH:a",
    ":a",
    "flash:" + "a" * 128,
]


@pytest.mark.parametrize("argument", BAD_NAMES)
def test_what_is_no_name_is_refused(folders: Folders, tmp_path: Path, argument: str) -> None:
    message = refused(folders, argument, "bad-name")
    assert "\n" not in message
    assert len(message) < 300
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_a_name_that_is_too_long_for_the_disk(folders: Folders) -> None:
    """127 characters fit the model, and take up to 508 bytes."""
    assert "too long" in refused(folders, "flash:" + "€" * 120, "bad-name")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.text(max_size=127))
def test_no_argument_leads_out(folders: Folders, tmp_path: Path, argument: str) -> None:
    """Whatever is asked, only files below the configured folder come into being."""
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "flash")}
    try:
        folders.write(argument, [b"x"])
    except FileError:
        pass
    else:
        assert folders.read(argument, LIMIT) == b"x"
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "flash")} == before


@pytest.fixture(params=["folder", "link", "dangling link", "named pipe", "socket"])
def odd(request: pytest.FixtureRequest, flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Something called `odd` that is no regular file."""
    path = flash / "odd"
    match request.param:
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "secret")
        case "dangling link":
            path.symlink_to(tmp_path / "nothing")
        case "named pipe":
            os.mkfifo(path)
        case "socket":
            monkeypatch.chdir(flash)  # the path of a socket is short
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind("odd")
                yield "socket"
            return
    yield request.param.split()[-1] if "pipe" not in request.param else "named pipe"


def test_what_is_no_regular_file_is_refused_by_its_kind(folders: Folders, odd: str, tmp_path: Path) -> None:
    assert f"is a {odd}" in refused(folders, "flash:odd", "not-a-file")
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert not (tmp_path / "nothing").exists()


def test_a_device_is_refused(tmp_path: Path) -> None:
    folders = Folders.at(Path("/dev"))
    with pytest.raises(FileError, match="is a device") as caught:
        folders.read("flash:zero", LIMIT)
    assert caught.value.reason == "not-a-file"


def test_links_on_the_way_are_refused(folders: Folders, flash: Path, tmp_path: Path) -> None:
    (flash / "up").symlink_to(tmp_path)
    assert "link" in refused(folders, "flash:up/secret", "not-a-file")
    (flash / "file").write_bytes(b"")
    assert "not a folder" in refused(folders, "flash:file/a", "not-a-file")


def test_the_configured_folder_may_be_a_link(flash: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(flash)
    Folders.at(tmp_path / "link").write("a", [b"1"])
    assert (flash / "a").read_bytes() == b"1"


def test_a_folder_that_vanished(folders: Folders, flash: Path) -> None:
    flash.rmdir()
    assert "no such file or folder" in refused(folders, "flash:a", "no-file")


def test_a_file_that_is_not_there(folders: Folders) -> None:
    with pytest.raises(FileError, match="no such file") as caught:
        folders.read("flash:a", LIMIT)
    assert caught.value.reason == "no-file"


def test_a_file_that_is_too_long(folders: Folders, flash: Path) -> None:
    (flash / "a").write_bytes(b"x" * (LIMIT + 1))
    with pytest.raises(FileError, match=f"more than {LIMIT} bytes") as caught:
        folders.read("flash:a", LIMIT)
    assert caught.value.reason == "too-long"
    assert len(folders.read("flash:a", LIMIT + 1)) == LIMIT + 1


def test_a_huge_sparse_file_costs_no_memory(folders: Folders, flash: Path) -> None:
    with (flash / "a").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FileError) as caught:
        folders.read("flash:a", LIMIT)
    assert caught.value.reason == "too-long"


def test_writing_replaces_the_file_and_not_what_others_have_open(folders: Folders, flash: Path) -> None:
    (flash / "a").write_bytes(b"old")
    with (flash / "a").open("rb") as reader:
        folders.write("flash:a", [b"new"])
        assert reader.read() == b"old"
    assert (flash / "a").read_bytes() == b"new"
    assert (flash / "a").stat().st_mode & 0o777 == 0o640 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_full_disk_leaves_the_old_file(folders: Folders, flash: Path) -> None:
    """A limit on the size of files gives what a full disk gives: a write that fails in its midst."""
    (flash / "a").write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(FileError, match="no space left") as caught:
            folders.write("flash:a", [b"x" * 3000, b"y" * 3000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.reason == "no-space"
    assert (flash / "a").read_bytes() == b"old"
    assert [path.name for path in flash.iterdir()] == ["a"]


def test_what_fails_while_the_content_is_made_leaves_nothing(folders: Folders, flash: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise KeyError("b")

    with pytest.raises(KeyError):
        folders.write("flash:a", pieces())
    assert list(flash.iterdir()) == []


def test_the_order_is_data_then_name_then_folder(
    folders: Folders, flash: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Durable on return: the file's bytes are synced before it gets its name, and its name after."""
    order: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        order.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    def renamed(*arguments: object, **options: object) -> None:
        order.append("name")
        rename(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    folders.write("flash:a", [b"1"])
    assert order == ["file", "name", "folder"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, "no-space"), (errno.EDQUOT, "no-space"), (errno.EIO, "not-written"), (errno.EROFS, "not-written")],
)
def test_a_disk_that_fails_at_the_end(
    folders: Folders, flash: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(FileError) as caught:
        folders.write("flash:a", [b"1"])
    assert caught.value.reason == reason
    assert list(flash.iterdir()) == []


def test_a_file_that_vanishes_between_the_looks(folders: Folders, flash: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (flash / "a").write_bytes(b"1")
    real = os.open

    def opened(path: str, *arguments: int, **options: int) -> int:
        if path == "a":
            (flash / "a").unlink()
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(FileError, match="no such file") as caught:
        folders.read("flash:a", LIMIT)
    assert caught.value.reason == "no-file"


def test_a_file_that_becomes_a_link_between_the_looks(
    folders: Folders, flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (flash / "a").write_bytes(b"1")
    real = os.open

    def opened(path: str, *arguments: int, **options: int) -> int:
        if path == "a":
            (flash / "a").unlink()
            (flash / "a").symlink_to(tmp_path / "secret")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(FileError, match="a link") as caught:
        folders.read("flash:a", LIMIT)
    assert caught.value.reason == "not-a-file"


def test_a_file_without_the_right_to_read() -> None:
    """As a user without rights; root reads everything, so a child gives its rights up."""
    with tempfile.TemporaryDirectory() as made:
        flash = Path(made)
        (flash / "a").write_bytes(b"1")
        (flash / "a").chmod(0)
        flash.chmod(0o555)
        folders = Folders.at(flash)
        if os.geteuid() != 0:
            assert refused_for_want_of_rights(folders)
            flash.chmod(0o755)
            return
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os._exit(0 if refused_for_want_of_rights(folders) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def refused_for_want_of_rights(folders: Folders) -> bool:
    """Whether the file `a` can neither be read nor one be written beside it, and both say so."""
    found = []
    for act in (lambda: folders.read("flash:a", LIMIT), lambda: folders.write("flash:b", [b"1"])):
        try:
            act()
        except FileError as error:
            found.append((error.reason, "rights" in error.message))
    return found == [("unreadable", True), ("not-written", True)]


def test_deletion(folders: Folders, flash: Path) -> None:
    """Regular files in the folder only; everything else stays."""
    (flash / "a").mkdir()
    (flash / "a" / "one").write_bytes(b"1")
    (flash / "link").symlink_to(flash.parent / "secret")
    folders.delete("flash:a/one")
    assert list((flash / "a").iterdir()) == []
    for argument, reason in (
        ("a/one", "no-file"),
        ("a", "not-a-file"),
        ("link", "not-a-file"),
        ("../secret", "bad-name"),
        ("", "bad-name"),
    ):
        with pytest.raises(FileError) as caught:
            folders.delete(argument)
        assert caught.value.reason == reason, argument
    assert (flash.parent / "secret").read_bytes() == b"secret"
    assert (flash / "link").is_symlink()


def test_drafts_that_a_death_left_are_removed_wherever_they_lie(flash: Path) -> None:
    """In subfolders too; other files stay, and no link is followed."""
    deep = flash / "a" / "b"
    deep.mkdir(parents=True)
    outside = flash.parent / "outside"
    outside.mkdir()
    for folder in (flash, deep, outside):
        (folder / ".slp-0123456789ab").write_bytes(b"half")
        (folder / "kept.xml").write_bytes(b"whole")
    (flash / "link").symlink_to(outside)
    remove_drafts(flash)
    left = sorted(str(path.relative_to(flash)) for path in flash.rglob("*") if path.is_file())
    assert left == ["a/b/kept.xml", "kept.xml"]
    assert (outside / ".slp-0123456789ab").exists()
