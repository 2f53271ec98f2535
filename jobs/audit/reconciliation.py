"""Checks that every post is accounted for: the feed's numbers against the topic, the topic against the documents.

`audit` reads through a `Reader`, the only part that knows Kafka and MongoDB, and returns a `Report`. No I/O here.

Topic and documents change during the audit. So the topic is read before the documents, and whatever does not balance is
read again. The first reading keeps a checksum of each window. Texts are compared only for windows that do not balance.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from jobs.audit.numbers import (
    EMPTIED,
    SAMPLES,
    Gap,
    Heartbeat,
    NumberSeries,
    NumberSet,
    NumberSum,
    SourceCount,
    parse_gap,
    parse_position,
    positions_of,
    read_object,
)
from jobs.audit.reader import Document, OffsetRange, PartitionRange, Reader, Record
from jobs.audit.report import Mismatch, ReplaySum, Report, TopicSum
from jobs.audit.windows import (
    Checksum,
    Comparison,
    ParsedDocument,
    ParsedRecord,
    Period,
    PostText,
    WindowGroup,
    WindowGrouping,
    WindowLayouts,
    document_problems,
    hash_text,
    in_documents,
    malformed_document,
    parse_record,
    unmatched_document,
    window_mismatch,
)
from jobs.buckets import WHOLE
from jobs.documents import iso, unix
from jobs.event_time import MAX_AHEAD_MS
from jobs.feeds.definition import PRESETS, load
from jobs.layouts import Layout
from jobs.records import DISCARDED, REPLAYED, is_marker

# Their positions are numbers without gaps.
CONTIGUOUS_SOURCES = frozenset(feed.name for feed in map(load, PRESETS) if feed.dense)

WRITE_GRACE_MS = 2_000  # a closed window is written within this time
DEFAULT_WAIT_SECONDS = 60.0
RETRY_SECONDS = 2.0
NOTIFY_SECONDS = 5.0
MIN_REPEATED_READS = 2  # what does not balance is read again at least so often
MAX_COMPLETE_READS = 3  # everything is read again if documents of unknown window lengths appear
FIRST_RECORDS = 100  # the first records of a partition show since when retention has left it complete
SHARD_RECORDS = 20_000  # within so many records of a partition, each shard has one
INDEX_INTERVAL_RECORDS = 5_000  # records of a partition per entry of the time index
MAX_COMPARED_GROUPS = 50  # whose texts are compared
MAX_QUERIES = 200  # to read the documents of some periods; above that, one query reads all of them
MAX_SOURCES = 50  # that are counted separately
MAX_AUDIT_MS = 600_000  # duration of an audit
DAY_MS = 86_400_000
AFTER_ALL_TIMESTAMPS = "\U0010ffff"  # sorts after every timestamp


@dataclass(frozen=True)
class AuditSettings:
    """The settings of the aggregator that the audit needs, and the limits of the audit.

    now_ms: the time of the audit, ms since 1970 UTC.
    idle_ms: a partition without a record for so long holds no window open; 0: no partition is ever idle.
    retention_days: MongoDB deletes documents after so many days; 0: never.
    wait_seconds: for how long the audit waits for posts that are still on their way.
    grace_ms: the aggregator writes a closed window within this time.
    contiguous_sources: the sources whose positions are numbers without gaps.
    window_buckets: over how many the aggregator spreads a window now. Documents of other layouts are found too.
    """

    topic: str
    rejected_topic: str
    window_seconds: int
    out_of_order_ms: int
    now_ms: int
    idle_ms: int = 0
    retention_days: int = 0
    wait_seconds: float = DEFAULT_WAIT_SECONDS
    grace_ms: int = WRITE_GRACE_MS
    contiguous_sources: frozenset[str] = CONTIGUOUS_SOURCES
    window_buckets: int = 1


def audit(
    reader: Reader,
    settings: AuditSettings,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    notify: Callable[[str], None] = lambda _: None,
) -> Report:
    """Compute both sums until they balance, at most for `wait_seconds`.

    clock: seconds, monotonic.
    notify: is called with one line about what the audit waits for.
    """
    reconciliation = Reconciliation(reader, settings)
    reads_left = MAX_COMPLETE_READS
    end, notified, rounds = clock() + settings.wait_seconds, float("-inf"), 0
    complete = False
    while True:
        while not complete and reads_left:
            complete = reconciliation.read()
            reads_left -= 1
            end = clock() + settings.wait_seconds
        evaluation = reconciliation.evaluate()
        if evaluation.balanced or (rounds >= MIN_REPEATED_READS and not (evaluation.pending and clock() < end)):
            return reconciliation.report(evaluation)
        if clock() - notified >= NOTIFY_SECONDS:
            notified = clock()
            notify(
                f"reading again: {evaluation.pending or 'what does not balance'} (up to {max(0, end - notified):.0f} s)"
            )
        if rounds:
            sleep(RETRY_SECONDS)
        complete = reconciliation.read_again(evaluation)
        rounds += 1


@dataclass(frozen=True)
class Evaluation:
    """The sums at one moment.

    closed, open: groups of closed and of open windows.
    unmatched: documents whose hash matches no window.
    numbers: the first sums.
    old_documents, expired, missing_rejections, orphaned_rejections: see TopicSum.
    """

    closed: list[WindowGroup]
    open: list[WindowGroup]
    unmatched: list[ParsedDocument]
    numbers: list[NumberSum]
    old_documents: int
    expired: int
    missing_rejections: int
    orphaned_rejections: int

    @cached_property
    def unbalanced(self) -> list[WindowGroup]:
        return [group for group in self.closed if not group.balanced]

    @property
    def pending(self) -> str:
        """What may still arrive, as a text; "" if nothing."""
        short = [group for group in self.unbalanced if group.min_missing]
        missing = sum(each.missing for each in self.numbers)
        parts = [
            f"{len(short)} windows lack posts, the first ends at {iso(short[0].end // 1000)}" if short else "",
            f"{self.missing_rejections} records are not rejected yet" if self.missing_rejections else "",
            f"{missing} numbers are missing" if missing else "",
        ]
        return "; ".join(filter(None, parts))

    @property
    def balanced(self) -> bool:
        wrong = self.unbalanced or self.unmatched or self.missing_rejections or self.orphaned_rejections
        return not wrong and all(each.balanced for each in self.numbers)


class TimeIndexEntry(NamedTuple):
    """Offsets of consecutive records of a partition, and the oldest and the newest event time of their posts, ms."""

    begin: int
    end: int
    oldest: int
    newest: int


@dataclass
class Partition:
    """Everything that is known about a partition of the topic.

    offsets: the offsets that it holds.
    rejected: the offsets that the aggregator rejected.
    rejected_found: those of `rejected` at which there is a record.
    missing_rejections: the offsets of records that must be rejected and are not.
    newest_event_time: ms since 1970 UTC.
    newest_record_timestamp: of the Kafka records, ms since 1970 UTC.
    first_records: the first record with a position, by source.
    time_index: an entry for every INDEX_INTERVAL_RECORDS records.
    """

    offsets: OffsetRange
    rejected: NumberSet = field(default_factory=NumberSet)
    rejected_found: NumberSet = field(default_factory=NumberSet)
    missing_rejections: NumberSet = field(default_factory=NumberSet)
    newest_event_time: int | None = None
    newest_record_timestamp: int | None = None
    first_records: dict[str, ParsedRecord] = field(default_factory=dict)
    time_index: list[TimeIndexEntry] = field(default_factory=list)

    def add_to_time_index(self, offset: int, timestamp: int) -> None:
        entry = self.time_index[-1] if self.time_index else None
        if entry is None or offset - entry.begin >= INDEX_INTERVAL_RECORDS:
            self.time_index.append(TimeIndexEntry(offset, offset + 1, timestamp, timestamp))
        else:
            oldest, newest = min(entry.oldest, timestamp), max(entry.newest, timestamp)
            self.time_index[-1] = TimeIndexEntry(entry.begin, offset + 1, oldest, newest)

    @property
    def orphaned_rejections(self) -> Iterator[int]:
        """The offsets that were rejected and hold no record."""
        begin, end = self.offsets
        for first, last in self.rejected.runs(begin, end - 1) if begin < end else ():
            for low, high in self.rejected_found.missing_runs(first, last):
                yield from range(low, high + 1)


class Reconciliation:
    """Holds what was read, and computes both sums."""

    def __init__(self, reader: Reader, settings: AuditSettings) -> None:
        self._reader = reader
        self._settings = settings
        self._window = settings.window_seconds * 1000
        self._max_event_time = settings.now_ms + MAX_AHEAD_MS + MAX_AUDIT_MS
        self._layouts = WindowLayouts(settings.topic, Layout(settings.window_seconds, settings.window_buckets))
        # Starts of windows that overlap documents of another window length. Their posts are counted per second.
        self._overlapped_windows: set[int] = set()
        self._clear()

    def _clear(self) -> None:
        self._counted_per_second = frozenset(self._overlapped_windows)
        self._partitions: dict[int, Partition] = {}
        self._rejected_offsets: dict[int, OffsetRange] = {}
        # By partition: offsets of new rejections. Their records may have been read before.
        self._new_rejections: dict[int, NumberSet] = {}
        # Keys of rejections that name no known partition of the topic.
        self._unassigned_keys: set[str] = set()
        # By source and numbering.
        self._series: dict[tuple[str, str], NumberSeries] = {}
        # Of sources without contiguous numbers.
        self._counts: dict[str, Counter[str]] = {}
        self._other_gaps: dict[str, list[Gap]] = {}
        self._unreadable = self._others = self._others_rejected = 0
        # The rejections that are marked as done, and the posts that are replays of some.
        self._marked: Counter[str] = Counter()
        self._replays: Counter[tuple[str, str]] = Counter()
        # The posts by the start of their window, or of their second (see `_start_of`), ms.
        self._sums_by_start: dict[int, Checksum] = {}
        # By the end of the window, ms.
        self._documents: dict[int, list[ParsedDocument]] = {}
        self._malformed: set[tuple[str, str]] = set()
        # Before this event time (ms) the topic may have lost posts.
        self._complete_from = 0
        self._oldest_event_time: int | None = None
        self._closed_until: int | None = None

    def read(self) -> bool:
        """Read everything. False if documents of a new window length require another complete reading."""
        self._clear()
        self._partitions = {
            number: Partition(offsets) for number, offsets in self._reader.offset_ranges(self._settings.topic).items()
        }
        begin = self._read_first_records()
        for key, timestamp in self._reader.keys(iso(begin // 1000)) if begin is not None else ():
            self._note_window_length(key, timestamp)
        self._counted_per_second = frozenset(self._overlapped_windows)
        self._read_rejected()
        self._read_topic([PartitionRange(number, *each.offsets) for number, each in self._partitions.items()])
        self._new_rejections.clear()
        self._closed_until = self._find_closed_until()
        self._set_deleted_up_to()
        for series in self._series.values():
            series.set_check_up_to()
        if self._oldest_window_start is not None:
            self._read_documents(self._oldest_window_start, None)
        return not self._has_new_overlaps()

    def read_again(self, evaluation: Evaluation) -> bool:
        """Read the new records, and the documents of everything that does not balance. False: see `read`."""
        ranges = []
        for number, offsets in self._reader.offset_ranges(self._settings.topic).items():
            partition = self._partitions.setdefault(number, Partition(OffsetRange(0, 0)))
            ranges.append(PartitionRange(number, partition.offsets.end, offsets.end))
            partition.offsets = OffsetRange(partition.offsets.begin, max(partition.offsets.end, offsets.end))
        unassigned_keys, self._unassigned_keys = self._unassigned_keys, set()
        for key in unassigned_keys:  # their partitions may be new
            self._add_rejected_key(key)
        self._read_rejected()
        self._read_topic(ranges)
        self._apply_new_rejections()
        lengths = {layout.seconds for layout in self._layouts.known}
        longest = max(lengths) * 1000 if len(lengths) > 1 else 0
        periods = [(group.start, group.end + longest) for group in evaluation.unbalanced]
        periods += [(each.end - 1000, each.end) for each in evaluation.unmatched]
        for begin, end in merge_periods(periods):
            for window_end in [each for each in self._documents if begin < each <= end]:
                del self._documents[window_end]
            self._read_documents(begin, end)
        return not self._has_new_overlaps()

    def _read_first_records(self) -> int | None:
        """Set `_complete_from`, since when the topic holds all posts.

        Returns a time (ms) before which the topic holds no post; None for an empty topic.
        """
        begin: int | None = None
        for number, partition in self._partitions.items():
            records = self._reader.records(self._settings.topic, [PartitionRange(number, *partition.offsets)])
            seen = [parse_record(record.value, self._max_event_time) for record in islice(records, FIRST_RECORDS)]
            times = [each.timestamp for each in seen if each.kind != "unusable"]
            if partition.offsets.begin > 0:
                self._complete_from = max(self._complete_from, max(times, default=self._settings.now_ms))
            if times:
                begin = min(times) if begin is None else min(begin, *times)
        return None if begin is None else begin - begin % self._window

    def _note_window_length(self, key: str, timestamp: str) -> None:
        """If the document has another window length: from the next complete reading on, count its posts per second."""
        try:
            found = self._layouts.find(key, timestamp)
        except (TypeError, ValueError):
            return
        if found and found.seconds != self._settings.window_seconds:
            end = unix(timestamp) * 1000
            start = end - found.seconds * 1000
            self._overlapped_windows.update(range(start - start % self._window, end, self._window))

    def _has_new_overlaps(self) -> bool:
        closed = self._closed_until
        return closed is not None and any(
            start < closed for start in self._overlapped_windows - self._counted_per_second
        )

    def _read_rejected(self) -> None:
        ranges = []
        for number, offsets in self._reader.offset_ranges(self._settings.rejected_topic).items():
            before = self._rejected_offsets.get(number)
            ranges.append(PartitionRange(number, before.end if before else offsets.begin, offsets.end))
            self._rejected_offsets[number] = OffsetRange(before.begin if before else offsets.begin, offsets.end)
        for record in self._records(self._settings.rejected_topic, ranges):
            rejection = read_object(record.value)
            source = rejection.get("source") if rejection else None
            if rejection is not None and is_marker(rejection):
                self._add_marker(rejection)
            elif rejection is None or not isinstance(source, str):
                self._unreadable += 1
            elif source == self._settings.topic:
                self._add_rejected_key((record.key or b"").decode(errors="replace"))
            else:
                self._add_collector_rejection(source, rejection, record.partition)

    def _add_marker(self, marker: Mapping[str, object]) -> None:
        places, posts = marker["of"], marker.get("posts")
        self._marked[str(marker["code"])] += len(places) if isinstance(places, list) else 0
        self._marked["posts"] += posts if isinstance(posts, int) else 0

    def _records(self, topic: str, ranges: Iterable[PartitionRange]) -> Iterable[Record]:
        wanted = [each for each in ranges if each.begin < each.end]
        return self._reader.records(topic, wanted) if wanted else ()

    def _add_rejected_key(self, key: str) -> None:
        """Add a rejection by the aggregator, identified by its key. It may occur twice."""
        found = re.fullmatch(re.escape(self._settings.topic) + "/([0-9]{1,9})/([0-9]{1,18})", key, re.ASCII)
        number, offset = (int(found[1]), int(found[2])) if found else (-1, -1)
        if number not in self._partitions:
            self._unassigned_keys.add(key)
        elif self._partitions[number].rejected.add(offset) and offset >= self._partitions[number].offsets.begin:
            self._new_rejections.setdefault(number, NumberSet()).add(offset)

    def _add_collector_rejection(self, source: str, rejection: Mapping[str, object], partition: int) -> None:
        """Add a rejection by the collector: a frame, an emptied post, or a gap."""
        contiguous = source in self._settings.contiguous_sources
        if (found := parse_gap(rejection)) is not None:
            numbering, gap = found
            if contiguous:
                series = self._series_of(source, numbering)
                series.gaps.append(gap)
                self._note_deleted_rejections(series, partition, gap.first)
            else:
                self._other_gaps.setdefault(source, []).append(gap)
            return
        emptied = rejection.get("reason") == EMPTIED
        for position in positions_of(rejection):
            numbering, number = parse_position(position)
            if contiguous and number is not None:
                series = self._series_of(source, numbering)
                series.add_unpublished(number, emptied=emptied)
                self._note_deleted_rejections(series, partition, number)
            else:
                self._count(source, "emptied" if emptied else "rejected")

    def _note_deleted_rejections(self, series: NumberSeries, partition: int, number: int | None) -> None:
        """number: of the rejection. It matters if it is the first one that the partition still holds."""
        if number is not None and self._rejected_offsets[partition].begin > 0:
            series.deleted_up_to.setdefault(("rejected", partition), number - 1)

    def _series_of(self, source: str, numbering: str) -> NumberSeries:
        key = source, numbering
        if key not in self._series:
            self._series[key] = NumberSeries(source, numbering)
        return self._series[key]

    def _count(self, source: str, what: str) -> None:
        name = source if source in self._counts or len(self._counts) < MAX_SOURCES else "(others)"
        self._counts.setdefault(name, Counter())[what] += 1

    def _read_topic(self, ranges: Iterable[PartitionRange]) -> None:
        for record in self._records(self._settings.topic, ranges):
            partition = self._partitions[record.partition]
            seen = parse_record(record.value, self._max_event_time)
            rejected = record.offset in partition.rejected
            if rejected:
                partition.rejected_found.add(record.offset)
            if record.timestamp is not None:
                partition.newest_record_timestamp = max(partition.newest_record_timestamp or 0, record.timestamp)
            self._add_number(seen, partition)
            if seen.kind == "unusable" or (seen.kind == "heartbeat" and rejected):
                self._add_unusable(record.offset, partition, rejected=rejected)
            else:
                self._add_event_time(seen, record.offset, partition, rejected=rejected)

    def _add_unusable(self, offset: int, partition: Partition, *, rejected: bool) -> None:
        self._others += 1
        self._others_rejected += rejected
        if not rejected:
            partition.missing_rejections.add(offset)

    def _add_event_time(self, seen: ParsedRecord, offset: int, partition: Partition, *, rejected: bool) -> None:
        if not rejected:
            partition.newest_event_time = max(partition.newest_event_time or 0, seen.timestamp)
            self._oldest_event_time = (
                seen.timestamp if self._oldest_event_time is None else min(self._oldest_event_time, seen.timestamp)
            )
        if seen.kind == "post":
            partition.add_to_time_index(offset, seen.timestamp)
            if rejected:
                self._checksum(seen.timestamp).rejected += 1
            else:
                self._checksum(seen.timestamp).add(hash_text(seen.text))

    def _add_number(self, seen: ParsedRecord, partition: Partition) -> None:
        if seen.replayed:
            self._replays[seen.replayed, seen.id] += 1
            return
        if seen.number is None or seen.source not in self._settings.contiguous_sources:
            if seen.kind == "post":
                self._count(seen.source, "posts")
            return
        partition.first_records.setdefault(seen.source, seen)
        series = self._series_of(seen.source, seen.numbering)
        if seen.kind != "unusable":
            series.oldest_timestamp = min(series.oldest_timestamp, seen.timestamp)
        if seen.kind == "heartbeat":
            series.add_heartbeat(Heartbeat(seen.timestamp, seen.shards, seen.shard, seen.number))
        else:
            series.add_post(seen.number)

    def _start_of(self, timestamp: int) -> int:
        start = timestamp - timestamp % self._window
        return timestamp - timestamp % 1000 if start in self._counted_per_second else start

    def _checksum(self, timestamp: int) -> Checksum:
        start = self._start_of(timestamp)
        if start not in self._sums_by_start:
            self._sums_by_start[start] = Checksum(keep_hashes=self._is_partial(start))
        return self._sums_by_start[start]

    def _is_partial(self, moment: int) -> bool:
        """Whether retention may have deleted posts of the window that contains this event time (ms)."""
        return moment - moment % self._window < self._complete_from

    def _apply_new_rejections(self) -> None:
        """Count records that were read before as rejected, if their rejections are new."""
        new_rejections, self._new_rejections = self._new_rejections, {}
        ranges = [
            PartitionRange(number, first, last + 1)
            for number, offsets in new_rejections.items()
            for first, last in merge_close_runs(offsets.runs(0, self._partitions[number].offsets.end - 1))
        ]
        for record in self._records(self._settings.topic, ranges):
            partition = self._partitions[record.partition]
            if record.offset in new_rejections[record.partition] and partition.rejected_found.add(record.offset):
                self._reject(parse_record(record.value, self._max_event_time), record.offset, partition)

    def _reject(self, seen: ParsedRecord, offset: int, partition: Partition) -> None:
        if seen.kind == "post":
            self._checksum(seen.timestamp).reject(hash_text(seen.text))
            return
        partition.missing_rejections.discard(offset)
        self._others += seen.kind == "heartbeat"
        self._others_rejected += 1

    def _read_documents(self, after: int, until: int | None) -> None:
        last = AFTER_ALL_TIMESTAMPS if until is None else iso(until // 1000)
        for document in self._reader.documents(iso(after // 1000), last):
            try:
                self._store(document)
            except (AttributeError, TypeError, ValueError):
                self._malformed.add((str(document.hash), str(document.timestamp)))

    def _store(self, document: Document) -> None:
        """Raises ValueError, TypeError or AttributeError for a document that the aggregator cannot have written."""
        end, found = unix(document.timestamp) * 1000, self._layouts.find(document.hash, document.timestamp)
        self._note_window_length(document.hash, document.timestamp)
        start = end - found.seconds * 1000 if found else None
        checksum = Checksum(keep_hashes=self._is_partial(end if start is None else start))
        if isinstance(document.content, str):
            raise TypeError("content is not a list")
        for text in document.content:
            checksum.add(hash_text(text))
        bucket, chunk = (found.bucket, found.chunk) if found else (WHOLE, 0)
        parsed = ParsedDocument(document.hash, start, end, bucket, chunk, checksum)
        self._documents.setdefault(end, []).append(parsed)

    def _find_closed_until(self) -> int | None:
        """Windows that end up to this time (ms) are closed; None if no window is closed."""
        last = max((each.newest_record_timestamp or 0 for each in self._partitions.values()), default=0)
        newest = [each.newest_event_time for each in self._partitions.values() if not self._is_idle(each, last)]
        if not newest or None in newest:
            return None
        delay = self._settings.out_of_order_ms + self._settings.grace_ms
        return min(moment for moment in newest if moment is not None) - delay

    def _is_idle(self, partition: Partition, last: int) -> bool:
        """Whether the aggregator does not wait for this partition.

        last: the newest record timestamp of all partitions, ms.
        """
        newest = partition.newest_record_timestamp
        without_records = newest is not None and last - newest > self._settings.idle_ms
        return bool(self._settings.idle_ms) and (partition.newest_event_time is None or without_records)

    @property
    def _expired_until(self) -> int:
        """Documents of windows that begin before this time (ms) may be deleted already, or during the audit."""
        days = self._settings.retention_days
        return self._settings.now_ms + MAX_AUDIT_MS - days * DAY_MS if days else 0

    @property
    def _oldest_window_start(self) -> int | None:
        """The start of the oldest window in the topic, ms; None for an empty topic."""
        return (
            None
            if self._oldest_event_time is None
            else self._oldest_event_time - self._oldest_event_time % self._window
        )

    def _set_deleted_up_to(self) -> None:
        """Set the numbers up to which retention may have deleted posts."""
        for number, partition in self._partitions.items():
            for series in self._series.values() if partition.offsets.begin > 0 else ():
                first = partition.first_records.get(series.source)
                if first is not None and first.numbering == series.numbering:
                    series.deleted_up_to["topic", number] = self._highest_first_number(number, series, first)
                elif first is None or series.oldest_timestamp < first.timestamp:
                    series.deleted_up_to["topic", number] = None

    def _highest_first_number(self, number: int, series: NumberSeries, first: ParsedRecord) -> int:
        """Each shard has a first number in the partition. Returns the highest of them."""
        shards = series.oldest_heartbeat.shards if series.oldest_heartbeat else 1
        first_numbers = {} if shards > 1 else {0: first.number or 0}
        records = self._reader.records(
            self._settings.topic, [PartitionRange(number, *self._partitions[number].offsets)]
        )
        for record in islice(records, SHARD_RECORDS if shards > 1 else 0):
            seen = parse_record(record.value, self._max_event_time)
            if seen.number is not None and (seen.source, seen.numbering) == (series.source, series.numbering):
                shard = seen.shard if seen.kind == "heartbeat" else seen.number % shards
                first_numbers.setdefault(shard, seen.number)
            if len(first_numbers) >= shards:
                break
        return max(first_numbers.values())

    def evaluate(self) -> Evaluation:
        oldest_start, closed_until = self._oldest_window_start or 0, self._closed_until
        closed: list[WindowGroup] = []
        still_open: list[WindowGroup] = []
        old_documents = expired = 0
        for group in self._window_groups():
            if group.start < self._expired_until:
                expired += group.has_posts
                continue
            if not group.has_posts and (group.end <= oldest_start or group.partial):
                old_documents += len(group.documents)
            else:
                (closed if closed_until is not None and group.end <= closed_until else still_open).append(group)
        checked_from = max(oldest_start, self._complete_from, self._expired_until)
        return Evaluation(
            closed=closed,
            open=still_open,
            unmatched=[each for each in self._all_documents() if each.start is None and each.end > checked_from],
            numbers=[total for series in self._series.values() if (total := series.sum())],
            old_documents=old_documents,
            expired=expired,
            missing_rejections=sum(each.missing_rejections.count() for each in self._partitions.values()),
            orphaned_rejections=sum(1 for _ in self._orphaned_rejections()) + len(self._unassigned_keys),
        )

    def _window_groups(self) -> list[WindowGroup]:
        """All posts and documents, in the order of the ends of their groups."""
        grouping, groups = self._grouping(), dict[Period, WindowGroup]()

        def group_at(event_time: int) -> WindowGroup:
            period = grouping[event_time]
            if period not in groups:
                partial = self._is_partial(period[0])
                groups[period] = WindowGroup(
                    *period, partial, Checksum(keep_hashes=partial), Checksum(keep_hashes=partial)
                )
            return groups[period]

        for start, checksum in self._sums_by_start.items():
            group_at(start).posts.merge(checksum)
        for each in self._all_documents():
            if each.start is not None:
                group_at(each.start).documents.append(each)
                group_at(each.start).texts.merge(each.checksum)
        return sorted(groups.values(), key=lambda group: (group.end, group.start))

    def _grouping(self) -> WindowGrouping:
        documents = self._all_documents()
        return WindowGrouping(self._window, ((each.start, each.end) for each in documents if each.start is not None))

    def _all_documents(self) -> Iterator[ParsedDocument]:
        for documents in self._documents.values():
            yield from documents

    def report(self, evaluation: Evaluation) -> Report:
        compared, others = evaluation.unbalanced[:MAX_COMPARED_GROUPS], evaluation.unbalanced[MAX_COMPARED_GROUPS:]
        mismatches = Comparison(compared, self._texts_of_topic, self._texts_of_documents).mismatches()
        mismatches += [
            window_mismatch(group, None, None, document_problems(group) or ["its texts differ"]) for group in others
        ]
        mismatches += [unmatched_document(each) for each in evaluation.unmatched]
        mismatches += [malformed_document(*each) for each in sorted(self._malformed)]
        numbers = tuple(sorted(evaluation.numbers, key=lambda each: (each.source, each.numbering)))
        topic_sum = self._topic_sum(evaluation, tuple(mismatches))
        return Report(numbers, tuple(self._sources()), topic_sum, self._unreadable, self._replay_sum())

    def _replay_sum(self) -> ReplaySum:
        posts = sum(self._replays.values())
        return ReplaySum(
            replayed=self._marked[REPLAYED],
            discarded=self._marked[DISCARDED],
            written=self._marked["posts"],
            posts=posts,
            duplicates=posts - len(self._replays),
        )

    def _empty_partitions(self) -> Iterator[int]:
        for number, partition in sorted(self._partitions.items()) if self._closed_until is None else ():
            if partition.newest_event_time is None:
                yield number

    def _sources(self) -> Iterator[SourceCount]:
        for series in self._series.values():
            if series.sum() is None and (series.gaps or series.known.last is not None):
                yield series.unchecked()
        for source in sorted({*self._counts, *self._other_gaps}):
            counts = self._counts.get(source, Counter())
            gaps = tuple(self._other_gaps.get(source, ()))
            yield SourceCount(source, counts["posts"], counts["emptied"], counts["rejected"], gaps)

    def _topic_sum(self, evaluation: Evaluation, mismatches: tuple[Mismatch, ...]) -> TopicSum:
        in_flight = [group for group in evaluation.open if group.posts.count]
        rejected_open = sum(group.posts.rejected for group in evaluation.open)
        return TopicSum(
            topic=self._settings.topic,
            windows=sum(group.has_posts for group in evaluation.closed),
            posts=sum(group.posts.count + group.posts.rejected for group in evaluation.closed),
            others=self._others + rejected_open,
            in_documents=sum(in_documents(group) for group in evaluation.closed),
            rejected=sum(group.posts.rejected for group in evaluation.closed) + rejected_open + self._others_rejected,
            in_flight=sum(group.posts.count for group in in_flight),
            in_flight_from=iso(in_flight[0].end // 1000) if in_flight else None,
            partial=sum(group.partial for group in evaluation.closed),
            old_documents=evaluation.old_documents,
            expired=evaluation.expired,
            missing_rejections=evaluation.missing_rejections,
            missing_rejection_samples=tuple(islice(self._missing_rejections(), SAMPLES)),
            orphaned_rejections=evaluation.orphaned_rejections,
            orphaned_rejection_samples=tuple(
                [*sorted(self._unassigned_keys), *islice(self._orphaned_rejections(), SAMPLES)][:SAMPLES]
            ),
            empty_partitions=tuple(self._empty_partitions()),
            mismatches=mismatches,
        )

    def _missing_rejections(self) -> Iterator[str]:
        for number, partition in self._partitions.items():
            for first, last in partition.missing_rejections.runs():
                yield from (f"{self._settings.topic}/{number}/{offset}" for offset in range(first, last + 1))

    def _orphaned_rejections(self) -> Iterator[str]:
        for number, partition in self._partitions.items():
            yield from (f"{self._settings.topic}/{number}/{offset}" for offset in partition.orphaned_rejections)

    def _texts_of_topic(self, groups: Sequence[WindowGroup]) -> list[list[PostText]]:
        """The posts of each group, read again."""
        found: list[list[PostText]] = [[] for _ in groups]
        grouping, index = self._grouping(), {(group.start, group.end): number for number, group in enumerate(groups)}
        ranges = [
            PartitionRange(number, entry.begin, entry.end)
            for number, partition in self._partitions.items()
            for entry in partition.time_index
            if any(group.start <= entry.newest and entry.oldest < group.end for group in groups)
        ]
        for record in self._records(self._settings.topic, ranges):
            seen = parse_record(record.value, self._max_event_time)
            number = index.get(grouping[self._start_of(seen.timestamp)]) if seen.kind == "post" else None
            if number is not None:
                rejected = record.offset in self._partitions[record.partition].rejected
                found[number].append(PostText(seen.id, seen.text, rejected))
        return found

    def _texts_of_documents(self, groups: Sequence[WindowGroup]) -> list["Counter[str]"]:
        """The contents of each group's documents, read again."""
        found: list[Counter[str]] = [Counter() for _ in groups]
        index = {each.hash: number for number, group in enumerate(groups) for each in group.documents}
        for begin, end in merge_periods((each.end - 1000, each.end) for group in groups for each in group.documents):
            for document in self._reader.documents(iso(begin // 1000), iso(end // 1000)):
                if document.hash in index:
                    found[index[document.hash]].update(document.content)
        return found


def merge_periods(periods: Iterable[Period]) -> list[Period]:
    """The union of these periods. If it has more than MAX_QUERIES parts, one period that covers all of them."""
    parts: list[Period] = []
    for begin, end in sorted(periods):
        if parts and begin <= parts[-1][1]:
            parts[-1] = parts[-1][0], max(end, parts[-1][1])
        else:
            parts.append((begin, end))
    return parts if len(parts) <= MAX_QUERIES else [(parts[0][0], parts[-1][1])]


def merge_close_runs(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """These runs of offsets. Runs that are less than INDEX_INTERVAL_RECORDS apart are merged."""
    before: tuple[int, int] | None = None
    for first, last in runs:
        if before and first - before[1] >= INDEX_INTERVAL_RECORDS:
            yield before
            before = None
        before = (before[0] if before else first), last
    if before:
        yield before
