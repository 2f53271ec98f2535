"""The baselines: the same work in plain loops, each a process. They keep no state and do not survive a failure.

python -m benchmarks.loops collector WEBSOCKET_URL KAFKA TOPIC POSTS
python -m benchmarks.loops aggregator KAFKA TOPIC POSTS MONGODB_URI COLLECTION WORLDOMETERS_URL
"""

import asyncio
import contextlib
import json
import sys
import time

import pymongo
from confluent_kafka import Consumer, Producer
from websockets.asyncio.client import connect

from jobs.cleaning import clean
from jobs.counters import Counters
from jobs.defaults import DATABASE, TWEETS_PARTITIONS
from jobs.documents import document_key, iso
from jobs.worldometers import CachedCounters

WINDOW_MS = 20_000
GRACE_MS = 10 * WINDOW_MS  # how far a peer lets the partitions be apart before it takes a post for late


async def collect(url: str, kafka: str, topic: str, posts: str) -> None:
    """WebSocket -> clean -> JSON -> Kafka."""
    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "linger.ms": 5,
            "batch.size": 262_144,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    async with connect(url, compression=None) as connection:
        for number in range(int(posts)):
            frame = json.loads(await connection.recv())
            record = {
                "id": f"simulator-{frame['feed']}-{frame['seq']}",
                "text": clean(frame["text"]),
                "timestamp": frame["timestamp"],
                "source": "simulator",
            }
            producer.produce(topic, json.dumps(record, ensure_ascii=False), key=record["id"])
            if number % 1_000 == 0:
                producer.poll(0)
    producer.flush()


def aggregate(kafka: str, topic: str, posts: str, uri: str, collection: str, page: str) -> None:
    """Kafka -> window -> counters -> one upsert per window.

    It writes a window once each partition has come to a later one: within a partition the records are in order.
    """
    counters = CachedCounters(page)
    documents: pymongo.collection.Collection[dict[str, object]] = pymongo.MongoClient(uri)[DATABASE][collection]
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": f"loop-{time.time_ns()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            # Small fetches of all partitions in turn: with the defaults one partition runs far ahead of the others.
            "max.partition.fetch.bytes": 262_144,
            "queued.min.messages": 10_000,
            "fetch.queue.backoff.ms": 5,
        }
    )
    consumer.subscribe([topic])
    windows: dict[int, list[str]] = {}
    seen = 0

    def write(number: int) -> None:
        document = window_document(topic, number, windows.pop(number), counters)
        documents.update_one({"_id": document["hash"]}, {"$set": document}, upsert=True)

    newest: dict[int, int] = {}  # window by partition
    while seen < int(posts):
        messages = consumer.consume(10_000, timeout=1)
        for message in messages:
            record = json.loads(message.value())
            if record["text"] is not None:
                number = record["timestamp"] // WINDOW_MS
                windows.setdefault(number, []).append(record["text"])
                newest[message.partition()] = number
                seen += 1
        if len(newest) == TWEETS_PARTITIONS:
            for number in sorted(number for number in windows if number < min(newest.values())):
                write(number)
    for number in sorted(windows):
        write(number)
    with contextlib.suppress(RuntimeError):
        consumer.close()


def window_document(topic: str, number: int, texts: list[str], counters: CachedCounters) -> dict[str, object]:
    """The document of a window. number: how many windows end before it begins, since 1970 UTC."""
    start, end = (iso(bound * WINDOW_MS / 1000) for bound in (number, number + 1))
    values = counters.get() or Counters(*[None] * len(Counters._fields))
    key = document_key(topic, start, end, 0)
    return {"hash": key, "content": texts, "timestamp": end, **values._asdict()}


if __name__ == "__main__":
    side, *arguments = sys.argv[1:]
    if side == "collector":
        asyncio.run(collect(*arguments))
    else:
        aggregate(*arguments)
