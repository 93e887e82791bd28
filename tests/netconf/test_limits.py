"""The limits by source: failed logins in a sliding window, connections that have not logged in."""

from __future__ import annotations

from agent.netconf.limits import FailureLimit, WaitingLimit


def test_failures_block_one_source_until_the_window_has_passed() -> None:
    limit = FailureLimit(failures=3, window=60)
    for moment in (0.0, 10.0, 20.0):
        assert limit.blocked("192.0.2.1", moment) == 0
        limit.failed("192.0.2.1", moment)
    assert limit.blocked("192.0.2.1", 21.0) == 39.0
    assert limit.blocked("192.0.2.2", 21.0) == 0
    assert limit.blocked("192.0.2.1", 59.9) > 0
    assert limit.blocked("192.0.2.1", 60.0) == 0
    limit.failed("192.0.2.1", 61.0)
    assert limit.blocked("192.0.2.1", 62.0) == 8.0


def test_a_login_that_works_forgets_the_failures() -> None:
    limit = FailureLimit(failures=2, window=60)
    limit.failed("a", 0)
    limit.succeeded("a")
    limit.failed("a", 1)
    assert limit.blocked("a", 2) == 0


def test_sources_are_bounded() -> None:
    limit = FailureLimit(failures=1, window=60, sources=2)
    for source in ("a", "b", "a", "c"):
        limit.failed(source, 0)
    assert [limit.blocked(source, 1) > 0 for source in ("a", "b", "c")] == [True, False, True]


def test_waiting_is_limited_by_source_and_in_total() -> None:
    limit = WaitingLimit(total=3, per_source=2)
    assert limit.enter("a")
    assert limit.enter("a")
    assert not limit.enter("a")
    assert limit.enter("b")
    assert not limit.enter("c")
    limit.leave("a")
    assert limit.enter("c")
    limit.leave("a")
    assert limit.enter("a")
