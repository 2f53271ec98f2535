"""The buckets of a window: each has its own documents, so that several tasks share the window. No I/O.

Flink gives each task some key groups. With a few keys, one task may get most of them, and another none. So each bucket
has a number as its key whose key group lies in the bucket's own equal part of all key groups.
"""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

# Flink's default for a parallelism of up to 85. The job sets it, since the keys depend on it.
KEY_GROUPS = 128
MAX_BUCKETS = 64
_MASK = 0xFFFFFFFF


class Bucket(NamedTuple):
    """One of `of` parts of a window, numbered from 0."""

    number: int = 0
    of: int = 1


WHOLE = Bucket()


def buckets(size: int) -> list[Bucket]:
    """All buckets of a window that is spread over so many."""
    return [Bucket(number, size) for number in range(size)]


def key_of(bucket: Bucket) -> int:
    """The number by which Flink groups the posts of a bucket.

    It holds the bucket, so a window from a savepoint keeps the bucket that it had, whatever WINDOW_BUCKETS is now.
    """
    return next(key for key in _keys(bucket) if key_group(key) * bucket.of // KEY_GROUPS == bucket.number)


def bucket_of(key: int) -> Bucket:
    """The bucket of which this is the key."""
    return Bucket(key % MAX_BUCKETS, key // MAX_BUCKETS % MAX_BUCKETS + 1)


def _keys(bucket: Bucket) -> Iterator[int]:
    first = (bucket.of - 1) * MAX_BUCKETS + bucket.number
    return count(first, MAX_BUCKETS * MAX_BUCKETS)


def key_group(key: int) -> int:
    """The key group of a row with this INT, as Flink computes it.

    Sources: BinaryRowData.hashCode, KeyGroupRangeAssignment.assignToKeyGroup, MathUtils.murmurHash.
    """
    return _murmur_hash(_hash_of_row(key)) % KEY_GROUPS


def _hash_of_row(key: int) -> int:
    """A row is 8 bytes of header, which are 0 for a row that is inserted and has no NULL, and 8 bytes with the INT."""
    value = 42
    for word in (0, 0, key, 0):
        value = (_rotate(value ^ _scramble(word), 13) * 5 + 0xE6546B64) & _MASK
    return _mix(value ^ 16)


def _murmur_hash(code: int) -> int:
    code = _rotate(_scramble(code), 13)
    code = _mix(((code * 5 + 0xE6546B64) & _MASK) ^ 4)
    return min(code, 2**32 - code) % 2**31  # the absolute value as a signed number; 0 for the smallest one


def _scramble(word: int) -> int:
    return (_rotate((word * 0xCC9E2D51) & _MASK, 15) * 0x1B873593) & _MASK


def _mix(value: int) -> int:
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & _MASK
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & _MASK
    return value ^ (value >> 16)


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK
