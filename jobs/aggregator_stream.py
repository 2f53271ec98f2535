"""The aggregator job: topic `tweets` -> windows -> one enrichment per window -> one document per window in MongoDB."""

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
from jobs.buckets import KEY_GROUPS, bucket_of, buckets, key_of
from jobs.documents import iso, window_documents
from jobs.event_time import HEARTBEAT_STEP_MS, MAX_AHEAD_MS, OUT_OF_ORDER_MS
from jobs.feed_processor import HEARTBEAT_PREFIX, MAX_REJECTED_CHARACTERS
from jobs.job import TRANSACTION_TIMEOUT_MS, create_tables, exit_on_setting_error, new_run, submit
from jobs.job_parameters import job_parameters
from jobs.kafka_security import connector_options
from jobs.kafka_topic import count_partitions_patiently
from jobs.layouts import Newest, Window
from jobs.patience import patiently
from jobs.settings import AggregatorSettings, SettingError, read_aggregator_settings
from jobs.starting_point import StartingPoint, rebuilt_from, starting_point
from jobs.stored_documents import StoredDocuments
from jobs.transactional_ids import TransactionalIds
from jobs.window_memory import Memory, Tasks
from jobs.worldometers import shared_counters

log = logging.getLogger(__name__)

# The collector's posts in a partition may advance event time at most this far beyond its newest heartbeat.
ORDER_MARGIN_MS = HEARTBEAT_STEP_MS + OUT_OF_ORDER_MS
RESTORE_OPTIONS = ("execution.state-recovery.path", "execution.savepoint.path")
YEAR_9999_MS = 253_402_300_799_999  # the largest time that Flink's functions accept
ISO_8601 = "yyyy-MM-dd'T'HH:mm:ss'Z'"


class WriteDocuments(ScalarFunction):  # type: ignore[misc]
    """Enriches a bucket of a window with the current counters and writes its documents.

    Returns the number of documents, 0 for a bucket that may not be written (see StoredDocuments).
    """

    def __init__(self, settings: AggregatorSettings) -> None:
        self._settings = settings

    def open(self, function_context: FunctionContext) -> None:
        settings = self._settings
        # A secret in a file is read at each start of the task. So a new secret needs no new submission of the job.
        self._stored = stored_documents(settings)
        self._cache = shared_counters(settings.worldometers_url.read(), settings.refresh_seconds)
        metrics = function_context.get_metric_group()
        metrics.gauge("documents_written", lambda: self._stored.written)
        metrics.gauge("documents_kept", lambda: self._stored.kept)
        metrics.gauge("enrichment_fetches", lambda: self._cache.fetches)
        metrics.gauge("enrichment_failures", lambda: self._cache.failures)
        # -1: no page was read successfully yet.
        metrics.gauge("enrichment_age_seconds", lambda: -1 if self._cache.age is None else int(self._cache.age))

    def close(self) -> None:
        self._stored.close()

    def is_deterministic(self) -> bool:
        return False

    def eval(self, start: str, end: str, key: int, texts: list[str]) -> int:
        bucket = bucket_of(key)
        if not self._stored.may_write(start, end, len(texts), bucket):
            return 0
        settings, counters = self._settings, self._cache.get()
        documents = window_documents(settings.topic, start, end, texts, counters, settings.max_document_bytes, bucket)
        self._stored.write(start, end, documents, bucket)
        return len(documents)


def stored_documents(settings: AggregatorSettings) -> StoredDocuments:
    """Opens the collection. Raises SettingError for an address that MongoDB's driver rejects."""
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
        # The driver's message may contain a part of the address.
        allowed = f"an address that MongoDB's driver takes is allowed ({type(error).__name__})"
        raise SettingError(f"{settings.mongodb_uri.name} (not shown): {allowed}") from None


def main() -> None:
    with exit_on_setting_error():
        settings = read_aggregator_settings(os.environ)
        environment = StreamExecutionEnvironment.get_execution_environment()
        check_memory(settings, environment.get_parallelism())
        count_partitions_patiently(settings)  # without Kafka, the tasks would fail and restart repeatedly
    environment.enable_checkpointing(settings.checkpoint_seconds * 1000)
    environment.get_config().set_global_job_parameters(job_parameters(settings))
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


def check_memory(settings: AggregatorSettings, parallelism: int) -> None:
    """Raises SettingError if the windows do not fit into a TaskManager as the submitting machine configures it."""
    flink = get_gateway().jvm.org.apache.flink
    configuration = flink.configuration.GlobalConfiguration.loadConfiguration()
    try:
        spec = flink.runtime.clusterframework.TaskExecutorProcessUtils.processSpecFromConfig(configuration)
    except Py4JJavaError:
        log.warning("the TaskManagers' memory is unknown: it is not checked whether the windows fit into it")
        return
    available = Memory(spec.getJvmHeapMemorySize().getBytes(), spec.getManagedMemorySize().getBytes())
    slots = configuration.get(flink.configuration.TaskManagerOptions.NUM_TASK_SLOTS)
    window_memory.check(settings, available, Tasks(parallelism, slots))


def is_restored(tables: StreamTableEnvironment) -> bool:
    """Whether this submission names a savepoint to start from."""
    configuration = tables.get_config().get_configuration()
    return any(configuration.contains_key(option) for option in RESTORE_OPTIONS)


def where_to_start(settings: AggregatorSettings, *, restored: bool) -> StartingPoint:
    stored = stored_documents(settings)

    def find() -> tuple[Newest | None, Window | None]:
        newest = stored.newest_window(settings.layout)
        since = iso(rebuilt_from(settings, newest) // 1000)
        return newest, stored.other_layout(settings.layout, since, newest.layout if newest else None)

    try:
        # Only the type of the error: the driver's message may contain the address.
        newest, other = patiently(find, (PyMongoError,), lambda error: f"MongoDB ({type(error).__name__})")
    finally:
        stored.close()
    return starting_point(settings, newest, other, restored=restored)


def options(settings: AggregatorSettings) -> dict[str, str]:
    idle = {"table.exec.source.idle-timeout": f"{settings.idle_seconds} s"} if settings.idle_seconds else {}
    return {
        "pipeline.name": "aggregator_stream",
        "table.local-time-zone": "UTC",
        # A partition without a record (or heartbeat) for this long no longer holds windows open.
        **idle,
        # A late post makes its window fire again with all of its posts. Late posts of one second fire together. The
        # window's state is kept for longer than late posts are accepted, so it drops none (see the view `compared`).
        "table.exec.emit.late-fire.enabled": "true",
        "table.exec.emit.late-fire.delay": "1 s",
        "table.exec.emit.allow-lateness": f"{settings.allowed_lateness_seconds * 1000 + ORDER_MARGIN_MS} ms",
        # No local aggregate before the shuffle: collecting the texts twice is slower.
        "table.optimizer.agg-phase-strategy": "ONE_PHASE",
        # The buckets' keys depend on it.
        "pipeline.max-parallelism": str(KEY_GROUPS),
        # The views that both inserts read are computed once.
        "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
        # No operator here keeps a row after it has emitted it.
        "pipeline.object-reuse": "true",
        # A window is written when it closes and not when a bundle is full.
        "python.fn-execution.bundle.size": "1",
    }


def sql_values(settings: AggregatorSettings, start: StartingPoint, transactions: str) -> dict[str, object]:
    """The values of the placeholders in aggregator.sql. transactions: prefix of the transactional ids."""
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
        "replacement": "\N{REPLACEMENT CHARACTER}",
        "out_of_order_ms": settings.out_of_order_seconds * 1000,
        "allowed_lateness_ms": settings.allowed_lateness_seconds * 1000,
        "window": interval(settings.window_seconds),
        "window_ms": settings.window_seconds * 1000,
        "buckets": settings.window_buckets,
        "bucket_keys": [key_of(bucket) for bucket in buckets(settings.window_buckets)],
        "iso": ISO_8601,
    }


def interval(seconds: int) -> str:
    """Seconds as the text of an `INTERVAL ... HOUR TO SECOND`. An interval of one unit has two digits in Flink."""
    return str(datetime.timedelta(seconds=seconds))


if __name__ == "__main__":
    main()
