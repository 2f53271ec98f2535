"""The collection job: WebSocket -> clean -> topic `tweets`, exactly once."""

import contextlib
import itertools
import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, cast

from kafka import KafkaConsumer
from kafka.errors import KafkaError, KafkaTimeoutError, SaslAuthenticationFailedError
from kafka.partitioner.default import murmur2
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from jobs import sql
from jobs.cleaning import clean
from jobs.collection import HEARTBEAT_PREFIX, Batch, Collection, Frame, Progress
from jobs.entry import define, fail_clearly, submit
from jobs.feeds import Shard, make_feed
from jobs.kafka_security import client_options, connector_options, read_files
from jobs.settings import CollectorSettings, SettingError, read_collector_settings
from jobs.websocket_reader import Asked, Event, Reader, Refused, TooLarge

log = logging.getLogger(__name__)

# A timer hands over batches for at most this time even when more are there: checkpoint barriers wait for it.
DRAIN_SECONDS = 0.1
PERIOD_MS = 10
BATCH_FRAMES = 500
# How many batches wait for Kafka; when they do, frames wait, and then the socket is read slower.
BATCHES_AHEAD = 40
IDLE_SECONDS = 0.005
HEARTBEAT_SECONDS = 1.0
# For so long after a connection was made, silence may only mean that the server is looking for the posts asked for.
ANSWER_SECONDS = 10.0
# Kafka's broker aborts a transaction that stays open for more than its own limit, 15 minutes by default.
TRANSACTION_TIMEOUT_MS = 600_000
BOOTSTRAP_TIMEOUT_MS = 30_000
# A broker that refuses a password closes the connection, and every other time kafka-python sees no more than that.
RECONNECT_BACKOFF_MS = 500

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
BATCHES = Types.ROW_NAMED(["posts", "rejected"], [RECORDS, RECORDS])


class Collect(KeyedProcessFunction):  # type: ignore[misc]
    """Drains one shard's WebSocket on a timer, and keeps its position in keyed state.

    An endless source function would starve checkpoints: PyFlink 1.20 lets Python run only when a row or a timer comes.
    """

    def __init__(self, settings: CollectorSettings, shards: dict[int, Shard], heartbeats: list[str]) -> None:
        self._settings = settings
        self._shards = shards
        self._heartbeats = heartbeats

    def open(self, runtime_context: RuntimeContext) -> None:
        self._state = runtime_context.get_state(ValueStateDescriptor("progress", Types.PICKLED_BYTE_ARRAY()))
        self._metrics = runtime_context.get_metrics_group()
        self._drains: dict[int, Drain] = {}

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> None:  # noqa: ARG002
        key = ctx.get_current_key()
        if key not in self._drains:
            shard = self._shards[key]
            of, *progress = self._state.value() or (shard.of, *Progress())
            if of != shard.of:
                raise RuntimeError(
                    f"the state was written by {of} shards, now there are {shard.of}: go on with {of}, or without state"
                )
            drain = self._drains[key] = Drain(
                self._settings, shard, Progress(*progress), self._heartbeats, self._metrics
            )
            self._again(drain, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        drain = self._drains.get(ctx.get_current_key())
        if drain is None or timestamp != drain.next_timer:
            return  # a timer of the state: the next tick opens the connection and starts the only chain of timers
        end = time.monotonic() + DRAIN_SECONDS
        progress = None
        while (taken := drain.next_batch()) is not None:
            batch, progress = taken
            if batch.posts or batch.rejected:
                yield as_row(batch)
            if time.monotonic() >= end:
                break
        if progress is not None:
            self._state.update((drain.shard.of, *progress))
        self._again(drain, ctx)

    def close(self) -> None:
        for drain in self._drains.values():
            drain.stop()

    @staticmethod
    def _again(drain: "Drain", ctx: KeyedProcessFunction.Context) -> None:
        timers = ctx.timer_service()
        drain.next_timer = timers.current_processing_time() + PERIOD_MS
        timers.register_processing_time_timer(drain.next_timer)


class Drain:
    """The running half of one shard: its reader, what its frames become, and its metrics.

    The frames are worked on by a thread of its own, since Flink's side of a bundle keeps the operator's thread waiting
    for a third of the time. Each batch comes with the position that it leads to.
    """

    def __init__(
        self, settings: CollectorSettings, shard: Shard, progress: Progress, heartbeats: list[str], metrics: Any
    ) -> None:
        self.shard = shard
        self.next_timer = 0
        self.feed = make_feed(settings.feed, lambda: uuid.uuid4().hex)
        self.collection = Collection(self.feed, shard, clean, progress)
        self.reader = Reader(
            settings.websocket_urls,
            lambda base: self.feed.url(base, self.collection.resume_from, shard),
            capacity=settings.buffer_frames,
            max_frame=settings.max_frame_bytes,
        )
        self._heartbeats = heartbeats
        self._batches: queue.Queue[tuple[Batch, Progress]] = queue.Queue(BATCHES_AHEAD)
        self._newest_at = self._beat_at = time.monotonic()
        self._answered = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="collection", daemon=True)
        self._register(metrics.add_group("shard", str(shard.number)) if shard.of > 1 else metrics)
        log.info("%s feed, shard %d of %d: going on after %s", self.feed.name, *shard, progress.position)
        self.reader.start()
        self._thread.start()

    def next_batch(self) -> tuple[Batch, Progress] | None:
        """The next batch and the position behind it; None when none is there. Raises when a thread has died."""
        try:
            return self._batches.get_nowait()
        except queue.Empty:
            if not (self.reader.alive() and self._thread.is_alive()):
                raise RuntimeError("the WebSocket reader died; its log line says why") from None
            return None

    def stop(self) -> None:
        self._stopping.set()
        self.reader.stop()
        self._thread.join(5)

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                events = self.reader.take(BATCH_FRAMES)
                batch = self._apply(events) if events else self._heartbeat()
                self.reader.handled()
                if batch is not None:
                    self._hand_over(batch)
                if not events:
                    time.sleep(IDLE_SECONDS)
        except Exception:
            log.exception("the collection's thread died")
            raise

    def _hand_over(self, batch: Batch) -> None:
        progress = self.collection.progress
        while not self._stopping.is_set():
            with contextlib.suppress(queue.Full):
                self._batches.put((batch, progress), timeout=0.1)
                return

    def _apply(self, events: list[Event]) -> Batch:
        """What these events become, in their order."""
        self._newest_at = time.monotonic()
        if set(map(type, events)) == {Frame}:  # nearly always
            self._answered = True
            return self._checked(self.collection.take(cast("list[Frame]", events)))
        batch = Batch()
        for is_frame, group in itertools.groupby(events, lambda event: isinstance(event, Frame)):
            if is_frame:
                self._answered = True
                batch.add(self.collection.take(cast("Iterator[Frame]", group)))
                continue
            for event in group:
                if isinstance(event, Asked):
                    self.collection.asked()
                    self._answered = False
                elif isinstance(event, Refused):
                    self.collection.refused()
                elif isinstance(event, TooLarge):
                    batch.add(self.collection.skip(f"a frame larger than {event.limit} bytes"))
        return self._checked(batch)

    @staticmethod
    def _checked(batch: Batch) -> Batch:
        for error in batch.errors:
            log.error(error)
        return batch

    def _heartbeat(self) -> Batch | None:
        """A heartbeat a second while the feed is known to have no older post to send."""
        now = time.monotonic()
        # In this order: a frame that comes behind the pong is still pending, or newer than it.
        alive_until, connected_at = self.reader.alive_until, self.reader.connected_at
        if now - self._beat_at < HEARTBEAT_SECONDS or self.reader.pending():
            return None
        if not self.feed.resumable:
            quiet = now - self._newest_at
        elif connected_at is None:
            return None
        else:
            quiet = alive_until - (self._newest_at if self._answered else connected_at + ANSWER_SECONDS)
        self._beat_at = now
        return Batch(posts=self.collection.heartbeat(int(quiet * 1000), self._heartbeats))

    def _register(self, metrics: Any) -> None:
        counts, reader = self.collection.counts, self.reader
        for name in vars(counts):
            metrics.gauge(f"collector_{name}", lambda name=name: getattr(counts, name))
        metrics.gauge("collector_connected", lambda: int(reader.connected))
        metrics.gauge("collector_reconnects", lambda: reader.connects)
        metrics.gauge("collector_seconds_behind", self._seconds_behind)

    def _seconds_behind(self) -> int:
        """How old the newest post is, less the time for which the feed is known to have had no newer one."""
        newest = self.collection.progress.timestamp
        if not newest:
            return 0
        quiet = max(0.0, self.reader.alive_until - self._newest_at)
        return max(0, int(time.time() - newest / 1000 - quiet))


def as_row(batch: Batch) -> Row:
    return Row(*(["\t".join(record) for record in records] for records in (batch.posts, batch.rejected)))


def main() -> None:
    with fail_clearly():
        settings = read_collector_settings(os.environ)
        heartbeats = heartbeat_keys(count_partitions(settings, read_files(settings.security)))
    environment = StreamExecutionEnvironment.get_execution_environment()
    environment.enable_checkpointing(settings.checkpoint_seconds * 1000)
    environment.set_max_parallelism(MAX_PARALLELISM)
    tables = StreamTableEnvironment.create(environment)
    for name, value in OPTIONS.items():
        tables.get_config().set(name, value)
    keys = shard_keys(environment.get_parallelism() if settings.feed == "simulator" else 1)
    shards = {key: Shard(number, len(keys)) for number, key in enumerate(keys)}
    statements = sql.statements("collector", sql_values(settings, len(keys)))
    define(tables, statements)
    batches = (
        tables.to_data_stream(tables.from_path("ticks"))
        .key_by(lambda tick: keys[tick[0]], key_type=Types.INT())
        .process(Collect(settings, shards, heartbeats), BATCHES)
        .name("collect")
        .uid("collect")
    )
    tables.create_temporary_view("batches", batches)
    submit(tables, statements)


def sql_values(settings: CollectorSettings, shards: int) -> dict[str, object]:
    """What the placeholders of collector.sql stand for."""
    return {
        "ticks_per_second": str(2 * shards),
        "last_shard": str(shards - 1),
        "topic": settings.topic,
        "rejected_topic": settings.rejected_topic,
        "kafka": connector_options(settings.bootstrap_servers, settings.security),
        "transactions": f"collector-{settings.topic}",
        "rejected_transactions": f"collector-{settings.rejected_topic}",
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


def count_partitions(settings: CollectorSettings, password: str) -> int:
    """The number of partitions of the topic. Raises SettingError when Kafka or the topic is not there for this user."""
    where = f"KAFKA_BOOTSTRAP_SERVERS={settings.bootstrap_servers!r}"
    security = settings.security
    options = {
        "bootstrap_servers": settings.bootstrap_servers,
        "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
        "reconnect_backoff_max_ms": RECONNECT_BACKOFF_MS,
        **client_options(security, password),
    }
    with retried_errors() as retried:
        try:
            with contextlib.closing(KafkaConsumer(**options)) as consumer:
                partitions = consumer.partitions_for_topic(settings.topic)
        except (KafkaError, OSError) as error:
            if any(isinstance(reason, SaslAuthenticationFailedError) for reason in retried):
                told = f"{where} refuses this user with the password in KAFKA_PASSWORD_FILE={security.password_file!r}"
                raise SettingError(f"KAFKA_USERNAME={security.username!r}: Kafka at {told}") from error
            reason = retried[-1] if retried else error
            told = f"no Kafka answers there with KAFKA_SECURITY_PROTOCOL={security.protocol}: {reason}"
            raise SettingError(f"{where}: {told}") from error
    if not partitions:
        seen = f" that KAFKA_USERNAME={security.username!r} may describe" if security.username else ""
        raise SettingError(f"KAFKA_TOPIC={settings.topic!r}: Kafka at {where} has no such topic{seen}")
    return len(partitions)


@contextlib.contextmanager
def retried_errors() -> Iterator[list[Exception]]:
    """The errors for which kafka-python tries again, until it fails with a timeout: only its log tells them."""
    errors: list[Exception] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found = [value for value in record.args or () if isinstance(value, Exception)]
            errors.extend(error for error in found if not isinstance(error, KafkaTimeoutError))

    logger, handler = logging.getLogger("kafka.net.manager"), Handler(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield errors
    finally:
        logger.removeHandler(handler)


def heartbeat_keys(partitions: int) -> list[str]:
    """A key for each partition, as Kafka's default partitioner places it: each partition's event time must move on."""
    keys: dict[int, str] = {}
    for number in itertools.count():
        key = f"{HEARTBEAT_PREFIX}{number}"
        keys.setdefault((murmur2(key.encode()) & 0x7FFFFFFF) % partitions, key)
        if len(keys) == partitions:
            return list(keys.values())
    raise AssertionError("unreachable")


if __name__ == "__main__":
    main()
