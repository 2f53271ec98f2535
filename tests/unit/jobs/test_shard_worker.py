"""One shard with a server that sends as fast as it can, while Flink takes no batch, as without Kafka."""

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobs.feeds.model import Shard
from jobs.kafka_topic import Partitions
from jobs.records import Batch, FeedState, Record
from jobs.settings import read_collector_settings
from jobs.shard_worker import Result, Results, ShardWorker, size_of
from tests.support.waiting import await_value
from tests.unit.jobs.hostile_server import HostileServer, Peer

MEBIBYTE = 1_048_576
MAX_FRAME = 524_288
# What comes on top of the buffer and of the queue: a batch in the making, and what is on its way at either end.
MARGIN = 32 * MEBIBYTE


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """Gives the bytes that Python has allocated since the test began; the server's few are among them."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


class NoMetrics:
    def gauge(self, name: str, value: Callable[[], object]) -> None:
        pass


def start(url: str, **environment: str) -> ShardWorker:
    settings = read_collector_settings({"WEBSOCKET_URL": url, **environment})
    partitions = cast(Partitions, SimpleNamespace(count=4, stop=lambda: None))
    return ShardWorker(settings, Shard(), FeedState(), partitions, NoMetrics())


def batches(worker: ShardWorker) -> Iterator[list[str]]:
    """The ids of the posts of each batch that comes, without end."""
    while True:
        taken = await_value(worker.next_batch, "the next batch", 10, every=0.01)
        yield [key for key, value in taken[0].posts if json.loads(value)["text"] is not None]


@pytest.mark.parametrize("letter", ["x", "\U0001f602"], ids=["ASCII", "one character of four bytes"])
def test_memory_is_bounded_while_nothing_is_taken_and_nothing_is_lost(letter: str, traced: Callable[[], int]) -> None:
    most, count = 8 * MEBIBYTE, 160
    filling = "x" * (MAX_FRAME - 200) + letter

    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(count):
            frame = {"seq": number, "timestamp": int(time.time() * 1000), "text": filling, "feed": "a"}
            await peer.send(json.dumps(frame, ensure_ascii=False))

    with HostileServer(script) as server:
        worker = start(server.url, MAX_FRAME_BYTES=str(MAX_FRAME), BUFFER_BYTES=str(most))
        try:
            await_value(lambda: traced() > 1.5 * most, "the buffer and the queue to be filled", 20, every=0.01)
            await_blocked(server.peers[0], lambda: traced() < 2 * most + MARGIN)
            assert server.peers[0].sent < count
            coming, found = batches(worker), list[str]()
            while len(found) < count:
                batch = next(coming)
                assert len(batch) <= 3, "a batch of more than about a mebibyte of frames"
                found += batch
            assert found == [f"simulator-a-{number}" for number in range(count)]
        finally:
            worker.stop()


def await_blocked(peer: Peer, bounded: Callable[[], bool]) -> None:
    """Wait until the server has sent nothing for half a second, while `bounded` holds."""
    sent, since = peer.sent, time.monotonic()
    while time.monotonic() - since < 0.5:
        assert bounded()
        if peer.sent != sent:
            sent, since = peer.sent, time.monotonic()
        time.sleep(0.01)


def result(size: int) -> Result:
    return Result(Batch(), FeedState(), size)


@pytest.mark.parametrize(("sizes", "fit"), [([1] * 9, 3), ([50] * 9, 2), ([99, 1, 1], 2), ([1_000, 1], 1)])
def test_results_wait_up_to_a_number_and_a_number_of_bytes(sizes: list[int], fit: int) -> None:
    results = Results(3, 100)
    for size in sizes[:fit]:
        assert not results.full()
        results.put_nowait(result(size))
    assert results.full()
    assert [results.get_nowait().size for _ in range(fit)] == sizes[:fit]
    assert results.empty()
    assert not results.full()


FOUR = "\U0001f602"
BATCHES: dict[str, Callable[[], Any]] = {
    "posts": lambda: (Batch(posts=[Record(f"a-{n}", f'{n}"text"' * 10) for n in range(500)]), FeedState()),
    "long": lambda: (Batch(posts=[Record(f"a-{n}", f"{n}" * 10_000) for n in range(20)]), FeedState()),
    "emoji": lambda: (Batch(posts=[Record(f"a-{n}", f"{n}" * 10_000 + FOUR) for n in range(20)]), FeedState()),
    "rejected": lambda: (Batch(rejected=[Record(f"a-{n}", f"{n}" * 99) for n in range(500)]), FeedState()),
    "ids": lambda: (Batch(), FeedState(recent=tuple((n, "a") for n in range(100_000, 110_000)))),
    "empty": lambda: (Batch(), FeedState()),
}


@pytest.mark.parametrize("make", BATCHES.values(), ids=BATCHES)
def test_the_size_is_about_the_memory_that_is_held(make: Callable[[], Any], traced: Callable[[], int]) -> None:
    make()
    before = traced()
    held = make()
    assert traced() - before <= size_of(*held) < 1.5 * (traced() - before) + 1_000
