"""Topics for tests that publish records themselves."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from jobs.defaults import TWEETS_PARTITIONS
from local.broker import admin, read_topic
from tests.support.waiting import await_value


class Topic:
    """A topic and its topic of rejected records. `publish` waits until the broker has the records."""

    def __init__(self, bootstrap: str, name: str, producer: KafkaProducer) -> None:
        self.bootstrap = bootstrap
        self.name = name
        self.rejected_name = f"{name}.rejected"
        self._producer = producer

    def publish(self, values: Iterable[bytes | None], partition: int = 0) -> None:
        for value in values:
            self._producer.send(self.name, key=b"test", value=value, partition=partition)
        self._producer.flush(timeout=60)

    def delete_first_half(self, partition: int) -> None:
        """Delete the first half of a partition's records, as retention does."""
        with contextlib.closing(KafkaConsumer(bootstrap_servers=self.bootstrap)) as consumer:
            topic_partition = TopicPartition(self.name, partition)
            end = consumer.end_offsets([topic_partition])[topic_partition]
        with contextlib.closing(admin(self.bootstrap)) as client:
            client.delete_records({topic_partition: end // 2})

    def await_heartbeat(self, partition: int, seconds: float) -> Any:
        """The first committed heartbeat of a partition: a record of kafka-python. Its timestamp is the sending time."""
        with contextlib.closing(
            KafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level="read_committed")
        ) as consumer:
            topic_partition = TopicPartition(self.name, partition)
            consumer.assign([topic_partition])
            consumer.seek(topic_partition, 0)

            def first() -> Any:
                records = consumer.poll(timeout_ms=500).get(topic_partition, [])
                return next((record for record in records if json.loads(record.value)["text"] is None), None)

            return await_value(first, f"a heartbeat in partition {partition}", seconds)

    def rejections(self) -> list[dict[str, Any]]:
        return [json.loads(value) for value in read_topic(self.bootstrap, self.rejected_name)]

    def posts(self) -> list[dict[str, Any]]:
        values = [json.loads(value) for value in read_topic(self.bootstrap, self.name)]
        return [value for value in values if value["text"] is not None]


@contextlib.contextmanager
def topic(bootstrap: str, name: str) -> Iterator[Topic]:
    """Create the topic and its topic of rejected records, both empty."""
    with contextlib.closing(admin(bootstrap)) as client:
        new = [NewTopic(name, TWEETS_PARTITIONS, 1), NewTopic(f"{name}.rejected", 1, 1)]
        client.create_topics(new, wait_for_metadata=True)
    with contextlib.closing(KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, batch_size=262_144)) as producer:
        yield Topic(bootstrap, name, producer)
