"""The collection job while Kafka is down and the feed sends the largest frames, as fast as the job reads them."""

import asyncio
import contextlib
import json
import signal
import time
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import psutil

from local.broker import read_topic
from local.process import owned_processes
from local.stack import Stack
from tests.support.topics import topic
from tests.support.waiting import await_value
from tests.unit.jobs.hostile_server import HostileServer, Peer

MEBIBYTE = 1_048_576
MAX_FRAME_BYTES = 524_288
BUFFER_BYTES = 64 * MEBIBYTE
# What docs/reference/settings.md allows besides the buffer and the queue, and what Flink needs in the Python worker to
# forward records.
REST_BYTES = (32 + 128) * MEBIBYTE
SMALL, LAST = 3, 600
# Longer than the request timeout of Kafka's clients.
STOPPED_SECONDS = 60


class LargeFrameFeed:
    """Sends numbered posts: a few small ones, then frames of the largest size as fast as the client reads them.

    Each text has an emoji, so Python stores each character in four bytes.
    sends_large_frames: a test sets it.
    """

    def __init__(self) -> None:
        self.sends_large_frames = False

    async def serve(self, peer: Peer) -> None:
        sent = int(parse_qs(urlsplit(peer.path).query).get("since", ["0"])[0])
        await peer.accept()
        while True:
            while sent < (LAST if self.sends_large_frames else SMALL):
                sent += 1
                await peer.send(self.frame(sent))
            await asyncio.sleep(0.02)

    @staticmethod
    def frame(number: int) -> str:
        post = {"feed": "large", "seq": number, "timestamp": int(time.time() * 1000), "text": "\U0001f602"}
        if number > SMALL:
            post["text"] = "\U0001f602" + "x" * (MAX_FRAME_BYTES - len(json.dumps(post, ensure_ascii=False).encode()))
        return json.dumps(post, ensure_ascii=False)


def worker_bytes(stack: Stack) -> int:
    """The resident memory of the largest Python worker."""
    sizes = [0]
    for process in owned_processes(stack.settings.state):
        with contextlib.suppress(psutil.Error):
            if any("pyflink.fn_execution" in part for part in process.cmdline()):
                sizes.append(process.memory_info().rss)
    return max(sizes)


def test_while_kafka_is_down_memory_is_bounded_and_no_post_is_lost(stack: Stack) -> None:
    feed = LargeFrameFeed()
    with HostileServer(feed.serve) as server, topic(stack.settings.kafka, "large") as published:
        environment = {
            "WEBSOCKET_URL": server.url,
            "KAFKA_TOPIC": published.name,
            "KAFKA_REJECTED_TOPIC": published.rejected_name,
            "MAX_FRAME_BYTES": str(MAX_FRAME_BYTES),
            "BUFFER_BYTES": str(BUFFER_BYTES),
        }

        def found() -> Counter[str]:
            values = (json.loads(value) for value in read_topic(stack.settings.kafka, published.name))
            return Counter(value["id"] for value in values if value["text"] is not None)

        identity = stack.submit("collector_stream", environment)
        try:
            await_value(lambda: len(found()) == SMALL, "the small posts", 60)
            idle = worker_bytes(stack)
            assert idle > 0
            stack.broker.program.signal(signal.SIGSTOP)
            feed.sends_large_frames = True
            end, sizes = time.monotonic() + STOPPED_SECONDS, []
            while time.monotonic() < end:
                sizes.append(worker_bytes(stack) - idle)
                time.sleep(0.5)
            assert max(peer.sent for peer in server.peers) < LAST, "the server could send all posts"
            stack.broker.program.signal(signal.SIGCONT)
            await_value(lambda: len(found()) == LAST, "every post", 240, every=5)
            assert found() == {f"simulator-large-{number}": 1 for number in range(1, LAST + 1)}
            assert published.rejections() == []
            assert BUFFER_BYTES < max(sizes) < 2 * BUFFER_BYTES + REST_BYTES
            assert max(sizes) - sizes[len(sizes) // 2] < 16 * MEBIBYTE, "memory still grows after half of the time"
        finally:
            stack.broker.program.signal(signal.SIGCONT)
            stack.flink.cancel(identity)
