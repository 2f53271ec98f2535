"""Runs the Flink job without Python (`benchmarks/sql_only.py`): the upper bound of the aggregator."""

import contextlib
import json
import time

from benchmarks import aggregator, topics
from benchmarks.bench import Bench, Side
from benchmarks.numbers import Measurement, steady
from local.process import StackError
from local.settings import REPOSITORY


def without_python(bench: Bench, posts: int) -> Side:
    """It is done with a window when the window's row is in its topic of results."""
    flink, kafka = bench.stack.flink, bench.stack.settings.kafka

    def side(name: str) -> Measurement:
        with topics.topic(kafka, name) as results, bench.cpu_of_jobs() as cpu:
            environment = {"PYTHONPATH": str(REPOSITORY), "KAFKA": kafka, "TOPIC": aggregator.TOPIC, "RESULTS": results}
            identity = flink.submit("benchmarks.sql_only", environment)
            try:
                rows = window_rows(kafka, results)
            finally:
                bench.cancel(identity)
        part = steady([appended for appended, _ in rows])
        lost = posts - sum(found for _, found in rows)
        return Measurement(posts * part.share, part.end - part.begin, cpu.seconds(part), lost)

    return side


def window_rows(kafka: str, results: str) -> list[tuple[float, int]]:
    """(time, posts) of each window that counts: when its row was appended, and how many posts it has.

    Raises StackError.
    """
    rows: dict[str, tuple[float, int]] = {}
    starts = set(topics.window_starts())
    end = time.monotonic() + topics.LIMIT_SECONDS
    with contextlib.closing(topics.reader(kafka, "read_uncommitted")) as consumer:
        consumer.assign(topics.partitions(results))
        while len(rows) < len(starts):
            if time.monotonic() > end:
                raise StackError(f"{len(rows)} of {len(starts)} windows came into {results}")
            message = consumer.poll(1)
            if message is not None and message.error() is None:
                row = json.loads(message.value())
                if row["start"] in starts:
                    rows[row["start"]] = message.timestamp()[1] / 1000, row["posts"]
    return list(rows.values())
