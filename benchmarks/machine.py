"""The machine: what it is, how busy it is with other work, and the processor time of a tree of processes.

Everything is read from /proc. The functions that take text are pure.
"""

import ctypes
import os
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.numbers import Steady, at
from local.preflight import java_version
from local.settings import REPOSITORY

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")  # per second
BUSY_SHARE = 0.1  # of all cores, taken by others: a measurement beside it says little
SAMPLE_SECONDS = 0.2
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
PACKAGES = ("websockets", "orjson", "confluent-kafka", "pymongo")


class Process(NamedTuple):
    """A line of /proc/PID/stat. Times in clock ticks."""

    pid: int
    parent: int
    own: int
    reaped: int  # of children that have ended
    started: int


def parse_process(text: str) -> Process:
    """The name may hold blanks and brackets: the fields are counted from its end."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    return Process(
        int(pid),
        int(fields[1]),
        int(fields[11]) + int(fields[12]),
        int(fields[13]) + int(fields[14]),
        int(fields[19]),
    )


def parse_busy(stat: str) -> int:
    """Clock ticks in which the cores were busy or taken by other machines, from /proc/stat."""
    user, nice, system, _, _, interrupts, soft, steal = (int(field) for field in stat.split()[1:9])
    return user + nice + system + interrupts + soft + steal


def tree(processes: Iterable[Process], root: int) -> Iterator[Process]:
    """The process `root` and all its descendants."""
    children: dict[int, list[Process]] = defaultdict(list)
    found = list(processes)
    for process in found:
        children[process.parent].append(process)
    left = [process for process in found if process.pid == root]
    while left:
        process = left.pop()
        yield process
        left += children[process.pid]


def processes() -> Iterator[Process]:
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                yield parse_process((folder / "stat").read_text())
            except (OSError, ValueError):
                continue  # it has ended


def others_share(busy_ticks: float, own_ticks: float, seconds: float, cores: int) -> float:
    """The share of all cores that others took: 0 to 1."""
    return min(max((busy_ticks - own_ticks) / (seconds * TICKS * cores), 0.0), 1.0)


def adopt_orphans() -> None:
    """Make this process the parent of each descendant that loses its own one. As a zombie it keeps its time.

    Flink starts a Python worker with a shell, and kills the shell first. Without this, the worker's time would be lost
    with its end, and look like that of other programs.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Watch:
    """How much of the cores other processes take between two calls. Ours are this one and its descendants."""

    def __init__(self) -> None:
        self._cores = os.cpu_count() or 1
        self._last = self._read()

    def _read(self) -> tuple[float, float, float]:
        own = sum(process.own + process.reaped for process in tree(processes(), os.getpid()))
        return time.monotonic(), parse_busy((PROC / "stat").read_text()), own

    def others(self) -> float:
        """The share of all cores that others took since the last call: 0 to 1."""
        before, self._last = self._last, self._read()
        seconds, busy, own = (now - then for now, then in zip(self._last, before, strict=True))
        return others_share(busy, own, max(seconds, 1 / TICKS), self._cores)


@dataclass
class Cpu:
    """Samples the processor time of process trees while the context is open. roots: their process ids."""

    roots: tuple[int, ...]

    def __enter__(self) -> Self:
        self._seen: dict[tuple[int, int], int] = {}
        self._samples: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        found = list(processes())
        now = time.time()
        for root in self.roots:
            for process in tree(found, root):
                # The time of a process that has ended stays in the sum.
                self._seen[process.pid, process.started] = process.own
        self._samples.append((now, sum(self._seen.values()) / TICKS))

    @property
    def total(self) -> float:
        """Seconds of processor time while the context was open."""
        return self._samples[-1][1] - self._samples[0][1]

    def seconds(self, part: Steady) -> float:
        """Seconds of processor time in a part of the measured time. Call it when the context is closed."""
        return at(self._samples, part.end) - at(self._samples, part.begin)


def header() -> list[str]:
    """What is measured, where and when, as lines."""
    cpu = re.search(r"model name\s*: (.*)", (PROC / "cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", (PROC / "meminfo").read_text())
    gib = int(memory[1]) / 2**20 if memory else 0
    java = re.search(r'version "([^"]+)"', java_version() or "")
    known = {
        "Python": ".".join(map(str, sys.version_info[:3])),
        "JDK": java[1] if java else "unknown",
        "Flink": version("apache-flink"),
        **{name: version(name) for name in PACKAGES},
    }
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}",
        f"{os.cpu_count()} cores of {cpu[1].strip() if cpu else 'unknown'}, {gib:.0f} GiB",
        ", ".join(f"{name} {number}" for name, number in known.items()),
        "load average {:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
    ]


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
