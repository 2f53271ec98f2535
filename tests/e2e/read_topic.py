"""Prints each committed value of a topic as a line: `python - BOOTSTRAP TOPIC`, in a pod, from standard input."""

import sys

from kafka import KafkaConsumer, TopicPartition


def main(bootstrap: str, topic: str) -> None:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                sys.stdout.write(record.value.decode() + "\n")
    consumer.close()


main(*sys.argv[1:])
