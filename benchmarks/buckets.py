"""The case `buckets`: what it costs to spread a window, and what a second task slot brings. All sides read one topic.

The machine of the benchmarks has few cores, and a job with one slot uses more than one. So for the second question the
TaskManager gets half a core for each task slot. What is left is more than the broker and the store use.
"""

import contextlib
from dataclasses import replace

from benchmarks import aggregator
from benchmarks.bench import Bench, Side
from benchmarks.cpu_limit import limited
from benchmarks.machine import Cpu
from benchmarks.numbers import MILLION, Measurement

BUCKETS = (1, 2, 4)
SLOTS = 2
CORES_PER_SLOT = 0.5


def run(bench: Bench, posts: int) -> None:
    with aggregator.filled_topic(bench, posts):
        spread = {counted(size, "bucket"): aggregator.job(bench, posts, size) for size in BUCKETS}
        bench.compare(f"one task slot, {posts:,} posts, windows of so many buckets", counted(1, "bucket"), spread)
        slots = {counted(count, "slot"): with_slots(bench, posts, count) for count in (SLOTS, 1)}
        title = f"{max(BUCKETS)} buckets, {posts:,} posts, {CORES_PER_SLOT} of a core for each task slot"
        bench.compare(title, counted(SLOTS, "slot"), slots)


def counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def with_slots(bench: Bench, posts: int, count: int) -> Side:
    """The job with so many task slots, and its cores for the TaskManager and its Python workers."""
    job = with_services(bench, posts, aggregator.job(bench, posts, max(BUCKETS), count))

    def side(name: str) -> Measurement:
        with limited(bench.stack.flink.taskmanager.pid, count * CORES_PER_SLOT):
            return job(name)

    return side


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
