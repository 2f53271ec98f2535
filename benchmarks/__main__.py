"""Runs both benchmarks and prints the rates of both sides, their ratio and the durations of the checkpoints.

Settings: BENCH_COLLECTOR_POSTS, BENCH_AGGREGATOR_POSTS, BENCH_ROUNDS. Exit status: 0, or 1 with a reason.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from json.encoder import encode_basestring

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from kafka.admin import NewTopic

from benchmarks.loops import WINDOW_MS
from jobs.defaults import DATABASE, TWEETS_PARTITIONS
from jobs.documents import document_key, iso
from jobs.settings import EnvReader, SettingError
from local.broker import admin
from local.process import StackError, wait_until
from local.settings import REPOSITORY, read_settings
from local.stack import Stack
from local.store import client
from simulator.posts import post_text

LIMIT_SECONDS = 600
WINDOWS = 100
FIRST_WINDOW = 1_700_000_000_000 // WINDOW_MS


def main() -> int:
    try:
        read = EnvReader(os.environ)
        collected = read.integer("BENCH_COLLECTOR_POSTS", 500_000, 10_000, 10_000_000)
        aggregated = read.integer("BENCH_AGGREGATOR_POSTS", 2_000_000, 10_000, 20_000_000)
        rounds = read.integer("BENCH_ROUNDS", 3, 1, 20)
        with Stack(read_settings()) as stack:
            stack.simulator.environment = {**stack.simulator.environment, "SIMULATOR_STOP_AFTER": str(collected)}
            say("starting Kafka, Flink, the store and the simulator ...")
            stack.start(jobs=())
            bench_collector(stack, collected, rounds)
            bench_aggregator(stack, aggregated, rounds)
    except (StackError, SettingError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def bench_collector(stack: Stack, posts: int, rounds: int) -> None:
    """Both sides read the same posts from the simulator; their time is that of the records' LogAppendTimes."""
    url = f"{stack.settings.simulator_url}/?since=0&format=json"

    def loop(topic: str) -> float:
        run_loop("collector", url, stack.settings.kafka, topic, str(posts))
        return append_seconds(stack.settings.kafka, topic, posts)

    def job(topic: str) -> float:
        environment = {"WEBSOCKET_URL": url, "KAFKA_TOPIC": topic}
        return run_job(
            stack, "collector_stream", environment, lambda: append_seconds(stack.settings.kafka, topic, posts)
        )

    compare(stack, "collector", posts, rounds, loop, job)


def bench_aggregator(stack: Stack, posts: int, rounds: int) -> None:
    """Both sides read the same topic from its beginning and write 100 documents."""
    kafka = stack.settings.kafka
    say(f"\nfilling a topic with {posts:,} posts in {WINDOWS} windows ...")
    make_topic(kafka, "bench-posts")
    fill(kafka, "bench-posts", posts)

    newest = {"_id": document_key("bench-posts", *newest_window(), 0)}
    with client(stack.settings.store_uri) as connection:
        database = connection[DATABASE]

        def loop(name: str) -> float:
            addresses = (stack.settings.store_uri, name, stack.settings.worldometers_url)
            seconds = float(run_loop("aggregator", kafka, "bench-posts", str(posts), *addresses))
            database.drop_collection(name)
            return seconds

        def job(name: str) -> float:
            environment = {"KAFKA_TOPIC": "bench-posts", "MONGODB_COLLECTION": name, "CHECKPOINT_SECONDS": "2"}
            documents = database[name]

            def done() -> float:
                # The store counts by reading every document: counting all the time would slow it down.
                wait_until(
                    lambda: documents.find_one(newest, {"_id": 1}) is not None, "the newest document", LIMIT_SECONDS
                )
                wait_until(lambda: documents.estimated_document_count() == WINDOWS, f"{WINDOWS} documents", 60)
                return time.time() - running_since(stack, stack.jobs["aggregator_stream"])

            seconds = run_job(stack, "aggregator_stream", environment, done)
            written = sum(len(document["content"]) for document in documents.find({}, {"content": 1}))
            if written != posts:
                raise StackError(f"the documents hold {written} posts, not {posts}")
            documents.drop()
            return seconds

        compare(stack, "aggregator", posts, rounds, loop, job)


def newest_window() -> tuple[str, str]:
    """Start and end of the last window that has posts, ISO 8601."""
    end_ms = (FIRST_WINDOW + WINDOWS) * WINDOW_MS
    return iso((end_ms - WINDOW_MS) / 1000), iso(end_ms / 1000)


def compare(
    stack: Stack,
    name: str,
    posts: int,
    rounds: int,
    loop: Callable[[str], float],
    job: Callable[[str], float],
) -> None:
    """Run both sides in each round and print the rates, the medians and their ratio.

    The side that runs first alternates. A warm-up round comes before the measured ones: the first job of a TaskManager
    is slower than later ones.
    """
    say(f"\n{name}: {posts:,} posts, a warm-up and {rounds} rounds")
    sides = {"loop": loop, "job": job}
    measured: list[dict[str, float]] = []
    for number in range(rounds + 1):
        rates = {}
        for side in sorted(sides, reverse=number % 2 == 1):
            topic = f"bench-{name}-{side}-{number}"
            if name == "collector":
                make_topic(stack.settings.kafka, topic)
            seconds = sides[side](topic)
            rates[side] = posts / seconds
            title = f"round {number}" if number else "warm-up"
            say(f"  {title:<8} {side:<4}  {seconds:6.1f} s  {rates[side]:9,.0f} posts/s")
        if number:
            measured.append(rates)
    medians = {side: statistics.median(rates[side] for rates in measured) for side in sides}
    ratios = [rates["job"] / rates["loop"] for rates in measured]
    say(f"  median: loop {medians['loop']:,.0f} posts/s, job {medians['job']:,.0f} posts/s")
    spread = f"single rounds {min(ratios):.2f} to {max(ratios):.2f}"
    say(f"  {name} ratio job / loop: {medians['job'] / medians['loop']:.2f}, {spread}")


def run_loop(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.loops", *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    if result.returncode:
        raise StackError(f"the loop failed: {result.stderr.strip().splitlines()[-1:]}")
    return result.stdout


def run_job(stack: Stack, job: str, environment: dict[str, str], measure: Callable[[], float]) -> float:
    """Submit a job, measure it, print its checkpoints' durations and cancel it; returns what `measure` returns."""
    identity = stack.submit(job, environment)
    try:
        seconds = measure()
        summary = stack.flink.checkpoints(identity).get("summary", {}).get("end_to_end_duration", {})
        count = stack.flink.checkpoints(identity).get("counts", {}).get("completed", 0)
        say(
            f"           {count} checkpoints, end to end {summary.get('min', 0)} to {summary.get('max', 0)} ms,"
            f" mean {summary.get('avg', 0)} ms"
        )
    finally:
        stack.flink.cancel(identity)
        wait_until(lambda: stack.flink.state(identity) == "CANCELED", f"{job} to be cancelled", 60)
    return seconds


def running_since(stack: Stack, identity: str) -> float:
    """Unix time at which the last task of the job switched to RUNNING."""
    vertices = stack.flink.get(f"/jobs/{identity}").get("vertices", [])
    subtasks = [stack.flink.get(f"/jobs/{identity}/vertices/{vertex['id']}") for vertex in vertices]
    started = [subtask["status-duration"] for vertex in subtasks for subtask in vertex["subtasks"]]
    return time.time() - float(min(durations["RUNNING"] for durations in started)) / 1000


def append_seconds(kafka: str, topic: str, posts: int) -> float:
    """Wait for that many committed posts in the topic; returns the seconds from the first LogAppendTime to the last."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": f"count-{topic}", "isolation.level": "read_committed"})
    partitions = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(TWEETS_PARTITIONS)]

    def appended() -> bool:
        time.sleep(1)
        return bool(sum(consumer.get_watermark_offsets(partition)[1] for partition in partitions) >= posts)

    # The records are read only at the end: reading takes a core from the side that is measured.
    wait_until(appended, f"{posts} records in {topic}", LIMIT_SECONDS)
    consumer.assign(partitions)
    timestamps: list[int] = []
    end = time.monotonic() + LIMIT_SECONDS
    while len(timestamps) < posts:
        if time.monotonic() > end:
            raise StackError(f"{len(timestamps)} of {posts} posts were in {topic} after {LIMIT_SECONDS} s")
        timestamps += [message.timestamp()[1] for message in consumer.consume(100_000, timeout=1) if is_post(message)]
    consumer.close()
    return (max(timestamps) - min(timestamps)) / 1000


def is_post(message: Message) -> bool:
    return message.error() is None and b'"text":null' not in (message.value() or b"")


def make_topic(kafka: str, topic: str) -> None:
    configuration = {"message.timestamp.type": "LogAppendTime"}
    new = NewTopic(topic, num_partitions=TWEETS_PARTITIONS, replication_factor=1, topic_configs=configuration)
    connection = admin(kafka)
    connection.create_topics([new], wait_for_metadata=True)
    connection.close()


def fill(kafka: str, topic: str, posts: int) -> None:
    """Publish posts, spread evenly over the windows, and in each partition a heartbeat that closes the last window."""
    producer = Producer(
        {"bootstrap.servers": kafka, "queue.buffering.max.messages": 1_000_000, "partitioner": "murmur2_random"}
    )
    texts = [encode_basestring(post_text(1, number)) for number in range(1, 10_001)]
    first = FIRST_WINDOW * WINDOW_MS
    for number in range(posts):
        timestamp = first + number * WINDOWS * WINDOW_MS // posts
        fields = f'"timestamp":{timestamp},"source":"bench","position":"{number}"'
        line = f'{{"id":"p-{number}","text":{texts[number % 10_000]},{fields}}}'
        while True:
            try:
                producer.produce(topic, line, key=f"p-{number}")
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    last = first + (WINDOWS + 1) * WINDOW_MS
    for partition in range(TWEETS_PARTITIONS):
        line = f'{{"id":"heartbeat-{partition}","text":null,"timestamp":{last},"source":"bench"}}'
        producer.produce(topic, line, key=f"heartbeat-{partition}", partition=partition)
    producer.flush()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
