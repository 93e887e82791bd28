"""The limits by source: failed logins in a sliding window, connections that have not logged in."""

from __future__ import annotations

import asyncio

import pytest

from agent.core.sources import network, plain
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


def test_guesses_that_come_together_are_no_more() -> None:
    """As many are under way as may still fail; the others wait, then are refused or let in as those have ended."""

    async def go() -> None:
        limit = FailureLimit(failures=3, window=60)
        limit.failed("a", 0)
        asked = [asyncio.ensure_future(limit.take("a", lambda: 1.0)) for _ in range(5)]
        other = asyncio.ensure_future(limit.take("b", lambda: 1.0))
        await asyncio.sleep(0)
        assert [one.done() for one in asked] == [True, True, False, False, False]
        assert other.done()
        asked[2].cancel()
        limit.succeeded("a")
        limit.leave("a")
        await asyncio.sleep(0.01)
        assert [one.done() for one in asked] == [True, True, True, True, True]
        for _ in range(3):
            limit.failed("a", 2)
            limit.leave("a")
        assert await limit.take("a", lambda: 3.0) == 59.0

    asyncio.run(go())


def test_a_network_is_one_source() -> None:
    """Whoever has one IPv6 address has the other 2^64 of its network too."""
    limit = FailureLimit(failures=2, window=60)
    limit.failed("2001:db8::1", 0)
    limit.failed("2001:db8::2", 0)
    assert limit.blocked("2001:db8::3", 1) > 0
    assert limit.blocked("2001:db8:0:1::1", 1) == 0
    waiting = WaitingLimit(total=10, per_source=2)
    assert [waiting.enter(f"2001:db8::{host}") for host in (1, 2, 3)] == [True, True, False]
    waiting.leave("2001:db8::1")
    assert waiting.enter("2001:db8::3")


@pytest.mark.parametrize(
    ("address", "meant", "source"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1", "192.0.2.1"),
        ("2001:db8::ffff:1", "2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::1%eth0", "fe80::/64"),
        ("::ffff:nobody", "::ffff:nobody", "::ffff:nobody"),
        ("local", "local", "local"),
    ],
)
def test_addresses(address: str, meant: str, source: str) -> None:
    assert (plain(address), network(address)) == (meant, source)


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
