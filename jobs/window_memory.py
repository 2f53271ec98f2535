"""What the posts of the aggregator's windows need of a TaskManager's memory, and settings that need too much. No I/O.

The figures were measured with posts of 100 bytes and a heap of 1,280 MiB: a window of 600,000 posts was written, one of
900,000 let Flink run out of memory. Longer posts need more: one of 300 bytes about as much as two.
"""

from typing import NamedTuple

from jobs.event_time import HEARTBEAT_STEP_MS
from jobs.settings import MEBIBYTE, AggregatorSettings, SettingError

# What Flink itself needs of the heap.
HEAP_BYTES = 64 * MEBIBYTE
# Of the heap, for a post whose window is kept: its text, and Flink's objects around it.
KEPT_BYTES = 1_000
# For a post whose window is being written: of the heap, where it is made into one array for Python, and in Python.
WRITTEN_HEAP_BYTES, WRITTEN_PYTHON_BYTES = 1_200, 450
# Every other window has a writer of its own, see aggregator.sql.
WRITERS = 2


class Memory(NamedTuple):
    """Bytes of a TaskManager. heap: of Java; managed: Flink's managed memory, which is the Python workers' share."""

    heap: int
    managed: int


def needed(settings: AggregatorSettings) -> Memory:
    """What the posts need at the planned rate, when both writers have a window, as after an outage."""
    written = WRITERS * settings.window_seconds
    # A window is kept until event time, which is this far behind, has passed its end and the time for late posts.
    behind = settings.out_of_order_seconds + HEARTBEAT_STEP_MS / 1000
    kept = written + settings.allowed_lateness_seconds + behind
    rate = settings.planned_posts_per_second
    return Memory(
        heap=HEAP_BYTES + int(rate * (kept * KEPT_BYTES + written * WRITTEN_HEAP_BYTES)),
        managed=rate * written * WRITTEN_PYTHON_BYTES,
    )


def check(settings: AggregatorSettings, available: Memory) -> None:
    """Raises SettingError when the posts do not fit: Flink would run out of memory again and again."""
    names = ("WINDOW_SECONDS", "ALLOWED_LATENESS_SECONDS", "PLANNED_POSTS_PER_SECOND")
    told = ", ".join(f"{name}={getattr(settings, name.lower())}" for name in names)
    for what, least, there in zip(("heap", "managed memory"), needed(settings), available, strict=True):
        if least > there:
            raise SettingError(
                f"{told}: together they need {mebibytes(least)} MiB of a TaskManager's {what}, which has "
                f"{mebibytes(there)} MiB: smaller ones, or a TaskManager with more memory, are allowed"
            )


def mebibytes(size: int) -> int:
    return -(-size // MEBIBYTE)
