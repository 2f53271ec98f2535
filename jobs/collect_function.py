"""The Flink function of the collector: emits the batches of each shard and keeps its position in keyed state."""

import gc
import logging
import time
from collections.abc import Iterator
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from jobs.feed_processor import Batch, FeedState
from jobs.feeds.feed import Feed
from jobs.feeds.model import Shard
from jobs.kafka_security import read_files
from jobs.kafka_topic import Partitions, newest_values_patiently
from jobs.kafka_transactions import abort_transactions_patiently
from jobs.resume import progress_from
from jobs.settings import CollectorSettings
from jobs.shard_worker import ShardWorker
from jobs.transactional_ids import TransactionalIds

log = logging.getLogger(__name__)

# A timer emits batches for at most this time, even if more are queued: checkpoint barriers wait for it.
DRAIN_SECONDS = 0.1
# Each timer is a round trip between Java and Python, which costs both of them processor time, also without a record.
# The shorter interval follows a timer that found many records. The longer one bounds the latency of a quiet feed.
BUSY_INTERVAL_MS = 10
QUIET_INTERVAL_MS = 75
BUSY_RECORDS = 100
# Python's garbage collector searches for cycles after so many new objects, instead of 700. Frames and records have no
# cycles, but each search visits everything in the buffer. That took a seventh of the worker's time.
CYCLE_SEARCH_OBJECTS = 20_000
# How much later than its event time Kafka may get a heartbeat.
QUIET_MARGIN_MS = 60_000
EARLIEST_FIELDS = 6  # of FeedState in version 0.1.0

# Each record is its key and its value. A nested row would cost Python twice as much as a tuple. Java only copies bytes,
# but decodes and encodes strings several times.
BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
RECORDS = Types.LIST(Types.TUPLE([BYTES, BYTES]))
BATCHES = Types.ROW_NAMED(["topic", "records"], [Types.STRING(), RECORDS])


class CollectFunction(KeyedProcessFunction):  # type: ignore[misc]
    """Emits the batches of each shard on a timer, and keeps the shard's position in keyed state.

    An endless source function would starve checkpoints: PyFlink 1.20 runs Python only for a row or a timer.

    shards: by Flink key.
    partitions: the number of partitions of the topic when the job was submitted.
    """

    def __init__(
        self, settings: CollectorSettings, shards: dict[int, Shard], partitions: int, transactions: TransactionalIds
    ) -> None:
        self._settings = settings
        self._shards = shards
        self._partitions = partitions
        self._transactions = transactions

    def open(self, runtime_context: RuntimeContext) -> None:
        self._state = runtime_context.get_state(ValueStateDescriptor("progress", Types.PICKLED_BYTE_ARRAY()))
        self._metrics = runtime_context.get_metrics_group()
        self._workers: dict[int, ShardWorker] = {}
        gc.freeze()  # the collector no longer visits the objects that exist now: they stay anyway
        gc.set_threshold(CYCLE_SEARCH_OBJECTS)

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> None:  # noqa: ARG002
        key = ctx.get_current_key()
        if key not in self._workers:
            shard, settings = self._shards[key], self._settings
            password = read_files(settings.security)
            state = self._state.value()
            if state is None:  # without state, this run cannot commit transactions of an earlier run
                abort_transactions_patiently(settings, password, self._transactions)
            restored = restored_progress(state, shard)
            progress = restored or first_progress(settings, shard, password)
            partitions = Partitions(settings, password, self._partitions)
            begin_live = restored is None and not settings.resume_from_topic
            self._workers[key] = ShardWorker(
                settings, shard, progress, partitions, self._metrics, begin_live=begin_live
            )
            self._schedule(self._workers[key], ctx, BUSY_INTERVAL_MS)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        worker = self._workers.get(ctx.get_current_key())
        if worker is None or timestamp != worker.next_timer:
            return  # a timer of restored state; the next tick opens the connection and starts the only chain of timers
        end = time.monotonic() + DRAIN_SECONDS
        progress, records = None, 0
        while (taken := worker.next_batch()) is not None:
            batch, progress = taken
            records += len(batch.posts) + len(batch.rejected)
            yield from as_rows(batch, self._settings)
            if time.monotonic() >= end:
                break
        if progress is not None:
            self._state.update((worker.shard.of, *progress))
        self._schedule(worker, ctx, interval_ms(records))

    def close(self) -> None:
        for worker in self._workers.values():
            worker.stop()

    @staticmethod
    def _schedule(worker: ShardWorker, ctx: KeyedProcessFunction.Context, interval_ms: int) -> None:
        timers = ctx.timer_service()
        worker.next_timer = timers.current_processing_time() + interval_ms
        timers.register_processing_time_timer(worker.next_timer)


def interval_ms(records: int) -> int:
    """The time until the next timer, after one that emitted so many records."""
    return QUIET_INTERVAL_MS if records < BUSY_RECORDS else BUSY_INTERVAL_MS


def restored_progress(state: tuple[Any, ...] | None, shard: Shard) -> FeedState | None:
    """The FeedState in Flink's state; None without one. Raises RuntimeError for a state of another parallelism."""
    if state is None:
        return None
    of, *progress = state
    if of != shard.of:
        raise RuntimeError(
            f"the state was written by {of} shards, now there are {shard.of}: "
            f"set the parallelism to {of}, or start without state"
        )
    if not EARLIEST_FIELDS <= len(progress) <= len(FeedState._fields):
        log.warning("the state is of another version of the collector: resuming from the end of the topic")
        return None
    return FeedState(*progress)  # a state of an earlier version lacks the newest fields


def first_progress(settings: CollectorSettings, shard: Shard, password: str) -> FeedState:
    """The FeedState of a collector without state: it resumes from the newest position in the topic."""
    feed = Feed(settings.feed, str)

    def read(look_back_ms: int) -> FeedState:
        return progress_from(newest_values_patiently(settings, password, look_back_ms), feed, shard) or FeedState()

    if not feed.per_second:
        return read(0)
    # The ids of posts that the feed may send twice: those within twice its overlap.
    overlap_ms = 1_000 * feed.overlap // feed.per_second
    progress = read(2 * overlap_ms)
    quiet_ms = 0 if progress.position is None else progress.timestamp - 1_000 * progress.position // feed.per_second
    # After a quiet time the newest records are heartbeats, and those posts are before them.
    return progress if quiet_ms <= overlap_ms else read(2 * overlap_ms + quiet_ms + QUIET_MARGIN_MS)


def as_rows(batch: Batch, settings: CollectorSettings) -> Iterator[Row]:
    """One row for each topic that gets records."""
    topics = (settings.topic, settings.rejected_topic, settings.events_topic)
    for topic, records in zip(topics, (batch.posts, batch.rejected, batch.events), strict=True):
        if records:
            yield Row(topic, [(key.encode(), value) for key, value in records])
