"""Both jobs and a feed that stalls, then sends its backlog, and whose clock steps back. Each post is in a document."""

import asyncio
import json
import time
from collections import Counter
from urllib.parse import parse_qs, urlsplit

from jobs.defaults import DATABASE
from local.stack import JOBS, Stack
from tests.integration.conftest import WINDOW_SECONDS
from tests.support.dropped import assert_nothing_was_dropped
from tests.support.stored import documents
from tests.support.topics import topic
from tests.support.waiting import await_value
from tests.unit.jobs.hostile_server import HostileServer, Peer

RATE = 50
COLLECTION = "lying"


class LyingFeed:
    """Sends numbered posts, RATE a second. A test can set its clock back. While it stalls, it only answers pings.

    offset: of the clock, seconds
    """

    def __init__(self) -> None:
        self.offset = 0.0
        self.stalled = self.ended = False
        self.frames: list[str] = []
        self._began = time.time()

    def create_due_posts(self) -> None:
        """Their timestamps are the present time of the feed's clock."""
        while not self.ended and len(self.frames) < (time.time() - self._began) * RATE:
            number = len(self.frames) + 1
            timestamp = int((time.time() + self.offset) * 1000)
            frame = {"feed": "lying", "seq": number, "timestamp": timestamp, "text": f"post {number}"}
            self.frames.append(json.dumps(frame))

    async def serve(self, peer: Peer) -> None:
        sent = int(parse_qs(urlsplit(peer.path).query).get("since", ["0"])[0])
        await peer.accept()
        while True:
            self.create_due_posts()
            while not self.stalled and sent < len(self.frames):
                await peer.send(self.frames[sent])
                sent += 1
            await asyncio.sleep(0.02)


def test_every_post_of_a_feed_with_a_wrong_clock_is_in_a_document(stack: Stack) -> None:
    feed = LyingFeed()
    with HostileServer(feed.serve) as server, topic(stack.settings.kafka, "lying") as published:
        environment = {
            "WEBSOCKET_URL": server.url,
            "KAFKA_TOPIC": published.name,
            "KAFKA_REJECTED_TOPIC": published.rejected_name,
            "MONGODB_COLLECTION": COLLECTION,
        }
        for job in JOBS:
            stack.submit(job, environment)
        # Each step is longer than a window, and longer than the delay of the heartbeats.
        for offset, stalled in ((0, False), (0, True), (0, False), (-20, False), (-90, False)):
            feed.offset, feed.stalled = offset, stalled
            time.sleep(2.5 * WINDOW_SECONDS)
        feed.ended = True

        def stored() -> Counter[str]:
            found = documents(stack.settings.store_uri, DATABASE, COLLECTION)
            return Counter(text for chunks in found.values() for chunk in chunks for text in chunk["content"])

        try:
            await_value(lambda: len(stored()) >= len(feed.frames), "every post in a document", 90)
            assert stored() == Counter(f"post {number}" for number in range(1, len(feed.frames) + 1))
            assert published.rejections() == []
            restamped = [post for post in published.posts() if "stamp" in post]
            assert restamped, "no timestamp of 90 s ago was replaced"
            assert all(post["timestamp"] > post["stamp"] for post in restamped)
            assert_nothing_was_dropped(stack)
        finally:
            for job in JOBS:
                stack.flink.cancel(stack.jobs[job])
