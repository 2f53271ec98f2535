"""The soak's slopes: of each process for itself, after its warm-up."""

import pytest

from tests.soak.memory import Sample, cores, growth

STEP = 5


def process(
    name: str, begin: float, seconds: int, mib: float, slope: float = 0, group: str = "g", cpu: float = 0
) -> list[Sample]:
    """Samples of a process that starts at `begin` with `mib` and grows by `slope` MiB an hour; `cpu`: cores in use."""
    return [
        Sample(begin + age, group, name, age, mib + slope * age / 3600, cpu * age)
        for age in range(0, seconds + 1, STEP)
    ]


def slope(samples: list[Sample], warm_up: float = 0) -> float | None:
    (found,) = growth(samples, {"g": warm_up})
    return found.slope


def test_a_process_that_does_not_grow_is_flat() -> None:
    assert slope(process("a", 0, 600, 500)) == pytest.approx(0)


def test_the_slope_is_in_mib_an_hour() -> None:
    assert slope(process("a", 0, 600, 500, slope=90)) == pytest.approx(90)


def test_a_larger_process_after_a_restart_is_no_growth() -> None:
    assert slope(process("a", 0, 300, 500) + process("b", 310, 300, 900)) == pytest.approx(0)


def test_a_restart_hides_no_growth() -> None:
    assert slope(process("a", 0, 300, 900, slope=60) + process("b", 310, 300, 500, slope=60)) == pytest.approx(60)


def test_two_processes_at_once_are_not_mixed() -> None:
    both = process("a", 0, 300, 100, slope=60) + process("b", 0, 300, 800, slope=60)
    assert slope(sorted(both, key=lambda each: each.at)) == pytest.approx(60)


def test_the_longer_series_counts_for_more() -> None:
    found = slope(process("a", 0, 600, 500, slope=0) + process("b", 610, 60, 500, slope=1000))
    assert found is not None
    assert 0 < found < 10


def test_the_warm_up_is_left_out() -> None:
    grown = [*process("a", 0, 100, 100, slope=36_000), *process("a", 0, 600, 1100)[21:]]
    assert slope(grown, warm_up=105) == pytest.approx(0)
    assert slope(grown) != pytest.approx(0, abs=100)


def test_a_process_that_never_warms_up_has_no_slope_but_a_peak() -> None:
    (found,) = growth(process("a", 0, 50, 321), {"g": 60})
    assert (found.slope, found.seconds, found.processes, found.peak) == (None, 0, 1, 321)


def test_the_seconds_of_all_series_are_added_and_each_group_is_for_itself() -> None:
    samples = [*process("a", 0, 100, 10), *process("b", 200, 50, 20), *process("c", 0, 60, 30, group="other")]
    found = {each.group: (each.seconds, each.processes, each.peak) for each in growth(samples, {"g": 20})}
    assert found == {"g": (80 + 30, 2, 20), "other": (60, 1, 30)}


def test_no_samples_are_no_groups() -> None:
    assert growth([], {}) == []


def test_cores_are_what_all_processes_used_between_the_first_sample_and_the_last() -> None:
    ran_before = [Sample(at, "g", "old", at + 1000, 1, 500 + at * 0.5) for at in range(0, 101, STEP)]
    assert cores(ran_before) == pytest.approx(0.5)
    assert cores([*ran_before, *process("new", 50, 50, 1, cpu=1.0)]) == pytest.approx(1.0)


def test_without_samples_no_core_was_busy() -> None:
    assert cores([]) == 0
    assert cores(process("a", 0, 0, 1)) == 0
