"""The settings of the benchmarks."""

import pytest

from benchmarks.settings import CASES, DEFAULT_CASES, read_settings
from jobs.settings import SettingError


def test_the_idle_demo_and_buckets_are_measured_only_when_asked_for() -> None:
    assert read_settings({}).cases == DEFAULT_CASES
    assert {*CASES} - {*DEFAULT_CASES} == {"idle", "buckets"}
    assert read_settings({"CASES": "idle"}).cases == ("idle",)


def test_cases_can_be_chosen() -> None:
    assert read_settings({"CASES": "latency,parser"}).cases == ("latency", "parser")


@pytest.mark.parametrize("name", ["CASES", "BENCH_ROUNDS", "BENCH_COLLECTOR_POSTS", "BENCH_AGGREGATOR_POSTS"])
def test_an_error_names_the_setting(name: str) -> None:
    with pytest.raises(SettingError, match=name):
        read_settings({name: "none,of"})
