"""The audit as a command: `python -m jobs.audit`, with the aggregator's environment. See reconciliation.py.

Exit status: 0 if everything balances, 1 if it does not, 2 if Kafka or MongoDB cannot be read or a setting is wrong, 130
after Ctrl-C.

AUDIT_WAIT_SECONDS (60): for how long the audit waits for posts that are still on their way.
FEED (simulator): the collector's feed. If its numbers are dense, they are counted. Its secrets are not read.
MONGODB_RETENTION_DAYS (0: never): older documents are deleted, so windows of that age are not checked.
"""

import contextlib
import itertools
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bson.codec_options import CodecOptions
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, SaslAuthenticationFailedError, TopicAuthorizationFailedError
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure, PyMongoError

from jobs.audit.reader import Document, OffsetRange, PartitionRange, Record
from jobs.audit.reconciliation import CONTIGUOUS_SOURCES, AuditSettings, audit
from jobs.audit.report import Report
from jobs.kafka_security import client_options, read_files
from jobs.kafka_topic import RECONNECT_BACKOFF_MS, retried_errors, root_cause
from jobs.settings import AggregatorSettings, EnvReader, SettingError, read_aggregator_settings

TIMEOUT_MS = 15_000
PROGRESS_SECONDS = 3.0
STALLED_SECONDS = 30.0  # without progress although committed records are left
POLL_RECORDS = 5_000
Notify = Callable[[str], None]
MongoCollection = Collection[dict[str, Any]]


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


class KafkaAndMongoReader:
    """The Reader (see reader.py) of Kafka and MongoDB. Its methods raise UnreachableError."""

    def __init__(self, consumer: KafkaConsumer, collection: MongoCollection, progress: ProgressLine) -> None:
        self._consumer = consumer
        self._collection = collection
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

    def keys(self, after: str) -> Iterator[tuple[str, str]]:
        for each in self._find({"$gt": after}, {"hash": 1, "timestamp": 1}, "keys of documents"):
            yield each.hash, each.timestamp

    def documents(self, after: str, until: str) -> Iterator[Document]:
        fields = {"hash": 1, "timestamp": 1, "content": 1}
        yield from self._find({"$gt": after, "$lte": until}, fields, "documents")

    def _find(self, when: Mapping[str, str], fields: Mapping[str, int], what: str) -> Iterator[Document]:
        with mongodb_errors():
            for number, each in enumerate(self._collection.find({"timestamp": when}, fields)):
                yield Document(str(each.get("hash", each.get("_id"))), each["timestamp"], each.get("content", ()))
                self._progress(what, number + 1)


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
def mongodb_errors() -> Iterator[None]:
    """The driver's messages may contain parts of the URI. So only the server's own message is shown."""
    try:
        yield
    except OperationFailure as error:
        message = str((error.details or {}).get("errmsg", type(error).__name__))
        raise UnreachableError(f"MongoDB refuses to be read: {message[:200]}") from error
    except (PyMongoError, ValueError) as error:
        raise UnreachableError(f"no MongoDB answers at MONGODB_URI (not shown): {type(error).__name__}") from error


@contextlib.contextmanager
def open_reader(settings: AggregatorSettings, notify: Notify) -> Iterator[KafkaAndMongoReader]:
    with open_consumer(settings) as consumer, open_collection(settings) as collection:
        yield KafkaAndMongoReader(consumer, collection, ProgressLine(notify))


@contextlib.contextmanager
def open_consumer(settings: AggregatorSettings) -> Iterator[KafkaConsumer]:
    """Raises UnreachableError if no Kafka answers or it rejects the user, SettingError for a file that is unusable."""
    options = {
        "bootstrap_servers": settings.bootstrap_servers,
        "bootstrap_timeout_ms": TIMEOUT_MS,
        "reconnect_backoff_max_ms": RECONNECT_BACKOFF_MS,
        "isolation_level": "read_committed",
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        # In Python the checks take two thirds of the time. A damaged record would not balance anyway.
        "check_crcs": False,
        **client_options(settings.security, read_files(settings.security)),
    }
    with retried_errors() as retried:
        try:
            client = KafkaConsumer(**options)
        except (KafkaError, OSError) as error:
            where = f"KAFKA_BOOTSTRAP_SERVERS={settings.bootstrap_servers!r}"
            if any(isinstance(reason, SaslAuthenticationFailedError) for reason in retried):
                user = settings.security.username
                raise UnreachableError(f"{where} refuses KAFKA_USERNAME={user!r} with its password") from error
            raise UnreachableError(f"no Kafka answers at {where}: {root_cause(retried, error)}") from error
    with contextlib.closing(client):
        yield client


@contextlib.contextmanager
def open_collection(settings: AggregatorSettings) -> Iterator[MongoCollection]:
    with contextlib.ExitStack() as stack:
        with mongodb_errors():
            client: MongoClient[dict[str, Any]] = MongoClient(
                settings.mongodb_uri.read(),
                serverSelectionTimeoutMS=TIMEOUT_MS,
                connectTimeoutMS=TIMEOUT_MS,
                **settings.mongodb_options,
            )
            stack.enter_context(client)
            client.admin.command("ping")
        # The audit goes on at a text that is not UTF-8. It counts as a different text.
        codec = CodecOptions[dict[str, Any]](unicode_decode_error_handler="replace")
        yield client[settings.database].get_collection(settings.collection, codec_options=codec)


def run(environment: Mapping[str, str], notify: Notify = lambda _: None) -> Report:
    """The report on the aggregator with this environment. notify: is called with one line for each step.

    Raises SettingError, and UnreachableError if Kafka or MongoDB cannot be read.
    """
    aggregator, read = read_aggregator_settings(environment), EnvReader(environment)
    feed = read.definition("FEED", "simulator")
    settings = AuditSettings(
        topic=aggregator.topic,
        rejected_topic=aggregator.rejected_topic,
        window_seconds=aggregator.window_seconds,
        out_of_order_ms=aggregator.out_of_order_seconds * 1000,
        idle_ms=aggregator.idle_seconds * 1000,
        now_ms=int(time.time() * 1000),
        retention_days=read.integer("MONGODB_RETENTION_DAYS", 0, 0, 36_500),
        contiguous_sources=CONTIGUOUS_SOURCES | ({feed.name} if feed.dense else frozenset()),
        wait_seconds=read.integer("AUDIT_WAIT_SECONDS", 60, 0, 86_400),
    )
    with open_reader(aggregator, notify) as reader:
        return audit(reader, settings, clock=time.monotonic, sleep=time.sleep, notify=notify)


def main(environment: Mapping[str, str] = os.environ) -> int:
    # kafka-python logs each attempt to connect. The errors below contain what matters.
    logging.getLogger("kafka").addHandler(logging.NullHandler())
    logging.getLogger("kafka").propagate = False
    try:
        report = run(environment, lambda line: write(sys.stderr, [line]))
        write(sys.stdout, report.lines)
    except KeyboardInterrupt:
        write(sys.stderr, ["stopped"])
        return 130
    except (SettingError, UnreachableError) as error:
        write(sys.stderr, [f"error: {error}"])
        return 2
    return 0 if report.balanced else 1


def interruptible() -> None:
    """Let SIGINT and SIGTERM end the audit. A shell starts background processes with SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def write(stream: Any, lines: Iterable[str]) -> None:
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()


if __name__ == "__main__":
    interruptible()
    sys.exit(main())
