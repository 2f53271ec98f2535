"""The settings of the benchmarks."""

import pytest

from benchmarks.settings import CASES, read_settings
from jobs.settings import SettingError


def test_all_cases_are_measured_by_default() -> None:
    assert read_settings({}).cases == CASES


def test_cases_can_be_chosen() -> None:
    assert read_settings({"CASES": "latency,parser"}).cases == ("latency", "parser")


@pytest.mark.parametrize("name", ["CASES", "BENCH_ROUNDS", "BENCH_COLLECTOR_POSTS", "BENCH_AGGREGATOR_POSTS"])
def test_an_error_names_the_setting(name: str) -> None:
    with pytest.raises(SettingError, match=name):
        read_settings({name: "none,of"})
