"""What every test folder shares: the slow switch, the seed that repeats a random run, and what a citation demands."""

from __future__ import annotations

from collections.abc import Generator
import os
import random

from hypothesis import settings
import pytest

from tests.conformance.citations import cited

# a busy machine is no reason to fail: no absolute time is asserted
settings.register_profile("slp-agent", deadline=None)
settings.load_profile("slp-agent")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run soak, fuzz and long property tests")
    parser.addoption(
        "--conformance",
        action="store_true",
        help="a test that cites an item of the checklist fails when it is skipped, or fails as expected",
    )


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """docs/conformance.md says that each test it lists passes: none of them may be left out without a word."""
    report = yield
    if report.skipped and item.config.getoption("--conformance") and isinstance(item, pytest.Function):
        module, test = item.module.__doc__, item.function.__doc__
        if items := cited(module) + cited(test):
            report.outcome = "failed"
            report.longrepr = f"cites checklist {items} and did not run to its end: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of this run's random choices; SLP_SEED=N repeats them."""
    return int(os.environ["SLP_SEED"])
