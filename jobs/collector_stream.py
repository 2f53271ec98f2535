"""The collector job: WebSocket -> clean -> topic `tweets`, exactly once."""

import itertools
import os

from pyflink.common import Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from jobs import sql
from jobs.collect_function import BATCHES, CollectFunction
from jobs.feeds.model import Shard
from jobs.job import TRANSACTION_TIMEOUT_MS, create_tables, exit_on_setting_error, new_run, submit
from jobs.job_parameters import job_parameters
from jobs.kafka_security import connector_options
from jobs.kafka_topic import count_partitions_patiently
from jobs.settings import CollectorSettings, read_collector_settings
from jobs.transactional_ids import TransactionalIds

MAX_PARALLELISM = 128  # key groups: Flink's default, set here because the shards' keys depend on it
OPTIONS = {
    "pipeline.name": "collector_stream",
    # Records leave Python at once, and a checkpoint barrier never waits until a bundle is full.
    "python.fn-execution.bundle.size": "1",
    # No operator here keeps a row after it has emitted it.
    "pipeline.object-reuse": "true",
}


def main() -> None:
    with exit_on_setting_error():
        settings = read_collector_settings(os.environ)
        partitions = count_partitions_patiently(settings)
    environment = StreamExecutionEnvironment.get_execution_environment()
    environment.enable_checkpointing(settings.checkpoint_seconds * 1000)
    environment.get_config().set_global_job_parameters(job_parameters(settings))
    environment.set_max_parallelism(MAX_PARALLELISM)
    tables = StreamTableEnvironment.create(environment)
    for name, value in OPTIONS.items():
        tables.get_config().set(name, value)
    keys = shard_keys(environment.get_parallelism() if settings.feed.divisible else 1)
    shards = {key: Shard(number, len(keys)) for number, key in enumerate(keys)}
    transactions = TransactionalIds(settings.id_prefix, f"collector-{settings.feed.name}", settings.topic, new_run())
    statements = sql.statements("collector", sql_values(settings, len(keys), transactions.of_this_run))
    create_tables(tables, statements)
    batches = (
        tables.to_data_stream(tables.from_path("ticks"))
        .key_by(lambda tick: keys[tick[0]], key_type=Types.INT())
        .process(CollectFunction(settings, shards, partitions, transactions), BATCHES)
        .name("collect")
        .uid("collect")
    )
    tables.create_temporary_view("batches", batches)
    submit(tables, statements)


def sql_values(settings: CollectorSettings, shards: int, transactions: str) -> dict[str, object]:
    """The values of the placeholders in collector.sql. transactions: prefix of the transactional ids."""
    return {
        # Each tick is two round trips to Python. The shard of a tick is random: several shards need more of them.
        "ticks_per_second": str(2 * shards if shards > 1 else 1),
        "last_shard": str(shards - 1),
        "topics": ";".join((settings.topic, settings.rejected_topic, settings.events_topic)),
        "kafka": connector_options(settings.bootstrap_servers, settings.security),
        "transactions": transactions,
        "transaction_timeout_ms": str(TRANSACTION_TIMEOUT_MS),
    }


def shard_keys(count: int) -> list[int]:
    """A Flink key for each shard, chosen so that each shard runs in a subtask of its own."""
    assignment = get_gateway().jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment
    keys: dict[int, int] = {}
    for key in itertools.count():
        keys.setdefault(assignment.assignKeyToParallelOperator(key, MAX_PARALLELISM, count), key)
        if len(keys) == count:
            break
    return list(keys.values())


if __name__ == "__main__":
    main()
