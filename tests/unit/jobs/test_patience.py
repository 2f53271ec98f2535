"""A call is retried until it succeeds."""

from collections.abc import Iterator

import pytest

from jobs.patience import RETRY_SECONDS, patiently


def test_it_retries_until_there_is_an_answer_and_logs_what_it_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    answers: Iterator[OSError | int] = iter([OSError("refused"), *[TimeoutError("late")] * 5, 7])
    pauses: list[float] = []

    def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(ask, (OSError,), lambda error: f"Kafka: {error}", pauses.append) == 7
    assert pauses == [0.5, 1, 2, 4, RETRY_SECONDS, RETRY_SECONDS]
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "waiting for Kafka: refused",
        *["waiting for Kafka: late"] * 5,
    ]


def test_another_error_ends_it() -> None:
    def ask() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        patiently(ask, (OSError,), str)
