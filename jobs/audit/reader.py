"""What the audit reads from Kafka and MongoDB. `__main__` implements the Reader; tests have one of lists. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """One Kafka record. timestamp: ms since 1970 UTC; None if unknown."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int | None = None


class Document(NamedTuple):
    """One document. timestamp: the end of its window, ISO 8601."""

    hash: str
    timestamp: str
    content: Sequence[str]


class OffsetRange(NamedTuple):
    """The offsets that a partition holds: from `begin` to before `end`."""

    begin: int
    end: int


class PartitionRange(NamedTuple):
    """The offsets of a partition that are to be read: from `begin` to before `end`."""

    partition: int
    begin: int
    end: int


class Reader(Protocol):
    """Reads the present state of Kafka and MongoDB. Raises the errors of the implementation."""

    def offset_ranges(self, topic: str) -> Mapping[int, OffsetRange]:
        """The committed offsets of each partition, by its number."""

    def records(self, topic: str, ranges: Sequence[PartitionRange]) -> Iterable[Record]:
        """The committed records in these ranges, in order within each partition."""

    def keys(self, after: str) -> Iterable[tuple[str, str]]:
        """(hash, timestamp) of the documents whose timestamp is greater than `after`."""

    def documents(self, after: str, until: str) -> Iterable[Document]:
        """The documents whose timestamp is greater than `after` and not greater than `until`."""
