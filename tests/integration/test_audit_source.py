"""The audit reads ranges of offsets from a broker."""

from jobs.audit.__main__ import KafkaAndMongoReader
from jobs.audit.kafka_reader import ProgressLine, open_consumer
from jobs.audit.reader import PartitionRange
from jobs.settings import read_aggregator_settings
from local.stack import Stack
from tests.support.topics import topic


def test_several_ranges_of_a_partition_are_read_one_after_the_other(stack: Stack) -> None:
    kafka = stack.settings.kafka
    settings = read_aggregator_settings({"KAFKA_BOOTSTRAP_SERVERS": kafka})
    with topic(kafka, "ranges") as published, open_consumer(settings.bootstrap_servers, settings.security) as consumer:
        for partition in (0, 1):
            published.publish([b"%d" % number for number in range(20)], partition)
        reader = KafkaAndMongoReader(consumer, None, ProgressLine(print))  # type: ignore[arg-type]
        ranges = [
            PartitionRange(0, 2, 5),
            PartitionRange(0, 12, 14),
            PartitionRange(1, 3, 6),
            PartitionRange(0, 4, 6),
            PartitionRange(1, 19, 20),
        ]
        for _ in range(2):
            read = [(each.partition, each.offset) for each in reader.records(published.name, ranges)]
            assert sorted(read) == sorted((each.partition, at) for each in ranges for at in range(each.begin, each.end))
