"""What the running demo costs when little happens: the processor time and the memory of each part, and the latency.

The stack runs as in the demo, with the console. The rate is SIMULATOR_RATE: 20 posts per second.
"""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from benchmarks.numbers import percentile
from jobs.defaults import TWEETS_TOPIC
from local.broker import admin
from local.process import StackError, owned_processes, wait_until
from local.settings import read_settings
from local.stack import Stack
from local.store import client, collection

MIB = 2**20
SETTLE_SECONDS = 600  # the JVMs compile meanwhile
SECONDS = 60
PATIENCE_SECONDS = 120
# What "both jobs and the broker" means.
JOBS_AND_BROKER = ("Kafka", "JobManager", "TaskManager", "collector's Python", "aggregator's Python")


@dataclass(frozen=True)
class Usage:
    """What the processes of one part of the stack hold, and the processor time since their start in seconds."""

    processor: float = 0.0
    held: int = 0  # PSS: pages that n processes share count as 1/n for each; bytes


def run(say: Callable[[str], None]) -> None:
    """Start the whole stack, wait until it is steady, and print what it costs. Raises StackError, SettingError."""
    settings = read_settings()
    with Stack(settings) as stack:
        when = f"{SECONDS} s, from {SETTLE_SECONDS} s after its first document"
        say(f"\nidle: the demo at {settings.rate:g} posts/s, {when}")
        stack.start(demo=True)
        measure(stack, say, SETTLE_SECONDS, SECONDS)


def measure(stack: Stack, say: Callable[[str], None], settle: float, seconds: float) -> None:
    """Print what the parts of a started stack use.

    settle: seconds from the first document to the measurement.
    seconds: how long is measured.
    """
    stamp_at_the_broker(stack.settings.kafka)
    with client(stack.settings.store_uri) as connection:
        documents = collection(connection)
        wait_until(lambda: documents.find_one() is not None, "the first document", PATIENCE_SECONDS)
    time.sleep(settle)
    before, began, began_at = usage(stack), time.monotonic(), time.time()
    time.sleep(seconds)
    after, took = usage(stack), time.monotonic() - began
    for line in table(before, after, took):
        say(line)
    delays = append_delays(stack.settings.kafka, int(began_at * 1000))
    say(f"  from the post's time to the broker: {len(delays):,} posts, {summary(delays)}")


def usage(stack: Stack) -> dict[str, Usage]:
    """What each part of the stack uses."""
    used: dict[str, Usage] = {}
    for process in owned_processes(stack.settings.state):
        with contextlib.suppress(psutil.NoSuchProcess):
            times, name = process.cpu_times(), part_of(process, stack)
            held = process.memory_full_info().pss
            known = used.get(name, Usage())
            used[name] = Usage(known.processor + times.user + times.system, known.held + held)
    return used


def part_of(process: psutil.Process, stack: Stack) -> str:
    """The name of the part that a process belongs to."""
    programs = [stack.flink.jobmanager, stack.flink.taskmanager, stack.broker.program, stack.simulator]
    programs += [stack.worldometers, stack.console, *([stack.store.program] if stack.store.program else [])]
    line = [process, *process.parents()]
    if line[0].pid != stack.flink.taskmanager.pid and any(each.pid == stack.flink.taskmanager.pid for each in line):
        return worker_of(line, stack)
    pids = {program.pid: program.name for program in programs if program.process is not None}
    return next((pids[each.pid] for each in line if each.pid in pids), "others")


def worker_of(line: Sequence[psutil.Process], stack: Stack) -> str:
    """The job whose Python worker a process is. line: the process, and its parents up to the TaskManager and beyond.

    Flink starts a worker as a shell, Python, and `tee`. The worker of the collector is connected to the feed.
    """
    workers = [each for each, parent in itertools.pairwise(line) if parent.pid == stack.flink.taskmanager.pid]
    family = [*workers, *workers[0].children(recursive=True)]
    ports = {peer.raddr.port for each in family for peer in each.net_connections("tcp") if peer.raddr}
    return "collector's Python" if stack.settings.ports.simulator in ports else "aggregator's Python"


def table(before: Mapping[str, Usage], after: Mapping[str, Usage], seconds: float) -> list[str]:
    """A line for each part: its share of a core and its memory. Parts that began or ended meanwhile are left out."""
    rows = {
        name: ((used.processor - before[name].processor) / seconds, used.held)
        for name, used in after.items()
        if name in before
    }
    ordered = sorted(rows, key=lambda name: -rows[name][0])
    lines = [f"  {'part':<22} {'of a core':>9} {'PSS':>10}"]
    lines += [line(name, *rows[name]) for name in ordered]
    for title, names in (("both jobs and Kafka", JOBS_AND_BROKER), ("everything", ordered)):
        chosen = [rows[name] for name in names if name in rows]
        lines.append(line(title, sum(share for share, _ in chosen), sum(held for _, held in chosen)))
    return lines


def line(name: str, share: float, held: int) -> str:
    return f"  {name:<22} {share:>9.1%} {held / MIB:>6,.0f} MiB"


def stamp_at_the_broker(kafka: str) -> None:
    """From now on, the timestamp of a record in the topic of posts is the broker's time."""
    resource = ConfigResource(ConfigResourceType.TOPIC, TWEETS_TOPIC, {"message.timestamp.type": "LogAppendTime"})
    with contextlib.closing(admin(kafka)) as connection:
        connection.alter_configs([resource])


def append_delays(kafka: str, since_ms: int) -> list[int]:
    """For each post that the broker has got since then: the milliseconds from the post's time to the broker's."""
    with contextlib.closing(KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)) as consumer:
        partitions = [TopicPartition(TWEETS_TOPIC, number) for number in consumer.partitions_for_topic(TWEETS_TOPIC)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found = consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        for partition in partitions:
            consumer.seek(partition, found[partition].offset if found[partition] else ends[partition])
        delays = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for records in consumer.poll(timeout_ms=500).values():
                posts = [(record.timestamp, json.loads(record.value)) for record in records]
                delays += [stamp - post["timestamp"] for stamp, post in posts if post["text"] is not None]
    return delays


def summary(delays: Sequence[int]) -> str:
    """Median, 99th percentile and maximum of milliseconds."""
    if len(delays) < 2:
        raise StackError("no posts came while the demo was measured")
    return f"p50 {percentile(delays, 50):.0f} ms, p99 {percentile(delays, 99):.0f} ms, maximum {max(delays)} ms"
