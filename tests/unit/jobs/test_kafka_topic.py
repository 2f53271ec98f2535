"""Which of several errors is reported when Kafka cannot be reached, and where a topic is taken to end."""

import time
from typing import Any, cast

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from jobs import kafka_topic
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


class SlowBroker:
    """A consumer of one partition with three records, whose broker is silent for a time."""

    def __init__(self, silent_until: float) -> None:
        self._silent_until, self._position = silent_until, 0

    def seek(self, _: object, offset: int) -> None:
        self._position = offset

    def position(self, _: object) -> int:
        return self._position

    def poll(self, timeout_ms: int) -> dict[Any, list[int]]:  # noqa: ARG002
        time.sleep(0.01)
        if time.monotonic() < self._silent_until:
            return {}
        self._position += 1
        return {PARTITION: [self._position]}


PARTITION = TopicPartition("tweets", 0)


@pytest.mark.parametrize("silence", [0.0, 0.12, 0.5])
def test_a_silent_broker_is_no_end_of_the_topic(silence: float) -> None:
    client = SlowBroker(time.monotonic() + silence)
    assert kafka_topic.read_from(cast(KafkaConsumer, client), PARTITION, 0, 3) == [1, 2, 3]


def test_a_broker_that_stays_silent_is_reported_and_never_taken_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_topic, "SILENT_SECONDS", 0.1)
    client = cast(KafkaConsumer, SlowBroker(float("inf")))
    with pytest.raises(KafkaTimeoutError, match=r"sent nothing of .*tweets.* for 0\.1 s"):
        kafka_topic.read_from(client, PARTITION, 0, 3)
