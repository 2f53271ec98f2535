"""The topics of the benchmarks: made, filled, and read for the times at which their records were appended."""

import contextlib
import time
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from kafka.admin import NewTopic

from benchmarks.loops import WINDOW_MS
from jobs.buckets import buckets
from jobs.defaults import TWEETS_PARTITIONS
from jobs.documents import document_key, iso
from local.broker import admin
from local.process import StackError, wait_until
from simulator.posts import post_text

LIMIT_SECONDS = 600
QUIET_SECONDS = 30  # nothing more is expected of a side that has delivered nothing for so long
WINDOWS = 100  # that count
RUN_OUT = 12  # windows after them: more than the peers wait for late posts
FIRST_WINDOW = 1_700_000_000_000 // WINDOW_MS


@contextlib.contextmanager
def topic(kafka: str, name: str, stamp: str = "LogAppendTime") -> Iterator[str]:
    """A topic, deleted at the end. stamp: what its records' timestamps are, LogAppendTime or CreateTime."""
    configuration = {"message.timestamp.type": stamp}
    new = NewTopic(name, num_partitions=TWEETS_PARTITIONS, replication_factor=1, topic_configs=configuration)
    with contextlib.closing(admin(kafka)) as connection:
        connection.create_topics([new], wait_for_metadata=True)
    try:
        yield name
    finally:
        with contextlib.closing(admin(kafka)) as connection:
            connection.delete_topics([name])


def reader(kafka: str, isolation: str) -> Consumer:
    """A consumer without a group's offsets. isolation: read_committed or read_uncommitted."""
    configuration = {"bootstrap.servers": kafka, "group.id": "bench", "enable.auto.commit": False}
    return Consumer({**configuration, "isolation.level": isolation})


def partitions(name: str, offset: int = OFFSET_BEGINNING) -> list[TopicPartition]:
    return [TopicPartition(name, number, offset) for number in range(TWEETS_PARTITIONS)]


def records(consumer: Consumer, name: str) -> int:
    """How many records the topic holds, with the markers of transactions."""
    return sum(consumer.get_watermark_offsets(partition)[1] for partition in partitions(name))


def append_times(kafka: str, name: str, posts: int, ended: Callable[[], bool] = lambda: False) -> list[float]:
    """Wait for that many committed posts in the topic; returns when each was appended, in seconds since 1970 UTC.

    A side that delivers fewer is awaited until nothing new has come for QUIET_SECONDS, or until it has ended.
    Raises StackError after LIMIT_SECONDS, or without any post.
    ended: whether the side has failed.
    """
    consumer = reader(kafka, "read_committed")
    newest, changed = 0, time.monotonic()

    def appended() -> bool:
        nonlocal newest, changed
        time.sleep(1)
        found = records(consumer, name)
        if found != newest:
            newest, changed = found, time.monotonic()
        return found >= posts or ended() or bool(newest and time.monotonic() - changed > QUIET_SECONDS)

    # The records are read only at the end: reading takes a core from the side that is measured.
    wait_until(appended, f"{posts} records in {name}", LIMIT_SECONDS)
    consumer.assign(partitions(name))
    times: list[float] = []
    quiet = time.monotonic() + 10
    while len(times) < posts and time.monotonic() < quiet:
        found = [message.timestamp()[1] / 1000 for message in consumer.consume(100_000, timeout=1) if is_post(message)]
        times += found
        if found:
            quiet = time.monotonic() + 10
    consumer.close()
    if len(times) < 2:
        raise StackError(f"{len(times)} of {posts} posts were in {name}")
    return times


def is_post(message: Message) -> bool:
    return message.error() is None and b'"text":null' not in (message.value() or b"")


def window_keys(name: str, size: int = 1) -> list[str]:
    """The keys of the documents of the windows that count, of a topic that `fill` has filled. size: their buckets."""
    ends = window_starts(1)
    return [
        document_key(name, start, end, 0, bucket)
        for start, end in zip(window_starts(), ends, strict=True)
        for bucket in buckets(size)
    ]


def window_starts(later: int = 0) -> list[str]:
    """When the windows begin that count, or those so many windows later. ISO 8601."""
    first = FIRST_WINDOW + later
    return [iso(number * WINDOW_MS / 1000) for number in range(first, first + WINDOWS)]


def fill(kafka: str, name: str, posts: int) -> int:
    """Publish posts: so many, spread evenly over the windows, and more of them in RUN_OUT further windows.

    The further ones close the windows that count, as in a feed that goes on. Returns how many posts were published.
    """
    producer = Producer(
        {"bootstrap.servers": kafka, "queue.buffering.max.messages": 1_000_000, "partitioner": "murmur2_random"}
    )
    texts = [encode_basestring(post_text(1, number)) for number in range(1, 10_001)]
    published = posts * (WINDOWS + RUN_OUT) // WINDOWS
    for number in range(published):
        timestamp = FIRST_WINDOW * WINDOW_MS + number * WINDOWS * WINDOW_MS // posts
        fields = f'"timestamp":{timestamp},"source":"bench","position":"{number}"'
        line = f'{{"id":"p-{number}","text":{texts[number % 10_000]},{fields}}}'
        while True:
            try:
                producer.produce(name, line, key=f"p-{number}")
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return published
