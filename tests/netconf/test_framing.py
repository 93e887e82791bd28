"""Framing without sockets: tables of octet streams, whole and cut up, and properties over any stream."""

from __future__ import annotations

from collections.abc import Iterator
import time

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from agent.netconf.framing import END_OF_CHUNKS, END_OF_MESSAGE, FRAME_SIZE, Framer, ProtocolError, frames


def framer(chunked: bool = True, limit: int = 1 << 24) -> Framer:
    result = Framer(limit)
    if chunked:
        result.use_chunks()
    return result


def drain(target: Framer) -> list[bytes]:
    messages = []
    while (message := target.next_message()) is not None:
        messages.append(message)
    return messages


def feed(target: Framer, stream: bytes, step: int) -> list[bytes]:
    messages = []
    for start in range(0, len(stream), step):
        target.receive(stream[start : start + step])
        messages += drain(target)
    return messages


CHUNKED = {
    "one chunk": (b"\n#4\n<a/>\n##\n", [b"<a/>"]),
    "three chunks": (b"\n#1\n<\n#2\na/\n#1\n>\n##\n", [b"<a/>"]),
    "two messages": (b"\n#1\na\n##\n\n#2\nbc\n##\n", [b"a", b"bc"]),
    "a character over two chunks": (b"\n#1\n\xc3\n#1\n\xa4\n##\n", ["ä".encode()]),
    "the other delimiter is data": (b"\n#6\n]]>]]>\n##\n", [b"]]>]]>"]),
    "end-of-chunks inside data": (b"\n#5\n\n##\n!\n##\n", [b"\n##\n!"]),
    "a header inside data": (b"\n#4\n\n#9\n\n##\n", [b"\n#9\n"]),
    "trailing beginning": (b"\n#1\na\n##\n\n#1", [b"a"]),
    "truncated": (b"\n#9\nabc", []),
}


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
@pytest.mark.parametrize("name", CHUNKED)
def test_chunked_streams(name: str, step: int) -> None:
    """Checklist 13, 14, 16, 17: the same messages come out however the octets are cut up."""
    stream, messages = CHUNKED[name]
    assert feed(framer(), stream, step) == messages


BROKEN = {
    "leading zero": b"\n#04\n<a/>\n##\n",
    "plus": b"\n#+4\n<a/>\n##\n",
    "space": b"\n# 4\n<a/>\n##\n",
    "space behind": b"\n#4 \n<a/>\n##\n",
    "zero": b"\n#0\n\n##\n",
    "negative": b"\n#-1\n<a/>\n##\n",
    "hexadecimal": b"\n#a\n<a/>......\n##\n",
    "no digits": b"\n#\n<a/>\n##\n",
    "above 4294967295": b"\n#4294967296\n",
    "eleven digits": b"\n#42949672950\n",
    "endless digits": b"\n#11111111111111111111",
    "carriage return": b"\r\n#4\r\n<a/>",
    "no header": b"<rpc/>",
    "the other framing": b"<rpc/>]]>]]>",
    "end without a chunk": b"\n##\n",
    "second end": b"\n#1\na\n##\n\n##\n",
    "octets behind the end": b"\n#1\na\n##\nx",
    "newline behind the end": b"\n#1\na\n##\n\n\n#1\nb\n##\n",
    "half an end": b"\n#1\na\n##x",
    "too little data": b"\n#5\nabc\n##\n\n##\n",
}


@pytest.mark.parametrize("step", [1, 2, 1000])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_chunks(name: str, step: int) -> None:
    """Checklist 12, 18: a framing error, and at most the messages before it."""
    target = framer()
    with pytest.raises(ProtocolError) as caught:
        feed(target, BROKEN[name], step)
    assert caught.value.reason == "framing"


@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_delimited_streams(step: int) -> None:
    """Checklist 4: end-of-message framing, with near misses of the delimiter in the text."""
    stream = b"<a/>]]>]]>\n<b>]]>]]</b>]]>]]>]]]>]]>]]>rest"
    assert feed(framer(chunked=False), stream, step) == [b"<a/>", b"\n<b>]]>]]</b>", b"]"]


def test_switch_between_two_messages() -> None:
    """Checklist 3, 5: what follows the hello in the same segment is read as chunks."""
    target = framer(chunked=False)
    target.receive(b"hello]]>]]>\n#2\nhi\n##\n")
    assert target.next_message() == b"hello"
    target.use_chunks()
    assert drain(target) == [b"hi"]
    assert not target.inside


def test_one_octet_chunks_and_one_large_chunk() -> None:
    """Checklist 15: a message in one-octet chunks, and five megabytes in one chunk."""
    body = bytes(range(256)) * 40
    stream = b"".join(b"\n#1\n" + body[i : i + 1] for i in range(len(body))) + END_OF_CHUNKS
    assert feed(framer(), stream, 1 << 20) == [body]
    large = b"x" * 5_000_000
    assert feed(framer(), b"\n#5000000\n" + large + END_OF_CHUNKS, 1 << 15) == [large]


@pytest.mark.parametrize("chunked", [True, False])
def test_work_is_linear(chunked: bool) -> None:
    """Checklist 13: octet by octet, sixteen times the input costs about sixteen times the time, not 256 times."""

    def cost(size: int) -> float:
        stream = b"".join(frames([b"y" * size], chunked=chunked))
        best = 1e9
        for _ in range(3):
            target = framer(chunked)
            start = time.perf_counter()
            assert len(feed(target, stream, 1)) == 1
            best = min(best, time.perf_counter() - start)
        return best

    assert cost(160_000) < 64 * cost(10_000)


@pytest.mark.parametrize("chunked", [True, False])
def test_limit(chunked: bool) -> None:
    """A message of the limit passes, one octet more is too big, and it is refused before it is stored."""
    for step in (1, 7, 1000):
        assert feed(framer(chunked, 100), b"".join(frames([b"z" * 100], chunked=chunked)), step) == [b"z" * 100]
        with pytest.raises(ProtocolError) as caught:
            feed(framer(chunked, 100), b"".join(frames([b"z" * 101], chunked=chunked)), step)
        assert caught.value.reason == "too-big"
    with pytest.raises(ProtocolError) as caught:
        feed(framer(True, 100), b"\n#4294967295\n", 1)
    assert caught.value.reason == "too-big"
    with pytest.raises(ProtocolError) as caught:
        feed(framer(False, 100), b"z" * 107, 1)
    assert caught.value.reason == "too-big"
    with pytest.raises(ProtocolError) as caught:
        feed(framer(True, 100), b"\n#60\n" + b"z" * 60 + b"\n#41\n", 3)
    assert caught.value.reason == "too-big"


def test_small_messages_are_one_write() -> None:
    assert list(frames([b"<a>", b"", b"b", b"</a>"], chunked=True)) == [b"\n#8\n<a>b</a>\n##\n"]
    assert list(frames([b"<a>", b"b", b"</a>"], chunked=False)) == [b"<a>b</a>]]>]]>"]


def test_large_messages_are_not_joined() -> None:
    """Checklist 42: parts are taken one by one, and every piece written is about one frame."""
    taken = 0

    def parts() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b"p" * 1000

    pieces = frames(parts(), chunked=True)
    first = next(pieces)
    assert len(first) <= FRAME_SIZE + 20
    assert taken < 100
    rest = b"".join(pieces)
    assert feed(framer(), first + rest, 1 << 16) == [b"p" * 1_000_000]


@given(st.lists(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5), max_size=5), st.integers(1, 40))
def test_round_trip(messages: list[list[bytes]], step: int) -> None:
    stream = b"".join(b"".join(frames(parts, chunked=True)) for parts in messages)
    assert feed(framer(), stream, step) == [b"".join(parts) for parts in messages]


@given(
    st.lists(
        st.one_of(
            st.sampled_from([b"\n#", b"\n##\n", b"1", b"0", b"12", b"\n", b"#", END_OF_MESSAGE, b"]]>", b"<rpc/>"]),
            st.binary(max_size=6),
        ),
        max_size=30,
    ),
    st.integers(1, 9),
    st.booleans(),
)
@settings(max_examples=300)
def test_any_stream(pieces: list[bytes], step: int, chunked: bool) -> None:
    """Either messages or this one error, never another; and cutting the stream differently changes nothing."""
    stream = b"".join(pieces)

    def outcome(size: int) -> tuple[list[bytes], str | None]:
        target = framer(chunked, 50)
        messages: list[bytes] = []
        try:
            for start in range(0, len(stream), size):
                target.receive(stream[start : start + size])
                while (message := target.next_message()) is not None:
                    messages.append(message)
        except ProtocolError as error:
            return messages, error.reason
        return messages, None

    assert outcome(step) == outcome(len(stream) or 1)
