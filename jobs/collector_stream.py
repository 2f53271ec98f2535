"""The collection job: WebSocket -> clean -> topic `tweets`, exactly once."""

import gc
import itertools
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from jobs import sql
from jobs.feed_processor import Batch, FeedState
from jobs.feeds import Shard, make_feed
from jobs.job import TRANSACTION_TIMEOUT_MS, create_tables, exit_on_setting_error, new_run, submit
from jobs.kafka_security import connector_options, read_files
from jobs.kafka_topic import Partitions, count_partitions_patiently, newest_values_patiently
from jobs.kafka_transactions import abort_transactions_patiently
from jobs.resume import progress_from
from jobs.settings import CollectorSettings, read_collector_settings
from jobs.shard_worker import ShardWorker
from jobs.transactional_ids import TransactionalIds

log = logging.getLogger(__name__)

# A timer hands over batches for at most this time even when more are there: checkpoint barriers wait for it.
DRAIN_SECONDS = 0.1
PERIOD_MS = 10
# New objects after which Python looks for cycles, in place of 700. Frames and records have none, but each look visits
# all that wait in the buffer: that took a seventh of the worker's time.
CYCLE_SEARCH_OBJECTS = 20_000

# Each record is its key, a tab and its value: neither holds a tab, and a nested row costs Python twice as much.
RECORDS = Types.LIST(Types.STRING())
MAX_PARALLELISM = 128  # of key groups: Flink's own default, named since shards are placed by it
OPTIONS = {
    "pipeline.name": "collector_stream",
    # A drain's records leave at once, and a barrier never waits until a bundle is full.
    "python.fn-execution.bundle.size": "1",
    # No operator here keeps a row that it has handed on.
    "pipeline.object-reuse": "true",
}
BATCHES = Types.ROW_NAMED(["topic", "records"], [Types.STRING(), RECORDS])


class Collect(KeyedProcessFunction):  # type: ignore[misc]
    """Drains one shard's WebSocket on a timer, and keeps its position in keyed state.

    An endless source function would starve checkpoints: PyFlink 1.20 lets Python run only when a row or a timer comes.
    partitions: their number when the job was submitted.
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
        gc.freeze()  # what is loaded by now stays, and need not be visited again
        gc.set_threshold(CYCLE_SEARCH_OBJECTS)

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> None:  # noqa: ARG002
        key = ctx.get_current_key()
        if key not in self._workers:
            shard, settings = self._shards[key], self._settings
            password = read_files(settings.security)
            state = self._state.value()
            if state is None:  # there is nothing of an earlier run that this one could commit
                abort_transactions_patiently(settings, password, self._transactions)
            restored = restored_progress(state, shard)
            progress = restored or first_progress(settings, shard, password)
            partitions = Partitions(settings, password, self._partitions)
            begin_live = restored is None and not settings.resume_from_topic
            self._workers[key] = ShardWorker(
                settings, shard, progress, partitions, self._metrics, begin_live=begin_live
            )
            self._schedule(self._workers[key], ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        worker = self._workers.get(ctx.get_current_key())
        if worker is None or timestamp != worker.next_timer:
            return  # a timer of the state: the next tick opens the connection and starts the only chain of timers
        end = time.monotonic() + DRAIN_SECONDS
        progress = None
        while (taken := worker.next_batch()) is not None:
            batch, progress = taken
            yield from as_rows(batch, self._settings)
            if time.monotonic() >= end:
                break
        if progress is not None:
            self._state.update((worker.shard.of, *progress))
        self._schedule(worker, ctx)

    def close(self) -> None:
        for worker in self._workers.values():
            worker.stop()

    @staticmethod
    def _schedule(worker: ShardWorker, ctx: KeyedProcessFunction.Context) -> None:
        timers = ctx.timer_service()
        worker.next_timer = timers.current_processing_time() + PERIOD_MS
        timers.register_processing_time_timer(worker.next_timer)


def restored_progress(state: tuple[Any, ...] | None, shard: Shard) -> FeedState | None:
    """What Flink's state says; None without state. Raises RuntimeError when it belongs to another parallelism."""
    if state is None:
        return None
    of, *progress = state
    if of != shard.of:
        raise RuntimeError(
            f"the state was written by {of} shards, now there are {shard.of}: go on with {of}, or without state"
        )
    if len(progress) != len(FeedState._fields):
        log.warning("the state is of an earlier version of the collector: going on where the topic ends")
        return None
    return FeedState(*progress)


def first_progress(settings: CollectorSettings, shard: Shard, password: str) -> FeedState:
    """Where a collector without state begins: after the newest position that the topic holds."""
    feed = make_feed(settings.feed, str)
    if not feed.resumable:
        return FeedState()
    # What a feed may send twice has to be known: ids of twice its overlap (microseconds).
    look_back_ms = 2 * feed.overlap // 1000
    values = newest_values_patiently(settings, password, look_back_ms)
    return progress_from(values, feed, shard) or FeedState()


def as_rows(batch: Batch, settings: CollectorSettings) -> Iterator[Row]:
    """A row for each topic that gets records."""
    for topic, records in ((settings.topic, batch.posts), (settings.rejected_topic, batch.rejected)):
        if records:
            yield Row(topic, ["\t".join(record) for record in records])


def main() -> None:
    with exit_on_setting_error():
        settings = read_collector_settings(os.environ)
        partitions = count_partitions_patiently(settings)
    environment = StreamExecutionEnvironment.get_execution_environment()
    environment.enable_checkpointing(settings.checkpoint_seconds * 1000)
    environment.set_max_parallelism(MAX_PARALLELISM)
    tables = StreamTableEnvironment.create(environment)
    for name, value in OPTIONS.items():
        tables.get_config().set(name, value)
    keys = shard_keys(environment.get_parallelism() if settings.feed == "simulator" else 1)
    shards = {key: Shard(number, len(keys)) for number, key in enumerate(keys)}
    transactions = TransactionalIds(settings.id_prefix, f"collector-{settings.feed}", settings.topic, new_run())
    statements = sql.statements("collector", sql_values(settings, len(keys), transactions.of_this_run))
    create_tables(tables, statements)
    batches = (
        tables.to_data_stream(tables.from_path("ticks"))
        .key_by(lambda tick: keys[tick[0]], key_type=Types.INT())
        .process(Collect(settings, shards, partitions, transactions), BATCHES)
        .name("collect")
        .uid("collect")
    )
    tables.create_temporary_view("batches", batches)
    submit(tables, statements)


def sql_values(settings: CollectorSettings, shards: int, transactions: str) -> dict[str, object]:
    """What the placeholders of collector.sql stand for. transactions: the prefix of the transactional ids."""
    return {
        "ticks_per_second": str(2 * shards),
        "last_shard": str(shards - 1),
        "topics": f"{settings.topic};{settings.rejected_topic}",
        "kafka": connector_options(settings.bootstrap_servers, settings.security),
        "transactions": transactions,
        "transaction_timeout_ms": str(TRANSACTION_TIMEOUT_MS),
    }


def shard_keys(count: int) -> list[int]:
    """A key for each shard, chosen so that each shard runs in a subtask of its own."""
    assignment = get_gateway().jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment
    keys: dict[int, int] = {}
    for key in itertools.count():
        keys.setdefault(assignment.assignKeyToParallelOperator(key, MAX_PARALLELISM, count), key)
        if len(keys) == count:
            break
    return list(keys.values())


if __name__ == "__main__":
    main()
