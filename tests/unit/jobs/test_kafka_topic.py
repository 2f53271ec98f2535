"""Which of several errors is told when Kafka cannot be reached."""

import pytest

from jobs.kafka_topic import root_cause

OVER, REASON, OLDER, LAST = (
    Exception(text) for text in ("Connection timed out", "no certificate", "older", "Bootstrap")
)


@pytest.mark.parametrize(
    ("errors", "told"),
    [([], LAST), ([OVER], OVER), ([OLDER, REASON], REASON), ([OLDER, REASON, OVER], REASON)],
)
def test_the_newest_reason_is_told_and_not_the_time_out_behind_it(errors: list[Exception], told: Exception) -> None:
    assert root_cause(errors, LAST) is told
