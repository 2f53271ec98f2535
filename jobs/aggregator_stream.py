"""The aggregation job: topic `tweets` -> windows -> one enrichment each -> one document each in MongoDB."""

import datetime
import logging
import os

from py4j.protocol import Py4JJavaError
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import FunctionContext, ScalarFunction, udf
from pymongo.errors import PyMongoError

from jobs import sql, window_memory
from jobs.addresses import with_write_concern
from jobs.documents import window_documents
from jobs.event_time import HEARTBEAT_STEP_MS, MAX_AHEAD_MS, OUT_OF_ORDER_MS
from jobs.feed_processor import HEARTBEAT_PREFIX, MAX_REJECTED_CHARACTERS
from jobs.job import TRANSACTION_TIMEOUT_MS, create_tables, exit_on_setting_error, new_run, submit
from jobs.kafka_security import connector_options
from jobs.kafka_topic import count_partitions_patiently
from jobs.patience import patiently
from jobs.settings import AggregatorSettings, SettingError, read_aggregator_settings
from jobs.starting_point import StartingPoint, starting_point
from jobs.stored_documents import StoredDocuments
from jobs.transactional_ids import TransactionalIds
from jobs.window_memory import Memory
from jobs.worldometers import shared_counters

log = logging.getLogger(__name__)

# How much further than the newest heartbeat of a partition the collector's posts in it may have advanced event time.
ORDER_MARGIN_MS = HEARTBEAT_STEP_MS + OUT_OF_ORDER_MS
RESTORE_OPTIONS = ("execution.state-recovery.path", "execution.savepoint.path")
YEAR_9999_MS = 253_402_300_799_999  # the largest time that Flink's functions take
ISO_8601 = "yyyy-MM-dd'T'HH:mm:ss'Z'"


class WriteDocuments(ScalarFunction):  # type: ignore[misc]
    """Enriches a window and writes its documents: how many there are, 0 for a window that may not be written.

    Which windows may be written: see StoredDocuments. The world's counters are those of the moment of the call.
    """

    def __init__(self, settings: AggregatorSettings) -> None:
        self._settings = settings

    def open(self, function_context: FunctionContext) -> None:
        settings = self._settings
        # A secret that comes by file is read at each start of the task, so a new one needs no new submission.
        self._stored = stored_documents(settings)
        self._cache = shared_counters(settings.worldometers_url.read(), settings.refresh_seconds)
        metrics = function_context.get_metric_group()
        metrics.gauge("documents_written", lambda: self._stored.written)
        metrics.gauge("documents_kept", lambda: self._stored.kept)
        metrics.gauge("enrichment_fetches", lambda: self._cache.fetches)
        metrics.gauge("enrichment_failures", lambda: self._cache.failures)
        # -1: there has been no good page yet.
        metrics.gauge("enrichment_age_seconds", lambda: -1 if self._cache.age is None else int(self._cache.age))

    def close(self) -> None:
        self._stored.close()

    def is_deterministic(self) -> bool:
        return False

    def eval(self, start: str, end: str, texts: list[str]) -> int:
        if not self._stored.may_write(start, end, len(texts)):
            return 0
        settings = self._settings
        documents = window_documents(settings.topic, start, end, texts, self._cache.get(), settings.max_document_bytes)
        self._stored.write(start, end, documents)
        return len(documents)


def stored_documents(settings: AggregatorSettings) -> StoredDocuments:
    """Raises SettingError for an address that the driver does not take."""
    uri = with_write_concern(settings.mongodb_uri.read())
    try:
        return StoredDocuments(
            uri,
            settings.database,
            settings.collection,
            settings.topic,
            rewrite=bool(settings.replay_from),
            options=settings.mongodb_options,
        )
    except (PyMongoError, ValueError) as error:
        # The driver's text may hold a part of the address.
        told = f"an address that MongoDB's driver takes is allowed ({type(error).__name__})"
        raise SettingError(f"{settings.mongodb_uri.name} (not shown): {told}") from None


def main() -> None:
    with exit_on_setting_error():
        settings = read_aggregator_settings(os.environ)
        available = taskmanager_memory()
        if available is None:
            log.warning("the TaskManagers' memory is unknown: whether the windows fit into it is not checked")
        else:
            window_memory.check(settings, available)
        count_partitions_patiently(settings)  # tasks that found no Kafka would fail and be restarted, again and again
    environment = StreamExecutionEnvironment.get_execution_environment()
    environment.enable_checkpointing(settings.checkpoint_seconds * 1000)
    tables = StreamTableEnvironment.create(environment)
    for name, value in options(settings).items():
        tables.get_config().set(name, value)
    write_documents = udf(WriteDocuments(settings), result_type=DataTypes.INT())
    tables.create_temporary_system_function("write_documents", write_documents)
    with exit_on_setting_error():
        start = where_to_start(settings, restored=is_restored(tables))
    transactions = TransactionalIds(settings.id_prefix, "aggregator", settings.topic, new_run())
    statements = sql.statements("aggregator", sql_values(settings, start, transactions.of_this_run))
    create_tables(tables, statements)
    submit(tables, statements)


def taskmanager_memory() -> Memory | None:
    """What Flink's configuration, where the job is submitted, gives a TaskManager; None when it does not say."""
    flink = get_gateway().jvm.org.apache.flink
    configuration = flink.configuration.GlobalConfiguration.loadConfiguration()
    try:
        spec = flink.runtime.clusterframework.TaskExecutorProcessUtils.processSpecFromConfig(configuration)
    except Py4JJavaError:
        return None
    return Memory(heap=spec.getJvmHeapMemorySize().getBytes(), managed=spec.getManagedMemorySize().getBytes())


def is_restored(tables: StreamTableEnvironment) -> bool:
    """Whether this submission names a savepoint to start from."""
    configuration = tables.get_config().get_configuration()
    return any(configuration.contains_key(option) for option in RESTORE_OPTIONS)


def where_to_start(settings: AggregatorSettings, *, restored: bool) -> StartingPoint:
    stored = stored_documents(settings)
    try:
        # Only the kind of error: the driver's text may name the address.
        newest = patiently(stored.newest_window, (PyMongoError,), lambda error: f"MongoDB ({type(error).__name__})")
    finally:
        stored.close()
    return starting_point(settings, newest and newest.end, newest and newest.seconds, restored=restored)


def options(settings: AggregatorSettings) -> dict[str, str]:
    idle = {"table.exec.source.idle-timeout": f"{settings.idle_seconds} s"} if settings.idle_seconds else {}
    return {
        "pipeline.name": "aggregator_stream",
        "table.local-time-zone": "UTC",
        # A partition without any record for this long, heartbeats included, no longer holds windows open.
        **idle,
        # A late post makes its window fire again, with all of its posts; those of a second fire together. The window is
        # kept for longer than late posts are let through, so it never drops one (see the view `compared`).
        "table.exec.emit.late-fire.enabled": "true",
        "table.exec.emit.late-fire.delay": "1 s",
        "table.exec.emit.allow-lateness": f"{settings.allowed_lateness_seconds * 1000 + ORDER_MARGIN_MS} ms",
        # A window goes to its one aggregate at once: collecting texts twice, before and behind the shuffle, is slower.
        "table.optimizer.agg-phase-strategy": "ONE_PHASE",
        # The views that both inserts read are computed once, and only then divided.
        "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
        # No operator here keeps a row that it has handed on.
        "pipeline.object-reuse": "true",
        # A window is written when it closes, not when a bundle is full.
        "python.fn-execution.bundle.size": "1",
    }


def sql_values(settings: AggregatorSettings, start: StartingPoint, transactions: str) -> dict[str, object]:
    """What the placeholders of aggregator.sql stand for. transactions: the prefix of the transactional ids."""
    return {
        "topic": settings.topic,
        "rejected_topic": settings.rejected_topic,
        "kafka": connector_options(settings.bootstrap_servers, settings.security),
        "start": start.options,
        "begin_ms": start.begin_ms,
        "group": f"{settings.id_prefix}-aggregator",
        "rejections_group": f"{settings.id_prefix}-aggregator-rejections",
        "transactions": transactions,
        "transaction_timeout_ms": str(TRANSACTION_TIMEOUT_MS),
        "heartbeats": f"{HEARTBEAT_PREFIX}%",
        "max_ahead_ms": MAX_AHEAD_MS,
        "year_9999_ms": YEAR_9999_MS,
        "max_rejected_characters": MAX_REJECTED_CHARACTERS,
        "out_of_order_ms": settings.out_of_order_seconds * 1000,
        "allowed_lateness_ms": settings.allowed_lateness_seconds * 1000,
        "window": interval(settings.window_seconds),
        "window_ms": settings.window_seconds * 1000,
        "iso": ISO_8601,
    }


def interval(seconds: int) -> str:
    """Seconds as the text of an `INTERVAL ... HOUR TO SECOND`: Flink takes no more than two digits of a lone unit."""
    return str(datetime.timedelta(seconds=seconds))


if __name__ == "__main__":
    main()
