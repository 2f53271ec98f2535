"""Collects a preset's feed from a stand-in server as the job does, without Flink and Kafka."""

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self, cast

from jobs.feeds.definition import Definition
from jobs.feeds.model import Shard
from jobs.kafka_topic import Partitions
from jobs.records import FeedState
from jobs.settings import read_collector_settings
from jobs.shard_worker import ShardWorker
from tests.support.feed_servers.base import FeedServer


class NoMetrics:
    def gauge(self, name: str, value: Callable[[], object]) -> None:
        pass


class Collector:
    """A collector that can be stopped and restarted with its state.

    posts, rejected, events: the JSON of all records so far, in order; posts without heartbeats.
    state: the state after the last of them, as Flink keeps it.
    """

    def __init__(self, feed: Definition, server: FeedServer, **environment: str) -> None:
        settings = read_collector_settings({"WEBSOCKET_URL": server.url, **environment})
        self.server = server
        self.posts: list[dict[str, Any]] = []
        self.rejected: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.state = FeedState()
        # A preset names files that exist only where it is deployed. So it does not come from the environment.
        self._settings = settings.__class__(**{**vars(settings), "feed": feed})
        self._worker: ShardWorker | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        partitions = cast(Partitions, SimpleNamespace(count=4, stop=lambda: None))
        self._worker = ShardWorker(self._settings, Shard(), self.state, partitions, NoMetrics())

    def stop(self) -> None:
        """Stop, with the state after the last batch that was taken. What was not taken is lost, as in a crash."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def take(self) -> None:
        assert self._worker is not None
        while (taken := self._worker.next_batch()) is not None:
            batch, self.state = taken
            self.posts += [post for _, value in batch.posts if (post := json.loads(value))["text"] is not None]
            self.rejected += [json.loads(value) for _, value in batch.rejected]
            self.events += [json.loads(value) for _, value in batch.events]

    def until(self, condition: Callable[[], object], what: str, seconds: float = 10) -> None:
        """Collect until the condition holds."""
        end = time.monotonic() + seconds
        self.take()
        while not condition():
            seen = [event["event"] for event in self.events], self.ids
            assert time.monotonic() < end, f"not within {seconds:g} s: {what}; so far: {seen}"
            time.sleep(0.005)
            self.take()

    def until_subscribed(self) -> None:
        self.until(lambda: self.server.subscribed, "the subscription")

    def until_posts(self, count: int) -> None:
        """Collect until there are so many posts."""
        self.until(lambda: len(self.posts) >= count, f"{count} posts")

    def for_seconds(self, seconds: float) -> None:
        """Collect for so long."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "the end", seconds + 5)

    @property
    def ids(self) -> list[str]:
        return [post["id"] for post in self.posts]

    @property
    def texts(self) -> list[str]:
        return [post["text"] for post in self.posts]

    def named(self, what: str) -> list[dict[str, Any]]:
        """The events of that kind."""
        return [event for event in self.events if event["event"] == what]

    @property
    def counts(self) -> Any:
        assert self._worker is not None
        return self._worker.processor.counts

    @property
    def refused(self) -> bool:
        """Whether the collector has stopped asking."""
        assert self._worker is not None
        return self._worker.reader.refused
