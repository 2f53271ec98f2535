"""Bytewax: the same work in its idiom. See `benchmarks.loops` for the arguments.

Both parts save snapshots for recovery, and are at least once: its sinks repeat what came after the last snapshot. The
source of the WebSocket and the sink of the store are hand-written, since there are none.
"""

import sys
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import orjson
import pymongo
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition, batch_async
from bytewax.operators import windowing
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from websockets.asyncio.client import connect

from benchmarks.loops import GRACE_MS, WINDOW_MS, window_document
from benchmarks.peers import arguments
from jobs.cleaning import clean
from jobs.defaults import DATABASE
from jobs.worldometers import CachedCounters

BATCH = 1_000
EPOCH = datetime.fromtimestamp(0, UTC)


async def frames(url: str) -> AsyncIterator[Any]:
    async with connect(url, compression=None) as connection:
        async for frame in connection:
            yield orjson.loads(frame)


class PostsPartition(StatefulSourcePartition[Any, int]):  # type: ignore[misc]
    """Reads the simulator from the number after the last one that is in its snapshot."""

    def __init__(self, url: str, seq: int) -> None:
        self._seq = seq
        self._batches = batch_async(frames(url.replace("since=0", f"since={seq}")), timedelta(milliseconds=100), BATCH)

    def next_batch(self) -> Iterable[Any]:
        batch: list[Any] = next(self._batches)
        if batch:
            self._seq = batch[-1]["seq"]
        return batch

    def snapshot(self) -> int:
        return self._seq


class Posts(FixedPartitionedSource[Any, int]):  # type: ignore[misc]
    def __init__(self, url: str) -> None:
        self._url = url

    def list_parts(self) -> list[str]:
        return ["posts"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> PostsPartition:  # noqa: ARG002
        return PostsPartition(self._url, resume_state or 0)


class Documents(DynamicSink[Any]):  # type: ignore[misc]
    """Upserts documents by their hash."""

    def __init__(self, uri: str, collection: str) -> None:
        self._uri, self._collection = uri, collection

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "DocumentsPartition":  # noqa: ARG002
        return DocumentsPartition(pymongo.MongoClient(self._uri)[DATABASE][self._collection])


class DocumentsPartition(StatelessSinkPartition[Any]):  # type: ignore[misc]
    def __init__(self, documents: pymongo.collection.Collection[dict[str, object]]) -> None:
        self._documents = documents

    def write_batch(self, items: list[Any]) -> None:
        for document in items:
            self._documents.update_one({"_id": document["hash"]}, {"$set": document}, upsert=True)


def collector(url: str, kafka: str, topic: str, _: str) -> Dataflow:
    flow = Dataflow("collector")

    def message(post: dict[str, Any]) -> KafkaSinkMessage[bytes, bytes]:
        key = f"simulator-{post['feed']}-{post['seq']}"
        value = {"id": key, "text": clean(post["text"]), "timestamp": post["timestamp"], "source": "simulator"}
        return KafkaSinkMessage(key.encode(), orjson.dumps(value))

    messages = op.map("message", op.input("posts", flow, Posts(url)), message)
    op.output("topic", messages, KafkaSink([kafka], topic))
    return flow


def aggregator(kafka: str, topic: str, _: str, uri: str, collection: str, page: str) -> Dataflow:
    flow = Dataflow("aggregator")
    counters = CachedCounters(page)
    committed = {"isolation.level": "read_committed"}

    def post(message: KafkaSourceMessage[bytes, bytes]) -> tuple[datetime, str | None]:
        record = orjson.loads(message.value)
        return datetime.fromtimestamp(record["timestamp"] / 1000, UTC), record["text"]

    def document(window: tuple[str, tuple[int, list[tuple[datetime, str | None]]]]) -> dict[str, object]:
        number, found = window[1]
        return window_document(topic, number, [text for _, text in found if text is not None], counters)

    records = op.input("topic", flow, KafkaSource([kafka], [topic], add_config=committed, batch_size=BATCH))
    posts = op.key_on("key", op.map("post", records, post), lambda _: "all")
    clock = windowing.EventClock(lambda found: found[0], timedelta(milliseconds=GRACE_MS))
    windower = windowing.TumblingWindower(timedelta(milliseconds=WINDOW_MS), EPOCH)
    windows = windowing.collect_window("window", posts, clock, windower, ordered=False)
    op.output("documents", op.map("document", windows.down, document), Documents(uri, collection))
    return flow


def main() -> None:
    side, *rest = sys.argv[1:]
    folder = Path(arguments.state_folder())
    init_db_dir(folder, 1)
    make: dict[str, Callable[..., Dataflow]] = {"collector": collector, "aggregator": aggregator}
    cli_main(
        make[side](*rest),
        workers_per_process=1,
        epoch_interval=timedelta(seconds=arguments.CHECKPOINT_SECONDS),
        recovery_config=RecoveryConfig(folder),
    )


if __name__ == "__main__":
    main()
