"""Measures every few seconds: memory and CPU of each process, the size of Kafka's folder, Flink's counters."""

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import psutil

from local.process import owned_processes
from local.stack import Stack
from tests.soak.faults import BROKER, SIMULATOR, STORE, TASKMANAGER, WORKERS
from tests.soak.memory import Sample
from tests.soak.summary import Accumulated

MIB = 1024 * 1024
DROPPED = "numLateRecordsDropped"
JOBMANAGER = "JobManager"


class Observation:
    """Collects the measurements.

    began, now: Unix time, seconds
    orphaned_workers: how many Python workers of killed TaskManagers still run
    """

    def __init__(self, stack: Stack, began: float) -> None:
        self._stack = stack
        self._began = began
        self._dropped = Accumulated()
        self._restarts: dict[str, int] = {}
        self._first_starts: dict[int, int] = {}
        self._starts_in_place: dict[int, int] = defaultdict(int)
        self.samples: list[Sample] = []
        self.kafka_mib: list[float] = []
        self.orphaned_workers = 0

    def measure(self, now: float) -> None:
        self._measure_processes(now)
        self.kafka_mib.append(folder_bytes(self._stack.broker.data) / MIB)
        flink, jobs = self._stack.flink, dict(self._stack.jobs)
        dropped = flink.metric(jobs["aggregator_stream"], DROPPED)
        if dropped is not None:
            self._dropped.add(int(dropped))
        for job in jobs.values():
            restarts = flink.restarts(job)
            if restarts is not None:
                self._restarts[job] = restarts
        pid, total = flink.taskmanager.pid, sum(self._restarts.values()) + len(self._restarts)
        self._starts_in_place[pid] = total - self._first_starts.setdefault(pid, total)

    @property
    def dropped(self) -> int:
        """The sum of numLateRecordsDropped over all restarts, each of which resets it.

        Counts right before a restart may be missing.
        """
        return self._dropped.total

    @property
    def restarts_in_place(self) -> int:
        """How often jobs restarted in one TaskManager; the highest number of all TaskManagers."""
        return max(self._starts_in_place.values(), default=0)

    def _measure_processes(self, now: float) -> None:
        stack = self._stack
        groups = {
            stack.flink.taskmanager.pid: TASKMANAGER,
            stack.flink.jobmanager.pid: JOBMANAGER,
            stack.broker.program.pid: BROKER,
            stack.simulator.pid: SIMULATOR,
            **({stack.store.program.pid: STORE} if stack.store.program else {}),
        }
        children = descendants(stack.flink.taskmanager.pid)
        self.orphaned_workers = 0
        for process in owned_processes(stack.settings.state):
            with contextlib.suppress(psutil.Error):
                group = groups.get(process.pid) or (WORKERS if is_worker(process.cmdline()) else "")
                if group == WORKERS and process.pid not in children:
                    self.orphaned_workers += 1
                    continue
                if not group:
                    continue
                times, created = process.cpu_times(), process.create_time()
                self.samples.append(
                    Sample(
                        at=now - self._began,
                        group=group,
                        process=f"{process.pid}/{created:.2f}",
                        age=now - created,
                        mib=process.memory_info().rss / MIB,
                        cpu=times.user + times.system,
                    )
                )


def descendants(pid: int) -> set[int]:
    with contextlib.suppress(psutil.Error):
        return {each.pid for each in psutil.Process(pid).children(recursive=True)}
    return set()


def is_worker(command: Sequence[str]) -> bool:
    """Whether it is a Python worker of Flink."""
    return any("pyflink.fn_execution" in part for part in command[:3])


def folder_bytes(folder: Path) -> int:
    """The disk usage of a folder's files. The sizes of the files are larger, since Kafka preallocates some of them."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            total += path.stat().st_blocks * 512
    return total
