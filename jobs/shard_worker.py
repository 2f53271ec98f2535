"""The worker of one shard: its reader, its processor, its heartbeats and its metrics. No Flink."""

import contextlib
import itertools
import logging
import queue
import threading
import time
import uuid
from typing import Any, NamedTuple, cast

from jobs.cleaning import clean
from jobs.feed_processor import HEARTBEAT_PREFIX, Batch, FeedProcessor, FeedState, Frame
from jobs.feeds.feed import Feed
from jobs.feeds.guarantee import GUARANTEES, explain, guarantee
from jobs.feeds.model import Shard
from jobs.feeds.request import Request
from jobs.kafka_topic import Partitions
from jobs.partitioning import keys_by_partition
from jobs.records import Counts, Record, token
from jobs.rejected_share import RejectedShare
from jobs.settings import CollectorSettings, read_secret_file
from jobs.websocket_connection import TooOld
from jobs.websocket_events import Connected, Disconnected, Event, Protocol, ResumeRejected, Subscribed, TooLarge
from jobs.websocket_reader import Reader

log = logging.getLogger(__name__)

BATCH_FRAMES = 500
# Holds many frames of half a kilobyte, or two of the largest frames.
BATCH_BYTES = 1_048_576
# Batches that wait for Kafka. While the queue is full, frames wait in the reader, and then the socket is read slower.
MAX_QUEUED_BATCHES = 40
# Memory of a batch, of a record and of an entry of FeedState.recent, in addition to their bytes: the Python objects.
BATCH_OVERHEAD_BYTES = 1_000
RECORD_OVERHEAD_BYTES = 210
RECENT_BYTES = 100
# While nothing arrives, heartbeats are late by at most this. After a frame, those behind it are awaited for a moment: a
# batch of few frames costs nearly as much as one of many.
IDLE_SECONDS = 0.1
GATHER_SECONDS = 0.005
HEARTBEAT_SECONDS = 1.0
# For so long after a connect, silence does not mean that the feed is quiet: the server may be preparing its replay.
REPLAY_GRACE_SECONDS = 10.0


class Result(NamedTuple):
    """A batch and the state of the feed after it. size: their approximate bytes in memory."""

    batch: Batch
    progress: FeedState
    size: int


class Results(queue.Queue[Result]):
    """The queue of results for Flink's thread. It is full with `most` results, or with `most_bytes`.

    So one result of any size always fits, and the last one may exceed `most_bytes`.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        super().__init__(most)
        self._most_bytes = most_bytes
        self._bytes = 0

    # Hooks of queue.Queue, which calls them with its lock held.
    def _qsize(self) -> int:
        return self.maxsize if self._bytes >= self._most_bytes else super()._qsize()

    def _put(self, item: Result) -> None:
        super()._put(item)
        self._bytes += item.size

    def _get(self) -> Result:
        item = super()._get()
        self._bytes -= item.size
        return item


class ShardWorker:
    """Processes the frames of one shard in a thread of its own.

    Flink's side of a bundle keeps the operator's thread waiting for a third of the time: hence the second thread. Each
    batch comes with the state of the feed after it. begin_live: start live instead of resuming.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        shard: Shard,
        progress: FeedState,
        partitions: Partitions,
        metrics: Any,
        *,
        begin_live: bool = False,
    ) -> None:
        self.shard = shard
        self.next_timer = 0
        self.feed = Feed(settings.feed, lambda: uuid.uuid4().hex)
        self._share = RejectedShare(settings.max_rejected_share)
        self._resumed = False
        self.processor = FeedProcessor(self.feed, shard, clean, progress)
        if begin_live:
            self.processor.on_resume_rejected()  # the skipped posts are reported as a gap
        self.reader = Reader(
            settings.websocket_url.read(),
            self._build_request,
            capacity=settings.buffer_frames,
            max_bytes=settings.buffer_bytes,
            max_frame=settings.max_frame_bytes,
            max_silence=settings.max_silence_seconds or None,
            ca_file=settings.websocket_ca_file,
            protocol=protocol_of(self.feed),
        )
        self._partitions = partitions
        self._partition_count = 0
        self._set_keys()
        self._results = Results(MAX_QUEUED_BATCHES, settings.buffer_bytes)
        self._newest_at = self._beat_at = time.monotonic()
        self._answered = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="collection", daemon=True)
        self._register(metrics.add_group("shard", str(shard.number)) if shard.of > 1 else metrics)
        shown = self.feed.name, *shard, self.processor.resume_from, explain(settings.feed)
        log.info("%s feed, shard %d of %d: resuming from %s; %s", *shown)
        self._started = Batch(
            events=[self._event("started", guarantee=guarantee(settings.feed), position=self._position_token())]
        )
        self.reader.start()
        self._thread.start()

    def next_batch(self) -> tuple[Batch, FeedState] | None:
        """The next batch and the state after it; None if there is none. Raises RuntimeError if a thread has died."""
        try:
            batch, progress, _ = self._results.get_nowait()
            return batch, progress
        except queue.Empty:
            if not (self.reader.alive() and self._thread.is_alive()):
                raise RuntimeError("the reader's or the worker's thread died; see the error that it logged") from None
            return None

    def stop(self) -> None:
        self._stopping.set()
        self.reader.stop()
        self._partitions.stop()
        self._thread.join(5)

    def _build_request(self, base: str, resume: bool) -> Request:
        position = self.processor.resume_from if resume else None
        return self.feed.request(base, position, self.shard, lambda path: read_secret_file("${file:...}", path))

    def _position_token(self) -> str | None:
        position = self.processor.resume_from
        return None if position is None else token(*position)

    def _event(self, what: str, at: int | None = None, **details: object) -> Record:
        return self.processor.event(what, int(time.time() * 1000) if at is None else at, **details)

    def _set_keys(self) -> None:
        """Set the keys of heartbeats: one for each partition of this shard.

        With several shards, each writes to partitions of its own. So a shard that is behind after a reconnect does not
        make the posts of another one late. Raises RuntimeError if there are fewer partitions than shards.
        """
        count = self._partitions.count
        if count == self._partition_count:
            return
        keys = keys_by_partition(count, HEARTBEAT_PREFIX)[self.shard.number :: self.shard.of]
        if not keys:
            raise RuntimeError(f"{count} partitions are fewer than the collector's parallelism, {self.shard.of}")
        self._partition_count = count
        self.processor.heartbeat_keys = keys
        self.processor.keys = keys if self.shard.of > 1 else None

    def _work(self) -> None:
        try:
            self._enqueue(self._started)
            while not self._stopping.is_set():
                self._set_keys()
                events = self.reader.dequeue(BATCH_FRAMES, BATCH_BYTES)
                batch = self._apply(events) if events else self._heartbeat()
                self.reader.ack()
                if batch is not None:
                    self._enqueue(batch)
                if not events:
                    self.reader.wait(IDLE_SECONDS)
                    time.sleep(GATHER_SECONDS)
        except Exception:
            log.exception("the worker's thread died")
            raise

    def _enqueue(self, batch: Batch) -> None:
        progress = self.processor.progress
        result = Result(batch, progress, size_of(batch, progress))
        while not self._stopping.is_set():
            with contextlib.suppress(queue.Full):
                self._results.put(result, timeout=0.1)
                return

    def _apply(self, events: list[Event]) -> Batch:
        """The batch for these events, in order."""
        if set(map(type, events)) == {Frame}:  # nearly always
            return self._act_on(self._process(cast("list[Frame]", events)))
        batch = Batch()
        for is_frame, group in itertools.groupby(events, lambda event: isinstance(event, Frame)):
            if is_frame:
                batch.add(self._process(cast("list[Frame]", list(group))))
                continue
            for event in group:
                self._apply_to(batch, event)
        return self._act_on(batch)

    def _process(self, frames: list[Frame]) -> Batch:
        counts = self.processor.counts
        control, rejected, parts = counts.control, counts.rejected, parts_of(counts)
        batch = self.processor.process(frames)
        if counts.control - control < len(frames):  # frames of the protocol do not end the quiet of the feed
            self._newest_at = time.monotonic()
            self._answered = True
        if self._share.is_above(parts_of(counts) - parts, counts.rejected - rejected):
            reason = "nearly all frames are rejected, see MAX_REJECTED_SHARE and the topic of rejections"
            batch.events.append(self._event("stopped", reason=reason))
            self.reader.stop_asking(reason)
        return batch

    def _apply_to(self, batch: Batch, event: Event) -> None:
        if isinstance(event, Subscribed):
            self._resumed = event.resumed
            self.processor.on_subscribed(event.resumed)
            self._answered = False
        elif isinstance(event, Connected):
            self.processor.server = event.server
            position = self._position_token() if self._resumed else None
            batch.events.append(self._event("resumed" if self._resumed else "connected", event.at, position=position))
        elif isinstance(event, Disconnected):
            self.processor.server = event.server
            batch.events.append(self._event(event.what, event.at, reason=event.reason))
        elif isinstance(event, ResumeRejected):
            self.processor.on_resume_rejected()
        elif isinstance(event, TooLarge):
            batch.add(self.processor.skip(f"a frame larger than {event.limit} bytes", int(time.time() * 1000)))

    def _act_on(self, batch: Batch) -> Batch:
        """Log the errors of the batch, and end the connection if the server has reported an error."""
        for error in batch.errors:
            log.error(error)
        for means, reason in batch.failures:
            self.reader.fail(means, f"the server reports an error: {reason}")
        return batch

    def _heartbeat(self) -> Batch | None:
        """Heartbeats for each partition, once a second, while the feed is known to have no older post to send."""
        now = time.monotonic()
        # In this order: a frame that arrives after the pong is still unacked, or newer than the pong.
        caught_up_at, connected_at = self.reader.caught_up_at, self.reader.connected_at
        if now - self._beat_at < HEARTBEAT_SECONDS or self.reader.has_unacked():
            return None
        if self.reader.connected:
            self.processor.on_connected_until(int(time.time() * 1000))
        if not self.feed.resumable:
            quiet = now - self._newest_at
        elif connected_at is None:
            return None
        else:
            quiet = caught_up_at - (self._newest_at if self._answered else connected_at + REPLAY_GRACE_SECONDS)
        self._beat_at = now
        return Batch(posts=self.processor.heartbeat(int(time.time() * 1000), int(quiet * 1000)))

    def _register(self, metrics: Any) -> None:
        counts, reader = self.processor.counts, self.reader
        for name in vars(counts):
            metrics.gauge(f"collector_{name}", lambda name=name: getattr(counts, name))
        metrics.gauge("collector_connected", lambda: int(reader.connected))
        metrics.gauge("collector_reconnects", lambda: reader.connects)
        metrics.gauge("collector_silences", lambda: reader.silences)
        metrics.gauge("collector_refused", lambda: int(reader.refused))
        strength = GUARANTEES.index(guarantee(self.feed.definition))
        metrics.gauge("collector_guarantee", lambda: strength)
        metrics.gauge("collector_seconds_behind", self._seconds_behind)
        metrics.gauge("collector_seconds_since_frame", lambda: int(time.monotonic() - self._newest_at))

    def _seconds_behind(self) -> int:
        """The age of the newest post, minus the time for which the feed is known to have had no newer one."""
        newest = self.processor.progress.timestamp
        if not newest:
            return 0
        quiet = max(0.0, self.reader.caught_up_at - self._newest_at)
        return max(0, int(time.time() - newest / 1000 - quiet))


def parts_of(counts: Counts) -> int:
    """How many frames, or parts of frames with several posts, these counts are about."""
    return counts.posts + counts.emptied + counts.ignored + counts.control + counts.rejected + counts.overlap


def protocol_of(feed: Feed) -> Protocol:
    """What the reader needs to know of the feed."""
    definition = feed.definition
    keepalive = definition.keepalive
    return Protocol(
        expect=feed.expect,
        within=definition.open.get("within", 10),
        pings=keepalive.get("pings", True),
        every=keepalive.get("every", 20),
        max_age=keepalive.get("max_age") or None,
        too_old=tuple(TooOld(**rule) for rule in definition.resume.get("too_old", ())),
        client_certificate=definition.connect.get("client_certificate"),
    )


def size_of(batch: Batch, progress: FeedState) -> int:
    """The approximate bytes of these in memory."""
    records = [*batch.posts, *batch.rejected, *batch.events]
    overhead = BATCH_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES * len(records) + RECENT_BYTES * len(progress.recent)
    texts = sum(len(key) + len(value) for key, value in records)
    return overhead + texts + sum(map(str.__sizeof__, batch.errors))
