"""Fixtures: a fresh server a test, and a client on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.core.schema import Schema
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.errors import refuse
from tests.netconf.support import Client, Server
from tests.toy.build import Toy, toy_schema


def get_schema(schema: Schema) -> Any:
    """The toy's get-schema: the module's file, unchanged."""

    def operation(input: Tree, session: Session) -> Tree | None:  # noqa: A002 - YANG's word
        module = schema.modules.get(input["identifier"])
        if module is None:
            raise refuse("invalid-value", "no such module")
        return {"data": Path(module.file).read_text()}

    return operation


@pytest.fixture
def schema() -> Schema:
    return toy_schema(netconf=True)


@pytest.fixture
def toy(schema: Schema) -> Iterator[Toy]:
    operations = {"/ietf-netconf-monitoring:get-schema": get_schema(schema)}
    with Toy.open(netconf=True, operations=operations) as opened:
        yield opened


@pytest.fixture
def server(toy: Toy) -> Iterator[Server]:
    running = Server(toy)
    yield running
    running.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as opened:
        yield opened
