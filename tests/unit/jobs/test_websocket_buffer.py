"""The reader's bounded buffer: while it is full the socket is not read, and nothing is lost."""

import asyncio
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from websockets.frames import Opcode

from jobs.records import Frame
from jobs.websocket_reader import OVERHEAD_BYTES
from tests.unit.jobs.hostile_server import Peer, in_turn, quiet, sending, wire
from tests.unit.jobs.reader_lab import (
    READER,
    Client,
    Lab,
    assert_stays,
    await_blocked,
    await_until,
    flooding,
    fragments,
)

MEBIBYTE = 1_048_576
SOCKET_READ = 256 * 1024  # the most that asyncio reads at once


def test_a_full_buffer_blocks_the_server_and_loses_nothing(lab: Lab) -> None:
    capacity, size, count = 500, 4_000, 4_000
    server = lab.serve(flooding(count, size))
    client = lab.read(server, capacity=capacity)
    await_blocked(server)
    assert server.peers[0].sent < count
    client.consume(count)
    assert capacity <= len(client.events) <= capacity + SOCKET_READ // size + 1
    client.until(lambda: len(client.frames) == count, "all frames", most=150)
    assert [int(text) for text in client.texts] == list(range(count))
    assert len(server.peers) == 1


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """Gives the bytes that Python has allocated since the test began; the server's few are among them."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


def test_large_frames_fill_the_buffer_by_their_bytes(lab: Lab, traced: Callable[[], int]) -> None:
    most, size, count = 8 * MEBIBYTE, 524_288, 80
    one_more = SOCKET_READ + size + OVERHEAD_BYTES  # what the reader is in the middle of when the buffer is full
    server = lab.serve(flooding(count, size))
    client = lab.read(server, max_bytes=most, max_frame=size)
    await_blocked(server)
    sent = server.peers[0].sent
    assert sent < count
    assert traced() < most + one_more + 4 * size, "the server has a frame in the making, and two on their way"
    client.consume(9)  # the request, the connection, and 7 of 16 frames
    assert_stays(lambda: server.peers[0].sent == sent, 0.3, "more than half full")
    client.consume(2)
    await_until(lambda: server.peers[0].sent > sent, 5, "the socket is read again")
    client.until(lambda: len(client.frames) == count, "all frames", most=3)
    assert [int(text) for text in client.texts] == list(range(count))
    assert len(server.peers) == 1


def test_small_frames_fill_the_buffer_by_the_objects_around_them(lab: Lab, traced: Callable[[], int]) -> None:
    most, count = 8 * MEBIBYTE, 70_000
    flood = b"".join(wire(f"{number:014}") for number in range(count))

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.write(flood)

    before = traced()
    server = lab.serve(script)
    client = lab.read(server, capacity=1_000_000, max_bytes=most)
    await_until(lambda: traced() - before > most // 2, 10, "the buffer to be filled")
    assert_stays(lambda: traced() - before < 2 * most, 1, "bounded, with the frames of one read of the socket")
    client.reader.stop()
    held = traced()
    frames = sum(isinstance(event, Frame) for event in client.reader.dequeue(count, 2**30))
    counted = frames * (14 + OVERHEAD_BYTES)
    assert most < counted < 2 * most
    assert counted * 0.7 < held - traced() < counted


def test_the_parts_of_an_unfinished_message_count_too(lab: Lab) -> None:
    whole, *parts = ["x" * 700_000, *fragments(Opcode.TEXT, *[b"y" * 1_000] * 300)]
    finish = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(whole, *parts[:-1])
        await finish.wait()
        await peer.send(parts[-1])

    server = lab.serve(script)
    client = lab.read(server, max_bytes=MEBIBYTE, max_frame=700_000)
    await_until(lambda: server.peers and server.peers[0].sent == len(parts), 5, "all but the last part")
    await_until(lambda: is_still(client), 5, "the socket is not read")
    client.consume()
    assert client.texts == [whole]
    await_until(lambda: not is_still(client), 5, "the socket is read again")
    server.call(finish.set)
    client.until(lambda: len(client.frames) == 2, "the message")
    assert client.texts[1] == "y" * 300_000


def is_still(client: Client, seconds: float = 0.3) -> bool:
    """Whether no answer to a ping comes for so long: the reader pings all the time, and does not read."""
    before, end = client.reader.caught_up_at, time.monotonic() + seconds
    while client.reader.caught_up_at == before and time.monotonic() < end:
        time.sleep(0.01)
    return client.reader.caught_up_at == before


def test_a_message_whose_parts_fill_the_buffer_alone_is_read_to_its_end(lab: Lab) -> None:
    server = lab.serve(sending(*fragments(Opcode.TEXT, *[b"x" * 1_000] * 260), "last"))
    client = lab.read(server, max_bytes=20_000)
    client.until(lambda: len(client.frames) == 2, "both messages")
    assert client.texts == ["x" * 260_000, "last"]


def test_frames_are_handed_over_up_to_a_number_and_about_a_number_of_bytes(lab: Lab) -> None:
    server = lab.serve(sending(*["x" * 100_000] * 10))
    client = lab.read(server)
    await_until(lambda: server.peers and server.peers[0].sent == 10 and not is_still(client), 5, "all frames")
    taken = [
        len(client.reader.dequeue(*limits)) for limits in ((1, 2**30), (2, 2**30), (10, 250_000), (10, 1), (10, 2**30))
    ]
    assert taken == [1, 2, 3, 1, 5]  # the request, the connection, and ten frames
    assert client.reader.dequeue(10, 2**30) == []


def test_a_server_that_ends_while_the_buffer_is_full_is_read_to_its_last_frame(lab: Lab) -> None:
    count = 200

    async def script(peer: Peer) -> None:
        await flooding(count, 1_000)(peer)
        await peer.close(1001)

    server = lab.serve(in_turn(script, quiet))
    client = lab.read(server, capacity=10)
    await_until(lambda: server.peers and server.peers[0].sent == count, 5, "all is sent")
    client.until(lambda: len(server.peers) == 2, "the next connection")
    assert [int(text) for text in client.texts] == list(range(count))
    assert client.asked == [(server.url, 0), (server.url, count)]


def test_a_server_is_not_given_up_while_it_is_the_reader_that_does_not_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 0.2)
    server = lab.serve(flooding(1_000, 1_000))
    client = lab.read(server, capacity=10)
    await_until(lambda: server.peers and server.peers[0].sent, 5, "frames are sent")
    assert_stays(lambda: len(server.peers) == 1 and not server.peers[0].ended_at, 0.6, "one connection")
    monkeypatch.setattr(
        f"{READER}.PONG_TIMEOUT_SECONDS", 15.0
    )  # a wait that began before must not end while frames flow
    assert_stays(lambda: len(server.peers) == 1 and not server.peers[0].ended_at, 0.3, "one connection")
    client.until(lambda: len(client.frames) == 1_000, "all frames")
    assert len(server.peers) == 1


def test_a_connection_survives_a_buffer_that_is_full_for_long(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 0.001)  # 15 s a wait: 1,500 of them are six hours
    server = lab.serve(flooding(1_000, 1_000))
    client = lab.read(server, capacity=10)
    await_blocked(server)
    assert_stays(lambda: len(server.peers) == 1, 3, "one connection")
    monkeypatch.setattr(f"{READER}.PONG_TIMEOUT_SECONDS", 15.0)
    assert_stays(lambda: len(server.peers) == 1, 0.1, "one connection")
    client.until(lambda: len(client.frames) == 1_000, "all frames")
    assert_stays(lambda: client.reader.connected, 0.3, "the connection, with the pong behind the frames")


def test_a_wait_ends_with_the_next_frame(lab: Lab) -> None:
    server = lab.serve(quiet)
    client = lab.read(server)
    client.until(lambda: client.connections, "the connection")
    server.call(lambda: server.peers[0].write(wire("a post")))
    began = time.monotonic()
    client.reader.wait(60)
    client.consume()
    assert client.texts == ["a post"]
    assert time.monotonic() - began < 30
    client.reader.wait(0.01)  # nothing comes
    assert client.reader.dequeue(1, 1) == []
