"""Computes the TaskManager memory that the aggregator's windows need, and rejects settings that need too much. No I/O.

The figures were measured with posts of 100 bytes and a heap of 1,280 MiB: a window of 600,000 posts was written, with
one of 900,000 Flink ran out of memory. Longer posts need more: one of 300 bytes needs about as much as two.
"""

from typing import NamedTuple

from jobs.event_time import HEARTBEAT_STEP_MS
from jobs.settings import MEBIBYTE, AggregatorSettings, SettingError

# Heap of Flink itself.
HEAP_BYTES = 64 * MEBIBYTE
# Heap of a post whose window is kept: its text, and Flink's objects.
KEPT_BYTES = 1_000
# A post whose window is being written: heap, where the window becomes one array for Python, and memory of Python.
WRITTEN_HEAP_BYTES, WRITTEN_PYTHON_BYTES = 1_200, 450
# Even and odd windows have a writer each, see aggregator.sql.
WRITERS = 2


class Memory(NamedTuple):
    """Bytes of a TaskManager. heap: JVM heap; managed: Flink's managed memory, which the Python workers use."""

    heap: int
    managed: int


class Tasks(NamedTuple):
    """How Flink spreads the tasks. parallelism: of the job; slots: of a TaskManager, one task of each operator each."""

    parallelism: int = 1
    slots: int = 1


ONE_TASK = Tasks()


def fullest(buckets: int, tasks: Tasks) -> float:
    """The share of a window that is in the TaskManager with the most buckets."""
    of_task = -(-buckets // tasks.parallelism)
    return min(buckets, of_task * tasks.slots) / buckets


def needed(settings: AggregatorSettings, tasks: Tasks = ONE_TASK) -> Memory:
    """The memory that a TaskManager needs for the posts at the planned rate while both writers have a window, as after
    an outage."""
    written = WRITERS * settings.window_seconds
    # A window is kept until event time has passed its end plus the allowed lateness. Event time lags this far behind.
    behind = settings.out_of_order_seconds + HEARTBEAT_STEP_MS / 1000
    kept = written + settings.allowed_lateness_seconds + behind
    rate = settings.planned_posts_per_second * fullest(settings.window_buckets, tasks)
    return Memory(
        heap=HEAP_BYTES + int(rate * (kept * KEPT_BYTES + written * WRITTEN_HEAP_BYTES)),
        managed=int(rate * written * WRITTEN_PYTHON_BYTES),
    )


def check(settings: AggregatorSettings, available: Memory, tasks: Tasks = ONE_TASK) -> None:
    """Raises SettingError if the posts do not fit: Flink would run out of memory repeatedly."""
    names = ["WINDOW_SECONDS", "ALLOWED_LATENESS_SECONDS", "PLANNED_POSTS_PER_SECOND"]
    names += ["WINDOW_BUCKETS"] if settings.window_buckets > 1 else []
    values = ", ".join(f"{name}={getattr(settings, name.lower())}" for name in names)
    for what, least, there in zip(("heap", "managed memory"), needed(settings, tasks), available, strict=True):
        if least > there:
            raise SettingError(
                f"{values}: together they need {mebibytes(least)} MiB of a TaskManager's {what}, which has "
                f"{mebibytes(there)} MiB: smaller ones, or a TaskManager with more memory, are allowed"
            )


def mebibytes(size: int) -> int:
    return -(-size // MEBIBYTE)
