"""The Broker (see work.py) of Kafka."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    InvalidProducerEpochError,
    KafkaError,
    ProducerFencedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)

from jobs.audit.kafka_reader import KafkaReader, Notify, ProgressLine, UnreachableError, kafka_errors, open_consumer
from jobs.audit.reader import PartitionRange, Record
from jobs.audit.windows import parse_record
from jobs.event_time import MAX_AHEAD_MS
from jobs.kafka_security import client_options, read_files
from jobs.kafka_topic import newest_of_partition
from jobs.partitioning import partition_of
from jobs.rejected.work import Write
from jobs.settings import KafkaSecurity

# Readers of committed records wait behind an open transaction. So one that a killed run has left ends soon.
TRANSACTION_TIMEOUT_MS = 30_000
TIMEOUT_SECONDS = 30
# The collector commits at each checkpoint. A transaction of a job that died is open until it starts again.
SETTLE_SECONDS = 60
POLL_SECONDS = 0.2
TAIL_MS = 1_000  # of each partition that is read for its newest event time


class KafkaBroker:
    """Reads both topics, and writes in transactions. Its methods raise UnreachableError.

    topic: of posts. transactional_id: the same for all runs. An object begins by ending the open transaction of any
    other run, which can commit nothing afterwards.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        security: KafkaSecurity,
        topic: str,
        transactional_id: str,
        stack: contextlib.ExitStack,
        notify: Notify,
    ) -> None:
        self._topic = topic
        self._notify = notify

        def consumer(isolation_level: str) -> KafkaConsumer:
            return stack.enter_context(open_consumer(bootstrap_servers, security, isolation_level))

        self._reader = KafkaReader(consumer("read_committed"), ProgressLine(notify))
        self._tail = consumer("read_committed")
        self._ends = KafkaReader(consumer("read_uncommitted"), ProgressLine(notify))
        self._partitions = len(self._reader.offset_ranges(topic))
        with writing(transactional_id):
            self._producer = KafkaProducer(
                bootstrap_servers=bootstrap_servers,
                transactional_id=transactional_id,
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                max_block_ms=TIMEOUT_SECONDS * 1_000,
                linger_ms=5,
                **client_options(security, read_files(security)),
            )
            stack.callback(self._producer.close, timeout=TIMEOUT_SECONDS)
            self._producer.init_transactions()
        self._transactional_id = transactional_id

    def settled(self, topic: str) -> list[PartitionRange]:
        wanted = self._ends.offset_ranges(topic)
        deadline, told = time.monotonic() + SETTLE_SECONDS, False
        while any(each.end < wanted[number].end for number, each in self._reader.offset_ranges(topic).items()):
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"topic {topic!r} has a transaction that stays open, so what is behind it is unknown: try again "
                    "when the jobs run, or after Kafka has aborted it (15 minutes at the latest)"
                )
            if not told and time.monotonic() > deadline - SETTLE_SECONDS + 5:
                self._notify(f"waiting for open transactions in topic {topic}")
                told = True
            time.sleep(POLL_SECONDS)
        return [PartitionRange(number, *offsets) for number, offsets in wanted.items()]

    def since(self, ranges: Iterable[PartitionRange], topic: str, at: int) -> list[PartitionRange]:
        ranges = list(ranges)
        with kafka_errors(topic):
            found = self._tail.offsets_for_times({TopicPartition(topic, each.partition): at for each in ranges})
        begins = {key.partition: value.offset if value else None for key, value in found.items()}
        return [
            each._replace(begin=each.end if (begin := begins.get(each.partition)) is None else max(begin, each.begin))
            for each in ranges
        ]

    def records(self, topic: str, ranges: Iterable[PartitionRange]) -> Iterator[Record]:
        wanted = [each for each in ranges if each.begin < each.end]
        return self._reader.records(topic, wanted) if wanted else iter(())

    def partition_of(self, key: str) -> int:
        return partition_of(key, self._partitions)

    def newest_event_times(self) -> Mapping[int, int]:
        found: dict[int, int] = {}
        limit = int(time.time() * 1000) + MAX_AHEAD_MS
        with kafka_errors(self._topic):
            for number in range(self._partitions):
                values = newest_of_partition(self._tail, TopicPartition(self._topic, number), TAIL_MS)
                times = [each.timestamp for each in (parse_record(value, limit) for value in values) if usable(each)]
                if times:
                    found[number] = max(times)
        return found

    def commit(self, writes: Iterable[Write]) -> None:
        producer = self._producer
        with writing(self._transactional_id):
            producer.begin_transaction()
            try:
                sent = [
                    producer.send(each.topic, each.value, each.key.encode(), partition=each.partition)
                    for each in writes
                ]
                producer.flush(timeout=TIMEOUT_SECONDS)
                for future in sent:
                    future.get(timeout=TIMEOUT_SECONDS)
                producer.commit_transaction()
            except KeyboardInterrupt:
                with contextlib.suppress(KafkaError):
                    producer.abort_transaction()  # otherwise readers would wait for its timeout
                raise


def usable(record: object) -> bool:
    return getattr(record, "kind", "") != "unusable"


@contextlib.contextmanager
def writing(transactional_id: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        causes = (error, error.__cause__, *error.args)
        if any(isinstance(each, ProducerFencedError | InvalidProducerEpochError) for each in causes):
            raise UnreachableError("another run of this command has begun, and this one can commit no more") from error
        if any(isinstance(each, TransactionalIdAuthorizationFailedError) for each in causes):
            needed = f"it needs the ACLs Describe and Write of the transactional id {transactional_id!r}"
            raise UnreachableError(f"this user may not write in transactions: {needed}") from error
        if any(isinstance(each, TopicAuthorizationFailedError) for each in causes):
            raise UnreachableError("this user may not write into both topics: it needs the ACL Write") from error
        raise UnreachableError(f"Kafka does not take the records, run this again: {error!r}") from error
