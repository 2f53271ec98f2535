"""Flink's metric of the late records that its window operator dropped."""

from local.stack import Stack
from tests.support.waiting import await_value

METRIC = "numLateRecordsDropped"


def assert_nothing_was_dropped(stack: Stack) -> None:
    """Assert that the aggregator's window operator dropped no post as late. Flink reports the metric with a delay."""
    job = stack.jobs["aggregator_stream"]
    await_value(lambda: stack.flink.metric(job, METRIC) is not None, f"the metric {METRIC}", 180)
    assert stack.flink.metric(job, METRIC) == 0
