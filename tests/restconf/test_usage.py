"""The client that applications import, against a served agent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

import pytest

from agent import usage
from agent.clock import SystemClock
from agent.core.access import Access
from agent.core.compile import compile_modules
from agent.core.dispatch import Dispatch, Providers
from agent.core.schema import Schema
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.core.validate import best_validator
from agent.restconf.auth import local_user
from agent.restconf.listen import Local, Tcp, pem_files
from agent.restconf.server import Addresses, Server
from tests.restconf.build import Accounts, Served
from tests.toy.build import Store


@dataclass
class Counts:
    """An agent that takes record-usage and nothing else."""

    path: Path
    certificate: Path
    addresses: Addresses
    server: Server
    recorded: list[tuple[str, int, str]] = field(default_factory=list)
    code: str | None = "success"

    def record(self, input: Tree, session: Session) -> Tree | None:  # noqa: A002 - YANG's word
        if self.code == "success":
            self.recorded.append((input["license"], input["count"], session.user.name))
        return {} if self.code is None else {"return-code": self.code}


@pytest.fixture
def counts(tmp_path: Path, pem: tuple[Path, Path]) -> Iterator[Counts]:
    schema = Schema.load(compile_modules([Path(__file__).parent / "models"], ["slp-agent"], {}))
    holder: list[Counts] = []

    def record(input: Tree, session: Session) -> Tree | None:  # noqa: A002
        return holder[0].record(input, session)

    dispatch = Dispatch(
        schema,
        clock=SystemClock(),
        access=Access(schema, {"read-default": "deny", "exec-default": "deny"}),
        providers=Providers(operations={"/slp-agent:record-usage": record}),
        validator=best_validator(schema),
        begin=Store().begin,
    )
    dispatch.start()
    path = tmp_path / "sock"
    server = Server(dispatch, Accounts(), tcp=Tcp("127.0.0.1", 0, pem_files(*pem)), local=Local(path, local_user))
    holder.append(Counts(path, pem[0], server.start(), server))
    yield holder[0]
    server.stop()
    dispatch.stop()


def test_record(counts: Counts) -> None:
    with usage.connect(counts.path) as recorder:
        recorder.record("network-advantage", 3)
        recorder.record("network-advantage", 0)
    user = local_user(os.getuid())
    assert user is not None
    assert counts.recorded == [("network-advantage", 3, user.name), ("network-advantage", 0, user.name)]


def test_refused_by_the_operation(counts: Counts) -> None:
    counts.code = "license-unknown"
    with usage.connect(counts.path) as recorder, pytest.raises(usage.UsageRefused, match="nothing-such") as refused:
        recorder.record("nothing-such", 3)
    assert refused.value.return_code == "license-unknown"
    assert counts.recorded == []


@pytest.mark.parametrize(("name", "count"), [("", 1), ("x" * 256, 1), ("x", -1), ("x", 2**32), ("x", 1.5), ("x", "1")])
def test_refused_by_the_schema(counts: Counts, name: str, count: Any) -> None:
    with usage.connect(counts.path) as recorder, pytest.raises(usage.UsageRefused) as refused:
        recorder.record(name, count)
    assert refused.value.status == 400
    assert refused.value.return_code == "invalid-value"
    assert counts.recorded == []


def test_an_answer_that_is_not_one(counts: Counts) -> None:
    counts.code = None
    with usage.connect(counts.path) as recorder, pytest.raises(usage.UsageUnavailable, match="return-code"):
        recorder.record("x", 1)


def test_no_agent(tmp_path: Path) -> None:
    with usage.connect(tmp_path / "none") as recorder:
        for _ in range(2):
            with pytest.raises(usage.UsageUnavailable, match="is the agent running"):
                recorder.record("x", 1)


def test_agent_restarts_between_two_records(counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording the same count twice changes nothing, so a connection that was closed meanwhile is opened again."""
    monkeypatch.setattr(counts.server._config, "timeout_keep_alive", 0.05)
    with usage.connect(counts.path) as recorder:
        recorder.record("a", 1)
        held = recorder._client._connection.sock
        held.settimeout(5)
        assert held.recv(1, 2) == b""  # closed by the server (MSG_PEEK)
        recorder.record("a", 2)
        assert [count for _, count, _ in counts.recorded] == [1, 2]
        counts.server.stop()
        with pytest.raises(usage.UsageUnavailable):
            recorder.record("a", 3)


def test_a_lost_write_is_not_repeated(counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a write that is not marked as repeatable, nobody can know whether it took place."""
    monkeypatch.setattr(counts.server._config, "timeout_keep_alive", 0.05)
    client = usage.Client.local(counts.path)
    with client:
        assert client.request("GET", "/restconf").status == 200
        client._connection.sock.settimeout(5)
        assert client._connection.sock.recv(1, 2) == b""
        body = {"slp-agent:input": {"license": "x", "count": 1}}
        with pytest.raises(usage.UsageUnavailable):
            client.request("POST", "/restconf/operations/slp-agent:record-usage", body)
        assert client.request("POST", "/restconf/operations/slp-agent:record-usage", body).status == 200
    assert len(counts.recorded) == 1


def test_remote(counts: Counts, tmp_path: Path) -> None:
    assert counts.addresses.tcp is not None
    url = f"https://127.0.0.1:{counts.addresses.tcp[1]}"
    with usage.Client.remote(url, "ada", "ada-secret", counts.certificate) as client:
        answer = client.request("GET", "/restconf")
        assert answer.json["ietf-restconf:restconf"]["yang-library-version"] == "2019-01-04"
        assert answer.headers["content-type"] == "application/yang-data+json"
    with (
        usage.Client.remote(url, "ada", "wrong", counts.certificate) as client,
        pytest.raises(usage.UsageRefused) as refused,
    ):
        client.request("GET", "/restconf")
    assert (refused.value.status, refused.value.return_code) == (401, "access-denied")
    with (
        usage.Client.remote(url, "ada", "ada-secret") as client,
        pytest.raises(usage.UsageUnavailable, match="certificate"),
    ):
        client.request("GET", "/restconf")
    with pytest.raises(usage.UsageUnavailable, match="CA file"):
        usage.Client.remote(url, "ada", "x", tmp_path / "none")
    with pytest.raises(ValueError, match="https://"):
        usage.Client.remote("http://127.0.0.1", "ada", "x")


def test_error_document(served: Served) -> None:
    with served.local() as client:
        with pytest.raises(usage.UsageRefused, match="no such instance") as refused:
            client.request("GET", "/restconf/data/toy:box/entry=x")
        assert (refused.value.status, refused.value.path) == (404, "/toy:box/entry[id='x']")
        answer = client.request("GET", "/restconf", accept="application/yang-data+xml")
        assert answer.json is None
        assert answer.body.startswith(b"<restconf")


def test_standard_library_only() -> None:
    """An application that imports it gets nothing else of the agent, and no package."""
    code = (
        "import sys; before = set(sys.modules); import agent.usage; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)), "
        "sorted(m for m in sys.modules if m.startswith('agent')))"
    )
    root = Path(usage.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "['agent'] ['agent', 'agent.usage']"
