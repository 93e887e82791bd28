"""Fixtures: one running device for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.driven import Driven
from tests.system.kit import Device


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """A running agent with the built-in profile and the users admin, collector and reader."""
    made = Device.make(tmp_path_factory.mktemp("d") / "d")
    with made.running():
        yield made


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """A running agent with all its datastores and ways in, for client libraries."""
    made = Driven.build(tmp_path_factory.mktemp("d"))
    with made.running():
        made.trust_certificates()
        yield made
