"""Whatever a server sends, and however it is cut into reads: a connection sees what websockets' own parser sees."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from jobs.websocket_connection import FrameConnection, Hooks
from jobs.websocket_frames import end_of_frame, text_messages
from tests.unit.jobs.hostile_server import wire
from tests.unit.jobs.reader_lab import fragments

LIMIT = 70_000  # so that there are messages whose length takes 8 bytes

Seen = tuple[Opcode, bytes, bool]


class Outcome(NamedTuple):
    """What came of a connection. sent: the frames that the client answered."""

    seen: list[Seen]
    sent: list[Seen]
    state: object
    closes: tuple[object, ...]


class Transport(asyncio.Transport):
    """Gives what is written to a server, which the test can ask."""

    def __init__(self, server: ServerProtocol) -> None:
        super().__init__()
        self._server = server

    def write(self, data: Any) -> None:
        self._server.receive_data(data)

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Reference(ClientConnection):
    """A connection that leaves all parsing to websockets."""

    def __init__(self, protocol: ClientProtocol, seen: list[Seen]) -> None:
        super().__init__(protocol, ping_interval=None)
        self._seen = seen

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._seen.append(as_seen(event))
        else:
            super().process_event(event)


def as_seen(frame: Frame) -> Seen:
    return frame.opcode, bytes(frame.data), frame.fin


def ours(protocol: ClientProtocol, seen: list[Seen]) -> ClientConnection:
    hooks = Hooks(
        opened=lambda: None,
        messages=lambda messages, _: seen.extend((Opcode.TEXT, data, True) for data in messages),
        frame=lambda frame, _: seen.append(as_seen(frame)),
    )
    return FrameConnection(protocol, hooks=hooks, max_size=LIMIT, ping_interval=None)


def receive(kind: type[Reference] | Any, stream: bytes, cuts: Sequence[int]) -> Outcome:
    """Shake hands, and receive the stream in the pieces that the cuts make; they count from the end of the stream."""
    return asyncio.run(_receive(kind, stream, cuts))


async def _receive(kind: Any, stream: bytes, cuts: Sequence[int]) -> Outcome:
    client, server = ClientProtocol(parse_uri("ws://feed/"), max_size=LIMIT), ServerProtocol()
    seen: list[Seen] = []
    connection = kind(client, seen)
    connection.connection_made(Transport(server))
    client.send_request(client.connect())
    connection.send_data()
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    received = b"".join([*server.data_to_send(), stream])
    ends = sorted({len(received) - cut for cut in cuts if 0 < cut < len(received)})
    for begin, end in itertools.pairwise([0, *ends, len(received)]):
        connection.data_received(received[begin:end])
    sent = [as_seen(event) for event in server.events_received() if isinstance(event, Frame)]
    closes = client.close_rcvd, client.close_sent, client.close_rcvd_then_sent, type(client.parser_exc)
    return Outcome(seen, sent, client.state, closes)


def raw(first: int, payload: bytes, form: int = 0) -> bytes:
    """A frame by its first byte. form: bytes of the length, 2 or 8; 0: the shortest form."""
    form = form or (0 if len(payload) < 126 else 2 if len(payload) < 65_536 else 8)
    marks = {0: len(payload), 2: 126, 8: 127}
    length = len(payload).to_bytes(form) if form else b""
    return bytes([first, marks[form]]) + length + payload


def payloads(most: int) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=most) | st.builds(lambda size: b"\x81" * size, st.sampled_from([124, 125, 126, 127, 300]))


LARGE = st.sampled_from([65_535, 65_536, LIMIT]).map(lambda size: raw(0x81, b"x" * size))
MESSAGES = st.builds(raw, st.just(0x81), payloads(20), st.sampled_from([0, 0, 2, 8])) | payloads(20).map(wire)
CONTROL = st.builds(raw, st.sampled_from([0x89, 0x8A]), st.binary(max_size=125))
PARTS = st.builds(
    lambda opcode, parts, between: b"".join(
        wire(part) + (between if number == 0 else b"") for number, part in enumerate(fragments(opcode, *parts))
    ),
    st.sampled_from([Opcode.TEXT, Opcode.BINARY]),
    st.lists(st.binary(max_size=5), min_size=1, max_size=4),
    st.just(b"") | CONTROL,
)
INVALID = st.sampled_from(
    [
        raw(0x88, b"\x03\xe8bye"),  # a close
        raw(0x88, b"\x03"),
        raw(0x80, b"continues nothing"),
        raw(0x01, b"not continued") + raw(0x81, b"another message"),
        raw(0x01, b"a") + raw(0x88, b"\x03\xe8"),
        raw(0x02, b"a" * 40_000) + raw(0x80, b"b" * 40_000),  # too large together
        raw(0xC1, b"a reserved bit"),
        raw(0x91, b"another reserved bit"),
        raw(0x83, b"a reserved opcode"),
        raw(0x09, b"a ping in parts"),
        raw(0x89, b"x" * 126),
        bytes([0x81, 0x83, 1, 2, 3, 4, 5, 6, 7]),  # masked
        bytes([0x81, 0xFE, 1, 2, 3, 4, 5, 6, 7]),
        raw(0x81, b"x" * (LIMIT + 1)),
        bytes([0x81, 127]) + b"\xff" * 8,
    ]
)
STREAMS = st.lists(MESSAGES | CONTROL | PARTS | MESSAGES | LARGE | INVALID, max_size=8).map(b"".join)
CUTS = st.lists(st.integers(1, 400) | st.integers(1, 3 * LIMIT), max_size=30)


@given(STREAMS, CUTS)
@example(raw(0x81, b"one") + raw(0x81, b"two"), range(1, 200))
@example(raw(0x81, b"x" * 126) + raw(0x89, b"ping") + raw(0x81, b"x" * 65_536), range(1, 400))
@example(raw(0x01, b"a part") + raw(0x89, b"ping") + raw(0x81, b"another message"), [])
@example(wire("a"), [len(wire("a")) + 1, 1])  # the last byte of the handshake comes with the first ones of a message
def test_a_connection_sees_what_the_parser_of_websockets_sees(stream: bytes, cuts: Sequence[int]) -> None:
    assert receive(ours, stream, cuts) == receive(Reference, stream, [])


def test_each_byte_may_come_alone() -> None:
    stream = b"".join([wire("a"), *map(wire, fragments(Opcode.TEXT, b"b", b"", b"c")), wire(b"d"), wire("e" * 200)])
    alone = receive(ours, stream, range(1, len(stream) + 500))
    assert alone == receive(Reference, stream, [])
    assert [data for _, data, _ in alone.seen] == [b"a", b"b", b"", b"c", b"d", b"e" * 200]


# What the two functions find.

FOUND = {
    "nothing": (b"", [], 0),
    "one": (wire("a"), [b"a"], 3),
    "an empty one before another": (wire("") + wire("b"), [b"", b"b"], 5),
    "several": (wire("a") + wire("b" * 126), [b"a", b"b" * 126], 133),
    "all that is complete": (wire("a") + wire("bc")[:-1], [b"a"], 3),
    "up to a ping": (wire("a") + raw(0x89, b"ping") + wire("b"), [b"a"], 3),
    "up to a binary message": (wire("a") + wire(b"bin") + wire("b"), [b"a"], 3),
    "up to a part": (wire("a") + raw(0x01, b"part"), [b"a"], 3),
    "up to a large one": (wire("a") + wire("x" * 65_536), [b"a"], 3),
    "up to a masked one": (wire("a") + bytes([0x81, 0x81, 1, 2, 3, 4, 5]), [b"a"], 3),
    "up to a reserved bit": (wire("a") + raw(0xC1, b"b"), [b"a"], 3),
    "up to one over the limit": (wire("a") + wire("x" * 201), [b"a"], 3),
    "one of the limit": (wire("x" * 200), [b"x" * 200], 204),
}


@pytest.mark.parametrize(("data", "messages", "end"), FOUND.values(), ids=FOUND)
def test_text_messages(data: bytes, messages: list[bytes], end: int) -> None:
    assert text_messages(data, 0, 200) == (messages, end)
    assert text_messages(b"?" + data, 1, 200) == (messages, end + 1)


def beginnings(frame: bytes) -> Iterator[bytes]:
    return (frame[:size] for size in range(len(frame)))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 300, 65_536])
def test_the_end_of_a_frame_is_known_when_it_has_arrived(size: int) -> None:
    frame = raw(0x82, b"x" * size)
    assert end_of_frame(frame + b"more", 0, LIMIT) == len(frame)
    assert end_of_frame(b"less" + frame, 4, LIMIT) == 4 + len(frame)
    assert {end_of_frame(part, 0, LIMIT) for part in itertools.islice(beginnings(frame), 400)} == {None}


@pytest.mark.parametrize("frame", [raw(0x81, b"x" * 201), bytes([0x81, 127]) + b"\xff" * 8, bytes([0x81, 0x85])])
def test_a_frame_is_refused_with_its_header(frame: bytes) -> None:
    assert end_of_frame(frame, 0, 200) == len(frame)
    assert end_of_frame(frame[:10], 0, 200) == len(frame[:10])
