"""The largest windows that the memory check allows fit into the heap of a TaskManager."""

import time
from dataclasses import replace
from json.encoder import encode_basestring
from typing import Any

import pytest
from confluent_kafka import Producer

from jobs.defaults import DATABASE, TWEETS_PARTITIONS
from jobs.settings import SettingError, read_aggregator_settings
from jobs.window_memory import Memory, check
from local.process import StackError
from local.stack import Stack
from local.store import client
from simulator.posts import post_text
from tests.support.topics import Topic, topic
from tests.support.waiting import await_value

COLLECTION = "large_windows"
SETTINGS = {"WINDOW_SECONDS": "3600", "ALLOWED_LATENESS_SECONDS": "0", "MONGODB_COLLECTION": COLLECTION}
WINDOW_MS = 3_600_000


def memory(stack: Stack) -> Memory:
    """The memory that the TaskManager reports."""
    identity = stack.flink.get("/taskmanagers")["taskmanagers"][0]["id"]
    configured = stack.flink.get(f"/taskmanagers/{identity}")["memoryConfiguration"]
    return Memory(configured["frameworkHeap"] + configured["taskHeap"], configured["managedMemory"])


def largest_rate(available: Memory) -> int:
    """The highest rate (posts per second) at which the windows of SETTINGS fit."""
    settings = read_aggregator_settings(SETTINGS)

    def fits(rate: int) -> bool:
        try:
            check(replace(settings, planned_posts_per_second=rate), available)
        except SettingError:
            return False
        return True

    return max(rate for rate in range(1, 10_000) if fits(rate))


def publish(published: Topic, window: int, posts: int) -> None:
    """Fill two windows with so many posts each, in the order of time, and then close both at once."""
    texts = [encode_basestring(post_text(1, number)) for number in range(1, 10_001)]
    producer = Producer({"bootstrap.servers": published.bootstrap, "queue.buffering.max.messages": 2_000_000})

    def send(identity: str, text: str, timestamp: int, partition: int) -> None:
        value = f'{{"id":"{identity}","text":{text},"timestamp":{timestamp},"source":"test"}}'
        producer.produce(published.name, value, key=identity, partition=partition)
        producer.poll(0)

    for number in range(2 * posts):
        stamp = window * WINDOW_MS + number * WINDOW_MS // posts
        send(f"p-{number}", texts[number % len(texts)], stamp, number % TWEETS_PARTITIONS)
    for partition in range(TWEETS_PARTITIONS):
        send(f"heartbeat-{partition}", "null", (window + 2) * WINDOW_MS + 60_000, partition)
    assert producer.flush(60) == 0


def test_windows_at_the_planned_rate_are_written_and_larger_ones_are_refused(stack: Stack) -> None:
    rate = largest_rate(memory(stack))
    posts = rate * WINDOW_MS // 1000
    with topic(stack.settings.kafka, "large-windows") as published, client(stack.settings.store_uri) as connection:
        documents = connection[DATABASE][COLLECTION]
        environment = SETTINGS | {"KAFKA_TOPIC": published.name, "KAFKA_REJECTED_TOPIC": published.rejected_name}
        with pytest.raises(StackError, match="TaskManager's heap, which has"):
            stack.submit("aggregator_stream", environment | {"PLANNED_POSTS_PER_SECOND": str(rate + 1)})
        identity = stack.submit("aggregator_stream", environment | {"PLANNED_POSTS_PER_SECOND": str(rate)})

        def written() -> int:
            sizes: list[dict[str, Any]] = [{"$project": {"posts": {"$size": "$content"}}}]
            return sum(found["posts"] for found in documents.aggregate(sizes))

        try:
            publish(published, int(time.time() * 1000) // WINDOW_MS - 100, posts)
            await_value(lambda: written() == 2 * posts, "every post in a document", 240, every=5)
            assert stack.flink.restarts(identity) == 0
        finally:
            stack.flink.cancel(identity)
            documents.drop()
