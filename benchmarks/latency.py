"""The case `latency`: how long a post takes from the socket to a reader, and a window from its end to its document.

A post's age counts from its time in the simulator's frame. All clocks are that of this machine. The simulator sends at
most 10 ms after that time (its TICK).
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import orjson
from confluent_kafka import OFFSET_END
from pymongo.collection import Collection

from benchmarks import topics
from benchmarks.bench import Bench, busy_note
from benchmarks.numbers import markdown, percentile
from jobs.defaults import DATABASE
from jobs.documents import document_key, iso
from local.process import StackError, wait_until
from local.store import client

RATES = (20, 1_000, 20_000)  # posts a second
CHECKPOINT_SECONDS = (1, 2)
SETTLE_SECONDS = 8.0  # not counted: the job compiles
SECONDS = 15.0
WINDOW_RATE = 1_000
WINDOW_SECONDS = 1  # the shortest that a job takes: for the most samples
WINDOWS = 30
POLL_SECONDS = 0.01


class Seen(NamedTuple):
    """When a post was where, in seconds since 1970 UTC."""

    sent: float
    appended: float  # by the broker
    read: float  # by a reader of committed records


def run(bench: Bench) -> None:
    title = f"latency: {SECONDS:g} s at each rate"
    bench.say(f"\n{title}")
    titles = ["posts/s", "CHECKPOINT_SECONDS", "posts", "at the broker: p50 ms", "p99 ms", "readable: p50 ms", "p99 ms"]
    rows = [titles]
    for rate in RATES:
        bench.restart_simulator({"SIMULATOR_RATE": str(rate)})
        for checkpoint in CHECKPOINT_SECONDS:
            rows.append(of_posts(bench, rate, checkpoint))
            bench.say("  " + ", ".join(f"{title} {value}" for title, value in zip(titles, rows[-1], strict=True)))
    lines = markdown(rows)
    bench.restart_simulator({"SIMULATOR_RATE": str(WINDOW_RATE)})
    lines += [of_windows(bench, checkpoint) for checkpoint in CHECKPOINT_SECONDS]
    bench.result(title, lines)


def of_posts(bench: Bench, rate: int, checkpoint: int) -> list[str]:
    """From the socket to the broker, and to a reader of committed records, as a row of the table."""
    kafka = bench.stack.settings.kafka
    with topics.topic(kafka, f"latency-{rate}-{checkpoint}") as topic:
        environment = {"WEBSOCKET_URL": live(bench), "KAFKA_TOPIC": topic, "CHECKPOINT_SECONDS": str(checkpoint)}
        with bench.job("collector_stream", environment):
            time.sleep(SETTLE_SECONDS)
            bench.watch.others()
            seen = watch(kafka, topic, SECONDS)
            bench.say(f"  {rate:,} posts/s{busy_note(bench.note_others())}")
    broker = [(each.appended - each.sent) * 1000 for each in seen]
    reader = [(each.read - each.sent) * 1000 for each in seen]
    found = [percentile(values, percent) for values in (broker, reader) for percent in (50, 99)]
    return [f"{value:,.0f}" for value in (rate, checkpoint, len(seen), *found)]


def live(bench: Bench) -> str:
    return bench.stack.settings.simulator_url


def watch(kafka: str, topic: str, seconds: float) -> list[Seen]:
    """The posts that become readable within `seconds`. Raises StackError without any.

    A process of its own reads them, so that nothing else delays it.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        seen = pool.submit(read, kafka, topic, seconds).result()
    if not seen:
        raise StackError(f"no post came into {topic} within {seconds:g} s")
    return seen


def read(kafka: str, topic: str, seconds: float) -> list[Seen]:
    consumer = topics.reader(kafka, "read_committed")
    consumer.assign(topics.partitions(topic, OFFSET_END))
    found: list[tuple[float, float, bytes]] = []
    end = time.time() + seconds
    while time.time() < end:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            found.append((time.time(), message.timestamp()[1] / 1000, message.value()))
    consumer.close()
    records = ((read_at, appended, orjson.loads(value)) for read_at, appended, value in found)
    return [
        Seen(record["timestamp"] / 1000, appended, read_at)
        for read_at, appended, record in records
        if record["text"] is not None
    ]


def of_windows(bench: Bench, checkpoint: int) -> str:
    """From the end of a window to its document, as a sentence."""
    settings = bench.stack.settings
    name = f"windows-{checkpoint}"
    with topics.topic(settings.kafka, name) as topic, client(settings.store_uri) as connection:
        documents = connection[DATABASE][name]
        environment = {
            "WEBSOCKET_URL": live(bench),
            "KAFKA_TOPIC": topic,
            "MONGODB_COLLECTION": name,
            "CHECKPOINT_SECONDS": str(checkpoint),
            "WINDOW_SECONDS": str(WINDOW_SECONDS),
        }
        with bench.job("collector_stream", environment), bench.job("aggregator_stream", environment):
            wait_until(lambda: documents.find_one({}, {"_id": 1}) is not None, "a document", 60)
            time.sleep(SETTLE_SECONDS)
            bench.watch.others()
            first = int(time.time()) // WINDOW_SECONDS + 1
            delays = []
            for number in range(first, first + WINDOWS):
                start, end = number * WINDOW_SECONDS, (number + 1) * WINDOW_SECONDS
                await_document(documents, document_key(topic, iso(start), iso(end), 0))
                delays.append((time.time() - end) * 1000)
            others = bench.note_others()
        documents.drop()
    found = " and ".join(f"p{percent} {percentile(delays, percent):,.0f} ms" for percent in (50, 99))
    what = f"{WINDOWS} windows of {WINDOW_SECONDS} s at {WINDOW_RATE:,} posts/s, CHECKPOINT_SECONDS {checkpoint}"
    return f"from a window's end to its document: {found} ({what}){busy_note(others)}"


def await_document(documents: Collection[dict[str, Any]], key: str) -> None:
    """Raises StackError."""
    wait_until(
        lambda: documents.find_one({"_id": key}, {"_id": 1}) is not None,
        f"document {key}",
        60,
        sleep=lambda _: time.sleep(POLL_SECONDS),
    )
