"""Topics in memory for the tests of `make rejected`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.audit.reader import PartitionRange, Record
from jobs.feed_processor import FeedProcessor
from jobs.feeds.definition import Definition
from jobs.feeds.feed import Feed
from jobs.feeds.model import Shard
from jobs.records import FeedState, Frame
from jobs.rejected.entries import Place, find_done, open_entries
from jobs.rejected.mapping import Mapper
from jobs.rejected.work import Names, Result, Work, Write

NAMES = Names("tweets", "tweets.rejected", "many")
NOW = 1_767_225_600_000
PARTITIONS = 2

MANY = Definition(
    name="many",
    connect={"urls": ["ws://localhost:1"]},
    frames={"each": "posts"},
    post={"text": "text", "id": "many-{id}", "time": {"path": "at", "unit": "ms"}, "extra": {"lang": "lang"}},
)


@dataclass
class Kafka:
    """A Broker of lists. killed_at: the number of the commit that fails, as if the run were killed."""

    logs: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    commits: list[list[Write]] = field(default_factory=list)
    killed_at: int | None = None
    now: int = NOW

    def append(self, topic: str, partition: int, key: str, value: bytes) -> Place:
        log = self.logs.setdefault((topic, partition), [])
        log.append(Record(partition, len(log), key.encode(), value, self.now))
        return Place(partition, len(log) - 1)

    def settled(self, topic: str) -> list[PartitionRange]:
        return [PartitionRange(number, 0, len(log)) for (name, number), log in self.logs.items() if name == topic]

    def since(self, ranges: Iterable[PartitionRange], topic: str, at: int) -> list[PartitionRange]:
        return [
            each._replace(begin=sum((log.timestamp or 0) < at for log in self.logs[topic, each.partition]))
            for each in ranges
        ]

    def records(self, topic: str, ranges: Iterable[PartitionRange]) -> Iterator[Record]:
        for each in list(ranges):
            yield from self.logs[topic, each.partition][each.begin : each.end]

    def partition_of(self, key: str) -> int:
        return len(key) % PARTITIONS

    def newest_event_times(self) -> Mapping[int, int]:
        return {
            number: max(json.loads(each.value or b"")["timestamp"] for each in log)
            for (name, number), log in self.logs.items()
            if name == "tweets" and log
        }

    def commit(self, writes: Iterable[Write]) -> None:
        if self.killed_at == len(self.commits):
            raise InterruptedError
        self.commits.append(list(writes))
        for each in self.commits[-1]:
            self.append(*each)

    # What a test does and asks.

    def collect(self, feed: Definition, frames: Iterable[bytes | str], *, is_text: bool = True) -> None:
        """Write what a collector makes of these frames."""
        processor = FeedProcessor(Feed(feed, lambda: "random"), Shard(), str.strip, FeedState())
        data = [each.encode() if isinstance(each, str) else each for each in frames]
        batch = processor.process([Frame(each, is_text, self.now) for each in data])
        for record in batch.posts:
            self.append("tweets", self.partition_of(record.key), *record)
        for number, record in enumerate(batch.rejected):
            self.append("tweets.rejected", number % PARTITIONS, *record)

    def work(self, names: Names = NAMES) -> Work:
        return Work(self, names, lambda: self.now)

    def replay(self, feed: Definition, code: str = "all") -> Result:
        return self.work(NAMES._replace(feed=feed.name)).replay(code, Mapper(feed, str.strip))

    def discard(self, code: str = "all") -> Result:
        return self.work().discard(code)

    def posts(self) -> list[dict[str, Any]]:
        return [json.loads(each.value or b"") for each in self.records("tweets", self.settled("tweets"))]

    def texts(self) -> list[str]:
        return sorted(each["text"] for each in self.posts())

    def open(self) -> list[str]:
        """The codes of the open rejections."""
        name = "tweets.rejected"
        done = find_done(self.records(name, self.settled(name)))
        return sorted(each.code for each in open_entries(self.records(name, self.settled(name)), done, "tweets"))
