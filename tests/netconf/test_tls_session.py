"""What holds for NETCONF over SSH holds over TLS: the same tests with another server.

Checklist 1-19, 22, 23, 42, 43.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.netconf.test_base_events import listener, test_sessions_begin_and_end  # noqa: F401
from tests.netconf.test_transport import (  # noqa: F401 - collected here again, with the fixture below
    test_a_lost_connection_frees_everything,
    test_a_message_that_is_too_big,
    test_a_reply_that_breaks_before_it_begins,
    test_a_reply_that_breaks_off,
    test_bad_hellos,
    test_both_framings,
    test_chunks_of_all_sizes,
    test_counters,
    test_end_of_file,
    test_end_of_file_in_mid_message,
    test_far_more_pipelined_requests_than_are_taken_in,
    test_framing_errors,
    test_large_replies,
    test_marks_of_users_who_do_not_collect,
    test_marks_wait_for_the_last_octet,
    test_octets_behind_a_message,
    test_pipelined_requests,
    test_small_writes_are_not_delayed,
    test_the_server_speaks_first,
)
from tests.netconf.tls import TlsToy
from tests.toy.build import Toy


@pytest.fixture
def server(toy: Toy) -> Iterator[TlsToy]:
    running = TlsToy(toy)
    yield running
    running.stop()
