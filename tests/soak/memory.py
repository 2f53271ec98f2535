"""How fast the memory of a group of processes grows, from samples of each process. Pure.

Each process is a series; a restarted process begins a new one. The slope of a group is the common slope of its series.
The mean of each series is subtracted, so the size of a process compared with its predecessor does not count. Samples of
a process younger than the group's warm-up do not count.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

HOUR = 3600.0


@dataclass(frozen=True)
class Sample:
    """A measurement of one process."""

    at: float  # seconds after the beginning
    group: str
    process: str  # identifies the process in its group
    age: float  # of the process, seconds
    mib: float  # resident memory
    cpu: float  # seconds that the process has used so far


@dataclass(frozen=True)
class Growth:
    """The growth of one group."""

    group: str
    slope: float | None  # MiB per hour; None without two samples of one process after the warm-up
    seconds: float  # sum of the durations of all series after the warm-up
    processes: int  # how many there were
    peak: float  # MiB of the largest process


def growth(samples: Iterable[Sample], warm_up: Mapping[str, float]) -> list[Growth]:
    """The growth of each group, in the order of their first samples. warm_up: seconds by group."""
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
    """The common slope, per hour, of lines of (seconds, value) with different offsets; None without any."""
    above = below = 0.0
    for line in lines:
        middle = sum(at for at, _ in line) / len(line)
        mean = sum(value for _, value in line) / len(line)
        above += sum((at - middle) * (value - mean) for at, value in line)
        below += sum((at - middle) ** 2 for at, _ in line)
    return above / below * HOUR if below else None


def cores(samples: Sequence[Sample]) -> float:
    """How many cores all processes together used on average between the first sample and the last.

    CPU time after the last sample of a process is not counted.
    """
    begin = min((each.at for each in samples), default=0.0)
    seconds = max((each.at for each in samples), default=0.0) - begin
    used = sum(one[-1].cpu - (one[0].cpu if one[0].at == begin else 0) for one in series(samples))
    return used / seconds if seconds else 0.0
