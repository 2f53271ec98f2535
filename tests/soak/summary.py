"""The result of a soak: figures, whether it has passed, and the printed lines. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from jobs.audit.report import Report
from tests.soak.memory import Growth
from tests.soak.settings import SoakSettings

# A slope below this is flat: at this slope, a day's growth is less than the memory of one TaskManager.
FLAT_MIB_PER_HOUR = 100.0
# A slope over less time does not count.
MIN_SLOPE_SECONDS = 300.0


class Accumulated:
    """The total of a counter that each restart resets."""

    def __init__(self) -> None:
        self._before = 0
        self._last = 0

    def add(self, value: int) -> None:
        if value < self._last:
            self._before += self._last
        self._last = value

    @property
    def total(self) -> int:
        return self._before + self._last


@dataclass(frozen=True)
class Posts:
    """The counted posts."""

    posts: int  # in the topic
    lost: int  # numbers that are missing or reported LOST, and texts that are missing in documents
    duplicates: int  # numbers and texts that exist more than once
    late: int  # rejected as late
    other: int  # rejected for another reason
    balanced: bool  # the audit balances


def count_posts(report: Report, rejections: Iterable[str]) -> Posts:
    """rejections: the reason of each record in `tweets.rejected`."""
    reasons = Counter("late" if reason == "late" else "other" for reason in rejections)
    windows = report.topic.mismatches
    return Posts(
        posts=sum(each.posts for each in report.numbers),
        lost=sum(each.lost + each.missing for each in report.numbers) + sum(each.missing or 0 for each in windows),
        duplicates=sum(each.duplicates for each in report.numbers) + sum(each.extra or 0 for each in windows),
        late=reasons["late"],
        other=reasons["other"],
        balanced=report.balanced,
    )


@dataclass(frozen=True)
class Result:
    """All results of a soak."""

    settings: SoakSettings
    faults: Mapping[str, int]  # how many, by part and action
    skipped: int  # faults that could not be injected
    ended: Mapping[str, int]  # programs that ended by themselves, by part
    catch_up: float  # seconds from the end of the faults to a document of a window that began after it
    posts: Posts
    dropped: int  # numLateRecordsDropped
    restarts_in_place: int  # how often jobs restarted in one TaskManager, at most
    orphaned_workers: int  # Python workers of killed TaskManagers that still run at the end
    memory: Sequence[Growth]
    stubs: Collection[str]  # groups of `memory` that are stubs of a program: their growth is shown and does not count
    kafka_mib: Sequence[float]  # size of Kafka's folder, from first to last
    cores: float  # used on average

    @property
    def failures(self) -> list[str]:
        """What has failed; [] if the soak has passed."""
        posts = self.posts
        counts = {"lost": posts.lost, "twice": posts.duplicates, "late": posts.late, "rejected": posts.other}
        counts |= {"numLateRecordsDropped": self.dropped}
        found = [f"{name} {count:,}" for name, count in counts.items() if count]
        found += [] if posts.balanced else ["the audit does not balance"]
        found += [] if posts.posts else ["no posts"]
        found += [f"{part} ended by itself" for part in self.ended]
        programs = [each for each in self.memory if each.group not in self.stubs]
        return found + [
            f"memory of {each.group} {slope_result(each)}" for each in programs if slope_result(each) != "flat"
        ]


def slope_result(growth: Growth) -> str:
    if growth.slope is None or growth.seconds < MIN_SLOPE_SECONDS:
        return f"not judged, which needs {MIN_SLOPE_SECONDS:.0f} s"
    return "flat" if growth.slope < FLAT_MIB_PER_HOUR else "grows"


def lines(result: Result) -> Iterator[str]:
    settings, posts = result.settings, result.posts
    yield f"soak: MINUTES={settings.minutes} SEED={settings.seed} RATE={settings.rate:g}"
    faults = f"{sum(result.faults.values())} ({format_counts(result.faults)})"
    yield f"  faults: {faults}, {result.skipped} could not be done"
    counts = f"posts: {posts.posts:,}, lost {posts.lost:,}, twice {posts.duplicates:,}, late {posts.late:,}"
    yield f"  {counts}, rejected for another reason {posts.other:,}, numLateRecordsDropped {result.dropped:,}"
    balance = "balanced" if posts.balanced else "NOT BALANCED"
    yield f"  audit: {balance}; caught up {result.catch_up:.0f} s after the last fault"
    for each in result.memory:
        what = "stub of MongoDB, not judged" if each.group in result.stubs else slope_result(each)
        yield f"  memory of {growth_line(each)}: {what}"
    yield f"  flat: below {FLAT_MIB_PER_HOUR:g} MiB/h, as the common slope of all processes after their warm-up"
    first, last = result.kafka_mib[0], result.kafka_mib[-1]
    yield f"  Kafka's data: {first:,.0f} MiB at the start, at most {max(result.kafka_mib):,.0f}, {last:,.0f} at the end"
    yield f"  starts of jobs in one TaskManager after its first ones: at most {result.restarts_in_place}"
    yield f"  Python workers left behind by killed TaskManagers, at the end: {result.orphaned_workers}"
    yield f"  ended by themselves: {format_counts(result.ended) or 'none'}; load: {result.cores:.2f} cores"
    yield "PASSED" if not result.failures else f"FAILED: {'; '.join(result.failures)}"


def growth_line(each: Growth) -> str:
    slope = "no slope" if each.slope is None else f"{each.slope:+,.0f} MiB/h"
    where = f"over {each.seconds:.0f} s of {each.processes} processes, the largest {each.peak:,.0f} MiB"
    return f"{each.group}: {slope} {where}"


def format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
