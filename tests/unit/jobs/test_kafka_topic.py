"""Which of several errors is reported when Kafka cannot be reached."""

import pytest

from jobs.kafka_topic import root_cause

OVER, REASON, OLDER, LAST = (
    Exception(text) for text in ("Connection timed out", "no certificate", "older", "Bootstrap")
)


@pytest.mark.parametrize(
    ("errors", "reported"),
    [([], LAST), ([OVER], OVER), ([OLDER, REASON], REASON), ([OLDER, REASON, OVER], REASON)],
)
def test_the_newest_cause_is_reported_and_not_a_later_timeout(errors: list[Exception], reported: Exception) -> None:
    assert root_cause(errors, LAST) is reported
