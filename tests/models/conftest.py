"""The compiled schema of all that is served, once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.core.schema import Schema

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema.read(ROOT / "bindings" / "schema.json")
