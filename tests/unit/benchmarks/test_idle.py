"""What the benchmark `idle` prints of what the parts of the demo use."""

import pytest

from benchmarks.idle import MIB, Usage, summary, table
from local.process import StackError


def test_the_table_has_a_share_of_a_core_for_each_part_and_two_sums() -> None:
    before = {"Kafka": Usage(10.0, 200 * MIB), "TaskManager": Usage(20.0, 300 * MIB), "ended": Usage(1.0, MIB)}
    after = {"Kafka": Usage(10.5, 201 * MIB), "TaskManager": Usage(22.0, 300 * MIB), "simulator": Usage(1.0, MIB)}
    after["console"] = before["console"] = Usage(3.0, 50 * MIB)
    assert [line.split() for line in table(before, after, 10.0)[1:]] == [
        ["TaskManager", "20.0%", "300", "MiB"],
        ["Kafka", "5.0%", "201", "MiB"],
        ["console", "0.0%", "50", "MiB"],
        ["both", "jobs", "and", "Kafka", "25.0%", "501", "MiB"],
        ["everything", "25.0%", "551", "MiB"],
    ]


def test_the_latency_is_summed_up() -> None:
    assert summary(list(range(101))) == "p50 50 ms, p99 99 ms, maximum 100 ms"
    with pytest.raises(StackError, match="no posts came"):
        summary([5])
