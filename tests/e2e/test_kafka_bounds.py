"""Kafka's volume never fills: the test adds up all data that the rendered resources allow.

It needs helm and no cluster.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.chart import CHART, copy_without_dependencies
from deploy.cluster import Object, env_with_tools, run_program

MIB = 1 << 20
UNITS = {"Mi": MIB, "Gi": 1 << 30, "G": 10**9}
INDEX_SHARE = 20 / 4096  # an entry of 8 and one of 12 bytes for every 4 KiB (index.interval.bytes)
FILE_SYSTEM_SHARE = 0.04  # inodes and the journal
QUOTA_WINDOW_SECONDS = 11  # quota.window.num times quota.window.size.seconds
INTERNAL_PARTITIONS = 50  # the default of each of Kafka's internal topics
ID_BYTES = 200  # a record of `__transaction_state` in a batch with one record
BATCH_BYTES = 1_048_588  # max.message.bytes

UNUSUAL = {
    "kafka.topics.tweets.partitions": 12,
    "kafka.replicas": 3,
    "kafka.replicationFactor": 3,
    "kafka.storage.size": "10Gi",
}
CUSTOM_SEGMENT = {"kafka.topics.tweets.config.segment\\.bytes": 250 * MIB}
CASES = [
    ("values.yaml", {}),
    ("values-light.yaml", {}),
    ("values-production.yaml", {}),
    ("values.yaml", UNUSUAL),
    ("values.yaml", {"kafka.storage.size": "3.5G", "kafka.replicas": 5, "kafka.topics.rejected.partitions": 7}),
    ("values.yaml", {"kafka.config.log\\.retention\\.check\\.interval\\.ms": 300_000}),
    ("values.yaml", CUSTOM_SEGMENT),
    ("values.yaml", {"collector.settings.CHECKPOINT_SECONDS": 1, "kafka.storage.size": "5Gi"}),
]


@dataclass(frozen=True)
class Bytes:
    """The size of a broker's volume, and the most bytes that it holds.

    topics: of the chart's topics
    before_retention: written until retention deletes older records
    internal: of Kafka's internal topics
    """

    volume: int
    topics: float
    before_retention: float
    internal: float

    @property
    def total(self) -> float:
        return self.topics + self.before_retention + self.internal + self.volume * FILE_SYSTEM_SHARE


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_without_dependencies(tmp_path_factory.mktemp("chart"))


def rendered(chart: Path, values: str, settings: Mapping[str, object]) -> list[Object]:
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    command = ("helm", "template", "demo", str(chart), "--values", str(CHART / values), "--kube-version", "1.34.0")
    return [each for each in YAML(typ="safe").load_all(run_program([*command, *options], env_with_tools())) if each]


def of_kind(objects: list[Object], kind: str) -> list[dict[str, Any]]:
    return [each["spec"] for each in objects if each["kind"] == kind]


def worst_case(objects: list[Object]) -> Bytes:
    (pool,) = of_kind(objects, "KafkaNodePool")
    (kafka,) = of_kind(objects, "Kafka")
    options, topics = kafka["kafka"]["config"], of_kind(objects, "KafkaTopic")
    (volume,) = pool["storage"]["volumes"]
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", volume["size"]).groups()  # type: ignore[union-attr]
    return Bytes(
        volume=int(float(number) * UNITS[unit]),
        topics=sum(topic_bytes(each) for each in topics),
        before_retention=bytes_before_retention(objects, pool["replicas"], options, topics),
        internal=internal_bytes(options, transactional_ids(objects, options)),
    )


def topic_bytes(topic: Mapping[str, Any]) -> float:
    """The size right after a check of retention, on a broker that has all partitions of the topic."""
    config = topic["config"]
    assert config["retention.bytes"] > 0
    assert config["segment.bytes"] > BATCH_BYTES
    partition: int = config["retention.bytes"] + config["segment.bytes"]
    return float(topic["partitions"] * partition * (1 + INDEX_SHARE))


def bytes_before_retention(
    objects: list[Object], brokers: int, options: Mapping[str, int], topics: list[dict[str, Any]]
) -> float:
    """What the users write until a check of retention has deleted files.

    With replicas, the quotas of all brokers count.
    """
    writers = [each for each in of_kind(objects, "KafkaUser") if "Write" in str(each["authorization"]["acls"])]
    assert len(writers) == 2
    rate: int = sum(each["quotas"]["producerByteRate"] for each in writers)
    if any(each["replicas"] > 1 for each in topics):
        rate *= brokers
    delay: int = max(each["config"]["file.delete.delay.ms"] for each in topics)
    return rate * ((options["log.retention.check.interval.ms"] + delay) / 1000 + QUOTA_WINDOW_SECONDS)


def internal_bytes(options: Mapping[str, int], number_of_ids: float) -> float:
    """Kafka's internal topics: two segments of each partition that are not yet compacted, and three copies of the live
    records, before, during and after compaction. The metadata topic: its retention size, two segments, and the records
    between its last two snapshots.
    """
    segments = sum(
        2 * options.get(f"{topic}.num.partitions", INTERNAL_PARTITIONS) * options[f"{topic}.segment.bytes"]
        for topic in ("offsets.topic", "transaction.state.log")
    )
    metadata = options["metadata.max.retention.bytes"] + 2 * options["metadata.log.segment.bytes"]
    metadata += 2 * options["metadata.log.max.record.bytes.between.snapshots"]
    return segments + metadata + 3 * ID_BYTES * number_of_ids


def transactional_ids(objects: list[Object], options: Mapping[str, int]) -> float:
    """How many transactional ids have not expired: one for each checkpoint, subtask and topic that a job writes to."""
    topics_written = {"collector": 2, "aggregator": 1}
    seconds = options["transactional.id.expiration.ms"] / 1000
    total = 0.0
    for job in (each for each in objects if each["kind"] == "FlinkDeployment"):
        name = job["metadata"]["labels"]["app.kubernetes.io/component"]
        (container,) = job["spec"]["jobManager"]["podTemplate"]["spec"]["containers"]
        settings = {each["name"]: each.get("value") for each in container["env"]}
        checkpoint = int(settings.get("CHECKPOINT_SECONDS") or {"collector": 2, "aggregator": 10}[name])
        total += seconds / checkpoint * topics_written[name] * job["spec"]["job"]["parallelism"]
    return total


@pytest.mark.parametrize(("values", "settings"), CASES)
def test_a_brokers_volume_holds_the_worst_case(chart: Path, values: str, settings: Mapping[str, object]) -> None:
    needed = worst_case(rendered(chart, values, settings))
    assert needed.total <= needed.volume, needed
    assert needed.topics > needed.volume * 0.5, "the topics use less than half of the volume"
    assert needed.before_retention > needed.volume * 0.15, "the quotas are lower than necessary"


def test_the_sum_exceeds_the_volume_for_topics_that_are_too_large(chart: Path) -> None:
    settings = {"kafka.topics.tweets.config.retention\\.bytes": 1 << 30}
    needed = worst_case(rendered(chart, "values.yaml", settings))
    assert needed.total > needed.volume
