"""The case `aggregator`: topic -> windows -> counters -> one document per window. Both sides read the same topic."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from pymongo.collection import Collection

from benchmarks import topics
from benchmarks.bench import Bench, Running, Side, failed, loop_command
from benchmarks.machine import Cpu
from benchmarks.numbers import Measurement, steady
from jobs.defaults import DATABASE
from local.process import StackError
from local.store import client

TOPIC = "bench-posts"
POLL_SECONDS = 0.1


def run(bench: Bench, posts: int) -> None:
    with filled_topic(bench, posts) as published:
        sides = {"loop": loop(bench, posts, published), "job": job(bench, posts)}
        bench.compare(f"aggregator, {posts:,} posts in {topics.WINDOWS} windows", "job", sides)


@contextlib.contextmanager
def filled_topic(bench: Bench, posts: int) -> Iterator[int]:
    """The topic that all sides read. Gives how many posts it holds; `posts` of them count."""
    kafka = bench.stack.settings.kafka
    with topics.topic(kafka, TOPIC, "CreateTime"):
        bench.say(f"\nfilling a topic with {posts:,} posts in {topics.WINDOWS} windows ...")
        yield topics.fill(kafka, TOPIC, posts)


def loop(bench: Bench, posts: int, published: int) -> Side:
    settings = bench.stack.settings

    def side(name: str) -> Measurement:
        arguments = (settings.kafka, TOPIC, str(published), settings.store_uri, name, settings.worldometers_url)
        command = loop_command("aggregator", *arguments)
        with bench.process(command, "loop") as running, Cpu((running.pid,)) as cpu:
            times = document_times(bench, name, running)
        return measurement(bench, name, times, posts, cpu)

    return side


def job(bench: Bench, posts: int, buckets: int = 1, parallelism: int = 1) -> Side:
    keys = topics.window_keys(TOPIC, buckets)

    def side(name: str) -> Measurement:
        environment = {"KAFKA_TOPIC": TOPIC, "MONGODB_COLLECTION": name, "CHECKPOINT_SECONDS": "2"}
        environment |= {"WINDOW_BUCKETS": str(buckets)}
        with bench.cpu_of_jobs() as cpu, bench.job("aggregator_stream", environment, parallelism) as identity:
            times = document_times(bench, name, keys=keys)
            note = bench.checkpoints(identity)
        return measurement(bench, name, times, posts, cpu, note, keys)

    return side


def document_times(
    bench: Bench, collection: str, running: Running = None, keys: Sequence[str] | None = None
) -> list[float]:
    """When each of these documents was there, in seconds since 1970 UTC. Raises StackError without any.

    keys: by default one of each window.

    A side that loses windows is awaited until nothing new has come for QUIET_SECONDS, or until it has failed.
    """
    missing, times = set(keys or topics.window_keys(TOPIC)), list[float]()
    end = time.time() + topics.LIMIT_SECONDS
    with client(bench.stack.settings.store_uri) as connection:
        documents = connection[DATABASE][collection]
        while (
            missing
            and not failed(running)
            and time.time() < min(end, times[-1] + topics.QUIET_SECONDS if times else end)
        ):
            found = [each["_id"] for each in documents.find({"_id": {"$in": list(missing)}}, {"_id": 1})]
            times += [time.time()] * len(found)
            missing.difference_update(found)
            time.sleep(POLL_SECONDS)
    if len(times) < 2:
        raise StackError(f"{len(times)} of {len(times) + len(missing)} documents came into {collection}")
    return times


def measurement(
    bench: Bench,
    collection: str,
    times: list[float],
    posts: int,
    cpu: Cpu,
    note: str = "",
    keys: Sequence[str] | None = None,
) -> Measurement:
    """The counted part. The documents are counted and dropped. times: when each document was there; keys: see above."""
    part = steady(times)
    with client(bench.stack.settings.store_uri) as connection:
        documents = connection[DATABASE][collection]
        lost = posts - stored_posts(documents, keys or topics.window_keys(TOPIC))
        documents.drop()
    return Measurement(posts * part.share, part.end - part.begin, cpu.seconds(part), lost, note)


def stored_posts(documents: Collection[dict[str, Any]], keys: Sequence[str]) -> int:
    """How many posts these documents hold."""
    counted = {"$match": {"_id": {"$in": list(keys)}}}
    sizes = documents.aggregate([counted, {"$project": {"posts": {"$size": "$content"}}}])
    return sum(int(each["posts"]) for each in sizes)
