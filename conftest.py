"""What every test folder shares: the slow switch and the seed that repeats a random run."""

from __future__ import annotations

import os
import random

from hypothesis import settings
import pytest

# a busy machine is no reason to fail: no absolute time is asserted
settings.register_profile("slp-agent", deadline=None)
settings.load_profile("slp-agent")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run soak, fuzz and long property tests")


def pytest_configure() -> None:
    seed = int(os.environ.get("SLP_SEED") or random.SystemRandom().randrange(2**31))
    os.environ["SLP_SEED"] = str(seed)  # workers of a parallel run inherit it


def pytest_report_header() -> str:
    return f"random runs use SLP_SEED={os.environ['SLP_SEED']}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of this run's random choices; SLP_SEED=N repeats them."""
    return int(os.environ["SLP_SEED"])
