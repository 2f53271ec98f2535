"""The case `buckets`: what it costs to spread a window, and what a second task slot brings. All sides read one topic.

The machine of the benchmarks has few cores, and a job with one slot uses more than one. So for the second question the
TaskManager with one slot has one core, and the one with two slots has two. The broker and the store may use all cores
in both cases: what they take is missing to two slots, and hardly to one.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace

from benchmarks import aggregator
from benchmarks.bench import Bench, Side
from benchmarks.machine import PROC, Cpu, processes, tree
from benchmarks.numbers import MILLION, Measurement
from local.process import StackError

BUCKETS = (1, 2, 4)
SLOTS = 2


def run(bench: Bench, posts: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < SLOTS:
        raise StackError(f"{len(cores)} core: the case buckets needs {SLOTS}")
    with aggregator.filled_topic(bench, posts):
        spread = {name_of(size): aggregator.job(bench, posts, size) for size in BUCKETS}
        bench.compare(f"one task slot, {posts:,} posts, windows of so many buckets", name_of(1), spread)
        slots = {
            f"{count} slots": on_cores(bench, set(cores[:count]), aggregator.job(bench, posts, max(BUCKETS), count))
            for count in (SLOTS, 1)
        }
        slots = {name: with_services(bench, posts, side) for name, side in slots.items()}
        bench.compare(f"{max(BUCKETS)} buckets, {posts:,} posts, a core for each task slot", f"{SLOTS} slots", slots)


def name_of(buckets: int) -> str:
    return f"{buckets} bucket" if buckets == 1 else f"{buckets} buckets"


def on_cores(bench: Bench, cores: set[int], side: Side) -> Side:
    """The same side, with the TaskManager and its Python workers on these cores."""

    def pinned(name: str) -> Measurement:
        with taskmanager_on(bench, cores):
            return side(name)

    return pinned


def with_services(bench: Bench, posts: int, side: Side) -> Side:
    """The same side. Its note has the processor time of the broker and of the store in the whole round."""
    stack = bench.stack
    programs = {"broker": stack.broker.program, "store": stack.store.program}
    services = {name: Cpu((program.pid,)) for name, program in programs.items() if program is not None}

    def noted(name: str) -> Measurement:
        with contextlib.ExitStack() as measuring:
            for cpu in services.values():
                measuring.enter_context(cpu)
            measured = side(name)
        shares = [f"{service} {cpu.total * MILLION / posts:.2f}" for service, cpu in services.items()]
        return replace(measured, note=f"{', '.join(shares)} cpu s per million; {measured.note}")

    return noted


@contextlib.contextmanager
def taskmanager_on(bench: Bench, cores: set[int]) -> Iterator[None]:
    """What a thread starts inherits its cores, so a new Python worker has them too."""
    before = os.sched_getaffinity(0)
    pin(bench.stack.flink.taskmanager.pid, cores)
    try:
        yield
    finally:
        pin(bench.stack.flink.taskmanager.pid, before)


def pin(root: int, cores: set[int]) -> None:
    """Bind all threads of a process and of its descendants to these cores."""
    for process in tree(processes(), root):
        with contextlib.suppress(OSError):  # it has ended
            for thread in (PROC / str(process.pid) / "task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)
