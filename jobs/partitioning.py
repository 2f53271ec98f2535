"""Keys for the partitions of a topic."""

import itertools

from kafka.partitioner.default import murmur2


def keys_by_partition(count: int, prefix: str) -> list[str]:
    """A key for each of `count` partitions, in the order of the partitions, for Kafka's default partitioner."""
    keys: dict[int, str] = {}
    for number in itertools.count():
        key = f"{prefix}{number}"
        keys.setdefault(partition_of(key, count), key)
        if len(keys) == count:
            break
    return [keys[partition] for partition in range(count)]


def partition_of(key: str, count: int) -> int:
    """The partition of `count` to which Kafka's default partitioner sends that key."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % count)
