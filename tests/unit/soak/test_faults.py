"""The soak's faults: the same for a seed, at the set intervals, never in a part that is down."""

from itertools import pairwise

import pytest

from tests.soak.faults import (
    CANCELLED,
    GAP_SECONDS,
    LONG_SECONDS,
    PARTS,
    SETTLE_SECONDS,
    STOPPED,
    TASKMANAGER,
    WORKERS,
    Fault,
    available_parts,
    schedule,
)

HALF_AN_HOUR = 1800.0
SEEDS = range(1, 21)
EACH_SEED = pytest.mark.parametrize("seed", SEEDS)
LONGEST_TIMEOUT = 120.0


def test_a_seed_repeats_its_faults_and_another_gives_others() -> None:
    assert schedule(7, HALF_AN_HOUR) == schedule(7, HALF_AN_HOUR)
    assert schedule(7, HALF_AN_HOUR) != schedule(8, HALF_AN_HOUR)


@EACH_SEED
def test_faults_come_every_20_to_40_seconds_until_the_end(seed: int) -> None:
    moments = [0.0, *(fault.at for fault in schedule(seed, HALF_AN_HOUR))]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert all(GAP_SECONDS[0] <= gap <= GAP_SECONDS[1] for gap in gaps)
    assert HALF_AN_HOUR - GAP_SECONDS[1] <= moments[-1] < HALF_AN_HOUR


@EACH_SEED
def test_every_part_runs_at_the_end(seed: int) -> None:
    assert all(fault.at + fault.seconds <= HALF_AN_HOUR for fault in schedule(seed, HALF_AN_HOUR))


@EACH_SEED
def test_a_part_has_no_other_fault_until_it_has_settled(seed: int) -> None:
    faults = schedule(seed, HALF_AN_HOUR)
    for number, fault in enumerate(faults):
        for earlier in faults[:number]:
            same = earlier.part == fault.part or (earlier.part, fault.part) == (TASKMANAGER, WORKERS)
            assert not same or earlier.at + earlier.seconds + SETTLE_SECONDS <= fault.at


def test_every_part_is_killed_and_is_down_for_longer_than_every_timeout() -> None:
    faults = [fault for seed in SEEDS for fault in schedule(seed, HALF_AN_HOUR)]
    assert {fault.part for fault in faults if not fault.seconds} == set(PARTS)
    assert {fault.part for fault in faults if fault.seconds > LONGEST_TIMEOUT} == set(PARTS)
    assert {fault.part for fault in faults if fault.action == STOPPED} == set(PARTS) - {"collector"}
    assert max(fault.seconds for fault in faults) <= LONG_SECONDS[1]


def test_a_run_shorter_than_the_first_gap_has_no_fault() -> None:
    assert schedule(1, GAP_SECONDS[0]) == []


def test_workers_have_no_fault_while_their_taskmanager_is_down() -> None:
    down = [Fault(100, TASKMANAGER, STOPPED, 30)]
    assert set(PARTS) - set(available_parts(down, 120)) == {TASKMANAGER, WORKERS}
    assert available_parts(down, 130 + SETTLE_SECONDS) == list(PARTS)


def test_a_fault_describes_itself() -> None:
    assert str(Fault(1, "broker", STOPPED, 31.7)) == "broker stopped, down for 32 s"
    assert str(Fault(1, "collector", CANCELLED, 0)) == "collector cancelled without state, restarted at once"
