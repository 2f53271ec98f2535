"""What Flink's window operator says about the posts that it dropped."""

from local.stack import Stack
from tests.support.waiting import await_value

METRIC = "numLateRecordsDropped"


def assert_nothing_was_dropped(stack: Stack) -> None:
    """The aggregator's window operator dropped no late post; the metric is awaited, since Flink serves it late."""
    job = stack.jobs["aggregator_stream"]
    await_value(lambda: stack.flink.metric(job, METRIC) is not None, f"the metric {METRIC}", 180)
    assert stack.flink.metric(job, METRIC) == 0
