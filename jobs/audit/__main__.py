"""The audit as a command: `python -m jobs.audit`, with the aggregator's environment. See reconciliation.py.

Exit status: 0 if everything balances, 1 if it does not, 2 if Kafka or MongoDB cannot be read or a setting is wrong, 130
after Ctrl-C.

AUDIT_WAIT_SECONDS (60): for how long the audit waits for posts that are still on their way.
FEED (simulator): the collector's feed. If its numbers are dense, they are counted. Its secrets are not read.
MONGODB_RETENTION_DAYS (0: never): older documents are deleted, so windows of that age are not checked.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from bson.codec_options import CodecOptions
from kafka import KafkaConsumer
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure, PyMongoError

from jobs.audit.kafka_reader import KafkaReader, Notify, ProgressLine, UnreachableError, open_consumer
from jobs.audit.reader import Document
from jobs.audit.reconciliation import CONTIGUOUS_SOURCES, AuditSettings, audit
from jobs.audit.report import Report
from jobs.command import interruptible, silence_kafka, write
from jobs.settings import AggregatorSettings, EnvReader, SettingError, read_aggregator_settings

TIMEOUT_MS = 15_000
MongoCollection = Collection[dict[str, Any]]


class KafkaAndMongoReader(KafkaReader):
    """The Reader (see reader.py) of Kafka and MongoDB. Its methods raise UnreachableError."""

    def __init__(self, consumer: KafkaConsumer, collection: MongoCollection, progress: ProgressLine) -> None:
        super().__init__(consumer, progress)
        self._collection = collection

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
    with (
        open_consumer(settings.bootstrap_servers, settings.security) as consumer,
        open_collection(settings) as collection,
    ):
        yield KafkaAndMongoReader(consumer, collection, ProgressLine(notify))


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
        window_buckets=aggregator.window_buckets,
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
    silence_kafka()
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


if __name__ == "__main__":
    interruptible()
    sys.exit(main())
