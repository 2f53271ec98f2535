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
# Longer than every time limit but two: an answer to a ping (15 s), Flink's heartbeats (10 s), the simulator's silence
# (60 s), the MongoDB driver (30 s), a request of Kafka's clients (30 s), the delivery of a record to Kafka (120 s). A
# transaction and a checkpoint have ten minutes. Posts can be lost when a commit lasts longer, see
# docs/concepts/delivery-guarantees.md.
LONG_SECONDS = (125.0, 140.0)
LONG_SHARE = 1 / 8
# How long a part has no fault after it runs again.
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
        part = draw.choice(free_parts(faults, at))
        action, away = draw.choice(ways(part))
        duration = min(length(draw), seconds - at) if away else 0.0
        faults.append(Fault(at, part, action, duration))
        at += draw.uniform(*GAP_SECONDS)
    return faults


def free_parts(faults: list[Fault], at: float) -> list[str]:
    """The parts that can fail at this time. Without a TaskManager there are no Python workers."""
    away = {fault.part for fault in faults if at < fault.at + fault.seconds + SETTLE_SECONDS}
    if TASKMANAGER in away:
        away.add(WORKERS)
    return [part for part in PARTS if part not in away]


def ways(part: str) -> list[tuple[str, bool]]:
    """The possible actions on a part, and whether the part then stays down for a time."""
    if part == COLLECTOR:
        return [(CANCELLED, False), (CANCELLED, True)]
    if part == WORKERS:  # Flink restarts them
        return [(KILLED, False), (STOPPED, True)]
    return [(KILLED, False), (KILLED, True), (STOPPED, True)]


def length(draw: random.Random) -> float:
    return draw.uniform(*(LONG_SECONDS if draw.random() < LONG_SHARE else SHORT_SECONDS))
