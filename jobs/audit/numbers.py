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


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


decode = json.JSONDecoder(parse_constant=refuse_constant).decode


def read_object(value: bytes | None) -> dict[str, object] | None:
    """The JSON object in a record's value; None if the value is anything else."""
    try:
        found = decode(value.decode()) if value else None
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


def position_of(token: object) -> tuple[str, int | None]:
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
            for low, high in ones(word, base):
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
        """(number of the lowest bit, bits) of each page, with no bit outside the limits."""
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


def ones(word: int, base: int) -> Iterator[Run]:
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
    reason: for people.
    """

    first: int | None
    last: int | None
    lost: int
    rejected: int
    reason: str

    @property
    def size(self) -> int:
        return self.lost + self.rejected


def gap_of(rejection: Mapping[str, object]) -> tuple[str, Gap] | None:
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

    missing: numbers that are none of these. missing_samples: some of them, as runs.
    doubled: numbers that occur more than once. doubled_samples: some of them.
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
    doubled: int
    doubled_samples: tuple[int, ...]
    gaps: tuple[Gap, ...]
    earlier: int
    later: int

    @property
    def numbers(self) -> int:
        return self.last - self.first + 1

    @property
    def balanced(self) -> bool:
        return not self.missing and not self.doubled


@dataclass(frozen=True)
class SourceCount:
    """The records of a source whose first sum cannot be computed. why: the reason, in a few words."""

    source: str
    posts: int = 0
    emptied: int = 0
    rejected: int = 0
    gaps: tuple[Gap, ...] = ()
    why: str = "without a number"


class Heartbeat(NamedTuple):
    """A heartbeat: its event time in ms, and the newest number of shard `shard` of `of`."""

    timestamp: int
    of: int
    shard: int
    number: int


@dataclass
class Account:
    """Everything that is known about the numbers of one source and numbering.

    known: the numbers of posts, emptied and rejected posts together.
    emptied, rejected: numbers of posts that the collector did not publish.
    gaps: the gaps that the collector reported.
    doubled, doubled_samples: numbers that occurred more than once, and some of them.
    stands: the newest number of each (of, shard), from heartbeats.
    since: the oldest event time, ms.
    oldest, newest: heartbeats.
    cuts: the number up to which retention may have deleted records, by ("topic" or "rejected", partition). None:
        retention may have deleted any record.
    limit: the last number to check; set by `freeze`.
    """

    source: str
    numbering: str
    known: NumberSet = field(default_factory=NumberSet)
    emptied: NumberSet = field(default_factory=NumberSet)
    rejected: NumberSet = field(default_factory=NumberSet)
    gaps: list[Gap] = field(default_factory=list)
    doubled: int = 0
    doubled_samples: list[int] = field(default_factory=list)
    stands: dict[tuple[int, int], int] = field(default_factory=dict)
    since: float = float("inf")
    oldest: Heartbeat | None = None
    newest: Heartbeat | None = None
    cuts: dict[tuple[str, int], int | None] = field(default_factory=dict)
    limit: int | None = None

    def add_post(self, number: int) -> None:
        """Add the number of a post."""
        if not self.known.add(number):
            self.doubled += 1
            if number not in self.doubled_samples:
                self.doubled_samples = [*self.doubled_samples, number][:SAMPLES]

    def add_unpublished(self, number: int, *, emptied: bool) -> None:
        """Add the number of a post that the collector did not publish."""
        if number not in self.known:
            (self.emptied if emptied else self.rejected).add(number)
        self.add_post(number)

    def add_heartbeat(self, heartbeat: Heartbeat) -> None:
        shard = heartbeat.of, heartbeat.shard
        self.stands[shard] = max(heartbeat.number, self.stands.get(shard, 0))
        self.oldest = min(self.oldest or heartbeat, heartbeat)
        self.newest = max(self.newest or heartbeat, heartbeat)

    def freeze(self) -> None:
        """Set `limit`: numbers above the highest number that is known now are not checked."""
        of = self.newest.of if self.newest else 1
        if of > 1:  # one shard may be far behind another
            self.limit = min(number for (shards, _), number in self.stands.items() if shards == of)
        else:
            ends = [self.known.last, *self.stands.values(), *(gap.last for gap in self.gaps)]
            self.limit = max((end for end in ends if end is not None), default=None)

    def sum(self) -> NumberSum | None:
        """The first sum; None if no number can be checked."""
        first, last = self._first(), self.limit
        if first is None or last is None or first > last:
            return None
        parts = [part for gap in self._closed_gaps() if (part := clipped(gap, first, last))]
        solid = [(part.first or 0, part.last or 0) for part in parts if part.size == length(part)]
        covered = union(solid)
        taken, excess = self._place([part for part in parts if part.size != length(part)], covered)
        inside = sum(self.known.count(*run) for run in solid)
        overlap = sum(high - low + 1 for low, high in solid) - sum(high - low + 1 for low, high in covered)
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
            missing=last - first + 1 - known - uncovered - taken.count(),
            missing_samples=tuple(islice(self._missing(first, last, covered, taken), SAMPLES)),
            doubled=self.doubled + inside + overlap + excess,
            doubled_samples=tuple(self.doubled_samples),
            gaps=tuple(gap for gap in self.gaps if gap.lost or gap.last is None),
            earlier=self.known.count(0, first - 1) if first else 0,
            later=self.known.count(last + 1),
        )

    def unjudged(self) -> SourceCount:
        """The counts of an account whose `sum` is None."""
        emptied, rejected = self.emptied.count(), self.rejected.count()
        name, posts = f"{self.source} {self.numbering}".strip(), self.known.count() - emptied - rejected
        return SourceCount(name, posts, emptied, rejected, tuple(self.gaps), "besides those that retention deleted")

    def _first(self) -> int | None:
        """The lowest number that can be checked."""
        begins = [low for low, _ in islice(self.known.runs(), 1)]
        begins += [gap.first for gap in self.gaps if gap.first is not None and gap.last is not None]
        cuts = [cut for cut in self.cuts.values() if cut is not None]
        if not begins or len(cuts) < len(self.cuts):
            return None
        first = max([min(begins), *(cut + 1 for cut in cuts)])
        of = self.oldest.of if self.oldest else 1
        # Each shard began with the first number of its own connection.
        return first if of <= 1 else max(self._first_of_shard(first, shard, of) for shard in range(of))

    def _first_of_shard(self, first: int, shard: int, of: int) -> int:
        begin = first + (shard - first) % of
        numbers = (low + (begin - low) % of for low, high in self.known.runs(begin) if low + (begin - low) % of <= high)
        found = next(numbers, None)
        return (self.limit or 0) + 1 if found is None else found

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

    def _place(self, gaps: Iterable[Gap], covered: Sequence[Run]) -> tuple[NumberSet, int]:
        """(numbers that these gaps of shards account for, how many more numbers they report than are missing)."""
        taken, excess = NumberSet(), 0
        for gap in sorted(gaps, key=lambda gap: gap.last or 0):
            free = (
                number
                for low, high in self.known.missing_runs(gap.first or 0, gap.last or 0)
                for begin, end in without(low, high, covered)
                for number in range(begin, end + 1)
                if number not in taken
            )
            numbers = list(islice(free, gap.size))
            excess += gap.size - len(numbers)
            for number in numbers:
                taken.add(number)
        return taken, excess

    def _missing(self, first: int, last: int, covered: Sequence[Run], taken: NumberSet) -> Iterator[Run]:
        for low, high in self.known.missing_runs(first, last):
            for begin, end in without(low, high, covered):
                yield from taken.missing_runs(begin, end)


def length(gap: Gap) -> int:
    return (gap.last or 0) - (gap.first or 0) + 1


def clipped(gap: Gap, first: int, last: int) -> Gap | None:
    """The part of a gap that lies in first..last."""
    begin, end = max(gap.first or 0, first), min(gap.last or 0, last)
    if begin > end or not gap.size:
        return None
    if (begin, end) == (gap.first, gap.last):
        return gap
    # It is unknown which of a shard's numbers are in this part: assume an even distribution.
    size = end - begin + 1 if gap.size == length(gap) else gap.size * (end - begin + 1) // length(gap)
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


def without(low: int, high: int, covered: Sequence[Run]) -> Iterator[Run]:
    """The runs of low..high without those of `covered`, which are in order."""
    for begin, end in covered[max(0, bisect_right(covered, (low, low)) - 1) :]:
        if begin > high:
            break
        if low < begin:
            yield low, begin - 1
        low = max(low, end + 1)
    if low <= high:
        yield low, high
