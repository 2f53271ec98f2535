"""Which part fails when, and for how long: drawn from a seed. Pure."""

import random
from dataclasses import dataclass

COLLECTOR = "collector"
WORKERS = "Python workers"
TASKMANAGER = "TaskManager"
BROKER = "broker"
STORE = "document store"
SIMULATOR = "simulator"
# The JobManager is left out: without high availability it forgets the jobs, and nothing could come back.
PARTS = (COLLECTOR, WORKERS, TASKMANAGER, BROKER, STORE, SIMULATOR)

KILLED = "killed"
STOPPED = "stopped"
CANCELLED = "cancelled without state"

GAP_SECONDS = (20.0, 40.0)
SHORT_SECONDS = (1.0, 45.0)
# Longer than every time limit but two: an answer to a ping (15 s), Flink's heartbeats (10 s), the simulator's silence
# (60 s), the MongoDB driver (30 s), a request of Kafka's clients (30 s), the delivery of a record to Kafka (120 s). A
# transaction and a checkpoint have ten minutes; posts can be lost when a commit lasts longer (see docs/concepts/delivery-guarantees.md).
LONG_SECONDS = (125.0, 140.0)
LONG_SHARE = 1 / 8
# A part that came back is left alone for so long.
SETTLE_SECONDS = 20.0


@dataclass(frozen=True)
class Fault:
    """at: seconds after the beginning; seconds: for how long the part is away, 0: it is started again at once."""

    at: float
    part: str
    action: str
    seconds: float

    def __str__(self) -> str:
        if not self.seconds:
            return f"{self.part} {self.action}, started again at once"
        return f"{self.part} {self.action}, away for {self.seconds:.0f} s"


def schedule(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run of `seconds`; every part is back when it ends. The same seed gives the same faults."""
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
    """The parts that are there; without a TaskManager there are no Python workers."""
    away = {fault.part for fault in faults if at < fault.at + fault.seconds + SETTLE_SECONDS}
    if TASKMANAGER in away:
        away.add(WORKERS)
    return [part for part in PARTS if part not in away]


def ways(part: str) -> list[tuple[str, bool]]:
    """What can be done to a part, and whether it then stays away for a time."""
    if part == COLLECTOR:
        return [(CANCELLED, False), (CANCELLED, True)]
    if part == WORKERS:  # Flink starts them again
        return [(KILLED, False), (STOPPED, True)]
    return [(KILLED, False), (KILLED, True), (STOPPED, True)]


def length(draw: random.Random) -> float:
    return draw.uniform(*(LONG_SECONDS if draw.random() < LONG_SHARE else SHORT_SECONDS))
