"""Reads topics of Kafka from offset to offset, for the commands."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, SaslAuthenticationFailedError, TopicAuthorizationFailedError

from jobs.audit.reader import OffsetRange, PartitionRange, Record
from jobs.kafka_security import client_options, read_files
from jobs.kafka_topic import RECONNECT_BACKOFF_MS, retried_errors, root_cause
from jobs.settings import KafkaSecurity

TIMEOUT_MS = 15_000
PROGRESS_SECONDS = 3.0
STALLED_SECONDS = 30.0  # without progress although committed records are left
POLL_RECORDS = 5_000
Notify = Callable[[str], None]


class UnreachableError(RuntimeError):
    """Kafka or MongoDB cannot be read. The text is one line for the user, without any URI."""


class ProgressLine:
    """Reports every PROGRESS_SECONDS how much was read."""

    def __init__(self, notify: Notify, clock: Callable[[], float] = time.monotonic) -> None:
        self._notify = notify
        self._clock = clock
        self._last_notified = clock()

    def __call__(self, what: str, done: int, total: int | None = None) -> None:
        if self._clock() - self._last_notified >= PROGRESS_SECONDS:
            self._last_notified = self._clock()
            self._notify(f"reading {what}: {done:,}{'' if total is None else f' of at most {total:,}'}")


class KafkaReader:
    """Reads committed records. Its methods raise UnreachableError."""

    def __init__(self, consumer: KafkaConsumer, progress: ProgressLine) -> None:
        self._consumer = consumer
        self._progress = progress

    def offset_ranges(self, topic: str) -> Mapping[int, OffsetRange]:
        with kafka_errors(topic):
            numbers = self._consumer.partitions_for_topic(topic)
            if not numbers:
                raise UnreachableError(f"Kafka has no topic {topic!r} that this user may describe")
            partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
            begins, ends = self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
        return {each.partition: OffsetRange(begins[each], max(begins[each], ends[each])) for each in partitions}

    def records(self, topic: str, ranges: Sequence[PartitionRange]) -> Iterator[Record]:
        """The records of the first range of every partition, then of the second range of every partition, and so on.

        A consumer reads at one position of each partition.
        """
        by_partition = itertools.groupby(sorted(ranges), lambda each: each.partition)
        done, total = 0, sum(each.end - each.begin for each in ranges)
        for at_once in itertools.zip_longest(*[list(group) for _, group in by_partition]):
            wanted = {TopicPartition(topic, each.partition): each for each in at_once if each}
            for batch in self._batches(topic, wanted):
                yield from map(to_record, batch)
                done += len(batch)
                self._progress(f"topic {topic}, records", done, total)

    def _batches(self, topic: str, wanted: Mapping[TopicPartition, PartitionRange]) -> Iterator[list[Any]]:
        """The records of one range of each partition in the order of arrival. An empty batch if a poll returns none."""
        consumer, unfinished = self._consumer, set(wanted)
        progress_at, last_position = time.monotonic(), -1
        with kafka_errors(topic):
            consumer.assign(list(wanted))
            consumer.resume(*wanted)  # a partition of the previous ranges stays paused
            for partition, offsets in wanted.items():
                consumer.seek(partition, offsets.begin)
        while unfinished:
            with kafka_errors(topic):
                polled = consumer.poll(timeout_ms=500, max_records=POLL_RECORDS)
            yield [each for key, records in polled.items() for each in records if each.offset < wanted[key].end]
            with kafka_errors(topic):
                unfinished -= {key for key in unfinished if consumer.position(key) >= wanted[key].end}
                consumer.pause(*(set(wanted) - unfinished))
                position = sum(map(consumer.position, wanted))
            if position > last_position:
                progress_at, last_position = time.monotonic(), position
            elif time.monotonic() - progress_at > STALLED_SECONDS:
                raise UnreachableError(f"Kafka sent nothing of topic {topic!r} for {STALLED_SECONDS:g} s")


def to_record(record: Any) -> Record:
    return Record(record.partition, record.offset, record.key, record.value, record.timestamp)


@contextlib.contextmanager
def kafka_errors(topic: str) -> Iterator[None]:
    try:
        yield
    except TopicAuthorizationFailedError as error:
        raise UnreachableError(f"this user may not read topic {topic!r}: it needs the ACL Read") from error
    except (KafkaError, OSError) as error:
        raise UnreachableError(f"Kafka cannot be read: {error}") from error


@contextlib.contextmanager
def open_consumer(
    bootstrap_servers: str, security: KafkaSecurity, isolation_level: str = "read_committed"
) -> Iterator[KafkaConsumer]:
    """Raises UnreachableError if no Kafka answers or it rejects the user, SettingError for a file that is unusable."""
    options = {
        "bootstrap_servers": bootstrap_servers,
        "bootstrap_timeout_ms": TIMEOUT_MS,
        "reconnect_backoff_max_ms": RECONNECT_BACKOFF_MS,
        "isolation_level": isolation_level,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        # In Python the checks take two thirds of the time. A damaged record would not balance anyway.
        "check_crcs": False,
        **client_options(security, read_files(security)),
    }
    with retried_errors() as retried:
        try:
            client = KafkaConsumer(**options)
        except (KafkaError, OSError) as error:
            where = f"KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers!r}"
            if any(isinstance(reason, SaslAuthenticationFailedError) for reason in retried):
                user = security.username
                raise UnreachableError(f"{where} refuses KAFKA_USERNAME={user!r} with its password") from error
            raise UnreachableError(f"no Kafka answers at {where}: {root_cause(retried, error)}") from error
    with contextlib.closing(client):
        yield client
