"""The baselines: the same work in plain loops, each a process. They keep no state and do not survive a failure.

python -m benchmarks.loops collector WEBSOCKET_URL KAFKA TOPIC POSTS
python -m benchmarks.loops aggregator KAFKA TOPIC POSTS MONGODB_URI COLLECTION WORLDOMETERS_URL
"""

import asyncio
import contextlib
import hashlib
import json
import sys
import time
from datetime import UTC, datetime

import pymongo
from confluent_kafka import Consumer, Producer
from websockets.asyncio.client import connect

from jobs.cleaning import clean
from jobs.defaults import DATABASE
from jobs.worldometers import CachedCounters, Counters

WINDOW_MS = 20_000


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

    Prints the seconds from the first record to the last upsert. It assumes that the records are nearly in order: it
    writes a window once a record two windows later has come.
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
        }
    )
    consumer.subscribe([topic])
    windows: dict[int, list[str]] = {}
    seen, began = 0, 0.0

    def write(number: int) -> None:
        key = hashlib.sha256(f"{topic}/{number}/0".encode()).hexdigest()
        values = counters.get() or Counters(*[None] * len(Counters._fields))
        document = {
            "hash": key,
            "content": windows.pop(number),
            "timestamp": datetime.fromtimestamp((number + 1) * WINDOW_MS / 1000, UTC).isoformat(),
            **values._asdict(),
        }
        documents.update_one({"_id": key}, {"$set": document}, upsert=True)

    newest = 0
    while seen < int(posts):
        messages = consumer.consume(10_000, timeout=1)
        began = began or (time.monotonic() if messages else 0.0)
        for message in messages:
            record = json.loads(message.value())
            if record["text"] is not None:
                number = record["timestamp"] // WINDOW_MS
                windows.setdefault(number, []).append(record["text"])
                newest = max(newest, number)
        seen += len(messages)
        for number in sorted(number for number in windows if number < newest - 1):
            write(number)
    for number in sorted(windows):
        write(number)
    sys.stdout.write(f"{time.monotonic() - began}\n")
    with contextlib.suppress(RuntimeError):
        consumer.close()


if __name__ == "__main__":
    side, *arguments = sys.argv[1:]
    if side == "collector":
        asyncio.run(collect(*arguments))
    else:
        aggregate(*arguments)
