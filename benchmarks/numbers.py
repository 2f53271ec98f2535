"""The arithmetic of the benchmarks and the format of its results. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SKIPPED_SHARE = 0.2  # of what a round moves: a submitted job compiles anew, which is not what it does for days
MILLION = 1_000_000


class Spread(NamedTuple):
    """Minimum, median and maximum of the counted rounds."""

    minimum: float
    median: float
    maximum: float


class Steady(NamedTuple):
    """The counted part of a round."""

    begin: float  # seconds since 1970 UTC
    end: float  # seconds since 1970 UTC
    share: float  # of what the round moved


@dataclass(frozen=True)
class Measurement:
    """What one side did in the counted part of a round."""

    posts: float
    seconds: float
    cpu_seconds: float  # processor time, user and system
    lost: int = 0  # posts that did not arrive
    note: str = ""  # printed with the round

    @property
    def rate(self) -> float:
        """Posts a second."""
        return self.posts / self.seconds

    @property
    def cpu(self) -> float:
        """Seconds of processor time for a million posts."""
        return self.cpu_seconds / self.posts * MILLION


def spread(values: Sequence[float]) -> Spread:
    return Spread(min(values), statistics.median(values), max(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratio of each pair of rounds."""
    return [one / other for one, other in zip(above, below, strict=True)]


def steady(times: Sequence[float], skipped: float = SKIPPED_SHARE) -> Steady:
    """The part after the first items, `skipped` of all. times: when each item arrived, in any order, at least two.

    Items that arrived together with the last one of the first items are not counted either: one look at the store can
    find many.
    """
    ordered = sorted(times)
    begin = ordered[int(len(ordered) * skipped)]
    return Steady(begin, ordered[-1], sum(time > begin for time in ordered) / len(ordered))


def at(samples: Sequence[tuple[float, float]], time: float) -> float:
    """The value at a time, on the straight line between the two samples (time, value) around it.

    Before the first sample and after the last one it is theirs.
    """
    before = samples[0]
    for after in samples:
        if after[0] >= time:
            if after[0] == before[0]:
                return after[1]
            part = (time - before[0]) / (after[0] - before[0])
            return before[1] + max(part, 0.0) * (after[1] - before[1])
        before = after
    return before[1]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


def summary(subject: str, rounds: Mapping[str, Sequence[Measurement]], notes: Mapping[str, str]) -> list[str]:
    """The result of a comparison as a Markdown table: medians, with minimum and maximum.

    subject: the side whose ratio to each other one is given, pair by pair.
    rounds: the counted rounds of each side.
    notes: last column, by side; without any there is no such column.
    """
    titles = ["Side", "posts/s", f"{subject} / side", "cpu s per million posts", "lost"]
    rows = [titles]
    rates = {side: [each.rate for each in found] for side, found in rounds.items()}
    for side, found in rounds.items():
        ratio = "" if side == subject else cell(ratios(rates[subject], rates[side]), 2)
        lost = sum(each.lost for each in found)
        rows.append([side, cell(rates[side]), ratio, cell([each.cpu for each in found], 2), f"{lost:,}"])
    if notes:
        rows = [
            [*row, note]
            for row, note in zip(rows, ["guarantee", *(notes.get(side, "") for side in rounds)], strict=True)
        ]
    return markdown(rows)


def cell(values: Sequence[float], digits: int = 0) -> str:
    """Median, and minimum to maximum."""
    found = spread(values)
    return f"{found.median:,.{digits}f} ({found.minimum:,.{digits}f} to {found.maximum:,.{digits}f})"


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table, the first row of which has the titles, as lines of Markdown with columns of equal widths."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
