"""The limits by source: failed logins in a sliding window, connections that have not logged in."""

from __future__ import annotations

from agent.netconf.limits import LARGE, Arriving, FailureLimit, WaitingLimit


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


class Sender:
    """Receives a message; `out` once there was no room for it."""

    def __init__(self) -> None:
        self.out = False

    def crowd_out(self) -> None:
        self.out = True


def test_the_longest_silent_makes_room() -> None:
    """Not the one that is sending, nor one that has sent all; each only as long as there is too much."""
    limit = Arriving(10 * LARGE)
    whole, silent, other, sending = (Sender() for _ in range(4))
    limit.came(whole, 3 * LARGE)
    limit.answering(whole, 4 * LARGE)
    limit.came(whole, 0)
    for one in (silent, other, sending, other):
        limit.came(one, 2 * LARGE)
    assert (limit.octets, silent.out) == (10 * LARGE, False)
    limit.came(sending, 2 * LARGE + 1)
    assert (silent.out, sending.out, other.out, whole.out) == (True, False, False, False)
    assert limit.octets == 8 * LARGE + 1
    limit.came(sending, 4 * LARGE + 1)
    assert (other.out, sending.out) == (True, False)
    limit.came(sending, 6 * LARGE + 1)
    assert (sending.out, whole.out, limit.octets) == (True, False, 4 * LARGE)
    limit.answered(whole)
    assert limit.octets == 0


def test_what_is_short_or_gone_is_not_counted() -> None:
    limit = Arriving(2 * LARGE)
    senders = [Sender() for _ in range(10)]
    for one in senders:
        limit.came(one, LARGE)
    assert limit.octets == 0
    limit.came(senders[0], LARGE + 1)
    assert senders[0] in limit
    limit.answering(senders[0], LARGE + 1)
    limit.gone(senders[0])
    assert (limit.octets, senders[0] in limit, any(one.out for one in senders)) == (0, False, False)
