"""What the licensing tests share: facts of the published model."""

from __future__ import annotations

from pathlib import Path

import pytest

FACTS = Path(__file__).parents[2] / "docs" / "reference" / "cisco-smart-license.facts"


@pytest.fixture(scope="session")
def error_enum() -> frozenset[str]:
    """The names of the published typedef error-enum."""
    (line,) = [line for line in FACTS.read_text().splitlines() if line.startswith("error-enum:")]
    return frozenset(pair.strip().partition("=")[0] for pair in line.removeprefix("error-enum:").split(","))
