"""Whether every post is accounted for: the feed's numbers against the topic, the topic against the documents.

`audit` reads through a `Reader`, which alone knows Kafka and MongoDB, and returns a `Report`. No client, no I/O here.

What is read changes meanwhile. So the topic is read before the documents, and what does not balance is read again.
In the first reading a window is a count and a sum of hashes; its texts are read only when it does not balance.
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
    Beat,
    Gap,
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
    Lengths,
    Place,
    Places,
    Seen,
    Stored,
    Tally,
    Text,
    Unit,
    chunk_reasons,
    fault_of,
    hash_of,
    in_documents,
    malformed,
    see,
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
SAY_SECONDS = 5.0
CONFIRMATIONS = 2  # how often at least a difference is read again
READINGS = 3  # of everything, when documents of window lengths appear that were not known
FIRST_RECORDS = 100  # of a partition, which show what retention has left of it
SHARD_RECORDS = 20_000  # within which each shard shows itself in a partition
STRIDE = 5_000  # records; texts are read again in such pieces of a partition
EXPLAINED = 50  # windows whose texts are compared
SPANS = 200  # of time, for which documents are asked one by one
SOURCES = 50  # that are counted one by one
LONGEST_AUDIT_MS = 600_000  # while it reads, the clock goes on
DAY_MS = 86_400_000
BEHIND_ALL = "\U0010ffff"  # any other text is less


class Record(NamedTuple):
    """One Kafka record. appended: its own stamp in Kafka, ms since 1970 UTC, None when unknown."""

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
    """Offsets of a partition to be read: from `begin` to before `end`."""

    partition: int
    begin: int
    end: int


class Reader(Protocol):
    """Reads Kafka and MongoDB as they are at the moment of the call; errors are the clients' own."""

    def spans(self, topic: str) -> Mapping[int, Span]:
        """The committed offsets of each partition."""

    def records(self, topic: str, ranges: Sequence[Range]) -> Iterable[Record]:
        """The committed records in these ranges, those of a partition in their order."""

    def keys(self, after: str) -> Iterable[tuple[str, str]]:
        """(hash, timestamp) of the documents whose timestamp is greater than `after`."""

    def documents(self, after: str, until: str) -> Iterable[Document]:
        """The documents whose timestamp is greater than `after` and not greater than `until`."""


@dataclass(frozen=True)
class Snapshot:
    """A Reader of lists. begins: the first offset that a partition of a topic still holds, where that is not 0."""

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
    """What the audit must know about the aggregator, and for how long it may wait.

    now_ms: the clock, ms since 1970 UTC; idle_ms: after how long without a record a partition holds no window open,
    0: never; retention_days: after how many days documents are deleted, 0: never; wait_seconds: for how long what is
    not there yet is awaited; numbered: sources whose positions are numbers without gaps.
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
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Both sums, as soon as they balance, or after `wait_seconds` at the latest.

    clock: seconds, monotonic; say: takes a line about what is awaited.
    """
    ledger = Ledger(reader, terms)
    readings = READINGS
    end, said, rounds = clock() + terms.wait_seconds, float("-inf"), 0
    complete = False
    while True:
        while not complete and readings:
            complete = ledger.read()
            readings -= 1
            end = clock() + terms.wait_seconds
        verdict = ledger.judge()
        if verdict.balanced or (rounds >= CONFIRMATIONS and not (verdict.awaited and clock() < end)):
            return ledger.report(verdict)
        if clock() - said >= SAY_SECONDS:
            said = clock()
            say(f"reading again: {verdict.awaited or 'what does not balance'} (up to {max(0, end - said):.0f} s)")
        if rounds:
            sleep(PAUSE_SECONDS)
        complete = ledger.read_again(verdict)
        rounds += 1


@dataclass(frozen=True)
class Verdict:
    """What the sums are at some moment. closed, open: units; unknown: documents whose hash matches no window;
    old: documents that are not judged; expired: windows that are not; unrejected, stray: see TopicSum."""

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
        """What may still come, "" for nothing."""
        short = [unit for unit in self.unbalanced if unit.short]
        missing = sum(each.missing for each in self.numbers)
        parts = [
            f"{len(short)} windows lack posts, the first ends at {iso(short[0].end // 1000)}" if short else "",
            f"{self.unrejected} records are not rejected yet" if self.unrejected else "",
            f"{missing} numbers are nowhere yet" if missing else "",
        ]
        return "; ".join(filter(None, parts))

    @property
    def balanced(self) -> bool:
        wrong = self.unbalanced or self.unknown or self.unrejected or self.stray
        return not wrong and all(each.balanced for each in self.numbers)


class Piece(NamedTuple):
    """Some records of a partition in a row: their offsets, and from when to when their posts are."""

    begin: int
    end: int
    oldest: int
    newest: int


@dataclass
class Partition:
    """What is known about a partition of the topic.

    rejected: offsets that the aggregator rejected; met: those of them at which there is a record; unrejected: those
    of records that must be rejected and are not; newest: event time, ms; appended: the newest stamp in Kafka; firsts:
    the first record of each source that has a position.
    """

    span: Span
    rejected: NumberSet = field(default_factory=NumberSet)
    met: NumberSet = field(default_factory=NumberSet)
    unrejected: NumberSet = field(default_factory=NumberSet)
    newest: int | None = None
    appended: int | None = None
    firsts: dict[str, Seen] = field(default_factory=dict)
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
        """Offsets that were rejected and hold no record."""
        begin, end = self.span
        for first, last in self.rejected.runs(begin, end - 1) if begin < end else ():
            yield from (offset for low, high in self.met.missing_runs(first, last) for offset in range(low, high + 1))


class Ledger:
    """All that was read, and what it amounts to."""

    def __init__(self, reader: Reader, terms: Terms) -> None:
        self._reader = reader
        self._terms = terms
        self._window = terms.window_seconds * 1000
        self._latest = terms.now_ms + MAX_AHEAD_MS + LONGEST_AUDIT_MS
        self._lengths = Lengths(terms.topic, terms.window_seconds)
        # Begins of windows that documents of another length touch: their posts are counted by the second.
        self._touched: set[int] = set()
        self._clear()

    def _clear(self) -> None:
        self._split = frozenset(self._touched)
        self._partitions: dict[int, Partition] = {}
        self._rejected_spans: dict[int, Span] = {}
        # Rejections of records that may have been read before, by partition.
        self._fresh: dict[int, NumberSet] = {}
        self._homeless: set[str] = set()
        self._accounts: dict[tuple[str, str], Account] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._other_gaps: dict[str, list[Gap]] = {}
        self._unreadable = self._others = self._others_rejected = 0
        self._buckets: dict[int, Tally] = {}
        self._stored: dict[int, list[Stored]] = {}
        self._malformed: set[tuple[str, str]] = set()
        # Before it the topic may have lost posts; the oldest event time in it.
        self._edge = 0
        self._oldest: int | None = None
        self._closed_until: int | None = None

    def read(self) -> bool:
        """Read everything. False when documents of a new length make it necessary to do that again."""
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
        """Read what was added, and the documents of what does not balance. False as above."""
        ranges = []
        for number, span in self._reader.spans(self._terms.topic).items():
            partition = self._partitions.setdefault(number, Partition(Span(0, 0)))
            ranges.append(Range(number, partition.span.end, span.end))
            partition.span = Span(partition.span.begin, max(partition.span.end, span.end))
        homeless, self._homeless = self._homeless, set()
        for key in homeless:  # their partitions may be new
            self._take_key(key)
        self._read_rejected()
        self._read_topic(ranges)
        self._apply_fresh()
        longest = max(self._lengths.known) * 1000 if len(self._lengths.known) > 1 else 0
        places = [(unit.start, unit.end + longest) for unit in verdict.unbalanced]
        places += [(each.end - 1000, each.end) for each in verdict.unknown]
        for begin, end in joined(places):
            for moment in [moment for moment in self._stored if begin < moment <= end]:
                del self._stored[moment]
            self._read_documents(begin, end)
        return not self._new_lengths()

    def _look_at_firsts(self) -> int | None:
        """Find since when the topic holds all posts. Returns a time before which it has none, None when it is empty."""
        begin: int | None = None
        for number, partition in self._partitions.items():
            records = self._reader.records(self._terms.topic, [Range(number, *partition.span)])
            seen = [see(record.value, self._latest) for record in islice(records, FIRST_RECORDS)]
            times = [each.timestamp for each in seen if each.kind != "unusable"]
            if partition.span.begin > 0:
                self._edge = max(self._edge, max(times, default=self._terms.now_ms))
            if times:
                begin = min(times) if begin is None else min(begin, *times)
        return None if begin is None else begin - begin % self._window

    def _touch(self, key: str, timestamp: str) -> None:
        """Have the posts of a window of another length counted by the second, from the next reading on."""
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
                self._take_key((record.key or b"").decode(errors="replace"))
            else:
                self._take_rejection(source, rejection, record.partition)

    def _records(self, topic: str, ranges: Iterable[Range]) -> Iterable[Record]:
        wanted = [each for each in ranges if each.begin < each.end]
        return self._reader.records(topic, wanted) if wanted else ()

    def _take_key(self, key: str) -> None:
        """A rejection by the aggregator, known by its key: it may come twice."""
        found = re.fullmatch(re.escape(self._terms.topic) + "/([0-9]{1,9})/([0-9]{1,18})", key, re.ASCII)
        number, offset = (int(found[1]), int(found[2])) if found else (-1, -1)
        if number not in self._partitions:
            self._homeless.add(key)
        elif self._partitions[number].rejected.add(offset) and offset >= self._partitions[number].span.begin:
            self._fresh.setdefault(number, NumberSet()).add(offset)

    def _take_rejection(self, source: str, rejection: Mapping[str, object], partition: int) -> None:
        """A rejection by the collector: a frame, an emptied post, or a gap."""
        numbered = source in self._terms.numbered
        if (told := gap_of(rejection)) is not None:
            numbering, gap = told
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
            account.refuse(number, emptied=emptied)
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
            seen = see(record.value, self._latest)
            rejected = record.offset in partition.rejected
            if rejected:
                partition.met.add(record.offset)
            if record.appended is not None:
                partition.appended = max(partition.appended or 0, record.appended)
            self._take_number(seen, partition)
            if seen.kind == "unusable" or (seen.kind == "heartbeat" and rejected):
                self._take_unusable(record.offset, partition, rejected=rejected)
            else:
                self._take_time(seen, record.offset, partition, rejected=rejected)

    def _take_unusable(self, offset: int, partition: Partition, *, rejected: bool) -> None:
        self._others += 1
        self._others_rejected += rejected
        if not rejected:
            partition.unrejected.add(offset)

    def _take_time(self, seen: Seen, offset: int, partition: Partition, *, rejected: bool) -> None:
        if not rejected:
            partition.newest = max(partition.newest or 0, seen.timestamp)
            self._oldest = seen.timestamp if self._oldest is None else min(self._oldest, seen.timestamp)
        if seen.kind == "post":
            partition.locate(offset, seen.timestamp)
            if rejected:
                self._tally(seen.timestamp).rejected += 1
            else:
                self._tally(seen.timestamp).keep(hash_of(seen.text))

    def _take_number(self, seen: Seen, partition: Partition) -> None:
        if seen.number is None or seen.source not in self._terms.numbered:
            if seen.kind == "post":
                self._count(seen.source, "posts")
            return
        partition.firsts.setdefault(seen.source, seen)
        account = self._account(seen.source, seen.numbering)
        if seen.kind != "unusable":
            account.since = min(account.since, seen.timestamp)
        if seen.kind == "heartbeat":
            account.beat(Beat(seen.timestamp, seen.of, seen.shard, seen.number))
        else:
            account.take(seen.number)

    def _bucket(self, timestamp: int) -> int:
        start = timestamp - timestamp % self._window
        return timestamp - timestamp % 1000 if start in self._split else start

    def _tally(self, timestamp: int) -> Tally:
        bucket = self._bucket(timestamp)
        if bucket not in self._buckets:
            self._buckets[bucket] = Tally(exact=self._is_partial(bucket))
        return self._buckets[bucket]

    def _is_partial(self, moment: int) -> bool:
        """Whether the topic may have lost posts of the window in which this moment lies."""
        return moment - moment % self._window < self._edge

    def _apply_fresh(self) -> None:
        """Records that were read before turn out to be rejected."""
        fresh, self._fresh = self._fresh, {}
        ranges = [
            Range(number, first, last + 1)
            for number, offsets in fresh.items()
            for first, last in close_together(offsets.runs(0, self._partitions[number].span.end - 1))
        ]
        for record in self._records(self._terms.topic, ranges):
            partition = self._partitions[record.partition]
            if record.offset in fresh[record.partition] and partition.met.add(record.offset):
                self._reject(see(record.value, self._latest), record.offset, partition)

    def _reject(self, seen: Seen, offset: int, partition: Partition) -> None:
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
            raise TypeError("content is no list")
        for text in document.content:
            tally.keep(hash_of(text))
        stored = Stored(document.hash, start, end, found[1] if found else 0, tally)
        self._stored.setdefault(end, []).append(stored)

    def _find_closed(self) -> int | None:
        """Windows that end up to here (ms) are closed; None when none is."""
        last = max((each.appended or 0 for each in self._partitions.values()), default=0)
        newest = [each.newest for each in self._partitions.values() if not self._is_idle(each, last)]
        if not newest or None in newest:
            return None
        behind = self._terms.out_of_order_ms + self._terms.grace_ms
        return min(moment for moment in newest if moment is not None) - behind

    def _is_idle(self, partition: Partition, last: int) -> bool:
        """Whether the aggregator no longer waits for this partition; last: when Kafka got the newest record."""
        appended = partition.appended
        silent = appended is not None and last - appended > self._terms.idle_ms
        return bool(self._terms.idle_ms) and (partition.newest is None or silent)

    @property
    def _expired_until(self) -> int:
        """Documents of windows that begin before this moment (ms) may be deleted by now, or while the audit reads."""
        days = self._terms.retention_days
        return self._terms.now_ms + LONGEST_AUDIT_MS - days * DAY_MS if days else 0

    @property
    def _floor(self) -> int | None:
        """Where the topic begins: the start of its oldest window, ms."""
        return None if self._oldest is None else self._oldest - self._oldest % self._window

    def _cut_accounts(self) -> None:
        """Find up to which number retention may have dropped posts."""
        for number, partition in self._partitions.items():
            for account in self._accounts.values() if partition.span.begin > 0 else ():
                first = partition.firsts.get(account.source)
                if first is not None and first.numbering == account.numbering:
                    account.cuts["topic", number] = self._highest_first(number, account, first)
                elif first is None or account.since < first.timestamp:
                    account.cuts["topic", number] = None

    def _highest_first(self, number: int, account: Account, first: Seen) -> int:
        """The highest of the numbers with which the shards begin in a partition."""
        of = account.oldest.of if account.oldest else 1
        begins = {} if of > 1 else {0: first.number or 0}
        records = self._reader.records(self._terms.topic, [Range(number, *self._partitions[number].span)])
        for record in islice(records, SHARD_RECORDS if of > 1 else 0):
            seen = see(record.value, self._latest)
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
            stray=sum(1 for each in self._partitions.values() for _ in each.stray) + len(self._homeless),
        )

    def _units(self) -> list[Unit]:
        """Posts and documents by what is compared, in the order of their ends."""
        places, units = self._places(), dict[Place, Unit]()

        def unit_at(moment: int) -> Unit:
            place = places[moment]
            if place not in units:
                partial = self._is_partial(place[0])
                units[place] = Unit(*place, partial, Tally(exact=partial), Tally(exact=partial))
            return units[place]

        for bucket, tally in self._buckets.items():
            unit_at(bucket).posts.add(tally)
        for each in (each for group in self._stored.values() for each in group):
            if each.start is not None:
                unit_at(each.start).stored.append(each)
                unit_at(each.start).texts.add(each.tally)
        return sorted(units.values(), key=lambda unit: (unit.end, unit.start))

    def _places(self) -> Places:
        stored = (each for group in self._stored.values() for each in group)
        return Places(self._window, ((each.start, each.end) for each in stored if each.start is not None))

    def report(self, verdict: Verdict) -> Report:
        faults = Comparison(verdict.unbalanced[:EXPLAINED], self._texts_of_topic, self._texts_of_documents).faults()
        faults += [
            fault_of(unit, None, None, chunk_reasons(unit) or ["its texts differ"])
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
            stray_samples=tuple([*sorted(self._homeless), *islice(stray, SAMPLES)][:SAMPLES]),
            empty_partitions=tuple(self._empty_partitions()),
            faults=faults,
        )

    def _texts_of_topic(self, units: Sequence[Unit]) -> list[list["Text"]]:
        """The posts of each unit, read again."""
        found: list[list[Text]] = [[] for _ in units]
        places, index = self._places(), {(unit.start, unit.end): number for number, unit in enumerate(units)}
        ranges = [
            Range(number, piece.begin, piece.end)
            for number, partition in self._partitions.items()
            for piece in partition.pieces
            if any(unit.start <= piece.newest and piece.oldest < unit.end for unit in units)
        ]
        for record in self._records(self._terms.topic, ranges):
            seen = see(record.value, self._latest)
            number = index.get(places[self._bucket(seen.timestamp)]) if seen.kind == "post" else None
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


def joined(places: Iterable[Place]) -> list[Place]:
    """These stretches of time, those that touch as one; one for all when they are many."""
    parts: list[Place] = []
    for begin, end in sorted(places):
        if parts and begin <= parts[-1][1]:
            parts[-1] = parts[-1][0], max(end, parts[-1][1])
        else:
            parts.append((begin, end))
    return parts if len(parts) <= SPANS else [(parts[0][0], parts[-1][1])]


def close_together(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """These runs of offsets, those that are less than STRIDE apart as one."""
    before: tuple[int, int] | None = None
    for first, last in runs:
        if before and first - before[1] >= STRIDE:
            yield before
            before = None
        before = (before[0] if before else first), last
    if before:
        yield before
