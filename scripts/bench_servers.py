"""The servers of `scripts/bench netconf`: the agent, its peers with the same data, and the bare transport.

yuma123's netconfd cannot serve state without a library in C, so it has the reports as configuration, in a module whose
nodes have the names of ours: the requests are the same octets. It needs sshd in front.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
import getpass
import os
from pathlib import Path
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from bench_attack import LIST, SMALL
from bench_clients import CSL, content
from bench_link import NC, Link, Login, rpc, run
from bench_pull import BIN, KEYS, PASSWORD, SCRIPTS, Process, tool
from bench_pull import agent as running_agent
from lxml import etree

ALL = rpc(f'<get><filter><licensing xmlns="{CSL}"><config><custom-id/></config><state><state-info><rum-ack/><{KEYS}/>'
          "</state-info></state></licensing></filter></get>")  # fmt: skip
YUMA = ("netconfd", "netconf-subsystem", "sshd")
INSTALL = "apt-get install -y netconfd openssh-server"
FULL = etree.XMLParser(huge_tree=True)


def edit(target: str, number: int) -> bytes:
    """Another value of one leaf."""
    return rpc(f'<edit-config><target><{target}/></target><config><licensing xmlns="{CSL}"><config><custom-id>'
               f"bench-{number % 2}</custom-id></config></licensing></config></edit-config>")  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A server that listens."""

    name: str
    login: Login
    pids: tuple[int, ...] = ()
    process: Process | None = None
    edits: bool = True
    commits: bool = True
    idle: int = 500
    """How many idle sessions it is given at most."""

    def memory(self) -> float:
        """Proportional set size of its processes and their children, in MiB."""
        return sum(_pss(pid) for one in self.pids for pid in _family(one))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue
        for child in found:
            yield from _family(int(child))


def _pss(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        # it has ended meanwhile
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


def missing_yuma() -> str | None:
    """Why yuma123 cannot be measured, or None."""
    gone = [name for name in YUMA if not _found(name)]
    return f"{', '.join(gone)} not installed: {INSTALL}" if gone else None


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def make_keys(work: Path) -> Path:
    """One key pair that everybody comes with, and host keys."""
    import asyncssh

    for name, kind in (("user", "ssh-ed25519"), ("host", "ssh-ed25519"), ("host_rsa", "ssh-rsa")):
        key = asyncssh.generate_private_key(kind)
        key.write_private_key(str(work / name))
        (work / name).chmod(0o600)
        key.write_public_key(str(work / f"{name}.pub"))
    return work / "user"


@contextmanager
def agent(folder: Path, key: Path, user: str = "admin") -> Iterator[Target]:
    """A real `slp-agent run`."""
    with running_agent(folder) as running:
        yield Target("agent", Login(running.netconf_address, user, key=key), (running.process.pid,), running.process)


def let_in(folder: Path, key: Path) -> None:
    """The key pair may log in as admin."""
    tool(BIN / "slp-agent", "user", "key", "add", "admin", f"{key}.pub", "--state-dir", folder)


@contextmanager
def script(name: str, login: Callable[[str], Login], command: list[str], **options: object) -> Iterator[Target]:
    """A server in Python that prints its port and serves until its input ends."""
    environment = os.environ | {"BENCH_USER": "admin", "BENCH_PASSWORD": PASSWORD}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as started:
        assert started.stdout is not None
        assert started.stdin is not None
        line = started.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{name} did not start: {started.communicate()[1][-800:]}")
        try:
            yield Target(name, login(f"127.0.0.1:{line}"), (started.pid,), Process(started), **options)  # type: ignore[arg-type]
        finally:
            started.stdin.close()
            started.wait(30)


@contextmanager
def ceiling(work: Path, key: Path, replies: Path) -> Iterator[Target]:
    """asyncssh with the agent's own replies, ready to be sent."""
    command = [sys.executable, str(SCRIPTS / "bench_ceiling.py"), str(work / "host"), str(replies / "list"),
               str(replies / "small")]  # fmt: skip
    with script("ceiling", lambda address: Login(address, "admin", key=key), command) as target:
        yield target


@contextmanager
def pypi(python: str, work: Path, replies: Path) -> Iterator[Target]:
    """PyPI netconf 2.1.0: it takes no ed25519 key, so it compares a password; it has no real edit."""
    command = [python, str(SCRIPTS / "bench_peer_netconf.py"), str(replies / "all.xml"), str(work / "host_rsa")]
    options = {"edits": False, "commits": False, "idle": 100}
    with script("pypi", lambda address: Login(address, "admin", password=PASSWORD), command, **options) as target:
        yield target


@contextmanager
def yuma(work: Path, key: Path, replies: Path, *, candidate: bool) -> Iterator[Target]:
    """netconfd behind an sshd of its own, with `candidate` or running as the target of edits."""
    name = "candidate" if candidate else "running"
    folder = Path(tempfile.mkdtemp(prefix=f"yuma-{name}-", dir=work))
    module, startup = yuma_files(replies / "all.xml", folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ours = folder / "ncx.sock"
    if os.geteuid() == 0:
        # where sshd wants to be when it gives up its rights
        Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "sshd.conf").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {work / 'host'}\nAuthorizedKeysFile {key}.pub\nStrictModes no\n"
        "UsePAM no\nPermitRootLogin yes\nPidFile none\nMaxStartups 1000\nLogLevel ERROR\n"
        f'Subsystem netconf "{_found("netconf-subsystem")} --ncxserver-sockname={port}@{ours}"\n'
    )
    server = [_found("netconfd"), f"--module={module}", f"--startup={startup}", f"--target={name}", "--log-level=error",
              "--access-control=off", f"--superuser={getpass.getuser()}", f"--port={port}",
              f"--ncxserver-sockname={ours}", "--max-sessions=1024"]  # fmt: skip
    with ExitStack() as undo:
        log = undo.enter_context((folder / "log").open("w"))
        started = []
        for command in (server, [_found("sshd"), "-D", "-e", "-f", str(folder / "sshd.conf")]):
            process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, cwd=folder)
            undo.callback(process.wait)
            undo.callback(process.terminate)
            started.append(process)
        login = Login(f"127.0.0.1:{port}", getpass.getuser(), key=key, settle=0.02)
        _wait(login, started, folder / "log")
        yield Target("yuma", login, tuple(one.pid for one in started), edits=not candidate, commits=candidate, idle=50)


def _wait(login: Login, started: Sequence[subprocess.Popen[bytes]], log: Path) -> None:
    """Until it serves: reading its configuration takes yuma123 a while."""

    async def look() -> None:
        await (await Link.open(login)).close()

    end = time.monotonic() + 120
    while True:
        try:
            return run(look())
        except Exception as error:
            if time.monotonic() > end or any(one.poll() is not None for one in started):
                raise SystemExit(f"yuma123 does not serve: {error}: {log.read_text()[-800:]}") from None
            time.sleep(0.1)


def yuma_files(replies: Path, folder: Path) -> tuple[Path, Path]:
    """A module that allows what the agent's reply holds, all of it text, and that reply as its configuration."""
    data = etree.parse(str(replies), FULL).getroot().find(f"{{{NC}}}data")
    assert data is not None
    for element in [one for one in data.iter() if not str(one.tag).startswith(f"{{{CSL}}}")][1:]:
        parent = element.getparent()
        if parent is not None:
            # what our own module has added
            parent.remove(element)
    top = data[0]
    (folder / "peer.yang").write_text(
        f'module peer {{ namespace "{CSL}"; prefix p; revision 2026-11-24;\n{_yang(top)}\n}}\n'
    )
    (folder / "startup.xml").write_bytes(b'<config xmlns="%b">%b</config>' % (NC.encode(), etree.tostring(top)))
    return folder / "peer.yang", folder / "startup.xml"


def _yang(element: etree._Element) -> str:
    name = etree.QName(element).localname
    if not len(element):
        return f"leaf {name} {{ type string; }}"
    # entries have the same leaves: the first one tells
    inner = "\n".join(_yang(one) for one in {one.tag: one for one in reversed(element)}.values())
    kind = f'list {name} {{ key "rum-report-key";' if name == KEYS else f"container {name} {{"
    return f"{kind}\n{inner}\n}}"


def save_replies(target: Target, folder: Path) -> int:
    """What the agent answers, for the others to serve: as it came, and as XML; returns how many reports that is."""

    async def ask() -> list[list[bytes]]:
        link = await Link.open(target.login)
        await link.ask(edit("running", 0))
        found = [await link.ask(one) for one in (SMALL, LIST, ALL)]
        await link.close()
        return found

    folder.mkdir()
    small, whole, both = run(ask())
    (folder / "small").write_bytes(b"".join(small))
    (folder / "list").write_bytes(b"".join(whole))
    (folder / "all.xml").write_bytes(content(both))
    if b"<next-report-deadline>" not in b"".join(small):
        raise SystemExit(f"the small get is empty: {b''.join(small)[:500]!r}")
    return b"".join(whole).count(b"</rum-report-key>")
