"""Fixtures of the RESTCONF tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.restconf.build import Served, certificate, serve


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def served(tmp_path: Path, pem: tuple[Path, Path]) -> Iterator[Served]:
    """A toy, served over TLS and on a local socket."""
    with serve(tmp_path, pem) as running:
        yield running
