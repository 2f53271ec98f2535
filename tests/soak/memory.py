"""How fast the memory of a group of processes grows, from samples of each process. Pure.

A process that was started again begins a new series. A slope is the common one of all series of a group: each series
is taken relative to its own mean, so that a process which is larger or smaller than the one before it counts for
nothing. Samples of a process younger than its group's warm-up are left out.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

HOUR = 3600.0


@dataclass(frozen=True)
class Sample:
    """at: seconds after the beginning; process: tells processes of a group apart; age: seconds; mib: resident memory;
    cpu: seconds that the process has used so far."""

    at: float
    group: str
    process: str
    age: float
    mib: float
    cpu: float


@dataclass(frozen=True)
class Growth:
    """Of one group. slope: MiB an hour, None without two samples of one process after the warm-up; seconds: the sum of
    what the series cover after the warm-up; processes: how many there were; peak: MiB of the largest process."""

    group: str
    slope: float | None
    seconds: float
    processes: int
    peak: float


def growth(samples: Iterable[Sample], warm_up: Mapping[str, float]) -> list[Growth]:
    """One for each group, in the order in which they come. warm_up: seconds by group."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.group].append(sample)
    return [group_growth(group, found, warm_up.get(group, 0)) for group, found in groups.items()]


def group_growth(group: str, samples: Sequence[Sample], warm_up: float) -> Growth:
    warm = [[each for each in one if each.age >= warm_up] for one in series(samples)]
    lines = [[(each.at, each.mib) for each in one] for one in warm if len(one) > 1]
    return Growth(
        group=group,
        slope=common_slope(lines),
        seconds=sum(line[-1][0] - line[0][0] for line in lines),
        processes=len(series(samples)),
        peak=max(each.mib for each in samples),
    )


def series(samples: Iterable[Sample]) -> list[list[Sample]]:
    """The samples of each process."""
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.process].append(sample)
    return list(found.values())


def common_slope(lines: Iterable[Sequence[tuple[float, float]]]) -> float | None:
    """The slope, an hour, of (seconds, value) lines that are parallel but for their distance; None without any."""
    above = below = 0.0
    for line in lines:
        middle = sum(at for at, _ in line) / len(line)
        mean = sum(value for _, value in line) / len(line)
        above += sum((at - middle) * (value - mean) for at, value in line)
        below += sum((at - middle) ** 2 for at, _ in line)
    return above / below * HOUR if below else None


def cores(samples: Sequence[Sample]) -> float:
    """How many cores all processes together kept busy, on average, between the first sample and the last.

    What a process used after its last sample is not in it.
    """
    begin = min((each.at for each in samples), default=0.0)
    seconds = max((each.at for each in samples), default=0.0) - begin
    used = sum(one[-1].cpu - (one[0].cpu if one[0].at == begin else 0) for one in series(samples))
    return used / seconds if seconds else 0.0
