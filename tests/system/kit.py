"""The installed commands as real processes: a device, an authority, tools that a user types. Tests hold no process."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
import contextlib
from contextlib import contextmanager
from http.client import HTTPSConnection
import json
import os
from pathlib import Path
import select
import signal
import ssl
import subprocess
import sys
import time
from typing import Any, NamedTuple
import urllib.error
from urllib.parse import urlsplit
import urllib.request
import warnings

with warnings.catch_warnings():
    # the library's own imports are none of our warnings
    warnings.simplefilter("ignore")
    from ncclient import manager
    from ncclient.transport.errors import TransportError as TransportError
    from ncclient.xml_ import to_ele

from agent import usage

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
PASSWORD = "one-for-all-tests"
CSL = "http://cisco.com/ns/yang/cisco-smart-license"
SLPA = "urn:slp-agent:yang:slp-agent"
NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
STATE = f'<licensing xmlns="{CSL}"><state><state-info>%s</state-info></state></licensing>'
STATE_URI = "/data/cisco-smart-license:licensing/state/state-info"
STARTED = 20.0
ENDED = 5.0
"""Seconds that SIGTERM may take (the promise of `slp-agent run`)."""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def tool(*words: str | Path, given: str = "", env: dict[str, str] | None = None, timeout: float = 60) -> Done:
    """Run a command to its end; `given` is its standard input."""
    environment = {**os.environ, "SLP_PASSWORD": PASSWORD, "COLUMNS": "200", **(env or {})}
    environment.pop("SLP_AGENT_STATE_DIR", None)
    # plain text also where a CI service says that it is a terminal
    environment["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
    command = [str(word) for word in words]
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, timeout=timeout)
    return Done(done.returncode, done.stdout, done.stderr)


def agent(*words: str | Path, given: str = "", **options: Any) -> Done:
    return tool(BIN / "slp-agent", *words, given=given, **options)


def script(name: str, *words: str | Path, **options: Any) -> Done:
    return tool(sys.executable, SCRIPTS / name, *words, **options)


class Process:
    """A process that says in one JSON line that it is ready, logs to a file, and ends on SIGTERM."""

    def __init__(self, log: Path, *words: str | Path) -> None:
        self.log = log
        with log.open("ab") as errors:
            self.popen = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=errors)
        assert self.popen.stdout is not None
        self.out = self.popen.stdout
        readable, _, _ = select.select([self.out], [], [], STARTED)
        line = self.out.readline() if readable else b""
        if not line:
            self.kill()
            raise AssertionError(f"{words[0]} did not start: {log.read_text()[-2000:]}")
        self.ready: dict[str, Any] = json.loads(line)
        assert self.ready["event"] == "ready"

    def stop(self) -> float:
        """SIGTERM; returns the seconds that it took. Standard output has nothing but the ready line."""
        begun = time.monotonic()
        self.popen.send_signal(signal.SIGTERM)
        try:
            code = self.popen.wait(2 * ENDED)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not ended by SIGTERM: {self.log.read_text()[-2000:]}") from None
        took = time.monotonic() - begun
        rest = self.out.read()
        self.out.close()
        assert (code, rest) == (0, b""), self.log.read_text()[-2000:]
        return took

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()
        self.out.close()

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def resident(self) -> int:
        """Bytes of memory."""
        return int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.popen.pid}/fd"))  # noqa: PTH208 - a generator would hold the folder open


class Device:
    """An agent on a state folder of its own; `folder.log` beside it holds what all its runs logged."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.log = folder.with_name(folder.name + ".log")
        self.process: Process | None = None

    @classmethod
    def make(cls, folder: Path, *options: str | Path, run: tuple[str, ...] = ()) -> Device:
        """`slp-agent init` with the users admin, collector and reader; `run` are options of every run."""
        done = agent("init", "--state-dir", folder, "--user", "admin", "--password-stdin", *options, given=PASSWORD)
        assert done.code == 0, done.err
        made = cls(folder, *run)
        for group in ("collector", "reader"):
            made.add_user(group, group)
        return made

    def add_user(self, name: str, group: str) -> None:
        done = self.tool("user", "add", name, "--group", group, "--password-stdin", given=PASSWORD)
        assert done == (0, "", "")

    def tool(self, *words: str | Path, **options: Any) -> Done:
        return agent(*words, "--state-dir", self.folder, **options)

    # Running

    def start(self, *options: str) -> Process:
        ports = ("--netconf", "127.0.0.1:0", "--restconf", "127.0.0.1:0")
        run = ("run", "--state-dir", self.folder, *ports, *self.options, *options)
        self.process = Process(self.log, BIN / "slp-agent", *run)
        return self.process

    def start_and_kill(self, seconds: float) -> None:
        """Kill it that soon after its start, whether it serves by then or not."""
        ports = ("--netconf", "127.0.0.1:0", "--restconf", "127.0.0.1:0")
        command = [str(BIN / "slp-agent"), "run", "--state-dir", str(self.folder), *ports, *self.options]
        with self.log.open("ab") as log, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log) as started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(seconds)
            started.kill()

    @property
    def up(self) -> Process:
        assert self.process is not None
        return self.process

    def stop(self) -> float:
        return self.up.stop()

    def kill(self) -> None:
        self.up.kill()

    @contextmanager
    def running(self, *options: str) -> Iterator[Process]:
        """From ready to a proper end, with nothing in the log that should not be there."""
        process = self.start(*options)
        try:
            yield process
        except BaseException:
            process.kill()
            raise
        if process.running:
            assert process.stop() < ENDED
        assert "Traceback" not in self.log.read_text(), self.log.read_text()

    # As its users see it

    @property
    def netconf(self) -> str:
        return str(self.up.ready["netconf"])

    @property
    def restconf(self) -> str:
        return str(self.up.ready["restconf"])

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.netconf.rpartition(":")
        return host, int(port)

    def recorder(self) -> usage.Recorder:
        return usage.connect(self.folder / "agent.sock")

    @contextmanager
    def ncclient(self, user: str = "admin", kind: str = "default") -> Iterator[Any]:
        host, port = self.address
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            with manager.connect(
                host=host, port=port, username=user, password=PASSWORD, hostkey_verify=False, look_for_keys=False,
                allow_agent=False, device_params={"name": kind}, timeout=30,
            ) as session:  # fmt: skip
                tell_of_the_end(session)
                yield session

    def http(self, user: str = "admin", password: str = PASSWORD) -> Http:
        return Http(self.restconf, self.ca, user, password)

    def show(self, what: str) -> Any:
        done = self.tool("show", "license", what, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    def close_reports(self) -> list[str]:
        """Close what is open; returns the keys."""
        with self.http("collector") as caller:
            status, body = caller.post("/operations/slp-agent:close-reports")
        assert status == 200, body
        assert body["slp-agent:output"]["return-code"] == "success", body
        return list(body["slp-agent:output"].get("rum-report-key", []))

    def closed(self, **counts: int) -> list[str]:
        """Record counts by licence name (_ for -), and close the reports of all that is in use; returns the keys."""
        with self.recorder() as recorder:
            for name, count in counts.items():
                recorder.record(name.replace("_", "-"), count)
        # a report that has not measured a whole second stays open
        second = int(time.time())
        while int(time.time()) == second:
            time.sleep(0.02)
        keys = self.close_reports()
        assert len(keys) >= len(counts)
        return keys


def tell_of_the_end(session: Any) -> None:
    """Make an open ncclient session fail what is asked in the very moment that its peer is lost.

    ncclient tells the requests that wait and then goes on to close: one that comes in between waits out its time.
    """
    transport = session._session
    close = transport.close

    def close_and_tell() -> None:
        close()
        transport._dispatch_error(TransportError("the session has ended"))

    transport.close = close_and_tell


class Http:
    """RESTCONF by the standard library's client, over one connection."""

    def __init__(self, base: str, ca: Path, user: str, password: str) -> None:
        where = urlsplit(base)
        context = ssl.create_default_context(cafile=str(ca))
        self.base = where.path
        self.connection = HTTPSConnection(where.hostname or "", where.port, context=context, timeout=30)
        self.login = "Basic " + b64encode(f"{user}:{password}".encode()).decode()

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        sent = {"Authorization": self.login, **{name.replace("_", "-"): value for name, value in headers.items()}}
        self.connection.request(method, self.base + path, body=body, headers=sent)
        reply = self.connection.getresponse()
        return reply.status, reply.read()

    def get(self, path: str) -> Any:
        """The value of one resource, or None where there is none."""
        status, body = self.request("GET", path, Accept="application/yang-data+json")
        assert status in (200, 404), body
        return next(iter(json.loads(body).values())) if status == 200 else None

    def post(self, path: str, value: Any = None) -> tuple[int, Any]:
        body = None if value is None else json.dumps(value).encode()
        status, answer = self.request("POST", path, body, Content_Type="application/yang-data+json")
        return status, json.loads(answer) if answer else None


class Authority:
    """`slp-peer authority` on a state folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.process: Process | None = None

    @classmethod
    def make(cls, folder: Path, *options: str, run: tuple[str, ...] = ()) -> Authority:
        made = cls(folder, *run)
        done = made.tool("init", "--account", "Example Networks", "--virtual-account", "Lab", *options)
        assert done.code == 0, done.err
        return made

    @property
    def anchor(self) -> Path:
        return self.folder / "anchor.pem"

    def tool(self, *words: str | Path) -> Done:
        # the folder goes before what may be an argument, and after the names of the commands
        names = 2 if words[0] == "policy" else 1
        return tool(BIN / "slp-peer", "authority", *words[:names], "--state-dir", self.folder, *words[names:])

    def set_policy(self, policy: dict[str, Any]) -> None:
        file = self.folder / "policy-to-set.json"
        file.write_text(json.dumps(policy))
        done = self.tool("policy", "set", file)
        assert done.code == 0, done.err

    def approve(self, udi: str) -> None:
        done = self.tool("approve", udi)
        assert done.code == 0, done.err

    @contextmanager
    def running(self) -> Iterator[Authority]:
        run = ("run", "--state-dir", self.folder, "--http", "127.0.0.1:0", *self.options)
        self.process = Process(self.folder.with_name(self.folder.name + ".log"), BIN / "slp-peer", "authority", *run)
        try:
            yield self
        except BaseException:
            self.process.kill()
            raise
        self.process.stop()

    def submit(self, documents: list[str]) -> tuple[int, bytes]:
        """Send reports; 200 comes with the file to install, 202 when an operator has to approve the device."""
        assert self.process is not None
        body = ("[" + ",".join(documents) + "]").encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.process.ready['http']}/v1/usage", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


def documents(session: Any) -> dict[str, str]:
    """The pull by an open ncclient session: first the keys, then all documents; by key."""
    reply = session.get(("subtree", STATE % "<rum-reports-closed-keys><rum-report-key/></rum-reports-closed-keys>"))
    keys = [entry.text for entry in reply.data_ele.iter(f"{{{CSL}}}rum-report-key")]
    if not keys:
        return {}
    wanted = "".join(body_filter(key) for key in keys)
    return collect(session.get(("subtree", STATE % wanted)).data_ele)


def body_filter(key: str) -> str:
    return f'<rum-reports-closed xmlns="{SLPA}"><rum-report-key>{key}</rum-report-key><document/></rum-reports-closed>'


def collect(data: Any) -> dict[str, str]:
    """Key and document of every report in a reply's data."""
    bodies = list(data.iter(f"{{{SLPA}}}rum-reports-closed"))
    return {body.findtext(f"{{{SLPA}}}rum-report-key"): body.findtext(f"{{{SLPA}}}document") for body in bodies}


def invoke(session: Any, operation: str) -> Any:
    """Run an RPC of slp-agent by an open ncclient session; returns the reply as lxml element."""
    return to_ele(str(session.dispatch(to_ele(operation))))


def payload(document: str) -> Any:
    """What a signed report says."""
    return json.loads(json.loads(document)["payload"])
