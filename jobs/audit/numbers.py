"""The first sum of the audit: each number of a feed is in the topic, emptied, rejected, or reported LOST. No I/O."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, NoReturn

# The collector's reasons in `tweets.rejected`.
EMPTIED = "empty after cleaning"
LOST = "lost: "
NOT_LOST = "rejected frames"

PAGE_BITS = 15
PAGE = 1 << PAGE_BITS
SAMPLES = 3
Run = tuple[int, int]  # the first and the last of consecutive numbers


def reject_constant(name: str) -> NoReturn:
    raise ValueError(name)


decode_json = json.JSONDecoder(parse_constant=reject_constant).decode


def read_object(value: bytes | None) -> dict[str, object] | None:
    """The JSON object in a record's value, behind a byte order mark or not; None if the value is anything else."""
    try:
        found = decode_json(value.decode("utf-8-sig")) if value else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def as_bigint(value: object) -> int | None:
    """A number as Flink reads a BIGINT."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,19}\s*", value):
        value = int(value)
    if isinstance(value, float) and abs(value) < 1 << 63:
        value = int(value)
    return value if type(value) is int and -(1 << 63) <= value < 1 << 63 else None


def parse_position(token: object) -> tuple[str, int | None]:
    """(numbering, number) of "<numbering>/<number>" or "<number>"; the number is None for anything else."""
    numbering, _, number = token.rpartition("/") if isinstance(token, str) else ("", "", "")
    return (numbering, int(number)) if re.fullmatch("[0-9]{1,19}", number, re.ASCII) else ("", None)


class NumberSet:
    """A set of integers from 0 that are mostly consecutive: one bit each."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, number: int) -> bool:
        """Returns False if the number was in the set already."""
        page = self._pages.get(number >> PAGE_BITS)
        if page is None:
            page = self._pages[number >> PAGE_BITS] = bytearray(PAGE // 8)
        index, bit = (number & (PAGE - 1)) >> 3, 1 << (number & 7)
        if page[index] & bit:
            return False
        page[index] |= bit
        return True

    def discard(self, number: int) -> None:
        if number in self:
            self._pages[number >> PAGE_BITS][(number & (PAGE - 1)) >> 3] ^= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        page = self._pages.get(number >> PAGE_BITS)
        return page is not None and bool(page[(number & (PAGE - 1)) >> 3] & 1 << (number & 7))

    def count(self, first: int = 0, last: int | None = None) -> int:
        """How many of the numbers from `first` to `last` are in the set."""
        return sum(word.bit_count() for _, word in self._words(first, last))

    def runs(self, first: int = 0, last: int | None = None) -> Iterator[Run]:
        """The runs of numbers in the set, within these limits, in order."""
        run: Run | None = None
        for base, word in self._words(first, last):
            for low, high in bit_runs(word, base):
                if run and low == run[1] + 1:
                    run = run[0], high
                    continue
                if run:
                    yield run
                run = low, high
        if run:
            yield run

    def missing_runs(self, first: int, last: int) -> Iterator[Run]:
        """The runs of numbers that are not in the set, within these limits, in order."""
        following = first
        for low, high in self.runs(first, last):
            if low > following:
                yield following, low - 1
            following = high + 1
        if following <= last:
            yield following, last

    @property
    def last(self) -> int | None:
        for number in sorted(self._pages, reverse=True):
            if word := int.from_bytes(self._pages[number], "little"):
                return (number << PAGE_BITS) + word.bit_length() - 1
        return None

    def _words(self, first: int, last: int | None) -> Iterator[tuple[int, int]]:
        """(number of the lowest bit, bits) of each page. No bit outside the limits is set."""
        begin, end = first >> PAGE_BITS, None if last is None else (last >> PAGE_BITS) + 1
        few = end is not None and end - begin < len(self._pages)
        for number in range(begin, end or 0) if few else sorted(self._pages):
            base = number << PAGE_BITS
            if number not in self._pages or base + PAGE <= first or (last is not None and base > last):
                continue
            word = int.from_bytes(self._pages[number], "little")
            if last is not None and last < base + PAGE - 1:
                word &= (1 << (last - base + 1)) - 1
            if first > base:
                word = word >> (first - base) << (first - base)
            yield base, word


def bit_runs(word: int, base: int) -> Iterator[Run]:
    """The runs of bits that are set. base: the number of the lowest bit."""
    while word:
        zeros = (word & -word).bit_length() - 1
        word, base = word >> zeros, base + zeros
        length = (~word & (word + 1)).bit_length() - 1
        yield base, base + length - 1
        word, base = word >> length, base + length


class Gap(NamedTuple):
    """A gap that the collector reported: `lost` + `rejected` of the numbers from `first` to `last`.

    A shard has only some of the numbers in between.

    first, last: None if unknown.
    lost: numbers that were not delivered.
    rejected: frames whose number could not be read.
    reason: a text for the report.
    """

    first: int | None
    last: int | None
    lost: int
    rejected: int
    reason: str

    @property
    def size(self) -> int:
        return self.lost + self.rejected


def positions_of(rejection: Mapping[str, object]) -> Sequence[object]:
    """The `position` of each frame or part of a frame that a record of `tweets.rejected` stands for."""
    positions, items = rejection.get("positions"), rejection.get("items")
    if isinstance(positions, list):
        return positions
    return [None] * len(items) if isinstance(items, list) else [rejection.get("position")]


def parse_gap(rejection: Mapping[str, object]) -> tuple[str, Gap] | None:
    """(numbering, gap) of a record of `tweets.rejected`; None if it reports no gap."""
    reason, record = rejection.get("reason"), rejection.get("record")
    if not isinstance(reason, str) or not (reason.startswith(LOST) or reason == NOT_LOST):
        return None
    described = read_object(record.encode("utf-8", "replace")) if isinstance(record, str) else None
    if described is None or not {"numbering", "first", "last"} <= described.keys():
        return None
    first, last = as_bigint(described["first"]), as_bigint(described["last"])
    lost, rejected = max(0, as_bigint(described.get("lost")) or 0), max(0, as_bigint(described.get("rejected")) or 0)
    if first is not None and last is not None and not 0 <= first <= last:
        return None
    return str(described["numbering"] or ""), Gap(first, last, lost, rejected, reason.removeprefix(LOST))


@dataclass(frozen=True)
class NumberSum:
    """The first sum of one source and numbering: the numbers from `first` to `last`.

    Balanced: each of them is one of posts, emptied, rejected or lost.

    missing: how many numbers are none of these. missing_samples: some of them, as runs.
    duplicates: how many numbers occur more than once. duplicate_samples: some of them.
    gaps: the gaps that were reported as LOST.
    earlier, later: known numbers below `first` and above `last`, which are not checked (yet).
    """

    source: str
    numbering: str
    first: int
    last: int
    posts: int
    emptied: int
    rejected: int
    lost: int
    missing: int
    missing_samples: tuple[Run, ...]
    duplicates: int
    duplicate_samples: tuple[int, ...]
    gaps: tuple[Gap, ...]
    earlier: int
    later: int

    @property
    def numbers(self) -> int:
        return self.last - self.first + 1

    @property
    def balanced(self) -> bool:
        return not self.missing and not self.duplicates


@dataclass(frozen=True)
class SourceCount:
    """The records of a source whose first sum cannot be computed. reason: in a few words."""

    source: str
    posts: int = 0
    emptied: int = 0
    rejected: int = 0
    gaps: tuple[Gap, ...] = ()
    reason: str = "without a number"


class Heartbeat(NamedTuple):
    """A heartbeat: its event time in ms, and the newest number of shard `shard` of `shards`."""

    timestamp: int
    shards: int
    shard: int
    number: int


@dataclass
class NumberSeries:
    """Everything that is known about the numbers of one source and numbering.

    known: the numbers of posts, emptied and rejected posts together.
    emptied, rejected: numbers of posts that the collector did not publish.
    gaps: the gaps that the collector reported.
    duplicates: how many numbers occurred more than once. duplicate_samples: some of them.
    heartbeat_numbers: the newest number in the heartbeats of each (shards, shard).
    oldest_timestamp: the oldest event time, ms.
    deleted_up_to: the number up to which retention may have deleted records, by ("topic" or "rejected", partition).
        None: retention may have deleted any record.
    check_up_to: the last number to check. `set_check_up_to` sets it.
    """

    source: str
    numbering: str
    known: NumberSet = field(default_factory=NumberSet)
    emptied: NumberSet = field(default_factory=NumberSet)
    rejected: NumberSet = field(default_factory=NumberSet)
    gaps: list[Gap] = field(default_factory=list)
    duplicates: int = 0
    duplicate_samples: list[int] = field(default_factory=list)
    heartbeat_numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    oldest_timestamp: float = float("inf")
    oldest_heartbeat: Heartbeat | None = None
    newest_heartbeat: Heartbeat | None = None
    deleted_up_to: dict[tuple[str, int], int | None] = field(default_factory=dict)
    check_up_to: int | None = None

    def add_post(self, number: int) -> None:
        """Add the number of a post."""
        if not self.known.add(number):
            self.duplicates += 1
            if number not in self.duplicate_samples:
                self.duplicate_samples = [*self.duplicate_samples, number][:SAMPLES]

    def add_unpublished(self, number: int, *, emptied: bool) -> None:
        """Add the number of a post that the collector did not publish."""
        if number not in self.known:
            (self.emptied if emptied else self.rejected).add(number)
        self.add_post(number)

    def add_heartbeat(self, heartbeat: Heartbeat) -> None:
        shard = heartbeat.shards, heartbeat.shard
        self.heartbeat_numbers[shard] = max(heartbeat.number, self.heartbeat_numbers.get(shard, 0))
        self.oldest_heartbeat = min(self.oldest_heartbeat or heartbeat, heartbeat)
        self.newest_heartbeat = max(self.newest_heartbeat or heartbeat, heartbeat)

    def set_check_up_to(self) -> None:
        """Set `check_up_to` to the highest number that is known now."""
        shards = self.newest_heartbeat.shards if self.newest_heartbeat else 1
        if shards > 1:  # one shard may be far behind another
            self.check_up_to = min(number for (count, _), number in self.heartbeat_numbers.items() if count == shards)
        else:
            ends = [self.known.last, *self.heartbeat_numbers.values(), *(gap.last for gap in self.gaps)]
            self.check_up_to = max((end for end in ends if end is not None), default=None)

    def sum(self) -> NumberSum | None:
        """The first sum; None if no number can be checked."""
        first, last = self._first(), self.check_up_to
        if first is None or last is None or first > last:
            return None
        parts = [part for gap in self._closed_gaps() if (part := clipped(gap, first, last))]
        full = [(part.first or 0, part.last or 0) for part in parts if part.size == gap_length(part)]
        covered = union(full)
        assigned, excess = self._assign_partial_gaps([part for part in parts if part.size != gap_length(part)], covered)
        known_in_gaps = sum(self.known.count(*run) for run in full)
        overlap = sum(high - low + 1 for low, high in full) - sum(high - low + 1 for low, high in covered)
        uncovered = sum(high - low + 1 - self.known.count(low, high) for low, high in covered)
        known, emptied = self.known.count(first, last), self.emptied.count(first, last)
        rejected = self.rejected.count(first, last)
        return NumberSum(
            source=self.source,
            numbering=self.numbering,
            first=first,
            last=last,
            posts=known - emptied - rejected,
            emptied=emptied,
            rejected=rejected + sum(part.rejected for part in parts),
            lost=sum(part.lost for part in parts),
            missing=last - first + 1 - known - uncovered - assigned.count(),
            missing_samples=tuple(islice(self._missing(first, last, covered, assigned), SAMPLES)),
            duplicates=self.duplicates + known_in_gaps + overlap + excess,
            duplicate_samples=tuple(self.duplicate_samples),
            gaps=tuple(gap for gap in self.gaps if gap.lost or gap.last is None),
            earlier=self.known.count(0, first - 1) if first else 0,
            later=self.known.count(last + 1),
        )

    def unchecked(self) -> SourceCount:
        """The counts of a series whose `sum` is None."""
        emptied, rejected = self.emptied.count(), self.rejected.count()
        name, posts = f"{self.source} {self.numbering}".strip(), self.known.count() - emptied - rejected
        return SourceCount(name, posts, emptied, rejected, tuple(self.gaps), "besides those that retention deleted")

    def _first(self) -> int | None:
        """The lowest number that can be checked."""
        begins = [low for low, _ in islice(self.known.runs(), 1)]
        begins += [gap.first for gap in self.gaps if gap.first is not None and gap.last is not None]
        deleted = [number for number in self.deleted_up_to.values() if number is not None]
        if not begins or len(deleted) < len(self.deleted_up_to):
            return None
        first = max([min(begins), *(number + 1 for number in deleted)])
        shards = self.oldest_heartbeat.shards if self.oldest_heartbeat else 1
        # Each shard began with the first number of its own connection.
        return first if shards <= 1 else max(self._first_of_shard(first, shard, shards) for shard in range(shards))

    def _first_of_shard(self, first: int, shard: int, shards: int) -> int:
        """The first known number of a shard from `first` on; after the last number to check if there is none."""
        begin = first + (shard - first) % shards
        firsts = ((low + (begin - low) % shards, high) for low, high in self.known.runs(begin))
        found = next((number for number, high in firsts if number <= high), None)
        return (self.check_up_to or 0) + 1 if found is None else found

    def _closed_gaps(self) -> Iterator[Gap]:
        """The gaps. A gap of unknown size ends before the next known number, or before the next gap."""
        begins = sorted(gap.first for gap in self.gaps if gap.first is not None and gap.last is not None)
        for gap in self.gaps:
            if gap.first is None or gap.last is not None:
                yield from [gap] if gap.first is not None else []
                continue
            ends = [low for low, _ in islice(self.known.runs(gap.first), 1)]
            ends += begins[bisect_right(begins, gap.first - 1) :][:1]
            if ends and min(ends) > gap.first:
                yield gap._replace(last=min(ends) - 1, lost=min(ends) - gap.first, rejected=0)

    def _assign_partial_gaps(self, gaps: Iterable[Gap], covered: Sequence[Run]) -> tuple[NumberSet, int]:
        """Choose missing numbers for the gaps of shards, which report a count and not which numbers.

        Returns the chosen numbers, and how many more numbers the gaps report than are missing.
        """
        assigned, excess = NumberSet(), 0
        for gap in sorted(gaps, key=lambda gap: gap.last or 0):
            free = (
                number
                for low, high in self.known.missing_runs(gap.first or 0, gap.last or 0)
                for begin, end in subtract(low, high, covered)
                for number in range(begin, end + 1)
                if number not in assigned
            )
            numbers = list(islice(free, gap.size))
            excess += gap.size - len(numbers)
            for number in numbers:
                assigned.add(number)
        return assigned, excess

    def _missing(self, first: int, last: int, covered: Sequence[Run], assigned: NumberSet) -> Iterator[Run]:
        for low, high in self.known.missing_runs(first, last):
            for begin, end in subtract(low, high, covered):
                yield from assigned.missing_runs(begin, end)


def gap_length(gap: Gap) -> int:
    return (gap.last or 0) - (gap.first or 0) + 1


def clipped(gap: Gap, first: int, last: int) -> Gap | None:
    """The part of a gap that lies in first..last."""
    begin, end = max(gap.first or 0, first), min(gap.last or 0, last)
    if begin > end or not gap.size:
        return None
    if (begin, end) == (gap.first, gap.last):
        return gap
    # It is unknown which of a shard's numbers are in this part: assume an even distribution.
    size = end - begin + 1 if gap.size == gap_length(gap) else gap.size * (end - begin + 1) // gap_length(gap)
    lost = min(gap.lost, size)
    return gap._replace(first=begin, last=end, lost=lost, rejected=size - lost)


def union(runs: Iterable[Run]) -> list[Run]:
    """These runs in order. Runs that overlap or follow each other are joined."""
    joined: list[Run] = []
    for low, high in sorted(runs):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined


def subtract(low: int, high: int, covered: Sequence[Run]) -> Iterator[Run]:
    """The runs of low..high without those of `covered`, which are in order."""
    for begin, end in covered[max(0, bisect_right(covered, (low, low)) - 1) :]:
        if begin > high:
            break
        if low < begin:
            yield low, begin - 1
        low = max(low, end + 1)
    if low <= high:
        yield low, high
