"""The first sum of the audit: a feed's numbers in the topic, emptied, rejected, or reported LOST. No I/O."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, NoReturn

# What the collector says in `tweets.rejected`.
EMPTIED = "empty after cleaning"
LOST = "lost: "
NOT_LOST = "rejected frames"

PAGE_BITS = 15
PAGE = 1 << PAGE_BITS
SAMPLES = 3
Run = tuple[int, int]  # the first and the last of numbers that follow each other


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


decode = json.JSONDecoder(parse_constant=refuse_constant).decode


def read_object(value: bytes | None) -> dict[str, object] | None:
    """The JSON object in a record's value, None when it is none."""
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
    """(numbering, number) of "<numbering>/<number>" or "<number>"; the number is None when it is no such text."""
    numbering, _, number = token.rpartition("/") if isinstance(token, str) else ("", "", "")
    return (numbering, int(number)) if re.fullmatch("[0-9]{1,19}", number, re.ASCII) else ("", None)


class NumberSet:
    """A set of whole numbers of 0 or more that mostly follow each other: a bit each."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, number: int) -> bool:
        """False when it was there already."""
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
        """How many of the numbers from `first` to `last` are there."""
        return sum(word.bit_count() for _, word in self._words(first, last))

    def runs(self, first: int = 0, last: int | None = None) -> Iterator[Run]:
        """The runs of numbers that are there, within these limits, in order."""
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
        """The runs of numbers that are not there, within these limits, in order."""
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
    """The runs of bits that are set; base: the number of the lowest bit."""
    while word:
        zeros = (word & -word).bit_length() - 1
        word, base = word >> zeros, base + zeros
        length = (~word & (word + 1)).bit_length() - 1
        yield base, base + length - 1
        word, base = word >> length, base + length


class Gap(NamedTuple):
    """Numbers that the collector reported as not delivered: `lost` + `rejected` of those from `first` to `last`.

    A shard has only some of the numbers in between. first, last: None when nobody knows it; rejected: frames whose
    number could not be read; reason: why, for people.
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
    """(numbering, gap) of a record of `tweets.rejected` that reports one, else None."""
    reason, record = rejection.get("reason"), rejection.get("record")
    if not isinstance(reason, str) or not (reason.startswith(LOST) or reason == NOT_LOST):
        return None
    told = read_object(record.encode("utf-8", "replace")) if isinstance(record, str) else None
    if told is None or not {"numbering", "first", "last"} <= told.keys():
        return None
    first, last = as_bigint(told["first"]), as_bigint(told["last"])
    lost, rejected = max(0, as_bigint(told.get("lost")) or 0), max(0, as_bigint(told.get("rejected")) or 0)
    if first is not None and last is not None and not 0 <= first <= last:
        return None
    return str(told["numbering"] or ""), Gap(first, last, lost, rejected, reason.removeprefix(LOST))


@dataclass(frozen=True)
class NumberSum:
    """The first sum of one source and numbering.

    The numbers from `first` to `last` are judged: posts + emptied + rejected + lost. missing, doubled: how many numbers
    are nowhere, or more than once, with some of them. gaps: what was reported LOST. earlier, later: how many known
    numbers lie outside first..last, and are not judged (yet).
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
    """Records of a source with which the first sum cannot be computed; why: in a few words."""

    source: str
    posts: int = 0
    emptied: int = 0
    rejected: int = 0
    gaps: tuple[Gap, ...] = ()
    why: str = "without a number"


class Beat(NamedTuple):
    """What a heartbeat says: its event time, and the number at which shard `shard` of `of` stands."""

    timestamp: int
    of: int
    shard: int
    number: int


@dataclass
class Account:
    """All that is known about the numbers of one source and numbering.

    known: all numbers of posts, emptied and rejected; stands: the newest number of each (of, shard); oldest, newest:
    heartbeats; since: the oldest event time, ms. cuts: up to which number retention may have dropped records, by where;
    None: all that there are.
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
    oldest: Beat | None = None
    newest: Beat | None = None
    cuts: dict[tuple[str, int], int | None] = field(default_factory=dict)
    limit: int | None = None

    def take(self, number: int) -> None:
        """The number of a post."""
        if not self.known.add(number):
            self.doubled += 1
            if number not in self.doubled_samples:
                self.doubled_samples = [*self.doubled_samples, number][:SAMPLES]

    def refuse(self, number: int, *, emptied: bool) -> None:
        """The number of a post that the collector did not publish."""
        if number not in self.known:
            (self.emptied if emptied else self.rejected).add(number)
        self.take(number)

    def beat(self, beat: Beat) -> None:
        place = beat.of, beat.shard
        self.stands[place] = max(beat.number, self.stands.get(place, 0))
        self.oldest = min(self.oldest or beat, beat)
        self.newest = max(self.newest or beat, beat)

    def freeze(self) -> None:
        """What is numbered higher than anything now is not judged."""
        of = self.newest.of if self.newest else 1
        if of > 1:  # one shard may be far behind another
            self.limit = min(number for (shards, _), number in self.stands.items() if shards == of)
        else:
            ends = [self.known.last, *self.stands.values(), *(gap.last for gap in self.gaps)]
            self.limit = max((end for end in ends if end is not None), default=None)

    def sum(self) -> NumberSum | None:
        """None when there is no number that can be judged."""
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
        """What there is to say where `sum` has nothing to say."""
        emptied, rejected = self.emptied.count(), self.rejected.count()
        name, posts = f"{self.source} {self.numbering}".strip(), self.known.count() - emptied - rejected
        return SourceCount(name, posts, emptied, rejected, tuple(self.gaps), "beside what retention has dropped")

    def _first(self) -> int | None:
        """The lowest number that can be judged."""
        begins = [low for low, _ in islice(self.known.runs(), 1)]
        begins += [gap.first for gap in self.gaps if gap.first is not None and gap.last is not None]
        cuts = [cut for cut in self.cuts.values() if cut is not None]
        if not begins or len(cuts) < len(self.cuts):
            return None
        first = max([min(begins), *(cut + 1 for cut in cuts)])
        of = self.oldest.of if self.oldest else 1
        # Each shard began with what its own connection got first.
        return first if of <= 1 else max(self._first_of_shard(first, shard, of) for shard in range(of))

    def _first_of_shard(self, first: int, shard: int, of: int) -> int:
        begin = first + (shard - first) % of
        numbers = (low + (begin - low) % of for low, high in self.known.runs(begin) if low + (begin - low) % of <= high)
        found = next(numbers, None)
        return (self.limit or 0) + 1 if found is None else found

    def _closed_gaps(self) -> Iterator[Gap]:
        """The gaps, of which one of unknown size ends before the next number that is known, or the next gap."""
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
        """(numbers that these gaps of shards account for, how many more they report than are nowhere)."""
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
    # Nobody knows which of a shard's numbers lie in this part.
    size = end - begin + 1 if gap.size == length(gap) else gap.size * (end - begin + 1) // length(gap)
    lost = min(gap.lost, size)
    return gap._replace(first=begin, last=end, lost=lost, rejected=size - lost)


def union(runs: Iterable[Run]) -> list[Run]:
    """These runs in order, those that overlap or follow each other as one."""
    joined: list[Run] = []
    for low, high in sorted(runs):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined


def without(low: int, high: int, covered: Sequence[Run]) -> Iterator[Run]:
    """What is left of low..high without these runs, which are in order."""
    for begin, end in covered[max(0, bisect_right(covered, (low, low)) - 1) :]:
        if begin > high:
            break
        if low < begin:
            yield low, begin - 1
        low = max(low, end + 1)
    if low <= high:
        yield low, high
