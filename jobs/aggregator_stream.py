"""The aggregation job: topic `tweets` -> windows -> one enrichment each -> one document each in MongoDB."""

import datetime
import os
from collections.abc import Iterator

from pyflink.common import Row
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import FunctionContext, ScalarFunction, TableFunction, udf, udtf

from jobs import chunks, sql
from jobs.collection import HEARTBEAT_PREFIX, MAX_REJECTED_CHARACTERS
from jobs.entry import define, fail_clearly, submit
from jobs.kafka_security import connector_options, read_files
from jobs.settings import AggregatorSettings, acknowledged_uri, read_aggregator_settings
from jobs.worldometers import CachedCounters, Counters

# A record stamped further ahead of the clock is rejected.
MAX_AHEAD_MS = 60_000
ISO_8601 = "yyyy-MM-dd'T'HH:mm:ss'Z'"


class WorldCounters(ScalarFunction):  # type: ignore[misc]
    """The counters at the moment of the call; its argument only makes the call one of each window."""

    def __init__(self, url: str, refresh_seconds: float) -> None:
        self._url = url
        self._refresh_seconds = refresh_seconds

    def open(self, function_context: FunctionContext) -> None:
        self._cache = CachedCounters(self._url, refresh_seconds=self._refresh_seconds)
        metrics = function_context.get_metric_group()
        metrics.gauge("enrichment_fetches", lambda: self._cache.fetches)
        metrics.gauge("enrichment_failures", lambda: self._cache.failures)
        # -1: there has been no good page yet.
        metrics.gauge("enrichment_age_seconds", lambda: -1 if self._cache.age is None else int(self._cache.age))

    def is_deterministic(self) -> bool:
        return False

    def eval(self, window_end: str) -> Row:  # noqa: ARG002
        return Row(*(self._cache.get() or [None] * len(Counters._fields)))


class SplitContent(TableFunction):  # type: ignore[misc]
    """(chunk number, texts) of a window that may be too large for one document."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def eval(self, content: list[str]) -> Iterator[tuple[int, list[str]]]:
        yield from chunks.split(content, self._max_bytes)


def main() -> None:
    with fail_clearly():
        settings = read_aggregator_settings(os.environ)
        read_files(settings.security)  # what is wrong with them is told here, and not by a task that fails
    environment = StreamExecutionEnvironment.get_execution_environment()
    environment.enable_checkpointing(settings.checkpoint_seconds * 1000)
    tables = StreamTableEnvironment.create(environment)
    for name, value in options(settings).items():
        tables.get_config().set(name, value)
    register_functions(tables, settings)
    statements = sql.statements("aggregator", sql_values(settings))
    define(tables, statements)
    submit(tables, statements)


def options(settings: AggregatorSettings) -> dict[str, str]:
    return {
        "pipeline.name": "aggregator_stream",
        "table.local-time-zone": "UTC",
        # Only a partition without any record for this long, heartbeats included, no longer holds windows open.
        "table.exec.source.idle-timeout": f"{settings.idle_seconds} s",
        # A window goes to its one aggregate at once: collecting texts twice, before and behind the shuffle, is slower.
        "table.optimizer.agg-phase-strategy": "ONE_PHASE",
        # No operator here keeps a row that it has handed on.
        "pipeline.object-reuse": "true",
        # A window is enriched when it closes, not when a bundle is full.
        "python.fn-execution.bundle.size": "1",
    }


def register_functions(tables: StreamTableEnvironment, settings: AggregatorSettings) -> None:
    counters = DataTypes.ROW([DataTypes.FIELD(name, DataTypes.BIGINT()) for name in Counters._fields])
    world_counters = udf(WorldCounters(settings.worldometers_url, settings.refresh_seconds), result_type=counters)
    split_content = udtf(
        SplitContent(settings.max_document_bytes),
        result_types=[DataTypes.INT(), DataTypes.ARRAY(DataTypes.STRING())],
    )
    tables.create_temporary_system_function("world_counters", world_counters)
    tables.create_temporary_system_function("split_content", split_content)


def sql_values(settings: AggregatorSettings) -> dict[str, object]:
    """What the placeholders of aggregator.sql stand for."""
    return {
        "topic": settings.topic,
        "rejected_topic": settings.rejected_topic,
        "kafka": connector_options(settings.bootstrap_servers, settings.security),
        "heartbeats": f"{HEARTBEAT_PREFIX}%",
        "max_ahead_ms": MAX_AHEAD_MS,
        "max_rejected_characters": MAX_REJECTED_CHARACTERS,
        "out_of_order": interval(settings.out_of_order_seconds),
        "window": interval(settings.window_seconds),
        "window_ms": settings.window_seconds * 1000,
        "element_bytes": chunks.ELEMENT_BYTES,
        "max_document_bytes": settings.max_document_bytes,
        "mongodb_uri": acknowledged_uri(settings.mongodb_uri),
        "database": settings.database,
        "collection": settings.collection,
        "writers": str(settings.writers),
        "iso": ISO_8601,
    }


def interval(seconds: int) -> str:
    """Seconds as the text of an `INTERVAL ... HOUR TO SECOND`: Flink takes no more than two digits of a lone unit."""
    return str(datetime.timedelta(seconds=seconds))


if __name__ == "__main__":
    main()
