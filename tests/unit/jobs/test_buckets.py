"""The keys of buckets: Flink spreads them evenly over its tasks, and each key holds its bucket."""

import pytest

from jobs.buckets import KEY_GROUPS, MAX_BUCKETS, Bucket, bucket_of, buckets, key_group, key_of

# Made by Flink 1.20.5: KeyGroupRangeAssignment.assignToKeyGroup of a BinaryRowData with this INT, 128 key groups.
GROUPS = {0: 102, 1: 94, 2: 93, 63: 84, 64: 58, 4095: 52, 4096: 110, 262143: 62, 1000000: 100, 2147483647: 66}
EVERY_SIZE = range(1, MAX_BUCKETS + 1)


def loads(size: int, parallelism: int) -> list[int]:
    """How many buckets each task has."""
    tasks = [key_group(key_of(bucket)) * parallelism // KEY_GROUPS for bucket in buckets(size)]
    return [tasks.count(task) for task in range(parallelism)]


def test_key_groups_are_those_of_flink() -> None:
    assert {key: key_group(key) for key in GROUPS} == GROUPS


@pytest.mark.parametrize("size", EVERY_SIZE)
def test_each_key_holds_its_bucket(size: int) -> None:
    keys = {bucket: key_of(bucket) for bucket in buckets(size)}
    assert [bucket_of(key) for key in keys.values()] == list(keys)
    assert max(keys.values()) < 2**31


def test_a_task_for_each_bucket_has_one() -> None:
    for size in (2, 4, 8, 16, 32, 64):
        assert loads(size, size) == [1] * size


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 64])
def test_no_task_has_many_more_buckets_than_another(size: int) -> None:
    for parallelism in range(1, size + 1):
        found = loads(size, parallelism)
        assert max(found) <= size // parallelism + 2
        assert min(found) >= size // parallelism - 1
        assert sum(found) == size


def test_a_whole_window_is_one_bucket() -> None:
    assert buckets(1) == [Bucket()]
