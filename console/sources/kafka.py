"""Reads the topics: the newest posts, the rejections, the events of the last day, and the aggregator's lag."""

import contextlib
import json
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from console.observations import FeedEvent, Post, RejectedGroup, Topics
from jobs.kafka_security import client_options, read_files
from jobs.settings import AggregatorSettings

POSTS = 30  # of the newest posts
TAIL_OFFSETS = 200  # of each partition that are read for them
EVENTS = 2_000
EVENT_SECONDS = 86_400
REJECTED = 5_000  # of the newest rejections that are grouped
FETCH_BYTES = 131_072
MAX_TEXT = 280
MAX_RECORD = 500
POLL_MS = 200
# The aggregator commits at its checkpoints, every ten seconds by default.
COMMITTED_SECONDS = 5.0
# These codes name gaps: there is no frame to replay.
GAPS = ("lost", "rejected_range")


class KafkaTopics:
    """The topics. One consumer without a group: it commits nothing. `read` raises KafkaError and OSError."""

    def __init__(self, settings: AggregatorSettings, events_topic: str) -> None:
        self._settings = settings
        self._events_topic = events_topic
        self._consumer: KafkaConsumer | None = None
        self._offsets: dict[TopicPartition, int] = {}
        self._begins: dict[TopicPartition, int] = {}  # since the connection was made
        self._posts: deque[Post] = deque(maxlen=POSTS)
        self._rejected: deque[dict[str, Any]] = deque(maxlen=REJECTED)
        self._done: set[str] = set()
        self._lag: int | None = None
        self._committed_at = -COMMITTED_SECONDS
        self._events: deque[FeedEvent] = deque(maxlen=EVENTS)

    def read(self) -> Topics:
        try:
            return self._read(self._consumer or self._connect())
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            with contextlib.suppress(Exception):
                consumer.close()

    def _connect(self) -> KafkaConsumer:
        settings = self._settings
        self._begins = {}
        self._consumer = KafkaConsumer(
            bootstrap_servers=settings.bootstrap_servers,
            bootstrap_timeout_ms=5_000,
            group_id=f"{settings.id_prefix}-aggregator",
            enable_auto_commit=False,
            isolation_level="read_committed",
            # Only the end of each partition is read, and what is fetched beyond it takes memory.
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=4 * FETCH_BYTES,
            **client_options(settings.security, read_files(settings.security)),
        )
        return self._consumer

    def _read(self, consumer: KafkaConsumer) -> Topics:
        settings = self._settings
        posts = self._partitions(consumer, settings.topic)
        others = [
            partition
            for topic in (settings.rejected_topic, self._events_topic)
            for partition in self._partitions(consumer, topic)
        ]
        ends = consumer.end_offsets([*posts, *others])
        if fresh := [partition for partition in others if partition not in self._begins]:
            self._begins |= consumer.beginning_offsets(fresh)
        self._read_tail(consumer, posts, ends)
        for record in self._new_records(consumer, others, ends):
            value = read_object(record.value)
            if value is None:
                continue
            place = f"{record.partition}/{record.offset}"
            if record.topic == self._events_topic:
                self._add_event(value, place)
            else:
                self._add_rejection(value, place)
        if time.monotonic() - self._committed_at >= COMMITTED_SECONDS:
            self._committed_at = time.monotonic()
            self._lag = self._lag_behind(consumer, {partition: ends[partition] for partition in posts})
        since = time.time() - EVENT_SECONDS
        while self._events and self._events[0].at < since:
            self._events.popleft()
        newest = sorted(self._posts, key=lambda post: post.at, reverse=True)
        return Topics(
            records=sum(ends[partition] for partition in posts),
            lag=self._lag,
            posts=tuple(newest),
            rejected=tuple(self._groups()),
            events=tuple(self._events),
        )

    @staticmethod
    def _lag_behind(consumer: KafkaConsumer, ends: dict[TopicPartition, int]) -> int | None:
        """How many records the aggregator has not committed; None if it has committed nothing."""
        committed = {partition: consumer.committed(partition) for partition in ends}
        if all(offset is None for offset in committed.values()):
            return None
        return sum(max(0, end - (committed[partition] or 0)) for partition, end in ends.items())

    @staticmethod
    def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]

    def _read_tail(self, consumer: KafkaConsumer, partitions: list[TopicPartition], ends: dict[Any, int]) -> None:
        """The newest posts: at high rates most records are skipped, so that the console costs the same at any rate."""
        starts = {each: max(self._offsets.get(each, 0), ends[each] - TAIL_OFFSETS) for each in partitions}
        values = (read_object(record.value) for record in self._records(consumer, starts, ends))
        posts = [post_of(value) for value in values if value is not None and isinstance(value.get("text"), str)]
        self._posts.extend(sample(posts, POSTS))

    def _new_records(
        self, consumer: KafkaConsumer, partitions: list[TopicPartition], ends: dict[Any, int]
    ) -> Iterator[Any]:
        starts = {
            each: max(self._offsets.get(each, 0), self._begins[each], ends[each] - REJECTED) for each in partitions
        }
        yield from self._records(consumer, starts, ends)

    def _records(self, consumer: KafkaConsumer, starts: dict[Any, int], ends: dict[Any, int]) -> Iterator[Any]:
        """The committed records from the offsets `starts` to before `ends`."""
        left = {each for each, start in starts.items() if start < ends[each]}
        if left:
            consumer.assign(list(left))
            consumer.resume(*left)
            for each in left:
                consumer.seek(each, starts[each])
        end = time.monotonic() + 2
        while left and time.monotonic() < end:
            for records in consumer.poll(timeout_ms=POLL_MS, max_records=2_000).values():
                yield from records
            for each in list(left):
                self._offsets[each] = consumer.position(each)
                if self._offsets[each] >= ends[each]:
                    left.discard(each)
                    consumer.pause(each)

    def _add_event(self, value: dict[str, Any], place: str) -> None:
        known = {"event", "time", "source", "server"}
        self._events.append(
            FeedEvent(
                str(value.get("event"))[:32],
                seconds(value.get("time")),
                str(value.get("source"))[:32],
                str(value.get("server") or "")[:200],
                {name[:32]: str(each)[:300] for name, each in value.items() if name not in known},
                place,
                json.dumps(value, ensure_ascii=False)[:MAX_RECORD],
            )
        )

    def _add_rejection(self, value: dict[str, Any], where: str) -> None:
        if isinstance(value.get("of"), list):  # a marker of `make rejected`
            self._done.update(map(str, value["of"]))
            return
        self._rejected.append(
            {
                "where": where,
                "code": str(value.get("code") or "aggregator")[:32],
                "reason": str(value.get("reason"))[:200],
                "time": seconds(value.get("time")),
                "sample": str(value.get("record"))[:300],
                "replayable": "frame" in value,
                "count": len(items) if isinstance(items := value.get("items"), list) else 1,
            }
        )

    def _groups(self) -> list[RejectedGroup]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for each in self._rejected:
            if each["where"] not in self._done:
                groups.setdefault(each["code"], []).append(each)
        found = [
            RejectedGroup(
                code,
                members[-1]["reason"],
                sum(each["count"] for each in members),
                min(each["time"] for each in members),
                max(each["time"] for each in members),
                members[-1]["sample"],
                members[-1]["replayable"] and code not in GAPS,
            )
            for code, members in groups.items()
        ]
        return sorted(found, key=lambda group: -group.count)


def post_of(value: dict[str, Any]) -> Post:
    return Post(
        str(value.get("id"))[:200],
        value["text"][:MAX_TEXT],
        seconds(value.get("timestamp")),
        str(value.get("source"))[:32],
        str(value.get("position") or "")[:100],
        str(value.get("original") or "")[:MAX_TEXT],
    )


def sample(posts: list[Post], most: int) -> list[Post]:
    """At most so many posts, in their order: those with the text before cleaning first, then the newest ones."""
    if len(posts) <= most:
        return posts
    numbers = sorted(range(len(posts)), key=lambda number: (not posts[number].original, -number))
    return [posts[number] for number in sorted(numbers[:most])]


def read_object(value: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(value) if value else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def seconds(milliseconds: object) -> float:
    return milliseconds / 1000 if isinstance(milliseconds, (int, float)) else 0.0
