"""The result of the audit, as values and as printed lines. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jobs.audit.numbers import Gap, NumberSum, SourceCount

MAX_TEXT_LENGTH = 60
MAX_SHOWN_GAPS = 5


@dataclass(frozen=True)
class Mismatch:
    """A window, or a document, that does not balance.

    end: end of the window, ISO 8601.
    posts: posts in the topic.
    in_documents: texts in the documents.
    rejected: posts that the aggregator rejected.
    missing, extra: how many texts the documents lack, and have too many of. None: the texts were not compared.
    reasons: texts for the report.
    """

    end: str
    posts: int
    in_documents: int
    rejected: int
    missing: int | None
    extra: int | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class TopicSum:
    """The second sum: posts + others = in_documents + rejected.

    windows: closed windows with posts.
    posts: posts of closed windows.
    others: records that belong to no closed window and were rejected, or must be.
    in_documents: texts in the documents of closed windows.
    rejected: records that the aggregator rejected.
    in_flight: posts of open windows.
    in_flight_from: end of the first open window, ISO 8601.
    partial: windows whose first posts the topic no longer holds.
    old_documents: documents older than the topic.
    expired: windows with posts in the topic whose documents may have been deleted because of their age.
    missing_rejections: records that cannot be in a document and are not rejected.
    orphaned_rejections: rejections that refer to no record.
    empty_partitions: partitions without a record, because of which no window is known to be closed.
    mismatches: the windows and documents that do not balance.
    """

    topic: str
    windows: int
    posts: int
    others: int
    in_documents: int
    rejected: int
    in_flight: int
    in_flight_from: str | None
    partial: int
    old_documents: int
    expired: int
    missing_rejections: int
    missing_rejection_samples: tuple[str, ...]
    orphaned_rejections: int
    orphaned_rejection_samples: tuple[str, ...]
    empty_partitions: tuple[int, ...]
    mismatches: tuple[Mismatch, ...]

    @property
    def balanced(self) -> bool:
        return not (self.mismatches or self.missing_rejections or self.orphaned_rejections)


@dataclass(frozen=True)
class ReplaySum:
    """What `make rejected` did. The rejections still count as rejected in the first sum.

    replayed, discarded: rejections that are marked so.
    written: how many posts the markers of the replayed ones name.
    posts: posts in the topic that are replays. duplicates: how many of them are there twice.
    """

    replayed: int = 0
    discarded: int = 0
    written: int = 0
    posts: int = 0
    duplicates: int = 0


@dataclass(frozen=True)
class Report:
    """Both sums, and the replays. unreadable: records of `tweets.rejected` that neither job wrote."""

    numbers: tuple[NumberSum, ...]
    sources: tuple[SourceCount, ...]
    topic: TopicSum
    unreadable: int = 0
    replays: ReplaySum = ReplaySum()

    @property
    def balanced(self) -> bool:
        return self.topic.balanced and all(each.balanced for each in self.numbers) and not self.replays.duplicates

    @property
    def lines(self) -> list[str]:
        lines = [line for each in self.numbers for line in number_lines(each)]
        lines += [line for each in self.sources for line in source_lines(each)]
        lines += replay_lines(self.replays)
        lines += topic_lines(self.topic)
        if self.unreadable:
            lines.append(f"  {self.unreadable} records of the topic of rejections were written by neither job")
        return [*lines, last_line(self)]


def number_lines(each: NumberSum) -> Iterator[str]:
    name = f"{each.source} {each.numbering}".strip()
    parts = f"{each.posts} posts + {each.emptied} emptied + {each.rejected} rejected + {each.lost} lost"
    yield f"{printable(name)}: numbers {each.first}..{each.last} = {each.numbers}: {parts}"
    yield from gap_lines(each.gaps)
    if each.earlier:
        yield f"  {each.earlier} numbers below {each.first} are not checked: retention may have deleted some of them"
    if each.later:
        yield f"  {each.later} numbers above {each.last} are not checked: they are new, or another shard is behind"
    if each.missing:
        samples = join_samples(list(map(run_text, each.missing_samples)), each.missing)
        yield f"  {each.missing} numbers are missing: {samples}"
    if each.duplicates:
        samples = join_samples(list(map(str, each.duplicate_samples)), 0)
        yield f"  {each.duplicates} numbers occur more than once: {samples}"
    if each.balanced:
        yield "  balanced"


def gap_lines(gaps: Sequence[Gap]) -> Iterator[str]:
    for gap in gaps[:MAX_SHOWN_GAPS]:
        size = f"{gap.lost} in {gap.first}..{gap.last}" if gap.last is not None else f"from {gap.first} on"
        yield f"  LOST: {size}: {printable(gap.reason)}"
    if len(gaps) > MAX_SHOWN_GAPS:
        yield f"  LOST: and {len(gaps) - MAX_SHOWN_GAPS} more such ranges"


def source_lines(each: SourceCount) -> Iterator[str]:
    counts = f"{each.posts} posts, {each.emptied} emptied, {each.rejected} rejected"
    yield f"{printable(each.source)}: {counts} {each.reason}: their first sum cannot be computed"
    yield from gap_lines(each.gaps)


def replay_lines(each: ReplaySum) -> Iterator[str]:
    if each.replayed or each.discarded:
        what = f"{each.replayed} replayed as {each.written} posts, {each.discarded} discarded"
        yield f"rejections, counted above: {what}; {each.posts} replayed posts are in the topic"
    elif each.posts:
        yield f"{each.posts} replayed posts are in the topic; retention has deleted their rejections"
    if each.duplicates:
        yield f"  {each.duplicates} replayed posts are in the topic twice"


def topic_lines(topic: TopicSum) -> Iterator[str]:
    others = f" + {topic.others} records of no closed window" if topic.others else ""
    left, right = topic.posts + topic.others, topic.in_documents + topic.rejected
    sign = "=" if left == right else "is not"
    sums = f"{topic.posts} posts in {topic.windows} closed windows{others} {sign} {topic.in_documents} in documents"
    flight = f"; {topic.in_flight} posts in flight (windows that end from {topic.in_flight_from} on)"
    yield f"topic {topic.topic}: {sums} + {topic.rejected} rejected{flight if topic.in_flight else ''}"
    if topic.partial:
        yield f"  {topic.partial} windows may have lost posts of the topic: their documents may hold more posts"
    if topic.old_documents:
        yield f"  {topic.old_documents} documents are older than the topic and are not checked"
    if topic.expired:
        yield f"  {topic.expired} windows are older than MONGODB_RETENTION_DAYS and are not checked"
    if topic.empty_partitions:
        numbers = ", ".join(map(str, topic.empty_partitions))
        yield f"  partition {numbers} holds no record: without IDLE_SECONDS no window is known to be closed"
    if topic.missing_rejections:
        samples = join_samples(list(topic.missing_rejection_samples), topic.missing_rejections)
        yield f"  {topic.missing_rejections} records cannot be in a document and are not rejected: {samples}"
    if topic.orphaned_rejections:
        samples = join_samples([*map(printable, topic.orphaned_rejection_samples)], topic.orphaned_rejections)
        yield f"  {topic.orphaned_rejections} rejections refer to no record of the topic: {samples}"
    for mismatch in topic.mismatches:
        counts = f"{mismatch.posts} posts, {mismatch.in_documents} in documents, {mismatch.rejected} rejected"
        yield f"  window {mismatch.end}: {counts}: {'; '.join(mismatch.reasons)}"


def last_line(report: Report) -> str:
    topic = report.topic
    missing, duplicates = sum(e.missing for e in report.numbers), sum(e.duplicates for e in report.numbers)
    parts = [
        (missing, "missing numbers"),
        (duplicates, "duplicate numbers"),
        (report.replays.duplicates, "posts replayed twice"),
        (len(topic.mismatches), "windows or documents"),
        (topic.missing_rejections, "records neither in a document nor rejected"),
        (topic.orphaned_rejections, "rejections without a record"),
    ]
    wrong = ", ".join(f"{count} {what}" for count, what in parts if count)
    return f"NOT BALANCED: {wrong}" if wrong else "balanced"


def run_text(run: tuple[int, int]) -> str:
    return str(run[0]) if run[0] == run[1] else f"{run[0]}..{run[1]}"


def join_samples(samples: Sequence[str], count: int) -> str:
    """Samples in one line, with `...` if there are more."""
    return ", ".join(samples) + (", ..." if samples and count > len(samples) else "")


def printable(text: str) -> str:
    """An untrusted text for one line: at most MAX_TEXT_LENGTH characters, with control characters escaped."""
    shortened = text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}…"
    return shortened if shortened.isprintable() else ascii(shortened)[1:-1]


def quoted(text: str) -> str:
    return f'"{printable(text)}"'
