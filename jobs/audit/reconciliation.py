"""Checks that every post is accounted for: the feed's numbers against the topic, the topic against the documents.

`audit` reads through a `Reader`, the only part that knows Kafka and MongoDB, and returns a `Report`. No I/O here.

Topic and documents change during the audit. So the topic is read before the documents, and whatever does not balance is
read again. In the first reading a window is a count and a sum of hashes. Its texts are read if it does not balance.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import NamedTuple, Protocol

from jobs.audit.numbers import (
    EMPTIED,
    SAMPLES,
    Account,
    Gap,
    Heartbeat,
    NumberSet,
    NumberSum,
    SourceCount,
    gap_of,
    position_of,
    read_object,
)
from jobs.audit.report import Fault, Report, TopicSum
from jobs.audit.windows import (
    Comparison,
    ParsedRecord,
    Period,
    Periods,
    Stored,
    Tally,
    Text,
    Unit,
    WindowLengths,
    chunk_reasons,
    fault_of,
    hash_of,
    in_documents,
    malformed,
    parse_record,
    unmatched,
)
from jobs.documents import iso, unix
from jobs.event_time import MAX_AHEAD_MS
from jobs.feeds import FEEDS, make_feed

# The sources whose positions are numbers without gaps.
NUMBERED = frozenset(kind for kind in FEEDS if make_feed(kind, str).contiguous)

GRACE_MS = 2_000  # how long after its end a window may take to be written
WAIT_SECONDS = 60.0
PAUSE_SECONDS = 2.0
NOTIFY_SECONDS = 5.0
CONFIRMATIONS = 2  # a difference is read again at least so many times
READINGS = 3  # complete readings at most, if documents of unknown window lengths appear
FIRST_RECORDS = 100  # records of a partition that show from when on retention has left it complete
SHARD_RECORDS = 20_000  # each shard has a record in a partition within so many records
STRIDE = 5_000  # records of a partition per piece; texts are read again in pieces
EXPLAINED = 50  # windows whose texts are compared
SPANS = 200  # periods at most whose documents are queried one by one
SOURCES = 50  # sources at most that are counted separately
LONGEST_AUDIT_MS = 600_000  # the clock may advance so far during the audit
DAY_MS = 86_400_000
BEHIND_ALL = "\U0010ffff"  # sorts after every timestamp


class Record(NamedTuple):
    """One Kafka record. appended: its timestamp in Kafka, ms since 1970 UTC; None if unknown."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    appended: int | None = None


class Document(NamedTuple):
    """One document. timestamp: the end of its window, ISO 8601."""

    hash: str
    timestamp: str
    content: Sequence[str]


class Span(NamedTuple):
    """The offsets that a partition holds: from `begin` to before `end`."""

    begin: int
    end: int


class Range(NamedTuple):
    """The offsets of a partition that are to be read: from `begin` to before `end`."""

    partition: int
    begin: int
    end: int


class Reader(Protocol):
    """Reads Kafka and MongoDB in their state at the moment of the call. Raises the errors of the implementation."""

    def spans(self, topic: str) -> Mapping[int, Span]:
        """The committed offsets of each partition."""

    def records(self, topic: str, ranges: Sequence[Range]) -> Iterable[Record]:
        """The committed records in these ranges, in order within each partition."""

    def keys(self, after: str) -> Iterable[tuple[str, str]]:
        """(hash, timestamp) of the documents whose timestamp is greater than `after`."""

    def documents(self, after: str, until: str) -> Iterable[Document]:
        """The documents whose timestamp is greater than `after` and not greater than `until`."""


@dataclass(frozen=True)
class Snapshot:
    """A Reader of lists. begins: for a topic, the first offset that each partition still holds, if it is not 0."""

    topics: Mapping[str, Sequence[Record]]
    stored: Sequence[Document]
    begins: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def spans(self, topic: str) -> Mapping[int, Span]:
        begins = self.begins.get(topic, {})
        ends = dict(begins)
        for record in self.topics[topic]:
            ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
        return {number: Span(begins.get(number, 0), end) for number, end in ends.items()}

    def records(self, topic: str, ranges: Sequence[Range]) -> Iterable[Record]:
        for part in ranges:
            for record in self.topics[topic]:
                if record.partition == part.partition and part.begin <= record.offset < part.end:
                    yield record

    def keys(self, after: str) -> Iterable[tuple[str, str]]:
        return [(each.hash, each.timestamp) for each in self.stored if each.timestamp > after]

    def documents(self, after: str, until: str) -> Iterable[Document]:
        return [each for each in self.stored if after < each.timestamp <= until]


@dataclass(frozen=True)
class Terms:
    """The settings of the aggregator that the audit needs, and the limits of the audit.

    now_ms: the clock, ms since 1970 UTC.
    idle_ms: a partition without a record for so long holds no window open; 0: never idle.
    retention_days: documents are deleted after so many days; 0: never.
    wait_seconds: for how long the audit waits for posts that are still on their way.
    grace_ms: a window may be written so long after its end.
    numbered: sources whose positions are numbers without gaps.
    """

    topic: str
    rejected_topic: str
    window_seconds: int
    out_of_order_ms: int
    now_ms: int
    idle_ms: int = 0
    retention_days: int = 0
    wait_seconds: float = WAIT_SECONDS
    grace_ms: int = GRACE_MS
    numbered: frozenset[str] = NUMBERED


def audit(
    reader: Reader,
    terms: Terms,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    notify: Callable[[str], None] = lambda _: None,
) -> Report:
    """Both sums, as soon as they balance, or after `wait_seconds` at the latest.

    clock: seconds, monotonic.
    notify: gets one line about what the audit waits for.
    """
    ledger = Ledger(reader, terms)
    readings = READINGS
    end, notified, rounds = clock() + terms.wait_seconds, float("-inf"), 0
    complete = False
    while True:
        while not complete and readings:
            complete = ledger.read()
            readings -= 1
            end = clock() + terms.wait_seconds
        verdict = ledger.judge()
        if verdict.balanced or (rounds >= CONFIRMATIONS and not (verdict.awaited and clock() < end)):
            return ledger.report(verdict)
        if clock() - notified >= NOTIFY_SECONDS:
            notified = clock()
            notify(
                f"reading again: {verdict.awaited or 'what does not balance'} (up to {max(0, end - notified):.0f} s)"
            )
        if rounds:
            sleep(PAUSE_SECONDS)
        complete = ledger.read_again(verdict)
        rounds += 1


@dataclass(frozen=True)
class Verdict:
    """The sums at one moment.

    closed, open: units of closed and of open windows.
    unknown: documents whose hash matches no window.
    numbers: the first sums.
    old: documents that are not checked.
    expired: windows that are not checked.
    unrejected, stray: see TopicSum.
    """

    closed: list[Unit]
    open: list[Unit]
    unknown: list[Stored]
    numbers: list[NumberSum]
    old: int
    expired: int
    unrejected: int
    stray: int

    @cached_property
    def unbalanced(self) -> list[Unit]:
        return [unit for unit in self.closed if not unit.balanced]

    @property
    def awaited(self) -> str:
        """What may still arrive, as a text; "" if nothing."""
        short = [unit for unit in self.unbalanced if unit.short]
        missing = sum(each.missing for each in self.numbers)
        parts = [
            f"{len(short)} windows lack posts, the first ends at {iso(short[0].end // 1000)}" if short else "",
            f"{self.unrejected} records are not rejected yet" if self.unrejected else "",
            f"{missing} numbers are missing" if missing else "",
        ]
        return "; ".join(filter(None, parts))

    @property
    def balanced(self) -> bool:
        wrong = self.unbalanced or self.unknown or self.unrejected or self.stray
        return not wrong and all(each.balanced for each in self.numbers)


class Piece(NamedTuple):
    """Consecutive records of a partition: their offsets, and the oldest and newest event time of their posts in ms."""

    begin: int
    end: int
    oldest: int
    newest: int


@dataclass
class Partition:
    """Everything that is known about a partition of the topic.

    span: the offsets that it holds.
    rejected: offsets that the aggregator rejected.
    met: those of `rejected` at which there is a record.
    unrejected: offsets of records that must be rejected and are not.
    newest: newest event time, ms.
    appended: newest timestamp in Kafka, ms.
    firsts: the first record of each source that has a position.
    pieces: the posts in pieces of STRIDE records.
    """

    span: Span
    rejected: NumberSet = field(default_factory=NumberSet)
    met: NumberSet = field(default_factory=NumberSet)
    unrejected: NumberSet = field(default_factory=NumberSet)
    newest: int | None = None
    appended: int | None = None
    firsts: dict[str, ParsedRecord] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)

    def locate(self, offset: int, timestamp: int) -> None:
        piece = self.pieces[-1] if self.pieces else None
        if piece is None or offset - piece.begin >= STRIDE:
            self.pieces.append(Piece(offset, offset + 1, timestamp, timestamp))
        else:
            oldest, newest = min(piece.oldest, timestamp), max(piece.newest, timestamp)
            self.pieces[-1] = Piece(piece.begin, offset + 1, oldest, newest)

    @property
    def stray(self) -> Iterator[int]:
        """The offsets that were rejected and hold no record."""
        begin, end = self.span
        for first, last in self.rejected.runs(begin, end - 1) if begin < end else ():
            yield from (offset for low, high in self.met.missing_runs(first, last) for offset in range(low, high + 1))


class Ledger:
    """Everything that was read, and the sums of it."""

    def __init__(self, reader: Reader, terms: Terms) -> None:
        self._reader = reader
        self._terms = terms
        self._window = terms.window_seconds * 1000
        self._latest = terms.now_ms + MAX_AHEAD_MS + LONGEST_AUDIT_MS
        self._lengths = WindowLengths(terms.topic, terms.window_seconds)
        # Begins of windows that overlap documents of another window length: their posts are counted per second.
        self._touched: set[int] = set()
        self._clear()

    def _clear(self) -> None:
        self._split = frozenset(self._touched)
        self._partitions: dict[int, Partition] = {}
        self._rejected_spans: dict[int, Span] = {}
        # By partition: new rejections, whose records may have been read before.
        self._fresh: dict[int, NumberSet] = {}
        self._unknown_keys: set[str] = set()
        self._accounts: dict[tuple[str, str], Account] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._other_gaps: dict[str, list[Gap]] = {}
        self._unreadable = self._others = self._others_rejected = 0
        self._buckets: dict[int, Tally] = {}
        self._stored: dict[int, list[Stored]] = {}
        self._malformed: set[tuple[str, str]] = set()
        # Before this event time (ms) the topic may have lost posts.
        self._edge = 0
        # The oldest event time in the topic (ms).
        self._oldest: int | None = None
        self._closed_until: int | None = None

    def read(self) -> bool:
        """Read everything. False if documents of a new window length require another complete reading."""
        self._clear()
        self._partitions = {number: Partition(span) for number, span in self._reader.spans(self._terms.topic).items()}
        begin = self._look_at_firsts()
        for key, timestamp in self._reader.keys(iso(begin // 1000)) if begin is not None else ():
            self._touch(key, timestamp)
        self._split = frozenset(self._touched)
        self._read_rejected()
        self._read_topic([Range(number, *each.span) for number, each in self._partitions.items()])
        self._fresh.clear()
        self._closed_until = self._find_closed()
        self._cut_accounts()
        for account in self._accounts.values():
            account.freeze()
        if self._floor is not None:
            self._read_documents(self._floor, None)
        return not self._new_lengths()

    def read_again(self, verdict: Verdict) -> bool:
        """Read the new records, and the documents of everything that does not balance. False: see `read`."""
        ranges = []
        for number, span in self._reader.spans(self._terms.topic).items():
            partition = self._partitions.setdefault(number, Partition(Span(0, 0)))
            ranges.append(Range(number, partition.span.end, span.end))
            partition.span = Span(partition.span.begin, max(partition.span.end, span.end))
        unknown_keys, self._unknown_keys = self._unknown_keys, set()
        for key in unknown_keys:  # their partitions may have been added
            self._add_rejected_key(key)
        self._read_rejected()
        self._read_topic(ranges)
        self._apply_fresh()
        longest = max(self._lengths.known) * 1000 if len(self._lengths.known) > 1 else 0
        periods = [(unit.start, unit.end + longest) for unit in verdict.unbalanced]
        periods += [(each.end - 1000, each.end) for each in verdict.unknown]
        for begin, end in joined(periods):
            for moment in [moment for moment in self._stored if begin < moment <= end]:
                del self._stored[moment]
            self._read_documents(begin, end)
        return not self._new_lengths()

    def _look_at_firsts(self) -> int | None:
        """Set `_edge`, from which on the topic holds all posts.

        Returns a time (ms) before which the topic holds no post; None for an empty topic.
        """
        begin: int | None = None
        for number, partition in self._partitions.items():
            records = self._reader.records(self._terms.topic, [Range(number, *partition.span)])
            seen = [parse_record(record.value, self._latest) for record in islice(records, FIRST_RECORDS)]
            times = [each.timestamp for each in seen if each.kind != "unusable"]
            if partition.span.begin > 0:
                self._edge = max(self._edge, max(times, default=self._terms.now_ms))
            if times:
                begin = min(times) if begin is None else min(begin, *times)
        return None if begin is None else begin - begin % self._window

    def _touch(self, key: str, timestamp: str) -> None:
        """From the next reading on, count the posts of a window of another length per second."""
        try:
            found = self._lengths.find(key, timestamp)
        except (TypeError, ValueError):
            return
        if found and found[0] != self._terms.window_seconds:
            end = unix(timestamp) * 1000
            start = end - found[0] * 1000
            self._touched.update(range(start - start % self._window, end, self._window))

    def _new_lengths(self) -> bool:
        limit = self._closed_until
        return limit is not None and any(start < limit for start in self._touched - self._split)

    def _read_rejected(self) -> None:
        ranges = []
        for number, span in self._reader.spans(self._terms.rejected_topic).items():
            before = self._rejected_spans.get(number)
            ranges.append(Range(number, before.end if before else span.begin, span.end))
            self._rejected_spans[number] = Span(before.begin if before else span.begin, span.end)
        for record in self._records(self._terms.rejected_topic, ranges):
            rejection = read_object(record.value)
            source = rejection.get("source") if rejection else None
            if rejection is None or not isinstance(source, str):
                self._unreadable += 1
            elif source == self._terms.topic:
                self._add_rejected_key((record.key or b"").decode(errors="replace"))
            else:
                self._add_collector_rejection(source, rejection, record.partition)

    def _records(self, topic: str, ranges: Iterable[Range]) -> Iterable[Record]:
        wanted = [each for each in ranges if each.begin < each.end]
        return self._reader.records(topic, wanted) if wanted else ()

    def _add_rejected_key(self, key: str) -> None:
        """Add a rejection by the aggregator, identified by its key. It may occur twice."""
        found = re.fullmatch(re.escape(self._terms.topic) + "/([0-9]{1,9})/([0-9]{1,18})", key, re.ASCII)
        number, offset = (int(found[1]), int(found[2])) if found else (-1, -1)
        if number not in self._partitions:
            self._unknown_keys.add(key)
        elif self._partitions[number].rejected.add(offset) and offset >= self._partitions[number].span.begin:
            self._fresh.setdefault(number, NumberSet()).add(offset)

    def _add_collector_rejection(self, source: str, rejection: Mapping[str, object], partition: int) -> None:
        """Add a rejection by the collector: a frame, an emptied post, or a gap."""
        numbered = source in self._terms.numbered
        if (reported := gap_of(rejection)) is not None:
            numbering, gap = reported
            if numbered:
                account = self._account(source, numbering)
                account.gaps.append(gap)
                self._cut_by_rejection(account, partition, gap.first)
            else:
                self._other_gaps.setdefault(source, []).append(gap)
            return
        numbering, number = position_of(rejection.get("position"))
        emptied = rejection.get("reason") == EMPTIED
        if numbered and number is not None:
            account = self._account(source, numbering)
            account.add_unpublished(number, emptied=emptied)
            self._cut_by_rejection(account, partition, number)
        else:
            self._count(source, "emptied" if emptied else "rejected")

    def _cut_by_rejection(self, account: Account, partition: int, number: int | None) -> None:
        if number is not None and self._rejected_spans[partition].begin > 0:
            account.cuts.setdefault(("rejected", partition), number - 1)

    def _account(self, source: str, numbering: str) -> Account:
        key = source, numbering
        if key not in self._accounts:
            self._accounts[key] = Account(source, numbering)
        return self._accounts[key]

    def _count(self, source: str, what: str) -> None:
        name = source if source in self._counts or len(self._counts) < SOURCES else "(others)"
        self._counts.setdefault(name, Counter())[what] += 1

    def _read_topic(self, ranges: Iterable[Range]) -> None:
        for record in self._records(self._terms.topic, ranges):
            partition = self._partitions[record.partition]
            seen = parse_record(record.value, self._latest)
            rejected = record.offset in partition.rejected
            if rejected:
                partition.met.add(record.offset)
            if record.appended is not None:
                partition.appended = max(partition.appended or 0, record.appended)
            self._add_number(seen, partition)
            if seen.kind == "unusable" or (seen.kind == "heartbeat" and rejected):
                self._add_unusable(record.offset, partition, rejected=rejected)
            else:
                self._add_event_time(seen, record.offset, partition, rejected=rejected)

    def _add_unusable(self, offset: int, partition: Partition, *, rejected: bool) -> None:
        self._others += 1
        self._others_rejected += rejected
        if not rejected:
            partition.unrejected.add(offset)

    def _add_event_time(self, seen: ParsedRecord, offset: int, partition: Partition, *, rejected: bool) -> None:
        if not rejected:
            partition.newest = max(partition.newest or 0, seen.timestamp)
            self._oldest = seen.timestamp if self._oldest is None else min(self._oldest, seen.timestamp)
        if seen.kind == "post":
            partition.locate(offset, seen.timestamp)
            if rejected:
                self._tally(seen.timestamp).rejected += 1
            else:
                self._tally(seen.timestamp).keep(hash_of(seen.text))

    def _add_number(self, seen: ParsedRecord, partition: Partition) -> None:
        if seen.number is None or seen.source not in self._terms.numbered:
            if seen.kind == "post":
                self._count(seen.source, "posts")
            return
        partition.firsts.setdefault(seen.source, seen)
        account = self._account(seen.source, seen.numbering)
        if seen.kind != "unusable":
            account.since = min(account.since, seen.timestamp)
        if seen.kind == "heartbeat":
            account.add_heartbeat(Heartbeat(seen.timestamp, seen.of, seen.shard, seen.number))
        else:
            account.add_post(seen.number)

    def _bucket(self, timestamp: int) -> int:
        start = timestamp - timestamp % self._window
        return timestamp - timestamp % 1000 if start in self._split else start

    def _tally(self, timestamp: int) -> Tally:
        bucket = self._bucket(timestamp)
        if bucket not in self._buckets:
            self._buckets[bucket] = Tally(exact=self._is_partial(bucket))
        return self._buckets[bucket]

    def _is_partial(self, moment: int) -> bool:
        """Whether the topic may have lost posts of the window that contains this moment."""
        return moment - moment % self._window < self._edge

    def _apply_fresh(self) -> None:
        """Count records that were read before as rejected, if their rejections are new."""
        fresh, self._fresh = self._fresh, {}
        ranges = [
            Range(number, first, last + 1)
            for number, offsets in fresh.items()
            for first, last in close_together(offsets.runs(0, self._partitions[number].span.end - 1))
        ]
        for record in self._records(self._terms.topic, ranges):
            partition = self._partitions[record.partition]
            if record.offset in fresh[record.partition] and partition.met.add(record.offset):
                self._reject(parse_record(record.value, self._latest), record.offset, partition)

    def _reject(self, seen: ParsedRecord, offset: int, partition: Partition) -> None:
        if seen.kind == "post":
            self._tally(seen.timestamp).reject(hash_of(seen.text))
            return
        partition.unrejected.discard(offset)
        self._others += seen.kind == "heartbeat"
        self._others_rejected += 1

    def _read_documents(self, after: int, until: int | None) -> None:
        last = BEHIND_ALL if until is None else iso(until // 1000)
        for document in self._reader.documents(iso(after // 1000), last):
            try:
                self._store(document)
            except (AttributeError, TypeError, ValueError):
                self._malformed.add((str(document.hash), str(document.timestamp)))

    def _store(self, document: Document) -> None:
        """Raises ValueError, TypeError or AttributeError for a document that the aggregator cannot have written."""
        end, found = unix(document.timestamp) * 1000, self._lengths.find(document.hash, document.timestamp)
        self._touch(document.hash, document.timestamp)
        start = end - found[0] * 1000 if found else None
        tally = Tally(exact=self._is_partial(end if start is None else start))
        if isinstance(document.content, str):
            raise TypeError("content is not a list")
        for text in document.content:
            tally.keep(hash_of(text))
        stored = Stored(document.hash, start, end, found[1] if found else 0, tally)
        self._stored.setdefault(end, []).append(stored)

    def _find_closed(self) -> int | None:
        """The time (ms) up to whose end windows are closed; None if no window is closed."""
        last = max((each.appended or 0 for each in self._partitions.values()), default=0)
        newest = [each.newest for each in self._partitions.values() if not self._is_idle(each, last)]
        if not newest or None in newest:
            return None
        behind = self._terms.out_of_order_ms + self._terms.grace_ms
        return min(moment for moment in newest if moment is not None) - behind

    def _is_idle(self, partition: Partition, last: int) -> bool:
        """Whether the aggregator no longer waits for this partition. last: when Kafka got the newest record, ms."""
        appended = partition.appended
        silent = appended is not None and last - appended > self._terms.idle_ms
        return bool(self._terms.idle_ms) and (partition.newest is None or silent)

    @property
    def _expired_until(self) -> int:
        """Documents of windows that begin before this time (ms) may be deleted already, or during the audit."""
        days = self._terms.retention_days
        return self._terms.now_ms + LONGEST_AUDIT_MS - days * DAY_MS if days else 0

    @property
    def _floor(self) -> int | None:
        """The start of the oldest window in the topic, ms; None for an empty topic."""
        return None if self._oldest is None else self._oldest - self._oldest % self._window

    def _cut_accounts(self) -> None:
        """Set the numbers up to which retention may have deleted posts."""
        for number, partition in self._partitions.items():
            for account in self._accounts.values() if partition.span.begin > 0 else ():
                first = partition.firsts.get(account.source)
                if first is not None and first.numbering == account.numbering:
                    account.cuts["topic", number] = self._highest_first(number, account, first)
                elif first is None or account.since < first.timestamp:
                    account.cuts["topic", number] = None

    def _highest_first(self, number: int, account: Account, first: ParsedRecord) -> int:
        """The highest of the first numbers of the shards in a partition."""
        of = account.oldest.of if account.oldest else 1
        begins = {} if of > 1 else {0: first.number or 0}
        records = self._reader.records(self._terms.topic, [Range(number, *self._partitions[number].span)])
        for record in islice(records, SHARD_RECORDS if of > 1 else 0):
            seen = parse_record(record.value, self._latest)
            if seen.number is not None and (seen.source, seen.numbering) == (account.source, account.numbering):
                begins.setdefault(seen.shard if seen.kind == "heartbeat" else seen.number % of, seen.number)
            if len(begins) >= of:
                break
        return max(begins.values())

    def judge(self) -> Verdict:
        floor, limit = self._floor or 0, self._closed_until
        closed: list[Unit] = []
        is_open: list[Unit] = []
        old = expired = 0
        for unit in self._units():
            if unit.start < self._expired_until:
                expired += unit.has_posts
                continue
            if not unit.has_posts and (unit.end <= floor or unit.partial):
                old += len(unit.stored)
            else:
                (closed if limit is not None and unit.end <= limit else is_open).append(unit)
        stored = [each for group in self._stored.values() for each in group]
        judged_from = max(floor, self._edge, self._expired_until)
        return Verdict(
            closed=closed,
            open=is_open,
            unknown=[each for each in stored if each.start is None and each.end > judged_from],
            numbers=[total for account in self._accounts.values() if (total := account.sum())],
            old=old,
            expired=expired,
            unrejected=sum(each.unrejected.count() for each in self._partitions.values()),
            stray=sum(1 for each in self._partitions.values() for _ in each.stray) + len(self._unknown_keys),
        )

    def _units(self) -> list[Unit]:
        """Posts and documents, grouped into units, in the order of their ends."""
        periods, units = self._periods(), dict[Period, Unit]()

        def unit_at(moment: int) -> Unit:
            period = periods[moment]
            if period not in units:
                partial = self._is_partial(period[0])
                units[period] = Unit(*period, partial, Tally(exact=partial), Tally(exact=partial))
            return units[period]

        for bucket, tally in self._buckets.items():
            unit_at(bucket).posts.add(tally)
        for each in (each for group in self._stored.values() for each in group):
            if each.start is not None:
                unit_at(each.start).stored.append(each)
                unit_at(each.start).texts.add(each.tally)
        return sorted(units.values(), key=lambda unit: (unit.end, unit.start))

    def _periods(self) -> Periods:
        stored = (each for group in self._stored.values() for each in group)
        return Periods(self._window, ((each.start, each.end) for each in stored if each.start is not None))

    def report(self, verdict: Verdict) -> Report:
        faults = Comparison(verdict.unbalanced[:EXPLAINED], self._texts_of_topic, self._texts_of_documents).faults()
        faults += [
            fault_of(unit, None, None, chunk_reasons(unit) or ["its texts differ"])  # texts not compared
            for unit in verdict.unbalanced[EXPLAINED:]
        ]
        faults += [unmatched(each) for each in verdict.unknown]
        faults += [malformed(*each) for each in sorted(self._malformed)]
        numbers = tuple(sorted(verdict.numbers, key=lambda each: (each.source, each.numbering)))
        return Report(numbers, tuple(self._sources()), self._topic_sum(verdict, tuple(faults)), self._unreadable)

    def _empty_partitions(self) -> Iterator[int]:
        for number, partition in sorted(self._partitions.items()) if self._closed_until is None else ():
            if partition.newest is None:
                yield number

    def _sources(self) -> Iterator[SourceCount]:
        for account in self._accounts.values():
            if account.sum() is None and (account.gaps or account.known.last is not None):
                yield account.unjudged()
        for source in sorted({*self._counts, *self._other_gaps}):
            counts = self._counts.get(source, Counter())
            gaps = tuple(self._other_gaps.get(source, ()))
            yield SourceCount(source, counts["posts"], counts["emptied"], counts["rejected"], gaps)

    def _topic_sum(self, verdict: Verdict, faults: tuple[Fault, ...]) -> TopicSum:
        topic, waiting = self._terms.topic, [unit for unit in verdict.open if unit.posts.kept]
        rejected_open = sum(unit.posts.rejected for unit in verdict.open)
        unrejected = (f"{topic}/{number}/{at}" for number, each in self._partitions.items() for at in offsets(each))
        stray = (f"{topic}/{number}/{at}" for number, each in self._partitions.items() for at in each.stray)
        return TopicSum(
            topic=topic,
            windows=sum(unit.has_posts for unit in verdict.closed),
            posts=sum(unit.posts.kept + unit.posts.rejected for unit in verdict.closed),
            others=self._others + rejected_open,
            in_documents=sum(in_documents(unit) for unit in verdict.closed),
            rejected=sum(unit.posts.rejected for unit in verdict.closed) + rejected_open + self._others_rejected,
            in_flight=sum(unit.posts.kept for unit in waiting),
            in_flight_from=iso(waiting[0].end // 1000) if waiting else None,
            partial=sum(unit.partial for unit in verdict.closed),
            old_documents=verdict.old,
            expired=verdict.expired,
            unrejected=verdict.unrejected,
            unrejected_samples=tuple(islice(unrejected, SAMPLES)),
            stray=verdict.stray,
            stray_samples=tuple([*sorted(self._unknown_keys), *islice(stray, SAMPLES)][:SAMPLES]),
            empty_partitions=tuple(self._empty_partitions()),
            faults=faults,
        )

    def _texts_of_topic(self, units: Sequence[Unit]) -> list[list["Text"]]:
        """The posts of each unit, read again."""
        found: list[list[Text]] = [[] for _ in units]
        periods, index = self._periods(), {(unit.start, unit.end): number for number, unit in enumerate(units)}
        ranges = [
            Range(number, piece.begin, piece.end)
            for number, partition in self._partitions.items()
            for piece in partition.pieces
            if any(unit.start <= piece.newest and piece.oldest < unit.end for unit in units)
        ]
        for record in self._records(self._terms.topic, ranges):
            seen = parse_record(record.value, self._latest)
            number = index.get(periods[self._bucket(seen.timestamp)]) if seen.kind == "post" else None
            if number is not None:
                rejected = record.offset in self._partitions[record.partition].rejected
                found[number].append(Text(seen.id, seen.text, rejected))
        return found

    def _texts_of_documents(self, units: Sequence[Unit]) -> list["Counter[str]"]:
        """The contents of each unit's documents, read again."""
        found: list[Counter[str]] = [Counter() for _ in units]
        index = {each.hash: number for number, unit in enumerate(units) for each in unit.stored}
        for begin, end in joined((each.end - 1000, each.end) for unit in units for each in unit.stored):
            for document in self._reader.documents(iso(begin // 1000), iso(end // 1000)):
                if document.hash in index:
                    found[index[document.hash]].update(document.content)
        return found


def offsets(partition: Partition) -> Iterator[int]:
    for first, last in partition.unrejected.runs():
        yield from range(first, last + 1)


def joined(periods: Iterable[Period]) -> list[Period]:
    """These periods, joined if they touch. If more than SPANS are left, one period that covers all of them."""
    parts: list[Period] = []
    for begin, end in sorted(periods):
        if parts and begin <= parts[-1][1]:
            parts[-1] = parts[-1][0], max(end, parts[-1][1])
        else:
            parts.append((begin, end))
    return parts if len(parts) <= SPANS else [(parts[0][0], parts[-1][1])]


def close_together(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """These runs of offsets. Runs that are less than STRIDE apart are joined."""
    before: tuple[int, int] | None = None
    for first, last in runs:
        if before and first - before[1] >= STRIDE:
            yield before
            before = None
        before = (before[0] if before else first), last
    if before:
        yield before
