"""Reads the number of partitions of the topic of posts, and the newest records in them."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, KafkaTimeoutError, SaslAuthenticationFailedError

from jobs.kafka_security import client_options, read_files
from jobs.patience import RETRY_SECONDS, patiently
from jobs.settings import AggregatorSettings, CollectorSettings

log = logging.getLogger(__name__)

BOOTSTRAP_TIMEOUT_MS = 30_000
# A broker that rejects a password closes the connection. In every other attempt kafka-python sees only that.
RECONNECT_BACKOFF_MS = 500
# Offsets before the end of each partition that are read first. The last offset of a transaction holds no record.
END_OFFSETS = 64
# Without progress for so long, a read fails and is repeated. No open transaction causes that: to a consumer of
# committed records, Kafka reports the last stable offset as the end.
SILENT_SECONDS = 30.0
PARTITIONS_SECONDS = 1.0


class NotReadyError(Exception):
    """Kafka or the topic is not available to this user. The text names what is missing, and its settings."""


def count_partitions_patiently(
    settings: CollectorSettings | AggregatorSettings, sleep: Callable[[float], None] = time.sleep
) -> int:
    """The number of partitions. Waits until Kafka, the topics and the user are available, and logs each failure.

    A job that fails here stays FAILED, although Kafka may only be restarting. Raises SettingError for a file that
    cannot be used.
    """
    return patiently(
        lambda: count_partitions(settings, read_files(settings.security)),
        (NotReadyError,),
        lambda error: f"Kafka: {error}",
        sleep,
    )


def count_partitions(settings: CollectorSettings | AggregatorSettings, password: str) -> int:
    """The number of partitions of the topic of posts. Raises NotReadyError, also without one of the other topics."""
    where = f"KAFKA_BOOTSTRAP_SERVERS={settings.bootstrap_servers!r}"
    security = settings.security
    options = {"bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS, "reconnect_backoff_max_ms": RECONNECT_BACKOFF_MS}
    with retried_errors() as retried:
        try:
            with contextlib.closing(consumer(settings, password, **options)) as client:
                counts = {name: client.partitions_for_topic(topic) for name, topic in topics_of(settings)}
        except (KafkaError, OSError) as error:
            if any(isinstance(reason, SaslAuthenticationFailedError) for reason in retried):
                problem = (
                    f"{where} refuses this user with the password in KAFKA_PASSWORD_FILE={security.password_file!r}"
                )
                raise NotReadyError(f"KAFKA_USERNAME={security.username!r}: Kafka at {problem}") from error
            reason = root_cause(retried, error)
            problem = f"no Kafka answers there with KAFKA_SECURITY_PROTOCOL={security.protocol}: {reason}"
            raise NotReadyError(f"{where}: {problem}") from error
    for name, topic in topics_of(settings):
        if not counts[name]:
            seen = f" that KAFKA_USERNAME={security.username!r} may describe" if security.username else ""
            raise NotReadyError(f"{name}={topic!r}: Kafka at {where} has no such topic{seen}")
    return len(counts["KAFKA_TOPIC"])


def topics_of(settings: CollectorSettings | AggregatorSettings) -> list[tuple[str, str]]:
    """(setting, topic) of the topics that the job reads or writes. Without one of them the job would never write."""
    topics = [("KAFKA_TOPIC", settings.topic), ("KAFKA_REJECTED_TOPIC", settings.rejected_topic)]
    if isinstance(settings, CollectorSettings):
        topics.append(("KAFKA_EVENTS_TOPIC", settings.events_topic))
    return topics


def newest_values(settings: CollectorSettings, password: str, look_back_ms: int) -> list[bytes]:
    """The values of the committed records at the end of each partition. Raises KafkaError.

    They are at least the newest record, and all records that Kafka got within `look_back_ms` before it.
    """
    with contextlib.closing(consumer(settings, password, isolation_level="read_committed")) as client:
        numbers = client.partitions_for_topic(settings.topic) or ()
        return [
            value
            for number in sorted(numbers)
            for value in newest_of_partition(client, TopicPartition(settings.topic, number), look_back_ms)
        ]


def newest_of_partition(client: KafkaConsumer, partition: TopicPartition, look_back_ms: int) -> list[bytes]:
    client.assign([partition])
    first, end = client.beginning_offsets([partition])[partition], client.end_offsets([partition])[partition]
    offsets = END_OFFSETS
    while True:
        start = max(first, end - offsets)
        records = read_from(client, partition, start, end)
        if start == first or (records and records[0].timestamp <= records[-1].timestamp - look_back_ms):
            return [record.value for record in records if record.value is not None]
        offsets *= 8


def read_from(client: KafkaConsumer, partition: TopicPartition, start: int, end: int) -> list[Any]:
    """Return the committed records from offset `start` to `end`, at most the last stable offset.

    Raises KafkaTimeoutError when nothing comes for SILENT_SECONDS: what was read until then is not the end.
    """
    client.seek(partition, start)
    records: list[Any] = []
    progress_at = time.monotonic()
    while client.position(partition) < end:
        before = client.position(partition)
        records += client.poll(timeout_ms=500).get(partition, [])
        if client.position(partition) > before:
            progress_at = time.monotonic()
        elif time.monotonic() - progress_at >= SILENT_SECONDS:
            raise KafkaTimeoutError(f"Kafka sent nothing of {partition} for {SILENT_SECONDS:g} s")
    return records


def newest_values_patiently(settings: CollectorSettings, password: str, look_back_ms: int) -> list[bytes]:
    """The same as `newest_values`. Waits until Kafka is available, and logs each failure."""
    return patiently(
        lambda: newest_values(settings, password, look_back_ms),
        (KafkaError, OSError),
        lambda error: f"Kafka at {settings.bootstrap_servers}, to read the end of the topic: {error!r}",
    )


class Partitions:
    """The number of partitions of the topic. A thread keeps `count` up to date."""

    def __init__(self, settings: CollectorSettings, password: str, count: int) -> None:
        self.count = count
        self._settings = settings
        self._password = password
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partitions", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(KafkaError, OSError):  # Kafka is unavailable: try again
                self._watch()
            self._stopping.wait(RETRY_SECONDS)

    def _watch(self) -> None:
        settings = self._settings
        options = client_options(settings.security, self._password)
        with contextlib.closing(
            KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers, bootstrap_timeout_ms=5_000, **options)
        ) as client:
            while not self._stopping.wait(PARTITIONS_SECONDS):
                (found,) = client.describe_topics([settings.topic])
                count = len(found["partitions"])
                if count > self.count:  # 0 while the topic's leader is being elected
                    log.info("topic %s has %d partitions now, before it had %d", settings.topic, count, self.count)
                    self.count = count


def consumer(settings: CollectorSettings | AggregatorSettings, password: str, **options: object) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers,
        enable_auto_commit=False,
        **client_options(settings.security, password),
        **options,
    )


@contextlib.contextmanager
def retried_errors() -> Iterator[list[Exception]]:
    """Collects the errors that kafka-python retries until it fails with a timeout. Only its log names them."""
    errors: list[Exception] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found = [value for value in record.args or () if isinstance(value, Exception)]
            errors.extend(error for error in found if not isinstance(error, KafkaTimeoutError))

    logger, handler = logging.getLogger("kafka.net.manager"), Handler(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield errors
    finally:
        logger.removeHandler(handler)


def root_cause(errors: Sequence[Exception], otherwise: Exception) -> Exception:
    """The newest error that is not a timeout, with which the last of several attempts often ends.

    Without one: the newest of `errors`, or `otherwise`.
    """
    causes = [error for error in errors if "timed out" not in str(error)]
    return [otherwise, *errors, *causes][-1]
