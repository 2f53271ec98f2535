"""Draws from a seed which part fails when, and for how long. Pure."""

import random
from dataclasses import dataclass

COLLECTOR = "collector"
WORKERS = "Python workers"
TASKMANAGER = "TaskManager"
BROKER = "broker"
STORE = "document store"
SIMULATOR = "simulator"
# Without the JobManager: without high availability, a new one does not recover the jobs.
PARTS = (COLLECTOR, WORKERS, TASKMANAGER, BROKER, STORE, SIMULATOR)

KILLED = "killed"
STOPPED = "stopped"
CANCELLED = "cancelled without state"

GAP_SECONDS = (20.0, 40.0)
SHORT_SECONDS = (1.0, 45.0)
# Longer than these timeouts: a pong (15 s), Flink's heartbeats (10 s), a feed without messages (60 s), the MongoDB
# driver (30 s), a request of Kafka's clients (30 s), the delivery of a record to Kafka (120 s). Shorter than those of a
# transaction and of a checkpoint (ten minutes). If a commit lasts longer, posts can be lost:
# docs/concepts/delivery-guarantees.md.
LONG_SECONDS = (125.0, 140.0)
LONG_SHARE = 1 / 8
# For so long a part has no fault after it runs again.
SETTLE_SECONDS = 20.0


@dataclass(frozen=True)
class Fault:
    """A fault of one part."""

    at: float  # seconds after the beginning
    part: str  # one of PARTS
    action: str
    seconds: float  # for how long the part is down; 0: it is restarted at once

    def __str__(self) -> str:
        if not self.seconds:
            return f"{self.part} {self.action}, restarted at once"
        return f"{self.part} {self.action}, down for {self.seconds:.0f} s"


def schedule(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run of `seconds`. All parts run again at its end. The same seed gives the same faults."""
    draw = random.Random(seed)
    faults: list[Fault] = []
    at = draw.uniform(*GAP_SECONDS)
    while at < seconds:
        part = draw.choice(available_parts(faults, at))
        action, stays_down = draw.choice(actions(part))
        duration = min(draw_duration(draw), seconds - at) if stays_down else 0.0
        faults.append(Fault(at, part, action, duration))
        at += draw.uniform(*GAP_SECONDS)
    return faults


def available_parts(faults: list[Fault], at: float) -> list[str]:
    """The parts that can have a fault at this time. Without a TaskManager there are no Python workers."""
    unavailable = {fault.part for fault in faults if at < fault.at + fault.seconds + SETTLE_SECONDS}
    if TASKMANAGER in unavailable:
        unavailable.add(WORKERS)
    return [part for part in PARTS if part not in unavailable]


def actions(part: str) -> list[tuple[str, bool]]:
    """The possible actions on a part, and whether the part then stays down for a time."""
    if part == COLLECTOR:
        return [(CANCELLED, False), (CANCELLED, True)]
    if part == WORKERS:  # Flink restarts them
        return [(KILLED, False), (STOPPED, True)]
    return [(KILLED, False), (KILLED, True), (STOPPED, True)]


def draw_duration(draw: random.Random) -> float:
    return draw.uniform(*(LONG_SECONDS if draw.random() < LONG_SHARE else SHORT_SECONDS))
